"""Intervals of proportions, the power of a t test, and how many permutations are drawn at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from budgetlens.statistics.tails import tailed_means

# Elements of one block of signs or permutations: 32 MB of float64, small beside the data, large enough
# for BLAS.
BLOCK_ELEMENTS = 4_000_000
#: After so many halvings an interval of numbers holds nothing between its ends.
HALVINGS = 60


def rows_per_block(units: int) -> int:
    """How many permutations are drawn at once; depends on the units only, so that a seed fixes the draws."""
    return max(1, BLOCK_ELEMENTS // max(units, 1))


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
            float(tailed_means(values, own, count).error[0])
            for own, count in ((None, len(values)), (labels, units))
        )
        n = min(n, n * (alone / together) ** 2) if together else n
    elif labels is not None:
        n = float(units)
    z = special.ndtri((1 + confidence) / 2)
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
    critical = float(special.stdtrit(degrees, 1 - alpha / 2))
    low, high = 0.0, 2 * critical + 5
    # By halves, since scipy's root finders are slow to load; power only grows with the shift.
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        # The other tail holds less than alpha/2 at shift 0 and nothing that counts where power nears 0.8.
        found = 1 - special.nctdtr(degrees, middle, critical)
        low, high = (middle, high) if found < power else (low, middle)
    return high
