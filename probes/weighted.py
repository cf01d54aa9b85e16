"""Attention weighted by what it carries: the lengths of the vectors that a head takes from each role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.model.roles import ROLES
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import Site
    from budgetlens.model.sublayer import Sublayer


@probe("weighted")
@dataclass(frozen=True)
class Weighted:
    """Share of each role in the lengths ‖α W_O v‖ of what a head takes from its keys; sums to 1 over roles.

    A key with a value near 0, as sinks have, gets next to nothing however much attention it gets (Kobayashi et al. 2020).
    Lengths are of each key's vector by itself, so that vectors that cancel count in full. NaN where a row takes nothing
    from any key.
    """

    declares = Declaration(
        title="Attention weighted by values",
        quantities=(
            Quantity(
                "weighted",
                "share of the weighted attention",
                "fraction of the lengths of what a head takes",
                smallest_difference=0.01,
                part_of_whole=True,
            ),
        ),
        axis="role",
        estimand="mean over examples and heads of the share of each role in the lengths of what {rows} take from all keys",
        categories=ROLES,
        contributes=True,
        beside="budgets",
        head_maps=("document", "bos"),
        undefined="the rows take nothing from any key",
        heading="Weighted attention",
        plural="shares of the weighted attention",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles that keys of this site can have; heads are of one sublayer, so that there is none of both."""
        return () if site.block == "joint" else site.roles

    def observe_sublayers(self, sublayers: Sequence[Sublayer]) -> Mapping[str, Tensor]:
        """``weighted``: batch × head × row × role."""
        (sublayer,) = sublayers
        lengths = sublayer.mixture.head_norms
        by_role = sublayer.attention.sums(lengths, tuple((role,) for role in sublayer.site.roles))
        return {"weighted": by_role / lengths.sum(dim=-1, keepdim=True)}
