"""Words that a table may use, fixed by rule.

A verdict needs evidence in either direction: an interval that leaves out 0 with a corrected p below alpha for
*helps* and *hurts*, an equivalence test for *no effect within ±x*. A large p alone never means no effect. Where both
hold, there is an effect and it is too small to matter: *helps, within ±x* (Lakens 2017, Social Psychological and
Personality Science 8, fig. 1).

An interaction is no help and no harm, so that it has words of its own. With differences taken as baseline -
treatment, a positive difference of differences means that two treatments together help less than the sum of
what each does alone (*sub-additive*), a negative one that they help more (*super-additive*); this reads the
same from either factor. Of a contrast of three factors, baseline minus treatment of the third is taken of the
two others' interaction: positive means that the third factor makes it smaller (*interaction falls*).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from budgetlens.statistics.quantities import Quantity

HELPS = "helps"
HURTS = "hurts"
UNDECIDED = "undecided"


SMALLEST_EFFECT = 0.05
"""Smallest effect on the answer's NLL that would matter, in nats per token."""

ANSWER_NLL = Quantity(
    "nll", "answer's NLL", "nats per answer token", better="lower", smallest_difference=SMALLEST_EFFECT
)
"""The outcome where none is named."""


@dataclass(frozen=True)
class Words:
    """What a contrast of one order is called where it is positive, negative, or shown to be small."""

    positive: str
    negative: str
    small: str


DIFFERENCE = Words(HELPS, HURTS, "no effect")
INTERACTION = Words("sub-additive", "super-additive", "additive")
HIGHER_INTERACTION = Words("interaction falls", "interaction rises", "interaction unchanged")
TREND = Words("grows", "shrinks", "steady")

#: Where higher is better, a positive baseline - treatment is a harm.
LOSS = Words(HURTS, HELPS, "no effect")
LOSS_INTERACTION = Words("super-additive", "sub-additive", "additive")

#: Attention neither helps nor hurts: with baseline - treatment, a positive difference is a share that falls.
CHANGE = Words("falls", "rises", "no change")
CHANGE_OF_CHANGE = Words("falls less", "falls more", "changes alike")

#: Order of a contrast that is the slope of an effect along a quantity, such as a length.
SLOPE = -1

CAUTION_TAILS = "few examples for these tails: the interval may cover less than it promises"
CAUTION_SKEW = "few examples for this skew: p of the mean may be too small"
CAUTION_RULE = (
    "cautions: tails where n is below 20 (kurtosis + 3), skew where n is below 25 skewness²; "
    "without one, simulations find the 95 % interval covering 93 to 97 %"
)


def words(order: int, quantity: Quantity = ANSWER_NLL) -> Words:
    """The words of a slope, a difference (order 1), an interaction (2) or a higher interaction (3 and more)."""
    if order == SLOPE:
        return TREND
    if order > 2:
        return HIGHER_INTERACTION
    difference, interaction = {
        "lower": (DIFFERENCE, INTERACTION),
        "higher": (LOSS, LOSS_INTERACTION),
        "": (CHANGE, CHANGE_OF_CHANGE),
    }[quantity.better]
    return difference if order < 2 else interaction


def no_effect_within(smallest_effect: float, order: int = 1, quantity: Quantity = ANSWER_NLL) -> str:
    """The wording of an equivalence, with the bound it holds for."""
    return f"{words(order, quantity).small} {quantity.within(smallest_effect)}"


def verdict(
    low: float,
    high: float,
    p_difference: float,
    p_equivalence: float,
    smallest_effect: float,
    alpha: float = 0.05,
    order: int = 1,
    quantity: Quantity = ANSWER_NLL,
) -> str:
    """What may be concluded from one contrast.

    Args:
        low, high: ends of the interval of the mean difference (positive = the treatment helps).
        p_difference: p of the test against 0, corrected within its family.
        p_equivalence: TOST p against ±smallest_effect, corrected within its family.
        smallest_effect: smallest effect of interest, in the unit of the interval.
        alpha: level of both tests.
        order: 1 for a difference, 2 for an interaction, 3 and more for a higher one, SLOPE for a slope.
        quantity: what is compared; which way is better gives the words.

    Returns:
        "helps", "hurts", "no effect within ±x" or "undecided"; for an interaction "sub-additive",
        "super-additive", "additive within ±x" or "undecided"; for a higher one "interaction falls",
        "interaction rises", "interaction unchanged within ±x" or "undecided"; for a slope "grows", "shrinks",
        "steady within ±x" or "undecided". What was found has ", within ±x" behind it where the equivalence test
        holds as well. "undecided" wherever an input it needs is NaN.
    """
    if math.isnan(low) or math.isnan(high):
        return UNDECIDED
    # NaN < alpha is False: an undefined test decides nothing.
    small = p_equivalence < alpha
    if (low > 0 or high < 0) and p_difference < alpha:
        own = words(order, quantity)
        found = own.positive if low > 0 else own.negative
        return f"{found}, {quantity.within(smallest_effect)}" if small else found
    return no_effect_within(smallest_effect, order, quantity) if small else UNDECIDED


def verdict_over_layers(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    p_difference: NDArray[np.float64],
    p_equivalence: NDArray[np.float64],
    smallest_effect: float,
    quantity: Quantity,
    alpha: float = 0.05,
    order: int = 1,
) -> str:
    """What may be concluded from one contrast of attention over all its layers.

    Args:
        low, high: ends of the band of each layer, which hold for all layers at once, shape [layers].
        p_difference: p against 0 of each layer, corrected over the layers.
        p_equivalence: TOST p of each layer against ±smallest_effect, not corrected: that every layer is within the
            bound is shown at level alpha where each layer's own test shows it (Berger 1982, intersection-union).
        smallest_effect: smallest change of interest, in the unit of the band.
        alpha, order: as in `verdict`.

    Returns:
        "falls", "rises" or "rises and falls" (of an interaction "falls less", "falls more", both) where the band of a
        layer leaves out 0, with ", within ±x" where no layer's change is larger than that; "no change within ±x"
        ("changes alike within ±x") where no band leaves out 0 and every layer is within; else "undecided".
    """
    own = words(order, quantity)
    # NaN < alpha is False: an undefined test decides nothing.
    found = p_difference < alpha
    small = len(low) > 0 and bool((p_equivalence < alpha).all())
    directions = [
        word
        for word, there in ((own.negative, found & (high < 0)), (own.positive, found & (low > 0)))
        if there.any()
    ]
    if not directions:
        return no_effect_within(smallest_effect, order, quantity) if small else UNDECIDED
    joined = " and ".join(directions)
    return f"{joined}, {quantity.within(smallest_effect)}" if small else joined


def layers_rule(
    smallest_effect: float, quantity: Quantity, alpha: float = 0.05, orders: Iterable[int] = (1,)
) -> str:
    """The rule of `verdict_over_layers` in one sentence, for a caption; `orders` are those of the contrasts."""
    kinds = list(dict.fromkeys(words(order, quantity) for order in sorted(set(orders))))
    meanings = {
        CHANGE_OF_CHANGE: " (a difference of differences: with the second treatment the first one lowers the "
        f"{quantity.label} less / more, or raises it more / less)",
        HIGHER_INTERACTION: " (with the third factor's treatment)",
    }
    found = ", ".join(f"{own.positive} / {own.negative}{meanings.get(own, '')}" for own in kinds)
    small = ", ".join(own.small for own in kinds)
    bound = quantity.within(smallest_effect)
    return (
        f"{found}: in some layer the band leaves out 0 and p is below {alpha:g}, and both words where layers differ "
        f"in sign; {small} {bound}: in no layer, and in every layer tested the equivalence test is below {alpha:g}; "
        f"a word followed by {bound}: the same test holds in every layer although a band leaves out 0; "
        f"{UNDECIDED}: everything else"
    )


def rule(
    smallest_effect: float,
    alpha: float = 0.05,
    orders: Iterable[int] = (1,),
    quantity: Quantity = ANSWER_NLL,
) -> str:
    """The rule in one sentence, for a caption; `orders` are those of the table's contrasts."""
    parts = []
    for own in dict.fromkeys(words(order, quantity) for order in sorted(orders)):
        meaning = {
            INTERACTION: (
                " (two treatments together help less, or hurt more / help more, or hurt less than the sum of each alone)"
            ),
            HIGHER_INTERACTION: " (with the third factor's treatment)",
            TREND: " (the effect, along the quantity)",
        }.get(own, "")
        found = f"{own.positive} / {own.negative}{meaning}"
        parts.append((found, f"{own.small} {quantity.within(smallest_effect)}"))
    found = ", ".join(part[0] for part in parts)
    small = ", ".join(part[1] for part in parts)
    return (
        f"{found}: the interval leaves out 0 and the corrected p is below {alpha:g}; "
        f"{small}: neither, and the corrected equivalence test is below {alpha:g}; "
        f"a word followed by {quantity.within(smallest_effect)}: both, an effect too small to matter; "
        f"{UNDECIDED}: everything else"
    )


def trend_rule(alpha: float = 0.05) -> str:
    """The rule of slopes over strata, which have no smallest effect of interest, in one sentence."""
    return (
        f"{TREND.positive} / {TREND.negative} (the effect, from one stratum to the next): the interval of the slope "
        f"leaves out 0 and the corrected p is below {alpha:g}; {UNDECIDED}: everything else"
    )


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
        One or two sentences joined by "; ", or nothing. Tails that no example of the sample shows cannot be
        warned of.
    """
    cautions = []
    if n < 20 * (kurtosis + 3):
        cautions.append(CAUTION_TAILS)
    if n < 25 * skewness**2:
        cautions.append(CAUTION_SKEW)
    return "; ".join(cautions)


def joined_cautions(*cautions: str) -> str:
    """The cautions of several numbers of one row as one: each sentence once."""
    return "; ".join(dict.fromkeys(own for each in cautions for own in each.split("; ") if own))


def interval_caution(*cautions: str) -> str:
    """What of some cautions concerns intervals, for a row in which nothing is tested."""
    return CAUTION_TAILS if any(CAUTION_TAILS in each for each in cautions) else ""


def p_caution(caution: str) -> str:
    """What of a caution concerns a test of the mean, for a row without an interval."""
    return CAUTION_SKEW if CAUTION_SKEW in caution else ""
