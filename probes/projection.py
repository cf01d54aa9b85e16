"""Projections of contributions: how much of what a sublayer writes each role accounts for, with its sign."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einops import rearrange

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.model.roles import ROLES
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import Site
    from budgetlens.model.sublayer import Sublayer

#: What a sublayer's output has in it that comes from no key.
REST = ("bias", "edit", "shift")


@probe("projection")
@dataclass(frozen=True)
class Projection:
    """Part of each role in a sublayer's output y: ⟨T, y⟩ / ‖y‖², T what is taken from the role; the parts sum to 1.

    Below 0 where a role's vectors point against the output, above 1 where others do. The output is taken behind its norm,
    where there is one, held at the scale that it had. Parts that come from no key: ``bias`` of the output projection,
    ``edit`` of the output, ``shift`` of the norm. The block ``joint`` has self- and cross-attention of a layer in one sum.
    NaN where the output is 0, as that of a sublayer that was taken out.
    """

    declares = Declaration(
        title="Projections of contributions",
        quantities=(
            Quantity(
                "projection",
                "part of the output",
                "fraction of the output",
                smallest_difference=0.02,
            ),
        ),
        axis="role",
        estimand="mean over examples of each part's projection on what a sublayer writes at {rows}, heads added",
        categories=(*ROLES, *REST),
        averages_heads=True,
        contributes=True,
        beside="budgets",
        undefined="the output is 0: nothing is a part of it",
        labels={"edit": "edit of the output", "shift": "shift of the norm"},
        plural="parts of the output",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles that keys of this site can have, and what comes from no key."""
        return (*site.roles, *REST)

    def observe_sublayers(self, sublayers: Sequence[Sublayer]) -> Mapping[str, Tensor]:
        """``projection``: batch × 1 × row × part."""
        import torch

        from budgetlens.model.sublayer import product, role_products

        output = torch.stack([sublayer.written for sublayer in sublayers]).sum(dim=0)
        roles, rest = [], []
        for sublayer in sublayers:
            pulled = sublayer.pulled(output)
            mixture = sublayer.mixture
            roles.append(role_products(mixture.by_role, mixture.values.weight, pulled).sum(dim=2))
            parts = (
                product(sublayer.bias, pulled),
                product(sublayer.edit, pulled),
                product(sublayer.shift, output),
            )
            rest.append(torch.stack(parts, dim=-1))
        found = torch.cat([*roles, torch.stack(rest).sum(dim=0)], dim=-1)
        found = found / output.square().sum(dim=-1, keepdim=True)
        return {"projection": rearrange(found, "batch row part -> batch 1 row part")}
