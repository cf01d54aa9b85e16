"""Activations are those of a plain forward with torch's own hooks, bit by bit; in memory, in files and in a cache."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from budgetlens.model.activations import activations_of
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import ACTIVATIONS
from budgetlens.model.tokenization import TokenizedTrial
from tests.cells import KINDS
from tests.conftest import SHAPES
from tests.reference import hooks, tiny_models

Loaded = Callable[[str], LoadedModel]


@contextmanager
def watched(model: PreTrainedModel) -> Iterator[dict[tuple[str, str], Tensor]]:
    """What every module of the model puts out, and what its attention modules hand on, by path and kind."""
    seen: dict[tuple[str, str], Tensor] = {}
    paths = {module: path for path, module in model.named_modules()}

    def output_of(module: torch.nn.Module, arguments: Any, output: Any) -> None:
        states = output[0] if isinstance(output, tuple) else output
        if isinstance(states, Tensor):
            seen[paths[module], "residual"] = states.clone()

    def spy(original: Any) -> Any:
        def attend(module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any) -> Any:
            for kind, tensor in (("query", query), ("key", key), ("value", value)):
                seen[paths[module], kind] = tensor.clone()
            return original(module, query, key, value, *rest, **more)

        return attend

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", spy(ALL_ATTENTION_FUNCTIONS["sdpa"]))
        source = sys.modules[type(model).__module__]
        patch.setattr(source, "eager_attention_forward", spy(source.eager_attention_forward))
        handles = [module.register_forward_hook(output_of) for module in model.modules()]
        yield seen
        for handle in handles:
            handle.remove()


def plain(family: str, trial: TokenizedTrial) -> dict[str, Tensor]:
    """The activations of one trial by a plain forward of a model that the project has never touched."""
    model, paths = tiny_models.build(family), hooks.PATHS[family]
    with watched(model) as seen:
        states = hooks.encoder_states(model, trial.encoder_ids)
        hooks.answer_losses(
            model,
            states,
            visible=trial.visible,
            decoder_ids=trial.decoder_ids,
            answer_length=trial.answer_tokens,
        )
    found = {}
    for stack, layers, attentions in (
        ("encoder", paths.encoder, {"self": paths.encoder_attention}),
        ("decoder", paths.decoder, {"self": paths.self_attention, "cross": paths.cross_attention}),
    ):
        depth = {"encoder": tiny_models.ENCODER_LAYERS, "decoder": tiny_models.DECODER_LAYERS}[stack]
        for layer in range(depth):
            found[f"{stack}.{layer}.residual"] = seen[f"{layers}.{layer}", "residual"][0]
            for block, attention in attentions.items():
                if attention is None:
                    continue
                name = "merged" if stack == "decoder" and paths.cross_attention is None else block
                for kind in ("query", "key", "value"):
                    tensor = seen[f"{layers}.{layer}.{attention}", kind][0]
                    if name == "merged" and kind != "query":
                        count = len(trial.decoder_ids)
                        tensor = torch.cat([tensor[:, count:], tensor[:, :count]], dim=1)
                    found[f"{stack}.{layer}.{name}.{kind}"] = tensor
    return found


@pytest.mark.parametrize("shape", ["bare", "prefix and BOS hidden", "long decoder, no BOS"])
@pytest.mark.parametrize("family", KINDS)
def test_activations_are_those_of_a_plain_forward(loaded: Loaded, family: str, shape: str) -> None:
    trial = SHAPES[shape].trial()
    wanted = plain(family, trial)
    found = activations_of(loaded(family), trial, layers=None, what=ACTIVATIONS)
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert torch.equal(found[name], tensor), name
