"""The command: custom runs end to end, what is refused before weights are loaded, and what a terminal is spared."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import pandas as pd
import pytest
from rich.console import Console

import budgetlens.runs.request
from budgetlens.command.inventory import inventory
from budgetlens.command.main import main, make_parser
from budgetlens.command.show import print_cells
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.catalogue import available_analyses, find_analysis
from budgetlens.design.custom import custom_analysis
from budgetlens.design.intervention import available_interventions
from budgetlens.model.edit_words import edit_words
from budgetlens.model.edits import HideKeys
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.tables.terminal_text import visible
from interventions.knockout import Knockout
from tests.conftest import write_corpus
from tests.reference import tiny_models

ROOT = Path(__file__).parents[1]
FACTORS = ["--factor", "prefix=none,oracle", "--factor", "prompt=none,query"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tiny.jsonl", 6)


@pytest.fixture
def given(tiny_directory: Path, corpus: Path) -> list[str]:
    """Model and corpus."""
    return ["--model", str(tiny_directory), "--corpus", str(corpus)]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that end with their records."""
    monkeypatch.setattr("budgetlens.command.finishing.finish", lambda directory, **how: None)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading weights is an error."""

    def load(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(budgetlens.runs.request, "load_model", load)


def errors_of(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


# Custom runs.


def test_a_custom_run_end_to_end(
    tmp_path: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    command = ["run", "custom", *FACTORS, "--knockout", "answer->bos@0-1", *given, "--out", str(out)]
    command += [
        "--layers",
        "0,3",
        "--rows",
        "holding",
        "--probes",
        "budgets",
        "--quiet",
        "--device",
        "cpu",
        "--full",
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "prefix none→oracle × prompt none→query" in " ".join(printed.split())
    run = Run.open(out)
    manifest = run.manifest
    assert manifest.design is not None
    assert manifest.design["factors"] == {
        "prefix": ["none", "oracle"],
        "prompt": ["none", "query"],
        "knockout": ["none", "answer->bos@0-1"],
    }
    assert (manifest.identity["rows"], manifest.identity["probes"]) == ("holding", ["budgets"])
    assert run.kinds == ("budgets", "likelihood", "trials")
    budgets = run.records("budgets").astype({"cell": str})
    assert set(budgets["layer"]) == {0, 3}
    cut = budgets[(budgets["layer"] == 0) & (budgets["role"] == "bos")]
    knocked = cut["cell"].str.endswith("knockout=answer->bos@0-1")
    assert (cut.loc[knocked, "share"] == 0).all()
    assert (cut.loc[~knocked, "share"] > 0).all()
    # The table's main effect is the mean over examples of the mean over the other factors' cells.
    effects = pd.read_csv(out / "tables" / "effects.csv").set_index("contrast")
    wide = wide_cells(run.outcomes, "nll")
    oracle = [cell for cell in wide if "prefix=oracle" in cell]
    bare = [cell for cell in wide if "prefix=none" in cell]
    assert len(oracle) == len(bare) == 4
    expected = (wide[bare].mean(axis=1) - wide[oracle].mean(axis=1)).mean()
    assert effects.loc["prefix none→oracle", "mean_difference"] == pytest.approx(expected)
    assert set(effects["family"]) == {"main effects", "interactions", "simple effects"}
    assert (out / "figures" / "interaction.html").is_file()


DESIGN = """
title = "Does the query help?"
{contrasts}
[factors]
prefix = ["none", "oracle"]
prompt = ["none", "query"]
[aliases]
bare = "prefix=none|prompt=none"
both = "prefix=oracle|prompt=query"
"""
ONE = 'contrasts = [{name = "%s", baseline = "bare", treatment = "both"}]'


def test_a_design_file_is_run_and_other_contrasts_need_no_other_run(
    tmp_path: Path, given: list[str], quiet: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out, file = tmp_path / "run", tmp_path / "design.toml"
    command = [
        "run",
        "custom",
        "--design",
        str(file),
        *given,
        "--out",
        str(out),
        "--quiet",
        "--device",
        "cpu",
    ]
    file.write_text(DESIGN.format(contrasts=ONE % "first"))
    assert main(command) == 0
    directory = RunDirectory(out)
    before = directory.manifest().content
    assert [contrast["name"] for contrast in before["design"]["contrasts"]] == ["first"]
    assert before["title"] == "Does the query help?"
    written = {path: path.stat().st_mtime_ns for path in (out / "records").rglob("*.parquet")}
    file.write_text(DESIGN.format(contrasts=ONE % "second").replace("bare", "alone"))
    assert main(command) == 0
    after = directory.manifest().content
    assert [contrast["name"] for contrast in after["design"]["contrasts"]] == ["second"]
    assert after["cells"][0]["alias"] == "alone"
    assert after["identity"] == before["identity"]
    assert after["started"] == before["started"]
    assert {path: path.stat().st_mtime_ns for path in (out / "records").rglob("*.parquet")} == written
    # Other cells are another run, and run.json stays as it is.
    content = directory.manifest_path.read_bytes()
    file.write_text(
        DESIGN.format(contrasts="").replace('["none", "query"]', '["none", "query", "random-text"]')
    )
    assert main(command) == 2
    assert "holds another run (cells: " in errors_of(capsys)
    assert directory.manifest_path.read_bytes() == content


def test_a_file_s_content_is_part_of_the_run(
    tmp_path: Path, given: list[str], quiet: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "direction.npy", tmp_path / "run"
    numpy.save(file, numpy.ones(tiny_models.HIDDEN))
    command = ["run", "custom", "--factor", f"steering=none,document:2:{file}@final", *given]
    command += ["--out", str(out), "--quiet", "--device", "cpu"]
    assert main(command) == 0
    assert main(command) == 0
    numpy.save(file, numpy.ones(tiny_models.HIDDEN) * 2)
    assert main(command) == 2
    assert "holds another run (files: " in errors_of(capsys)


@pytest.mark.slow
def test_the_report_alone_is_written_again(
    tmp_path: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["run", "custom", *FACTORS, *given, "--out", str(out), "--quiet", "--device", "cpu"]) == 0
    capsys.readouterr()
    (out / "report.html").unlink()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert main(["report", str(out)]) == 0
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {out / "report.html"}
    assert {path: after[path] for path in before} == before
    assert capsys.readouterr().out == f"report:  {out / 'report.html'}\n"


# Refused before the weights are loaded.


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--layers", "0,5"], r"layers [5] were asked for; "),
        (["--factor", "knockout=none,answer->bos@0-5"], "go beyond the stack, which has layers 0 to 4"),
        (
            ["--factor", "prefx=none"],
            "cell prefix=none|prompt=none|prefx=none: no intervention is called 'prefx'. Did",
        ),
        (["--factor", "hidden=none,bso"], "cell prefix=none|prompt=none|hidden=bso: unknown role(s) ['bso']"),
        (["--factor", "padding=2:after:1"], "padding"),
        (["--probes", "budgts"], "no probe is called 'budgts'. Did you mean 'budgets'?"),
        (["--probes", "budgets:k=3"], "Budgets has no parameter 'k'"),
        (["--protocol", "published"], "custom has no protocol 'published'; it has corrected"),
        (["--from", "other"], "custom runs a model and re-analyses no run"),
    ],
)
def test_what_needs_no_weights_is_refused_without_them(
    more: list[str],
    told: str,
    given: list[str],
    tmp_path: Path,
    no_weights: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", "custom", *FACTORS, *given, "--out", str(tmp_path / "run"), *more]) == 2
    assert told in " ".join(errors_of(capsys).split())
    assert not (tmp_path / "run").exists()


def test_a_single_cell_has_nothing_to_compare(
    given: list[str], tmp_path: Path, no_weights: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "custom", "--factor", "prefix=oracle", *given, "--out", str(tmp_path / "run")]) == 2
    assert "the design has 1 cell(s) and nothing to compare" in errors_of(capsys)


def test_a_misspelt_level_of_a_single_cell_is_told_before_anything_is_read(
    given: list[str], tmp_path: Path, no_weights: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "custom", "--factor", "prefix=orcale", *given, "--out", str(tmp_path / "run")]) == 2
    (told,) = errors_of(capsys).splitlines()
    assert "no prefix source is called 'orcale'. Did you mean 'oracle'?" in told


def test_the_list_holds_what_a_user_chooses_and_writes(capsys: pytest.CaptureFixture[str]) -> None:
    """No part of another analysis, and no fields of interventions whose levels are not made of them."""
    listed = inventory(("analyses", "interventions"))
    numbers = [f"exp{number:02}" for number in range(1, 17)]
    assert [name for name in listed["analyses"] if name.startswith("exp")] == numbers
    assert "reads a run of exp01 again: --from RUN" in listed["analyses"]["exp06"]
    assert "a sweep over models, by default reference" in listed["analyses"]["exp09"]
    assert not any("parameters:" in lines for lines in listed["interventions"].values())
    assert "levels such as: none, decoder@all" in listed["interventions"]["sublayer_removal"]


def test_one_thing_is_told_with_levels_that_can_be_copied(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "interventions", "knockout"]) == 0
    told = capsys.readouterr().out
    assert "Level: rows->keys@layers/heads" in told
    copied = [shlex.split(line)[1] for line in told.splitlines() if line.startswith("  --factor")]
    cls = available_interventions()["knockout"]
    assert [level.partition("=")[2] for level in copied] == list(cls.known_levels())
    for level in copied:
        cls.parse(level.partition("=")[2])

    assert main(["list", "probes", "generation"]) == 0
    told = capsys.readouterr().out
    assert "parameter tokens: int = 32" in told
    assert "  --probes generation:tokens=32" in told
    assert "``" not in told

    assert main(["list", "analyses", "exp08"]) == 0
    told = capsys.readouterr().out
    plan = find_analysis("exp08").plan("corrected")
    assert f"corrected: {len(plan.design.cells)} cells, {len(plan.contrasts)} contrasts" in told
    assert "  prompt: none, random-text, query" in told

    assert main(["list", "corpora", "referense"]) == 2
    assert "no corpus is called 'referense'. Did you mean 'reference'?" in capsys.readouterr().err


def test_an_out_that_can_t_be_made_is_refused_first(
    given: list[str], tmp_path: Path, no_weights: None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").touch()
    for out, told in (
        (file, f"{file} (out=… or --out) is a file; give a directory"),
        (file / "deeper" / "run", f"can't be made, since {file} is a file"),
        (foreign, "is not empty and holds no run.json"),
    ):
        assert main(["run", "custom", *FACTORS, *given, "--out", str(out)]) == 2
        assert told in errors_of(capsys)


def test_a_directory_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ValueError, match=r"can't be written: no permission in .*; give another directory"):
        budgetlens.runs.request.require_creatable(tmp_path / "a" / "b")


# Empty values, numbers, and what a terminal can't show.


def told_of(given: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command refuses a command line."""
    try:
        status = main(given)
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    (line,) = errors_of(capsys).splitlines()
    return line


def options_with_values() -> list[tuple[str, str]]:
    """Every option of every subcommand that takes a value, as the parser declares them."""
    (commands,) = (action for action in make_parser()._actions if isinstance(action.choices, dict))
    return [
        (name, action.option_strings[0])
        for name, parser in commands.choices.items()
        for action in parser._actions
        if action.option_strings and action.nargs is None
    ]


@pytest.mark.parametrize("empty", ["", "  "])
@pytest.mark.parametrize(("subcommand", "option"), options_with_values())
def test_no_option_takes_an_empty_value(
    subcommand: str, option: str, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = told_of([subcommand, option, empty, "x"], capsys)
    assert line.startswith(f"budgetlens {subcommand}: argument {option}: ")
    assert ("text, as from a shell variable that is not set" in line) or (f"got {empty!r}" in line)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["run", ""], "argument analysis: got an empty text"),
        (["tables", ""], "argument RUN: got an empty text"),
        (["effects", "", "--baseline", "a", "--treatment", "b"], "argument FILE: got an empty text"),
        (["run", "exp08", "--probes", "budgets,,entropies"], "argument --probes: got an empty text"),
        (["run", "exp08", "--probes", "budgets,"], "argument --probes: got an empty text"),
        (
            ["run", "exp08", "--layers", "0,,1"],
            "argument --layers: expected 'all' or numbers joined by commas: expected a whole number, got ''",
        ),
        (["run", "custom", "--factor", "prefix=none,"], "argument --factor: got an empty text"),
        (["run", "exp08", "--n", "9" * 5_000], "argument --n: expected a whole number, got '999999"),
        (["run", "exp08", "--n", "²"], "argument --n: expected a whole number, got '²'"),
        (["run", "exp08", "--seed", "1_0"], "argument --seed: expected a whole number, got '1_0'"),
        (["run", "exp08", "--n", "0"], "argument --n: expected a whole number of at least 1, got 0"),
        (
            ["effects", "x", "--baseline", "a", "--treatment", "b", "--smallest-effect", "nan"],
            "expected an amount above 0",
        ),
        (["run", "exp08", "--zzz\x1b[2J"], "unrecognized arguments: --zzz⟨U+001B⟩[2J"),
        (["nope"], "argument COMMAND: invalid choice: 'nope'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_what_the_command_line_can_t_mean_is_one_sentence(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = told_of(given, capsys)
    assert told in line
    assert len(line) < 600


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("given", [["list", "analyses"], ["show", "exp08", "--n", "2"], ["run", "exp99 →漢"]])
@pytest.mark.slow
def test_any_encoding_of_the_output_will_do(encoding: str, given: list[str]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "budgetlens", *given],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == (2 if "run" in given else 0), done.stderr
    text = (done.stdout + done.stderr).decode(encoding)
    assert "Traceback" not in text
    if "run" in given:
        assert ("exp99 →漢" in text) == (encoding == "utf-8")
        assert ("exp99 \\u2192\\u6f22" in text) == (encoding != "utf-8")


def test_streams_are_left_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout.errors, sys.stderr.errors
    assert main(["list", "probes"]) == 0
    assert (sys.stdout.errors, sys.stderr.errors) == before


def test_the_examples_that_were_asked_for_are_told_apart_from_a_default(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["show", "custom", *FACTORS, *given]
    assert main(command) == 0
    assert "the analysis takes 500 examples where no number is given, and only 6 rows" in errors_of(capsys)
    assert main([*command, "--n", "500"]) == 0
    assert "500 examples were asked for, but only 6 rows are usable" in errors_of(capsys)


def test_edits_are_named_in_words_in_errors(
    tmp_path: Path, given: list[str], quiet: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row that would see nothing; without a prompt the first row is the decoder's start."""
    cut = "start->start+document+bos+eos@all"
    command = ["run", "custom", "--knockout", cut, *given, "--out", str(tmp_path / "run"), "--quiet"]
    assert main([*command, "--device", "cpu"]) == 2
    *_, last = errors_of(capsys).splitlines()
    assert "the edit 'hide keys: keys bos+document+eos+start; rows start; stack decoder" in last
    assert "frozenset" not in last
    assert "HideKeys" not in last


# Seeds and limits.


def test_a_design_s_own_seed_and_limit_hold_where_no_option_says_otherwise(
    tmp_path: Path, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "design.yaml"
    file.write_text("factors: {prefix: [none, oracle]}\nseed: 7\nencoder_tokens: 99\nprobes: [entropies]\n")
    seen: list[Any] = []
    monkeypatch.setattr("budgetlens.runs.request.execute", seen.append)
    monkeypatch.setattr("budgetlens.command.finishing.finish", lambda directory, **how: None)
    command = ["run", "custom", "--design", str(file), *given]
    assert main(command) == 0
    assert main([*command, "--seed", "8", "--max-encoder-tokens", "50"]) == 0
    assert main(["run", "exp08", *given]) == 0
    assert [(request.seed, request.limits.encoder) for request in seen] == [(7, 99), (8, 50), (42, 2048)]


# What is shown.

HOSTILE = "The wall \x1b[31mred\x1b[0m \u202eevil\u202c \x07\x9b2J\u2028 was built.\tEnd\nof it"


def test_no_character_acts_on_the_terminal() -> None:
    shown = visible(HOSTILE)
    assert shown == (
        "The wall ⟨U+001B⟩[31mred⟨U+001B⟩[0m ⟨U+202E⟩evil⟨U+202C⟩ ⟨U+0007⟩⟨U+009B⟩2J⟨U+2028⟩ was built.⇥End⏎of it"
    )
    assert visible("Ünï → 漢字 العربية 🙂") == "Ünï → 漢字 العربية 🙂"
    assert visible("\ud800\u00ad\ufeff\u200b") == "⟨U+D800⟩⟨U+00AD⟩⟨U+FEFF⟩⟨U+200B⟩"


class PassingTokenizer(TrialTokenizer):
    """Decodes to what a corpus may hold, whatever the ids."""

    def __init__(self) -> None:
        super().__init__(tiny_models.tokenizer(), 2, depths={"encoder": 3, "decoder": 5})
        decoded = self.tokenizer.decode
        self.tokenizer.decode = lambda ids: decoded(ids) + "\x1b[2J\u202e"  # type: ignore[method-assign]


def test_show_writes_out_what_a_corpus_smuggles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "corpus.jsonl"
    row = {"query": "who", "document": "The wall.", "answer": "Orla Venn", "id": "x"}
    path.write_text(json.dumps(row) + "\n")
    corpus = replace(read_corpus(str(path), n=1, seed=1), name="evil\x1b]0;title\x07")
    examples = (replace(corpus.examples[0], identifier="one\x1b[31m"),)
    console = Console(force_terminal=False, width=200)
    print_cells(
        custom_analysis({"factors": {"prefix": ["none", "literal:\x1b[5m"]}}).plan("corrected").design,
        replace(corpus, examples=examples),
        PassingTokenizer(),
        index=0,
        seed=1,
        console=console,
    )
    printed = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(printed)
    assert "one⟨U+001B⟩[31m" in printed
    assert "evil⟨U+001B⟩]0;title⟨U+0007⟩" in printed
    assert "prefix=literal:⟨U+001B⟩[5m" in printed
    assert "⟨U+001B⟩[2J⟨U+202E⟩" in printed


def test_show_tells_edits_and_states_in_words(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    more = [
        "--factor",
        "state_patching=none,document<-prefix=oracle@final",
        "--knockout",
        "answer->bos+eos@0+2-3",
    ]
    assert main(["show", "custom", *more, *given]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "edit hide keys: keys bos+eos; rows answer; stack decoder; layers 0, 2-3" in printed
    assert "states copy states: roles document; stack encoder; taken from example row-" in printed
    assert "with prefix + separator + document" in printed


@dataclass(frozen=True)
class TurnDown:
    """An edit of somebody's."""

    head_numbers: frozenset[int] | None = None
    amount: float = 0.5


def test_edits_in_words() -> None:
    assert edit_words(HideKeys(frozenset({"bos"}))) == "hide keys: keys bos; stack decoder"
    assert edit_words(TurnDown(frozenset({4, 1, 0, 9, 2}))) == "turn down: head numbers 0-2, 4, 9; amount 0.5"
    assert edit_words(TurnDown()) == "turn down: amount 0.5"
    assert edit_words(Knockout.parse("none")) == "knockout"


def test_show_cuts_where_the_analysis_cuts(
    tmp_path: Path, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "design.toml"
    file.write_text('encoder_tokens = 30\nfactors = {prefix = ["none", "oracle"]}\n')
    assert main(["show", "custom", "--design", str(file), *given]) == 0
    assert "tokens are cut at the limit" in " ".join(capsys.readouterr().out.split())
    assert main(["show", "custom", *FACTORS, *given]) == 0
    assert "tokens are cut at the limit" not in " ".join(capsys.readouterr().out.split())


#: Padding needs a larger corpus than the tiny one.
SHOWN = [
    name
    for name, maker in available_analyses().items()
    if "padding" not in {factor.name for factor in maker().plan("corrected").design.factors}
]


@pytest.mark.parametrize("name", SHOWN)
def test_every_analysis_can_be_shown(name: str, given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name, *given]) == 0
    printed = "".join(capsys.readouterr().out.split())
    for cell in find_analysis(name).plan("corrected").design.cells:
        assert "".join(cell.name.split()) in printed


# Help.


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom budgetlens.command.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'numpy', 'scipy', 'plotly', 'transformers', 'pyarrow'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))"
    )
    for given in (["--help"], ["run", "--help"]):
        result = subprocess.run(
            [sys.executable, "-c", script, *given], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
        assert result.stdout.endswith("heavy: []\n"), result.stdout + result.stderr
