"""How statistics infer from examples to the population: one object, which every function of this package is given whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.statistics.correction_names import CORRECTION_NAMES, Correction
from budgetlens.statistics.quantities import Bound, Quantity
from budgetlens.statistics.verdicts import SMALLEST_EFFECT


# Compared by identity: a Series is equal to another entry by entry, never as one.
@dataclass(frozen=True, kw_only=True, eq=False)
class Inference:
    """Seed, levels and units of the intervals and tests of a table.

    Functions of arrays, which do not know their examples' names, take the units as labels of their own; see `labels`.

    Raises:
        ValueError: a setting is out of range.

    Examples:
        >>> from budgetlens import Inference
        >>> Inference(seed=7, confidence=0.9).confidence
        0.9
    """

    seed: int
    """Seeds sign flips and permutations."""
    confidence: float = 0.95
    """Nominal coverage of intervals and bands, between 0 and 1."""
    correction: Correction = "holm"
    """Of the p-values of one family."""
    smallest_difference: float = SMALLEST_EFFECT
    """Smallest difference of interest, the bound of the equivalence tests: in the unit of the values, or"""
    smallest_relative: bool = False
    """as a part of the mean of what is compared with: 0.05 are 5 %."""
    resamples: int = 9_999
    """Sign patterns or permutations drawn."""
    clusters: pd.Series | None = None
    """Index example, value the document it shares: documents are the independent units. None: examples are."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; expected a number between 0 and 1, e.g. 0.95")
        if self.correction not in CORRECTION_NAMES:
            known = ", ".join(map(repr, CORRECTION_NAMES))
            raise ValueError(f"correction is {self.correction!r}; expected one of {known}")
        smallest = self.smallest_difference
        if not (np.isfinite(smallest) and smallest > 0):
            raise ValueError(
                f"smallest_difference is {smallest}; expected a finite number above 0, e.g. 0.05"
            )
        if self.resamples < 1:
            raise ValueError(f"resamples is {self.resamples}; expected 1 or more")

    @property
    def alpha(self) -> float:
        """Level of tests and verdicts, the complement of the confidence."""
        # Rounded, because 1 - 0.95 is a little above 0.05, and a p of exactly 0.05 is not below it.
        return round(1 - self.confidence, 12)

    @property
    def stated(self) -> Bound:
        """The smallest difference as it is stated for a whole table."""
        smallest = self.smallest_difference
        return Bound(float("nan"), smallest) if self.smallest_relative else Bound(smallest)

    def bound(self, size: float) -> Bound:
        """The smallest difference of one contrast, of which ``size`` is the amount in the unit."""
        return replace(self.stated, size=size)

    def bounds(self, references: NDArray[np.float64] | None, columns: int) -> NDArray[np.float64]:
        """The smallest difference of every column, in the unit; NaN where it is a part of a mean that is not known.

        Args:
            references: mean of what each column is compared with, shape [columns]; None: not known.
            columns: how many there are.
        """
        if not self.smallest_relative:
            return np.full(columns, self.smallest_difference)
        if references is None:
            return np.full(columns, np.nan)
        sizes = self.smallest_difference * np.abs(np.asarray(references, dtype=np.float64))
        # Of nothing there is no part: no difference is small beside it.
        return np.where(sizes > 0, sizes, np.nan)

    def of(self, quantity: Quantity) -> Inference:
        """The same with the smallest difference that a quantity declares."""
        return replace(
            self,
            smallest_difference=float(quantity.smallest_difference or 0.0),
            smallest_relative=quantity.smallest_relative,
        )

    def labels(self, examples: pd.Index) -> NDArray | None:
        """The document of each of `examples`, in their order; None where examples share none.

        Raises:
            ValueError: an example has no document.
        """
        if self.clusters is None:
            return None
        absent = examples.difference(self.clusters.index)
        if len(absent):
            raise ValueError(
                f"clusters name no document for {len(absent)} examples, first {absent.tolist()[0]!r}"
            )
        return self.clusters.reindex(examples).to_numpy()

    def at_most(self, resamples: int) -> Inference:
        """The same with no more than `resamples` resamples, for statistics of so many columns that each is dear."""
        return replace(self, resamples=min(self.resamples, resamples))
