"""Maps of layers and heads: one role's share, or what a contrast does to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from figures import theme
from figures.columns import checked, chosen
from figures.differences import short_names
from figures.labels import cell_labels, count_label, escaped, panel_title, visible
from figures.ledger import BLOCK_WORDS, edges, known_roles, layer_step
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, colour_bar, columns_for, dressed, outer_titles, panel_grid, panel_heading

Facet = Literal["cell", "contrast"]


@redrawable
def head_map(
    heads: pd.DataFrame,
    role: str,
    *,
    facet: Facet | None = None,
    facets: Sequence[str] | None = None,
    stack: str = "decoder",
    block: str | None = None,
    title: str | None = None,
    columns: int | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """One role's share in every layer and head, or its difference in every contrast, one panel per facet.

    Args:
        heads: columns stack, block, layer, head, role, n, mean (share, or difference of shares) and `cell` or
            `contrast`. Where there are the columns low and high, standard_error, q, they are on hover; heads
            whose `discovered` is true are marked; where no head's `mapped` is, none could be.
        role: the keys' role.
        facet: "cell" (shares, from 0) or "contrast" (differences, around 0); by default the column that is
            there.
        facets: which cells or contrasts, in which order.
        stack: which stack's queries.
        block: which block; by default the only one that has the role.
        title: heading.
        columns: panels per row.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown role, facet, stack or block, or several
            blocks hold the role and none is chosen.
    """
    name = "head_map"
    by: Facet = facet or ("contrast" if "contrast" in getattr(heads, "columns", ()) else "cell")
    rows = checked(
        heads,
        name,
        required=(by, "stack", "block", "layer", "head", "role", "n", "mean"),
        numbers=("layer", "head", "n", "mean", "low", "high", "standard_error", "q"),
        keys=(by, "stack", "block", "layer", "head", "role"),
    )
    for key, wanted in (("role", role), ("stack", stack)):
        chosen(rows[key], [wanted], name, key)
        rows = rows[rows[key] == wanted]
    known_roles([role], name)
    blocks = chosen(rows["block"], [block] if block else None, name, "blocks")
    if len(blocks) > 1:
        raise ValueError(
            f"{name}: role {role} is in several blocks: {', '.join(blocks)}; choose one with block="
        )
    rows = rows[rows["block"] == blocks[0]].copy()
    rows[by] = rows[by].astype(str)
    order = chosen(rows[by], facets, name, f"{by}s")
    rows = rows[rows[by].isin(order)]
    layers, head_names = sorted(rows["layer"].unique()), sorted(rows["head"].unique())
    across = columns_for(len(order), narrow=True) if narrow else columns or columns_for(len(order))
    filled = [(i // across + 1, i % across + 1) for i in range(len(order))]
    frame = Frame(right=104, gap_down=46).fitted(narrow, bar=True)
    height = float(np.clip(9 * len(layers), 110, 330))
    figure = panel_grid(-(-len(order) // across), across, filled, frame=frame, panel_height=height)
    labels = cell_labels(rows) if by == "cell" else short_names(rows)
    width = int((frame.inner) / across / 6.6)
    annotations, lines = [], 1
    for (row, column), value in zip(filled, order, strict=True):
        part = rows[rows[by] == value]
        for trace in head_traces(part, value, role, layers, head_names, dark, by):
            figure.add_trace(trace, row=row, col=column)
        heading = panel_title(labels[value], width)
        lines = max(lines, heading.count("<br>") + 1) if row == 1 else lines
        annotations.append(panel_heading(figure, row, column, heading, hover=escaped(value), dark=dark))
    largest = float(np.nanmax(np.abs(rows["mean"]), initial=0.0)) or 1.0
    figure.update_layout(
        coloraxis=colour_axis(
            by,
            largest,
            role,
            dark,
            partial(colour_bar, figure, frame, length=min(200.0, float(figure.layout.height))),
        )
    )
    figure.update_xaxes(tick0=0, dtick=layer_step(head_names), range=edges(head_names), showgrid=False)
    figure.update_yaxes(tick0=0, dtick=layer_step(layers), range=edges(layers), showgrid=False)
    outer_titles(figure, filled, "head", f"{stack} layer")
    missing = missing_rows(rows, "mean", (by, "role"), "layer")
    what = (
        f"Share of attention on {visible(role)}"
        if by == "cell"
        else f"Difference in attention on {visible(role)}"
    )
    subtitle = [
        count_label(rows["n"], "independent examples"),
        f"{escaped(stack)}, {BLOCK_WORDS.get(blocks[0], escaped(blocks[0]))}",
    ]
    if by == "contrast":
        subtitle.append("baseline − treatment")
    if "discovered" in rows.columns:
        found = int(rows["discovered"].fillna(False).astype(bool).sum())
        few = "mapped" in rows.columns and not rows["mapped"].any()
        told = f"dots: heads found to change ({found})" if found else "no head is found to change"
        subtitle.append("too few examples to find a head" if few else told)
    return dressed(
        figure,
        title=escaped(title) if title else f"{what}, by layer and head",
        subtitle=" · ".join(subtitle),
        notes=[missing_note(missing, (by, "role"), "layer", labels)],
        frame=frame,
        dark=dark,
        annotations=annotations,
        heading_lines=lines,
        missing=missing,
    )


def matrix(
    part: pd.DataFrame, value: str, layers: Sequence[float], heads: Sequence[float]
) -> NDArray[np.float64]:
    """A column as a matrix [layer, head]; NaN where there is no row."""
    return (
        part.pivot(index="layer", columns="head", values=value)
        .reindex(index=list(layers), columns=list(heads))
        .to_numpy()
    )


def head_traces(
    part: pd.DataFrame,
    value: str,
    role: str,
    layers: Sequence[float],
    heads: Sequence[float],
    dark: bool,
    by: Facet,
) -> list[go.Heatmap | go.Scatter]:
    """The map of one panel and the marks on it."""
    extra = [column for column in ("low", "high", "standard_error", "q") if column in part.columns]
    shown = ["n", *extra]
    sign = "" if by == "cell" else "+"
    words = {
        "low": f"interval from %{{customdata[{{i}}]:{sign}.2%}}",
        "high": f"to %{{customdata[{{i}}]:{sign}.2%}}",
        "standard_error": "standard error %{{customdata[{i}]:.2%}}",
        "q": "q %{{customdata[{i}]:.3g}}",
    }
    lines = [
        "<br>" + words[column].replace("{i}", str(i)) for i, column in enumerate(shown) if column in words
    ]
    details = "".join(lines).replace("{{", "{").replace("}}", "}")
    traces: list[go.Heatmap | go.Scatter] = [
        go.Heatmap(
            x=list(heads),
            y=list(layers),
            z=matrix(part, "mean", layers, heads),
            customdata=np.stack([matrix(part, column, layers, heads) for column in shown], axis=-1),
            coloraxis="coloraxis",
            xgap=1,
            ygap=0.5,
            hoverongaps=True,
            meta={by: value, "role": role},
            hovertemplate=f"<b>{escaped(role)}</b>, layer %{{y}}, head %{{x}}<br>%{{z:{sign}.2%}}{details}<br>"
            f"n = %{{customdata[0]:,}}<br>{escaped(value)}<extra></extra>",
        )
    ]
    if "discovered" in part.columns:
        marked = part[part["discovered"].fillna(False).astype(bool)]
        traces.append(
            go.Scatter(
                x=marked["head"].to_numpy(),
                y=marked["layer"].to_numpy(),
                mode="markers",
                marker={
                    "size": 4,
                    "color": theme.page(dark).ink,
                    "line": {"width": 0.8, "color": theme.page(dark).paper},
                },
                hoverinfo="skip",
                showlegend=False,
                meta={by: value, "role": role, "marks": True},
            )
        )
    return traces


def colour_axis(by: Facet, largest: float, role: str, dark: bool, bar: Callable[..., dict]) -> dict:
    """The colour axis that all panels share: from 0 for shares, even around 0 for differences.

    ``bar`` makes its colour bar from the lines of a title and a format of ticks.
    """
    if by == "cell":
        scale = theme.SEQUENTIAL_DARK if dark else theme.SEQUENTIAL
        limits, title, tick = (0.0, largest), ("share on", f"{escaped(role)} (%)"), ".0~%"
    else:
        scale = theme.DIVERGING_DARK if dark else theme.DIVERGING
        limits, title, tick = (-largest, largest), ("difference on", f"{escaped(role)} (points)"), ".1~%"
    return {
        "colorscale": [list(stop) for stop in scale],
        "cmin": limits[0],
        "cmax": limits[1],
        "colorbar": bar(title, tickformat=tick),
    }
