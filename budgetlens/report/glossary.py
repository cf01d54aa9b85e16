"""Words of the field that a page explains where it uses them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

#: What a word says, by the word as pages have it.
GLOSSARY: Mapping[str, str] = {
    "NLL": "the negative log-likelihood of the right answer, a mean over its tokens; lower is better",
    "BOS": "the token that begins the encoder’s input, on which attention rests that goes nowhere else",
    "prefix": "text that the encoder reads in front of the document",
    "prompt": "text that the decoder has before the answer",
    "undecided": "the data allow both a difference that matters and none",
    "no effect": "the whole interval lies within what is too small to matter",
    "Holm": "a correction of p for the number of tests in a family",
    "sub-additive": "together two treatments do less than the sum of what each does alone",
    "super-additive": "together two treatments do more than the sum of what each does alone",
}


def explained(text: str) -> Iterator[tuple[str, str]]:
    """The words of the glossary that a text has, each with what it says, in the glossary's order."""
    for word, told in GLOSSARY.items():
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text):
            yield word, told
