"""Checked reading of a design's mapping, as it comes from a file or from run.json: every error names its key."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from budgetlens.registry.names import nearest

Item = TypeVar("Item")

#: What a design may hold; the meaning of each key stands in :mod:`budgetlens.design.custom`.
KEYS: tuple[str, ...] = (
    "title",
    "question",
    "protocol",
    "corpus",
    "n",
    "seed",
    "encoder_tokens",
    "rows",
    "probes",
    "correction",
    "factors",
    "cells",
    "extra",
    "exclude",
    "aliases",
    "contrasts",
    "share_contrasts",
    "splits",
    "interaction",
    "headline",
    "allow_idle",
    "read_in",
)
CONTRAST_KEYS: tuple[str, ...] = ("name", "family", "effect", "baseline", "treatment", "weights", "order")
SPLIT_KEYS: tuple[str, ...] = ("total", "parts")


#: In what a design is written; :mod:`budgetlens.design.files` does.
FORMATS: tuple[str, ...] = ("toml", "yaml")


class DesignError(ValueError):
    """A design that can't be read; the message names the key and what was expected."""


def known_keys(table: Mapping[str, Any], known: Sequence[str], path: str) -> None:
    """Raise DesignError for a key that is not among ``known``, with the nearest of them."""
    for key in table:
        if key not in known:
            raise DesignError(
                f"{path or 'the design'} has no key {key!r}.{nearest(str(key), known)} Known: {', '.join(known)}"
            )


def table(value: Any, path: str) -> Mapping[str, Any]:
    """A mapping with text keys."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _wrong(path, "a table with text keys", value)
    return value


def text(value: Any, path: str) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value:
        raise _wrong(path, "text", value, "put it in quotes" if value is not None and value != "" else "")
    return value


def level(value: Any, path: str) -> str:
    """A level: text, or a whole number for its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value, path)


def whole(value: Any, path: str, *, least: int) -> int:
    """A whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(path, f"a whole number of at least {least}", value)
    return value


def number(value: Any, path: str) -> float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(path, "a finite number", value)
    return float(value)


def yes_or_no(value: Any, path: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise _wrong(path, "true or false", value)
    return value


def one_of(value: Any, path: str, known: Sequence[str]) -> str:
    """One of the known texts; DesignError with the nearest otherwise."""
    if value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise DesignError(f"{path}: expected one of {', '.join(known)}, got {reprlib.repr(value)}.{hint}")
    return str(value)


def items(value: Any, path: str, read: Callable[[Any, str], Item]) -> tuple[Item, ...]:
    """A list, each item read by ``read`` under its own path."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _wrong(path, "a list", value)
    return tuple(read(item, f"{path}[{position}]") for position, item in enumerate(value))


def _wrong(path: str, expected: str, value: Any, advice: str = "") -> DesignError:
    return DesignError(
        # Shortened: a file may hold much, nested deeply, in a circle or shared many times over.
        f"{path}: expected {expected}, got {type(value).__name__} {reprlib.repr(value)}"
        + (f"; {advice}" if advice else "")
    )
