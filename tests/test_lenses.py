"""The logit lens and DecoderLens against norms and heads written out, for every family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from transformers import PreTrainedModel

from budgetlens.model.attention import Site
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.edits import HideKeys
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import AnswerLogits
from budgetlens.model.tokenization import TokenizedTrial
from probes.lens import DecoderLens, Lens
from tests.cells import captured, losses, tokenized
from tests.conftest import batch_of
from tests.precision import Float32, beyond, unit, within
from tests.reference import lens, tiny_models

Models = Callable[[str], LoadedModel]
Oracle = Callable[[str], PreTrainedModel]
Precision = Callable[[str], Float32]
Trials = dict[str, TokenizedTrial]

LENSES = Probing((Lens(), DecoderLens()))
FAMILIES = [
    *("t5gemma2", "t5gemma", "t5", "bart", "mbart", "marian", "pegasus"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("t5-gated", "mt5", "umt5")),
]
KINDS = ("t5gemma2", "t5gemma", "t5", "bart", "mbart")


def by_layer(found: Capture, probe: str, quantity: str, trial: int) -> numpy.ndarray:
    """One trial's values, layer by layer."""
    stack = "decoder" if probe == "lens" else "encoder"
    own = {one.site: one.values[quantity] for one in found.observations if one.probe == probe}
    return numpy.array([own[Site(stack, "layer", layer)][trial, 0, 0] for layer in range(len(own))])


def inputs(trial: TokenizedTrial) -> dict[str, Any]:
    """What the reference needs of a trial."""
    return {
        "encoder_ids": trial.encoder_ids,
        "decoder_ids": trial.decoder_ids,
        "visible": trial.visible,
        "answer_length": trial.answer_tokens,
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_lenses_equal_norms_and_heads_written_out(
    family: str, loaded: Models, oracle: Oracle, truth: Oracle, trials: Trials
) -> None:
    model = loaded(family)
    # The reference knows no moved positions.
    several = {name: trial for name, trial in trials.items() if not trial.decoder_shift}
    found = capture(model, batch_of(list(several.values()), pack=model.family.packs), LENSES)
    for index, trial in enumerate(several.values()):
        (narrow, _), (wide, ranks) = (
            lens.logit_lens(own(family), **inputs(trial)) for own in (oracle, truth)
        )
        within(by_layer(found, "lens", "nll", index), wide.mean(axis=1), of=unit(narrow, wide))
        numpy.testing.assert_array_equal(by_layer(found, "lens", "rank", index), ranks.mean(axis=1))
        narrow, wide = (lens.decoder_lens(own(family), **inputs(trial)) for own in (oracle, truth))
        within(by_layer(found, "decoder_lens", "nll", index), wide.mean(axis=1), of=unit(narrow, wide))


@pytest.mark.parametrize("family", FAMILIES)
def test_behind_the_last_layer_a_lens_is_the_model(family: str, loaded: Models, trials: Trials) -> None:
    """To the last bit: the same modules on the same states."""
    found = capture(loaded(family), batch_of(list(trials.values())), LENSES)
    for index in range(len(trials)):
        own = losses(found, index).astype(numpy.float64)
        for probe in ("lens", "decoder_lens"):
            read = by_layer(found, probe, "nll", index)
            assert read[-1] == own.sum() / len(own)
            assert abs(read[:-1] - read[-1]).min() > 1e-3


@pytest.mark.parametrize("family", KINDS)
def test_edits_are_in_force(family: str, loaded: Models, float32: Precision, trials: Trials) -> None:
    """In the decoder that runs, and in those that run once more."""
    model, trial = loaded(family), trials["prefix visible"]
    layers = frozenset(range(1, tiny_models.DECODER_LAYERS))
    edit = HideKeys(frozenset({"document"}), layers=layers, rows=frozenset({"predicting"}))
    plain, cut = (capture(model, batch_of([trial]), LENSES, edits) for edits in ((), (edit,)))
    before, after = (by_layer(one, "lens", "nll", 0) for one in (plain, cut))
    assert before[0] == after[0]
    for layer in range(1, len(before)):
        beyond(before[layer], after[layer], of=float32(family).losses)
    for layer in range(tiny_models.ENCODER_LAYERS):
        one, other = (by_layer(found, "decoder_lens", "nll", 0)[layer] for found in (plain, cut))
        beyond(one, other, of=float32(family).losses)
    assert by_layer(cut, "decoder_lens", "nll", 0)[-1] == after[-1]


@pytest.mark.parametrize("family", KINDS)
def test_final_states_of_a_donor_are_those_of_its_own_layer(
    family: str, loaded: Models, oracle: Oracle, truth: Oracle
) -> None:
    """DecoderLens reads what the decoder would be given, edits of the final states included: here, all of a donor's."""
    model = loaded(family)
    levels = {"prompt": "query", "state_patching": "bos+document+eos<-prefix=oracle@final"}
    found = captured(model, [tokenized(model, 3, levels)], LENSES)
    donor = tokenized(model, 3, {"prefix": "oracle", "prompt": "query", "hidden": "prefix+separator"})
    narrow, wide = (lens.decoder_lens(own(family), **inputs(donor)) for own in (oracle, truth))
    within(by_layer(found, "decoder_lens", "nll", 0), wide.mean(axis=1), of=unit(narrow, wide))


def test_layers_choose_what_is_read(loaded: Models, trials: Trials) -> None:
    batch = batch_of(list(trials.values()))
    some = capture(loaded("t5"), batch, Probing(LENSES.probes, layers=frozenset({1})))
    assert [(one.probe, one.site.layer) for one in some.observations] == [("decoder_lens", 1), ("lens", 1)]
    whole = capture(loaded("t5"), batch, LENSES)
    for index in range(len(trials)):
        (one,) = (own.values["nll"][index] for own in some.observations if own.probe == "lens")
        assert one == by_layer(whole, "lens", "nll", index)[1]


def test_a_rank_counts_likelier_tokens_from_one() -> None:
    logits = torch.tensor([[[0.0, 3.0, 1.0, 1.0], [0.0, 3.0, 1.0, 1.0]]])
    answer = AnswerLogits(logits, torch.tensor([[1, 3]]), torch.ones(1, 2, dtype=torch.bool))
    # Of two that are equally likely neither is likelier.
    assert Lens().observe_layer(answer)["rank"].tolist() == [[1, 2]]
