"""Prefixes and prompts that the corpus gives besides: other queries of a document, and fills that match another's tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import budgetlens as bl
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.intervention import LevelError
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import Example, ExampleError, Trial
from budgetlens.runs.run import Run
from interventions.decoder_prompt import DecoderPrompt
from interventions.prefix import Prefix
from interventions.texts.neutral import neutral_token
from tests.reference import tiny_models
from tests.word_level import context_of

ROWS = [
    {"query": query, "document": document, "answer": "Oss", "surrogate": f"about {query}"}
    for document, queries in {
        "Oss built the mill in 1412.": ("who built the mill", "when was it built", "what was built"),
        "Kesh built the inn.": ("who built the inn",),
    }.items()
    for query in queries
]


def test_a_corpus_knows_the_other_queries_of_its_documents(tmp_path: Path) -> None:
    """Of all rows that are read, chosen or not; once each, and never the example's own."""
    corpus = bl.corpus([*ROWS, ROWS[1] | {"answer": "1412"}])
    found = {example.query: sorted(example.other_queries) for example in corpus.examples}
    assert found["who built the mill"] == ["what was built", "when was it built"]
    assert found["when was it built"] == ["what was built", "who built the mill"]
    assert found["who built the inn"] == []
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    few = read_corpus(path, n=1)
    assert len(few.examples) == 1
    every = {example.query: example.other_queries for example in read_corpus(path, n=None).examples}
    assert few.examples[0].other_queries == every[few.examples[0].query]


def test_another_query_of_the_document_is_a_prefix_and_a_prompt() -> None:
    corpus = bl.corpus(ROWS)
    example = corpus.examples[0]
    seen = set()
    for draw in range(12):
        context = replace(context_of(0, examples=corpus.examples), draw=draw)
        prefix, *_ = Prefix.parse("sibling_query").apply(Trial.bare(example), context).encoder
        prompt, *_ = DecoderPrompt.parse("sibling-query").apply(Trial.bare(example), context).decoder
        assert prefix.text == prompt.text
        seen.add(prefix.text)
    assert seen == {"when was it built", "what was built"}
    alone = next(one for one in corpus.examples if not one.other_queries)
    for level in (Prefix.parse("sibling_query"), DecoderPrompt.parse("sibling-query")):
        with pytest.raises(ExampleError, match="no other row of the corpus has its document") as caught:
            level.apply(Trial.bare(alone), context_of(3, examples=corpus.examples))
        assert caught.value.reason == "their document has no other query in the corpus"
    with pytest.raises(LevelError, match="prompt=sibling-query has no length of one's own; got 3"):
        DecoderPrompt.parse("sibling-query:3")
    assert Prefix.label("sibling_query").long == "another query of the document as prefix"


def test_a_run_takes_them_and_leaves_out_who_has_none(tmp_path: Path) -> None:
    """With a column and a matched fill beside; the identity knows the other queries."""
    model = bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer())
    levels = ["none", "sibling_query", "matched:sibling_query", "column:surrogate"]
    run = bl.run(model=model, corpus=bl.corpus(ROWS), out=tmp_path / "run", prefix=levels, report=False)
    assert len(run.manifest.left_out) == 1
    trials = run.trials.astype({"cell": str}).set_index(["example", "cell"])["prefix_tokens"].unstack()
    assert (trials["prefix=sibling_query"] == trials["prefix=matched:sibling_query"]).all()
    assert (trials["prefix=sibling_query"] > 0).all()
    assert Run.open(tmp_path / "run").manifest.identity["other_queries"]
    lonely = bl.corpus([row for row in ROWS if row["query"] in ("who built the mill", "who built the inn")])
    assert lonely.other_queries_sha256 == ""


def rest(tokenizer: TrialTokenizer, trial: Trial) -> list[tuple[str, int]]:
    fed = tokenizer(trial)
    pairs = zip(fed.encoder_ids, fed.encoder_roles, strict=True)
    return [(role, -1 if role == "prefix" else token) for token, role in pairs]


@pytest.mark.parametrize(
    "level", ["oracle", "keywords:2", "wrong_oracle", "literal:x\n", "oracle*2", "random#2"]
)
def test_a_matched_fill_has_the_tokens_of_what_it_stands_for(level: str) -> None:
    """As many, neutral ones, and behind them the same ids and roles to the end: at the boundary too."""
    corpus = bl.corpus(ROWS)
    tokenizer = TrialTokenizer(tiny_models.tokenizer(), start_token=tiny_models.PAD)
    for index, example in enumerate(corpus.examples):
        context = context_of(index, examples=corpus.examples, tokenizer=tokenizer)
        text, _, draw = level.partition("#")
        context = replace(context, draw=int(draw or 0))
        trial = Trial.bare(example)
        wanted = Prefix.parse(text).apply(trial, context)
        found = Prefix.parse(f"matched:{text}").apply(trial, context)
        assert rest(tokenizer, found) == rest(tokenizer, wanted)
        ids = {
            token
            for token, role in zip(tokenizer(found).encoder_ids, tokenizer(found).encoder_roles, strict=True)
            if role == "prefix"
        }
        assert ids == {neutral_token(tokenizer)}
        assert tokenizer(found).encoder_ids != tokenizer(wanted).encoder_ids


def joining() -> TrialTokenizer:
    """A tokenizer that knows no boundary: a line break is joined with the letters beside it."""
    trained = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Split(tokenizers.Regex("zzz"), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<pad>", "<eos>", "<unk>"], show_progress=False
    )
    trained.train_from_iterator(["b\nO", "the of and to a ", *["b\nO"] * 50, "ab\nOss"], trainer)
    return TrialTokenizer(
        PreTrainedTokenizerFast(
            tokenizer_object=trained, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
        ),
        start_token=0,
    )


def test_where_prefix_and_document_are_one_token_a_match_is_refused_by_name() -> None:
    tokenizer = joining()
    example = Example("one", "b", "Oss", "Oss")
    context = context_of(0, examples=[example], tokenizer=tokenizer)
    wanted = Prefix.parse("oracle").apply(Trial.bare(example), context)
    assert "prefix" not in tokenizer(wanted).encoder_roles
    with pytest.raises(
        ExampleError, match="can stand in the place of prefix=oracle, whose 0 tokens"
    ) as caught:
        Prefix.parse("matched:oracle").apply(Trial.bare(example), context)
    assert caught.value.reason == "no neutral tokens can stand in the place of prefix=oracle"


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("matched", "prefix=matched:LEVEL, and no other source, take a text; got prefix=matched with"),
        ("matched:none", "takes the place of a prefix that has a text of its own; got prefix=matched:none"),
        ("matched:matched:oracle", "takes the place of a prefix that has a text of its own"),
        ("matched*2:oracle", "prefix=matched can't be repeated"),
        ("matched:orcale", "orcale"),
    ],
)
def test_what_is_no_match_is_refused(level: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        Prefix.parse(level)


def test_a_match_is_told_by_what_it_matches() -> None:
    assert Prefix.label("matched:oracle").long == "neutral tokens, as many as the query has as prefix"
