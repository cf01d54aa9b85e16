"""Which models a sweep is over, and where the run of each lies; read without a model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from budgetlens.runs.manifest import RunError
from budgetlens.runs.storage import SWEEP, RunDirectory

#: The folder of the models' runs below a sweep.
MODELS_FOLDER = "models"

#: A label is one name below the folder of models and leads nowhere else.
_LABEL = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00]+")


@dataclass(frozen=True)
class Swept:
    """One model of a sweep: its name as given, the directory of its run, and why it failed, if it did."""

    name: str
    label: str
    failure: str = ""

    def place(self, sweep: Path) -> Path:
        """Where its run lies, below the directory of the sweep."""
        return sweep / MODELS_FOLDER / self.label


def swept_in(directory: RunDirectory) -> tuple[Swept, ...]:
    """The models that a sweep's directory names, in order; none where it was only begun.

    Raises RunError where sweep.json is damaged, altered or another run's.
    """
    if not (directory.path / SWEEP).is_file():
        return ()
    entries = directory.sweep().get("models")
    if not isinstance(entries, list):
        raise _damaged(directory)
    found = []
    for entry in entries:
        texts = isinstance(entry, dict) and all(isinstance(value, str) for value in entry.values())
        if not texts or entry.keys() != {"name", "label", "failure"} or not _LABEL.fullmatch(entry["label"]):
            raise _damaged(directory)
        found.append(Swept(**entry))
    return tuple(found)


def places_of_runs(path: Path) -> list[Path]:
    """Where the runs lie that a directory holds: those of a sweep's models that did not fail, else itself."""
    directory = RunDirectory(path)
    if not directory.manifest().is_sweep:
        return [path]
    return [one.place(path) for one in swept_in(directory) if not one.failure]


def write_swept(directory: RunDirectory, swept: Iterable[Swept]) -> None:
    """Note the models of a sweep."""
    directory.write_sweep({"models": [asdict(one) for one in swept]})


def _damaged(directory: RunDirectory) -> RunError:
    return RunError(
        f"{directory.path / SWEEP} is damaged or altered; remove it and give the `run` command that made the "
        "sweep again, which writes it"
    )
