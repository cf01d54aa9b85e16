"""The corpus reader: from a hub name or a local file to the examples of a run.

Three schemas are known, told apart by their columns:

* ``plain``: ``query, document, answer`` (and, if there, ``passages``: a list of texts for padding);
* ``ms_marco``: ``query, answers, passages`` with ``passages`` holding ``is_selected`` and
  ``passage_text`` (and, if there, ``wellFormedAnswers, query_id``), as in MS MARCO v1.1;
* ``neural-bridge``: ``context, question, answer``, as in neural-bridge/rag-dataset-12000.

Rows are walked in order; every row that gives no candidate is counted under its reason. The examples of
a run are the first ``n`` of a seeded permutation of the candidates, the selection of the published runs.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy

from budgetlens.corpora.known import CORPORA
from budgetlens.corpora.rows import (
    SCHEMAS,
    Candidate,
    IneligibleRow,
    MalformedRow,
    Schema,
    Selection,
    word_count,
)
from budgetlens.corpora.sources import (
    CorpusError,
    NumberedRow,
    load_hub_dataset,
    rows_of_dataset,
    rows_of_file,
)
from budgetlens.corpora.tasks import ANSWER, for_task, known_task
from budgetlens.model.trials import Example
from budgetlens.registry.names import printable

#: How many row numbers a rejection names.
ROWS_NAMED = 5
#: How many rows are looked at to find out the columns; a row may lack some of them.
_ROWS_FOR_COLUMNS = 100


@dataclass(frozen=True)
class Rejection:
    """Rows that gave no candidate for one reason.

    ``malformed`` rows are damaged (a field is missing, empty or of a wrong type); the others are sound
    but outside the selection. ``rows`` are the numbers of the first few.
    """

    reason: str
    malformed: bool
    count: int
    rows: tuple[int, ...]

    @property
    def words(self) -> str:
        """How many for which reason, with the first rows."""
        rows = ", ".join(map(str, self.rows))
        more = ", ..." if self.count > len(self.rows) else ""
        return f"{self.count} x {self.reason} (row {rows}{more})"


@dataclass(frozen=True, repr=False)
class Corpus:
    """The examples of a run and how they were found.

    ``padding_pool`` holds unselected passages of 20-200 words, none of which is the selected passage of a
    row that was read. ``sha256`` is a hash of the examples in their order, all texts;
    ``padding_sha256`` one of the pool. ``candidates`` counts the usable rows that the examples were
    drawn from. ``asked`` is the name or the absolute path, and ``asked_n`` the number of examples, with which
    :func:`read_corpus` finds it again; ``asked`` is empty of rows that were given in Python, which lie in no file.
    ``task`` is what the answer is (:mod:`budgetlens.corpora.tasks`).
    """

    name: str
    source: str
    schema: str
    examples: tuple[Example, ...]
    padding_pool: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    warnings: tuple[str, ...]
    rows_read: int
    candidates: int
    seed: int
    asked: str = ""
    asked_n: int | None = None
    task: str = ANSWER

    def without(self, identifiers: Collection[str]) -> Corpus:
        """The corpus of the other examples, in their order: what a file without these rows would hold."""
        if not identifiers:
            return self
        left = tuple(example for example in self.examples if example.identifier not in identifiers)
        return replace(self, examples=left)

    @property
    def sha256(self) -> str:
        return _hash(
            (example.identifier, example.query, example.document, example.answer, example.passages)
            for example in self.examples
        )

    @property
    def columns_sha256(self) -> str:
        """A hash of the examples' further columns, in their order; empty where none has any.

        Apart from the texts' hash: what a run fed is told by that, and known of runs of before there were columns.
        """
        own = [example.columns for example in self.examples]
        return _hash(own) if any(own) else ""

    @property
    def other_queries_sha256(self) -> str:
        """A hash of the other queries of the examples' documents; empty where no document has any."""
        own = [example.other_queries for example in self.examples]
        return _hash(own) if any(own) else ""

    @property
    def padding_sha256(self) -> str:
        return _hash(self.padding_pool)

    def __repr__(self) -> str:
        return f"Corpus({self.describe()})"

    def describe(self) -> str:
        """What was read, selected and rejected, as text of a few lines."""
        means = (
            f"mean words: query {self._mean_words('query'):.1f}, "
            f"document {self._mean_words('document'):.1f}, answer {self._mean_words('answer'):.1f}"
        )
        lines = [
            f"corpus {printable(self.name)}: {printable(self.source)}; schema {self.schema}",
            f"{len(self.examples)} examples, drawn with seed {self.seed} from {self.candidates} usable rows "
            f"of {self.rows_read} rows read",
            f"{means}; {len(self.padding_pool)} passages for padding",
        ]
        if self.task != ANSWER:
            lines.append(f"task {self.task}: what is predicted, and called the answer, is the query")
        for title, malformed in (("bad rows", True), ("rows outside the selection", False)):
            rejections = [rejection for rejection in self.rejected if rejection.malformed is malformed]
            lines.append(f"{title}: {sum(rejection.count for rejection in rejections)}")
            lines.extend(f"  {rejection.words}" for rejection in rejections)
        lines.extend(f"warning: {warning}" for warning in self.warnings)
        lines.append(f"sha256 of the examples: {self.sha256}")
        return "\n".join(lines)

    def _mean_words(self, attribute: str) -> float:
        return float(numpy.mean([word_count(getattr(example, attribute)) for example in self.examples]))


def read_corpus(
    name_or_path: str | Path,
    *,
    n: int | None,
    seed: int = 42,
    selection: Selection | None = None,
    revision: str | None = None,
    n_asked: bool = True,
    task: str = ANSWER,
) -> Corpus:
    """Read a corpus by name (see :data:`budgetlens.corpora.known.CORPORA`) or from a JSON, JSON Lines, CSV or Parquet file.

    ``n`` is the number of examples; None takes every usable row. ``seed`` draws the permutation whose
    first ``n`` candidates are taken. ``selection`` holds the bounds; its defaults are the published ones.
    ``revision`` is a commit or tag of a hub dataset. ``n_asked`` tells whether somebody asked for ``n`` or it is an
    analysis's default, for the words of warnings alone. ``task`` says what the answer is
    (:mod:`budgetlens.corpora.tasks`).

    A corpus with fewer than ``n`` usable rows is returned with a warning in it. Raises
    :class:`CorpusError` when the source cannot be read, its columns fit no schema, or no row is usable.
    """
    if not str(name_or_path).strip():
        raise CorpusError(f"the corpus has no name; give one of {', '.join(CORPORA)} or a file")
    known = CORPORA.get(str(name_or_path))
    if known is not None and known.repository is not None:
        _check_number(n)
        dataset = load_hub_dataset(known.repository, known.configuration, known.split, revision)
        parts = (known.repository, known.configuration, known.split, revision and f"revision {revision}")
        source = " ".join(part for part in parts if part)
        found = corpus_of_rows(
            rows_of_dataset(dataset),
            name=known.name,
            source=source,
            n=n,
            seed=seed,
            selection=selection,
            n_asked=n_asked,
            task=task,
        )
        return replace(found, asked=known.name, asked_n=n)
    if revision is not None:
        raise CorpusError(
            f"revision {revision!r} was given for {name_or_path}, which is not on the hub; leave it out"
        )
    if known is not None and known.file is not None:
        if not known.file.is_file():
            raise CorpusError(
                f"the built-in corpus {known.name!r} is not in this installation: {known.file.name} "
                "is missing; reinstall the package, or make it with 'make reference'"
            )
        name, path, source = known.name, known.file, f"built in, {known.file.name}"
        asked = known.name
    else:
        path = home_expanded(name_or_path)
        if not _exists(path):
            raise CorpusError(
                f"{str(name_or_path)!r} is neither a known corpus ({', '.join(CORPORA)}) nor an existing file"
            )
        name, source, asked = path.stem, f"file {path.name}", str(path.resolve())
    found = corpus_of_rows(
        rows_of_file(path),
        name=name,
        source=source,
        n=n,
        seed=seed,
        selection=selection,
        n_asked=n_asked,
        task=task,
    )
    return replace(found, asked=asked, asked_n=n)


def home_expanded(path: str | Path) -> Path:
    """The path with ``~`` or ``~user`` at its beginning replaced by that home; CorpusError where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise CorpusError(
            f"{str(path)!r} begins with the home directory of a user that this machine does not know; give the whole path"
        ) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    # A name that no file system holds: with a NUL, or too long.
    except (ValueError, OSError):
        return False


def corpus_of_rows(
    rows: Iterable[NumberedRow],
    *,
    name: str,
    source: str,
    n: int | None,
    seed: int = 42,
    selection: Selection | None = None,
    n_asked: bool = True,
    task: str = ANSWER,
) -> Corpus:
    """The corpus of numbered rows: the part of :func:`read_corpus` that all sources share."""
    _check_number(n)
    task = known_task(task)
    selection = selection or Selection()
    schema, rows = _schema_of(iter(rows), source)
    limit = schema.candidate_limit(n, selection)
    candidates: list[Candidate] = []
    padding: dict[str, None] = {}
    selected_texts: set[str] = set()
    rejected: dict[tuple[str, bool], list[int]] = {}
    rows_read = 0
    for number, row in rows:
        rows_read += 1
        outcome = schema.judge(row, number, selection)
        if isinstance(outcome, Candidate):
            outcome = for_task(outcome, task)
        if isinstance(outcome, Candidate):
            candidates.append(outcome)
        else:
            rejected.setdefault((outcome.reason, isinstance(outcome, MalformedRow)), []).append(number)
        if isinstance(outcome, Candidate | IneligibleRow):
            selected_texts.update(outcome.selected)
            padding.update(dict.fromkeys(outcome.unselected))
        if limit is not None and len(candidates) >= limit:
            break
    rejections = tuple(
        Rejection(reason, malformed, len(numbers), tuple(numbers[:ROWS_NAMED]))
        for (reason, malformed), numbers in rejected.items()
    )
    if not candidates:
        reasons = "; ".join(rejection.words for rejection in rejections) or "it holds no rows"
        raise CorpusError(
            f"{source}: none of {rows_read} rows is usable as schema {schema.name!r}: {reasons}"
        )
    shuffled = numpy.random.RandomState(seed).permutation(len(candidates))
    examples = _with_unique_identifiers(candidates)
    shortest, longest = selection.padding_words
    return Corpus(
        name=name,
        source=source,
        schema=schema.name,
        examples=tuple(examples[index] for index in shuffled[:n]),
        padding_pool=tuple(
            text for text in padding if shortest <= word_count(text) <= longest and text not in selected_texts
        ),
        rejected=rejections,
        warnings=_warnings(n, n_asked, len(candidates), rejections),
        rows_read=rows_read,
        candidates=len(candidates),
        seed=seed,
        task=task,
    )


def _check_number(n: int | None) -> None:
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise CorpusError(f"n={n!r}: the number of examples is a whole number of at least 1, or None for all")


def _schema_of(rows: Iterator[NumberedRow], source: str) -> tuple[Schema, Iterator[NumberedRow]]:
    first = list(itertools.islice(rows, _ROWS_FOR_COLUMNS))
    columns = {str(column): None for _, row in first if isinstance(row, dict) for column in row}
    for schema in SCHEMAS:
        if schema.columns <= set(columns):
            return schema, itertools.chain(first, rows)
    if not first:
        raise CorpusError(f"{source} holds no rows; a corpus holds at least one")
    accepted = "; ".join(f"{schema.name}: {', '.join(sorted(schema.columns))}" for schema in SCHEMAS)
    raise CorpusError(
        f"{source} has the columns {sorted(columns) or 'none (its rows are no objects)'}, which fit no known "
        f"schema. Accepted are: {accepted}. Rename the columns or convert the file"
    )


def _with_unique_identifiers(candidates: list[Candidate]) -> list[Example]:
    """Examples in candidate order; an identifier that has been used before gets its row number appended."""
    used: set[str] = set()
    examples = []
    queries: dict[str, dict[str, None]] = {}
    for candidate in candidates:
        queries.setdefault(candidate.document, {})[candidate.query] = None
    for candidate in candidates:
        identifier = candidate.identifier
        if identifier in used:
            identifier = f"{identifier}-row-{candidate.number}"
        used.add(identifier)
        examples.append(
            Example(
                identifier=identifier,
                query=candidate.query,
                document=candidate.document,
                answer=candidate.answer,
                passages=candidate.unselected,
                columns=candidate.columns,
                other_queries=tuple(
                    query for query in queries[candidate.document] if query != candidate.query
                ),
            )
        )
    return examples


def _warnings(
    n: int | None, n_asked: bool, candidates: int, rejections: tuple[Rejection, ...]
) -> tuple[str, ...]:
    warnings = []
    if n is not None and candidates < n:
        usable = (
            f"only {candidates} {'row is' if candidates == 1 else 'rows are'} usable; all of them are used"
        )
        warnings.append(
            f"{n} examples were asked for, but {usable}"
            if n_asked
            else f"the analysis takes {n} examples where no number is given, and {usable}"
        )
    malformed = sum(rejection.count for rejection in rejections if rejection.malformed)
    if malformed:
        warnings.append(f"{malformed} bad rows were left out")
    return tuple(warnings)


def _hash(items: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()
