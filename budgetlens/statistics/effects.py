"""Paired effects, tables of them and everything derived from them: the entry to the statistics.

`paired_effect` takes two arrays, `effects_table` the `likelihood` records of a run and a list of contrasts,
`decomposition` splits an effect, `ratio_of_means` gives a ratio; all take an `Inference`. Beside it in
`budgetlens.statistics`: `strata` (strata, shared documents, several seeds), `variance` (repeated-measures ANOVA),
`bands` (budgets), `verdicts` (the words of the verdict column); in `budgetlens.tables.presentation`: tables on screen
and paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.statistics.adjustment import Correction, adjusted_p
from budgetlens.statistics.bounded import Range, of_bounded
from budgetlens.statistics.contrasts import (
    Contrast,
    comparison,
    contrast_values,
    crossed_effects,
    parse_cell,
    reference_means,
    wide_cells,
)
from budgetlens.statistics.decisions import decide, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import Missing, PairedEffect, one_sample_effects, paired_effect
from budgetlens.statistics.paired_inputs import unit_labels
from budgetlens.statistics.proportions import counts_of, of_proportions
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.ratios import Ratio, decomposition, ratio_of_means, split_of_means
from budgetlens.statistics.verdicts import ANSWER_NLL, verdict

__all__ = [
    "Contrast",
    "Correction",
    "Inference",
    "PairedEffect",
    "Ratio",
    "adjusted_p",
    "comparison",
    "contrast_values",
    "decomposition",
    "effects_table",
    "one_sample_effects",
    "paired_effect",
    "parse_cell",
    "ratio_of_means",
    "split_of_means",
    "stars",
    "wide_cells",
]


#: Columns of what an interaction is told by: the treatments, what each does alone and both, as baseline - treatment.
ALONE = ("first", "second", "first_alone", "second_alone", "both")


def effects_table(
    nll: pd.DataFrame,
    contrasts: Sequence[Contrast],
    inference: Inference,
    *,
    quantity: Quantity = ANSWER_NLL,
    missing: Missing = "refuse",
) -> pd.DataFrame:
    """One row of statistics per contrast, corrected within families, with a verdict.

    Args:
        nll: columns example, cell, nll (mean over answer tokens, nats; or another quantity's column) and, for the
            token-weighted mean, answer_tokens; one row per example and cell.
        contrasts: comparisons, main effects, interactions; each is valued per example first.
        inference: its correction corrects the p of the mean; "bonferroni" shows the t-test p corrected, as published,
            and decides by the other; its clusters give cluster-robust statistics.
        quantity: what is compared; which way is better gives the verdict its words. A bounded one has intervals within its
            bounds (:mod:`budgetlens.statistics.bounded`); of a binary one, two cells are compared by McNemar's exact test
            and Newcombe's interval, where examples share no documents.
        missing: "refuse" raises on unpaired examples and gives NaN with a reason where a value is not finite;
            "drop" leaves such examples out and counts them in `reason`.

    Returns:
        Columns contrast, family, order (1 a difference, 2 an interaction, 3 a higher one, -1 a slope),
        baseline, treatment, the fields of `PairedEffect`, p_holm, p_bonferroni, p_fdr or p_none
        (of the difference), p_tost_holm and so on, smallest_share (the part of the baseline's mean that smallest_effect
        is; NaN where it is an amount), stars (of the corrected p, at .001, .01,
        .05), `small` (whether the corrected equivalence test holds, whatever the kind), kind
        (:data:`budgetlens.statistics.decisions.Kind`), because (why no effect is found although Student's t or
        the interval by itself shows one: a code)
        and verdict, its words; of interactions first, second, first_alone, second_alone and both, by which they are told.
    """
    if not contrasts:
        raise ValueError("no contrasts given; name at least one comparison of two cells")
    needed = {cell for contrast in contrasts for cell in contrast.weights}
    used = nll[nll["cell"].isin(needed)] if "cell" in nll.columns else nll
    wide = wide_cells(used, quantity.name, missing=missing)
    tokens, tokens_reason = _answer_tokens(used, wide.index)
    effects = contrast_effects(wide, contrasts, inference, quantity, weights=tokens, missing=missing)
    table = _rows(contrasts, effects, wide)
    if tokens_reason:
        table["withheld"] = [joined(withheld, tokens_reason) for withheld in table["withheld"]]
    return with_verdicts(table, inference, quantity)


def contrast_effects(
    wide: pd.DataFrame,
    contrasts: Sequence[Contrast],
    inference: Inference,
    quantity: Quantity,
    *,
    weights: NDArray[np.float64] | None = None,
    missing: Missing = "refuse",
    sign_flips: bool = True,
) -> list[PairedEffect]:
    """The statistics of each contrast, as they fit the quantity: with tails, bounded, or of proportions.

    Args:
        wide: one row per example and one column per cell (:func:`wide_cells`).
        contrasts: of these cells.
        inference: as of :func:`effects_table`, and so ``quantity`` and ``missing``.
        weights: answer tokens per example; None leaves the token-weighted mean out.
        sign_flips: False leaves out p_sign_flip, and saves its time.
    """
    values, labels = contrast_values(wide, contrasts), inference.labels(wide.index)
    effects = one_sample_effects(
        values.to_numpy(),
        inference,
        references=reference_means(wide, contrasts),
        weights=weights,
        clusters=labels,
        sign_flips=sign_flips,
        between=np.array([contrast.between for contrast in contrasts]),
        missing=missing,
    )
    if quantity.better == "higher":
        # A treatment wins where it is better, whichever way that is.
        effects = [
            replace(effect, win_percent=100 - effect.win_percent - effect.tie_percent) for effect in effects
        ]
    if not quantity.bounded:
        return effects
    fitting = []
    for place, (effect, contrast) in enumerate(zip(effects, contrasts, strict=True)):
        reach = sum(weight for weight in contrast.weights.values() if weight > 0)
        own = values.iloc[:, place].to_numpy()
        found = bounded_effect(effect, own, Range(-reach, reach), labels, inference.confidence)
        if quantity.binary and labels is None:
            found = _of_two_cells(found, wide, contrast, inference.confidence)
        fitting.append(found)
    return fitting


def bounded_effect(
    effect: PairedEffect,
    values: NDArray[np.float64],
    within: Range,
    clusters: NDArray | None,
    confidence: float,
) -> PairedEffect:
    """The effect of one column of values, shape [examples], by what fits a bounded one; it is of those that are finite.

    One that was refused for what is missing stays so.
    """
    finite = np.isfinite(values)
    if effect.n != finite.sum():
        return effect
    labels = unit_labels(clusters, len(values))
    own = None if labels is None else pd.factorize(labels[finite])[0]
    return of_bounded(effect, values[finite], within, own, confidence)


def _of_two_cells(
    effect: PairedEffect, wide: pd.DataFrame, contrast: Contrast, confidence: float
) -> PairedEffect:
    """The effect by proportions, where the contrast compares two cells and every example has a 0 or a 1 in both."""
    cells = {weight: cell for cell, weight in contrast.weights.items()}
    if len(contrast.weights) != 2 or set(cells) != {1.0, -1.0}:
        return effect
    pairs = wide[[cells[1.0], cells[-1.0]]].dropna().to_numpy(dtype=np.float64)
    counts = counts_of(pairs[:, 0], pairs[:, 1]) if len(pairs) else None
    if counts is None or counts.n != effect.n:
        return effect
    return of_proportions(effect, counts, confidence)


def _rows(contrasts: Sequence[Contrast], effects: Sequence[PairedEffect], wide: pd.DataFrame) -> pd.DataFrame:
    """A row per contrast: what it is, its statistics, and what an interaction is told by."""
    rows = [
        {
            "contrast": contrast.name,
            "family": contrast.family,
            "order": contrast.effect_order,
            "baseline": contrast.baseline,
            "treatment": contrast.treatment,
            **effect.as_row(),
        }
        for contrast, effect in zip(contrasts, effects, strict=True)
    ]
    table = pd.DataFrame(rows)
    # What two treatments do alone, by which an interaction is told.
    parts = [crossed_effects(wide, contrast) for contrast in contrasts]
    for name in ALONE:
        table[name] = [getattr(own, name) if own else "" if name in ALONE[:2] else np.nan for own in parts]
    return table


def with_verdicts(table: pd.DataFrame, inference: Inference, quantity: Quantity = ANSWER_NLL) -> pd.DataFrame:
    """Add corrected p within each family, stars, `small`, kind and verdict to rows of `PairedEffect` fields.

    A column `order` gives interactions words of their own; without it every row is a difference.
    """
    correction, alpha = inference.correction, inference.alpha
    shown, equivalence = f"p_{correction}", f"p_tost_{correction}"
    found = pd.DataFrame(
        np.nan, index=table.index, columns=["p", "p_t", "p_tost"]
    )  # corrected, by the column that they come from
    for _, rows in table.groupby("family", sort=False).groups.items():
        for source in found:
            found.loc[rows, source] = adjusted_p(table.loc[rows, source].to_numpy(), correction)
    # Published p and stars are of the t test; what is decided never is.
    table = table.assign(
        **{shown: found["p_t" if correction == "bonferroni" else "p"], equivalence: found["p_tost"]}
    )
    table["stars"] = [stars(p) for p in table[shown]]
    table["smallest_share"] = inference.stated.share
    table["small"] = np.where(
        table[equivalence].isna(), "", np.where(table[equivalence] < alpha, "yes", "no")
    )
    decisions = [
        decide(low, high, p, p_equivalence, alpha, p_student=p_student, carriers=int(carried))
        for low, high, p, p_equivalence, p_student, carried in zip(
            table["low"],
            table["high"],
            found["p"],
            found["p_tost"],
            found["p_t"],
            table["carriers"],
            strict=True,
        )
    ]
    table["kind"] = [decision.kind for decision in decisions]
    table["because"] = [decision.because for decision in decisions]
    orders = table["order"] if "order" in table else [1] * len(table)
    alone = (
        list(zip(table["first_alone"], table["second_alone"], strict=True))
        if "first_alone" in table
        else [(np.nan, np.nan)] * len(table)
    )
    table["verdict"] = [
        verdict(decision, inference.bound(size), order, quantity, alone=parts)
        for decision, size, order, parts in zip(
            decisions, table["smallest_effect"], orders, alone, strict=True
        )
    ]
    return table


def stars(p: float) -> str:
    """Published stars: *** below .001, ** below .01, * below .05, ns otherwise; empty if p is undefined."""
    if np.isnan(p):
        return ""
    return "***" if p < 0.001 else "**" if p < 0.01 else "*" if p < 0.05 else "ns"


def _answer_tokens(records: pd.DataFrame, examples: pd.Index) -> tuple[NDArray[np.float64] | None, str]:
    """Answer tokens per example; None where the records give none, with a reason where cells differ."""
    if "answer_tokens" not in records.columns:
        return None, ""
    grouped = records.groupby("example")["answer_tokens"]
    lowest, highest = grouped.min(), grouped.max()
    if not (lowest == highest).all():
        return None, "token-weighted mean withheld: an example's answer_tokens differ between cells"
    if not (lowest > 0).all():
        return None, "token-weighted mean withheld: an example has no answer tokens"
    return lowest.reindex(examples).to_numpy(dtype=np.float64), ""
