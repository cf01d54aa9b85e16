"""Attention budgets: which share of a row's attention goes to the keys of each role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, ROLES
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import RowAttention, Site


@probe("budgets")
@dataclass(frozen=True)
class Budgets:
    """Share of attention by role of the keys, per head; between 0 and 1, summing to 1 over the roles.

    A hidden role has share exactly 0, and so has a role without positions. In a merged block the
    roles of both stacks share one softmax; in separate blocks each block sums to 1 by itself.
    """

    declares = Declaration(
        title="Attention shares",
        quantities=(
            Quantity(
                "share",
                "attention share",
                "fraction of attention",
                smallest_difference=0.01,
                part_of_whole=True,
            ),
        ),
        axis="role",
        estimand="mean over examples and heads of the share that {rows} give to each role",
        categories=ROLES,
        # What goes to the decoder and to the encoder, where both share a softmax.
        sums={"self total": DECODER_ROLES, "cross total": ENCODER_ROLES},
        every_contrast=True,
        # What a prefix should change, and where a sink would be.
        head_maps=("document", "bos"),
        names={
            "cells": "shares",
            "totals": "totals",
            "effects": "share_effects",
            "heads": "heads",
            "differences": "differences",
            "maps": "heads",
        },
        drawn="ledger",
        heading="Attention budgets",
        plural="budgets",
        usual=True,
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles that keys of this site can have."""
        return site.roles

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``share``: batch × head × row × role."""
        groups = tuple((role,) for role in attention.site.roles)
        return {"share": attention.mass(groups)}
