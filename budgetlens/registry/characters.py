"""Characters that act where they are shown, instead of being seen."""

from __future__ import annotations

#: The content of a character class: controls but for tab and line feed, direction marks, line and paragraph separators;
#: and lone surrogates, which can't be written at all.
ACTING = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"


def is_broken(text: str) -> bool:
    """Whether a text holds half of a surrogate pair, which JSON can spell and no tokenizer and no file can hold."""
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
