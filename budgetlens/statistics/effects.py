"""Paired effects, tables of them and everything derived from them: the entry to the statistics.

`paired_effect` takes two arrays, `effects_table` the `likelihood` records of a run and a list of contrasts,
`decomposition` splits an effect, `ratio_of_means` gives a ratio; all take an `Inference`. Beside it in
`budgetlens.statistics`: `strata` (strata, shared documents, several seeds), `variance` (repeated-measures ANOVA),
`bands` (budgets), `verdicts` (the words of the verdict column); in `budgetlens.tables.presentation`: tables on screen
and paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.statistics.adjustment import Correction, adjusted_p
from budgetlens.statistics.contrasts import (
    Contrast,
    comparison,
    contrast_values,
    parse_cell,
    wide_cells,
)
from budgetlens.statistics.decisions import decide, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import Missing, PairedEffect, one_sample_effects, paired_effect
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
        inference: its correction "holm" corrects the sign-flip p, "bonferroni" the t-test p, as published; its
            clusters give cluster-robust statistics.
        quantity: what is compared; which way is better gives the verdict its words.
        missing: "refuse" raises on unpaired examples and gives NaN with a reason where a value is not finite;
            "drop" leaves such examples out and counts them in `reason`.

    Returns:
        Columns contrast, family, order (1 a difference, 2 an interaction, 3 a higher one, -1 a slope),
        baseline, treatment, the fields of `PairedEffect`, p_holm or p_bonferroni
        (of the difference), p_tost_holm or p_tost_bonferroni, stars (of the corrected p, at .001, .01,
        .05), `small` (whether the corrected equivalence test holds, whatever the kind), kind
        (:data:`budgetlens.statistics.decisions.Kind`) and verdict, its words.
    """
    if not contrasts:
        raise ValueError("no contrasts given; name at least one comparison of two cells")
    needed = {cell for contrast in contrasts for cell in contrast.weights}
    used = nll[nll["cell"].isin(needed)] if "cell" in nll.columns else nll
    wide = wide_cells(used, quantity.name, missing=missing)
    tokens, tokens_reason = _answer_tokens(used, wide.index)
    effects = one_sample_effects(
        contrast_values(wide, contrasts).to_numpy(),
        inference,
        weights=tokens,
        clusters=inference.labels(wide.index),
        missing=missing,
    )
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
    if tokens_reason:
        table["withheld"] = [joined(withheld, tokens_reason) for withheld in table["withheld"]]
    return with_verdicts(table, inference, quantity)


def with_verdicts(table: pd.DataFrame, inference: Inference, quantity: Quantity = ANSWER_NLL) -> pd.DataFrame:
    """Add corrected p within each family, stars, `small`, kind and verdict to rows of `PairedEffect` fields.

    A column `order` gives interactions words of their own; without it every row is a difference.
    """
    correction, alpha = inference.correction, inference.alpha
    source = "p_sign_flip" if correction == "holm" else "p_t"
    corrected, equivalence = f"p_{correction}", f"p_tost_{correction}"
    table = table.assign(**{corrected: np.nan, equivalence: np.nan})
    for _, rows in table.groupby("family", sort=False).groups.items():
        table.loc[rows, corrected] = adjusted_p(table.loc[rows, source].to_numpy(), correction)
        table.loc[rows, equivalence] = adjusted_p(table.loc[rows, "p_tost"].to_numpy(), correction)
    table["stars"] = [stars(p) for p in table[corrected]]
    table["small"] = np.where(
        table[equivalence].isna(), "", np.where(table[equivalence] < alpha, "yes", "no")
    )
    decisions = [
        decide(low, high, p, p_equivalence, alpha)
        for low, high, p, p_equivalence in zip(
            table["low"], table["high"], table[corrected], table[equivalence], strict=True
        )
    ]
    table["kind"] = [decision.kind for decision in decisions]
    orders = table["order"] if "order" in table else [1] * len(table)
    table["verdict"] = [
        verdict(decision, inference.smallest_difference, order, quantity)
        for decision, order in zip(decisions, orders, strict=True)
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
