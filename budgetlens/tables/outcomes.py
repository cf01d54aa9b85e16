"""The tables of every probe of answers, as its declaration says: by cell, and by contrast.

No probe is known here by name. The likelihood, which every run has, has further tables in `budgetlens.tables.build`.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from budgetlens.model.declaration import Declaration
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.statistics.decisions import of_intervals
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.captions import Captions
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.presentation import Table, documents_resampled, effects_presentation, shares_documents


def outcome_tables(run: Run) -> dict[str, pd.DataFrame]:
    """NAME and NAME_effects of every probe of answers; quantities without a smallest difference are not tested."""
    tables: dict[str, pd.DataFrame] = {}
    for name, declared in run.declarations.items():
        if declared.axis or not declared.shown:
            continue
        # Where an example has no value in a cell, it is left out of what compares that cell, and counted.
        records = run.records(name)
        tables[declared.table(name, "cells")] = _by_cell(run, records, declared)
        tested = declared.tested
        if tested is not None and run.plan.contrasts:
            tables[declared.table(name, "effects")] = effects_table(
                records, run.plan.contrasts, _bounded(run.inference, tested), quantity=tested, missing="drop"
            )
    return tables


def _bounded(inference: Inference, tested: Quantity) -> Inference:
    return replace(inference, smallest_difference=float(tested.smallest_difference or 0.0))


def _by_cell(run: Run, records: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    """Means of every quantity by cell.

    Columns cell, alias, factors, quantity, n, clusters, mean, low, high, sd, median, caution (of the interval), reason.
    """
    frames = []
    for quantity in declared.quantities:
        wide = wide_cells(records, quantity.name, missing="drop").reindex(
            columns=list(run.manifest.cell_names)
        )
        described = one_sample_effects(
            wide.to_numpy(),
            run.inference,
            clusters=run.inference.labels(wide.index),
            missing="drop",
            # Only means and intervals are taken: a mean of one cell has no null to test.
            sign_flips=False,
        )
        frames += [
            {
                "cell": name,
                "quantity": quantity.name,
                "n": effect.n,
                "clusters": effect.clusters,
                "mean": effect.mean_difference,
                "low": effect.low,
                "high": effect.high,
                "sd": effect.sd,
                "median": effect.median,
                "caution": of_intervals(effect.caution),
                "reason": effect.reason,
            }
            for name, effect in zip(run.manifest.cell_names, described, strict=True)
        ]
    return with_cell_columns(pd.DataFrame(frames), run.manifest.cells)


def presented_outcome(
    captions: Captions,
    name: str,
    declared: Declaration,
    tables: dict[str, pd.DataFrame],
    inference: Inference,
) -> dict[str, Table]:
    """The tables of one probe of answers with their captions."""
    presented = {}
    cells, effects = (declared.table(name, kind) for kind in ("cells", "effects"))
    if cells in tables:
        frame = captions.conditions(tables[cells])
        presented[cells] = captions.describing(
            frame,
            title=f"{declared.title} by cell",
            estimand="mean over examples of the mean over an answer's tokens",
            unit=", ".join(f"{quantity.unit} ({quantity.label})" for quantity in declared.quantities),
            notes=(
                "95 % BCa bootstrap intervals over examples",
                *documents_resampled(shares_documents(frame)),
                CAUTION_RULE,
            ),
            columns=("condition", "quantity", "n", "mean", "median", "caution", "reason"),
        )
    tested = declared.tested
    if effects in tables and tested is not None:
        presented[effects] = effects_presentation(
            tables[effects],
            _bounded(inference, tested),
            quantity=tested,
            title=f"Paired effects on {tested.label}",
        )
    return presented
