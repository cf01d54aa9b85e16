"""Entropy against mass: how concentrated attention is, beside how much of it there is."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked, chosen
from figures.labels import cell_labels, count_label, escaped, factors_note, panel_title
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import (
    Frame,
    colour_bar,
    columns_for,
    dressed,
    outer_titles,
    panel_grid,
    panel_heading,
    span,
)
from figures.rows import interval_error

ENTROPY_COLUMNS = ("cell", "stack", "block", "layer", "part", "n", "mass", "entropy")
ENDS = ("mass_low", "mass_high", "entropy_low", "entropy_high")


@redrawable
def entropy_against_mass(
    entropies: pd.DataFrame,
    *,
    cells: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    stack: str = "decoder",
    title: str | None = None,
    columns: int | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """Mass of a part of the keys against the entropy within it, one point per layer (and head), by cell.

    Args:
        entropies: columns cell, stack, block, layer, part, n, mass (0 to 1), entropy (nats, of the part's
            normalised distribution); `head` gives a point per head; mass_low, mass_high, entropy_low,
            entropy_high give intervals where they are there.
        cells, parts: which, in which order.
        stack: which stack's queries.
        title: heading.
        columns: panels per row.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown cells, parts or stack.
    """
    name = "entropy_against_mass"
    rows = checked(
        entropies,
        name,
        required=ENTROPY_COLUMNS,
        numbers=("layer", "head", "n", "mass", "entropy", *ENDS),
        keys=("cell", "stack", "block", "layer", "head", "part"),
    )
    chosen(rows["stack"], [stack], name, "stack")
    rows = rows[rows["stack"] == stack]
    rows = rows.assign(cell=rows["cell"].astype(str), part=rows["part"].astype(str))
    order = chosen(rows["cell"], cells, name, "cells")
    which = chosen(rows["part"], parts, name, "parts")
    rows = rows[rows["cell"].isin(order) & rows["part"].isin(which)]
    across = columns_for(len(order), narrow=True) if narrow else columns or columns_for(len(order))
    filled = [(i // across + 1, i % across + 1) for i in range(len(order))]
    frame = Frame(right=96, gap_down=46).fitted(narrow, bar=True)
    figure = panel_grid(
        -(-len(order) // across), across, filled, frame=frame, panel_height=180 if len(order) > 4 else 280
    )
    labels = cell_labels(rows)
    width = int((frame.inner) / across / 6.6)
    symbols = {part: theme.level_styles(which, dark)[part].symbol for part in which}
    annotations, lines = [], 1
    in_legend: set[str] = set()
    for (row, column), cell in zip(filled, order, strict=True):
        for part in which:
            here = rows[(rows["cell"] == cell) & (rows["part"] == part)].sort_values("layer")
            if here.empty:
                continue
            figure.add_trace(part_trace(here, cell, part, symbols[part], dark), row=row, col=column)
            if part not in in_legend:
                figure.add_trace(legend_key(part, symbols[part], dark), row=row, col=column)
                in_legend.add(part)
        heading = panel_title(labels[cell], width)
        lines = max(lines, heading.count("<br>") + 1) if row == 1 else lines
        annotations.append(panel_heading(figure, row, column, heading, hover=escaped(cell), dark=dark))
    figure.update_layout(
        coloraxis={
            "colorscale": [list(stop) for stop in theme.LAYERS],
            "cmin": float(rows["layer"].min()),
            "cmax": max(float(rows["layer"].max()), float(rows["layer"].min()) + 1),
            "colorbar": colour_bar(figure, frame, [escaped(stack), "layer", " "]),
        }
    )
    ends = [end for end in ENDS if end in rows.columns]
    masses = rows[["mass", *(end for end in ends if end.startswith("mass"))]]
    nats = rows[["entropy", *(end for end in ends if end.startswith("entropy"))]]
    figure.update_xaxes(range=span(masses, include=0.0), tickformat=".0%", nticks=5)
    figure.update_yaxes(range=span(nats))
    outer_titles(figure, filled, "mass (% of attention)", "entropy (nats)")
    missing = missing_rows(rows, "entropy", ("cell", "part"), "layer")
    factors = factors_note({cell: labels[cell] for cell in order})
    subtitle = [
        count_label(rows["n"], "independent examples"),
        "a point per layer and head" if "head" in rows.columns else "a point per layer",
    ]
    if len(ends) == len(ENDS):
        subtitle.append("lines: intervals of the means")
    else:
        subtitle.append("the table has no intervals" if not ends else "intervals where the table has them")
    if factors:
        subtitle.append(f"panels: {escaped(factors)}")
    return dressed(
        figure,
        title=escaped(title) if title else f"Entropy of the {escaped(stack)}'s attention against its mass",
        subtitle=" · ".join(subtitle),
        notes=[missing_note(missing, ("cell", "part"), "layer", labels)],
        frame=frame,
        dark=dark,
        legends=["keys  "],
        annotations=annotations,
        heading_lines=lines,
        missing=missing,
    )


def error_bars(here: pd.DataFrame, value: str, dark: bool) -> dict | None:
    """Error bars of a column where its ends are there."""
    if not {f"{value}_low", f"{value}_high"} <= set(here.columns):
        return None
    colour = theme.page(dark).zero
    return interval_error(here[value], here[f"{value}_low"], here[f"{value}_high"], colour, thickness=1)


def part_trace(here: pd.DataFrame, cell: str, part: str, symbol: str, dark: bool) -> go.Scatter:
    """The points of one part in one cell."""
    heads = "head" in here.columns
    by_head = here["head"] if heads else pd.Series(float("nan"), index=here.index)
    return go.Scatter(
        x=here["mass"].to_numpy(),
        y=here["entropy"].to_numpy(),
        error_x=error_bars(here, "mass", dark),
        error_y=error_bars(here, "entropy", dark),
        customdata=pd.concat([here[["layer", "n"]], by_head], axis=1).to_numpy(),
        mode="markers",
        marker={
            "color": here["layer"].to_numpy(),
            "coloraxis": "coloraxis",
            "symbol": symbol,
            "size": 5 if heads else 7,
            "line": {"width": 0.6, "color": theme.page(dark).ink},
        },
        name=escaped(part),
        legendgroup=part,
        showlegend=False,
        meta={"cell": cell, "part": part},
        hovertemplate=f"<b>{escaped(part)}</b>, layer %{{customdata[0]}}"
        + (", head %{customdata[2]}" if heads else "")
        + "<br>mass %{x:.2%}, entropy %{y:.3f} nats<br>n = %{customdata[1]:,}<br>"
        f"{escaped(cell)}<extra></extra>",
    )


def legend_key(part: str, symbol: str, dark: bool) -> go.Scatter:
    """The entry of one part in the legend.

    The points have numbers for colours, of which plotly would take the first for the colour of their entry.
    """
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        marker={"color": theme.page(dark).ink, "symbol": symbol, "size": 7},
        name=escaped(part),
        legendgroup=part,
        hoverinfo="skip",
    )
