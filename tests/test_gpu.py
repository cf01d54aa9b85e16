"""What only a GPU can show (`make gpu-check`): the CPU's numbers within float32's own deviation, twice the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy
import pandas as pd
import pytest
import torch

from budgetlens.command.main import main
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.intervention import available_interventions
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import Capture, Probing, capture, encode
from budgetlens.model.decoding import Decoding
from budgetlens.model.generation import Generated, generate_from
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import load_model, prepare_model
from budgetlens.model.observation import available_probes, read_probes
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.runs.capturing import capture_part
from budgetlens.runs.known_models import REFERENCE_MODEL
from budgetlens.runs.memory import free_memory
from budgetlens.runs.running import tokenized_units
from tests.cells import losses
from tests.conformance import REFUSALS, Bench, applied
from tests.conftest import EVERYTHING, SHAPES
from tests.precision import TIMES, Float32, numbers, numbers_equal, numbers_within, within
from tests.reference import tiny_models
from tests.test_alti import ALTI, assert_parity, expected, of_trial
from tests.test_conformance import bench, direction, sample_levels
from tests.test_contributions import FOUR, SHOWN, compared, reference, units
from tests.test_run_faults import sorted_records
from tests.test_runs import assert_same_run

#: Fixtures that pytest finds by their names.
__all__ = ["bench", "direction", "reference"]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]

# cuBLAS asks for it where torch is to refuse whatever leaves an order to the device; read before its first call.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

DEVICE = "cuda"
FAMILIES = tuple(tiny_models.FAMILIES)
Models = Callable[[str], LoadedModel]
Trials = dict[str, TokenizedTrial]


def model_on(device: str, family: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A family's tiny model there; its contract is proved there too."""
    model = tiny_models.build(family).to(device=device, dtype=dtype)
    return prepare_model(model, tiny_models.tokenizer(), name=family, identity="tiny")


def captured_on(
    model: LoadedModel, trials: Sequence[TokenizedTrial], reading: Probing = EVERYTHING
) -> Capture:
    batch = make_batch(
        trials, pad_token=tiny_models.PAD, rows="predicting", device=model.device, pack=model.family.packs
    )
    return capture(model, batch, reading)


def generated_on(model: LoadedModel, trials: Sequence[TokenizedTrial], decoding: Decoding) -> list[Generated]:
    batch = make_batch(trials, pad_token=tiny_models.PAD, device=model.device)
    return list(generate_from(model, batch, encode(model, batch), decoding))


@pytest.fixture
def ordered() -> Iterator[None]:
    """Within it torch refuses what leaves an order of additions to the device."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_torch_refuses_what_leaves_an_order_to_the_device(ordered: None) -> None:
    """The fixture does what the tests with it rest on."""
    with pytest.raises(RuntimeError, match="deterministic"):
        torch.rand(8, 8, device=DEVICE).cumsum(dim=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gpu_gives_the_processor_s_numbers_and_gives_them_again(
    family: str, trials: Trials, float32: Callable[[str], Float32]
) -> None:
    there, here = model_on(DEVICE, family), model_on("cpu", family)
    given = list(trials.values())
    first, again, other = captured_on(there, given), captured_on(there, given), captured_on(here, given)
    for index in range(len(given)):
        numbers_equal(numbers(first, index), numbers(again, index))
        numpy.testing.assert_array_equal(losses(first, index), losses(again, index))
        numbers_within(numbers(first, index), numbers(other, index), float32(family))
        within(losses(first, index), losses(other, index), of=float32(family).losses)


@pytest.mark.parametrize("family", FAMILIES)
def test_contributions_are_those_of_vectors_written_out(family: str, reference: Models) -> None:
    model = model_on(DEVICE, family)
    given = [SHAPES[shape].trial() for shape in SHOWN]
    first, again = captured_on(model, given, FOUR), captured_on(model, given, FOUR)
    pairs = [reference(family, shape, "") for shape in SHOWN]  # type: ignore[call-arg]
    for index, (_, wide) in enumerate(pairs):
        numbers_equal(numbers(first, index), numbers(again, index))
        compared(numbers(first, index), wide, units(pairs))


@pytest.mark.parametrize("family", FAMILIES)
def test_alti_is_that_of_the_papers_equations(
    family: str, oracle: Models, truth: Models, trials: Trials
) -> None:
    model = model_on(DEVICE, family)
    first, again = (captured_on(model, list(trials.values()), ALTI) for _ in range(2))
    for index, trial in enumerate(trials.values()):
        numbers_equal(numbers(first, index), numbers(again, index))
        pair = (expected(own(family), trial) for own in (oracle, truth))
        assert_parity(of_trial(first, index), *pair)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("temperature", [0.0, 0.7], ids=["greedy", "drawn"])
def test_answers_are_the_processor_s(family: str, temperature: float, trials: Trials) -> None:
    decoding = Decoding(tokens=12, temperature=temperature)
    given = list(trials.values())
    there = model_on(DEVICE, family)
    first, again = generated_on(there, given, decoding), generated_on(there, given, decoding)
    assert first == again
    assert first == generated_on(model_on("cpu", family), given, decoding)
    assert len({own.tokens for own in first}) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_no_probe_leaves_an_order_to_the_device(family: str, trials: Trials, ordered: None) -> None:
    """Every probe that there is, over trials of every kind: torch refuses none of what they compute."""
    model, given = model_on(DEVICE, family), list(trials.values())
    every = Probing(read_probes(tuple(available_probes())), encoder=True)
    first, again = captured_on(model, given, every), captured_on(model, given, every)
    assert first.observations
    for index in range(len(given)):
        numbers_equal(numbers(first, index), numbers(again, index))


@pytest.mark.parametrize("family", ["t5gemma2", "t5"])
@pytest.mark.parametrize("name", available_interventions())
def test_interventions_do_there_what_they_do_on_the_processor(
    name: str, family: str, bench: Callable[[str], Bench], direction: Path, ordered: None
) -> None:
    here = bench(family)
    there = Bench(model_on(DEVICE, family), here.examples)
    measured = 0
    for level in sample_levels(name):
        intervention = available_interventions()[name].parse(level.format(file=direction))
        for given in (here.bare, here.prompted):
            try:
                changed = applied(intervention, given, here)
                before = here.measure(changed)
            except REFUSALS as error:
                print(f"{name}={level} is refused: {error}")
                continue
            first, again = there.measure(changed), there.measure(changed)
            assert there.units_apart(first, again) == 0, level
            assert here.units_apart(first, before) <= TIMES, level
            measured += 1
    if not measured:
        pytest.skip(f"{family} refuses every sample of {name}")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_whole_run_leaves_the_same_bytes_twice(dtype: str, tmp_path: Path) -> None:
    """Tables and records of analysis 08 on the built-in model."""
    for name in ("first", "again"):
        given = ["run", "exp08", "--n", "12", "--device", DEVICE, "--dtype", dtype, "--quiet", "--no-report"]
        assert main([*given, "--out", str(tmp_path / name)]) == 0
    assert_same_run(tmp_path / "first", tmp_path / "again")


def test_a_batch_that_the_gpu_has_no_room_for_is_halved() -> None:
    """With three quarters of the memory that the whole batch takes."""
    model = load_model(str(REFERENCE_MODEL), device=DEVICE, dtype="float32")
    plan = find_analysis("exp08").plan("corrected")
    part = tokenized_units(plan.design.cells, model, read_corpus("reference", n=100), 42)
    reading = Probing(read_probes(plan.probes))
    told: list[str] = []

    def computed() -> dict[str, pd.DataFrame]:
        return sorted_records(
            capture_part(model, part, reading, rows="predicting", batch_tokens=10**9, on_halving=told.append)
        )

    free_memory()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    whole = computed()
    assert not told
    free_memory()
    room = held + 0.75 * (torch.cuda.max_memory_allocated() - held)
    torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(DEVICE).total_memory)
    try:
        halved = computed()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    print(f"{room / 2**20:.0f} MiB: {'; '.join(told)}")
    assert told
    assert halved.keys() == whole.keys()
    for name, frame in whole.items():
        pd.testing.assert_frame_equal(halved[name], frame, check_exact=False, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_how_far_bfloat16_is_from_float32(family: str, trials: Trials) -> None:
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
