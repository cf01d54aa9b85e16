"""Finishing a run: its tables, figures and report, computed from its records, saved, and the tables printed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd

from budgetlens.corpora.corpus import CORPORA
from budgetlens.report.caveats import caveats
from budgetlens.report.document import write_report
from budgetlens.report.drawing import draw_figures, save_figures
from budgetlens.report.summary import summary_lines
from budgetlens.runs.run import Run
from budgetlens.tables.build import build_tables
from budgetlens.tables.conclusions import conclusions_of
from budgetlens.tables.extract import Extract
from budgetlens.tables.presentation import Table
from budgetlens.tables.presented import presented_tables
from budgetlens.tables.sweeps import sweep_tables
from budgetlens.tables.terminal_text import visible

#: Columns of a table that is printed into a pipe or a file.
PLAIN_WIDTH = 160
#: Columns of the summary there.
SUMMARY_WIDTH = 80

INDEPENDENT = (
    "examples that share a document count as independent in this table, so that its intervals are too narrow"
)

#: What to do while another process writes to a run that is there already.
WAIT = "wait for it and give the same command again"

#: Rows of a table that are printed; the report and the CSV file have all.
MOST_PRINTED = 40


def tables_of(run: Run) -> tuple[dict[str, pd.DataFrame], dict[str, Table]]:
    """Every table of a finished run: the frames by name, and those with captions that are read first."""
    if run.manifest.is_sweep:
        return sweep_tables(run, own_tables)
    frames: dict[str, pd.DataFrame] = {}
    presented: dict[str, Table] = {}
    if run.has_records:
        frames |= build_tables(run)
        presented |= presented_tables(run, frames)
    own = own_tables(run)
    doubled = sorted(own.keys() & frames.keys())
    if doubled:
        raise ValueError(f"{run.analysis.name} names tables that every run has: {doubled}; rename them")
    frames |= {name: table.frame for name, table in own.items()}
    return frames, presented | own


def own_tables(run: Run) -> dict[str, Table]:
    """The tables that the analysis adds to those of every run."""
    own = {} if run.analysis.tables is None else dict(run.analysis.tables(run))
    return _with_dependence(own, run) if run.has_records else own


def opened(path: Path, corpus: str | None) -> Run:
    """A finished run for `tables` and `report`, whose reader says where its corpus lies, or doesn't.

    A line on the standard error tells where texts are left out of the figures, since the run alone names their file.
    """
    run = Run.open(path, corpus=corpus)
    named = run.manifest.corpus.asked or run.manifest.corpus.name
    if run.has_records and corpus is None and named not in CORPORA:
        print(
            f"The texts of the examples are left out of the figures: the run alone names {visible(named)}, which is not "
            "opened unless you give it with --corpus.",
            file=sys.stderr,
        )
    return run


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


def _with_dependence(own: Mapping[str, Table], run: Run) -> dict[str, Table]:
    """An analysis's own tables, which say so where examples share documents and they do not allow for it.

    The tables of this project allow for it; those that another distribution adds may not.
    """
    if run.documents is None:
        return dict(own)
    return {
        name: table if _allows(table) else replace(table, notes=(*table.notes, INDEPENDENT))
        for name, table in own.items()
    }


def _allows(table: Table) -> bool:
    # Without random numbers and correction there is neither an interval nor a test that could be too sure.
    return table.allows_for_documents or (table.seed is None and table.correction == "none")


def first_rows(table: Table) -> Table:
    """The table with its first rows shown, where it is too long to print; its caption then says so."""
    if isinstance(table, Extract) or len(table.frame) <= MOST_PRINTED:
        return table
    own = {each.name: getattr(table, each.name) for each in fields(Table)}
    return Extract(**own, shown_rows=tuple(range(MOST_PRINTED)))


@dataclass(frozen=True)
class Saved:
    """What was saved of a run: its tables by name, the figures' files, the report."""

    frames: Mapping[str, pd.DataFrame]
    presented: Mapping[str, Table]
    figures: Sequence[Path] = ()
    page: Path | None = None


def save(run: Run, *, page: bool = True) -> Saved:
    """Tables of a run, with ``page`` its figures and report too: computed and saved.

    Raises RunError where another process writes to the run.
    """
    with run.directory.locked(WAIT):
        frames, presented = tables_of(run)
        run.directory.write_tables(frames)
        if not page:
            return Saved(frames, presented)
        figures = draw_figures(run, frames)
        saved = save_figures(run, figures)
        return Saved(frames, presented, saved, write_report(run, presented, figures, frames))


def finish(run: Run, *, full: bool = True, page: bool = True) -> None:
    """What :func:`save` does, then what a terminal shows of it: with ``full`` every table, and the summary behind it."""
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
