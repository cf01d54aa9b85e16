"""A short campaign of bad inputs (:mod:`tests.bad_inputs`), and that the campaign can fail."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.bad_inputs import KINDS, campaign, fault_of, requests, table


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.slow
def test_every_bad_input_gives_a_result_or_one_sentence(kind: str) -> None:
    outcomes = list(campaign({kind: KINDS[kind]}, seed=20, count=12))
    assert [(outcome.given, outcome.fault) for outcome in outcomes if outcome.fault] == []
    assert len(outcomes) == 12


def test_every_bad_request_is_answered_in_a_sentence() -> None:
    outcomes = list(requests(seed=20, count=40))
    assert [(outcome.given, outcome.fault) for outcome in outcomes if outcome.fault] == []
    assert len(outcomes) == 40
    assert {outcome.refused for outcome in outcomes} == {True, False}


def test_the_same_seed_makes_the_same_inputs(tmp_path: Path) -> None:
    for number, make in enumerate(KINDS.values()):
        folders = [tmp_path / f"{number}{name}" / "here" for name in "ab"]
        made = []
        for folder in folders:
            folder.mkdir(parents=True)
            given = make(random.Random("1"), folder)
            files = {
                path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
            }
            made.append(([word.replace(str(folder), "") for word in given], files))
        assert made[0] == made[1]


@pytest.mark.parametrize(
    ("status", "printed", "told", "fault"),
    [
        (0, "a table\n", "", ""),
        (2, "", "a note\nbudgetlens: the file has no rows; give one\n", ""),
        (2, "", "budgetlens run: argument --n: expected a number\n", ""),
        (0, "\x1b[31m", "", "prints"),
        (2, "", "budgetlens: evil \u202e text\n", "prints"),
        (2, "", "Traceback (most recent call last):\nbudgetlens: x\n", "a traceback"),
        (1, "", "budgetlens: x\n", "exit status 1"),
        (2, "", "", "no single sentence"),
        (2, "", "budgetlens: one\nbudgetlens: two\n", "no single sentence"),
        (2, "", "budgetlens: one\nand more\n", "no single sentence"),
        (2, "", "budgetlens: \n", "a sentence that says nothing"),
        (2, "", "budgetlens: " + "x" * 3_000, "a sentence of"),
    ],
)
def test_what_counts_as_a_fault(status: int, printed: str, told: str, fault: str) -> None:
    found = fault_of(status, printed, told)
    assert bool(found) == bool(fault)
    assert found.startswith(fault)


def test_the_table_counts() -> None:
    def empty(draw: random.Random, folder: Path) -> list[str]:
        return ["list", "probes"]

    outcomes = list(campaign({"sound": empty}, seed=1, count=2))
    assert table(outcomes).splitlines()[1].split() == ["sound", "2", "2", "0", "2"]
