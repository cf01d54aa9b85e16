"""What makes a row of a corpus a candidate: the schemas and the published selection rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from budgetlens.corpora.json_text import JsonError, parsed
from budgetlens.corpora.sources import UnreadableRow
from budgetlens.registry.characters import is_broken


@dataclass(frozen=True)
class Selection:
    """Bounds of the selection, in words (runs of non-space characters), both ends included.

    The defaults are those of the published runs: MS MARCO takes the first selected passage within
    ``document_words`` and stops walking at ``candidates_per_example * n`` candidates; neural-bridge
    takes queries and answers of at least so many words. Plain rows are all candidates.
    """

    document_words: tuple[int, int] = (30, 300)
    candidates_per_example: int = 3
    least_query_words: int = 15
    least_answer_words: int = 5
    padding_words: tuple[int, int] = (20, 200)


@dataclass(frozen=True)
class Candidate:
    """A usable row. ``selected`` and ``unselected`` are the texts of its passages, ``columns`` its further columns."""

    number: int
    identifier: str
    query: str
    document: str
    answer: str
    selected: tuple[str, ...] = ()
    unselected: tuple[str, ...] = ()
    columns: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class IneligibleRow:
    """A sound row outside the selection. Its passages can still serve as padding."""

    reason: str
    selected: tuple[str, ...] = ()
    unselected: tuple[str, ...] = ()


@dataclass(frozen=True)
class MalformedRow:
    """A damaged row."""

    reason: str


#: Columns that may name an example; the first that does.
IDENTIFIERS = ("query_id", "identifier", "id")


class _BadField(Exception):
    """Carries the reason out of the field readers; never leaves this module."""


@dataclass(frozen=True)
class Schema:
    """Columns that a row must have, and the rule that makes a candidate of it."""

    name: str
    columns: frozenset[str]
    rule: Callable[[dict[str, Any], int, Selection], Candidate | IneligibleRow]
    stops_early: bool = False

    def judge(self, row: Any, number: int, selection: Selection) -> Candidate | IneligibleRow | MalformedRow:
        """What the row is good for; a damaged row comes back with its reason, it does not raise."""
        if isinstance(row, UnreadableRow):
            return MalformedRow(row.reason)
        if not isinstance(row, dict):
            return MalformedRow(f"the row is {_kind(row)}, not an object with named fields")
        try:
            return self.rule(row, number, selection)
        except _BadField as bad:
            return MalformedRow(str(bad))

    def candidate_limit(self, n: int | None, selection: Selection) -> int | None:
        """After how many candidates the walk over the rows ends; None walks them all."""
        return n * selection.candidates_per_example if self.stops_early and n is not None else None


def word_count(text: str) -> int:
    """Number of words of a text: runs of non-space characters."""
    return len(text.split())


def _plain(row: dict[str, Any], number: int, selection: Selection) -> Candidate:
    known = ("query", "document", "answer", "passages", identifier_column(row))
    return Candidate(
        number=number,
        identifier=_identifier(row, number),
        query=_text(row, "query"),
        document=_text(row, "document"),
        answer=_text(row, "answer"),
        # CSV has no null: an empty cell there is an absent list.
        unselected=tuple(_texts(row, "passages")) if row.get("passages") not in (None, "") else (),
        columns=tuple(
            (name, value) for name, value in row.items() if name not in known and value not in (None, "")
        ),
    )


def _neural_bridge(row: dict[str, Any], number: int, selection: Selection) -> Candidate | IneligibleRow:
    query, document, answer = _text(row, "question"), _text(row, "context"), _text(row, "answer")
    if word_count(query) < selection.least_query_words:
        return IneligibleRow(f"question of fewer than {selection.least_query_words} words")
    if word_count(answer) < selection.least_answer_words:
        return IneligibleRow(f"answer of fewer than {selection.least_answer_words} words")
    return Candidate(number, _identifier(row, number), query, document, answer)


def _ms_marco(row: dict[str, Any], number: int, selection: Selection) -> Candidate | IneligibleRow:
    query = _text(row, "query")
    passages = _passages(row)
    selected = tuple(text for text, is_selected in passages if is_selected)
    unselected = tuple(text for text, is_selected in passages if not is_selected)
    answer = _ms_marco_answer(row)
    if answer is None:
        return IneligibleRow("no answer", selected, unselected)
    shortest, longest = selection.document_words
    document = next((text for text in selected if shortest <= word_count(text) <= longest), None)
    if document is None:
        reason = f"no selected passage of {shortest}-{longest} words"
        return IneligibleRow(reason, selected, unselected)
    return Candidate(number, _identifier(row, number), query, document, answer, selected, unselected)


def _ms_marco_answer(row: dict[str, Any]) -> str | None:
    """First well-formed answer, else first answer; None where the row says that there is none."""
    well_formed = row.get("wellFormedAnswers")
    # CSV has no null: an empty cell there is an absent list.
    well_formed = _texts(row, "wellFormedAnswers") if well_formed not in (None, "") else []
    if well_formed and well_formed[0].strip() not in ("", "[]"):
        return well_formed[0]
    answers = _texts(row, "answers")
    if not answers or answers[0] == "No Answer Present.":
        return None
    if not answers[0].strip():
        raise _BadField("the first of 'answers' is empty")
    return answers[0]


def _passages(row: dict[str, Any]) -> list[tuple[str, bool]]:
    """Passages with whether they are selected, from a struct of lists or a list of structs."""
    value = _decoded(row, "passages")
    if isinstance(value, list) and all(isinstance(passage, dict) for passage in value):
        value = {name: [passage.get(name) for passage in value] for name in ("is_selected", "passage_text")}
    if not isinstance(value, dict):
        raise _BadField(f"'passages' is {_kind(value)}, not lists of 'is_selected' and 'passage_text'")
    texts = _texts(value, "passage_text")
    flags = _decoded(value, "is_selected")
    # bool is an int: true and 1 both mean selected.
    if not isinstance(flags, list) or not all(isinstance(flag, int) for flag in flags):
        raise _BadField("'is_selected' is not a list of whole numbers")
    if len(flags) != len(texts):
        raise _BadField("'is_selected' and 'passage_text' differ in length")
    return [(text, flag == 1) for text, flag in zip(texts, flags, strict=True)]


def _identifier(row: dict[str, Any], number: int) -> str:
    column = identifier_column(row)
    return _sound(str(row[column]), column) if column else f"row-{number}"


def identifier_column(row: Mapping[str, Any]) -> str:
    """The column that names the example of a row; empty where none does."""
    for name in IDENTIFIERS:
        value = row.get(name)
        if isinstance(value, int | str) and not isinstance(value, bool) and str(value).strip():
            return name
    return ""


def _text(row: dict[str, Any], name: str) -> str:
    value = _field(row, name)
    if not isinstance(value, str):
        raise _BadField(f"{name!r} is {_kind(value)}, not text")
    if not value.strip():
        raise _BadField(f"{name!r} is empty")
    return _sound(value, name)


def _texts(row: dict[str, Any], name: str) -> list[str]:
    value = _decoded(row, name)
    if not isinstance(value, list):
        raise _BadField(f"{name!r} is {_kind(value)}, not a list of texts")
    for item in value:
        if not isinstance(item, str):
            raise _BadField(f"{name!r} holds {_kind(item)}, not only texts")
        _sound(item, name)
    return value


def _decoded(row: dict[str, Any], name: str) -> Any:
    """The field, and where it is text (a CSV cell) the JSON in it."""
    value = _field(row, name)
    if not isinstance(value, str):
        return value
    try:
        return parsed(value)
    except JsonError as error:
        # Where in the cell, and in which of the parser's words, would part one reason into many.
        reason = (
            "is text that is not JSON"
            if error.reason.startswith("not JSON")
            else f"is JSON, but {error.reason}"
        )
        raise _BadField(f"{name!r} {reason}") from None


def _field(row: dict[str, Any], name: str) -> Any:
    if row.get(name) is None:
        raise _BadField(f"{name!r} is missing")
    return row[name]


def _sound(text: str, name: str) -> str:
    if is_broken(text):
        raise _BadField(f"{name!r} holds a broken character (a lone surrogate)")
    return text


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    for kind, name in ((dict, "an object"), (list, "a list"), (str, "text"), (bool, "a truth value")):
        if isinstance(value, kind):
            return name
    return "a number" if isinstance(value, int | float) else type(value).__name__


#: In the order in which they are tried: a row that states its document needs no rule.
SCHEMAS: tuple[Schema, ...] = (
    Schema("plain", frozenset({"query", "document", "answer"}), _plain),
    Schema("ms_marco", frozenset({"query", "answers", "passages"}), _ms_marco, stops_early=True),
    Schema("neural-bridge", frozenset({"context", "question", "answer"}), _neural_bridge),
)
