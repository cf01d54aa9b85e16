"""Held norms against the library's own modules, where eps is as large as what is normed and where it is nothing."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaRMSNorm
from transformers.models.t5gemma2.modeling_t5gemma2 import T5Gemma2RMSNorm

from budgetlens.model.norms import NormMap, UnknownNormError

WIDTH = 24
KINDS = {
    "Gemma 3": lambda: Gemma3RMSNorm(WIDTH, eps=1e-5),
    "T5Gemma": lambda: T5GemmaRMSNorm(WIDTH, eps=1e-5),
    "T5Gemma 2": lambda: T5Gemma2RMSNorm(WIDTH, eps=1e-5),
    "T5": lambda: T5LayerNorm(WIDTH, eps=1e-5),
    "LayerNorm": lambda: nn.LayerNorm(WIDTH, eps=1e-5),
    "LayerNorm without shift": lambda: nn.LayerNorm(WIDTH, eps=1e-5, bias=False),
}


def made(kind: str) -> nn.Module:
    """A norm with weights, and a shift where it has one, that are nowhere near those of a new one."""
    torch.manual_seed(4)
    module = KINDS[kind]()
    for parameter in module.parameters():
        parameter.data.uniform_(0.4, 1.7)
    return module.double()


@pytest.mark.parametrize("size", [1e-3, 3e-3, 1.0])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_held_norm_is_the_module_s_own_where_it_is_held(kind: str, size: float) -> None:
    """At a size of 0.003 the mean square is about eps: a norm without it would be larger by two fifths."""
    module = made(kind)
    states = size * torch.randn(2, 5, WIDTH, dtype=torch.float64)
    norm = NormMap.of(module)
    held = norm.held(states)
    found = held(states.float())
    if norm.shift is not None:
        found = found + norm.shift
    torch.testing.assert_close(found.double(), module(states).double(), rtol=2e-6, atol=2e-6)
    without = states / states.square().mean(dim=-1, keepdim=True).sqrt()
    assert (without.norm() / (states / held.scale.double()).norm() > 1.05) == (size < 0.1) or norm.centred


@pytest.mark.parametrize("kind", list(KINDS))
def test_parts_and_directions_pass_it_alike(kind: str) -> None:
    """Linear where it is held: parts add up, and a direction pulled back meets a part as it meets the part behind."""
    norm = NormMap.of(made(kind))
    states, direction = torch.randn(3, 2, 5, WIDTH).unbind(0)[:2]
    held = norm.held(0.003 * states)
    one, other = torch.randn(2, 2, 5, WIDTH).unbind(0)
    torch.testing.assert_close(held(one + other), held(one) + held(other), rtol=1e-4, atol=1e-2)
    behind = (held(one) * direction).sum(dim=-1)
    torch.testing.assert_close((one * held.transposed(direction)).sum(dim=-1), behind, rtol=1e-4, atol=1e-1)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(UnknownNormError, match="GroupNorm"):
        NormMap.of(nn.GroupNorm(2, WIDTH))
