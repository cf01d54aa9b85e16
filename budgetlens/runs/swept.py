"""What a sweep over models left: which models it ran, in order, and the run of each; read without a model."""

from __future__ import annotations

import json
from dataclasses import dataclass

from budgetlens.runs.manifest import RunError
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory


@dataclass(frozen=True)
class Swept:
    """One model of a sweep: its name as given, the directory of its run, and why it failed, if it did."""

    name: str
    label: str
    failure: str = ""


def read_swept(run: Run) -> tuple[Swept, ...]:
    """The models of a sweep in order."""
    return swept_in(run.directory)


def swept_in(directory: RunDirectory) -> tuple[Swept, ...]:
    """The models whose runs a sweep's directory names so far; none where it was only begun."""
    path = directory.path / "sweep.json"
    if not path.is_file():
        return ()
    try:
        return tuple(Swept(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["models"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise RunError(f"{path} is damaged ({error}); remove it and give the same command again") from error


def finished(run: Run) -> dict[str, Run]:
    """The run of every model that did not fail, by its name. Raises RunError where one is unfinished."""
    return {one.name: Run.open(run.path / "models" / one.label) for one in read_swept(run) if not one.failure}
