"""The tables of every probe of answers, as its declaration says: by cell, and by contrast.

No probe is known here by name. The run's outcome, which every run has, has further tables: what the plan splits, analysis
of variance, strata and seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from budgetlens.model.declaration import Declaration
from budgetlens.runs.manifest import CellFacts
from budgetlens.runs.run import Run
from budgetlens.statistics.bounded import SHARE
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.statistics.decisions import of_intervals
from budgetlens.statistics.effects import bounded_effect, effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.live import idle_in_every_example, live_cells, same_in_every_example
from budgetlens.statistics.paired import Missing, PairedEffect, one_sample_effects
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.ratios import decompositions
from budgetlens.statistics.verdicts import BOUNDED, CAUTION_RULE, LONG_TAILED
from budgetlens.tables.captions import Captions
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.presentation import Table, documents_resampled, effects_presentation, shares_documents
from budgetlens.tables.run_statistics import anova_table, seeds_table, strata_tables


def outcome_tables(run: Run) -> dict[str, pd.DataFrame]:
    """NAME and NAME_effects of every probe of answers, and NAME_QUANTITY_effects of further quantities that are tested;
    those without a smallest difference are not.

    A kind of table that the design does not allow is left out.
    """
    tables: dict[str, pd.DataFrame] = {}
    for name, declared in run.declarations.items():
        if declared.axis or not declared.shown:
            continue
        records = run.outcomes if declared.outcome else run.records(name)
        tables[declared.table(name, "cells")] = by_cell(records, declared, run.manifest.cells, run.inference)
        tables |= effects_on(run, name)
        if declared.outcome:
            found = _of_the_outcome(run, tables.get(declared.table(name, "effects")))
            tables |= {kind: table for kind, table in found.items() if len(table)}
    return tables


def effects_on(run: Run, probe: str) -> dict[str, pd.DataFrame]:
    """The tables of effects on what a probe of answers tests, by name; none of a run without contrasts."""
    declared = run.declarations[probe]
    records = run.outcomes if declared.outcome else run.records(probe)
    return {
        table: effects_table(
            records,
            run.plan.contrasts,
            run.inference.of(tested),
            quantity=tested,
            missing=_missing(declared),
        )
        for table, tested in (declared.effects_of(probe) if run.plan.contrasts else {}).items()
    }


def _of_the_outcome(run: Run, effects: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    """What the plan splits, analysis of variance, strata with their trends, and seeds; empty where there are none."""
    plan, records, trials, quantity = run.plan, run.outcomes, run.trials, run.outcome_quantity
    inference, factors = run.inference.of(quantity), run.manifest.factors
    tables: dict[str, pd.DataFrame] = {}
    if plan.splits:
        splits = [(split.total, split.parts) for split in plan.splits]
        tables["decomposition"] = decompositions(records, splits, inference, quantity.name)
    facts = trials[trials["cell"] == run.manifest.cells[0].name]
    tables["anova"] = anova_table(records, _live(factors, trials), inference, quantity)
    tables["strata"], tables["trends"] = strata_tables(
        records, facts, plan.headline_contrasts, inference, quantity
    )
    tables["seeds"] = seeds_table(records, factors, plan.contrasts, inference, quantity, effects=effects)
    return tables


def _live(factors: Mapping[str, Mapping[str, str]], trials: pd.DataFrame) -> Mapping[str, Mapping[str, str]]:
    """The cells in which every factor acts."""
    return live_cells(factors, idle_in_every_example(trials), same_in_every_example(trials))


def _missing(declared: Declaration) -> Missing:
    """What a value that is not there does: every trial has an outcome; of others the example is left out and counted."""
    return "refuse" if declared.outcome else "drop"


def by_cell(
    records: pd.DataFrame, declared: Declaration, cells: Sequence[CellFacts], inference: Inference
) -> pd.DataFrame:
    """Means of every quantity by cell over examples, with intervals.

    Columns cell, alias, factors, quantity (where there are several), n, clusters (independent units), mean, low, high,
    sd, median, trimmed_mean, token_weighted_mean (of a probe ``by_token``), caution (of the interval) and reason.
    """
    names = [cell.name for cell in cells]
    rows = []
    for quantity in declared.quantities:
        wide = wide_cells(records, quantity.name, missing=_missing(declared)).reindex(columns=names)
        weights = None
        if declared.by_token:
            tokens = records.groupby("example", observed=True)["answer_tokens"].first()
            weights = tokens.loc[wide.index].to_numpy()
        # Only means and intervals are taken: a mean of one cell has no null to test.
        described = one_sample_effects(
            wide.to_numpy(),
            inference,
            weights=weights,
            clusters=inference.labels(wide.index),
            missing=_missing(declared),
            sign_flips=False,
        )
        rows += [
            {
                "cell": name,
                **({"quantity": quantity.name} if len(declared.quantities) > 1 else {}),
                "n": effect.n,
                "clusters": effect.clusters,
                "mean": effect.mean_difference,
                "low": effect.low,
                "high": effect.high,
                "sd": effect.sd,
                "median": effect.median,
                "trimmed_mean": effect.trimmed_mean,
                **({"token_weighted_mean": effect.token_weighted_mean} if declared.by_token else {}),
                "caution": of_intervals(effect.caution),
                "reason": effect.reason,
            }
            for name, effect in zip(names, _within_bounds(described, wide, quantity, inference), strict=True)
        ]
    return with_cell_columns(pd.DataFrame(rows), cells)


def _within_bounds(
    described: Sequence[PairedEffect], wide: pd.DataFrame, quantity: Quantity, inference: Inference
) -> Sequence[PairedEffect]:
    """Means of cells with intervals that keep to the quantity's bounds, where it has any."""
    if not quantity.bounded:
        return described
    labels = inference.labels(wide.index)
    return [
        bounded_effect(effect, wide[cell].to_numpy(dtype=float), SHARE, labels, inference.confidence)
        for effect, cell in zip(described, wide, strict=True)
    ]


def _interval_notes(declared: Declaration) -> tuple[str, ...]:
    """How the intervals of a probe's means are made, of those with bounds and of those without."""
    kinds = {quantity.bounded: None for quantity in declared.quantities}
    notes = []
    if False in kinds:
        of = " of what has no bounds" if True in kinds else ""
        notes += [f"95 % intervals over examples{of}, {LONG_TAILED}", CAUTION_RULE]
    if True in kinds:
        of = " of what lies between 0 and 1" if False in kinds else ""
        notes.append(f"95 % intervals over examples{of}: {BOUNDED}")
    return tuple(notes)


def presented_outcome(
    captions: Captions,
    name: str,
    declared: Declaration,
    tables: Mapping[str, pd.DataFrame],
    inference: Inference,
) -> dict[str, Table]:
    """The tables of one probe of answers with their captions."""
    presented = {}
    cells = declared.table(name, "cells")
    if cells in tables:
        frame = captions.conditions(tables[cells])
        several = len(declared.quantities) > 1
        presented[cells] = captions.describing(
            frame,
            title=f"{declared.label.long} by cell",
            estimand=declared.estimand,
            unit=", ".join(
                f"{quantity.unit} ({quantity.label})" if several else quantity.unit
                for quantity in declared.quantities
            ),
            notes=(
                *_interval_notes(declared),
                *documents_resampled(shares_documents(frame)),
            ),
            columns=(
                "condition",
                "quantity",
                "n",
                "mean",
                "median",
                "trimmed_mean",
                "token_weighted_mean",
                "caution",
                "reason",
            ),
        )
    for table, tested in declared.effects_of(name).items():
        if table in tables:
            presented[table] = effects_presentation(
                tables[table],
                inference.of(tested),
                quantity=tested,
                title="Paired effects" if declared.outcome else f"Paired effects on {tested.label}",
            )
    return presented
