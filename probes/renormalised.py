"""What a row's attention would be without some encoder roles: the null prediction for hiding a sink."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from einops import rearrange

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.model.roles import ENCODER_ROLES, ROLES
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import RowAttention, Site

#: Encoder roles that are taken away, by the name of the category.
REMOVED: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "none": frozenset(),
        "bos": frozenset({"bos"}),
        "prefix+separator": frozenset({"prefix", "separator"}),
        "bos+prefix": frozenset({"bos", "prefix"}),
        "bos+prefix+separator": frozenset({"bos", "prefix", "separator"}),
    }
)


@probe("renormalised")
@dataclass(frozen=True)
class Renormalised:
    """Shares that a row would have if the keys of some encoder roles were hidden and nothing else changed.

    A softmax without keys of mass m turns every other share A into A/(1 − m); the shares of the keys taken
    away become 0. It holds for every row by itself, so it is computed here, before rows are averaged: the
    average of A/(1 − m) is not the average of A over one minus the average of m. One quantity per role
    (0 to 1), ``removed_mass`` (m) and ``cross_entropy`` (nats, of the remaining encoder keys, normalised).
    NaN in rows that gave all their attention to what is taken away. The category ``none`` takes nothing away.
    """

    declares = Declaration(
        title="Attention without some encoder roles",
        quantities=(
            *(
                Quantity(role, f"share of {role}", "fraction of attention", part_of_whole=True)
                for role in ROLES
            ),
            Quantity("removed_mass", "mass taken away", "fraction of attention", part_of_whole=True),
            Quantity("cross_entropy", "entropy of the remaining encoder keys", "nats"),
        ),
        axis="removed",
        categories=tuple(REMOVED),
        # A prediction: it is held against what hiding does, in the tables of the sink audit.
        shown=False,
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The sets of roles taken away, where decoder rows attend to encoder keys."""
        return tuple(REMOVED) if site.stack == "decoder" and "bos" in site.roles else ()

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """Each quantity: batch × head × row × set of roles."""
        import torch

        mass = attention.role_mass
        keeps = torch.tensor(
            [[float(role not in removed) for removed in REMOVED.values()] for role in ROLES],
            device=mass.device,
        )
        # Summed from what is left: 1 − m would lose every digit where the sink takes nearly all.
        left = mass @ keeps
        shares = rearrange(mass, "batch head row role -> batch head row role 1") * keeps
        shares = shares / rearrange(left, "batch head row removed -> batch head row 1 removed")
        shares = torch.where(torch.isfinite(shares), shares, math.nan)
        remaining = tuple(
            tuple(role for role in ENCODER_ROLES if role not in removed) for removed in REMOVED.values()
        )
        quantities = {role: shares[..., ROLES.index(role), :] for role in attention.site.roles}
        return {
            **quantities,
            "removed_mass": mass @ (1 - keeps),
            "cross_entropy": attention.entropy(remaining),
        }
