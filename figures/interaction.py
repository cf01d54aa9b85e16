"""The interaction plot: cell means with intervals, lines over the levels of a factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked, chosen
from figures.labels import count_label, escaped, level_words, panel_title
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import (
    Frame,
    columns_for,
    dressed,
    guide,
    level_ticks,
    outer_titles,
    panel_grid,
    panel_heading,
    span,
)
from figures.rows import interval_error


@redrawable
def interaction_plot(
    cell_means: pd.DataFrame,
    x: str = "prompt",
    line: str = "prefix",
    facet: str | None = "hidden",
    order: Mapping[str, Sequence[str]] | None = None,
    *,
    quantity: str = "mean answer NLL",
    unit: str = "nats per token",
    reading: str = "parallel lines: no interaction",
    zero: bool = False,
    x_title: str | None = None,
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """Cell means with intervals: parallel lines mean no interaction.

    Args:
        cell_means: columns cell, n, mean, low, high (in `unit`) and the factor columns named by `x`, `line`
            and `facet`.
        x, line, facet: the factors along the axis, by line, and by panel (None: one panel).
        order: levels of any of these factors in drawing order; levels left out are not drawn. Default: order
            of appearance.
        quantity, unit: what the means are of, for the axis.
        reading: how to read the lines, for the heading.
        zero: whether 0 means something: it is then on the axis, with a line.
        x_title: title of the axis; the factor's name by default.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, several rows for the same levels, unknown levels or factors in
            `order`.
    """
    name = "interaction_plot"
    factors = [factor for factor in (x, line, facet) if factor is not None]
    rows = checked(
        cell_means,
        name,
        required=("cell", *factors, "n", "mean", "low", "high"),
        numbers=("n", "mean", "low", "high"),
        keys=factors,
    )
    given = dict(order or {})
    chosen(factors, list(given) or None, name, "factors in order")
    for factor in factors:
        rows[factor] = rows[factor].astype(str)
    levels = {
        factor: chosen(rows[factor], given.get(factor), name, f"levels of {factor}") for factor in factors
    }
    for factor in factors:
        rows = rows[rows[factor].isin(levels[factor])]
    facets = levels[facet] if facet is not None else [""]
    across = 1 if narrow else columns_for(len(facets))
    frame = Frame(width=max(520, min(1000, 120 + 300 * across)), gap_across=26).fitted(narrow, left=60)
    ticks, tick_lines = level_ticks(
        [level_words(x, level) for level in levels[x]], frame.inner / across / len(levels[x])
    )
    frame = replace(frame, axis_below=frame.axis_below + 13 * (tick_lines - 1))
    filled = [(i // across + 1, i % across + 1) for i in range(len(facets))]
    height = (150 if len(facets) > 4 else 220) if narrow else 300
    figure = panel_grid(-(-len(facets) // across), across, filled, frame=frame, panel_height=height)
    styles = theme.level_styles(levels[line], dark)
    # Lines stand a little apart so that intervals at the same level do not cover each other.
    count = len(levels[line])
    step = min(0.07, 0.5 / max(count - 1, 1))
    apart = {level: (i - (count - 1) / 2) * step for i, level in enumerate(levels[line])}
    position = {level: float(i) for i, level in enumerate(levels[x])}
    annotations, shapes = [], []
    for (row, column), panel in zip(filled, facets, strict=True):
        rows_here = rows if facet is None else rows[rows[facet] == panel]
        for level in levels[line]:
            part = rows_here[rows_here[line] == level]
            part = part.set_index(x).reindex([value for value in levels[x] if value in set(part[x])])
            if part.empty:
                continue
            figure.add_trace(
                go.Scatter(
                    x=[position[value] + apart[level] for value in part.index],
                    y=part["mean"].to_numpy(),
                    error_y=interval_error(
                        part["mean"], part["low"], part["high"], styles[level].colour, thickness=1.6, width=4
                    ),
                    customdata=[
                        [low, high, n, escaped(cell), escaped(value)]
                        for low, high, n, cell, value in zip(
                            part["low"], part["high"], part["n"], part["cell"], part.index, strict=True
                        )
                    ],
                    mode="lines+markers",
                    connectgaps=False,
                    line={"color": styles[level].colour, "width": 2, "dash": styles[level].dash},
                    marker={"color": styles[level].colour, "symbol": styles[level].symbol, "size": 9},
                    name=panel_title(level_words(line, level), 40, 1),
                    legendgroup=level,
                    showlegend=(row, column) == first_panel(rows, facet, line, level, facets, filled),
                    meta={"line": level, "facet": panel},
                    hovertemplate=f"<b>{escaped(level_words(line, level))}</b>, "
                    f"{escaped(x)} %{{customdata[4]}}<br>"
                    f"%{{y:.4f}} [%{{customdata[0]:.4f}}, %{{customdata[1]:.4f}}] {escaped(unit)}<br>"
                    "n = %{customdata[2]:,}<br>%{customdata[3]}<extra></extra>",
                ),
                row=row,
                col=column,
            )
        if zero:
            shapes.append(guide(figure, row, column, y=(0.0, 0.0), colour=theme.page(dark).zero))
        if facet is not None:
            text = panel_title(f"{facet}: {level_words(facet, panel)}", 44, 2)
            hover = escaped(f"{facet}: {panel}")
            annotations.append(panel_heading(figure, row, column, text, hover=hover, dark=dark))
    figure.update_xaxes(
        ticks | {"tickfont": {**ticks["tickfont"], "color": theme.page(dark).ink}},
        range=[-0.4, len(position) - 0.6],
        showgrid=False,
    )
    figure.update_yaxes(range=span(rows[["mean", "low", "high"]], include=0.0 if zero else None))
    outer_titles(figure, filled, escaped(x_title or x), f"{escaped(quantity)} ({escaped(unit)})")
    missing = missing_rows(rows, "mean", factors)
    return dressed(
        figure,
        title=escaped(title) if title else f"{escaped(quantity[:1].upper() + quantity[1:])} by cell",
        subtitle=f"{count_label(rows['n'])} · bars: intervals of the means · {escaped(reading)}",
        notes=[missing_note(missing, factors)],
        frame=frame,
        dark=dark,
        legends=[f"{escaped(line)}  "],
        annotations=annotations,
        shapes=shapes,
        heading_lines=max((heading["text"].count("<br>") + 1 for heading in annotations), default=0),
        missing=missing,
    )


def first_panel(
    rows: pd.DataFrame,
    facet: str | None,
    line: str,
    level: str,
    facets: Sequence[str],
    filled: Sequence[tuple[int, int]],
) -> tuple[int, int]:
    """The first panel that has a line: the one whose trace stands in the legend."""
    if facet is None:
        return filled[0]
    there = set(rows.loc[rows[line] == level, facet])
    return next(place for place, panel in zip(filled, facets, strict=True) if panel in there)
