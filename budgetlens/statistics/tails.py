"""Inference about means whose examples have long tails: Student's t with the length that such tails need.

Differences of NLL are skewed (5 to 10) and few examples carry much of their mean. A sample that lacks the large ones
has a mean and a spread that are both too small, so that Student's t errs in one direction: towards the side without
the tail. No statistic of one sample shows what it lacks. The interval is therefore longer than Student's by a factor
that depends on the number of units and on the side: at least as long as the number of units needs, and longer on the
side of the tail that the sample does show (as the expansions of Johnson 1978, JASA 73, and Hall 1992, JRSS B 54, have
it, which alone are too short under 500 units).

The factors are fitted to real differences, resampled with a true mean of 0: of no population may more than 5.5 % of
samples have an interval without 0, at any number of units. Differences from doing nothing have values of their own, and
differences between treatments, or of differences, longer ones; maps of heads, where the smallest p of many decide, the
longest. ``python -m tests.simulation`` shows what they keep, and ``--fit`` fits them again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from budgetlens.statistics.products import product

Floats = NDArray[np.float64]

#: Numbers of units at which critical values were fitted; between them they are interpolated over the logarithm.
UNITS = (3, 5, 7, 10, 14, 20, 30, 50, 100, 200, 300, 500, 700, 1_000, 2_000, 5_000)
#: Critical value of |t| at level .05 where the sample is symmetric, or has its tail on the side of the claim.
CRITICAL = (16.8, 10.9, 9.1, 7.1, 6.2, 5.1, 3.95, 2.92, 2.76, 2.82, 2.82, 2.34, 2.17, 2.11, 2.05, 1.95)
#: How much more per unit of asymmetry where the tail is on the other side.
PER_ASYMMETRY = (8.0, 8.0, 8.0, 8.0, 8.0, 8.0, 7.0, 6.0, 5.0, 3.0, 1.8, 0.8, 0.6, 0.4, 0.0, 0.0)

#: The same for what is no difference from doing nothing: differences between two treatments, and differences of
#: differences. Their tails lie on either side, or on both, and are as long.
CRITICAL_BETWEEN = (17.1, 10.9, 9.8, 7.7, 6.2, 5.3, 3.95, 3.15, 3.05, 3.45, 3.2, 2.77, 2.34, 2.2, 2.1, 2.05)
#: How much less per unit of asymmetry where the tail is on the side of the claim; Student's is the least.
PER_OWN_ASYMMETRY_BETWEEN = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0, 1.0, 0.5, 0.3, 0, 0)

#: Where the smallest p of many is looked at, as in a map of heads, what decides lies further out than level .05, where the
#: expansions grow with t²: numbers of units and critical values that were fitted for it, and what is added per unit of
#: asymmetry.
UNITS_OF_MANY = (200, 300, 500, 700, 1_000, 2_000, 5_000)
CRITICAL_OF_MANY = (3.4, 3.3, 3.15, 2.65, 2.15, 2.05, 1.95)
PER_ASYMMETRY_OF_MANY = 3.0

#: Level that the critical values are of.
LEVEL = 0.05


def asymmetries(influences: Floats) -> Floats:
    """Skewness over the square root of the number of units, of every column, shape [units, columns]; -1 to 1.

    A column that does not vary has none: 0.
    """
    deviations = influences - influences.mean(axis=0)
    # Scaled first: cubes of very small or large numbers leave the range of floats.
    largest = np.abs(deviations).max(axis=0, initial=0.0)
    scaled = np.divide(deviations, largest, out=np.zeros_like(deviations), where=largest > 0)
    squares = scaled * scaled
    spread = squares.sum(axis=0)
    cubes = (squares * scaled).sum(axis=0)
    return np.divide(cubes, spread**1.5, out=np.zeros_like(spread), where=spread > 0)


def length_factor(
    asymmetry: Floats, units: NDArray[np.int64] | int, between: NDArray[np.bool_] | bool = False
) -> Floats:
    """How much longer than Student's an interval is on its upper side, where asymmetry is that of the sample.

    The lower side has the factor of ``-asymmetry``. At least 1.

    Args:
        asymmetry: as of :func:`asymmetries`, shape [columns].
        units: number of independent units, one for all columns or one each; NaN comes back under 2.
        between: whether a column is no difference from doing nothing (:data:`CRITICAL_BETWEEN`), one for all or one each.
    """
    count = np.asarray(units, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.log(np.where(count > 1, count, np.nan))
        student = special.stdtrit(count - 1, 1 - LEVEL / 2)
    known = np.log(UNITS)
    least = np.where(between, np.interp(place, known, CRITICAL_BETWEEN), np.interp(place, known, CRITICAL))
    own = np.where(between, np.interp(place, known, PER_OWN_ASYMMETRY_BETWEEN), 0.0)
    other = np.interp(place, known, PER_ASYMMETRY)
    critical = least + other * np.maximum(asymmetry, 0) + own * np.minimum(asymmetry, 0)
    return np.maximum(critical / student, 1.0)


def factor_of_many(asymmetry: Floats, units: int) -> Floats:
    """As :func:`length_factor`, for tests of which the smallest p are looked at: far out, skewness moves t by more.

    No shorter than :func:`length_factor`, which alone tells what is needed under the first of :data:`UNITS_OF_MANY`.
    """
    critical = np.interp(np.log(units), np.log(UNITS_OF_MANY), CRITICAL_OF_MANY)
    student = special.stdtrit(units - 1, 1 - LEVEL / 2)
    far = (critical + PER_ASYMMETRY_OF_MANY * np.maximum(asymmetry, 0)) / student
    return np.maximum(far, length_factor(asymmetry, units))


@dataclass(frozen=True, eq=False)
class TailedMeans:
    """Estimates that are means, or as good as means of influences, each with its spread and asymmetry over units."""

    estimate: Floats
    """Shape [columns]."""
    error: Floats
    """Standard error, cluster-robust where units hold several examples, shape [columns]."""
    asymmetry: Floats
    """Of the units, shape [columns]."""
    units: NDArray[np.int64] | int
    """Independent units, one for all columns or one each."""
    between: NDArray[np.bool_] | bool = False
    """Whether an estimate is no difference from doing nothing, one for all columns or one each."""

    @property
    def upper_factor(self) -> Floats:
        """How much longer than Student's the interval is above the estimate."""
        return length_factor(self.asymmetry, self.units, self.between)

    @property
    def lower_factor(self) -> Floats:
        """How much longer it is below."""
        return length_factor(-self.asymmetry, self.units, self.between)

    @property
    def _degrees(self) -> Floats:
        return np.asarray(self.units, dtype=np.float64) - 1

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        """Lower and upper ends; NaN where there is no spread."""
        half = special.stdtrit(self._degrees, (1 + confidence) / 2) * self._varying
        return self.estimate - self.lower_factor * half, self.estimate + self.upper_factor * half

    @property
    def p_difference(self) -> Floats:
        """Two-sided p against 0: below alpha exactly where the interval of confidence 1 - alpha leaves out 0."""
        return np.minimum(1.0, 2 * self._tail(np.abs(self.estimate), self.estimate > 0))

    @property
    def p_of_many(self) -> Floats:
        """Two-sided p against 0 of columns among many, of which the smallest are looked at (:func:`factor_of_many`)."""
        against = np.where(self.estimate > 0, -self.asymmetry, self.asymmetry)
        factor = factor_of_many(against, int(self.units))
        return 2 * special.stdtr(self._degrees, -np.abs(self.estimate) / (factor * self._varying))

    def p_equivalence(self, bound: Floats | float) -> Floats:
        """Below alpha exactly where the interval of confidence 1 - alpha lies within ± ``bound``.

        Twice the larger of the two one-sided p (Schuirmann 1987), since the factors hold both sides of an interval
        together to one error, and nearly all of it can fall on one side.
        """
        below, above = bound - self.estimate, bound + self.estimate
        larger = np.maximum(
            self._tail(below, np.zeros_like(below, dtype=bool)),
            self._tail(above, np.ones_like(above, dtype=bool)),
        )
        return np.minimum(1.0, 2 * larger)

    @property
    def p_student(self) -> Floats:
        """Two-sided p of Student's t, as if there were no tails."""
        return 2 * special.stdtr(self._degrees, -np.abs(self.estimate) / self._varying)

    @property
    def _varying(self) -> Floats:
        return np.where(self.error > 0, self.error, np.nan)

    def _tail(self, distance: Floats, down: NDArray[np.bool_]) -> Floats:
        """P of a distance from the estimate or more: downwards along the lower side of the interval, else the upper."""
        factor = np.where(down, self.lower_factor, self.upper_factor)
        return special.stdtr(self._degrees, -distance / (factor * self._varying))


def tailed_means(
    values: Floats,
    labels: NDArray[np.int64] | None,
    units: int,
    weights: Floats | None = None,
    *,
    between: NDArray[np.bool_] | bool = False,
) -> TailedMeans:
    """Means of every column, shape [examples, columns], weighted or not.

    Args:
        values: finite values.
        labels: unit, 0 to units - 1, of each example; None: examples are independent.
        units: how many units there are.
        weights: above 0, one per example; None: all equal.
        between: as of :class:`TailedMeans`.
    """
    if weights is None:
        estimate = values.mean(axis=0)
        influences = (values - estimate) / len(values)
    else:
        estimate = product(weights, values) / weights.sum()
        influences = weights[:, None] * (values - estimate) / weights.sum()
    return tailed(estimate, unit_sums(influences, labels, units) * units, between=between)


def tailed(estimate: Floats, influences: Floats, *, between: NDArray[np.bool_] | bool = False) -> TailedMeans:
    """Estimates, shape [columns], with their influences, shape [units, columns]: by how much each unit moves them.

    Of a mean over independent examples the influences are its values. With units of several examples the standard error is
    that of Liang and Zeger (1986) with the factor units/(units - 1) (CR1).
    """
    units = len(influences)
    deviations = influences - influences.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt((deviations**2).sum(axis=0) / (units - 1) / units)
    return TailedMeans(estimate, error, asymmetries(influences), units, between)


def unit_sums(columns: Floats, labels: NDArray[np.int64] | None, units: int) -> Floats:
    """Sums of every column within each unit, shape [units, columns].

    `labels` holds the unit, 0 to units - 1, of each example; None makes each example its own unit.
    """
    if labels is None:
        return columns
    sums = np.zeros((units, columns.shape[1]))
    np.add.at(sums, labels, columns)
    return sums
