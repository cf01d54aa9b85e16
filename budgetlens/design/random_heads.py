"""A null for named heads: as many heads of the same layers, drawn by chance, several times over.

That cutting head 3 costs something says little where cutting any head does. Levels name heads as ``/h3``
(``predicting->document@2/h3``); ``/random:1`` in its place is one head by chance, and a level that ends in ``#1…#20``
stands for twenty draws.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from budgetlens.design.schema import DesignError
from budgetlens.registry.parameters import split_draw

#: How many draws a null has where none are given, and the most of one level.
DRAWS, MOST_DRAWS = 20, 1_000

_HEADS = re.compile(r"/h(?P<heads>\d{1,3}(?:-\d{1,3})?(?:\+\d{1,3}(?:-\d{1,3})?)*)(?=@|$)")
_SEVERAL = re.compile(r"(?P<level>.*)#(?P<first>[1-9]\d{0,8})(?:…|\.\.\.)#?(?P<last>[1-9]\d{0,8})", re.DOTALL)


def random_heads_of(level: str) -> str | None:
    """The level with as many random heads wherever it names heads; None where it names none."""
    changed = _HEADS.sub(lambda match: f"/random:{_count(match['heads'])}", split_draw(level)[0])
    return None if changed == split_draw(level)[0] else changed


def with_draws(levels: Iterable[str]) -> tuple[str, ...]:
    """The levels, one that ends in ``#1…#20`` (or ``#1...#20``) as its draws.

    Raises DesignError for a last draw before the first, and for more than :data:`MOST_DRAWS`.
    """
    found: list[str] = []
    for level in levels:
        match = _SEVERAL.fullmatch(level)
        if match is None:
            found.append(level)
            continue
        first, last = int(match["first"]), int(match["last"])
        if not 1 <= last - first + 1 <= MOST_DRAWS:
            raise DesignError(
                f"{level!r} stands for the draws from {first} to {last}; give 1 to {MOST_DRAWS:,}, the first one first"
            )
        found += [f"{match['level']}#{draw}" for draw in range(first, last + 1)]
    return tuple(found)


def with_random_heads(levels: Iterable[str]) -> tuple[str, ...]:
    """The levels, and for each that names heads twenty draws of random ones, where none are among the levels."""
    given = with_draws(levels)
    known = {split_draw(level)[0] for level in given}
    nulls = dict.fromkeys(null for level in given if (null := random_heads_of(level)) and null not in known)
    return (*given, *(f"{null}#{draw}" for null in nulls for draw in range(1, DRAWS + 1)))


def pairs_with_null(levels: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Levels that name heads with the level of random ones, where that is among them; all without draws."""
    known = dict.fromkeys(levels)
    for level in known:
        null = random_heads_of(level)
        if null in known and null is not None:
            yield level, null


def _count(heads: str) -> int:
    """How many heads ``3``, ``0+3`` or ``0-2+5`` are."""
    named: set[int] = set()
    for part in heads.split("+"):
        first, _, last = part.partition("-")
        named.update(range(int(first), int(last or first) + 1))
    return len(named)
