"""Plans of attention knockouts: which keys, seen from which rows, in which layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import effect
from budgetlens.design.plan import Plan
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.contrasts import Contrast

#: Quarters of the decoder's depth, and all of it.
QUARTERS = ("0%-25%", "25%-50%", "50%-75%", "75%-100%")
WINDOWS = (*QUARTERS, "all")
NONE = "none"


@dataclass(frozen=True)
class BaseCell:
    """A cell that keys are knocked out of: what is hidden in it, its name, and the keys that are left in it."""

    hidden: str
    label: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Knocked:
    """One knockout of a base: from ``rows`` to ``keys`` in the layers of ``window``."""

    base: BaseCell
    rows: str
    keys: str
    window: str

    @property
    def level(self) -> str:
        """Level of the factor *knockout*."""
        return f"{self.rows}->{self.keys}@{self.window}"

    @property
    def cell(self) -> Cell:
        """The cell of this knockout."""
        return knockout_cell(self.base, self.level, f"{self.level}, {self.base.label}")

    @property
    def contrast(self) -> Contrast:
        """The base against this knockout; negative: the knockout raises the NLL."""
        name = f"{self.keys} unseen by {self.rows}, layers {self.window} | {self.base.label}"
        family = f"{self.rows} rows | {self.base.label}"
        own = effect(knockout=(NONE, self.level), hidden=self.base.hidden).named(name, family)
        return own.contrast((knockout_cell(self.base), self.cell))


def knockout_cell(base: BaseCell, level: str = NONE, alias: str = "") -> Cell:
    """The base's cell, or that of one of its knockouts."""
    levels = (("prefix", "oracle"), ("hidden", base.hidden), ("prompt", "query"), ("knockout", level))
    return Cell(levels, alias or base.label)


def knockouts(bases: Sequence[BaseCell], rows: Mapping[str, Sequence[str]]) -> list[Knocked]:
    """Every base, rows (each with its windows) and role."""
    return [
        Knocked(base, group, keys, window)
        for base in bases
        for group, windows in rows.items()
        for window in windows
        for keys in base.keys
    ]


def knockout_plan(
    bases: Sequence[BaseCell],
    rows: Mapping[str, Sequence[str]],
    *,
    read: str,
    probes: tuple[str, ...],
    correction: Correction,
) -> Plan:
    """The bases, their knockouts, and a contrast for each; corrected within rows and base.

    ``rows`` maps rows to the windows in which they are cut off; ``read`` says whose attention is read.
    """
    knocked = knockouts(bases, rows)
    cells = (*(knockout_cell(base) for base in bases), *(each.cell for each in knocked))
    factors = (
        Factor("prefix", ("oracle",)),
        Factor("hidden", tuple(base.hidden for base in bases)),
        Factor("prompt", ("query",)),
        Factor("knockout", tuple(dict.fromkeys(cell.factors["knockout"] for cell in cells))),
    )
    contrasts = tuple(each.contrast for each in knocked)
    headline = tuple(
        each.contrast.name for each in knocked if each.rows == next(iter(rows)) and each.window == "all"
    )
    return Plan(
        design=Design(factors, cells),
        rows=read,
        probes=probes,
        contrasts=contrasts,
        correction=correction,
        headline=headline,
        allow_idle=True,
    )
