"""SECURITY.md, line by line: each test names the line that it holds, and every line has one."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import pickle
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from budgetlens.command.main import main
from budgetlens.design.files import read_design
from budgetlens.explorer import command, guard
from budgetlens.explorer.app import make_app
from budgetlens.explorer.data import RunData, load_run
from budgetlens.explorer.live import LiveModel
from budgetlens.explorer.state import State, checked, from_fragment, point_of, pressed_of, resolved
from budgetlens.report.document import Behind, report_page
from budgetlens.runs import files, manifest_files
from budgetlens.runs.figure_files import write_figures
from budgetlens.runs.manifest import RunError, sealed
from budgetlens.runs.run import Run
from budgetlens.runs.spreadsheets import guard as apostrophe
from budgetlens.runs.spreadsheets import guarded_csv, spreadsheet_csv, unguarded
from budgetlens.tables.terminal_text import visible_lines
from tests import bad_http, report_pages
from tests.conftest import write_corpus
from tests.explorer_runs import hostile_run, synthetic_run
from tests.test_report import csvs

if TYPE_CHECKING:
    from dash import Dash
    from plotly.graph_objects import Figure

ROOT = Path(__file__).parents[1]

#: A name that sets the title, clears the screen, colours and turns, on lines of its own.
EVIL = "evil\x1b]0;title\x07\x1b[2J\x9b31m\u202egnp\u2066\u200f\u061c\u2028\x85\rline"
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

HELD: set[str] = set()


def holds(line: str) -> Callable[[Any], Any]:
    """Says which line of SECURITY.md a test holds, by its beginning."""
    HELD.add(line)
    return lambda test: test


def test_every_line_is_held() -> None:
    lines = re.findall(r"^- (.*)$", (ROOT / "SECURITY.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 18
    assert [line for line in lines if not any(line.startswith(held) for held in HELD)] == []
    assert [held for held in HELD if not any(line.startswith(held) for line in lines)] == []


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of numbers alone, which names a model and a corpus by paths."""
    return synthetic_run(tmp_path_factory.mktemp("numbers") / "run", examples=8, layers=2, heads=2)


@pytest.fixture
def run(numbers: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(numbers, tmp_path / "run"))


@pytest.fixture(scope="module")
def data(numbers: Path) -> RunData:
    return load_run(numbers)


@pytest.fixture(scope="module")
def app(data: RunData) -> Dash:
    return make_app({data.key: data})


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> Path:
    return hostile_run(tmp_path_factory.mktemp("hostile"), tiny_directory)


def altered(run: Path, **changes: Any) -> Path:
    """The run with another content of run.json, sealed as a stranger would."""
    content = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for key, value in changes.items():
        content[key] = {**content[key], **value} if isinstance(value, dict) else value
    (run / "run.json").write_text(json.dumps(sealed(content)), encoding="utf-8")
    return run


# A run directory.


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str, int]]:
        return os.mkdir, (str(self.path), 0o700)


@holds("Nothing of a run is executed")
def test_no_pickle_is_read(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    for name in ("records/likelihood/part-00000.parquet", "examples.json"):
        spoilt = Path(shutil.copytree(run, tmp_path / name.replace("/", "-")))
        (spoilt / name).write_bytes(bomb)
        # A stranger would set the hashes right.
        for marker in spoilt.glob("parts/*.json"):
            content = json.loads(marker.read_text())
            if "files" in content:
                content["files"] = {file: files.file_hash(spoilt / file) for file in content["files"]}
                marker.write_text(json.dumps(sealed(content)))
        try:
            load_run(spoilt)
            Run.open(spoilt).shown_examples()
        except RunError as error:
            assert "part-00000.parquet can't be read" in str(error)  # noqa: PT017
    assert not (tmp_path / "exploded").exists()
    refuse = "allow_pickle=True|weights_only=False|read_pickle|pickle.loads?\\(|joblib"
    # What the processes of one run tell each other, over pipes that nobody else holds, is pickled and lies in no file.
    own = ROOT / "budgetlens" / "runs" / "engines"
    sources = [path for path in (ROOT / "budgetlens").rglob("*.py") if own not in path.parents]
    assert [path for path in sources if re.search(refuse, path.read_text(encoding="utf-8"))] == []


@holds("Files are read only below the run's directory")
@pytest.mark.parametrize("how", ["link", "folder", "parent", "root"])
def test_nothing_outside_is_read(run: Path, tmp_path: Path, how: str) -> None:
    record = run / "records" / "trials" / "part-00000.parquet"
    outside = tmp_path / "outside"
    shutil.copytree(record.parent, outside)
    marker = run / "parts" / "part-00000.json"
    content = json.loads(marker.read_text())
    digest = content["files"]["records/trials/part-00000.parquet"]
    if how == "link":
        record.unlink()
        record.symlink_to(outside / record.name)
    elif how == "folder":
        shutil.rmtree(record.parent)
        record.parent.symlink_to(outside)
    else:
        name = "records/trials/../../../outside/" if how == "parent" else f"{outside}/"
        content["files"][f"{name}part-00000.parquet"] = digest
        marker.write_text(json.dumps(sealed(content)))
    with pytest.raises(RunError, match="is not finished"):
        Run.open(run)
    (run / "parts" / "run.json").unlink()
    (run / "run.json").rename(tmp_path / "run.json")
    (run / "run.json").symlink_to(tmp_path / "run.json")
    with pytest.raises(RunError, match="leads out of its directory"):
        Run.open(run)


@holds("Nothing is written through a link")
def test_nothing_outside_is_written(run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    opened = Run.open(run)
    (run / "figures").mkdir()
    for name in ("report.html", "figures/effects.html"):
        (run / name).symlink_to(mine)
    opened.directory.write_text("report.html", "page")
    drawn: dict[str, Figure] = {"effects": next(iter(report_pages.report_figures().values()))}
    write_figures(opened.directory, drawn)
    assert mine.read_text() == "mine"
    assert (run / "report.html").read_text() == "page"
    (tmp_path / "folder").mkdir()
    (run / "tables").symlink_to(tmp_path / "folder")
    with pytest.raises(RunError, match="leads out of the run"):
        opened.directory.write_tables({"a": pd.DataFrame({"x": [1]})})
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").symlink_to(mine)
    with opened.directory.locked():
        assert not (run / ".lock").is_symlink()
    assert mine.read_text() == "mine"
    assert list((tmp_path / "folder").iterdir()) == []


@holds("JSON of more than 256 MiB")
def test_json_is_bounded(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert files.LARGEST_JSON == 256 * 2**20
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 200_000)
    assert files.read_json(deep) is None
    monkeypatch.setattr(manifest_files, "LARGEST_JSON", 100)
    with pytest.raises(RunError, match="MiB"):
        Run.open(run)
    monkeypatch.undo()
    monkeypatch.setattr(files, "LARGEST_JSON", 10)
    with pytest.raises(RunError, match="is not finished"):
        Run.open(run)


@pytest.fixture
def explored(monkeypatch: pytest.MonkeyPatch) -> list[Dash]:
    """The apps that the command would serve."""
    served: list[Dash] = []
    monkeypatch.setattr("budgetlens.explorer.app.serve", lambda app, host, port: served.append(app))
    return served


class Terminal(io.StringIO):
    """A standard input that a person types into."""

    def isatty(self) -> bool:
        return True


@holds("A model, a corpus or a file of a design that the run alone names")
@pytest.mark.parametrize("answer", [None, "n\n", "\n", "y\n"])
def test_explore_asks_before_it_opens_what_a_run_names(
    hostile: Path,
    explored: list[Dash],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str | None,
) -> None:
    if answer is not None:
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        monkeypatch.setattr(type(sys.stderr), "isatty", lambda stream: True)
    loaded: list[str] = []
    read: list[str] = []

    def load(source: str, **options: Any) -> Any:
        loaded.append(source)
        raise OSError("no model in this test")

    monkeypatch.setattr("budgetlens.explorer.live.load_model", load)
    from budgetlens.corpora.corpus import read_corpus

    def note(source: str, **options: Any) -> Any:
        read.append(source)
        return read_corpus(source, **options)

    monkeypatch.setattr("budgetlens.runs.texts.read_corpus", note)
    assert main(["explore", str(hostile), "--no-browser"]) == 0
    told = capsys.readouterr().err
    model, corpus = (str(hostile.parent / "hostile.jsonl"), Run.open(hostile).manifest.model.name)
    assert model in told
    assert corpus in told
    live = LiveModel(load_run(hostile, trusted=answer == "y\n"), trusted=answer == "y\n")
    live.start()
    assert live.wait(60)
    if answer == "y\n":
        assert read
        assert loaded
    else:
        assert read == loaded == []
        assert "--model" in live.words
    if answer is None:
        assert "give it with --model or --corpus or --trust" in told
        assert len([line for line in told.splitlines() if "opened" in line]) == 1


def test_what_an_option_gives_is_opened_without_a_question(
    hostile: Path, tiny_directory: Path, explored: list[Dash], capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = str(hostile.parent / "hostile.jsonl")
    given = ["--model", str(tiny_directory), "--corpus", corpus, "--no-browser"]
    assert main(["explore", str(hostile), *given]) == 0
    assert main(["explore", str(hostile), "--trust", "--no-browser"]) == 0
    assert "opened" not in capsys.readouterr().err
    assert "Oss" in json.dumps(load_run(hostile, corpus=corpus, trusted=False).texts, default=str)


def test_known_names_and_names_on_the_hub_are_no_paths(run: Path, tmp_path: Path) -> None:
    from budgetlens.explorer.named import Named, named_paths

    def named(model: str, corpus: str) -> tuple[Named, ...]:
        content = altered(run, model={"name": model}, corpus={"name": corpus})
        return named_paths(Run.open(content).manifest)

    for model in ("reference", "google/t5gemma-2-270m-270m", "some-body/some.model"):
        assert named(model, "reference") == ()
    for model in ("/etc", "./m", "../m", "~/m", "a/b/c", "..", "~nobody", "http://x/y", str(tmp_path)):
        assert [item.what for item in named(model, "ms_marco")] == ["model"], model
    assert [str(item) for item in named("reference", "/dev/zero")] == ["corpus /dev/zero"]


@holds("`tables` and `report` leave texts out")
@pytest.mark.slow
def test_a_page_of_a_stranger_s_run_holds_no_text_of_a_file_that_it_names(
    hostile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = str(shutil.copytree(hostile, tmp_path / "copied"))
    page = Path(copied, "report.html")
    given = str(hostile.parent / "hostile.jsonl")
    # What the run itself keeps of its examples is of the run.
    Path(copied, "examples.json").unlink()
    plan = json.loads(Path(copied, "parts", "plan.json").read_text())
    Path(copied, "parts", "plan.json").write_text(json.dumps({"parts": plan["parts"]}))
    assert main(["report", copied]) == 0
    assert "left out of the figures" in capsys.readouterr().err
    assert "HYPERLINK" not in report_pages.everything(page.read_text(encoding="utf-8"))
    assert main(["report", copied, "--corpus", given]) == 0
    assert "left out of the figures" not in capsys.readouterr().err
    assert "HYPERLINK" in report_pages.everything(page.read_text(encoding="utf-8"))


@holds("Texts are shown only where they have the hash")
def test_other_texts_are_not_shown(hostile: Path, tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "other.jsonl", 6)
    data = load_run(hostile, corpus=str(other), trusted=False)
    assert data.texts == {}
    assert "holds other texts than those of the run" in data.no_texts


@holds("A run can lie")
def test_a_run_that_is_sealed_anew_is_read(run: Path) -> None:
    assert Run.open(altered(run, title="something else")).manifest.title == "something else"


# Texts.


@holds("Pages show texts as texts")
def test_pages_ask_no_other_host(app: Dash) -> None:
    text = app.server.test_client().get("/", headers={"Host": "localhost"}).text
    assert not re.search("https?://", text)
    page = report_page(
        report_pages.manifest(report_pages.HOSTILE),
        report_pages.report_tables(report_pages.HOSTILE),
        {},
        report_pages.behind(report_pages.HOSTILE),
    )
    assert report_pages.HOSTILE not in page
    assert "<script>window.broken" not in page
    assert "default-src 'none'" in html.unescape(page)


@holds("Nothing that the command prints acts on the terminal")
def test_nothing_printed_acts(
    tmp_path: Path, tiny_directory: Path, explored: list[Dash], capfd: pytest.CaptureFixture[str]
) -> None:
    name = EVIL.replace("/", "")
    model = shutil.copytree(tiny_directory, tmp_path / f"model {name}")
    rows = [
        {"query": f"who {EVIL} {i}", "document": f"The wall {EVIL} is long. " * 8, "answer": f"Oss {i}"}
        for i in range(3)
    ]
    corpus = tmp_path / f"corpus {name}.jsonl"
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    where = tmp_path / f"run {name}"
    inputs = ["--model", str(model), "--corpus", str(corpus)]
    own = ["--factor", f"prefix=none,literal:{EVIL}"]
    values = tmp_path / f"{name}.csv"
    columns = {f"a{EVIL}": [1.0, 2, 4, 3, 5, 7], f"b{EVIL}": [2.0, 3, 3, 5, 9, 8]}
    pd.DataFrame(columns).to_csv(values, index=False, quoting=csv.QUOTE_ALL)
    sides = ["--baseline", f"a{EVIL}", "--treatment", f"b{EVIL}"]
    right = [
        ["run", "custom", *own, *inputs, "--out", str(where), "--device", "cpu"],
        ["show", "custom", *own, *inputs],
        ["design", "custom", *own, "--format", "toml"],
        ["design", "custom", *own, "--format", "yaml"],
        ["tables", str(where)],
        ["report", str(where)],
        ["explore", str(where), "--no-browser"],
        ["explore", str(where), "--no-browser", "--trust"],
        *(
            ["effects", str(values), *sides, "--format", form]
            for form in ("terminal", "csv", "markdown", "latex", "html")
        ),
    ]
    wrong = [
        ["run", EVIL],
        ["run", "exp08", f"--{EVIL}"],
        ["run", "exp08", "--n", EVIL],
        ["run", "exp08", "--layers", EVIL],
        ["run", "exp08", "--probes", EVIL],
        ["run", "exp08", "--model", f"{tmp_path}/{EVIL}"],
        ["run", "exp08", "--corpus", f"{tmp_path}/{EVIL}"],
        ["run", "exp08", "--out", f"{values}/{EVIL}"],
        ["run", "custom", "--factor", f"prefix=none,{EVIL}"],
        ["run", "custom", "--design", f"{tmp_path}/{EVIL}.toml"],
        ["show", "exp08", "--cell", EVIL],
        ["tables", f"{tmp_path}/{EVIL}"],
        ["explore", f"{tmp_path}/{EVIL}"],
        ["explore", str(where), "--host", EVIL],
        ["explore", str(where), "--allow-host", EVIL],
        ["effects", str(values), "--baseline", EVIL, "--treatment", "b"],
        ["effects", f"{tmp_path}/{EVIL}.csv", "--baseline", "a", "--treatment", "b"],
        [EVIL],
    ]
    for arguments, status in [*((one, 0) for one in right), *((one, 2) for one in wrong)]:
        try:
            ended = main(arguments)
        except SystemExit as error:
            ended = int(str(error.code))
        printed = capfd.readouterr()
        assert ended == status, (arguments[:3], printed.err[-300:])
        # A progress bar goes back to the beginning of its line; nothing from outside does.
        bars = printed.err.replace("\r", "") if arguments[0] == "run" and status == 0 else printed.err
        for stream in (printed.out, bars):
            assert ACTING.search(stream) is None, (arguments[:2], stream[:400])
            assert EVIL[:5] not in stream or "⟨U+001B⟩" in stream or "\\" in stream
    told = Path(where, "run.json").read_text(encoding="utf-8")
    assert json.loads(told)["corpus"]["name"].count("\x1b") == 2


def test_designs_are_read_back_as_they_were(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    level = f"literal:{EVIL.replace(',', '')}"
    for form in ("toml", "yaml"):
        assert main(["design", "custom", "--factor", f"prefix=none,{level}", "--format", form]) == 0
        file = tmp_path / f"design.{form}"
        file.write_text(capsys.readouterr().out, encoding="utf-8")
        assert json.dumps(level)[1:-1] in json.dumps(read_design(file))


def test_warnings_of_others_do_not_act_either(capsys: pytest.CaptureFixture[str]) -> None:
    from budgetlens.tables.terminal_text import guarded_messages

    with guarded_messages():
        print(f"\r{EVIL}", file=sys.stderr, end="")
        sys.stderr.write("\x1b[A")
    printed = capsys.readouterr().err
    assert printed == f"\r{visible_lines(EVIL)}\x1b[A"


PAYLOADS = (
    "=1+1",
    "+1",
    "-1+1",
    "-cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\u200b=1",
    "\ufeff=1",
    "＝1",
    "'=1",
    "''-x",
    "-",
    "=",
    "@",
    "\x00=1",
    "\r",
)
PLAIN = ("", "a", "a=1", "'", "it's", "'quoted'", "-1", "-0.25", "-2e-05", "-0.0007 [-0.0035, 0.0004]", "1+1")


@holds("In a CSV, a text that a spreadsheet would compute")
def test_cells_are_texts_and_come_back(run: Path, data: RunData) -> None:
    for text in PAYLOADS:
        assert apostrophe(text) == f"'{text}"
        assert unguarded(apostrophe(text)) == text
    for text in PLAIN:
        assert apostrophe(text) == text == unguarded(text)
    names = [*PAYLOADS[:10], *PLAIN[1:4], "a\r=1", "b\n=1", 'c"\r\n=1']
    frame = pd.DataFrame({"=name": names, "value": [-(1.5**place) for place in range(len(names))]})
    opened = Run.open(run)
    opened.directory.write_tables({"mine": frame, "plain": frame[["value"]]})
    assert (run / "tables" / "plain.csv").read_text() == frame[["value"]].to_csv(index=False)
    pd.testing.assert_frame_equal(opened.table("mine"), frame, check_dtype=False)
    for content in (opened.table_text("mine"), spreadsheet_csv(frame)):
        cells = pd.read_csv(io.StringIO(content), dtype=str, keep_default_na=False)
        assert not [cell for cell in [*cells.columns, *cells["'=name"]] if re.match(r"[\s=+@-]", cell)]
        assert cells["value"].tolist() == [str(value) for value in frame["value"]]
    table = report_pages.table(frame, "Mine")
    further = {"theirs": frame.to_csv(index=False), "ours": spreadsheet_csv(frame)}
    found = csvs(report_page(report_pages.manifest(), {"mine": table}, {}, Behind(further=further)))
    assert set(found) == {"mine.csv", "theirs.csv", "ours.csv"}
    assert found["ours.csv"] == further["ours"]
    for content in found.values():
        cells = [cell for row in csv.reader(io.StringIO(content, newline="")) for cell in row]
        assert not [cell for cell in cells if re.match(r"[\s=+@]|-(?!\d)", cell)]


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("'=+-@ \t\r\n1.e[], aé＝\u202e\x00"), max_size=6))
def test_every_text_comes_back(text: str) -> None:
    assert unguarded(apostrophe(text)) == text
    once = guarded_csv(pd.DataFrame({"x": [f"z{text}"]}).to_csv(index=False))
    assert guarded_csv(once) == once


# A model.


@holds("Weights are read as tensors")
def test_a_pickle_with_code_is_refused(
    tmp_path: Path, tiny_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    for weights in [*model.glob("*.safetensors*")]:
        weights.unlink()
    import torch

    torch.save({"weights": Bomb(tmp_path / "exploded")}, model / "pytorch_model.bin")
    corpus = write_corpus(tmp_path / "corpus.jsonl", 3)
    given = ["--model", str(model), "--corpus", str(corpus), "--out", str(tmp_path / "run")]
    assert main(["run", "exp08", *given, "--quiet", "--device", "cpu"]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "exploded").exists()


@holds("No code that lies beside a model is run")
def test_code_beside_a_model_is_not_run(tmp_path: Path, tiny_directory: Path) -> None:
    model = Path(shutil.copytree(tiny_directory, tmp_path / "model"))
    (model / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'exploded')!r})\n")
    config = json.loads((model / "config.json").read_text())
    classes = ("AutoConfig", "AutoModel", "AutoModelForSeq2SeqLM", "AutoTokenizer")
    config["auto_map"] = dict.fromkeys(classes, "evil.Evil")
    (model / "config.json").write_text(json.dumps(config))
    corpus = write_corpus(tmp_path / "corpus.jsonl", 3)
    main(["show", "exp08", "--model", str(model), "--corpus", str(corpus)])
    assert not (tmp_path / "exploded").exists()
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "budgetlens").rglob("*.py")]
    assert not any("trust_remote_code=True" in source for source in sources)


# The explorer.


@holds("It is served to this machine alone")
def test_it_is_served_to_this_machine(explored: list[Dash], capsys: pytest.CaptureFixture[str]) -> None:
    import argparse

    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert guard.is_loopback(parser.parse_args(["run"]).host)
    for wrong in (["--host", ""], ["--host", " "], ["--port", "70000"], ["--port", "-1"], ["--port", "²"]):
        with pytest.raises(SystemExit):
            parser.parse_args(["run", *wrong])


@holds("Served to others, it warns")
def test_whoever_reaches_it_sees_the_texts(
    numbers: Path, explored: list[Dash], capsys: pytest.CaptureFixture[str]
) -> None:
    for host in ("127.0.0.1", "LOCALHOST", "127.0.0.2"):
        assert main(["explore", str(numbers), "--no-browser", "--host", host]) == 0
        assert "warning" not in capsys.readouterr().err
    assert main(["explore", str(numbers), "--no-browser", "--host", "0.0.0.0"]) == 0
    assert "sees the runs and the texts" in capsys.readouterr().err
    client = explored[-1].server.test_client()
    assert client.get("/", headers={"Host": "0.0.0.0:8050"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example:8050"}).status_code == 403


@holds("It answers under its own names alone")
def test_names(numbers: Path, explored: list[Dash]) -> None:
    further = ["--allow-host", "Proxy.Example.", "--allow-host", "10.1.2.3"]
    assert main(["explore", str(numbers), "--no-browser", *further]) == 0
    client = explored[-1].server.test_client()
    right = (
        "localhost",
        "LocalHost.",
        "localhost:80",
        "localhost.:8050",
        "127.0.0.1",
        "127.0.0.1:80",
        "[::1]",
        "[::1]:80",
        "[0:0:0:0:0:0:0:1]:8050",
        "proxy.example",
        "PROXY.EXAMPLE:443",
        "10.1.2.3:9",
    )
    wrong = (
        "",
        "evil.example",
        "localhost.evil.example",
        "localhost:8050@evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "[::1",
        "::1",
        "[localhost]",
        "[127.0.0.1]",
        "localhost:port",
        "localhost,evil.example",
        "10.1.2.4",
        "::2",
        "[::2]:80",
    )
    for host in right:
        assert client.get("/", headers={"Host": host}).status_code == 200, host
    for host in wrong:
        answer = client.get("/", headers={"Host": host})
        assert (answer.status_code, answer.text) == (403, f"{guard.STRANGE_HOST}\n"), host
    assert main(["explore", str(numbers), "--no-browser", "--allow-host", "http://x"]) == 2


@holds("A request that another site's page sends is refused")
def test_other_sites_are_refused(app: Dash) -> None:
    client = app.server.test_client()
    body = json.dumps(bad_http.body_of(app, bad_http.called(app)[2]))

    def posted(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        own = {"Host": "127.0.0.1:8050", "Content-Type": "application/json", **named}
        return client.post(bad_http.CALLBACK, headers=own, data=body).status_code

    assert posted() in (200, 204)
    assert posted(Origin="http://127.0.0.1:8050", Sec_Fetch_Site="same-origin") in (200, 204)
    assert posted(Origin="http://127.0.0.1:8050", Host="127.0.0.1:8050") in (200, 204)
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://localhost:8050"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Referer": "http://evil.example/page"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ):
        assert posted(**headers) == 403, headers
    got = {"Host": "127.0.0.1:8050"}
    followed = {**got, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=followed).status_code == 200
    assert client.get("/_dash-layout", headers={**followed, "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert client.get("/_dash-layout", headers={**got, "Origin": "http://evil.example"}).status_code == 403
    for path in ("/", "/_dash-layout", "/nowhere", "/assets/explorer.js"):
        for answer in (client.get(path, headers=got), client.options(path, headers=got)):
            assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]
            answer.close()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["²", "mean", "none", "tokens", "1", "scatter", "\ud800", "9" * 5000]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*State.__dataclass_fields__, "what", "points", "x"]), inner)
    ),
    max_leaves=12,
)


@holds("What the address, a store or a control holds is validated")
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_store_and_any_address_make_a_state(data: RunData, drawn: st.DataObject) -> None:
    stored = drawn.draw(JSON)
    for state, notes in (checked(stored), from_fragment(drawn.draw(JSON | st.text()))):
        whole, _ = resolved(state, {data.key: data})
        assert resolved(whole, {data.key: data}) == (whole, [])
        assert all(isinstance(note, str) for note in notes)
        int(whole.page), int(whole.layer)
    pressed_of(stored)
    point_of(stored)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("#layer=²", "There is no layer '²' here; '1' is shown."),
        ("#page=²", "There is no page '²' here; '1' is shown."),
        ("#page=0", "There is no page '0' here; '1' is shown."),
        ("#head=-1", "There is no head '-1' here; 'mean' is shown."),
        ("#row=" + "9" * 5000, "There is no row"),
        ("#cells=x", "There is no cell 'x' here."),
        ("#nothing=x", "means nothing here"),
    ],
)
def test_an_address_that_is_none_is_told(data: RunData, address: str, told: str) -> None:
    state, notes = from_fragment(address)
    whole, more = resolved(state, {data.key: data})
    assert len([*notes, *more]) == 1
    assert told in [*notes, *more][0]
    assert whole == resolved(State(), {data.key: data})[0]


def test_a_store_without_a_page_is_told(data: RunData) -> None:
    state, notes = checked({"page": None, "cells": [None, "a"]})
    assert (state.page, state.cells) == ("1", ("a",))
    assert len(notes) == 2


@holds("A request that its page would not send")
@pytest.mark.slow
def test_no_request_ends_in_a_traceback(app: Dash, caplog: pytest.LogCaptureFixture) -> None:
    requests = bad_http.bad_requests(app)
    assert len(requests) >= 300
    faults = [bad_http.fault_of(request, bad_http.answer_of(app, request)) for request in requests]
    assert [fault for fault in faults if fault] == []
    # An exception in a callback is told on the page with status 200, and logged.
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.fixture(scope="module")
def port(app: Dash) -> Iterator[int]:
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("content", bad_http.RAW, ids=range(len(bad_http.RAW)))
def test_no_bytes_end_in_a_traceback(port: int, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    status = re.match(rb"HTTP/1\.[01] (\d)", answer)
    assert b"Traceback" not in answer
    assert status is None or status[1] in (b"2", b"4"), answer[:200]
    foreign = b"http://evil.example" in content or b"Host: evil.example" in content
    assert not (foreign and b"budgetlens explorer" in answer)
    assert "Traceback" not in capfd.readouterr().err
