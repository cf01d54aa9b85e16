"""Documents, questions and MS MARCO rows of the built-in corpus.

Everything is a pure function of the random generator it is given.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from budgetlens.reference import language
from budgetlens.reference.domains import DESCRIPTION_REQUESTS, DOMAINS, FILLERS, Attribute, Domain
from budgetlens.reference.tokenizer import build_tokenizer

#: Bounds of an ordinary document in tokens (BOS not counted) and of every document in words.
DOCUMENT_TOKENS = (40, 160)
DOCUMENT_WORDS = (30, 300)
LONG_DOCUMENT_TOKENS = (500, 640)


@dataclass(frozen=True)
class Fact:
    """One attribute of one entity, and the sentence of the document that tells it."""

    entity: str
    attribute: Attribute
    value: str
    sentence: str


@dataclass(frozen=True)
class Document:
    """Facts about several entities of one domain, all of which have attributes in common."""

    domain: Domain
    facts: tuple[Fact, ...]
    text: str


@dataclass(frozen=True)
class Question:
    """A query on a document. ``form`` is ``"value"``, ``"sentence"`` or ``"description"``."""

    query: str
    answer: str
    form: str
    entity: str
    value_kind: str


def draw_document(generator: random.Random, part: str, entities: int, facts: int, fillers: float) -> Document:
    """A document on ``entities`` entities with about ``facts`` facts.

    Args:
        generator: the source of all chance.
        part: ``"train"`` or ``"test"``: whose names are used.
        entities: how many entities of the domain are told of; with two or more, each attribute belongs
            to at least two of them where the number of facts allows it.
        facts: how many facts in total, at most six per entity.
        fillers: probability of a sentence without a fact after each fact.
    """
    domain = generator.choice(DOMAINS)
    taken: set[str] = set()
    names = [language.draw_name(generator, part, taken) for _ in range(entities)]
    per_entity = min(len(domain.attributes), -(-facts // entities))
    attributes = generator.sample(domain.attributes, per_entity)
    pairs = [(name, attribute) for attribute in attributes for name in names][:facts]
    if generator.random() < 0.5:
        order = {name: position for position, name in enumerate(generator.sample(names, len(names)))}
        generator.shuffle(pairs)
        pairs.sort(key=lambda pair: order[pair[0]])
    else:
        generator.shuffle(pairs)
    told: list[Fact] = []
    sentences: list[str] = []
    previous = None
    for name, attribute in pairs:
        template = generator.choice(attribute.statements)
        value = language.draw_value(generator, attribute.value_kind, part, taken)
        subject = name if domain is DOMAINS[0] else f"The {name}"
        if previous == name and generator.random() < 0.6:
            subject = generator.choice(("It", f"The {generator.choice(domain.nouns)}"))
        sentence = template.format(S=subject, e=name, v=value)
        told.append(Fact(name, attribute, value, sentence))
        sentences.append(sentence)
        previous = name
        if generator.random() < fillers:
            sentences.append(generator.choice(FILLERS))
    return Document(domain, tuple(told), " ".join(sentences))


def join_documents(parts: Sequence[Document]) -> Document:
    """The documents behind each other, separated by blank lines; the facts of all of them."""
    facts = tuple(fact for part in parts for fact in part.facts)
    return Document(parts[0].domain, facts, "\n\n".join(part.text for part in parts))


def draw_question(generator: random.Random, document: Document, form: str) -> Question:
    """A question of the given form on a randomly chosen fact (or entity) of the document."""
    fact = generator.choice(document.facts)
    attribute, name = fact.attribute, fact.entity
    if form == "value":
        choices = attribute.questions if generator.random() < 0.75 else attribute.keywords
        return Question(
            generator.choice(choices).format(e=name), fact.value, form, name, attribute.value_kind
        )
    if form == "sentence":
        answer = attribute.sentence.format(e=name, v=fact.value)
        query = generator.choice(attribute.requests).format(e=name)
        return Question(query, answer, form, name, attribute.value_kind)
    if form == "description":
        answer = " ".join([one.sentence for one in document.facts if one.entity == name][:3])
        query = generator.choice(DESCRIPTION_REQUESTS).format(e=name)
        return Question(query, answer, form, name, attribute.value_kind)
    raise ValueError(f"unknown form of question {form!r}; expected value, sentence or description")


def token_count(text: str) -> int:
    """Length of ``text`` in tokens of the built-in tokenizer, BOS not counted."""
    return len(build_tokenizer()(text, add_special_tokens=False)["input_ids"])


def draw_bounded_document(generator: random.Random, part: str, long: bool = False) -> Document:
    """A document within :data:`DOCUMENT_TOKENS` and :data:`DOCUMENT_WORDS`, or a long one."""
    low, high = LONG_DOCUMENT_TOKENS if long else DOCUMENT_TOKENS
    while True:
        if long:
            entities = generator.randrange(8, 12)
            document = draw_document(generator, part, entities, generator.randrange(34, 46), 0.3)
        else:
            entities = generator.randrange(2, 5)
            facts = generator.randrange(2 * entities, 11)
            document = draw_document(generator, part, entities, facts, 0.15)
        words = len(document.text.split())
        within_words = words >= DOCUMENT_WORDS[0] and (long or words <= DOCUMENT_WORDS[1])
        if within_words and low <= token_count(document.text) <= high:
            return document


QUERY_TYPES = {
    "name": "LOCATION",
    "person": "PERSON",
    "year": "NUMERIC",
    "count": "NUMERIC",
    "measure": "NUMERIC",
    "pair": "ENTITY",
    "list": "ENTITY",
    "purpose": "DESCRIPTION",
}


def _draw_pair(
    generator: random.Random, part: str, short: bool, long: bool = False
) -> tuple[Document, Question]:
    """A document and a question on it whose answer has one to five words (``short``) or more."""
    forms = ("value",) if short else ("value", "sentence", "description")
    while True:
        document = draw_bounded_document(generator, part, long)
        question = draw_question(generator, document, generator.choice(forms))
        if (len(question.answer.split()) <= 5) == short:
            return document, question


def draw_row(generator: random.Random, part: str, query_id: int) -> dict[str, Any]:
    """One row in the schema of MS MARCO v1.1; rows with even ids have answers of one to five words.

    One of three to six passages is selected; the others tell of other entities. An answer that is a whole
    sentence or more is given as the well-formed answer, its value (or first sentence) as the plain one.
    """
    document, question = _draw_pair(generator, part, short=query_id % 2 == 0)
    others = [draw_bounded_document(generator, part) for _ in range(generator.randrange(2, 6))]
    texts = [other.text for other in others if question.entity not in other.text.split()]
    selected = generator.randrange(len(texts) + 1)
    texts.insert(selected, document.text)
    well_formed = [] if question.form == "value" else [question.answer]
    value = next((f.value for f in document.facts if f.value in question.answer), question.answer)
    return {
        "query": question.query,
        "query_id": query_id,
        "query_type": "DESCRIPTION" if question.form == "description" else QUERY_TYPES[question.value_kind],
        "answers": [question.answer if question.form == "value" else value],
        "wellFormedAnswers": well_formed,
        "passages": {
            "is_selected": [int(index == selected) for index in range(len(texts))],
            "passage_text": texts,
            "url": [f"generated:{part}/{query_id}/{index}" for index in range(len(texts))],
        },
    }


def draw_long_row(generator: random.Random, part: str, index: int) -> dict[str, str]:
    """One ``query, document, answer`` row whose document has 500 tokens or more."""
    document, question = _draw_pair(generator, part, short=index % 2 == 0, long=True)
    return {"query": question.query, "document": document.text, "answer": question.answer}


def shipped_rows(count: int, seed: int = 2024) -> list[dict[str, Any]]:
    """The shipped test part: ``count`` rows, the same for the same seed."""
    generator = random.Random(f"test {seed}")
    rows = [draw_row(generator, "test", query_id) for query_id in range(count)]
    # The reader skips nothing only if every row has one selected passage of 30 to 300 words.
    assert all(sum(row["passages"]["is_selected"]) == 1 for row in rows)
    return rows


def shipped_long_rows(count: int, seed: int = 2024) -> list[dict[str, str]]:
    """The shipped long test part, ``count`` rows."""
    generator = random.Random(f"long test {seed}")
    return [draw_long_row(generator, "test", index) for index in range(count)]


def names_in(text: str) -> set[str]:
    """The invented names of a text: pairs of syllables that the tokenizer keeps as two tokens."""
    tokenizer = build_tokenizer()
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])
    first = {"▁" + syllable.capitalize() for syllable in language.FIRST_SYLLABLES}
    last = set(language.LAST_SYLLABLES)
    return {start[1:] + end for start, end in pairwise(tokens) if start in first and end in last}
