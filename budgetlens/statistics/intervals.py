"""Bootstrap intervals and standard errors, vectorised over columns.

Everything here works on *units*: one row per independent unit (an example, or a document that several
examples share) and one column per sum that is resampled. A mean, a weighted mean, a ratio and d_z are all
functions of such sums, so one set of resampled sums serves them all, and statistics of the same run are
resampled together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from budgetlens.statistics.decisions import coverage_cautions, joined
from budgetlens.statistics.products import product

Floats = NDArray[np.float64]

# Elements of one block of resampled counts or signs: 32 MB of float64, small beside the data, large enough
# for BLAS.
BLOCK_ELEMENTS = 4_000_000


def rows_per_block(units: int) -> int:
    """How many resamples are drawn at once; depends on the units only, so that a seed fixes the draws."""
    return max(1, BLOCK_ELEMENTS // max(units, 1))


def resampled_sums(columns: Floats, *, seed: int, resamples: int) -> Floats:
    """Sums of every column over bootstrap resamples of the units.

    Args:
        columns: shape [units, columns].
        seed: seeds the draws; the same seed and number of units give the same resamples whatever the
            columns are.
        resamples: how many resamples are drawn.

    Returns:
        Shape [resamples, columns].
    """
    units = columns.shape[0]
    generator = np.random.default_rng([seed, 1])
    sums = np.empty((resamples, columns.shape[1]))
    block = rows_per_block(units)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = generator.integers(0, units, size=(rows, units))
        drawn += np.arange(rows)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        sums[start : start + rows] = product(counts.astype(np.float64), columns)
    return sums


def left_out_sums(columns: Floats) -> Floats:
    """Sums of every column with one unit left out, shape [units, columns]: the jackknife."""
    return columns.sum(axis=0) - columns


def unit_sums(columns: Floats, labels: NDArray[np.int64] | None, units: int) -> Floats:
    """Sums of every column within each unit, shape [units, columns].

    `labels` holds the unit, 0 to units - 1, of each example; None makes each example its own unit.
    """
    if labels is None:
        return columns
    sums = np.zeros((units, columns.shape[1]))
    np.add.at(sums, labels, columns)
    return sums


def standard_errors(values: Floats, labels: NDArray[np.int64] | None, units: int) -> Floats:
    """Standard error of each column's mean: s/sqrt(n), or its cluster-robust form (Liang and Zeger 1986).

    The factor units/(units - 1) is that of CR1 with one parameter; with one example per unit it is
    s/sqrt(n) exactly.
    """
    sums = unit_sums(values - values.mean(axis=0), labels, units)
    return np.sqrt(units / (units - 1) * (sums**2).sum(axis=0)) / values.shape[0]


def bca_interval(
    estimate: Floats, distribution: Floats, jackknife: Floats, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987, eq. 2.3 and 6.6), one per column.

    Args:
        estimate: the statistic on the data, shape [columns].
        distribution: the statistic on the resamples, shape [resamples, columns].
        jackknife: the statistic with one unit left out, shape [units, columns].
        confidence: nominal coverage, between 0 and 1.

    Returns:
        Lower and upper ends, each of shape [columns]; NaN where the statistic is not finite or does not vary.
    """
    low = np.full(estimate.shape, np.nan)
    high = np.full(estimate.shape, np.nan)
    usable = (
        np.isfinite(estimate)
        & np.isfinite(distribution).all(axis=0)
        & np.isfinite(jackknife).all(axis=0)
        & (np.ptp(distribution, axis=0) > 0)
    )
    if not usable.any():
        return low, high
    estimate, distribution, jackknife = estimate[usable], distribution[:, usable], jackknife[:, usable]
    below = ((distribution < estimate).mean(axis=0) + (distribution <= estimate).mean(axis=0)) / 2
    bias = special.ndtri(below)
    deviation = jackknife.mean(axis=0) - jackknife
    with np.errstate(divide="ignore", invalid="ignore"):
        # Products, because a general power is many times slower.
        squares = deviation * deviation
        acceleration = (squares * deviation).sum(axis=0) / (6 * squares.sum(axis=0) ** 1.5)
    ordered = np.sort(distribution, axis=0)
    ends = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + special.ndtri(tail)
        with np.errstate(divide="ignore", invalid="ignore"):
            probability = special.ndtr(bias + shifted / (1 - acceleration * shifted))
        ends.append(_column_quantiles(ordered, probability))
    low[usable], high[usable] = ends
    return low, high


def heavy_tails(influences: Floats) -> NDArray[np.bool_]:
    """Columns, shape [units, columns], with fewer units than 20 (kurtosis + 3): see `coverage_cautions`.

    Influences are the values whose mean is taken, or a statistic with one unit left out. A column that is not
    finite or does not vary has no tails.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        squares = (influences - influences.mean(axis=0)) ** 2
        # Without division, so that a column that does not vary needs no case of its own.
        return len(influences) * squares.mean(axis=0) ** 2 < 20 * (squares**2).mean(axis=0)


def column_cautions(values: Floats) -> NDArray[np.object_]:
    """`coverage_cautions` of every column, shape [units, columns], over its own finite values.

    Values are those whose mean is taken, or the mean with one unit left out. Of a column that does not vary nothing is
    said.
    """
    present = np.isfinite(values)
    n = present.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mean = np.where(present, values, 0.0).sum(axis=0) / n
        deviation = np.where(present, values - mean, 0.0)
        squares = deviation**2
        variance = squares.sum(axis=0) / n
        skewness = (squares * deviation).sum(axis=0) / n / variance**1.5
        kurtosis = (squares**2).sum(axis=0) / n / variance**2 - 3
    found = np.empty(values.shape[1], dtype=object)
    found[:] = [joined(*coverage_cautions(*own)) for own in zip(n, skewness, kurtosis, strict=True)]
    return found


def _column_quantiles(ordered: Floats, probability: Floats) -> Floats:
    """Linear-interpolation quantile of each sorted column at its own probability; NaN where that is NaN."""
    last = ordered.shape[0] - 1
    known = np.isfinite(probability)
    position = np.where(known, probability, 0.0) * last
    lower = np.floor(position).astype(int)
    upper = np.minimum(lower + 1, last)
    columns = np.arange(ordered.shape[1])
    fraction = position - lower
    value = ordered[lower, columns] * (1 - fraction) + ordered[upper, columns] * fraction
    return np.where(known, value, np.nan)


def proportion_interval(
    successes: NDArray[np.bool_], labels: NDArray[np.int64] | None, units: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927), allowing for examples that share units.

    With shared units, n is divided by the design effect, the ratio of the cluster-robust variance of the mean to
    that of independent examples (Korn and Graubard 1998, section 2), but never enlarged. Where all examples agree
    there is no variance to take it from, and n is the number of units.

    Args:
        successes: whether each example has the property, shape [examples], at least one.
        labels: unit, 0 to units - 1, of each example; None: examples are independent.
        units: how many units there are.
        confidence: nominal coverage, between 0 and 1.

    Returns:
        Lower and upper end, 0 to 1.
    """
    values = np.asarray(successes, dtype=np.float64)[:, None]
    n, share = float(len(values)), float(values.mean())
    if labels is not None and 0 < share < 1 and units > 1:
        alone, together = (
            float(standard_errors(values, own, count)[0])
            for own, count in ((None, len(values)), (labels, units))
        )
        n = min(n, n * (alone / together) ** 2) if together else n
    elif labels is not None:
        n = float(units)
    z = stats.norm.ppf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def hedges_factor(degrees: float) -> float:
    """Small-sample correction J of a standardised mean (Hedges 1981, eq. 6e); NaN under 2 degrees."""
    if degrees < 2:
        return float("nan")
    return float(
        np.exp(special.gammaln(degrees / 2) - special.gammaln((degrees - 1) / 2)) / np.sqrt(degrees / 2)
    )


def detectable_shift(degrees: int, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest mean, in standard errors, that a two-sided t test at `alpha` finds with the stated power."""
    if degrees < 1:
        return float("nan")
    critical = stats.t.ppf(1 - alpha / 2, degrees)

    def shortfall(shift: float) -> float:
        # The other tail holds less than alpha/2 at shift 0 and nothing that counts where power nears 0.8.
        return float(1 - special.nctdtr(degrees, shift, critical) - power)

    return float(optimize.brentq(shortfall, 0.0, 2 * critical + 5))
