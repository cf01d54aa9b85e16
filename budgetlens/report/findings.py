"""What a run allows to be concluded, in words made by rule from its findings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from budgetlens.report.caveats import BY_MODEL, caveats, effects_of
from budgetlens.report.page import Section, escaped, foreign, heading, slug
from budgetlens.runs.manifest import Manifest
from budgetlens.statistics.decisions import CARRIED, TAILS
from budgetlens.statistics.findings import Finding, findings
from budgetlens.statistics.verdicts import SLOPE
from budgetlens.tables.digits import with_interval
from budgetlens.tables.presentation import Table

#: Classes that colour a verdict, in the order in which verdicts are counted.
COLOURS = ("helps", "hurts", "apart", "none", "undecided")

#: What the mean of a contrast is, by its order; of any other order, a difference.
WHAT = {
    SLOPE: "the slope",
    2: "the difference of differences",
    3: "the difference between two interactions",
}


def summary_section(
    manifest: Manifest,
    tables: Mapping[str, Table],
    headline: Sequence[str] = (),
    conclusion: str = "",
) -> Section:
    """Conclusions and caveats, for the top of the report.

    Args:
        manifest: what run.json says.
        conclusion: HTML that comes first (:mod:`budgetlens.report.conclusion`).
        tables: the presented tables; ``effects`` gives the conclusions, of a sweep over models ``model_effects``;
            ``decomposition`` the parts.
        headline: names of the contrasts that come first; the others are folded.
    """
    effects = effects_of(tables)
    if effects is not None and len(effects.frame):
        told = [
            conclusion,
            conclusions(effects, headline, "effects" if "effects" in tables else BY_MODEL),
            split_sentences(tables.get("decomposition")),
        ]
    else:
        told = [
            conclusion or "<p>This run has no table of paired effects; its tables and figures follow.</p>"
        ]
    warnings = caveats(manifest, tables)
    if not warnings:
        return Section("summary", "What may be concluded", "\n".join(told))
    items = "".join(f"<li>{escaped(warning)}</li>" for warning in warnings)
    told += [heading(3, "caveats", "Read with care"), f'<ul class="caveats">{items}</ul>']
    return Section(
        "summary", "What may be concluded", "\n".join(told), parts=(("caveats", "Read with care"),)
    )


def colour(finding: Finding) -> str:
    """The class of a finding, one of :data:`COLOURS`."""
    if finding.kind in ("none", "undecided"):
        return finding.kind
    return {True: "helps", False: "hurts", None: "apart"}[finding.better]


def conclusions(effects: Table, headline: Sequence[str], name: str = "effects") -> str:
    """Counts of the verdicts, a sentence per headline, and the others folded; ``name`` is the table's, to link to."""
    frame = effects.frame
    if "model" in frame:
        # One finding is of one contrast of one model.
        chosen = frame["contrast"].isin(list(headline))
        frame = frame.assign(contrast=frame["model"] + ", " + frame["contrast"])
        headline = list(frame.loc[chosen, "contrast"])
    found = findings(frame)
    first = [finding for finding in found if finding.effect in set(headline)]
    if not first:
        first = list({finding.family: finding for finding in reversed(found)}.values())[::-1]
    rest = [finding for finding in found if finding not in first]
    marks = Counter((colour(finding), finding.verdict) for finding in found)
    counted = "".join(
        f"<li>{mark(own, words)} {count} of {len(found)}</li>"
        for (own, words), count in sorted(marks.items(), key=lambda mark: COLOURS.index(mark[0][0]))
    )
    lead = (
        f"<p>{len(found)} contrasts were tested on the answer's NLL ({escaped(effects.unit)}; "
        f"{escaped(effects.correction)}). By rule:</p>"
    )
    folded = (
        f'<details class="print"><summary>The other {len(rest)} contrasts</summary>{_by_family(rest)}</details>'
        if rest
        else ""
    )
    law = f'<p class="muted">The rule: {escaped(effects.rule)}.</p>' if effects.rule else ""
    more = f'<p><a href="#{slug("table", name)}">All numbers of the contrasts</a></p>'
    return f'{lead}<ul class="counts">{counted}</ul>{_sentences(first)}{folded}{law}{more}'


def mark(colour_class: str, words: str) -> str:
    """A verdict in the colour of a class."""
    return f'<span class="verdict {colour_class}">{escaped(words)}</span>'


def _by_family(found: Sequence[Finding]) -> str:
    families: dict[str, list[Finding]] = {}
    for finding in found:
        families.setdefault(finding.family, []).append(finding)
    return "".join(
        f'<h3 class="cell">{foreign(family)}</h3>{_sentences(own)}' for family, own in families.items()
    )


def _sentences(found: Iterable[Finding]) -> str:
    items = "".join(
        f'<li>{mark(colour(finding), finding.verdict)} <span class="name">{foreign(finding.effect)}</span>: '
        f"{escaped(sentence(finding))}</li>"
        for finding in found
    )
    return f'<ul class="findings">{items}</ul>'


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
        return f"{what} is {signed} and lies {within} ({count})."
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


def _within(finding: Finding) -> str:
    """The bound in words; of one that is a part of the baseline's mean its size besides."""
    within = finding.quantity.within(finding.bound)
    if math.isnan(finding.smallest_share):
        return within
    scale, unit = _scale(finding)
    return f"{within} of the baseline's mean, {scale * finding.smallest_difference:.2g} {unit}"


def _undecided(finding: Finding, what: str, signed: str) -> str:
    of = "" if finding.order == 1 else f"{what} is "
    if finding.because == CARRIED:
        few = "1 example carries" if finding.carriers == 1 else f"{finding.carriers} examples carry"
        return f"the data do not decide, since {few} more than half of the mean: {of}{signed}"
    if finding.because == TAILS:
        return f"the data do not decide, since n is too small for tails like these: {of}{signed}"
    return f"the data do not decide: {of}{signed}"


def _median(finding: Finding) -> str:
    """What can be said where the mean can't: the median, where its interval leaves out 0."""
    if finding.because not in (CARRIED, TAILS) or not (finding.median_low > 0 or finding.median_high < 0):
        return ""
    scale, unit = _scale(finding)
    own = with_interval(*(scale * end for end in (finding.median, finding.median_low, finding.median_high)))
    return f"; the median is {own.replace('-', '−')} {unit}"


def _happened(finding: Finding) -> str:
    """What two treatments did alone and both, as changes of the quantity."""
    scale, unit = _scale(finding)
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


def _scale(finding: Finding) -> tuple[float, str]:
    """What numbers are multiplied by, and their unit, in a sentence."""
    return (100.0, "points") if finding.quantity.part_of_whole else (1.0, finding.quantity.short_unit)


def size(finding: Finding, sign: int = 1) -> tuple[str, str]:
    """The estimate with its interval, times ``sign``, and their unit; parts of a whole are told in points."""
    scale, unit = _scale(finding)
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
    scale, unit = _scale(finding)
    return f"; {scale * finding.detectable:.2g} {unit} would be found with 80 % power by one test alone"


def _meaning(finding: Finding) -> str:
    """What was found of an interaction or a slope, for readers who meet its word first here."""
    positive = finding.kind == "positive"
    if finding.order == SLOPE:
        if not finding.quantity.better:
            return f"along the quantity the effect {'grows' if positive else 'shrinks'}"
        grows = positive == (finding.quantity.better == "lower")
        return f"along the quantity it helps {'more, or hurts less' if grows else 'less, or hurts more'}"
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


def split_sentences(decomposition: Table | None) -> str:
    """One sentence per split whose parts have shares; nothing without a table of splits."""
    if decomposition is None or decomposition.frame.empty:
        return ""
    items = []
    for contrast, own in decomposition.frame.groupby("contrast", sort=False):
        parts = own[own["part"] != "total"]
        total = own[own["part"] == "total"]
        if parts["share"].isna().any() or total.empty:
            continue
        amount = float(total["mean_difference"].iloc[0])
        words = ", ".join(f"{record['part']} {_percent(record)}" for record in parts.to_dict("records"))
        told = f"{_whole(total.iloc[0], amount)}, {words}"
        items.append(f'<li><span class="name">{foreign(contrast)}</span>: {foreign(told)}</li>')
    if not items:
        return ""
    return (
        '<details class="print"><summary>How effects split into parts (share of the mean, with interval)</summary>'
        f'<ul class="findings">{"".join(items)}</ul></details>'
    )


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
    return (
        f"the effect of {total['effect_of']} on the answer's NLL (positive: it falls) is {size} at "
        f"{total['at_baseline']} than at {total['at_treatment']}; of this difference of differences"
    )


def _percent(record: Mapping[str, Any]) -> str:
    share, low, high = (100 * float(record[name]) for name in ("share", "share_low", "share_high"))
    ends = "" if math.isnan(low) else f" [{round(low)}, {round(high)}]"
    return f"{round(share)} %{ends}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")
