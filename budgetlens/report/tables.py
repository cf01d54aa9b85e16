"""Tables in the report: shown with caption and scopes, and every column as a CSV to download."""

from __future__ import annotations

import base64
import gzip
import io
from collections.abc import Mapping, Sequence

import pandas as pd

from budgetlens.report.page import Section, escaped, foreign, scroller, slug
from budgetlens.report.page import heading as section_heading
from budgetlens.runs.spreadsheets import guarded_csv, spreadsheet_csv
from budgetlens.tables.presentation import Table, heading

#: Rows of the largest table that is kept in the page; `RUN/tables` has larger ones.
MOST_ROWS = 20_000


def tables_section(
    tables: Mapping[str, Table],
    further: Mapping[str, str],
    altered: Sequence[str] = (),
    frames: Mapping[str, pd.DataFrame] | None = None,
) -> Section:
    """The presented tables, then the run's further ones as CSV, both by name; ``altered`` ones are named only.

    ``frames`` are the run's tables by name. A presented table may have other columns and rows than the run's of that
    name; what is downloaded under it is the run's.
    """
    parts = [(slug("table", name), table.title) for name, table in tables.items()]
    shown = "\n".join(
        _presented(name, table, (frames or {}).get(name, table.frame)) for name, table in tables.items()
    )
    downloads = _further(further, altered)
    if downloads:
        parts.append(("further-tables", "Further tables"))
    about = (
        "<p>Each table shows its main columns; the CSV holds every column and every digit. "
        "Numbers are rounded to what their interval supports.</p>"
    )
    return Section("tables", "Tables", f"{about}\n{shown}\n{downloads}", tuple(parts))


def _presented(name: str, table: Table, frame: pd.DataFrame) -> str:
    anchor = slug("table", name)
    notes = "".join(f"<li>{letter}: {foreign(note)}</li>" for letter, note in table.footnotes.items())
    return "\n".join(
        [
            section_heading(3, anchor, table.title),
            download(name, spreadsheet_csv(frame), len(frame))
            if len(frame) <= MOST_ROWS
            else f'<p class="about">tables/{escaped(name)}.csv, beside this page, has all {len(frame):,} rows.</p>',
            scroller(table_markup(table), table.title),
            f'<ul class="footnotes">{notes}</ul>' if notes else "",
            f'<p class="about">{escaped(table.facts)}</p>',
        ]
    )


def table_markup(table: Table) -> str:
    """A `table` element: column headers, the first column as row headers, numbers aligned."""
    shown = table.shown()
    numbers = {
        heading(name)
        for name in table.frame.columns
        if pd.api.types.is_numeric_dtype(table.frame[name])
        and not pd.api.types.is_bool_dtype(table.frame[name])
    }
    kinds = [
        "number" if name in numbers or _all_numbers(shown[name]) else _text_kind(shown[name])
        for name in shown.columns
    ]
    head = "".join(
        f'<th scope="col" class="{kind}">{escaped(name)}</th>'
        for name, kind in zip(shown.columns, kinds, strict=True)
    )
    rows = []
    for record in shown.to_numpy():
        cells = [
            f'<th scope="row" class="{kind}">{foreign(entry)}</th>'
            if position == 0
            else f'<td class="{kind}">{foreign(entry) if kind != "number" else escaped(entry)}</td>'
            for position, (entry, kind) in enumerate(zip(record, kinds, strict=True))
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<table><caption class="visually-hidden">{escaped(table.title)}</caption>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody></table>"
    )


def _all_numbers(column: pd.Series) -> bool:
    """Whether a text column holds numbers that were formatted already."""
    return bool(pd.to_numeric(column, errors="coerce").notna().all()) and len(column) > 0


def _text_kind(column: pd.Series) -> str:
    """Columns of words that need no room get none."""
    longest = max((len(str(entry)) for entry in column), default=0)
    return "short" if longest <= 14 else "text"


def download(name: str, content: str, rows: int) -> str:
    """A button that saves a CSV, and the CSV itself, packed; the same table gives the same bytes."""
    anchor = slug("csv", name)
    packed = base64.b64encode(gzip.compress(content.encode("utf-8"), 9, mtime=0)).decode("ascii")
    label = f"Download {name}.csv ({rows:,} {'row' if rows == 1 else 'rows'})"
    return (
        f'<div class="tools"><button type="button" data-csv="{anchor}" data-name="{escaped(name)}.csv">'
        f"{escaped(label)}</button></div>"
        f'<script type="text/plain" id="{anchor}">{packed}</script>'
    )


def _further(tables: Mapping[str, str], altered: Sequence[str]) -> str:
    if not tables and not altered:
        return ""
    entries = [
        f"<li><b>{escaped(name)}</b>: not shown, since its file is not as it was written</li>"
        for name in altered
    ]
    for name, content in tables.items():
        frame = pd.read_csv(io.StringIO(content), dtype=str) if content else pd.DataFrame()
        entries.append(
            f"<li><b>{escaped(name)}</b>: {escaped(', '.join(map(str, frame.columns)))}"
            f"{download(name, guarded_csv(content) if content else content, len(frame))}</li>"
        )
    return f"{section_heading(3, 'further-tables', 'Further tables')}\n<ul>{''.join(entries)}</ul>"
