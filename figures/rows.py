"""Panels of named rows with an interval each and columns of text beside them: forests and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import plotly.graph_objects as go

from figures import theme
from figures.labels import escaped, panel_title
from figures.panels import Frame, panel_grid, panel_heading

ROW_HEIGHT = 26
TWO_LINE_ROW_HEIGHT = 36
LABEL_CHARACTERS = 40
#: Of a narrow row: a line of text, and how far texts stand from the mark between them and from the next row.
NARROW_LINE, NARROW_APART, NARROW_GAP = 15, 8, 10
NARROW_CHARACTERS = 50
#: Thickness of a bar as a part of its row: a narrow row has texts above and below it.
BAR, NARROW_BAR = 0.62, 0.2
#: With more rows than this every group shows its own axis: the one at the bottom would be out of sight.
MOST_ROWS = 30
AXIS_HEIGHT = 20

TextColumns = Sequence[tuple[float, str]]
"""Where a text column starts, as a fraction of the right margin, and its heading."""


def row_panels(
    groups: Mapping[str, Sequence[str]],
    frame: Frame,
    columns: TextColumns,
    dark: bool,
    *,
    share_x: bool = True,
) -> tuple[go.Figure, list[dict[str, Any]]]:
    """Panels below each other, one per group, with a labelled row per entry; rows stand at y = 0, 1, 2, …

    In a narrow frame the label stands above its mark and the texts below it.

    Args:
        groups: name of each group to the labels of its rows; not yet escaped.
        frame: margins: labels stand in the left one, text columns in the right one.
        columns: the text columns, for their headings.
        dark: page.
        share_x: whether all groups have the same x axis.

    Returns:
        The figure, and the headings of groups and columns.
    """
    characters = NARROW_CHARACTERS if frame.narrow else LABEL_CHARACTERS
    labels = [[panel_title(label, characters, 2) for label in entries] for entries in groups.values()]
    two_lines = any("<br>" in label for entries in labels for label in entries)
    # What a row takes above its mark and below it, in pixels.
    if frame.narrow:
        above = NARROW_APART + NARROW_LINE * (2 if two_lines else 1) + NARROW_GAP / 2
        below = NARROW_APART + NARROW_LINE + NARROW_GAP / 2
        row_height = above + below
    else:
        row_height = float(TWO_LINE_ROW_HEIGHT if two_lines else ROW_HEIGHT)
        above = below = 0.6 * row_height
    axes = share_x and len(groups) > 1 and sum(map(len, labels)) > MOST_ROWS
    if axes:
        frame = replace(frame, gap_down=frame.gap_down + AXIS_HEIGHT)
    figure = panel_grid(
        len(groups),
        1,
        [(row, 1) for row in range(1, len(groups) + 1)],
        frame=frame,
        panel_height=[row_height * (len(entries) - 1) + above + below for entries in labels],
        share_x=share_x,
        share_y=False,
    )
    if axes:
        figure.update_xaxes(showticklabels=True)
    annotations = [] if frame.narrow else column_headings(columns, frame, dark)
    for row, (group, entries) in enumerate(zip(groups, labels, strict=True), start=1):
        heading = f"<b>{panel_title(group, 46 if frame.narrow else 84, 1)}</b>"
        annotations.append(panel_heading(figure, row, 1, heading, hover=escaped(group), dark=dark))
        figure.update_yaxes(
            tickvals=list(range(len(entries))),
            ticktext=entries,
            showticklabels=not frame.narrow,
            range=[len(entries) - 1 + below / row_height, -above / row_height],
            showgrid=False,
            tickfont={"color": theme.page(dark).ink},
            row=row,
            col=1,
        )
        if frame.narrow:
            annotations += [
                beside_mark(figure, row, position, label, dark, above=True)
                for position, label in enumerate(entries)
            ]
    return figure, annotations


def beside_mark(
    figure: go.Figure, row: int, position: float, text: str, dark: bool, *, above: bool
) -> dict[str, Any]:
    """A text of a narrow row, above or below its mark, from the left edge on."""
    return {
        "text": text,
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": position,
        "yref": figure.get_subplot(row, 1).xaxis.anchor,
        "yanchor": "bottom" if above else "top",
        "yshift": NARROW_APART if above else -NARROW_APART,
        "showarrow": False,
        "align": "left",
        "font": {
            "size": theme.SMALL_SIZE,
            "color": theme.page(dark).ink if above else theme.page(dark).muted,
        },
    }


def row_text(
    figure: go.Figure,
    row: int,
    position: float,
    texts: Sequence[str],
    columns: TextColumns,
    frame: Frame,
    dark: bool,
) -> list[dict[str, Any]]:
    """The texts of one row of a panel, one per text column; the texts are escaped already.

    In a narrow frame they make one line below the mark, which may hold fewer of them.
    """
    if frame.narrow:
        line = "  ·  ".join(text.replace("<br>", " ") for text in texts)
        return [beside_mark(figure, row, position, line, dark, above=False)]
    place = {"y": position, "yref": figure.get_subplot(row, 1).xaxis.anchor, "yanchor": "middle"}
    font = {"size": theme.SMALL_SIZE, "color": theme.page(dark).ink}
    return [
        margin_text(fraction, text, frame, font=font, **place)
        for (fraction, _), text in zip(columns, texts, strict=True)
    ]


def column_headings(columns: TextColumns, frame: Frame, dark: bool) -> list[dict[str, Any]]:
    """The headings of the text columns, above the first group."""
    font = {"size": theme.SMALL_SIZE, "color": theme.page(dark).muted}
    place = {"y": 1, "yref": "paper", "yanchor": "bottom", "yshift": 2}
    return [margin_text(fraction, heading, frame, font=font, **place) for fraction, heading in columns]


def margin_text(fraction: float, text: str, frame: Frame, **options: Any) -> dict[str, Any]:
    """A piece of text in the right margin, at a fixed distance from the panels at any page width."""
    return {
        "text": text,
        "x": 1,
        "xshift": round(fraction * frame.right),
        "xref": "paper",
        "xanchor": "left",
        "showarrow": False,
        "align": "left",
        **options,
    }


def interval_error(
    means: Any, low: Any, high: Any, colour: str, *, thickness: float = 2, width: int = 0
) -> dict[str, Any]:
    """Plotly's error bars of intervals given by their ends."""
    return {
        "type": "data",
        "symmetric": False,
        "array": (high - means).to_numpy(),
        "arrayminus": (means - low).to_numpy(),
        "thickness": thickness,
        "width": width,
        "color": colour,
    }
