"""The first three figures: what is drawn is the table, with units, n, intervals and gaps."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import figures
from figures import labels, theme
from tests.figure_tables import CELLS, DECODER, ENCODER, cell_means_table, effects_table, shares_table

HOSTILE = "<script>alert(1)</script><b>bold</b> %{x} &amp; $x^2$ \N{HEBREW LETTER ALEF}\u202e \U0001f9e0"


def traces_by(figure: go.Figure, *names: str) -> dict[tuple, go.Scatter]:
    """Traces that carry data, by entries of their meta; each key must be unique."""
    found: dict[tuple, go.Scatter] = {}
    for trace in figure.data:
        if trace.meta is not None and "band" not in trace.meta:
            key = tuple(trace.meta[name] for name in names)
            assert key not in found, key
            found[key] = trace
    return found


def texts(figure: go.Figure) -> list[str]:
    """Every piece of text that plotly would read as markup."""
    found = [str(figure.layout.title.text), str(figure.layout.title.subtitle.text)]
    for annotation in figure.layout.annotations:
        found += [str(annotation.text), str(annotation.hovertext)]
    for trace in figure.data:
        found += [str(trace.name), str(trace.hovertemplate), str(trace.customdata), str(trace.text)]
    for axis in [*figure.select_xaxes(), *figure.select_yaxes()]:
        found += [str(axis.title.text), *[str(text) for text in axis.ticktext or ()]]
    return found


def assert_hostile_text_is_escaped(figure: go.Figure) -> None:
    """Hostile text is there, and nothing of it can be read as markup or as a placeholder."""
    everything = "\n".join(texts(figure))
    assert "&lt;script&gt;" in everything or "&lt;scrip" in everything
    assert "<script" not in everything
    assert "</b>bold" not in everything
    assert "<b>bold" not in everything
    assert not re.search(r"%\{x\} &amp;", everything)
    assert "\u202e" not in everything
    fragment = figures.html_fragment(figure)
    assert "alert(1)" in fragment
    assert "<script>alert" not in fragment


def panels(figure: go.Figure) -> set[str]:
    """The x axes that traces are drawn on."""
    return {trace.xaxis or "x" for trace in figure.data}


# --- budget ledger


def test_ledger_bars_are_the_rows_of_the_table() -> None:
    table = shares_table()
    figure = figures.budget_ledger(table)
    traces = traces_by(figure, "cell", "block", "role")
    assert len(traces) == 13 * 8
    for (cell, block, role), trace in traces.items():
        rows = table[(table.cell == cell) & (table.block == block) & (table.role == role)]
        np.testing.assert_array_equal(trace.x, rows["layer"])
        np.testing.assert_array_equal(trace.y, rows["mean"])
        np.testing.assert_array_equal(trace.customdata, rows[["low", "high", "n"]])
        assert trace.marker.color == theme.ROLE_COLOURS[role]
    assert len(panels(figure)) == 13


def test_ledger_stacks_encoder_roles_below_decoder_roles_up_to_one() -> None:
    figure = figures.budget_ledger(shares_table(CELLS[:4], 8))
    traces = traces_by(figure, "cell", "role")
    for cell in CELLS[:4]:
        height = np.zeros(8)
        for role in ENCODER + DECODER:
            np.testing.assert_allclose(traces[cell, role].base, height, atol=1e-12)
            height += traces[cell, role].y
        np.testing.assert_allclose(height, 1, atol=1e-12)
    assert figure.layout.barmode == "overlay"


def test_ledger_states_units_n_and_the_shared_range() -> None:
    figure = figures.budget_ledger(shares_table(CELLS[:5], 4))
    assert "n = 600 independent examples" in figure.layout.title.subtitle.text
    assert {axis.title.text for axis in figure.select_xaxes()} == {"decoder layer", None}
    assert {axis.title.text for axis in figure.select_yaxes()} == {"share (%)", None}
    assert {tuple(axis.range) for axis in figure.select_yaxes()} == {(0, 1)}
    assert {axis.tickformat for axis in figure.select_yaxes()} == {".0%"}
    assert all("customdata[0]" in trace.hovertemplate for trace in figure.data)


def test_ledger_shows_every_role_once_in_the_legend_in_the_fixed_order() -> None:
    figure = figures.budget_ledger(shares_table(CELLS[:3], 4).sample(frac=1, random_state=0))
    shown = [(trace.name, trace.legend) for trace in figure.data if trace.showlegend]
    assert shown == [(role, "legend") for role in ENCODER] + [(role, "legend2") for role in DECODER]


@pytest.mark.parametrize("stack", ["decoder", "encoder"])
def test_ledger_never_stacks_separate_softmaxes_on_each_other(stack: str) -> None:
    figure = figures.budget_ledger(shares_table(CELLS[:3], 5, "separate", stack), stack=stack)
    by_axis: dict[str, set[str]] = {}
    for trace in figure.data:
        by_axis.setdefault(trace.xaxis or "x", set()).add(trace.meta["block"])
    assert all(len(blocks) == 1 for blocks in by_axis.values())
    assert len(by_axis) == (6 if stack == "decoder" else 3)
    tops = {}
    for trace in figure.data:
        tops[trace.xaxis] = np.maximum(tops.get(trace.xaxis, 0), np.asarray(trace.base) + trace.y)
    for top in tops.values():
        np.testing.assert_allclose(top, 1)


def test_ledger_keeps_the_order_of_the_table_or_the_one_asked_for() -> None:
    table = shares_table(CELLS[:4], 3)
    swapped = pd.concat([table[table.cell == cell] for cell in (CELLS[2], CELLS[0], CELLS[3], CELLS[1])])
    seen = list(dict.fromkeys(trace.meta["cell"] for trace in figures.budget_ledger(swapped).data))
    assert seen == [CELLS[2], CELLS[0], CELLS[3], CELLS[1]]
    asked = figures.budget_ledger(table, cells=[CELLS[3], CELLS[1]])
    assert list(dict.fromkeys(trace.meta["cell"] for trace in asked.data)) == [CELLS[3], CELLS[1]]


def test_ledger_draws_layers_in_order_whatever_the_order_of_rows() -> None:
    table = shares_table(CELLS[:2], 6)
    one, two = (
        figures.budget_ledger(t, cells=CELLS[:2]) for t in (table, table.sample(frac=1, random_state=1))
    )
    assert one.to_json() == two.to_json()


def test_ledger_leaves_a_gap_and_names_it() -> None:
    table = shares_table(CELLS[:2], 6)
    table["reason"] = None
    whole = (table.cell == CELLS[1]) & (table.role == "eos")
    single = (table.cell == CELLS[0]) & (table.role == "start") & (table.layer == 4)
    table.loc[whole | single, ["mean", "low", "high"]] = np.nan
    table.loc[whole, "reason"] = "no <eos> token"
    figure = figures.budget_ledger(table)
    traces = traces_by(figure, "cell", "role")
    assert np.isnan(traces[CELLS[1], "eos"].y).all()
    assert np.isnan(traces[CELLS[0], "start"].y).tolist() == [False] * 4 + [True, False]
    note = next(a.text for a in figure.layout.annotations if a.name == "notes").replace("<br>", " ")
    assert "merged / start, layer 4 (none · prefix+separator · none)" in note
    assert "merged / eos (none · prefix+separator · random) [no &lt;eos&gt; token]" in note
    assert [(entry["role"], entry["rows"], entry["of"]) for entry in figure.layout.meta["missing"]] == [
        ("start", 1, 6),
        ("eos", 6, 6),
    ]
    # The roles above the gap stand on what is below it.
    assert traces[CELLS[0], "prompt"].base[4] == traces[CELLS[0], "start"].base[4]


def test_ledger_panels_are_named_shortly_and_in_full_on_hover() -> None:
    table = shares_table(CELLS[:3], 3)
    plain = figures.budget_ledger(table)
    assert plain.layout.annotations[0].text == "none · prefix+separator · none"
    assert plain.layout.annotations[0].hovertext == CELLS[0]
    assert "prefix · hidden · prompt" in plain.layout.title.subtitle.text
    aliased = figures.budget_ledger(
        table.assign(alias=table.cell.map({CELLS[0]: "bare_nq", CELLS[1]: "bare_random_q"}))
    )
    assert [a.text for a in aliased.layout.annotations[:3]] == [
        "bare_nq",
        "bare_random_q",
        "none · prefix+separator · query",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns=["low", "n"]), r"missing columns: n, low; given columns: cell, stack"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "1 rows repeat the same cell, stack, block, layer, role"),
        (lambda t: t.replace({"role": {"eos": "padding"}}), "unknown roles: padding; known: bos, prefix"),
        (lambda t: t.replace({"block": {"merged": "joint"}}), "unknown blocks: joint"),
        (lambda t: t.assign(mean="high"), "column 'mean' must hold numbers"),
        (lambda t: t.assign(stack="encoder"), "unknown stack: decoder; known: encoder"),
    ],
)
def test_ledger_refuses_what_it_cannot_draw(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figures.budget_ledger(change(shares_table(CELLS[:2], 3)))


def test_ledger_refuses_unknown_cells_and_what_is_no_table() -> None:
    with pytest.raises(ValueError, match="unknown cells: bare; known: prefix=none"):
        figures.budget_ledger(shares_table(CELLS[:2], 3), cells=["bare"])
    with pytest.raises(TypeError, match="pandas DataFrame; given: list"):
        figures.budget_ledger([1, 2])  # type: ignore[arg-type]


def test_ledger_does_not_change_the_table() -> None:
    table = shares_table(CELLS[:2], 3)
    before = table.copy()
    figures.budget_ledger(table)
    pd.testing.assert_frame_equal(table, before)


# --- effects


def test_forest_points_and_intervals_are_the_rows_of_the_table() -> None:
    table = effects_table()
    figure = figures.effects_forest(table.assign(smallest_effect=0.05))
    drawn = []
    for trace in figure.data:
        x = np.asarray(trace.x)
        for i in range(len(x)):
            low, high, n, d_z, win, p, holm, contrast, baseline, treatment = trace.customdata[i]
            assert x[i] - trace.error_x.arrayminus[i] == pytest.approx(low, abs=1e-12)
            assert x[i] + trace.error_x.array[i] == pytest.approx(high, abs=1e-12)
            drawn.append(
                (contrast, baseline, treatment, n, x[i], low, high, d_z, win, p, holm, trace.meta["verdict"])
            )
    columns = (
        "contrast baseline treatment n mean_difference low high d_z win_percent p_sign_flip p_holm verdict"
    )
    expected = list(table[columns.split()].itertuples(index=False, name=None))
    assert sorted(drawn) == sorted(expected)


def test_forest_puts_each_family_in_a_panel_in_order_with_the_numbers_beside_it() -> None:
    table = effects_table()
    figure = figures.effects_forest(table.assign(smallest_effect=0.05))
    words = [annotation.text for annotation in figure.layout.annotations]
    positions = [words.index(f"<b>{family}</b>") for family in table.family.unique()]
    assert positions == sorted(positions)
    for row in table.itertuples():
        sign = "+" if row.mean_difference > 0 else "−"
        assert any(word.startswith(f"{sign}{abs(row.mean_difference):.3f} [") for word in words)
        assert sum(row.verdict in word for word in words) == (table.verdict == row.verdict).sum()
    assert [len(axis.tickvals) for axis in figure.select_yaxes()] == [6, 5, 2]
    assert [axis.title.text for axis in figure.select_xaxes()][-1] == (
        "mean paired difference in answer NLL, baseline − treatment (nats)"
    )
    assert "n = 600 examples" in figure.layout.title.subtitle.text


def test_forest_shades_the_smallest_effect_behind_every_row() -> None:
    table = effects_table().assign(smallest_effect=0.05)
    table.loc[2, "smallest_effect"] = 0.2
    table.loc[3, "smallest_effect"] = np.nan
    figure = figures.effects_forest(table)
    bands = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    # The first panel holds rows 0 to 5, of which the fourth has no smallest effect.
    assert [(band.x0, band.x1) for band in bands[:4]] == [(-0.05, 0.05)] * 2 + [(-0.2, 0.2), (-0.05, 0.05)]
    assert [(band.y0, band.y1) for band in bands[:4]] == [(-0.5, 0.5), (0.5, 1.5), (1.5, 2.5), (3.5, 4.5)]
    assert len(bands) == len(table) - 1
    assert "shaded: too small to matter" in figure.layout.title.subtitle.text
    assert not [s for s in figures.effects_forest(effects_table()).layout.shapes if s.type == "rect"]
    with pytest.raises(ValueError, match="smallest_effect must be positive, in nats; given: 0"):
        figures.effects_forest(table.assign(smallest_effect=0.0))


def test_forest_names_effects_without_a_value() -> None:
    table = effects_table()
    table.loc[3, ["mean_difference", "low", "high", "d_z", "p_holm", "kind", "verdict"]] = np.nan
    figure = figures.effects_forest(table)
    words = [annotation.text for annotation in figure.layout.annotations]
    assert words.count("undefined") == 1
    assert words.count("no verdict") == 1
    assert figure.layout.meta["missing"] == [
        {"family": "prefix, by prompt", "contrast": table.contrast[3], "rows": 1, "of": 1}
    ]
    assert any(word.startswith("No value, shown as a gap: prefix oracle − none") for word in words)


# --- interaction


def test_interaction_lines_are_the_rows_of_the_table() -> None:
    table = cell_means_table()
    figure = figures.interaction_plot(table)
    traces = traces_by(figure, "line", "facet")
    assert set(traces) == {(p, h) for p in ("none", "oracle") for h in table.hidden.unique()}
    for (prefix, hidden), trace in traces.items():
        rows = table[(table.prefix == prefix) & (table.hidden == hidden)]
        np.testing.assert_array_equal(trace.y, rows["mean"])
        np.testing.assert_allclose(trace.y + trace.error_y.array, rows["high"])
        np.testing.assert_allclose(trace.y - trace.error_y.arrayminus, rows["low"])
        assert [row[:3] for row in trace.customdata] == rows[["low", "high", "n"]].to_numpy().tolist()
        np.testing.assert_allclose(np.round(trace.x), [0, 1, 2])
    axes = list(figure.select_yaxes())
    assert axes[0].title.text == "mean answer NLL (nats per token)"
    assert axes[0].range[0] < table["low"].min() < table["high"].max() < axes[0].range[1]
    assert list(next(figure.select_xaxes()).ticktext) == ["none", "random", "query"]
    assert "n = 600 examples" in figure.layout.title.subtitle.text


def test_interaction_order_is_that_asked_for() -> None:
    order = {"prompt": ["query", "none"], "prefix": ["oracle", "none"]}
    figure = figures.interaction_plot(cell_means_table(), order=order)
    assert list(next(figure.select_xaxes()).ticktext) == ["query", "none"]
    assert [trace.name for trace in figure.data if trace.showlegend] == ["oracle", "none"]
    assert all(len(trace.x) == 2 for trace in figure.data)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"prompt": ["none", "long"]}, "unknown levels of prompt: long; known: none, random, query"),
        ({"shape": ["none"]}, "unknown factors in order: shape; known: prompt, prefix, hidden"),
    ],
)
def test_interaction_refuses_unknown_levels(order, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figures.interaction_plot(cell_means_table(), order=order)


def test_interaction_without_facets_needs_one_row_per_level() -> None:
    with pytest.raises(ValueError, match="6 rows repeat the same prompt, prefix"):
        figures.interaction_plot(cell_means_table(), facet=None)
    table = cell_means_table()
    one = figures.interaction_plot(
        table[table.hidden == "prefix+separator"], facet=None, reading="0: <nothing> changes"
    )
    assert "0: &lt;nothing&gt; changes" in one.layout.title.text + str(one.layout.title.subtitle.text)
    assert "parallel lines" not in str(one.layout.title)
    assert len(panels(one)) == 1


def test_interaction_breaks_the_line_where_a_cell_has_no_value() -> None:
    table = cell_means_table()
    table.loc[1, ["mean", "low", "high"]] = np.nan
    figure = figures.interaction_plot(table)
    trace = traces_by(figure, "line", "facet")["none", "prefix+separator"]
    assert np.isnan(trace.y).tolist() == [False, True, False]
    assert trace.connectgaps is False
    assert "none / prefix+separator (random)" in " ".join(texts(figure))


# --- all figures


def hostile_figures() -> list[go.Figure]:
    """Every figure over tables whose text is hostile."""
    shares = shares_table(CELLS[:2], 3).replace({"cell": {CELLS[0]: HOSTILE}})
    effects = effects_table().assign(contrast=HOSTILE, baseline=HOSTILE, treatment=HOSTILE, verdict=HOSTILE)
    effects["family"] = [HOSTILE + str(i) for i in range(len(effects))]
    means = cell_means_table().replace({"prompt": {"none": HOSTILE}, "prefix": {"none": HOSTILE}})
    means["cell"] = HOSTILE
    return [
        figures.budget_ledger(shares, title=HOSTILE),
        figures.effects_forest(effects, quantity=HOSTILE, unit=HOSTILE),
        figures.interaction_plot(means, quantity=HOSTILE),
    ]


@pytest.mark.parametrize("index", range(3))
def test_text_from_tables_is_shown_as_text(index: int) -> None:
    assert_hostile_text_is_escaped(hostile_figures()[index])


@pytest.mark.parametrize("dark", [False, True])
def test_page_colours_change_and_role_colours_do_not(dark: bool) -> None:
    figure = figures.budget_ledger(shares_table(CELLS[:2], 3), dark=dark)
    assert figure.layout.template.layout.paper_bgcolor == theme.page(dark).paper
    assert {trace.marker.color for trace in figure.data} == set(theme.ROLE_COLOURS.values())


def test_long_words_are_broken_and_the_cut_is_stated() -> None:
    shown = labels.wrapped("a" * 10_000)
    assert shown.endswith(" … (9,400 more characters)")
    assert max(len(line) for line in shown.split("<br>")) <= labels.HOVER_WIDTH + 30
    assert labels.panel_title("b" * 10_000, 30) == "b" * 30 + "<br>" + "b" * 29 + "…"


def test_labels_of_two_lines_are_balanced_and_lose_nothing() -> None:
    assert labels.panel_title("prefix oracle − none (hidden bos, prompt 0)", 40) == (
        "prefix oracle − none<br>(hidden bos, prompt 0)"
    )
    assert labels.panel_title("a label", 40) == "a label"
    assert labels.panel_title("length (none→random-text) | bare", 26) == "length (none→random-text)<br>| bare"
    assert (
        labels.panel_title("oracle_trunc_random_q_bos_hidden", 24) == "oracle_trunc_random_q_<br>bos_hidden"
    )
    assert labels.panel_title("none · bos+prefix+separator · random", 30) == (
        "none · bos+prefix+separator ·<br>random"
    )
    assert labels.panel_title(CELLS[1], 44) == "prefix=none|hidden=prefix+separator|<br>prompt=random"


def test_long_titles_are_folded_and_push_the_panels_down() -> None:
    table = cell_means_table()
    short, long = (figures.interaction_plot(table, title="What a title " * count) for count in (1, 20))
    lines = long.layout.title.text.removeprefix("<b>").removesuffix("</b>").split("<br>")
    assert " ".join(lines) == ("What a title " * 20).strip()
    assert max(map(len, lines)) * 10.5 <= long.layout.meta["width"]
    assert long.layout.margin.t - short.layout.margin.t == long.layout.height - short.layout.height > 24


def test_labels_stay_unique_when_aliases_do_not() -> None:
    table = pd.DataFrame({"cell": ["a", "b", "c"], "alias": ["x", "x", "y"]})
    assert labels.cell_labels(table) == {"a": "a", "b": "b", "c": "y"}


def test_figures_import_neither_torch_nor_the_packages_that_make_the_tables() -> None:
    code = (
        "import sys, figures; "
        "wrong = {'torch', 'probes', 'interventions', 'analyses', 'transformers', 'nnsight'}"
        " & set(sys.modules); assert not wrong, wrong"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("kind", "small", "order", "symbol", "bold"),
    [
        ("positive", "no", 2, "triangle-up", True),
        ("negative", "no", 2, "triangle-down", True),
        ("positive", "yes", 2, "triangle-up-open", False),
        ("none", "yes", 2, "square-open", False),
        ("none", "yes", 3, "square-open", False),
        ("positive", "no", 3, "star", True),
        ("undecided", "no", 2, "circle-open", False),
    ],
)
def test_forest_marks_interactions_apart_from_help_and_harm(
    kind: str, small: str, order: int, symbol: str, bold: bool
) -> None:
    """By what was found, whatever the words are."""
    verdict = "helps, in words of a stranger"
    table = effects_table().assign(order=1, small="no")
    table.loc[table.family == "interaction", ["kind", "small", "order", "verdict"]] = (
        kind,
        small,
        order,
        verdict,
    )
    figure = figures.effects_forest(table.assign(smallest_effect=0.05))
    own = [trace for trace in figure.data if trace.meta["verdict"] == verdict]
    assert own
    assert {trace.marker.symbol for trace in own} == {symbol}
    words = [annotation.text for annotation in figure.layout.annotations]
    assert any(word.startswith("<b>helps, in words") for word in words) == bold
    colours = {
        figures.effects.effect_style(own, False, 1, "lower", False)[0] for own in ("positive", "negative")
    }
    assert not {trace.marker.color for trace in own} & colours
    told = "of an interaction: less help, or more harm, together" in figure.layout.title.subtitle.text
    assert told == (order == 2 and kind in ("positive", "negative"))


def test_forest_of_what_is_better_where_it_is_higher_and_where_neither_is() -> None:
    """The colour of help is on the side of help, and what neither helps nor hurts has neither colour."""
    table = effects_table()
    colours = {}
    for better in ("lower", "higher", ""):
        figure = figures.effects_forest(table, better=better)
        by_kind = {trace.meta["verdict"]: trace.marker.color for trace in figure.data}
        colours[better] = (by_kind["helps"], by_kind["hurts"])
    assert colours["higher"] == colours["lower"][::-1]
    assert not set(colours[""]) & set(colours["lower"])
    assert (
        "right of 0: the treatment hurts"
        in figures.effects_forest(table, better="higher").layout.title.subtitle.text
    )
