"""Long tables of which people are shown some rows; the CSV file holds all."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pandas as pd

from budgetlens.tables.presentation import Table

#: Rows of a table that are printed or shown in a notebook; the report and the CSV file have all.
MOST_PRINTED = 40


@dataclass(frozen=True)
class Extract(Table):
    """A table with ``shown_rows``: the places of the rows that print and report show, in order.

    Its CSV form has every row, and so has the file under ``tables``.
    """

    shown_rows: tuple[int, ...] = ()

    @property
    def part(self) -> Table:
        """The shown rows as a table of their own, with the same caption."""
        own = {each.name: getattr(self, each.name) for each in fields(Table)}
        return Table(**own | {"frame": self.frame.iloc[list(self.shown_rows)].reset_index(drop=True)})

    def shown(self) -> pd.DataFrame:
        """The shown rows as text."""
        return self.part.shown()

    @property
    def footnotes(self) -> dict[str, str]:
        """The sentences of the shown rows."""
        return self.part.footnotes

    @property
    def facts(self) -> str:
        """The caption without the title, and how many rows are shown."""
        facts = super().facts
        if len(self.shown_rows) == len(self.frame):
            return facts
        return f"{facts} {len(self.shown_rows)} of {len(self.frame):,} rows are shown; the CSV file has all."


def first_rows(table: Table) -> Table:
    """The table with its first rows shown, where it is too long to print; its caption then says so."""
    if isinstance(table, Extract) or len(table.frame) <= MOST_PRINTED:
        return table
    own = {each.name: getattr(table, each.name) for each in fields(Table)}
    return Extract(**own, shown_rows=tuple(range(MOST_PRINTED)))
