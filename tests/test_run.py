"""Run, the only reader of a run directory: what it gives, what it checks, and that nobody reads beside it."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import parquet

from budgetlens.command.finishing import finish
from budgetlens.command.main import main
from budgetlens.explorer.data import load_run
from budgetlens.report.saving import report
from budgetlens.runs.files import file_hash
from budgetlens.runs.manifest import Manifest, RunError, sealed
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory
from budgetlens.tables.complete import tables_of
from tests.explorer_runs import synthetic_run
from tests.test_structure import ROOT, modules

#: A run of exp08 with six examples, made by budgetlens 0.1 (commit ff08047), with some of its tables.
FORMAT_1 = Path(__file__).parent / "fixtures" / "format_1"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of random numbers, with its tables."""
    path = synthetic_run(tmp_path_factory.mktemp("run") / "run", examples=12, layers=2, heads=2)
    run = Run.open(path)
    frames = {"effects": pd.DataFrame({"contrast": ["01", "NA"], "mean": [0.1, np.nan]})}
    run.directory.write_tables(frames)
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


# What it gives.


def test_records_are_the_parquet_files_that_the_parts_name(whole: Path) -> None:
    run = Run.open(whole)
    assert run.kinds == ("budgets", "likelihood", "trials")
    for kind in run.kinds:
        (path,) = (whole / "records" / kind).iterdir()
        pd.testing.assert_frame_equal(
            run.records(kind).astype(str), pd.read_parquet(path).astype(str), check_dtype=False
        )
    assert run.outcomes is run.outcomes
    (budget,) = run.observed("budgets")
    records = run.records("budgets")
    for name in ("example", "layer", "head", "role"):
        assert set(getattr(budget, f"{name}s")) == set(records[name])
    assert run.documents is None
    assert run.manifest.examples == 12
    assert [cell.name for cell in run.plan.design.cells] == list(run.manifest.cell_names)


def test_a_table_comes_back_as_it_was_written(whole: Path) -> None:
    """Texts stay texts, though they look like numbers or like nothing."""
    run = Run.open(whole)
    assert run.table_names == ("effects",)
    table = run.table("effects")
    assert table["contrast"].tolist() == ["01", "NA"]
    assert table["mean"].dtype == np.float64
    assert np.isnan(table["mean"][1])
    with pytest.raises(RunError, match=r"has no table 'shares'; it has effects. `budgetlens tables`"):
        run.table("shares")


# What it checks.


def altered(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def flipped(content: bytes) -> bytes:
    """The content with the last bit of its middle byte flipped."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("change", [flipped, lambda content: content[:-7], lambda content: b""])
@pytest.mark.parametrize("kind", ["budgets", "likelihood", "trials"])
def test_altered_records_are_no_whole_part(copy: Path, kind: str, change: Callable[[bytes], bytes]) -> None:
    altered(copy / "records" / kind / "part-00000.parquet", change)
    with pytest.raises(RunError, match=r"is not finished \(0 of 1 parts are whole\)"):
        Run.open(copy)


@pytest.mark.parametrize("change", [flipped, lambda content: content[:-7], lambda content: b""])
def test_an_altered_table_is_never_shown(copy: Path, change: Callable[[bytes], bytes]) -> None:
    altered(copy / "tables" / "effects.csv", change)
    with pytest.raises(
        RunError, match=r"effects\.csv is not as it was written; remove it, or give the command"
    ):
        Run.open(copy).table("effects")
    with pytest.raises(RunError, match="is not as it was written"):
        load_run(copy)


def test_one_digit_of_a_table_is_enough(copy: Path) -> None:
    path = copy / "tables" / "effects.csv"
    path.write_text(path.read_text().replace("0.1", "0.7"))
    with pytest.raises(RunError, match="is not as it was written"):
        Run.open(copy).table("effects")


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", 43), ("protocol", "published"), ("analysis", "exp07"), ("left_out", {"e1": "?"})],
)
def test_an_altered_manifest_is_refused(copy: Path, key: str, value: Any) -> None:
    content = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps({**content, key: value}))
    (copy / "parts" / "run.json").unlink()
    with pytest.raises(RunError, match=r"run\.json was altered after it was written"):
        Run.open(copy)


@pytest.mark.parametrize("key", ["seed", "protocol", "analysis", "cells"])
def test_what_a_manifest_of_format_1_says_twice_must_agree(tmp_path: Path, key: str) -> None:
    shutil.copytree(FORMAT_1, tmp_path / "run")
    content = json.loads((tmp_path / "run" / "run.json").read_text())
    content[key] = {"seed": 43, "protocol": "published", "analysis": "exp07", "cells": content["cells"][1:]}[
        key
    ]
    (tmp_path / "run" / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=rf"run\.json says of its {key} .* it was altered"):
        Run.open(tmp_path / "run")


def test_parts_that_a_smaller_plan_forgets_are_missed(tmp_path: Path) -> None:
    """A plan of fewer parts must not make a smaller run of a larger one."""
    shutil.copytree(FORMAT_1, tmp_path / "run")
    parts = tmp_path / "run" / "parts"
    assert json.loads((parts / "plan.json").read_text())["parts"] == 2
    (parts / "plan.json").write_text('{"parts": 1}')
    (parts / "part-00001.json").unlink()
    with pytest.raises(RunError, match=r"holds \d examples, and its run\.json says 6: parts were taken away"):
        Run.open(tmp_path / "run")


@pytest.mark.parametrize(
    ("kind", "column", "words"),
    [
        ("likelihood", "nll", "likelihood records of .* have no column 'nll': they were not written by"),
        ("trials", "cell", "trials records of .* have no column 'cell'"),
        ("trials", "document_intact", "trials records have no column 'document_intact'"),
    ],
)
def test_records_that_lack_a_column_are_refused_in_one_sentence(
    copy: Path, kind: str, column: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole by every hash: a stranger can write what they like."""
    parts = {path.parent.name: parquet.read_table(path) for path in copy.glob("records/*/part-00000.parquet")}
    shutil.rmtree(copy / "records")
    parts["trials"] = parts["trials"].append_column("document_intact", [[True] * len(parts["trials"])])
    parts[kind] = parts[kind].drop_columns([column])
    RunDirectory(copy).write_part("part-00000", parts)
    assert main(["tables", str(copy)]) == 2
    # Before it stands a note about texts that are not opened.
    note, told = capsys.readouterr().err.splitlines()
    assert re.search(words, told)
    assert "is not opened unless you give it" in note


def test_foreign_files_among_the_records_are_not_read(copy: Path) -> None:
    before = Run.open(copy).outcomes
    shutil.copy(
        copy / "records" / "likelihood" / "part-00000.parquet",
        copy / "records" / "likelihood" / "part-00001.parquet",
    )
    (copy / "records" / "mine").mkdir()
    after = Run.open(copy)
    pd.testing.assert_frame_equal(after.outcomes, before)
    assert "mine" not in after.kinds


def test_altered_examples_are_never_shown(copy: Path) -> None:
    altered(copy / "examples.json", lambda content: b"[ ]\n")
    with pytest.raises(RunError, match=r"examples\.json is not as it was written"):
        Run.open(copy).shown_examples()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "holds list"),
        ("null", "holds nothing"),
        ("5", "holds int '5'"),
        ('{"format": 1}', "has no identity: it was not written by `budgetlens run`"),
        ('{"format": true}', "has format True; this version reads the formats 1 and 2"),
        ('{"format": 3}', "has format 3; this version reads the formats 1 and 2"),
        ('{"format": 2}', "was altered after it was written"),
        ("[" * 100_000, "is damaged"),
        ("{", "is damaged"),
    ],
)
def test_what_is_no_manifest_is_told_in_one_sentence(
    copy: Path, content: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "run.json").write_text(content)
    (copy / "parts" / "run.json").write_text(content)
    for command in ("tables", "report", "compare", "explore"):
        assert main([command, str(copy)]) == 2
        told = capsys.readouterr().err
        assert words in told
        assert "Traceback" not in told
        assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "key", ["analysis", "title", "question", "protocol", "seed", "model", "corpus", "identity", "cells"]
)
def test_a_manifest_that_lacks_something_names_it(whole: Path, key: str) -> None:
    content = json.loads((whole / "run.json").read_text())
    del content[key]
    with pytest.raises(RunError, match=rf"has no {key}: it was not written by"):
        Manifest.parse(sealed(content))
    with pytest.raises(RunError, match=rf"has as {key} "):
        Manifest.parse(sealed({**content, key: 1.5}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cells": 5}, r"has as cells int '5'; expected a list"),
        ({"cells": ["a"]}, r"has as cells\[0\] str 'a'; expected a table"),
        (
            {"model": {"name": "m", "parameters": "x"}},
            r"has as model\.parameters 'x'; expected a whole number",
        ),
        ({"model": {"name": "m", "family": 5}}, r"has as model\.family int '5'; expected text"),
        ({"corpus": {"name": "c", "n": 12, "asked": {"n": "9"}}}, r"has as corpus\.asked\.n '9'"),
        ({"corpus": {"name": "c", "n": True}}, r"has as corpus\.n True; expected a whole number"),
        ({"left_out": dict.fromkeys(map(str, range(13)), "?")}, r"leaves 13 of 12 examples out"),
        (
            {"cells": [{"name": "a", "factors": {"p": "1"}}, {"name": "b", "factors": {"q": "1"}}]},
            r"has as cells\[1\]\.factors q, and of its first cell p: it was altered",
        ),
        ({"command": [1]}, r"has as command list '\[1\]'; expected a list of texts"),
    ],
)
def test_wrong_kinds_in_a_manifest_are_named(whole: Path, change: dict[str, Any], words: str) -> None:
    content = json.loads((whole / "run.json").read_text())
    with pytest.raises(RunError, match=words):
        Manifest.parse(sealed({**content, **change}))


def test_an_altered_further_table_is_named_and_not_shown(tmp_path: Path) -> None:
    shutil.copytree(FORMAT_1, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    run.directory.write_tables({"mine": pd.DataFrame({"x": ["a stranger's"]})})
    altered(tmp_path / "run" / "tables" / "mine.csv", flipped)
    page = report(run).read_text()
    assert "<b>mine</b>: not shown, since its file is not as it was written" in page
    assert "a stranger&#x27;s" not in page


def test_a_renewed_manifest_is_sealed_again(copy: Path) -> None:
    directory = RunDirectory(copy)
    before = directory.manifest()
    directory.renew({"title": "Another"})
    after = directory.manifest()
    assert (after.title, after.identity) == ("Another", before.identity)
    content = json.loads((copy / "run.json").read_text())
    assert next(iter(content)) == "format"
    assert list(content)[-1] == "digest"
    assert content["digest"] != json.loads(json.dumps(before.content))["digest"]


# Runs of format 1.


#: Columns of what is inferred, for which version 0.1 had other methods; all others are as it computed them.
INFERRED_OTHERWISE = {
    *(
        "low",
        "high",
        "share_low",
        "share_high",
        "d_z_low",
        "d_z_high",
        "token_weighted_low",
        "token_weighted_high",
    ),
    *(
        "p_holm",
        "p_tost",
        "p_tost_holm",
        "smallest_effect",
        "minimum_detectable",
        "stars",
        "small",
        "verdict",
    ),
    *("share_of_largest", "caution", "reason"),
}


def test_a_run_of_format_1_is_read_and_gives_the_tables_that_it_had(tmp_path: Path) -> None:
    shutil.copytree(FORMAT_1, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert run.manifest.format == 1
    assert (run.manifest.corpus.asked, run.manifest.corpus.asked_n) == (None, 6)
    assert len(run.shown_examples()) == 3
    # Its tables have no hashes, so that they are not shown but computed again.
    assert run.table_names == ()
    frames, _ = tables_of(run)
    run.directory.write_tables(frames)
    for path in (FORMAT_1 / "tables").iterdir():
        before, after = (
            pd.read_csv(folder / path.name, dtype=str, keep_default_na=False)
            for folder in (path.parent, tmp_path / "run" / "tables")
        )
        if path.name == "effects.csv":
            # The analysis has further cells by now, so that the run's own plan holds, which tested one contrast twice.
            twice = after["family"].eq("position") & after["contrast"].str.startswith("semantic")
            assert twice.sum() == 1
        if path.name == "decomposition.csv":
            # A share of a whole that six examples do not show to be there is withheld.
            assert (after["share"] == "").all()
            before, after = before.drop(columns="share"), after.drop(columns="share")
        same = [name for name in before if name not in INFERRED_OTHERWISE]
        numbers = [StringIO(frame[same].to_csv(index=False)) for frame in (before, after)]
        pd.testing.assert_frame_equal(*map(pd.read_csv, numbers), rtol=1e-12, obj=path.name)
        assert INFERRED_OTHERWISE & set(before) <= set(after)
    assert "effects" in run.table_names


def test_an_unfinished_run_of_format_1_says_what_to_do(tmp_path: Path) -> None:
    shutil.copytree(FORMAT_1, tmp_path / "run")
    (tmp_path / "run" / "parts" / "part-00001.json").unlink()
    with pytest.raises(
        RunError, match=r"1 of 2 parts are whole\); an earlier version began it .* run it again"
    ):
        Run.open(tmp_path / "run")


def test_a_run_of_format_1_is_not_continued(tmp_path: Path) -> None:
    shutil.copytree(FORMAT_1, tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(
        RunError,
        match=r"holds a run of an earlier version \(format 1\).*give another directory .out=… or --out.",
    ):
        RunDirectory(tmp_path / "run").begin({"analysis": "exp08"}, {})
    assert (tmp_path / "run" / "run.json").read_bytes() == before


# Nobody reads beside it.

#: Words that only who knows the layout of a run directory would write.
LAYOUT = ("run.json", "plan.json", "examples.json", "sweep.json", "records/", ".parquet")


def test_no_module_outside_runs_knows_the_layout_of_a_run_directory() -> None:
    for name, path in modules().items():
        if name.startswith("budgetlens.runs") or path.name.startswith("_"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom | ast.Import):
                imported = [getattr(node, "module", None) or "", *(part.name for part in node.names)]
                assert "parquet" not in imported or name == "budgetlens.corpora.sources", name
            if isinstance(node, ast.Call):
                texts = [part.value for part in node.args if isinstance(part, ast.Constant)]
                called = ast.unparse(node.func)
                if called.endswith(
                    ("open", "read_text", "read_bytes", "read_csv", "read_parquet", "joinpath")
                ):
                    assert not any(word in str(text) for text in texts for word in LAYOUT), (name, called)
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                joined = ast.unparse(node)
                assert not any(f"{word.strip('/')}'" in joined for word in (*LAYOUT, "records", "parts")), (
                    name,
                    joined,
                )


_OPENED: list[tuple[str, str]] = []
_WATCHED: list[str] = []


def _note_reading(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook can't be taken away again; it does nothing while nothing is watched."""
    if event != "open" or not _WATCHED or not isinstance(arguments[0], str | bytes):
        return
    path, mode, flags = str(arguments[0]), str(arguments[1]), int(arguments[2])
    # What is opened to be written, and what is made anew, is not read.
    if not path.startswith(_WATCHED[0]) or "w" in mode or "+" in mode or flags & os.O_CREAT:
        return
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in ("budgetlens", "analyses", "figures", "probes", "interventions"):
            _OPENED.append((module, path))
            return
        frame = frame.f_back  # type: ignore[assignment]


@pytest.mark.slow
def test_tables_report_explorer_and_comparison_open_files_through_run_alone(tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(FORMAT_1, path)
    sys.addaudithook(_note_reading)
    _WATCHED.append(str(path))
    try:
        finish(Run.open(path))
        report(Run.open(path))
        load_run(path)
        assert main(["compare", str(path), "--force"]) == 0
    finally:
        _WATCHED.clear()
    assert len(_OPENED) > 20
    assert {module for module, _ in _OPENED if not module.startswith("budgetlens.runs.")} == set()


def test_hashes_are_of_the_files(whole: Path) -> None:
    directory = RunDirectory(whole)
    for name, digest in directory.part_files("part-00000").items():
        assert file_hash(whole / name) == digest
    assert ROOT.is_dir()
