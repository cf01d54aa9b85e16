"""Every example: two cells against each other, and slopes over several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked, chosen, named
from figures.labels import cell_labels, escaped, panel_title, wrapped
from figures.looks import redrawable
from figures.panels import Frame, dressed, outer_titles, panel_grid, span

HIGHLIGHT = "#8A68D4"
FALLS, RISES, STAYS = "falls", "rises", "same or unknown"


def wide_examples(
    examples: pd.DataFrame, figure: str, cells: Sequence[str], value: str, text: Sequence[str]
) -> tuple[pd.DataFrame, pd.Series, dict[str, str]]:
    """Values of the chosen cells side by side, a row per example, with hover text and cell labels."""
    needed = ("example", "cell", value, *text)
    rows = checked(examples, figure, required=needed, numbers=(value,), keys=("example", "cell"))
    rows["cell"] = rows["cell"].astype(str)
    labels = cell_labels(rows)
    order = chosen(rows["cell"], list(cells), figure, "cells")
    if len(order) != len(cells):
        raise ValueError(f"{figure}: a cell is named twice: {named(cells)}; name each once")
    order_of_examples = list(dict.fromkeys(rows["example"]))
    rows = rows[rows["cell"].isin(order)]
    wide = rows.pivot(index="example", columns="cell", values=value).reindex(order_of_examples)[order]
    first = rows.drop_duplicates("example").set_index("example")
    texts = {column: first[column].tolist() for column in text}
    hovers = {
        example: "".join(f"<br><i>{escaped(column)}:</i> {wrapped(texts[column][place])}" for column in text)
        for place, example in enumerate(first.index)
    }
    return wide, pd.Series([hovers.get(example, "") for example in wide.index], index=wide.index), labels


def absent_note(wide: pd.DataFrame) -> tuple[str, list[dict]]:
    """Which examples lack a value in some cell, as a note and as data."""
    absent = wide[wide.isna().any(axis=1)]
    listed = [{"example": str(example), "rows": int(row.isna().sum())} for example, row in absent.iterrows()]
    if not listed:
        return "", []
    some = ", ".join(escaped(entry["example"]) for entry in listed[:6]) + (", …" if len(listed) > 6 else "")
    return f"Without a value in some cell, not drawn or broken off: {len(listed)} examples ({some}).", listed


@redrawable
def example_scatter(
    examples: pd.DataFrame,
    x: str,
    y: str,
    *,
    value: str = "nll",
    quantity: str = "answer NLL",
    unit: str = "nats per token",
    text: Sequence[str] = ("query", "answer"),
    highlight: Sequence[object] = (),
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """One point per example: its value in one cell against its value in another, its text on hover.

    Points below the diagonal have the smaller value in cell `y`. `customdata[0]` of a point is its example.

    Args:
        examples: columns example, cell, `value` and those named by `text`, one row per example and cell.
        x, y: the two cells.
        value: column drawn, in `unit`.
        quantity, unit: what it is, for the axes.
        text: columns shown on hover, as text.
        highlight: examples drawn larger.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown cells, or the same cell twice.
    """
    wide, hover, labels = wide_examples(examples, "example_scatter", [x, y], value, text)
    frame = Frame(width=640, left=72, right=30).fitted(narrow)
    figure = panel_grid(1, 1, [(1, 1)], frame=frame, panel_height=frame.inner if narrow else 520)
    limits = span(wide)
    style = theme.page(dark)
    diagonal = {
        **{
            "type": "line",
            "x0": limits[0],
            "x1": limits[1],
            "y0": limits[0],
            "y1": limits[1],
            "layer": "below",
        },
        "line": {"color": style.zero, "width": 1},
    }
    chosen_ones = wide.index.isin(list(highlight))
    for part, colour, size in ((wide[~chosen_ones], "#14967B", 7), (wide[chosen_ones], HIGHLIGHT, 13)):
        if part.empty:
            continue
        figure.add_trace(
            go.Scatter(
                x=part[x].to_numpy(),
                y=part[y].to_numpy(),
                customdata=[[plain(example), hover[example]] for example in part.index],
                mode="markers",
                marker={
                    "color": colour,
                    "size": size,
                    "opacity": 0.7,
                    "line": {"width": 0.5, "color": style.paper},
                },
                showlegend=False,
                meta={"x": x, "y": y, "highlighted": colour == HIGHLIGHT},
                hovertemplate=f"<b>example %{{customdata[0]}}</b><br>{escaped(labels[x])}: %{{x:.4f}}<br>"
                f"{escaped(labels[y])}: %{{y:.4f}} {escaped(unit)}%{{customdata[1]}}<extra></extra>",
            )
        )
    figure.update_xaxes(range=limits, constrain="domain")
    figure.update_yaxes(range=limits, scaleanchor="x", constrain="domain")
    axis = f"{escaped(quantity)} ({escaped(unit)})"
    room = 14 if narrow else 48
    x_title = f"{panel_title(labels[x], room if narrow else 60, 1)}: {axis}"
    y_title = f"{panel_title(labels[y], room, 1)}: {axis}"
    outer_titles(figure, [(1, 1)], x_title, y_title)
    note, missing = absent_note(wide)
    drawn = int(wide.notna().all(axis=1).sum())
    return dressed(
        figure,
        title=escaped(title) if title else f"{escaped(quantity[:1].upper() + quantity[1:])} of every example",
        subtitle=f"n = {drawn:,} examples · below the diagonal: less in {escaped(labels[y])}",
        notes=[note],
        frame=frame,
        dark=dark,
        shapes=[diagonal],
        heading_lines=0,
        missing=missing,
    )


@redrawable
def example_slopes(
    examples: pd.DataFrame,
    cells: Sequence[str],
    *,
    value: str = "nll",
    quantity: str = "answer NLL",
    unit: str = "nats per token",
    text: Sequence[str] = ("query", "answer"),
    highlight: Sequence[object] = (),
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """One line per example over several cells, and the mean of those that have all of them.

    Lines are coloured by whether the value falls or rises from the first to the last cell.
    `customdata[0]` of a point is its example.

    Args:
        examples: columns example, cell, `value` and those named by `text`, one row per example and cell.
        cells: two or more cells, in the order of the axis.
        value, quantity, unit, text, highlight, title, dark, narrow: as in `example_scatter`.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown cells, fewer than two, or one named
            twice.
    """
    name = "example_slopes"
    if len(cells) < 2:
        raise ValueError(f"{name}: slopes need at least two cells; given: {named(cells)}")
    wide, hover, labels = wide_examples(examples, name, cells, value, text)
    frame = Frame(width=max(560, min(1000, 240 * len(cells))), left=72, right=64).fitted(narrow)
    figure = panel_grid(1, 1, [(1, 1)], frame=frame, panel_height=420)
    change = wide.iloc[:, -1] - wide.iloc[:, 0]
    chosen_ones = pd.Series(wide.index.isin(list(highlight)), index=wide.index)
    for kind, colour, rows in (
        (FALLS, "#14967B", (change < 0) & ~chosen_ones),
        (RISES, "#C8559D", (change > 0) & ~chosen_ones),
        (STAYS, theme.page(dark).zero, ((change == 0) | change.isna()) & ~chosen_ones),
        ("highlighted", HIGHLIGHT, chosen_ones),
    ):
        part = wide[rows]
        if not part.empty:
            figure.add_trace(slope_trace(part, hover, kind, colour, unit, labels))
    whole = wide.dropna()
    figure.add_trace(
        go.Scatter(
            x=list(range(len(cells))),
            y=whole.mean().to_numpy(),
            mode="lines+markers",
            line={"color": theme.page(dark).ink, "width": 3},
            marker={"color": theme.page(dark).ink, "size": 9},
            name=f"mean of {len(whole):,}",
            meta={"kind": "mean"},
            hovertemplate=f"mean of {len(whole):,} examples: %{{y:.4f}} {escaped(unit)}<extra></extra>",
        )
    )
    figure.update_xaxes(
        tickvals=list(range(len(cells))),
        ticktext=[panel_title(labels[cell], 24, 3) for cell in cells],
        range=[-0.15, len(cells) - 0.85],
        showgrid=False,
        tickfont={"color": theme.page(dark).ink},
    )
    figure.update_yaxes(range=span(wide))
    outer_titles(figure, [(1, 1)], "", f"{escaped(quantity)} ({escaped(unit)})")
    note, missing = absent_note(wide)
    return dressed(
        figure,
        title=escaped(title or f"{quantity[:1].upper() + quantity[1:]} of every example, cell by cell"),
        subtitle=f"n = {len(wide):,} examples · thick line: mean of the {len(whole):,} that have every cell",
        notes=[note],
        frame=frame,
        dark=dark,
        legends=["from first to last  "],
        heading_lines=0,
        missing=missing,
    )


def slope_trace(
    part: pd.DataFrame, hover: pd.Series, kind: str, colour: str, unit: str, labels: dict[str, str]
) -> go.Scatter:
    """The lines of many examples as one trace, with a gap after each."""
    count = len(part.columns)
    values = np.column_stack([part.to_numpy(), np.full(len(part), np.nan)]).ravel()
    places = np.tile(np.append(np.arange(count, dtype=float), np.nan), len(part))
    names = [escaped(labels[cell]) for cell in part.columns]
    data: list[list[object]] = []
    for example in part.index:
        data += [[plain(example), hover[example], name] for name in names] + [["", "", ""]]
    strong = kind == "highlighted"
    return go.Scatter(
        x=places,
        y=values,
        customdata=data,
        mode="lines+markers",
        connectgaps=False,
        line={"color": colour if strong else theme.with_opacity(colour, 0.35), "width": 2.5 if strong else 1},
        marker={"color": colour, "size": 7 if strong else 4, "opacity": 1 if strong else 0.6},
        name=f"{kind} ({len(part):,})",
        meta={"kind": kind},
        hovertemplate="<b>example %{customdata[0]}</b><br>%{customdata[2]}: "
        f"%{{y:.4f}} {escaped(unit)}%{{customdata[1]}}<extra></extra>",
    )


def plain(example: object) -> object:
    """An example's name for `customdata`: numbers stay numbers, everything else is escaped text."""
    return int(example) if isinstance(example, int | np.integer) else escaped(example)
