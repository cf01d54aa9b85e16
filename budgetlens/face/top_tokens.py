"""The most probable tokens of every answer row: a probe of answers for readings alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from torch import Tensor

from budgetlens.model.declaration import Declaration
from budgetlens.model.likelihood import BLOCK_LOGITS
from budgetlens.model.observation import AnswerLogits, probe
from budgetlens.model.token_attention import token_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: So many tokens are kept of every row.
TOP = 10


@probe("top_tokens")
@dataclass(frozen=True)
class TopTokens:
    """Ids and logits of the most probable tokens, and log Σ exp of all logits, row by row. A mean of ids means nothing,
    so that it is no probe for a run."""

    declares = Declaration(title="Most probable tokens", quantities=())

    def observe_answer(self, answer: AnswerLogits) -> Mapping[str, Tensor]:
        """``id_0``, ``logit_0``, …, and ``normaliser``, each batch × row, in float32 whatever the model's precision."""
        batch, _, vocabulary = answer.logits.shape
        flat = rearrange(answer.logits, "batch row vocabulary -> (batch row) vocabulary")
        # In blocks, as the losses are: the whole in float32 may not fit.
        blocks = [part.float() for part in flat.split(max(1, BLOCK_LOGITS // vocabulary))]
        best = [block.topk(min(TOP, vocabulary), dim=-1) for block in blocks]
        found = {"normaliser": torch.cat([block.logsumexp(dim=-1) for block in blocks])}
        for rank in range(min(TOP, vocabulary)):
            found[f"logit_{rank}"] = torch.cat([part.values[:, rank] for part in best])
            found[f"id_{rank}"] = torch.cat([part.indices[:, rank] for part in best])
        return {
            name: rearrange(values, "(batch row) -> batch row", batch=batch) for name, values in found.items()
        }


def top_table(
    by_row: Mapping[str, np.ndarray], answer: Sequence[int], tokenizer: PreTrainedTokenizerBase
) -> pd.DataFrame:
    """What :class:`TopTokens` saw of one trial, whose answer has these ids: one row per answer row and rank."""
    count, ranks = len(answer), sum(name.startswith("id_") for name in by_row)
    logits = np.stack([by_row[f"logit_{rank}"][0, :count] for rank in range(ranks)], axis=1)
    ids = np.stack([by_row[f"id_{rank}"][0, :count] for rank in range(ranks)], axis=1).astype(np.int64)
    normaliser = by_row["normaliser"][0, :count, None]
    return pd.DataFrame(
        {
            "row": np.repeat(np.arange(count), ranks),
            "answer_token": np.repeat(np.array(token_texts(tokenizer, answer), dtype=object), ranks),
            "rank": np.tile(np.arange(1, ranks + 1), count),
            "token": token_texts(tokenizer, ids.ravel().tolist()),
            "token_id": ids.ravel(),
            "logit": logits.ravel(),
            "probability": np.exp(logits - normaliser).ravel(),
            "is_answer": (ids == np.array(answer)[:, None]).ravel(),
        }
    )
