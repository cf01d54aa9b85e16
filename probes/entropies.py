"""Entropies of attention: how spread a row's attention is within the decoder's keys and the encoder's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import probe
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from torch import Tensor

    from budgetlens.model.attention import RowAttention, Site

MASS = Quantity("mass", "mass", "fraction of attention", part_of_whole=True)
ENTROPY = Quantity("entropy", "entropy", "nats", smallest_difference=0.1, bound_unit="nats")
NO_MASS = "no example has mass in this part"


def _parts(site: Site) -> dict[str, tuple[str, ...]]:
    if site.block == "merged":
        return {"self": DECODER_ROLES, "cross": ENCODER_ROLES, "all": DECODER_ROLES + ENCODER_ROLES}
    return {site.block: site.roles}


@probe("entropies")
@dataclass(frozen=True)
class Entropies:
    """Entropy in nats of each head's attention, normalised within the part, and the part's mass.

    Parts: ``self`` (decoder keys), ``cross`` (encoder keys) and, where they share a softmax, ``all``.
    The entropy of a part without mass is undefined: NaN.
    """

    declares = Declaration(
        title="Attention entropy",
        quantities=(MASS, ENTROPY),
        axis="part",
        estimand="mean over examples: mean over heads of the entropy of the attention of {rows}, normalised within the "
        "part; mass = share of attention on the part",
        categories=("self", "cross", "all"),
        wholes=("all",),
        head_maps=False,
        undefined=NO_MASS,
        names={"effects": "entropy_effects"},
        drawn="mass",
        draws_differences=False,
        heading="Entropy",
        usual=True,
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The parts of this site."""
        return tuple(_parts(site))

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``mass`` and ``entropy``: batch × head × row × part."""
        groups = tuple(_parts(attention.site).values())
        return {"mass": attention.mass(groups), "entropy": attention.entropy(groups)}


@probe("published_entropies")
@dataclass(frozen=True)
class PublishedEntropies:
    """The published definition: −Σ p̄ log p̄ of the head-averaged, unnormalised sub-distribution, in nats.

    Kept for replication only. It falls with the part's mass and rises with disagreement between heads,
    so that it can move against the entropy of any head.
    """

    declares = Declaration(
        title="Published entropy",
        quantities=(MASS, ENTROPY),
        axis="part",
        estimand="mean over examples: entropy of the head-averaged attention of {rows}, not normalised within the part, "
        "as published; mass = share of attention on the part",
        categories=("published_self", "published_cross"),
        labels={"published_self": "self", "published_cross": "cross"},
        averages_heads=True,
        head_maps=False,
        undefined=NO_MASS,
        plural="entropies of the published definition",
        names={"effects": "published_entropy_effects"},
        drawn="mass",
        draws_differences=False,
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The parts of this site, with the prefix ``published_``."""
        return tuple(f"published_{part}" for part in _parts(site) if part != "all")

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``mass`` and ``entropy``: batch × 1 × row × part."""
        import torch

        groups = tuple(roles for part, roles in _parts(attention.site).items() if part != "all")
        averaged = attention.probabilities.mean(dim=1, keepdim=True)
        entropies = torch.special.entr(averaged)
        return {"mass": attention.sums(averaged, groups), "entropy": attention.sums(entropies, groups)}
