"""Scores of an answer's text against right answers, by the words that are left of both: SQuAD's.

Normalised texts have no capital letters, no ASCII punctuation, no English article and single spaces. Every score is a
number from 0 to 1, higher is better. Source: Rajpurkar et al. 2016.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words_of(text: str) -> list[str]:
    """The words of a text after normalisation."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(answer: str, right: str) -> float:
    """1 where both texts have the same words in the same order, else 0."""
    return float(words_of(answer) == words_of(right))


def f1(answer: str, right: str) -> float:
    """Harmonic mean of precision and recall of words, each counted as often as it is in both.

    Where one of them has no word, 1 if the other has none either, else 0.
    """
    own, wanted = words_of(answer), words_of(right)
    if not own or not wanted:
        return float(own == wanted)
    return 2 * _common(own, wanted) / (len(own) + len(wanted))


def recall(answer: str, right: str) -> float:
    """Which part of the right answer's words the answer has, each counted as often as it is in both.

    Where the right one has no word, 1 if the answer has none either, else 0.
    """
    own, wanted = words_of(answer), words_of(right)
    return _common(own, wanted) / len(wanted) if wanted else float(own == wanted)


def best(score: Callable[[str, str], float], answer: str, right: Sequence[str]) -> float:
    """The score against the right answer for which it is highest."""
    return max(score(answer, one) for one in right)


def _common(own: Sequence[str], wanted: Sequence[str]) -> int:
    return (Counter(own) & Counter(wanted)).total()
