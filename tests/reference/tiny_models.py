"""Tiny random models of every family, and a tiny tokenizer, made from configurations alone.

The models are built to expose mistakes: no two sizes are equal, the encoder and the decoder differ in
depth, in feed-forward width and (where the family allows it) in heads, sliding windows are shorter than
any test document, biases and norm weights are random, and queries are sharp enough for attention to be
far from uniform. The vocabulary of the models is larger than the tokenizer's, as in published models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast

#: Sizes that all families share; see :func:`sizes` for the complete list of one model.
VOCABULARY = 211
HIDDEN = 48
ENCODER_LAYERS = 3
DECODER_LAYERS = 5
ENCODER_FEED_FORWARD = 56
DECODER_FEED_FORWARD = 72
#: Keys to either side (encoder) and back (decoder) that a sliding layer sees, about.
ENCODER_WINDOW = 9
DECODER_WINDOW = 4
#: Learned and sinusoidal position tables have so many rows.
POSITIONS = 190

PAD, END, BEGIN, UNKNOWN = 0, 1, 2, 3


def _t5gemma2_config() -> transformers.PreTrainedConfig:
    return transformers.T5Gemma2Config(
        encoder={
            "text_config": _gemma_stack(
                ENCODER_LAYERS,
                ENCODER_FEED_FORWARD,
                heads=8,
                key_value_heads=4,
                window=ENCODER_WINDOW,
                layer_types=["sliding_attention", "full_attention", "sliding_attention"],
            ),
            "vision_config": {
                "hidden_size": 12,
                "intermediate_size": 14,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 8,
                "patch_size": 4,
            },
            "mm_tokens_per_image": 4,
        },
        decoder=_gemma_stack(
            DECODER_LAYERS,
            DECODER_FEED_FORWARD,
            heads=6,
            key_value_heads=2,
            window=DECODER_WINDOW,
            layer_types=_DECODER_LAYER_TYPES,
        ),
    )


_DECODER_LAYER_TYPES = [
    "sliding_attention",
    "full_attention",
    "sliding_attention",
    "sliding_attention",
    "full_attention",
]


def _gemma_stack(
    layers: int, feed_forward: int, *, heads: int, key_value_heads: int, window: int, layer_types: list[str]
) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": feed_forward,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "head_dim": 10,
        # Not the head's size: a scaling that is derived from the wrong one shows.
        "query_pre_attn_scalar": 7,
        "sliding_window": window,
        "layer_types": layer_types,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "bos_token_id": BEGIN,
    }


def _t5gemma_config() -> transformers.PreTrainedConfig:
    # Soft caps of the size of the scores, so that leaving them out changes every number.
    caps = {"attn_logit_softcapping": 4.0, "final_logit_softcapping": 3.0}
    return transformers.T5GemmaConfig(
        encoder=caps
        | _gemma_stack(
            ENCODER_LAYERS,
            ENCODER_FEED_FORWARD,
            heads=8,
            key_value_heads=4,
            window=ENCODER_WINDOW,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        ),
        decoder=caps
        | _gemma_stack(
            DECODER_LAYERS,
            DECODER_FEED_FORWARD,
            heads=6,
            key_value_heads=2,
            window=DECODER_WINDOW,
            layer_types=_DECODER_LAYER_TYPES,
        ),
        vocab_size=VOCABULARY,
    )


def _t5_options(feed_forward: str) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "d_model": HIDDEN,
        "d_kv": 10,
        "d_ff": DECODER_FEED_FORWARD,
        "num_layers": ENCODER_LAYERS,
        "num_decoder_layers": DECODER_LAYERS,
        "num_heads": 6,
        # Few buckets over a short distance: test inputs reach all of them.
        "relative_attention_num_buckets": 8,
        "relative_attention_max_distance": 20,
        "feed_forward_proj": feed_forward,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "decoder_start_token_id": PAD,
    }


def _t5_config() -> transformers.PreTrainedConfig:
    return transformers.T5Config(**_t5_options("relu"))


def _t5_gated_config() -> transformers.PreTrainedConfig:
    # As in the T5 v1.1 and Flan-T5 configurations: a head of its own, whose inputs are not rescaled.
    return transformers.T5Config(**(_t5_options("gated-gelu") | {"tie_word_embeddings": False}))


def _mt5_config() -> transformers.PreTrainedConfig:
    return transformers.MT5Config(**_t5_options("gated-gelu"))


def _umt5_config() -> transformers.PreTrainedConfig:
    return transformers.UMT5Config(**_t5_options("gated-gelu"))


def _bart_options(*, activation: str, start: int, scale_embedding: bool) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "d_model": HIDDEN,
        "encoder_layers": ENCODER_LAYERS,
        "decoder_layers": DECODER_LAYERS,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 6,
        "encoder_ffn_dim": ENCODER_FEED_FORWARD,
        "decoder_ffn_dim": DECODER_FEED_FORWARD,
        "max_position_embeddings": POSITIONS,
        "activation_function": activation,
        "scale_embedding": scale_embedding,
        "pad_token_id": PAD,
        "eos_token_id": END,
        "bos_token_id": BEGIN,
        "decoder_start_token_id": start,
        "forced_eos_token_id": None,
    }


def _bart_config() -> transformers.PreTrainedConfig:
    return transformers.BartConfig(**_bart_options(activation="gelu", start=END, scale_embedding=False))


def _mbart_config() -> transformers.PreTrainedConfig:
    return transformers.MBartConfig(**_bart_options(activation="gelu", start=END, scale_embedding=True))


def _marian_config() -> transformers.PreTrainedConfig:
    return transformers.MarianConfig(**_bart_options(activation="swish", start=PAD, scale_embedding=True))


def _pegasus_config() -> transformers.PreTrainedConfig:
    return transformers.PegasusConfig(**_bart_options(activation="relu", start=PAD, scale_embedding=True))


_FAMILIES: dict[str, tuple[Callable[[], transformers.PreTrainedConfig], type[PreTrainedModel]]] = {
    "t5gemma2": (_t5gemma2_config, transformers.T5Gemma2ForConditionalGeneration),
    "t5gemma": (_t5gemma_config, transformers.T5GemmaForConditionalGeneration),
    "t5": (_t5_config, transformers.T5ForConditionalGeneration),
    "t5-gated": (_t5_gated_config, transformers.T5ForConditionalGeneration),
    "mt5": (_mt5_config, transformers.MT5ForConditionalGeneration),
    "umt5": (_umt5_config, transformers.UMT5ForConditionalGeneration),
    "bart": (_bart_config, transformers.BartForConditionalGeneration),
    "mbart": (_mbart_config, transformers.MBartForConditionalGeneration),
    "marian": (_marian_config, transformers.MarianMTModel),
    "pegasus": (_pegasus_config, transformers.PegasusForConditionalGeneration),
}

#: Names that :func:`build` knows.
FAMILIES: tuple[str, ...] = tuple(_FAMILIES)
#: Families whose attention has a soft cap, which SDPA cannot do: eager only.
EAGER_ONLY: frozenset[str] = frozenset({"t5gemma"})
#: Families with one softmax over decoder and encoder keys.
MERGED: frozenset[str] = frozenset({"t5gemma2"})


def build(family: str, seed: int = 0, attention: str | None = None) -> PreTrainedModel:
    """A tiny random model in float32 and evaluation mode; the same weights for the same seed.

    ``attention`` is ``"sdpa"`` or ``"eager"``; None takes SDPA where the family has it. The global
    random state is left as it was.
    """
    if family not in _FAMILIES:
        raise ValueError(f"unknown family {family!r}; known: {list(FAMILIES)}")
    make_config, model_class = _FAMILIES[family]
    attention = attention or ("eager" if family in EAGER_ONLY else "sdpa")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class._from_config(make_config(), attn_implementation=attention)
    if family == "t5-gated":
        # The library ties the head when it builds from a configuration; published weights are not tied.
        model.lm_head.weight = torch.nn.Parameter(torch.empty(VOCABULARY, HIDDEN))
    if family == "umt5":
        # The library says so from 5.18 on; before, the decoder saw later positions under SDPA.
        for block in model.decoder.block:
            block.layer[0].SelfAttention.is_causal = True
    _set_weights(model, family, torch.Generator().manual_seed(seed))
    return model.to(torch.float32).eval()


def _set_weights(model: PreTrainedModel, family: str, generator: torch.Generator) -> None:
    def normal(tensor: torch.Tensor, mean: float, deviation: float) -> None:
        tensor.copy_(torch.randn(tensor.shape, generator=generator) * deviation + mean)

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if _is_sinusoidal(model, name):
                continue
            normal(parameter, *_mean_and_deviation(name, parameter, family))
        for name, buffer in model.named_buffers():
            if name == "final_logits_bias":
                normal(buffer, 0.0, 0.5)


def _is_sinusoidal(model: PreTrainedModel, name: str) -> bool:
    return "Sinusoidal" in type(model.get_submodule(name.rpartition(".")[0])).__name__


def _mean_and_deviation(name: str, parameter: torch.Tensor, family: str) -> tuple[float, float]:
    gemma = family.startswith("t5gemma")
    if "q_norm" in name or "k_norm" in name:
        # Gemma's norms multiply by one plus the weight. Normed queries ignore the projection's scale, so
        # sharpness has to come from here.
        return 0.6, 0.3
    if name.endswith(".bias"):
        return 0.0, 0.1
    if parameter.dim() == 1:
        return (0.0, 0.2) if gemma else (1.0, 0.2)
    if "relative_attention_bias" in name:
        return 0.0, 1.5
    if "shared" in name or "embed_tokens" in name:
        # Embeddings of about unit size after the family's own scaling, and head outputs of about that size.
        return 0.0, {"t5": 1.0, "t5-gated": 1.0, "umt5": 1.0}.get(family, HIDDEN**-0.5)
    if "embed_positions" in name:
        return 0.0, 0.5
    fan_in = parameter.numel() / parameter.shape[0]
    # T5 does not scale its scores, which makes them sharp enough as they are.
    sharpness = 3.0 if "q_proj" in name else 1.0
    return 0.0, sharpness * fan_in**-0.5


def sizes(model: PreTrainedModel) -> dict[str, int]:
    """The sizes of a model's axes by name, from its configuration."""
    config = model.config.to_dict()
    if "decoder" in config:
        encoder, decoder = config["encoder"], config["decoder"]
        encoder = encoder.get("text_config", encoder)
        return {
            "vocabulary": decoder["vocab_size"],
            "hidden": decoder["hidden_size"],
            "head": decoder["head_dim"],
            "encoder layers": encoder["num_hidden_layers"],
            "decoder layers": decoder["num_hidden_layers"],
            "encoder heads": encoder["num_attention_heads"],
            "decoder heads": decoder["num_attention_heads"],
            "encoder feed-forward": encoder["intermediate_size"],
            "decoder feed-forward": decoder["intermediate_size"],
            "decoder key-value heads": decoder["num_key_value_heads"],
        }
    if "d_kv" in config:
        return {
            "vocabulary": config["vocab_size"],
            "hidden": config["d_model"],
            "head": config["d_kv"],
            "encoder layers": config["num_layers"],
            "decoder layers": config["num_decoder_layers"],
            "heads": config["num_heads"],
            "feed-forward": config["d_ff"],
        }
    return {
        "vocabulary": config["vocab_size"],
        "hidden": config["d_model"],
        "encoder layers": config["encoder_layers"],
        "decoder layers": config["decoder_layers"],
        "encoder heads": config["encoder_attention_heads"],
        "decoder heads": config["decoder_attention_heads"],
        "encoder feed-forward": config["encoder_ffn_dim"],
        "decoder feed-forward": config["decoder_ffn_dim"],
    }


#: What the tiny tokenizer is trained on: enough for words in pieces, and for a piece across a line break.
TEXTS: tuple[str, ...] = (
    "who built the old bridge on the river Tamm\nThe old bridge on the river Tamm was built by Orla Venn.",
    "when was the tower of Kesh finished\nThe tower of Kesh was finished in the year 1412, after nine years.",
    "what do the people of Lund eat in winter\nIn winter the people of Lund eat dried fish and black bread.",
    "which river runs past the mill\nThe mill stands by the river Oss, which runs past it to the sea.",
    "how long is the wall\nThe wall is forty miles long; the people who built it were never paid.",
)

#: How the tokenizer treats a line break, see :func:`tokenizer`.
NEWLINES: tuple[str, ...] = ("kept", "folded", "merged")


def tokenizer(*, begin: bool = True, end: bool = True, newline: str = "kept") -> PreTrainedTokenizerFast:
    """A small byte-pair tokenizer (under 200 tokens) with the special ids of the tiny models.

    ``begin`` and ``end`` say whether ``<s>`` and ``</s>`` are added around a text. ``newline`` is
    ``"kept"`` (a token of its own, as in Gemma), ``"folded"`` (turned into a space, as in T5) or
    ``"merged"`` (a piece may span it and its neighbours, so that the document's tokens can differ with
    and without a prefix).
    """
    if newline not in NEWLINES:
        raise ValueError(f"newline={newline!r}; expected one of {NEWLINES}")
    core = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    if newline == "folded":
        core.normalizer = normalizers.Sequence([normalizers.Replace("\n", " ")])
    words = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    if newline == "kept":
        lines = pre_tokenizers.Split("\n", behavior="isolated")
        core.pre_tokenizer = pre_tokenizers.Sequence([lines, words])
    elif newline == "merged":
        # Without this split a piece would have to hold the whole word on both sides of the break.
        letters = pre_tokenizers.Split(tokenizers.Regex(r"\n."), behavior="isolated")
        core.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    else:
        core.pre_tokenizer = words
    core.decoder = decoders.Metaspace(prepend_scheme="always")
    alphabet = [chr(code) for code in range(33, 127)] + ["\n", "▁"]
    trainer = trainers.BpeTrainer(
        vocab_size=199,
        special_tokens=["<pad>", "</s>", "<s>", "<unk>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    core.train_from_iterator(TEXTS, trainer)
    core.post_processor = processors.TemplateProcessing(
        single=["<s>"] * begin + ["$A"] + ["</s>"] * end,
        special_tokens=[("<s>", BEGIN), ("</s>", END)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        bos_token="<s>",
        unk_token="<unk>",
    )
