"""A campaign of bad inputs: each gives a result or one clear sentence on stderr with exit status 2.

    python -m tests.bad_inputs --seed 7 --count 100

prints how many of each kind were tried, held and failed. Every kind of input is a generator in :data:`KINDS`: it makes
one input below a directory, from a random generator, and gives the command line that reads it. Another kind is another
entry there. What must hold is the same for all: no traceback, no character that acts on a terminal, and of a refusal one
sentence that begins with ``budgetlens``.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import random
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from budgetlens.command.main import main as command
from budgetlens.explorer.app import make_app
from budgetlens.explorer.data import load_run
from budgetlens.report import saving
from tests.bad_directories import manifests, model_directories, sound
from tests.bad_http import answer_of, drawn_requests
from tests.bad_http import fault_of as request_fault
from tests.bad_texts import corpora, design_files, option_lines, value_files

#: What a generator makes of a random generator and an empty directory: a command line, without the command's name.
Maker = Callable[[random.Random, Path], list[str]]

#: Seconds after which a command counts as hanging.
PATIENCE = 240

#: Longest sentence that still is one that somebody reads.
LONGEST = 2_000


@dataclass(frozen=True)
class Outcome:
    """One input that was tried: its command line, whether it was refused, and what is wrong with that (empty: it held)."""

    kind: str
    given: list[str]
    refused: bool
    fault: str


def attempt(kind: str, given: list[str]) -> Outcome:
    """Run the command in this process, and judge what it says."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _patience(),
            _without_figures(),
        ):
            status = command(given)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    # Whatever it is, a traceback is the fault that is looked for, and the campaign goes on.
    except Exception:
        return Outcome(kind, given, False, "raised " + traceback.format_exc(limit=-3).replace("\n", " | "))
    texts = [stream.buffer.getvalue().decode("utf-8", errors="replace") for stream in (out, err)]  # type: ignore[attr-defined]
    return Outcome(kind, given, status != 0, fault_of(status, *texts))


def _without_figures() -> contextlib.AbstractContextManager[object]:
    """Nothing of them rests on what is read, and they take most of the time."""
    return mock.patch.object(saving, "draw_figures", return_value={})


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    """End what hangs with an error, which counts as a fault."""

    def stop(*_: object) -> None:
        raise RuntimeError(f"it hung for {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fault_of(status: int, printed: str, told: str) -> str:
    """What is wrong with an exit status and what was printed; empty where nothing is."""
    acting = {character for character in printed + told if not character.isprintable()} - {"\n", "\t", "\r"}
    if acting:
        return f"prints {sorted(acting)!r}"
    if "Traceback" in told:
        return f"a traceback: {told[-300:]!r}"
    if status == 0:
        return ""
    if status != 2:
        return f"exit status {status}: {told[-300:]!r}"
    # Notes about the corpus may stand before it; the refusal is the last line, and nothing follows.
    lines = told.splitlines()
    refusals = [line for line in lines if line.startswith("budgetlens")]
    if len(refusals) != 1 or lines[-1] != refusals[0]:
        return f"no single sentence: {told[-300:]!r}"
    if len(refusals[0]) > LONGEST:
        return f"a sentence of {len(refusals[0])} characters: {refusals[0][:200]!r}"
    if refusals[0].partition(": ")[2].strip() in ("", "None"):
        return f"a sentence that says nothing: {refusals[0]!r}"
    return ""


#: Every kind of input by name. Another one is another entry.
KINDS: dict[str, Maker] = {
    "corpora": corpora,
    "value files": value_files,
    "option lines": option_lines,
    "design files": design_files,
    "model directories": model_directories,
    "manifests": manifests,
}
#: Requests are no command lines: the explorer answers them.
REQUESTS = "HTTP requests"


def campaign(kinds: Mapping[str, Maker], seed: int, count: int) -> Iterator[Outcome]:
    """``count`` inputs of every kind; the same seed makes the same ones, whatever other kinds there are."""
    for kind, make in kinds.items():
        for number in range(count):
            with tempfile.TemporaryDirectory(prefix="bad-input-") as folder:
                yield attempt(kind, make(random.Random(f"{seed} {kind} {number}"), Path(folder)))


def requests(seed: int, count: int) -> Iterator[Outcome]:
    """``count`` requests that no page of the explorer sends, to one of a run of random numbers."""
    app = make_app({"run": load_run(sound() / "run")})
    for request in drawn_requests(app, random.Random(f"{seed} {REQUESTS}"), count):
        noted = _Errors()
        logging.getLogger().addHandler(noted)
        try:
            answer = answer_of(app, request)
            status, fault = answer.status_code, request_fault(request, answer) or ""
        # As in a command, a traceback is the fault that is looked for.
        except Exception:
            status, fault = 500, "raised " + traceback.format_exc(limit=-3).replace("\n", " | ")
        finally:
            logging.getLogger().removeHandler(noted)
        # An exception in a callback is told on the page with status 200, and logged.
        fault = fault or "; ".join(noted.told)
        yield Outcome(REQUESTS, [request.what, request.method, request.path[:60]], status >= 400, fault)


class _Errors(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


def table(outcomes: list[Outcome]) -> str:
    """Kind, tried, held (of which with a result), failed."""
    lines = [f"{'kind':<20}{'tried':>7}{'held':>7}{'failed':>8}{'gave a result':>16}"]
    for kind in dict.fromkeys(outcome.kind for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        failed = sum(bool(outcome.fault) for outcome in own)
        results = sum(not outcome.refused and not outcome.fault for outcome in own)
        lines.append(f"{kind:<20}{len(own):>7}{len(own) - failed:>7}{failed:>8}{results:>16}")
    return "\n".join(lines)


def main() -> int:
    """Run the campaign; the exit status is 1 where an input failed."""
    parser = argparse.ArgumentParser(description="Bad inputs: a result or one clear sentence each.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100, help="inputs of every kind (default: 100)")
    parser.add_argument(
        "--kind", action="append", choices=sorted([*KINDS, REQUESTS]), help="only this kind; repeatable"
    )
    options = parser.parse_args()
    chosen = {name: make for name, make in KINDS.items() if not options.kind or name in options.kind}
    outcomes = list(campaign(chosen, options.seed, options.count))
    if not options.kind or REQUESTS in options.kind:
        outcomes += requests(options.seed, options.count)
    for outcome in outcomes:
        if outcome.fault:
            print(
                f"{outcome.kind}: {[word[:200] for word in outcome.given]!r}\n    {outcome.fault[:1_500]!r}"
            )
    print(table(outcomes))
    return int(any(outcome.fault for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
