"""Statistics that a run of any design gets from its records: analysis of variance, strata, seeds, documents.

Everything here takes records as DataFrames and the cells as run.json names them; nothing needs to know which
analysis it is. The contrasts are those that the plan names as its headlines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from budgetlens.statistics.contrasts import Contrast, contrast_values, reference_means, wide_cells
from budgetlens.statistics.crossings import contrasts_by_draw, full_crossings
from budgetlens.statistics.decisions import DOCUMENT_MEANS, REGRESSION, decide, joined
from budgetlens.statistics.effects import adjusted_p, with_verdicts
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.strata import (
    length_strata,
    quantile_strata,
    range_strata,
    seed_effect,
    trend_tests,
)
from budgetlens.statistics.variance import repeated_measures_anova
from budgetlens.statistics.verdicts import ANSWER_NLL, SLOPE, verdict

#: Strata are many and small: fewer draws than for the effects themselves.
RESAMPLES = 1_999

ANSWER_WORDS, ANSWER_TOKENS = "answer length (words)", "answer length (tokens)"
DOCUMENT_WORDS, DOCUMENT_TOKENS = "document length (words)", "document length (tokens)"
BASELINE_NLL, MEAN_NLL = "baseline NLL", "mean NLL of both sides"


def anova_table(
    likelihood: pd.DataFrame,
    cells: Mapping[str, Mapping[str, str]],
    inference: Inference,
    quantity: Quantity = ANSWER_NLL,
) -> pd.DataFrame:
    """Repeated-measures analysis of variance of answer NLL for every full crossing of factors in the cells.

    Draws of one level are averaged per example; where examples share a document, the document's mean is the
    unit. Cells outside a crossing are left out of it.

    Args:
        likelihood: columns example, cell, nll.
        cells: cell name to factor levels, in the design's order.
        inference: which documents examples share.
        quantity: the column that is analysed.

    Returns:
        Columns crossing, cells_left_out, the columns of `repeated_measures_anova`, and p_holm: Holm within a
        crossing on the Greenhouse-Geisser p.
    """
    wide = wide_cells(likelihood, quantity.name, missing="drop")
    documents = inference.labels(wide.index)
    if documents is not None:
        wide = wide.groupby(documents).mean()
    frames = []
    for crossing in full_crossings({cell: levels for cell, levels in cells.items() if cell in wide}):
        values = pd.DataFrame(
            {name: wide[list(own)].mean(axis=1, skipna=False) for name, own in crossing.cells.items()}
        )
        table = repeated_measures_anova(values, crossing.factors)
        table.insert(0, "crossing", crossing.words)
        table.insert(1, "cells_left_out", len(cells) - sum(len(own) for own in crossing.cells.values()))
        table.insert(len(table.columns) - 1, "p_holm", adjusted_p(table["p_greenhouse_geisser"].to_numpy()))
        frames.append(table)
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def strata_tables(
    likelihood: pd.DataFrame,
    trials: pd.DataFrame,
    contrasts: Sequence[Contrast],
    inference: Inference,
    quantity: Quantity = ANSWER_NLL,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Effects by answer length, document length and hardness, and the trends over these strata.

    Args:
        likelihood: columns example, cell, answer_tokens, nll.
        trials: one row per example: document_words and answer_words, else document_tokens.
        contrasts: the headline contrasts.
        inference: as in `effects_table`; no more than `RESAMPLES` are drawn.
        quantity: the column that is compared; which way is better gives the verdict its words.

    Returns:
        Strata: columns contrast, by, stratum, family, order, the fields of `PairedEffect`, corrected p and
        verdict; one family is a contrast over the strata of one kind. Trends: columns contrast, by, family,
        n, strata, slope (change per stratum), low, high, p, p_holm, kind, verdict, caution, reason; one family is every
        contrast over one kind of strata.
    """
    if not contrasts:
        return pd.DataFrame(), pd.DataFrame()
    wide = wide_cells(likelihood, quantity.name, missing="drop")
    values = contrast_values(wide, contrasts)
    values.columns = range(len(contrasts))
    references = reference_means(wide, contrasts)
    tokens = likelihood.groupby("example", observed=True)["answer_tokens"].first().reindex(wide.index)
    few = inference.at_most(RESAMPLES)
    strata = _strata(wide, values, contrasts, tokens, trials)
    rows = []
    for by, own in strata.items():
        for columns, stratum in own:
            for level in stratum.cat.categories:
                members = (stratum == level).to_numpy()
                if not members.any():
                    continue
                effects = one_sample_effects(
                    values.loc[members, columns].to_numpy(),
                    few,
                    references=references[columns],
                    weights=tokens[members].to_numpy(),
                    clusters=few.labels(wide.index[members]),
                )
                for column, effect in zip(columns, effects, strict=True):
                    rows.append({"column": column, "by": by, "stratum": str(level), **effect.as_row()})
    table = pd.DataFrame(rows)
    kinds = {by: number for number, by in enumerate(strata)}
    table = table.sort_values(
        ["column", "by"], key=lambda key: key.map(kinds) if key.name == "by" else key, kind="stable"
    )
    table.insert(0, "contrast", [contrasts[column].name for column in table["column"]])
    table.insert(3, "family", table["contrast"] + " by " + table["by"])
    table.insert(4, "order", [contrasts[column].effect_order for column in table["column"]])
    table = table.drop(columns="column").reset_index(drop=True)
    noted = table["by"] == BASELINE_NLL
    table.loc[noted, "caution"] = [joined(own, REGRESSION) for own in table.loc[noted, "caution"]]
    return with_verdicts(table, few, quantity), _trends(values, strata, contrasts, few)


def _strata(
    wide: pd.DataFrame,
    values: pd.DataFrame,
    contrasts: Sequence[Contrast],
    tokens: pd.Series,
    trials: pd.DataFrame,
) -> dict[str, list[tuple[list[int], pd.Series]]]:
    """Kind of strata to the columns of `values` that share a stratification, with it."""
    every = list(values.columns)
    facts = trials.set_index("example").reindex(wide.index)
    if "answer_words" in facts:
        answers = {ANSWER_WORDS: length_strata(facts["answer_words"])}
    else:
        answers = {ANSWER_TOKENS: range_strata(tokens)}
    # Words of the corpus's document where they are known: padding and limits change its tokens.
    by_document, column_name = (
        (DOCUMENT_WORDS, "document_words")
        if "document_words" in facts
        else (DOCUMENT_TOKENS, "document_tokens")
    )
    documents = range_strata(facts[column_name])
    sides = {BASELINE_NLL: [], MEAN_NLL: []}  # type: dict[str, list[tuple[list[int], pd.Series]]]
    for column, contrast in zip(every, contrasts, strict=True):
        baseline, treatment = (_side(wide, contrast, sign) for sign in (1, -1))
        sides[BASELINE_NLL].append(([column], quantile_strata(baseline)))
        sides[MEAN_NLL].append(([column], quantile_strata((baseline + treatment) / 2)))
    return {
        **{by: [(every, stratum)] for by, stratum in answers.items()},
        by_document: [(every, documents)],
        **sides,
    }


def _side(wide: pd.DataFrame, contrast: Contrast, sign: int) -> pd.Series:
    """Mean NLL of the cells on one side of a contrast, by their weights."""
    weights = {cell: sign * weight for cell, weight in contrast.weights.items() if sign * weight > 0}
    return sum(wide[cell] * weight for cell, weight in weights.items()) / sum(weights.values())


def _trends(
    values: pd.DataFrame,
    strata: Mapping[str, list[tuple[list[int], pd.Series]]],
    contrasts: Sequence[Contrast],
    inference: Inference,
) -> pd.DataFrame:
    keys = [
        (by, column, stratum) for by, own in strata.items() for columns, stratum in own for column in columns
    ]
    found = trend_tests([(values[column], stratum) for _, column, stratum in keys], inference)
    rows = []
    for (by, column, _), trend in zip(keys, found, strict=True):
        row = trend.as_row()
        caution = joined(
            str(row["caution"]),
            REGRESSION if by == BASELINE_NLL else "",
            DOCUMENT_MEANS if inference.clusters is not None else "",
        )
        rows.append({"contrast": contrasts[column].name, "by": by, "family": by, **row, "caution": caution})
    table = pd.DataFrame(rows)
    families = [with_trend_verdicts(own, inference) for _, own in table.groupby("family", sort=False)]
    return pd.concat(families, ignore_index=True)


def with_trend_verdicts(trends: pd.DataFrame, inference: Inference) -> pd.DataFrame:
    """Add p_holm, over all rows as one family, kind and verdict to rows of `budgetlens.statistics.strata.Trend` fields.

    A slope per stratum has no smallest effect of interest, so that no verdict says that there is none.
    """
    place = trends.columns.get_loc("p") + 1
    trends = trends.copy()
    trends.insert(place, "p_holm", adjusted_p(trends["p"].to_numpy(dtype=np.float64)))
    decisions = [
        decide(low, high, p, np.nan, inference.alpha)
        for low, high, p in zip(trends["low"], trends["high"], trends["p_holm"], strict=True)
    ]
    trends.insert(place + 1, "kind", [decision.kind for decision in decisions])
    trends.insert(place + 2, "verdict", [verdict(own, np.nan, SLOPE) for own in decisions])
    return trends


def seeds_table(
    likelihood: pd.DataFrame,
    cells: Mapping[str, Mapping[str, str]],
    contrasts: Sequence[Contrast],
    inference: Inference,
    quantity: Quantity = ANSWER_NLL,
    *,
    effects: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Every contrast that holds a random level with several draws, pooled over the draws.

    Draws are a random factor within examples: examples are resampled with all their draws. The contrasts of a
    family without draws are missing here, but they were declared with the others: `effects`, the table of
    `budgetlens.statistics.effects.effects_table`, gives their p for the correction.

    Returns:
        Columns contrast, family, order, draws, the fields of `SeedEffect` (clusters: independent examples or
        documents), corrected p and verdict; no rows where no level has several draws.
    """
    pairs = contrasts_by_draw(cells, contrasts)
    if not pairs:
        return pd.DataFrame()
    wide = wide_cells(likelihood, quantity.name, missing="drop")
    rows = []
    for contrast, by_draw in pairs:
        (reference,) = reference_means(wide, [contrast])
        effect = seed_effect(contrast_values(wide, list(by_draw.values())), inference, float(reference))
        rows.append(
            {
                "contrast": contrast.name,
                "family": contrast.family,
                "order": contrast.effect_order,
                "draws": " ".join(str(draw) for draw in by_draw),
                **effect.as_row(),
            }
        )
    table = pd.DataFrame(rows)
    others = pd.DataFrame() if effects is None else effects[~effects["contrast"].isin(table["contrast"])]
    whole = with_verdicts(
        pd.concat([table, others.reindex(columns=table.columns)], ignore_index=True)
        if len(others)
        else table,
        inference,
        quantity,
    )
    return whole.iloc[: len(table)].astype({name: table[name].dtype for name in table})
