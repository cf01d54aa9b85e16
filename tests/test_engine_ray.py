"""The engine of a Ray cluster: two nodes on this machine, of which one is killed in the midst of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from budgetlens.command.main import main
from budgetlens.runs.manifest import RunError
from budgetlens.runs.storage import RunDirectory
from tests.conftest import write_corpus
from tests.test_runs import assert_same_run, command, csv_files, errors_of

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow

#: Ray gives a node half a minute to start, which is short where the machine is busy.
TRIES = 5


def node_of(cluster: Any) -> Any:
    """Another node with one processor."""
    for _ in range(TRIES - 1):
        try:
            return cluster.add_node(num_cpus=1)
        # Ray raises a bare Exception.
        except Exception as error:
            print(f"a node did not start: {error}")
    return cluster.add_node(num_cpus=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes with a processor each; this process is connected to neither."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # Else workers get what other processes leave, which on a busy machine is nothing.
        patch.setenv("RAY_worker_niceness", "0")
        made = Cluster()
        node_of(made)
        node_of(made)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("ray") / "eight.jsonl", 8)


@pytest.fixture(scope="module")
def local_run(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path, inputs: Path) -> Path:
    out = tmp_path_factory.mktemp("local") / "run"
    assert main([*command(out, tiny_directory, inputs), "--no-report"]) == 0
    return out


def wait_for_a_worker_on(node: str) -> None:
    """Until an actor lives on the node: on a busy machine all parts may be computed before the second one starts."""
    from ray._private import state

    end = time.monotonic() + 120
    while time.monotonic() < end:
        if any(
            own["Address"]["NodeID"] == node and own["State"] == "ALIVE" for own in state.actors().values()
        ):
            return
        time.sleep(0.1)
    raise AssertionError("no worker started on the second node")


def test_a_node_that_is_killed_costs_its_parts_alone(
    cluster: Any,
    tmp_path: Path,
    tiny_directory: Path,
    inputs: Path,
    local_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = RunDirectory.write_part

    def written(directory: RunDirectory, *given: Any) -> None:
        write(directory, *given)
        if len(list((directory.path / "parts").glob("part-*.json"))) == 2:
            (second,) = cluster.worker_nodes
            wait_for_a_worker_on(second.node_id)
            cluster.remove_node(second, allow_graceful=False)

    monkeypatch.setattr(RunDirectory, "write_part", written)
    given = ["--no-report", "--engine", "ray", "--address", cluster.address, "--workers", "2"]
    out = tmp_path / "run"
    assert main([*command(out, tiny_directory, inputs), *given]) == 0
    told = errors_of(capsys)
    # Whether it had a part just then, which is computed again and told, is a matter of moments: tests/test_engines.py has
    # a worker that surely has one.
    assert "died (" in told
    assert len(csv_files(out)) >= 7
    assert_same_run(out, local_run)


def test_what_a_cluster_can_not_give_is_told(
    cluster: Any, tmp_path: Path, tiny_directory: Path, inputs: Path
) -> None:
    from budgetlens.runs.engines.choice import Engine
    from budgetlens.runs.engines.ray_actors import connected

    with (
        pytest.raises(RunError, match="no machine with 1 GPUs for a worker"),
        connected(Engine("ray", address=cluster.address), "cuda", "auto"),
    ):
        raise AssertionError("nobody has a GPU")
