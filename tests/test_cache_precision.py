"""Cache precision: rounding by its definition, number by number, and what the decoder is given."""

from __future__ import annotations

import numpy
import pytest
import torch

from budgetlens.design.intervention import LevelError
from budgetlens.model.capture import encode
from budgetlens.model.roles import ENCODER_ROLES
from budgetlens.model.states import RoundStates
from interventions.cache_precision import CachePrecision
from tests.cells import Models, tokenized
from tests.conftest import batch_of

STEPS = {"int8": 127, "int4": 7}


def rounded(precision: str, states: torch.Tensor) -> torch.Tensor:
    return RoundStates(frozenset(ENCODER_ROLES), "encoder", None, (), precision).apply(states, ())


@pytest.mark.parametrize("precision", STEPS)
def test_integers_are_at_most_half_a_step_off(precision: str) -> None:
    """Each position has its own step, of which its numbers are multiples, and keeps its largest value."""
    generator = numpy.random.default_rng(4)
    states = generator.standard_t(3, (40, 64)) * generator.gamma(1, 9, (40, 1))
    states[7] = 0
    found = rounded(precision, torch.tensor(states, dtype=torch.float32)).double().numpy()
    step = numpy.abs(states).max(axis=1, keepdims=True) / STEPS[precision]
    assert (numpy.abs(found - states) <= step / 2 * (1 + 1e-5)).all()
    assert numpy.abs(found - states).max() > step.max() / 4
    numpy.testing.assert_allclose(numpy.abs(found).max(axis=1), numpy.abs(states).max(axis=1), rtol=1e-6)
    assert (found[7] == 0).all()
    others = numpy.delete(numpy.arange(40), 7)
    steps = found[others] / step[others]
    numpy.testing.assert_allclose(steps, numpy.round(steps), atol=1e-3)


def test_bfloat16_keeps_eight_bits() -> None:
    """The nearest number with 8 significant bits, found by frexp."""
    states = numpy.random.default_rng(5).normal(size=(9, 30)).astype(numpy.float32)
    fraction, exponent = numpy.frexp(states)
    expected = numpy.ldexp(numpy.round(fraction * 256) / 256, exponent)
    assert (rounded("bfloat16", torch.tensor(states)).numpy() == expected).all()


@pytest.mark.parametrize("precision", ["bfloat16", "int8", "int4"])
def test_the_decoder_is_given_rounded_states(precision: str, loaded: Models) -> None:
    model = loaded("t5gemma2")
    plain = encode(model, batch_of([tokenized(model, levels={"prefix": "oracle"})]))
    kept = encode(model, batch_of([tokenized(model, levels={"prefix": "oracle", "cache": precision})]))
    assert torch.equal(kept[0], rounded(precision, plain[0]))
    assert not torch.equal(kept, plain)


def test_unknown_precisions_are_refused() -> None:
    with pytest.raises(LevelError, match="no cache precision is called 'int3'"):
        CachePrecision.parse("int3")
