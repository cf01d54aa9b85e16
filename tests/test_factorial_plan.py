"""What a design without contrasts is tested for, against an enumeration of all products of levels."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetlens.design.custom import custom_analysis, design_mapping
from budgetlens.design.design import Cell, Design, Factor, crossed
from budgetlens.design.factorial_plan import (
    CELLS,
    INTERACTIONS,
    MAIN,
    MOST_CONTRASTS,
    MOST_WEIGHTS,
    SIMPLE,
    automatic_contrasts,
)
from budgetlens.statistics.contrasts import averaged

#: Name, family, weights in order, order.
Row = tuple[str, str, list[tuple[str, float]], int]


def plain(level: str) -> str:
    return level.partition("#")[0]


def every_product(design: Design) -> Iterator[Row]:
    """Every subset of factors × treatment × crossing, asked one by one whether its cells are there."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for cell in design.cells:
        groups.setdefault(tuple(plain(level) for _, level in cell.levels), []).append(cell.name)
    names = [factor.name for factor in design.factors]
    levels = [
        list(
            dict.fromkeys(
                plain(level)
                for level in factor.levels
                if any(cell.factors[factor.name] == level for cell in design.cells)
            )
        )
        for factor in design.factors
    ]
    varying = [axis for axis, own in enumerate(levels) if len(own) > 1]

    def effect(
        chosen: tuple[int, ...], treatments: tuple[str, ...], held: dict[int, str], family: str
    ) -> Iterator[Row]:
        ends = {
            axis: (levels[axis][0], treatment) for axis, treatment in zip(chosen, treatments, strict=True)
        }
        rests = {tuple(level for axis, level in enumerate(key) if axis not in chosen) for key in groups}
        rests = {
            rest
            for rest in rests
            if all(whole(rest, corner, chosen) in groups for corner in itertools.product(*ends.values()))
            and all(whole(rest, treatments, chosen)[axis] == level for axis, level in held.items())
        }
        weights = [
            (cell, sign / len(rests) / len(cells))
            for key, cells in groups.items()
            if all(key[axis] in pair for axis, pair in ends.items())
            and tuple(level for axis, level in enumerate(key) if axis not in chosen) in rests
            for sign in [(-1) ** sum(key[axis] == pair[1] for axis, pair in ends.items())]
            for cell in cells
        ]
        if weights:
            words = " × ".join(f"{names[axis]} {first}→{second}" for axis, (first, second) in ends.items())
            words += "".join(f" | {names[axis]}={level}" for axis, level in held.items())
            yield words, family, weights, len(chosen)

    for size in range(1, len(varying) + 1):
        for chosen in itertools.combinations(varying, size):
            for treatments in itertools.product(*(levels[axis][1:] for axis in chosen)):
                yield from effect(chosen, treatments, {}, MAIN if size == 1 else INTERACTIONS)
    for axis in varying if len(varying) > 1 else ():
        others = [other for other in varying if other != axis]
        for treatment in levels[axis][1:]:
            for held in itertools.product(*(levels[other] for other in others)):
                yield from effect((axis,), (treatment,), dict(zip(others, held, strict=True)), SIMPLE)


def whole(rest: tuple[str, ...], corner: tuple[str, ...], chosen: tuple[int, ...]) -> tuple[str, ...]:
    key = list(rest)
    for axis, level in zip(chosen, corner, strict=True):
        key.insert(axis, level)
    return tuple(key)


def once(rows: Iterator[Row]) -> list[Row]:
    """Without those whose weights are a multiple of earlier ones."""
    kept: list[Row] = []
    for row in rows:
        own = dict(row[2])
        for _, _, other, _ in kept:
            ratios = {round(weight / own[cell], 9) for cell, weight in other if cell in own}
            if dict(other).keys() == own.keys() and len(ratios) == 1:
                break
        else:
            kept.append(row)
    return kept


@st.composite
def designs(draw: st.DrawFn) -> Design:
    levels = st.lists(
        st.sampled_from(["x", "y", "z", "u", "x#2", "y#2", "z#3"]), min_size=1, max_size=4, unique=True
    )
    factors = tuple(Factor(name, tuple(draw(levels))) for name in "abcd"[: draw(st.integers(1, 4))])
    cells = draw(st.lists(st.sampled_from(crossed(factors).cells), min_size=1, unique=True, max_size=60))
    return Design(factors, tuple(cells))


@settings(max_examples=150, deadline=None)
@given(designs())
def test_the_contrasts_are_those_of_every_product_of_levels(design: Design) -> None:
    expected = once(every_product(design))
    found = automatic_contrasts(design)
    if not expected:
        assert [contrast.family for contrast in found] == [CELLS] * (len(design.cells) - 1)
        return
    rows = [(one.name, one.family, list(one.weights.items()), one.order) for one in found]
    assert rows == expected


def listed(factors: int, levels: int, cells: int) -> dict[str, object]:
    """Cells that go from the baseline one factor at a time, then two: every factor but a few stays at its baseline."""
    names = [f"f{number}" for number in range(factors)]
    moves = [(name, f"{level}") for name in names for level in range(1, levels)]
    chosen = [(), *((move,) for move in moves), *itertools.combinations(moves, 2)]
    return {
        "factors": {name: [str(level) for level in range(levels)] for name in names},
        "cells": [dict.fromkeys(names, "0") | dict(own) for own in chosen if len(dict(own)) == len(own)][
            :cells
        ],
    }


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_many_factors_with_a_few_cells_are_planned_at_once(levels: int) -> None:
    """The products of the levels of 10 factors are up to a thousand million."""
    started = time.perf_counter()
    analysis = custom_analysis(listed(10, levels, 33))
    mapping = design_mapping(analysis, "corrected")
    assert time.perf_counter() - started < 5
    assert mapping["cells"] == [cell.name for cell in analysis.plans["corrected"].design.cells]
    contrasts = analysis.plans["corrected"].contrasts
    main = [contrast for contrast in contrasts if contrast.family == MAIN]
    assert len(main) == min(10 * (levels - 1), 32)
    assert {contrast.order for contrast in contrasts} == (
        {1, 2} if levels < 8 and 10 * (levels - 1) < 32 else {1}
    )


@pytest.mark.parametrize(("factors", "levels"), [(6, 4), (12, 2), (5, 5)])
def test_a_large_crossing_is_tested_for_as_many_kinds_of_effects_as_there_is_room_for(
    factors: int, levels: int
) -> None:
    design = crossed([Factor(f"f{number}", tuple("abcde"[:levels])) for number in range(factors)])
    started = time.perf_counter()
    contrasts = automatic_contrasts(design)
    assert time.perf_counter() - started < 20
    orders = [contrast.order for contrast in contrasts if contrast.family != SIMPLE]
    assert len(contrasts) <= MOST_CONTRASTS
    assert sum(len(contrast.weights) for contrast in contrasts) <= MOST_WEIGHTS
    # Every order stands as a whole: the combinations of that many factors, each with every treatment.
    binomial = {1: factors, 2: factors * (factors - 1) // 2, 3: factors * (factors - 1) * (factors - 2) // 6}
    highest = max(orders)
    assert highest == {(6, 4): 2, (12, 2): 1, (5, 5): 2}[factors, levels]
    assert {order: orders.count(order) for order in set(orders)} == {
        order: binomial[order] * (levels - 1) ** order for order in range(1, highest + 1)
    }
    assert {contrast.family for contrast in contrasts} <= {MAIN, INTERACTIONS}


def test_averages_over_crossings_and_draws_by_hand() -> None:
    places = {("a",): 1.0, ("b", "b#2"): -1.0, ("c",): 1.0, ("d", "d#2", "d#3"): -1.0}
    assert averaged(places) == {
        "a": 1 / 2, "b": -1 / 4, "b#2": -1 / 4, "c": 1 / 2, "d": -1 / 6, "d#2": -1 / 6, "d#3": -1 / 6,
    }  # fmt: skip
    assert averaged({("a",): 1.0, ("b",): -1.0, ("c",): -1.0, ("d",): 1.0}, 2) == {
        "a": 1,
        "b": -1,
        "c": -1,
        "d": 1,
    }
    # A crossing that counts three times as much as the other.
    assert averaged({("a",): 3.0, ("b",): -3.0, ("c",): 1.0, ("d",): -1.0}) == {
        "a": 0.75,
        "b": -0.75,
        "c": 0.25,
        "d": -0.25,
    }


def test_cells_that_share_a_name_are_still_refused() -> None:
    cell = Cell((("a", "x"),))
    with pytest.raises(ValueError, match="there twice: a=x"):
        Design((Factor("a", ("x",)),), (cell, cell))
