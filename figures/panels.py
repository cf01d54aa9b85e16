"""Grids of panels with shared axes, laid out in pixels, and the title, subtitle and footnote around them."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from figures import theme
from figures.labels import panel_title, visible_text

TITLE_LINE = 24
SUBTITLE_LINE = 17
LEGEND_LINE = 22
#: What a further line of one legend takes, and an entry besides its text, in pixels.
LEGEND_WRAP, LEGEND_ENTRY, LEGEND_CHARACTER = 29, 46, 6.6
NOTE_LINE = 15
#: An entity, a tag, or a character.
UNBROKEN = re.compile(r"&[#\w]+;|<[^<>]*>|.", re.DOTALL)
#: A narrow figure fits a phone of 390 pixels with the margins of its page.
NARROW_WIDTH = 362
#: Width of a figure for print, in pixels, while one is drawn: as on a phone, and without a title, which a caption is.
_paper: ContextVar[int | None] = ContextVar("paper", default=None)
#: What a level colour bar takes below the axes, with its title and its ticks.
LEVEL_BAR = 58


@contextmanager
def on_paper(width: int) -> Iterator[None]:
    """Within it, narrow figures are that many pixels wide and have neither title nor subtitle."""
    token = _paper.set(width)
    try:
        yield
    finally:
        _paper.reset(token)


@dataclass(frozen=True)
class Frame:
    """What surrounds the panels, in pixels: the nominal page width, the margins left and right and the gaps.

    `width` sets how text is wrapped and the size of static exports; on screen a figure fills its container.
    `narrow` frames are those of a phone.
    """

    width: int = 1000
    left: int = 66
    right: int = 22
    gap_across: int = 22
    gap_down: int = 44
    axis_below: int = 50
    narrow: bool = False

    def fitted(self, narrow: bool, *, left: int = 54, right: int = 12, bar: bool = False) -> Frame:
        """This frame, or the narrow one in its place.

        Args:
            narrow: whether the page is a phone's.
            left, right: margins of the narrow frame.
            bar: whether a colour bar stands at the panels: in a narrow frame it lies below them.
        """
        if not narrow:
            return self
        below = self.axis_below + (LEVEL_BAR if bar else 0)
        width = _paper.get() or NARROW_WIDTH
        return replace(
            self, width=width, left=left, right=right, gap_across=14, axis_below=below, narrow=True
        )

    @property
    def inner(self) -> int:
        """Width that is left for the panels and the gaps between them."""
        return self.width - self.left - self.right


def columns_for(count: int, most: int = 4, narrow: bool = False) -> int:
    """How many columns a grid of `count` panels gets: one row up to three, then as square as reads well.

    On a phone few panels stand below each other and many in pairs.
    """
    if narrow:
        return 1 if count <= 4 or most == 1 else 2
    if count <= 3:
        return max(count, 1)
    return min(most, 2 if count == 4 else 3 if count in (5, 6, 9) else 4)


def panel_grid(
    rows: int,
    columns: int,
    filled: Sequence[tuple[int, int]],
    *,
    frame: Frame,
    panel_height: float | Sequence[float],
    share_x: bool = True,
    share_y: bool = True,
) -> go.Figure:
    """An empty figure of panels, without titles.

    Args:
        rows, columns: size of the grid.
        filled: 1-based (row, column) of the panels that exist, in reading order.
        frame: margins and gaps.
        panel_height: height of a panel in pixels, one for all or one per row.
        share_x, share_y: whether all panels have the same range and move together; labels then stand at the
            outer panels only.

    Returns:
        A figure whose `layout.height` holds the panels and gaps alone; `dressed` adds the rest.
    """
    heights = (
        [float(panel_height)] * rows
        if isinstance(panel_height, int | float)
        else [float(h) for h in panel_height]
    )
    inner_height = sum(heights) + frame.gap_down * (rows - 1)
    inner_width = frame.inner
    figure = make_subplots(
        rows=rows,
        cols=columns,
        specs=[[{} if (r, c) in filled else None for c in range(1, columns + 1)] for r in range(1, rows + 1)],
        row_heights=heights,
        horizontal_spacing=frame.gap_across / inner_width if columns > 1 else 0,
        vertical_spacing=frame.gap_down / inner_height if rows > 1 else 0,
    )
    lowest = {column: max(r for r, c in filled if c == column) for _, column in filled}
    leftmost = {row: min(c for r, c in filled if r == row) for row, _ in filled}
    for row, column in filled:
        # An axis that matches itself loses its automatic range, so the first panel's axes match nothing.
        follows = (row, column) != filled[0]
        subplot = figure.get_subplot(row, column)
        if share_x:
            subplot.xaxis.update(matches="x" if follows else None, showticklabels=row == lowest[column])
        if share_y:
            subplot.yaxis.update(matches="y" if follows else None, showticklabels=column == leftmost[row])
    figure.update_layout(height=inner_height)
    return figure


def span(*values: ArrayLike, margin: float = 0.06, include: float | None = None) -> list[float]:
    """A range that holds all values (NaN aside) and `include`, with a margin on both sides."""
    numbers = np.concatenate([np.asarray(v, dtype=float).ravel() for v in values])
    numbers = numbers[np.isfinite(numbers)]
    if include is not None:
        numbers = np.append(numbers, include)
    if not len(numbers):
        return [0.0, 1.0]
    low, high = float(numbers.min()), float(numbers.max())
    extra = (high - low) * margin or abs(high) * margin or 1.0
    return [low - extra, high + extra]


def outer_titles(
    figure: go.Figure, filled: Sequence[tuple[int, int]], x_title: str, y_title: str | dict[int, str]
) -> None:
    """Axis titles at the lowest panel of each column and the leftmost of each row; y may differ by row."""
    for column in {c for _, c in filled}:
        figure.update_xaxes(title_text=x_title, row=max(r for r, c in filled if c == column), col=column)
    for row in {r for r, _ in filled}:
        text = y_title if isinstance(y_title, str) else y_title[row]
        figure.update_yaxes(title_text=text, row=row, col=min(c for r, c in filled if r == row))


def level_ticks(levels: Sequence[str], room: float) -> tuple[dict[str, Any], int]:
    """Ticks at 0, 1, 2, … with the names of levels, level, in up to three lines; and how many lines they take.

    Args:
        levels: names, not yet escaped.
        room: pixels from one tick to the next.
    """
    size = theme.SMALL_SIZE if room >= 60 else theme.SMALL_SIZE - 1
    texts = [panel_title(level, max(int(room / (0.57 * size)), 5), 3) for level in levels]
    ticks = {
        "tickvals": list(range(len(texts))),
        "ticktext": texts,
        "tickangle": 0,
        "tickfont": {"size": size},
    }
    return ticks, max((text.count("<br>") + 1 for text in texts), default=1)


def panel_heading(
    figure: go.Figure, row: int, column: int, text: str, *, hover: str = "", dark: bool = False
) -> dict[str, Any]:
    """The annotation of a heading above a panel (escaped text), with a longer one on hover."""
    subplot = figure.get_subplot(row, column)
    return {
        "text": text,
        "hovertext": hover or None,
        "x": subplot.xaxis.domain[0],
        "y": subplot.yaxis.domain[1],
        "xref": "paper",
        "yref": "paper",
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 2,
        "showarrow": False,
        "align": "left",
        "font": {"size": theme.SMALL_SIZE + 1, "color": theme.page(dark).ink},
        "hoverlabel": {"font": {"size": theme.SMALL_SIZE + 1}},
    }


def guide(
    figure: go.Figure,
    row: int,
    column: int,
    *,
    x: tuple[float, float] | None = None,
    y: tuple[float, float] | None = None,
    colour: str,
    width: float = 1,
    dash: str = "solid",
) -> dict[str, Any]:
    """A line or band behind a panel, from edge to edge: upright for `x`, level for `y`.

    Args:
        figure: the figure, for the names of the panel's axes.
        row, column: the panel.
        x, y: where it begins and ends, one of them; the same number twice gives a line.
        colour: of the line or of the band.
        width, dash: of the line.
    """
    subplot = figure.get_subplot(row, column)
    x_axis, y_axis = subplot.yaxis.anchor, subplot.xaxis.anchor
    first, last = x if x is not None else y if y is not None else (0.0, 0.0)
    place = (
        {"xref": x_axis, "x0": first, "x1": last, "yref": f"{y_axis} domain", "y0": 0, "y1": 1}
        if x is not None
        else {"yref": y_axis, "y0": first, "y1": last, "xref": f"{x_axis} domain", "x0": 0, "x1": 1}
    )
    if first == last:
        look = {"type": "line", "line": {"color": colour, "width": width, "dash": dash}}
    else:
        look = {"type": "rect", "fillcolor": colour, "line": {"width": 0}}
    return {**place, **look, "layer": "below"}


def colour_bar(
    figure: go.Figure, frame: Frame, title: Sequence[str], *, length: float = 200, **options: Any
) -> dict[str, Any]:
    """A colour bar: upright at the right of the panels; in a narrow frame level, below them.

    Args:
        figure: the panels, before `dressed`.
        frame: its margins, fitted with `bar=True`.
        title: lines of the bar's title, escaped.
        length: of an upright bar with its title, in pixels.
        options: anything else that plotly knows of colour bars.
    """
    shared = {
        "tickfont": {"size": theme.SMALL_SIZE},
        "thickness": 12,
        "outlinewidth": 0,
        "lenmode": "pixels",
        "yanchor": "top",
    }
    font = {"size": theme.SMALL_SIZE}
    if not frame.narrow:
        upright = {"title": {"text": "<br>".join(title), "font": font}, "len": length, "y": 1}
        return shared | upright | options
    return (
        shared
        | {
            "title": {"text": " ".join(line for line in title if line.strip()), "font": font, "side": "top"},
            "orientation": "h",
            "len": frame.inner,
            "x": 0,
            "xanchor": "left",
            "xpad": 0,
            "ypad": 0,
            "y": -(frame.axis_below - LEVEL_BAR) / float(figure.layout.height),
        }
        | options
    )


def folded(text: str, characters: int) -> list[str]:
    """An escaped text in lines; words longer than a line are broken, entities and tags are kept whole."""
    width = max(characters, 20)
    words = []
    for word in text.split():
        piece, used = "", 0
        for part in UNBROKEN.findall(word):
            if used == width:
                words.append(piece)
                piece, used = "", 0
            piece, used = piece + part, used + (not part.startswith("<"))
        words.append(piece)
    return textwrap.wrap(" ".join(words), width, break_long_words=False, break_on_hyphens=False) or []


def with_second_colour_axis(figure: go.Figure) -> None:
    """Call the colour axis of a narrow figure by another name than that of a wide one.

    plotly.js leaves parts of a colour bar behind that moves from beside a figure to below it; a bar of another
    name is a new one.
    """
    for trace in figure.data:
        holder = trace if trace.type == "heatmap" else trace.marker if "marker" in trace else None
        if holder is not None and "coloraxis" in holder and holder.coloraxis == "coloraxis":
            holder.coloraxis = "coloraxis2"
    if figure.layout.coloraxis.colorscale:
        figure.layout.coloraxis2 = figure.layout.coloraxis.to_plotly_json()
        figure.layout.coloraxis = None


def fold_axis_titles(figure: go.Figure, frame: Frame) -> int:
    """Break the axis titles of a narrow figure that are longer than their axes; by how many lines the lowest grow.

    A title of the y axis gets a second line where the left margin has room for it.
    """
    grown = 0
    for axes, length in (("xaxis", frame.inner), ("yaxis", float(figure.layout.height))):
        for axis in figure.select_xaxes() if axes == "xaxis" else figure.select_yaxes():
            text = axis.title.text or ""
            ends = axis.domain or (0.0, 1.0)
            room = (ends[1] - ends[0]) * length + (frame.left if axes == "xaxis" else 0)
            lines = folded(text, int(room / 6.2))
            if len(lines) > 1:
                axis.title.text = "<br>".join(lines)
                grown = max(grown, len(lines) - 1) if axes == "xaxis" else grown
    return grown


def legend_rows(figure: go.Figure, index: int, title: str, frame: Frame) -> int:
    """How many lines a legend takes when its entries are laid side by side: plotly makes no room for them."""
    name = "legend" if index == 0 else f"legend{index + 1}"
    widths = [
        LEGEND_ENTRY + LEGEND_CHARACTER * len(visible_text(trace.name))
        for trace in figure.data
        if (trace.legend or "legend") == name and trace.showlegend is not False and trace.name
    ]
    if frame.narrow:
        # Entries that do not fit into one line are set in columns as wide as the widest of them.
        together = sum(widths) <= frame.width - 24
        across = len(widths) if together else max(1, int((frame.width - 24) // max(widths, default=1)))
        return -(-len(widths) // max(across, 1)) + bool(title.strip())
    room = frame.width - 24 - 8 * len(visible_text(title))
    lines, used = 1, 0.0
    for width in widths:
        if used and used + width > room:
            lines, used = lines + 1, 0.0
        used += width
    return lines


def dressed(
    figure: go.Figure,
    *,
    title: str,
    subtitle: str,
    notes: Sequence[str] = (),
    frame: Frame,
    dark: bool,
    legends: Sequence[str] = (),
    annotations: Sequence[dict[str, Any]] = (),
    shapes: Sequence[dict[str, Any]] = (),
    heading_lines: int = 1,
    missing: Sequence[dict[str, Any]] = (),
) -> go.Figure:
    """Puts title, subtitle, legends and notes around the panels and sets the final size.

    Args:
        figure: panels whose `layout.height` is their own height.
        title, subtitle, notes: escaped text; the notes stand below the panels, wrapped.
        frame: margins.
        dark: page.
        legends: a title per row of legend ("" for none); the first row is `legend`, the next `legend2`.
        annotations, shapes: headings and other text, lines and bands; set at once, because plotly checks all
            of them again at each addition.
        heading_lines: lines that the headings of the first row of panels take.
        missing: what has no value, kept in `layout.meta` in full.
    """
    if frame.narrow:
        with_second_colour_axis(figure)
    characters = int((frame.width - 32) / 6.4)
    title_size = theme.NARROW_TITLE_SIZE if frame.narrow else theme.TITLE_SIZE
    title_lines = folded(title, int((frame.width - 32) / (0.583 * title_size)))
    subtitle_lines = folded(subtitle, characters)
    note_lines = [line for note in notes if note for line in folded(note, int((frame.width - 32) / 5.6))]
    head = 26 + TITLE_LINE * max(len(title_lines), 1) + SUBTITLE_LINE * len(subtitle_lines) + 10
    if _paper.get():
        title_lines, subtitle_lines, head = [], [], 6
    legend_lines = [legend_rows(figure, index, legend, frame) for index, legend in enumerate(legends)]
    legends_below = [LEGEND_LINE + LEGEND_WRAP * (lines - 1) for lines in legend_lines]
    top = head + sum(legends_below) + 10 + 16 * heading_lines
    inner = figure.layout.height
    below = frame.axis_below + (NOTE_LINE * fold_axis_titles(figure, frame) if frame.narrow else 0)
    bottom = below + (NOTE_LINE * len(note_lines) + 10 if note_lines else 0)
    height = math.ceil(inner + top + bottom)
    style = theme.page(dark)
    figure.update_layout(
        template=theme.template(dark),
        height=height,
        margin={"l": frame.left, "r": frame.right, "t": top, "b": bottom},
        title={
            "text": f"<b>{'<br>'.join(title_lines)}</b>" if title_lines else "",
            "font": {"size": title_size},
            "subtitle": {"text": "<br>".join(subtitle_lines)},
            # plotly sets a title of several lines half a line higher per line than one of a single line.
            "y": 1 - (18 + TITLE_LINE / 2 * (max(len(title_lines), 1) - 1)) / height,
            "automargin": False,
        },
        meta={"width": frame.width, "missing": list(missing)},
        showlegend=bool(legends),
    )
    for index, legend_title in enumerate(legends):
        figure.update_layout(
            {
                "legend" if index == 0 else f"legend{index + 1}": {
                    "orientation": "h",
                    "xref": "container",
                    "x": 12 / frame.width,
                    "xanchor": "left",
                    "yref": "container",
                    "y": 1 - (head + sum(legends_below[:index])) / height,
                    "yanchor": "top",
                    "title": {
                        "text": legend_title,
                        "side": "top" if frame.narrow else "left",
                        "font": {"size": theme.BASE_SIZE, "color": style.muted},
                    },
                    "font": {"size": theme.SMALL_SIZE + 1, "color": style.ink},
                    "bgcolor": "rgba(0,0,0,0)",
                    "itemsizing": "constant",
                }
            }
        )
    every = [*annotations]
    if note_lines:
        every.append(
            {
                "text": "<br>".join(note_lines),
                "xref": "paper",
                "yref": "paper",
                "x": 0,
                "xshift": 16 - frame.left,
                "y": 0,
                "yshift": -below,
                "xanchor": "left",
                "yanchor": "top",
                "align": "left",
                "showarrow": False,
                "font": {"size": theme.SMALL_SIZE, "color": style.muted},
                "name": "notes",
            }
        )
    figure.update_layout(annotations=every, shapes=list(shapes))
    return figure
