"""The sink audit: how much of a shift in shares is explained by hiding an attention sink."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.bands import band
from figures.columns import checked, chosen
from figures.labels import cell_labels, count_label, escaped, panel_title
from figures.ledger import BLOCK_WORDS, edges, known_roles, layer_step
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, columns_for, dressed, outer_titles, panel_grid, panel_heading, span

SINK_COLUMNS = ("cell", "stack", "block", "layer", "role", "n", "visible", "mean", "low", "high", "predicted")


@redrawable
def sink_audit(
    audit: pd.DataFrame,
    *,
    cells: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    stack: str = "decoder",
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """Shares with a sink visible, predicted with it hidden, and measured with it hidden, by layer.

    Hiding mass m from a softmax whose input stays the same turns a share A into A / (1 - m); what a measured
    share does beyond that is not explained by the missing sink.

    Args:
        audit: columns cell, stack, block, layer, role, n, visible (mean share with the sink visible), mean,
            low, high (of the share measured with it hidden), predicted (mean of A / (1 - m)); shares from 0
            to 1.
        cells: which cells, in which order; one row of panels each.
        roles: which roles; one panel each, in the fixed order.
        stack: which stack's queries.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown cells, roles or stack.
    """
    name = "sink_audit"
    rows = checked(
        audit,
        name,
        required=SINK_COLUMNS,
        numbers=("layer", "n", "visible", "mean", "low", "high", "predicted"),
        keys=("cell", "stack", "block", "layer", "role"),
    )
    chosen(rows["stack"], [stack], name, "stack")
    rows = rows[rows["stack"] == stack]
    rows = rows.assign(cell=rows["cell"].astype(str))
    order = chosen(rows["cell"], cells, name, "cells")
    wanted = known_roles(chosen(rows["role"], roles, name, "roles"), name)
    rows = rows[rows["cell"].isin(order) & rows["role"].isin(wanted)]
    labels = cell_labels(rows)
    panels = [
        (cell, str(block), role)
        for cell in order
        for role in wanted
        for block in rows.loc[(rows["cell"] == cell) & (rows["role"] == role), "block"].unique()
    ]
    across = (
        columns_for(len(panels))
        if len(order) == 1
        else min(4, max(panels_of(panels, cell) for cell in order))
    )
    across = min(across, 2) if narrow else across
    filled = []
    down = 0
    for cell in order:
        count = panels_of(panels, cell)
        filled += [(down + i // across + 1, i % across + 1) for i in range(count)]
        down += -(-count // across)
    frame = Frame(gap_down=46).fitted(narrow)
    figure = panel_grid(down, across, filled, frame=frame, panel_height=170 if down > 1 else 280)
    annotations = []
    begun: set[str] = set()
    for (row, column), (cell, block, role) in zip(filled, panels, strict=True):
        part = rows[(rows["cell"] == cell) & (rows["block"] == block) & (rows["role"] == role)].sort_values(
            "layer"
        )
        for trace in audit_traces(part, cell, block, role, dark):
            trace.showlegend = (row, column) == (1, 1) and "band" not in trace.meta
            figure.add_trace(trace, row=row, col=column)
        heading = f"<b>{role}</b>"
        if len(order) > 1 and cell not in begun:
            begun.add(cell)
            heading = f"{panel_title(labels[cell], int(frame.inner / 6.6), 1)}<br>{heading}"
        hover = escaped(f"{role}, {cell}, {BLOCK_WORDS.get(block, block)}")
        annotations.append(panel_heading(figure, row, column, heading, hover=hover, dark=dark))
    figure.update_xaxes(
        tick0=0, dtick=layer_step(list(rows["layer"])), range=edges(list(rows["layer"])), showgrid=False
    )
    figure.update_yaxes(
        range=span(rows[["visible", "mean", "low", "high", "predicted"]], include=0.0), tickformat=".0~%"
    )
    outer_titles(figure, filled, f"{stack} layer", "share (%)")
    missing = missing_rows(rows, "mean", ("cell", "block", "role"), "layer")
    cell_note = f"{escaped(labels[order[0]])} · " if len(order) == 1 else ""
    return dressed(
        figure,
        title=escaped(title) if title else "Sink audit: shares after hiding, measured and predicted",
        subtitle=f"{count_label(rows['n'])} · {cell_note}predicted: A / (1 − m), "
        "hiding mass m and nothing else",
        notes=[missing_note(missing, ("cell", "block", "role"), "layer", labels)],
        frame=frame,
        dark=dark,
        legends=["share  "],
        annotations=annotations,
        heading_lines=2 if len(order) > 1 else 1,
        missing=missing,
    )


def panels_of(panels: Sequence[tuple[str, str, str]], cell: str) -> int:
    """How many panels a cell has."""
    return sum(one == cell for one, _, _ in panels)


def audit_traces(part: pd.DataFrame, cell: str, block: str, role: str, dark: bool) -> list[go.Scatter]:
    """Band and line measured, line predicted, line with the sink visible."""
    style = theme.page(dark)
    x = part["layer"].to_numpy()
    meta = {"cell": cell, "block": block, "role": role}
    colour = theme.ROLE_COLOURS[role]
    end = f"<br>{escaped(cell)}<extra></extra>"
    drawn = [band(x, part["low"], part["high"], colour, group="measured", meta={**meta, "what": "measured"})]
    for what, column, line in (
        ("sink visible", "visible", {"color": style.zero, "width": 1.5, "dash": "dot"}),
        ("measured", "mean", {"color": colour, "width": 2}),
        ("predicted", "predicted", {"color": style.ink, "width": 1.5, "dash": "4px,2px"}),
    ):
        interval = " [%{customdata[0]:.2%}, %{customdata[1]:.2%}]" if what == "measured" else ""
        drawn.append(
            go.Scatter(
                x=x,
                y=part[column].to_numpy(),
                customdata=part[["low", "high", "n"]].to_numpy(),
                mode="lines+markers" if what == "measured" else "lines",
                connectgaps=False,
                line=line,
                marker={"color": line["color"], "symbol": theme.ROLE_SYMBOLS[role], "size": 4},
                name=what,
                legendgroup=what,
                meta={**meta, "what": what},
                hovertemplate=f"<b>{role}</b>, layer %{{x}}<br>{what}: %{{y:.2%}}{interval}<br>"
                f"n = %{{customdata[2]:,}}{end}",
            )
        )
    return drawn
