"""Lenses in the plainest way: one example, torch's forward hooks, norms and heads written out.

Imports nothing of the project. The logit lens reads the states behind each decoder layer through the final norm and the
head; DecoderLens (Langedijk et al. 2023) runs the decoder on the states behind each encoder layer, through the encoder's
final norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy
import torch
from transformers import PreTrainedModel

from tests.reference import hooks
from tests.reference.eager import own_precision

#: Where each model type keeps its final norms; post-norm types have none.
FINAL_NORMS: Mapping[str, tuple[str, str]] = {
    "t5gemma2": ("model.encoder.text_model.norm", "model.decoder.norm"),
    "t5gemma": ("model.encoder.norm", "model.decoder.norm"),
    **dict.fromkeys(("t5", "mt5", "umt5"), ("encoder.final_layer_norm", "decoder.final_layer_norm")),
    **dict.fromkeys(("mbart", "pegasus"), ("model.encoder.layer_norm", "model.decoder.layer_norm")),
}
_PATHS = {
    **dict.fromkeys(("t5", "mt5", "umt5"), "t5"),
    **dict.fromkeys(("bart", "mbart", "marian", "pegasus"), "bart"),
}


def final_norm(model: PreTrainedModel, stack: str, states: torch.Tensor) -> torch.Tensor:
    """States behind the final norm of a stack, in their own precision."""
    kind = model.config.model_type
    if kind not in FINAL_NORMS:
        return states
    module = model.get_submodule(FINAL_NORMS[kind][stack == "decoder"])
    if kind in ("mbart", "pegasus"):
        centred = states - states.mean(dim=-1, keepdim=True)
        size = (centred.pow(2).mean(dim=-1, keepdim=True) + module.eps).sqrt()
        return centred / size * module.weight + module.bias
    epsilon = module.eps if kind.startswith("t5gemma") else module.variance_epsilon
    gain = 1 + module.weight if kind.startswith("t5gemma") else module.weight
    return states / (states.pow(2).mean(dim=-1, keepdim=True) + epsilon).sqrt() * gain


def logits(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """Logits of the decoder's states behind some layer, (row, width) to (row, vocabulary)."""
    kind = model.config.model_type
    states = final_norm(model, "decoder", states)
    # The tied heads of T5 and UMT5 take scaled states.
    if (kind == "t5" and model.config.scale_decoder_outputs) or (
        kind == "umt5" and model.config.tie_word_embeddings
    ):
        states = states * states.shape[-1] ** -0.5
    found = states @ model.get_output_embeddings().weight.T
    if hasattr(model, "final_logits_bias"):
        found = found + model.final_logits_bias[0]
    cap = getattr(getattr(model.config, "decoder", None), "final_logit_softcapping", None)
    return found if cap is None else cap * torch.tanh(found / cap)


def layer_states(
    model: PreTrainedModel,
    stack: str,
    *,
    encoder_ids: Sequence[int],
    decoder_ids: Sequence[int],
    visible: Sequence[bool],
) -> list[torch.Tensor]:
    """States behind every layer of a stack, (position, width), before its final norm."""
    paths = hooks.PATHS[_PATHS.get(model.config.model_type, model.config.model_type)]
    layers = model.get_submodule(getattr(paths, stack))
    seen: list[torch.Tensor] = []

    def keep(module: object, arguments: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        seen.append((output[0] if isinstance(output, tuple) else output)[0].clone())

    handles = [layer.register_forward_hook(keep) for layer in layers]
    states = hooks.encoder_states(model, encoder_ids)
    if stack == "decoder":
        hooks.answer_losses(model, states, visible=visible, decoder_ids=decoder_ids, answer_length=1)
    for handle in handles:
        handle.remove()
    return seen


def logit_lens(
    model: PreTrainedModel,
    *,
    encoder_ids: Sequence[int],
    decoder_ids: Sequence[int],
    visible: Sequence[bool],
    answer_length: int,
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """NLL in nats and rank from 1 of every answer token behind every decoder layer, (layer, answer)."""
    losses, ranks = [], []
    first = len(decoder_ids) - answer_length
    found = layer_states(model, "decoder", encoder_ids=encoder_ids, decoder_ids=decoder_ids, visible=visible)
    for states in found:
        with torch.no_grad(), own_precision(model):
            rows = logits(model, states)[first - 1 : -1]
            logarithms = torch.log_softmax(rows, dim=-1)
        own = [(row, decoder_ids[first + row]) for row in range(answer_length)]
        losses.append([-logarithms[place].item() for place in own])
        ranks.append([1 + int((rows[row] > rows[row, token]).sum()) for row, token in own])
    return numpy.array(losses), numpy.array(ranks)


def decoder_lens(
    model: PreTrainedModel,
    *,
    encoder_ids: Sequence[int],
    decoder_ids: Sequence[int],
    visible: Sequence[bool],
    answer_length: int,
) -> numpy.ndarray:
    """NLL in nats of every answer token with the decoder on each encoder layer, (layer, answer)."""
    found = layer_states(model, "encoder", encoder_ids=encoder_ids, decoder_ids=decoder_ids, visible=visible)
    losses = []
    for states in found:
        with torch.no_grad(), own_precision(model):
            final = final_norm(model, "encoder", states)
        losses.append(
            hooks.answer_losses(
                model, final, visible=visible, decoder_ids=decoder_ids, answer_length=answer_length
            )
        )
    return numpy.array(losses)
