"""Effects by layer: maps of two factors (role, window, head, depth), and splits of a shift in every layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked, chosen
from figures.labels import count_label, escaped, panel_title, plain_number, signed
from figures.ledger import layer_step
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import (
    Frame,
    colour_bar,
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

#: Maps with more entries than this along an axis show no numbers.
MOST_NUMBERS = 14
#: Heights of a row of a map, in pixels: with numbers, and at least and at most without.
ROW_HEIGHT = 30
LEAST_HEIGHT = 110


@redrawable
def effect_map(
    effects: pd.DataFrame,
    *,
    x: str,
    y: str,
    facet: str | None = None,
    quantity: str = "effect on answer NLL",
    unit: str = "nats",
    percent: bool = False,
    around_zero: bool = True,
    limit: float | None = None,
    order: Mapping[str, Sequence[str]] | None = None,
    x_title: str | None = None,
    y_title: str | None = None,
    title: str | None = None,
    subtitle: str = "",
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """A mean for every pair of two factors' levels as a coloured map, in panels by a third.

    Args:
        effects: columns named by `x`, `y` and `facet`, n, mean, low, high (in `unit`); a true `marked` puts a
            frame around a mean (what it says belongs into `subtitle`); `reason` tells why a mean is missing.
        x, y, facet: factors across, down (first level on top) and by panel.
        quantity, unit: what is drawn.
        percent: means are ratios, 1 = 100 %.
        around_zero: means have a sign; else they start at 0 and are drawn so.
        limit: where the colours end; the largest |mean| by default.
        order: levels of these factors in drawing order; levels left out are not drawn.
        x_title, y_title: titles of the axes; the factors' names by default.
        title, subtitle: heading, and what stands behind n below it.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows or unknown levels.
    """
    name = "effect_map"
    factors = [factor for factor in (x, y, facet) if factor is not None]
    rows = checked(
        effects,
        name,
        required=(*factors, "n", "mean", "low", "high"),
        numbers=("n", "mean", "low", "high"),
        keys=factors,
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
    across = 1 if narrow else columns_for(len(facets), most=2 if len(levels[x]) > 6 else 3)
    filled = [(i // across + 1, i % across + 1) for i in range(len(facets))]
    longest = max(len(level) for level in levels[y])
    frame = Frame(left=max(66, min(240, 26 + 7 * longest)), right=118, gap_across=26, gap_down=64).fitted(
        narrow, left=max(54, min(120, 26 + 7 * longest)), bar=True
    )
    numbered = max(len(levels[x]), len(levels[y])) <= MOST_NUMBERS
    step_x = 1 if len(levels[x]) <= MOST_NUMBERS else layer_step(range(len(levels[x])))
    ticks, tick_lines = level_ticks(levels[x][::step_x], frame.inner / across / len(levels[x]) * step_x)
    ticks["tickvals"] = list(range(0, len(levels[x]), step_x))
    frame = replace(frame, axis_below=frame.axis_below + 13 * (tick_lines - 1))
    height = ROW_HEIGHT * len(levels[y]) if numbered else min(420, max(110, 9 * len(levels[y])))
    panel_rows = -(-len(facets) // across)
    # The colour bar with its title needs room, which a single row of a single panel has not.
    height = max(height, LEAST_HEIGHT) if panel_rows == 1 else height
    figure = panel_grid(panel_rows, across, filled, frame=frame, panel_height=height)
    largest = limit or float(np.nanmax(np.abs(rows["mean"]), initial=0.0)) or 1.0
    annotations = []
    for (row, column), panel in zip(filled, facets, strict=True):
        part = rows[rows[facet] == panel] if facet else rows
        heading = f"{facet}: {panel}" if facet else ""
        figure.add_trace(
            _map(part, x, y, levels, heading, quantity, unit, percent, numbered, largest, around_zero),
            row=row,
            col=column,
        )
        if numbered:
            figure.add_trace(
                _numbers(part, x, y, levels, heading, percent, largest, around_zero, dark),
                row=row,
                col=column,
            )
        if "marked" in part.columns:
            figure.add_trace(_frames(part, x, y, levels, heading, dark), row=row, col=column)
        if facet:
            text = panel_title(heading, int((frame.inner) / across / 6.6), 2)
            annotations.append(panel_heading(figure, row, column, text, hover=escaped(heading), dark=dark))
    scale = scale_of(around_zero, dark)
    figure.update_layout(
        coloraxis={
            "colorscale": [list(stop) for stop in scale],
            "cmin": -largest if around_zero else 0.0,
            "cmax": largest,
            "colorbar": colour_bar(
                figure,
                frame,
                panel_title(f"{quantity} ({unit})", 16, 4).split("<br>"),
                # With its title, which takes up to four lines.
                length=max(150, min(240, float(figure.layout.height))),
                tickformat=".2~%" if percent else ".2~g",
                nticks=5,
            ),
        }
    )
    figure.update_xaxes(ticks, range=[-0.5, len(levels[x]) - 0.5], showgrid=False)
    step_y = 1 if len(levels[y]) <= MOST_NUMBERS else layer_step(range(len(levels[y])))
    figure.update_yaxes(
        tickvals=list(range(0, len(levels[y]), step_y)),
        ticktext=[panel_title(level, 16 if narrow else 26, 2) for level in levels[y][::step_y]],
        range=[len(levels[y]) - 0.5, -0.5],
        showgrid=False,
    )
    outer_titles(figure, filled, escaped(x_title or x), escaped(y_title or y))
    names = (facet, y) if facet else (y,)
    missing = missing_rows(rows, "mean", names, x)
    said = [count_label(rows["n"]), escaped(subtitle)]
    return dressed(
        figure,
        title=escaped(title or f"{quantity} by {y} and {x}"),
        subtitle=" · ".join(part for part in said if part),
        notes=[missing_note(missing, names, x)],
        frame=frame,
        dark=dark,
        annotations=annotations,
        heading_lines=max((heading["text"].count("<br>") + 1 for heading in annotations), default=0),
        missing=missing,
    )


def _cells(
    part: pd.DataFrame, x: str, y: str, levels: Mapping[str, Sequence[str]], column: str
) -> pd.DataFrame:
    return part.pivot(index=y, columns=x, values=column).reindex(
        index=list(levels[y]), columns=list(levels[x])
    )


def _map(
    part: pd.DataFrame,
    x: str,
    y: str,
    levels: Mapping[str, Sequence[str]],
    heading: str,
    quantity: str,
    unit: str,
    percent: bool,
    numbered: bool,
    largest: float,
    around_zero: bool,
) -> go.Heatmap:
    """The map of one panel."""
    means = _cells(part, x, y, levels, "mean").to_numpy(dtype=float)
    form = ("+" if around_zero else "") + (".1%" if percent else ".4f")
    texts = [[_number(mean, percent, largest, around_zero) for mean in row] for row in means]
    details = np.stack(
        [_cells(part, x, y, levels, name).to_numpy(dtype=float) for name in ("low", "high", "n")]
    )
    return go.Heatmap(
        x=list(range(len(levels[x]))),
        y=list(range(len(levels[y]))),
        z=means,
        text=[
            [f"{escaped(y)} {escaped(down)}, {escaped(x)} {escaped(across)}" for across in levels[x]]
            for down in levels[y]
        ]
        if not numbered
        else texts,
        customdata=np.moveaxis(details, 0, -1),
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        meta={"facet": heading},
        hovertemplate=f"{escaped(heading)}<br>{escaped(y)} %{{y}}, {escaped(x)} %{{x}}<br>{escaped(quantity)} "
        f"%{{z:{form}}} [%{{customdata[0]:{form}}}, %{{customdata[1]:{form}}}]"
        f"{'' if percent else ' ' + escaped(unit)}<br>n = %{{customdata[2]:,}}<extra></extra>",
    )


def scale_of(around_zero: bool, dark: bool) -> theme.Scale:
    """The colours of means with a sign, or from 0."""
    if around_zero:
        return theme.DIVERGING_DARK if dark else theme.DIVERGING
    return theme.SEQUENTIAL_DARK if dark else theme.SEQUENTIAL


def _numbers(
    part: pd.DataFrame,
    x: str,
    y: str,
    levels: Mapping[str, Sequence[str]],
    heading: str,
    percent: bool,
    largest: float,
    around_zero: bool,
    dark: bool,
) -> go.Scatter:
    """The means as text on the map, in black or white: plotly's own choice is too weak on middle shades."""
    scales = (scale_of(around_zero, False), scale_of(around_zero, True))
    means = _cells(part, x, y, levels, "mean").to_numpy(dtype=float)
    places = [(down, across) for down in range(len(levels[y])) for across in range(len(levels[x]))]
    below = -largest if around_zero else 0.0
    return go.Scatter(
        x=[across for _, across in places],
        y=[down for down, _ in places],
        text=[_number(means[place], percent, largest, around_zero) for place in places],
        mode="text",
        textfont={
            "size": theme.SMALL_SIZE,
            "color": [
                theme.on_shade(*scales, (means[place] - below) / (largest - below), dark) for place in places
            ],
        },
        hoverinfo="skip",
        showlegend=False,
        meta={"facet": heading, "numbers": True},
    )


def _number(mean: float, percent: bool, largest: float, around_zero: bool) -> str:
    """A mean as text in the map, with as many digits as the largest one needs; a plain 0 where it rounds to 0."""
    if np.isnan(mean):
        return ""
    scaled, size = (100 * mean, 100 * largest) if percent else (mean, largest)
    digits = (0 if size >= 50 else 1 if size >= 5 else 2) if percent else 2 if size >= 0.2 else 3
    if round(scaled, digits) == 0:
        return "0"
    return signed(scaled, digits) if around_zero else plain_number(scaled, digits)


def _frames(
    part: pd.DataFrame, x: str, y: str, levels: Mapping[str, Sequence[str]], heading: str, dark: bool
) -> go.Scatter:
    """A frame around every marked mean, drawn as closed lines in the map's own units."""
    marked = part[part["marked"].fillna(False).astype(bool)]
    xs: list[float] = []
    ys: list[float] = []
    for across, down in zip(marked[x], marked[y], strict=True):
        centre_x, centre_y = levels[x].index(across), levels[y].index(down)
        xs += [centre_x + side * 0.47 for side in (-1, 1, 1, -1, -1)] + [np.nan]
        ys += [centre_y + side * 0.44 for side in (-1, -1, 1, 1, -1)] + [np.nan]
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": theme.page(dark).ink, "width": 1.6},
        hoverinfo="skip",
        showlegend=False,
        meta={"facet": heading, "marks": True},
    )


@redrawable
def shift_by_layer(
    shifts: pd.DataFrame,
    *,
    facet: str = "shift",
    facets: Sequence[str] | None = None,
    total: str = "total",
    quantity: str = "shift in share",
    unit: str = "share",
    percent: bool = True,
    title: str | None = None,
    subtitle: str = "",
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """The parts of a shift in every layer as bars on each other, its total as a point with an interval.

    Parts of one sign stand on each other, from 0 up or down, so that the bars' ends add up to the total.

    Args:
        shifts: columns layer (a number), part, n, mean_difference, low, high, and the one named by `facet`;
            one part is the `total`.
        facet: one panel per level.
        facets: which levels, in which order.
        total: the part that the others add up to.
        quantity, unit, percent: what is drawn; `percent` writes 0.1 as 10 %.
        title, subtitle: heading, and what stands behind n below it.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown levels, or a panel without total.
    """
    name = "shift_by_layer"
    rows = checked(
        shifts,
        name,
        required=(facet, "layer", "part", "n", "mean_difference", "low", "high"),
        numbers=("layer", "n", "mean_difference", "low", "high"),
        keys=(facet, "layer", "part"),
    )
    rows[facet] = rows[facet].astype(str)
    order = chosen(rows[facet], facets, name, f"levels of {facet}")
    rows = rows[rows[facet].isin(order)]
    chosen(rows["part"], [total], name, "part")
    across = 1 if narrow else columns_for(len(order), most=2)
    filled = [(i // across + 1, i % across + 1) for i in range(len(order))]
    frame = Frame(gap_across=26, gap_down=54).fitted(narrow, left=60)
    height = 220 if narrow else 290
    figure = panel_grid(-(-len(order) // across), across, filled, frame=frame, panel_height=height)
    names = [part for part in dict.fromkeys(rows["part"]) if part != total]
    styles = theme.level_styles(["", *names], dark)
    form = "+.2%" if percent else "+.4f"
    seen: set[str] = set()
    annotations, shapes = [], []
    extents: list[float] = []
    for (row, column), panel in zip(filled, order, strict=True):
        part = rows[rows[facet] == panel]
        above: dict[float, float] = {}
        below: dict[float, float] = {}
        for step in names:
            own = part[part["part"] == step].sort_values("layer")
            if own.empty:
                continue
            base = []
            for layer, value in zip(own["layer"], own["mean_difference"], strict=True):
                side = above if value > 0 else below
                base.append(side.get(layer, 0.0))
                side[layer] = side.get(layer, 0.0) + (0.0 if np.isnan(value) else value)
            figure.add_trace(
                go.Bar(
                    x=own["layer"].to_numpy(),
                    y=own["mean_difference"].to_numpy(),
                    base=base,
                    customdata=own[["low", "high", "n"]].to_numpy(),
                    name=escaped(step),
                    legendgroup=step,
                    showlegend=step not in seen,
                    marker={
                        "color": styles[step].colour,
                        "line": {"width": 0.5, "color": theme.page(dark).paper},
                    },
                    meta={"facet": panel, "part": step},
                    hovertemplate=f"<b>{escaped(step)}</b>, layer %{{x}}<br>%{{y:{form}}} "
                    f"[%{{customdata[0]:{form}}}, %{{customdata[1]:{form}}}]<br>n = %{{customdata[2]:,}}<br>"
                    f"{escaped(panel)}<extra></extra>",
                ),
                row=row,
                col=column,
            )
            seen.add(step)
        extents += [*above.values(), *below.values()]
        whole = part[part["part"] == total].sort_values("layer")
        if whole.empty:
            raise ValueError(
                f"{name}: {facet} {panel!r} has no part {total!r}; give the total of every panel"
            )
        figure.add_trace(_total(whole, total, panel, form, total not in seen, dark), row=row, col=column)
        seen.add(total)
        text = panel_title(panel, int((frame.inner) / across / 6.6), 2)
        annotations.append(panel_heading(figure, row, column, text, hover=escaped(panel), dark=dark))
        shapes.append(guide(figure, row, column, y=(0.0, 0.0), colour=theme.page(dark).zero))
    layers = sorted(rows["layer"].unique())
    figure.update_layout(barmode="overlay", bargap=0.25)
    figure.update_xaxes(
        tick0=0, dtick=layer_step(layers), range=[layers[0] - 0.6, layers[-1] + 0.6], showgrid=False
    )
    wholes = rows[rows["part"] == total]
    figure.update_yaxes(
        range=span(wholes[["mean_difference", "low", "high"]], extents, include=0.0),
        tickformat=".1~%" if percent else None,
    )
    outer_titles(figure, filled, "decoder layer", f"{escaped(quantity)} ({escaped(unit)})")
    missing = missing_rows(rows, "mean_difference", (facet, "part"), "layer")
    said = [count_label(rows["n"]), escaped(subtitle)]
    return dressed(
        figure,
        title=escaped(title or f"Parts of the {quantity}, layer by layer"),
        subtitle=" · ".join(part for part in said if part),
        notes=[missing_note(missing, (facet, "part"), "layer")],
        frame=frame,
        dark=dark,
        legends=["parts  "],
        annotations=annotations,
        shapes=shapes,
        heading_lines=2,
        missing=missing,
    )


def _total(whole: pd.DataFrame, total: str, panel: str, form: str, shown: bool, dark: bool) -> go.Scatter:
    """The totals of one panel with their intervals."""
    ink = theme.page(dark).ink
    return go.Scatter(
        x=whole["layer"].to_numpy(),
        y=whole["mean_difference"].to_numpy(),
        error_y=interval_error(
            whole["mean_difference"], whole["low"], whole["high"], ink, thickness=1.4, width=3
        ),
        customdata=whole[["low", "high", "n"]].to_numpy(),
        mode="markers",
        marker={
            "color": theme.page(dark).paper,
            "size": 8,
            "symbol": "diamond",
            "line": {"color": ink, "width": 1.8},
        },
        name=escaped(total),
        legendgroup=total,
        showlegend=shown,
        meta={"facet": panel, "part": total},
        hovertemplate=f"<b>{escaped(total)}</b>, layer %{{x}}<br>%{{y:{form}}} [%{{customdata[0]:{form}}}, "
        f"%{{customdata[1]:{form}}}]<br>n = %{{customdata[2]:,}}<br>{escaped(panel)}<extra></extra>",
    )
