"""A finished run read again by another analysis: a run directory of its own, which names the run that it reads.

It has no records: its tables are computed from those of the run that it reads (``Run.source``), which stays as it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from budgetlens.design.analysis import Analysis
from budgetlens.runs.run import Run
from budgetlens.runs.storage import RunDirectory


def read_again(analysis: Analysis, source: Run, out: Path | None, command: Sequence[str]) -> Run:
    """The run of ``analysis`` that reads ``source``; ``out`` None takes a directory under ``runs``.

    Raises ValueError where the source is a run of another analysis than the one that is read, or is ``out`` itself.
    """
    manifest = source.manifest
    if manifest.is_sweep:
        raise ValueError(
            f"{source.path} is a sweep over models; give one of its runs with source=… or --from, such as "
            f"{next((one.place(source.path) for one in source.swept), source.path)}"
        )
    if manifest.analysis != analysis.reads:
        raise ValueError(
            f"{source.path} is a run of {manifest.analysis}; {analysis.name} re-analyses runs of {analysis.reads}"
        )
    # Everything that can change a number is in the source's own identity.
    identity = {"analysis": analysis.name, "source": manifest.identity}
    directory = RunDirectory(out or _default_path(analysis.name, manifest.model.name, identity))
    if directory.path.resolve() == source.path.resolve():
        raise ValueError(
            f"{directory.path} (out=… or --out) is the run that is re-analysed; give another directory"
        )
    with directory.locked():
        directory.begin(
            identity,
            {
                **{key: value for key, value in manifest.content.items() if key != "identity"},
                "analysis": analysis.name,
                "title": analysis.title,
                "question": analysis.question,
                "source": str(source.path.resolve()),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": list(command),
            },
        )
    return Run.open(directory.path)


def _default_path(name: str, model: str, identity: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{name}-{model.rstrip('/').rpartition('/')[2]}-{digest}"
