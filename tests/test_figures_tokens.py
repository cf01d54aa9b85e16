"""The token view: every token is there, shaded by its share, in text and matrix."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import figures
from figures import theme
from figures.token_layout import character_grid, character_width, laid_out, shown_token
from figures.token_measures import SHARE, TokenMeasure
from tests.figure_tables import CELLS, tokens_table

ONE, TWO = CELLS[6], CELLS[7]


def traces(figure: go.Figure, what: str) -> dict[str, list]:
    """Traces of one kind by cell."""
    found: dict[str, list] = {}
    for trace in figure.data:
        if trace.meta["what"] == what:
            found.setdefault(trace.meta["cell"], []).append(trace)
    return found


def chosen(table: pd.DataFrame, cell: str, layer: int, head: int) -> pd.DataFrame:
    return table[(table.cell == cell) & (table.layer == layer) & (table["head"] == head)]


def test_matrix_holds_the_shares_of_the_chosen_layer_and_head() -> None:
    table = tokens_table(document=10)
    figure = figures.token_view(table, layer=20, head=3)
    maps = traces(figure, "matrix")
    assert list(maps) == [ONE, TWO]
    for cell, (trace,) in maps.items():
        expected = np.full((6, 28), np.nan)
        for record in chosen(table, cell, 20, 3).to_dict("records"):
            expected[record["row"], record["key"]] = record["share"]
        np.testing.assert_array_equal(trace.z, expected)
        assert "document" in trace.text[0][10]
    assert "n = 1 example, 6 rows × 28 keys" in figure.layout.title.subtitle.text


def test_mean_over_heads_is_stated_and_is_one() -> None:
    table = tokens_table(document=10)
    figure = figures.token_view(table, layer=5, cells=[ONE])
    expected = (
        chosen(table, ONE, 5, 0)["share"].to_numpy() + chosen(table, ONE, 5, 3)["share"].to_numpy()
    ) / 2
    drawn = np.asarray(traces(figure, "matrix")[ONE][0].z)
    np.testing.assert_allclose(drawn[~np.isnan(drawn)], expected)
    assert "mean over 2 heads" in figure.layout.title.text


@pytest.mark.parametrize("row", [None, 2])
def test_text_holds_every_token_shaded_by_its_share(row: int | None) -> None:
    table = tokens_table(document=60)
    figure = figures.token_view(table, layer=20, head=0, row=row)
    for cell in (ONE, TWO):
        rows = chosen(table, cell, 20, 0)
        per_key = (
            rows.groupby("key")["share"].mean()
            if row is None
            else rows[rows.row == row].set_index("key")["share"]
        )
        (text,), (tokens,) = traces(figure, "text")[cell], traces(figure, "tokens")[cell]
        first = rows.drop_duplicates("key").sort_values("key")
        shown = dict.fromkeys(tokens.customdata)
        assert list(shown) == list(range(len(first)))
        for x, y, word, token in zip(tokens.x, tokens.y, tokens.text, tokens.customdata, strict=True):
            share = per_key.get(token, np.nan)
            z = text.z[int(y), int(x)]
            assert z == pytest.approx(share, abs=1e-15) or (np.isnan(z) and np.isnan(share))
            original = first["key_token"].iloc[token].replace("\n", "⏎").replace(" ", "\N{NO-BREAK SPACE}")
            assert word.replace("&lt;", "<").replace("&gt;", ">") == original


def test_every_token_is_underlined_in_the_colour_of_its_role_and_the_strip_counts_them() -> None:
    table = tokens_table(document=12)
    figure = figures.token_view(table, layer=20, head=0, cells=[ONE])
    marks = {trace.meta["role"]: trace for trace in traces(figure, "role")[ONE]}
    assert list(marks) == list(theme.ROLES)
    counts = chosen(table, ONE, 20, 0).drop_duplicates("key")["role"].value_counts()
    assert {role: len(trace.x) // 3 for role, trace in marks.items()} == counts.to_dict()
    assert all(trace.line.color == theme.ROLE_COLOURS[role] for role, trace in marks.items())
    strip = traces(figure, "strip")[ONE]
    assert {bar.meta["role"]: bar.width[0] for bar in strip} == counts.to_dict()
    assert strip[0].x[0] - strip[0].width[0] / 2 == -0.5


def hidden_prefix(document: int = 12) -> pd.DataFrame:
    """A table in whose first cell prefix and separator are hidden, with a share of exactly 0."""
    table = tokens_table(document=document)
    hidden = (table["cell"] == ONE) & table["role"].isin(["prefix", "separator"])
    table.loc[hidden, "share"] = 0.0
    return table.assign(hidden=hidden)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("narrow", [False, True])
def test_hidden_keys_are_struck_through_and_hatched_and_no_others(dark: bool, narrow: bool) -> None:
    table = hidden_prefix()
    figure = figures.token_view(table, layer=20, head=0, dark=dark, narrow=narrow)
    (struck,) = traces(figure, "struck")[ONE]
    (hatched,) = traces(figure, "hatched")[ONE]
    assert set(traces(figure, "struck")) == set(traces(figure, "hatched")) == {ONE}
    keys = chosen(table, ONE, 20, 0).drop_duplicates("key").sort_values("key").reset_index(drop=True)
    expected = set(keys.index[keys["hidden"]])
    # The strokes lie on the pieces of the hidden tokens, in the axes of the text.
    (tokens,) = traces(figure, "tokens")[ONE]
    pieces = {
        (x, y) for x, y, token in zip(tokens.x, tokens.y, tokens.customdata, strict=True) if token in expected
    }
    strokes = {
        (round(x - 0.05), round(y - 0.05, 6)) for x, y in zip(struck.x[::3], struck.y[::3], strict=True)
    }
    assert strokes == pieces
    assert (struck.xaxis, struck.yaxis) == (tokens.xaxis, tokens.yaxis)
    # The hatching covers their columns of the matrix, from its first row to its last.
    (matrix,) = traces(figure, "matrix")[ONE]
    covered = {
        column
        for centre, width in zip(hatched.x, hatched.width, strict=True)
        for column in range(round(centre - width / 2 + 0.5), round(centre + width / 2 + 0.5))
    }
    assert covered == expected
    assert (hatched.base, set(hatched.y)) == (-0.5, {len(matrix.y)})
    assert (hatched.xaxis, hatched.yaxis) == (matrix.xaxis, matrix.yaxis)
    assert hatched.marker.pattern.shape == "/"
    # The numbers stay those of the table, and hovers say what they mean.
    assert np.all(np.asarray(matrix.z)[:, sorted(expected)] == 0)
    (text,) = traces(figure, "text")[ONE]
    for place in range(len(keys)):
        said = [entry for line in text.text for entry in line if f"key {keys['key'][place]}," in entry]
        assert all(("hidden from the decoder" in entry) == (place in expected) for entry in said)
        assert ("hidden from the decoder" in matrix.text[0][place]) == (place in expected)
    subtitle = figure.layout.title.subtitle.text.replace("<br>", " ")
    assert "struck through, hatched: hidden from the decoder" in subtitle
    assert [trace.name for trace in figure.data if trace.meta["what"] == "struck" and trace.showlegend] == [
        "hidden"
    ]


def test_without_hidden_keys_nothing_is_said_of_them() -> None:
    figure = figures.token_view(tokens_table(document=12), layer=20)
    assert traces(figure, "struck") == traces(figure, "hatched") == {}
    assert "hidden" not in figure.layout.title.subtitle.text


def test_legend_has_the_roles_in_their_order_whatever_the_first_cell_lacks() -> None:
    table = tokens_table(document=12)
    table = table[(table["cell"] != ONE) | ~table["role"].isin(["prefix", "bos"])]
    marks = [trace for trace in figures.token_view(table, layer=20).data if trace.meta["what"] == "role"]
    ranks = {trace.name: trace.legendrank for trace in marks}
    assert sorted(ranks, key=ranks.__getitem__) == list(theme.ROLES)


def test_cells_stand_below_each_other_on_a_phone() -> None:
    figure = figures.token_view(tokens_table(document=30), layer=20, narrow=True)
    domains = {
        cell: [figure.layout[f"yaxis{trace.yaxis[1:]}"].domain for trace in found]
        for what in ("text", "matrix")
        for cell, found in traces(figure, what).items()
    }
    assert max(high for _, high in domains[TWO]) < min(low for low, _ in domains[ONE])
    assert figure.layout.width == 362


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 6}, "unknown layer: 6; known: 5, 20"),
        ({"layer": 5, "head": 1}, "unknown head: 1; known: 0, 3"),
        ({"layer": 5, "row": 9}, "unknown row: 9; known: 0, 1, 2, 3, 4, 5"),
        ({"layer": 5, "cells": ["bare"]}, "unknown cells: bare"),
    ],
)
def test_unknown_choices_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figures.token_view(tokens_table(document=3), **arguments)


def test_more_than_two_cells_are_refused() -> None:
    table = tokens_table(3, document=3)
    with pytest.raises(ValueError, match="at most two cells"):
        figures.token_view(table, layer=5, cells=list(table.cell.unique()))


def test_lines_hold_every_character_once_and_never_overlap() -> None:
    generator = np.random.default_rng(11)
    letters = [*"abc d", "\N{GREEK SMALL LETTER ALPHA}", "\u6f22", "\U0001f9e0", "e\u0301", "\u05d0"]
    tokens = ["".join(generator.choice(letters, generator.integers(1, 40))) for _ in range(120)] + [
        "x" * 10_000,
        "\n",
        "y",
    ]
    pieces = laid_out(tokens, 50)
    whole = ["" for _ in tokens]
    for piece in pieces:
        whole[piece.token] += piece.text
        assert 0 <= piece.start < piece.end <= 50
        assert sum(map(character_width, piece.text)) in (piece.end - piece.start, 0)
    assert whole == [shown_token(token) for token in tokens]
    grid = character_grid(pieces, pieces[-1].line + 1, 50)
    assert (grid >= 0).sum() == sum(piece.end - piece.start for piece in pieces)
    assert pieces[-1].start == 0


@pytest.mark.parametrize(
    ("token", "shown"),
    [("a\nb", "a⏎b"), ("\t", "⇥"), ("", "∅"), ("\u202ex", "⟨U+202E⟩x"), ("\x00", "⟨U+0000⟩")],
)
def test_unseen_characters_are_written_out(token: str, shown: str) -> None:
    assert shown_token(token) == shown


@pytest.mark.parametrize("dark", [False, True])
def test_token_text_keeps_its_contrast_on_every_shade(dark: bool) -> None:
    """WCAG AA for text, against a luminance computed here from the interpolated colour."""
    scale = theme.SEQUENTIAL_DARK if dark else theme.SEQUENTIAL
    for share in np.linspace(0, 1, 101):
        place = np.sqrt(share)
        stops = np.array([stop for stop, _ in scale])
        colours = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for _, c in scale]) / 255
        rgb = np.array([np.interp(place, stops, colours[:, k]) for k in range(3)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        light = float(linear @ [0.2126, 0.7152, 0.0722])
        ink = round(int(SHARE.ink(float(share), 1.0, dark)[1:], 16) / 0xFFFFFF)
        assert (max(light, ink) + 0.05) / (min(light, ink) + 0.05) >= 4.5


SIGNED = TokenMeasure(
    column="effect", label="part of the logit", unit="logits", percent=False, signed=True, adds_heads=True
)


@pytest.mark.parametrize("dark", [False, True])
def test_a_signed_measure_has_a_diverging_scale_around_zero_and_adds_heads(dark: bool) -> None:
    table = tokens_table(document=10)
    table["effect"] = 0.5 - table["share"] * 3
    figure = figures.token_view(table, layer=5, cells=[ONE], measure=SIGNED, dark=dark)
    axis = figure.layout.coloraxis
    assert axis.cmin == -axis.cmax
    scale = theme.DIVERGING_DARK if dark else theme.DIVERGING
    assert [colour for _, colour in axis.colorscale] == [colour for _, colour in scale]
    assert [place for place, _ in axis.colorscale] == [0.0, 0.375, 0.5, 0.625, 1.0]
    both = [chosen(table, ONE, 5, head)["effect"].to_numpy() for head in (0, 3)]
    drawn = np.asarray(traces(figure, "matrix")[ONE][0].z)
    np.testing.assert_allclose(drawn[~np.isnan(drawn)], both[0] + both[1])
    assert axis.cmax == pytest.approx(np.nanmax(np.abs(drawn)))
    assert "sum over 2 heads" in figure.layout.title.text
    assert "logits" in axis.colorbar.title.text
    assert "share" not in traces(figure, "matrix")[ONE][0].hovertemplate


def test_a_measure_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="effect"):
        figures.token_view(tokens_table(document=10), layer=5, measure=SIGNED)


@pytest.mark.parametrize(("value", "place"), [(0.0, 0.0), (0.25, 0.5), (1.0, 1.0), (2.0, 1.0)])
def test_shades_follow_the_square_root_of_the_size(value: float, place: float) -> None:
    assert SHARE.place(value, 1.0) == pytest.approx(place)
    assert SIGNED.place(value, 1.0) == pytest.approx(0.5 + place / 2 if value else 0.5)
    assert SIGNED.place(-value, 1.0) == pytest.approx(0.5 - place / 2)
