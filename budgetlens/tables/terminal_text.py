"""Foreign text made safe for a terminal: what would move the cursor, change colours or turn the line is shown instead."""

from __future__ import annotations

import unicodedata

_NAMED = {"\n": "⏎", "\t": "⇥"}

#: Unicode categories without a shape of their own: controls, format characters (bidirectional marks are some),
#: surrogates, private and unassigned characters, line and paragraph separators.
_SHAPELESS = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """``text`` with every character that has no shape of its own written out, as ``⟨U+202E⟩``; ⏎ and ⇥ for
    line breaks and tabs."""
    return "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if unicodedata.category(character) in _SHAPELESS:
        return f"⟨U+{ord(character):04X}⟩"
    return character
