"""A DataFrame that shows itself in a notebook with its caption, as a report shows it."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from budgetlens.tables.extract import first_rows
from budgetlens.tables.presentation import Table


class CaptionedFrame(pd.DataFrame):
    """A DataFrame with ``presented``: the caption that says estimand, unit, n, family, correction and seed.

    It is read and computed with like any other; what is made of it is a plain DataFrame, which its caption need not
    fit. ``presented`` is None where nobody wrote a caption; else it also gives Markdown, LaTeX and HTML
    (:class:`budgetlens.tables.presentation.Table`).
    """

    # Without it pandas would take the attribute for a column.
    _metadata: ClassVar[list[str]] = ["presented"]
    presented: Table | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame, presented: Table | None) -> CaptionedFrame:
        """The frame with a caption, which may be of other columns or rows of it; or with none."""
        own = cls(frame)
        own.presented = presented
        return own

    def _repr_html_(self) -> str | None:
        if self.presented is None:
            return super()._repr_html_()
        return first_rows(self.presented).to_html()
