"""A finished run analysed again by the length of its answers, without a model.

The statistics are those of :mod:`budgetlens.statistics.strata`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analyses.studies.prefix_ratios import RatioOf, ratio_frame
from budgetlens.design.plan import Plan
from budgetlens.runs.manifest import CellFacts, RunError
from budgetlens.runs.run import Run
from budgetlens.statistics.bands import share_table
from budgetlens.statistics.budget_arrays import BudgetArray, by_document
from budgetlens.statistics.contrasts import Contrast, contrast_values, reference_means, wide_cells
from budgetlens.statistics.decisions import of_intervals
from budgetlens.statistics.effects import with_verdicts
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.strata import (
    ANSWER_LENGTH_EDGES,
    FACTOID_EDGES,
    length_strata,
    strata_table,
    trend_tests,
)
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.run_statistics import with_trend_verdicts

#: The published stratifications by words of the answer.
SPLIT, BINS = "short or long", "bins"
STRATIFICATIONS: Mapping[str, tuple[int, ...]] = {SPLIT: FACTOID_EDGES, BINS: ANSWER_LENGTH_EDGES}
#: The stratum of every example.
ALL = "all"


@dataclass(frozen=True)
class Records:
    """What a re-analysis reads of a run: answer NLL, one row per example and one column per cell, and answer words.

    ``documents`` (index example) names the document of each example where some share one.
    """

    nll: pd.DataFrame
    answer_words: pd.Series
    budgets: tuple[BudgetArray, ...] = ()
    documents: pd.Series | None = None

    def strata(self) -> dict[str, pd.Series]:
        """The stratum of every example (index example), by stratification."""
        return {
            name: length_strata(self.answer_words, edges).rename("stratum")
            for name, edges in STRATIFICATIONS.items()
        }


def read_source(run: Run) -> Records:
    """The records of a run. Raises RunError where it is too old to know the answers' words."""
    nll = wide_cells(run.outcomes, "nll")
    trials = run.trials
    if "answer_words" not in trials.columns:
        raise RunError(f"the records of {run.path} hold no answer_words; run it again with this version")
    words = trials.assign(example=trials["example"].astype(str)).groupby("example")["answer_words"].first()
    return Records(
        nll,
        words.reindex(nll.index.astype(str)).set_axis(nll.index),
        tuple(run.observed("budgets")),
        run.documents,
    )


def effects_by_stratum(records: Records, plan: Plan, inference: Inference) -> pd.DataFrame:
    """Every contrast of the plan's families of prefixes and interactions, in every stratum.

    Columns by (stratification), stratum, contrast, family, the fields of `PairedEffect`, corrected p (one
    family: the contrasts of one family in the strata of one stratification) and verdict.
    """
    contrasts = reported(plan)
    values = contrast_values(records.nll, contrasts)
    references = reference_means(records.nll, contrasts)
    frames = []
    for by, strata in records.strata().items():
        for contrast, reference in zip(contrasts, references, strict=True):
            own = strata_table(values[contrast.name], strata, inference, reference=float(reference))
            own.insert(0, "by", by)
            own.insert(2, "contrast", contrast.name)
            own.insert(3, "family", f"{contrast.family} by {by}")
            own.insert(4, "order", contrast.effect_order)
            frames.append(own)
    return with_verdicts(pd.concat(frames, ignore_index=True), inference)


def reported(plan: Plan) -> tuple[Contrast, ...]:
    """The contrasts that are reported by stratum: prefixes against bare, and interactions with the prompt."""
    return tuple(
        contrast for contrast in plan.contrasts if contrast.family.startswith(("prefix", "interaction"))
    )


def trends(records: Records, plan: Plan, inference: Inference) -> pd.DataFrame:
    """The trend of every contrast over the bins, and the difference between long and short answers.

    Columns by, contrast, n (documents where examples share them), strata, slope (per bin; long minus short for the
    split), low, high, p, p_holm (Holm over the contrasts of one stratification), verdict, caution, reason.
    """
    contrasts = reported(plan)
    values = contrast_values(records.nll, contrasts)
    frames = []
    for by, strata in records.strata().items():
        found = trend_tests([(values[name], strata) for name in values.columns], inference)
        rows = [
            {"by": by, "contrast": name, **trend.as_row()}
            for name, trend in zip(values.columns, found, strict=True)
        ]
        frames.append(with_trend_verdicts(pd.DataFrame(rows), inference))
    return pd.concat(frames, ignore_index=True)


def likelihood_by_stratum(records: Records, cells: Sequence[CellFacts], inference: Inference) -> pd.DataFrame:
    """Answer NLL of every cell in every stratum: by, stratum, n, clusters, mean answer words, mean, low, high, caution."""
    names = [cell.name for cell in cells]
    frames = []
    for by, stratum, members in _members(records):
        described = one_sample_effects(
            records.nll.loc[members, names].to_numpy(),
            inference,
            clusters=inference.labels(members),
            sign_flips=False,
        )
        rows = [
            {
                "cell": name,
                "by": by,
                "stratum": stratum,
                "n": effect.n,
                "clusters": effect.clusters,
                "mean_answer_words": float(records.answer_words[members].mean()),
                "mean": effect.mean_difference,
                "low": effect.low,
                "high": effect.high,
                "caution": of_intervals(effect.caution),
                "reason": effect.reason if pd.isna(effect.low) else "",
            }
            for name, effect in zip(names, described, strict=True)
        ]
        frames.append(with_cell_columns(pd.DataFrame(rows), cells))
    return pd.concat(frames, ignore_index=True)


def ratios_by_stratum(
    records: Records, plan: Plan, ratios: tuple[RatioOf, ...], inference: Inference
) -> pd.DataFrame:
    """The ratios of prefix effects in every stratum and over all: by, stratum, and the columns of `ratio_frame`."""
    every = [("", ALL, records.nll.index), *_members(records)]
    frames = []
    for by, stratum, members in every:
        frame = ratio_frame(records.nll.loc[members], plan, ratios, inference)
        frame.insert(0, "by", by)
        frame.insert(1, "stratum", stratum)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def shares_by_stratum(records: Records, cells: Sequence[CellFacts], inference: Inference) -> pd.DataFrame:
    """Attention shares of the decoder in the two strata of the split: stratum, and the columns of `share_table`."""
    strata = records.strata()[SPLIT]
    frames = []
    for stratum in strata.cat.categories:
        members = {str(example) for example in strata.index[strata == stratum]}
        for budget in records.budgets:
            places = [place for place, example in enumerate(budget.examples) if str(example) in members]
            if budget.stack != "decoder" or not places:
                continue
            own = replace(
                budget,
                examples=tuple(budget.examples[place] for place in places),
                values=budget.values[:, places],
            )
            own = by_document([own], inference.clusters)[0]
            table = with_cell_columns(share_table(own, inference), cells)
            table.insert(0, "stratum", str(stratum))
            frames.append(table)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _members(records: Records) -> list[tuple[str, str, pd.Index]]:
    """Stratification, stratum and the examples in it, for every stratum that has any."""
    return [
        (by, str(level), strata.index[strata == level])
        for by, strata in records.strata().items()
        for level in strata.cat.categories
        if (strata == level).any()
    ]
