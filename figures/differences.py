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
from figures.ledger import BLOCK_WORDS, edges, known_roles, layer_step
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, dressed, guide, outer_titles, panel_grid, panel_heading, span

DIFFERENCE_COLUMNS = ("contrast", "stack", "block", "layer", "role", "n", "mean", "band_low", "band_high")


@redrawable
def budget_differences(
    differences: pd.DataFrame,
    *,
    contrasts: Sequence[str] | None = None,
    roles: Sequence[str] | None = None,
    stack: str = "decoder",
    title: str | None = None,
    columns: int | None = None,
    bands: str = "bands as in the table",
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """Differences of attention shares across layers, a line with a band, one row of panels per contrast and
    one panel per role.

    Blocks with a softmax of their own get rows of their own.

    Args:
        differences: columns contrast, stack, block, layer, role, n, mean (baseline minus treatment, in
            share), band_low, band_high, one row each; `baseline` and `treatment` shorten the names of panels.
        contrasts: which, in which order; all in order of appearance by default.
        roles: which roles; all by default, drawn in the fixed order.
        stack: which stack's queries.
        title: heading.
        columns: panels per row.
        bands: what the bands are, said below the heading.
        dark: dark page.
        narrow: for a phone.

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
    across = columns or (len(wanted) if len(order) * len(blocks) > 1 else min(len(wanted), 4))
    across = min(across, 2) if narrow else across
    frame = Frame(gap_across=12, gap_down=52).fitted(narrow)
    # One panel per role: eight bands on each other could not be told apart.
    place: dict[tuple[str, str, str], tuple[int, int]] = {}
    down = 0
    for contrast in order:
        for block in blocks:
            there = rows[(rows["contrast"] == contrast) & (rows["block"] == block)]["role"]
            here = [role for role in wanted if role in set(there)]
            for i, role in enumerate(here):
                place[contrast, block, role] = (down + i // across + 1, i % across + 1)
            down += -(-len(here) // across)
    filled = sorted(place.values())
    figure = panel_grid(down, across, filled, frame=frame, panel_height=118 if down > 2 else 180)
    labels = short_names(rows)
    annotations, shapes = [], []
    begun: set[tuple[str, str]] = set()
    width = int((frame.inner) / 6.6)
    for (contrast, block, role), (row, column) in place.items():
        part = rows[(rows["contrast"] == contrast) & (rows["block"] == block) & (rows["role"] == role)]
        for trace in role_line(part.sort_values("layer"), contrast, block, role, dark):
            figure.add_trace(trace, row=row, col=column)
        shapes.append(guide(figure, row, column, y=(0.0, 0.0), colour=theme.page(dark).zero))
        heading = f"<b>{escaped(role)}</b>"
        if (contrast, block) not in begun:
            begun.add((contrast, block))
            label = labels[contrast] if len(blocks) == 1 else f"{labels[contrast]}, {block}"
            heading = f"{panel_title(label, width, 1)}<br>{heading}"
        annotations.append(panel_heading(figure, row, column, heading, hover=escaped(contrast), dark=dark))
    layers = list(rows["layer"])
    figure.update_xaxes(
        tick0=0, dtick=2 * layer_step(layers) if across > 4 else layer_step(layers), range=edges(layers)
    )
    figure.update_yaxes(range=span(rows[["mean", "band_low", "band_high"]], include=0.0), tickformat=".0~%")
    outer_titles(figure, filled, f"{stack} layer", "difference (points)")
    missing = missing_rows(rows, "mean", ("contrast", "block", "role"), "layer")
    return dressed(
        figure,
        title=escaped(title or f"Differences of the {stack}'s attention budget by role and layer"),
        subtitle=f"{count_label(rows['n'], 'independent examples')} · baseline − treatment: above 0 the treatment "
        f"takes attention away · {escaped(bands)}",
        notes=[missing_note(missing, ("contrast", "block", "role"), "layer", labels)],
        frame=frame,
        dark=dark,
        annotations=annotations,
        shapes=shapes,
        heading_lines=2,
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


def role_line(part: pd.DataFrame, contrast: str, block: str, role: str, dark: bool) -> list[go.Scatter]:
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
            "size": 6 if len(np.unique(x)) <= 20 else 3,
            "line": {"width": 0.6 if len(np.unique(x)) <= 20 else 0.3, "color": theme.page(dark).ink},
        },
        name=escaped(role),
        legendgroup=role,
        showlegend=False,
        meta=meta,
        hovertemplate=f"<b>{escaped(role)}</b>, layer %{{x}}<br>difference %{{y:+.2%}} "
        "[%{customdata[0]:+.2%}, %{customdata[1]:+.2%}]<br>n = %{customdata[2]:,}<br>"
        f"{escaped(contrast)} ({BLOCK_WORDS[block]})<extra></extra>",
    )
    return [band(x, part["band_low"], part["band_high"], colour, group=role, meta=meta), line]
