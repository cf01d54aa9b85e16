"""Rows that lie in memory and in no file: arranged as a file's, and written as a file that gives them back in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

import numpy

from budgetlens.corpora.corpus import Corpus
from budgetlens.corpora.rows import IDENTIFIERS

Row = TypeVar("Row")


def as_drawn(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows arranged so that the seeded permutation, by which a reader draws its examples, gives them in their order.

    So rows in memory and a file of them are read by one rule, and a run with the one can be continued with the other.
    """
    arranged = list(rows)
    for row, place in zip(rows, numpy.random.RandomState(seed).permutation(len(rows)), strict=True):
        arranged[place] = row
    return arranged


def lines_of(corpus: Corpus) -> str:
    """A corpus of plain rows as JSON Lines, of which :func:`budgetlens.corpora.corpus.read_corpus` makes the same one.

    With its seed and the number of its examples, or None.
    """
    rows = [
        {
            # The first of the names that a reader looks for: the example may have another of them as a column.
            IDENTIFIERS[0]: example.identifier,
            "query": example.query,
            "document": example.document,
            "answer": example.answer,
            **({"passages": list(example.passages)} if example.passages else {}),
            **dict(example.columns),
        }
        for example in corpus.examples
    ]
    # Escaped: a file of ASCII is read alike whatever becomes of it.
    return "".join(json.dumps(row) + "\n" for row in as_drawn(rows, corpus.seed))
