"""Parts given to workers until all are computed, whoever dies on the way: the same loop for every kind of worker."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from tqdm import tqdm

from budgetlens.runs.engines.engine import Part, Results
from budgetlens.runs.engines.versions import differences
from budgetlens.runs.engines.wire import unpacked
from budgetlens.runs.manifest import RunError

#: Parts that a worker has at once: one that it computes and one that waits, so that it never does.
AHEAD = 2

#: So many workers may die over one part before it counts as the part's fault.
MOST_DEATHS = 3

#: So many workers in a row may end before they are ready.
MOST_FAILED_STARTS = 3


@dataclass(frozen=True)
class Started:
    """A worker is there and tells its versions; ``place`` says where, for messages."""

    worker: str
    place: str
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Ready:
    """A worker holds the model, on a kind of ``processor``."""

    worker: str
    processor: str


@dataclass(frozen=True)
class Done:
    """A worker computed the first of the parts that it was given; ``result`` is packed."""

    worker: str
    result: bytes


@dataclass(frozen=True)
class Failed:
    """What a worker was asked raised an error: no fault of the machine, so that it would again."""

    worker: str
    error: Exception


@dataclass(frozen=True)
class Died:
    """A worker is gone, and ``reason`` is all that is known of it."""

    worker: str
    reason: str


Event = Started | Ready | Done | Failed | Died


class Pool(Protocol):
    """Workers of one kind. Each answers what it is asked in order; the answers are events."""

    def start(self) -> str:
        """Begin to start a worker; its name."""
        ...

    def make_ready(self, worker: str) -> None:
        """Ask a worker to load the model."""
        ...

    def submit(self, worker: str, part: Part) -> None:
        """Give a part to a worker that is ready."""
        ...

    def event(self) -> Event:
        """The next thing that happens; waits for it."""
        ...

    def stop(self, worker: str) -> None:
        """End a worker; it has no events any more."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


@dataclass
class _State:
    """What is going on: parts that wait, and the parts of each worker that is ready, in order."""

    waiting: deque[Part]
    starting: set[str] = field(default_factory=set)
    given: dict[str, deque[Part]] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    deaths: Counter[int] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    failed_starts: int = 0
    processor: str = ""

    @property
    def is_finished(self) -> bool:
        return not self.waiting and not any(self.given.values())


def scheduled(
    pool: Pool,
    parts: Sequence[Part],
    count: int,
    versions: Mapping[str, str],
    tell: Callable[[str], None],
) -> Results:
    """The results of all parts, from ``count`` workers at most; the pool is closed behind it.

    A worker that dies is replaced, and its parts are computed again. A worker whose ``versions`` differ, or whose
    kind of processor is another than the first one's, is refused: ``tell`` is told so. Parts are given out as results
    are taken, so that nothing piles up where they are written slower than they are computed.

    Raises RunError where no worker is left and where a part has ended three of them, and what a part or the loading of the
    model raises.
    """
    state = _State(deque(parts))
    with closing(pool):
        for _ in range(min(count, len(parts))):
            state.starting.add(pool.start())
        while not state.is_finished:
            match pool.event():
                case Started() as event:
                    state.places[event.worker] = event.place
                    differing = differences(event.versions, versions)
                    if differing:
                        _refuse(pool, state, event.worker, differing, tell)
                    else:
                        pool.make_ready(event.worker)
                case Ready() as event:
                    _welcome(pool, state, event, tell)
                case Done() as event:
                    state.given[event.worker].popleft()
                    result = replace(unpacked(event.result), worker=event.worker)
                    _feed(pool, state)
                    yield result
                case Failed() as event:
                    raise event.error
                case Died() as event:
                    _bury(pool, state, event, tell)


def told(words: str) -> None:
    """Tell something on the standard error, above a bar that may stand there."""
    tqdm.write(words, file=sys.stderr)


def _feed(pool: Pool, state: _State) -> None:
    """Give waiting parts to workers that have room, to those with the least first."""
    while state.waiting:
        worker = min(state.given, key=lambda name: len(state.given[name]), default=None)
        if worker is None or len(state.given[worker]) >= AHEAD:
            return
        part = state.waiting.popleft()
        state.given[worker].append(part)
        pool.submit(worker, part)


def _welcome(pool: Pool, state: _State, event: Ready, tell: Callable[[str], None]) -> None:
    state.processor = state.processor or event.processor
    if event.processor != state.processor:
        words = f"its kind of processor is {event.processor}, that of the others {state.processor}"
        _refuse(pool, state, event.worker, words, tell)
        return
    state.starting.discard(event.worker)
    state.failed_starts = 0
    state.given[event.worker] = deque()
    _feed(pool, state)


def _refuse(pool: Pool, state: _State, worker: str, why: str, tell: Callable[[str], None]) -> None:
    """A worker that would compute other numbers computes none."""
    words = f"worker {worker} on {state.places[worker]} is refused: {why}"
    tell(words)
    state.refusals.append(words)
    state.starting.discard(worker)
    pool.stop(worker)
    _require_workers(state)


def _bury(pool: Pool, state: _State, event: Died, tell: Callable[[str], None]) -> None:
    """Take back what a dead worker was given, and start another in its place."""
    lost = state.given.pop(event.worker, deque())
    if event.worker in state.starting:
        state.starting.discard(event.worker)
        state.failed_starts += 1
    place = state.places.get(event.worker, "its machine")
    words = f"worker {event.worker} on {place} died ({event.reason})"
    if lost:
        state.deaths[lost[0].index] += 1
        if state.deaths[lost[0].index] >= MOST_DEATHS:
            raise RunError(
                f"part {lost[0].index} ended {MOST_DEATHS} workers, the last with: {event.reason}; where memory is short, "
                "give fewer workers (--workers) or smaller batches (--batch-tokens, in another directory)"
            )
        words += "; its part is computed again"
    tell(words)
    state.refusals.append(words)
    state.waiting.extendleft(reversed(lost))
    if state.failed_starts < MOST_FAILED_STARTS:
        state.starting.add(pool.start())
    _require_workers(state)
    _feed(pool, state)


def _require_workers(state: _State) -> None:
    """Raise RunError where nobody is left to compute."""
    if not state.starting and not state.given:
        raise RunError(f"no worker is left: {'; '.join(dict.fromkeys(state.refusals))}")
