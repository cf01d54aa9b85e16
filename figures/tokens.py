"""The token view: where the rows of an answer look, as shaded text and as a matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from figures import theme
from figures.columns import checked, chosen, named
from figures.labels import cell_labels, escaped, panel_title, unmarked
from figures.ledger import known_roles, legend_of, legend_titles
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, dressed, panel_heading
from figures.token_layout import Piece, character_grid, laid_out, shown_token

TOKEN_COLUMNS = ("cell", "block", "layer", "head", "row", "row_token", "key", "key_token", "role", "share")
CHARACTER_WIDTH = 7.0
LINE_HEIGHT = 19
TEXT_SIZE = 11
STRIP_HEIGHT = 12
MATRIX_ROW = 17
GAP = 34


def token_view(
    tokens: pd.DataFrame,
    *,
    layer: int,
    head: int | None = None,
    row: int | None = None,
    cells: Sequence[str] | None = None,
    largest: float | None = None,
    title: str | None = None,
    dark: bool = False,
) -> go.Figure:
    """One example's attention, token by token: shaded text above, a matrix of answer rows by keys below.

    Shades grow with the square root of the share, so that small shares show beside a sink. Keys of a merged
    softmax stand in one picture; where self- and cross-attention are separate, the keys of each sum to 1 by
    themselves.

    Args:
        tokens: columns cell, block, layer, head, row (index of the answer row), row_token (its text), key
            (position of the key, in drawing order), key_token, role (of the key), share; one example.
        layer: which layer.
        head: which head; None: the mean over heads.
        row: which answer row shades the text; None: the mean over rows.
        cells: one cell, or two side by side; by default the first two of the table.
        largest: share with the deepest shade; by default the largest one drawn.
        title: heading.
        dark: dark page.

    Returns:
        A figure of fixed width: the text is set in characters of fixed width.

    Raises:
        ValueError: missing columns, no rows, repeated rows, unknown cells, layer, head or row, or more than
            two cells.
    """
    name = "token_view"
    table = checked(
        tokens,
        name,
        required=TOKEN_COLUMNS,
        numbers=("layer", "head", "row", "key", "share"),
        keys=("cell", "block", "layer", "head", "row", "key"),
    )
    table["cell"] = table["cell"].astype(str)
    order = chosen(table["cell"], cells, name, "cells")
    order = order if cells else order[:2]
    if len(order) > 2:
        raise ValueError(f"{name}: at most two cells stand side by side; given: {named(order)}")
    labels = cell_labels(table)
    for key, value in (("layer", layer), ("head", head), ("row", row)):
        if value is not None and value not in set(table[key]):
            known = ", ".join(f"{v:g}" for v in sorted(table[key].unique()))
            raise ValueError(f"{name}: unknown {key}: {value}; known: {known}")
    table = table[table["cell"].isin(order) & (table["layer"] == layer)]
    table = table if head is None else table[table["head"] == head]
    if table.empty:
        raise ValueError(f"{name}: no rows for cells {named(order)}, layer {layer}, head {head}")
    roles = known_roles(list(table["role"]), name)
    matrices = {cell: matrix(table[table["cell"] == cell]) for cell in order}
    shades = {cell: shade_of(shares, row) for cell, (shares, _) in matrices.items()}
    drawn = [
        *(shares.to_numpy() for shares, _ in matrices.values()),
        *(s.to_numpy() for s in shades.values()),
    ]
    top = largest or max(float(np.nanmax(part, initial=0.0)) for part in drawn) or 1.0
    across = 124 if len(order) == 1 else 66
    frame = Frame(
        width=round(96 + 100 + len(order) * across * CHARACTER_WIDTH + 60 * (len(order) - 1)),
        left=96,
        right=100,
    )
    keys = {cell: key_table(table[table["cell"] == cell]) for cell in order}
    laid = {cell: laid_out(list(keys[cell]["key_token"]), across) for cell in order}
    figure = empty_view(len(order), laid, matrices, frame)
    in_legend: set[str] = set()
    annotations = []
    for column, cell in enumerate(order, start=1):
        shares, row_tokens = matrices[cell]
        lines = max(piece.line for piece in laid[cell]) + 1
        for trace in text_traces(keys[cell], laid[cell], shades[cell], cell, across, top, dark):
            figure.add_trace(trace, row=1, col=column)
        for trace in role_marks(keys[cell], laid[cell], roles, cell):
            trace.showlegend = trace.name not in in_legend
            in_legend.add(str(trace.name))
            figure.add_trace(trace, row=1, col=column)
        for strip in role_strip(keys[cell], cell):
            figure.add_trace(strip, row=2, col=column)
        figure.add_trace(share_map(shares, row_tokens, keys[cell], cell), row=3, col=column)
        figure.update_xaxes(range=[0, across], visible=False, row=1, col=column)
        figure.update_yaxes(range=[max(lines, most_lines(laid)), 0], visible=False, row=1, col=column)
        figure.update_xaxes(range=[-0.5, len(keys[cell]) - 0.5], visible=False, row=2, col=column)
        figure.update_yaxes(range=[0, 1], visible=False, row=2, col=column)
        figure.update_xaxes(
            range=[-0.5, len(keys[cell]) - 0.5],
            showgrid=False,
            title_text="key (position)",
            row=3,
            col=column,
        )
        figure.update_yaxes(
            range=[len(shares) - 0.5, -0.5],
            tickvals=list(range(len(shares))),
            ticktext=[
                panel_title(f"{index:g} {shown_token(token)}", 12, 1) for index, token in row_tokens.items()
            ],
            showgrid=False,
            title_text="answer row" if column == 1 else None,
            tickfont={"family": theme.MONOSPACE, "size": 10},
            row=3,
            col=column,
        )
        heading = panel_title(labels[cell], across - 4, 1)
        annotations.append(panel_heading(figure, 1, column, heading, hover=escaped(cell), dark=dark))
    figure.update_layout(coloraxis=shade_axis(top, dark), width=frame.width, bargap=0)
    rows_word = "mean over the rows that see a key" if row is None else f"answer row {row}"
    heads_word = f"mean over {table['head'].nunique()} heads" if head is None else f"head {head}"
    missing = missing_rows(table, "share", ("cell", "role"), "row")
    blocks = list(dict.fromkeys(table["block"].astype(str)))
    counts = " and ".join(f"{len(matrices[cell][0])} rows × {len(keys[cell])} keys" for cell in order)
    return dressed(
        figure,
        title=escaped(title) if title else f"Where the answer looks: layer {layer}, {heads_word}",
        subtitle=f"n = 1 example, {counts} | text: {rows_word}, underlined by role | "
        + ("one softmax over all keys" if blocks == ["merged"] else "self and cross each sum to 100 %"),
        notes=[missing_note(missing, ("cell", "role"), "row", labels)],
        frame=frame,
        dark=dark,
        legends=legend_titles(roles),
        annotations=annotations,
        missing=missing,
    )


def matrix(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Shares as a table [answer row, key], the mean over the heads given, and the text of each row.

    A mean with an undefined share in it is undefined.
    """
    ordered = table.sort_values(["row", "key"])
    mean = ordered.groupby(["row", "key"])["share"].mean(skipna=False)
    return mean.unstack("key"), ordered.groupby("row")["row_token"].first()


def shade_of(shares: pd.DataFrame, row: int | None) -> pd.Series:
    """Share of every key in one answer row, or its mean over the rows that see the key."""
    return (
        shares.mean(axis=0)
        if row is None
        else pd.Series(shares.loc[[float(row)]].to_numpy()[0], index=shares.columns)
    )


def key_table(table: pd.DataFrame) -> pd.DataFrame:
    """key, key_token and role of every key, in the order of the keys."""
    return (
        table.drop_duplicates("key")
        .sort_values("key")[["key", "key_token", "role", "block"]]
        .reset_index(drop=True)
    )


def most_lines(laid: dict[str, list[Piece]]) -> int:
    """Lines of text of the longer of the cells."""
    return max(piece.line for pieces in laid.values() for piece in pieces) + 1


def empty_view(
    columns: int,
    laid: dict[str, list[Piece]],
    matrices: dict[str, tuple[pd.DataFrame, pd.Series]],
    frame: Frame,
) -> go.Figure:
    """Text, strip of roles and matrix below each other, one column per cell."""
    rows = max(len(shares) for shares, _ in matrices.values())
    heights = [most_lines(laid) * LINE_HEIGHT, STRIP_HEIGHT, max(rows * MATRIX_ROW, 60)]
    inner = sum(heights) + GAP
    width = frame.width - frame.left - frame.right
    figure = make_subplots(
        rows=3,
        cols=columns,
        vertical_spacing=0.01,
        horizontal_spacing=60 / width if columns > 1 else 0,
    )
    # plotly has one gap for all rows; here the strip stands on the matrix, and the text apart from both.
    top_of_strip = (heights[1] + heights[2]) / inner
    top_of_matrix = heights[2] / inner
    domains = ([1 - heights[0] / inner, 1], [top_of_matrix + 2 / inner, top_of_strip], [0, top_of_matrix])
    for row, domain in enumerate(domains, start=1):
        figure.update_yaxes(domain=domain, row=row)
    figure.update_layout(height=inner)
    return figure


def shade_axis(top: float, dark: bool) -> dict:
    """The colour axis of text and matrix: colour follows the square root of the share."""
    scale = theme.SEQUENTIAL_DARK if dark else theme.SEQUENTIAL
    return {
        "colorscale": [[stop**2, colour] for stop, colour in scale],
        "cmin": 0,
        "cmax": top,
        "colorbar": {
            "title": {"text": "share (%)", "font": {"size": theme.SMALL_SIZE}},
            "tickformat": ".1~%",
            "tickfont": {"size": theme.SMALL_SIZE},
            "thickness": 12,
            "outlinewidth": 0,
            "lenmode": "pixels",
            "len": 180,
            "yanchor": "top",
            "y": 1,
        },
    }


def text_traces(
    keys: pd.DataFrame,
    pieces: Sequence[Piece],
    shades: pd.Series,
    cell: str,
    across: int,
    top: float,
    dark: bool,
) -> list[go.Heatmap | go.Scatter]:
    """The shaded text: a map of characters, and the tokens on it."""
    shares = shades.reindex(keys["key"]).to_numpy(dtype=float)
    lines = max(piece.line for piece in pieces) + 1
    grid = character_grid(pieces, lines, across)
    inside = grid >= 0
    where = np.where(inside, grid, 0)
    z = np.where(inside, shares[where], np.nan)
    text = [escaped(shown_token(token)) for token in keys["key_token"]]
    hover = [
        f"<b>{text[i][:200]}</b><br>key {keys['key'][i]:g}, {keys['role'][i]}<br>"
        + ("share undefined" if np.isnan(shares[i]) else f"share {100 * shares[i]:.3f} %")
        for i in range(len(keys))
    ]
    hovers = np.where(inside, np.array(hover, dtype=object)[where], "")
    ink = [theme.readable_on(shares[piece.token], top, dark) for piece in pieces]
    return [
        go.Heatmap(
            x=np.arange(across) + 0.5,
            y=np.arange(lines) + 0.5,
            z=z,
            text=hovers,
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate="%{text}<extra></extra>",
            ygap=4,
            meta={"cell": cell, "what": "text"},
        ),
        go.Scatter(
            x=[piece.start for piece in pieces],
            y=[piece.line + 0.5 for piece in pieces],
            text=[with_spaces(piece.text) for piece in pieces],
            customdata=[piece.token for piece in pieces],
            mode="text",
            textposition="middle right",
            textfont={"family": theme.MONOSPACE, "size": TEXT_SIZE, "color": ink},
            hoverinfo="skip",
            showlegend=False,
            cliponaxis=False,
            meta={"cell": cell, "what": "tokens"},
        ),
    ]


def with_spaces(text: str) -> str:
    """Escaped text whose spaces keep their width."""
    return unmarked(text.replace(" ", "\N{NO-BREAK SPACE}"))


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
                legend=legend_of(role, roles),
                legendgroup=role,
                meta={"cell": cell, "what": "role", "role": role},
            )
        )
    return marks


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


def share_map(shares: pd.DataFrame, row_tokens: pd.Series, keys: pd.DataFrame, cell: str) -> go.Heatmap:
    """The matrix of answer rows by keys."""
    words = [
        f"{escaped(shown_token(token))[:120]} ({role})"
        for token, role in zip(keys["key_token"], keys["role"], strict=True)
    ]
    rows = [f"{index:g} {escaped(shown_token(token))[:120]}" for index, token in row_tokens.items()]
    return go.Heatmap(
        z=shares.to_numpy(),
        x=np.arange(len(keys)),
        y=np.arange(len(shares)),
        text=[
            [f"row {row}<br>key {key:g} {word}" for key, word in zip(keys["key"], words, strict=True)]
            for row in rows
        ],
        coloraxis="coloraxis",
        hoverongaps=True,
        hovertemplate="%{text}<br>share %{z:.3%}<extra></extra>",
        meta={"cell": cell, "what": "matrix"},
    )
