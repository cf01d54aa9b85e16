"""What a run names that lies outside of it: a stranger's run may name anything, so that its reader is asked first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from budgetlens.corpora.known import CORPORA
from budgetlens.runs.known_models import KNOWN_MODELS
from budgetlens.runs.manifest import Manifest

#: A name on the hub, which is looked for in the reader's own cache.
_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)?")


@dataclass(frozen=True)
class Named:
    """A path that a run names, what lies there (`model`, `corpus`, `file of the design`), and the option that gives it."""

    what: str
    path: str
    option: str

    def __str__(self) -> str:
        return f"{self.what} {self.path}"


def named_paths(manifest: Manifest) -> tuple[Named, ...]:
    """The paths outside of the run that its run.json names.

    Known models and corpora and names on the hub are none: nothing but the reader's own copy of them is opened.
    """
    found = []
    model = manifest.model.name
    if model and is_path(model):
        found.append(Named("model", model, "--model"))
    corpus = manifest.corpus.asked or manifest.corpus.name
    if corpus not in CORPORA:
        found.append(Named("corpus", corpus, "--corpus"))
    found += [Named("file of the design", str(path), "--trust") for path in design_files(manifest)]
    return tuple(found)


def is_path(model: str) -> bool:
    """Whether a model's name leads into the file system, and not to the built-in model or into the hub's cache."""
    return model not in KNOWN_MODELS and (_HUB_NAME.fullmatch(model) is None or Path(model).exists())


def design_files(manifest: Manifest) -> tuple[Path, ...]:
    """The files that the levels of the run's design read, such as a direction to steer along."""
    found: dict[Path, None] = {}
    for cell in manifest.found_analysis.plan(manifest.protocol).design.cells:
        try:
            interventions = cell.interventions
        except ValueError:
            # A level that can't be made, for one whose file is not here, is told where the cell is measured.
            continue
        for intervention in interventions:
            found |= dict.fromkeys(intervention.files())
    return tuple(found)


def not_opened(named: Sequence[Named]) -> str:
    """One sentence that tells what is not opened, and which options give it."""
    options = [*dict.fromkeys(item.option for item in named if item.option != "--trust"), "--trust"]
    given = f"give it with {' or '.join(options)}" if len(options) > 1 else "give --trust"
    return (
        f"The run alone names {', '.join(map(str, named))}, so that it is not opened; {given} "
        "where you know where the run is from."
    )
