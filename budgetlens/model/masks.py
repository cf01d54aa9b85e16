"""Masks of attention calls: their chosen rows, and keys that edits have given twins."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Int
from torch import Tensor


def twins_together(scores: Tensor, hidden: Tensor, copies: int) -> tuple[Tensor, Tensor]:
    """Scores and visibility of every key, from those of its twins, of which a row sees one or none."""
    hidden = hidden.expand(scores.shape)
    twins = "batch head row (copy key) -> copy batch head row key"
    visible = rearrange(scores.masked_fill(hidden, -math.inf), twins, copy=copies)
    return visible.amax(dim=0), rearrange(hidden, twins, copy=copies).all(dim=0)


def rows_of_mask(mask: Tensor, rows: Int[Tensor, "batch chosen"]) -> Tensor:
    """The chosen rows of a mask or bias whose batch, head or row axis may have length one."""
    mask = mask[(None,) * (4 - mask.dim())]
    if mask.shape[2] == 1:
        return mask
    index = rearrange(rows, "batch row -> batch 1 row 1")
    return torch.take_along_dim(mask, index, dim=2)
