"""What a training step shows: documents, questions, prefixes and prompts, drawn by the stage of the curriculum.

A step's rows are a pure function of the seed and the step, so that a resumed run sees what an unbroken one sees.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from budgetlens.reference.learning.packing import Row, Slot
from budgetlens.reference.learning.prefixes import draw_prefix
from budgetlens.reference.world.documents import Document, Shape, draw_document
from budgetlens.reference.world.names import FIRST_SYLLABLES, LAST_SYLLABLES
from budgetlens.reference.world.questions import FORM_SHARES, Question, draw_any_question
from budgetlens.reference.world.rows import LONG_DOCUMENT_SHAPE
from budgetlens.reference.world.tokenizer import BOS, EOS, SPACE, build_tokenizer, first_text_id, ids_of

LONGEST_PREFIX = 40
#: From this encoder length on, a document is a long one.
LONG = 512
#: Share of rows with a prefix that is not the query, and of hidden ones among all prefixes.
OTHER_PREFIXES, HIDDEN_PREFIXES = 0.24, 0.65
#: Weight of a query's tokens against the answer's, before the root of the length.
ASKING = 0.25


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum.

    ``until`` is the share of all steps after which the stage ends; ``shapes`` are the (encoder length,
    decoder length, rows) of its batches, taken in turn; ``document`` and ``long_document`` say what is
    told in short and in long ones. ``forms`` are the shares of the forms of questions. ``strings`` is the
    share of rows that hold random tokens to be copied, ``joined`` that of rows with several documents
    behind each other, ``copies`` the share of slots that continue a span of the document, ``oracle`` that of
    rows with the query as prefix.
    """

    until: float
    shapes: tuple[tuple[int, int, int], ...]
    document: Shape
    strings: float
    copies: float
    joined: float = 0.0
    oracle: float = 0.18
    forms: tuple[tuple[str, float], ...] = tuple(FORM_SHARES.items())
    long_document: Shape = LONG_DOCUMENT_SHAPE


def _random_prompt(generator: random.Random, length: int) -> tuple[int, ...]:
    """``length`` ids, uniform over [100, V-100) or over the tokens of ordinary text."""
    size = len(build_tokenizer())
    low, high = (100, size - 100) if generator.random() < 0.5 else (first_text_id(), size - 1)
    return tuple(generator.randrange(low, high) for _ in range(length))


def _answer_slot(
    question: Question,
    prompt: tuple[int, ...],
    kind: str,
    weight: float,
    hidden: tuple[int, int],
    shift: int = 0,
    asking: float = 0.0,
) -> Slot:
    target = (*ids_of(question.answer), EOS)
    # An answer's weight grows with the root of its length: the measure is the mean over answers of the
    # mean over tokens, but whole sentences are worth learning too. Likewise a query's.
    prompt_weight = asking * max(1, len(prompt)) ** -0.5
    return Slot(prompt, target, kind, weight * len(target) ** -0.5, hidden, shift, prompt_weight)


def _copy_slot(generator: random.Random, ids: Sequence[int]) -> Slot:
    """The span of the document that follows two to four of its tokens."""
    asked = generator.randrange(2, 5)
    start = generator.randrange(0, max(1, len(ids) - asked - 4))
    end = start + asked + generator.randrange(6, 15)
    target = tuple(ids[start + asked : end])
    return Slot(tuple(ids[start : start + asked]), target, "copy", 0.5 * len(target) ** -0.5)


class _RowWriter:
    """Writes the row of one text: its prefix, and slots until ``room`` decoder positions are filled.

    ``documents`` are those of the text; a question is on one of them.
    """

    def __init__(
        self, generator: random.Random, stage: Stage, documents: Sequence[Document], other: Document
    ) -> None:
        self.generator, self.stage, self.documents = generator, stage, documents
        self.body = ids_of("\n\n".join(document.text for document in documents))
        self.first = self.question()
        chance = generator.random()
        self.oracle = chance < stage.oracle
        self.prefix: tuple[int, ...] = ()
        if self.oracle:
            self.prefix = ids_of(self.first.query + "\n")
        elif chance < stage.oracle + OTHER_PREFIXES:
            text = draw_prefix(generator, documents[0], other, self.first.query)
            self.prefix = (*ids_of(text)[:LONGEST_PREFIX], *ids_of("\n"))

    def question(self) -> Question:
        document = self.generator.choice(self.documents)
        return draw_any_question(self.generator, document, dict(self.stage.forms))

    def hidden(self) -> tuple[int, int]:
        """The encoder positions that a slot can't see."""
        if self.prefix and self.generator.random() < HIDDEN_PREFIXES:
            # Exactly prefix and newline; BOS and both; or, as published, BOS and prefix without newline.
            start, newline = self.generator.choice(((1, 1), (1, 1), (0, 1), (0, 0)))
            return start, len(self.prefix) + newline
        return 0, int(self.generator.random() < 0.12)

    def shift(self) -> int:
        return self.generator.randrange(1, 16) if self.generator.random() < 0.4 else 0

    def oracle_slots(self) -> list[Slot]:
        """The prefix's own question: without a prompt, with it, and behind random ids."""
        query = ids_of(self.first.query)
        filler = _random_prompt(self.generator, len(query))
        return [
            _answer_slot(self.first, (), "oracle, none", 1.0, self.hidden(), self.shift()),
            _answer_slot(self.first, query, "oracle, query", 1.0, self.hidden()),
            _answer_slot(self.first, filler, "oracle, random", 0.7, self.hidden()),
        ]

    def slot(self) -> Slot:
        chance, copies = self.generator.random(), self.stage.copies
        if chance < copies:
            return _copy_slot(self.generator, self.body)
        question = self.question()
        if chance < copies + 0.06:
            return _answer_slot(question, (), "none", 0.2, self.hidden(), self.shift())
        query = ids_of(question.query)
        if chance < copies + 0.12:
            return _answer_slot(
                question, _random_prompt(self.generator, len(query)), "random", 0.2, self.hidden()
            )
        # Behind the query as prefix, the next query would be learned to be that one.
        asking = 0.0 if self.oracle else ASKING
        return _answer_slot(question, query, question.form, 1.0, self.hidden(), asking=asking)

    def row(self, room: int) -> Row:
        slots = self.oracle_slots() if self.oracle else []
        while sum(map(len, slots)) <= room:
            slots.append(self.slot())
        while sum(map(len, slots)) > room:
            slots.pop()
        return Row((BOS, *self.prefix, *self.body), tuple(slots))


@cache
def _syllables() -> tuple[int, ...]:
    """The ids of the syllables of names, first and last."""
    pieces = [*(SPACE + one.capitalize() for one in FIRST_SYLLABLES), *LAST_SYLLABLES]
    vocabulary = build_tokenizer().get_vocab()
    return tuple(vocabulary[piece] for piece in pieces)


def _string_row(generator: random.Random, length: int, room: int) -> Row:
    """A row of different random tokens with spans to copy: syllables of names, or any tokens of text."""
    every = range(first_text_id(), len(build_tokenizer()) - 1)
    pool = _syllables() if generator.random() < 0.7 else every
    body = generator.sample(pool, generator.randrange(12, min(length, len(_syllables()))))
    slots = [_copy_slot(generator, body) for _ in range(room // 18)]
    return Row((BOS, *body), tuple(slots))


def _draw_documents(generator: random.Random, stage: Stage, encoder_length: int) -> list[Document]:
    """One document, or several behind each other, that fill the better part of an encoder row."""
    longest = encoder_length - LONGEST_PREFIX - 2
    long = encoder_length > LONG
    shortest = (0.75 if long else 0.45) * longest
    while True:
        joined = generator.random() < stage.joined
        shape = stage.long_document if long and not joined else stage.document
        count = (generator.randrange(4, 8) if long else 2) if joined else 1
        taken: set[str] = set()
        drawn = [draw_document(generator, "train", shape, taken) for _ in range(count)]
        if shortest <= len(ids_of("\n\n".join(one.text for one in drawn))) <= longest:
            return drawn


def draw_rows(stage: Stage, shape: tuple[int, int, int], seed: int, step: int) -> list[Row]:
    """The rows of one step: a pure function of its arguments."""
    generator = random.Random(f"{seed}/{step}")
    encoder_length, decoder_length, count = shape
    drawn = [_draw_documents(generator, stage, encoder_length) for _ in range(count)]
    rows = []
    for place, documents in enumerate(drawn):
        if generator.random() < stage.strings:
            rows.append(_string_row(generator, encoder_length - LONGEST_PREFIX - 2, decoder_length))
        else:
            writer = _RowWriter(generator, stage, documents, drawn[place - 1][0])
            rows.append(writer.row(decoder_length))
    return rows
