"""ALTI and ALTI+: what the stream of a row is made of, followed from layer to layer down to the input tokens."""

from __future__ import annotations

from collections.abc import Mapping
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
    from budgetlens.model.mixing_reading import Mixing


@probe("alti")
@dataclass(frozen=True)
class Alti:
    """Contribution of the input tokens of each role to a row, by ALTI+; between 0 and 1, summing to 1.

    A token contributes to a state what the state would lose in nearness (in ‖·‖₁) without it; layer by layer this is rolled
    out to input tokens, through the encoder and the decoder (Ferrando et al. 2022). ``alti`` is the rollout up to a
    layer, ``alti_in_layer`` what the layer by itself takes from the positions of each role. Undefined where no token
    contributes, and where a state was copied from another trial or overwritten. Reads every row of every layer: slow,
    and the longer the input the slower.
    """

    declares = Declaration(
        title="Contributions of input tokens (ALTI+)",
        quantities=(
            Quantity(
                "alti",
                "contribution of input tokens",
                "fraction of the state",
                smallest_difference=0.01,
                part_of_whole=True,
            ),
            Quantity(
                "alti_in_layer", "contribution within the layer", "fraction of the state", part_of_whole=True
            ),
        ),
        axis="role",
        estimand="mean over examples of the part of the state of {rows} that comes from the input tokens of each role, "
        "rolled out through the layers up to this one",
        categories=ROLES,
        averages_heads=True,
        contributes=True,
        sums={"decoder's tokens": DECODER_ROLES, "encoder's tokens": ENCODER_ROLES},
        head_maps=False,
        undefined="no example has a state that is made of its own input tokens alone",
        drawn="ledger",
        heading="ALTI+",
        plural="contributions by ALTI+",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles of the input tokens that a row of this layer can be made of."""
        return () if site.block in ("cross", "self") and site.stack == "decoder" else site.roles

    def observe_mixing(self, mixing: Mixing) -> Mapping[str, Tensor]:
        """``alti`` and ``alti_in_layer``: batch × 1 × row × role."""
        with_head = "batch row role -> batch 1 row role"
        return {
            "alti": rearrange(mixing.rolled, with_head),
            "alti_in_layer": rearrange(mixing.in_layer, with_head),
        }
