"""The budget ledger: who gets the attention, by role, layer by layer, one panel per cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked, chosen, named
from figures.labels import cell_labels, count_label, escaped, factors_note, panel_title
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, columns_for, dressed, outer_titles, panel_grid, panel_heading

SHARE_COLUMNS = ("cell", "stack", "block", "layer", "role", "n", "mean", "low", "high")
BLOCK_WORDS = {
    "merged": "one softmax over both",
    "self": "self-attention",
    "cross": "cross-attention",
}


def layer_step(layers: Sequence[float]) -> int:
    """Distance of ticks on a layer axis: 1, 2, 5, 10 or 20, for at most eight ticks."""
    span = max(layers) - min(layers) + 1
    return next((step for step in (1, 2, 5, 10, 20) if span / step <= 8), 50)


def edges(values: Sequence[float]) -> list[float]:
    """The range of an axis of whole numbers: half a step beyond the first and the last."""
    return [min(values) - 0.5, max(values) + 0.5]


def known_roles(roles: Sequence[str], figure: str) -> list[str]:
    """Roles in the fixed order of the theme; an error for a role without a colour."""
    unknown = [role for role in dict.fromkeys(roles) if role not in theme.ROLE_COLOURS]
    if unknown:
        raise ValueError(f"{figure}: unknown roles: {named(unknown)}; known: {named(theme.ROLES)}")
    return [role for role in theme.ROLES if role in set(roles)]


def budget_rows(
    table: pd.DataFrame, figure: str, cells: Sequence[str] | None, stack: str
) -> tuple[pd.DataFrame, list[str], list[str], list[str]]:
    """The rows of one stack and the chosen cells, with the cells, blocks and roles in drawing order."""
    rows = checked(
        table,
        figure,
        required=SHARE_COLUMNS,
        numbers=("layer", "n", "mean", "low", "high"),
        keys=("cell", "stack", "block", "layer", "role"),
    )
    chosen(rows["stack"], [stack], figure, "stack")
    rows = rows[rows["stack"] == stack]
    order = chosen(rows["cell"].astype(str), cells, figure, "cells")
    rows = rows[rows["cell"].isin(order)]
    blocks = list(dict.fromkeys(rows["block"]))
    unknown = [block for block in blocks if block not in BLOCK_WORDS]
    if unknown:
        raise ValueError(f"{figure}: unknown blocks: {named(unknown)}; known: {named(BLOCK_WORDS)}")
    return rows, order, [b for b in BLOCK_WORDS if b in blocks], known_roles(list(rows["role"]), figure)


def legend_of(role: str, roles: Sequence[str]) -> str:
    """The legend a role stands in: encoder roles first, decoder roles in the next row."""
    both = any(r in theme.ENCODER_ROLES for r in roles) and any(r in theme.DECODER_ROLES for r in roles)
    return "legend2" if both and role in theme.DECODER_ROLES else "legend"


def legend_titles(roles: Sequence[str]) -> list[str]:
    """The titles of the legend rows that these roles need."""
    titles = []
    if any(role in theme.ENCODER_ROLES for role in roles):
        titles.append("encoder positions  ")
    if any(role in theme.DECODER_ROLES for role in roles):
        titles.append("decoder positions  ")
    return titles


def stacked_on(below: dict[float, float], group: pd.DataFrame) -> list[float]:
    """Where the bars of a role start: the sum of the roles below in each layer, to which this role is then
    added.

    The bases are given to plotly because its own stacking puts roles out of order in layers where one has no
    value.
    """
    base = [below.get(layer, 0.0) for layer in group["layer"]]
    for layer, start, mean in zip(group["layer"], base, group["mean"], strict=True):
        below[layer] = start + (0.0 if np.isnan(mean) else mean)
    return base


@redrawable
def budget_ledger(
    shares: pd.DataFrame,
    *,
    cells: Sequence[str] | None = None,
    stack: str = "decoder",
    title: str | None = None,
    columns: int | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """Attention share of every role across layers, as stacked bars, one panel per cell.

    Blocks with a softmax of their own (self, cross) get rows of panels of their own: each sums to 1 by
    itself. Encoder roles are stacked from the bottom, so that in a merged block the upper edge of the warm
    colours is the cross share. Intervals and n of every bar are on hover.

    Args:
        shares: columns cell, stack (encoder|decoder), block (self|cross|merged), layer, role, n, mean, low,
            high (shares, 0 to 1), one row each; `alias` gives panels a short name where there is one.
        cells: which cells, in which order; all in order of appearance by default.
        stack: which stack's queries.
        title: heading; a plain one by default.
        columns: panels per row; chosen from the number of cells by default.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown cells, stack, roles or blocks.
    """
    rows, order, blocks, roles = budget_rows(shares, "budget_ledger", cells, stack)
    labels = cell_labels(rows)
    across = columns_for(len(order), narrow=True) if narrow else columns or columns_for(len(order))
    frame = Frame(gap_down=46).fitted(narrow)
    down = -(-len(order) // across) * len(blocks)
    place = {
        (cell, block): ((i // across) * len(blocks) + b + 1, i % across + 1)
        for i, cell in enumerate(order)
        for b, block in enumerate(blocks)
    }
    filled = sorted(place.values())
    figure = panel_grid(down, across, filled, frame=frame, panel_height=130 if down > 1 else 260)
    in_legend: set[str] = set()
    groups = dict(list(rows.groupby(["cell", "block", "role"], sort=False)))
    for (cell, block), (row, column) in place.items():
        below: dict[float, float] = {}
        for role in roles:
            group = groups.get((cell, block, role))
            if group is None:
                continue
            group = group.sort_values("layer")
            base = stacked_on(below, group)
            figure.add_trace(
                go.Bar(
                    x=group["layer"].to_numpy(),
                    y=group["mean"].to_numpy(),
                    base=base,
                    customdata=group[["low", "high", "n"]].to_numpy(),
                    name=escaped(role),
                    legend=legend_of(role, roles),
                    legendgroup=role,
                    showlegend=role not in in_legend,
                    marker={
                        "color": theme.ROLE_COLOURS[role],
                        "line": {"width": 0.5, "color": theme.page(dark).paper},
                    },
                    meta={"cell": cell, "block": block, "role": role},
                    hovertemplate=f"<b>{escaped(role)}</b>, layer %{{x}}<br>share %{{y:.2%}} "
                    "[%{customdata[0]:.2%}, %{customdata[1]:.2%}]<br>n = %{customdata[2]:,}<br>"
                    f"{escaped(cell)} ({BLOCK_WORDS[block]})<extra></extra>",
                ),
                row=row,
                col=column,
            )
            in_legend.add(role)
    width = int((frame.inner) / across / 6.6)
    headings = {}
    annotations = []
    for (cell, block), (row, column) in place.items():
        label = labels[cell] if len(blocks) == 1 else f"{labels[cell]}, {block}"
        headings[row, column] = panel_title(label, width)
        annotations.append(
            panel_heading(figure, row, column, headings[row, column], hover=escaped(cell), dark=dark)
        )
    lines = max((text.count("<br>") + 1 for (row, _), text in headings.items() if row == 1), default=1)
    figure.update_layout(barmode="overlay", bargap=0.0)
    figure.update_xaxes(tick0=0, dtick=layer_step(list(rows["layer"])), showgrid=False)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", dtick=0.5 if down > 1 else 0.25)
    outer_titles(figure, filled, f"{stack} layer", "share of attention (%)" if down == 1 else "share (%)")
    missing = missing_rows(rows, "mean", ("cell", "block", "role"), "layer")
    factors = factors_note({cell: labels[cell] for cell in order})
    subtitle = [count_label(rows["n"], "independent examples"), "mean over examples; intervals on hover"]
    if factors:
        subtitle.append(f"panels: {escaped(factors)}")
    subtitle.append(
        "each block sums to 100 % by itself" if blocks != ["merged"] else "one softmax over all keys"
    )
    return dressed(
        figure,
        title=escaped(title) if title else f"Attention budget of the {escaped(stack)} by role and layer",
        subtitle=" · ".join(subtitle),
        notes=[missing_note(missing, ("cell", "block", "role"), "layer", labels)],
        frame=frame,
        dark=dark,
        legends=legend_titles(roles),
        annotations=annotations,
        heading_lines=lines,
        missing=missing,
    )
