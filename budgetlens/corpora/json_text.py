"""JSON from anyone: parsed strictly, with every refusal at its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

#: Digits of the longest whole number that is read: no text of a corpus and no identifier needs more.
_LONGEST_NUMBER = 1_000


class JsonError(ValueError):
    """Text that is no JSON, or JSON that can't be meant: the reason in words, and the line (from 1)."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"line {line}: {reason}")
        self.reason, self.line = reason, line


class _Unfit(ValueError):
    """Well-formed JSON that can't be meant; the parser does not know where it is."""


def parsed(text: str) -> Any:
    """The value in a JSON text.

    Raises JsonError for what is no JSON, a key given twice in one object (the last would silently win), numbers of
    more than a thousand digits, and nesting that is too deep to be read. Of an array the line is that of its element.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON ({error.msg}, column {error.colno})", error.lineno) from error
    except (_Unfit, RecursionError) as error:
        raise JsonError(_reason(error), _line_of_element(text)) from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _Unfit) else "nested too deeply to be read"


def _line_of_element(text: str) -> int:
    """The line on which the first element of an array begins that can't be read; of anything else, its first line."""
    begun = [len(text) - len(text.lstrip()), *_elements(text)][-1]
    return text.count("\n", 0, begun) + 1


def _elements(text: str) -> Iterator[int]:
    """Where the elements of an array begin, up to the first that can't be read."""
    place = _next(text, 0)
    if not text.startswith("[", place):
        return
    while True:
        place = _next(text, place + 1)
        yield place
        try:
            _, end = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return
        place = _next(text, end)


def _next(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        doubled = next(name for name in names if names.count(name) > 1)
        raise _Unfit(f"the key {doubled!r} is there twice in one object")
    return found


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise _Unfit(f"a number of {len(digits)} digits; put it in quotes if it is text")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole)
