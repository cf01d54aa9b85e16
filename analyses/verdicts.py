"""Words that a table may use, fixed by rule.

A verdict needs evidence in either direction: an interval that leaves out 0 with a corrected p below alpha for
*helps* and *hurts*, an equivalence test for *no effect within ±x*. A large p alone never means no effect.
"""

from __future__ import annotations

import math

HELPS = "helps"
HURTS = "hurts"
UNDECIDED = "undecided"

RULE = (
    "helps / hurts: the interval leaves out 0 and the corrected p is below {alpha:g}; "
    "no effect within ±{smallest:g}: neither, and the corrected equivalence test is below {alpha:g}; "
    "undecided: everything else"
)


def no_effect_within(smallest_effect: float) -> str:
    """The wording of an equivalence, with the bound it holds for."""
    return f"no effect within ±{smallest_effect:g}"


def verdict(
    low: float,
    high: float,
    p_difference: float,
    p_equivalence: float,
    smallest_effect: float,
    alpha: float = 0.05,
) -> str:
    """What may be concluded from one comparison.

    Args:
        low, high: ends of the interval of the mean difference (positive = the treatment helps).
        p_difference: p of the test against 0, corrected within its family.
        p_equivalence: TOST p against ±smallest_effect, corrected within its family.
        smallest_effect: smallest effect of interest, in the unit of the interval.
        alpha: level of both tests.

    Returns:
        "helps", "hurts", "no effect within ±x" or "undecided"; "undecided" wherever an input it needs is NaN.
    """
    if math.isnan(low) or math.isnan(high):
        return UNDECIDED
    # NaN < alpha is False: an undefined test decides nothing.
    if (low > 0 or high < 0) and p_difference < alpha:
        return HELPS if low > 0 else HURTS
    return no_effect_within(smallest_effect) if p_equivalence < alpha else UNDECIDED


def rule(smallest_effect: float, alpha: float = 0.05) -> str:
    """The rule in one sentence, for a caption."""
    return RULE.format(alpha=alpha, smallest=smallest_effect)


def coverage_caution(n: int, skewness: float, kurtosis: float) -> str:
    """Warn where an interval or a p-value is known not to keep its promise.

    Two rules, both checked by simulation with the skew (9) and tails (kurtosis 110) of the published
    differences (tests/test_effects_coverage.py):
    * The BCa interval needs n of at least 20 (kurtosis + 3): n/(kurtosis + 3) is the number of examples
      that carry the variance, and with fewer than about 20 the 95 % interval covers less than 93 % (89 % at
      n = 500).
    * Tests of the mean need n of at least 25 skewness^2 (Cochran 1977, Sampling Techniques, eq. 2.25).
      Below, a mean of 0 with a skewed tail is rejected too often (9 % at n = 500 for a nominal 5 %); the
      sign-flip p is still exact for its own null, that baseline and treatment are exchangeable.

    Args:
        n: independent units.
        skewness: sample skewness of the differences.
        kurtosis: their sample excess kurtosis (0 for a normal distribution).

    Returns:
        One sentence, or nothing. Tails that no example of the sample shows cannot be warned of.
    """
    cautions = []
    if n < 20 * (kurtosis + 3):
        cautions.append(
            f"n = {n} is few for these tails (kurtosis {kurtosis:.1f}): the interval may cover too little"
        )
    if n < 25 * skewness**2:
        cautions.append(
            f"n = {n} is few for this skew (skewness {skewness:.1f}): p of the mean may be too small"
        )
    return "; ".join(cautions)
