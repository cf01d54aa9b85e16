"""Long tables of which people are shown some rows; the CSV file holds all."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pandas as pd

from budgetlens.tables.presentation import Table


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
