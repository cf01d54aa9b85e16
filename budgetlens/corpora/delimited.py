"""Tables of text, CSV and TSV: read strictly, every cell as the text that it is.

One reader for corpora and for the values of `budgetlens effects`. Nothing is guessed: ``NA``, ``01`` and an empty cell
come back as they stand, and a row with more or fewer fields than the header is told apart, never shifted.
"""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: csv's longest field is a setting of the whole process: raised while one file is read, under this lock, then put back.
_LIMIT = threading.Lock()


class TextFileError(ValueError):
    """A text file that is not what it should be; the message names the file and the line."""


@dataclass(frozen=True)
class TextTable:
    """Columns in order, and the records with the line on which each begins; blank lines are none.

    A record has as many fields as its line holds, which :meth:`ragged` compares with the header.
    """

    path: Path
    header: tuple[str, ...]
    records: tuple[tuple[int, tuple[str, ...]], ...]

    def ragged(self, fields: tuple[str, ...]) -> str:
        """What is wrong with the number of a record's fields, in words; empty where nothing is."""
        if len(fields) == len(self.header):
            return ""
        return f"{len(fields)} fields, and the header names {len(self.header)}"

    def require_whole(self) -> None:
        """Raise TextFileError with the first line that has not as many fields as the header."""
        for line, fields in self.records:
            if self.ragged(fields):
                raise TextFileError(
                    f"{self.path}, line {line}: {self.ragged(fields)}; put cells with commas, tabs or line breaks of "
                    "their own in quotes, and leave no separator at the end of a line"
                )


def text_of(path: Path) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Raises TextFileError with the line of the first byte that is not UTF-8, and of the first NUL, which no text holds.
    """
    content = path.read_bytes()
    try:
        # utf-8-sig drops a byte order mark where there is one.
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TextFileError(
            f"{path}, line {line}: byte {content[error.start]:#04x} is not UTF-8 text; save the file as "
            "UTF-8 (a Latin-1 file: iconv -f latin1 -t utf-8)"
        ) from error
    place = text.find("\0")
    if place >= 0:
        raise TextFileError(
            f"{path}, line {text.count(chr(10), 0, place) + 1}: holds a NUL character, which no text file does; "
            "save the file as UTF-8 text"
        )
    return text


def read_delimited(path: Path, separator: str = ",") -> TextTable:
    """A CSV or TSV file, cells of any length.

    Raises TextFileError for what :func:`text_of` refuses, broken quotes, a file without a header, and a column that is
    named twice.
    """
    text = text_of(path)
    records: list[tuple[int, tuple[str, ...]]] = []
    with _fields_up_to(len(text)):
        # newline="" hands quoted line breaks to the csv module untouched.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        begun = 1
        try:
            for fields in reader:
                if fields:
                    records.append((begun, tuple(fields)))
                begun = reader.line_num + 1
        except csv.Error as error:
            # The line where the record begins: an open quote runs on to the file's end.
            raise TextFileError(
                f"{path}, line {begun}: not {'TSV' if separator == chr(9) else 'CSV'} ({error}); repair the line"
            ) from error
    if not records:
        raise TextFileError(f"{path} has no header; its first line names the columns")
    (_, header), *rows = records
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise TextFileError(
            f"{path}: the header names {repeated} more than once; every column needs its own name"
        )
    return TextTable(path, header, tuple(rows))


@contextmanager
def _fields_up_to(length: int) -> Iterator[None]:
    """Let csv read fields of this length, and put its limit back."""
    with _LIMIT:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, length + 1))
        try:
            yield
        finally:
            csv.field_size_limit(before)
