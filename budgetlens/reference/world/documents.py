"""Documents of the built-in corpus: what they tell, and passages that are easily taken for them.

Everything is a pure function of the random generator it is given.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from budgetlens.reference.world.attribute import Attribute, Domain
from budgetlens.reference.world.domains import DOMAINS, FILLERS
from budgetlens.reference.world.names import draw_name, draw_names
from budgetlens.reference.world.values import draw_value


@dataclass(frozen=True)
class Fact:
    """One attribute of one entity, the sentence that tells it, and the template of that sentence.

    ``subject`` says how the sentence begins where its template has a subject: ``name``, ``It`` or a noun.
    """

    entity: str
    attribute: Attribute
    value: str
    template: str
    subject: str
    sentence: str


@dataclass(frozen=True)
class Document:
    """Facts about several entities of one domain, all of which have attributes in common.

    ``entities`` may hold some of which nothing is told; ``attributes`` are those that it could tell of.
    """

    domain: Domain
    entities: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    facts: tuple[Fact, ...]
    text: str


@dataclass(frozen=True)
class Shape:
    """How large a document is and how it is made; ranges are half-open, shares are probabilities.

    ``told``: of an attribute for an entity; ``linked``: of an entity's link to another one; ``near``: of a
    name that shares a syllable with another; ``fillers``: of a sentence without a fact after each fact;
    ``pronouns``: of a pronoun or noun for an entity that the sentence before was about.
    """

    entities: tuple[int, int]
    attributes: tuple[int, int]
    told: float = 0.85
    linked: float = 0.6
    near: float = 0.6
    fillers: float = 0.1
    pronouns: float = 0.5


def draw_document(
    generator: random.Random,
    part: str,
    shape: Shape,
    taken: set[str] | None = None,
    domain: Domain | None = None,
    attributes: Sequence[Attribute] | None = None,
    entities: Sequence[str] | None = None,
) -> Document:
    """A document of ``part`` (``"train"`` or ``"test"``: whose names are used).

    ``taken`` holds names that are not to be drawn, and gets those that are. ``domain``, ``attributes`` and
    ``entities`` are drawn where they are not given.
    """
    taken = set() if taken is None else taken
    domain = domain or generator.choice(DOMAINS)
    if entities is None:
        entities = draw_names(generator, part, generator.randrange(*shape.entities), taken, shape.near)
    if attributes is None:
        count = min(len(domain.attributes), generator.randrange(*shape.attributes))
        attributes = generator.sample(domain.attributes, count)
    pairs = [(name, one) for one in attributes for name in entities if generator.random() < shape.told]
    if not pairs:
        pairs = [(entities[0], attributes[0])]
    if len(entities) > 1:
        pairs += [(name, domain.link) for name in entities if generator.random() < shape.linked]
    # Told entity by entity, or as it comes.
    generator.shuffle(pairs)
    if generator.random() < 0.5:
        order = {name: place for place, name in enumerate(generator.sample(entities, len(entities)))}
        pairs.sort(key=lambda pair: order[pair[0]])
    drawn = []
    previous = None
    for name, attribute in pairs:
        if attribute is domain.link:
            value = generator.choice([other for other in entities if other != name])
        else:
            value = draw_value(generator, attribute.value_kind, part, taken)
        subject = "name"
        if previous == name and generator.random() < shape.pronouns:
            subject = generator.choice(("It", generator.choice(domain.nouns)))
        drawn.append(tell(domain, name, attribute, value, generator.choice(attribute.statements), subject))
        previous = name
    text = _written(generator, drawn, shape.fillers)
    return Document(domain, tuple(entities), tuple(attributes), tuple(drawn), text)


def tell(domain: Domain, entity: str, attribute: Attribute, value: str, template: str, subject: str) -> Fact:
    """The fact as a sentence of ``template``; see :class:`Fact` for ``subject``."""
    subjects = {"name": domain.subject(entity), "It": "It"}
    sentence = template.format(S=subjects.get(subject, f"The {subject}"), e=entity, v=value)
    return Fact(entity, attribute, value, template, subject, sentence)


def _written(generator: random.Random, facts: Sequence[Fact], fillers: float) -> str:
    sentences = []
    for place, fact in enumerate(facts):
        sentences.append(fact.sentence)
        follows = facts[place + 1].subject if place + 1 < len(facts) else "name"
        # A pronoun's sentence stands behind the one that it refers to.
        if follows == "name" and generator.random() < fillers:
            sentences.append(generator.choice(FILLERS))
    return " ".join(sentences)


def draw_double(generator: random.Random, part: str, document: Document, taken: set[str]) -> Document:
    """The same sentences about entities of similar names: a passage that is easily taken for the document.

    Every entity's name shares a syllable with the one it stands for, and every value is another.
    """
    renamed = {name: draw_name(generator, part, taken, like=name) for name in document.entities}
    facts = []
    for fact in document.facts:
        if fact.attribute is document.domain.link:
            value = renamed[fact.value]
        else:
            value = draw_value(generator, fact.attribute.value_kind, part, taken)
        facts.append(
            tell(document.domain, renamed[fact.entity], fact.attribute, value, fact.template, fact.subject)
        )
    text = _written(generator, facts, 0.1)
    return Document(document.domain, tuple(renamed.values()), document.attributes, tuple(facts), text)
