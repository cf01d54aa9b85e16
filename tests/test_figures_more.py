"""The further figures: what is drawn is the table, with units, n, intervals and gaps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

import figures
from figures import theme
from figures.bands import band_outline
from figures.labels import contrast_label
from figures.missing import missing_note
from tests import figure_tables as tables
from tests.test_figures import HOSTILE, assert_hostile_text_is_escaped, texts, traces_by

CELLS, CONTRASTS = tables.CELLS, tables.CONTRASTS


def bands_by(figure: go.Figure, *names: str) -> dict[tuple, go.Scatter]:
    """Bands by entries of their meta."""
    return {tuple(t.meta[name] for name in names): t for t in figure.data if t.meta and "band" in t.meta}


def assert_band(band: go.Scatter, x: pd.Series, low: pd.Series, high: pd.Series) -> None:
    """A band without gaps runs along the low ends and back along the high ones."""
    np.testing.assert_array_equal(band.x, [*x, *x[::-1]])
    np.testing.assert_array_equal(band.y, [*low, *high[::-1]])


# --- bands


def test_band_is_broken_at_missing_ends_and_keeps_single_points() -> None:
    nan = np.nan
    x, y = band_outline([0, 1, 2, 3, 4, 5], [0, 1, nan, 3, 4, 5], [10, 11, 12, 13, nan, 15])
    np.testing.assert_array_equal(x, [0, 1, 1, 0, nan, 3, 3, nan, 5, 5])
    np.testing.assert_array_equal(y, [0, 1, 11, 10, nan, 3, 13, nan, 5, 15])
    assert [len(part) for part in band_outline([0, 1], [nan, nan], [1, 1])] == [0, 0]


# --- difference ledger


def test_differences_are_the_rows_of_the_table() -> None:
    table = tables.differences_table(6, CONTRASTS[:2])
    figure = figures.budget_differences(table)
    traces, bands = (by(figure, "contrast", "role") for by in (traces_by, bands_by))
    assert set(traces) == set(bands) == {(c, r) for c in CONTRASTS[:2] for r in theme.ROLES}
    for (contrast, role), trace in traces.items():
        rows = table[(table.contrast == contrast) & (table.role == role)]
        np.testing.assert_array_equal(trace.x, rows["layer"])
        np.testing.assert_array_equal(trace.y, rows["mean"])
        np.testing.assert_array_equal(trace.customdata, rows[["band_low", "band_high", "n"]])
        assert trace.line.color == theme.ROLE_COLOURS[role]
        assert_band(bands[contrast, role], rows["layer"], rows["band_low"], rows["band_high"])
    assert len({trace.xaxis for trace in figure.data}) == len(traces)
    assert {axis.title.text for axis in figure.select_yaxes()} == {"difference (points)", None}
    assert {axis.title.text for axis in figure.select_xaxes()} == {"decoder layer", None}
    low, high = next(figure.select_yaxes()).range
    assert low < table["band_low"].min() < table["band_high"].max() < high
    assert "n = 600 independent examples · baseline − treatment" in figure.layout.title.subtitle.text


def test_differences_name_gaps_and_select() -> None:
    table = tables.differences_table(6, CONTRASTS[:2])
    gap = (table.contrast == CONTRASTS[1]) & (table.role == "eos") & (table.layer == 2)
    table.loc[gap, ["mean", "band_low", "band_high"]] = np.nan
    figure = figures.budget_differences(table, contrasts=CONTRASTS[1::-1], roles=["eos", "bos"])
    traces = traces_by(figure, "contrast", "role")
    assert list(traces) == [(c, r) for c in CONTRASTS[1::-1] for r in ("bos", "eos")]
    assert np.isnan(traces[CONTRASTS[1], "eos"].y[2])
    assert np.isnan(bands_by(figure, "contrast", "role")[CONTRASTS[1], "eos"].y).sum() == 1
    assert "merged / eos, layer 2" in " ".join(texts(figure))
    assert figure.layout.annotations[0].text.startswith(
        "prefix: none → oracle (hidden=prefix+separator, prompt=random)"
    )


# --- layer and head


@pytest.mark.parametrize("by", ["cell", "contrast"])
def test_head_map_is_the_table_as_a_matrix(by: str) -> None:
    table = tables.heads_table(by, 5, 3)
    figure = figures.head_map(table, "document")
    maps = {trace.meta[by]: trace for trace in figure.data if trace.type == "heatmap"}
    assert list(maps) == list(table[by].unique())
    for name, trace in maps.items():
        for record in table[(table[by] == name) & (table.role == "document")].to_dict("records"):
            at = list(trace.y).index(record["layer"]), list(trace.x).index(record["head"])
            assert trace.z[at] == record["mean"]
            assert trace.customdata[at][0] == record["n"]
            assert trace.customdata[at][1] == record["standard_error"]
    axis = figure.layout.coloraxis
    largest = table.loc[table.role == "document", "mean"].abs().max()
    assert (axis.cmin, axis.cmax) == (0 if by == "cell" else -largest, largest)
    assert {a.title.text for a in figure.select_yaxes()} == {"decoder layer", None}
    assert {a.title.text for a in figure.select_xaxes()} - {None} == {"head"}
    assert "n = 600 independent examples" in figure.layout.title.subtitle.text


def test_head_map_marks_discovered_heads_and_leaves_gaps() -> None:
    table = tables.heads_table("contrast", 5, 3)
    gone = (
        (table.contrast == CONTRASTS[0])
        & (table.role == "document")
        & (table.layer == 1)
        & (table["head"] == 2)
    )
    table.loc[gone, "mean"] = np.nan
    figure = figures.head_map(table, "document", facets=[CONTRASTS[0]])
    marks = next(trace for trace in figure.data if trace.type == "scatter")
    rows = table[(table.contrast == CONTRASTS[0]) & (table.role == "document") & table.discovered]
    assert sorted(zip(marks.x, marks.y, strict=True)) == sorted(zip(rows["head"], rows["layer"], strict=True))
    assert np.argwhere(np.isnan(figure.data[0].z)).tolist() == [[1, 2]]
    assert "document, layer 1" in " ".join(texts(figure))


@pytest.mark.parametrize(("mapped", "told"), [(False, "too few examples"), (True, "heads found to change (")])
def test_head_map_says_where_no_head_can_be_discovered(mapped: bool, told: str) -> None:
    table = tables.heads_table("contrast", 4, 3).assign(mapped=mapped)
    subtitle = figures.head_map(table, "document").layout.title.subtitle.text
    assert told in subtitle
    assert ("dots" in subtitle) == mapped


def test_head_map_asks_which_block() -> None:
    table = pd.concat(
        [tables.heads_table(layers=2, heads=2).assign(block=block) for block in ("self", "cross")]
    )
    with pytest.raises(
        ValueError, match="role bos is in several blocks: self, cross; choose one with block="
    ):
        figures.head_map(table, "bos")
    assert figures.head_map(table, "bos", block="cross").data
    with pytest.raises(ValueError, match="unknown role: answer; known: bos, document"):
        figures.head_map(table, "answer")


# --- splits


def test_split_bars_are_the_rows_of_the_table_and_withhold_what_is_withheld() -> None:
    table = tables.decomposition_table()
    figure = figures.split_bars(table)
    assert [trace.meta["contrast"] for trace in figure.data] == list(table.contrast.unique())
    for trace in figure.data:
        rows = table[table.contrast == trace.meta["contrast"]]
        np.testing.assert_array_equal(trace.x, rows["mean_difference"])
        np.testing.assert_allclose(trace.x + trace.error_x.array, rows["high"])
        np.testing.assert_allclose(trace.x - trace.error_x.arrayminus, rows["low"])
        shares = rows[["low", "high", "n", "share", "share_low", "share_high"]].to_numpy()
        np.testing.assert_array_equal(np.array([c[:6] for c in trace.customdata], dtype=float), shares)
    words = [annotation.text for annotation in figure.layout.annotations]
    assert words.count("withheld") == 2
    assert "113 % [103, 125]" in words
    assert "−13 % [−23, −1]" in words
    assert "+0.599 [+0.519, +0.689]" in words
    assert "length, semantic (the denominator's interval holds 0)" in words[-1].replace("<br>", " ")
    assert [axis.title.text for axis in figure.select_xaxes()][-1] == "mean difference in answer NLL (nats)"
    assert "n = 600 examples" in figure.layout.title.subtitle.text


def test_totals_stand_out_from_parts_and_no_part_has_a_colour_that_means_something_else() -> None:
    """Whatever the parts are called, and on either page: colours are of roles and of what helps and hurts."""
    table = tables.decomposition_table()
    for dark, page in ((False, theme.LIGHT), (True, theme.DARK)):
        for trace in figures.split_bars(table, dark=dark).data:
            parts = [str(row[6]) for row in trace.customdata]
            assert list(trace.marker.color) == [
                page.muted if part == "total" else page.zero for part in parts
            ]


# --- entropy


def test_entropy_points_are_the_rows_of_the_table() -> None:
    table = tables.entropies_table(4, CELLS[:3]).assign(mass_low=0.0, mass_high=1.0)
    figure = figures.entropy_against_mass(table, cells=CELLS[:2])
    traces = traces_by(figure, "cell", "part")
    assert set(traces) == {(cell, part) for cell in CELLS[:2] for part in ("self", "cross")}
    for (cell, part), trace in traces.items():
        rows = table[(table.cell == cell) & (table.part == part)]
        np.testing.assert_array_equal(trace.x, rows["mass"])
        np.testing.assert_array_equal(trace.y, rows["entropy"])
        np.testing.assert_array_equal(trace.marker.color, rows["layer"])
        np.testing.assert_array_equal(np.asarray(trace.customdata)[:, 1], rows["n"])
        np.testing.assert_allclose(trace.x - trace.error_x.arrayminus, 0, atol=1e-12)
        assert trace.error_y.array is None
    assert {axis.title.text for axis in figure.select_yaxes()} == {"entropy (nats)", None}
    assert {axis.title.text for axis in figure.select_xaxes()} == {"mass (% of attention)"}


def test_entropy_names_parts_without_mass() -> None:
    table = tables.entropies_table(4, CELLS[:3])
    none = (table.cell == CELLS[0]) & (table.part == "cross")
    table.loc[none, "entropy"] = np.nan
    table.loc[none, "reason"] = "no example has mass in this part"
    figure = figures.entropy_against_mass(table, cells=CELLS[:1])
    assert np.isnan(traces_by(figure, "part")[("cross",)].y).all()
    assert (
        "cross (prefix=none|hidden=prefix+separator|prompt=none) [no example has mass in this part]"
        in " ".join(texts(figure))
    )


# --- examples


def test_scatter_holds_every_example_with_its_text() -> None:
    table = tables.examples_table(20)
    table.loc[(table.example == 3) & (table.cell == CELLS[1]), "nll"] = np.nan
    figure = figures.example_scatter(table, CELLS[0], CELLS[1], highlight=[7])
    found = {}
    for trace in figure.data:
        for x, y, (example, hover) in zip(trace.x, trace.y, trace.customdata, strict=True):
            found[example] = (x, y, trace.meta["highlighted"])
            assert f"What is the colour of the {example}th lamp in the harbour?" in hover
            assert f"It is shade {example}." in hover
    assert sorted(found) == list(range(20))
    for example, (x, y, highlighted) in found.items():
        rows = table[table.example == example].set_index("cell")["nll"]
        assert x == rows[CELLS[0]]
        assert y == rows[CELLS[1]] or (example == 3 and np.isnan(y))
        assert highlighted == (example == 7)
    assert "n = 19 examples" in figure.layout.title.subtitle.text
    assert "1 examples (3)" in " ".join(texts(figure))
    assert next(figure.select_xaxes()).title.text.endswith("answer NLL (nats per token)")
    with pytest.raises(ValueError, match="a cell is named twice"):
        figures.example_scatter(table, CELLS[0], CELLS[0])


def test_slopes_hold_every_example_and_the_mean_of_the_complete_ones() -> None:
    table = tables.examples_table(12)
    table.loc[(table.example == 3) & (table.cell == CELLS[1]), "nll"] = np.nan
    figure = figures.example_slopes(table, CELLS[:3], highlight=[7])
    kinds = {trace.meta["kind"]: trace for trace in figure.data}
    wide = table.pivot(index="example", columns="cell", values="nll")[list(CELLS[:3])]
    drawn = {}
    for kind, trace in kinds.items():
        if kind == "mean":
            continue
        values = np.asarray(trace.y).reshape(-1, 4)
        assert np.isnan(values[:, 3]).all()
        for row, index in zip(values, range(0, len(trace.customdata), 4), strict=True):
            example = trace.customdata[index][0]
            drawn[example] = kind
            np.testing.assert_array_equal(row[:3], wide.loc[example])
    change = wide[CELLS[2]] - wide[CELLS[0]]
    assert drawn == {
        example: "highlighted" if example == 7 else "falls" if change[example] < 0 else "rises"
        for example in wide.index
    }
    np.testing.assert_allclose(kinds["mean"].y, wide.drop(index=3).mean())
    with pytest.raises(ValueError, match="at least two cells; given: "):
        figures.example_slopes(table, CELLS[:1])


# --- curves


def test_length_curves_are_the_rows_of_the_table() -> None:
    table = tables.lengths_table()
    figure = figures.length_curves(
        table.sample(frac=1, random_state=3), order={"prefix": ["oracle", "keywords", "random"]}
    )
    traces, bands = (by(figure, "line", "facet") for by in (traces_by, bands_by))
    assert len(traces) == 6
    for (prefix, prompt), trace in traces.items():
        rows = table[(table.prefix == prefix) & (table.prompt == prompt)]
        np.testing.assert_array_equal(trace.x, rows["length"])
        np.testing.assert_array_equal(trace.y, rows["mean"])
        np.testing.assert_array_equal(trace.customdata, rows[["low", "high", "n"]])
        assert_band(bands[prefix, prompt], rows["length"], rows["low"], rows["high"])
    axis = next(figure.select_xaxes())
    assert (axis.type, axis.title.text) == ("log", "document length (tokens)")
    assert list(axis.ticktext) == ["96", "256", "512", "1,024", "2,048", "4,096"]
    first_line = min(i for i, trace in enumerate(figure.data) if "band" not in trace.meta)
    assert ["band" in trace.meta for trace in figure.data[: first_line + 3]] == [True] * 3 + [False] * 3
    with pytest.raises(ValueError, match="every length must be above 0; given: 0"):
        figures.length_curves(table.assign(length=0).drop_duplicates(["prefix", "prompt"]))


def test_keyword_curve_has_the_counts_and_the_other_prefixes() -> None:
    table, references = tables.keywords_table(), tables.references_table()
    figure = figures.keyword_curve(table, references=references)
    trace = next(trace for trace in figure.data if "band" not in trace.meta)
    np.testing.assert_array_equal(trace.x, table["keywords"])
    np.testing.assert_array_equal(trace.y, table["mean"])
    beside = next(trace for trace in figure.data if "references" in trace.meta)
    np.testing.assert_array_equal(beside.y, references["mean"])
    np.testing.assert_allclose(beside.y + beside.error_y.array, references["high"])
    np.testing.assert_allclose(beside.y - beside.error_y.arrayminus, references["low"])
    assert min(beside.x) > table["keywords"].max()
    levels = [shape.y0 for shape in figure.layout.shapes if shape.type == "line" and shape.y0 != 0]
    assert levels == list(references["mean"])
    across = next(figure.select_xaxes())
    assert across.ticktext[-2:] == ("oracle", "random")
    assert across.tickvals[-2:] == tuple(beside.x)
    assert across.title.text.startswith("keywords in the prefix (count)")
    unknown = figures.keyword_curve(table, references=references.assign(mean=[0.4, np.nan]))
    assert "No value, shown as a gap: random." in texts(unknown)
    table.loc[2, ["mean", "low", "high"]] = np.nan
    assert "5.0" in " ".join(texts(figures.keyword_curve(table))).split("No value")[1]


def test_a_legend_of_several_lines_has_room() -> None:
    """Plotly lays the entries over the panels where nobody makes room; the panels' height stays the same."""
    table = tables.cell_means_table()
    few = figures.interaction_plot(table, "prompt", "prefix", None if "hidden" not in table else "hidden")
    many = pd.concat(
        [table.assign(prefix=[f"{prefix} of draw {draw}" for prefix in table["prefix"]]) for draw in range(6)]
    )
    many["cell"] = [f"{cell} {number}" for number, cell in enumerate(many["cell"])]
    crowded = figures.interaction_plot(many, "prompt", "prefix", None if "hidden" not in table else "hidden")
    assert crowded.layout.margin.t >= few.layout.margin.t + 29
    inner = [f.layout.height - f.layout.margin.t - f.layout.margin.b for f in (few, crowded)]
    assert inner[0] == pytest.approx(inner[1], abs=1)


# --- sinks


def test_sink_audit_lines_are_the_rows_of_the_table() -> None:
    table = tables.sinks_table(4)
    figure = figures.sink_audit(table)
    traces = traces_by(figure, "cell", "role", "what")
    columns = {"measured": "mean", "predicted": "predicted", "sink visible": "visible"}
    assert len(traces) == 2 * 4 * 3
    for (cell, role, what), trace in traces.items():
        rows = table[(table.cell == cell) & (table.role == role)]
        np.testing.assert_array_equal(trace.x, rows["layer"])
        np.testing.assert_array_equal(trace.y, rows[columns[what]])
        np.testing.assert_array_equal(trace.customdata, rows[["low", "high", "n"]])
    for (cell, role), band in bands_by(figure, "cell", "role").items():
        rows = table[(table.cell == cell) & (table.role == role)]
        assert_band(band, rows["layer"], rows["low"], rows["high"])
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "sink visible",
        "measured",
        "predicted",
    ]
    assert {axis.title.text for axis in figure.select_yaxes()} == {"share (%)", None}


# --- published


def test_published_stands_beside_measured() -> None:
    table = tables.compared_table()
    figure = figures.published_beside_measured(table)
    for what in ("published", "measured"):
        drawn = [x for trace in figure.data if trace.meta["what"] == what for x in trace.x]
        np.testing.assert_array_equal(drawn, table[what])
    measured = [trace for trace in figure.data if trace.meta["what"] == "measured"]
    highs = np.concatenate([np.asarray(trace.x) + trace.error_x.array for trace in measured])
    np.testing.assert_allclose(highs, table["high"])
    words = [annotation.text for annotation in figure.layout.annotations]
    assert [words.count(word) for word in ("agrees", "compatible", "differs", "not measured")] == [2, 1, 1, 1]
    assert "2.530 [2.410, 2.650]" in words
    assert [axis.title.text for axis in figure.select_xaxes()] == ["nats per answer token"] * 2 + ["share"]
    assert "[layer not in the run]" in words[-1]
    assert "attention share (oracle" in words[-1]
    assert [axis.ticktext for axis in figure.select_yaxes()][1] == (
        "prefix: none → oracle<br>(hidden=prefix+separator, prompt=none)",
    )


# --- all


def builders() -> dict[str, tuple[Callable[[pd.DataFrame], go.Figure], pd.DataFrame, list[str]]]:
    """Every figure with a small table and its text columns."""
    return {
        "budget_differences": (
            figures.budget_differences,
            tables.differences_table(2, CONTRASTS[:1]),
            ["contrast"],
        ),
        "head_map": (
            lambda t: figures.head_map(t, "bos"),
            tables.heads_table("contrast", 2, 2),
            ["contrast"],
        ),
        "split_bars": (figures.split_bars, tables.decomposition_table(), ["part", "contrast", "reason"]),
        "entropy_against_mass": (
            figures.entropy_against_mass,
            tables.entropies_table(2, CELLS[:3]),
            ["cell", "part"],
        ),
        "length_curves": (figures.length_curves, tables.lengths_table(), ["prefix", "prompt"]),
        "token_curves": (
            lambda t: figures.token_curves(
                t,
                quantity="cost",
                unit="nats",
                lines=list(dict.fromkeys(t["measure"])),
                facets=list(dict.fromkeys(t["mode"])),
            ),
            tables.chosen_tokens_table(),
            ["measure", "mode"],
        ),
        "keyword_curve": (figures.keyword_curve, tables.keywords_table(), []),
        "sink_audit": (figures.sink_audit, tables.sinks_table(2), ["cell"]),
        "published_beside_measured": (
            figures.published_beside_measured,
            tables.compared_table(),
            ["quantity", "unit", "part", "agreement", "baseline"],
        ),
        "example_scatter": (
            lambda t: figures.example_scatter(t, *list(dict.fromkeys(t["cell"]))[:2]),
            tables.examples_table(4),
            ["cell", "query", "answer"],
        ),
        "example_slopes": (
            lambda t: figures.example_slopes(t, list(dict.fromkeys(t["cell"]))),
            tables.examples_table(4),
            ["cell", "query", "answer"],
        ),
        "token_view": (
            lambda t: figures.token_view(t, layer=20),
            tables.tokens_table(document=4),
            ["cell", "key_token", "row_token"],
        ),
    }


@pytest.mark.parametrize("name", builders())
def test_every_figure_refuses_missing_columns_and_empty_tables(name: str) -> None:
    draw, table, _ = builders()[name]
    gone = {"example_scatter": "nll", "example_slopes": "nll", "token_view": "share"}.get(name, "n")
    with pytest.raises(ValueError, match=rf"{name}: missing columns: {gone}; given columns: "):
        draw(table.drop(columns=gone))
    if not name.startswith("example"):
        with pytest.raises(ValueError, match=f"{name}: the table has no rows"):
            draw(table.iloc[:0])


@pytest.mark.parametrize("name", builders())
def test_every_figure_shows_hostile_text_as_text_and_leaves_the_table_alone(name: str) -> None:
    draw, table, columns = builders()[name]
    for column in columns:
        table[column] = [f"{HOSTILE}{value}" for value in table[column]]
    before = table.copy()
    figure = draw(table)
    pd.testing.assert_frame_equal(table, before)
    if columns:
        assert_hostile_text_is_escaped(figure)


@pytest.mark.parametrize("name", builders())
def test_every_figure_is_the_same_twice_and_dark_only_in_colour(name: str) -> None:
    draw, table, _ = builders()[name]
    first = draw(table)
    assert first.to_json() == draw(table).to_json()
    assert first.layout.template.layout.font.family == theme.FONT
    assert first.layout.title.text.startswith("<b>")
    assert first.layout.height > 150


NLL_AXIS = "effect on answer NLL, baseline − treatment (nats)"
STATED = {
    "budget_differences": ({"decoder layer"}, {"difference (points)"}, "n = 600 independent examples"),
    "head_map": ({"head"}, {"decoder layer"}, "n = 600 independent examples"),
    "split_bars": ({"mean difference in answer NLL (nats)"}, set(), "n = 600 examples"),
    "entropy_against_mass": ({"mass (% of attention)"}, {"entropy (nats)"}, "n = 600 independent examples"),
    "length_curves": ({"document length (tokens)"}, {NLL_AXIS}, "n = 500 examples per point"),
    "token_curves": ({"chosen tokens (% of the document)"}, {"cost (nats)"}, "n = 500 examples per point"),
    "keyword_curve": ({"keywords in the prefix (count)"}, {NLL_AXIS}, "n = 500 examples per point"),
    "sink_audit": ({"decoder layer"}, {"share (%)"}, "n = 600 examples"),
    "published_beside_measured": ({"nats per answer token", "share"}, set(), "measured: n = 600 examples"),
    "example_scatter": (
        {"none · prefix+separator · none: answer NLL (nats per token)"},
        {"none · prefix+separator · random: answer NLL (nats per token)"},
        "n = 4 examples",
    ),
    "example_slopes": (set(), {"answer NLL (nats per token)"}, "n = 4 examples"),
    "token_view": ({"key (position)"}, {"answer row"}, "n = 1 example"),
}
"""Titles of the horizontal and of the vertical axes, and how the subtitle begins."""


@pytest.mark.parametrize("name", builders())
def test_every_figure_states_axes_units_and_n(name: str) -> None:
    draw, table, _ = builders()[name]
    figure = draw(table)
    across, up, beginning = STATED[name]
    assert {axis.title.text for axis in figure.select_xaxes()} - {None, ""} == across
    assert {axis.title.text for axis in figure.select_yaxes()} - {None, ""} == up
    assert figure.layout.title.subtitle.text.startswith(beginning)
    if name in ("head_map", "token_view"):
        unit = {"head_map": "difference on<br>bos (points)", "token_view": "share (%)"}[name]
        assert figure.layout.coloraxis.colorbar.title.text == unit


def test_head_map_holds_intervals_where_the_table_has_them() -> None:
    table = tables.heads_table("contrast", 3, 2).drop(columns="standard_error")
    table["low"], table["high"] = table["mean"] - 0.01, table["mean"] + 0.02
    trace = figures.head_map(table, "bos", facets=CONTRASTS[:1]).data[0]
    rows = table[(table.contrast == CONTRASTS[0]) & (table.role == "bos")].set_index(["layer", "head"])
    for i, j in np.ndindex(3, 2):
        assert list(trace.customdata[i, j][:3]) == rows.loc[(i, j), ["n", "low", "high"]].tolist()
    assert "interval from %{customdata[1]:+.2%}<br>to %{customdata[2]:+.2%}" in trace.hovertemplate


def test_entropy_holds_all_four_ends() -> None:
    table = tables.entropies_table(3, CELLS[:1])
    ends = {"mass_low": -0.01, "mass_high": 0.02, "entropy_low": -0.1, "entropy_high": 0.2}
    for name, shift in ends.items():
        table[name] = table[name.partition("_")[0]] + shift
    traces = traces_by(figures.entropy_against_mass(table), "part")
    for (part,), trace in traces.items():
        rows = table[table.part == part]
        np.testing.assert_allclose(trace.x - trace.error_x.arrayminus, rows["mass_low"])
        np.testing.assert_allclose(trace.x + trace.error_x.array, rows["mass_high"])
        np.testing.assert_allclose(trace.y - trace.error_y.arrayminus, rows["entropy_low"])
        np.testing.assert_allclose(trace.y + trace.error_y.array, rows["entropy_high"])


def test_keyword_curve_holds_intervals_and_n_by_line() -> None:
    table = pd.concat([tables.keywords_table().assign(prompt=prompt) for prompt in ("none", "query")])
    table.loc[table.prompt == "query", ["mean", "low", "high"]] -= 0.05
    figure = figures.keyword_curve(table, line="prompt")
    traces, bands = (by(figure, "line") for by in (traces_by, bands_by))
    for (prompt,), trace in traces.items():
        rows = table[table.prompt == prompt]
        np.testing.assert_array_equal(trace.y, rows["mean"])
        np.testing.assert_array_equal(trace.customdata, rows[["low", "high", "n"]])
        assert_band(bands[(prompt,)], rows["keywords"], rows["low"], rows["high"])


def test_published_holds_both_ends_and_n() -> None:
    table = tables.compared_table()
    for trace in figures.published_beside_measured(table).data:
        if trace.meta["what"] == "measured":
            rows = table[table.quantity == trace.meta["group"]]
            np.testing.assert_allclose(trace.x - trace.error_x.arrayminus, rows["low"])
            found = np.array([row[:5] for row in trace.customdata], dtype=float)
            np.testing.assert_array_equal(found, rows[["published", "measured", "low", "high", "n"]])


# --- words


@pytest.mark.parametrize("name", builders())
def test_every_figure_is_told_in_words(name: str) -> None:
    draw, table, _ = builders()[name]
    figure = draw(table)
    told = figures.described(figure)
    across, up, beginning = STATED[name]
    for part in (*across, *up, beginning):
        assert part in told
    assert "<" not in told.replace("<end>", "").replace("<bos>", "")
    for trace in figure.data:
        if trace.showlegend and trace.name:
            assert trace.name in told


def test_description_counts_panels_and_names_gaps() -> None:
    table = tables.sinks_table(3)
    table.loc[0, ["mean", "low", "high"]] = np.nan
    told = figures.described(figures.sink_audit(table))
    assert "8 panels. Across: decoder layer; up: share (%)." in told
    assert "Series: sink visible, measured, predicted." in told
    assert "No value, shown as a gap: merged / document, layer 0" in told


def test_forest_shows_what_was_found_of_slopes_filled_and_the_rest_hollow() -> None:
    table = tables.effects_table()
    words = ("more help or less harm", "less help or more harm", "steady within ±0.05", "undecided")
    kinds = ("positive", "negative", "none", "undecided")
    places = [row % 4 for row in range(len(table))]
    table["verdict"], table["kind"] = [words[place] for place in places], [kinds[place] for place in places]
    table["order"] = -1
    figure = figures.effects_forest(table.assign(smallest_effect=0.05))
    markers = {trace.meta["verdict"]: trace.marker for trace in figure.data}
    assert set(markers) == set(words)
    assert {verdict: marker.symbol.endswith("-open") for verdict, marker in markers.items()} == {
        "more help or less harm": False,
        "less help or more harm": False,
        "steady within ±0.05": True,
        "undecided": True,
    }
    assert len({(marker.symbol, marker.color) for marker in markers.values()}) == 4
    beside = [annotation.text for annotation in figure.layout.annotations]
    assert (
        sum("<b>more help or less harm</b>" in text for text in beside)
        == (table.verdict == "more help or less harm").sum()
    )
    assert not any("<b>steady" in text for text in beside)
    assert "interaction" not in figure.layout.title.subtitle.text


def test_a_difference_of_differences_is_labelled_by_both_of_its_factors() -> None:
    def cell(prefix: str, prompt: str) -> str:
        return f"prefix={prefix}|hidden=first-n|prompt={prompt}"

    def label(baseline: str, treatment: str) -> str:
        return contrast_label(f"{baseline} → {treatment}", baseline, treatment)

    baseline = f"{cell('none', 'none')} + {cell('oracle', 'query')}"
    treatment = f"{cell('oracle', 'none')} + {cell('none', 'query')}"
    assert label(baseline, treatment) == "prefix: none → oracle × prompt: none → query (hidden=first-n)"
    # Four cells that cross no two factors keep their own names.
    other = f"{cell('oracle', 'none')} + {cell('none', 'random')}"
    assert label(baseline, other) == f"{baseline} → {other}"


def test_a_note_of_gaps_begins_with_what_is_missing() -> None:
    entries = [{"line": "oracle", "rows": 1, "of": 2, "length": [4095.0]}]
    note = missing_note(entries, ("line",), "length")
    assert note == "No value, shown as a gap: length 4095 (oracle)."
