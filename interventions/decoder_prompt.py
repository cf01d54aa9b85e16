"""The decoder's prompt: what stands between the start token and the answer, online."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.trials import Example, ExampleError, Segment, Trial
from budgetlens.registry.labels import Label
from interventions.levels.values import at_least, known_name, whole_number
from interventions.texts.columns import column_text, sibling_query
from interventions.texts.neutral import neutral_token

#: The published random prompt draws ids from [MARGIN, V − MARGIN) with seed + index + OFFSET.
PUBLISHED_MARGIN, PUBLISHED_OFFSET = 100, 10_000


def _query(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    """The query's first tokens."""
    return _own_query(trial, context, length)[:length]


def _random_ids(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    """Ids uniform over [100, V − 100): the published fill. They include unused and control tokens."""
    low, high = PUBLISHED_MARGIN, context.vocabulary_size - PUBLISHED_MARGIN
    if high <= low:
        raise ValueError(
            f"prompt=random draws ids from [{low}, {high}), which is empty for a vocabulary of "
            f"{context.vocabulary_size}; use prompt=random-text"
        )
    ids = context.published_generator(PUBLISHED_OFFSET).randint(low, high, size=length)
    return tuple(int(token) for token in ids)


def _random_text(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    """Ids uniform over the vocabulary's ordinary text tokens."""
    ordinary = context.tokenizer.text_tokens
    chosen = context.generator("prompt=random-text").integers(0, len(ordinary), size=length)
    return tuple(ordinary[position] for position in chosen)


def _corpus_unigram(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    """Tokens of other examples' documents: for each, an example at random, then one of its document's tokens.

    Every document weighs the same, however long it is; the example's own takes no part.
    """
    others = _others(context, "corpus-unigram")
    generator = context.generator("prompt=corpus-unigram")
    chosen = []
    for _ in range(length):
        document = others[generator.integers(len(others))].document
        ids = context.tokenizer.decoder_segment(document, context.tokenizer.limits.encoder)
        chosen.append(ids[generator.integers(len(ids))])
    return tuple(chosen)


def _shuffled_query(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    """The query's tokens in random order, or so many of them."""
    ids = _own_query(trial, context, length)
    order = context.generator("prompt=shuffled-query").permutation(len(ids))
    return tuple(ids[position] for position in order[:length])


def _other_query(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    """The query of the example half a corpus on, then those of the examples after it, cut at the length."""
    others = _others(context, "other-query")
    # The example's own place is left out of `others`, which moves those behind it by one.
    start = (context.index + len(context.examples) // 2) % len(context.examples)
    first = start - (start > context.index)
    ids: list[int] = []
    position = first
    while len(ids) < length:
        ids.extend(context.tokenizer.query_ids(others[position % len(others)].query))
        position += 1
        if position - first == len(others) and not ids:
            raise ValueError("prompt=other-query: no other example's query has a token")
    return tuple(ids[:length])


def _neutral(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    """One token without content, repeated."""
    return (neutral_token(context.tokenizer),) * length


#: Token ids of a prompt of a length, by the name of the fill.
FILLS: Mapping[str, Callable[[Trial, Context, int], tuple[int, ...]]] = MappingProxyType(
    {
        "query": _query,
        "random": _random_ids,
        "random-text": _random_text,
        "corpus-unigram": _corpus_unigram,
        "shuffled-query": _shuffled_query,
        "other-query": _other_query,
        "neutral": _neutral,
    }
)


#: The fills that are texts of the corpus's own.
COLUMN, SIBLING = "column", "sibling-query"
_KNOWN = ("none", "position", *FILLS, COLUMN, SIBLING)

_FILL_WORDS = {
    "query": "the query",
    "random": "random token ids",
    "random-text": "random text",
    "corpus-unigram": "words of other documents",
    "shuffled-query": "the query, shuffled",
    "other-query": "another example's query",
    "neutral": "neutral tokens",
    "sibling-query": "another query of the document",
    "position": "nothing but its positions",
}


@intervention("prompt")
@dataclass(frozen=True)
class DecoderPrompt(Intervention):
    """Fill the decoder's prompt: the query, random tokens of several kinds, or none with positions moved.

    A level is ``FILL``, ``FILL:LENGTH``, the length in tokens, or ``column:NAME``; without a length, a prompt is as long
    as the query.
    Ids are fed as ids, so lengths are exact, and a shorter prompt is the beginning of a longer one. The fills:

    * ``none``: no prompt;
    * ``query``: the query, or its first tokens;
    * ``random``: ids uniform over [100, V − 100), as published: unused and control tokens among them;
    * ``random-text``: ids uniform over the vocabulary's ordinary text tokens;
    * ``corpus-unigram``: tokens drawn from other examples' documents;
    * ``shuffled-query``: the query's tokens in random order;
    * ``other-query``: another example's query, continued with the next one's where it is shorter;
    * ``neutral``: one token without content, repeated;
    * ``column:NAME``: the text of the corpus's further column of that name;
    * ``sibling-query``: another query of the same document, whole;
    * ``position``: no prompt, but every decoder position id moved by the length: what a prompt does to
      positions, without its tokens.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "query",
        "random-text:3",
        "corpus-unigram",
        "shuffled-query",
        "other-query",
        "neutral:2",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none", "random-text:0", "position:0")

    fill: str = "query"
    length: int | None = None
    column: str = ""

    def __post_init__(self) -> None:
        known_name(self.fill, "prompt fill", _KNOWN)
        if (self.fill == COLUMN) != bool(self.column) or (self.column and self.length is not None):
            raise LevelError(
                f"prompt=column:NAME, and no other fill, takes a column's name, and no length; got prompt={self.fill} with "
                f"{self.column!r}"
            )
        if self.length is not None:
            if self.fill in ("none", SIBLING):
                raise LevelError(f"prompt={self.fill} has no length of one's own; got {self.length!r}")
            at_least(self.length, f"prompt={self.fill}: the length in tokens", least=0)

    @classmethod
    def known_levels(cls) -> tuple[str, ...]:
        """Every fill, then one with a length in tokens."""
        return ("none", *FILLS, f"{COLUMN}:NAME", SIBLING, "position", "random-text:4")

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``FILL`` or ``FILL:LENGTH``; the empty level is the query."""
        if not level:
            return cls()
        fill, colon, length = level.partition(":")
        known_name(fill, "prompt fill", _KNOWN)
        if fill == COLUMN:
            return cls(fill, column=length)
        return cls(fill, whole_number(length, f"the length in prompt={level}", least=0) if colon else None)

    @classmethod
    def label(cls, level: str) -> Label:
        """What the prompt is, and how long where it is not as long as the query."""
        own = cls.parse(level)
        if own.fill == "none" or own.length == 0:
            return Label("no prompt", rest=True)
        words = _FILL_WORDS[own.fill] if not own.column else f"the column {own.column}"
        if own.length is not None:
            words += f" ({own.length} tokens)"
        return Label(f"prompt: {words}", f"{words} in the prompt")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this prompt in place of any other.

        Raises ValueError for a length that the query, the corpus or the prompt's limit can't give.
        """
        limit = context.tokenizer.limits.prompt
        if self.length is not None and self.length > limit:
            raise ValueError(
                f"prompt={self.fill}:{self.length} is longer than the decoder prompt's limit of {limit} tokens"
            )
        if self.fill == "none" or self.length == 0:
            return trial.with_prompt(())
        if self.fill == "position":
            shift = "query" if self.length is None else self.length
            return replace(trial.with_prompt(()), decoder_shift=shift)
        if self.fill == "query" and self.length is None:
            # As text, so that its words can be shuffled; the tokenization cuts it at the prompt's limit.
            return trial.with_prompt((Segment("prompt", text=trial.example.query),))
        if self.column:
            return trial.with_prompt((Segment("prompt", text=column_text(trial.example, self.column)),))
        if self.fill == SIBLING:
            return trial.with_prompt((Segment("prompt", text=sibling_query(trial.example, context)),))
        length = self.length
        if length is None:
            length = len(context.tokenizer.query_ids(trial.example.query))
        return trial.with_prompt((Segment("prompt", token_ids=FILLS[self.fill](trial, context, length)),))


def _own_query(trial: Trial, context: Context, length: int) -> tuple[int, ...]:
    ids = context.tokenizer.query_ids(trial.example.query)
    if length > len(ids):
        shortest = min(len(context.tokenizer.query_ids(example.query)) for example in context.examples)
        raise ExampleError(
            f"example {trial.example.identifier!r}: {length} tokens of the query were asked for, it has "
            f"{len(ids)}; the shortest query of the corpus has {shortest}. Take a smaller length, or a fill that "
            "can be of any (random-text, corpus-unigram, other-query, neutral)",
            f"their query has fewer than the {length} tokens that a prompt takes",
        )
    return ids


def _others(context: Context, fill: str) -> list[Example]:
    others = [example for place, example in enumerate(context.examples) if place != context.index]
    if not others:
        raise ValueError(
            f"prompt={fill} is made of other examples, but the corpus has one; run more examples"
        )
    return others
