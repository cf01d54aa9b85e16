"""Effects as rows of intervals, drawn as SVG from the data alone: no browser and no script is needed to see them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from budgetlens.report.findings import colour, scale_of, short_verdict, size
from budgetlens.report.page import render
from budgetlens.statistics.findings import Finding
from figures.labels import lines_of
from figures.panels import folded

#: What stands at the ends of an axis, by which way is better: what a negative and what a positive difference says.
ENDS = {"lower": ("hurts", "helps"), "higher": ("helps", "hurts"), "": ("rises", "falls")}
#: Most marks along an axis.
MOST_TICKS = 5

#: A label has so many lines at most.
MOST_LINES = 5


@dataclass(frozen=True)
class Row:
    """One effect: its words and what was found."""

    words: str
    finding: Finding


@dataclass(frozen=True)
class Form:
    """Where things stand, in pixels of a picture: as wide as a desk, half of one, or a phone."""

    look: str
    width: int
    left: int
    """Where the axis begins, and where it ends."""
    right: int
    values: int
    """Where numbers and verdicts begin; of a phone below the mark."""
    row: int
    characters: int
    """Of a line of an effect's words."""
    narrow: bool


FORMS = (
    Form("wide", width=1000, left=330, right=770, values=792, row=42, characters=48, narrow=False),
    Form("middle", width=800, left=250, right=590, values=606, row=42, characters=36, narrow=False),
    Form("narrow", width=350, left=8, right=342, values=0, row=80, characters=50, narrow=True),
)


def interval_pictures(rows: Sequence[Row], heading: str, foot: str) -> tuple[Markup, ...]:
    """The rows as a picture for each of :data:`FORMS`; a page shows one of them, its text no smaller than 12 pixels.

    Args:
        rows: one or more effects, in order; those of one unit side by side share an axis.
        heading, foot: what a picture says above and below that is copied out of its page.
    """
    return tuple(_picture(rows, heading, foot, form) for form in FORMS)


def _picture(rows: Sequence[Row], heading: str, foot: str, form: Form) -> Markup:
    panels, top = [], 4
    for own in _by_unit(rows):
        panels.append(_panel(own, top, form))
        top = panels[-1]["bottom"] + 12
    bounds = dict.fromkeys(
        row.finding.quantity.within(row.finding.bound) for row in rows if _half(row.finding)
    )
    above = folded(heading, int(form.width / 8.2))
    below = folded(foot, int(form.width / 6.2))
    return render(
        "intervals.svg",
        form=form,
        panels=panels,
        height=top + (18 if bounds else 0),
        bounds=" and ".join(bounds),
        heading=above,
        foot=below,
        told="; ".join(f"{row.words}: {' '.join(size(row.finding))}, {row.finding.verdict}" for row in rows),
    )


def _by_unit(rows: Sequence[Row]) -> list[list[Row]]:
    """Adjoining rows of one quantity and unit."""
    found: list[list[Row]] = []
    for row in rows:
        same = found and found[-1][-1].finding.quantity == row.finding.quantity
        found[-1].append(row) if same else found.append([row])
    return found


def _panel(rows: Sequence[Row], top: int, form: Form) -> dict[str, Any]:
    """The geometry of rows that share an axis: everything that the template needs, in pixels."""
    first = rows[0].finding
    scale, unit = scale_of(first)
    low, high = _span(rows, scale)

    def place(value: float) -> float:
        inside = min(max(value, low), high)
        return round(form.left + (inside - low) / (high - low) * (form.right - form.left), 1)

    heading = folded(f"{first.quantity.label}, baseline − treatment, {unit}", int(form.width / 6.6))
    begin = top + 15 * len(heading) + (22 if all(row.finding.order == 1 for row in rows) else 6)
    drawn, y = [], begin
    for row in rows:
        own, height = _row(row, y, scale, place, form)
        drawn.append(own)
        y += height
    return {
        "heading": heading,
        "top": top,
        "begin": begin,
        "end": y,
        "bottom": y + 22,
        "zero": place(0.0),
        "ends": ENDS[first.quantity.better] if all(row.finding.order == 1 for row in rows) else None,
        "ticks": [(place(tick), _tick(tick)) for tick in _ticks(low, high)],
        "rows": drawn,
    }


def _row(
    row: Row, y: int, scale: float, place: Callable[[float], float], form: Form
) -> tuple[dict[str, Any], int]:
    """What the template needs of one row that begins at ``y``, and how high it is."""
    finding, lines = row.finding, lines_of(row.words, form.characters)
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"{lines[MOST_LINES - 1]} …"]
    height = 15 * len(lines) + 48 if form.narrow else form.row + 15 * max(len(lines) - 2, 0)
    half = scale * _half(finding)
    drawn = {
        "y": y,
        "height": height,
        "lines": lines,
        "middle": y + (15 * len(lines) + 14 if form.narrow else height / 2),
        "colour": colour(finding),
        "hollow": finding.small or finding.kind not in ("positive", "negative", "both"),
        "known": not math.isnan(finding.estimate),
        "ends": not math.isnan(finding.low) and not math.isnan(finding.high),
        "mark": place(scale * finding.estimate),
        "low": place(scale * finding.low),
        "high": place(scale * finding.high),
        "band": (place(-half), place(half)) if half else None,
        "text": size(finding)[0],
        "verdict": short_verdict(finding),
    }
    return drawn, height


def _half(finding: Finding) -> float:
    """Half the band of differences too small to matter; 0 where there is none."""
    return 0.0 if math.isnan(finding.smallest_difference) else finding.smallest_difference


def _span(rows: Sequence[Row], scale: float) -> tuple[float, float]:
    """What an axis shows: 0, every interval, and the bands of small differences."""
    values = [0.0]
    for row in rows:
        own = row.finding
        values += [own.estimate, own.low, own.high, _half(own), -_half(own)]
    known = [scale * value for value in values if not math.isnan(value)]
    low, high = min(known), max(known)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers within an axis."""
    least = (high - low) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _tick(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")
