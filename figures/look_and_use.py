"""Look and use: each role's part by several measures, beside what cutting it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked, chosen
from figures.labels import count_label, escaped, panel_title
from figures.ledger import known_roles
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, dressed, panel_grid, panel_heading, span

LOOK_COLUMNS = ("cell", "role", "measure", "n", "mean", "low", "high")
#: Part of a role's height that its measures take.
TAKEN = 0.72


@redrawable
def look_and_use(
    table: pd.DataFrame,
    *,
    measures: Sequence[str],
    cost: str,
    cells: Sequence[str] | None = None,
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """Roles down; on the left what they get by each measure, on the right what cutting them costs; a row per cell.

    Args:
        table: columns cell, role, measure, n, mean, low, high; fractions for the measures, nats for the cost. The order of
            the marks within a role is that of `measures`.
        measures: what is drawn on the left; those that the table lacks are left out.
        cost: the measure that is drawn on the right.
        cells: which cells, in which order; by default all of the table.
        title: heading.
        dark: dark page.
        narrow: for a phone: the panels stand below each other.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown cells, or no cost in the table.
    """
    name = "look_and_use"
    rows = checked(
        table,
        name,
        required=LOOK_COLUMNS,
        numbers=("n", "mean", "low", "high"),
        keys=("cell", "role", "measure"),
    )
    rows = rows.assign(cell=rows["cell"].astype(str))
    order = chosen(rows["cell"], cells, name, "cells")
    chosen(rows["measure"], [cost], name, "measure")
    shown = [measure for measure in measures if measure in set(rows["measure"])]
    rows = rows[rows["cell"].isin(order) & rows["measure"].isin([*shown, cost])]
    roles = known_roles(list(rows["role"]), name)
    styles = theme.level_styles(shown, dark)
    frame = Frame(left=92, gap_down=52).fitted(narrow, left=70)
    across = 1 if narrow else 2
    filled = [(place // across + 1, place % across + 1) for place in range(2 * len(order))]
    figure = panel_grid(
        len(filled) // across, across, filled, frame=frame, panel_height=46 * len(roles), share_x=False
    )
    annotations = []
    for place, cell in enumerate(order):
        part = rows[rows["cell"] == cell]
        (left, right) = filled[2 * place : 2 * place + 2]
        for trace in look_traces(part, shown, roles, styles, cell):
            trace.showlegend = place == 0
            figure.add_trace(trace, row=left[0], col=left[1])
        figure.add_trace(
            cost_trace(part[part["measure"] == cost], roles, cell, dark), row=right[0], col=right[1]
        )
        heading = panel_title(cell, int(frame.inner / (8 * across)), 1)
        for where, what in ((left, "what it gets"), (right, cost)):
            text = f"<b>{heading}</b>: {escaped(what)}"
            annotations.append(panel_heading(figure, *where, text, hover=escaped(cell), dark=dark))
    _axes(figure, rows, filled, shown, cost, roles, dark)
    missing = missing_rows(rows, "mean", ("cell", "measure"), "role")
    return dressed(
        figure,
        title=escaped(title) if title else "Look and use",
        subtitle=f"{count_label(rows['n'])} | left: parts of a whole; right: rise of the NLL when the rows that predict no "
        "longer see the role",
        notes=[missing_note(missing, ("cell", "measure"), "role", {cell: cell for cell in order})],
        frame=frame,
        dark=dark,
        legends=["measure  "],
        annotations=annotations,
        missing=missing,
    )


def look_traces(
    part: pd.DataFrame,
    measures: Sequence[str],
    roles: Sequence[str],
    styles: dict[str, theme.LevelStyle],
    cell: str,
) -> list[go.Scatter]:
    """A mark with its interval per measure and role, the measures of a role below each other."""
    traces = []
    for place, measure in enumerate(measures):
        own = part[part["measure"] == measure].set_index("role").reindex(roles)
        offset = TAKEN * ((place + 0.5) / len(measures) - 0.5)
        style = styles[measure]
        traces.append(
            go.Scatter(
                x=own["mean"].to_numpy(),
                y=np.arange(len(roles)) + offset,
                customdata=own[["low", "high", "n"]].to_numpy(),
                text=[escaped(role) for role in roles],
                error_x=_interval(own, style.colour),
                mode="markers",
                marker={"color": style.colour, "symbol": style.symbol, "size": 8},
                name=measure,
                legendgroup=measure,
                hovertemplate=f"<b>%{{text}}</b><br>{escaped(measure)}: %{{x:.1%}} [%{{customdata[0]:.1%}}, "
                f"%{{customdata[1]:.1%}}]<br>n = %{{customdata[2]:,}}<br>{escaped(cell)}<extra></extra>",
                meta={"cell": cell, "measure": measure},
            )
        )
    return traces


def cost_trace(part: pd.DataFrame, roles: Sequence[str], cell: str, dark: bool) -> go.Bar:
    """A bar per role, in its colour, with the interval of the mean."""
    own = part.set_index("role").reindex(roles)
    return go.Bar(
        x=own["mean"].to_numpy(),
        y=np.arange(len(roles)),
        orientation="h",
        width=0.6,
        customdata=own[["low", "high", "n"]].to_numpy(),
        text=[escaped(role) for role in roles],
        textposition="none",
        error_x=_interval(own, theme.page(dark).ink),
        marker={"color": [theme.ROLE_COLOURS[role] for role in roles], "line": {"width": 0}},
        showlegend=False,
        hovertemplate="<b>%{text}</b> cut<br>%{x:.3f} [%{customdata[0]:.3f}, %{customdata[1]:.3f}] nats<br>"
        f"n = %{{customdata[2]:,}}<br>{escaped(cell)}<extra></extra>",
        meta={"cell": cell, "measure": "cost"},
    )


def _interval(own: pd.DataFrame, colour: str) -> dict:
    return {
        "type": "data",
        "symmetric": False,
        "array": (own["high"] - own["mean"]).to_numpy(),
        "arrayminus": (own["mean"] - own["low"]).to_numpy(),
        "thickness": 1.3,
        "width": 0,
        "color": colour,
    }


def _axes(
    figure: go.Figure,
    rows: pd.DataFrame,
    filled: Sequence[tuple[int, int]],
    measures: Sequence[str],
    cost: str,
    roles: Sequence[str],
    dark: bool,
) -> None:
    """The same range for every panel of a kind, 0 marked, and the roles as names."""
    columns = ["mean", "low", "high"]
    looks = span(rows.loc[rows["measure"].isin(measures), columns], include=0.0)
    costs = span(rows.loc[rows["measure"] == cost, columns], include=0.0)
    last = max(row for row, _ in filled)
    zero = {"zeroline": True, "zerolinecolor": theme.page(dark).zero, "zerolinewidth": 1}
    for place, (row, column) in enumerate(filled):
        left = place % 2 == 0
        titled = row == last or max(column for _, column in filled) == 1
        figure.update_xaxes(
            range=looks if left else costs,
            tickformat=".0~%" if left else None,
            title_text=("part (%)" if left else "nats per answer token") if titled else None,
            row=row,
            col=column,
            **zero,
        )
        figure.update_yaxes(
            range=[len(roles) - 0.5, -0.5],
            tickvals=list(range(len(roles))),
            ticktext=[escaped(role) for role in roles],
            row=row,
            col=column,
        )
