"""Corpora from Python: by name, from a file, and from rows that lie in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from budgetlens.corpora import corpus as corpora
from budgetlens.corpora.corpus import Corpus, corpus_of_rows
from budgetlens.corpora.own_rows import as_drawn
from budgetlens.corpora.rows import IDENTIFIERS, identifier_column
from budgetlens.corpora.sources import CorpusError
from budgetlens.corpora.tasks import ANSWER
from budgetlens.face.arguments import optional_number, seed_given, text_given, told
from budgetlens.registry.characters import is_broken

#: What every row must have.
COLUMNS = ("query", "document", "answer")
#: So many lists and dicts may lie within one another in a column.
DEEPEST = 50


def read_corpus(
    name_or_path: str | Path, n: int | None = 24, *, seed: int = 42, task: str = ANSWER
) -> Corpus:
    """The first ``n`` examples of a seeded permutation of a corpus: the selection of a run with that seed.

    ``name_or_path`` is ``reference`` or ``reference-long`` (built in), ``ms_marco`` or ``neural-bridge`` (from the hub),
    or a JSON, JSON Lines, CSV or Parquet file with the columns query, document, answer or those of one of these corpora.
    ``n`` None takes every usable row. ``seed`` is that of the runs and measurements with this corpus as well. ``task``
    ``rerank`` takes rows with several passages, whose query is then what is predicted: the probe ``reranking`` ranks the
    passages by it.

    Raises:
        CorpusError: what can't be read, has other columns, or no usable row; the message says what to do.

    Examples:
        >>> import budgetlens as bl
        >>> corpus = bl.read_corpus("reference", n=3)
        >>> len(corpus.examples), corpus.seed
        (3, 42)
        >>> corpus.examples[0].answer != ""
        True
    """
    if not isinstance(name_or_path, str | Path):
        raise CorpusError(
            f"a corpus is read by its name or from a file, such as 'reference' or 'mine.jsonl'; got {told(name_or_path)}"
        )
    n, seed = _asked(n, seed)
    return corpora.read_corpus(name_or_path, n=n, seed=seed, task=task)


def corpus(
    rows: Sequence[Mapping[str, Any]] | pd.DataFrame,
    *,
    name: str = "rows",
    seed: int = 42,
    task: str = ANSWER,
) -> Corpus:
    """The corpus of rows in memory: dicts, or a DataFrame, with query, document and answer; one example a row, in order.

    A row may name its example in the column ``id`` (each name once; else it is ``row-1``, ``row-2``, …) and give other
    texts for padding in ``passages``, a list, which are also what its document is ranked among. Further columns are kept:
    ``example["surrogate"]``. A missing value of a
    DataFrame is a column that the row does not have. ``seed`` is that of the runs and measurements with this corpus,
    ``task`` as of :func:`read_corpus`.

    Raises:
        CorpusError: no rows, a column or value that is missing or no text, or two examples of one name; all of it is
            told with the rows, which count from 1, and nothing is left out silently.

    Examples:
        >>> import budgetlens as bl
        >>> rows = [{"query": "who built the mill", "document": "Oss built the mill.", "answer": "Oss", "topic": "mill"}]
        >>> corpus = bl.corpus(rows)
        >>> corpus.examples[0].identifier, corpus.examples[0]["topic"]
        ('row-1', 'mill')
    """
    name, seed = _named(name), _asked(None, seed)[1]
    records = _records(rows)
    columns = list(dict.fromkeys(column for record in records for column in record))
    missing = [column for column in COLUMNS if column not in columns]
    if missing:
        raise CorpusError(
            f"the rows have no column {missing[0]!r}; each needs query, document and answer, and these have "
            f"{', '.join(map(repr, columns)) or 'none'}: rename or add it"
        )
    _require_own_names(records)
    found = corpus_of_rows(
        as_drawn(list(enumerate(records, start=1)), seed),
        name=name,
        source=f"{len(records)} row{'' if len(records) == 1 else 's'} given in Python",
        n=None,
        seed=seed,
        task=task,
    )
    if found.rejected:
        reasons = "; ".join(rejection.words for rejection in found.rejected)
        raise CorpusError(f"not every row can be used: {reasons}. Correct them or leave them out")
    return found


def _asked(n: Any, seed: Any) -> tuple[int | None, int]:
    """The number of examples and the seed. CorpusError for what are none."""
    try:
        return optional_number("n", n, 1), seed_given(seed)
    except ValueError as error:
        raise CorpusError(str(error)) from error


def _named(name: Any) -> str:
    """The name of a corpus. CorpusError for what is none."""
    try:
        return text_given("name", name)
    except ValueError as error:
        raise CorpusError(str(error)) from error


def _records(rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> list[dict[str, Any]]:
    """Plain dicts whose values JSON can hold; what is missing in a DataFrame is left out."""
    if isinstance(rows, pd.DataFrame):
        doubled = rows.columns[rows.columns.duplicated()]
        if len(doubled):
            raise CorpusError(f"the DataFrame has two columns {str(doubled[0])!r}; rename or drop one")
        given: Sequence[Any] = rows.to_dict("records")
    elif isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        given = rows
    else:
        hint = "; a name or a file is read by bl.read_corpus" if isinstance(rows, str | Path) else ""
        raise CorpusError(
            f"rows are a list of dicts or a DataFrame with the columns query, document and answer; got "
            f"{_told(rows)}{hint}"
        )
    if not len(given):
        raise CorpusError("there are no rows; a corpus holds at least one")
    records = []
    for number, row in enumerate(given, start=1):
        if not isinstance(row, Mapping):
            raise CorpusError(
                f"row {number} is {_told(row)}; expected a dict with query, document and answer"
            )
        unnamed = [name for name in row if not isinstance(name, str)]
        if unnamed:
            raise CorpusError(f"row {number} has a column {unnamed[0]!r}, which is no text; rename it")
        records.append(
            {
                name: _plain(value, f"row {number}, column {name!r}")
                for name, value in row.items()
                if _is_there(value)
            }
        )
    return records


def _is_there(value: Any) -> bool:
    """Whether a value is one; NaN, NaT, NA and None are what tables hold where there is none."""
    return value is not None and not (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _plain(value: Any, where: str, depth: int = 0) -> Any:
    """The value as JSON has it: numpy's numbers as Python's, tuples and arrays as lists; ``depth`` counts what holds it."""
    if depth > DEEPEST:
        raise CorpusError(
            f"{where} holds lists or dicts more than {DEEPEST} within one another, or one that holds itself; leave it out"
        )
    if hasattr(value, "tolist") and not isinstance(value, str):
        value = value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(each, where, depth + 1) for each in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(each, where, depth + 1) for name, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise CorpusError(f"{where} holds {value}, which no file of rows can hold; leave it out")
    if isinstance(value, str) and is_broken(value):
        raise CorpusError(
            f"{where} holds a broken character (a lone surrogate), which no file can hold; leave it out"
        )
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise CorpusError(
        f"{where} holds {_told(value)}; expected text, a number, a truth value, or a list or dict of these"
    )


def _require_own_names(records: Sequence[Mapping[str, Any]]) -> None:
    """Raise CorpusError where rows name their examples alike, or by what is no name: nobody could tell results apart.

    Of a file's rows the reader renames the second; whoever holds rows in memory can name them.
    """
    first: dict[str, int] = {}
    for number, record in enumerate(records, start=1):
        column = identifier_column(record)
        if not column:
            wrong = next((name for name in IDENTIFIERS if name in record), None)
            if wrong is not None:
                raise CorpusError(
                    f"row {number}, column {wrong!r} holds {_told(record[wrong])}; an example is named by a text or a "
                    "whole number"
                )
            continue
        name = str(record[column])
        if name in first:
            raise CorpusError(
                f"the rows {first[name]} and {number} are both called {name!r} (column {column!r}); give each a name of "
                "its own, or leave the column out"
            )
        first[name] = number


def _told(value: object) -> str:
    words = repr(value)
    return f"{type(value).__name__} {words if len(words) <= 60 else words[:57] + '…'}"
