"""Finishing a run: its tables, figures and report, computed from its records, saved, and the tables printed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

import pandas as pd

from analyses.analysis import analysis_of
from analyses.report.document import write_report
from analyses.report.drawing import draw_figures, save_figures
from analyses.storage.run_directory import RunDirectory
from analyses.tables.build import build_tables, save_tables
from analyses.tables.extract import Extract
from analyses.tables.presentation import Table
from analyses.tables.presented import presented_tables
from analyses.tables.run_statistics import shared_documents

#: Columns of a table that is printed into a pipe or a file.
PLAIN_WIDTH = 160

INDEPENDENT = (
    "examples that share a document count as independent in this table, so that its intervals are too narrow"
)

#: Rows of a table that are printed; the report and the CSV file have all.
MOST_PRINTED = 40


def tables_of(directory: RunDirectory) -> tuple[dict[str, pd.DataFrame], dict[str, Table]]:
    """Every table of a finished run: the frames by name, and those with captions that are read first."""
    manifest = directory.manifest()
    analysis = analysis_of(manifest)
    frames: dict[str, pd.DataFrame] = {}
    presented: dict[str, Table] = {}
    if analysis.has_records:
        frames |= build_tables(directory)
        presented |= presented_tables(manifest, frames)
    if analysis.tables is not None:
        own = analysis.tables(directory, analysis.plan(manifest["protocol"]))
        doubled = sorted(own.keys() & frames.keys())
        if doubled:
            raise ValueError(f"{analysis.name} names tables that every run has: {doubled}; rename them")
        frames |= {name: table.frame for name, table in own.items()}
        presented |= _with_dependence(own, directory) if analysis.has_records else own
    return frames, presented


def report(directory: RunDirectory) -> Path:
    """Write the report of a run and nothing else; its path."""
    frames, presented = tables_of(directory)
    return write_report(directory, presented, draw_figures(directory, frames))


def _with_dependence(own: Mapping[str, Table], directory: RunDirectory) -> dict[str, Table]:
    """An analysis's own tables, which say so where examples share documents and they do not allow for it."""
    if shared_documents(directory.read_records("trials")) is None:
        return dict(own)
    return {name: replace(table, notes=(*table.notes, INDEPENDENT)) for name, table in own.items()}


def first_rows(table: Table) -> Table:
    """The table with its first rows shown, where it is too long to print; its caption then says so."""
    if isinstance(table, Extract) or len(table.frame) <= MOST_PRINTED:
        return table
    own = {each.name: getattr(table, each.name) for each in fields(Table)}
    return Extract(**own, shown_rows=tuple(range(MOST_PRINTED)))


def finish(directory: RunDirectory) -> None:
    """Tables, figures and report of a run: computed, saved, and the tables printed."""
    frames, presented = tables_of(directory)
    save_tables(directory, frames)
    figures = draw_figures(directory, frames)
    saved = save_figures(directory, figures)
    page = write_report(directory, presented, figures)
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    for table in presented.values():
        print(first_rows(table).to_terminal(width))
    print(f"tables:  {directory.path / 'tables'} ({', '.join(frames)})")
    for path in saved:
        print(f"figure:  {path}")
    print(f"report:  {page}")
