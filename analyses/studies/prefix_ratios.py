"""Ratios of prefix effects: what survives a prompt, what is structure, what a surrogate reaches.

The published runs divided one d by another. A ratio of two d is unstable, so that the ratio of the mean
differences stands here, with an interval; the published one is a column beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analyses.studies.prefix_plans import WORDS_OF_NO_QUESTION, PrefixStudy
from budgetlens.design.plan import Plan
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import contrast_values, reference_means, wide_cells
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.ratios import ratio_of_means
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.presentation import Table, documents_resampled, sample, shares_documents

#: What the published table calls the two ratios that every study of prefixes has.
SURVIVES, STRUCTURE = "survives the query prompt", "structural fraction"

SHOWN = ("quantity", "numerator", "denominator", "n", "ratio", "ratio_of_d", "caution", "reason")


@dataclass(frozen=True)
class RatioOf:
    """A named ratio of two effects of a plan, by the effects' names."""

    quantity: str
    numerator: str
    denominator: str


def prefix_ratios(study: PrefixStudy, padding: str | None = None) -> tuple[RatioOf, ...]:
    """The ratios of a study: prefixes over the oracle prefix, and the oracle prefix with over without the prompt."""
    oracle = study.prefix("oracle", padding=padding).name
    alone = study.prefix("oracle", "none", padding=padding).name
    ratios = [
        RatioOf(
            f"{STRUCTURE}, {prefix.level}"
            if prefix.level in WORDS_OF_NO_QUESTION
            else f"{prefix.level} over oracle",
            study.prefix(prefix.level, padding=padding).name,
            oracle,
        )
        for prefix in study.compared("corrected")
        if prefix.level != "oracle"
    ]
    if "oracle" not in study.without_prompt:
        return tuple(ratios)
    surviving = [
        RatioOf(SURVIVES, oracle, alone),
        RatioOf("survives positions alone", study.prefix("oracle", "position", padding=padding).name, alone),
        RatioOf(
            f"{SURVIVES}, BOS hidden",
            study.prefix("oracle", bos_hidden=True, padding=padding).name,
            study.prefix("oracle", "none", bos_hidden=True, padding=padding).name,
        ),
    ]
    return (*surviving, *ratios)


def ratios_presented(run: Run, ratios: Sequence[RatioOf]) -> Table:
    """The table of ``ratios`` of a finished run; those whose contrasts the plan lacks are left out."""
    plan, seed = run.plan, run.seed
    wide = wide_cells(run.outcomes, "nll")
    documents = run.documents
    inference = run.inference
    frame = ratio_frame(wide, plan, ratios, inference)
    return presented(frame, sample(len(wide), documents), seed)


def presented(frame: pd.DataFrame, n: str, seed: int, columns: Sequence[str] = SHOWN) -> Table:
    """Ratios, as :func:`ratio_frame` gives them, with their caption."""
    return Table(
        frame=frame,
        title="Ratios of prefix effects",
        estimand="ratio of mean differences, numerator over denominator; 1 is all of it",
        unit="none",
        n=n,
        family="none: every row stands for itself",
        correction="none",
        seed=seed,
        notes=(
            "95 % intervals made for long tails, of numerator and denominator together",
            *documents_resampled(shares_documents(frame)),
            CAUTION_RULE,
            "a ratio is withheld where the denominator's interval holds 0",
            "ratio of d: the published definition, d of the numerator over d of the denominator, unstable",
        ),
        columns=tuple(columns),
        allows_for_documents=True,
    )


def ratio_frame(
    wide: pd.DataFrame, plan: Plan, ratios: Sequence[RatioOf], inference: Inference
) -> pd.DataFrame:
    """One row per ratio that the plan has the contrasts for.

    ``wide`` holds answer NLL, one row per example and one column per cell. Columns quantity, numerator,
    denominator (contrasts), the fields of :class:`budgetlens.statistics.ratios.Ratio`, and ratio_of_d.
    """
    by_name = {contrast.name: contrast for contrast in plan.contrasts}
    labels = inference.labels(wide.index)
    rows = []
    for each in ratios:
        if each.numerator not in by_name or each.denominator not in by_name:
            continue
        pair = contrast_values(wide, [by_name[each.numerator], by_name[each.denominator]]).to_numpy()
        (reference,) = reference_means(wide, [by_name[each.denominator]])
        rows.append(
            {
                "quantity": each.quantity,
                "numerator": each.numerator,
                "denominator": each.denominator,
                **ratio_of_means(
                    pair[:, 0], pair[:, 1], inference, reference=float(reference), clusters=labels
                ).as_row(),
                "ratio_of_d": ratio_of_d(pair[:, 0], pair[:, 1]),
            }
        )
    return pd.DataFrame(rows)


def ratio_of_d(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> float:
    """The published definition: d of one over d of the other; NaN where one of them is undefined or the last 0."""
    first, second = _d(numerator), _d(denominator)
    return first / second if second else float("nan")


def _d(values: NDArray[np.float64]) -> float:
    """Mean over standard deviation; NaN for a single value or equal values."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / spread) if spread > 0 else float("nan")
