"""An independent reader of the built-in corpus: from the text of a document alone to the answer of a query.

It knows the templates and none of the generator's bookkeeping: sentences are told apart by full stops, pronouns
by the sentence before, queries by their wording.
"""

from __future__ import annotations

import re
from functools import cache

from budgetlens.reference.world.attribute import Domain
from budgetlens.reference.world.domains import (
    BOTH_REQUESTS,
    COMPARISONS,
    DESCRIPTION_REQUESTS,
    DOMAINS,
    FILLERS,
)

NAME = r"[A-Z][a-z]{5}"
NOT_TOLD = "not told"
#: How a short answer may be worded.
WORDINGS = ("{}", "{}.", "it is {}.", "the answer is {}.")
#: How the values of each kind are spelled.
SPELLED = {
    "name": NAME,
    "entity": NAME,
    "person": f"{NAME} {NAME}",
    "year": r"1\d{3}",
    "count": r"\d{4}",
    "measure": r"\d\d [a-z]+",
    "pair": "[a-z]+ [a-z]+",
    "list": "[a-z]+ [a-z]+ and [a-z]+ [a-z]+",
    "purpose": "to [a-z]+ .+?",
}


def pattern_of(template: str, **places: str) -> re.Pattern[str]:
    """A regular expression that matches what ``template`` makes; ``places`` says what may stand where."""
    parts = re.split(r"(\{\w\})", template)
    seen: set[str] = set()
    text = ""
    for part in parts:
        key = part.strip("{}")
        if not re.fullmatch(r"\{\w\}", part):
            text += re.escape(part)
        elif key in seen:
            text += f"(?P={key})"
        else:
            seen.add(key)
            text += f"(?P<{key}>{places[key]})"
    return re.compile(text)


@cache
def statements(domain: Domain) -> list[tuple[str, re.Pattern[str]]]:
    subject = "|".join(
        ["It", *(f"The {noun}" for noun in domain.nouns), f"{domain.article.capitalize()}{NAME}"]
    )
    return [
        (attribute.name, pattern_of(template, S=subject, e=NAME, v=SPELLED[attribute.value_kind]))
        for attribute in (*domain.attributes, domain.link)
        for template in attribute.statements
    ]


def facts_of(domain: Domain, text: str) -> list[tuple[str, str, str, str]]:
    """(entity, attribute, value, sentence) of every sentence but fillers, in order."""
    found, last = [], ""
    for sentence in re.findall(r"[^.]+\.", text):
        sentence = sentence.strip()
        if sentence in FILLERS:
            continue
        fits = [(name, m.groupdict()) for name, one in statements(domain) if (m := one.fullmatch(sentence))]
        assert len(fits) == 1, (sentence, fits)
        name, places = fits[0]
        entity = places.get("e") or places["S"].removeprefix("The ")
        if not re.fullmatch(NAME, entity):
            entity = last
        last = entity
        found.append((entity, name, places["v"], sentence))
    return found


def domain_of(text: str) -> Domain:
    """The domain in whose templates all of the text can be read."""
    able = []
    for domain in DOMAINS:
        try:
            able.append(bool(facts_of(domain, text)) and domain)
        except AssertionError:
            continue
    assert len(able) == 1, text
    return able[0]


def worded(value: str) -> set[str]:
    """All wordings of a short answer."""
    return {wording.format(value) for wording in WORDINGS}


def answers_of(text: str, query: str) -> set[str]:
    """All right answers that the document gives to the query: one, or the wordings of one."""
    domain = domain_of(text)
    facts = facts_of(domain, text)
    told = {(entity, name): value for entity, name, value, _ in facts}
    assert len(told) == len(facts), "something is told twice"
    two = {"e": f"{domain.article}({NAME})", "f": f"{domain.article}({NAME})", "a": r"\w+"}
    for template in DESCRIPTION_REQUESTS:
        if m := pattern_of(template, e=NAME).fullmatch(query):
            return {" ".join([sentence for entity, _, _, sentence in facts if entity == m["e"]][:3])}
    for kind, templates in (("both", BOTH_REQUESTS), *COMPARISONS.items()):
        for template in templates:
            if m := pattern_of(template, **two).fullmatch(query):
                names = [m[place].removeprefix(domain.article) for place in "ef"]
                values = [told[name, m["a"]] for name in names]
                if kind == "both":
                    return worded(" and ".join(values))
                numbers = [int(value) for value in values]
                return worded(names[numbers.index(min(numbers) if kind == "year" else max(numbers))])
    return _answers_on_one(domain, told, query)


def _answers_on_one(domain: Domain, told: dict[tuple[str, str], str], query: str) -> set[str]:
    through = rf"the {domain.link.name} of {domain.article}({NAME})"
    found: list[set[str]] = []
    for attribute in (*domain.attributes, domain.link):
        for template in (*attribute.questions, *attribute.requests, *attribute.keywords):
            entity = None
            if m := pattern_of(template, e=NAME).fullmatch(query):
                entity = m["e"]
            elif m := pattern_of(template.replace("the {e}", "{e}"), e=through).fullmatch(query):
                entity = told[re.fullmatch(through, m["e"])[1], domain.link.name]
            if entity is not None:
                value = told.get((entity, attribute.name), NOT_TOLD)
                whole = template in attribute.requests
                answers = {attribute.sentence.format(e=entity, v=value)} if whole else worded(value)
                if answers not in found:
                    found.append(answers)
    assert len(found) == 1, (query, found)
    return found[0]
