"""Words are made where they are shown, and nothing reads them back: no verdict, reason, caution or caption is data."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.test_structure import ROOT

#: Columns and attributes that hold words for people.
WORDS = frozenset(
    {"verdict", "reason", "withheld", "caption", "notes", "facts", "rule", "footnotes", "sentence"}
)
#: Ways in which a text is taken apart or asked what it holds.
READING = frozenset(
    {
        *(
            "startswith",
            "endswith",
            "removeprefix",
            "removesuffix",
            "split",
            "rsplit",
            "partition",
            "rpartition",
        ),
        *("find", "index", "count", "contains", "match", "fullmatch", "search", "isin", "replace", "extract"),
    }
)
FOLDERS = ("budgetlens", "analyses", "figures", "probes", "interventions")


def _named(node: ast.AST) -> bool:
    """Whether a node is a text for people: ``row["verdict"]``, ``effect.reason``, a variable called ``verdict``."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value in WORDS
    if isinstance(node, ast.Attribute):
        # An error's reason is Python's own; row.str.contains goes on with the column before it.
        return (node.attr in WORDS and not _is_error(node.value)) or (
            node.attr == "str" and _named(node.value)
        )
    return isinstance(node, ast.Name) and node.id in {"verdict", "caution", "caption"}


def _is_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "error"


def _empty(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in ("", None)


def read_back(source: str) -> list[int]:
    """Lines in which words for people are compared with others, searched or taken apart."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in READING and _named(node.func.value):
                lines.append(node.lineno)
        elif isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(map(_named, sides)) and not any(map(_empty, sides)):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('small = "," in row["verdict"]', True),
        ('kind = verdict.startswith("helps")', True),
        ('rows = frame[frame["verdict"] == "undecided"]', True),
        ('rows = frame["verdict"].str.contains("within")', True),
        ('part = effect.reason.split("; ")', True),
        ('law = "the rule" in table.caption', True),
        ('bold = row["verdict"] in FOUND', True),
        ('rows = frame[frame["reason"] != ""]', False),
        ('print(row["verdict"])', False),
        ('found = error.reason.startswith("not JSON")', False),
    ],
)
def test_reading_back_is_found(source: str, found: bool) -> None:
    assert bool(read_back(source)) == found


@pytest.mark.parametrize(
    "path",
    sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_reads_words_back(path: Path) -> None:
    assert read_back(path.read_text(encoding="utf-8")) == []
