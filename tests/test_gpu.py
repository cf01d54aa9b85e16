"""What only a GPU can show (`make gpu-check`): the CPU's numbers within float32's own deviation, twice the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy
import pytest
import torch

from budgetlens.model.batching import make_batch
from budgetlens.model.capture import Capture, capture
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.tokenization import TokenizedTrial
from tests.cells import losses
from tests.conftest import EVERYTHING
from tests.precision import Float32, numbers, numbers_equal, numbers_within, within
from tests.reference import tiny_models

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

DEVICE = "cuda"
FAMILIES = tuple(tiny_models.FAMILIES)


def model_on(device: str, family: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A family's tiny model there; its contract is proved there too."""
    model = tiny_models.build(family).to(device=device, dtype=dtype)
    return prepare_model(model, tiny_models.tokenizer(), name=family, identity="tiny")


def captured_on(model: LoadedModel, trials: Sequence[TokenizedTrial]) -> Capture:
    batch = make_batch(
        trials, pad_token=tiny_models.PAD, rows="predicting", device=model.device, pack=model.family.packs
    )
    return capture(model, batch, EVERYTHING)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gpu_gives_the_processor_s_numbers_and_gives_them_again(
    family: str, trials: dict[str, TokenizedTrial], float32: Callable[[str], Float32]
) -> None:
    there, here = model_on(DEVICE, family), model_on("cpu", family)
    given = list(trials.values())
    first, again, expected = captured_on(there, given), captured_on(there, given), captured_on(here, given)
    for index in range(len(given)):
        numbers_equal(numbers(first, index), numbers(again, index))
        numpy.testing.assert_array_equal(losses(first, index), losses(again, index))
        numbers_within(numbers(first, index), numbers(expected, index), float32(family))
        within(losses(first, index), losses(expected, index), of=float32(family).losses)


@pytest.mark.parametrize("family", FAMILIES)
def test_how_far_bfloat16_is_from_float32(family: str, trials: dict[str, TokenizedTrial]) -> None:
    """Told, and bounded by what eight bits of a mantissa can lose of a likelihood near that of guessing."""
    given = list(trials.values())
    whole = captured_on(model_on(DEVICE, family), given)
    half = captured_on(model_on(DEVICE, family, torch.bfloat16), given)
    apart = max(
        float(numpy.abs(numpy.subtract(losses(half, index), losses(whole, index))).max())
        for index in range(len(given))
    )
    print(
        f"{family}: bfloat16 is up to {apart:.4f} nats per token from float32 ({torch.cuda.get_device_name()})"
    )
    assert apart < 0.1 * numpy.log(tiny_models.VOCABULARY)
