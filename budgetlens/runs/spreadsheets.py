"""Tables as CSV that a spreadsheet opens as texts and numbers, never as formulas, and that is read back equal.

A spreadsheet computes a cell that begins with ``=``, ``+``, ``-`` or ``@``, and texts of a model, a corpus or a user
may begin with anything. A text that would be computed gets an apostrophe in front, as in a spreadsheet itself; so does
one that has apostrophes before such a beginning, so that taking one away gives every text back. Columns of numbers
are left as they are, and so are texts that are a number, alone or with its interval, as tables print them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

import pandas as pd

#: Characters that a spreadsheet may skip at the beginning of a cell: white space, controls, characters without a width.
_SKIPPED = r"\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
#: What is computed, with any apostrophes in front: a formula, also in full-width and small forms, and whatever a control
#: character leads, since programs differ in what they make of that.
_COMPUTED = re.compile(rf"['{_SKIPPED}]*[=+\-@＝＋－＠﹢﹣﹦﹫]|'*[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_PRINTED_NUMBER = re.compile(rf"{_NUMBER}(?: \[{_NUMBER}, {_NUMBER}\])?", re.ASCII)


def spreadsheet_csv(frame: pd.DataFrame) -> str:
    """The frame as CSV without its index: every column and digit, texts guarded as this module's docstring says."""
    safe = guarded(frame)
    # A bare carriage return would end the row for whoever reads the file; the writer of CSV quotes line feeds alone.
    breaks = any("\r" in text for text in [*safe.columns, *_texts(safe)] if isinstance(text, str))
    quoting = csv.QUOTE_NONNUMERIC if breaks else csv.QUOTE_MINIMAL
    return str(safe.to_csv(index=False, lineterminator="\n", quoting=quoting))


def _texts(frame: pd.DataFrame) -> Iterator[object]:
    """Every entry of the columns that may hold texts."""
    for place in range(frame.shape[1]):
        if pd.api.types.is_object_dtype(frame.dtypes.iloc[place]):
            yield from frame.iloc[:, place]


def guarded(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with guarded texts and headings."""
    safe = frame.copy(deep=False)
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            continue
        texts = [guard(entry) if isinstance(entry, str) else entry for entry in column.tolist()]
        safe.isetitem(place, pd.Series(texts, index=column.index, dtype=object))
    safe.columns = [guard(name) if isinstance(name, str) else name for name in frame.columns]
    return safe


def guard(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet would compute it."""
    return f"'{text}" if _acts(text) else text


def unguarded(text: str) -> str:
    """The text that :func:`guard` was given."""
    return text[1:] if text.startswith("'") and _acts(text[1:]) else text


def guarded_csv(text: str) -> str:
    """CSV of anybody's with guarded cells; unchanged where no cell would be computed.

    Nothing is known of its columns, so that every cell is looked at; one that has its apostrophe keeps it.
    """
    cells = pd.read_csv(io.StringIO(text), header=None, dtype=str, na_filter=False, skip_blank_lines=False)
    safe = cells.map(lambda cell: cell if cell.startswith("'") else guard(cell))
    return text if safe.equals(cells) else safe.to_csv(header=False, index=False, lineterminator="\n")


def _acts(text: str) -> bool:
    return not _PRINTED_NUMBER.fullmatch(text) and _COMPUTED.match(text) is not None
