"""A run as the explorer holds it: read once, kept in arrays, so that every view is a matter of milliseconds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.plan import Plan
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import available_probes
from budgetlens.model.trials import Example
from budgetlens.runs.manifest import Manifest, RunError
from budgetlens.runs.run import Run
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.contrasts import Contrast, comparison, wide_cells
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.tables.probe_maps import token_measure
from figures import TokenMeasure
from figures.token_measures import SHARE

Result = TypeVar("Result")

DECODER = "decoder"
#: Arrays and tables of probes that are held at once.
MOST_KEPT = 8


@dataclass(frozen=True)
class Axes:
    """What a probe saw: the stacks of its rows, and of one of them layers, heads and categories."""

    stacks: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunData:
    """One finished run: its records as arrays, its tables, and the texts of its examples.

    ``key`` names the run in addresses. ``nll`` is the outcome, one row per example and one column per cell.
    ``counts`` has the encoder's document tokens and the answer's tokens of every example.
    ``corpus`` is None where the texts could not be read; ``no_texts`` then says why. ``kept`` holds what was read of
    probes since, the latest last.
    """

    key: str
    run: Run
    nll: pd.DataFrame
    answer_tokens: pd.Series
    counts: pd.DataFrame
    corpus: Corpus | None
    no_texts: str = ""
    kept: OrderedDict[tuple[str, str], Any] = field(default_factory=OrderedDict, compare=False, repr=False)

    @property
    def manifest(self) -> Manifest:
        """What the run says of itself."""
        return self.run.manifest

    @property
    def plan(self) -> Plan:
        """Its cells and what is compared."""
        return self.run.plan

    @property
    def cells(self) -> tuple[str, ...]:
        """The names of the cells that have records, in the design's order."""
        return tuple(name for name in self.manifest.cell_names if name in self.nll.columns)

    @cached_property
    def labels(self) -> dict[str, str]:
        """A short name for every cell: its alias, else its levels."""
        names = {cell: self.manifest.labels[cell] for cell in self.cells}
        doubled = {label for label in names.values() if list(names.values()).count(label) > 1}
        return {cell: cell if label in doubled else label for cell, label in names.items()}

    @property
    def examples(self) -> tuple[str, ...]:
        """Identifiers of the examples, sorted."""
        return tuple(str(example) for example in self.nll.index)

    @cached_property
    def texts(self) -> dict[str, Example]:
        """The examples' texts by identifier; empty where the corpus could not be read."""
        return (
            {} if self.corpus is None else {example.identifier: example for example in self.corpus.examples}
        )

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of every example in the corpus, which decides its random choices."""
        return {} if self.corpus is None else {e.identifier: i for i, e in enumerate(self.corpus.examples)}

    @cached_property
    def contrasts(self) -> dict[str, Contrast]:
        """The contrasts of the table of effects, by name; those whose cells have no records are left out."""
        known = {contrast.name: contrast for contrast in self.plan.contrasts}
        found = {}
        for row in self.effects(self.run.outcome).to_dict("records"):
            contrast = known.get(str(row["contrast"]))
            if contrast is None and {row["baseline"], row["treatment"]} <= set(self.cells):
                contrast = comparison(
                    row["baseline"], row["treatment"], str(row["family"]), str(row["contrast"])
                )
            if contrast is not None and set(contrast.weights) <= set(self.cells):
                found[contrast.name] = contrast
        return found

    @cached_property
    def probes(self) -> dict[str, Declaration]:
        """What its probes of attention declare, in the order in which they were asked for."""
        return {name: own for name, own in self.run.declarations.items() if own.axis and own.shown}

    @cached_property
    def tested(self) -> dict[str, Declaration]:
        """What the probes declare whose differences are tested, the outcome first."""
        found = self.run.declarations.items()
        return {name: own for name, own in found if own.shown and own.tested is not None}

    @cached_property
    def measures(self) -> dict[str, TokenMeasure]:
        """What tokens can be shaded by: share of attention, then what rows take by every probe that is there, by name."""
        known = {name: made.declares for name, made in available_probes().items()} | dict(
            self.run.declarations
        )
        taken = {name: token_measure(name, own) for name, own in known.items() if own.contributes}
        return {SHARE.column: SHARE, **taken}

    def arrays(self, probe: str, quantity: str) -> tuple[BudgetArray, ...]:
        """A quantity of a probe of attention, one array per stack and block, its examples as in ``nll``."""
        return self._once((probe, quantity), lambda: tuple(_aligned(self, probe, quantity)))

    def wide(self, probe: str) -> pd.DataFrame:
        """The tested quantity of a probe of answers, one row per example and one column per cell."""
        declared = self.tested[probe]
        if declared.outcome or declared.tested is None:
            return self.nll
        name = declared.tested.name
        return self._once((probe, name), lambda: _wide(self.run.records(probe), name).reindex_like(self.nll))

    def effects(self, probe: str) -> pd.DataFrame:
        """The effects on a probe of answers over all examples: the run's own table, else computed."""
        name = self.tested[probe].table(probe, "effects")

        def read() -> pd.DataFrame:
            found = self.run.table(name) if name in self.run.table_names else pd.DataFrame()
            # Runs of earlier versions do not say of what kind an effect is.
            if "kind" in found:
                return found
            return subset_effects(self, np.ones(len(self.nll), dtype=bool), self.run.inference, probe)

        return self._once((probe, "effects"), read)

    def axes(self, probe: str, stack: str) -> Axes:
        """What a probe saw in the rows of a stack; nothing where it is none of the run's, or read no such rows."""
        if probe not in self.probes:
            return Axes()
        declared = self.probes[probe]
        arrays = self.arrays(probe, (declared.tested or declared.quantities[0]).name)
        own = [array for array in arrays if array.stack == stack]
        return Axes(
            stacks=tuple(sorted({array.stack for array in arrays})),
            layers=tuple(sorted({layer for array in own for layer in array.layers})),
            heads=()
            if declared.averages_heads
            else tuple(sorted({head for array in own for head in array.heads})),
            categories=tuple(declared.ordered({name for array in own for name in array.roles})),
        )

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder layers whose attention was recorded."""
        return self.axes(next(iter(self.probes), ""), DECODER).layers

    @property
    def heads(self) -> tuple[int, ...]:
        """Decoder heads whose attention was recorded."""
        return self.axes(next(iter(self.probes), ""), DECODER).heads

    def _once(self, key: tuple[str, str], read: Callable[[], Result]) -> Result:
        """What ``read`` gives, kept until so many other things were read; records of attention may be large."""
        found: Result | None = self.kept.get(key)
        if found is None:
            found = self.kept[key] = read()
            while len(self.kept) > MOST_KEPT:
                self.kept.popitem(last=False)
        return found

    @property
    def title(self) -> str:
        """What the run is, in a line."""
        manifest = self.manifest
        return (
            f"{manifest.analysis} ({manifest.protocol}) · {manifest.model.name} · "
            f"{manifest.corpus.name}, n = {len(self.nll):,}"
        )


def load_runs(
    paths: Sequence[Path], *, corpus: str | None = None, trusted: bool = True
) -> dict[str, RunData]:
    """Finished runs by their keys, in the order given.

    ``corpus`` is where the examples' texts lie, if not where the run found them; where the runs are not ``trusted``, a
    path that they alone name is not opened. Raises RunError for a
    directory that is no finished run.
    """
    runs: dict[str, RunData] = {}
    for path in paths:
        resolved = Path(path)
        key = name = resolved.resolve().name
        number = 2
        while key in runs:
            key, number = f"{name}-{number}", number + 1
        runs[key] = load_run(resolved, key=key, corpus=corpus, trusted=trusted)
    return runs


def load_run(
    path: Path, *, key: str | None = None, corpus: str | None = None, trusted: bool = True
) -> RunData:
    """Read a finished run once, with the texts of :func:`load_runs`. Raises RunError where it is none, or not finished."""
    run = Run.open(path, corpus=corpus)
    if not any(declared.outcome for declared in run.declarations.values()):
        raise RunError(
            f"{path} has no records of its own (analysis {run.manifest.analysis}); give one of the runs that it rests on"
        )
    records = run.outcomes
    nll = _wide(records, run.outcome_quantity.name)
    tokens = (
        records.assign(example=records["example"].astype(str)).groupby("example")["answer_tokens"].first()
    )
    trials = run.trials[["example", "document_tokens"]]
    counts = trials.assign(example=trials["example"].astype(str)).groupby("example").max().reindex(nll.index)
    texts, reason = run.texts(trusted=trusted)
    data = RunData(
        key=key or run.name,
        run=run,
        nll=nll,
        answer_tokens=tokens.reindex(nll.index),
        counts=counts,
        corpus=texts,
        no_texts=reason,
    )
    # What is looked at first is read before anything is served, and what was altered told of.
    data.effects(run.outcome)
    _ = data.layers
    return data


def _wide(records: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """A quantity with one row per example and one column per cell; examples without a value in some cell left out."""
    wide = wide_cells(records, quantity, missing="drop")
    return wide.set_axis(wide.index.astype(str)).set_axis(wide.columns.astype(str), axis=1)


def _aligned(data: RunData, probe: str, quantity: str) -> list[BudgetArray]:
    arrays = []
    nll = data.nll
    for budget in data.run.arrays(probe, data.run.declarations[probe].axis, (quantity,))[quantity]:
        # In the order of the NLL's examples, so that one mask serves both.
        order = pd.Index([str(example) for example in budget.examples]).get_indexer(nll.index)
        same = (
            (order == np.arange(len(budget.examples))).all() if len(order) == len(budget.examples) else False
        )
        values = budget.values if same else budget.values[:, order]
        if not same:
            values[:, order < 0] = np.nan
        arrays.append(replace(budget, examples=tuple(nll.index), values=values))
    return arrays


#: Resamples and sign patterns for a part of the examples: enough to look, and done in a tenth of a second.
RESAMPLES = 1_999


def subset_effects(
    data: RunData, chosen: NDArray[np.bool_], inference: Inference, probe: str
) -> pd.DataFrame:
    """The effects on a probe of answers over some of the examples; ``chosen`` is a mask over them."""
    declared = data.tested[probe]
    tested = declared.tested
    assert tested is not None  # it is among the tested ones
    own = data.wide(probe)[chosen]
    long = (
        own.rename_axis(index="example", columns="cell")
        .stack(future_stack=True)
        .rename(tested.name)
        .reset_index()
    )
    if declared.by_token:
        long["answer_tokens"] = long["example"].map(data.answer_tokens)
    contrasts = [c for c in data.plan.contrasts if set(c.weights) <= set(data.cells)]
    return effects_table(long, contrasts, inference.of(tested), quantity=tested, missing="drop")
