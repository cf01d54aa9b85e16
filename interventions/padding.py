"""Document padding: unrelated text around the document, up to a length in tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, intervention
from budgetlens.model.trials import Example, Segment, Trial
from budgetlens.registry.labels import Label
from interventions.levels.values import at_least, known_name, whole_number

#: What stands between passages, and between padding and document: a blank line.
JOINT = "\n\n"
PLACES: tuple[str, ...] = ("after", "before", "both")

_WORD = re.compile(r"\S+")


@intervention("padding")
@dataclass(frozen=True)
class PadDocument(Intervention):
    """Lengthen the document with unrelated passages of the corpus to a number of tokens.

    A level is ``TOKENS`` or ``TOKENS:PLACE``: ``512``, ``512:before``; ``none`` pads nothing. The padding
    stands ``after`` the document (the default), ``before`` it, or half of its words on ``both`` sides.

    The length counts every position of the encoder without a prefix: special tokens, document and padding. So a
    document is the same with every prefix. The padding ends with the last whole word that fits, so a document
    falls short by less than the next word's tokens (and a blank line's, where one would come first); the
    records of a run hold the numbers. A document that is as long already stays as it is. Padding has the role
    ``document``, as in the published runs.

    Passages are those of 20 to 200 words that no row of the corpus selects, in random order (by seed, example
    and draw), none from the example's own row. After the last one come the other examples' documents, of any
    length, in random order; corpora without passages have only those. Nothing is taken twice. A shorter padding
    is the beginning of a longer one wherever the place is ``after`` or ``before``.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("48", "48:before", "48:both")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)
    may_be_idle: ClassVar[bool] = True

    tokens: int | None = None
    place: str = "after"

    def __post_init__(self) -> None:
        if self.tokens is not None:
            at_least(self.tokens, "the padded length in tokens", least=1)
        known_name(self.place, "place of padding", PLACES)

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none``, ``TOKENS`` or ``TOKENS:PLACE``."""
        if level in ("", "none"):
            return cls()
        tokens, colon, place = level.partition(":")
        number = whole_number(tokens, f"the padded length in tokens in padding={level}", least=1)
        return cls(number, place if colon else "after")

    @classmethod
    def label(cls, level: str) -> Label:
        """The length, and the place where it is not after the document."""
        own = cls.parse(level)
        if own.tokens is None:
            return Label("unpadded", "the document unpadded", rest=True)
        place = "" if own.place == "after" else f", {own.place}"
        return Label(f"{own.tokens:,} tokens{place}", f"the document padded to {own.tokens:,} tokens{place}")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with its document padded.

        Raises ValueError where the encoder's limit is shorter than the length, or the other examples' texts
        together do not reach it.
        """
        if self.tokens is None:
            return trial
        limit = context.tokenizer.limits.encoder
        if self.tokens > limit:
            raise ValueError(
                f"padding={self.tokens} is longer than the encoder's limit of {limit} tokens; raise the limit"
            )
        missing = self.tokens - _positions(trial, context)
        if missing <= 0:
            return trial
        padding = _material(trial.example, context, missing)
        most = self._most_words(trial, padding, missing, context)
        if most == len(padding.spans):
            # Everything fits, so there was no more to take: the length is reached exactly or not at all.
            reached = _positions(self._padded(trial, padding, most), context)
            if reached < self.tokens:
                raise ValueError(
                    f"padding={self.tokens}: example {trial.example.identifier!r} reaches only {reached} tokens "
                    f"with the corpus's {len(context.padding_pool)} passages for padding and the documents of the other "
                    f"{len(context.examples) - 1} examples; run more examples or pad to fewer tokens"
                )
        return self._padded(trial, padding, most)

    def _most_words(self, trial: Trial, padding: Material, missing: int, context: Context) -> int:
        """The most words with which the document is not too long."""

        def fits(number: int) -> bool:
            return _positions(self._padded(trial, padding, number), context) <= (self.tokens or 0)

        # The padding's tokens by itself tell where about to look; neighbours are then tried one by one.
        number = padding.words_in(missing, context)
        while number > 0 and not fits(number):
            number -= 1
        while number < len(padding.spans) and fits(number + 1):
            number += 1
        return number

    def _padded(self, trial: Trial, padding: Material, number: int) -> Trial:
        before = {"after": 0, "before": number, "both": number // 2}[self.place]
        head, tail = padding.words(0, before), padding.words(before, number)
        first = (Segment("document", text=head + JOINT),) if head else ()
        last = (Segment("document", text=JOINT + tail),) if tail else ()
        other = tuple(segment for segment in trial.encoder if segment.role != "document")
        return replace(trial, encoder=(*other, *first, *_documents(trial), *last))


@dataclass(frozen=True)
class Material:
    """Text to pad with, and where its words stand in it."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def words(self, start: int, stop: int) -> str:
        """The text from word ``start`` up to and without word ``stop``."""
        return self.text[self.spans[start][0] : self.spans[stop - 1][1]] if start < stop else ""

    def words_in(self, tokens: int, context: Context) -> int:
        """About how many words the first ``tokens`` tokens of the text hold."""
        encoding = context.tokenizer.tokenizer(
            self.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ends = [end for _, end in encoding["offset_mapping"][:tokens]]
        return sum(1 for _, end in self.spans if ends and end <= ends[-1])


def _material(example: Example, context: Context, tokens: int) -> Material:
    """Enough passages for at least ``tokens`` words, and thereby as many tokens, or all that there are."""
    taken: list[str] = []
    words = 0
    for text in _passages(example, context):
        taken.append(text)
        words += len(text.split())
        # One word more than can fit shows that there was no lack of words.
        if words > tokens:
            break
    text = JOINT.join(taken)
    return Material(text, tuple(match.span() for match in _WORD.finditer(text)))


def _passages(example: Example, context: Context) -> Iterator[str]:
    generator, pool, examples = context.generator("padding"), context.padding_pool, context.examples
    used = {example.document, *example.passages}
    for text in chain(
        (pool[place] for place in generator.permutation(len(pool))),
        (examples[place].document for place in generator.permutation(len(examples))),
    ):
        if text not in used:
            used.add(text)
            yield text


def _documents(trial: Trial) -> tuple[Segment, ...]:
    return tuple(segment for segment in trial.encoder if segment.role == "document")


def _positions(trial: Trial, context: Context) -> int:
    """Positions of the encoder without a prefix, before any cut at the limit."""
    fed = context.tokenizer(replace(trial, encoder=_documents(trial)))
    return len(fed.encoder_ids) + fed.truncated
