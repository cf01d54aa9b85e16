"""Faults of the machine, tried at random and counted: ``python -m tests.faults --seed 1 --kills 100 --damage all``.

Three analyses run on a tiny model. They are killed at random moments, their files are damaged, the disk and the memory
are used up, and two write at once. After each, the same command (or `tables`, `report`, the explorer's reading) must
either complete with the tables of the undisturbed run, byte for byte, or refuse in one sentence that says what to do.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from budgetlens.runs.run import Run
from tests.conftest import save_tiny, write_corpus
from tests.faults_process import Ended, address_space, file_size, run, start, wait

#: What is run, by name: one factor, another one, and an analysis of the project.
STUDIES = {
    "prefix": ["custom", "--factor", "prefix=none,oracle"],
    "prompt": ["custom", "--factor", "prompt=none,query"],
    "exp07": ["exp07"],
}
EXAMPLES = 4
#: How far a number may be from the undisturbed one after a halved batch, of the largest in its column: a thousand times
#: what float32 keeps.
BOUND = 1_000 * float(np.finfo(np.float32).eps)
#: So many kills come one after another before a run may finish.
CHAIN = 4
KILLS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Count:
    """How often a class of faults was tried, and what did not hold."""

    tried: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass
class Campaign:
    """The undisturbed runs, and what became of the disturbed ones."""

    folder: Path
    generator: random.Random
    counts: dict[str, Count] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def command(self, study: str, out: Path) -> list[str]:
        """The command of a study into ``out``; every example is a part of its own."""
        inputs = ["--model", str(self.folder / "model"), "--corpus", str(self.folder / "corpus.jsonl")]
        small = ["--layers", "0", "--batch-tokens", "60", "--device", "cpu", "--quiet"]
        return ["run", *STUDIES[study], *inputs, *small, "--out", str(out)]

    def whole(self, study: str) -> Path:
        """The undisturbed run of a study."""
        return self.folder / "whole" / study

    def prepare(self) -> None:
        """Model, corpus and the undisturbed runs."""
        save_tiny("t5gemma2", self.folder / "model")
        write_corpus(self.folder / "corpus.jsonl", EXAMPLES)
        for study in STUDIES:
            ended = run(self.command(study, self.whole(study)))
            if ended.status != 0:
                raise RuntimeError(f"the undisturbed run of {study} failed: {ended.told}")
            self.seconds[study] = ended.seconds

    @contextmanager
    def place(self, study: str | None = None) -> Iterator[Path]:
        """A new directory, or a copy of the undisturbed run of ``study``; gone afterwards."""
        with tempfile.TemporaryDirectory(dir=self.folder) as parent:
            out = Path(parent) / "run"
            if study is not None:
                shutil.copytree(self.whole(study), out)
            yield out

    def note(self, kind: str, problem: str) -> None:
        """Count one trial of a class; ``problem`` is empty where it held."""
        count = self.counts.setdefault(kind, Count())
        count.tried += 1
        print(f"{kind}: {problem or 'held'}", file=sys.stderr, flush=True)
        if problem:
            count.failures.append(problem)

    def judged(self, study: str, out: Path, ended: Ended, *, may_refuse: bool) -> str:
        """What is wrong with an end; empty where the tables are those of the undisturbed run, or it refused well."""
        if ended.status == 0:
            return different(out, self.whole(study))
        if not may_refuse:
            return f"ended with {ended.status} where it should complete: {ended.told}"
        return ended.refusal_problem()

    def completed(self, study: str, out: Path) -> str:
        """Give the command again, undisturbed: what is wrong with what comes of it."""
        return self.judged(study, out, run(self.command(study, out), figures=False), may_refuse=False)


def tables(out: Path) -> dict[str, bytes]:
    """The tables of a run, by name."""
    return {path.name: path.read_bytes() for path in sorted((out / "tables").glob("*.csv"))}


def different(out: Path, whole: Path) -> str:
    """Which tables differ, and what was left behind; empty where nothing is wrong."""
    ours, theirs = tables(out), tables(whole)
    names = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    left = sorted(path.name for pattern in (".*.tmp", ".*.part") for path in out.rglob(pattern))
    words = [f"tables differ: {names}"] if names else []
    return "; ".join([*words, *([f"left behind: {left}"] if left else [])])


def further_apart(out: Path, whole: Path) -> str:
    """Which tables of a run that was computed in smaller batches are further from the undisturbed ones than `BOUND`.

    Text must be the same; a number may differ by the rounding of other batches, measured by the largest in its column.
    """
    apart = []
    names = sorted(tables(out).keys() | tables(whole).keys())
    for name in names:
        ours, theirs = (
            pd.read_csv(folder / "tables" / name) if (folder / "tables" / name).is_file() else pd.DataFrame()
            for folder in (out, whole)
        )
        same = list(ours.columns) == list(theirs.columns) and len(ours) == len(theirs)
        for column in theirs.columns if same else ():
            own, other = ours[column], theirs[column]
            if pd.api.types.is_float_dtype(other) and pd.api.types.is_float_dtype(own):
                room = BOUND * float(np.nanmax(np.abs(other), initial=0.0))
                same &= bool(np.allclose(own, other, rtol=0, atol=room, equal_nan=True))
            else:
                same &= own.fillna("").tolist() == other.fillna("").tolist()
        apart += [] if same else [name]
    return f"tables differ by more than rounding: {apart}" if apart else ""


# Kills.


def phase(out: Path) -> str:
    """What a run was at when it was killed, as its directory tells."""
    if not (out / "run.json").exists():
        return "loading"
    if len(list((out / "parts").glob("part-*.json"))) < EXAMPLES:
        return "capture"
    if not (out / "tables" / "index.json").exists():
        return "tables"
    return "report" if (out / "figures").exists() else "drawing"


def kill(campaign: Campaign, number: int) -> None:
    """Kill runs at random moments; each chain of kills into one directory ends with a run that must complete."""
    for first in range(0, number, CHAIN):
        study = campaign.generator.choice(list(STUDIES))
        with campaign.place() as out:
            kinds, problem = [], ""
            for _ in range(min(CHAIN, number - first)):
                kind, own = _kill_once(campaign, study, out)
                kinds.append(kind)
                problem = problem or own
            problem = problem or campaign.completed(study, out)
            for kind in kinds:
                campaign.note(kind, problem)


def _kill_once(campaign: Campaign, study: str, out: Path) -> tuple[str, str]:
    number = campaign.generator.choice(KILLS)
    child = start(campaign.command(study, out))
    ended = wait(child, stop=(number, campaign.generator.uniform(0, 1.1) * campaign.seconds[study]))
    kind = f"{number.name} while {phase(out)}"
    if ended.status == 0:
        return f"{number.name} after the end", different(out, campaign.whole(study))
    if number == signal.SIGKILL:
        return kind, "" if ended.status == -number else f"ended with {ended.status}: {ended.told}"
    if ended.status != 128 + number:
        return kind, f"ended with {ended.status}, not {128 + number}: {ended.told}"
    return kind, "" if "the same command continues a run" in ended.told else f"told: {ended.told}"


# Damage.


def damages(campaign: Campaign, path: Path, study: str, name: str) -> dict[str, Callable[[], object]]:
    """What can be done to a file: each by its name."""
    content = path.read_bytes()
    place = campaign.generator.randrange(max(len(content), 1))
    flipped = bytes([*content[:place], content[place] ^ 1, *content[place + 1 :]]) if content else b"\x01"
    other = campaign.whole("prompt" if study == "prefix" else "prefix") / name
    found: dict[str, Callable[[], object]] = {
        "cut": lambda: path.write_bytes(content[: len(content) // 2]),
        "emptied": lambda: path.write_bytes(b""),
        "flipped": lambda: path.write_bytes(flipped),
        "deleted": path.unlink,
    }
    if other.is_file():
        found["swapped"] = lambda: shutil.copy(other, path)
    return found


def files_of(out: Path) -> list[str]:
    """Every file of a run, by its path below it; its lock holds nothing."""
    return sorted(
        path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and path.name != ".lock"
    )


def damage(campaign: Campaign, study: str, how: str) -> None:
    """Damage files of a finished run: read what is left, and let the command mend it.

    ``how``: ``all``, each file and each damage by itself; ``folders``, each folder's files at once; ``some``, these in
    one way each.
    """
    names = files_of(campaign.whole(study))
    kinds = ("cut", "emptied", "flipped", "deleted", "swapped")
    for group in [[name] for name in names] if how == "all" else _by_folder(names):
        for kind in [campaign.generator.choice(kinds[:4])] if how == "some" else kinds:
            with campaign.place(study) as out:
                done = [
                    action()
                    for name in group
                    for own, action in damages(campaign, out / name, study, name).items()
                    if own == kind
                ]
                if done:
                    label = f"{kind}: {group[0].split('/')[0]}"
                    campaign.note(label, _after_damage(campaign, study, out))


def _by_folder(names: Sequence[str]) -> list[list[str]]:
    """Run.json and its copy apart from each other and from the rest, which goes by folder."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name if name == "parts/run.json" else name.split("/")[0], []).append(name)
    return list(groups.values())


def _after_damage(campaign: Campaign, study: str, out: Path) -> str:
    """Readers first, who must be right or refuse; then the command, which must mend."""
    ended = run(["read", str(out), str(campaign.whole(study))])
    if ended.status and (problem := ended.refusal_problem()):
        return f"reading: {problem}"
    problem = campaign.judged(study, out, run(["tables", str(out)], figures=False), may_refuse=True)
    if problem:
        return f"tables: {problem}"
    problem = campaign.completed(study, out)
    return f"run: {problem}" if problem else ""


# Room.


def fill(campaign: Campaign, times: int) -> None:
    """Files may not grow beyond a limit; then they may."""
    for _ in range(times):
        study = campaign.generator.choice(list(STUDIES))
        size = int(2 ** campaign.generator.uniform(12, 22))
        with campaign.place() as out:
            ended = run(campaign.command(study, out), limit=file_size(size))
            problem = campaign.judged(study, out, ended, may_refuse=True)
            campaign.note("limit on files", problem or campaign.completed(study, out))


def fill_disk(campaign: Campaign, times: int) -> None:
    """A small disk is full; then it is larger. Needs the right to mount one."""
    for _ in range(times):
        study = campaign.generator.choice(list(STUDIES))
        with (
            campaign.place() as out,
            _disk(out.parent / "disk", campaign.generator.randint(40, 3000)) as disk,
        ):
            if disk is None:
                return
            ended = run(campaign.command(study, disk / "run"))
            problem = campaign.judged(study, disk / "run", ended, may_refuse=True)
            if not problem and ended.status != 0 and "no space is left" not in ended.told:
                problem = f"told: {ended.told}"
            subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
            campaign.note("full disk", problem or campaign.completed(study, disk / "run"))


@contextmanager
def _disk(path: Path, kilobytes: int) -> Iterator[Path | None]:
    path.mkdir(parents=True)
    given = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(path)]
    if shutil.which("mount") is None or subprocess.run(given, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def starve(campaign: Campaign, times: int) -> None:
    """The address space is limited; then it is not."""
    for _ in range(times):
        study = campaign.generator.choice(list(STUDIES))
        more = int(2 ** campaign.generator.uniform(22, 28))
        with campaign.place() as out:
            ended = run(campaign.command(study, out), limit=address_space(more))
            # Where a thread of a native library gets no memory, the library ends the process itself (abort, or a null
            # pointer), and no line of Python can answer. It stands as a class of its own; as after any kill, nothing may be
            # lost.
            aborted = ended.status in (-signal.SIGABRT, -signal.SIGSEGV)
            problem = "" if aborted else campaign.judged(study, out, ended, may_refuse=True)
            kind = "limit on memory" + (", ended by a library" if aborted else "")
            problem = problem or campaign.completed(study, out)
            # Some parts may have been computed in smaller batches, before the end or at it, and run.json says so.
            if problem.startswith("tables differ") and Run.open(out).manifest.computed.get("smaller_batches"):
                kind, problem = "limit on memory, halved", further_apart(out, campaign.whole(study))
            campaign.note(kind, problem)


# Two writers.


def collide(campaign: Campaign, times: int) -> None:
    """Two processes write to one directory: one may refuse, and in the end the tables are right."""
    for _ in range(times):
        study = campaign.generator.choice(list(STUDIES))
        second = campaign.generator.choice(("run", "tables", "report"))
        with campaign.place(None if second == "run" else study) as out:
            first = campaign.command(study, out)
            children = [start(first), start(first if second == "run" else [second, str(out)])]
            ends = [wait(child) for child in children]
            problems = [campaign.judged(study, out, end, may_refuse=True) for end in ends if end.status]
            problem = next(filter(None, problems), "") or campaign.completed(study, out)
            campaign.note(f"run and {second} at once", problem)


def remove(campaign: Campaign, times: int) -> None:
    """The directory is removed while a run writes to it: it stops, and nothing is made again without run.json."""
    for _ in range(times):
        study = campaign.generator.choice(list(STUDIES))
        with campaign.place() as out:
            child = start(campaign.command(study, out))
            moment = campaign.generator.uniform(0.2, 1.0) * campaign.seconds[study]
            # At once: a file that is written while a folder is emptied would stay in it, and would not be made again.
            ended = wait(child, stop=(lambda out=out: _taken_away(out), moment))
            there = out.exists() and any(not path.name.startswith(".") for path in out.iterdir())
            problem = "" if ended.status == 0 else ended.refusal_problem()
            if there and not (out / "run.json").exists():
                problem = problem or f"made again without run.json: {files_of(out)[:3]}"
            campaign.note("directory removed", problem or campaign.completed(study, out))


def _taken_away(out: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(out.rename(out.with_name("taken away")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the campaign and print its table; 0 where everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=40, help="how many kills")
    parser.add_argument("--damage", choices=("all", "folders", "some", "none"), default="folders")
    parser.add_argument("--others", type=int, default=5, help="how often each of the other faults is tried")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        campaign = Campaign(Path(folder), random.Random(options.seed))
        campaign.prepare()
        kill(campaign, options.kills)
        for fault in (fill, fill_disk, starve, collide, remove):
            fault(campaign, options.others)
        if options.damage != "none":
            damage(campaign, "prefix", options.damage)
    print(report(campaign.counts))
    return 1 if any(count.failures for count in campaign.counts.values()) else 0


def report(counts: dict[str, Count]) -> str:
    """The table of classes, and every failure."""
    lines = [f"{'class':<32} {'tried':>6} {'held':>6} {'failed':>6}"]
    for kind, count in sorted(counts.items()):
        failed = len(count.failures)
        lines.append(f"{kind:<32} {count.tried:>6} {count.tried - failed:>6} {failed:>6}")
    total = sum(count.tried for count in counts.values())
    failed = sum(len(count.failures) for count in counts.values())
    lines.append(f"{'all':<32} {total:>6} {total - failed:>6} {failed:>6}")
    lines += [f"{kind}: {failure}" for kind, count in counts.items() for failure in count.failures]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
