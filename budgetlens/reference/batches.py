"""Training batches: one encoder text and several decoder sequences of it, packed into one row.

Encoding a document once for many questions gives far more answer tokens per second than one question per
document. The decoder sequences ("slots") of a document lie behind each other in one decoder row; the
self-attention mask keeps them apart, their positions restart at 0, and each slot has its own cross mask.
A batch is a pure function of the seed and the step, so that a resumed run sees what an unbroken one sees.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from budgetlens.reference import documents
from budgetlens.reference.documents import Document, Question
from budgetlens.reference.tokenizer import BOS, EOS, PAD, build_tokenizer, first_text_id

LONGEST_PREFIX = 30
#: Share of rows with a prefix that is not the query.
OTHER_PREFIXES = 0.24
IGNORED = -100


@dataclass(frozen=True)
class Stage:
    """One stage of the curriculum.

    ``until`` is the share of all steps after which the stage ends; ``shapes`` are the (encoder length,
    decoder length, rows) of its batches, taken in turn. ``strings`` is the share of rows that hold random
    tokens to be copied, ``joined`` that of rows with several documents behind each other, ``copies`` the
    share of slots that continue a span of the document, ``oracle`` that of rows with the query as prefix.
    """

    until: float
    shapes: tuple[tuple[int, int, int], ...]
    entities: tuple[int, int]
    facts: tuple[int, int]
    fillers: float
    strings: float
    copies: float
    joined: float
    oracle: float = 0.18


@dataclass(frozen=True)
class Slot:
    """One decoder sequence: prompt and target ids, and the weight of each target token.

    ``hidden`` is the half-open range of encoder positions it may not attend to; ``shift`` is added to its
    position ids.
    """

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    kind: str
    weight: float = 1.0
    hidden: tuple[int, int] = (0, 0)
    shift: int = 0


@dataclass(frozen=True)
class Row:
    """One encoder text, BOS first, and its slots."""

    encoder: tuple[int, ...]
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Batch:
    """Tensors of one step; masks are boolean, True where attention is allowed.

    Shapes: ``encoder_ids`` (rows, encoder); ``decoder_ids``, ``positions``, ``labels`` and ``weights``
    (rows, decoder); ``encoder_mask`` (rows, encoder); ``slots`` (rows, decoder) holds the number of the
    slot at each position, -1 on padding; ``cross_mask`` (rows, decoder, encoder).
    ``kinds`` maps a kind of slot to the (row, position) pairs of its labels.
    """

    encoder_ids: torch.Tensor
    encoder_mask: torch.Tensor
    decoder_ids: torch.Tensor
    positions: torch.Tensor
    slots: torch.Tensor
    cross_mask: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    kinds: dict[str, torch.Tensor]

    def tokens(self) -> int:
        """Encoder and decoder tokens of the batch, padding not counted."""
        return int(self.encoder_mask.sum()) + int((self.slots >= 0).sum())


def ids_of(text: str) -> tuple[int, ...]:
    """Token ids of ``text`` without special tokens."""
    return tuple(build_tokenizer()(text, add_special_tokens=False)["input_ids"])


def _random_prompt(generator: random.Random, length: int) -> tuple[int, ...]:
    """``length`` ids, uniform over [100, V-100) or over the tokens of ordinary text."""
    size = len(build_tokenizer())
    low, high = (100, size - 100) if generator.random() < 0.5 else (first_text_id(), size - 1)
    return tuple(generator.randrange(low, high) for _ in range(length))


def _prefix_text(generator: random.Random, document: Document, other: Document, question: Question) -> str:
    """A prefix that is not the query: words, keywords or a sentence of this or another document."""
    kind = generator.choice(("passage", "keywords", "first", "wrong query", "wrong first", "wrong keywords"))
    source = other if kind.startswith(("wrong", "passage")) else document
    if kind == "passage":
        return " ".join(source.text.split()[: len(question.query.split())])
    if kind.endswith("keywords"):
        words = [word.strip(".,").lower() for word in source.text.split() if len(word) > 3]
        return " ".join(generator.sample(words, min(3, len(words))))
    if kind == "wrong query":
        return documents.draw_question(generator, source, "value").query
    return source.text.split(". ")[0].rstrip(".") + "."


def _answer_slot(
    question: Question,
    prompt: tuple[int, ...],
    kind: str,
    weight: float,
    hidden: tuple[int, int],
    shift: int = 0,
) -> Slot:
    target = (*ids_of(question.answer), EOS)
    # An answer's weight grows with the root of its length: the measure is the mean over answers of the
    # mean over tokens, but whole sentences are worth learning too.
    return Slot(prompt, target, kind, weight * len(target) ** -0.5, hidden, shift)


def _copy_slot(generator: random.Random, ids: Sequence[int]) -> Slot:
    """The span of the document that follows two to four of its tokens."""
    asked = generator.randrange(2, 5)
    start = generator.randrange(0, max(1, len(ids) - asked - 4))
    end = start + asked + generator.randrange(6, 15)
    target = tuple(ids[start + asked : end])
    return Slot(tuple(ids[start : start + asked]), target, "copy", 0.5 * len(target) ** -0.5)


def _draw_question(generator: random.Random, document: Document) -> Question:
    form = generator.choices(("value", "sentence", "description"), (0.6, 0.25, 0.15))[0]
    return documents.draw_question(generator, document, form)


def _document_row(
    generator: random.Random, stage: Stage, document: Document, other: Document, room: int
) -> Row:
    """A row about one document; the slots fill ``room`` decoder positions."""
    body = ids_of(document.text)
    first = _draw_question(generator, document)
    chance = generator.random()
    prefix: tuple[int, ...] = ()
    oracle = chance < stage.oracle
    if oracle:
        prefix = ids_of(first.query + "\n")
    elif chance < stage.oracle + OTHER_PREFIXES:
        prefix = (*ids_of(_prefix_text(generator, document, other, first))[:LONGEST_PREFIX], *ids_of("\n"))

    def hidden() -> tuple[int, int]:
        if prefix and generator.random() < 0.65:
            # Exactly prefix and newline; BOS and both; or, as published, BOS and prefix without newline.
            start, newline = generator.choice(((1, 1), (1, 1), (0, 1), (0, 0)))
            return start, len(prefix) + newline
        return 0, int(generator.random() < 0.12)

    def shift() -> int:
        return generator.randrange(1, 12) if generator.random() < 0.4 else 0

    slots: list[Slot] = []
    if oracle:
        query = ids_of(first.query)
        slots.append(_answer_slot(first, (), "oracle, none", 1.0, hidden(), shift()))
        slots.append(_answer_slot(first, query, "query", 1.0, hidden()))
        slots.append(
            _answer_slot(first, _random_prompt(generator, len(query)), "oracle, random", 0.7, hidden())
        )
    while True:
        chance = generator.random()
        question = _draw_question(generator, document)
        if chance < stage.copies:
            slots.append(_copy_slot(generator, body))
        elif chance < stage.copies + 0.06:
            slots.append(_answer_slot(question, (), "none", 0.2, hidden(), shift()))
        elif chance < stage.copies + 0.12:
            filler = _random_prompt(generator, len(ids_of(question.query)))
            slots.append(_answer_slot(question, filler, "random", 0.2, hidden()))
        else:
            slots.append(_answer_slot(question, ids_of(question.query), question.form, 1.0, hidden()))
        used = sum(len(slot.prompt) + len(slot.target) for slot in slots)
        if used > room:
            return Row((BOS, *prefix, *body), tuple(slots[:-1]))


def _string_row(generator: random.Random, length: int, room: int) -> Row:
    """A row of random tokens with spans to copy."""
    low, high = first_text_id(), len(build_tokenizer()) - 1
    body = [generator.randrange(low, high) for _ in range(generator.randrange(12, length))]
    slots = [_copy_slot(generator, body) for _ in range(room // 18)]
    return Row((BOS, *body), tuple(slots))


def draw_rows(stage: Stage, shape: tuple[int, int, int], seed: int, step: int) -> list[Row]:
    """The rows of one step: a pure function of its arguments."""
    generator = random.Random(f"{seed}/{step}")
    encoder_length, decoder_length, count = shape
    longest = encoder_length - LONGEST_PREFIX - 2
    shortest = 0.75 * longest if encoder_length > 512 else 4

    def document() -> Document:
        while True:
            parts, scale = (1, 4) if encoder_length > 512 else (1, 1)
            if generator.random() < stage.joined:
                # Several documents behind each other, as in the padding of the length analysis.
                parts, scale = (generator.randrange(4, 9), 1) if encoder_length > 512 else (2, 1)
            several = []
            for _ in range(parts):
                entities = scale * generator.randrange(*stage.entities)
                facts = scale * generator.randrange(*stage.facts)
                several.append(documents.draw_document(generator, "train", entities, facts, stage.fillers))
            drawn = documents.join_documents(several)
            if shortest <= len(ids_of(drawn.text)) <= longest:
                return drawn

    drawn = [document() for _ in range(count)]
    rows = []
    for index, one in enumerate(drawn):
        if generator.random() < stage.strings:
            rows.append(_string_row(generator, longest, decoder_length))
        else:
            rows.append(_document_row(generator, stage, one, drawn[index - 1], decoder_length))
    return rows


def pack(rows: Sequence[Row], encoder_length: int, decoder_length: int) -> Batch:
    """Put rows into tensors of fixed lengths (padding right).

    Raises:
        ValueError: a row does not fit the lengths.
    """
    count = len(rows)
    encoder_ids = torch.full((count, encoder_length), PAD)
    decoder_ids = torch.full((count, decoder_length), PAD)
    positions = torch.zeros((count, decoder_length), dtype=torch.long)
    slots = torch.full((count, decoder_length), -1)
    cross_mask = torch.zeros((count, decoder_length, encoder_length), dtype=torch.bool)
    labels = torch.full((count, decoder_length), IGNORED)
    weights = torch.zeros((count, decoder_length))
    kinds: dict[str, list[tuple[int, int]]] = {}
    for r, row in enumerate(rows):
        length = len(row.encoder)
        total = sum(len(slot.prompt) + len(slot.target) for slot in row.slots)
        if length > encoder_length or total > decoder_length:
            raise ValueError(
                f"a row of {length} encoder and {total} decoder tokens does not fit "
                f"{encoder_length} and {decoder_length}"
            )
        encoder_ids[r, :length] = torch.tensor(row.encoder)
        start = 0
        for number, slot in enumerate(row.slots):
            ids = (BOS, *slot.prompt, *slot.target[:-1])
            end, first = start + len(ids), start + len(slot.prompt)
            decoder_ids[r, start:end] = torch.tensor(ids)
            positions[r, start:end] = torch.arange(len(ids)) + slot.shift
            slots[r, start:end] = number
            labels[r, first:end] = torch.tensor(slot.target)
            weights[r, first:end] = slot.weight
            cross_mask[r, start:end, :length] = True
            cross_mask[r, start:end, slot.hidden[0] : slot.hidden[1]] = False
            kinds.setdefault(slot.kind, []).extend((r, position) for position in range(first, end))
            start = end
    encoder_mask = (
        torch.arange(encoder_length)[None] < torch.tensor([len(row.encoder) for row in rows])[:, None]
    )
    pairs = {kind: torch.tensor(places) for kind, places in kinds.items()}
    return Batch(encoder_ids, encoder_mask, decoder_ids, positions, slots, cross_mask, labels, weights, pairs)
