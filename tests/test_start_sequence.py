"""How a decoder's input starts: as the model's own generation does; the published runs' with one token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.analysis import Analysis
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.custom import custom_analysis, design_mapping
from budgetlens.design.design import context_of
from budgetlens.model.capture import capture
from budgetlens.model.loaded import LoadedModel, ModelError
from budgetlens.model.loading import load_model, load_trial_tokenizer, prepare_model
from budgetlens.model.trials import Example, Segment, Trial
from budgetlens.runs.request import RunRequest, execute
from budgetlens.runs.run import Run
from budgetlens.runs.running import RunOptions
from tests.conftest import (
    EVERYTHING,
    batch_of,
    save_tiny,
    write_corpus,
)
from tests.precision import Float32, expected_numbers, measured, numbers, numbers_within
from tests.reference import tiny_models

#: An id that every tiny model has and that is no control token.
FORCED = 7
TRIAL = Trial.bare(Example("one", "who built it", "The mill stands by the river", "Orla Venn"))
PROMPTED = replace(TRIAL.with_prompt((Segment("prompt", text="who built it"),)), decoder_shift=0)


def forcing(family: str, forced: int | None = FORCED) -> LoadedModel:
    model = tiny_models.build(family)
    model.generation_config.forced_bos_token_id = forced
    return prepare_model(model, tiny_models.tokenizer(), name=family, identity="tiny")


@pytest.mark.parametrize("forced", [None, FORCED])
@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_decoder_starts_as_generation_does(family: str, forced: int | None) -> None:
    """The first ids of transformers' own generate(); the first token behind them is the model's."""
    own = forcing(family, forced)
    fed = own.trial_tokenizer(TRIAL)
    generating = tiny_models.build(family)
    generating.generation_config.forced_bos_token_id = forced
    given = 1 if forced is None else 2
    generated = generating.generate(
        torch.tensor([fed.encoder_ids]), max_new_tokens=3, do_sample=False, use_cache=False
    )
    start = tuple(generated[0, :given].tolist())
    assert fed.decoder_ids[:given] == start
    assert fed.decoder_roles[: given + 1] == (*("start",) * given, "answer")
    alone = own.trial_tokenizer(replace(TRIAL, forced_start=False))
    assert alone.decoder_ids == (start[0], *fed.decoder_ids[given:])
    assert alone.decoder_roles.count("start") == 1


@pytest.mark.parametrize(
    ("family", "pack"), [("bart", False), ("mbart", False), ("t5gemma2", False), ("t5gemma2", True)]
)
def test_rows_and_shares_under_a_forced_start(
    family: str, pack: bool, truth: Callable[[str], PreTrainedModel], float32: Callable[[str], Float32]
) -> None:
    """Every number of a batch with one and with two start tokens, against an eager computation of each by itself."""
    own = forcing(family)
    shifted = replace(PROMPTED, decoder_shift=3) if own.family.positions != "relative" else PROMPTED
    trials = [
        own.trial_tokenizer(trial) for trial in (TRIAL, PROMPTED, replace(TRIAL, forced_start=False), shifted)
    ]
    assert [trial.decoder_roles.count("start") for trial in trials] == [2, 2, 1, 2]
    for trial in trials:
        first = trial.decoder_roles.index("answer")
        assert trial.answer_rows("predicting").start == first - 1
        assert trial.answer_rows("holding").start == first
    captured = capture(own, batch_of(trials, pack=pack), EVERYTHING)
    for place, trial in enumerate(trials):
        expected = expected_numbers(measured(truth(family), trial), family in tiny_models.MERGED)
        numbers_within(numbers(captured, place), expected, float32(family))


def test_protocols_choose_the_start(tmp_path: Path) -> None:
    """Published as published; corrected, and a design that says nothing, whole; read back from run.json the same."""
    exp07 = find_analysis("exp07")
    silent = custom_analysis({"factors": {"prompt": ["none", "query"]}})
    for analysis, protocol, forced in (
        (exp07, "corrected", True),
        (exp07, "published", False),
        (silent, "corrected", True),
        (
            custom_analysis({"factors": {"prompt": ["none", "query"]}, "protocol": "published"}),
            "published",
            False,
        ),
        (custom_analysis(design_mapping(exp07, "published")), "published", False),
        (custom_analysis(design_mapping(exp07, "corrected")), "corrected", True),
    ):
        corpus = read_corpus(str(write_corpus(tmp_path / "corpus.jsonl")), n=2, seed=1)
        own = forcing("bart").trial_tokenizer
        for plan in (analysis.plan(protocol), analysis.plans[protocol]):
            trials = {
                cell.trial(corpus.examples[0], context_of(corpus, 0, own, 1)) for cell in plan.design.cells
            }
            assert {trial.forced_start for trial in trials} == {forced}
            assert {own(trial).decoder_roles.count("start") for trial in trials} == {1 + forced}


def run_of(analysis: Analysis, model: Path, corpus: Path, out: Path, protocol: str) -> Run:
    options = RunOptions(protocol=protocol, seed=3)
    return execute(
        RunRequest(
            analysis,
            (str(model),),
            corpus=str(corpus),
            n=3,
            out=out,
            device="cpu",
            options=options,
            quiet=True,
        )
    )


def test_a_run_is_told_apart_by_its_start(tmp_path: Path) -> None:
    """The ids stand in the identity; likelihoods differ between the protocols in nothing but the start."""
    directory = save_tiny("bart", tmp_path / "model")
    model = tiny_models.build("bart")
    model.generation_config.forced_bos_token_id = FORCED
    model.save_pretrained(directory)
    corpus = write_corpus(tmp_path / "corpus.jsonl")
    factors = {"prompt": ["none", "query"]}
    runs = {
        protocol: run_of(
            custom_analysis({"factors": factors, "protocol": protocol}),
            directory,
            corpus,
            tmp_path / protocol,
            protocol,
        )
        for protocol in ("corrected", "published")
    }
    start = load_trial_tokenizer(str(directory)).start_token
    assert {name: run.manifest.identity["start"] for name, run in runs.items()} == {
        "corrected": [[start, FORCED]],
        "published": [[start]],
    }
    assert load_model(str(directory), check=False).trial_tokenizer.start(forced=True) == (start, FORCED)
    first, second = (run.outcomes for run in runs.values())
    assert not (first["nll"].to_numpy() == second["nll"].to_numpy()).any()


@pytest.mark.parametrize("wrong", [[5], "x", True, {"a": 1}])
def test_a_forced_token_that_is_no_id_is_refused(wrong: object) -> None:
    with pytest.raises(ModelError, match="as its decoder's first token; set forced_bos_token_id"):
        forcing("bart", wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("beyond", [-1, tiny_models.VOCABULARY, 10**9])
def test_a_forced_token_beyond_the_embeddings_is_refused(beyond: int) -> None:
    with pytest.raises(
        ModelError, match=rf"the decoder of bart has embeddings for the ids 0 to 210, .*\({beyond}…\)"
    ):
        forcing("bart", beyond)
