"""Levels that change nothing: refused where they never do, told where a crossing brings them; examples left out."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from budgetlens.command.main import main
from budgetlens.corpora.corpus import Corpus, read_corpus
from budgetlens.design.catalogue import find_analysis, listed_analyses
from budgetlens.design.custom import custom_analysis, design_mapping
from budgetlens.design.design import Cell
from budgetlens.design.intervention import LevelError, available_interventions
from budgetlens.design.reach import feed, idle_factors, require_feasible
from budgetlens.model.edits import EditError, HideKeys, KeepKeys
from budgetlens.model.loading import load_trial_tokenizer
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, PREDICTING
from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
from budgetlens.model.trials import StateError
from budgetlens.report.caveats import caveats
from budgetlens.runs.known_models import model_path
from budgetlens.runs.manifest_files import write_manifest
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory
from budgetlens.tables.build import trials_table
from interventions._example import Hint
from tests import report_pages
from tests.cells import EXAMPLES, Models, captured, context_of, losses, tokenized
from tests.conftest import corpus_rows, write_corpus
from tests.precision import Float32, within
from tests.reference import tiny_models

CELLS: tuple[dict[str, str], ...] = (
    {},
    {"prefix": "oracle", "prompt": "query"},
    {"prefix": "oracle", "hidden": "prefix+separator", "prompt": "query"},
    {"hidden": "bos"},
)


# Whether an edit reaches anything, pair by pair.


def sees(trial: TokenizedTrial, stack: str, rows: set[str] | None, keys: set[str]) -> bool:
    """By a look at every pair of a row and a key."""
    encoder = list(enumerate(trial.encoder_roles))
    if stack == "encoder":
        return any((rows is None or row in rows) and key in keys for _, row in encoder for _, key in encoder)
    first = len(trial.decoder_ids) - trial.answer_tokens
    for place, role in enumerate(trial.decoder_roles):
        predicts = first - 1 <= place < len(trial.decoder_ids) - 1
        if rows is not None and role not in rows and not (PREDICTING in rows and predicts):
            continue
        own = [key for key in trial.decoder_roles[: place + 1] if key in keys]
        cached = [key for position, key in encoder if key in keys and trial.visible[position]]
        if own or cached:
            return True
    return False


@pytest.mark.parametrize("family", ["t5gemma2", "t5"])
def test_an_edit_is_idle_where_no_row_sees_a_key(family: str, loaded: Models) -> None:
    model = loaded(family)
    found = set()
    for levels, index in itertools.product(CELLS, (0, 1)):
        trial = tokenized(model, index, levels)
        for stack, roles in (("encoder", ENCODER_ROLES), ("decoder", (*DECODER_ROLES, PREDICTING))):
            for row, key in itertools.product(
                (None, *roles), ENCODER_ROLES + DECODER_ROLES * (stack == "decoder")
            ):
                rows = None if row is None else {row}
                expected = sees(trial, stack, rows, {key})
                choice = {"keys": frozenset({key}), "rows": rows and frozenset(rows), "stack": stack}
                for kind in (HideKeys, KeepKeys):
                    assert (trial.idle_reason(kind(**choice)) is None) == expected, (levels, stack, row, key)
                found.add(expected)
    assert found == {True, False}


@pytest.mark.parametrize("family", ["t5gemma2", "t5", "bart"])
def test_an_idle_edit_changes_no_loss(family: str, loaded: Models, float32: Callable[[str], Float32]) -> None:
    model = loaded(family)
    idle = 0
    for levels in CELLS:
        plain = losses(captured(model, [tokenized(model, 1, levels)]))
        for rows, key in itertools.product((*DECODER_ROLES, PREDICTING), ENCODER_ROLES + DECODER_ROLES):
            trial = tokenized(model, 1, {**levels, "value_zeroing": f"{rows}->{key}@all"})
            if trial.idle_reason(trial.trial.edits[0]) is not None:
                idle += 1
                within(losses(captured(model, [trial])), plain, of=float32(family).losses)
    assert idle > 10


def test_states_are_idle_where_no_position_has_the_role(loaded: Models) -> None:
    model = loaded("t5gemma2")
    for level, expected in {
        "prefix<-zero@final": None,
        "document<-zero@final": (),
        "bos+prefix<-zero@1": (),
    }.items():
        cell = Cell((("state_replacement", level),))
        _, idle = feed(cell, EXAMPLES[0], context_of(model, 0), model.trial_tokenizer)
        assert idle_factors(idle) == (("state_replacement",) if expected is None else ())
    patched = Cell((("state_patching", "prefix<-prefix=none@final"),))
    _, idle = feed(patched, EXAMPLES[0], context_of(model, 0), model.trial_tokenizer)
    assert idle["state_patching"].reason == "the encoder has no position of prefix"
    # A bare document of a design that hides a prefix is no news.
    _, idle = feed(Cell((("hidden", "prefix"),)), EXAMPLES[0], context_of(model, 0), model.trial_tokenizer)
    assert set(idle) == {"hidden"}
    assert idle_factors(idle) == ()


# What is refused, and what is not.


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return read_corpus(str(write_corpus(tmp_path_factory.mktemp("reach") / "tiny.jsonl", 6)), n=6, seed=42)


def check(corpus: Corpus, tokenizer: TrialTokenizer | None = None, /, **factors: list[str]) -> None:
    design = custom_analysis({"factors": factors}).plan("corrected").design
    own = tokenizer or TrialTokenizer(tiny_models.tokenizer(), 2, depths={"encoder": 3, "decoder": 5})
    require_feasible(design, corpus, own, 42)


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        (
            {"prompt": ["none", "query"], "knockout": ["none", "answer->prefix@all"]},
            r"^knockout=answer->prefix@all changes nothing in any of the 6 examples, such as in the cell "
            r"prompt=query\|knockout=answer->prefix@all: the rows see no key of prefix. The design's trials have the "
            r"roles bos, document, eos, start, prompt, answer\. Name other roles, put a factor that makes them before "
            "knockout, or leave the level out",
        ),
        ({"knockout": ["none", "prompt->bos@all"]}, "the decoder has no row of prompt"),
        ({"knockout": ["none", "start->answer@all"]}, "the rows see no key of answer"),
        (
            {"prefix": ["oracle"], "hidden": ["prefix"], "knockout": ["none", "decoder->prefix"]},
            "no key of prefix",
        ),
        ({"knockout": ["none", "answer->all-prefix@all"]}, "no key of prefix"),
        ({"reweighting": ["none", "answer->prefix*2@all"]}, "reweighting=.*no key of prefix"),
        ({"value_zeroing": ["none", "document->prefix@all"]}, "value_zeroing=.*no key of prefix"),
        # Edits of several heads and layers have one reason.
        (
            {"knockout": ["none", "answer->prefix@0/h1@2-3/h0+2"]},
            r"@0/h1@2-3/h0\+2 changes nothing.*: the rows see no key of prefix\. The design's",
        ),
        ({"state_replacement": ["none", "prefix<-zero@final"]}, "it leaves the trial as it is"),
        ({"prefix_attention": ["none", "masked"]}, "it leaves the trial as it is"),
        ({"shuffle": ["none", "prefix"]}, "it leaves the trial as it is"),
        ({"hidden": ["none", "prefix+separator"]}, r"the encoder has no prefix\+separator to hide"),
        ({"hidden": ["none", "first-n"]}, "the encoder has no first-n to hide"),
        # Factors work in their order.
        (
            {"shuffle": ["none", "prefix"], "prefix": ["none", "oracle"]},
            "put a factor that makes them before shuffle",
        ),
    ],
)
def test_what_changes_nothing_anywhere_is_refused(
    factors: dict[str, list[str]], told: str, corpus: Corpus
) -> None:
    with pytest.raises(EditError, match=told):
        check(corpus, **factors)


@pytest.mark.parametrize(
    "factors",
    [
        # A crossing has cells in which the level finds nothing.
        {"prefix": ["none", "oracle"], "knockout": ["none", "answer->prefix@all"]},
        {"prefix": ["none", "oracle"], "hidden": ["none", "prefix"], "prefix_attention": ["none", "masked"]},
        {"prefix": ["none", "oracle"], "state_replacement": ["none", "prefix<-zero@final"]},
        # Levels that are declared to change nothing, and one that is none of an edit.
        {
            "prompt": ["none", "random-text:0", "position:0", "neutral:0"],
            "reweighting": ["predicting->document*1@all"],
        },
        # Documents that are long enough are an answer.
        {"padding": ["none", "4"]},
        # The first answer of the corpus may have one token, whose row sees none behind it; another has more.
        {"knockout": ["none", "predicting->answer@all"]},
    ],
)
def test_what_changes_something_somewhere_is_not_refused(
    factors: dict[str, list[str]], corpus: Corpus
) -> None:
    check(corpus, **factors)


def test_a_level_that_the_model_can_t_have_is_named_with_its_cell(corpus: Corpus) -> None:
    with pytest.raises(LevelError, match=r"^cell knockout=answer->bos@20-33: .*layers 0 to 4"):
        check(corpus, knockout=["none", "answer->bos@20-33"])


def test_a_factor_that_a_later_one_undoes_is_refused(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt takes the place of all that stands there: a hint in front of it acts behind it alone."""
    known = {**available_interventions(), "hint": Hint}
    monkeypatch.setattr("budgetlens.design.design.available_interventions", lambda: known)
    hint, prompt = ["none", "It may help"], ["none", "query"]
    check(corpus, prompt=prompt, hint=hint)
    with pytest.raises(
        EditError, match=r"^hint changes nothing in any cell: .*\(hint, prompt\): put hint last, or leave"
    ):
        check(corpus, hint=hint, prompt=prompt)
    # A factor of levels that do the same by themselves is undone by nobody.
    bare = TrialTokenizer(tiny_models.tokenizer(begin=False), 2, depths={"encoder": 3, "decoder": 5})
    hidden = ["prefix+separator", "bos+prefix+separator"]
    check(corpus, bare, prefix=["none", "oracle"], hidden=hidden, prompt=prompt)


def test_further_examples_are_looked_at_before_a_level_is_refused(corpus: Corpus) -> None:
    # An answer of one token, which stands behind the only row that predicts it.
    tokenizer = TrialTokenizer(tiny_models.tokenizer(), 2, depths={"encoder": 3, "decoder": 5})
    word = next(word for word in corpus.examples[0].document.split() if len(tokenizer.query_ids(word)) == 1)
    first = replace(corpus.examples[0], answer=word)
    level = {"knockout": ["none", "predicting->answer@all"]}
    with pytest.raises(EditError, match=r"in any of the 1 examples.*no key of answer"):
        check(replace(corpus, examples=(first,)), **level)
    check(replace(corpus, examples=(first, *corpus.examples[1:])), **level)


@pytest.mark.parametrize("begin", [True, False])
@pytest.mark.parametrize("end", [True, False])
def test_no_registered_analysis_is_refused_on_any_tokenizer(begin: bool, end: bool, corpus: Corpus) -> None:
    tokenizer = TrialTokenizer(
        tiny_models.tokenizer(begin=begin, end=end), 2, depths={"encoder": 8, "decoder": 8}
    )
    for analysis in listed_analyses().values():
        for protocol, plan in analysis.plans.items():
            levels = {level for cell in plan.design.cells for level in cell.levels}
            # A tiny corpus and vocabulary can't give long padding and published random ids.
            impossible = ("prompt", "random") in levels or any(factor == "padding" for factor, _ in levels)
            if not impossible and not analysis.reads:
                require_feasible(plan.design, corpus, tokenizer, 42, allow_idle=plan.allow_idle)
                # Its design as a file is the same design, and asks for as much.
                read = custom_analysis(design_mapping(analysis, protocol)).plan(protocol)
                assert read.allow_idle == plan.allow_idle


def test_only_a_plan_that_asks_for_it_runs_what_changes_nothing(corpus: Corpus) -> None:
    tokenizer = TrialTokenizer(tiny_models.tokenizer(end=False), 2, depths={"encoder": 8, "decoder": 8})
    plan = find_analysis("exp12").plan("corrected")
    with pytest.raises(EditError, match="no key of eos"):
        require_feasible(plan.design, corpus, tokenizer, 42)


# Runs.


def run(model: Path, corpus: Path, out: Path, *more: str) -> int:
    given = ["--model", str(model), "--corpus", str(corpus), "--device", "cpu", "--quiet", "--out", str(out)]
    return main(["run", *more, *given])


def test_a_refusal_comes_before_the_run(
    tmp_path: Path, tiny_directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("budgetlens.runs.request.load_model", None)
    corpus = write_corpus(tmp_path / "tiny.jsonl", 3)
    assert run(tiny_directory, corpus, tmp_path / "run", "custom", "--knockout", "answer->prompt@all") == 2
    assert "knockout=answer->prompt@all changes nothing in any of the 3 examples" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_crossing_says_in_which_cells_a_level_is_idle(
    tmp_path: Path, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "tiny.jsonl", 3)
    design = ("custom", "--factor", "prompt=none,query", "--knockout", "answer->prompt@all")
    assert run(tiny_directory, corpus, tmp_path / "run", *design, "--full") == 0
    told = (
        "In 1 cell a level edits roles that are not there, in every example: its effect is 0 by construction"
    )
    cell = "prompt=none|knockout=answer->prompt@all"
    printed = " ".join(capsys.readouterr().out.split())
    assert f"caveat: {told} and no finding: {cell}." in printed
    assert told in (tmp_path / "run" / "report.html").read_text()
    records = Run.open(tmp_path / "run").trials.astype({"cell": str, "idle": str})
    assert records.groupby("cell")["idle"].agg(set).to_dict() == {
        "prompt=none|knockout=none": {""},
        "prompt=query|knockout=none": {""},
        "prompt=query|knockout=answer->prompt@all": {""},
        cell: {"knockout"},
    }
    table = pd.read_csv(tmp_path / "run" / "tables" / "trials.csv").set_index("cell")["idle"]
    assert table[cell] == 3
    assert table.sum() == 3


def test_parts_of_an_earlier_version_count_as_nothing_known(tmp_path: Path) -> None:
    """A run goes on after an update: its first parts have no column that tells idle factors."""
    directory = RunDirectory(tmp_path)
    write_manifest(directory.path, report_pages.manifest().content)
    columns = {
        "example": pa.array(["x", "y"]).dictionary_encode(),
        "cell": pa.array(["a", "a"]).dictionary_encode(),
        "document_intact": pa.array([True, True]),
        "truncated_tokens": pa.array([0, 0], pa.int32()),
        "bos_tokens": pa.array([1, 1], pa.int32()),
    }
    directory.plan_parts(2, "[]")
    directory.write_part("part-00000", {"trials": pa.table(columns)})
    idle = pa.array(["", "knockout"]).dictionary_encode()
    directory.write_part("part-00001", {"trials": pa.table({**columns, "idle": idle})})
    table = trials_table(Run(directory, report_pages.manifest()).trials)
    assert table[["n", "idle"]].to_numpy().tolist() == [[4, 1]]


def test_cells_that_are_idle_in_some_examples_are_counted() -> None:
    frame = pd.DataFrame({"condition": ["a", "b", "c"], "n": 9, "idle": [0, 9, 2]})
    found = caveats(report_pages.manifest(), {"trials": report_pages.table(frame, "t")})
    assert [caveat for caveat in found if "not there" in caveat] == [
        "In 1 cell a level edits roles that are not there, in every example: its effect is 0 by construction and no "
        "finding: b.",
        "In 1 cell a level edits roles that are not there, in some examples, whose effect is 0 by construction: c (2 of "
        "9).",
    ]
    many = pd.DataFrame({"condition": list("abcdefghi"), "n": 9, "idle": 9})
    (told,) = [
        caveat
        for caveat in caveats(report_pages.manifest(), {"trials": report_pages.table(many, "t")})
        if "not there" in caveat
    ]
    assert told.endswith("a; b; c; d; e; f and 3 more, which the trials table names.")


def test_show_says_what_changes_nothing(
    tmp_path: Path, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write_corpus(tmp_path / "tiny.jsonl", 3)
    given = ["--factor", "prompt=none,query", "--knockout", "answer->prompt@all"]
    assert main(["show", "custom", *given, "--model", str(tiny_directory), "--corpus", str(corpus)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("knockout changes nothing here: the rows see no key of prompt") == 1


# Examples whose document is cut.

LONG = 5


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Six short documents and two that the limit cuts, one of them with a prefix alone."""
    rows = corpus_rows(LONG + 1)
    for row in rows:
        row["document"] = " ".join(row["document"].split()[:8])
    rows[2]["document"] = "bread " * 60
    rows[LONG]["document"] = "bread " * 60
    path = tmp_path / "uneven.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def limit_between(corpus: Path, tokenizer: TrialTokenizer) -> int:
    """An encoder limit that cuts the long documents with a prefix, and no short one."""
    examples = read_corpus(str(corpus), n=LONG + 1, seed=42).examples
    context = context_of(type("Model", (), {"trial_tokenizer": tokenizer})(), 0)  # type: ignore[arg-type]
    limit = 0
    # The two prefixes of analysis 11: its donors' inputs are fed as well.
    for prefix in ("oracle", "generic"):
        cell = Cell((("prefix", prefix),))
        lengths = sorted(len(tokenizer(cell.trial(example, context)).encoder_ids) for example in examples)
        limit = max(limit, lengths[-3])
        assert limit < lengths[-2] - 10
    return limit


@pytest.mark.slow
def test_cut_documents_are_left_out_counted_and_named(
    tmp_path: Path, tiny_directory: Path, uneven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = limit_between(uneven, load_trial_tokenizer(str(tiny_directory)))
    out = tmp_path / "run"
    assert run(tiny_directory, uneven, out, "exp11", "--full", "--max-encoder-tokens", str(limit)) == 0
    captured_text = capsys.readouterr()
    found = Run.open(out)
    manifest = found.manifest
    corpus = read_corpus(str(uneven), n=LONG + 1, seed=42)
    long = {example.identifier for example in corpus.examples if example.document.startswith("bread bread")}
    assert len(long) == 2
    assert set(manifest.left_out) == long
    assert all("copying needs as many" in reason for reason in manifest.left_out.values())
    assert set(found.outcomes["example"]) == {example.identifier for example in corpus.examples} - long
    assert manifest.examples_words == "4 examples"
    words = "2 of 6 examples are left out of every cell"
    assert words in captured_text.err
    printed = " ".join(captured_text.out.split())
    assert printed.count(words) >= 3
    assert all(name in printed for name in long)
    assert words in (out / "report.html").read_text()
    assert set(pd.read_csv(out / "tables" / "restoration.csv")["n"]) == {4}
    # The same command finds the run whole and the note as it was.
    before = (out / "run.json").read_bytes()
    assert run(tiny_directory, uneven, out, "exp11", "--full", "--max-encoder-tokens", str(limit)) == 0
    assert (out / "run.json").read_bytes() == before


def test_a_run_of_nothing_but_cut_documents_is_refused(
    tmp_path: Path, tiny_directory: Path, uneven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    rows = [json.loads(line) | {"document": "bread " * 60} for line in uneven.read_text().splitlines()]
    uneven.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run(tiny_directory, uneven, out, "exp11", "--max-encoder-tokens", "50") == 2
    error = capsys.readouterr().err
    assert "no example is left: each of the 6 is cut" in error
    assert "raise the encoder's limit" in error
    assert not out.exists()


def test_roles_that_never_fit_are_the_design_s_fault(corpus: Corpus) -> None:
    with pytest.raises(StateError, match="the role 'prefix' has 0 position"):
        check(corpus, state_patching=["none", "prefix<-prefix=oracle@final"])


def test_long_lists_of_examples_left_out_are_cut() -> None:
    manifest = report_pages.manifest(corpus={"n": 9}, left_out=dict.fromkeys("abcdefg", "why"))
    (words,) = manifest.left_out_words
    assert words.endswith("a, b, c, d, e and 2 more, which run.json names")
    assert manifest.examples_words == "2 examples"
    assert report_pages.manifest(corpus={"n": 9}).left_out_words == ()
    assert report_pages.manifest(corpus={"n": 1}).examples_words == "1 example"


def test_the_built_in_model_s_analyses_are_feasible() -> None:
    tokenizer: Callable[..., TrialTokenizer] = load_trial_tokenizer
    own = tokenizer(model_path("reference"))
    corpus = read_corpus("reference", n=8, seed=42)
    for name in ("exp01", "exp05", "exp08", "exp10", "exp11", "exp12"):
        plan = find_analysis(name).plan("corrected")
        require_feasible(plan.design, corpus, own, 42, allow_idle=plan.allow_idle)
