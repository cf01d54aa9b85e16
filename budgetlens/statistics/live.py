"""Contrasts that can act: a factor that changes nothing in a cell has no effect there to be tested or averaged.

What acts is read from what a run fed its model, never from names: ``idle`` names the factors of each cell whose levels
changed nothing in any example (an edit of a role that the cell's trials lack), and ``same`` maps a cell to the first
one that fed the very same trial in every example.

A crossing of a contrast is *live* where none of the factors that the contrast crosses is idle in one of its cells, and
where no step along one of them leads from a trial to the same trial. A contrast averages over its live crossings alone,
and is left out where it has none: its values would be 0 by construction, or the noise of floats. A contrast that is no
average of crossings is left out where its weights cancel over cells that are the same.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from budgetlens.statistics.contrasts import Contrast, averaged, factor_steps, parse_cell, same_effect
from budgetlens.statistics.crossings import without_draw

if TYPE_CHECKING:
    import pandas as pd

#: Weights closer than this are equal.
_EQUAL = 1e-9

#: Levels without draws, by factor.
Levels = Mapping[str, str]


@dataclass(frozen=True)
class Crossing:
    """One crossing of an averaged contrast: the draws at each of its corners with their weight together."""

    corners: Mapping[tuple[str, ...], tuple[tuple[str, ...], float]]

    @property
    def cells(self) -> Iterator[str]:
        """Every cell of it."""
        for draws, _ in self.corners.values():
            yield from draws

    def steps(self) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """The draws on both sides of every step along one factor."""
        for (first, (own, _)), (second, (other, _)) in itertools.combinations(self.corners.items(), 2):
            if sum(level != beside for level, beside in zip(first, second, strict=True)) == 1:
                yield own, other


def live_contrasts(
    contrasts: Iterable[Contrast],
    idle: Mapping[str, Collection[str]],
    same: Mapping[str, str],
) -> tuple[Contrast, ...]:
    """The contrasts that can act, each averaged over its live crossings; in their order, each once.

    One that its live crossings make the same as another, the main effect of a factor that acts at one level of the
    others alone and its simple effect there, stands once, where the first of them stood.

    Args:
        contrasts: of cells with canonical names (`factor=level|...`); contrasts of other cells stay as they are.
        idle: by cell, the factors that change nothing in any example; a cell that is not named has none.
        same: by cell, the first cell that feeds the same trial in every example; one not named is the only one.
    """
    kept: dict[frozenset[tuple[str, float]], list[tuple[Contrast, bool]]] = {}
    found: list[Contrast] = []
    for contrast in contrasts:
        live = _live(contrast, idle, same)
        if live is None:
            continue
        alike = kept.setdefault(same_effect(live), [])
        reweighted = live is not contrast
        if not any(reweighted or earlier for _, earlier in alike):
            found.append(live)
        alike.append((live, reweighted))
    return tuple(found)


def live_cells(
    cells: Mapping[str, Levels], idle: Mapping[str, Collection[str]], same: Mapping[str, str]
) -> dict[str, Levels]:
    """The cells that a crossing may hold: those in which no factor is idle, and of the same ones the first."""
    return {
        cell: levels for cell, levels in cells.items() if not idle.get(cell) and same.get(cell, cell) == cell
    }


def idle_in_every_example(trials: pd.DataFrame) -> dict[str, frozenset[str]]:
    """The factors of each cell that change nothing in any example; cells without such factors are left out.

    Args:
        trials: one row per example and cell, columns cell and idle (factors joined by `+`, empty or missing where
            there are none); without the column, as in records of earlier versions, nothing is known.
    """
    if "idle" not in trials:
        return {}
    texts = trials["idle"].astype(object).fillna("").astype(str)
    found = {}
    for cell, own in texts.groupby(trials["cell"].astype(str), sort=False):
        common = frozenset.intersection(*(frozenset(text.split("+")) for text in own.unique())) - {""}
        if common:
            found[str(cell)] = common
    return found


def same_in_every_example(trials: pd.DataFrame) -> dict[str, str]:
    """The first cell that fed the same trial in every example, by cell; cells that no earlier one equals are left out.

    Args:
        trials: columns example, cell and same_as, the first cell of the example that fed the same trial; without the
            column, as in records of earlier versions, nothing is known.
    """
    if "same_as" not in trials or trials["same_as"].isna().any():
        return {}
    text = trials[["example", "cell", "same_as"]].astype(str)
    wide = text.pivot(index="example", columns="cell", values="same_as")
    first: dict[tuple[str, ...], str] = {}
    found = {}
    for cell in text["cell"].drop_duplicates():
        earlier = first.setdefault(tuple(wide[cell]), cell)
        if earlier != cell:
            found[cell] = earlier
    return found


def _live(
    contrast: Contrast, idle: Mapping[str, Collection[str]], same: Mapping[str, str]
) -> Contrast | None:
    """The contrast over its live crossings; None where there are none."""
    totals: dict[str, float] = {}
    for cell, weight in contrast.weights.items():
        first = same.get(cell, cell)
        totals[first] = totals.get(first, 0.0) + weight
    if all(abs(weight) < _EQUAL for weight in totals.values()):
        return None
    factors, crossings = _crossings(contrast)
    live = [crossing for crossing in crossings if _acts(crossing, factors, idle, same)]
    if len(live) == len(crossings):
        return contrast
    if not live:
        return None
    return replace(contrast, weights=_over(live, contrast, len(factors)))


def _acts(
    crossing: Crossing, factors: Collection[str], idle: Mapping[str, Collection[str]], same: Mapping[str, str]
) -> bool:
    if any(factor in idle.get(cell, ()) for cell in crossing.cells for factor in factors):
        return False
    return not any(_shares(own, same) == _shares(other, same) for own, other in crossing.steps())


def _shares(draws: Collection[str], same: Mapping[str, str]) -> dict[str, float]:
    """What share of the draws feeds each trial, by the first cell that feeds it."""
    counts = Counter(same.get(cell, cell) for cell in draws)
    return {first: count / len(draws) for first, count in counts.items()}


def _over(live: Iterable[Crossing], contrast: Contrast, order: int) -> dict[str, float]:
    """The weights of the contrast with the crossings alone, as large together as with all of its own."""
    weighed = {draws: weight for crossing in live for draws, weight in crossing.corners.values()}
    least = min(abs(weight) for weight in weighed.values())
    ordered = {
        draws: weighed[draws] / least
        for draws in dict.fromkeys(draws for cell in contrast.weights for draws in weighed if cell in draws)
    }
    positive = sum(weight for weight in contrast.weights.values() if weight > 0)
    whole = positive / 2 ** (order - 1)
    scale = 1.0 if abs(whole - 1) < _EQUAL else whole
    return {cell: weight * scale for cell, weight in averaged(ordered, order).items()}


def _crossings(contrast: Contrast) -> tuple[tuple[str, ...], list[Crossing]]:
    """The factors that a contrast crosses and the crossings over which it averages; none where it is no such average."""
    try:
        levels = {cell: _without_draws(parse_cell(cell)) for cell in contrast.weights}
    except ValueError:
        return (), []
    draws: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for cell, own in levels.items():
        draws.setdefault(tuple(own.items()), []).append(cell)
    if any(_differ([contrast.weights[cell] for cell in cells]) for cells in draws.values()):
        return (), []
    together = {place: sum(contrast.weights[cell] for cell in cells) for place, cells in draws.items()}
    names = {"|".join(f"{factor}={level}" for factor, level in place): place for place in draws}
    merged = {name: together[place] for name, place in names.items()}
    if all(abs(weight) < _EQUAL for weight in merged.values()):
        return (), []
    factors = tuple(factor_steps(replace(contrast, weights=merged)))
    found: dict[tuple[tuple[str, str], ...], dict[tuple[str, ...], tuple[tuple[str, ...], float]]] = {}
    for place, cells in draws.items():
        rest = tuple((factor, level) for factor, level in place if factor not in factors)
        corner = tuple(level for factor, level in place if factor in factors)
        found.setdefault(rest, {})[corner] = tuple(cells), together[place]
    whole = all(
        len(corners) == 2 ** len(factors) and not _differ([abs(weight) for _, weight in corners.values()])
        for corners in found.values()
    )
    return (factors, [Crossing(corners) for corners in found.values()]) if factors and whole else ((), [])


def _without_draws(levels: Levels) -> dict[str, str]:
    return {factor: without_draw(level)[0] for factor, level in levels.items()}


def _differ(weights: Collection[float]) -> bool:
    return max(weights) - min(weights) > _EQUAL
