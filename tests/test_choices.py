"""What a reader chooses of the statistics: as options, in run.json, and in every table that follows."""

from __future__ import annotations

import argparse

import pytest

from budgetlens.command.choice_options import add_arguments, choices_of
from budgetlens.command.finishing import choose
from budgetlens.model.declaration import Declaration
from budgetlens.runs.run import Run
from budgetlens.statistics.choices import Choices, Smallest
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.outcomes import outcome_tables
from tests.test_table_scale import write_run

NATS = Quantity(
    "nll", "answer's NLL", "nats", better="lower", smallest_difference=0.05, smallest_relative=True
)
SHARE = Quantity("share", "share", "fraction of attention", smallest_difference=0.01, part_of_whole=True)


@pytest.mark.parametrize(
    ("text", "size", "relative"),
    [
        ("0.02", 0.02, False),
        ("2%", 0.02, True),
        ("2.5 %", 0.025, True),
        (".5", 0.5, False),
        ("1e-3", None, None),
    ],
)
def test_a_smallest_effect_is_an_amount_or_a_part(text, size, relative):
    if size is None:
        with pytest.raises(ValueError, match="expected an amount above 0"):
            Smallest(text)
        return
    found = Smallest(text).of(NATS)
    assert (found.smallest_difference, found.smallest_relative) == (pytest.approx(size), relative)
    assert (found.name, found.unit, found.better) == (NATS.name, NATS.unit, NATS.better)


def test_points_are_of_parts_of_a_whole():
    assert Smallest("2pp").of(SHARE).smallest_difference == pytest.approx(0.02)
    assert not Smallest("2pp").of(SHARE).smallest_relative
    with pytest.raises(ValueError, match="2pp is in points of a whole, and the answer's NLL is in nats"):
        Smallest("2pp").of(NATS)


@pytest.mark.parametrize("text", ["0", "0%", "-1", "", "5 percent", "nan", "inf", "1ppp"])
def test_what_is_no_smallest_effect_is_refused(text):
    with pytest.raises(ValueError, match="the smallest effect is"):
        Smallest(text)


def options(*given: str) -> Choices:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return choices_of(parser.parse_args(list(given)))


def test_options_are_by_probe_and_kept_in_run_json():
    found = options("--smallest-effect", "2%", "--smallest-effect", "budgets=1pp", "--correction", "fdr")
    assert found == Choices({"": Smallest("2%"), "budgets": Smallest("1pp")}, "fdr")
    assert Choices.from_mapping(found.to_mapping()) == found
    assert options().to_mapping() == {}
    with pytest.raises(ValueError, match="of budgets was given twice"):
        options("--smallest-effect", "budgets=1pp", "--smallest-effect", "budgets=2pp")
    with pytest.raises(argparse.ArgumentError, match="names no probe before '='"):
        options("--smallest-effect", "=1pp")


@pytest.mark.parametrize(
    "kept",
    [{"correction": "holmes"}, {"smallest_effect": ["5%"]}, {"smallest_effect": {"nll": "x"}}, {"other": 1}],
)
def test_a_run_json_of_other_choices_is_refused(kept):
    with pytest.raises(ValueError, match=r"no choice that there is|smallest effect is"):
        Choices.from_mapping(kept)


def test_a_declaration_changes_what_is_tested_alone():
    further = Quantity("mass", "mass", "fraction", smallest_difference=0.5)
    declared = Declaration(title="Shares", quantities=(SHARE, further), axis="role")
    changed = declared.with_smallest(Smallest("3pp"))
    assert changed.tested.smallest_difference == pytest.approx(0.03)
    assert changed.quantities[1] == further
    assert changed.title == declared.title


def test_a_run_keeps_what_is_chosen_and_judges_by_it(tmp_path):
    run = write_run(tmp_path / "run", 12, layers=1, heads=1)
    assert (run.inference.smallest_difference, run.inference.smallest_relative) == (0.05, True)
    choose(run.path, Choices())
    assert run.directory.manifest().choices == {}
    choose(run.path, Choices({"": Smallest("2%"), "budgets": Smallest("3pp")}, "fdr"))
    again = Run.open(run.path)
    assert (again.inference.smallest_difference, again.inference.correction) == (pytest.approx(0.02), "fdr")
    tested = again.declarations["budgets"].tested
    assert tested.smallest_difference == pytest.approx(0.03)
    tables = outcome_tables(again)
    effects = tables["effects"]
    assert set(effects["smallest_share"]) == {0.02}
    assert "p_fdr" in effects
    bare = again.outcomes.groupby("cell", observed=True)["nll"].mean()
    simple = effects[effects["order"] == 1].iloc[0]
    assert simple["smallest_effect"] == pytest.approx(0.02 * bare[simple["baseline"]])
    # What is not chosen anew stays.
    choose(run.path, Choices(correction="none"))
    kept = Run.open(run.path)
    assert (kept.inference.correction, kept.inference.smallest_difference) == ("none", pytest.approx(0.02))
    with pytest.raises(ValueError, match="names the probe 'norms', which tests no differences"):
        choose(run.path, Choices({"norms": Smallest("1pp")}))
    assert Run.open(run.path).choices == kept.choices
