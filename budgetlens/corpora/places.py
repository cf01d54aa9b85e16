"""Where an example stands in a corpus, by its identifier or by a number."""

from __future__ import annotations

from budgetlens.corpora.corpus import Corpus
from budgetlens.registry.names import nearest, printable

#: How many identifiers an error names.
IDENTIFIERS_NAMED = 5


def place_of(corpus: Corpus, identifier: str) -> int:
    """The place of an example, from 0. Raises ValueError, with the nearest identifier, where it is not there."""
    known = [example.identifier for example in corpus.examples]
    if identifier not in known:
        raise ValueError(
            f"no example of {printable(corpus.name)} is called {identifier!r}.{nearest(identifier, known)} It has "
            f"{len(known)}, such as {', '.join(printable(own) for own in known[:IDENTIFIERS_NAMED])}"
        )
    return known.index(identifier)


def named_place(corpus: Corpus, text: str) -> int:
    """The place of an example that is named by it or by its identifier; what is both is the place.

    A number that is neither is given back, for whoever tells which numbers there are. Raises as :func:`place_of`.
    """
    known = {example.identifier for example in corpus.examples}
    if text.isdecimal() and (int(text) < len(corpus.examples) or text not in known):
        return int(text)
    return place_of(corpus, text)
