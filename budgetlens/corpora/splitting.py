"""Dividing a corpus so that no document is on both sides."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from budgetlens.corpora.corpus import Corpus


def split_by_document(corpus: Corpus, share: float) -> tuple[Corpus, Corpus]:
    """About ``share`` of the corpus's documents with all their examples, and the others; drawn with the corpus's seed.

    The number of documents is rounded, and is one at least on either side; examples stay in their order.

    Raises ValueError where the share is not between 0 and 1, or there is no second document.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share < 1:
        raise ValueError(f"the share of documents is above 0 and below 1; got {share!r}")
    documents = dict.fromkeys(example.document for example in corpus.examples)
    if len(documents) < 2:
        raise ValueError("a corpus with one document can't be divided by documents; give more examples")
    # By the texts themselves: what else is in the corpus has no part in the order of two documents.
    order = sorted(documents, key=lambda text: hashlib.sha256(f"{corpus.seed}\0{text}".encode()).digest())
    first = set(order[: min(max(1, round(share * len(order))), len(order) - 1)])
    sides = [
        tuple(own for own in corpus.examples if (own.document in first) == side) for side in (True, False)
    ]
    one, other = (replace(corpus, examples=examples) for examples in sides)
    return one, other
