"""The built-in model: a small text-only T5Gemma 2, and its forward pass on packed batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import T5Gemma2Config, T5Gemma2ForConditionalGeneration

from budgetlens.reference.learning.packing import IGNORED, Batch
from budgetlens.reference.world.tokenizer import BOI, BOS, EOI, EOS, IMAGE, PAD, build_tokenizer

#: Base of the encoder's sliding layers. Gemma's is 10,000 for windows of 512 and more; with windows so much shorter, a
#: smaller base tells neighbours apart as clearly, without which words and what stands beside them are not bound.
LOCAL_BASE = 100.0


@dataclass(frozen=True)
class Sizes:
    """Sizes of the model. Attention windows are in tokens, shorter than the documents."""

    hidden_size: int = 128
    intermediate_size: int = 384
    layers: int = 4
    heads: int = 4
    key_value_heads: int = 2
    head_dim: int = 48
    encoder_window: int = 48
    decoder_window: int = 32


def build_model(sizes: Sizes) -> T5Gemma2ForConditionalGeneration:
    """A T5Gemma 2 with random weights: text only, its vision tower as small as the class allows."""
    size = len(build_tokenizer())
    # Sliding and full layers alternate and the last is full, as in the large models.
    kinds = ["full_attention" if (sizes.layers - i) % 2 else "sliding_attention" for i in range(sizes.layers)]
    text = {
        "vocab_size": size,
        "hidden_size": sizes.hidden_size,
        "intermediate_size": sizes.intermediate_size,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.key_value_heads,
        "head_dim": sizes.head_dim,
        "query_pre_attn_scalar": 16,
        "max_position_embeddings": 8192,
        "layer_types": kinds,
        "pad_token_id": PAD,
        "eos_token_id": EOS,
        "bos_token_id": BOS,
        "initializer_range": 0.06,
        "use_cache": True,
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 4,
        "intermediate_size": 4,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 4,
        "patch_size": 2,
        "vision_use_head": False,
    }
    encoder = {
        "text_config": {**text, "sliding_window": sizes.encoder_window, "rope_parameters": _rope(LOCAL_BASE)},
        "vision_config": vision,
        "mm_tokens_per_image": 4,
        "boi_token_index": BOI,
        "eoi_token_index": EOI,
        "image_token_index": IMAGE,
        "initializer_range": 0.06,
    }
    # Rotated decoder queries meet unrotated encoder keys: slow rotations keep that match the same at
    # every decoder position, so the decoder's sliding layers have a slow base too.
    decoder = {**text, "sliding_window": sizes.decoder_window, "rope_parameters": _rope(1e6)}
    config = T5Gemma2Config(encoder=encoder, decoder=decoder, image_token_index=IMAGE, initializer_range=0.06)
    model = T5Gemma2ForConditionalGeneration(config)
    model.generation_config.decoder_start_token_id = BOS
    model.generation_config.bos_token_id = BOS
    model.generation_config.eos_token_id = EOS
    model.generation_config.pad_token_id = PAD
    for name, parameter in model.named_parameters():
        if "vision_tower" in name or "multi_modal" in name or name.endswith("eoi_embedding"):
            parameter.requires_grad_(False)
    return model


def _rope(local_base: float) -> dict[str, dict[str, Any]]:
    return {
        "full_attention": {"rope_type": "default", "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": local_base},
    }


def packed_hidden_states(model: T5Gemma2ForConditionalGeneration, batch: Batch) -> torch.Tensor:
    """Decoder states (rows, decoder, hidden) of a packed batch, equal to those of each slot by itself.

    The stacks take ready-made masks per kind of layer; the windows below are those of the model's own
    masks: ``dist < window`` back in the decoder, half the window to each side in the encoder.
    """
    encoder, decoder = model.get_encoder(), model.get_decoder()
    window = encoder.config.text_config.sliding_window
    length = batch.encoder_ids.shape[1]
    back = torch.arange(length)[:, None] - torch.arange(length)[None]
    near = (back < (window + 1) // 2) & (back > -(window // 2 + 1))
    keys = batch.encoder_mask[:, None, None, :].expand(-1, 1, length, -1)
    # A padding row must see something or its softmax is empty; what it holds is never used.
    keys = keys | torch.eye(length, dtype=torch.bool)
    states = encoder(
        input_ids=batch.encoder_ids,
        attention_mask={"full_attention": keys, "sliding_attention": keys & near},
    ).last_hidden_state
    same = batch.slots[:, :, None] == batch.slots[:, None, :]
    length = batch.decoder_ids.shape[1]
    back = torch.arange(length)[:, None] - torch.arange(length)[None]
    causal = (same & (back >= 0))[:, None]
    return decoder(
        input_ids=batch.decoder_ids,
        position_ids=batch.positions,
        attention_mask={
            "full_attention": causal,
            "sliding_attention": causal & (back < decoder.config.sliding_window),
        },
        encoder_hidden_states=states,
        encoder_attention_mask={"full_attention": batch.cross_mask[:, None]},
        use_cache=False,
    ).last_hidden_state


def loss_of(model: T5Gemma2ForConditionalGeneration, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean loss, and the unweighted loss (nats) of every label at its place (0 elsewhere)."""
    hidden = packed_hidden_states(model, batch)
    places = batch.labels != IGNORED
    logits = model.lm_head(hidden[places]).float()
    losses = functional.cross_entropy(logits, batch.labels[places], reduction="none")
    weights = batch.weights[places]
    spread = torch.zeros(batch.labels.shape)
    spread[places] = losses.detach()
    return (losses * weights).sum() / weights.sum(), spread
