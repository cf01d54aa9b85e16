"""Interventions in the plainest way: torch's forward hooks on one example, without padding.

Imports nothing of the project and shares no code with it. Module paths are written out by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from tests.reference.eager import own_precision

#: A module's new output, from its own.
Change = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Paths:
    """Where a family keeps its layers, and the names of value and output projections in them."""

    encoder: str
    decoder: str
    encoder_attention: str
    self_attention: str
    cross_attention: str | None
    value: str
    output: str


_GEMMA = {
    "encoder_attention": "self_attn",
    "self_attention": "self_attn",
    "value": "v_proj",
    "output": "o_proj",
}
PATHS = {
    "t5gemma2": Paths(
        encoder="model.encoder.text_model.layers",
        decoder="model.decoder.layers",
        cross_attention=None,
        **_GEMMA,
    ),
    "t5gemma": Paths(
        encoder="model.encoder.layers", decoder="model.decoder.layers", cross_attention="cross_attn", **_GEMMA
    ),
    "t5": Paths(
        encoder="encoder.block",
        decoder="decoder.block",
        encoder_attention="layer.0.SelfAttention",
        self_attention="layer.0.SelfAttention",
        cross_attention="layer.1.EncDecAttention",
        value="v",
        output="o",
    ),
    "bart": Paths(
        encoder="model.encoder.layers",
        decoder="model.decoder.layers",
        encoder_attention="self_attn",
        self_attention="self_attn",
        cross_attention="encoder_attn",
        value="v_proj",
        output="out_proj",
    ),
}


@contextmanager
def changed_outputs(model: PreTrainedModel, changes: Mapping[str, Change]) -> Iterator[None]:
    """Give the modules at these paths other outputs; of a tuple, another first entry."""

    def hook_for(change: Change) -> Any:
        def hook(module: torch.nn.Module, arguments: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (change(output[0]), *output[1:])
            return change(output)

        return hook

    with ExitStack() as stack:
        for path, change in changes.items():
            handle = model.get_submodule(path).register_forward_hook(hook_for(change))
            stack.callback(handle.remove)
        yield


def encoder_states(
    model: PreTrainedModel, encoder_ids: Sequence[int], changes: Mapping[str, Change] | None = None
) -> torch.Tensor:
    """Final states of one encoder input, shape (position, width)."""
    with torch.no_grad(), own_precision(model), changed_outputs(model, changes or {}):
        ids = torch.tensor([list(encoder_ids)])
        return model.get_encoder()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]


def layer_states(model: PreTrainedModel, encoder_ids: Sequence[int], path: str) -> torch.Tensor:
    """States that leave the encoder's module at ``path``, shape (position, width)."""
    seen: list[torch.Tensor] = []

    def keep(output: torch.Tensor) -> torch.Tensor:
        seen.append(output[0].clone())
        return output

    encoder_states(model, encoder_ids, {path: keep})
    return seen[0]


def answer_losses(
    model: PreTrainedModel,
    states: torch.Tensor,
    *,
    visible: Sequence[bool],
    decoder_ids: Sequence[int],
    answer_length: int,
    changes: Mapping[str, Change] | None = None,
) -> numpy.ndarray:
    """Negative log-likelihood of every answer token, nats, when the decoder is given ``states``."""
    ids = torch.tensor([list(decoder_ids)])
    with torch.no_grad(), own_precision(model), changed_outputs(model, changes or {}):
        logits = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states[None]),
            attention_mask=torch.tensor([[int(seen) for seen in visible]]),
            decoder_input_ids=ids,
            decoder_attention_mask=torch.ones_like(ids),
            use_cache=False,
        ).logits[0]
    first = len(decoder_ids) - answer_length
    logarithms = torch.log_softmax(logits.double(), dim=-1)
    return numpy.array(
        [-logarithms[row - 1, decoder_ids[row]].item() for row in range(first, len(decoder_ids))]
    )
