"""A quantity: what a number is, in which unit, which way is better, and which difference would matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", ""]
"""Which way is better; empty where neither is."""


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
    part_of_whole: bool = False
    """Whether values are parts of one whole, 0 to 1: they are told in percent, and their differences in points."""
    short_unit: str = ""
    """Unit in a sentence, such as `nats`; the unit where none is given."""
    bound_unit: str = ""
    """Unit that is told behind a bound; parts of a whole have points."""

    def __post_init__(self) -> None:
        smallest = self.smallest_difference
        if smallest is not None and not smallest > 0:
            raise ValueError(
                f"the smallest difference of {self.name!r} is {smallest}; expected a number above 0, or None where "
                "its differences are not tested"
            )

        object.__setattr__(self, "short_unit", self.short_unit or self.unit)

    def within(self, bound: float) -> str:
        """The bound of an equivalence in words: `within ±1 point`, `within ±0.1 nats`."""
        if self.part_of_whole:
            return f"within ±{100 * bound:g} point{'' if 100 * bound == 1 else 's'}"
        return f"within ±{bound:g}{f' {self.bound_unit}' if self.bound_unit else ''}"
