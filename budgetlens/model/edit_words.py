"""What edits do, in words: any frozen dataclass that changes attention calls, outputs or states."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from budgetlens.model.trials import Trial

_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def edit_words(edit: Any) -> str:
    """The name of the edit's class in words, then its fields that are not None: ``hide keys: keys bos; layers 1-3``."""
    name = _CAPITAL.sub(" ", type(edit).__name__).lower()
    if not dataclasses.is_dataclass(edit):
        return name
    parts = []
    for field in dataclasses.fields(edit):
        value = getattr(edit, field.name)
        if value is None or value == () or value == frozenset():
            continue
        if field.name == "donors":
            parts.append("taken from " + " and ".join(_donors(value)))
        else:
            parts.append(f"{field.name.replace('_', ' ')} {_value_words(value)}")
    return f"{name}: {'; '.join(parts)}" if parts else name


def _donors(trials: Iterable[Trial]) -> list[str]:
    """Each donor's example and encoder text by role; a crowd of them only counted."""
    donors = list(trials)
    if len(donors) > 2:
        return [f"{len(donors)} trials"]
    return [
        f"example {donor.example.identifier} with "
        + " + ".join(dict.fromkeys(segment.role for segment in donor.encoder))
        for donor in donors
    ]


def _value_words(value: Any) -> str:
    if isinstance(value, frozenset | tuple | list):
        items = list(value) if isinstance(value, tuple | list) else sorted(value, key=str)
        if items and all(isinstance(item, int) and not isinstance(item, bool) for item in items):
            return _ranges(sorted(items))
        return "+".join(_value_words(item) for item in items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ", ".join(_value_words(getattr(value, field.name)) for field in dataclasses.fields(value))
    return str(value)


def _ranges(numbers: list[int]) -> str:
    """Whole numbers in order, neighbours joined: ``0, 3-5``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
