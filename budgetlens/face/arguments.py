"""Plain arguments of what is called from Python: whole numbers, layers, paths; anything else is told in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Any, TypeGuard

from budgetlens.registry.characters import is_broken

#: The largest seed that numpy's legacy generator takes, by which examples are drawn.
LARGEST_SEED = 2**32 - 1


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether a value is a whole number, numpy's as well; truth values are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def several(given: Any) -> list[Any]:
    """What was given as a list, or the one thing that stands for a list of it."""
    return list(given) if isinstance(given, list | tuple) else [given]


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number from ``least``, as Python's. ValueError otherwise."""
    if not is_whole(value) or value < least or (most is not None and value > most):
        up_to = "" if most is None else f" and at most {most}"
        raise ValueError(f"{name} is a whole number of at least {least}{up_to}; got {told(value)}")
    return int(value)


def optional_number(name: str, value: Any, least: int) -> int | None:
    """A whole number from ``least``, or None. ValueError otherwise."""
    return None if value is None else whole_number(name, value, least)


def seed_given(value: Any) -> int:
    """A seed. ValueError for what numpy can't be seeded with."""
    return whole_number("seed", value, 0, LARGEST_SEED)


def layer_numbers(layers: Any) -> tuple[int, ...] | None:
    """Layers, ascending; None for all. ValueError for what are no whole numbers, or none."""
    if layers is None:
        return None
    given = [layers] if is_whole(layers) else layers
    # A text has letters, and a dict what nobody counts on.
    numbers = list(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes | dict) else []
    if not numbers or not all(map(is_whole, numbers)):
        raise ValueError(
            f"layers are whole numbers from 0, such as layers=[0, 3], or None for all; got {told(layers)}"
        )
    return tuple(sorted({int(number) for number in numbers}))


def path_given(name: str, given: Any) -> Path:
    """A path of what was given as ``name``. ValueError for what is none, or can be no name of a file."""
    if not isinstance(given, str | os.PathLike) or "\0" in str(given):
        raise ValueError(
            f"{name} is a path, a text or a pathlib.Path without NUL characters; got {told(given)}"
        )
    return Path(given)


def text_given(name: str, given: Any) -> str:
    """A text of what was given as ``name``. ValueError for anything else, and for one that no file can hold."""
    if not isinstance(given, str) or is_broken(given):
        raise ValueError(f"{name} is a text without broken characters (lone surrogates); got {told(given)}")
    return given


def told(given: Any) -> str:
    """What was given, shortened, in characters that any terminal can write."""
    words = ascii(given)
    return words if len(words) <= 60 else words[:57] + "..."
