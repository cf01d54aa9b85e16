"""What a design that names no contrasts is tested for: every effect that its cells can tell."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from budgetlens.design.design import Design
from budgetlens.design.random_heads import pairs_with_null
from budgetlens.registry.parameters import split_draw
from budgetlens.statistics.contrasts import (
    Contrast,
    averaged,
    comparison,
    distinct,
    effect_words,
)

MAIN, INTERACTIONS, SIMPLE, CELLS = "main effects", "interactions", "simple effects", "cells"
#: Family of named heads against as many random ones.
RANDOM_HEADS = "against random heads"

#: At most so many contrasts, with so many weights of cells together, are made without being named.
MOST_CONTRASTS, MOST_WEIGHTS = 2_000, 200_000

#: How many factors an interaction plot has room for.
_PLOTTED = 3

#: The place of each factor's level among its levels, the baseline's being 0; factors that don't vary are left out.
Place = tuple[int, ...]


@dataclass(frozen=True)
class Crossed:
    """Some factors, by number, each with the level that its baseline is compared with.

    Its crossings are named by the place of their first corner, where all these factors are at their baselines.
    """

    factors: tuple[int, ...] = ()
    levels: tuple[int, ...] = ()

    @property
    def order(self) -> int:
        """How many factors it crosses."""
        return len(self.factors)

    def corners(self, base: Place) -> Iterator[tuple[Place, int]]:
        """The places of a crossing with their signs, the first corner first."""
        for moved in itertools.product((False, True), repeat=self.order):
            place = list(base)
            for factor, level, moves in zip(self.factors, self.levels, moved, strict=True):
                place[factor] = level if moves else 0
            yield tuple(place), -1 if sum(moved) % 2 else 1


@dataclass(frozen=True)
class Places:
    """The cells of a design by their places; cells that differ in their draws only share one."""

    design: Design

    @cached_property
    def factors(self) -> dict[str, list[str]]:
        """Levels without draws of the factors that have more than one, in the order of the design."""
        levels: dict[str, dict[str, None]] = {}
        for factor in self.design.factors:
            used = {cell.factors[factor.name] for cell in self.design.cells}
            ordered = [*factor.levels, *sorted(used - set(factor.levels))]
            levels[factor.name] = {split_draw(level)[0]: None for level in ordered if level in used}
        return {factor: list(own) for factor, own in levels.items() if len(own) > 1}

    @cached_property
    def cells(self) -> dict[Place, tuple[str, ...]]:
        """The names of the cells at each place, in the order of the design."""
        grouped: dict[Place, list[str]] = {}
        for cell in self.design.cells:
            own = cell.factors
            place = tuple(levels.index(split_draw(own[factor])[0]) for factor, levels in self.factors.items())
            grouped.setdefault(place, []).append(cell.name)
        return {place: tuple(names) for place, names in grouped.items()}

    @cached_property
    def order(self) -> dict[Place, int]:
        """The number of each place in the order of the design."""
        return {place: number for number, place in enumerate(self.cells)}

    def effects(self) -> Iterator[dict[Crossed, list[Place]]]:
        """The effects of one factor, of two, and so on, each with its crossings; only those that have any.

        An effect has no crossing that the effect of fewer of its factors lacks, so that each order is made of the
        one before, and nothing is asked that no cell answers.
        """
        found: dict[Crossed, list[Place]] = {Crossed(): list(self.cells)}
        while found:
            wider: dict[Crossed, list[Place]] = {}
            for effect, bases in found.items():
                known = set(bases)
                for base in bases:
                    for factor in range(max(effect.factors, default=-1) + 1, len(base)):
                        first = (*base[:factor], 0, *base[factor + 1 :])
                        if base[factor] and first in known:
                            more = Crossed((*effect.factors, factor), (*effect.levels, base[factor]))
                            wider.setdefault(more, []).append(first)
            found = dict(sorted(wider.items(), key=lambda item: (item[0].factors, item[0].levels)))
            if found:
                yield found

    def contrast(
        self, effect: Crossed, bases: Iterable[Place], family: str, held: Mapping[str, str]
    ) -> Contrast:
        """The contrast of an effect, averaged over crossings and draws."""
        signs = {place: sign for base in bases for place, sign in effect.corners(base)}
        places: dict[tuple[str, ...], float] = {
            self.cells[place]: signs[place] for place in sorted(signs, key=self.order.__getitem__)
        }
        names = list(self.factors)
        pairs = {
            names[factor]: (self.factors[names[factor]][0], self.factors[names[factor]][level])
            for factor, level in zip(effect.factors, effect.levels, strict=True)
        }
        return Contrast(effect_words(pairs, held), family, averaged(places, effect.order), order=effect.order)


def automatic_contrasts(design: Design) -> tuple[Contrast, ...]:
    """Main effects, interactions and simple effects of a design; each kind is a family of tests of its own.

    The first level of a factor is the baseline of its others; a level that names heads is compared with as many random
    ones as well, where those are levels (:mod:`budgetlens.design.random_heads`). Cells that differ in their draws only are
    averaged. Where the crossing is incomplete, an effect is averaged over those crossings of the other factors
    that hold all of its corners, and left out where there are none. Where no effect is left, the first cell is
    compared with every other (family ``cells``); a single cell has no contrasts.

    A contrast stands once: a simple effect that is all that there is of a main effect is not tested again. A large
    design is not tested for everything: the interactions of two factors, of three and so on, and then the simple
    effects, stand as wholes, and are left out where they would bring the contrasts over :data:`MOST_CONTRASTS` or
    their weights over :data:`MOST_WEIGHTS`; interactions of more factors then are as well. What is left out can be
    named as a contrast.
    """
    found = distinct(_every_effect(Places(design)))
    if not found:
        first, *rest = (cell.name for cell in design.cells)
        found = tuple(comparison(first, other, CELLS) for other in rest)
    return found


def _every_effect(places: Places) -> Iterator[Contrast]:
    """The effects, as far as there is room for them, those that are the same under two names included."""
    contrasts = weights = 0
    main: dict[Crossed, list[Place]] = {}
    for effects in places.effects():
        order = next(iter(effects)).order
        size = sum(map(len, effects.values())) * 2**order
        if order > 1 and not _fits(contrasts + len(effects), weights + size):
            break
        contrasts, weights = contrasts + len(effects), weights + size
        for effect, bases in effects.items():
            yield places.contrast(effect, bases, MAIN if order == 1 else INTERACTIONS, {})
        main = main or effects
    yield from _against_random_heads(places)
    simple = sum(map(len, main.values()))
    if len(places.factors) > 1 and _fits(contrasts + simple, weights + 2 * simple):
        for effect, bases in main.items():
            for base in sorted(bases):
                held = {
                    name: levels[base[factor]]
                    for factor, (name, levels) in enumerate(places.factors.items())
                    if factor not in effect.factors
                }
                yield places.contrast(effect, [base], SIMPLE, held)


def _against_random_heads(places: Places) -> Iterator[Contrast]:
    """Random heads as the baseline of the named ones: negative where cutting the named raises the NLL by more."""
    for number, (factor, levels) in enumerate(places.factors.items()):
        for level, null in pairs_with_null(levels):
            weights: dict[tuple[str, ...], float] = {}
            for place, cells in places.cells.items():
                beside = (*place[:number], levels.index(null), *place[number + 1 :])
                if place[number] == levels.index(level) and beside in places.cells:
                    weights |= {places.cells[beside]: 1.0, cells: -1.0}
            if weights:
                name = f"{factor} {level} against random heads"
                yield Contrast(name, RANDOM_HEADS, averaged(weights, 1), order=1)


def _fits(contrasts: int, weights: int) -> bool:
    return contrasts <= MOST_CONTRASTS and weights <= MOST_WEIGHTS


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
