"""What the bounds on float32 numbers are worth: what they let pass is rounding, and small faults are no rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch
from transformers import PreTrainedModel

from budgetlens.model.attention import RowAttention
from budgetlens.model.capture import Capture, capture
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.tokenization import TokenizedTrial
from tests.cells import losses
from tests.conftest import EVERYTHING, batch_of
from tests.precision import (
    EPSILON,
    TIMES,
    Float32,
    Key,
    beyond,
    expected_numbers,
    kind_of,
    least_unit,
    measured,
    numbers,
    numbers_equal,
    numbers_within,
    unit,
    units_apart,
    within,
)
from tests.reference import eager, tiny_models

FAMILIES = tiny_models.FAMILIES
Truth = Callable[[str], PreTrainedModel]
Precision = Callable[[str], Float32]
Trials = dict[str, TokenizedTrial]


# The truth.


def test_a_model_in_float64_is_computed_in_float64_throughout(truth: Truth) -> None:
    with eager.own_precision(truth("t5")):
        assert torch.zeros(2, dtype=torch.float64).float().dtype == torch.float64
        assert (
            torch.softmax(torch.zeros(2, dtype=torch.float64), 0, dtype=torch.float32).dtype == torch.float64
        )
        with pytest.raises(
            RuntimeError, match="gave float32 in a computation that is to be float64 throughout"
        ):
            torch.zeros(2)
    with eager.own_precision(tiny_models.build("t5")):
        assert torch.zeros(2).dtype == torch.float32


@pytest.mark.parametrize("family", FAMILIES)
def test_units_are_rounding(family: str, float32: Precision) -> None:
    """A float64 that is another function than its float32 would make bounds that swallow everything."""
    for kind, own in float32(family).units.items():
        assert EPSILON < own < 1000 * EPSILON, kind


# Faults that are small, in what our own capture reads.


@pytest.fixture(scope="module")
def ours(loaded: Callable[[str], LoadedModel], trials: Trials) -> Callable[[str], Capture]:
    """One padded batch of every kind of trial."""
    return lambda family: capture(loaded(family), batch_of(list(trials.values())), EVERYTHING)


def caught(
    found: Capture, family: str, truth: Truth, float32: Precision, trials: Trials
) -> set[tuple[str, str, int]]:
    """The kinds of numbers of which some is further from the truth than it may be."""
    kinds = set()
    for index, trial in enumerate(trials.values()):
        measurement = measured(truth(family), trial)
        if units_apart(losses(found, index), measurement.nll, float32(family).losses) > TIMES:
            kinds.add(("losses", "decoder", -1))
        expected = expected_numbers(measurement, family in tiny_models.MERGED)
        read = numbers(found, index)
        for key, value in expected.items():
            if units_apart(read[key], value, float32(family).units[kind_of(key)]) > TIMES:
                kinds.add(kind_of(key))
    return kinds


def quantities(kinds: set[tuple[str, str, int]]) -> set[str]:
    return {quantity for quantity, _, _ in kinds}


@pytest.mark.parametrize("family", FAMILIES)
def test_noise_in_the_fifth_digit_is_caught(
    family: str, ours: Callable[[str], Capture], truth: Truth, float32: Precision, trials: Trials
) -> None:
    """3e-5 of every number, by every quantity."""
    found, generator = ours(family), numpy.random.default_rng(0)
    assert not caught(found, family, truth, float32, trials)
    for observation in found.observations:
        for values in observation.values.values():
            values *= 1 + 3e-5 * generator.standard_normal(values.shape).astype(values.dtype)
    found.token_losses[:] *= 1 + 3e-5 * generator.standard_normal(found.token_losses.shape)
    kinds = caught(found, family, truth, float32, trials)
    assert quantities(kinds) == {"losses", "share", "mass", "entropy", "published entropy"}


@contextmanager
def scaled(model: LoadedModel, factor: float) -> Iterator[None]:
    """The model with the queries' projections of its first decoder layer multiplied: a scale that is slightly wrong."""
    layer = model.attention_module(model.sites("decoder")[0])
    (name,) = [own for own, _ in layer.named_children() if own in ("q", "q_norm", "q_proj")][-1:]
    weight = layer.get_submodule(name).weight
    before = weight.detach().clone()
    with torch.no_grad():
        weight.copy_((1 + before) * factor - 1 if name == "q_norm" else before * factor)
    try:
        yield
    finally:
        with torch.no_grad():
            weight.copy_(before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scale_that_is_wrong_in_the_fourth_digit_is_caught(
    family: str, truth: Truth, float32: Precision, trials: Trials
) -> None:
    """In one layer of the decoder: its own shares and entropies say so, later layers, and the losses."""
    model = prepare_model(
        tiny_models.build(family), tiny_models.tokenizer(), name=family, identity="tiny", check=False
    )
    with scaled(model, 1.0002):
        found = capture(model, batch_of(list(trials.values())), EVERYTHING)
    kinds = caught(found, family, truth, float32, trials)
    assert {("share", "decoder", 0), ("entropy", "decoder", 0), ("losses", "decoder", -1)} <= kinds
    assert not [kind for kind in kinds if kind[1] == "encoder"]


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_in_half_precision_are_caught(
    family: str,
    ours: Callable[[str], Capture],
    truth: Truth,
    float32: Precision,
    trials: Trials,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every layer of both stacks, by the shares."""
    softmax = RowAttention.from_scores

    def halved(*given: Any) -> RowAttention:
        attention = softmax(*given)
        return replace(attention, probabilities=attention.probabilities.half().float())

    monkeypatch.setattr(RowAttention, "from_scores", staticmethod(halved))
    kinds = caught(ours(family), family, truth, float32, trials)
    layers = {(stack, layer) for quantity, stack, layer in kinds if quantity == "share"}
    assert layers == {("encoder", layer) for layer in range(3)} | {("decoder", layer) for layer in range(5)}


# The comparisons themselves.


def test_what_is_no_rounding_is_apart() -> None:
    of = least_unit([1.0, -2.0, numpy.nan])
    assert of == 4 * EPSILON
    assert unit([1.0, 2.0], [1.0, 2.0]) == of
    assert unit([1.0, 2.5], [1.0, 2.0]) == 0.5
    within([1.0, numpy.nan], [1.0 + TIMES * of, numpy.nan], of=of)
    beyond([1.0, 2.0], [1.0, 2.0 + 11 * TIMES * of], of=of)
    for one, other in (([1.0], [1.0 + (TIMES + 1) * of]), ([1.0], [numpy.nan]), ([1.0], [1.0, 1.0])):
        with pytest.raises(AssertionError):
            within(one, other, of=of)
    with pytest.raises(AssertionError, match="not above"):
        beyond([1.0], [1.0 + 2 * TIMES * of], of=of)
    with pytest.raises(AssertionError):
        unit([numpy.nan], [1.0])


def test_numbers_are_compared_kind_by_kind() -> None:
    """A large deviation of one kind excuses no other."""
    share: Key = ("budgets", "share", "decoder", "self", 0, 1, "answer")
    deeper: Key = ("budgets", "share", "decoder", "self", 3, 1, "answer")
    published: Key = ("published_entropies", "entropy", "encoder", "self", 0, -1, "published_self")
    assert kind_of(published) == ("entropy", "encoder", 0)
    own = Float32({("share", "decoder", 0): 1e-7, ("share", "decoder", 3): 1e-3})
    assert (own.of("share"), own.of("share", "decoder", 0)) == (1e-3, 1e-7)
    numbers_within({share: 0.5, deeper: 0.501}, {share: 0.5, deeper: 0.5}, own)
    with pytest.raises(AssertionError, match=r"'share', 'decoder', 0.* 1e\+04 ×"):
        numbers_within({share: 0.501, deeper: 0.5}, {share: 0.5, deeper: 0.5}, own)
    with pytest.raises(AssertionError, match="answer"):
        numbers_within({share: 0.5}, {share: 0.5, deeper: 0.5}, own)
    with pytest.raises(AssertionError):
        numbers_equal({share: 0.5}, {share: 0.5 + EPSILON})
