"""What an analysis is: designs for both protocols, a corpus, contrasts, and what its tables compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from analyses.contrasts import Contrast
from analyses.design import Design
from analyses.effects import Correction
from probes.registry import discover, lookup, registered

PROTOCOLS = ("corrected", "published")


@dataclass(frozen=True)
class Split:
    """An effect on the mean that is the sum of parts."""

    total: Contrast
    parts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Plan:
    """One protocol of an analysis: its cells and what is compared.

    ``rows`` says whose attention is read by default (predicting or holding); ``probes`` which attention
    probes. ``contrasts`` are tested on the likelihood, each in its family; ``share_contrasts`` on every
    role's share in every layer. ``splits`` are decomposed on means. ``correction`` is holm or bonferroni.
    ``interaction`` names the factors on the axis, lines and panels of the interaction plot.
    """

    design: Design
    rows: str
    probes: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    share_contrasts: tuple[Contrast, ...] = ()
    splits: tuple[Split, ...] = ()
    correction: Correction = "holm"
    interaction: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Analysis:
    """A named question with its plans. ``corpus`` and ``n`` are the published defaults' names and size."""

    name: str
    title: str
    question: str
    plans: Mapping[str, Plan]
    corpus: str = "reference"
    n: int = 500

    def plan(self, protocol: str) -> Plan:
        """The plan for a protocol; ValueError with the known ones otherwise."""
        if protocol not in self.plans:
            raise ValueError(f"{self.name} has no protocol {protocol!r}; it has {', '.join(self.plans)}")
        return self.plans[protocol]


def analysis(name: str) -> Callable[[Callable[[], Analysis]], Callable[[], Analysis]]:
    """Register a function that makes an analysis under ``name``."""
    return registered("analysis", name)


def available_analyses() -> Mapping[str, Callable[[], Analysis]]:
    """Every registered analysis by name: modules of :mod:`analyses` and the group ``budgetlens.analyses``."""
    import analyses

    return discover("analysis", analyses, "budgetlens.analyses")


def find_analysis(name: str) -> Analysis:
    """The analysis called ``name``; its module's name and its number alone do as well.

    Raises RegistryError with the nearest known name.
    """
    known = available_analyses()
    for registered_name, maker in known.items():
        module = maker.__module__.rpartition(".")[2]
        if name in (registered_name, module, registered_name.removeprefix("exp")):
            return maker()
    return lookup("analysis", name, known)()
