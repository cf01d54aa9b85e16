"""Ratios of means and splits of an effect into parts.

A ratio of two d_z is unstable and a d_z does not add up; ratios and splits here are of mean differences. The interval of
a ratio comes from the influence of each unit on numerator and denominator together (Cochran 1977, section 6.4), and is
made for long tails as every interval of a mean is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from budgetlens.statistics.contrasts import (
    Contrast,
    contrast_values,
    factor_steps,
    reference_means,
    wide_cells,
)
from budgetlens.statistics.decisions import coverage_cautions, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired_inputs import unit_labels
from budgetlens.statistics.tails import tailed, tailed_means, unit_sums

NAN = float("nan")


@dataclass(frozen=True)
class Ratio:
    """mean(numerator)/mean(denominator) with an interval; NaN with a reason where withheld."""

    n: int = 0
    clusters: int = 0
    """Independent units: documents where several examples share one, else n."""
    ratio: float = NAN
    low: float = NAN
    high: float = NAN
    numerator_mean: float = NAN
    denominator_mean: float = NAN
    denominator_low: float = NAN
    denominator_high: float = NAN
    caution: str = ""
    """Of the interval of the ratio."""
    denominator_caution: str = ""
    """Of the interval of the denominator, by which a ratio is withheld or not."""
    reason: str = ""

    def as_row(self) -> dict[str, object]:
        """Field name to value, one table row; its caution is that of either interval."""
        row = asdict(self) | {"caution": joined(self.caution, self.denominator_caution)}
        return {name: value for name, value in row.items() if name != "denominator_caution"}


def ratio_of_means(
    numerator_values: ArrayLike,
    denominator_values: ArrayLike,
    inference: Inference,
    *,
    reference: float = NAN,
    clusters: Sequence[object] | NDArray | None = None,
) -> Ratio:
    """Ratio of two mean differences over the same examples, e.g. structural fraction (random/oracle).

    Args:
        numerator_values, denominator_values: one contrast value per example, same order, shape [examples].
        inference: confidence of both intervals, and the smallest difference that matters.
        reference: mean of what the denominator's treatment is compared with; NaN looks for no smallest difference.
        clusters: label per example; examples of one label (a shared document) are one independent unit.

    Returns:
        The ratio with its interval. Ratio and interval are NaN, with a reason, where the interval of the
        denominator's mean holds 0: the ratio could then be anything, of either sign; and where that mean is smaller than
        the smallest difference that matters.

    Raises:
        ValueError: the two have different lengths.
    """
    top, bottom = np.asarray(numerator_values, dtype=float), np.asarray(denominator_values, dtype=float)
    if top.ndim != 1 or top.shape != bottom.shape:
        raise ValueError(
            f"numerator {top.shape} and denominator {bottom.shape} must be paired, both of shape [examples]"
        )
    labels = unit_labels(clusters, top.size)
    return _ratios(top[:, None], bottom, inference, labels, reference)[0]


def _ratios(
    tops: NDArray[np.float64],
    bottom: NDArray[np.float64],
    inference: Inference,
    labels: NDArray | None = None,
    reference: float = NAN,
) -> list[Ratio]:
    """One ratio per column of `tops`, all over the same denominator.

    `labels` holds the document, 0, 1, ..., of each example where some share one; `reference` as in `ratio_of_means`.
    """
    n, k = tops.shape
    units = n if labels is None or n == 0 else int(labels.max()) + 1
    bad = int((~np.isfinite(np.column_stack([tops, bottom]))).any(axis=1).sum())
    if n == 0 or bad:
        why = "no examples" if n == 0 else f"{bad} of {n} examples are NaN or infinite"
        return [Ratio(n=n, clusters=units, reason=why)] * k
    numerators, denominator = tops.mean(axis=0), float(bottom.mean())
    known = Ratio(n=n, clusters=units, denominator_mean=denominator)
    if units == 1:
        why = "one example: no interval" if n == 1 else "one document: no interval"
        return [replace(known, numerator_mean=float(mean), reason=why) for mean in numerators]
    low, high = (
        float(end[0]) for end in tailed_means(bottom[:, None], labels, units).interval(inference.confidence)
    )
    caution = joined(*coverage_cautions(units))
    known = replace(known, denominator_low=low, denominator_high=high, denominator_caution=caution)
    bound = np.nan if np.isnan(reference) else inference.bounds(np.array([reference]), 1)[0]
    why = _withheld(bottom, low, high, float(bound))
    if why:
        return [replace(known, numerator_mean=float(mean), reason=why) for mean in numerators]
    estimates = numerators / denominator
    influences = (tops - estimates * bottom[:, None]) / denominator / n
    # Numerator less its share of the denominator: a difference between two effects.
    ratios = tailed(estimates, unit_sums(influences, labels, units) * units, between=True)
    caution = joined(*coverage_cautions(units, between=True))
    # A ratio that every example has varies by rounding alone.
    varies = ratios.error > 1e-12 * np.abs(estimates)
    lows, highs = ratios.interval(inference.confidence)
    return [
        replace(
            known,
            ratio=float(estimates[column]),
            low=float(lows[column]) if varies[column] else NAN,
            high=float(highs[column]) if varies[column] else NAN,
            numerator_mean=float(numerators[column]),
            caution=caution if varies[column] else "",
            reason="" if varies[column] else "no interval: the ratio is the same in every example",
        )
        for column in range(k)
    ]


def _withheld(bottom: NDArray[np.float64], low: float, high: float, bound: float) -> str:
    """Why no ratio is given over a denominator with this interval and smallest difference; empty where one is."""
    if np.ptp(bottom) <= 1e-12 * np.abs(bottom).max() or np.isnan(low):
        return "withheld: the denominator does not vary, so that no interval tells it from 0"
    if not (low > 0 or high < 0):
        return f"withheld: the interval of the denominator, {low:.3g} to {high:.3g}, holds 0"
    mean = float(bottom.mean())
    if abs(mean) < bound:
        return f"withheld: the denominator, {mean:.3g}, is smaller than the smallest difference that matters, {bound:.3g}"
    return ""


def decomposition(
    nll: pd.DataFrame,
    total: Contrast,
    parts: Sequence[Contrast],
    inference: Inference,
) -> pd.DataFrame:
    """Split of a total effect into parts that add up to it, on means.

    For instance total = none→query, parts = length (none→random) and semantic (random→query), for one
    encoder level or, with contrasts of four and more cells, for the interaction.

    Args:
        nll: columns example, cell and nll.
        total: the effect that is split.
        parts: contrasts whose weights add up to those of `total`, cell by cell.
        inference: as in `effects_table`.

    Returns:
        One row per part and one for the total: contrast, part, order (of the total: 1 a difference, 2 a difference
        of differences), effect_of, at_baseline and at_treatment (of a difference of differences: which effect, and
        the levels of the other factor between which it differs), n, clusters (independent units), mean_difference,
        low, high (of the mean), share, share_low, share_high (of the total; 1 = all of it), caution (of either
        interval), reason.

    Raises:
        ValueError: the parts do not add up to the total, or the records lack a cell.
    """
    return decompositions(nll, [(total, parts)], inference)


def decompositions(
    nll: pd.DataFrame,
    splits: Sequence[tuple[Contrast, Sequence[Contrast]]],
    inference: Inference,
    value: str = "nll",
) -> pd.DataFrame:
    """`decomposition` of several (total, parts), one below the other. `value` is the column that is split."""
    frames = []
    for total, parts in splits:
        _check_parts(total, parts)
        wide = wide_cells(nll[nll["cell"].isin(total_cells(total, parts))], value)
        values = contrast_values(wide, [total, *parts])
        labels = unit_labels(inference.labels(values.index), len(values))
        (reference,) = reference_means(wide, [total])
        frames.append(_split(total, parts, values.to_numpy(), labels, inference, float(reference)))
    return pd.concat(frames, ignore_index=True)


def _split(
    total: Contrast,
    parts: Sequence[Contrast],
    matrix: NDArray[np.float64],
    labels: NDArray | None,
    inference: Inference,
    reference: float,
) -> pd.DataFrame:
    """One split; the first column of `matrix` is the total."""
    n = matrix.shape[0]
    low = high = np.full(matrix.shape[1], NAN)
    # The interval of a part is that of the same contrast in a table of effects.
    between = np.array([each.between for each in (total, *parts)])
    ratios = _ratios(matrix, matrix[:, 0], inference, labels, reference)
    if ratios[0].clusters > 1 and np.isfinite(matrix).all():
        low, high = tailed_means(matrix, labels, ratios[0].clusters, between=between).interval(
            inference.confidence
        )
    cautions = [joined(*coverage_cautions(ratios[0].clusters, between=bool(own))) for own in between]
    effect_of, at_baseline, at_treatment = _difference_of_differences(total)
    rows = []
    for column, (part, ratio) in enumerate(zip([total, *parts], ratios, strict=True)):
        whole = column == 0
        rows.append(
            {
                "contrast": total.name,
                "part": "total" if whole else part.name,
                "order": total.effect_order,
                "effect_of": effect_of,
                "at_baseline": at_baseline,
                "at_treatment": at_treatment,
                "n": n,
                "clusters": ratio.clusters,
                "mean_difference": ratio.numerator_mean,
                "low": float(low[column]),
                "high": float(high[column]),
                "share": ratio.ratio,
                "share_low": NAN if whole else ratio.low,
                "share_high": NAN if whole else ratio.high,
                "caution": joined(cautions[column] if np.isfinite(low[column]) else "", ratio.caution),
                "reason": ratio.reason if not whole or np.isnan(ratio.ratio) else "",
            }
        )
    return pd.DataFrame(rows)


def _difference_of_differences(total: Contrast) -> tuple[str, str, str]:
    """The effect of one factor, and the levels of the other at which it is compared; empty where it is none."""
    steps = list(factor_steps(total).items()) if total.effect_order == 2 else []
    if not steps:
        return "", "", ""
    (first, (start, end)), (second, ends) = steps
    at_baseline, at_treatment = (f"{second}={level}" for level in ends)
    return f"{first} {start}→{end}", at_baseline, at_treatment


def split_of_means(means: Mapping[str, float], total: Contrast, parts: Sequence[Contrast]) -> pd.DataFrame:
    """The split on cell means alone, for published figures: no per-example values, hence no interval.

    Returns:
        Columns contrast, part, mean_difference, share (of the total; NaN where the total is 0) and reason.
    """
    _check_parts(total, parts)
    sizes = [sum(weight * means[cell] for cell, weight in each.weights.items()) for each in (total, *parts)]
    why = "no per-example values: no interval" if sizes[0] else "withheld: the total is 0"
    return pd.DataFrame(
        {
            "contrast": total.name,
            "part": ["total", *(part.name for part in parts)],
            "mean_difference": sizes,
            "share": [size / sizes[0] if sizes[0] else NAN for size in sizes],
            "reason": why,
        }
    )


def total_cells(total: Contrast, parts: Sequence[Contrast]) -> list[str]:
    """Every cell that a split needs, each once."""
    return list(dict.fromkeys(cell for contrast in (total, *parts) for cell in contrast.weights))


def _check_parts(total: Contrast, parts: Sequence[Contrast]) -> None:
    for cell in total_cells(total, parts):
        summed = sum(part.weights.get(cell, 0.0) for part in parts)
        if abs(summed - total.weights.get(cell, 0.0)) > 1e-9:
            raise ValueError(
                f"the parts of {total.name!r} do not add up to it: at cell {cell!r} they sum to {summed:g}, "
                f"the total has {total.weights.get(cell, 0.0):g}"
            )
