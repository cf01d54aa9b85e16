"""What a reader chooses of how effects are judged: which difference matters, and how p are corrected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from budgetlens.statistics.correction_names import CORRECTION_NAMES, Correction
from budgetlens.statistics.quantities import Quantity

#: A smallest difference as text: an amount, a part of the baseline's mean, or points of a whole.
_WRITTEN = re.compile(r"\+?(\d+\.?\d*|\.\d+)\s*(%|pp)?", re.ASCII)


@dataclass(frozen=True)
class Smallest:
    """A smallest difference that matters, as a reader writes it: ``0.05`` (in the unit), ``5%`` (of the baseline's mean) or
    ``1pp`` (a point of a whole).

    Raises:
        ValueError: a text that is none of these, or no number above 0.
    """

    text: str

    def __post_init__(self) -> None:
        match = _WRITTEN.fullmatch(self.text.strip())
        if match is None or not 0 < float(match[1]) < float("inf"):
            raise ValueError(
                f"the smallest effect is {self.text!r}; expected an amount above 0 in the unit (0.05), a part of the "
                "baseline's mean (5%) or points of a whole (1pp)"
            )

    @property
    def unit(self) -> str:
        """``%``, ``pp`` or nothing."""
        return self._written[1]

    @property
    def size(self) -> float:
        """In the quantity's unit, or as a part of the baseline's mean."""
        number, unit = self._written
        return float(number) / (100 if unit else 1)

    @property
    def _written(self) -> tuple[str, str]:
        match = _WRITTEN.fullmatch(self.text.strip())
        assert match is not None  # looked at when it was made
        return match[1], match[2] or ""

    def of(self, quantity: Quantity) -> Quantity:
        """The quantity with this smallest difference. Raises ValueError for points of what is no part of a whole."""
        if self.unit == "pp" and not (quantity.part_of_whole or quantity.unit.startswith("fraction")):
            raise ValueError(
                f"the smallest effect {self.text} is in points of a whole, and the {quantity.label} is in "
                f"{quantity.unit}; write an amount or a part in %"
            )
        return replace(quantity, smallest_difference=self.size, smallest_relative=self.unit == "%")


@dataclass(frozen=True)
class Choices:
    """What is chosen of a run; what is not is as its probes declare and its plan says.

    ``smallest`` holds smallest differences by probe; the name is empty for the run's outcome.
    """

    smallest: Mapping[str, Smallest] = field(default_factory=dict)
    correction: Correction | None = None

    def to_mapping(self) -> dict[str, Any]:
        """The choices as run.json keeps them; empty where nothing is chosen."""
        kept: dict[str, Any] = {}
        if self.smallest:
            kept["smallest_effect"] = {name: own.text for name, own in self.smallest.items()}
        if self.correction is not None:
            kept["correction"] = self.correction
        return kept

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Choices:
        """What :meth:`to_mapping` gave. Raises ValueError for anything else."""
        smallest, correction = mapping.get("smallest_effect", {}), mapping.get("correction")
        known = correction is None or correction in CORRECTION_NAMES
        if not isinstance(smallest, Mapping) or not known or set(mapping) - {"smallest_effect", "correction"}:
            raise ValueError(f"chose {dict(mapping)!r} of its inference, which is no choice that there is")
        texts = {str(name): Smallest(str(text)) for name, text in smallest.items()}
        return cls(texts, cast("Correction | None", correction))
