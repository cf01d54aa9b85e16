"""Finishing a run: its tables, figures and report, computed from its records, saved, and the tables printed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from budgetlens.corpora.known import CORPORA
from budgetlens.report.caveats import caveats
from budgetlens.report.saving import WAIT, Saved, save, with_cautions
from budgetlens.report.summary import summary_lines
from budgetlens.runs.run import Run
from budgetlens.statistics.choices import Choices
from budgetlens.tables.conclusions import conclusions_of
from budgetlens.tables.extract import first_rows
from budgetlens.tables.terminal_text import visible

#: Columns of a table that is printed into a pipe or a file.
PLAIN_WIDTH = 160
#: Columns of the summary there.
SUMMARY_WIDTH = 80


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


def choose(path: Path, choices: Choices) -> None:
    """Let a run keep what is chosen of its statistics; nothing chosen leaves it as it is."""
    kept = choices.to_mapping()
    if not kept:
        return
    run = Run.open(path)
    # Before it is written: a probe that is not there is refused.
    _ = replace(run, given=choices).declarations if run.has_records else None
    with run.directory.locked(WAIT):
        run.directory.renew({"choices": {**run.choices.to_mapping(), **kept}})


def finish(run: Run, *, full: bool = True, page: bool = True) -> None:
    """Save a run; then what a terminal shows of it: with ``full`` every table, and the summary behind it."""
    run = with_cautions(run)
    saved = save(run, page=page)
    told = caveats(run.manifest, saved.presented)
    if full:
        _print_all(run, saved, told)
    width = shutil.get_terminal_size((SUMMARY_WIDTH, 0)).columns if sys.stdout.isatty() else SUMMARY_WIDTH
    concluded = conclusions_of(run, saved.frames)
    for line in summary_lines(run, concluded, len(told), saved.page, width):
        print(line)


def _print_all(run: Run, saved: Saved, told: Sequence[str]) -> None:
    """Tables, caveats, and where each figure and model is."""
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    for table in saved.presented.values():
        print(first_rows(table).to_terminal(width))
    for caveat in told:
        print(f"caveat:  {visible(caveat)}")
    for path in saved.figures:
        print(visible(f"figure:  {path}"))
    for one in run.swept:
        print(visible(f"model:   {one.name}: {one.failure or one.place(run.path)}"))
    print()
