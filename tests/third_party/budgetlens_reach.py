"""Probes from another distribution: of attention (how far it reaches, its strongest keys) and of answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import AnswerLogits, probe
from budgetlens.model.roles import DECODER_ROLES, ROLE_CODES
from budgetlens.statistics.quantities import Quantity


@probe("distance")
@dataclass(frozen=True)
class Distance:
    """Mean distance in tokens between a decoder row and the decoder keys it attends to; at least 0."""

    declares = Declaration(
        title="Attention distance",
        quantities=(
            Quantity("distance", "mean distance", "tokens", smallest_difference=0.5, bound_unit="tokens"),
        ),
        axis="reach",
        estimand="mean over examples and heads of the distance at which {rows} look back",
        categories=("own tokens",),
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        return ("own tokens",) if site.stack == "decoder" and site.block != "cross" else ()

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        assert attention.call is not None
        assert attention.rows is not None
        tokens = attention.call.tokens
        assert tokens is not None
        rows = tokens.row_positions.gather(1, attention.rows)
        own = attention.members[:, :, [ROLE_CODES[role] for role in DECODER_ROLES]].sum(dim=-1)
        weights = attention.probabilities * own[:, None, None, :]
        far = (rows[:, :, None] - tokens.key_positions[:, None, :]).abs()[:, None]
        return {"distance": ((weights * far).sum(dim=-1) / weights.sum(dim=-1))[..., None]}


@probe("strongest")
@dataclass(frozen=True)
class Strongest:
    """Share of a row's attention on its strongest keys, between 0 and 1."""

    count: int = 5

    declares = Declaration(
        title="Strongest keys",
        quantities=(
            Quantity(
                "strongest",
                "share of the strongest keys",
                "fraction of attention",
                smallest_difference=0.01,
                part_of_whole=True,
            ),
        ),
        axis="keys",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        return ("strongest",)

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        count = min(self.count, attention.probabilities.shape[-1])
        return {
            "strongest": torch.topk(attention.probabilities, count, dim=-1).values.sum(dim=-1, keepdim=True)
        }


@probe("own_likelihood")
@dataclass(frozen=True)
class OwnLikelihood:
    """The answer's negative log-likelihood, computed another way than the project does."""

    declares = Declaration(
        title="Own likelihood",
        quantities=(Quantity("own_nll", "own NLL", "nats", better="lower", smallest_difference=0.05),),
    )

    def observe_answer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        chances = torch.softmax(answer.logits.double(), dim=-1)
        return {"own_nll": -torch.gather(chances, -1, answer.targets[..., None])[..., 0].log()}


@probe("certainty")
@dataclass(frozen=True)
class Certainty:
    """Probability of the answer's tokens, mean over them; higher is better."""

    declares = Declaration(
        title="Certainty",
        quantities=(
            Quantity(
                "certainty",
                "certainty",
                "probability",
                better="higher",
                smallest_difference=0.01,
                part_of_whole=True,
            ),
        ),
    )

    def observe_answer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        chances = torch.softmax(answer.logits.float(), dim=-1)
        return {"certainty": torch.gather(chances, -1, answer.targets[..., None])[..., 0]}
