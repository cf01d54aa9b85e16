"""Encoder prefixes of the training batches: those of the analyses, written again from their definitions."""

from __future__ import annotations

import random
from collections import Counter

from budgetlens.reference.world.documents import Document
from budgetlens.reference.world.questions import draw_any_question

#: Frequent words of the templates that are no content; words of up to two letters are none either.
STOP_WORDS = frozenset(
    """
    about after all and are before but by each for from has have her his into its may most next nobody not nothing one
    only other out said some that the their them then there this those through too under was were what where which who
    with without
    """.split()  # noqa: SIM905
)
KEYWORD_COUNTS = (3, 5, 10, 20)
#: What a prefix may be beside the query of one of the row's own questions.
KINDS = (
    "passage words",
    "keywords",
    "template",
    "first sentence",
    "shuffled sentence",
    "other query",
    "generic",
    "wrong query",
    "wrong keywords",
    "wrong sentence",
)
GENERIC = "Here is a text that somebody may want to read."


def keywords(text: str, count: int) -> list[str]:
    """The ``count`` most frequent content words in lower case, ties in order of appearance."""
    words = ("".join(filter(str.isalnum, word)) for word in text.lower().split())
    content = [word for word in words if len(word) > 2 and word not in STOP_WORDS]
    return [word for word, _ in Counter(content).most_common(count)]


def first_sentence(text: str) -> str:
    """The text up to its first full stop."""
    return text.partition(". ")[0].rstrip(".") + "."


def draw_prefix(generator: random.Random, document: Document, other: Document, query: str) -> str:
    """A prefix for ``document`` of a kind of :data:`KINDS`; ``other`` is where a wrong one is taken from.

    ``query`` is the question that an oracle prefix would show; as many words of the other passage are taken.
    """
    kind = generator.choice(KINDS)
    if kind == "passage words":
        return " ".join(other.text.split()[: len(query.split())])
    if kind == "template":
        return f"What is {keywords(document.text, 1)[0]}?"
    if kind == "generic":
        return GENERIC
    source = other if kind.startswith("wrong") else document
    if kind.endswith("keywords"):
        return " ".join(keywords(source.text, generator.choice(KEYWORD_COUNTS)))
    if kind.endswith("query"):
        return draw_any_question(generator, source).query
    sentence = first_sentence(source.text)
    if kind.startswith("shuffled"):
        words = sentence.split()
        return " ".join(generator.sample(words, len(words)))
    return sentence
