"""Ratios of means and splits of an effect into parts.

A ratio of two d_z is unstable and a d_z does not add up; ratios and splits here are of mean differences,
with a bootstrap interval that resamples examples once for numerator and denominator together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from budgetlens.statistics.contrasts import Contrast, contrast_values, factor_steps, wide_cells
from budgetlens.statistics.decisions import TAILS, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import (
    bca_interval,
    heavy_tails,
    left_out_sums,
    resampled_sums,
    unit_sums,
)
from budgetlens.statistics.paired_inputs import unit_labels

NAN = float("nan")

Means: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Means of columns over resamples, shape [resamples, columns], and with one unit left out, [units, columns]."""


@dataclass(frozen=True)
class Ratio:
    """mean(numerator)/mean(denominator), paired bootstrap interval; NaN with a reason where withheld."""

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
    clusters: Sequence[object] | NDArray | None = None,
) -> Ratio:
    """Ratio of two mean differences over the same examples, e.g. structural fraction (random/oracle).

    Args:
        numerator_values, denominator_values: one contrast value per example, same order, shape [examples].
        inference: seed, confidence of both intervals, resamples.
        clusters: label per example; examples of one label (a shared document) are resampled together.

    Returns:
        The ratio with its BCa interval. Ratio and interval are NaN, with a reason, where the interval of the
        denominator's mean holds 0: the ratio could then be anything, of either sign.

    Raises:
        ValueError: the two have different lengths.
    """
    top, bottom = np.asarray(numerator_values, dtype=float), np.asarray(denominator_values, dtype=float)
    if top.ndim != 1 or top.shape != bottom.shape:
        raise ValueError(
            f"numerator {top.shape} and denominator {bottom.shape} must be paired, both of shape [examples]"
        )
    labels = unit_labels(clusters, top.size)
    return _ratios(top[:, None], bottom, inference, labels)[0]


def _ratios(
    tops: NDArray[np.float64],
    bottom: NDArray[np.float64],
    inference: Inference,
    labels: NDArray | None = None,
    drawn: Means | None = None,
) -> list[Ratio]:
    """One ratio per column of `tops`, all over the same denominator and the same resamples.

    `labels` holds the document, 0, 1, ..., of each example where some share one; `drawn` the resampled and
    left-out means of [tops, bottom] where they are known already.
    """
    n, k = tops.shape
    units = n if labels is None or n == 0 else int(labels.max()) + 1
    everything = np.column_stack([tops, bottom])
    bad = int((~np.isfinite(everything)).any(axis=1).sum())
    if n == 0 or bad:
        why = "no examples" if n == 0 else f"{bad} of {n} examples are NaN or infinite"
        return [Ratio(n=n, clusters=units, reason=why)] * k
    means = everything.mean(axis=0)
    known = Ratio(n=n, clusters=units, denominator_mean=float(means[-1]))
    if units == 1:
        why = "one example: no interval" if n == 1 else "one document: no interval"
        return [replace(known, numerator_mean=float(mean), reason=why) for mean in means[:-1]]
    resampled, left_out = drawn or _resampled_means(everything, labels, inference)
    bottom_low, bottom_high = (
        float(end[0])
        for end in bca_interval(means[-1:], resampled[:, -1:], left_out[:, -1:], inference.confidence)
    )
    constant = np.ptp(bottom) <= 1e-12 * np.abs(bottom).max()
    known = replace(
        known,
        denominator_low=bottom_low,
        denominator_high=bottom_high,
        denominator_caution=TAILS if np.isfinite(bottom_low) and heavy_tails(left_out[:, -1:])[0] else "",
    )
    if constant or not (bottom_low > 0 or bottom_high < 0):
        why = (
            "withheld: the denominator does not vary, so that no interval tells it from 0"
            if constant or np.isnan(bottom_low)
            else f"withheld: the interval of the denominator, {bottom_low:.3g} to {bottom_high:.3g}, holds 0"
        )
        return [replace(known, numerator_mean=float(mean), reason=why) for mean in means[:-1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = means[:-1] / means[-1]
        jackknife = left_out[:, :-1] / left_out[:, -1:]
        drawn_ratios = resampled[:, :-1] / resampled[:, -1:]
        low, high = bca_interval(estimate, drawn_ratios, jackknife, inference.confidence)
    cautions = [TAILS if heavy else "" for heavy in heavy_tails(jackknife)]
    return [
        replace(
            known,
            ratio=float(estimate[column]),
            low=float(low[column]),
            high=float(high[column]),
            numerator_mean=float(means[column]),
            caution=cautions[column] if np.isfinite(low[column]) else "",
            reason="" if np.isfinite(low[column]) else "no interval: the ratio does not vary over resamples",
        )
        for column in range(k)
    ]


def _resampled_means(values: NDArray[np.float64], labels: NDArray | None, inference: Inference) -> Means:
    """Means of every column over resamples, and with one unit left out.

    `labels` holds the document, 0, 1, ..., of each example where some share one: documents are the units.
    """
    n, seed, resamples = values.shape[0], inference.seed, inference.resamples
    if labels is None:
        return resampled_sums(values, seed=seed, resamples=resamples) / n, left_out_sums(values) / (n - 1)
    units = int(labels.max()) + 1
    summed = unit_sums(np.column_stack([values, np.ones(n)]), labels, units)
    resampled, left_out = resampled_sums(summed, seed=seed, resamples=resamples), left_out_sums(summed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return resampled[:, :-1] / resampled[:, -1:], left_out[:, :-1] / left_out[:, -1:]


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
        low, high (of the mean, BCa), share, share_low, share_high (of the total; 1 = all of it), caution (of either
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
    """`decomposition` of several (total, parts), one below the other; they share their resamples.

    `value` is the column that is split.
    """
    frames = []
    ready = []
    labels = []
    for total, parts in splits:
        _check_parts(total, parts)
        wide = wide_cells(nll[nll["cell"].isin(total_cells(total, parts))], value)
        values = contrast_values(wide, [total, *parts])
        ready.append((total, parts, values))
        labels.append(unit_labels(inference.labels(values.index), len(values)))
    drawn = _shared_means([values for _, _, values in ready], labels, inference)
    for (total, parts, values), own, means in zip(ready, labels, drawn, strict=True):
        frames.append(_split(total, parts, values.to_numpy(), own, means, inference))
    return pd.concat(frames, ignore_index=True)


def _shared_means(
    tables: Sequence[pd.DataFrame], labels: Sequence[NDArray | None], inference: Inference
) -> list[Means | None]:
    """Resampled means of every table; those over the same examples are drawn at once. None: nothing to draw.

    `labels` holds each table's units, as in `_resampled_means`.
    """
    found: list[Means | None] = [None] * len(tables)
    groups: dict[tuple, list[int]] = {}
    for number, values in enumerate(tables):
        if len(values) > 1 and np.isfinite(values.to_numpy()).all():
            groups.setdefault(tuple(values.index), []).append(number)
    for members in groups.values():
        # Equal examples have equal documents.
        own = labels[members[0]]
        matrices = [tables[number].to_numpy() for number in members]
        resampled, left_out = _resampled_means(np.hstack(matrices), own, inference)
        ends = np.cumsum([matrix.shape[1] for matrix in matrices])[:-1]
        parts = zip(np.split(resampled, ends, axis=1), np.split(left_out, ends, axis=1), strict=True)
        for number, part in zip(members, parts, strict=True):
            found[number] = part
    return found


def _split(
    total: Contrast,
    parts: Sequence[Contrast],
    matrix: NDArray[np.float64],
    labels: NDArray | None,
    means: Means | None,
    inference: Inference,
) -> pd.DataFrame:
    """One split; the first column of `matrix` is the total."""
    n = matrix.shape[0]
    low = high = np.full(matrix.shape[1], NAN)
    cautions = [""] * matrix.shape[1]
    drawn = None
    if means is not None:
        resampled, left_out = means
        drawn = np.hstack([resampled, resampled[:, :1]]), np.hstack([left_out, left_out[:, :1]])
        low, high = bca_interval(matrix.mean(axis=0), resampled, left_out, inference.confidence)
        cautions = [TAILS if heavy else "" for heavy in heavy_tails(left_out)]
    ratios = _ratios(matrix, matrix[:, 0], inference, labels, drawn)
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
