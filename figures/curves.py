"""Curves over a number: the length of documents, the count of keywords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.bands import band
from figures.columns import checked, chosen
from figures.labels import count_label, escaped, panel_title
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, columns_for, dressed, guide, outer_titles, panel_grid, panel_heading, span
from figures.rows import interval_error


@dataclass(frozen=True)
class Axis:
    """What runs along the curve: its column, its title with unit, and whether it is drawn by doublings."""

    column: str
    title: str
    doublings: bool


@redrawable
def length_curves(
    curves: pd.DataFrame,
    *,
    line: str = "prefix",
    facet: str | None = "prompt",
    quantity: str = "effect on answer NLL, baseline − treatment",
    unit: str = "nats",
    order: Mapping[str, Sequence[str]] | None = None,
    length: str = "document length",
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """A mean with its interval over document length, by doublings, one line per level of a factor.

    Args:
        curves: columns length (tokens, above 0), n, mean, low, high (in `unit`), and the columns named by
            `line` and `facet`.
        line, facet: factors by line and by panel (None: one panel).
        quantity, unit: what is drawn, for the axis.
        order: levels of these factors in drawing order; levels left out are not drawn.
        length: whose length it is, for the axis.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown levels, or a length that is not positive.
    """
    axis = Axis("length", f"{escaped(length)} (tokens)", doublings=True)
    heading = title or "Effect by document length"
    return curve_panels(
        curves, "length_curves", axis, line, facet, quantity, unit, order, heading, dark, narrow, None
    )


@redrawable
def selection_curves(
    curves: pd.DataFrame,
    *,
    order: Mapping[str, Sequence[str]] | None = None,
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """What seeing a part of the document costs, by the part's size, one line per way of choosing it.

    Args:
        curves: columns kept (percent of the document, above 0), score, states, n, mean, low, high (nats per answer token,
            positive where it costs).
        order: scores and states in drawing order; what is left out is not drawn.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown scores or states, or a part that is not above 0.
    """
    axis = Axis("kept", "part of the document that the decoder sees (%)", doublings=True)
    quantity, unit = "what is lost", "nats per answer token"
    heading = title or "What seeing a part of the document costs"
    return curve_panels(
        curves,
        "selection_curves",
        axis,
        "score",
        "states",
        quantity,
        unit,
        order,
        heading,
        dark,
        narrow,
        None,
    )


@redrawable
def keyword_curve(
    curves: pd.DataFrame,
    *,
    references: pd.DataFrame | None = None,
    line: str | None = None,
    quantity: str = "effect on answer NLL, baseline − treatment",
    unit: str = "nats",
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """A mean with its interval over the number of keywords in the prefix, with other prefixes as levels.

    Args:
        curves: columns keywords (count), n, mean, low, high (in `unit`), and the column named by `line`, if
            any.
        references: columns name, mean, low, high: prefixes without a count (oracle, random), as level lines.
        line: a factor with a line per level.
        quantity, unit: what is drawn, for the axis.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, or repeated rows.
    """
    axis = Axis("keywords", "keywords in the prefix (count)", doublings=False)
    heading = title or "Effect by number of keywords"
    return curve_panels(
        curves, "keyword_curve", axis, line, None, quantity, unit, None, heading, dark, narrow, references
    )


@redrawable
def token_curves(
    curves: pd.DataFrame,
    *,
    quantity: str,
    unit: str,
    lines: Sequence[str],
    facets: Sequence[str],
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """What choosing tokens costs over how many are chosen, one line per measure that chose, one panel per mode.

    Args:
        curves: columns percent (of the document's tokens, above 0), measure, mode, n, mean, low, high (in `unit`).
        quantity, unit: what is drawn, for the axis.
        lines, facets: measures and modes in drawing order; those left out are not drawn.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, or unknown measures or modes.
    """
    axis = Axis("percent", "chosen tokens (% of the document)", doublings=True)
    order = {"measure": list(lines), "mode": list(facets)}
    heading = title or "Cost of chosen tokens"
    return curve_panels(
        curves, "token_curves", axis, "measure", "mode", quantity, unit, order, heading, dark, narrow, None
    )


def curve_panels(
    curves: pd.DataFrame,
    name: str,
    axis: Axis,
    line: str | None,
    facet: str | None,
    quantity: str,
    unit: str,
    order: Mapping[str, Sequence[str]] | None,
    title: str,
    dark: bool,
    narrow: bool,
    references: pd.DataFrame | None,
) -> go.Figure:
    """Lines with bands over a number, in panels by a factor; the common part of the curves."""
    factors = [factor for factor in (line, facet) if factor is not None]
    rows = checked(
        curves,
        name,
        required=(axis.column, *factors, "n", "mean", "low", "high"),
        numbers=(axis.column, "n", "mean", "low", "high"),
        keys=(axis.column, *factors),
    )
    if axis.doublings and not (rows[axis.column] > 0).all():
        raise ValueError(
            f"{name}: every {axis.column} must be above 0; given: {float(rows[axis.column].min()):g}"
        )
    given = dict(order or {})
    for factor in factors:
        rows[factor] = rows[factor].astype(str)
    levels = {
        factor: chosen(rows[factor], given.get(factor), name, f"levels of {factor}") for factor in factors
    }
    for factor in factors:
        rows = rows[rows[factor].isin(levels[factor])]
    facets = levels[facet] if facet else [""]
    lines = levels[line] if line else [""]
    across = 1 if narrow else columns_for(len(facets))
    frame = Frame(
        width=max(620, min(1000, 160 + 320 * across)) + (0 if references is None else 72 * len(references)),
        gap_across=26,
    ).fitted(narrow, left=60)
    filled = [(i // across + 1, i % across + 1) for i in range(len(facets))]
    figure = panel_grid(
        -(-len(facets) // across), across, filled, frame=frame, panel_height=220 if narrow else 300
    )
    styles = theme.level_styles(lines, dark)
    annotations, shapes = [], []
    in_legend: set[str] = set()
    for (row, column), panel in zip(filled, facets, strict=True):
        bands, points = [], []
        for level in lines:
            part = rows
            part = part[part[facet] == panel] if facet else part
            part = part[part[line] == level] if line else part
            if part.empty:
                continue
            part = part.sort_values(axis.column)
            shaded, drawn = curve(part, axis, line, level, panel, styles[level], unit)
            drawn.showlegend = bool(line) and level not in in_legend
            in_legend.add(level)
            bands.append(shaded)
            points.append(drawn)
        # Bands first: none of them may cover a line.
        for trace in (*bands, *points):
            figure.add_trace(trace, row=row, col=column)
        shapes.append(guide(figure, row, column, y=(0.0, 0.0), colour=theme.page(dark).zero))
        if facet:
            text = f"{facet}: {panel}"
            heading = panel_title(text, 44, 1)
            annotations.append(panel_heading(figure, row, column, heading, hover=escaped(text), dark=dark))
    values = [rows[["mean", "low", "high"]]]
    absent: list[dict[str, Any]] = []
    ticks = sorted(rows[axis.column].unique())
    places, names = list(ticks), [f"{tick:,.0f}" for tick in ticks]
    if references is not None:
        levels_drawn = checked(
            references,
            name,
            required=("name", "mean", "low", "high"),
            numbers=("mean", "low", "high"),
            keys=("name",),
        )
        step = (ticks[-1] - ticks[0]) / max(len(ticks), 2) or 1.0
        beside = [ticks[-1] + step * (place + 1) for place in range(len(levels_drawn))]
        figure.add_trace(reference_points(levels_drawn, beside, unit, dark), row=1, col=1)
        for mean in levels_drawn["mean"].dropna():
            shapes.append(
                guide(figure, 1, 1, y=(mean, mean), colour=theme.page(dark).muted, width=0.8, dash="dot")
            )
        places += beside
        names += [panel_title(str(name), 13, 3) for name in levels_drawn["name"]]
        values.append(levels_drawn[["mean", "low", "high"]])
        absent = missing_rows(levels_drawn, "mean", ("name",))
    figure.update_xaxes(
        type="log" if axis.doublings else "linear",
        tickvals=places,
        ticktext=names,
        range=list(np.log10([ticks[0] / 1.2, ticks[-1] * 1.2])) if axis.doublings else span(places),
        showgrid=False,
    )
    figure.update_yaxes(range=span(*values, include=0.0))
    beside_words = "" if references is None else "; to the right: other prefixes"
    outer_titles(figure, filled, axis.title + beside_words, f"{escaped(quantity)} ({escaped(unit)})")
    keys = (*factors, axis.column)
    missing = (
        missing_rows(rows, "mean", factors, axis.column) if factors else missing_rows(rows, "mean", keys)
    )
    note_along = axis.column if factors else None
    return dressed(
        figure,
        title=escaped(title),
        subtitle=f"{count_label(rows['n'])} per point · bands: intervals of the means",
        notes=[missing_note(missing, tuple(factors) or keys, note_along), missing_note(absent, ("name",))],
        frame=frame,
        dark=dark,
        legends=[f"{escaped(line)}  "] if line else [],
        annotations=annotations,
        shapes=shapes,
        heading_lines=1 if facet else 0,
        missing=[*missing, *absent],
    )


def curve(
    part: pd.DataFrame,
    axis: Axis,
    line: str | None,
    level: str,
    panel: str,
    style: theme.LevelStyle,
    unit: str,
) -> list[go.Scatter]:
    """The band and the line of one level in one panel."""
    meta = {"line": level, "facet": panel}
    x = part[axis.column].to_numpy()
    named = f"<b>{escaped(line)} {escaped(level)}</b><br>" if line else ""
    points = go.Scatter(
        x=x,
        y=part["mean"].to_numpy(),
        customdata=part[["low", "high", "n"]].to_numpy(),
        mode="lines+markers",
        connectgaps=False,
        line={"color": style.colour, "width": 2, "dash": style.dash},
        marker={"color": style.colour, "symbol": style.symbol, "size": 8},
        name=panel_title(level, 40, 1),
        legendgroup=level,
        meta=meta,
        hovertemplate=f"{named}{axis.title}: %{{x:,}}<br>%{{y:+.4f}} "
        f"[%{{customdata[0]:+.4f}}, %{{customdata[1]:+.4f}}] {escaped(unit)}<br>"
        "n = %{customdata[2]:,}<extra></extra>",
    )
    return [band(x, part["low"], part["high"], style.colour, group=level, meta=meta), points]


def reference_points(references: pd.DataFrame, places: Sequence[float], unit: str, dark: bool) -> go.Scatter:
    """Prefixes without a count beside the curve, a point with its interval each."""
    colour = theme.page(dark).muted
    mean, low, high = (references[column] for column in ("mean", "low", "high"))
    return go.Scatter(
        x=list(places),
        y=mean.to_numpy(),
        error_y=interval_error(mean, low, high, colour, thickness=1.6, width=4),
        customdata=[
            [*numbers, escaped(name)]
            for numbers, name in zip(
                references[["low", "high"]].to_numpy().tolist(), references["name"], strict=True
            )
        ],
        mode="markers",
        marker={"color": colour, "symbol": "square", "size": 8},
        showlegend=False,
        meta={"references": True},
        hovertemplate="<b>%{customdata[2]}</b><br>%{y:+.4f} [%{customdata[0]:+.4f}, %{customdata[1]:+.4f}] "
        f"{escaped(unit)}<extra></extra>",
    )
