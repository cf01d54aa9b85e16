"""The fast tests with the oldest and the newest packages that setup.cfg admits: ``python -m tests.compat``.

Each end and each Python that is here gets a fresh environment. Where the registry has no CPU build of torch for a Python,
and so only one with gigabytes of CUDA behind it, the end is tried with the nearest version that has one, or not at all but
with ``--cuda``; which ends were tried, and with what, is told at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: What decides numbers, and whose lower bounds are the oldest end; other packages are as new as they come.
RANGED = ("transformers", "nnsight", "pandas")

PYTHONS = ("python3.11", "python3.12", "python3.13")

#: Names of what a torch with CUDA brings along.
_CUDA = re.compile(r"nvidia-|cuda-|triton")


@dataclass(frozen=True)
class End:
    """One end of the ranges: what pip is asked for beside the project."""

    name: str
    torch: tuple[str, ...]
    others: tuple[str, ...]


@dataclass(frozen=True)
class Tried:
    """What became of an end on a Python."""

    python: str
    end: str
    words: str
    passed: bool | None


def requirements() -> dict[str, str]:
    """The ranges of setup.cfg by the names of the packages."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = [line.split(None, 1) for line in settings["options"]["install_requires"].split("\n") if line]
    return {name: bounds[0] if bounds else "" for name, *bounds in lines}


def lower_bound(bounds: str) -> str:
    """The version that ``>=`` names. ValueError where there is none."""
    found = re.search(r">=\s*([0-9.]+)", bounds)
    if found is None:
        raise ValueError(f"{bounds!r} has no lower bound")
    return found.group(1)


def ends() -> tuple[End, End]:
    """The oldest and the newest; of torch the versions to try, in order: the end itself, then the one of constraints.txt."""
    ranges = requirements()
    constrained = re.search(
        r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert constrained is not None
    tested = f"torch=={constrained.group(1)}"
    oldest = tuple(f"{name}=={lower_bound(ranges[name])}.*" for name in RANGED)
    return (
        End("oldest", (f"torch=={lower_bound(ranges['torch'])}.*", tested), oldest),
        End("newest", (f"torch{ranges['torch']}", tested), ()),
    )


def brings_cuda(python: str, torch: str) -> bool | None:
    """Whether pip would take a build of torch with CUDA; None where it finds none at all."""
    asked = [
        python,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--report",
        "-",
        torch,
    ]
    done = subprocess.run(asked, capture_output=True, text=True)
    if done.returncode != 0:
        return None
    found = json.loads(done.stdout[done.stdout.index("{") :])["install"]
    return any(_CUDA.match(each["metadata"]["name"].lower()) for each in found)


def starts(python: str) -> bool:
    """Whether a Python is here: a version manager has commands of that name for those that it lacks too."""
    return (
        shutil.which(python) is not None
        and subprocess.run([python, "-V"], capture_output=True).returncode == 0
    )


def tried(python: str, end: End, folder: Path, tests: Sequence[str], *, cuda: bool) -> Tried:
    """Install an end into a fresh environment and run the tests there."""
    wanted = (False, True) if cuda else (False,)
    torch = next((torch for torch in end.torch if brings_cuda(python, torch) in wanted), None)
    if torch is None:
        return Tried(
            python, end.name, f"not tried: no CPU build of {' or '.join(end.torch)} is offered", None
        )
    environment = folder / f"{Path(python).name}-{end.name}"
    subprocess.run([python, "-m", "venv", str(environment)], check=True)
    own = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(own), "-m", "pip", "install", "--quiet"]
    # torch first, and then held: nothing else may replace it by a build with CUDA.
    subprocess.run([*pip, torch], check=True)
    version = subprocess.run(
        [str(own), "-c", "from importlib.metadata import version; print(version('torch'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    installed = subprocess.run([*pip, f"torch=={version}", *end.others, "--editable", f"{ROOT}[dev]"])
    if installed.returncode != 0:
        return Tried(python, end.name, f"could not be installed with torch {version}", False)
    asked = [str(own), "-m", "pytest", "-m", "not slow", *tests]
    status = subprocess.run(asked, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
    shutil.rmtree(environment)
    return Tried(python, end.name, f"torch {version}, {', '.join(end.others) or 'all newest'}", status == 0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try every end on every Python; 0 where at least one was tried and none failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pythons", nargs="+", default=[name for name in PYTHONS if starts(name)])
    parser.add_argument(
        "--cuda", action="store_true", help="take a torch that brings gigabytes of CUDA as well"
    )
    parser.add_argument(
        "--tests", nargs="*", default=["tests"], help="what pytest runs (default: all fast tests)"
    )
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="compat-") as folder:
        found = [
            tried(python, end, Path(folder), given.tests, cuda=given.cuda)
            for python in given.pythons
            for end in ends()
        ]
    for one in found:
        verdict = {True: "passed", False: "FAILED", None: "-"}[one.passed]
        print(f"{one.python:<12} {one.end:<7} {verdict:<7} {one.words}")
    judged = [one.passed for one in found if one.passed is not None]
    return 0 if judged and all(judged) else 1


if __name__ == "__main__":
    sys.exit(main())
