"""Choice: does the model find the right answer likelier than the wrong ones of its example?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.statistics.quantities import Quantity, score


@probe("choice")
@dataclass(frozen=True)
class Choice:
    """The right answer against the wrong ones in the corpus's column ``candidates``, by mean NLL per token in the same cell.

    ``margin`` is the lowest NLL of another candidate less the answer's: above 0 the answer is the likeliest. ``accuracy``
    is 1 there, else 0. Examples without a wrong candidate have neither.
    """

    declares = Declaration(
        title="Answer against candidates",
        quantities=(
            Quantity(
                "margin",
                "margin over the best other candidate",
                "nats per token",
                better="higher",
                smallest_difference=0.05,
                short_unit="nats",
            ),
            score("accuracy", "answers that are the likeliest candidate", binary=True),
        ),
        estimand="mean over the examples that have candidates",
        undefined="the example has no other candidate",
        plural="answers against candidates",
    )

    def observe_candidates(self, answer: float, others: Sequence[float]) -> Mapping[str, float]:
        """Margin and accuracy; NaN without others."""
        if not others:
            return {"margin": float("nan"), "accuracy": float("nan")}
        margin = min(others) - answer
        return {"margin": margin, "accuracy": float(margin > 0)}
