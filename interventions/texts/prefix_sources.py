"""Where a prefix's text or tokens come from: one function per source, by the name of the level."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from budgetlens.design.intervention import Context
from budgetlens.model.trials import Example
from interventions.texts.columns import column_text, sibling_query
from interventions.texts.common_words import COMMON_WORDS
from interventions.texts.keywords import keywords
from interventions.texts.neutral import neutral_token
from interventions.texts.sentences import first_sentence

#: The published pool prefix draws with ``seed + index + POOL_OFFSET``.
POOL_OFFSET = 20_000
#: How many words ``keywords`` and ``pool`` give where the level does not say.
KEYWORDS, POOL_WORDS = 5, 8
#: The source whose tokens are those of another level, by number.
MATCHED = "matched"
#: The sentence of ``prefix=generic``.
GENERIC_SENTENCE = "Here is a text that somebody may want to read."


@dataclass(frozen=True)
class Request:
    """What a source works from.

    ``example`` is the example that the text is taken from: the trial's own, or another one; ``own`` is
    always the trial's. ``count`` and ``literal`` are the level's number and text, None and empty where it
    has none.
    """

    example: Example
    own: Example
    context: Context
    count: int | None = None
    literal: str = ""

    @property
    def query_words(self) -> int:
        """Number of words of the trial's own query."""
        return len(self.own.query.split())


@dataclass(frozen=True)
class Source:
    """A way to make a prefix: its text, or its token ids.

    ``counts`` names what a level's number counts, which may be at most ``most``; empty where the source takes
    no number. ``elsewhere`` sources take their text from another example. ``text`` is what a level writes behind the
    colon where it is a text.
    """

    make: Callable[[Request], str | tuple[int, ...]]
    counts: str = ""
    most: int | None = None
    elsewhere: bool = False
    text: str = ""


def oracle(request: Request) -> str:
    """The query."""
    return request.example.query


def random_words(request: Request) -> str:
    """The first words of another example's document: as many as the own query has, unless ``count`` says."""
    return " ".join(request.example.document.split()[: request.count or request.query_words])


def pool(request: Request) -> str:
    """Eight words drawn without replacement from the common words: numpy's legacy ``choice``, as published."""
    generator = request.context.published_generator(POOL_OFFSET)
    places = generator.choice(len(COMMON_WORDS), size=request.count or POOL_WORDS, replace=False)
    return " ".join(COMMON_WORDS[place] for place in places)


def template(request: Request) -> str:
    """A question about the document's most frequent content word."""
    return f"What is {keywords(request.example.document, 1)[0]}?"


def most_frequent(request: Request) -> str:
    """The document's most frequent content words, joined by spaces."""
    return " ".join(keywords(request.example.document, request.count or KEYWORDS))


def opening(request: Request) -> str:
    """The document's first sentence."""
    return first_sentence(request.example.document)


def shuffled_opening(request: Request) -> str:
    """The words of the document's first sentence in random order, one space between them.

    Which generator the published runs took is not known; this is the project's own, by seed, example and draw.
    """
    words = first_sentence(request.example.document).split()
    order = request.context.generator("prefix=shuffled_sentence").permutation(len(words))
    return " ".join(words[place] for place in order)


def generic(request: Request) -> str:
    """One fixed sentence that says nothing about any document."""
    return GENERIC_SENTENCE


def literal(request: Request) -> str:
    """The level's own text."""
    return request.literal


def column(request: Request) -> str:
    """The text of one of the corpus's further columns. Raises ExampleError where the example has none."""
    return column_text(request.example, request.literal)


def sibling(request: Request) -> str:
    """Another query of the same document. Raises ExampleError where the corpus has none."""
    return sibling_query(request.example, request.context)


def neutral(request: Request) -> tuple[int, ...]:
    """One token without content, as often as ``count`` says or as the query has tokens."""
    tokenizer = request.context.tokenizer
    return (neutral_token(tokenizer),) * (request.count or len(tokenizer.query_ids(request.own.query)))


#: Sources that look at the example's own query or document: each has a ``wrong_`` variant.
OF_THE_EXAMPLE: Mapping[str, Source] = MappingProxyType(
    {
        "oracle": Source(oracle),
        "template": Source(template),
        "keywords": Source(most_frequent, counts="keywords"),
        "first_sentence": Source(opening),
        "shuffled_sentence": Source(shuffled_opening),
    }
)

#: Every source by name.
SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        **OF_THE_EXAMPLE,
        **{f"wrong_{name}": replace(source, elsewhere=True) for name, source in OF_THE_EXAMPLE.items()},
        "random": Source(random_words, counts="words", elsewhere=True),
        "pool": Source(pool, counts="words", most=len(COMMON_WORDS)),
        "generic": Source(generic),
        "literal": Source(literal, text="TEXT"),
        "column": Source(column, text="NAME"),
        "sibling_query": Source(sibling),
        # Made of the trial as it stands under the other level: interventions/prefix.py.
        MATCHED: Source(literal, text="LEVEL"),
        "neutral": Source(neutral, counts="tokens"),
    }
)
