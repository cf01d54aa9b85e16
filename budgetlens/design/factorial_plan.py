"""What a design that names no contrasts is tested for: every effect that its cells can tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import replace

from budgetlens.design.design import Design
from budgetlens.registry.parameters import split_draw
from budgetlens.statistics.contrasts import Contrast, comparison, factor_contrast

MAIN, INTERACTIONS, SIMPLE, CELLS = "main effects", "interactions", "simple effects", "cells"

#: How many factors an interaction plot has room for.
_PLOTTED = 3

#: Levels by factor, without draws.
Levels = tuple[tuple[str, str], ...]


def automatic_contrasts(design: Design) -> tuple[Contrast, ...]:
    """Main effects, interactions and simple effects of a design; each kind is a family of tests of its own.

    The first level of a factor is the baseline of its others. Cells that differ in their draws only are
    averaged. Where the crossing is incomplete, an effect is averaged over those crossings of the other factors
    that hold all of its corners, and left out where there are none. Where no effect is left, the first cell is
    compared with every other (family ``cells``); a single cell has no contrasts.
    """
    cells = _cells_by_levels(design)
    factors = _varying(design)
    found = [
        contrast
        for chosen in _subsets(list(factors))
        for pairs in _pairs(factors, chosen)
        if (contrast := _effect(cells, pairs, {}, MAIN if len(pairs) == 1 else INTERACTIONS))
    ]
    if len(factors) > 1:
        for factor in factors:
            others = [other for other in factors if other != factor]
            for pairs in _pairs(factors, (factor,)):
                for held in itertools.product(*(factors[other] for other in others)):
                    at = dict(zip(others, held, strict=True))
                    simple = _effect(cells, pairs, at, SIMPLE)
                    if simple:
                        found.append(simple)
    if not found:
        first, *rest = (cell.name for cell in design.cells)
        found = [comparison(first, other, CELLS) for other in rest]
    return tuple(found)


def interaction_axes(design: Design) -> tuple[str, str] | tuple[str, str, str] | None:
    """Axis, lines and panels of an interaction plot where two or three factors vary; None otherwise."""
    varying = [
        factor.name
        for factor in design.factors
        if len({cell.factors[factor.name] for cell in design.cells}) > 1
    ]
    if len(varying) == 2:
        return varying[1], varying[0]
    if len(varying) == _PLOTTED:
        return varying[2], varying[0], varying[1]
    return None


def _effect(
    cells: Mapping[Levels, list[str]],
    pairs: Mapping[str, tuple[str, str]],
    at: Mapping[str, str],
    family: str,
) -> Contrast | None:
    """The contrast over the crossings of the free factors that hold every corner; None without any."""
    corners: dict[Levels, set[Levels]] = {
        tuple(zip(pairs, corner, strict=True)): set() for corner in itertools.product(*pairs.values())
    }
    for levels in cells:
        own = dict(levels)
        corner = tuple((factor, own[factor]) for factor in pairs)
        if corner in corners and all(own[factor] == level for factor, level in at.items()):
            corners[corner].add(_rest(levels, pairs))
    common = set.intersection(*corners.values())
    if not common:
        return None
    names = {
        "|".join(f"{factor}={level}" for factor, level in levels): levels
        for levels in cells
        if _rest(levels, pairs) in common
    }
    contrast = factor_contrast(
        {name: dict(levels) for name, levels in names.items()}, pairs, family=family, at=at
    )
    weights = {
        cell: weight / len(cells[names[name]])
        for name, weight in contrast.weights.items()
        for cell in cells[names[name]]
    }
    return replace(contrast, weights=weights)


def _rest(levels: Levels, pairs: Mapping[str, object]) -> Levels:
    return tuple(pair for pair in levels if pair[0] not in pairs)


def _cells_by_levels(design: Design) -> dict[Levels, list[str]]:
    """The names of the cells by their levels without draws."""
    grouped: dict[Levels, list[str]] = {}
    for cell in design.cells:
        levels = tuple((factor, split_draw(level)[0]) for factor, level in cell.levels)
        grouped.setdefault(levels, []).append(cell.name)
    return grouped


def _varying(design: Design) -> dict[str, list[str]]:
    """Levels without draws of the factors that have more than one, in the order of the design."""
    levels: dict[str, dict[str, None]] = {factor.name: {} for factor in design.factors}
    for factor in design.factors:
        used = {cell.factors[factor.name] for cell in design.cells}
        ordered = [*factor.levels, *sorted(used - set(factor.levels))]
        levels[factor.name] = {split_draw(level)[0]: None for level in ordered if level in used}
    return {factor: list(own) for factor, own in levels.items() if len(own) > 1}


def _subsets(factors: list[str]) -> Iterator[tuple[str, ...]]:
    for order in range(1, len(factors) + 1):
        yield from itertools.combinations(factors, order)


def _pairs(factors: Mapping[str, list[str]], chosen: tuple[str, ...]) -> Iterator[dict[str, tuple[str, str]]]:
    """For every combination of treatments: each chosen factor with its baseline and that treatment."""
    for treatments in itertools.product(*(factors[factor][1:] for factor in chosen)):
        yield {factor: (factors[factor][0], level) for factor, level in zip(chosen, treatments, strict=True)}
