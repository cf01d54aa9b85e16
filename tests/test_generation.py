"""Generated answers: the library's own without edits, a loop without a cache with them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from budgetlens.model.answering import generate
from budgetlens.model.capture import Probing, capture
from budgetlens.model.decoding import Decoding, GenerationError
from budgetlens.model.generation import Generated
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.next_token import NextToken
from budgetlens.model.observation import probe
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Segment, Trial
from tests.conftest import SHAPES, batch_of
from tests.reference import generate as reference
from tests.reference import tiny_models

#: Longer than every sliding window, and shorter than the tables of positions allow.
TOKENS = 24
#: Trials that the library's own generation can be given; it knows no moved positions.
PLAIN = [name for name, shape in SHAPES.items() if not shape.shift]


def with_end(found: Generated, model: PreTrainedModel) -> list[int]:
    """The tokens as the library gives them, the end-of-sequence token among them."""
    return [*found.tokens, *[model.generation_config.eos_token_id] * found.stopped]


def started(model: LoadedModel, trial: TokenizedTrial) -> TokenizedTrial:
    """The trial with the model's own start token, which the library puts before any other."""
    return replace(trial, decoder_ids=(model.trial_tokenizer.start_token, *trial.decoder_ids[1:]))


def library(model: PreTrainedModel, trial: TokenizedTrial, tokens: int = TOKENS) -> list[int]:
    """The library's answer to what a trial feeds."""
    return reference.by_library(
        model,
        encoder_ids=trial.encoder_ids,
        visible=trial.visible,
        decoder_ids=trial.decoder_ids[: -trial.answer_tokens],
        tokens=tokens,
        # The library makes a cache as deep as the encoder for T5 and its kin, whose decoder is deeper here.
        use_cache=model.config.model_type not in ("t5", "mt5", "umt5"),
    )


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_answers_are_the_library_s(
    family: str, loaded: Callable[[str], LoadedModel], trials: dict[str, TokenizedTrial]
) -> None:
    """Prompts of unequal lengths in one batch, hidden positions, shared encoder passes: token by token."""
    model, own = loaded(family), tiny_models.build(family)
    chosen = [started(model, trials[name]) for name in PLAIN]
    found = generate(model, chosen, Decoding(tokens=TOKENS))
    expected = [library(own, trial) for trial in chosen]
    assert [with_end(each, own) for each in found] == expected
    assert len({tuple(each) for each in expected}) > 1


#: Settings of a generation configuration, each with one of its kind of logits processor.
SETTINGS: dict[str, dict[str, Any]] = {
    "no pair twice": {"no_repeat_ngram_size": 2},
    "no words of the document": {"encoder_no_repeat_ngram_size": 1, "no_repeat_ngram_size": 1},
    "dear repetitions": {"repetition_penalty": 3.0, "encoder_repetition_penalty": 1.7},
    "bad words": {"bad_words_ids": [[token] for token in range(4, 90)] + [[120, 120], [150, 7]]},
    "suppressed": {"suppress_tokens": list(range(100, 190)), "begin_suppress_tokens": list(range(4, 99))},
    "a forced end": {"forced_eos_token_id": 1, "no_repeat_ngram_size": 1},
    "one of many ends": {"eos_token_id": list(range(60, 100)), "no_repeat_ngram_size": 1},
    "not before six": {"eos_token_id": list(range(1, 150)), "min_new_tokens": 6},
    "no shorter than twelve": {"eos_token_id": list(range(1, 150)), "min_length": 12},
}


def configured(family: str, settings: dict[str, Any]) -> PreTrainedModel:
    model = tiny_models.build(family)
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    return model


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_generation_configuration_does_what_it_does_in_the_library(
    name: str, family: str, trials: dict[str, TokenizedTrial]
) -> None:
    """Each sequence under its own processors: neither padding nor another's prompt is counted as its text."""
    own = configured(family, SETTINGS[name])
    model = prepare_model(own, tiny_models.tokenizer(), name=family, identity="tiny", check=False)
    chosen = [started(model, trials[one]) for one in ("bare", "prefix visible", "other document")]
    found = generate(model, chosen, Decoding(tokens=TOKENS))
    again = configured(family, SETTINGS[name])
    expected = [library(again, trial) for trial in chosen]
    ends = again.generation_config.eos_token_id
    for answer, whole in zip(found, expected, strict=True):
        assert list(answer.tokens) == whole[: len(answer.tokens)]
        assert answer.stopped == (whole[-1] in ([ends] if isinstance(ends, int) else ends))
        assert len(whole) == len(answer.tokens) + answer.stopped
    plain = generate(model, chosen, Decoding(tokens=TOKENS, plain=True))
    assert plain != found


def test_a_forced_language_comes_first(trials: dict[str, TokenizedTrial]) -> None:
    """mBART starts with its language, which is no part of the answer; without it, it is the answer's first token."""
    own = configured("mbart", {"forced_bos_token_id": 9})
    model = prepare_model(own, tiny_models.tokenizer(), name="mbart", identity="tiny", check=False)
    example = trials["bare"].trial.example
    trial = Trial.bare(replace(example, document="The mill stands by the river", answer="Orla"))
    fed = model.trial_tokenizer(trial)
    (found,) = generate(model, [fed], Decoding(tokens=TOKENS))
    whole = (
        configured("mbart", {"forced_bos_token_id": 9})
        .generate(torch.tensor([fed.encoder_ids]), max_new_tokens=TOKENS + 1, do_sample=False, num_beams=1)[0]
        .tolist()
    )
    assert whole[:2] == [model.trial_tokenizer.start_token, 9] == list(fed.decoder_ids[:2])
    assert with_end(found, own) == whole[2:]
    (alone,) = generate(
        model, [model.trial_tokenizer(replace(trial, forced_start=False))], Decoding(tokens=TOKENS)
    )
    assert (9, *found.tokens)[:TOKENS] == alone.tokens


@probe("best_token")
@dataclass(frozen=True)
class BestToken:
    """The most probable token of every row of an answer."""

    def observe_answer(self, answer: Any) -> dict[str, torch.Tensor]:
        return {"token": answer.logits.argmax(dim=-1).double()}

    class declares:
        by_token = True


def recomputed(model: LoadedModel, trials: Sequence[Trial], tokens: int) -> list[list[int]]:
    """Answers by a loop that feeds every trial anew with its answer so far: no cache, no padding on the left."""

    def following(answers: list[list[int]]) -> list[int]:
        fed = []
        for trial, answer in zip(trials, answers, strict=True):
            kept = tuple(segment for segment in trial.decoder if segment.role != "answer")
            # The row behind the answer so far predicts a token that stands for none.
            own = Segment("answer", token_ids=(*answer, tiny_models.UNKNOWN))
            fed.append(model.trial_tokenizer(replace(trial, decoder=(*kept, own))))
        found = capture(model, batch_of(fed), Probing((BestToken(),)))
        return [
            int(row[len(answer)])
            for row, answer in zip(found.answers[0].by_row["token"], answers, strict=True)
        ]

    return reference.step_by_step(following, count=len(trials), tokens=tokens)


def test_a_drawn_token_is_drawn_by_its_probability(
    loaded: Callable[[str], LoadedModel], trials: dict[str, TokenizedTrial]
) -> None:
    """4,000 seeds: frequencies within four standard errors of softmax(logits / temperature)."""
    model, trial = loaded("t5gemma2"), trials["bare"]
    logits = torch.tensor([0.0, 1.0, -1.0, 2.5])
    expected = (logits.double() / 0.7).softmax(dim=-1)
    drawn = [
        NextToken(model, trial, [2], Decoding(temperature=0.7, seed=seed))(logits) for seed in range(4000)
    ]
    for token, probability in enumerate(expected.tolist()):
        error = (probability * (1 - probability) / len(drawn)) ** 0.5
        assert abs(drawn.count(token) / len(drawn) - probability) < 4 * error


def test_a_draw_is_the_example_s_whatever_the_batch(
    loaded: Callable[[str], LoadedModel], trials: dict[str, TokenizedTrial]
) -> None:
    model = loaded("t5gemma2")
    chosen = [trials[name] for name in PLAIN]
    hot = Decoding(tokens=8, temperature=2.0, seed=1)
    found = generate(model, chosen, hot)
    assert found == tuple(generate(model, [trial], hot)[0] for trial in chosen)
    assert found != generate(model, chosen, replace(hot, seed=2))
    assert generate(model, chosen, replace(hot, temperature=1e-6)) == generate(
        model, chosen, Decoding(tokens=8)
    )


@dataclass(frozen=True)
class Unsaid:
    """An edit that does not say what its rows depend on."""

    stack: str = "decoder"

    def matches(self, site: Any) -> bool:
        return True

    def apply(self, call: Any) -> Any:
        return call


def test_edits_that_may_read_later_rows_are_refused_by_name(
    loaded: Callable[[str], LoadedModel], trials: dict[str, TokenizedTrial]
) -> None:
    model, trial = loaded("t5gemma2"), trials["bare"]

    def under(edit: Unsaid) -> TokenizedTrial:
        return replace(trial, trial=replace(trial.trial, edits=(edit,)))

    with pytest.raises(GenerationError, match="unsaid: stack decoder.*may read rows behind"):
        generate(model, [trial, under(Unsaid())], Decoding())
    found = generate(model, [under(Unsaid("encoder"))], Decoding())
    assert found == generate(model, [trial], Decoding())


def test_what_can_t_be_generated_says_why(
    loaded: Callable[[str], LoadedModel], trials: dict[str, TokenizedTrial]
) -> None:
    with pytest.raises(GenerationError, match="need up to 200 positions.*a table of 190"):
        generate(loaded("bart"), [trials["bare"]], Decoding(tokens=200))
    guided = prepare_model(
        configured("bart", {"guidance_scale": 2.0}),
        tiny_models.tokenizer(),
        name="b",
        identity="t",
        check=False,
    )
    with pytest.raises(GenerationError, match="guidance_scale=2.0"):
        generate(guided, [trials["bare"]], Decoding())
    with pytest.raises(ValueError, match="at least one token; got 0"):
        Decoding(tokens=0)
    with pytest.raises(ValueError, match="0 or a positive number; got -1"):
        Decoding(temperature=-1.0)
