"""Questions on a document: those that take one fact, two, none, or everything that is told of an entity.

Every question knows other answers that could be taken for its own: its candidates.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from budgetlens.reference.world.attribute import Attribute
from budgetlens.reference.world.documents import Document, Fact
from budgetlens.reference.world.domains import (
    BOTH_REQUESTS,
    COMPARISONS,
    DESCRIPTION_REQUESTS,
    NOT_TOLD,
    WORDINGS,
)
from budgetlens.reference.world.names import draw_name, part_of_name
from budgetlens.reference.world.values import ORDERED_KINDS

#: How often each form of question is asked, in training and in the test part.
FORM_SHARES: Mapping[str, float] = MappingProxyType(
    {
        "value": 0.25,
        "sentence": 0.13,
        "description": 0.06,
        "bridge": 0.25,
        "both": 0.08,
        "comparison": 0.12,
        "missing": 0.11,
    }
)
#: A description repeats at most so many sentences.
LONGEST_DESCRIPTION = 3
MOST_CANDIDATES = 4
#: Values that are too long to be asked for two at a time.
_LONG_KINDS = ("purpose", "list")


@dataclass(frozen=True)
class Question:
    """A query on a document and its answer.

    ``wordings`` are all right answers, the one that is given first: every wording of a short answer (see
    :data:`~.domains.WORDINGS`), one alone of a sentence or a description. ``form`` is a key of :data:`FORM_SHARES`.
    ``kind`` is the kind of the value that is asked for. ``plain`` is the answer's value alone. ``facts`` counts the
    facts of the document that the answer takes. ``candidates`` are other answers, worded as the given one is: of the
    same form, true of other entities of the document, or :data:`~.domains.NOT_TOLD`.
    """

    query: str
    wordings: tuple[str, ...]
    form: str
    kind: str
    plain: str
    facts: int
    candidates: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The answer that is given."""
        return self.wordings[0]

    @property
    def is_short(self) -> bool:
        """Whether the answer is the value in some wording, and no sentence of its attribute or description."""
        return len(self.wordings) > 1


def _candidates(generator: random.Random, answer: str, others: Iterable[str]) -> tuple[str, ...]:
    """At most :data:`MOST_CANDIDATES` of the others, none of them the answer, in random order."""
    different = sorted({other for other in others if other != answer})
    return tuple(generator.sample(different, min(MOST_CANDIDATES, len(different))))


def _short(
    generator: random.Random, query: str, value: str, form: str, kind: str, facts: int, others: Iterable[str]
) -> Question:
    """A question that is answered by a value; ``others`` are values of which its candidates are made."""
    candidates = _candidates(generator, value, others)
    drawn = generator.choices(tuple(WORDINGS), tuple(WORDINGS.values()))[0]
    wordings = (drawn, *(wording for wording in WORDINGS if wording != drawn))
    return Question(
        query,
        tuple(wording.format(v=value) for wording in wordings),
        form,
        kind,
        value,
        facts,
        tuple(drawn.format(v=candidate) for candidate in candidates),
    )


def _others(document: Document, attribute: Attribute) -> list[str]:
    """All that the document tells of an attribute, of whichever entity, and that it does not tell."""
    told = [fact.value for fact in document.facts if fact.attribute == attribute]
    return [*told, NOT_TOLD]


def _template(generator: random.Random, attribute: Attribute) -> str:
    return generator.choice(attribute.questions if generator.random() < 0.75 else attribute.keywords)


def _value(generator: random.Random, document: Document) -> Question:
    fact = generator.choice(document.facts)
    query = _template(generator, fact.attribute).format(e=fact.entity)
    kind, others = fact.attribute.value_kind, _others(document, fact.attribute)
    return _short(generator, query, fact.value, "value", kind, 1, others)


def _sentence(generator: random.Random, document: Document) -> Question:
    fact = generator.choice(document.facts)
    query = generator.choice(fact.attribute.requests).format(e=fact.entity)
    return _in_a_sentence(generator, document, fact, query, "sentence", 1)


def _in_a_sentence(
    generator: random.Random, document: Document, fact: Fact, query: str, form: str, facts: int
) -> Question:
    template = fact.attribute.sentence
    told = [one.value for one in document.facts if one.attribute == fact.attribute]
    answer = template.format(e=fact.entity, v=fact.value)
    others = [template.format(e=fact.entity, v=value) for value in told]
    candidates = _candidates(generator, answer, [*others, NOT_TOLD])
    return Question(query, (answer,), form, fact.attribute.value_kind, fact.value, facts, candidates)


def _description(generator: random.Random, document: Document) -> Question:
    told: dict[str, list[Fact]] = {}
    for fact in document.facts:
        told.setdefault(fact.entity, []).append(fact)
    texts = {
        name: " ".join(fact.sentence for fact in facts[:LONGEST_DESCRIPTION]) for name, facts in told.items()
    }
    name = generator.choice(sorted(told))
    query = generator.choice(DESCRIPTION_REQUESTS).format(e=name)
    candidates = _candidates(generator, texts[name], [*texts.values(), NOT_TOLD])
    count = min(LONGEST_DESCRIPTION, len(told[name]))
    first = told[name][0]
    kind = first.attribute.value_kind
    return Question(query, (texts[name],), "description", kind, first.value, count, candidates)


def _bridge(generator: random.Random, document: Document) -> Question | None:
    """An attribute of the entity that another one's link leads to."""
    link = document.domain.link
    leads = {fact.entity: fact.value for fact in document.facts if fact.attribute == link}
    possible = [
        (start, fact)
        for start, end in leads.items()
        for fact in document.facts
        if fact.entity == end and fact.attribute != link
    ]
    if not possible:
        return None
    start, fact = generator.choice(possible)
    attribute = fact.attribute
    if generator.random() < 0.2:
        query = document.domain.through_link(generator.choice(attribute.requests), start)
        return _in_a_sentence(generator, document, fact, query, "bridge", 2)
    choices = attribute.questions if generator.random() < 0.75 else attribute.keywords[:1]
    query = document.domain.through_link(generator.choice(choices), start)
    others = _others(document, attribute)
    return _short(generator, query, fact.value, "bridge", attribute.value_kind, 2, others)


def _two(generator: random.Random, document: Document, kinds: Iterable[str] | None) -> list[Fact] | None:
    """Two facts on one attribute, of one of the kinds, or of any that is short."""
    told: dict[str, list[Fact]] = {}
    for fact in document.facts:
        kind = fact.attribute.value_kind
        if kind in kinds if kinds is not None else kind not in _LONG_KINDS:
            told.setdefault(fact.attribute.name, []).append(fact)
    several = [facts for _, facts in sorted(told.items()) if len(facts) > 1]
    return generator.sample(generator.choice(several), 2) if several else None


def _both(generator: random.Random, document: Document) -> Question | None:
    """The values of one attribute for two entities, in the order in which they are asked for."""
    facts = _two(generator, document, None)
    if facts is None:
        return None
    first, second = facts
    article = document.domain.article
    query = generator.choice(BOTH_REQUESTS).format(
        a=first.attribute.name, e=article + first.entity, f=article + second.entity
    )
    answer = f"{first.value} and {second.value}"
    others = [f"{second.value} and {first.value}", NOT_TOLD]
    for fact in document.facts:
        if fact.attribute == first.attribute and fact.entity not in (first.entity, second.entity):
            others += [f"{first.value} and {fact.value}", f"{fact.value} and {second.value}"]
    return _short(generator, query, answer, "both", first.attribute.value_kind, 2, others)


def _comparison(generator: random.Random, document: Document) -> Question | None:
    """Which of two entities has the earlier year or the greater count."""
    facts = _two(generator, document, ORDERED_KINDS)
    if facts is None or facts[0].value == facts[1].value:
        return None
    first, second = facts
    kind, article = first.attribute.value_kind, document.domain.article
    query = generator.choice(COMPARISONS[kind]).format(
        a=first.attribute.name, e=article + first.entity, f=article + second.entity
    )
    lower, higher = sorted(facts, key=lambda fact: int(fact.value))
    answer = (lower if kind == "year" else higher).entity
    # Both, and those that are not asked about.
    others = [*document.entities, NOT_TOLD]
    return _short(generator, query, answer, "comparison", "entity", 2, others)


def _missing(generator: random.Random, document: Document) -> Question | None:
    """What the document does not say of one of its entities, or of one with a similar name."""
    told = {(fact.entity, fact.attribute) for fact in document.facts}
    attributes = sorted({fact.attribute.name for fact in document.facts} - {document.domain.link.name})
    by_name = {attribute.name: attribute for attribute in document.domain.attributes}
    gaps = [
        (name, by_name[attribute])
        for attribute in attributes
        for name in document.entities
        if (name, by_name[attribute]) not in told
    ]
    if gaps and generator.random() < 0.7:
        name, attribute = generator.choice(gaps)
    elif attributes:
        attribute = by_name[generator.choice(attributes)]
        like = generator.choice(document.entities)
        name = draw_name(generator, part_of_name(like), set(document.entities), like)
    else:
        return None
    query = _template(generator, attribute).format(e=name)
    others = _others(document, attribute)
    return _short(generator, query, NOT_TOLD, "missing", attribute.value_kind, 0, others)


_MAKERS: dict[str, Callable[[random.Random, Document], Question | None]] = {
    "value": _value,
    "sentence": _sentence,
    "description": _description,
    "bridge": _bridge,
    "both": _both,
    "comparison": _comparison,
    "missing": _missing,
}


def draw_question(generator: random.Random, document: Document, form: str) -> Question | None:
    """A question of the given form, None where the document allows none.

    Raises:
        ValueError: the form is none of :data:`FORM_SHARES`.
    """
    if form not in _MAKERS:
        raise ValueError(f"unknown form of question {form!r}; the forms are {', '.join(_MAKERS)}")
    return _MAKERS[form](generator, document)


def draw_any_question(
    generator: random.Random, document: Document, shares: Mapping[str, float] = FORM_SHARES
) -> Question:
    """A question whose form is drawn by ``shares`` among those that the document allows."""
    left = dict(shares)
    while True:
        form = generator.choices(tuple(left), tuple(left.values()))[0]
        question = draw_question(generator, document, form)
        if question is not None:
            return question
        # A document always has a fact, so that a plain value can be asked for.
        del left[form]
        left = left or {"value": 1.0}
