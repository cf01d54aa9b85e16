"""Labels of cells and effects, made in one place from those of the levels, which stand where a level is defined."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from budgetlens.design.intervention import LevelError, available_interventions
from budgetlens.registry.labels import Label
from budgetlens.registry.parameters import split_draw
from budgetlens.statistics.contrasts import Contrast

#: Between the parts of a label.
BESIDE, CROSSED = " · ", " × "
#: Most cells of one side of an effect that are told one by one.
_MOST_TOLD = 2


def level_label(factor: str, level: str) -> Label:
    """The words of a level, as its intervention has them; the id of one whose distribution is not installed."""
    made = available_interventions().get(factor)
    text, _ = split_draw(level)
    if made is None:
        return Label(f"{factor}={text}")
    try:
        return made.label(text)
    except LevelError:
        # A level of another version of its intervention: it is told as it was written.
        return Label(f"{factor}={text}")


@dataclass(frozen=True)
class Labels:
    """The labels of a design's cells and effects.

    ``cells`` gives the levels of every cell by its name. Factors of which the design has one level are not told.
    """

    cells: Mapping[str, Mapping[str, str]]

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Factors with more than one level, in order."""
        levels: dict[str, set[str]] = {}
        for own in self.cells.values():
            for factor, level in own.items():
                levels.setdefault(factor, set()).add(level)
        return tuple(factor for factor, found in levels.items() if len(found) > 1)

    @cached_property
    def levels(self) -> Mapping[tuple[str, str], Label]:
        """The label of every level of every factor."""
        pairs = {pair for own in self.cells.values() for pair in own.items()}
        return {pair: level_label(*pair) for pair in sorted(pairs)}

    def cell(self, name: str) -> Label:
        """The words of a cell: those of its levels."""
        own = self.cells[name]
        resting = self._resting([name])
        told = [_where(self.levels[factor, own[factor]], resting) for factor in self.varying if factor in own]
        return joined(told, fallback=name)

    def _resting(self, cells: Iterable[str]) -> frozenset[str]:
        """Factors that are at rest in each of these cells."""
        own = [self.cells[cell] for cell in cells]
        return frozenset(
            factor
            for factor in own[0]
            if all(factor in levels and self.levels[factor, levels[factor]].rest for levels in own)
        )

    def effect(self, contrast: Contrast) -> Label:
        """The words of an effect: what it goes from and to, and what is held.

        Draws of one kind of level have one label and are told once. A comparison in which several factors change at
        once is told by its cells, one of more cells than a sentence has room for by its name.
        """
        places: dict[tuple[Label, ...], float] = {}
        if not set(contrast.weights) <= set(self.cells):
            return Label(contrast.name)
        resting = self._resting(contrast.weights)
        for cell, weight in contrast.weights.items():
            own = self.cells[cell]
            place = tuple(
                _where(self.levels[factor, own[factor]], resting) for factor in self.varying if factor in own
            )
            places[place] = places.get(place, 0.0) + weight
        steps = _steps(places)
        if steps and contrast.effect_order == len(steps):
            return self._crossing(places, steps)
        return _sides(places, contrast.name)

    def _crossing(
        self, places: Mapping[tuple[Label, ...], float], steps: Mapping[int, tuple[Label, Label]]
    ) -> Label:
        held: list[Label] = []
        for number, factor in enumerate(self.varying):
            found = list(dict.fromkeys(place[number] for place in places))
            if number in steps:
                continue
            if len(found) > 1:
                held.append(_averaged(factor, found))
            elif found[0].short:
                held.append(found[0])
        changed = [_change(*pair) for pair in steps.values()]
        return Label(
            BESIDE.join([CROSSED.join(own.short for own in changed), *(own.short for own in held)]),
            BESIDE.join([CROSSED.join(own.long for own in changed), *(own.long for own in held)]),
            " crossed with ".join(own.sentence for own in changed) + _with(held),
        )


def _where(label: Label, resting: frozenset[str]) -> Label:
    """What is told of a level while these factors are at rest."""
    return label.alone if label.alone is not None and label.needs in resting else label


def _averaged(factor: str, levels: Sequence[Label]) -> Label:
    """What an effect is averaged over."""
    of = f"over {len(levels)} levels of {factor.replace('_', ' ')}"
    return Label(f"averaged {of}", sentence=f"an average {of}")


def _with(held: Sequence[Label]) -> str:
    """What is held, at the end of a sentence's part."""
    return f", with {' and '.join(own.sentence for own in held)}" if held else ""


def joined(labels: Iterable[Label], *, fallback: str) -> Label:
    """Several labels as one; ``fallback`` where none of them has anything to tell."""
    own = list(labels)
    told = [label for label in own if label.short] or own
    if not told:
        return Label(fallback or "all cells")
    return Label(
        BESIDE.join(label.short for label in told if label.short),
        BESIDE.join(label.long for label in told),
        " and ".join(label.sentence for label in told),
    )


def _steps(places: Mapping[tuple[Label, ...], float]) -> dict[int, tuple[Label, Label]]:
    """The factors, by number, whose exchange of two ends turns the sign of every place, with the ends in order."""
    first = next(iter(places))
    steps = {}
    for number in range(len(first)):
        ends = list(dict.fromkeys(place[number] for place in places))
        if len(ends) != 2:
            continue
        other = {ends[0]: ends[1], ends[1]: ends[0]}
        if all(
            abs(places.get((*place[:number], other[place[number]], *place[number + 1 :]), 0.0) + weight)
            < 1e-9
            for place, weight in places.items()
        ):
            positive = next(place for place, weight in places.items() if weight > 0)
            steps[number] = (positive[number], other[positive[number]])
    return steps


def _change(baseline: Label, treatment: Label) -> Label:
    """From one level to another: what is new, and instead of what where there was something."""
    if baseline.rest:
        return Label(treatment.short or treatment.long, treatment.long, treatment.sentence)
    new, old = treatment.short or treatment.long, baseline.short or baseline.long
    # prompt: the query instead of random text.
    kind, colon, rest = old.partition(": ")
    return Label(
        f"{new} instead of {rest if colon and new.startswith(f'{kind}: ') else old}",
        f"{treatment.long} instead of {baseline.long}",
        f"{treatment.sentence} instead of {baseline.sentence}",
    )


def _sides(places: Mapping[tuple[Label, ...], float], name: str) -> Label:
    """An effect told by the cells on both sides, without what all of them share; by its name where they are many."""
    width = range(len(next(iter(places))))
    shared = {number for number in width if len({place[number] for place in places}) == 1}
    held = [own for number, own in enumerate(next(iter(places))) if number in shared and own.short]
    sides: list[list[Label]] = []
    for sign in (-1, 1):
        own: Sequence[tuple[Label, ...]] = [place for place, weight in places.items() if weight * sign > 0]
        sides.append(
            [
                joined([label for number, label in enumerate(place) if number not in shared], fallback=name)
                for place in own
            ]
        )
    if max(map(len, sides), default=0) > _MOST_TOLD or not all(sides):
        return Label(name)
    treatment, baseline = sides
    short = [" + ".join(own.short or own.long for own in side) for side in (treatment, baseline)]
    long = [" + ".join(own.long for own in side) for side in (treatment, baseline)]
    told = [" and ".join(own.sentence for own in side) for side in (treatment, baseline)]
    return Label(
        BESIDE.join([f"({short[0]}) instead of ({short[1]})", *(own.short for own in held)]),
        BESIDE.join([f"({long[0]}) instead of ({long[1]})", *(own.long for own in held)]),
        f"{told[0]} instead of {told[1]}{_with(held)}",
    )
