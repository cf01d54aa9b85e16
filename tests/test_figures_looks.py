"""Other looks of a figure: dark and narrow ones hold the same numbers, and a page turns one into the other."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import figures
from figures import effects, theme
from figures.export import drawing_script, html_fragment, packed, page_html, page_script, stored_figure
from figures.labels import readable, reading
from figures.looks import LOOKS, as_json, changed, content, difference, follows_theme, narrow_look, recoloured
from figures.panels import NARROW_WIDTH, Frame, folded, level_ticks
from tests import figure_tables as tables

Draw = Callable[..., go.Figure]

DRAWINGS: dict[str, Draw] = {
    "effects": lambda **look: figures.effects_forest(
        tables.effects_table().assign(smallest_effect=0.05), **look
    ),
    "interaction": lambda **look: figures.interaction_plot(tables.cell_means_table(), **look),
    "splits": lambda **look: figures.split_bars(tables.decomposition_table(), **look),
    "ledger": lambda **look: figures.budget_ledger(tables.shares_table(layers=5), **look),
    "ledger in blocks": lambda **look: figures.budget_ledger(
        tables.shares_table(tables.CELLS[:3], layers=5, block="self"), **look
    ),
    "differences": lambda **look: figures.budget_differences(tables.differences_table(layers=5), **look),
    "heads": lambda **look: figures.head_map(tables.heads_table(layers=4, heads=3), "bos", **look),
    "head differences": lambda **look: figures.head_map(
        tables.heads_table("contrast", layers=4, heads=3), "bos", **look
    ),
    "entropies": lambda **look: figures.entropy_against_mass(tables.entropies_table(layers=3), **look),
    "scatter": lambda **look: figures.example_scatter(
        tables.examples_table(20), tables.CELLS[0], tables.CELLS[1], **look
    ),
    "slopes": lambda **look: figures.example_slopes(tables.examples_table(20), tables.CELLS[:3], **look),
    "lengths": lambda **look: figures.length_curves(tables.lengths_table(), **look),
    "selections": lambda **look: figures.selection_curves(
        tables.lengths_table().rename(columns={"length": "kept", "prefix": "score", "prompt": "states"}),
        **look,
    ),
    "chosen tokens": lambda **look: figures.token_curves(
        tables.chosen_tokens_table(), **tables.CHOSEN, **look
    ),
    "keywords": lambda **look: figures.keyword_curve(
        tables.keywords_table(), references=tables.references_table(), **look
    ),
    "sinks": lambda **look: figures.sink_audit(tables.sinks_table(layers=4), **look),
    "compared": lambda **look: figures.published_beside_measured(tables.compared_table(), **look),
    "tokens": lambda **look: figures.token_view(tables.tokens_table(document=30), layer=5, **look),
    "map": lambda **look: figures.effect_map(
        tables.cell_means_table(), x="prompt", y="prefix", facet="hidden", **look
    ),
}


def drawn_numbers(figure: go.Figure) -> list[tuple[str, list[Any]]]:
    """What the traces draw, of every trace that draws data and not the layout of a text."""
    found = []
    for trace in figure.data:
        meta = json.dumps(trace.meta, sort_keys=True)
        if isinstance(trace.meta, dict) and trace.meta.get("what") in ("text", "tokens", "role", "struck"):
            continue
        values = [
            np.asarray(getattr(trace, name), dtype=float).ravel().tolist()
            for name in ("x", "y", "z")
            if getattr(trace, name, None) is not None
        ]
        for bars in ("error_x", "error_y"):
            error = getattr(trace, bars, None)
            if error is not None and error.array is not None:
                values += [error.array.tolist(), error.arrayminus.tolist()]
        found.append((meta, values))
    return sorted(found, key=lambda entry: entry[0])


@pytest.mark.parametrize("name", list(DRAWINGS))
def test_every_look_draws_the_same_numbers(name: str) -> None:
    draw = DRAWINGS[name]
    wide = draw()
    expected = drawn_numbers(wide)
    for look in LOOKS.values():
        figure = draw(**look)
        found = drawn_numbers(figure)
        assert [meta for meta, _ in found] == [meta for meta, _ in expected]
        for (meta, values), (_, before) in zip(found, expected, strict=True):
            for one, other in zip(values, before, strict=True):
                np.testing.assert_array_equal(one, other, err_msg=f"{look} {meta}")
        assert figure.layout.meta["missing"] == wide.layout.meta["missing"]
        assert (figure.layout.meta["width"] == NARROW_WIDTH) == look["narrow"]


@pytest.mark.parametrize("name", list(DRAWINGS))
def test_a_page_turns_the_stored_figure_into_every_look(name: str) -> None:
    """The light wide figure and what the narrow one changes give what drawing anew gives, colours included."""
    draw = DRAWINGS[name]
    stored = json.loads(stored_figure(draw()))
    assert stored["figure"] == as_json(content(draw()))
    assert stored["themed"]
    narrow = changed(stored["figure"], stored["narrow"])
    assert narrow == as_json(content(draw(narrow=True)))
    assert recoloured(stored["figure"]) == as_json(content(draw(dark=True)))
    assert recoloured(narrow) == as_json(content(draw(dark=True, narrow=True)))


def test_no_colour_of_a_role_level_or_verdict_changes_with_the_page() -> None:
    fixed = {*theme.ROLE_COLOURS.values(), effects.HELP[0], effects.HARM[0], effects.LESS, effects.MORE}
    assert not fixed & set(theme.DARKENED)
    # Nothing is darkened twice, and every dark colour comes from one light one.
    assert len(theme.DARKENED) == len(set(theme.DARKENED))
    assert recoloured({"a": [theme.LIGHT.ink, "none", 3, None], theme.LIGHT.ink: 1}) == {
        "a": [theme.DARK.ink, "none", 3, None],
        theme.LIGHT.ink: 1,
    }


@pytest.mark.parametrize("name", list(DRAWINGS))
def test_dark_looks_have_a_dark_page_and_their_text_its_contrast(name: str) -> None:
    for look in ("dark", "dark narrow"):
        figure = DRAWINGS[name](**LOOKS[look])
        assert figure.layout.template.layout.paper_bgcolor == theme.DARK.paper
        inks = {note.font.color for note in figure.layout.annotations if note.font.color}
        assert inks <= {theme.DARK.ink, theme.DARK.muted}


@pytest.mark.parametrize("name", list(DRAWINGS))
def test_narrow_texts_end_within_the_figure(name: str) -> None:
    """Every heading, note and title by a generous width of its characters, from where it begins."""
    figure = DRAWINGS[name](narrow=True)
    layout = figure.layout
    inner = NARROW_WIDTH - layout.margin.l - layout.margin.r
    texts = [(0.0, 16, layout.title.text, 0.6 * layout.title.font.size)]
    texts.append((0.0, 16, layout.title.subtitle.text, 6.6))
    for note in layout.annotations:
        begins = layout.margin.l + note.x * inner + (note.xshift or 0)
        texts.append((begins, 0, note.text, 0.5 * note.font.size))
    for begins, pad, text, character in texts:
        for line in (text or "").replace("<b>", "").replace("</b>", "").split("<br>"):
            shown = line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
            assert begins + pad + character * len(shown) <= NARROW_WIDTH + 4, shown


def test_narrow_forest_leaves_out_p_where_its_verdict_needs_the_room() -> None:
    effects = tables.effects_table()
    figure = figures.effects_forest(effects.assign(verdict="interaction unchanged within ±0.05"), narrow=True)
    lines = [note.text for note in figure.layout.annotations if "interaction unchanged" in note.text]
    assert len(lines) == len(effects)
    assert not any("p =" in line or "p &lt;" in line for line in lines)
    lines = [
        note.text for note in DRAWINGS["effects"](narrow=True).layout.annotations if "helps" in note.text
    ]
    assert len(lines) == (effects["verdict"] == "helps").sum()
    assert all("p <" in line or "p =" in line for line in lines)


@pytest.mark.parametrize("name", ["heads", "entropies", "tokens", "map"])
def test_narrow_colour_axes_have_a_name_of_their_own(name: str) -> None:
    for narrow, axis in ((False, "coloraxis"), (True, "coloraxis2")):
        figure = DRAWINGS[name](narrow=narrow)
        shown = figure.to_plotly_json()
        assert [key for key in shown["layout"] if key.startswith("coloraxis")] == [axis]
        used = {
            holder["coloraxis"]
            for trace in shown["data"]
            for holder in (trace, trace.get("marker", {}))
            if "coloraxis" in holder
        }
        assert used == {axis}


def test_long_words_are_broken_and_entities_are_not() -> None:
    path = "/a" * 30
    assert folded(f"one {path} two", 20) == ["one", path[:20], path[20:40], path[40:60], "two"]
    lines = folded("&lt;" * 50 + "<b>" + "x" * 30 + "</b>", 20)
    assert "".join(lines) == "&lt;" * 50 + "<b>" + "x" * 30 + "</b>"
    assert all(line.count("&") == line.count(";") for line in lines)


def test_narrow_axis_titles_are_broken_where_their_axis_ends() -> None:
    figure = DRAWINGS["effects"](narrow=True)
    title = next(axis.title.text for axis in figure.select_xaxes() if axis.title.text)
    assert title.count("<br>") == 1
    wide = next(axis.title.text for axis in DRAWINGS["effects"]().select_xaxes() if axis.title.text)
    assert title.replace("<br>", " ") == wide


def test_level_ticks_stay_level_and_are_broken_in_little_room() -> None:
    ticks, lines = level_ticks(["none", "random_text_of_another"], 50)
    assert ticks["tickangle"] == 0
    assert ticks["ticktext"][0] == "none"
    assert lines == 3
    assert "".join(ticks["ticktext"][1].split("<br>")).startswith("random_text_of")
    assert level_ticks(["none"], 90)[1] == 1


def test_fitted_frames_are_those_of_a_phone_or_the_same() -> None:
    frame = Frame(width=900, left=200, right=300)
    assert frame.fitted(False) is frame
    narrow = frame.fitted(True, left=10, right=12)
    assert (narrow.width, narrow.inner) == (NARROW_WIDTH, NARROW_WIDTH - 22)
    assert frame.fitted(True, bar=True).axis_below > narrow.axis_below


CASES: list[tuple[Any, Any]] = [
    ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": [1]}),
    ([1, {"a": None}], [1, {"a": 0}]),
    ([1, 2], [1, 2, 3]),
    ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}, {"c": 2}]}),
    ({"a": None}, {}),
    ({}, {"a": None}),
    ("x", None),
    ({"a": 1}, {"a": 1}),
]


@pytest.mark.parametrize(("before", "after"), CASES)
def test_a_difference_turns_one_value_into_the_other(before: Any, after: Any) -> None:
    # As a page reads it.
    change = json.loads(json.dumps(difference(before, after)))
    assert changed(before, change) == after


def test_what_is_the_same_is_not_stored_again() -> None:
    assert difference({"a": [1, 2], "b": {"c": 3}}, {"a": [1, 2], "b": {"c": 4}}) == {
        "*": {"b": {"*": {"c": {"=": 4}}}}
    }


def phone_look(figure: go.Figure) -> go.Figure | None:
    return narrow_look(figure, content(figure))


def test_without_a_phone_no_narrow_look_is_drawn_and_the_figure_is_the_same() -> None:
    figure = DRAWINGS["splits"]()
    with_it, without = (json.loads(stored_figure(figure, phone=phone)) for phone in (True, False))
    assert with_it["narrow"]
    assert without == with_it | {"narrow": None}
    # Each is kept by itself.
    assert json.loads(stored_figure(figure)) == with_it


def test_stored_figures_end_no_markup() -> None:
    shares = tables.shares_table(tables.CELLS[:1], layers=2)
    figure = figures.budget_ledger(shares, title="</script><!-- \u202e &amp;")
    assert not set("<>&\u202e") & set(stored_figure(figure))


def test_a_figure_that_was_changed_has_its_change_in_every_look_that_it_has() -> None:
    figure = DRAWINGS["splits"]()
    assert phone_look(figure) is not None
    assert json.loads(stored_figure(figure))["narrow"]
    figure.update_layout(height=99)
    assert phone_look(figure) is None
    stored = json.loads(stored_figure(figure))
    assert stored["narrow"] is None
    assert stored["figure"]["layout"]["height"] == 99
    assert follows_theme(figure)
    assert phone_look(DRAWINGS["splits"](dark=True)) is None
    assert not follows_theme(DRAWINGS["splits"](dark=True))
    assert not follows_theme(go.Figure())
    assert not json.loads(stored_figure(go.Figure()))["themed"]


def test_ids_are_words_in_a_figure_and_in_its_narrow_look() -> None:
    effects_of = tables.effects_table()
    name = str(effects_of["contrast"].iloc[0])
    with reading({name: "the query"}):
        figure = figures.effects_forest(effects_of)
    for drawn in (figure, phone_look(figure)):
        assert drawn is not None
        text = drawn.to_json()
        assert "the query" in text
        assert json.dumps(name)[1:-1] not in text
    assert readable(name) == name
    with reading({"a": "b"}):
        assert (readable("a"), readable("factor: a"), readable("aa")) == ("b", "factor: b", "aa")


def test_pages_that_share_plotly_name_its_file_and_hold_it_not() -> None:
    figure = DRAWINGS["splits"]()
    page = page_html(figure, plotly="plotly.min.js")
    assert '<script src="plotly.min.js"></script>' in page
    assert len(page) < 100_000 < len(page_html(figure))
    assert page.count(page_script()) == page_html(figure).count(page_script()) == 1


def test_what_is_packed_is_the_same_each_time() -> None:
    text = "x" * 1000 + "⟨é⟩"
    assert packed(text) == packed(text)
    assert gzip.decompress(base64.b64decode(packed(text))).decode() == text


def test_the_page_script_is_there_once() -> None:
    figure = DRAWINGS["splits"]()
    assert html_fragment(figure, with_plotly=True).count(drawing_script()) == 1
    assert page_script() not in html_fragment(figure)
    assert "'the colours'" not in page_script()
