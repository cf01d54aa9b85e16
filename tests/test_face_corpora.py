"""Corpora from rows in memory: what they hold, that a file of them is the same corpus, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import budgetlens as bl
from budgetlens.corpora.corpus import read_corpus
from budgetlens.corpora.own_rows import lines_of
from budgetlens.corpora.sources import CorpusError
from tests.conftest import corpus_rows, write_corpus

ROW = {"query": "who built the mill", "document": "Oss built the mill.", "answer": "Oss"}

#: A list that holds itself.
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def rows(count: int = 7) -> list[dict[str, Any]]:
    return [
        {
            "id": f"e{number}",
            **row,
            "passages": [f"{'a passage of more than twenty words ' * 4}{number}"],
            "surrogate": f"about {row['query']}",
            "scores": [number, 0.5],
        }
        for number, row in enumerate(corpus_rows(count))
    ]


def test_rows_are_examples_in_their_order_with_every_further_column() -> None:
    corpus = bl.corpus(rows())
    assert [example.identifier for example in corpus.examples] == [f"e{number}" for number in range(7)]
    for example, row in zip(corpus.examples, rows(), strict=True):
        assert (example.query, example.document, example.answer) == (
            row["query"],
            row["document"],
            row["answer"],
        )
        assert (example["surrogate"], example["scores"]) == (row["surrogate"], row["scores"])
        assert example.passages == tuple(row["passages"])
    assert set(corpus.padding_pool) == {row["passages"][0] for row in rows()}
    with pytest.raises(
        KeyError, match="has no column 'title'; its further columns are 'surrogate', 'scores'"
    ):
        corpus.examples[0]["title"]


@pytest.mark.parametrize("seed", [42, 7])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_file_of_the_rows_is_read_as_the_same_corpus(tmp_path: Path, count: int, seed: int) -> None:
    corpus = bl.corpus(rows(count), seed=seed)
    path = tmp_path / "rows.jsonl"
    path.write_text(lines_of(corpus), encoding="ascii")
    for n in (count, None):
        again = read_corpus(path, n=n, seed=seed)
        assert (again.examples, again.padding_pool) == (corpus.examples, corpus.padding_pool)
        assert (again.sha256, again.columns_sha256) == (corpus.sha256, corpus.columns_sha256)


def test_a_dataframe_is_its_rows() -> None:
    frame = pd.DataFrame(rows()).assign(number=np.arange(7), missing=[None, *[1.5] * 6])
    corpus = bl.corpus(frame)
    assert [example["number"] for example in corpus.examples] == list(range(7))
    assert "missing" not in dict(corpus.examples[0].columns)
    assert corpus.examples[1]["missing"] == 1.5
    assert corpus.sha256 == bl.corpus(rows()).sha256
    assert [type(value) for _, value in corpus.examples[1].columns] == [str, list, int, float]


def test_examples_without_a_name_count_from_one() -> None:
    assert [example.identifier for example in bl.corpus([ROW, ROW]).examples] == ["row-1", "row-2"]
    assert [example.identifier for example in bl.corpus([{**ROW, "id": 3}, ROW]).examples] == ["3", "row-2"]


def test_further_columns_have_a_hash_of_their_own() -> None:
    """Runs of corpora without further columns, and the texts of all, are known as they were."""
    plain, more, other = (
        bl.corpus([{**ROW, **column}]) for column in ({}, {"topic": "mill"}, {"topic": "wall"})
    )
    assert plain.sha256 == more.sha256 == other.sha256
    assert plain.columns_sha256 == ""
    assert len({plain.columns_sha256, more.columns_sha256, other.columns_sha256}) == 3


def test_columns_of_a_file_are_kept_as_well(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    pd.DataFrame([{**ROW, "topic": "mill", "empty": None}]).to_csv(path, index=False)
    assert bl.read_corpus(path).examples[0].columns == (("topic", "mill"),)


def test_read_corpus_is_the_runs_selection(tmp_path: Path) -> None:
    path = write_corpus(tmp_path / "mine.jsonl", 9)
    corpus = bl.read_corpus(path, n=4, seed=3)
    drawn = np.random.RandomState(3).permutation(9)[:4]
    assert [example.query for example in corpus.examples] == [
        corpus_rows(9)[place]["query"] for place in drawn
    ]
    assert len(bl.read_corpus(path).examples) == 9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "\ud800"}, "name is a text without broken characters (lone surrogates); got '\\ud800'"),
        ({"name": 5}, "name is a text without broken characters (lone surrogates); got 5"),
        ({"seed": -1}, "seed is a whole number of at least 0 and at most 4294967295; got -1"),
        ({"seed": 2**32}, "seed is a whole number of at least 0 and at most 4294967295; got 4294967296"),
        ({"seed": "x"}, "seed is a whole number of at least 0 and at most 4294967295; got 'x'"),
        ({"seed": 2.0}, "got 2.0"),
    ],
)
def test_a_name_and_a_seed_are_what_files_and_numpy_take(options: dict[str, Any], words: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(words)):
        bl.corpus([ROW], **options)
    if "name" not in options:
        with pytest.raises(CorpusError, match=re.escape(words)):
            bl.read_corpus("reference", **options)


def test_numpys_whole_numbers_are_whole_numbers() -> None:
    found = bl.read_corpus("reference", n=np.int64(2), seed=np.int32(7))
    assert found == bl.read_corpus("reference", n=2, seed=7)
    # As run.json keeps it.
    assert json.dumps([found.seed, found.asked_n]) == "[7, 2]"
    for wrong in (None, 5, ["reference"]):
        with pytest.raises(CorpusError, match="a corpus is read by its name or from a file"):
            bl.read_corpus(wrong)  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="n is a whole number of at least 1; got 2.5"):
        bl.read_corpus("reference", n=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "there are no rows"),
        ("mine.jsonl", "a name or a file is read by bl.read_corpus"),
        ({"query": ["a"]}, "a list of dicts or a DataFrame"),
        (["a"], "row 1 is str 'a'; expected a dict"),
        (
            [{"question": "a", "document": "b"}],
            "no column 'query'; each needs query, document and answer, and these have",
        ),
        ([ROW, {**ROW, "answer": " "}], "not every row can be used: 1 x 'answer' is empty (row 2)"),
        ([ROW, {**ROW, "answer": None}], "'answer' is missing (row 2)"),
        ([{**ROW, "answer": 3}], "'answer' is a number, not text (row 1)"),
        ([{**ROW, "passages": "no list"}], "'passages' is text that is not JSON (row 1)"),
        ([{**ROW, "id": "a"}, ROW, {**ROW, "id": "a"}], "the rows 1 and 3 are both called 'a' (column 'id')"),
        ([{**ROW, "id": 1}, {**ROW, "id": "1"}], "the rows 1 and 2 are both called '1'"),
        (
            [{**ROW, "id": 1.5}],
            "row 1, column 'id' holds float 1.5; an example is named by a text or a whole number",
        ),
        ([{**ROW, "x": object}], "row 1, column 'x' holds type"),
        ([{**ROW, "x": [float("inf")]}], "row 1, column 'x' holds inf"),
        ([{**ROW, "x": CYCLE}], "row 1, column 'x' holds lists or dicts more than 50 within one another"),
        ([{**ROW, "x": {"a": [CYCLE]}}], "or one that holds itself; leave it out"),
        ([{**ROW, "query": "\ud800"}], "row 1, column 'query' holds a broken character (a lone surrogate)"),
        ([{**ROW, 3: "x"}], "row 1 has a column 3, which is no text"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns 'a'"),
        (pd.DataFrame([ROW]).iloc[:0], "there are no rows"),
    ],
)
def test_what_is_no_corpus_is_told(given: Any, words: str) -> None:
    with pytest.raises(CorpusError, match=re.escape(words)):
        bl.corpus(given)
