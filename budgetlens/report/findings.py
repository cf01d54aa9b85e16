"""What a run allows to be concluded, in words made by rule from its findings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from budgetlens.statistics.decisions import CARRIED, FAMILY, TAILS
from budgetlens.statistics.findings import Finding
from budgetlens.statistics.verdicts import SLOPE, UNDECIDED, word
from budgetlens.tables.digits import with_interval

#: Classes that colour a verdict, in the order in which verdicts are counted.
COLOURS = ("helps", "hurts", "apart", "none", "undecided")

#: What the mean of a contrast is, by its order; of any other order, a difference.
WHAT = {
    SLOPE: "the slope",
    2: "the difference of differences",
    3: "the difference between two interactions",
}


def colour(finding: Finding) -> str:
    """The class of a finding, one of :data:`COLOURS`."""
    if finding.kind in ("none", "undecided"):
        return finding.kind
    return {True: "helps", False: "hurts", None: "apart"}[finding.better]


def short_verdict(finding: Finding) -> str:
    """The verdict where there is little room: the bound is told elsewhere."""
    if finding.because == TAILS:
        # What it is too small for is among the cautions.
        return f"{UNDECIDED} (n too small)"
    alone = (finding.first_alone, finding.second_alone)
    found = word(finding.decision, finding.order, finding.quantity, alone=alone)
    return f"{found}{', small' if finding.decision.little else ''}"


def sentence(finding: Finding) -> str:
    """What one finding shows, with its interval.

    The mean difference is baseline − treatment: a positive one is a fall. An interaction is a difference of differences
    and is given with its sign.
    """
    if math.isnan(finding.estimate):
        return f"undefined ({finding.reason or 'the table gives no reason'})."
    signed, turned = _amounts(finding)
    count = f"n = {finding.n}"
    what = WHAT.get(finding.order, "the difference")
    within = _within(finding)
    small = f", which is small: {within}" if finding.small else ""
    subject = _subject(finding)
    if finding.kind == "none":
        alone = f"; {_of_the_family(finding)}" if finding.because == FAMILY else ""
        return f"{what} is {signed} and lies {within}{alone} ({count})."
    if finding.kind == "undecided":
        return f"{_undecided(finding, what, signed)} ({count}{_power(finding)}){_median(finding)}."
    if finding.kind == "both":
        return f"{subject} rises in some layers and falls in others ({count})."
    if finding.order == 2 and finding.first:
        return f"{_happened(finding)}: {_meaning(finding)}, by {_size(finding)}{small} ({count})."
    if finding.order != 1:
        return f"{_meaning(finding)}: {signed}{small} ({count})."
    if finding.kind == "positive":
        return f"{subject} falls by {signed}{small} ({count})."
    return f"{subject} rises by {turned}{small} ({count})."


def beside(own: Finding, other: Finding) -> str:
    """What one finding shows, and behind it what another shows of the same contrast and category by another measure."""
    return f"{sentence(own).removesuffix('.')}; {_beside(other, rises=own.order == 1 and own.kind == 'negative')}."


def _beside(finding: Finding, *, rises: bool) -> str:
    """``rises`` tells that the sentence before it counts what is more under the treatment, and so does this one."""
    signed, turned = _amounts(finding)
    told = turned if rises else signed
    its = f"its {finding.quantity.label}"
    small = f", which is small: {_within(finding)}" if finding.small else ""
    what = WHAT.get(finding.order, "the difference")
    if finding.kind == "none":
        return f"{its} does not shift: {what} is {told} and lies {_within(finding)}"
    if finding.kind == "undecided":
        return f"whether {its} shifts is open: {_undecided(finding, what, told)}"
    if finding.kind == "both":
        return f"{its} rises in some layers and falls in others"
    if finding.order != 1:
        return f"of {its}, {_meaning(finding)}: {signed}{small}"
    if finding.kind == "positive":
        return f"{its} falls by {signed}{small}"
    return f"{its} rises by {turned}{small}"


def _within(finding: Finding) -> str:
    """The bound in words; of one that is a part of the baseline's mean its size besides."""
    within = finding.quantity.within(finding.bound)
    if math.isnan(finding.smallest_share):
        return within
    scale, unit = scale_of(finding)
    return f"{within} of the baseline's mean, {scale * finding.smallest_difference:.2g} {unit}"


def _undecided(finding: Finding, what: str, signed: str) -> str:
    of = "" if finding.order == 1 else f"{what} is "
    if finding.because == CARRIED:
        few = "1 example carries" if finding.carriers == 1 else f"{finding.carriers} examples carry"
        return f"the data do not decide, since {few} more than half of the mean: {of}{signed}"
    if finding.because == TAILS:
        # Student's p is below the level even when corrected, and that for tails is not.
        alone = f" ({_of_the_family(finding)})" if finding.low > 0 or finding.high < 0 else ""
        return f"the data do not decide, since n is too small for tails like these{alone}: {of}{signed}"
    if finding.because == FAMILY:
        return f"the data do not decide, since {_of_the_family(finding)}: {of}{signed}"
    return f"the data do not decide: {of}{signed}"


def _of_the_family(finding: Finding) -> str:
    """Why an effect is not found although the interval beside it leaves out 0."""
    return f"the interval, of this contrast alone, leaves out 0, and the p corrected over its family is {finding.p:.2g}"


def _median(finding: Finding) -> str:
    """What can be said where the mean can't: the median, where its interval leaves out 0."""
    if finding.because not in (CARRIED, TAILS) or not (finding.median_low > 0 or finding.median_high < 0):
        return ""
    scale, unit = scale_of(finding)
    own = with_interval(*(scale * end for end in (finding.median, finding.median_low, finding.median_high)))
    return f"; the median is {own.replace('-', '−')} {unit}"


def _happened(finding: Finding) -> str:
    """What two treatments did alone and both, as changes of the quantity."""
    scale, unit = scale_of(finding)
    amounts = (
        f"{-scale * value:+.3g}".replace("-", "−")
        for value in (finding.first_alone, finding.second_alone, finding.both)
    )
    first, second, both = amounts
    return f"{finding.first} alone {first} {unit}, {finding.second} alone {second}, both {both}"


def _size(finding: Finding) -> str:
    """The interaction with its interval, without a sign: the words before it say which way."""
    signed, turned = _amounts(finding)
    return signed if finding.kind == "positive" else turned


def scale_of(finding: Finding) -> tuple[float, str]:
    """What numbers are multiplied by, and their unit, in a sentence."""
    return (100.0, "points") if finding.quantity.part_of_whole else (1.0, finding.quantity.short_unit)


def size(finding: Finding, sign: int = 1) -> tuple[str, str]:
    """The estimate with its interval, times ``sign``, and their unit; parts of a whole are told in points."""
    scale, unit = scale_of(finding)
    ends = sorted(sign * scale * value for value in (finding.low, finding.high))
    return with_interval(sign * scale * finding.estimate, *ends).replace("-", "−"), unit


def _amounts(finding: Finding) -> tuple[str, str]:
    """The amount, and the same with its sign turned; of an effect over layers, with the layer."""
    at = "" if finding.layer is None else f" at layer {finding.layer}, the surest"
    told = (f"{text} {unit}{at}" for text, unit in (size(finding), size(finding, -1)))
    return next(told), next(told)


def _subject(finding: Finding) -> str:
    """What rises or falls."""
    return f"the {finding.quantity.label}{f' of {finding.category}' if finding.category else ''}"


def _power(finding: Finding) -> str:
    if math.isnan(finding.detectable):
        return ""
    scale, unit = scale_of(finding)
    return f"; {scale * finding.detectable:.2g} {unit} would be found with 80 % power by one test alone"


def _meaning(finding: Finding) -> str:
    """What was found of an interaction or a slope, for readers who meet its word first here."""
    positive = finding.kind == "positive"
    if finding.order == SLOPE:
        if not finding.quantity.better:
            return f"along the quantity it {'falls more, or rises less' if positive else 'falls less, or rises more'}"
        grows = positive == (finding.quantity.better == "lower")
        return f"along the quantity it does {'better' if grows else 'worse'}"
    if finding.order > 2:
        return f"with the third factor the interaction is {'smaller' if positive else 'larger'}"
    if not finding.quantity.better:
        return "with the second treatment the first one " + (
            "lowers it less, or raises it more" if positive else "lowers it more, or raises it less"
        )
    worse = positive == (finding.quantity.better == "lower")
    helps = [
        value * (1 if finding.quantity.better == "lower" else -1) > 0
        for value in (finding.first_alone, finding.second_alone)
    ]
    if not finding.first:
        more, less = ("less", "more") if worse else ("more", "less")
        return f"together the two help {more}, or hurt {less}, than the sum of each alone"
    if sum(helps) == 1:
        return f"together they are {'worse' if worse else 'better'} than the sum of each alone"
    if all(helps):
        return f"together they help {'less' if worse else 'more'} than the sum of each alone"
    return f"together they hurt {'more' if worse else 'less'} than the sum of each alone"


def split_sentences(decomposition: pd.DataFrame) -> list[tuple[str, str]]:
    """The contrast and a sentence of each split whose parts have shares."""
    told = []
    for contrast, own in decomposition.groupby("contrast", sort=False):
        parts = own[own["part"] != "total"]
        total = own[own["part"] == "total"]
        if parts["share"].isna().any() or total.empty:
            continue
        amount = float(total["mean_difference"].iloc[0])
        words = ", ".join(f"{record['part']} {_percent(record)}" for record in parts.to_dict("records"))
        told.append((str(contrast), f"{_whole(total.iloc[0], amount)}, {words}"))
    return told


def _whole(total: pd.Series, amount: float) -> str:
    """What is split, in words that lead to its parts. A positive effect is a fall of the NLL."""
    order = int(total.get("order", 1))
    if order < 2:
        return f"of {_signed(amount)} nats"
    if order > 2:
        return f"a difference between interactions of {_signed(amount)} nats, of which"
    if not total["effect_of"]:
        return f"a difference of differences of {_signed(amount)} nats, of which"
    size = f"{abs(amount):.3f} nats {'larger' if amount > 0 else 'smaller'}"
    factor, _, levels = str(total["effect_of"]).partition(" ")
    start, _, end = levels.partition("→")
    return (
        f"the effect of {factor}={end} instead of {factor}={start} on the answer's NLL (positive: it falls) is {size} with "
        f"{total['at_baseline']} than with {total['at_treatment']}; of this difference of differences"
    )


def _percent(record: Mapping[str, Any]) -> str:
    share, low, high = (100 * float(record[name]) for name in ("share", "share_low", "share_high"))
    ends = "" if math.isnan(low) else f" [{round(low)}, {round(high)}]"
    return f"{round(share)} %{ends}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
