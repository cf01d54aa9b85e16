"""How throughput grows with workers, by simulation: ``python -m tests.scaling --workers 1 8 64``.

Parts take two seconds in which nobody computes, and give what a part of exp08 gives; everything else is the engine's own:
processes, pipes, the loop, and the one writer. So what is told is what the driver costs, on whatever machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as parquet

from budgetlens.command.main import main as budgetlens
from budgetlens.runs.engines.engine import Part, Result
from budgetlens.runs.engines.processes import ProcessPool
from budgetlens.runs.engines.scheduling import Event, Ready, scheduled, told
from budgetlens.runs.engines.wire import packed
from budgetlens.runs.storage import PartFacts, RunDirectory, part_name

SECONDS = 2.0
#: Parts of each worker.
ROUNDS = 6


@dataclass
class SleepingPool(ProcessPool):
    """Workers that all begin at once, so that their start is not part of the time; each gets what it is to send back."""

    count: int = 1
    records: dict[str, pa.Table] = field(default_factory=dict)
    waiting: deque[Event] = field(default_factory=deque)
    ready: int = 0
    since: float = 0.0

    def submit(self, worker: str, part: Part) -> None:
        self._ask(worker, "part", packed(Result(part.index, self.records, PartFacts("asleep"))))

    def event(self) -> Event:
        while self.ready < self.count or not self.waiting:
            event = super().event()
            if isinstance(event, Ready):
                self.ready += 1
                self.waiting.append(event)
                self.since = time.perf_counter()
            elif self.ready < self.count:
                return event
            else:
                self.waiting.append(event)
        return self.waiting.popleft()


@dataclass(frozen=True)
class Scaled:
    """What was measured with some workers: parts per second, their share of the ideal, and the driver's own cost.

    ``processor`` is milliseconds of its processor time per part, ``memory`` by how many MiB it grew at most.
    """

    workers: int
    throughput: float
    efficiency: float
    processor: float
    memory: float


def scaled(workers: int, records: dict[str, pa.Table], directory: RunDirectory) -> Scaled:
    """Run the simulation with some workers."""
    code = f"from tests.sleeper import main; main({SECONDS})"
    pool = SleepingPool(lambda number: b"", 1, code, count=workers, records=records)
    process, count = psutil.Process(), workers * ROUNDS
    before, spent = process.memory_info().rss, process.cpu_times()
    peak = before
    for result in scheduled(pool, [Part(index, ()) for index in range(count)], workers, {}, told):
        directory.write_part(part_name(result.index), result.records, result.facts)
        peak = max(peak, process.memory_info().rss)
    took = time.perf_counter() - pool.since
    own = process.cpu_times()
    cost = own.user + own.system - spent.user - spent.system
    return Scaled(
        workers, count / took, ROUNDS * SECONDS / took, 1000 * cost / count, (peak - before) / 2**20
    )


def part_of_exp08(folder: Path) -> tuple[dict[str, pa.Table], RunDirectory]:
    """The records of a part of exp08 on the built-in model, and the run's directory, to write copies to."""
    status = budgetlens(["run", "exp08", "--n", "9", "--out", str(folder / "run"), "--no-report", "--quiet"])
    if status != 0:
        raise RuntimeError(f"exp08 ended with {status}")
    files = (folder / "run" / "records").glob("*/part-00000.parquet")
    return {path.parent.name: parquet.read_table(path) for path in files}, RunDirectory(folder / "run")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        records, directory = part_of_exp08(Path(folder))
        print(f"{'workers':>8} {'parts/s':>8} {'of ideal':>9} {'driver ms/part':>15} {'driver + MiB':>13}")
        for workers in given.workers:
            found = scaled(workers, records, directory)
            print(
                f"{found.workers:>8} {found.throughput:>8.2f} {found.efficiency:>9.1%} {found.processor:>15.1f} "
                f"{found.memory:>13.1f}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
