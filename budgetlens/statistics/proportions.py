"""Paired proportions: what may be said of the difference of two cells in which an example's value is 0 or 1.

McNemar's exact test, and the interval of Newcombe (1998, Statistics in Medicine 17:2635, method 10) for the difference of
paired proportions. Both look at independent examples: where examples share documents, or a contrast is of more than two
cells, those of a bounded mean hold (:mod:`budgetlens.statistics.bounded`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from budgetlens.statistics.bounded import without_spread
from budgetlens.statistics.paired import PairedEffect

#: Halvings by which the level at which an interval reaches a bound is found.
_HALVINGS = 60


@dataclass(frozen=True)
class Counts:
    """How many pairs are (1, 1), (1, 0), (0, 1) and (0, 0) in baseline and treatment."""

    both: int
    baseline_only: int
    treatment_only: int
    neither: int

    @property
    def n(self) -> int:
        """All pairs."""
        return self.both + self.baseline_only + self.treatment_only + self.neither

    @property
    def difference(self) -> float:
        """Proportion of the baseline less that of the treatment."""
        return (self.baseline_only - self.treatment_only) / self.n


def counts_of(baseline: NDArray[np.float64], treatment: NDArray[np.float64]) -> Counts | None:
    """The four counts; None where a value is neither 0 nor 1."""
    if not (np.isin(baseline, (0.0, 1.0)).all() and np.isin(treatment, (0.0, 1.0)).all()):
        return None
    one, other = baseline == 1, treatment == 1
    return Counts(
        int((one & other).sum()),
        int((one & ~other).sum()),
        int((~one & other).sum()),
        int((~one & ~other).sum()),
    )


def mcnemar_p(counts: Counts) -> float:
    """Two-sided exact p of the pairs that differ, either side being as likely; 1 where there are none."""
    differing = counts.baseline_only + counts.treatment_only
    fewer = min(counts.baseline_only, counts.treatment_only)
    return min(1.0, float(2 * special.bdtr(fewer, differing, 0.5))) if differing else 1.0


def wilson(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a proportion."""
    z = float(special.ndtri((1 + confidence) / 2))
    share = successes / n
    middle, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - spread) / (1 + z * z / n)), min(1.0, (middle + spread) / (1 + z * z / n))


def newcombe(counts: Counts, confidence: float) -> tuple[float, float]:
    """Interval of the difference of proportions, baseline less treatment, from Wilson's of each and their correlation."""
    n, (e, f, g, h) = counts.n, (counts.both, counts.baseline_only, counts.treatment_only, counts.neither)
    first, second = (e + f) / n, (e + g) / n
    (low_1, high_1), (low_2, high_2) = wilson(e + f, n, confidence), wilson(e + g, n, confidence)
    product = (e + f) * (g + h) * (e + g) * (f + h)
    phi = 0.0
    if product:
        raw = e * h - f * g
        # Newcombe's correction for continuity, of a positive correlation alone.
        phi = (max(raw - n / 2, 0.0) if raw > 0 else raw) / math.sqrt(product)
    below = (first - low_1) ** 2 - 2 * phi * (first - low_1) * (high_2 - second) + (high_2 - second) ** 2
    above = (high_1 - first) ** 2 - 2 * phi * (high_1 - first) * (second - low_2) + (second - low_2) ** 2
    return counts.difference - math.sqrt(below), counts.difference + math.sqrt(above)


def equivalence_p(counts: Counts, bound: float) -> float:
    """The level at which the interval of the difference lies just within ±bound: p of two one-sided tests.

    0.5 where the difference itself lies on the bound or beyond it.
    """
    least, most = 0.0, 0.5
    if math.isnan(bound) or not abs(counts.difference) < bound:
        return most
    for _ in range(_HALVINGS):
        level = (least + most) / 2
        low, high = newcombe(counts, 1 - 2 * level)
        least, most = (least, level) if -bound < low and high < bound else (level, most)
    return most


def of_proportions(effect: PairedEffect, counts: Counts, confidence: float) -> PairedEffect:
    """The statistics of a mean with interval and tests of paired proportions in their place.

    Few pairs that differ are no tail that was missed: what carries a mean and what is made for long tails has no say, and
    Student's t is withheld.
    """
    low, high = newcombe(counts, confidence)
    return replace(
        effect,
        low=low,
        high=high,
        p=mcnemar_p(counts),
        p_tost=equivalence_p(counts, effect.smallest_effect),
        p_t=math.nan,
        minimum_detectable=math.nan,
        carriers=0,
        caution="",
        reason=without_spread(effect.reason),
    )
