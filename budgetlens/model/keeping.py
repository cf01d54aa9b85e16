"""Which of a document's positions a decoder sees, where a trial shows it a selection of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

#: How positions are chosen without asking the model.
PLACES: tuple[str, ...] = ("first", "last", "random")
#: How they are chosen by what rows of the very cell do with them (:mod:`budgetlens.model.selecting`).
ATTENTION, NORM = "attention", "norm"
MODEL_SCORES: tuple[str, ...] = (ATTENTION, NORM)
SCORES: tuple[str, ...] = PLACES + MODEL_SCORES
#: The answer's gradient times the encoder's states, by which positions are chosen besides probes, while the model predicts
#: the right answer (:mod:`budgetlens.model.token_scores`).
GRADIENT = "gradient"

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
    """Choose ``amount`` of the document's positions, or so many percent of them (rounded up), by a score.

    ``first`` and ``last`` go by place, ``random`` by a permutation drawn with ``seed``, ``attention`` and ``norm`` by what
    ``readers`` look at and take. Any other score is asked of the model while it predicts the right answer, which sets
    ``places``, those that are chosen, from 0; until then nothing is hidden. Where scores are equal, earlier positions come
    first. The chosen positions are those that are kept; with ``removes`` those that are hidden.

    Raises ValueError for an amount below 1, more than 100 percent, and chosen heads of ``norm``, which adds all of them up.
    """

    score: str
    amount: int
    percent: bool = False
    seed: int = 0
    readers: Readers = field(default_factory=Readers)
    removes: bool = False
    places: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if self.amount < 1 or (self.percent and self.amount > 100):
            raise ValueError(f"one position or more is chosen, at most 100 %; got {self.amount}")
        if self.score == NORM and self.readers.heads is not None:
            raise ValueError("norms are of what all heads take together; choose heads for attention alone")

    @property
    def level(self) -> str:
        """Factor and score, as they are asked for."""
        return f"{'remove' if self.removes else 'keep'}={self.score}"

    @property
    def asks_the_model(self) -> bool:
        """Whether rows of the very cell score the positions."""
        return self.score in MODEL_SCORES

    @property
    def asks(self) -> bool:
        """Whether the model is still to be asked while it predicts the right answer."""
        return self.score not in SCORES and self.places is None

    @property
    def sees_the_answer(self) -> bool:
        """Whether the right answer has a part in what is chosen."""
        return self.readers.see_the_answer if self.asks_the_model else self.score not in SCORES

    def hides(self, count: int) -> int:
        """How many positions are hidden of ``count``, once they are chosen."""
        number = self._number(count)
        return number if self.removes else count - number

    def of(self, count: int) -> frozenset[int]:
        """The places, from 0, that are seen of ``count``; all of them while a right answer is still to be predicted.

        Raises ValueError where rows of the cell score positions and some are hidden: that is known when it has run.
        """
        if self.asks or not self.hides(count):
            return frozenset(range(count))
        if self.places is not None:
            return self._seen(self.places, count)
        number = self._number(count)
        if self.score == "first":
            return self._seen(range(number), count)
        if self.score == "last":
            return self._seen(range(count - number, count), count)
        if self.score == "random":
            return self._seen(np.random.default_rng(self.seed).permutation(count)[:number].tolist(), count)
        raise ValueError(f"the {self.score} of positions is known when the model has run")

    def best(self, scores: Sequence[float] | np.ndarray) -> frozenset[int]:
        """The places that are seen where those with the highest scores are chosen; those without one (NaN) come last."""
        return self._seen(self._highest(scores), len(scores))

    def placed(self, scores: Sequence[float] | np.ndarray) -> Keep:
        """The same with the places of the highest scores, one for every position; the first of equal ones come first."""
        return replace(self, places=frozenset(self._highest(scores)))

    def _highest(self, scores: Sequence[float] | np.ndarray) -> list[int]:
        order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
        return [int(place) for place in order[: self._number(len(order))]]

    def _seen(self, chosen: Sequence[int] | range | frozenset[int], count: int) -> frozenset[int]:
        own = frozenset(chosen)
        return frozenset(range(count)) - own if self.removes else own

    def _number(self, count: int) -> int:
        return math.ceil(self.amount * count / 100) if self.percent else min(self.amount, count)
