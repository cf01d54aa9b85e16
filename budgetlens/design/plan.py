"""A plan: one protocol of an analysis, its cells and what is compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from budgetlens.design.design import Design
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.live import live_contrasts

PUBLISHED = "published"
PROTOCOLS = ("corrected", PUBLISHED)

#: How many contrasts are headlines where a plan names none.
DEFAULT_HEADLINES = 6


@dataclass(frozen=True)
class Split:
    """An effect on the mean that is the sum of parts."""

    total: Contrast
    parts: tuple[Contrast, ...]


@dataclass(frozen=True)
class Plan:
    """One protocol of an analysis: its cells and what is compared.

    ``rows`` says whose attention is read by default (predicting or holding); ``probes`` what is
    measured besides the run's outcome. ``contrasts`` are tested on the outcome, each in its family;
    ``share_contrasts`` on every role's share in every layer. ``splits`` are decomposed on means. ``correction`` is holm
    or bonferroni.
    ``interaction`` names the factors on the axis, lines and, if there is a third, panels of the interaction
    plot. ``headline`` names the contrasts that strata, seeds and head maps report; empty means the first of each
    family. ``allow_idle`` is for plans that ask which roles there are, and whose tables say where there are none:
    levels that change nothing are run all the same (:mod:`budgetlens.design.reach`). ``read_in`` names the cells in which
    alone the probes of attention, sublayers and the stream read; empty means all.

    Examples:
        >>> from budgetlens import Factor, Plan, crossed, effect
        >>> design = crossed([Factor("prefix", ("none", "oracle"))])
        >>> prefix = effect(prefix=("none", "oracle")).contrast(design.cells)
        >>> plan = Plan(design=design, rows="predicting", probes=(), contrasts=(prefix,), share_contrasts=())
        >>> len(plan.design.cells)
        2
    """

    design: Design
    rows: str
    probes: tuple[str, ...]
    contrasts: tuple[Contrast, ...]
    share_contrasts: tuple[Contrast, ...] = ()
    splits: tuple[Split, ...] = ()
    correction: Correction = "holm"
    interaction: tuple[str, str] | tuple[str, str, str] | None = None
    headline: tuple[str, ...] = ()
    allow_idle: bool = False
    read_in: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {contrast.name for contrast in self.contrasts}
        unknown = [name for name in self.headline if name not in known]
        if unknown:
            raise ValueError(f"headline names contrasts that the plan does not have: {unknown}")
        strangers = [name for name in self.read_in if name not in self.design.by_name]
        if strangers:
            raise ValueError(f"read_in names cells that the design does not have: {strangers}")

    def without_forced_start(self) -> Plan:
        """The same plan over :meth:`budgetlens.design.design.Design.without_forced_start`."""
        return replace(self, design=self.design.without_forced_start())

    @property
    def headline_contrasts(self) -> tuple[Contrast, ...]:
        """The contrasts of ``headline``; without any, the first of each family, six at most."""
        if self.headline:
            return tuple(contrast for contrast in self.contrasts if contrast.name in self.headline)
        first: dict[str, Contrast] = {}
        for contrast in self.contrasts:
            first.setdefault(contrast.family, contrast)
        return tuple(first.values())[:DEFAULT_HEADLINES]


def live_plan(plan: Plan, idle: Mapping[str, Collection[str]], same: Mapping[str, str]) -> Plan:
    """The plan with what can act of its contrasts, by what a run fed its model (:mod:`budgetlens.statistics.live`).

    Splits stay: a part that is 0 by construction is a part.
    """
    contrasts = live_contrasts(plan.contrasts, idle, same)
    known = {contrast.name for contrast in contrasts}
    return replace(
        plan,
        contrasts=contrasts,
        share_contrasts=live_contrasts(plan.share_contrasts, idle, same),
        headline=tuple(name for name in plan.headline if name in known),
    )
