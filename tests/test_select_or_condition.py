"""Analysis 15 from end to end on a tiny model: its cells, its table by arithmetic on the records, its figure."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest

from analyses.studies.selection import losses, selection_figures
from analyses.studies.selection_plans import (
    AMOUNTS,
    BARE,
    ORACLE,
    PLACES,
    RANDOM,
    SERVED,
    TOLD,
    headline,
    plan,
)
from budgetlens.command.main import main
from budgetlens.design.catalogue import find_analysis
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.tables.complete import tables_of
from tests.conftest import write_corpus

EXAMPLES = 4


@pytest.fixture(scope="module")
def finished(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("selection")
    corpus = write_corpus(folder / "corpus.jsonl", EXAMPLES)
    given = ["run", "exp15", "--model", str(tiny_directory), "--corpus", str(corpus), "--no-report"]
    assert main([*given, "--out", str(folder / "run")]) == 0
    return Run.open(folder / "run")


def test_its_cells_are_every_score_and_amount_of_bare_and_conditioned_states() -> None:
    """Written out: what goes by the prompt's rows has no cell without a prompt."""
    own = plan()
    by_place: dict[tuple[str, str], list[str]] = {}
    for cell in own.design.cells:
        assert cell.factors["hidden"] == "prefix+separator"
        by_place.setdefault((cell.factors["prefix"], cell.factors["prompt"]), []).append(cell.factors["keep"])
    assert set(by_place) == {
        (prefix, prompt) for prefix in ("none", "oracle") for prompt in ("none", "query")
    }
    for (_, prompt), kept in by_place.items():
        expected = ["none"]
        for start, end in (
            *([("attention", ""), ("attention", ":last"), ("norm", "")] if prompt == "query" else []),
            ("first", ""),
            ("last", ""),
            *(("random", draw) for draw in ("", "#2", "#3")),
            ("attention", ":predicting"),
        ):
            expected += [f"{start}:{amount}%{end}" for amount in (10, 25, 50)]
        assert sorted(kept) == sorted(expected)
    assert find_analysis("exp15").plan("corrected") == own
    assert {one.name for one in headline()} <= {one.name for one in own.contrasts}


def test_what_is_lost_is_the_difference_of_the_records(finished: Run) -> None:
    table = tables_of(finished)[0]["selection"].set_index(["states", "score", "kept"])
    assert len(table) == sum(len(place.scores) * len(AMOUNTS) for place in PLACES)
    nll = finished.outcomes.astype({"example": str, "cell": str}).pivot(
        index="example", columns="cell", values="nll"
    )
    held = "prefix=oracle|hidden=prefix+separator|prompt=query|keep="
    whole = nll[f"{held}none"]
    draws = [nll[f"{held}random:25%{draw}"] for draw in ("", "#2", "#3")]
    floor = sum(draws) / 3
    own = table.loc["conditioned, query"]
    assert own.loc[("random", 25), "mean"] == pytest.approx((floor - whole).mean())
    assert own.loc[("random", 25), "nll"] == pytest.approx(floor.mean())
    assert numpy.isnan(own.loc[("random", 25), "over_random"])
    chosen = nll[f"{held}attention:25%"]
    row = own.loc[("attention of the prompt", 25)]
    assert row["mean"] == pytest.approx((chosen - whole).mean())
    assert row["over_random"] == pytest.approx((floor - chosen).mean())
    assert row["low"] < row["mean"] < row["high"]
    assert row["over_low"] < row["over_random"] < row["over_high"]


def test_effects_are_costs_gains_over_random_and_what_conditioning_spares(finished: Run) -> None:
    effects = tables_of(finished)[0]["effects"].set_index("contrast")["mean_difference"]
    wide = wide_cells(finished.outcomes, "nll")
    served, bare = losses(wide, SERVED), losses(wide, BARE)
    told = ("attention of the prompt", TOLD)
    assert effects[SERVED.cost(PLACES[0].scores[0], TOLD).name] == pytest.approx(-served[told].mean())
    over = (served[RANDOM.words, TOLD] - served[ORACLE.words, TOLD]).mean()
    assert effects[SERVED.over_random(ORACLE, TOLD).name] == pytest.approx(over)
    spared = (served[told] - bare[told]).mean()
    assert effects[f"conditioning spares attention {TOLD} % kept"] == pytest.approx(spared)


def test_the_figure_ends_where_nothing_is_hidden(finished: Run) -> None:
    figure = selection_figures(finished, tables_of(finished)[0])["selection"]
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len(lines) == sum(len(place.scores) for place in PLACES)
    for line in lines:
        assert list(line.x) == [10, 25, 50, 100]
        assert line.y[-1] == 0
