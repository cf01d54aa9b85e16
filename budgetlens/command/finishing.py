"""Finishing a run: its tables, figures and report, computed from its records, saved, and the tables printed."""

from __future__ import annotations

import sys
from pathlib import Path

from budgetlens.corpora.corpus import CORPORA
from budgetlens.report.caveats import caveats
from budgetlens.report.conclusion import conclusion_lines
from budgetlens.report.saving import save, with_cautions
from budgetlens.runs.run import Run
from budgetlens.tables.conclusions import conclusions_of
from budgetlens.tables.extract import first_rows
from budgetlens.tables.terminal_text import visible

#: Columns of a table that is printed into a pipe or a file.
PLAIN_WIDTH = 160


def opened(path: Path, corpus: str | None) -> Run:
    """A finished run for `tables` and `report`, whose reader says where its corpus lies, or doesn't.

    A line on the standard error tells where texts are left out of the figures, since the run alone names their file.
    """
    run = Run.open(path, corpus=corpus)
    named = run.manifest.corpus.asked or run.manifest.corpus.name
    if run.has_records and corpus is None and run.own_rows is None and named not in CORPORA:
        print(
            f"The texts of the examples are left out of the figures: the run alone names {visible(named)}, which is not "
            "opened unless you give it with --corpus.",
            file=sys.stderr,
        )
    return run


def finish(run: Run) -> None:
    """What :func:`budgetlens.report.saving.save` does, and the tables printed."""
    run = with_cautions(run)
    saved = save(run)
    presented = saved.presented
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    for table in presented.values():
        print(first_rows(table).to_terminal(width))
    for caveat in caveats(run.manifest, presented):
        print(f"caveat:  {visible(caveat)}")
    for line in conclusion_lines(conclusions_of(run, saved.frames)):
        print(visible(line))
    print(visible(f"tables:  {run.path / 'tables'} ({', '.join(saved.frames)})"))
    for path in saved.figures:
        print(visible(f"figure:  {path}"))
    print(visible(f"report:  {saved.page}"))
    for one in run.swept:
        print(visible(f"model:   {one.name}: {one.failure or one.place(run.path)}"))
