"""Plans of attention knockouts: which keys, seen from which rows, in which layers; and what a knockout is held against.

A knockout gives the attention that it takes to other keys, in a state that no training saw. Its *arms* do other things
to the same keys: their values zeroed or averaged, which leaves all attention where it was, and random keys cut in their
place, as many or of as much attention, which tells what cutting costs whatever is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import place
from budgetlens.design.plan import Plan
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.contrasts import Contrast

#: Quarters of the decoder's depth, and all of it.
QUARTERS = ("0%-25%", "25%-50%", "50%-75%", "75%-100%")
WINDOWS = (*QUARTERS, "all")
NONE = "none"
KNOCKOUT = "knockout"


@dataclass(frozen=True)
class Way:
    """What is done to keys: the factor that does it, what stands before the edges in its level, and its words."""

    factor: str
    start: str
    words: str
    random: bool = False


CUT = Way(KNOCKOUT, "", "unseen")
#: What else is done to the keys of a knockout.
ARMS = (
    Way("value_zeroing", "", "without values"),
    Way("value_mean", "", "with mean values"),
    Way("random_keys", "number:", "spared, as many random keys unseen", random=True),
    Way("random_keys", "mass:", "spared, random keys of their attention unseen", random=True),
)


@dataclass(frozen=True)
class BaseCell:
    """A cell that keys are knocked out of: what is hidden in it, its name, and the keys that are left in it.

    ``armed`` are those of its keys of which a knockout in all layers has arms, ``ways`` what can be done to keys; their
    factors are those of its cells.
    """

    hidden: str
    label: str
    keys: tuple[str, ...]
    armed: tuple[str, ...] = ()
    ways: tuple[Way, ...] = (CUT,)

    def cell(self, alias: str = "", **levels: str) -> Cell:
        """The base's cell, or that in which something is done to its keys."""
        factors = dict.fromkeys(way.factor for way in self.ways)
        done = tuple((factor, levels.get(factor, NONE)) for factor in factors)
        named = (("prefix", "oracle"), ("hidden", self.hidden), ("prompt", "query"), *done)
        return Cell(named, alias or self.label)


@dataclass(frozen=True)
class Knocked:
    """One knockout of a base, or one of its arms: from ``rows`` to ``keys`` in the layers of ``window``."""

    base: BaseCell
    rows: str
    keys: str
    window: str
    way: Way = CUT

    @property
    def edges(self) -> str:
        """Rows, keys and layers as levels name them."""
        return f"{self.rows}->{self.keys}@{self.window}"

    @property
    def cell(self) -> Cell:
        """The cell of this knockout or arm."""
        told = self.edges if self.way is CUT else f"{self.edges} {self.way.words}"
        return self.base.cell(
            f"{told}, {self.base.label}", **{self.way.factor: f"{self.way.start}{self.edges}"}
        )

    @property
    def contrast(self) -> Contrast:
        """The base against this; negative: it raises the NLL."""
        name = f"{self.keys} {self.way.words} by {self.rows}, layers {self.window} | {self.base.label}"
        family = f"{self.rows} rows | {self.base.label}" if self.way is CUT else f"arms | {self.base.label}"
        return _against(self.base.cell(), self.cell, name, family)

    @property
    def against_random(self) -> Contrast:
        """This arm of random keys against the knockout; negative: cutting the named keys raises the NLL by more."""
        cut = replace(self, way=CUT).cell
        alike = "as many" if self.way.start == "number:" else "random keys of their attention"
        name = f"{self.keys} cut instead of {alike}, by {self.rows}, layers {self.window} | {self.base.label}"
        return _against(self.cell, cut, name, f"against random keys | {self.base.label}")


def _against(baseline: Cell, treatment: Cell, name: str, family: str) -> Contrast:
    own = place(**baseline.factors) - place(**treatment.factors)
    return own.named(name, family).contrast((baseline, treatment))


def knockouts(bases: Sequence[BaseCell], rows: Mapping[str, Sequence[str]]) -> list[Knocked]:
    """Every base, rows (each with its windows) and role."""
    return [
        Knocked(base, group, keys, window)
        for base in bases
        for group, windows in rows.items()
        for window in windows
        for keys in base.keys
    ]


def arms(bases: Sequence[BaseCell], rows: str, window: str) -> list[Knocked]:
    """Every other way of every base, on each of its armed roles, from one set of rows in one window."""
    return [
        Knocked(base, rows, keys, window, way)
        for base in bases
        for keys in base.armed
        for way in base.ways
        if way is not CUT
    ]


def knockout_plan(
    bases: Sequence[BaseCell],
    rows: Mapping[str, Sequence[str]],
    *,
    read: str,
    probes: tuple[str, ...],
    correction: Correction,
) -> Plan:
    """The bases, their knockouts and arms, and a contrast for each; corrected within rows and base.

    ``rows`` maps rows to the windows in which they are cut off; ``read`` says whose attention is read. Arms are those
    of the first rows in all layers; random keys are compared with the knockout itself besides.
    """
    first = next(iter(rows))
    knocked, beside = knockouts(bases, rows), arms(bases, first, "all")
    cells = (
        *(base.cell() for base in bases),
        *(each.cell for each in knocked),
        *(each.cell for each in beside),
    )
    names = dict.fromkeys(factor for cell in cells for factor in cell.factors)
    factors = tuple(
        Factor(name, tuple(dict.fromkeys(cell.factors[name] for cell in cells))) for name in names
    )
    contrasts = (
        *(each.contrast for each in knocked),
        *(each.contrast for each in beside),
        *(each.against_random for each in beside if each.way.random),
    )
    headline = tuple(each.contrast.name for each in knocked if each.rows == first and each.window == "all")
    return Plan(
        design=Design(factors, cells),
        rows=read,
        probes=probes,
        contrasts=contrasts,
        correction=correction,
        headline=headline,
        allow_idle=True,
    )
