"""Models of a published shape with random weights, for timings: what a forward costs depends on no weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from budgetlens.model.batching import Batch, make_batch
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Example, Trial
from budgetlens.runs.known_models import REFERENCE_MODEL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Shape:
    """The sizes of a T5Gemma 2, the same in both stacks; every sixth layer sees all, the others a ``window``."""

    name: str
    width: int
    feed_forward: int
    layers: int
    heads: int
    head_width: int
    window: int


LARGE = Shape("270M-270M", width=640, feed_forward=2048, layers=18, heads=4, head_width=256, window=512)

#: Entries of the embeddings: no fewer than the built-in model's tokenizer has. Their number is no part of the shape.
VOCABULARY = 2048


def random_model(shape: Shape, *, device: torch.device, attention: str = "sdpa") -> LoadedModel:
    """A model of ``shape``, in float32; the same weights on every call."""
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": shape.width,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": 1,
        "head_dim": shape.head_width,
        "query_pre_attn_scalar": shape.head_width,
        "sliding_window": shape.window,
        "max_position_embeddings": 32_768,
        "layer_types": [
            "full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(shape.layers)
        ],
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 8,
        "patch_size": 4,
    }
    special = {"boi_token_index": 4, "eoi_token_index": 5, "image_token_index": 6, "mm_tokens_per_image": 4}
    # Here, because every command imports this module and the model's takes seconds.
    from transformers import T5Gemma2Config, T5Gemma2ForConditionalGeneration

    config = T5Gemma2Config(
        encoder={"text_config": text, "vision_config": vision, **special}, decoder=text, image_token_index=6
    )
    torch.manual_seed(0)
    model = T5Gemma2ForConditionalGeneration._from_config(config, attn_implementation=attention)
    return prepare_model(
        model.to(device=device),
        _any_tokenizer(),
        name=f"random {shape.name} shape",
        identity="random",
        check=False,
    )


def _any_tokenizer() -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(REFERENCE_MODEL)


def random_batch(model: LoadedModel, encoder_length: int, *, prompt: int = 12, answer: int = 16) -> Batch:
    """Two cells of one example, with and without a prompt, on random ids."""
    generator = torch.Generator().manual_seed(1)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, VOCABULARY, (count,), generator=generator).tolist())

    encoder, answer_ids, prompt_ids = ids(encoder_length), ids(answer), ids(prompt)
    trials = [
        TokenizedTrial(
            trial=Trial.bare(Example("random", "", "", "")),
            encoder_ids=encoder,
            encoder_roles=("bos", *("document",) * (encoder_length - 1)),
            visible=(True,) * encoder_length,
            decoder_ids=(2, *own, *answer_ids),
            decoder_roles=("start", *("prompt",) * len(own), *("answer",) * answer),
            decoder_shift=0,
            document_intact=True,
            published_hidden=0,
            truncated=0,
        )
        for own in ((), prompt_ids)
    ]
    return make_batch(trials, pad_token=0, device=model.device, pack=True)
