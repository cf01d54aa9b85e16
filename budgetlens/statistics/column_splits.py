"""Means and splits of many quantities at once: a column per layer, head or role, a row per example.

The statistics are those of :mod:`budgetlens.statistics.ratios`, for columns that each have a total of their own: a ratio
of means with its interval, withheld where the interval of its denominator holds 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.statistics.decisions import coverage_cautions, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired_inputs import unit_labels
from budgetlens.statistics.tails import tailed, tailed_means, unit_sums

Floats = NDArray[np.float64]

#: Columns that are computed together; bounds the memory.
CHUNK = 256
#: Differences of shares below this are rounding of float32, not effects.
ROUNDING = 1e-5
NAN = float("nan")

EXACT = f"no example differs by more than {ROUNDING:g}: rounding"
TOO_FEW = "fewer than two examples: no interval"
ONE_DOCUMENT = "one document: no interval"


@dataclass(frozen=True)
class ColumnMeans:
    """Per column: examples, independent units among them, mean, interval of the mean, its standard error
    (cluster-robust where examples share documents), p against 0 of columns of which the smallest are looked at, what to be
    cautious of, and why something is NaN.
    """

    n: NDArray[np.int64]
    clusters: NDArray[np.int64]
    mean: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    p_of_many: Floats
    """As of :attr:`budgetlens.statistics.tails.TailedMeans.p_of_many`."""
    caution: NDArray[np.object_]
    """As that of a paired effect: of the interval, and of a test of the mean."""
    reason: NDArray[np.object_]


@dataclass(frozen=True)
class ColumnSplit:
    """Parts of a total, per column: ``parts[name]`` and their shares of the total, with intervals.

    ``total`` is the first point less the last; the parts add up to it, example by example.
    """

    total: ColumnMeans
    parts: dict[str, ColumnMeans]
    share: dict[str, Floats] = field(default_factory=dict)
    share_low: dict[str, Floats] = field(default_factory=dict)
    share_high: dict[str, Floats] = field(default_factory=dict)
    share_caution: dict[str, NDArray[np.object_]] = field(default_factory=dict)
    share_reason: dict[str, NDArray[np.object_]] = field(default_factory=dict)


def means_of_columns(
    values: Floats, inference: Inference, *, clusters: Sequence[object] | NDArray | None = None
) -> ColumnMeans:
    """Mean and interval of every column over its finite examples.

    Args:
        values: shape [examples, columns]; NaN leaves an example out of its column.
        inference, clusters: as in `split_of_columns`.
    """
    points = [values, np.zeros_like(values)]
    return split_of_columns(points, ["whole"], inference, clusters=clusters).total


def split_of_columns(
    points: Sequence[Floats],
    names: Sequence[str],
    inference: Inference,
    *,
    clusters: Sequence[object] | NDArray | None = None,
) -> ColumnSplit:
    """Split of the way from the first point to the last into its steps, per column.

    Args:
        points: two or more arrays [examples, columns] of the same examples and columns.
        names: a name per step; step i is ``points[i] - points[i + 1]``.
        inference: confidence of every interval.
        clusters: label per example; examples of one label (a shared document) are one independent unit.

    Returns:
        Means of the steps and of the total over the examples that are finite at every point, and the ratio of
        means of every step to the total, NaN with a reason where the total's interval holds 0.

    Raises:
        ValueError: the points have different shapes, or the names do not fit them.
    """
    columns = _columns_of(points, names)
    blank = [_blank(columns) for _ in range(len(names) + 1)]
    shares = np.full((3, len(names), columns), NAN)
    reasons, cautions = (np.full((len(names), columns), "", dtype=object) for _ in range(2))
    finite = np.logical_and.reduce([np.isfinite(point) for point in points])
    documents = unit_labels(clusters, len(finite))
    for rows, chosen in _chunks(finite):
        n = int(rows.sum())
        # Numbered anew: a document whose examples are all left out is no unit.
        labels = None if documents is None else pd.factorize(documents[rows])[0]
        units = n if labels is None or not n else int(labels.max()) + 1
        stacked = np.stack([np.asarray(point[np.ix_(rows, chosen)], dtype=np.float64) for point in points])
        steps = np.concatenate([stacked[:-1] - stacked[1:], stacked[:1] - stacked[-1:]])
        partly = "" if n == finite.shape[0] else f"{finite.shape[0] - n} examples left out: not defined"
        for means in blank:
            means.n[chosen], means.clusters[chosen], means.reason[chosen] = n, units, partly
        if units < 2:
            why = TOO_FEW if n < 2 else ONE_DOCUMENT
            for number, means in enumerate(blank):
                means.mean[chosen] = steps[number].mean(axis=0) if n else NAN
                means.reason[chosen] = why
            reasons[:, chosen] = why
            continue
        found = _found(steps, labels, units, inference.confidence)
        _fill_means(blank, found, chosen)
        shares[:, :, chosen], cautions[:, chosen], reasons[:, chosen] = _shares(
            found, labels, units, inference.confidence
        )
    return ColumnSplit(
        total=blank[-1],
        parts=dict(zip(names, blank[:-1], strict=True)),
        share=dict(zip(names, shares[0], strict=True)),
        share_low=dict(zip(names, shares[1], strict=True)),
        share_high=dict(zip(names, shares[2], strict=True)),
        share_caution=dict(zip(names, cautions, strict=True)),
        share_reason=dict(zip(names, reasons, strict=True)),
    )


def _columns_of(points: Sequence[Floats], names: Sequence[str]) -> int:
    """How many columns the points have; ValueError where their shapes differ or the names do not fit them."""
    shapes = {point.shape for point in points}
    if len(shapes) != 1 or len(points) != len(names) + 1 or len(points) < 2:
        raise ValueError(
            f"{len(points)} points of shapes {sorted(shapes)} and {len(names)} steps; expected points of one "
            "shape and one step fewer than points"
        )
    return points[0].shape[1]


@dataclass(frozen=True)
class _Found:
    """Steps, and the total behind them, of some columns, shape [steps + 1, columns]."""

    values: Floats
    """Shape [steps + 1, examples, columns]."""
    mean: Floats
    low: Floats
    high: Floats
    error: Floats
    p_of_many: Floats
    still: NDArray[np.bool_]
    """Columns that are 0 but for rounding."""
    caution: str


def _found(steps: Floats, labels: NDArray | None, units: int, confidence: float) -> _Found:
    """`steps` has shape [steps + 1, examples, columns]; `labels` holds the unit, 0, 1, ..., of each example."""
    means = [tailed_means(step, labels, units) for step in steps]
    still = np.abs(steps).max(axis=1) <= ROUNDING
    low, high = np.moveaxis(np.array([each.interval(confidence) for each in means]), 1, 0)
    return _Found(
        steps,
        np.array([each.estimate for each in means]),
        np.where(still, NAN, low),
        np.where(still, NAN, high),
        np.array([each.error for each in means]),
        np.where(still, NAN, np.array([each.p_of_many for each in means])),
        still,
        joined(*coverage_cautions(units)),
    )


def _fill_means(blank: Sequence[ColumnMeans], found: _Found, chosen: NDArray[np.int64]) -> None:
    """Write steps and total into the chosen columns."""
    for number, means in enumerate(blank):
        still = found.still[number]
        means.mean[chosen], means.low[chosen], means.high[chosen] = (
            part[number] for part in (found.mean, found.low, found.high)
        )
        means.standard_error[chosen] = np.where(still, NAN, found.error[number])
        means.p_of_many[chosen] = found.p_of_many[number]
        means.caution[chosen] = np.where(np.isfinite(found.low[number]), found.caution, "")
        means.reason[chosen] = np.where(still, EXACT, means.reason[chosen])


def _shares(
    found: _Found, labels: NDArray | None, units: int, confidence: float
) -> tuple[Floats, NDArray[np.object_], NDArray[np.object_]]:
    """Every step over the total: share, low and high, shape [3, steps, columns], cautions, and why one is withheld."""
    steps, n, width = len(found.mean) - 1, found.values.shape[1], found.mean.shape[1]
    total = found.values[-1]
    known = (found.low[-1] > 0) | (found.high[-1] < 0)
    withheld = np.where(
        found.still[-1],
        "withheld: there is no total beyond rounding",
        "withheld: the interval of the total holds 0",
    )
    shares = np.full((3, steps, width), NAN)
    cautions = np.full((steps, width), "", dtype=object)
    for number in range(steps):
        with np.errstate(divide="ignore", invalid="ignore"):
            estimate = found.mean[number] / found.mean[-1]
            influences = (found.values[number] - estimate * total) / found.mean[-1] / n
            ratio = tailed(estimate, unit_sums(influences, labels, units) * units, between=True)
            ends = ratio.interval(confidence)
        # A share that every example has varies by rounding alone.
        varies = ratio.error > 1e-12 * np.abs(estimate)
        shares[0, number] = np.where(known, estimate, NAN)
        for row, end in enumerate(ends, start=1):
            shares[row, number] = np.where(known & varies, end, NAN)
        cautions[number] = np.where(np.isfinite(shares[1, number]), found.caution, "")
    return shares, cautions, np.tile(np.where(known, "", withheld).astype(object), (steps, 1))


def _blank(columns: int) -> ColumnMeans:
    mean, low, high, error, p = (np.full(columns, NAN) for _ in range(5))
    caution, reason = (np.full(columns, "", dtype=object) for _ in range(2))
    n, units = np.zeros(columns, dtype=np.int64), np.zeros(columns, dtype=np.int64)
    return ColumnMeans(n, units, mean, low, high, error, p, caution, reason)


def _chunks(finite: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Columns that share the same examples, at most `CHUNK` at a time: (examples, columns)."""
    patterns: dict[bytes, list[int]] = {}
    for column, packed in enumerate(np.packbits(finite, axis=0).T):
        patterns.setdefault(packed.tobytes(), []).append(column)
    for columns in patterns.values():
        for start in range(0, len(columns), CHUNK):
            yield finite[:, columns[0]], np.array(columns[start : start + CHUNK])
