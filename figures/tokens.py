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
from figures.ledger import known_roles, legend_titles
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, colour_bar, dressed, panel_heading
from figures.token_layout import Piece, character_grid, laid_out, shown_token
from figures.token_marks import HIDDEN, hatched, role_marks, role_strip, struck_through
from figures.token_measures import SHARE, TokenMeasure, whole_means

TOKEN_COLUMNS = ("cell", "block", "layer", "head", "row", "row_token", "key", "key_token", "role")
CHARACTER_WIDTH = 7.0
LINE_HEIGHT = 19
TEXT_SIZE = 11
STRIP_HEIGHT = 12
MATRIX_ROW = 17
GAP = 34
#: Between two cells below each other: the axis of the one above and the name of the one below.
GAP_BETWEEN = 74
#: Characters in a line of text, by how many cells stand beside each other; on a phone none does.
ACROSS, NARROW_ACROSS = {1: 124, 2: 66}, 40


@redrawable
def token_view(
    tokens: pd.DataFrame,
    *,
    layer: int,
    head: int | None = None,
    row: int | None = None,
    cells: Sequence[str] | None = None,
    largest: float | None = None,
    measure: TokenMeasure = SHARE,
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """One example's attention, token by token: shaded text above, a matrix of answer rows by keys below.

    Shades grow with the square root of the share, so that small shares show beside a sink. Keys that are hidden
    are no keys with a small share: they are struck through in the text and hatched in the matrix. Keys of a merged
    softmax stand in one picture; where self- and cross-attention are separate, the keys of each sum to 1 by
    themselves.

    Args:
        tokens: columns cell, block, layer, head, row (index of the answer row), row_token (its text), key
            (position of the key, in drawing order), key_token, role (of the key), the measure's; one example. A true
            `hidden` says that the decoder does not see the key.
        layer: which layer.
        head: which head; None: the mean over heads.
        row: which answer row shades the text; None: the mean over rows.
        cells: one cell, or two side by side (on a phone below each other); by default the first two of the
            table.
        largest: size of the value with the deepest shade; by default the largest one drawn.
        measure: what is drawn: share of attention, or what rows take from keys.
        title: heading.
        dark: dark page.
        narrow: for a phone.

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
        required=(*TOKEN_COLUMNS, measure.column),
        numbers=("layer", "head", "row", "key", measure.column),
        keys=("cell", "block", "layer", "head", "row", "key"),
    )
    table["cell"] = table["cell"].astype(str)
    table["value"] = table[measure.column]
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
    matrices = {cell: matrix(table[table["cell"] == cell], measure) for cell in order}
    shades = {cell: shade_of(shares, row) for cell, (shares, _) in matrices.items()}
    drawn = [
        *(shares.to_numpy() for shares, _ in matrices.values()),
        *(s.to_numpy() for s in shades.values()),
    ]
    top = largest or max(float(np.nanmax(np.abs(part), initial=0.0)) for part in drawn) or 1.0
    across = NARROW_ACROSS if narrow else ACROSS[len(order)]
    frame = Frame(
        width=round(96 + 100 + len(order) * across * CHARACTER_WIDTH + 60 * (len(order) - 1)),
        left=96,
        right=100,
    ).fitted(narrow, left=70, bar=True)
    keys = {cell: key_table(table[table["cell"] == cell]) for cell in order}
    laid = {cell: laid_out(list(keys[cell]["key_token"]), across) for cell in order}
    figure = empty_view(laid, matrices, frame)
    in_legend: set[str] = set()
    annotations = []
    for place, cell in enumerate(order):
        column, top_row = (1, 3 * place + 1) if narrow else (place + 1, 1)
        shares, row_tokens = matrices[cell]
        lines = max(piece.line for piece in laid[cell]) + 1
        for trace in text_traces(keys[cell], laid[cell], shades[cell], cell, across, top, measure, dark):
            figure.add_trace(trace, row=top_row, col=column)
        for trace in role_marks(keys[cell], laid[cell], roles, cell):
            trace.showlegend = trace.name not in in_legend
            in_legend.add(str(trace.name))
            figure.add_trace(trace, row=top_row, col=column)
        for strip in role_strip(keys[cell], cell):
            figure.add_trace(strip, row=top_row + 1, col=column)
        figure.add_trace(
            value_map(shares, row_tokens, keys[cell], cell, measure), row=top_row + 2, col=column
        )
        if keys[cell]["hidden"].any():
            struck = struck_through(keys[cell], laid[cell], cell, dark)
            struck.showlegend = HIDDEN not in in_legend
            in_legend.add(HIDDEN)
            figure.add_trace(struck, row=top_row, col=column)
            figure.add_trace(hatched(keys[cell], len(shares), cell, dark), row=top_row + 2, col=column)
        text_lines = lines if narrow else most_lines(laid)
        figure.update_xaxes(range=[0, across], visible=False, row=top_row, col=column)
        figure.update_yaxes(range=[text_lines, 0], visible=False, row=top_row, col=column)
        figure.update_xaxes(range=[-0.5, len(keys[cell]) - 0.5], visible=False, row=top_row + 1, col=column)
        figure.update_yaxes(range=[0, 1], visible=False, row=top_row + 1, col=column)
        figure.update_xaxes(
            range=[-0.5, len(keys[cell]) - 0.5],
            showgrid=False,
            title_text="key (position)",
            row=top_row + 2,
            col=column,
        )
        figure.update_yaxes(
            range=[len(shares) - 0.5, -0.5],
            tickvals=list(range(len(shares))),
            ticktext=[
                panel_title(f"{index:g} {shown_token(token)}", 8 if narrow else 12, 1)
                for index, token in row_tokens.items()
            ],
            showgrid=False,
            title_text="answer row" if column == 1 else None,
            tickfont={"family": theme.MONOSPACE, "size": 10},
            row=top_row + 2,
            col=column,
        )
        heading = panel_title(labels[cell], across - 4, 1)
        annotations.append(panel_heading(figure, top_row, column, heading, hover=escaped(cell), dark=dark))
    figure.update_layout(coloraxis=shade_axis(top, measure, figure, frame, dark), width=frame.width, bargap=0)
    rows_word = "mean over the rows that see a key" if row is None else f"answer row {row}"
    heads_word = f"{over_heads(measure)} {table['head'].nunique()} heads" if head is None else f"head {head}"
    missing = missing_rows(table, "value", ("cell", "role"), "row")
    blocks = list(dict.fromkeys(table["block"].astype(str)))
    counts = " and ".join(f"{len(matrices[cell][0])} rows × {len(keys[cell])} keys" for cell in order)
    hidden_word = f"struck through, hatched: {HIDDEN} · " if HIDDEN in in_legend else ""
    return dressed(
        figure,
        title=escaped(title) if title else f"{heading_of(measure)}: layer {layer}, {heads_word}",
        subtitle=f"n = 1 example, {counts} · text: {rows_word}, underlined by role · {hidden_word}"
        + whole_of(measure, blocks),
        notes=[missing_note(missing, ("cell", "role"), "row", labels)],
        frame=frame,
        dark=dark,
        legends=legend_titles(roles),
        annotations=annotations,
        missing=missing,
    )


def matrix(table: pd.DataFrame, measure: TokenMeasure) -> tuple[pd.DataFrame, pd.Series]:
    """Values as a table [answer row, key], the mean (or sum) over the heads given, and the text of each row.

    A mean with an undefined value in it is undefined.
    """
    ordered = table.sort_values(["row", "key"])
    mean = whole_means(ordered.groupby(["row", "key"])["value"])
    heads = table["head"].nunique() if measure.adds_heads else 1
    return (heads * mean).unstack("key"), ordered.groupby("row")["row_token"].first()


def over_heads(measure: TokenMeasure) -> str:
    """What is done over heads."""
    return "sum over" if measure.adds_heads else "mean over"


def heading_of(measure: TokenMeasure) -> str:
    """The heading of a view that is given none."""
    return "Where the answer looks" if measure == SHARE else f"What the answer takes ({measure.label})"


def whole_of(measure: TokenMeasure, blocks: Sequence[str]) -> str:
    """What values of a row are parts of."""
    if measure != SHARE:
        return f"{measure.label}; purple: below 0" if measure.signed else measure.label
    return "one softmax over all keys" if list(blocks) == ["merged"] else "self and cross each sum to 100 %"


def shade_of(shares: pd.DataFrame, row: int | None) -> pd.Series:
    """Share of every key in one answer row, or its mean over the rows that see the key."""
    return (
        shares.mean(axis=0)
        if row is None
        else pd.Series(shares.loc[[float(row)]].to_numpy()[0], index=shares.columns)
    )


def key_table(table: pd.DataFrame) -> pd.DataFrame:
    """key, key_token, role, block and hidden of every key, in the order of the keys."""
    hidden = table["hidden"].fillna(False).astype(bool) if "hidden" in table.columns else False
    return (
        table.assign(hidden=hidden)
        .drop_duplicates("key")
        .sort_values("key")[["key", "key_token", "role", "block", "hidden"]]
        .reset_index(drop=True)
    )


def most_lines(laid: dict[str, list[Piece]]) -> int:
    """Lines of text of the longer of the cells."""
    return max(piece.line for pieces in laid.values() for piece in pieces) + 1


def empty_view(
    laid: dict[str, list[Piece]],
    matrices: dict[str, tuple[pd.DataFrame, pd.Series]],
    frame: Frame,
) -> go.Figure:
    """Text, strip of roles and matrix below each other, one column per cell; on a phone cell below cell."""
    if frame.narrow:
        groups = [
            cell_heights(max(piece.line for piece in laid[cell]) + 1, len(shares))
            for cell, (shares, _) in matrices.items()
        ]
        columns = 1
    else:
        groups = [cell_heights(most_lines(laid), max(len(shares) for shares, _ in matrices.values()))]
        columns = len(laid)
    inner = sum(sum(heights) + GAP for heights in groups) + GAP_BETWEEN * (len(groups) - 1)
    figure = make_subplots(
        rows=3 * len(groups),
        cols=columns,
        vertical_spacing=0.01,
        horizontal_spacing=60 / frame.inner if columns > 1 else 0,
    )
    # plotly has one gap for all rows; here the strip stands on the matrix, and the text apart from both.
    top = float(inner)
    for group, (text, strip, shares_height) in enumerate(groups):
        bottom = top - text - GAP - strip - shares_height
        domains = (
            [top - text, top],
            [bottom + shares_height + 2, bottom + shares_height + strip],
            [bottom, bottom + shares_height],
        )
        for row, domain in enumerate(domains, start=1):
            figure.update_yaxes(domain=[max(end / inner, 0.0) for end in domain], row=3 * group + row)
        top = bottom - GAP_BETWEEN
    figure.update_layout(height=inner)
    return figure


def cell_heights(lines: int, rows: int) -> tuple[int, int, int]:
    """Heights of text, strip and matrix, in pixels."""
    return lines * LINE_HEIGHT, STRIP_HEIGHT, max(rows * MATRIX_ROW, 60)


def shade_axis(top: float, measure: TokenMeasure, figure: go.Figure, frame: Frame, dark: bool) -> dict:
    """The colour axis of text and matrix: colour follows the square root of the size."""
    bar = colour_bar(figure, frame, measure.bar_title, length=180, tickformat=measure.bar_format)
    return {**measure.colour_axis(top, dark), "colorbar": bar}


def text_traces(
    keys: pd.DataFrame,
    pieces: Sequence[Piece],
    shades: pd.Series,
    cell: str,
    across: int,
    top: float,
    measure: TokenMeasure,
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
        + (HIDDEN if keys["hidden"][i] else measure.words(shares[i]))
        for i in range(len(keys))
    ]
    hovers = np.where(inside, np.array(hover, dtype=object)[where], "")
    ink = [measure.ink(shares[piece.token], top, dark) for piece in pieces]
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


def value_map(
    shares: pd.DataFrame, row_tokens: pd.Series, keys: pd.DataFrame, cell: str, measure: TokenMeasure
) -> go.Heatmap:
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
            [
                f"row {row}<br>key {key:g} {word}" + (f"<br>{HIDDEN}" if hidden else "")
                for key, word, hidden in zip(keys["key"], words, keys["hidden"], strict=True)
            ]
            for row in rows
        ],
        coloraxis="coloraxis",
        hoverongaps=True,
        hovertemplate=f"%{{text}}<br>{escaped(measure.label)} %{{z:{measure.hover_format}}}<extra></extra>",
        meta={"cell": cell, "what": "matrix"},
    )
