"""How statistics infer from examples to the population: one object, which every function of this package is given whole."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.statistics.adjustment import Correction
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
    """Seeds bootstrap, sign flips and permutations."""
    confidence: float = 0.95
    """Nominal coverage of intervals and bands, between 0 and 1."""
    correction: Correction = "holm"
    """Of the p-values of one family."""
    smallest_difference: float = SMALLEST_EFFECT
    """Smallest difference of interest, in the unit of the values: the bound of the equivalence tests."""
    resamples: int = 9_999
    """Bootstrap resamples, and as many sign patterns or permutations."""
    clusters: pd.Series | None = None
    """Index example, value the document it shares: documents are the independent units. None: examples are."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence is {self.confidence}; expected a number between 0 and 1, e.g. 0.95")
        if self.correction not in ("holm", "bonferroni"):
            raise ValueError(f"correction is {self.correction!r}; expected 'holm' or 'bonferroni'")
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
