"""The answer's likelihood: what every run measures, and what its contrasts are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.statistics.verdicts import ANSWER_NLL

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.observation import AnswerLogits


@probe("likelihood")
@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihood of the answer under teacher forcing, nats per answer token; lower is better.

    −log p of each answer token by a float32 log-softmax, whatever the model's precision. ``nll`` is the mean over an
    answer's tokens, ``nll_sum`` their sum.
    """

    declares = Declaration(
        title="Answer NLL",
        quantities=(ANSWER_NLL,),
        estimand="mean over examples of the mean NLL of an answer's tokens",
        outcome=True,
        by_token=True,
        plural="answer NLL",
        # The run's own effects, which every other table of effects is named after.
        names={"effects": "effects"},
    )

    def observe_answer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        """``nll``: batch × row."""
        return {ANSWER_NLL.name: answer.losses}
