"""Commands in forks of one process that has imported everything once: what the campaign of faults starts and waits for."""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import budgetlens.explorer.data
import budgetlens.model.loading
import budgetlens.runs.request
from budgetlens.command.main import main
from budgetlens.report import saving
from budgetlens.runs.run import Run
from figures import export as figures_export

#: Seconds after which a process counts as hanging.
PATIENCE = 240

#: What says what to do.
REMEDY = re.compile(r"\b(give|bring|free|raise|wait|remove|make it|run it again|run into|continues)\b")


@dataclass(frozen=True)
class Child:
    """A process that was started, where it writes its errors, and when."""

    pid: int
    errors: Path
    since: float


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status (minus the signal that killed it), its last line of errors, seconds."""

    status: int
    told: str
    errors: str
    seconds: float

    def refusal_problem(self) -> str:
        """Why this is no refusal in one sentence that says what to do; empty where it is."""
        good = self.status == 2 and self.told.startswith("budgetlens: ") and REMEDY.search(self.told)
        if good and "Traceback" not in self.errors:
            return ""
        return f"ended with {self.status}: {self.errors[-600:] if 'Traceback' in self.errors else self.told}"


def start(
    arguments: Sequence[str], limit: Callable[[], None] | None = None, *, figures: bool = True
) -> Child:
    """Start a command under a limit; ``read RUN WHOLE`` reads a run as every reader does.

    Without ``figures`` none are drawn: most of a small run's time goes into them, and no number rests on them.
    """
    handle, name = tempfile.mkstemp(prefix="faults-", suffix=".err")
    pid = os.fork()
    if pid:
        os.close(handle)
        return Child(pid, Path(name), time.monotonic())
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        torch.set_num_threads(1)
        # One look of each figure: the narrow one touches no file.
        figures_export.stored_figure = lambda figure: str(figure.to_json())  # type: ignore[assignment]
        if not figures:
            saving.draw_figures = lambda run, frames: {}  # type: ignore[assignment]
        if limit is not None:
            limit()
        status = read(*arguments[1:]) if arguments[0] == "read" else main(arguments)
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def wait(child: Child, stop: tuple[int | Callable[[], object], float] | None = None) -> Ended:
    """Wait for a process; ``stop``: a signal to send or an action to do, and the seconds after its start."""
    deadline = child.since + PATIENCE
    while True:
        pid, code = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            break
        now = time.monotonic()
        if stop is not None and now >= child.since + stop[1]:
            if callable(stop[0]):
                stop[0]()
            else:
                os.kill(child.pid, stop[0])
            stop = None
        elif now > deadline:
            os.kill(child.pid, signal.SIGKILL)
        time.sleep(0.005)
    seconds = time.monotonic() - child.since
    errors = child.errors.read_text(encoding="utf-8", errors="replace").strip()
    child.errors.unlink()
    told = errors.splitlines()[-1] if errors else ""
    if seconds > PATIENCE:
        told = f"hung: {told}"
    return Ended(os.waitstatus_to_exitcode(code), told, errors, seconds)


def run(arguments: Sequence[str], limit: Callable[[], None] | None = None, *, figures: bool = True) -> Ended:
    """Start a command and wait for it."""
    return wait(start(arguments, limit, figures=figures))


def read(path: str, whole: str) -> int:
    """Read a run as tables, report and explorer do: the same as the undisturbed one, or an error that says why not."""
    try:
        ours, theirs = Run.open(path), Run.open(whole)
        for kind in theirs.kinds:
            if not ours.records(kind).equals(theirs.records(kind)):
                raise AssertionError(f"other {kind} records were read")
        budgetlens.explorer.data.load_run(Path(path))
        for name in ours.table_names:
            if ours.table_text(name) != theirs.table_text(name):
                raise AssertionError(f"another table {name} was read")
        if ours.shown_examples() != theirs.shown_examples():
            raise AssertionError("other examples were read")
    except ValueError as error:
        print(f"budgetlens: {error}", file=sys.stderr)
        return 2
    return 0


def file_size(most: int) -> Callable[[], None]:
    """No file may grow beyond so many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def address_space(more: int) -> Callable[[], None]:
    """The process may take so many bytes more than it has."""

    def limit() -> None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return limit
