"""What is compared, by factors and levels: effects, their differences and averages.

``effect(prefix=("none", "oracle"), prompt="query")`` is the prefix's effect with the query in the prompt: the first level
of the pair less the second. The difference of two effects is an interaction, ``mean`` averages effects, a list of levels
averages over them, and factors that are not named are averaged over. An effect knows no cells: :meth:`Effect.contrast`
finds them in a design.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from budgetlens.design.design import Cell
from budgetlens.registry.names import nearest
from budgetlens.statistics.contrasts import Contrast, effect_words

#: One level, or several that are averaged over, such as the draws of a random one.
Level = str | list[str]
#: Levels by factor, as an effect names them.
Place = tuple[tuple[str, tuple[str, ...]], ...]

#: Family of an effect that names none.
FAMILY = "effects"


@dataclass(frozen=True)
class Effect:
    """A weighting of places in a design; where its weights sum to 0, a comparison of them.

    ``+``, ``-``, ``*`` by a number and :func:`mean` make new effects without a name; :meth:`named` names one.

    Examples:
        >>> from budgetlens import Effect, effect
        >>> with_query = effect(prefix=("none", "oracle"), prompt="query")
        >>> interaction = (effect(prefix=("none", "oracle"), prompt="none") - with_query).named("what the query spares")
        >>> isinstance(interaction, Effect), interaction.name
        (True, 'what the query spares')
    """

    weights: tuple[tuple[Place, float], ...]
    name: str = ""
    family: str = FAMILY
    order: int = 0
    """As of :class:`budgetlens.statistics.contrasts.Contrast`; 0 reads it from the weights."""
    told: str = ""
    """What it is called where it has no name."""

    def __add__(self, other: object) -> Effect:
        if not isinstance(other, Effect):
            return NotImplemented
        return _summed([*self.weights, *other.weights])

    def __sub__(self, other: object) -> Effect:
        if not isinstance(other, Effect):
            return NotImplemented
        return self + other * -1.0

    def __mul__(self, factor: object) -> Effect:
        if not isinstance(factor, int | float):
            return NotImplemented
        # However often an effect is taken, it crosses as many factors.
        return Effect(tuple((where, weight * factor) for where, weight in self.weights), order=self.order)

    __rmul__ = __mul__

    def named(self, name: str, family: str | None = None, *, order: int | None = None) -> Effect:
        """The same effect under a name, in a family of tests, and of an order where its weights do not tell it."""
        return replace(
            self,
            name=name,
            family=self.family if family is None else family,
            order=self.order if order is None else order,
        )

    def at(self, **levels: Level) -> Effect:
        """The same effect where every place that does not name these factors has these levels of them."""
        held = tuple((factor, _levels(level, factor)) for factor, level in levels.items())
        moved = []
        for place, weight in self.weights:
            own = {factor for factor, _ in place}
            moved.append(((*place, *(each for each in held if each[0] not in own)), weight))
        known = {factor for place, _ in self.weights for factor, _ in place}
        told = "".join(
            f" | {factor}={'/'.join(level)}" for factor, level in held if self.told and factor not in known
        )
        return replace(self, weights=tuple(moved), told=self.told + told)

    def contrast(self, cells: Iterable[Cell]) -> Contrast:
        """The contrast of a design's cells that this effect is.

        Raises:
            ValueError: a factor or level that no cell has, places that name different factors, or factors averaged over
                that are not crossed with the effect's own, so that the average would compare different things.
        """
        found = _Cells(tuple(cells))
        named = {frozenset(factor for factor, _ in where) for where, _ in self.weights}
        if len(named) > 1:
            alone = sorted(frozenset.union(*named) - frozenset.intersection(*named))
            raise ValueError(
                f"{self.words}: {', '.join(alone)} is named on one side alone, and averaged over on the other; name the "
                "same factors in every place, or hold them all by .at()"
            )
        weights: dict[str, float] = {}
        crossings: dict[frozenset[str], Collection[tuple[str, ...]]] = {}
        for place, weight in self.weights:
            for chosen, part in found.of(place, crossings, self.words):
                weights[chosen] = weights.get(chosen, 0.0) + weight * part
        # What is left of weights that cancel is rounding.
        kept = {cell: weight for cell, weight in weights.items() if abs(weight) > 1e-12}
        if not kept:
            raise ValueError(
                f"{self.words}: its sides are the same cells, so that there is nothing to compare"
            )
        made = Contrast(self.words, self.family, kept)
        # An order is kept where the weights tell another one.
        return made if self.order in (0, made.effect_order) else replace(made, order=self.order)

    def cells(self, cells: Iterable[Cell]) -> tuple[Cell, ...]:
        """Those of a design's cells that this effect weighs, in their order. Raises ValueError as :meth:`contrast`."""
        found = _Cells(tuple(cells))
        crossings: dict[frozenset[str], Collection[tuple[str, ...]]] = {}
        names = {name for own, _ in self.weights for name, _ in found.of(own, crossings, self.words)}
        return tuple(cell for cell in found.cells if cell.name in names)

    @property
    def words(self) -> str:
        """Its name, or one that tells its places."""
        if self.name or self.told:
            return self.name or self.told
        return " ".join(f"{weight:+g} ({_words(where)})" for where, weight in self.weights)


def place(**levels: Level) -> Effect:
    """The mean of the cells with these levels: a term of effects in which several factors change together."""
    return Effect(((tuple((factor, _levels(level, factor)) for factor, level in levels.items()), 1.0),))


def effect(**factors: Level | tuple[Level, Level]) -> Effect:
    """The effect of going from a baseline to a treatment: baseline - treatment, per example.

    Args:
        factors: a pair ``(baseline, treatment)`` of every factor that changes (two pairs: their interaction, the
            difference of differences, and so on), and the level of every factor that is held. A list of levels is
            averaged over. Factors that are not named are averaged over, each crossing of them counting alike.

    Returns:
        Its :class:`Effect`, with a name made from its factors and levels.

    Raises:
        ValueError: no pair, or a pair of equal levels.

    Examples:
        >>> from budgetlens import effect
        >>> prefix = effect(prefix=("none", "oracle"), prompt="query")
        >>> prefix.words
        'prefix none→oracle | prompt=query'
        >>> interaction = effect(prefix=("none", "oracle"), prompt="none") - prefix
    """
    pairs = {factor: pair for factor, pair in factors.items() if isinstance(pair, tuple)}
    held = {factor: level for factor, level in factors.items() if not isinstance(level, tuple)}
    if not pairs:
        raise ValueError(
            f"an effect needs a factor with a pair of levels (baseline, treatment); got {held or 'no factors'}"
        )
    for factor, pair in pairs.items():
        if len(pair) != 2 or set(_levels(pair[0], factor)) & set(_levels(pair[1], factor)):
            raise ValueError(
                f"{factor}={pair!r}: expected a pair of different levels (baseline, treatment), none on both sides"
            )
    fixed = tuple((factor, _levels(level, factor)) for factor, level in held.items())
    weights = tuple(
        (
            (
                *(
                    (factor, _levels(pair[end], factor))
                    for end, (factor, pair) in zip(ends, pairs.items(), strict=True)
                ),
                *fixed,
            ),
            -1.0 if sum(ends) % 2 else 1.0,
        )
        for ends in itertools.product((0, 1), repeat=len(pairs))
    )
    told = {factor: (_told(pair[0]), _told(pair[1])) for factor, pair in pairs.items()}
    name = effect_words(told, {factor: _told(level) for factor, level in held.items()})
    return Effect(weights, order=len(pairs), told=name)


def mean(*effects: Effect) -> Effect:
    """The average of several effects of one kind, each counting alike."""
    if not effects:
        raise ValueError("no effects to average; give one or more")
    wrong = [own for own in effects if not isinstance(own, Effect)]
    if wrong:
        raise ValueError(f"mean takes effects, one by one; got {type(wrong[0]).__name__} {wrong[0]!r}")
    total = _summed([each for own in effects for each in own.weights]) * (1 / len(effects))
    orders = {own.order for own in effects}
    return replace(total, order=orders.pop() if len(orders) == 1 else 0)


def _summed(terms: Iterable[tuple[Place, float]]) -> Effect:
    weights: dict[frozenset[tuple[str, tuple[str, ...]]], tuple[Place, float]] = {}
    for where, weight in terms:
        known, sum_so_far = weights.get(frozenset(where), (where, 0.0))
        weights[frozenset(where)] = (known, sum_so_far + weight)
    return Effect(tuple(term for term in weights.values() if term[1]))


def _levels(level: object, factor: str) -> tuple[str, ...]:
    if isinstance(level, str):
        return (level,)
    if isinstance(level, list) and level and all(isinstance(own, str) for own in level):
        return tuple(dict.fromkeys(level))
    raise ValueError(f"{factor}={level!r}: expected a level's name, or a list of them that is averaged over")


def _words(where: Place) -> str:
    return ", ".join(f"{factor}={'/'.join(levels)}" for factor, levels in where)


def _told(level: Level) -> str:
    return level if isinstance(level, str) else "/".join(level)


@dataclass(frozen=True)
class _Cells:
    """The cells of a design, asked for by place."""

    cells: tuple[Cell, ...]

    @cached_property
    def levels(self) -> dict[str, set[str]]:
        """Every level of every factor."""
        known: dict[str, set[str]] = {}
        for cell in self.cells:
            for factor, level in cell.levels:
                known.setdefault(factor, set()).add(level)
        return known

    def of(
        self,
        where: Place,
        crossings: dict[frozenset[str], Collection[tuple[str, ...]]],
        words: str,
    ) -> Iterator[tuple[str, float]]:
        """The cells at a place, each with its part of the place's mean; ``crossings`` of other places must be these."""
        named = dict(where)
        self._known(where, words)
        by_corner: dict[tuple[str, ...], dict[tuple[str, ...], str]] = {}
        for cell in self.cells:
            own = cell.factors
            if all(own.get(factor) in wanted for factor, wanted in where):
                corner = tuple(own[factor] for factor in named)
                by_corner.setdefault(corner, {})[
                    tuple(own[factor] for factor in sorted(own) if factor not in named)
                ] = cell.name
        corners = list(itertools.product(*named.values()))
        expected = crossings.setdefault(frozenset(named), frozenset(by_corner.get(corners[0], ())))
        for corner in corners:
            if not by_corner.get(corner) or set(by_corner[corner]) != set(expected):
                raise ValueError(
                    f"{words}: the cells do not cross its levels fully: "
                    f"{', '.join(f'{factor}={level}' for factor, level in zip(named, corner, strict=True))} has "
                    f"{len(by_corner.get(corner, ()))} cells, with other levels of what is averaged over than the other "
                    f"side's {len(expected)}; hold those factors at a level"
                )
            for name in by_corner[corner].values():
                yield name, 1 / len(expected) / len(corners)

    def _known(self, where: Place, words: str) -> None:
        for factor, wanted in where:
            if factor not in self.levels:
                close = nearest(factor, self.levels)
                raise ValueError(
                    f"{words}: no cell has the factor {factor!r}.{close} Known: {', '.join(self.levels)}"
                )
            missing = [level for level in wanted if level not in self.levels[factor]]
            if missing:
                close = nearest(missing[0], self.levels[factor])
                known = ", ".join(sorted(self.levels[factor]))
                raise ValueError(f"{words}: no cell has {factor}={missing[0]}.{close} Known: {known}")
