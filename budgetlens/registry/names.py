"""Names without global state: a decorator marks a class or function, and the mark says what it is called."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Registered = TypeVar("Registered")

MARK = "__registered_as__"

#: Names less similar than this (0 to 1) are not offered instead of one another.
_SIMILAR = 0.5


class RegistryError(ValueError):
    """A name registered twice, a name that nothing has, or a registered thing that can't be one of its kind."""


def name_of(thing: Any) -> str:
    """The name under which a class, or the class of an object, is registered."""
    cls = thing if hasattr(thing, "__qualname__") else type(thing)
    mark = getattr(cls, MARK, None)
    if mark is None or mark[2] != cls.__qualname__:
        raise RegistryError(f"{cls.__qualname__} is not registered")
    return mark[1]


def nearest(name: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the closest known name, or an empty string."""

    def closeness(other: str) -> tuple[float, int]:
        # Of equally similar names the one with the same letters: two of them may only have changed places.
        common = Counter(name) & Counter(other)
        return difflib.SequenceMatcher(None, name, other).ratio(), common.total()

    best = max(known, key=closeness, default="")
    return f" Did you mean {best!r}?" if best and closeness(best)[0] >= _SIMILAR else ""


def printable(name: str) -> str:
    """A name for a sentence: characters that would act on a terminal or have no shape are written as escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in name
    )


def lookup(kind: str, name: str, known: Mapping[str, Registered]) -> Registered:
    """The entry called ``name``; RegistryError with the nearest known name otherwise."""
    if name not in known:
        raise RegistryError(f"no {kind} is called {name!r}.{nearest(name, known)} Known: {', '.join(known)}")
    return known[name]
