"""Sentences of a text, by sentencex: rules and abbreviation lists that come with the package.

The protocol names the first sentence and not a rule for it. sentencex (MIT, Wikimedia) needs no data at
run time, keeps every character, and knows that ``"Dr."`` and ``"U.S."`` end no sentence.
"""

from __future__ import annotations

LANGUAGE = "en"


def first_sentence(text: str) -> str:
    """The first sentence, without white space around it; the whole text where it has no sentence end."""
    import sentencex

    return next((part.strip() for part in sentencex.segment(LANGUAGE, text) if part.strip()), text.strip())
