"""Which of a document's positions the decoder may see, where it may not see all."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

#: How positions are chosen without asking the model.
SCORES: tuple[str, ...] = ("first", "last", "random")


@dataclass(frozen=True)
class Keep:
    """Keep ``amount`` of the document's positions, or so many percent of them (rounded up), by a score.

    ``first`` and ``last`` go by place, ``random`` by a permutation drawn with ``seed``.

    Raises ValueError for another score, an amount below 1 and more than 100 percent.
    """

    score: str
    amount: int
    percent: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(f"scores are {', '.join(SCORES)}; got {self.score!r}")
        if self.amount < 1 or (self.percent and self.amount > 100):
            raise ValueError(f"one position or more is kept, at most 100 %; got {self.amount}")

    def of(self, count: int) -> frozenset[int]:
        """The places, from 0, that are kept of ``count``."""
        number = math.ceil(self.amount * count / 100) if self.percent else min(self.amount, count)
        if self.score == "first":
            return frozenset(range(number))
        if self.score == "last":
            return frozenset(range(count - number, count))
        return frozenset(np.random.default_rng(self.seed).permutation(count)[:number].tolist())
