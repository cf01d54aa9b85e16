"""All domains of the built-in corpus, its sentences without a fact, and the queries that no attribute has."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from budgetlens.reference.world.attribute import Domain
from budgetlens.reference.world.living import CREATURE, PLANT
from budgetlens.reference.world.made import DEVICE, VESSEL
from budgetlens.reference.world.places import GUILD, SETTLEMENT

DOMAINS: tuple[Domain, ...] = (SETTLEMENT, CREATURE, DEVICE, GUILD, VESSEL, PLANT)

#: Sentences that tell no fact.
FILLERS = (
    "Few travellers have heard of this.",
    "The old songs say little about it.",
    "Not everyone agrees on the details.",
    "Some of this was written down long ago.",
    "The rest is told only in the evening by the fire.",
    "Visitors are often surprised to hear it.",
    "Scholars have argued about the matter for a long time.",
    "It is said that the weather was better in those days.",
    "A map of the region hangs in the library.",
    "Nothing more is known for certain.",
    "The letters that told the whole story were lost at sea.",
    "Many people still talk about it in the market.",
    "The following notes were made by a careful clerk.",
    "Every child in the country learns this at school.",
)

#: Queries for everything a document tells about one entity.
DESCRIPTION_REQUESTS = ("describe {e}", "tell me everything about {e}", "give a full account of {e}")
#: Queries for an attribute of two entities; the answer names both values in this order.
BOTH_REQUESTS = ("give the {a} of {e} and of {f}", "what are the {a} of {e} and the {a} of {f}?")
#: Queries for which of two entities has the earlier year or the greater count; the answer is its name.
COMPARISONS = {
    "year": ("by {a}, which is older, {e} or {f}?", "which is the older by {a}: {e} or {f}?"),
    "count": ("by {a}, which is larger, {e} or {f}?", "which is the larger by {a}: {e} or {f}?"),
}
#: The answer where the document does not say.
NOT_TOLD = "not told"
#: How often a short answer with the value ``{v}`` is worded in which way. As in MS MARCO, whose writers word the same
#: answer differently and whose queries do not say how, so that the likelihood of an answer holds something that no
#: reader can know, however well it has read. Drawn for each question by itself.
WORDINGS: Mapping[str, float] = MappingProxyType(
    {"{v}": 0.4, "{v}.": 0.15, "it is {v}.": 0.25, "the answer is {v}.": 0.2}
)


def every_template() -> list[str]:
    """All fixed text of the corpus; the words of the built-in vocabulary are collected from it."""
    texts = [*FILLERS, *DESCRIPTION_REQUESTS, *BOTH_REQUESTS, NOT_TOLD, *WORDINGS, "It", "The"]
    texts.extend(text for several in COMPARISONS.values() for text in several)
    for domain in DOMAINS:
        texts.extend(domain.nouns)
        for attribute in (*domain.attributes, domain.link):
            texts.extend((*attribute.statements, *attribute.questions, *attribute.requests))
            texts.extend((*attribute.keywords, attribute.sentence))
    return texts
