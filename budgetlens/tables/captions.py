"""What the captions of one run's tables have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from budgetlens.tables.presentation import Table


@dataclass(frozen=True)
class Captions:
    """Seed, number of examples, correction, and each cell's short name."""

    seed: int
    n: str
    correction: str
    labels: Mapping[str, str]

    def describing(self, frame: pd.DataFrame, *, random: bool = True, **facts: Any) -> Table:
        """A table that tests nothing: no family, no correction, and no seed where nothing is random."""
        seed = self.seed if random else None
        return Table(frame=frame, n=self.n, family="none", correction="none", seed=seed, **facts)

    def conditions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with `condition`, each cell's short name."""
        return frame.assign(condition=frame["cell"].map(self.labels))
