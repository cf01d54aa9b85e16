"""Panels of named rows with an interval each and columns of text beside them: forests and comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from figures import theme
from figures.labels import escaped, panel_title
from figures.panels import Frame, panel_grid, panel_heading

ROW_HEIGHT = 26
TWO_LINE_ROW_HEIGHT = 36
LABEL_CHARACTERS = 40

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

    Args:
        groups: name of each group to the labels of its rows; not yet escaped.
        frame: margins: labels stand in the left one, text columns in the right one.
        columns: the text columns, for their headings.
        dark: page.
        share_x: whether all groups have the same x axis.

    Returns:
        The figure, and the headings of groups and columns.
    """
    labels = [[panel_title(label, LABEL_CHARACTERS, 2) for label in entries] for entries in groups.values()]
    two_lines = any("<br>" in label for entries in labels for label in entries)
    height = TWO_LINE_ROW_HEIGHT if two_lines else ROW_HEIGHT
    figure = panel_grid(
        len(groups),
        1,
        [(row, 1) for row in range(1, len(groups) + 1)],
        frame=frame,
        panel_height=[height * len(entries) + 8 for entries in labels],
        share_x=share_x,
        share_y=False,
    )
    annotations = column_headings(columns, frame, dark)
    for row, (group, entries) in enumerate(zip(groups, labels, strict=True), start=1):
        heading = f"<b>{panel_title(group, 60, 1)}</b>"
        annotations.append(panel_heading(figure, row, 1, heading, hover=escaped(group), dark=dark))
        figure.update_yaxes(
            tickvals=list(range(len(entries))),
            ticktext=entries,
            range=[len(entries) - 0.4, -0.6],
            showgrid=False,
            tickfont={"color": theme.page(dark).ink},
            row=row,
            col=1,
        )
    return figure, annotations


def row_text(
    figure: go.Figure,
    row: int,
    position: float,
    texts: Sequence[str],
    columns: TextColumns,
    frame: Frame,
    dark: bool,
) -> list[dict[str, Any]]:
    """The texts of one row of a panel, one per text column; the texts are escaped already."""
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
