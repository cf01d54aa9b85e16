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
    out to input tokens, through the encoder and the decoder (Ferrando et al. 2022). Undefined where no token contributes,
    and where a state was copied from another trial or overwritten. Reads every row of every layer: slow, and the longer
    the input the slower.
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
        ),
        axis="role",
        estimand="mean over examples of the part of the state of {rows} that comes from the input tokens of each role, "
        "rolled out through the layers up to this one",
        categories=ROLES,
        averages_heads=True,
        contributes=True,
        cumulative=True,
        beside="budgets",
        sums={"decoder's tokens": DECODER_ROLES, "encoder's tokens": ENCODER_ROLES},
        head_maps=False,
        undefined="no example has a state that is made of its own input tokens alone",
        drawn="ledger",
        heading="ALTI+",
        plural="contributions by ALTI+",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles of the input tokens that a row of this layer can be made of."""
        return _roles(site)

    def observe_mixing(self, mixing: Mixing) -> Mapping[str, Tensor]:
        """``alti``: batch × 1 × row × role."""
        return {"alti": rearrange(mixing.rolled, "batch row role -> batch 1 row role")}


@probe("alti_in_layer")
@dataclass(frozen=True)
class AltiInLayer:
    """Contribution of the positions of each role to a row within one layer, by ALTI; between 0 and 1, summing to 1.

    What the layer's attention takes from the states that enter it, of a decoder from the encoder's final states besides;
    the residual counts for the row's own position. Nothing is rolled out: this is ``alti`` of a model of one layer.
    """

    declares = Declaration(
        title="Contributions within a layer (ALTI)",
        quantities=(
            Quantity(
                "alti_in_layer",
                "contribution within the layer",
                "fraction of the state",
                smallest_difference=0.01,
                part_of_whole=True,
            ),
        ),
        axis="role",
        estimand="mean over examples of the part of the state of {rows} that the layer takes from the positions of each "
        "role",
        categories=ROLES,
        averages_heads=True,
        contributes=True,
        beside="budgets",
        sums={"decoder's tokens": DECODER_ROLES, "encoder's tokens": ENCODER_ROLES},
        head_maps=False,
        undefined="no position contributes to a row",
        drawn="ledger",
        heading="ALTI in a layer",
        plural="contributions within a layer",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The roles of the positions that a row of this layer can take from."""
        return _roles(site)

    def observe_mixing(self, mixing: Mixing) -> Mapping[str, Tensor]:
        """``alti_in_layer``: batch × 1 × row × role."""
        return {"alti_in_layer": rearrange(mixing.in_layer, "batch row role -> batch 1 row role")}


def _roles(site: Site) -> tuple[str, ...]:
    """Those of both blocks together where a decoder has two: a row is made of what both took."""
    return () if site.block in ("cross", "self") and site.stack == "decoder" else site.roles
