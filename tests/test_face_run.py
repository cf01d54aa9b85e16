"""Runs from Python: the command's own, told and continued by either, with what they conclude."""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import budgetlens as bl
from budgetlens.command.main import main
from budgetlens.design.custom import custom_analysis
from budgetlens.face.finished import Named
from budgetlens.face.runs import analysis_given
from budgetlens.runs.manifest import RunError
from budgetlens.runs.run import Run
from tests.conftest import corpus_rows, save_tiny, write_corpus
from tests.test_runs import assert_same_run, csv_files

EXAMPLES = 5
#: So few positions that the examples are of several parts.
SMALL = {"layers": [0], "batch_tokens": 300}
FACTOR = {"prefix": ["none", "oracle"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("t5gemma2", tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tiny(place: Path) -> bl.Model:
    return bl.load_model(str(place), device="cpu")


@pytest.fixture(scope="module")
def corpus_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tiny.jsonl", EXAMPLES)


@pytest.fixture(autouse=True)
def few_figures(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Most of a small run's time goes into figures, and no number rests on them."""
    if "figures" not in request.node.name:
        monkeypatch.setattr("budgetlens.report.saving.draw_figures", lambda run, frames: {})


def lose_a_part(out: Path) -> None:
    """As after a kill: the last part is not there."""
    marker = sorted(out.glob("parts/part-*.json"))[-1]
    marker.unlink()
    for file in out.glob(f"records/*/{marker.stem}.parquet"):
        file.unlink()


def test_it_is_the_commands_run_and_either_continues_it(
    tmp_path: Path, place: Path, tiny: bl.Model, corpus_file: Path
) -> None:
    given = [
        "run",
        "custom",
        "--factor",
        "prefix=none,oracle",
        "--model",
        str(place),
        "--corpus",
        str(corpus_file),
    ]
    options = ["--n", str(EXAMPLES), "--layers", "0", "--batch-tokens", "300", "--device", "cpu", "--quiet"]
    assert main([*given, *options, "--out", str(tmp_path / "command")]) == 0
    corpus = bl.read_corpus(corpus_file, n=EXAMPLES)
    run = bl.run(model=tiny, corpus=corpus, out=tmp_path / "python", tokens=["row-2"], **FACTOR, **SMALL)
    assert [path.name for path in (run.path / "tokens").glob("*.parquet")]
    assert run.manifest.identity == Run.open(tmp_path / "command").manifest.identity
    assert_same_run(tmp_path / "command", tmp_path / "python")
    assert (tmp_path / "python" / "report.html").is_file()
    whole = csv_files(tmp_path / "command")
    assert run.manifest.command[-4:] == ("--tokens", "row-2,", "--out", str(tmp_path / "python"))
    # The command goes on with what Python began, by the words that run.json tells, and Python with the command's.
    lose_a_part(tmp_path / "python")
    with pytest.raises(RunError, match="is not finished"):
        bl.open_run(tmp_path / "python")
    command = list(run.manifest.command)
    assert command[:2] == ["budgetlens", "run"]
    assert main([*command[1:], "--quiet"]) == 0
    lose_a_part(tmp_path / "command")
    bl.run(model=tiny, corpus=corpus, out=tmp_path / "command", **FACTOR, **SMALL)
    for out in (tmp_path / "python", tmp_path / "command"):
        assert csv_files(out) == whole
    with pytest.raises(RunError, match="holds another run \\(layers: "):
        bl.run(model=tiny, corpus=corpus, out=tmp_path / "command", **FACTOR, batch_tokens=300)


def test_rows_lie_in_the_run_and_the_command_finds_them_there(tmp_path: Path, tiny: bl.Model) -> None:
    rows = [{**row, "topic": f"topic {number}"} for number, row in enumerate(corpus_rows(EXAMPLES))]
    run = bl.run(model=tiny, corpus=bl.corpus(rows), out=tmp_path / "mine", **FACTOR, **SMALL)
    assert "columns" in run.manifest.identity
    whole = csv_files(run.path)
    texts, why = Run.open(run.path).texts()
    assert why == ""
    assert [(example.query, example["topic"]) for example in texts.examples] == [
        (row["query"], row["topic"]) for row in rows
    ]
    lose_a_part(run.path)
    assert main([*run.manifest.command[1:], "--quiet"]) == 0
    assert csv_files(run.path) == whole
    rows[2]["topic"] = "another"
    with pytest.raises(RunError, match="holds another run \\(columns: "):
        bl.run(model=tiny, corpus=bl.corpus(rows), out=run.path, **FACTOR, **SMALL)


def test_rows_that_a_link_leads_to_are_no_rows_of_the_run(tmp_path: Path, tiny: bl.Model) -> None:
    run = bl.run(
        model=tiny, corpus=bl.corpus(corpus_rows(2)), out=tmp_path / "mine", **FACTOR, **SMALL, report=False
    )
    assert not (run.path / "report.html").exists()
    assert run.own_rows == str(run.path / "corpus.jsonl")
    (run.path / "corpus.jsonl").rename(tmp_path / "elsewhere.jsonl")
    (run.path / "corpus.jsonl").symlink_to(tmp_path / "elsewhere.jsonl")
    assert Run.open(run.path).own_rows is None
    assert Run.open(run.path).texts()[0] is None


def test_a_wrapped_model_is_told_by_its_weights(tmp_path: Path, tiny: bl.Model, corpus_file: Path) -> None:
    wrapped = bl.wrap(tiny.loaded.model, tiny.loaded.tokenizer, name="mine")
    corpus = bl.read_corpus(corpus_file, n=EXAMPLES)
    run = bl.run(model=wrapped, corpus=corpus, out=tmp_path / "mine", **FACTOR, **SMALL)
    assert (run.manifest.model.name, run.manifest.model.hash) == ("mine", wrapped.identity)
    # No command could load it.
    (call,) = run.manifest.command
    assert call.startswith("bl.run('custom', model='mine'")
    stored = bl.run(model=tiny, corpus=corpus, out=tmp_path / "stored", **FACTOR, **SMALL)
    assert csv_files(run.path) == csv_files(stored.path)
    weights = next(iter(tiny.loaded.model.parameters()))
    before = weights.data.clone()
    try:
        weights.data[0, 0] += 1
        changed = bl.wrap(tiny.loaded.model, tiny.loaded.tokenizer, name="mine")
    finally:
        weights.data.copy_(before)
    with pytest.raises(RunError, match="holds another run \\(model: "):
        bl.run(model=changed, corpus=corpus, out=run.path, **FACTOR, **SMALL)


def test_what_it_concludes_its_tables_figures_and_page(
    tmp_path: Path, tiny: bl.Model, corpus_file: Path
) -> None:
    hostile = "<script>alert(1)</script>"
    asked = replace(
        custom_analysis({"factors": FACTOR}), title=hostile, question=hostile, encoder_tokens=1_000
    )
    corpus = bl.read_corpus(corpus_file, n=EXAMPLES)
    run = bl.run(asked, model=tiny, corpus=corpus, out=tmp_path / "run", **SMALL)
    opened = bl.open_run(run.path)
    values = opened.records("likelihood").pivot(index="example", columns="cell", values="nll")
    difference = (values["prefix=none"] - values["prefix=oracle"]).mean()
    for own in (run, opened):
        assert list(own.tables["effects"]["contrast"]) == ["prefix none→oracle"]
        assert own.tables["effects"]["mean_difference"].iloc[0] == pytest.approx(difference, rel=1e-12)
        pd.testing.assert_frame_equal(
            pd.DataFrame(own.tables["effects"]), opened.table("effects"), check_dtype=False, rtol=1e-12
        )
        (finding,) = own.findings
        assert (finding.effect, finding.n) == ("prefix none→oracle", EXAMPLES)
        assert finding.estimate == own.tables["effects"]["mean_difference"].iloc[0]
        assert own.conclusion.findings == (finding,)
        assert str(own.conclusion) == repr(own.conclusion)
        assert f"{abs(difference):.1f}" in str(own.conclusion) or "%" in str(own.conclusion)
        assert own.figures["hero"] is own.figures["effects"]
        page = own._repr_html_()
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert "run.tables" in page
        assert "<caption>" in own.tables["effects"]._repr_html_()
        assert own.conclusion._repr_html_().startswith('<div class="conclusion">')
    assert list(run.figures) == list(opened.figures)
    assert run.analysis is asked
    # The analysis says how long inputs may be; the model that was given has limits of its own.
    assert run.manifest.identity["limits"]["encoder"] == 1_000
    assert tiny.loaded.trial_tokenizer.limits.encoder == 2_048


def test_what_the_bars_do_not_count_is_told(
    tmp_path: Path, tiny: bl.Model, corpus_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = bl.read_corpus(corpus_file, n=2)
    for report, steps in ((True, ["statistics", "figures", "report"]), (False, ["statistics"])):
        bl.run(model=tiny, corpus=corpus, out=tmp_path / "run", report=report, **SMALL, **FACTOR)
        lines = capsys.readouterr().err.splitlines()
        assert [line for line in lines if line in ("statistics", "figures", "report")] == steps


def test_a_directory_that_is_taken_is_told_in_the_words_of_both(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ValueError, match=re.escape(f"{file} (out=… or --out) is a file; give a directory")):
        bl.run("exp08", out=file)


def test_names_that_are_not_there_are_told_with_those_that_are() -> None:
    named = Named("table", {"effects": 1, "shares": 2})
    with pytest.raises(KeyError, match="no table 'efects'. Did you mean 'effects'. It has effects, shares"):
        named["efects"]
    assert repr(named) == "tables: effects, shares"


def test_analyses_of_every_form_are_the_commands_design() -> None:
    custom = custom_analysis({"factors": {"prefix": ["none", "oracle"], "prompt": ["none", "query"]}})
    factors = {"prefix": ["none", "oracle"], "prompt": ["none", "query"]}
    design = bl.crossed([bl.Factor(name, tuple(levels)) for name, levels in factors.items()])
    assert analysis_given(None, factors) == analysis_given("custom", factors) == custom
    assert analysis_given(design, {}) == custom
    assert analysis_given({"factors": factors}, {}) == custom
    assert analysis_given(custom, {}) is custom
    assert analysis_given(lambda: custom, {}) is custom
    assert analysis_given("exp08", {}).name == "exp08"
    some = bl.crossed(design.factors, aliases={("none", "query"): "bare", ("oracle", "query"): "oracle"})
    made = analysis_given(replace(some, cells=some.cells[1:]), {}).plans["corrected"].design
    assert [(cell.name, cell.alias) for cell in made.cells] == [
        (cell.name, cell.alias) for cell in some.cells[1:]
    ]


NOTEBOOK = """
from dataclasses import dataclass
import budgetlens as bl

@bl.intervention("say")
@dataclass(frozen=True)
class Say(bl.Intervention):
    text: str = "look"
    identity_levels = ("none",)

    def apply(self, trial, context):
        return trial if self.text == "none" else trial.with_prompt([bl.Segment("prompt", text=self.text)])
"""


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Run text as a notebook's cell does: without a file, its text in the cache of lines."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    files: list[str] = []

    def run(text: str) -> None:
        files.append(f"<run-cell-{len(files)}>")
        linecache.cache[files[-1]] = (len(text), None, text.splitlines(keepends=True), files[-1])
        exec(compile(text, files[-1], "exec"), vars(sys.modules["__main__"]))

    yield run
    for file in files:
        linecache.cache.pop(file, None)


def test_a_notebooks_class_is_part_of_what_was_run(
    tmp_path: Path, tiny: bl.Model, corpus_file: Path, cell: Callable[[str], None]
) -> None:
    cell(NOTEBOOK)
    corpus = bl.read_corpus(corpus_file, n=EXAMPLES)

    def asked(out: Path) -> Any:
        say = vars(sys.modules["__main__"])["Say"]
        return bl.run(model=tiny, corpus=corpus, out=out, say=["none", say("look here")], **SMALL)

    run = asked(tmp_path / "run")
    assert list(run.manifest.identity["sources"]) == ["intervention say"]
    assert run.manifest.content["sources"]["intervention say"].startswith("@bl.intervention")
    # No command knows the class.
    assert run.manifest.command[0].startswith("bl.run(")
    # The same cell run again is the same class; another one is another run.
    cell(NOTEBOOK)
    lose_a_part(run.path)
    assert csv_files(asked(run.path).path)
    cell(NOTEBOOK.replace("text=self.text)", 'text=self.text + "!")'))
    with pytest.raises(RunError, match="the source of the intervention say was changed since it was begun"):
        asked(run.path)
    # Where the class is gone the run is read all the same.
    sys.modules["__main__"].__dict__.pop("Say")
    assert [finding.effect for finding in bl.open_run(run.path).findings] == ["say none→look here"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "name an analysis, such as bl.run('exp08', …), or give a design of your own by its factors"),
        ({"analysis": "exp8"}, "Did you mean 'exp08'?"),
        ({"analysis": "exp08", "prefix": ["none"]}, "prefix= describes a design of your own"),
        ({"analysis": 3}, "3 is no analysis"),
        ({"analysis": lambda: 3}, "is no analysis"),
        ({"analysis": "exp08", "corpus": [{"query": "a"}]}, "Rows are made a corpus by bl.corpus(rows)"),
        (
            {"analysis": "exp08", "n": 0, "corpus": "reference"},
            "n is a whole number of at least 1; got 0",
        ),
        (
            {"analysis": "exp08", "seed": -1},
            "seed is a whole number of at least 0 and at most 4294967295; got -1",
        ),
        ({"analysis": "exp08", "layers": "all"}, "layers are whole numbers from 0"),
        ({"analysis": "exp08", "rows": "all"}, "rows is 'all'; expected one of"),
        ({"analysis": "exp08", "protocol": "new"}, "has no protocol 'new'"),
        ({"analysis": "exp08", "probes": ["budget"]}, "Did you mean 'budgets'?"),
        (
            {"analysis": "exp08", "tokens": -1},
            "tokens is a number of first examples, or a list of identifiers",
        ),
        ({"analysis": "exp08", "model": 3}, "a model is what bl.load_model or bl.wrap gives, or a name"),
        ({"analysis": "exp08", "model": []}, "a model is what bl.load_model or bl.wrap gives, or a name"),
        ({"prefix": ["none"], "model": "reference"}, "nothing to compare"),
    ],
)
def test_what_can_not_be_run_is_told(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        bl.run(**{"out": tmp_path / "run", **options})


def test_a_corpus_has_its_seed_and_number_already(tmp_path: Path, tiny: bl.Model, corpus_file: Path) -> None:
    corpus = bl.read_corpus(corpus_file, n=3, seed=5)
    for options, words in (({"seed": 42}, "drawn with seed 5"), ({"n": 4}, "holds 3 examples, and n=4")):
        with pytest.raises(ValueError, match=words):
            bl.run("exp08", model=tiny, corpus=corpus, out=tmp_path / "run", **options)
    with pytest.raises(ValueError, match="exp09 is a sweep, which loads its models one after another"):
        bl.run("exp09", model=tiny, corpus=corpus, out=tmp_path / "run")


@pytest.mark.slow
def test_a_sweep_and_a_re_analysis_are_the_commands(tmp_path: Path, place: Path) -> None:
    rows = corpus_rows(EXAMPLES)
    models = [str(place), str(save_tiny("t5", tmp_path / "t5"))]
    run = bl.run(model=models, corpus=bl.corpus(rows), out=tmp_path / "python", **FACTOR, **SMALL)
    assert set(run.of_models) == set(models)
    words = [word for name in models for word in ("--model", name)]
    given = [
        "run",
        "custom",
        "--factor",
        "prefix=none,oracle",
        *words,
        "--layers",
        "0",
        "--batch-tokens",
        "300",
    ]
    corpus = ["--corpus", str(run.path / "corpus.jsonl"), "--out", str(tmp_path / "command"), "--quiet"]
    assert main([*given, *corpus]) == 0
    assert csv_files(run.path) == csv_files(tmp_path / "command")
    assert [own.model for own in run.conclusion.concluded] == models
    assert len(run.findings) == 2
    source = bl.run("exp01", model=models[0], corpus=bl.corpus(rows), out=tmp_path / "exp01", **SMALL)
    again = bl.run("exp06", source=source, out=tmp_path / "exp06")
    assert main(["run", "exp06", "--from", str(source.path), "--out", str(tmp_path / "command06")]) == 0
    assert csv_files(again.path) == csv_files(tmp_path / "command06")
    assert again.conclusion.findings == again.findings


@pytest.mark.slow
def test_the_python_of_the_readme_runs_and_draws_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its order, in an empty folder; the run is made of fewer examples."""
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = [text for text in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "bl." in text]
    assert len(blocks) == 2
    assert "n=24" in blocks[1]
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("n=24", "n=4"), found)
    assert found["run"].path == Path("runs/mine")
    assert str(found["run"].conclusion)
