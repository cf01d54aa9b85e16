"""Shifts of two probes side by side: where rows look, as one probe has it, and beside it what they take, as another has it.

A probe declares beside which one it is told (:attr:`budgetlens.model.declaration.Declaration.beside`); of every contrast and
category that both were tested on there is a pair of findings. Words are made where they are shown.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from budgetlens.model.declaration import Declaration
from budgetlens.model.roles import ROLE_LABELS
from budgetlens.runs.run import Run
from budgetlens.statistics.decisions import joined
from budgetlens.statistics.findings import Finding, finding_over_layers
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import CAUTION_RULE, layers_rule
from budgetlens.tables.captions import Captions
from budgetlens.tables.extract import Extract
from budgetlens.tables.presentation import Table
from budgetlens.tables.stating import stated

#: The table of all pairs.
SHIFTS = "shifts"
#: Kinds of a finding over layers that are a shift.
SHIFTED = ("positive", "negative", "both")
#: Columns that a finding of one probe leaves in the table, behind a word for whose they are.
OWN, BESIDE = "", "beside_"


@dataclass(frozen=True)
class Shift:
    """What one contrast does to one category, over the layers of a block: by a probe, and by the one told beside it."""

    stack: str
    block: str
    category: str
    """The category's name; the findings have its words."""
    own: Finding
    beside: Finding
    measure: str
    """The name of the probe that is told beside the other."""

    @property
    def is_shift(self) -> bool:
        """Whether the first probe shifts in some layer."""
        return self.own.kind in SHIFTED


def category_words(name: str) -> str:
    """A role as readers see it; any other category, such as a total, by its name."""
    return ROLE_LABELS[name].long if name in ROLE_LABELS else f"the {name}"


def shifts_of(
    run: Run, frames: Mapping[str, pd.DataFrame], contrasts: Collection[str] | None = None
) -> tuple[Shift, ...]:
    """Every pair of findings that the run's tables hold, in the order of the first probe's table; of ``contrasts`` alone
    where they are given.
    """
    found: list[Shift] = []
    for name, declared in run.declarations.items():
        other = run.declarations.get(declared.beside)
        if other is None or other.axis != declared.axis:
            continue
        pair = [_effects(one, own, frames) for one, own in ((declared.beside, other), (name, declared))]
        if pair[0] is not None and pair[1] is not None:
            first, second = (
                (rows if contrasts is None else rows[rows["contrast"].isin(contrasts)], tested)
                for rows, tested in (pair[0], pair[1])
            )
            found.extend(_paired(name, declared.axis, first, second))
    return tuple(found)


def _effects(
    name: str, declared: Declaration, frames: Mapping[str, pd.DataFrame]
) -> tuple[pd.DataFrame, Quantity] | None:
    """A probe's table of effects over layers with the quantity that it is of; None where there is none."""
    tables = [(frames[key], tested) for key, tested in declared.effects_of(name).items() if key in frames]
    return tables[0] if tables else None


def _paired(
    measure: str, axis: str, own: tuple[pd.DataFrame, Quantity], beside: tuple[pd.DataFrame, Quantity]
) -> Iterator[Shift]:
    keys = ["contrast", "stack", "block", axis]
    others = dict(iter(beside[0].groupby(keys, sort=False, observed=True)))
    for place, rows in own[0].groupby(keys, sort=False, observed=True):
        _, stack, block, category = (str(part) for part in place)
        words = category_words(category)
        first = finding_over_layers(rows, own[1], words)
        second = finding_over_layers(others[place], beside[1], words) if place in others else None
        # Where one of the two is constant there is nothing to hold beside the other.
        if first is not None and second is not None:
            yield Shift(stack, block, category, first, second, measure)


def shifts_table(shifts: tuple[Shift, ...]) -> pd.DataFrame:
    """Columns contrast, measure, stack, block, category, n; of each finding layer, mean, low, high, p, kind, verdict.

    Those of the probe that is told beside the other have ``beside_`` before them. Mean, interval and p are those of the
    layer that is surest, and hold over all layers at once.
    """
    rows = [
        {
            "contrast": shift.own.effect,
            "measure": shift.measure,
            "stack": shift.stack,
            "block": shift.block,
            "category": shift.category,
            "n": shift.own.n,
            **_columns(shift.own, OWN),
            **_columns(shift.beside, BESIDE),
            "caution": joined(*shift.own.cautions, *shift.beside.cautions),
        }
        for shift in shifts
    ]
    return pd.DataFrame(rows)


def _columns(finding: Finding, whose: str) -> dict[str, object]:
    return {
        f"{whose}layer": finding.layer,
        f"{whose}mean": finding.estimate,
        f"{whose}low": finding.low,
        f"{whose}high": finding.high,
        f"{whose}p": finding.p,
        f"{whose}kind": finding.kind,
        f"{whose}verdict": finding.verdict,
    }


def shifts_presented(captions: Captions, run: Run, frames: Mapping[str, pd.DataFrame]) -> Table:
    """The table with its caption: shown are the pairs whose first probe shifts, the largest shifts first."""
    frame = frames[SHIFTS]
    first, second = (_quantities(run, frame, side) for side in (OWN, BESIDE))
    shifted = np.flatnonzero(frame["kind"].isin(SHIFTED))
    order = shifted[np.argsort(-frame["mean"].abs().to_numpy()[shifted], kind="stable")]
    name = run.declarations[str(frame["measure"].iloc[0])].beside
    effects = frames[next(iter(run.declarations[name].effects_of(name)))]
    return Extract(
        frame=frame,
        title=f"Where {first} shifts, and whether {second} does",
        estimand=f"mean over examples of baseline - treatment in {first}, and beside it in {second}, heads averaged, each "
        "at its own surest layer",
        unit=f"of {first} and of {second}: parts of a whole, 0 to 1",
        n=captions.n,
        family="the layers of one contrast and category, of each measure by itself",
        correction="intervals and p hold for all layers at once (maximal |t| over sign flips)",
        seed=captions.seed,
        notes=(
            f"shown: what shifts in {first}" + ("" if len(order) else ": nothing that could be told"),
            "beside: the same contrast of what rows take; undecided is not the same as no shift",
            f"positive: the treatment lowers it; a caution stands for any layer of its row; {CAUTION_RULE}",
        ),
        rule=f"over the layers: {layers_rule(stated(effects), _tested(run, name), orders=effects['order'])}",
        allows_for_documents=True,
        columns=(
            "contrast",
            *(own for own in ("measure", "stack", "block") if frame[own].nunique() > 1),
            "category",
            "layer",
            "mean",
            "verdict",
            "beside_layer",
            "beside_mean",
            "beside_verdict",
            "caution",
        ),
        shown_rows=tuple(order),
    )


def _quantities(run: Run, frame: pd.DataFrame, side: str) -> str:
    """What the findings of one side are of, in words."""
    names = dict.fromkeys(frame["measure"])
    if side == OWN:
        names = dict.fromkeys(run.declarations[str(name)].beside for name in names)
    return " and ".join(f"the {_tested(run, str(name)).label}" for name in names)


def _tested(run: Run, name: str) -> Quantity:
    tested = run.declarations[name].tested
    assert tested is not None  # it has a table of effects
    return tested
