"""What can be told about an entity, and the ways to tell it and to ask for it.

In a template ``{e}`` is the entity's name, ``{v}`` the value, and ``{S}`` the subject: the name, a
pronoun or "The village". A question that asks *who, what, when, which, how many, why* or names the
attribute alone is answered by the value; a request that begins with *tell, explain* or *state* is answered
by a whole sentence. So the query tells a short answer from a sentence, but does not fix the wording of a short one:
see :data:`~.domains.WORDINGS`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """One thing that can be told about an entity; ``value_kind`` is one of values.VALUE_KINDS or ``entity``."""

    name: str
    value_kind: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    sentence: str

    @property
    def requests(self) -> tuple[str, ...]:
        """Queries whose answer is :attr:`sentence`."""
        return (
            f"tell me the {self.name} of {{e}}",
            f"explain the {self.name} of {{e}} in a sentence",
            f"state the {self.name} of {{e}}",
        )

    @property
    def keywords(self) -> tuple[str, ...]:
        """Queries made of keywords; their answer is the value."""
        return (f"{self.name} of {{e}}", f"{{e}} {self.name}")


@dataclass(frozen=True)
class Domain:
    """A kind of entity: its nouns, its attributes, and the attribute that leads to another entity.

    ``article`` stands before a name inside a sentence: empty, or ``"the "``.
    """

    name: str
    nouns: tuple[str, ...]
    article: str
    attributes: tuple[Attribute, ...]
    link: Attribute

    def subject(self, name: str) -> str:
        """The name as a sentence begins with it."""
        return f"The {name}" if self.article else name

    def through_link(self, template: str, name: str) -> str:
        """A query of ``template`` about the entity that the link of ``name`` leads to, which is not named."""
        reference = f"the {self.link.name} of {self.article}{name}"
        return template.replace("the {e}", "{e}").format(e=reference)
