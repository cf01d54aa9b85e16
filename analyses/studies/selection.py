"""Table and figure of select or condition: what seeing a part of the document costs, by who has chosen the part."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.selection_plans import AMOUNTS, PLACES, RANDOM, SCORES, Place
from budgetlens.runs.run import Run
from budgetlens.statistics.column_splits import means_of_columns
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.presentation import Table, documents_resampled, sample
from figures import selection_curves

#: A kept part of all has nothing to choose: every curve ends there.
WHOLE = 100
COLUMNS = ("states", "score", "kept", "n", "nll", "mean", "low", "high", "over_random")


def losses(wide: pd.DataFrame, place: Place) -> pd.DataFrame:
    """What each selection loses, by example (rows): NLL of the part less that of the whole, in nats per answer token.

    Columns are (score, percent); draws of a random part are averaged.
    """
    whole = wide[place.cell().name]
    found = {
        (score.words, amount): wide[[place.cell(level).name for level in score.levels(amount)]].mean(axis=1)
        - whole
        for score in place.scores
        for amount in AMOUNTS
    }
    return pd.DataFrame(found)


def selection_frame(run: Run) -> pd.DataFrame:
    """Columns states, score, kept, n, nll, mean, low, high, over_random, over_low, over_high, caution, reason.

    ``mean`` is what a selection loses against the whole document, ``over_random`` how much less that is than what as large
    a random part loses, each with its interval; ``nll`` is the mean with the part alone.
    """
    wide = wide_cells(run.outcomes, run.outcome_quantity.name)
    frames = []
    for place in PLACES:
        lost = losses(wide, place)
        floor = (
            lost[RANDOM.words].reindex(columns=[amount for _, amount in lost]).set_axis(lost.columns, axis=1)
        )
        own, over = _means(run, lost), _means(run, floor - lost)
        over = over[["mean", "low", "high"]].set_axis(["over_random", "over_low", "over_high"], axis=1)
        # Random parts over random ones are no question.
        over.loc[[score == RANDOM.words for score, _ in over.index]] = np.nan
        nll = (lost.mean() + wide[place.cell().name].mean()).rename("nll")
        frames.append(
            own.join(over).join(nll).rename_axis(["score", "kept"]).reset_index().assign(states=place.words)
        )
    frame = pd.concat(frames, ignore_index=True)
    return frame[[*COLUMNS, "over_low", "over_high", "caution", "reason"]]


def _means(run: Run, columns: pd.DataFrame) -> pd.DataFrame:
    """Means over examples with their intervals, a row per column."""
    found = means_of_columns(
        columns.to_numpy(float), run.inference, clusters=run.inference.labels(pd.Index(columns.index))
    )
    names = ("n", "mean", "low", "high", "caution", "reason")
    return pd.DataFrame({name: getattr(found, name) for name in names}, index=columns.columns)


def selection_tables(run: Run) -> dict[str, Table]:
    """What every selection loses, and over random."""
    return {
        "selection": Table(
            frame=selection_frame(run),
            title="What seeing a part of the document costs",
            estimand="mean over examples of the answer's NLL with a part of the document less that with all of it; "
            "over_random: what a random part of the size loses more",
            unit="nats per answer token; kept: percent of the document's tokens",
            n=sample(run.trials["example"].nunique(), run.documents),
            family="none",
            correction="none: what is tested stands in the table of effects",
            seed=run.seed,
            notes=(
                "95 % intervals over examples, made for long tails",
                *documents_resampled(run.documents is not None),
                CAUTION_RULE,
                "attention and norms: what rows look at most and take most from, mean over them, heads and layers; the "
                "oracle's rows hold the right answer; random: mean over draws",
            ),
            columns=(*COLUMNS, "caution", "reason"),
            allows_for_documents=True,
        )
    }


def selection_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """What is lost by the size of the part, a line for every way of choosing it."""
    table = tables["selection"]
    # Where all is kept nothing is lost, by construction.
    ends = table.drop_duplicates(["states", "score"]).assign(kept=WHOLE, mean=0.0, low=0.0, high=0.0)
    return {
        "selection": selection_curves(
            pd.concat([table, ends], ignore_index=True),
            order={"score": [score.words for score in SCORES], "states": [place.words for place in PLACES]},
            title=f"What seeing a part of the document costs: {run.manifest.setting}",
        )
    }
