"""What is saved of a finished run: its tables, figures and report, computed from its records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.report.caveats import caveats
from budgetlens.report.document import write_report
from budgetlens.report.drawing import draw_figures
from budgetlens.runs.figure_files import write_figures
from budgetlens.runs.run import Run
from budgetlens.tables.complete import tables_of
from budgetlens.tables.presentation import Table

#: What to do while another process writes to a run that is there already.
WAIT = "wait for it and give the same command again"


def report(run: Run) -> Path:
    """Write the report of a run and nothing else; its path. Raises RunError where another process writes to the run."""
    run = with_cautions(run)
    with run.directory.locked(WAIT):
        frames, presented = tables_of(run)
        return write_report(run, presented, draw_figures(run, frames), frames)


def with_cautions(run: Run) -> Run:
    """The run itself; of a sweep, with what must be held against each of its models among its own cautions."""
    if not run.manifest.is_sweep:
        return run
    common = set(caveats(run.manifest, {}))
    of_models = [
        f"{name}: {caveat}"
        for name, own in run.of_models.items()
        if isinstance(own, Run)
        for caveat in caveats(own.manifest, {})
        if caveat not in common
    ]
    told = replace(run, manifest=replace(run.manifest, cautions=(*run.manifest.cautions, *of_models)))
    # Their parts were hashed when they were opened, which takes its time.
    vars(told)["of_models"] = run.of_models
    return told


@dataclass(frozen=True)
class Saved:
    """What was saved of a run: its tables and figures by name, the figures' files, the report.

    ``drawn`` and ``page`` are None where no report was asked for.
    """

    frames: Mapping[str, pd.DataFrame]
    presented: Mapping[str, Table]
    drawn: Mapping[str, Figure] | None = None
    figures: Sequence[Path] = ()
    page: Path | None = None


def save(run: Run, *, page: bool = True, on_step: Callable[[str], None] | None = None) -> Saved:
    """Tables of a run, with ``page`` its figures and report too: computed and saved.

    ``on_step`` is told what is about to be made: statistics, figures, report.

    Raises RunError where another process writes to the run.
    """
    told = on_step or (lambda step: None)
    with run.directory.locked(WAIT):
        told("statistics")
        frames, presented = tables_of(run)
        run.directory.write_tables(frames)
        if not page:
            return Saved(frames, presented)
        told("figures")
        drawn = draw_figures(run, frames)
        saved = write_figures(run.directory, drawn)
        told("report")
        return Saved(frames, presented, drawn, saved, write_report(run, presented, drawn, frames))
