"""All tables of a run: those of every run, those of a sweep, and those that its analysis adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from budgetlens.runs.run import Run
from budgetlens.tables.build import build_tables
from budgetlens.tables.presentation import Table
from budgetlens.tables.presented import presented_tables
from budgetlens.tables.sweeps import sweep_tables

INDEPENDENT = (
    "examples that share a document count as independent in this table, so that its intervals are too narrow"
)


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
