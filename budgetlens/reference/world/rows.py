"""The shipped test part: documents with several queries each, and passages to choose the document from."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from budgetlens.reference.world.documents import Document, Shape, draw_document, draw_double
from budgetlens.reference.world.domains import FILLERS
from budgetlens.reference.world.questions import Question, draw_any_question
from budgetlens.reference.world.tokenizer import token_count

#: Bounds in tokens (BOS not counted) and in words.
DOCUMENT_TOKENS, LONG_DOCUMENT_TOKENS = (100, 300), (700, 900)
DOCUMENT_WORDS = (30, 300)
DOCUMENT_SHAPE = Shape(entities=(3, 7), attributes=(3, 5))
LONG_DOCUMENT_SHAPE = Shape(entities=(14, 20), attributes=(4, 6))
#: Of what the document's own entities are told in a passage that answers none of its queries.
SIBLING_ATTRIBUTES = 2
DOCUMENTS, LONG_DOCUMENTS = 160, 40
QUERIES_PER_DOCUMENT = 4

QUERY_TYPES = {
    "name": "LOCATION",
    "person": "PERSON",
    "year": "NUMERIC",
    "count": "NUMERIC",
    "measure": "NUMERIC",
    "pair": "ENTITY",
    "list": "ENTITY",
    "entity": "ENTITY",
    "purpose": "DESCRIPTION",
}


def draw_bounded_document(
    generator: random.Random, part: str, taken: set[str], long: bool = False, **given: Any
) -> Document:
    """A document within :data:`DOCUMENT_TOKENS` (and :data:`DOCUMENT_WORDS`) or :data:`LONG_DOCUMENT_TOKENS`.

    ``given`` is what :func:`draw_document` takes beside. Names of rejected draws stay free.
    """
    low, high = LONG_DOCUMENT_TOKENS if long else DOCUMENT_TOKENS
    while True:
        used = set(taken)
        shape = LONG_DOCUMENT_SHAPE if long else DOCUMENT_SHAPE
        document = draw_document(generator, part, shape, used, **given)
        words = len(document.text.split())
        if low <= token_count(document.text) <= high and (long or words <= DOCUMENT_WORDS[1]):
            taken |= used
            return document


def draw_sibling(generator: random.Random, part: str, document: Document, taken: set[str]) -> Document:
    """A passage on the same entities that tells nothing of the document's attributes, and none of its links."""
    left = [one for one in document.domain.attributes if one not in document.attributes]
    attributes = generator.sample(left, min(SIBLING_ATTRIBUTES, len(left)))
    shape = Shape(DOCUMENT_SHAPE.entities, DOCUMENT_SHAPE.attributes, linked=0.0)
    drawn = draw_document(
        generator, part, shape, taken, document.domain, attributes, entities=document.entities
    )
    text = drawn.text
    # As long as the others, so that length alone gives no passage away.
    while token_count(text) < DOCUMENT_TOKENS[0]:
        text += f" {generator.choice(FILLERS)}"
    return replace(drawn, text=text)


def _questions(generator: random.Random, document: Document, count: int) -> list[Question]:
    """Questions with different queries."""
    drawn: dict[str, Question] = {}
    while len(drawn) < count:
        question = draw_any_question(generator, document)
        drawn.setdefault(question.query, question)
    return list(drawn.values())


def _others(generator: random.Random, part: str, document: Document, taken: set[str]) -> list[Document]:
    """Passages beside the document: its double, one on its own entities, and one or two of the same domain."""
    drawn = [
        draw_double(generator, part, document, taken),
        draw_sibling(generator, part, document, taken),
    ]
    for _ in range(generator.randrange(1, 3)):
        drawn.append(draw_bounded_document(generator, part, taken, domain=document.domain))
    return drawn


def draw_group(generator: random.Random, part: str, number: int, taken: set[str]) -> list[dict[str, Any]]:
    """The rows of one document, in the schema of MS MARCO v1.1 with further columns.

    ``group`` is the same for all rows of the document; ``candidates`` are wrong answers; ``form`` is the form of
    the question and ``facts`` how many facts of the document the answer takes. ``answers`` are all wordings of a
    short answer, the given one first; an answer that is a whole sentence or more is the well-formed answer, its value
    the plain one. No entity has a name of ``taken``, which gets those of the group.
    """
    used = set(taken)
    document = draw_bounded_document(generator, part, used)
    passages = _others(generator, part, document, used)
    selected = generator.randrange(len(passages) + 1)
    passages.insert(selected, document)
    # Names of values may be met again in another group; there are not enough for all.
    taken.update(name for passage in passages for name in passage.entities)
    texts = [passage.text for passage in passages]
    rows = []
    for place, question in enumerate(_questions(generator, document, QUERIES_PER_DOCUMENT)):
        rows.append(
            {
                "query": question.query,
                "query_id": number * QUERIES_PER_DOCUMENT + place,
                "query_type": "DESCRIPTION" if question.form == "description" else QUERY_TYPES[question.kind],
                "answers": list(question.wordings) if question.is_short else [question.plain],
                "wellFormedAnswers": [] if question.is_short else [question.answer],
                "passages": {
                    "is_selected": [int(index == selected) for index in range(len(texts))],
                    "passage_text": texts,
                    "url": [f"generated:{part}/{number}/{index}" for index in range(len(texts))],
                },
                "candidates": list(question.candidates),
                "group": f"{part}-{number}",
                "form": question.form,
                "facts": question.facts,
            }
        )
    return rows


def draw_long_group(
    generator: random.Random, part: str, number: int, taken: set[str]
) -> list[dict[str, Any]]:
    """The rows of one long document: ``query, document, answer`` and the further columns of a group.

    ``answer`` is the given one; the column ``answers`` holds all right ones, the given one first.
    """
    document = draw_bounded_document(generator, part, set(taken), long=True)
    taken.update(document.entities)
    return [
        {
            "query": question.query,
            "document": document.text,
            "answer": question.answer,
            "answers": list(question.wordings),
            "candidates": list(question.candidates),
            "group": f"long-{part}-{number}",
            "form": question.form,
            "facts": question.facts,
        }
        for question in _questions(generator, document, QUERIES_PER_DOCUMENT)
    ]


def shipped_rows(documents: int = DOCUMENTS, seed: int = 2027) -> list[dict[str, Any]]:
    """The shipped test part, the rows of one document behind each other; the same for the same seed.

    No two documents have an entity in common.
    """
    generator, taken = random.Random(f"test {seed}"), set[str]()
    return [row for number in range(documents) for row in draw_group(generator, "test", number, taken)]


def shipped_long_rows(documents: int = LONG_DOCUMENTS, seed: int = 2027) -> list[dict[str, Any]]:
    """The shipped long test part."""
    generator, taken = random.Random(f"long test {seed}"), set[str]()
    return [row for number in range(documents) for row in draw_long_group(generator, "test", number, taken)]
