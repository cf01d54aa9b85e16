"""Effects on answers beside the effects on their likelihood, example by example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import contrast_values, wide_cells
from budgetlens.statistics.effects import contrast_effects
from budgetlens.statistics.paired import PairedEffect
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.ranks import spearman
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.presentation import Table, documents_resampled, sample, shares_documents


def beside_likelihood(run: Run, effects: Sequence[str]) -> Table:
    """The named effects of a finished run on its outcome and on every score that a probe of answers tests.

    The frame has a row per effect and quantity: ``contrast``, ``quantity``, ``n``, ``clusters``, ``mean`` with ``low``
    and ``high`` (gain: what the treatment does for the better), ``agreement`` (Spearman's correlation over examples of
    the gain and the gain in likelihood; NaN where one of them is the same for all examples), ``caution``, ``reason``.
    """
    contrasts = [own for own in run.plan.contrasts if own.name in effects]
    gains: dict[str, pd.DataFrame] = {}
    found: dict[str, list[tuple[PairedEffect, float]]] = {}
    for name, declared in run.declarations.items():
        for quantity in declared.effects_of(name).values() if not declared.axis else ():
            records = run.outcomes if declared.outcome else run.records(name)
            wide = wide_cells(records, quantity.name, missing="drop")
            gains[quantity.label] = contrast_values(wide, contrasts) * _sign(quantity)
            tested = contrast_effects(
                wide,
                contrasts,
                run.inference.of(quantity),
                quantity,
                missing="drop",
                sign_flips=False,
            )
            found[quantity.label] = [(effect, _sign(quantity)) for effect in tested]
    likelihood = next(iter(gains.values()))
    rows = []
    for label, values in gains.items():
        for place, (contrast, (effect, sign)) in enumerate(zip(contrasts, found[label], strict=True)):
            rows.append(
                {
                    "contrast": contrast.name,
                    "quantity": label,
                    **_described(effect, sign),
                    "agreement": _agreement(likelihood.iloc[:, place], values.iloc[:, place]),
                }
            )
    order = {contrast.name: place for place, contrast in enumerate(contrasts)}
    frame = pd.DataFrame(rows).sort_values("contrast", key=lambda names: names.map(order), kind="stable")
    return _presented(run, frame.reset_index(drop=True))


def _sign(quantity: Quantity) -> float:
    """1 where baseline less treatment is a gain, -1 where it is a loss."""
    return -1.0 if quantity.better == "higher" else 1.0


def _described(effect: PairedEffect, sign: float) -> dict[str, object]:
    ends = sorted((sign * effect.low, sign * effect.high))
    return {
        "n": effect.n,
        "clusters": effect.clusters,
        # Without the sign of a zero.
        "mean": sign * effect.mean_difference + 0.0,
        "low": ends[0],
        "high": ends[1],
        "caution": effect.caution,
        "reason": effect.reason,
    }


def _agreement(one: pd.Series, other: pd.Series) -> float:
    """Spearman's correlation over the examples that both have; NaN where either does not vary."""
    both = pd.concat([one, other], axis=1).dropna().to_numpy()
    if len(both) < 2 or (np.ptp(both, axis=0) == 0).any():
        return float("nan")
    return spearman(both[:, 0], both[:, 1])


def _presented(run: Run, frame: pd.DataFrame) -> Table:
    return Table(
        frame=frame,
        title="Effects on answers beside effects on likelihood",
        estimand="mean over examples of the gain by the treatment: above 0 is better, whichever way the quantity counts",
        unit="that of each quantity: nats per token, or a fraction of 1",
        n=sample(len(run.outcomes["example"].unique()), run.documents),
        family="none: every row stands for itself",
        correction="none",
        seed=run.seed,
        notes=(
            "95 % intervals as in the tables of effects: made for long tails, or for values between 0 and 1",
            *documents_resampled(shares_documents(frame)),
            CAUTION_RULE,
            "agreement: Spearman's correlation, over examples, of the gain and the gain in likelihood",
        ),
        columns=("contrast", "quantity", "n", "mean", "agreement", "caution", "reason"),
        allows_for_documents=True,
    )
