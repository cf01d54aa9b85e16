"""Attention budgets: which share of a row's attention goes to the keys of each role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.observation import probe


@probe("budgets")
@dataclass(frozen=True)
class Budgets:
    """Share of attention by role of the keys, per head; between 0 and 1, summing to 1 over the roles.

    A hidden role has share exactly 0, and so has a role without positions. In a merged block the
    roles of both stacks share one softmax; in separate blocks each block sums to 1 by itself.
    """

    axis: str = "role"
    averages_heads: bool = False

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles that keys of this site can have."""
        return site.roles

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``share``: batch × head × row × role."""
        groups = tuple((role,) for role in attention.site.roles)
        return {"share": attention.mass(groups)}
