"""Which of a document's positions the decoder may see, where it may not see all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

#: How positions are chosen without asking the model.
SCORES: tuple[str, ...] = ("first", "last", "random")
#: The answer's gradient times the encoder's states, by which positions are chosen besides probes.
GRADIENT = "gradient"


@dataclass(frozen=True)
class Keep:
    """Keep ``amount`` of the document's positions, or so many percent of them (rounded up), by a score.

    ``first`` and ``last`` go by place, ``random`` by a permutation drawn with ``seed``. Any other score is asked of the
    model (:mod:`budgetlens.model.token_scores`), which sets ``places``, those that are chosen, from 0; until then nothing is
    hidden. With ``removes`` the chosen positions are those that are hidden.

    Raises ValueError for an amount below 1 and more than 100 percent.
    """

    score: str
    amount: int
    percent: bool = False
    seed: int = 0
    removes: bool = False
    places: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if self.amount < 1 or (self.percent and self.amount > 100):
            raise ValueError(f"one position or more is chosen, at most 100 %; got {self.amount}")

    @property
    def asks(self) -> bool:
        """Whether the model is still to be asked."""
        return self.score not in SCORES and self.places is None

    def of(self, count: int) -> frozenset[int]:
        """The places, from 0, that are seen of ``count``; all of them while the model is still to be asked."""
        every = frozenset(range(count))
        if self.asks:
            return every
        chosen = self._by_place(count) if self.places is None else self.places
        return every - chosen if self.removes else chosen

    def placed(self, values: Sequence[float]) -> Keep:
        """The same with the places of the highest ``values``, one for every position; the first of equal ones come first."""
        order = np.argsort(-np.asarray(values, dtype=np.float64), kind="stable")
        return replace(self, places=frozenset(order[: self._number(len(order))].tolist()))

    def _by_place(self, count: int) -> frozenset[int]:
        number = self._number(count)
        if self.score == "first":
            return frozenset(range(number))
        if self.score == "last":
            return frozenset(range(count - number, count))
        return frozenset(np.random.default_rng(self.seed).permutation(count)[:number].tolist())

    def _number(self, count: int) -> int:
        return math.ceil(self.amount * count / 100) if self.percent else min(self.amount, count)
