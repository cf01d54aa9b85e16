"""Words that a table may use, fixed by rule.

What is found is :mod:`budgetlens.statistics.decisions`'; here it is put into words, and nothing reads the words back:
*helps* and *hurts* for an effect, *no effect within ±x* where equivalence was shown, *helps, small (below
x)* for an effect that is too small to matter, *small, if any (below x)* where the interval leaves out 0 and the corrected p
does not. The slope of an effect is *more help or less harm*, since the effect may be either on the way.

An interaction is told by what happened: where two treatments help alone, less help together than the sum is
*sub-additive* and more *super-additive*; where both hurt alone, the same words are of harm; where one helps and one hurts,
together they are *worse* or *better than the sum*. This reads the same from either factor. Of a contrast of three factors,
baseline minus treatment of the third is taken of the two others' interaction: positive means that the third factor makes it
smaller (*interaction falls*).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from budgetlens.statistics.decisions import (
    CARRIED,
    CAUTIOUS_BELOW,
    DOCUMENT_MEANS,
    FAMILY,
    REGRESSION,
    SKEW,
    TAILS,
    Decision,
)
from budgetlens.statistics.quantities import Bound, Quantity

HELPS = "helps"
HURTS = "hurts"
UNDECIDED = "undecided"


SMALLEST_EFFECT = 0.05
"""Smallest effect on the answer's NLL that would matter, as a part of the NLL that it is an effect on."""

ANSWER_NLL = Quantity(
    "nll",
    "answer's NLL",
    "nats per answer token",
    better="lower",
    smallest_difference=SMALLEST_EFFECT,
    smallest_relative=True,
    short_unit="nats",
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
TREND = Words("more help or less harm", "less help or more harm", "steady")
LOSS_TREND = Words(TREND.negative, TREND.positive, TREND.small)
TREND_OF_CHANGE = Words("falls more or rises less", "falls less or rises more", "steady")
#: Where an effect was shown to be too small to matter, and its own interval leaves out 0.
SMALL_IF_ANY = "small, if any"

#: Where higher is better, a positive baseline - treatment is a harm.
LOSS = Words(HURTS, HELPS, "no effect")
LOSS_INTERACTION = Words("super-additive", "sub-additive", "additive")

#: Attention neither helps nor hurts: with baseline - treatment, a positive difference is a share that falls.
CHANGE = Words("falls", "rises", "no change")
CHANGE_OF_CHANGE = Words("falls less", "falls more", "changes alike")

#: Order of a contrast that is the slope of an effect along a quantity, such as a length.
SLOPE = -1

CAUTIONS = {
    TAILS: (
        "few examples for tails like these: rare examples may differ by far more than a sample this small shows; the "
        "interval allows for them, and is longer than needed where there are none"
    ),
    SKEW: "few examples for this skew: a p of Student's t may be too small",
    REGRESSION: (
        "baseline - treatment holds the baseline, so that strata of its own NLL show a trend under no effect at all "
        "(regression to the mean), whereas strata of the mean of both sides do not (Oldham 1962)"
    ),
    DOCUMENT_MEANS: "examples share documents: the document's mean is the unit of this trend",
}
"""The words of the codes of cautions."""

CAUTION_RULE = (
    "caution tails: fewer than 500 independent examples, or than 1,000 for differences between treatments, interactions, "
    "slopes and bands over layers; intervals and p are made for the tails of real differences of "
    "NLL, of which resampled ones with a mean of 0 were found in 6 % of samples at most, at any number of examples"
)


LONG_TAILED = "made for long tails"
BOUNDED = (
    "Student's of a sample with one and a half examples more at either end of what is possible (documents, where examples "
    "share them), and never beyond it; longer than needed where few examples differ"
)
PROPORTIONS = (
    "of two cells whose examples share no document those of paired proportions (Newcombe, with McNemar's exact test), else "
    + BOUNDED
)
"""How intervals are made: of what has no bounds, of what lies between 0 and 1, of what is one of the two."""


def interval_words(quantity: Quantity) -> str:
    """How the intervals of effects on a quantity are made."""
    if not quantity.bounded:
        return LONG_TAILED
    return PROPORTIONS if quantity.binary else BOUNDED


def words(order: int, quantity: Quantity = ANSWER_NLL) -> Words:
    """The words of a slope, a difference (order 1), an interaction (2) or a higher interaction (3 and more)."""
    if order == SLOPE:
        return {"lower": TREND, "higher": LOSS_TREND, "": TREND_OF_CHANGE}[quantity.better]
    if order > 2:
        return HIGHER_INTERACTION
    difference, interaction = {
        "lower": (DIFFERENCE, INTERACTION),
        "higher": (LOSS, LOSS_INTERACTION),
        "": (CHANGE, CHANGE_OF_CHANGE),
    }[quantity.better]
    return difference if order < 2 else interaction


def interaction_words(quantity: Quantity, first: float, second: float) -> Words:
    """The words of an interaction, by what its treatments do alone (baseline - treatment): help, harm, or one of each.

    More harm than the sum of two harms is no *less than the sum*: it is super-additive too.
    """
    own = words(2, quantity)
    if not quantity.better or math.isnan(first) or math.isnan(second):
        return own
    helps = [value * (1 if quantity.better == "lower" else -1) > 0 for value in (first, second)]
    if all(helps):
        return own
    if not any(helps):
        return Words(own.negative, own.positive, own.small)
    worse, better = "together worse than the sum", "together better than the sum"
    return Words(worse, better, own.small) if quantity.better == "lower" else Words(better, worse, own.small)


def verdict(
    decision: Decision,
    smallest_effect: Bound | float,
    order: int = 1,
    quantity: Quantity = ANSWER_NLL,
    *,
    alone: tuple[float, float] = (math.nan, math.nan),
) -> str:
    """A decision in words.

    Args:
        decision: of one contrast, or of one contrast over layers.
        smallest_effect: smallest effect of interest; a number is in the quantity's unit.
        order: 1 for a difference, 2 for an interaction, 3 and more for a higher one, SLOPE for a slope.
        quantity: what is compared; which way is better gives the words.
        alone: of an interaction, what each treatment does alone, as baseline - treatment; NaN where it is not known.

    Returns:
        "helps", "hurts", "no effect within ±x" or "undecided"; for an interaction "sub-additive",
        "super-additive" (of help where both help alone, of harm where both hurt), "together worse than the sum" or
        "together better than the sum" (where one helps and one hurts), "additive within ±x" or "undecided"; for a higher one
        "interaction falls", "interaction rises", "interaction unchanged within ±x" or "undecided"; for a slope
        "more help or less harm", "less help or more harm", "steady within ±x" or "undecided"; for what is neither better
        nor worse "falls", "rises", "falls less" and so on, "rises and falls" where layers differ. "small, if any (below x)"
        stands for "no effect within ±x" where the interval leaves out 0 and the corrected p does not. What was found has
        ", small (below x)" behind it where it is small.
    """
    found = word(decision, order, quantity, alone=alone)
    if decision.kind == "none" and decision.because == FAMILY:
        return f"{found} (below {quantity.size(smallest_effect)})"
    if decision.kind == "none":
        return f"{found} {quantity.within(smallest_effect)}"
    return f"{found}, {small(smallest_effect, quantity)}" if decision.little else found


def word(
    decision: Decision,
    order: int = 1,
    quantity: Quantity = ANSWER_NLL,
    *,
    alone: tuple[float, float] = (math.nan, math.nan),
) -> str:
    """A decision without the bound that it holds for, which stands elsewhere then; arguments as of :func:`verdict`."""
    own = words(order, quantity) if order != 2 else interaction_words(quantity, *alone)
    return {
        "positive": own.positive,
        "negative": own.negative,
        "both": f"{own.negative} and {own.positive}",
        "none": SMALL_IF_ANY if decision.because == FAMILY else own.small,
    }.get(decision.kind, undecided(decision))


def small(smallest_effect: Bound | float, quantity: Quantity = ANSWER_NLL) -> str:
    """What follows the word of an effect that is too small to matter: *small (below 5 %)*."""
    return f"small (below {quantity.size(smallest_effect)})"


def undecided(decision: Decision) -> str:
    """*undecided*, and why, where Student's t would have decided."""
    if decision.because == CARRIED:
        return f"{UNDECIDED} (carried by {decision.carriers} example{'' if decision.carriers == 1 else 's'})"
    return f"{UNDECIDED} (n too small for tails like these)" if decision.because == TAILS else UNDECIDED


def layers_rule(
    smallest_effect: Bound | float, quantity: Quantity, alpha: float = 0.05, orders: Iterable[int] = (1,)
) -> str:
    """The rule of `verdict_over_layers` in one sentence, for a caption; `orders` are those of the contrasts."""
    kinds = list(dict.fromkeys(words(order, quantity) for order in sorted(set(orders))))
    meanings = {
        CHANGE_OF_CHANGE: " (a difference of differences: with the second treatment the first one lowers the "
        f"{quantity.label} less / more, or raises it more / less)",
        HIGHER_INTERACTION: " (with the third factor's treatment)",
    }
    found = ", ".join(f"{own.positive} / {own.negative}{meanings.get(own, '')}" for own in kinds)
    little = ", ".join(own.small for own in kinds)
    bound = quantity.within(smallest_effect)
    return (
        f"{found}: in some layer the band leaves out 0 and p is below {alpha:g}, and both words where layers differ "
        f"in sign; {little} {bound}: in no layer, and in every layer tested the equivalence test is below {alpha:g}; "
        f"a word followed by {small(smallest_effect, quantity)}: the same test holds in every layer although a band "
        f"leaves out 0; "
        f"{UNDECIDED}: everything else"
    )


def rule(
    smallest_effect: Bound | float,
    alpha: float = 0.05,
    orders: Iterable[int] = (1,),
    quantity: Quantity = ANSWER_NLL,
) -> str:
    """The rule in one sentence, for a caption; `orders` are those of the table's contrasts."""
    parts = []
    for own in dict.fromkeys(words(order, quantity) for order in sorted(orders)):
        meaning = {
            INTERACTION: (
                " (two treatments together less / more than the sum of what each does alone, of help where both help and "
                "of harm where both hurt; where one helps and one hurts: together worse / better than the sum; where the "
                "cells don't tell what each does alone: less help, or more harm, together / the reverse)"
            ),
            HIGHER_INTERACTION: " (with the third factor's treatment)",
            TREND: " (along the quantity)",
            LOSS_TREND: " (along the quantity)",
            TREND_OF_CHANGE: " (along the quantity)",
        }.get(own, "")
        found = f"{own.positive} / {own.negative}{meaning}"
        parts.append((found, f"{own.small} {quantity.within(smallest_effect)}"))
    found = ", ".join(part[0] for part in parts)
    little = ", ".join(part[1] for part in parts)
    relative = isinstance(smallest_effect, Bound) and not math.isnan(smallest_effect.share)
    share = f"; {quantity.size(smallest_effect)}: of the baseline's mean" if relative else ""
    return (
        f"{found}: the interval leaves out 0 and the corrected p is below {alpha:g}; "
        f"{little}: neither, and the corrected equivalence test is below {alpha:g}; "
        f"{SMALL_IF_ANY} (below {quantity.size(smallest_effect)}): the same, where the interval, which is of its contrast "
        "alone, leaves out 0 and the p corrected over the family does not; "
        f"a word followed by {small(smallest_effect, quantity)}: both, an effect too small to matter; "
        f"{UNDECIDED} (carried by k examples): an effect by this rule, of fewer than {CAUTIOUS_BELOW} independent examples, "
        "of which so few are more than half of the mean, or whose median or trimmed mean has another sign; "
        f"{undecided(Decision('undecided', because=TAILS))}: Student's t would decide, and what is made for long tails "
        "does not; "
        f"{UNDECIDED}: everything else{share}"
    )


def trend_rule(alpha: float = 0.05) -> str:
    """The rule of slopes over strata, which have no smallest effect of interest, in one sentence."""
    return (
        f"{TREND.positive} / {TREND.negative} (from one stratum to the next): the interval of the slope "
        f"leaves out 0 and the corrected p is below {alpha:g}; {UNDECIDED}: everything else"
    )
