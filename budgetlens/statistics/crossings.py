"""What a run's cells cross: full crossings of factors, and cells that differ only in a draw.

Designs are crossings plus extra cells (a position control, a second baseline). An analysis of variance needs
a full crossing, and several random seeds are cells whose levels end in another `#k`; both are read from the
cells themselves, so that they work for any design.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from budgetlens.registry.parameters import split_draw
from budgetlens.statistics.contrasts import Contrast

#: More combinations of levels than this are not searched one by one.
SEARCHED = 50_000

#: Another example whose text a level takes, by its distance: `random@-1`, `wrong_keywords@1:5`.
_DONOR = re.compile(r"@-?[0-9]+")

Levels = tuple[str, ...]


@dataclass(frozen=True)
class Crossing:
    """A full crossing: the factors that vary, the others' levels, and the cells at every combination.

    `cells` maps a name of this crossing's own (`factor=level|...` of the varied factors) to the run's cells
    there, more than one where they are draws of the same level.
    """

    factors: Mapping[str, Levels]
    held: Mapping[str, str]
    cells: Mapping[str, tuple[str, ...]]

    @property
    def words(self) -> str:
        """Such as `prefix (2) × prompt (3), hidden=none`."""
        varied = " × ".join(f"{factor} ({len(levels)})" for factor, levels in self.factors.items())
        return ", ".join([varied, *(f"{factor}={level}" for factor, level in self.held.items())])


def full_crossings(cells: Mapping[str, Mapping[str, str]]) -> list[Crossing]:
    """The largest full crossing of each number of factors that is no part of a larger one found.

    Args:
        cells: cell name to its factor levels, all over the same factors, in the design's order.

    Returns:
        Crossings with more factors first; none where no two cells differ in a single factor.
    """
    if not cells:
        return []
    names = list(next(iter(cells.values())))
    groups: dict[Levels, list[str]] = {}
    for cell, levels in cells.items():
        groups.setdefault(tuple(without_draw(levels[name])[0] for name in names), []).append(cell)
    present = set(groups)
    order = [list(dict.fromkeys(key[axis] for key in groups)) for axis in range(len(names))]
    best: dict[int, tuple[Levels, ...]] = {}
    for box in _boxes(order, present):
        varied = sum(len(levels) > 1 for levels in box)
        if varied and (varied not in best or _size(box) > _size(best[varied])):
            best[varied] = box
    kept: list[tuple[Levels, ...]] = []
    for varied in sorted(best, reverse=True):
        if not any(_inside(best[varied], other) for other in kept):
            kept.append(best[varied])
    return [_crossing(names, box, groups) for box in kept]


def _boxes(order: Sequence[Sequence[str]], present: set[Levels]) -> Iterator[tuple[Levels, ...]]:
    """Full crossings within the cells that are there: every one, or a large one where there are too many."""
    longest = max(range(len(order)), key=lambda axis: len(order[axis]))
    others = [levels if axis != longest else () for axis, levels in enumerate(order)]
    if math.prod(2 ** len(levels) for levels in others) > SEARCHED:
        yield _peeled(order, present)
        return
    choices: list[list[Levels]] = [_subsets(levels) if levels else [()] for levels in others]
    for chosen in itertools.product(*choices):
        levels = tuple(
            level
            for level in order[longest]
            if all(
                key in present
                for key in itertools.product(
                    *(own if axis != longest else (level,) for axis, own in enumerate(chosen))
                )
            )
        )
        if levels:
            yield tuple(levels if axis == longest else own for axis, own in enumerate(chosen))


def _subsets(levels: Sequence[str]) -> list[Levels]:
    return [chosen for size in range(1, len(levels) + 1) for chosen in itertools.combinations(levels, size)]


def _peeled(order: Sequence[Sequence[str]], present: set[Levels]) -> tuple[Levels, ...]:
    """A full crossing by leaving out, again and again, the level with the most combinations missing."""
    box = [list(levels) for levels in order]
    while True:
        # Counted over the cells that are there: the combinations of many factors are far more.
        inside = [key for key in present if all(level in own for level, own in zip(key, box, strict=True))]
        counts = Counter((axis, level) for key in inside for axis, level in enumerate(key))
        whole = _size(box)
        filled: dict[tuple[int, str], float] = {
            (axis, level): counts[axis, level] / (whole // len(levels))
            for axis, levels in enumerate(box)
            for level in levels
        }
        if min(filled.values()) == 1:
            return tuple(tuple(levels) for levels in box)
        removable = {key: share for key, share in filled.items() if len(box[key[0]]) > 1}
        # Of equals the last, so that the design's first levels, its baselines, stay.
        axis, level = min(reversed(list(removable)), key=removable.__getitem__)
        box[axis].remove(level)


def _size(box: Sequence[Sequence[str]]) -> int:
    return math.prod(len(levels) for levels in box)


def _inside(inner: Sequence[Levels], outer: Sequence[Levels]) -> bool:
    return all(set(own) <= set(other) for own, other in zip(inner, outer, strict=True))


def _crossing(names: Sequence[str], box: Sequence[Levels], groups: Mapping[Levels, list[str]]) -> Crossing:
    varied = [axis for axis, levels in enumerate(box) if len(levels) > 1]
    cells = {
        "|".join(f"{names[axis]}={key[axis]}" for axis in varied): tuple(groups[key])
        for key in itertools.product(*box)
    }
    held = {name: levels[0] for name, levels in zip(names, box, strict=True) if len(levels) == 1}
    return Crossing({names[axis]: box[axis] for axis in varied}, held, cells)


def contrasts_by_draw(
    cells: Mapping[str, Mapping[str, str]], contrasts: Sequence[Contrast]
) -> list[tuple[Contrast, dict[str, Contrast]]]:
    """Contrasts that hold a random level with several draws, once per draw.

    Where a contrast averages over draws, its weight on them goes to one draw at a time. Cells of a single
    draw stay in every one.

    Returns:
        Pairs of a contrast, as declared, and {draw: the same contrast at that draw}, two draws or more.
    """
    home: dict[str, tuple[tuple[str, str], ...]] = {}
    groups: dict[tuple[tuple[str, str], ...], dict[str, str]] = {}
    for cell, levels in cells.items():
        split = {factor: without_draw(level) for factor, level in levels.items()}
        draws = {draw for _, draw in split.values() if draw}
        if len(draws) > 1:
            # Draws of two factors that differ are no draw of the whole cell.
            continue
        home[cell] = tuple((factor, level) for factor, (level, _) in split.items())
        groups.setdefault(home[cell], {})[next(iter(draws), "")] = cell
    found: list[tuple[Contrast, dict[str, Contrast]]] = []
    seen: set[frozenset] = set()
    for contrast in contrasts:
        if not all(cell in home for cell in contrast.weights):
            continue
        totals: dict[tuple[tuple[str, str], ...], float] = {}
        for cell, weight in contrast.weights.items():
            totals[home[cell]] = totals.get(home[cell], 0.0) + weight
        totals = {own: weight for own, weight in totals.items() if abs(weight) > 1e-9}
        drawn = [groups[own] for own in totals if len(groups[own]) > 1]
        places = frozenset((own, round(weight, 9)) for own, weight in totals.items())
        if not drawn or places in seen:
            continue
        seen.add(places)
        common = [draw for draw in drawn[0] if all(draw in group for group in drawn)]
        if len(common) < 2:
            continue
        by_draw = {
            draw: Contrast(
                f"{contrast.name} {draw}".strip(),
                contrast.family,
                {
                    (groups[own][draw] if len(groups[own]) > 1 else next(iter(groups[own].values()))): weight
                    for own, weight in totals.items()
                },
                contrast.effect_order,
            )
            for draw in common
        }
        found.append((contrast, by_draw))
    return found


def without_draw(level: str) -> tuple[str, str]:
    """A level without its draw, and the draw as it is written, empty where none is.

    Draws are `#k`, the same random choice with another seed, and `@k`, the same text taken from the example k
    places on.
    """
    plain, number = split_draw(level)
    donor = _DONOR.search(plain)
    if donor is None:
        return plain, f"#{number}" if number else ""
    return _DONOR.sub("", plain, count=1), donor[0] + (f"#{number}" if number else "")
