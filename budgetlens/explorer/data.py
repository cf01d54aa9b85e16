"""A run as the explorer holds it: read once, kept in arrays, so that every view is a matter of milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.plan import Plan
from budgetlens.model.roles import ROLES
from budgetlens.model.trials import Example
from budgetlens.runs.manifest import Manifest, RunError
from budgetlens.runs.run import Run
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.contrasts import Contrast, comparison, wide_cells
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference


@dataclass(frozen=True)
class RunData:
    """One finished run: its records as arrays, its tables, and the texts of its examples.

    ``key`` names the run in addresses. ``nll`` has one row per example and one column per cell, in nats per
    answer token. ``counts`` has the encoder's document tokens and the answer's tokens of every example.
    ``corpus`` is None where the texts could not be read; ``no_texts`` then says why.
    """

    key: str
    run: Run
    nll: pd.DataFrame
    answer_tokens: pd.Series
    counts: pd.DataFrame
    budgets: tuple[BudgetArray, ...]
    tables: Mapping[str, pd.DataFrame]
    corpus: Corpus | None
    no_texts: str = ""
    warnings: tuple[str, ...] = ()
    _labels: Mapping[str, str] = field(default_factory=dict)

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
        for row in self.tables["effects"].to_dict("records"):
            contrast = known.get(str(row["contrast"]))
            if contrast is None and {row["baseline"], row["treatment"]} <= set(self.cells):
                contrast = comparison(
                    row["baseline"], row["treatment"], str(row["family"]), str(row["contrast"])
                )
            if contrast is not None and set(contrast.weights) <= set(self.cells):
                found[contrast.name] = contrast
        return found

    @property
    def decoder_budgets(self) -> tuple[BudgetArray, ...]:
        """Budgets of the decoder's rows, one array per block."""
        return tuple(budget for budget in self.budgets if budget.stack == "decoder")

    @property
    def layers(self) -> tuple[int, ...]:
        """Decoder layers whose attention was recorded."""
        return tuple(sorted({layer for budget in self.decoder_budgets for layer in budget.layers}))

    @property
    def heads(self) -> tuple[int, ...]:
        """Decoder heads whose attention was recorded."""
        return tuple(sorted({head for budget in self.decoder_budgets for head in budget.heads}))

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles that the decoder's keys have."""
        known = {role for budget in self.decoder_budgets for role in budget.roles}
        return tuple(role for role in ROLES if role in known)

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
    if "likelihood" not in run.kinds:
        raise RunError(
            f"{path} has no records of its own (analysis {run.manifest.analysis}); give one of the runs that it rests on"
        )
    likelihood = run.likelihood
    nll = wide_cells(likelihood, "nll", missing="drop")
    nll.index = nll.index.astype(str)
    nll.columns = nll.columns.astype(str)
    tokens = (
        likelihood.assign(example=likelihood["example"].astype(str))
        .groupby("example")["answer_tokens"]
        .first()
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
        budgets=tuple(_budgets(run, nll)),
        tables={},
        corpus=texts,
        no_texts=reason,
    )
    return replace(data, tables=_tables(data))


def _budgets(run: Run, nll: pd.DataFrame) -> list[BudgetArray]:
    arrays = []
    for budget in run.budgets():
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


def _tables(data: RunData) -> dict[str, pd.DataFrame]:
    """The run's own tables where they lie beside the records; the effects are computed where they do not."""
    there = data.run.table_names
    tables: dict[str, pd.DataFrame] = {
        name: data.run.table(name) for name in ("effects", "shares", "share_effects") if name in there
    }
    # Runs of earlier versions do not say of what kind an effect is.
    if "effects" not in tables or "kind" not in tables["effects"]:
        tables["effects"] = subset_effects(data, np.ones(len(data.nll), dtype=bool), data.run.inference)
    return tables


#: Resamples and sign patterns for a part of the examples: enough to look, and done in a tenth of a second.
RESAMPLES = 1_999


def subset_effects(data: RunData, chosen: np.ndarray, inference: Inference) -> pd.DataFrame:
    """The table of effects over some of the examples; ``chosen`` is a mask over them."""
    own = data.nll[chosen]
    long = own.rename_axis(index="example", columns="cell").stack().rename("nll").reset_index()
    long["answer_tokens"] = long["example"].map(data.answer_tokens)
    contrasts = [c for c in data.plan.contrasts if set(c.weights) <= set(data.cells)]
    return effects_table(long, contrasts, inference, missing="drop")
