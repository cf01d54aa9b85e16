"""The encoder's prefix: what is co-encoded before the document, offline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from interventions.intervention import Context, Intervention, LevelError, intervention
from probes.registry import nearest
from probes.trials import Segment, Trial

#: Text between prefix and document (protocol, section 1).
SEPARATOR = "\n"


def _oracle(trial: Trial, context: Context) -> str:
    """The example's own query."""
    return trial.example.query


def _random(trial: Trial, context: Context) -> str:
    """As many first words of another example's document as the query has words."""
    return " ".join(context.other().document.split()[: len(trial.example.query.split())])


#: Where a prefix's text comes from, by the name of the level.
SOURCES: Mapping[str, Callable[[Trial, Context], str]] = MappingProxyType(
    {"oracle": _oracle, "random": _random}
)


@intervention("prefix")
@dataclass(frozen=True)
class Prefix(Intervention):
    """Put a prefix and a separator before the document.

    ``source``: ``none`` (no prefix, no separator), ``oracle`` (the query) or ``random`` (words of another
    example's document).
    """

    source: str = "oracle"

    def __post_init__(self) -> None:
        if self.source != "none" and self.source not in SOURCES:
            known = ["none", *SOURCES]
            raise LevelError(
                f"no prefix source is called {self.source!r}.{nearest(self.source, known)} Known: {', '.join(known)}"
            )

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this prefix in place of any other."""
        if self.source == "none":
            return trial.with_prefix(())
        text = SOURCES[self.source](trial, context)
        return trial.with_prefix((Segment("prefix", text=text), Segment("separator", text=SEPARATOR)))
