"""Which full crossings the cells of a design hold, and which of its levels are draws of one choice."""

from __future__ import annotations

import itertools
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetlens.statistics import crossings
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


def by_products(order: list[list[str]], present: set[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The box that is left when the emptiest level goes, again and again, counted over every combination."""
    box = [list(levels) for levels in order]
    while True:
        shares: dict[tuple[int, str], float] = {}
        for axis, levels in enumerate(box):
            for level in levels:
                keys = [key for key in itertools.product(*box) if key[axis] == level]
                shares[axis, level] = sum(key in present for key in keys) / len(keys)
        if min(shares.values()) == 1:
            return tuple(tuple(levels) for levels in box)
        removable = [key for key in shares if len(box[key[0]]) > 1]
        axis, level = min(reversed(removable), key=shares.__getitem__)
        box[axis].remove(level)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_crossing_too_large_to_be_searched_is_that_of_a_count_over_all_combinations(data: st.DataObject):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    every = list(itertools.product(*(list("wxyz"[:size]) for size in sizes)))
    keys = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))
    order = [list(dict.fromkeys(key[axis] for key in keys)) for axis in range(len(sizes))]
    expected = by_products(order, set(keys))
    cells = cells_of(*("|".join(f"f{axis}={level}" for axis, level in enumerate(key)) for key in keys))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crossings, "SEARCHED", 0)
        found = full_crossings(cells)
    if math.prod(map(len, expected)) == 1:
        assert found == []
    else:
        (crossing,) = found
        wanted = {f"f{axis}": levels for axis, levels in enumerate(expected) if len(levels) > 1}
        assert crossing.factors == wanted


def test_many_factors_with_a_few_cells_are_searched_at_once():
    base = dict.fromkeys((f"f{number}" for number in range(10)), "0")
    moved = [base, *(base | {factor: level} for factor in base for level in "123")]
    names = ["|".join(f"{factor}={level}" for factor, level in own.items()) for own in moved]
    started = time.perf_counter()
    (crossing,) = full_crossings(cells_of(*names))
    assert time.perf_counter() - started < 5
    assert list(crossing.factors.values()) == [("0", "1", "2", "3")]
