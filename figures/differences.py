"""The difference ledger: what a contrast does to every role's share, layer by layer, with bands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.bands import band
from figures.columns import checked, chosen, named
from figures.labels import contrast_label, count_label, escaped, panel_title
from figures.ledger import BLOCK_WORDS, known_roles, layer_step, legend_of, legend_titles
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, columns_for, dressed, outer_titles, panel_grid, panel_heading, span

DIFFERENCE_COLUMNS = ("contrast", "stack", "block", "layer", "role", "n", "mean", "band_low", "band_high")


def budget_differences(
    differences: pd.DataFrame,
    *,
    contrasts: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    stack: str = "decoder",
    title: str | None = None,
    columns: int | None = None,
    dark: bool = False,
) -> go.Figure:
    """Differences of attention shares across layers, a line with a band per role, one panel per contrast.

    Blocks with a softmax of their own get rows of panels of their own.

    Args:
        differences: columns contrast, stack, block, layer, role, n, mean (baseline minus treatment, in
            share), band_low, band_high, one row each; `baseline` and `treatment` shorten the names of panels.
        contrasts: which, in which order; all in order of appearance by default.
        roles: which roles; all by default, drawn in the fixed order.
        stack: which stack's queries.
        title: heading.
        columns: panels per row.
        dark: dark page.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown contrasts, roles, blocks or stack.
    """
    name = "budget_differences"
    rows = checked(
        differences,
        name,
        required=DIFFERENCE_COLUMNS,
        numbers=("layer", "n", "mean", "band_low", "band_high"),
        keys=("contrast", "stack", "block", "layer", "role"),
    )
    chosen(rows["stack"], [stack], name, "stack")
    rows = rows[rows["stack"] == stack]
    rows = rows.assign(contrast=rows["contrast"].astype(str))
    order = chosen(rows["contrast"], contrasts, name, "contrasts")
    wanted = known_roles(chosen(rows["role"], roles, name, "roles"), name)
    rows = rows[rows["contrast"].isin(order) & rows["role"].isin(wanted)]
    unknown = sorted(set(rows["block"]) - set(BLOCK_WORDS))
    if unknown:
        raise ValueError(f"{name}: unknown blocks: {named(unknown)}; known: {named(BLOCK_WORDS)}")
    blocks = [block for block in BLOCK_WORDS if block in set(rows["block"])]
    across = columns or min(columns_for(len(order)), 3)
    frame = Frame(gap_down=46)
    place = {
        (contrast, block): ((i // across) * len(blocks) + b + 1, i % across + 1)
        for i, contrast in enumerate(order)
        for b, block in enumerate(blocks)
    }
    filled = sorted(place.values())
    down = max(row for row, _ in filled)
    figure = panel_grid(down, across, filled, frame=frame, panel_height=190 if down > 1 else 300)
    labels = short_names(rows)
    width = int((frame.width - frame.left - frame.right) / across / 6.6)
    in_legend: set[str] = set()
    annotations, lines = [], 1
    for (contrast, block), (row, column) in place.items():
        here = rows[(rows["contrast"] == contrast) & (rows["block"] == block)]
        for role in wanted:
            part = here[here["role"] == role].sort_values("layer")
            if part.empty:
                continue
            for trace in role_line(part, contrast, block, role, wanted, dark):
                trace.showlegend = trace.mode != "lines" and role not in in_legend
                figure.add_trace(trace, row=row, col=column)
            in_legend.add(role)
        figure.add_hline(
            y=0, line={"color": theme.page(dark).zero, "width": 1}, layer="below", row=row, col=column
        )
        heading = panel_title(labels[contrast] if len(blocks) == 1 else f"{labels[contrast]}, {block}", width)
        lines = max(lines, heading.count("<br>") + 1) if row == 1 else lines
        annotations.append(panel_heading(figure, row, column, heading, hover=escaped(contrast), dark=dark))
    figure.update_xaxes(tick0=0, dtick=layer_step(list(rows["layer"])), showgrid=False)
    figure.update_yaxes(range=span(rows[["mean", "band_low", "band_high"]], include=0.0), tickformat="+.0~%")
    outer_titles(figure, filled, f"{stack} layer", "difference in share (points)")
    missing = missing_rows(rows, "mean", ("contrast", "block", "role"), "layer")
    return dressed(
        figure,
        title=escaped(title)
        if title
        else f"Differences of the {escaped(stack)}'s attention budget by role and layer",
        subtitle=f"{count_label(rows['n'])} | baseline − treatment: above 0 the treatment takes attention away"
        " | "
        "bands as in the table",
        notes=[missing_note(missing, ("contrast", "block", "role"), "layer", labels)],
        frame=frame,
        dark=dark,
        legends=legend_titles(wanted),
        annotations=annotations,
        heading_lines=lines,
        missing=missing,
    )


def short_names(rows: pd.DataFrame) -> dict[str, str]:
    """Contrast to a short name, from its baseline and treatment where the table has them."""
    first = rows.drop_duplicates("contrast")
    if not {"baseline", "treatment"} <= set(first.columns):
        halves = [str(contrast).partition(" → ") for contrast in first["contrast"]]
    else:
        halves = [(str(b), " → ", str(t)) for b, t in zip(first["baseline"], first["treatment"], strict=True)]
    return {
        str(contrast): contrast_label(str(contrast), before, after)
        for contrast, (before, _, after) in zip(first["contrast"], halves, strict=True)
    }


def role_line(
    part: pd.DataFrame, contrast: str, block: str, role: str, roles: Sequence[str], dark: bool
) -> list[go.Scatter]:
    """The band and the line of one role in one panel."""
    colour = theme.ROLE_COLOURS[role]
    meta = {"contrast": contrast, "block": block, "role": role}
    x = part["layer"].to_numpy()
    line = go.Scatter(
        x=x,
        y=part["mean"].to_numpy(),
        customdata=part[["band_low", "band_high", "n"]].to_numpy(),
        mode="lines+markers",
        connectgaps=False,
        line={"color": colour, "width": 2},
        marker={
            "color": colour,
            "symbol": theme.ROLE_SYMBOLS[role],
            "size": 6 if len(np.unique(x)) <= 20 else 4.5,
            "line": {"width": 0.6, "color": theme.page(dark).ink},
        },
        name=role,
        legend=legend_of(role, roles),
        legendgroup=role,
        meta=meta,
        hovertemplate=f"<b>{role}</b>, layer %{{x}}<br>difference %{{y:+.2%}} "
        "[%{customdata[0]:+.2%}, %{customdata[1]:+.2%}]<br>n = %{customdata[2]:,}<br>"
        f"{escaped(contrast)} ({BLOCK_WORDS[block]})<extra></extra>",
    )
    return [band(x, part["band_low"], part["band_high"], colour, group=role, meta=meta), line]
