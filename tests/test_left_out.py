"""Examples that can't be fed: left out of every cell and of the corpus, named and counted; the rest as without them.

And what else is told of the inputs: answers and prompts cut at their limits, edits that miss the answer's first token.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pandas as pd
import pytest
from tokenizers import Regex, normalizers

from budgetlens.command.main import main
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.design import Cell, context_of
from budgetlens.design.reach import feed, first_token_words, untouched_first_token
from budgetlens.model.tokenization import Limits, TrialTokenizer
from budgetlens.model.trials import CUT_DOCUMENT, Example, ExampleError, Trial
from budgetlens.report.caveats import caveats
from budgetlens.runs.feeding import feeding_of
from budgetlens.runs.run import Run
from tests import report_pages
from tests.cells import Models
from tests.conftest import corpus_rows
from tests.reference import tiny_models

ROWS = 200
#: Rows with content that can't be fed, two of each way, over the whole corpus.
BAD = {
    "controls in the answer": {"answer": "\x01\x02\x07"},
    "format characters in the answer": {"answer": "\u200b\u2060\u200d"},
    "controls in the document": {"document": "\x0e\x1f \x08"},
    "a document of marks for bidirectional text": {"document": "\u202a\u202e \ufeff"},
    "controls in the query": {"query": "\x7f\x01"},
    "soft hyphens in the query": {"query": "\u00ad\u00ad"},
    "an answer beyond the position table": {"answer": "bread " * 100},
    "prompt and answer together beyond it": {"query": "the mill " * 55, "answer": "the wall " * 55},
    "a document that the limit cuts": {"document": "in the year " * 80},
    "a query shorter than a prompt": {"query": "a"},
}
REASONS = {
    "their answer has no token under the model's tokenizer": 4,
    "their document has no token under the model's tokenizer": 4,
    "their query has no token under the model's tokenizer": 4,
    "prompt and answer are longer than the decoder's table of positions": 4,
    CUT_DOCUMENT: 2,
    "their query has fewer than the 4 tokens that a prompt takes": 2,
}
LEVELS = {
    "prefix": ("none", "random", "oracle"),
    "prompt": ("none", "query", "query:4", "other-query", "random-text"),
    "state_patching": ("none", "document<-prefix=oracle@final"),
}
CELLS = ("none|none|none", "random|other-query|none", "oracle|query|none", "none|query:4|none")
CELLS = (*CELLS, "none|random-text|none", f"none|none|{LEVELS['state_patching'][1]}")


def rows() -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    ways = list(BAD.items())
    for number, row in enumerate(corpus_rows(ROWS)):
        row |= {"id": f"e{number}", "document": " ".join(row["document"].split()[:6])}
        if number % 10 == 4:
            way, change = ways[(number // 10) % len(ways)]
            row |= {"id": f"{way} {number}", **change}
        found.append(row)
    return found


def write(path: Path, content: list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BART, whose positions stand in tables, with a tokenizer that drops controls, as published ones do."""
    directory = tmp_path_factory.mktemp("bart")
    tiny_models.build("bart").save_pretrained(directory)
    tokenizer = tiny_models.tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.Replace(Regex(r"\p{Cf}|\p{Cc}"), ""), normalizers.Strip()]
    )
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("design") / "design.yaml"
    cells = ["|".join(map("=".join, zip(LEVELS, cell.split("|"), strict=True))) for cell in CELLS]
    contrasts = [
        {"name": f"{number}", "baseline": cells[0], "treatment": cell}
        for number, cell in enumerate(cells[1:])
    ]
    content = {"factors": LEVELS, "cells": cells, "contrasts": contrasts, "probes": ["budgets"]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def run(out: Path, design: Path, model: Path, corpus: Path, *more: str) -> int:
    given = ["--model", str(model), "--corpus", str(corpus), "--device", "cpu", "--quiet", "--out", str(out)]
    return main(["run", "custom", "--design", str(design), *given, *more])


@pytest.mark.slow
def test_one_bad_example_ends_no_run_and_changes_no_other(
    tmp_path: Path, bart: Path, design: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = write(tmp_path / "all.jsonl", rows())
    assert run(tmp_path / "run", design, bart, everything, "--full") == 0
    told = capsys.readouterr()
    found = Run.open(tmp_path / "run")
    left_out = found.manifest.left_out
    assert set(left_out) == {row["id"] for row in rows() if not row["id"].startswith("e")}
    assert len(left_out) == 20
    assert Counter(why.partition(": ")[0] for why in left_out.values()) == REASONS
    # Told: in the terminal, in run.json, in the report.
    words = "20 of 200 examples are left out of every cell, "
    assert words in told.err
    assert f"caveat:  {words}" in " ".join(told.out.split(" ")).replace("\n", " ")
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert words in report
    assert all(reason.replace("'", "&#x27;") in report for reason in REASONS)
    assert not {"\x01", "\x07", "\x7f", "\u202e", "\u200b"} & set(told.out + told.err)
    # A file without these rows, in whatever order gives the same draw: the same numbers, bit by bit.
    kept = [each for each in read_corpus(everything, n=ROWS).examples if each.identifier not in left_out]
    by_id = {row["id"]: row for row in rows()}
    order: list[Any] = [None] * len(kept)
    for example, place in zip(kept, numpy.random.RandomState(42).permutation(len(kept)), strict=True):
        order[place] = by_id[example.identifier]
    assert run(tmp_path / "other", design, bart, write(tmp_path / "sound.jsonl", order)) == 0
    other = Run.open(tmp_path / "other")
    assert other.manifest.left_out == {}
    for kind in ("trials", "likelihood", "budgets"):
        pd.testing.assert_frame_equal(as_text(found.records(kind)), as_text(other.records(kind)))
    assert found.manifest.corpus.hash != other.manifest.corpus.hash
    names = sorted(path.name for path in (tmp_path / "run" / "tables").glob("*.csv"))
    for name in names:
        ours, theirs = ((tmp_path / where / "tables" / name).read_bytes() for where in ("run", "other"))
        assert ours == theirs, name


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Categories as text: two files list them in an order of their own."""
    names = [name for name in frame.columns if isinstance(frame[name].dtype, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(names, str))


def test_nothing_is_run_where_no_example_is_left(
    tmp_path: Path, bart: Path, design: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write(tmp_path / "bad.jsonl", [row | {"answer": "\x01"} for row in rows()[:3]])
    assert run(tmp_path / "run", design, bart, bad) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(
        "budgetlens: no example is left: none of the 3 can be fed in every cell. The first: "
    )
    assert "its answer '\\x01' has no token" in last
    assert not (tmp_path / "run").exists()


def tiny(limits: Limits | None = None, **options: Any) -> TrialTokenizer:
    return TrialTokenizer(tiny_models.tokenizer(), 2, limits, depths={"encoder": 3, "decoder": 5}, **options)


def test_the_decoder_ends_where_its_table_of_positions_does() -> None:
    example = Example("x", "who", "The wall.", "Orla Venn")
    trial = Trial.bare(example)
    length = len(tiny()(trial).decoder_ids)
    assert len(tiny(decoder_positions=length)(trial).decoder_ids) == length
    with pytest.raises(ExampleError, match=rf"ends at position {length}, .* a table of {length - 1} decoder"):
        tiny(decoder_positions=length - 1)(trial)
    with pytest.raises(ExampleError, match=rf"ends at position {length + 3}"):
        tiny(decoder_positions=length + 2)(replace(trial, decoder_shift=3))


@pytest.mark.parametrize("family", ["bart", "mbart", "marian", "pegasus"])
def test_tables_of_positions_are_as_long_as_the_model_says(family: str, loaded: Models) -> None:
    """An index beyond the table is an error in the model; the last one is none."""
    tokenizer = loaded(family).trial_tokenizer
    assert tokenizer.decoder_positions == tiny_models.POSITIONS
    positions = loaded(family).model.get_decoder().embed_positions.weight.shape[0]
    assert positions - tiny_models.POSITIONS == {"bart": 2, "mbart": 2}.get(family, 0)


@pytest.mark.parametrize("family", ["t5", "t5gemma", "t5gemma2"])
def test_families_without_a_table_have_no_end(family: str, loaded: Models) -> None:
    assert loaded(family).trial_tokenizer.decoder_positions is None


def corpus_of(tmp_path: Path, count: int = 6, **changes: dict[str, str]) -> Any:
    content = [row | {"id": f"e{number}"} for number, row in enumerate(corpus_rows(count))]
    for number, change in changes.items():
        content[int(number.removeprefix("e"))] |= change
    return read_corpus(write(tmp_path / "corpus.jsonl", content), n=count)


def test_a_bad_example_gives_nobody_a_prefix(tmp_path: Path) -> None:
    """Donors are counted without it: half a corpus away is another example."""
    tokenizer = tiny(Limits(encoder=120))
    corpus = corpus_of(tmp_path, 6, e3={"document": "bread " * 200})
    cells = (Cell((("prefix", "none"), ("state_patching", "document<-prefix=oracle@final"))),)
    cells = (*cells, Cell((("prefix", "random"), ("state_patching", "none"))))
    feeding = feeding_of(cells, corpus, tokenizer, 42)
    assert list(feeding.left_out) == ["e3"]
    assert [fed[0].example for fed in feeding.fed] == [
        e.identifier for e in corpus.examples if e.identifier != "e3"
    ]
    kept = [example for example in corpus.examples if example.identifier != "e3"]
    for index, fed in enumerate(feeding.fed):
        (prefix,) = (part.text for part in fed[1].trial.trial.encoder if part.role == "prefix")
        assert prefix
        assert kept[(index + 2) % 5].document.startswith(prefix)


def test_an_encoder_that_is_wholly_hidden_is_the_example_s_fault(tmp_path: Path) -> None:
    """A tokenizer without BOS and EOS: with its document hidden, an example without a prefix shows nothing."""
    own = TrialTokenizer(
        tiny_models.tokenizer(begin=False, end=False), 2, depths={"encoder": 3, "decoder": 5}
    )
    corpus = corpus_of(tmp_path, 2)
    cell = Cell((("hidden", "document"),))
    with pytest.raises(ExampleError, match="would see nothing of the encoder"):
        feed(cell, corpus.examples[0], context_of(corpus, 0, own, 42), own)


# Cut answers and prompts.


def test_cut_answers_and_prompts_are_counted_and_told(
    tmp_path: Path, tiny_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(prompt=12, answer=9)
    monkeypatch.setattr("budgetlens.runs.request.RunRequest.limits", limits)
    content = [row | {"id": f"e{number}"} for number, row in enumerate(corpus_rows(6))]
    content[1]["answer"] = content[4]["answer"] = "bread " * 30
    content[2]["query"] = "the mill " * 30
    corpus = write(tmp_path / "corpus.jsonl", content)
    given = ["--model", str(tiny_directory), "--corpus", str(corpus), "--quiet", "--device", "cpu"]
    out = tmp_path / "run"
    assert main(["run", "custom", "--factor", "prompt=none,query", *given, "--full", "--out", str(out)]) == 0
    # Counted by the tokenizer alone.
    tokenizer = tiny_models.tokenizer()
    lengths = {
        row["id"]: [
            len(tokenizer(row[name], add_special_tokens=False)["input_ids"]) for name in ("query", "answer")
        ]
        for row in content
    }
    trials = Run.open(out).trials.astype({"cell": str, "example": str})
    assert (trials["answer_cut"] > 0).any()
    for row in trials.to_dict("records"):
        query, answer = lengths[row["example"]]
        assert row["answer_cut"] == max(0, answer - limits.answer)
        assert row["prompt_cut"] == (max(0, query - limits.prompt) if row["cell"] == "prompt=query" else 0)
    table = pd.read_csv(out / "tables" / "trials.csv").set_index("cell")
    long = [name for name, (_, answer) in lengths.items() if answer > limits.answer]
    asked = [name for name, (query, _) in lengths.items() if query > limits.prompt]
    assert table["answers_cut"].tolist() == [len(long)] * 2
    assert table["prompts_cut"].to_dict() == {"prompt=none": 0, "prompt=query": len(asked)}
    printed = " ".join(capsys.readouterr().out.split())
    assert f"In {2 * len(long)} of 12 trials the answer was cut at the limit of 9 tokens" in printed
    assert (
        f"In {len(asked)} of 12 trials the decoder's prompt was cut at the limit of 12 tokens, those of"
        in printed
    )
    report = (out / "report.html").read_text(encoding="utf-8")
    assert (
        "the answer was cut at the limit of 9 tokens, and its likelihood is that of the first part" in report
    )


def test_what_is_cut_is_named() -> None:
    frame = pd.DataFrame(
        {
            "condition": ["a", "b"],
            "n": 9,
            "truncated": [7, 1],
            "truncated_examples": ["e1; e2; e3; e4; e\x1b5", "e9"],
        }
    )
    (told,) = [
        words
        for words in caveats(report_pages.manifest(), {"trials": report_pages.table(frame, "t")})
        if "cut" in words
    ]
    assert told.startswith("In 8 of 18 trials the encoder's input was cut at the limit")
    assert told.endswith(", those of e1, e2, e3, e4, e\\x1b5 and others.")


# Edits that miss the answer's first token.


@pytest.mark.parametrize(
    ("factor", "level", "prompt", "told"),
    [
        ("knockout", "answer->bos@all", "none", True),
        ("knockout", "answer->bos@all", "query", True),
        ("knockout", "answer+predicting->bos@all", "query", False),
        ("knockout", "predicting->bos@all", "query", False),
        ("knockout", "decoder->bos@all", "query", False),
        # Without a prompt it is the start token that predicts the first token.
        ("knockout", "start+answer->bos@all", "none", False),
        ("knockout", "start+answer->bos@all", "query", True),
        ("knockout", "prompt+answer->bos@all", "query", False),
        ("knockout", "prompt->bos@all", "query", False),
        ("knockout", "document->eos@all", "query", False),
        # Nothing is edited, which is told by itself.
        ("knockout", "answer->prompt@all", "none", False),
        ("reweighting", "answer->document*3@all", "none", True),
        ("value_zeroing", "answer->document@1", "query", True),
    ],
)
def test_levels_that_leave_the_first_token_s_row_alone(
    tmp_path: Path, factor: str, level: str, prompt: str, told: bool
) -> None:
    corpus, tokenizer = corpus_of(tmp_path, 2), tiny()
    cell = Cell((("prompt", prompt), (factor, level)))
    context = context_of(corpus, 0, tokenizer, 42)
    trial, _ = feed(cell, corpus.examples[0], context, tokenizer)
    found = untouched_first_token(cell, corpus.examples[0], context, trial)
    assert found == (((factor, level),) if told else ())
    assert len(first_token_words(found)) == told


@pytest.mark.slow
def test_a_cut_of_rows_that_hold_the_answer_is_told(
    tmp_path: Path, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write(tmp_path / "corpus.jsonl", corpus_rows(3))
    given = ["--model", str(tiny_directory), "--corpus", str(corpus), "--quiet", "--device", "cpu"]
    out, words = tmp_path / "run", "first token is untouched by knockout=answer->bos@all"
    assert main(["run", "custom", "--knockout", "answer->bos@all", *given, "--full", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert words in printed.err
    assert words in " ".join(printed.out.split())
    assert any(words in told for told in json.loads((out / "run.json").read_text())["cautions"])
    # The page has the level's words.
    page = html.unescape((out / "report.html").read_text(encoding="utf-8"))
    assert "first token is untouched by the attention cut from answer rows to BOS" in page
    assert (
        main(["run", "custom", "--knockout", "predicting->bos@all", *given, "--out", str(tmp_path / "b")])
        == 0
    )
    assert "untouched" not in capsys.readouterr().err
