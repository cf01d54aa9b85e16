"""Which full crossings the cells of a design hold, and which of its levels are draws of one choice."""

from __future__ import annotations

from budgetlens.statistics.crossings import full_crossings, without_draw
from tests.run_records import cells_of, crossed


def test_extra_cells_are_left_out_of_the_crossing():
    cells = cells_of(
        *crossed(prefix=("none", "oracle"), prompt=("none", "query")), "prefix=none|prompt=position"
    )
    first, second = full_crossings(cells)
    assert first.factors == {"prefix": ("none", "oracle"), "prompt": ("none", "query")}
    assert len(first.cells) == 4
    # The control joins the one-factor crossing of the bare encoder, which no larger crossing holds.
    assert second.factors == {"prompt": ("none", "query", "position")}
    assert second.held == {"prefix": "none"}


def test_draws_are_one_level():
    cells = cells_of(
        "prefix=none|prompt=none", *(f"prefix=random{draw}|prompt=none" for draw in ("", "#1", "#2", "@-1"))
    )
    (crossing,) = full_crossings(cells)
    assert crossing.factors == {"prefix": ("none", "random")}
    assert len(crossing.cells["prefix=random"]) == 4
    assert without_draw("wrong_keywords@1:5") == ("wrong_keywords:5", "@1")
    assert without_draw("pool#2") == ("pool", "#2")
    assert without_draw("20-33") == ("20-33", "")


def test_crossings_within_a_larger_one_are_not_told_again():
    names = crossed(prefix=("none", "oracle"), hidden=("none",), prompt=("none", "random", "query"))
    (crossing,) = full_crossings(cells_of(*names))
    assert crossing.factors == {"prefix": ("none", "oracle"), "prompt": ("none", "random", "query")}
    assert crossing.held == {"hidden": "none"}


def test_designs_without_a_crossing_have_none():
    assert full_crossings({}) == []
    assert full_crossings(cells_of("prefix=none|prompt=none")) == []
    assert full_crossings(cells_of("prefix=a|prompt=b", "prefix=c|prompt=d")) == []


def test_large_designs_are_peeled_to_a_full_crossing():
    factors = {"one": tuple("abcdefghijkl"), "two": tuple("abcdefghijkl"), "three": tuple("uvwxyz")}
    names = [name for name in crossed(**factors) if name != "one=c|two=d|three=y"]
    (crossing,) = full_crossings(cells_of(*names))
    assert len(crossing.cells) == 11 * 12 * 6
    assert all(own[0] in names for own in crossing.cells.values())
