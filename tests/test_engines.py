"""Engines: whoever computes the parts, and whoever dies on the way, the tables are the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import budgetlens as bl
from budgetlens.command.main import main
from budgetlens.model.in_memory import memory_hash
from budgetlens.model.loaded import ModelError
from budgetlens.model.loading import load_model
from budgetlens.runs.engines import processes, scheduling
from budgetlens.runs.engines.choice import Engine
from budgetlens.runs.engines.engine import Part, Result
from budgetlens.runs.engines.model_source import source_of
from budgetlens.runs.engines.scheduling import AHEAD, MOST_DEATHS, Died, Done, Event, Failed, Ready, Started
from budgetlens.runs.engines.sizes import Size, size_of, threads_of
from budgetlens.runs.engines.versions import NUMERIC_PACKAGES, differences, versions_here
from budgetlens.runs.engines.wire import packed, unpacked
from budgetlens.runs.engines.worker import sendable
from budgetlens.runs.manifest import RunError
from budgetlens.runs.storage import PartFacts, RunDirectory
from tests.conftest import write_corpus
from tests.test_runs import assert_same_run, command, csv_files, errors_of

ROOT = Path(__file__).parents[1]
VERSIONS = {"torch": "2.13.0", "numpy": "2.4.6"}
FACTS = PartFacts("x86_64 AVX2")


def records_of(index: int) -> dict[str, pa.Table]:
    """Records of every type that there is, different for every part."""
    numbers = np.random.default_rng(index).normal(size=50)
    texts = pa.array([f"e{number % 7}" for number in range(50)]).dictionary_encode()
    whole = pa.array([None if number == 3 else number for number in range(50)], pa.int16())
    return {
        "budgets": pa.table({"example": texts, "layer": whole, "share": numbers}),
        "empty": pa.table({"n": []}),
    }


# The loop, with workers that stand in this process.


@dataclass
class ScriptedPool:
    """Workers that answer in a random order and die at random; each answers what it was asked in order."""

    generator: random.Random
    deaths: float = 0.0
    deadly: int | None = None
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    processors: dict[str, str] = field(default_factory=dict)
    asked: dict[str, deque[Any]] = field(default_factory=dict)
    computed: Counter[int] = field(default_factory=Counter)
    strikes: Counter[int] = field(default_factory=Counter)
    most_ahead: int = 0
    started: int = 0
    closed: bool = False

    def start(self) -> str:
        name, self.started = str(self.started), self.started + 1
        self.asked[name] = deque([Started(name, "a machine", self.versions.get(name, VERSIONS))])
        return name

    def make_ready(self, worker: str) -> None:
        self.asked[worker].append(Ready(worker, self.processors.get(worker, FACTS.processor)))

    def submit(self, worker: str, part: Part) -> None:
        self.asked[worker].append(part)
        self.most_ahead = max(self.most_ahead, len(self.asked[worker]))

    def event(self) -> Event:
        worker = self.generator.choice([name for name, asked in self.asked.items() if asked])
        answer = self.asked[worker].popleft()
        if isinstance(answer, Part):
            struck = self.generator.random() < self.deaths and self.strikes[answer.index] < MOST_DEATHS - 1
            if answer.index == self.deadly or struck:
                self.strikes[answer.index] += 1
                del self.asked[worker]
                return Died(worker, "struck by the test")
            self.computed[answer.index] += 1
            return Done(worker, packed(Result(answer.index, records_of(answer.index), FACTS)))
        return answer

    def stop(self, worker: str) -> None:
        del self.asked[worker]

    def close(self) -> None:
        self.closed = True


def parts(count: int) -> list[Part]:
    return [Part(index, ()) for index in range(count)]


def run_loop(pool: ScriptedPool, count: int, workers: int) -> tuple[list[Result], list[str]]:
    told: list[str] = []
    return list(scheduling.scheduled(pool, parts(count), workers, VERSIONS, told.append)), told


@pytest.mark.parametrize("seed", range(20))
def test_every_part_comes_once_whoever_dies(seed: int) -> None:
    pool = ScriptedPool(random.Random(seed), deaths=0.15)
    results, told = run_loop(pool, 40, 1 + seed % 5)
    assert sorted(result.index for result in results) == list(range(40))
    for result in results:
        assert result.records["budgets"].equals(records_of(result.index)["budgets"])
        assert result.worker in {str(number) for number in range(pool.started)}
    assert pool.closed
    assert 1 <= pool.most_ahead <= AHEAD
    # Each death is told, and another worker starts in its place.
    assert len(told) == pool.started - (1 + seed % 5)
    assert all("struck by the test" in words for words in told)


def test_no_more_workers_than_parts() -> None:
    pool = ScriptedPool(random.Random(1))
    run_loop(pool, 3, 64)
    assert pool.started == 3


def test_nothing_is_given_out_that_nobody_takes() -> None:
    """Who writes more slowly than the workers compute is not buried in records."""
    pool = ScriptedPool(random.Random(3))
    results = scheduling.scheduled(pool, parts(200), 4, VERSIONS, print)
    for taken in range(1, 50):
        next(results)
        assert pool.computed.total() == taken
        assert sum(isinstance(each, Part) for asked in pool.asked.values() for each in asked) <= 4 * AHEAD
    results.close()
    assert pool.closed


def test_a_part_that_ends_its_workers_ends_the_run() -> None:
    pool = ScriptedPool(random.Random(5), deadly=7)
    with pytest.raises(
        RunError, match=f"part 7 ended {MOST_DEATHS} workers, the last with: struck by the test"
    ):
        run_loop(pool, 20, 3)
    assert pool.closed


def test_workers_of_another_kind_are_refused_by_name() -> None:
    pool = ScriptedPool(
        random.Random(2),
        versions={"1": {**VERSIONS, "torch": "2.12.0"}, "3": {**VERSIONS, "plugin extra": "1.0"}},
        processors={"4": "x86_64 AVX512"} | dict.fromkeys("02", "x86_64 AVX2"),
    )
    results, told = run_loop(pool, 30, 5)
    assert sorted(result.index for result in results) == list(range(30))
    by_worker = {words.split()[1]: words for words in told}
    assert by_worker["1"].endswith("on a machine is refused: torch 2.12.0 there, 2.13.0 here")
    assert by_worker["3"].endswith("plugin extra 1.0 there, missing here")
    # Which kind is the run's is decided by who is ready first.
    others = by_worker.keys() - {"1", "3"}
    assert others in ({"4"}, {"0", "2"})
    assert all("its kind of processor is x86_64 AVX" in by_worker[name] for name in others)
    assert {result.worker for result in results} & by_worker.keys() == set()


def test_a_run_without_a_worker_says_why() -> None:
    pool = ScriptedPool(random.Random(2), versions={name: {"torch": "2.12.0"} for name in "01"})
    with pytest.raises(
        RunError, match=r"no worker is left: worker . on a machine is refused: torch 2\.12\.0 there"
    ):
        run_loop(pool, 5, 2)

    @dataclass
    class Unborn(ScriptedPool):
        """Workers that end before they are there."""

        def event(self) -> Event:
            name = next(iter(self.asked))
            del self.asked[name]
            return Died(name, "ModuleNotFoundError: budgetlens")

    unborn = Unborn(random.Random(0))
    with pytest.raises(RunError, match="no worker is left: worker 0 on its machine died"):
        run_loop(unborn, 5, 2)
    assert unborn.started <= 2 + scheduling.MOST_FAILED_STARTS


def test_an_error_of_a_part_is_the_run_s() -> None:
    class Failing(ScriptedPool):
        def event(self) -> Event:
            event = super().event()
            return Failed(event.worker, ModelError("does not fit")) if isinstance(event, Done) else event

    with pytest.raises(ModelError, match="does not fit"):
        run_loop(Failing(random.Random(0)), 5, 2)


# What travels.


def test_records_are_the_same_behind_the_wire() -> None:
    result = Result(3, records_of(3), PartFacts("x86_64", True), ("halved",), "")
    found = unpacked(packed(result))
    assert (found.index, found.facts, found.halved) == (3, result.facts, result.halved)
    for kind, table in result.records.items():
        assert found.records[kind].schema == table.schema
        assert found.records[kind].equals(table)


def test_an_error_that_can_not_travel_goes_as_its_words() -> None:
    import pickle

    class Odd(ValueError):
        def __init__(self, one: str, other: str) -> None:
            super().__init__(f"{one} and {other}")

    assert str(pickle.loads(sendable(ModelError("lost")))) == "lost"
    odd = pickle.loads(sendable(Odd("this", "that")))
    assert type(odd) is RuntimeError
    assert str(odd) == "Odd: this and that"


def test_versions_tell_whatever_computes_a_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = versions_here()
    assert {"Python", "budgetlens", "code of budgetlens", *NUMERIC_PACKAGES} <= here.keys()
    assert differences(here, here) == ""
    for package in ("budgetlens", "interventions", "probes"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "model")
        )
    code = "from budgetlens.runs.engines.versions import versions_here; print(versions_here()['code of budgetlens'])"

    def digest() -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    shutil.copytree(ROOT / "budgetlens" / "model", tmp_path / "budgetlens" / "model")
    assert digest() == here["code of budgetlens"]
    changed = tmp_path / "probes" / "budgets.py"
    changed.write_text(changed.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert digest() != here["code of budgetlens"]


def test_a_directory_s_files_travel_to_a_machine_that_lacks_it(
    tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    moved = tmp_path / "moved"
    shutil.copytree(tiny_directory, moved)
    loaded = load_model(str(moved))
    source = source_of(loaded, "cpu", "float32")
    files = source.files(loaded.tokenizer)
    assert source.is_here()
    shutil.rmtree(moved)
    assert not source.is_here()
    source.keep(files)
    # A second worker of that machine is late, and harms nothing.
    source.keep(files)
    assert source.is_here()
    assert source.load().identity == loaded.identity
    assert [path.name[:17] for path in tmp_path.iterdir()] == ["budgetlens-model-"]
    # Another model in its place is not taken for it.
    (kept,) = tmp_path.iterdir()
    (kept / "config.json").write_text((kept / "config.json").read_text() + " ")
    with pytest.raises(ModelError, match="is another model on this worker's machine"):
        source.load()


def test_a_model_in_memory_travels_as_it_is(loaded: Any) -> None:
    from budgetlens.model.in_memory import wrap_model
    from tests.reference import tiny_models

    model = wrap_model(tiny_models.build("t5gemma2"), tiny_models.tokenizer(), name="mine", limits=None)
    arrived = source_of(model, "cpu", "float32").load()
    assert arrived.identity == model.identity
    assert memory_hash(arrived.model, arrived.tokenizer) in arrived.identity
    assert arrived.model is not model.model


# What is chosen.


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "slurm"}, "unknown engine 'slurm'; give one of local, ray"),
        ({"workers": 0}, "workers is a whole number of at least 1; got 0"),
        ({"workers": True}, "workers is a whole number"),
        ({"address": "auto"}, r"address= \(--address\) is of the engine ray"),
        ({"gpus_per_worker": 1}, r"gpus_per_worker= \(--gpus-per-worker\) is of the engine ray"),
    ],
)
def test_an_engine_that_is_none(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Engine(**given)


def test_ray_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("budgetlens.runs.engines.choice.find_spec", lambda name: None)
    assert main(["run", "exp08", "--engine", "ray"]) == 2
    assert "the engine ray needs Ray, which is not installed; pip install 'budgetlens[ray]'" in errors_of(
        capsys
    )


def test_an_engine_is_a_name_or_an_engine() -> None:
    with pytest.raises(ValueError, match="an engine is a name or what bl.Engine gives"):
        bl.run("exp08", engine=2)  # type: ignore[arg-type]


def test_how_many_workers_a_cluster_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("budgetlens.runs.engines.choice.find_spec", lambda name: name)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ray, cpus = Engine("ray"), [{"CPU": 4.0}, {"CPU": 2.0}]
    assert size_of(ray, "auto", cpus) == Size(6, 1, 0, "cpu")
    assert size_of(Engine("ray", workers=2), "auto", cpus) == Size(2, 2, 0, "cpu")
    gpus = [{"CPU": 16.0, "GPU": 8.0}, {"CPU": 64.0}]
    assert size_of(ray, "auto", gpus) == Size(8, 2, 1, "cuda")
    assert size_of(Engine("ray", gpus_per_worker=4), "cuda", gpus) == Size(2, 8, 4, "cuda")
    assert size_of(ray, "cpu", gpus) == Size(80, 1, 0, "cpu")
    with pytest.raises(ValueError, match="the device is the CPU, and GPUs for each worker"):
        size_of(Engine("ray", gpus_per_worker=1), "cpu", gpus)
    with pytest.raises(RunError, match=r"no machine with 1 GPUs for a worker \(it has 6 CPUs and 0 GPUs\)"):
        size_of(ray, "cuda", cpus)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_of([8, 8], 2) == 3
    assert threads_of([8, 8], 8) == 2


# Processes, whole runs.


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of eight examples, each a part of its own."""
    return write_corpus(tmp_path_factory.mktemp("engines") / "eight.jsonl", 8)


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path, inputs: Path) -> Path:
    """The run that all others must equal."""
    out = tmp_path_factory.mktemp("local") / "run"
    assert main([*command(out, tiny_directory, inputs), "--no-report"]) == 0
    return out


@pytest.fixture
def striking(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Kills the worker that is not at work on the first part as soon as two parts are written; the names of the dead."""
    pools: list[processes.ProcessPool] = []
    start, write = processes.ProcessPool.start, RunDirectory.write_part
    struck: list[str] = []

    def started(pool: processes.ProcessPool) -> str:
        pools.append(pool)
        return start(pool)

    def written(directory: RunDirectory, *given: Any) -> None:
        write(directory, *given)
        if len(list((directory.path / "parts").glob("part-*.json"))) == 2 and not struck:
            name, worker = next(iter(pools[0].running.items()))
            os.kill(worker.process.pid, signal.SIGKILL)
            struck.append(name)

    monkeypatch.setattr(processes.ProcessPool, "start", started)
    monkeypatch.setattr(RunDirectory, "write_part", written)
    yield struck
    assert all(not pool.running for pool in pools)


@pytest.mark.slow
def test_two_processes_one_of_them_killed_give_the_same_tables(
    tmp_path: Path,
    tiny_directory: Path,
    inputs: Path,
    local_run: Path,
    striking: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    assert main([*command(out, tiny_directory, inputs), "--no-report", "--workers", "2"]) == 0
    told = errors_of(capsys)
    assert f"worker {striking[0]} on process" in told
    assert "died (killed by SIGKILL, as where memory is used up); its part is computed again" in told
    assert len(csv_files(out)) >= 7
    assert_same_run(out, local_run)


@pytest.mark.slow
def test_a_killed_driver_continues_with_another_engine(
    tmp_path: Path, tiny_directory: Path, inputs: Path, local_run: Path
) -> None:
    """Its workers end with it, and what it had written is not computed again."""
    out = tmp_path / "run"
    given = [*command(out, tiny_directory, inputs), "--no-report"]
    driver = subprocess.Popen(
        [sys.executable, "-m", "budgetlens", *given, "--workers", "1"], cwd=ROOT, stderr=subprocess.PIPE
    )
    while len(list((out / "parts").glob("part-*.json"))) < 2:
        assert driver.poll() is None
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    # The worker holds the pipe as well: it closes when both are gone.
    assert driver.stderr is not None
    driver.stderr.read()
    driver.stderr.close()
    kept = {path: path.stat().st_mtime_ns for path in (out / "parts").glob("part-*.json")}
    assert 2 <= len(kept) < 8
    assert main(given) == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert_same_run(out, local_run)


SCRIPT = """
import sys
from dataclasses import dataclass

import pandas as pd
import budgetlens as bl
from tests.conftest import corpus_rows
from tests.reference import tiny_models

WORDS = "printed by a worker"

@bl.probe("steepest")
@dataclass(frozen=True)
class Steepest(bl.Probe):
    declares = bl.Declaration(
        title="Steepest",
        quantities=(bl.Quantity("steepest", "strongest key", "fraction of attention", smallest_difference=0.01),),
        axis="keys",
        categories=("strongest",),
    )

    def categories(self, site):
        return self.declares.categories if site.stack == "decoder" else ()

    def observe(self, attention):
        print(WORDS)
        return {"steepest": attention.probabilities.amax(dim=-1, keepdim=True)}

model = bl.wrap(tiny_models.build("t5gemma2"), tiny_models.tokenizer(), name="mine")
for engine in (bl.Engine("local"), bl.Engine("local", workers=1)):
    out = f"{sys.argv[1]}/{engine.workers}"
    bl.run(model=model, corpus=bl.corpus(corpus_rows(3)), prefix=["none", "oracle"], probes=[Steepest], out=out,
           layers=[0], report=False, engine=engine)
    print("ran", bl.open_run(out).manifest.command)
"""


@pytest.mark.slow
def test_a_script_s_classes_and_a_model_in_memory_travel_by_value(tmp_path: Path) -> None:
    """The script has no guard: a worker that ran it again would start runs of its own. What code prints is no answer."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("ran") == 2
    assert "printed by a worker" in done.stdout
    assert "printed by a worker" in done.stderr
    assert_same_run(tmp_path / "1", tmp_path / "None")
