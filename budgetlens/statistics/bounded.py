"""Bounded outcomes: what may be said of a mean whose examples can't leave a range, such as F1, recall, reciprocal rank.

A sample may lack the examples that differ most, and its mean and spread are then both too small. How far an example can
differ is known here, though, so that nothing need be fitted to real tails: the sample is given :data:`PSEUDO` examples
more at either end of the range, and Student's interval is that of this larger sample, within the range. Of a proportion
that is the interval of Agresti and Coull (1998, The American Statistician 52:119), of paired proportions the adjusted one
of Agresti and Min (2005, Statistics in Medicine 24:729), but for how many examples are added. Where examples share
documents, documents are the units (Liang and Zeger 1986), and what is added are documents of average size.

Of no distribution within the range, made to mislead or taken from answers, in documents or not, does the interval miss the
mean in more than 6 % of samples, at any number of units; ``python -m tests.simulation`` shows it. A mean of 0 is therefore
called a difference in 6 % of samples at most, and no example that was not seen forbids to conclude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from budgetlens.statistics.intervals import detectable_shift
from budgetlens.statistics.paired import UNVARIED, PairedEffect
from budgetlens.statistics.tails import unit_sums

Floats = NDArray[np.float64]

#: Units that are added at either end of the range: the fewest under which no distribution misleads.
PSEUDO = 1.5
#: How far rounding may carry a value beyond its range.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Range:
    """What an example's value lies between."""

    lowest: float
    highest: float

    def holds(self, values: Floats) -> bool:
        """Whether all values lie within it."""
        return bool((values >= self.lowest - _ROUNDING).all() and (values <= self.highest + _ROUNDING).all())


#: Of a part of a whole.
SHARE = Range(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class BoundedMeans:
    """Means of columns within one range, drawn to its middle by what is added.

    ``estimate`` and ``error`` are of the larger sample, shape [columns]; ``units`` are the independent ones that were seen.
    """

    estimate: Floats
    error: Floats
    units: int
    within: Range

    def interval(self, confidence: float) -> tuple[Floats, Floats]:
        """Lower and upper ends, never beyond the range."""
        half = special.stdtrit(self.units - 1, (1 + confidence) / 2) * self.error
        return (
            np.maximum(self.estimate - half, self.within.lowest),
            np.minimum(self.estimate + half, self.within.highest),
        )

    @property
    def p_difference(self) -> Floats:
        """Two-sided p against 0: below alpha exactly where the interval of confidence 1 - alpha leaves out 0."""
        return 2 * special.stdtr(self.units - 1, -np.abs(self.estimate) / self.error)

    def p_equivalence(self, bound: float) -> Floats:
        """Below alpha exactly where the interval of confidence 1 - alpha lies within ± ``bound``, which is inside the range.

        Twice the larger of the two one-sided p: of a skewed distribution nearly all misses can be on one side.
        """
        nearer = bound - np.abs(self.estimate)
        return np.minimum(1.0, 2 * special.stdtr(self.units - 1, -nearer / self.error))


def bounded_means(
    values: Floats, within: Range, labels: NDArray[np.int64] | None, units: int
) -> BoundedMeans:
    """Means of every column, shape [examples, columns], none of whose values lies outside the range.

    Args:
        values: finite values.
        within: the range, of all columns.
        labels: unit, 0 to units - 1, of each example; None: examples are independent.
        units: how many units there are, two or more.
    """
    size = len(values) / units
    ends = np.array([within.lowest, within.highest])
    total = len(values) + 2 * PSEUDO * size
    estimate = (values.sum(axis=0) + PSEUDO * size * ends.sum()) / total
    squares = (unit_sums(values - estimate, labels, units) ** 2).sum(axis=0)
    squares += PSEUDO * ((size * (ends[:, None] - estimate)) ** 2).sum(axis=0)
    count = units + 2 * PSEUDO
    return BoundedMeans(estimate, np.sqrt(count / (count - 1) * squares) / total, units, within)


def of_bounded(
    effect: PairedEffect,
    values: Floats,
    within: Range,
    labels: NDArray[np.int64] | None,
    confidence: float,
) -> PairedEffect:
    """The statistics of a mean with interval and tests of a bounded one in their place.

    ``values`` are those that the effect is of, shape [examples]. With one unit, or where a value lies outside the range,
    they stay what they are. What is made for unbounded tails has no say, and Student's t is withheld.
    """
    if effect.clusters < 2 or not within.holds(values):
        return effect
    means = bounded_means(values[:, None], within, labels, effect.clusters)
    (low,), (high,) = means.interval(confidence)
    # What is added draws the estimate to the middle, and a mean must be larger by as much to be found.
    drawn = 1 + 2 * PSEUDO / effect.clusters
    shift = detectable_shift(effect.clusters - 1, alpha=round(1 - confidence, 12)) * means.error[0] * drawn
    return replace(
        effect,
        low=float(low),
        high=float(high),
        p=float(means.p_difference[0]),
        p_tost=math.nan
        if math.isnan(effect.smallest_effect)
        else float(means.p_equivalence(effect.smallest_effect)[0]),
        p_t=math.nan,
        # No difference that is possible would be found where the range ends before it.
        minimum_detectable=float(shift) if shift <= within.highest else math.nan,
        carriers=0,
        caution="",
        reason=without_spread(effect.reason),
    )


def without_spread(reason: str) -> str:
    """A reason without what an interval that needs no spread is not missing."""
    return "; ".join(part for part in reason.split("; ") if part and part not in UNVARIED)
