"""Entropies of attention: how spread a row's attention is within the decoder's keys and the encoder's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.observation import probe
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES


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

    axis: str = "part"
    averages_heads: bool = False

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

    axis: str = "part"
    averages_heads: bool = True

    def categories(self, site: Site) -> tuple[str, ...]:
        """The parts of this site, with the prefix ``published_``."""
        return tuple(f"published_{part}" for part in _parts(site) if part != "all")

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``mass`` and ``entropy``: batch × 1 × row × part."""
        groups = tuple(roles for part, roles in _parts(attention.site).items() if part != "all")
        averaged = attention.probabilities.mean(dim=1, keepdim=True)
        entropies = torch.special.entr(averaged)
        return {"mass": attention.sums(averaged, groups), "entropy": attention.sums(entropies, groups)}
