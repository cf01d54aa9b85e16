"""The engine of several processes on one machine: each starts afresh, holds the model once and computes parts."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cloudpickle
import torch

from budgetlens.model.loaded import LoadedModel
from budgetlens.runs.engines.engine import Part, Results, Task
from budgetlens.runs.engines.frames import read_frame, write_frame
from budgetlens.runs.engines.model_source import source_of
from budgetlens.runs.engines.scheduling import Died, Done, Event, Failed, Ready, Started, scheduled, told
from budgetlens.runs.engines.versions import versions_here
from budgetlens.runs.engines.worker import thread_variables

#: Seconds that a process gets to end by itself.
PATIENCE = 5.0

#: A new interpreter that runs nothing of the notebook or script that started it, and does not look where it is started.
MAIN = "from budgetlens.runs.engines.process_worker import main; main()"


@dataclass(frozen=True)
class Processes:
    """``workers`` processes on this machine, whose devices are named ``device``: of several GPUs each gets its own."""

    workers: int
    device_name: str
    dtype: str

    @property
    def device(self) -> str:
        """Kind of the workers' device."""
        return self.device_name.partition(":")[0]

    def computed(self, model: LoadedModel, task: Task, parts: Sequence[Part]) -> Results:
        """Results as they come."""
        source = source_of(model, self.device_name, self.dtype)
        places = self._places()

        def given(number: int) -> bytes:
            place = places[number % len(places)]
            # By value what a notebook defines, which no other process could import.
            return cloudpickle.dumps((replace(source, device=place), task))

        pool = ProcessPool(given, max(1, torch.get_num_threads() // self.workers))
        return scheduled(pool, parts, self.workers, versions_here(), told)

    def _places(self) -> list[str]:
        """The devices that workers take in turn."""
        if self.device_name == "cuda":
            return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        return [self.device_name]


@dataclass
class _Process:
    """A worker's process, and its number."""

    process: subprocess.Popen[bytes]
    number: int


@dataclass
class ProcessPool:
    """Worker processes that answer through pipes; ``given(number)`` is what a worker of that number gets ready with.

    ``code`` is what each of them runs.
    """

    given: Callable[[int], bytes]
    threads: int
    code: str = MAIN
    events: queue.SimpleQueue[Event] = field(default_factory=queue.SimpleQueue)
    running: dict[str, _Process] = field(default_factory=dict)
    started: int = 0

    def start(self) -> str:
        """Start a process, which tells its versions first."""
        number, self.started = self.started, self.started + 1
        environment = {
            **os.environ,
            **thread_variables(self.threads),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", self.code, str(self.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        name = str(number)
        self.running[name] = _Process(process, number)
        threading.Thread(target=self._listen, args=(name, process), daemon=True).start()
        self._ask(name, "versions")
        return name

    def make_ready(self, worker: str) -> None:
        """Let a worker load the model."""
        self._ask(worker, "ready", self.given(self.running[worker].number))

    def submit(self, worker: str, part: Part) -> None:
        """Give a worker a part."""
        self._ask(worker, "part", cloudpickle.dumps(part))

    def event(self) -> Event:
        """The next answer, or the next death."""
        while True:
            event = self.events.get()
            # Of one that was stopped nobody wants to know any more.
            if event.worker in self.running:
                if isinstance(event, Died):
                    _end([self.running.pop(event.worker).process])
                return event

    def stop(self, worker: str) -> None:
        """End a process."""
        _end([self.running.pop(worker).process])

    def close(self) -> None:
        """End all processes."""
        _end([each.process for each in self.running.values()])
        self.running.clear()

    def _ask(self, worker: str, name: str, *given: Any) -> None:
        pipe = self.running[worker].process.stdin
        assert pipe is not None
        try:
            write_frame(pipe, (name, given))
        except OSError:
            # It died; whoever listens to it tells so.
            return

    def _listen(self, worker: str, process: subprocess.Popen[bytes]) -> None:
        """Turn a worker's answers into events until it ends."""
        assert process.stdout is not None
        while True:
            try:
                name, answer = read_frame(process.stdout)
            except (EOFError, OSError):
                process.stdout.close()
                self.events.put(Died(worker, _how(process.wait())))
                return
            self.events.put(_event(worker, process.pid, name, answer))


def _event(worker: str, pid: int, name: str, answer: Any) -> Event:
    match name:
        case "versions":
            return Started(worker, f"process {pid}", answer)
        case "ready":
            return Ready(worker, answer)
        case "part":
            return Done(worker, answer)
    return Failed(worker, pickle.loads(answer))


def _how(status: int) -> str:
    """How a process ended, by its exit status."""
    if status >= 0:
        return f"it ended with status {status}"
    killed = signal.Signals(-status).name
    return f"killed by {killed}" + (", as where memory is used up" if killed == "SIGKILL" else "")


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End processes: without anybody who asks they do so by themselves, and are ended where they don't."""
    for process in processes:
        assert process.stdin is not None
        # What was still to be written to it may have no reader any more.
        with contextlib.suppress(OSError):
            process.stdin.close()
    for process in processes:
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
