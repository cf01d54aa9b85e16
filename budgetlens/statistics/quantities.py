"""A quantity: what a number is, in which unit, which way is better, and which difference would matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", ""]
"""Which way is better; empty where neither is."""


@dataclass(frozen=True)
class Bound:
    """The smallest difference that matters, of one contrast or of all that a table holds."""

    size: float
    """In the quantity's unit; NaN where it is a part of a mean and told of several contrasts."""
    share: float = math.nan
    """Part of the baseline's mean that it is, where it is declared so; else NaN."""


@dataclass(frozen=True)
class Quantity:
    """One number of an example in a cell, and what may be said of its differences.

    Raises:
        ValueError: a smallest difference that is not above 0.

    Examples:
        >>> from budgetlens import Quantity
        >>> Quantity("nll", "answer NLL", "nats per token", better="lower", smallest_difference=0.01).unit
        'nats per token'
    """

    name: str
    """Column of the records."""
    label: str
    """What readers call it, as in *the treatment lowers the …*."""
    unit: str
    """Unit of its values; `fraction …` for a part of a whole."""
    better: Direction = ""
    """Whether lower or higher is better, or neither."""
    smallest_difference: float | None = None
    """Smallest difference that matters, in the unit; None where its differences are not tested."""
    smallest_relative: bool = False
    """Whether that is a part of the baseline's mean and no amount: of an interaction, of the cell at which every factor
    stands at its reference."""
    part_of_whole: bool = False
    """Whether values are parts of one whole, 0 to 1: they are told in percent, and their differences in points."""
    binary: bool = False
    """Whether an example's value is 0 or 1: differences of two cells then have the tests and intervals of proportions."""
    short_unit: str = ""
    """Unit in a sentence, such as `nats`; the unit where none is given."""
    bound_unit: str = ""
    """Unit that is told behind a bound; parts of a whole have points."""

    @property
    def bounded(self) -> bool:
        """Whether it is an outcome between 0 and 1, of which an example can have any value, such as a score of answers.

        Shares of attention are none: how they differ is known from runs, and their tails are allowed for as such.
        """
        return self.binary or (self.part_of_whole and bool(self.better))

    def __post_init__(self) -> None:
        smallest = self.smallest_difference
        if smallest is not None and not smallest > 0:
            raise ValueError(
                f"the smallest difference of {self.name!r} is {smallest}; expected a number above 0, or None where "
                "its differences are not tested"
            )

        object.__setattr__(self, "short_unit", self.short_unit or self.unit)

    def size(self, bound: Bound | float) -> str:
        """The smallest difference in words: `5 %`, `1 point`, `0.1 nats`."""
        own = bound if isinstance(bound, Bound) else Bound(bound)
        if not math.isnan(own.share):
            return f"{100 * own.share:g} %"
        if self.part_of_whole:
            return f"{100 * own.size:g} point{'' if 100 * own.size == 1 else 's'}"
        return f"{own.size:g}{f' {self.bound_unit}' if self.bound_unit else ''}"

    def within(self, bound: Bound | float) -> str:
        """The bound of an equivalence in words: `within ±5 %`, `within ±1 point`, `within ±0.1 nats`."""
        return f"within ±{self.size(bound)}"


def score(name: str, label: str, *, binary: bool = False) -> Quantity:
    """A score of answers between 0 and 1, of which more is better and a point matters; ``binary`` where it is 0 or 1.

    Examples:
        >>> score("f1", "F1 of the generated answer").bounded
        True
    """
    return Quantity(
        name,
        label,
        "fraction of 1",
        better="higher",
        smallest_difference=0.01,
        part_of_whole=True,
        binary=binary,
    )
