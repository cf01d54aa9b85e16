"""What the decoder is given: cached states, ids, positions, and the masks of packed lanes."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformers.masking_utils import (
    create_causal_mask,
    create_sliding_window_causal_mask,
    packed_sequence_mask_function,
)
from transformers.modeling_outputs import BaseModelOutput

from budgetlens.model.batching import Batch
from budgetlens.model.loaded import LoadedModel, at_path


def decoder_inputs(
    model: LoadedModel, batch: Batch, states: Float[Tensor, "encoder_pass encoder_position width"]
) -> dict[str, Any]:
    """Keyword arguments of the model's forward for ``batch``, given the encoder's ``states``.

    Raises ValueError for a packed batch where the family can't keep packed trials apart.
    """
    inputs: dict[str, Any] = {
        "encoder_outputs": BaseModelOutput(last_hidden_state=states[batch.lane_pass]),
        "decoder_input_ids": batch.decoder_ids,
        "use_cache": False,
    }
    if model.family.positions == "table":
        _require_positions(model, batch)
    if batch.packed:
        if not model.family.packs:
            raise ValueError(
                f"the family {model.family.name!r} takes no packed batches; make the batch with pack=False"
            )
        inputs["attention_mask"] = {"full_attention": _cross_mask(model, batch)}
        inputs["decoder_attention_mask"] = _self_masks(model, batch)
    else:
        inputs["attention_mask"] = batch.visible[batch.decoder_trial[:, 0]]
        inputs["decoder_attention_mask"] = (batch.decoder_trial >= 0).long()
    if model.family.positions == "argument" and (batch.packed or batch.shifted):
        inputs["decoder_position_ids"] = batch.decoder_positions
    return inputs


def position_rows(model: LoadedModel, positions: Int[Tensor, "lane position"]) -> Tensor:
    """The position embeddings of a family that looks them up in a table: lane × position × width."""
    module = at_path(model.model, str(model.family.decoder_positions))
    return torch.nn.functional.embedding(positions + getattr(module, "offset", 0), module.weight)


def _require_positions(model: LoadedModel, batch: Batch) -> None:
    module = at_path(model.model, str(model.family.decoder_positions))
    available = module.weight.shape[0] - getattr(module, "offset", 0)
    needed = 1 + int(batch.decoder_positions.max())
    if needed > available:
        raise ValueError(
            f"a decoder input needs {needed} positions, but {model.name} has {available}; "
            "use shorter queries and answers"
        )


def _self_masks(model: LoadedModel, batch: Batch) -> dict[str, Any]:
    """The model's own causal and sliding masks, each trial kept to itself."""
    arguments = {
        "config": model.model.config.decoder,
        # Only the shape, type and device of the embeddings count.
        "inputs_embeds": torch.empty((*batch.decoder_ids.shape, 1), dtype=model.dtype, device=model.device),
        "attention_mask": None,
        "past_key_values": None,
        "and_mask_function": packed_sequence_mask_function(batch.decoder_trial),
        "allow_is_causal_skip": False,
    }
    return {
        "full_attention": create_causal_mask(**arguments),
        "sliding_attention": create_sliding_window_causal_mask(**arguments),
    }


def _cross_mask(model: LoadedModel, batch: Batch) -> Tensor:
    # Padding sees what the lane's first trial sees, so that its rows are finite.
    owner = torch.where(batch.decoder_trial >= 0, batch.decoder_trial, batch.decoder_trial[:, :1])
    seen = rearrange(batch.visible[owner].bool(), "lane row key -> lane 1 row key")
    if model.attention_implementation == "sdpa":
        return seen
    lowest = torch.finfo(model.dtype).min
    return torch.zeros_like(seen, dtype=model.dtype).masked_fill(~seen, lowest)
