"""Foreign text made safe for a terminal: what would move the cursor, change colours or turn the line is shown instead."""

from __future__ import annotations

import contextlib
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any, TextIO, cast

from budgetlens.registry.characters import ACTING

_NAMED = {"\n": "⏎", "\t": "⇥"}

#: Unicode categories without a shape of their own: controls, format characters (bidirectional marks are some),
#: surrogates, private and unassigned characters, line and paragraph separators.
_SHAPELESS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


_LINES = re.compile(rf"[{ACTING}]")
#: The same, but for what progress bars begin with: back to the start of the line, and up a line.
_MESSAGES = re.compile(rf"(\A\r|\A(?:\x1b\[A)+\Z)|[{ACTING}]")


def visible(text: str) -> str:
    """``text`` with every character that has no shape of its own written out, as ``⟨U+202E⟩``; ⏎ and ⇥ for
    line breaks and tabs."""
    return "".join(_visible(character) for character in text)


def visible_lines(text: str) -> str:
    """``text`` of several lines: what acts on a terminal is written out, line breaks and tabs stay."""
    return _LINES.sub(lambda found: _visible(found.group()), text)


@contextlib.contextmanager
def guarded_messages() -> Iterator[None]:
    """While it lasts, nothing that is written to the standard error acts on a terminal, whoever writes it.

    Warnings and progress bars of other libraries name models, files and configurations too.
    """
    before = sys.stderr
    sys.stderr = cast(TextIO, _Guarded(before))
    try:
        yield
    finally:
        sys.stderr = before


class _Guarded:
    """A stream that writes out what acts on a terminal; everything else of it is the stream's own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(_MESSAGES.sub(lambda found: found[1] or _visible(found.group()), text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _visible(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if unicodedata.category(character) in _SHAPELESS:
        return f"⟨U+{ord(character):04X}⟩"
    return character
