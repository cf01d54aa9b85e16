"""Norms of contributions: the lengths of the vectors that a sublayer takes from each role, all heads together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einops import rearrange

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, ROLES
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import Site
    from budgetlens.model.sublayer import Sublayer


@probe("norm")
@dataclass(frozen=True)
class Norm:
    """Share of each role in the lengths ‖Σ_h α W_O v‖ of what a sublayer takes from its keys; sums to 1 over roles.

    Heads that write against each other cancel, keys that do so count in full (Kobayashi et al. 2020, 2021). Where a layer
    has a softmax for each of self- and cross-attention, the block ``joint`` has both in one sum, each behind the norms that
    it passes on its way into the stream, held. NaN where a row takes nothing from any key.
    """

    declares = Declaration(
        title="Norms of contributions",
        quantities=(
            Quantity(
                "norm",
                "share of the norms",
                "fraction of the lengths of what a sublayer takes",
                smallest_difference=0.01,
                part_of_whole=True,
            ),
        ),
        axis="role",
        estimand="mean over examples of the share of each role in the lengths of what {rows} take from keys, heads added",
        categories=ROLES,
        averages_heads=True,
        contributes=True,
        beside="budgets",
        sums={"self total": DECODER_ROLES, "cross total": ENCODER_ROLES},
        undefined="the rows take nothing from any key",
        plural="shares of the norms",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles that keys of this site can have."""
        return site.roles

    def observe_sublayers(self, sublayers: Sequence[Sublayer]) -> Mapping[str, Tensor]:
        """``norm``: batch × 1 × row × role."""
        import torch

        by_role, total = [], []
        for sublayer in sublayers:
            lengths = sublayer.key_norms if len(sublayers) == 1 else sublayer.passed_key_norms
            lengths = rearrange(lengths, "batch row key -> batch 1 row key")
            by_role.append(sublayer.attention.sums(lengths, tuple((role,) for role in sublayer.site.roles)))
            total.append(lengths.sum(dim=-1, keepdim=True))
        return {"norm": torch.cat(by_role, dim=-1) / torch.stack(total).sum(dim=0)}
