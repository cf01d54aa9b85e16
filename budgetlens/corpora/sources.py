"""Rows of a corpus, from a local file or from the hub, with their numbers.

A source yields ``(number, row)`` in order, where ``row`` is what one record holds, unjudged: whether it
is usable is decided in :mod:`budgetlens.corpora.corpus`. Numbers count from 1; for JSON Lines they are line
numbers, for every other source they count the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetlens.corpora.delimited import TextFileError, read_delimited, text_of
from budgetlens.corpora.json_text import JsonError, parsed

NumberedRow = tuple[int, Any]


class CorpusError(ValueError):
    """A corpus cannot be read or holds nothing usable. The message says what to do."""


@dataclass(frozen=True)
class UnreadableRow:
    """Stands for a row whose source could not make a record of it, with the reason."""

    reason: str


def rows_of_file(path: Path) -> Iterator[NumberedRow]:
    """Rows of one local JSON, JSON Lines, CSV or Parquet file, chosen by its extension.

    Text files must be UTF-8, with or without a byte order mark, with any line ends. A ``.json`` file
    holds an array of objects, an object of columns (lists, or mappings with the same keys), or JSON
    Lines.

    Raises :class:`CorpusError` when the file is missing, a directory, empty, of another kind, not UTF-8,
    or not what its extension says; the message names the line where there is one.
    """
    if path.is_dir():
        raise CorpusError(f"{path} is a directory; give one file ({', '.join(_READERS)})")
    if not path.exists():
        raise CorpusError(f"there is no file {path}; check the path")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise CorpusError(
            f"{path} ends in {path.suffix or 'no extension'!r}; a corpus file ends in one of "
            f"{', '.join(_READERS)}: convert it or rename it"
        )
    if path.stat().st_size == 0:
        raise CorpusError(f"{path} is empty; a corpus file holds at least one row")
    return _of_corpus(reader(path))


def _of_corpus(rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
    try:
        yield from rows
    except TextFileError as error:
        raise CorpusError(str(error)) from error


def rows_of_dataset(dataset: Iterable[Any]) -> Iterator[NumberedRow]:
    """Rows of a loaded ``datasets.Dataset`` (or any iterable of mappings), numbered from 1."""
    return enumerate(dataset, start=1)


def load_hub_dataset(repository: str, configuration: str | None, split: str, revision: str | None) -> Any:
    """One split of a hub dataset through ``datasets``, from its cache when it is there.

    Raises :class:`CorpusError` when ``datasets`` is not installed, the hub cannot be reached, or the
    dataset is gated or gone; the message says what to do.
    """
    try:
        import datasets
        from huggingface_hub.errors import GatedRepoError
    except ImportError as error:
        raise CorpusError(
            f"reading {repository} needs the package 'datasets', which cannot be imported ({error}); "
            "run 'pip install datasets', or give a local file instead"
        ) from error
    try:
        return datasets.load_dataset(repository, configuration, split=split, revision=revision)
    except (GatedRepoError, datasets.exceptions.DatasetNotFoundError) as error:
        raise CorpusError(
            f"the hub did not serve {repository} (split {split!r}, revision {revision or 'newest'!r}): "
            f"{error}. If it is gated, accept its terms on its page and log in with 'hf auth login' or set "
            "HF_TOKEN; if it has moved, give a local copy as a file instead"
        ) from error
    # OSError covers lost connections, offline mode and a full disk; ValueError an unknown split.
    except (OSError, ValueError, RuntimeError) as error:
        raise CorpusError(
            f"{repository} (split {split!r}) could not be loaded: {type(error).__name__}: {error}. "
            "Check the connection to huggingface.co (HF_HUB_OFFLINE must not be set unless the dataset is in "
            "the cache), or download it elsewhere and give the Parquet or JSON file as the corpus"
        ) from error


def rows_of_json_lines(path: Path) -> Iterator[NumberedRow]:
    """Values of a JSON Lines file by line. Raises CorpusError, and TextFileError for what is no text, with the line."""
    # Not str.splitlines: it also breaks at U+2028 and its like, which JSON allows inside strings.
    for number, line in enumerate(text_of(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parsed(line)
        except JsonError as error:
            raise CorpusError(f"{path}, line {number}: {error.reason}; repair or delete it") from error
        yield number, row


def rows_of_json(path: Path) -> Iterator[NumberedRow]:
    """Records of a JSON file, see :func:`rows_of_file`. Raises as :func:`rows_of_json_lines`."""
    text = text_of(path)
    try:
        content = parsed(text)
    except JsonError as error:
        if _looks_like_json_lines(text):
            yield from rows_of_json_lines(path)
            return
        raise CorpusError(f"{path}, {error}; expected an array of objects") from error
    yield from enumerate(_records(path, content), start=1)


def _looks_like_json_lines(text: str) -> bool:
    first = text.lstrip().split("\n", 1)[0]
    try:
        return isinstance(parsed(first), dict)
    except JsonError:
        return False


def _records(path: Path, content: Any) -> Iterable[Any]:
    if isinstance(content, list):
        return content
    if isinstance(content, dict) and content:
        columns = list(content.values())
        if all(isinstance(column, dict) for column in columns):
            keys = list(columns[0])
            if all(list(column) == keys for column in columns):
                return [{name: column[key] for name, column in content.items()} for key in keys]
        elif all(isinstance(column, list) for column in columns):
            if len({len(column) for column in columns}) == 1:
                return [dict(zip(content, values, strict=True)) for values in zip(*columns, strict=True)]
        elif not any(isinstance(column, dict | list) for column in columns):
            return [content]
    raise CorpusError(
        f"{path} holds {_shape(content)}; expected an array of objects, one object per row, or an object of "
        "columns of equal length"
    )


def _shape(content: Any) -> str:
    if isinstance(content, dict):
        return f"an object with the keys {sorted(content)[:12]}"
    return f"one {type(content).__name__}"


def _rows_of_csv(path: Path) -> Iterator[NumberedRow]:
    table = read_delimited(path)
    if all(table.ragged(fields) for _, fields in table.records):
        # A comma at the end of every line: the header is wrong, not the rows.
        table.require_whole()
    for number, (_, fields) in enumerate(table.records, start=1):
        if table.ragged(fields):
            yield number, UnreadableRow("not as many fields as the header names")
        else:
            yield number, dict(zip(table.header, fields, strict=True))


def _rows_of_parquet(path: Path) -> Iterator[NumberedRow]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise CorpusError(
            f"{path} cannot be read as Parquet ({error}); write it again or convert it"
        ) from error


_READERS: dict[str, Callable[[Path], Iterator[NumberedRow]]] = {
    ".json": rows_of_json,
    ".jsonl": rows_of_json_lines,
    ".csv": _rows_of_csv,
    ".parquet": _rows_of_parquet,
}
