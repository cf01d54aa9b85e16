"""Negative log-likelihood of the answer under teacher forcing, always in float32."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

#: Logits (row × vocabulary entry) that are turned into float32 at a time; bounds the extra memory.
BLOCK_LOGITS = 1 << 23


def token_losses(
    logits: Float[Tensor, "batch row vocabulary"], targets: Int[Tensor, "batch row"]
) -> Float[Tensor, "batch row"]:
    """−log p(target) in nats for every row, by a float32 log-softmax whatever the model's precision.

    A log-softmax in bfloat16 would quantise losses above 32 to multiples of 0.25.
    """
    batch, rows, vocabulary = logits.shape
    flat = logits.reshape(batch * rows, vocabulary)
    wanted = targets.reshape(batch * rows, 1)
    step = max(1, BLOCK_LOGITS // vocabulary)
    losses = []
    for start in range(0, len(flat), step):
        block = flat[start : start + step].float()
        target = block.gather(1, wanted[start : start + step])
        losses.append(block.logsumexp(dim=-1) - target[:, 0])
    return torch.cat(losses).reshape(batch, rows)
