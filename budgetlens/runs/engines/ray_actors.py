"""The engine of a Ray cluster: each actor holds the model once and computes parts; nothing is read from a shared disk."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
import ray
from ray.exceptions import RayError, RayTaskError

from budgetlens.model.loaded import LoadedModel
from budgetlens.runs.engines.choice import Engine
from budgetlens.runs.engines.engine import Part, Results, Task
from budgetlens.runs.engines.model_source import ModelSource, source_of
from budgetlens.runs.engines.scheduling import Died, Done, Event, Failed, Ready, Started, scheduled, told
from budgetlens.runs.engines.sizes import Size, size_of
from budgetlens.runs.engines.versions import versions_here
from budgetlens.runs.engines.worker import Worker, thread_variables
from budgetlens.runs.manifest import RunError

#: Seconds without any event after which a line tells what is waited for.
PATIENCE = 60.0


class Actor(Worker):
    """A worker on some machine of the cluster."""

    def place(self) -> str:
        """The machine's address, as Ray's own tools name it."""
        return str(ray.util.get_node_ip_address())


@dataclass(frozen=True)
class Cluster:
    """A cluster that is connected to, and the workers that it has room for."""

    size: Size
    dtype: str

    @property
    def device(self) -> str:
        """Kind of the workers' device."""
        return self.size.device.partition(":")[0]

    def computed(self, model: LoadedModel, task: Task, parts: Sequence[Part]) -> Results:
        """Results as they come."""
        source = source_of(model, self.size.device, self.dtype)
        pool = ActorPool(source, model, task, self.size.threads, self.size.gpus)
        return scheduled(pool, parts, self.size.workers, versions_here(), told)


@contextlib.contextmanager
def connected(engine: Engine, device: str, dtype: str) -> Iterator[Cluster]:
    """The cluster that is asked for, or one of this machine alone; a connection that was there already stays.

    ``device`` ``auto`` is CUDA where the workers have GPUs, and the CPU elsewhere. Raises RunError where no cluster
    answers, or where it has no room for a single worker.
    """
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=engine.address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RayError, ValueError, RuntimeError) as error:
            raise RunError(
                f"no Ray cluster answers at {engine.address or 'this machine'} ({error}); start one with `ray start "
                "--head`, or leave --address out to compute on this machine"
            ) from error
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        yield Cluster(size_of(engine, device, nodes), dtype)
    finally:
        if ours:
            ray.shutdown()


@dataclass
class _Actor:
    """An actor's handle, and what it was asked and has not answered, in order: the references by what they answer."""

    handle: Any
    asked: dict[Any, str] = field(default_factory=dict)


@dataclass
class ActorPool:
    """Actors of a cluster: a death is one of the process, of its machine, or of the way there; each costs its parts."""

    source: ModelSource
    model: LoadedModel
    task: Task
    threads: int
    gpus: int
    running: dict[str, _Actor] = field(default_factory=dict)
    versions: dict[str, Mapping[str, str]] = field(default_factory=dict)
    started: int = 0
    _given: Any = None
    _files: Any = None

    def start(self) -> str:
        """Ask the cluster for an actor, which may have to wait for room."""
        name, self.started = str(self.started), self.started + 1
        remote = ray.remote(
            num_cpus=self.threads,
            num_gpus=self.gpus,
            max_restarts=0,
            runtime_env={"env_vars": thread_variables(self.threads)},
        )(Actor)
        self.running[name] = _Actor(remote.remote(self.threads))
        self._ask(name, "versions")
        self._ask(name, "place")
        return name

    def make_ready(self, worker: str) -> None:
        """Let an actor load the model; files go along once an actor has said that its machine lacks them."""
        if self._given is None:
            # Once for all: each machine fetches one copy.
            self._given = ray.put(cloudpickle.dumps((self.source, self.task)))
        self._ask(worker, "ready", self._given)

    def submit(self, worker: str, part: Part) -> None:
        """Give an actor a part."""
        self._ask(worker, "part", cloudpickle.dumps(part))

    def event(self) -> Event:
        """The next answer or the next death; tells what is waited for where nothing happens for long."""
        while True:
            found = self._first_answer()
            worker = next(name for name, actor in self.running.items() if found in actor.asked)
            name = self.running[worker].asked.pop(found)
            event = self._event(worker, name, found)
            if event is not None:
                return event

    def _first_answer(self) -> Any:
        """The first reference that is answered; of each actor only the one that it is at."""
        while True:
            heads = [next(iter(actor.asked)) for actor in self.running.values() if actor.asked]
            found, _ = ray.wait(heads, num_returns=1, timeout=PATIENCE)
            if found:
                return found[0]
            waiting = [name for name in self.running if name not in self.versions]
            if waiting:
                print(
                    f"no part was finished for {PATIENCE:.0f} s; {len(waiting)} worker(s) wait until the cluster has "
                    f"{self.threads} CPUs and {self.gpus} GPUs for each (`ray status` tells what it has)",
                    file=sys.stderr,
                )

    def _event(self, worker: str, name: str, answered: Any) -> Event | None:
        """What an answer means; None where it is one half of one, or asks for something else first."""
        try:
            answer = ray.get(answered)
        except RayTaskError as error:
            return Failed(worker, _cause(error))
        except RayError as error:
            # An actor that can't be reached for a while may compute on: nobody waits for it any more.
            self.stop(worker)
            return Died(worker, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
        if name == "versions":
            self.versions[worker] = answer
            return None
        if name == "place":
            return Started(worker, answer, self.versions[worker])
        if name == "part":
            return Done(worker, answer)
        if answer is None:
            if self._files is None:
                self._files = ray.put(self.source.files(self.model.tokenizer))
            self._ask(worker, "ready", self._given, self._files)
            return None
        return Ready(worker, answer)

    def stop(self, worker: str) -> None:
        """End an actor."""
        ray.kill(self.running.pop(worker).handle)

    def close(self) -> None:
        """End all actors."""
        for worker in list(self.running):
            self.stop(worker)

    def _ask(self, worker: str, name: str, *given: Any) -> None:
        actor = self.running[worker]
        actor.asked[getattr(actor.handle, name).remote(*given)] = name


def _cause(error: RayTaskError) -> Exception:
    """What a method of an actor raised itself."""
    cause = error.cause
    return cause if isinstance(cause, Exception) else RuntimeError(str(error))
