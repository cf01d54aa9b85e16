"""Labels: what readers see instead of an id."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Label:
    """The words for a level, role, cell, probe or effect.

    Raises:
        ValueError: an empty ``long``: every label can be told.
    """

    short: str
    """On axes and in tables; empty where there is nothing to tell, such as a factor at rest."""
    long: str = ""
    """By itself, as in a legend; ``short`` where none is given."""
    sentence: str = ""
    """Within a sentence, behind *with* or *of*; ``long`` where none is given."""
    rest: bool = False
    """Whether it is of a level at which the factor does nothing: what goes on from there is told by itself."""
    needs: str = ""
    """A factor that it is about as well, such as a prefix that is hidden."""
    alone: Label | None = None
    """What is told where that factor is at rest, so that nothing is said of what is not there."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "long", self.long or self.short)
        object.__setattr__(self, "sentence", self.sentence or self.long)
        if not self.long:
            raise ValueError("a label needs words in short or in long; got neither")
