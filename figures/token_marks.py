"""Marks of the token view beside its shades: the role of every key, and which keys are hidden."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.ledger import legend_of
from figures.token_layout import Piece

HIDDEN = "hidden from the decoder"


def role_marks(
    keys: pd.DataFrame, pieces: Sequence[Piece], roles: Sequence[str], cell: str
) -> list[go.Scatter]:
    """A line under every token in the colour of its role, one trace per role."""
    marks = []
    for role in roles:
        under = [piece for piece in pieces if keys["role"][piece.token] == role]
        if not under:
            continue
        marks.append(
            go.Scatter(
                x=[value for piece in under for value in (piece.start + 0.1, piece.end - 0.1, None)],
                y=[value for piece in under for value in (piece.line + 0.93, piece.line + 0.93, None)],
                mode="lines",
                line={"color": theme.ROLE_COLOURS[role], "width": 3},
                hoverinfo="skip",
                name=role,
                legendrank=theme.ROLES.index(role),
                legend=legend_of(role, roles),
                legendgroup=role,
                meta={"cell": cell, "what": "role", "role": role},
            )
        )
    return marks


def struck_through(keys: pd.DataFrame, pieces: Sequence[Piece], cell: str, dark: bool) -> go.Scatter:
    """A line through every hidden token."""
    hidden = [piece for piece in pieces if keys["hidden"][piece.token]]
    return go.Scatter(
        x=[value for piece in hidden for value in (piece.start + 0.05, piece.end - 0.05, None)],
        y=[value for piece in hidden for value in (piece.line + 0.55, piece.line + 0.55, None)],
        mode="lines",
        line={"color": theme.page(dark).ink, "width": 1.3},
        hoverinfo="skip",
        name="hidden",
        legend="legend",
        legendgroup=HIDDEN,
        meta={"cell": cell, "what": "struck"},
    )


def hatched(keys: pd.DataFrame, rows: int, cell: str, dark: bool) -> go.Bar:
    """Hatching over the columns of the matrix that belong to hidden keys, a bar per run of them."""
    runs = (keys["hidden"] != keys["hidden"].shift()).cumsum()
    hidden = [run.index for _, run in keys.groupby(runs, sort=False) if run["hidden"].iloc[0]]
    style = theme.page(dark)
    return go.Bar(
        x=[run[0] + (len(run) - 1) / 2 for run in hidden],
        y=[rows for _ in hidden],
        base=-0.5,
        width=[len(run) for run in hidden],
        marker={
            "color": style.paper,
            "line": {"width": 0},
            "pattern": {
                "shape": "/",
                "fgcolor": style.zero,
                "bgcolor": style.paper,
                "size": 5,
                "solidity": 0.25,
            },
        },
        hoverinfo="skip",
        showlegend=False,
        legendgroup=HIDDEN,
        meta={"cell": cell, "what": "hatched"},
    )


def role_strip(keys: pd.DataFrame, cell: str) -> list[go.Bar]:
    """The roles of the keys above the matrix: a bar per run of keys with the same role."""
    runs = (keys["role"] != keys["role"].shift()).cumsum()
    strips = []
    for _, run in keys.groupby(runs, sort=False):
        role = str(run["role"].iloc[0])
        strips.append(
            go.Bar(
                x=[run.index[0] + (len(run) - 1) / 2],
                y=[1],
                width=[len(run)],
                marker={"color": theme.ROLE_COLOURS[role], "line": {"width": 0}},
                hovertemplate=f"{role}: {len(run)} tokens<extra></extra>",
                showlegend=False,
                meta={"cell": cell, "what": "strip", "role": role},
            )
        )
    return strips
