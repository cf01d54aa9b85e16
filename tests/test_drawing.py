"""The figures of a run: which there are, of which cells and levels, and that they hold the run's numbers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from plotly.graph_objects import Figure

from analyses.studies.knockout_plans import QUARTERS
from analyses.studies.knockouts import knockout_figures
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.roles import ROLES
from budgetlens.report import drawing, probe_drawing
from budgetlens.runs.manifest import CellFacts
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory
from budgetlens.runs.texts import read_texts
from budgetlens.tables.complete import tables_of
from figures.labels import visible_text
from probes.likelihood import Likelihood
from tests import figure_tables, report_pages
from tests.explorer_runs import HOSTILE, hostile_run


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path
) -> tuple[Run, dict[str, pd.DataFrame]]:
    """A run of exp08 with a tiny model over hostile texts, and its tables."""
    folder = tmp_path_factory.mktemp("drawn")
    made = Run.open(hostile_run(folder, tiny_directory), corpus=str(folder / "hostile.jsonl"))
    return made, tables_of(made)[0]


def test_every_run_has_the_figures_its_tables_allow(
    run: tuple[Run, dict[str, pd.DataFrame]],
) -> None:
    made, tables = run
    figures = drawing.draw_figures(made, tables)
    assert list(figures) == [
        "effects",
        "interaction",
        "splits",
        "splits_2",
        "examples",
        "examples_2",
        "examples_3",
        "budgets_decoder",
        "differences",
        "heads_document",
        "heads_bos",
        "entropies",
        "norm_decoder",
        "norm_differences",
    ]
    # The figure of differences has one line per role and headline contrast, with the table's numbers.
    plan = made.analysis.plan("corrected")
    lines = [trace for trace in figures["differences"].data if "band" not in trace.meta]
    table = tables["share_effects"].set_index(["contrast", "role"])
    assert {trace.meta["role"] for trace in lines} <= set(ROLES)
    for trace in lines:
        rows = table.loc[(trace.meta["contrast"], trace.meta["role"])].sort_values("layer")
        np.testing.assert_array_equal(trace.y, rows["mean"])
        np.testing.assert_array_equal(trace.customdata[:, :2], rows[["band_low", "band_high"]])
    assert {trace.meta["contrast"] for trace in lines} <= {c.name for c in plan.share_contrasts}


def test_points_of_examples_are_the_records(run: tuple[Run, dict[str, pd.DataFrame]]) -> None:
    made, tables = run
    drawn = drawing.draw_figures(made, tables)["examples"]
    nll = made.outcomes.astype({"example": str, "cell": str})
    wide = nll.pivot(index="example", columns="cell", values="nll")
    (points,) = [trace for trace in drawn.data if trace.meta and "x" in trace.meta]
    names = [entry[0] for entry in points.customdata]
    np.testing.assert_array_equal(points.x, wide.loc[names, points.meta["x"]])
    np.testing.assert_array_equal(points.y, wide.loc[names, points.meta["y"]])
    # The texts are on hover, as text, and no word stretches it.
    hovers = " ".join(entry[1] for entry in points.customdata)
    assert "&lt;script&gt;" in hovers
    assert "<script" not in hovers
    assert all(len(part) <= 80 for entry in points.customdata for part in visible_lines(entry[1]))
    assert len(names) == len(HOSTILE)
    # x is the baseline: below the diagonal the treatment helps.
    # The effect that decides comes first.
    (decides, *_), by_name = (
        made.analysis.conclusion("corrected").evidence,
        {own.name: own for own in made.analysis.plan("corrected").contrasts},
    )
    contrast = by_name[decides.effect]
    assert contrast.weights[points.meta["x"]] > 0 > contrast.weights[points.meta["y"]]


def visible_lines(hover: str) -> list[str]:
    """What a hover label shows, line by line, without the names of the columns."""
    return [visible_text(line) for line in hover.replace("</i>", "<br>").split("<br>")]


def test_a_role_that_is_0_everywhere_has_no_panel(run: tuple[Run, dict[str, pd.DataFrame]]) -> None:
    made, tables = run
    changed = tables["share_effects"].copy()
    changed.loc[changed["role"] == "eos", ["mean", "band_low", "band_high"]] = 0.0
    drawn = drawing.draw_figures(made, tables | {"share_effects": changed})["differences"]
    assert "eos" not in {trace.meta["role"] for trace in drawn.data}
    assert "document" in {trace.meta["role"] for trace in drawn.data}


def test_large_designs_show_the_cells_of_their_headlines() -> None:
    plan = find_analysis("exp12").plan("corrected")
    cells = [cell.name for cell in plan.design.cells]
    chosen, words = probe_drawing.drawn_cells(plan, pd.DataFrame({"cell": cells}))
    assert len(cells) == 132
    assert len(chosen) <= probe_drawing.MOST_PANELS
    assert words == f", {len(chosen)} of 132 cells"
    wanted = {cell for contrast in plan.headline_contrasts for cell in contrast.weights}
    assert set(chosen) <= wanted
    few = find_analysis("exp08").plan("corrected")
    names = [cell.name for cell in few.design.cells]
    assert probe_drawing.drawn_cells(few, pd.DataFrame({"cell": names})) == (names, "")


def numbered_effects(sizes: dict[str, int], headline: int = 0) -> pd.DataFrame:
    """A table of effects with families of these sizes; the first ``headline`` rows are called as exp12's are."""
    plan = find_analysis("exp12").plan("corrected")
    names = [contrast.name for contrast in plan.headline_contrasts][:headline]
    count = sum(sizes.values())
    one = figure_tables.effects_table().iloc[[0]]
    frame = pd.concat([one] * count, ignore_index=True)
    return frame.assign(
        contrast=names + [f"contrast {place}" for place in range(headline, count)],
        family=[family for family, size in sizes.items() for _ in range(size)],
        mean_difference=np.arange(count) / 100,
        low=np.arange(count) / 100 - 0.1,
        high=np.arange(count) / 100 + 0.1,
    )


def drawn_effects(figures: Iterable[Figure]) -> list[tuple[str, float]]:
    """Contrast and mean of every mark in some forests."""
    return [
        (words[7], float(mean))
        for figure in figures
        for trace in figure.data
        for words, mean in zip(trace.customdata, trace.x, strict=True)
    ]


@pytest.mark.parametrize(
    ("sizes", "headline", "rows"),
    [
        ({"one": 20, "two": 25}, 0, [45]),
        # The headline ones first, then families, whole where they fit.
        ({"one": 30, "two": 30, "three": 14}, 14, [14, 16, 44]),
        ({"one": 120}, 3, [3, 45, 45, 27]),
        # Without headline ones the first families.
        ({"one": 30, "two": 30, "three": 10}, 0, [30, 40]),
    ],
)
def test_more_effects_than_a_forest_holds_are_all_drawn_in_several(
    sizes: dict[str, int], headline: int, rows: list[int]
) -> None:
    plan = find_analysis("exp12").plan("corrected")
    effects = numbered_effects(sizes, headline)
    outcome = drawing.Drawn("likelihood", Likelihood.declares, plan, "run")
    drawn = drawing.headline_figures(outcome, (), {"effects": effects})
    drawn |= drawing.further_effects(outcome, {"effects": effects})
    assert list(drawn) == ["effects", *(f"effects_{number}" for number in range(2, len(rows) + 1))]
    assert [len(drawn_effects([figure])) for figure in drawn.values()] == rows
    assert sorted(drawn_effects(drawn.values())) == sorted(
        zip(effects["contrast"], effects["mean_difference"], strict=True)
    )
    title = visible_text(drawn["effects"].layout.title.text)
    assert (f"the {rows[0]} main ones of {len(effects)}" in title) == (len(rows) > 1)


def test_a_family_in_several_forests_says_which_part_it_is() -> None:
    pages = drawing.forest_pages(numbered_effects({"one": 50, "two": 3}))
    assert [list(dict.fromkeys(page["family"])) for page in pages] == [
        ["one (1 of 2)"],
        ["one (2 of 2)", "two"],
    ]


def no_run() -> Run:
    """A run of which nothing is read but what it says of itself."""
    return Run(RunDirectory(Path("nowhere")), report_pages.manifest())


def test_curves_of_knockouts_are_the_quarters_of_the_table() -> None:
    rows = [
        {
            "base": base,
            "rows": "answer",
            "keys": keys,
            "window": window,
            "n": 40,
            "mean": mean,
            "kind": "negative",
        }
        | {"low": mean - 0.1, "high": mean + 0.2, "share": 0.1}
        for mean, (base, keys, window) in enumerate(
            itertools.product(("seen", "hidden"), ("document", "bos"), (*QUARTERS, "all")), start=5
        )
    ]
    table = pd.DataFrame(rows)
    figure = knockout_figures(no_run(), {"knockouts": table})["knockout_curves"]
    drawn = {(trace.meta["facet"], trace.meta["line"]): trace for trace in figure.data}
    assert list(drawn) == [(keys, base) for keys in ("bos", "document") for base in ("seen", "hidden")]
    for (keys, base), trace in drawn.items():
        own = table[(table["keys"] == keys) & (table["base"] == base) & (table["window"] != "all")]
        np.testing.assert_array_equal(trace.y, own["mean"])
        np.testing.assert_allclose(trace.error_y.array, 0.2)
        np.testing.assert_allclose(trace.error_y.arrayminus, 0.1)
        assert [entry[4] for entry in trace.customdata] == list(QUARTERS)
    # A rise of 0 means something: it is on the axis of every panel, with a line.
    assert [shape.y0 for shape in figure.layout.shapes] == [0.0, 0.0]
    assert figure.layout.yaxis.range[0] < 0 < figure.layout.yaxis.range[1]
    titles = {axis.title.text for axis in figure.select_xaxes() if axis.title.text}
    assert titles == {"decoder layers, part of the depth"}


def test_maps_of_knockouts_frame_what_was_found_however_small() -> None:
    kinds = ("negative", "negative", "positive", "none", "undecided")
    table = pd.DataFrame({"window": (*QUARTERS, "all"), "kind": kinds, "mean": 0.1, "low": 0.0, "high": 0.2})
    table = table.assign(base="seen", rows="answer", keys="document", n=40, share=0.1)
    figure = knockout_figures(no_run(), {"knockouts": table})["knockout_windows"]
    framed = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "lines"]
    # A frame is a closed line of five points and a gap.
    assert sum(pd.notna(pd.Series(trace.x)).sum() // 5 for trace in framed) == 3


def test_lines_of_an_interaction_have_two_places_and_none_comes_first() -> None:
    cells = [
        CellFacts(f"{prompt}, {prefix}", "", {"prompt": prompt, "prefix": prefix})
        for prompt, prefix in (
            ("query", "none"),
            ("query", "oracle"),
            ("query", "pool"),
            ("none", "none"),
            ("none", "oracle"),
            ("position", "none"),
        )
    ]
    table = pd.DataFrame([cell.factors for cell in cells])
    levels = drawing._levels(cells, ("prompt", "prefix"), table)
    assert levels == {"prompt": ["none", "position", "query"], "prefix": ["none", "oracle"]}


def test_a_figure_names_the_levels_at_which_it_holds_other_factors() -> None:
    factors = {"prompt": ("none", "query"), "hidden": ("nothing", "bos"), "probe": ("same",)}
    crossed = [dict(zip(factors, levels, strict=True)) for levels in itertools.product(*factors.values())]
    cells = [CellFacts(str(number), "", each) for number, each in enumerate(crossed)]
    table = pd.DataFrame(crossed)
    kept, words = drawing._held(table, cells, ("prompt",))
    assert kept[["prompt", "hidden"]].to_numpy().tolist() == [["none", "nothing"], ["query", "nothing"]]
    assert words == " at hidden nothing"
    whole, words = drawing._held(table, cells, ("prompt", "hidden"))
    assert (len(whole), words) == (4, "")


def test_texts_of_hub_corpora_are_not_copied_into_figures(tmp_path: Path) -> None:
    rows = [
        {"query": f"query {i}", "document": f"document {i} " * 20, "answer": f"answer {i}"} for i in range(3)
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    default = find_analysis("exp08").n
    given = {"name": str(path), "n": 3, "hash": "another"}
    manifest = report_pages.manifest(command=[], corpus=given)
    corpus, reason = read_texts(manifest, str(path), default_n=default, hub=False)
    assert corpus is None
    assert "holds other texts" in reason
    manifest = report_pages.manifest(command=[], corpus=given | {"name": "ms_marco"})
    corpus, reason = read_texts(manifest, default_n=default, hub=False)
    assert corpus is None
    assert "ms_marco is a corpus of the hub" in reason
