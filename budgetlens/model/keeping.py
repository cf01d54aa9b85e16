"""Which of a document's positions the decoder may see, where it may not see all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

#: How positions are chosen without asking the model.
PLACES: tuple[str, ...] = ("first", "last", "random")
#: How they are chosen by what the model does with them (:mod:`budgetlens.model.selecting`).
ATTENTION, NORM = "attention", "norm"
MODEL_SCORES: tuple[str, ...] = (ATTENTION, NORM)
SCORES: tuple[str, ...] = PLACES + MODEL_SCORES

#: Whose attention scores positions: the prompt's rows, the last row before the answer, or the rows that predict the
#: answer. The last are an oracle: all of them but the first hold the right answer.
SCORING_ROWS: tuple[str, ...] = ("prompt", "last", "predicting")


@dataclass(frozen=True)
class Readers:
    """Which rows of the decoder score positions, in which layers and heads; None means all.

    Raises ValueError for other rows than :data:`SCORING_ROWS`, and where there is no layer or no head.
    """

    rows: str = SCORING_ROWS[0]
    layers: frozenset[int] | None = None
    heads: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if self.rows not in SCORING_ROWS:
            raise ValueError(f"rows that score positions are {', '.join(SCORING_ROWS)}; got {self.rows!r}")
        if (self.layers is not None and not self.layers) or (self.heads is not None and not self.heads):
            raise ValueError("a score needs one layer and one head or more; got none")

    @property
    def see_the_answer(self) -> bool:
        """Whether the right answer has a part in the score."""
        return self.rows == "predicting"


@dataclass(frozen=True)
class Keep:
    """Keep ``amount`` of the document's positions, or so many percent of them (rounded up), by a score.

    ``first`` and ``last`` go by place, ``random`` by a permutation drawn with ``seed``, ``attention`` and ``norm`` by what
    ``readers`` look at and take. Where scores are equal, earlier positions come first.

    Raises ValueError for another score, an amount below 1, more than 100 percent, and chosen heads of ``norm``, which
    adds all of them up.
    """

    score: str
    amount: int
    percent: bool = False
    seed: int = 0
    readers: Readers = field(default_factory=Readers)

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise ValueError(f"scores are {', '.join(SCORES)}; got {self.score!r}")
        if self.amount < 1 or (self.percent and self.amount > 100):
            raise ValueError(f"one position or more is kept, at most 100 %; got {self.amount}")
        if self.score == NORM and self.readers.heads is not None:
            raise ValueError("norms are of what all heads take together; choose heads for attention alone")

    @property
    def asks_the_model(self) -> bool:
        """Whether the model's own run scores the positions."""
        return self.score in MODEL_SCORES

    def number(self, count: int) -> int:
        """How many positions are kept of ``count``."""
        return math.ceil(self.amount * count / 100) if self.percent else min(self.amount, count)

    def of(self, count: int) -> frozenset[int]:
        """The places, from 0, that are kept of ``count``; ValueError where the model would have to be asked."""
        number = self.number(count)
        if self.score == "first" or number == count:
            return frozenset(range(number))
        if self.score == "last":
            return frozenset(range(count - number, count))
        if self.score == "random":
            return frozenset(np.random.default_rng(self.seed).permutation(count)[:number].tolist())
        raise ValueError(f"the {self.score} of positions is known when the model has run")

    def best(self, scores: Sequence[float] | np.ndarray) -> frozenset[int]:
        """The places with the highest scores, the earlier ones of equals; those without a score (NaN) come last."""
        order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
        return frozenset(order[: self.number(len(order))].tolist())
