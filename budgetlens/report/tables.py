"""Tables in the report: shown with caption and scopes, and every column as a CSV to download."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from budgetlens.report.page import slug
from budgetlens.runs.spreadsheets import guarded_csv, spreadsheet_csv
from budgetlens.tables.presentation import Table, heading
from figures.export import packed

#: What stands for a minus: a hyphen before a number and behind nothing that it could join to it.
HYPHEN = re.compile(r"(?<![\w.)-])-(?=\.?\d)")
#: Rows of the largest table that is kept in the page; `RUN/tables` has larger ones.
MOST_ROWS = 20_000


@dataclass(frozen=True)
class Download:
    """A CSV that the page holds, packed."""

    anchor: str
    file: str
    rows: int
    packed: str


@dataclass(frozen=True)
class ShownTable:
    """A table as the page shows it: columns with what they hold (numbers, short words, text), rows, notes, its CSV."""

    anchor: str
    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    footnotes: Mapping[str, str]
    facts: str
    file: str
    count: int
    download: Download | None


@dataclass(frozen=True)
class FurtherTable:
    """A table that the page has as CSV alone; without one where its file is not as it was written."""

    name: str
    columns: str
    download: Download | None


def shown_table(name: str, table: Table, frame: pd.DataFrame, told: Callable[[str], str]) -> ShownTable:
    """A presented table; what is downloaded under its name is the run's ``frame``, whose ids stay.

    ``told`` puts words in place of ids (:func:`budgetlens.report.readable.in_words`).
    """
    shown = table.shown().map(str)
    numbers = {
        heading(column)
        for column in table.frame.columns
        if pd.api.types.is_numeric_dtype(table.frame[column])
        and not pd.api.types.is_bool_dtype(table.frame[column])
    }
    kinds = [
        "number" if column in numbers or _all_numbers(shown[column]) else _text_kind(shown[column])
        for column in shown.columns
    ]
    kept = len(frame) <= MOST_ROWS
    return ShownTable(
        slug("table", name),
        told(table.title),
        tuple(zip(map(_heading, shown.columns), kinds, strict=True)),
        tuple(tuple(true_minus(told(entry)) for entry in row) for row in shown.to_numpy()),
        {letter: told(note) for letter, note in table.footnotes.items()},
        told(table.facts),
        f"{name}.csv",
        len(frame),
        _download(name, spreadsheet_csv(frame), len(frame)) if kept else None,
    )


def true_minus(text: str) -> str:
    """A text whose negative numbers have a minus sign; a CSV keeps the hyphen, which programs read."""
    return HYPHEN.sub("−", text)


def _heading(name: str) -> str:
    """A column's heading without the line that stands for an index."""
    return str(name).replace("_", "")


def _all_numbers(column: pd.Series) -> bool:
    """Whether a text column holds numbers that were formatted already."""
    return bool(pd.to_numeric(column, errors="coerce").notna().all()) and len(column) > 0


def _text_kind(column: pd.Series) -> str:
    """Columns of words that need no room get none."""
    longest = max((len(str(entry)) for entry in column), default=0)
    return "short" if longest <= 14 else "text"


def _download(name: str, content: str, rows: int) -> Download:
    return Download(slug("csv", name), f"{name}.csv", rows, packed(content))


def further_tables(tables: Mapping[str, str], altered: Sequence[str]) -> list[FurtherTable]:
    """The run's tables that are not presented, as CSV, by name; ``altered`` ones are named only."""
    found = [FurtherTable(name.replace("_", " "), "", None) for name in altered]
    for name, content in tables.items():
        frame = pd.read_csv(io.StringIO(content), dtype=str) if content else pd.DataFrame()
        packed_csv = _download(name, guarded_csv(content) if content else content, len(frame))
        columns = ", ".join(_heading(heading(str(column))) for column in frame.columns)
        found.append(FurtherTable(name.replace("_", " "), columns, packed_csv))
    return found
