"""Rows of generated answers: those of a teacher-forced reading of the generated text, under the same interventions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy
import pytest

import budgetlens as bl
from budgetlens.model.answering import answered_trial, generate
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.decoding import Decoding, GenerationError
from budgetlens.model.trials import Segment
from probes.alti import Alti
from probes.budgets import Budgets
from probes.likelihood import Likelihood
from probes.logit import Logit
from probes.norm import Norm
from tests.cells import Models, losses, tokenized
from tests.conftest import batch_of, corpus_rows
from tests.precision import Float32, kind_of, numbers, within
from tests.reference import tiny_models

READING = Probing((Likelihood(), Budgets(), Norm(), Logit(), Alti()), encoder=True)
LEVELS = (
    {"prompt": "query"},
    {"prefix": "oracle", "hidden": "prefix+separator", "prompt": "query"},
    {"prompt": "query", "knockout": "predicting->document@1-3/h0+2", "keep": "attention:50%:last"},
    {"prompt": "query", "value_zeroing": "predicting->document@0-1", "cache": "int4"},
)


@pytest.mark.parametrize(("family", "pack"), [("t5gemma2", True), ("t5", False), ("bart", False)])
def test_rows_are_those_of_reading_the_generated_text(
    family: str, pack: bool, loaded: Models, float32: Callable[[str], Float32]
) -> None:
    """A batch under several edits against each trial alone, with its answer's tokens fed as the right answer's."""
    model = loaded(family)
    fed = [tokenized(model, index, levels) for index, levels in enumerate(LEVELS)]
    found = capture(model, batch_of(fed, rows="generated", pack=pack), READING)
    units = float32(family)
    different = 0
    for place, trial in enumerate(fed):
        (answer,) = generate(model, [trial], Decoding())
        tokens = answer.tokens if answer.end is None else (*answer.tokens, answer.end)
        prompt = tuple(own for own in trial.trial.decoder if own.role == "prompt")
        own = model.trial_tokenizer(
            replace(trial.trial, decoder=(*prompt, Segment("answer", token_ids=tokens)))
        )
        forced = capture(model, batch_of([own]), READING)
        expected = {key: value for key, value in numbers(forced, 0).items() if key[0] != "logit"}
        ours = numbers(found, place)
        for key, value in expected.items():
            unit = units.of("share", *kind_of(key)[1:]) if key[0] == "budgets" else units.of("share")
            within(ours[key], value, of=unit, what=key)
        gold = capture(model, batch_of([trial]), Probing((Likelihood(),)))
        within(losses(found, place), losses(gold), of=units.losses)
        right = numbers(capture(model, batch_of([trial]), READING), 0)
        different += any(abs(right[key] - value) > 1e-3 for key, value in expected.items())
    assert different == len(fed)
    assert "logit" in {own.probe for own in found.observations}


def shares(found: Capture) -> numpy.ndarray:
    return numpy.concatenate(
        [own.values["share"].reshape(-1) for own in found.observations if own.probe == "budgets"]
    )


def test_an_answer_that_ends_at_once_has_one_row(loaded: Models) -> None:
    """The row that predicts the end: a model that can say nothing else."""
    own = tiny_models.build("t5gemma2")
    own.generation_config.eos_token_id = list(range(tiny_models.VOCABULARY))
    wrapped = bl.wrap(own, tiny_models.tokenizer()).loaded
    trial = tokenized(wrapped, 0, {"prompt": "query"})
    (answer,) = generate(wrapped, [trial], Decoding())
    assert answer.tokens == ()
    assert answer.stopped
    said = answered_trial(wrapped, trial)
    assert said.answer_tokens == 1
    assert said.decoder_ids[-1] == answer.end
    reading = Probing((Budgets(),))
    found = capture(wrapped, batch_of([trial], rows="generated"), reading)
    one = capture(wrapped, batch_of([said]), reading)
    assert (shares(found) == shares(one)).all()


def test_the_end_of_an_answer_has_a_row() -> None:
    """A token that greedy decoding comes to ends the answer: it is no part of the text, and the row before it is read."""
    own = tiny_models.build("t5gemma2")
    whole = bl.wrap(own, tiny_models.tokenizer()).loaded
    trial = tokenized(whole, 0, {"prompt": "query"})
    (free,) = generate(whole, [trial], Decoding(tokens=8))
    ends = next(token for token in free.tokens[1:] if token != free.tokens[0])
    stop = free.tokens.index(ends)
    own.generation_config.eos_token_id = ends
    said = answered_trial(whole, trial)
    assert said.decoder_ids[-said.answer_tokens :] == (*free.tokens[:stop], ends)
    given = trial.decoder_ids[: -trial.answer_tokens]
    assert said.decoder_ids[: len(given)] == given
    assert shares(
        capture(whole, batch_of([trial], rows="generated"), Probing((Budgets(),)))
    ) == pytest.approx(shares(capture(whole, batch_of([said]), Probing((Budgets(),)))), abs=1e-6)


def test_a_reading_reads_its_own_answer() -> None:
    model = bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer())
    row = corpus_rows(1)[0]
    given = dict(**row, interventions=["knockout=predicting->document@2"])
    reading, forced = model.read(**given, rows="generated"), model.read(**given)
    answer = reading.generate()
    assert reading.nll == pytest.approx(forced.nll, abs=1e-6)
    attention = reading.attention(layer=3)
    assert attention.values.shape[1] == len(answer.tokens) + answer.stopped
    assert attention.values.shape[1] != len(forced.token_nll)
    by_role = {
        role: attention.values[..., [own == role for own in attention.key_roles]].sum(axis=-1).mean(axis=1)
        for role in ("document", "prompt", "answer")
    }
    budgets = reading.budgets
    budgets = budgets[(budgets["side"] == "decoder") & (budgets["layer"] == 3)]
    for role, share in by_role.items():
        own = budgets[budgets["role"] == role].sort_values("head")["share"].to_numpy()
        numpy.testing.assert_allclose(own, share, atol=1e-6)
    assert reading.plot(layer=3).data
    frame = bl.measure(
        model,
        bl.corpus([row]),
        prompt="query",
        knockout="predicting->document@2",
        rows="generated",
        probes=["budgets"],
    )
    own = frame[(frame["side"] == "decoder") & (frame["layer"] == 3)].sort_values(["role", "head"])["value"]
    numpy.testing.assert_allclose(own, budgets.sort_values(["role", "head"])["share"], atol=1e-6)


def test_what_can_t_be_generated_can_t_be_read(loaded: Models) -> None:
    model = bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer())
    row = corpus_rows(1)[0]
    with pytest.raises(GenerationError, match="mean values"):
        model.read(**row, interventions=["value_mean=predicting->document@1"], rows="generated")
    with pytest.raises(GenerationError, match="shuffle=answer:words"):
        bl.measure(
            model,
            bl.corpus(corpus_rows(2)),
            shuffle=["none", "answer:words"],
            rows="generated",
            probes=["budgets"],
        )
    with pytest.raises(ValueError, match="rows are one of predicting, holding, generated"):
        model.read(**row, rows="answering")
