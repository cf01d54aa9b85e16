"""Keywords: a text's most frequent content words, by the rule of the published runs."""

from __future__ import annotations

import unicodedata
from collections import Counter

from interventions.texts.stop_words import STOP_WORDS

#: A content word is longer than this.
LONGEST_SHORT_WORD = 2
#: What stands for a text without content words.
NO_KEYWORD = "information"


def content_words(text: str) -> list[str]:
    """The content words of ``text`` in order, repeated as often as they occur.

    Words are what white space parts. They are lower-cased, every punctuation mark and symbol (Unicode
    categories P and S) is taken out of them, so that ``"Well-known"`` is ``"wellknown"``, and those that
    are left with at most two characters or stand in the stop list are dropped.
    """
    letters = "".join(
        character for character in text.lower() if unicodedata.category(character)[0] not in "PS"
    )
    return [word for word in letters.split() if len(word) > LONGEST_SHORT_WORD and word not in STOP_WORDS]


def keywords(text: str, count: int) -> list[str]:
    """The ``count`` most frequent content words, ties in order of appearance; ``information`` for none.

    A text with fewer different content words gives all that it has.
    """
    # Counter keeps the order of first appearance, and its sort is stable.
    frequent = [word for word, _ in Counter(content_words(text)).most_common(count)]
    return frequent or [NO_KEYWORD]
