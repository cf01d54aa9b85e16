"""Tables and figure of the faithfulness bench: what hiding tokens costs, by the measure that chose them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.faithfulness_plans import AMOUNTS, LABELS, MODES, RANDOM, SHARE, WHOLE, Mode
from budgetlens.runs.run import Run
from budgetlens.statistics.column_splits import means_of_columns
from budgetlens.tables.presentation import Table, documents_resampled, sample
from figures import token_curves

#: What is to be known of every number here.
NOTES = (
    "tokens are hidden from the decoder, and their states were made with all of them there: what others took from them in "
    "the encoder stays",
    "off-distribution: no model was trained on documents with holes; hiding is no proof of need, and a measure is good here "
    "by this test alone",
    "measures were read while the model predicts the right answer; ALTI+ is of input tokens, gradient × input of the "
    "encoder's final states, the others of keys",
)


def costs(run: Run, mode: Mode) -> dict[tuple[str, int], pd.Series]:
    """By measure and amount, what the choice adds to the outcome of every example, draws averaged."""
    quantity = run.outcome_quantity.name
    table = run.outcomes.pivot_table(index="example", columns="cell", values=quantity, observed=True)
    cells = run.plan.design.cells
    found = {}
    for measure in LABELS:
        for amount in AMOUNTS:
            names = [cell.name for cell in mode.at(measure, amount).cells(cells)]
            found[measure, amount] = table[names].mean(axis=1, skipna=False) - table[WHOLE.name]
    return found


def _described(run: Run, columns: pd.DataFrame) -> pd.DataFrame:
    """Means of columns over examples with their intervals: n, mean, low, high, caution, reason."""
    inference = run.inference
    means = means_of_columns(
        columns.to_numpy(float), inference, clusters=inference.labels(pd.Index(columns.index))
    )
    parts = {name: getattr(means, name) for name in ("n", "mean", "low", "high", "caution", "reason")}
    return pd.DataFrame(parts, index=columns.columns)


def curves_table(run: Run) -> pd.DataFrame:
    """Columns mode, measure, percent, n, mean, low, high, caution, reason: the curve of every measure."""
    frames = []
    for mode in MODES:
        own = _described(run, pd.DataFrame(costs(run, mode)))
        own = own.rename_axis(["measure", "percent"]).reset_index()
        frames.append(own.assign(mode=mode.words, measure=own["measure"].map(LABELS)))
    table = pd.concat(frames, ignore_index=True)
    return table[["mode", "measure", "percent", "n", "mean", "low", "high", "caution", "reason"]]


def areas_table(run: Run) -> pd.DataFrame:
    """One row per mode and measure: the area, less that of random tokens, and less that of attention shares.

    Columns mode, measure, rank, n, mean, low, high, and, for each of the two, ``random_`` and ``share_`` before mean, low,
    high; caution, reason. ``rank`` counts from 1, best first: a removal that costs most, a keeping that costs least.
    """
    frames = []
    for mode in MODES:
        by_amount = pd.DataFrame(costs(run, mode))
        areas = pd.DataFrame({measure: by_amount[measure].mean(axis=1, skipna=False) for measure in LABELS})
        own = _described(run, areas)
        for other, word in ((RANDOM, "random"), (SHARE, "share")):
            less = _described(run, areas.rsub(areas[other], axis=0) * -1.0)
            less.loc[other] = np.nan
            own = own.join(less[["mean", "low", "high"]].add_prefix(f"{word}_"))
        rank = (own["mean"] * (-1.0 if mode.costs else 1.0)).rank().astype(int)
        own = own.assign(mode=mode.words, rank=rank).rename_axis("measure").reset_index()
        frames.append(own.assign(measure=own["measure"].map(LABELS)).sort_values("rank"))
    table = pd.concat(frames, ignore_index=True)
    front = ["mode", "measure", "rank", "n", "mean", "low", "high"]
    notes = ["caution", "reason"]
    return table[[*front, *(name for name in table if name not in (*front, *notes)), *notes]]


def faithfulness_tables(run: Run) -> dict[str, Table]:
    """The measures side by side, and their curves."""
    percents = ", ".join(str(amount) for amount in AMOUNTS)
    over = f"mean over examples, and over {percents} % of the document's tokens"
    return {
        "faithfulness": _told(
            run,
            areas_table(run),
            "Which measure finds the tokens that count?",
            f"{over}, of what hiding them, or all others, adds to the answer's NLL; beside it less that of random tokens "
            "and less that of attention shares",
            "rank 1 is best: removing costs most, keeping costs least",
        ),
        "faithfulness_curves": _told(
            run,
            curves_table(run),
            "What hiding tokens costs, by how many are chosen",
            "mean over examples of what hiding the chosen tokens, or all others, adds to the answer's NLL",
        ),
    }


def _told(run: Run, frame: pd.DataFrame, title: str, estimand: str, *notes: str) -> Table:
    return Table(
        frame=frame,
        title=title,
        estimand=estimand,
        unit=run.outcome_quantity.unit,
        n=sample(run.trials["example"].nunique(), run.documents),
        family="none",
        correction="none: the table of effects tests these differences",
        seed=run.seed,
        allows_for_documents=True,
        notes=(
            *notes,
            "95 % intervals over examples, made for long tails",
            *documents_resampled(run.documents is not None),
            *NOTES,
        ),
    )


def faithfulness_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """The curves of all measures, removed and kept."""
    return {
        "faithfulness": token_curves(
            tables["faithfulness_curves"],
            quantity="what it adds to the answer's NLL",
            unit=run.outcome_quantity.short_unit,
            lines=list(LABELS.values()),
            facets=[mode.words for mode in MODES],
            title=f"Are the measures any good? {run.manifest.setting}",
        )
    }
