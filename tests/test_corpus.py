"""The corpus reader against the published selection, written out again here, and against damaged files."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy
import pyarrow
import pytest
from pyarrow import parquet

from budgetlens.corpora.corpus import Corpus, corpus_of_rows, read_corpus
from budgetlens.corpora.known import CORPORA
from budgetlens.corpora.rows import Selection
from budgetlens.corpora.sources import CorpusError, rows_of_dataset
from budgetlens.model.trials import Example


def words(count: int, stem: str) -> str:
    return " ".join(f"{stem}{index}" for index in range(count))


def ms_marco_rows(count: int, seed: int = 5) -> list[dict[str, Any]]:
    """Rows of every kind that the selection has to tell apart, lengths at and beside its bounds."""
    generator = random.Random(seed)
    rows = []
    for index in range(count):
        lengths = [generator.choice([5, 19, 20, 29, 30, 31, 120, 200, 201, 299, 300, 301]) for _ in range(5)]
        flags = [generator.choice([0, 0, 1]) for _ in range(5)]
        well_formed = generator.choice([[], ["[]"], [""], [f"Well formed {index}."]])
        answers = generator.choice(
            [["No Answer Present."], [f"short {index}"], [f"short {index}", "second"], []]
        )
        rows.append(
            {
                "query": f"what is thing {index}",
                "query_id": 1000 + index,
                "query_type": "entity",
                "answers": answers,
                "wellFormedAnswers": well_formed,
                "passages": {
                    "is_selected": flags,
                    "passage_text": [
                        words(length, f"r{index}p{place}w") for place, length in enumerate(lengths)
                    ],
                    "url": ["http://example.org"] * 5,
                },
            }
        )
    return rows


def published_ms_marco(rows: list[dict[str, Any]], n: int) -> list[tuple[str, str, str]]:
    """Section 2 of the protocol, as a loop."""
    found = []
    for row in rows:
        answer = None
        if len(row["wellFormedAnswers"]) > 0 and row["wellFormedAnswers"][0] not in ("", "[]"):
            answer = row["wellFormedAnswers"][0]
        elif len(row["answers"]) > 0 and row["answers"][0] != "No Answer Present.":
            answer = row["answers"][0]
        if answer is None:
            continue
        for text, flag in zip(row["passages"]["passage_text"], row["passages"]["is_selected"], strict=True):
            if flag == 1 and 30 <= len(text.split()) <= 300:
                found.append((row["query"], text, answer))
                break
        if len(found) >= 3 * n:
            break
    numpy.random.seed(42)
    order = numpy.random.permutation(len(found))
    return [found[index] for index in order[:n]]


def triples(corpus: Corpus) -> list[tuple[str, str, str]]:
    return [(example.query, example.document, example.answer) for example in corpus.examples]


def write_json_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


PLAIN = [
    {"query": "who made it", "document": "Ann made it in May.", "answer": "Ann"},
    {"query": "when was it made", "document": "Ann made it in May.", "answer": "in May"},
    {"query": "what is café", "document": "Café is a place — to sit.", "answer": "a place"},
]


@pytest.mark.parametrize("n", [1, 7, 20, 60])
def test_ms_marco_selection_is_the_published_one(tmp_path: Path, n: int) -> None:
    rows = ms_marco_rows(120)
    corpus = read_corpus(write_json_lines(tmp_path / "marco.jsonl", rows), n=n)
    expected = published_ms_marco(rows, n)
    assert len(expected) == min(n, corpus.candidates)
    assert triples(corpus) == expected
    assert corpus.schema == "ms_marco"


def test_ms_marco_walk_stops_at_three_times_n(tmp_path: Path) -> None:
    rows = ms_marco_rows(120)
    corpus = read_corpus(write_json_lines(tmp_path / "marco.jsonl", rows), n=4)
    assert corpus.candidates == 12
    assert corpus.rows_read < 120
    # The last row read is the twelfth candidate: one row fewer gives eleven.
    fewer = read_corpus(write_json_lines(tmp_path / "fewer.jsonl", rows[: corpus.rows_read - 1]), n=4)
    assert fewer.candidates == 11


def test_ms_marco_by_hand() -> None:
    """One row per rule; the outcome of each is written beside it."""

    def row(answers: Any, well_formed: Any, flags: list[int], lengths: list[int]) -> dict[str, Any]:
        texts = [words(length, f"{place}-") for place, length in enumerate(lengths)]
        return {
            "query": "q",
            "answers": answers,
            "wellFormedAnswers": well_formed,
            "passages": {"is_selected": flags, "passage_text": texts},
        }

    rows = [
        row(["a"], ["well"], [0, 1], [40, 50]),  # well-formed answer, second passage
        row(["a"], ["[]"], [1, 0], [30, 50]),  # first answer; 30 words is inside
        row(["a"], [], [1, 1], [29, 300]),  # the first selected is too short, the second is taken
        row(["No Answer Present."], ["well"], [1], [31]),  # a well-formed answer beats 'No Answer Present.'
        row(["No Answer Present."], [], [1], [31]),  # out: no answer
        row([], [], [1], [31]),  # out: no answer
        row(["a"], [], [0, 0], [31, 31]),  # out: nothing selected
        row(["a"], [], [1, 0], [301, 60]),  # out: too long
        row(["a"], None, [1], [33]),  # no well-formed answers at all
    ]
    corpus = corpus_of_rows(enumerate(rows, 1), name="hand", source="hand", n=None)
    by_identifier = {example.identifier: example for example in corpus.examples}
    outcome = {
        name: (example.answer, len(example.document.split()), example.document[0])
        for name, example in by_identifier.items()
    }
    assert outcome == {
        "row-1": ("well", 50, "1"),
        "row-2": ("a", 30, "0"),
        "row-3": ("a", 300, "1"),
        "row-4": ("well", 31, "0"),
        "row-9": ("a", 33, "0"),
    }
    assert by_identifier["row-1"].passages == (words(40, "0-"),)
    assert {(rejection.reason, rejection.rows) for rejection in corpus.rejected} == {
        ("no answer", (5, 6)),
        ("no selected passage of 30-300 words", (7, 8)),
    }
    assert not any(rejection.malformed for rejection in corpus.rejected)


def test_padding_pool_holds_unselected_passages_of_20_to_200_words(tmp_path: Path) -> None:
    rows = ms_marco_rows(40)
    # A passage that one row did not select and another did is no unrelated text.
    for row in rows[:2]:
        row["passages"]["passage_text"][0] = words(50, "shared")
    rows[0]["passages"]["is_selected"][0], rows[1]["passages"]["is_selected"][0] = 1, 0
    corpus = read_corpus(write_json_lines(tmp_path / "marco.jsonl", rows), n=None)
    pairs = [
        (text, flag)
        for row in rows
        for text, flag in zip(row["passages"]["passage_text"], row["passages"]["is_selected"], strict=True)
    ]
    selected = {text for text, flag in pairs if flag == 1}
    expected = {text for text, flag in pairs if flag == 0 and 20 <= len(text.split()) <= 200} - selected
    assert set(corpus.padding_pool) == expected
    assert len(corpus.padding_pool) == len(expected) > 20


def test_neural_bridge_selection_is_the_published_one(tmp_path: Path) -> None:
    generator = random.Random(3)
    rows = [
        {
            "context": words(40, f"c{index}-"),
            "question": words(generator.choice([13, 14, 15, 16]), f"q{index}-"),
            "answer": words(generator.choice([3, 4, 5, 6]), f"a{index}-"),
        }
        for index in range(80)
    ]
    found = [
        (row["question"], row["context"], row["answer"])
        for row in rows
        if len(row["question"].split()) >= 15 and len(row["answer"].split()) >= 5
    ]
    numpy.random.seed(42)
    order = numpy.random.permutation(len(found))
    corpus = read_corpus(write_json_lines(tmp_path / "bridge.jsonl", rows), n=9)
    assert triples(corpus) == [found[index] for index in order[:9]]
    assert corpus.candidates == len(found)
    assert corpus.padding_pool == ()
    assert sum(rejection.count for rejection in corpus.rejected) == 80 - len(found)


def test_plain_rows_are_all_candidates_in_seeded_order(tmp_path: Path) -> None:
    path = write_json_lines(tmp_path / "plain.jsonl", PLAIN)
    everything = read_corpus(path, n=None, seed=7)
    order = numpy.random.RandomState(7).permutation(3)
    rows = [(row["query"], row["document"], row["answer"]) for row in PLAIN]
    assert triples(everything) == [rows[index] for index in order]
    assert triples(read_corpus(path, n=2, seed=7)) == triples(everything)[:2]


def test_selection_bounds_are_options(tmp_path: Path) -> None:
    rows = ms_marco_rows(60)
    path = write_json_lines(tmp_path / "marco.jsonl", rows)
    corpus = read_corpus(
        path,
        n=5,
        selection=Selection(document_words=(5, 19), candidates_per_example=2, padding_words=(300, 301)),
    )
    assert corpus.candidates == 10
    assert {len(example.document.split()) for example in corpus.examples} <= {5, 19}
    assert {len(text.split()) for text in corpus.padding_pool} == {300, 301}


def write_as(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The same rows in the format that the extension names, by the formats' own writers."""
    if path.suffix == ".jsonl":
        return write_json_lines(path, rows)
    if path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    elif path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            for row in rows:
                cells = {
                    name: json.dumps(value) if isinstance(value, dict | list) else value
                    for name, value in row.items()
                }
                writer.writerow(cells)
    return path


@pytest.mark.parametrize("extension", ["jsonl", "json", "csv", "parquet"])
def test_formats_agree(tmp_path: Path, extension: str) -> None:
    rows = ms_marco_rows(60)
    corpus = read_corpus(write_as(tmp_path / f"marco.{extension}", rows), n=8)
    assert triples(corpus) == published_ms_marco(rows, 8)
    assert corpus.padding_pool
    reference = read_corpus(write_json_lines(tmp_path / "reference.jsonl", rows), n=8)
    assert (corpus.sha256, corpus.padding_sha256) == (reference.sha256, reference.padding_sha256)
    plain = read_corpus(write_as(tmp_path / f"plain.{extension}", PLAIN), n=None)
    assert sorted(triples(plain)) == sorted((row["query"], row["document"], row["answer"]) for row in PLAIN)


@pytest.mark.parametrize("shape", ["columns of lists", "columns by key", "list of passages", "lines"])
def test_other_shapes_of_json(tmp_path: Path, shape: str) -> None:
    rows = ms_marco_rows(30)
    expected = published_ms_marco(rows, 5)
    if shape == "columns of lists":
        content = json.dumps({name: [row[name] for row in rows] for name in rows[0]})
    elif shape == "columns by key":
        columns = {name: {str(place): row[name] for place, row in enumerate(rows)} for name in rows[0]}
        content = json.dumps(columns)
    elif shape == "lines":
        content = "\n".join(map(json.dumps, rows))
    else:
        for row in rows:
            row["passages"] = [
                {"is_selected": flag, "passage_text": text, "url": "u"}
                for text, flag in zip(
                    row["passages"]["passage_text"], row["passages"]["is_selected"], strict=True
                )
            ]
        content = json.dumps(rows)
    path = tmp_path / "marco.json"
    path.write_text(content, encoding="utf-8")
    assert triples(read_corpus(path, n=5)) == expected


def test_a_loaded_hub_dataset_goes_the_same_way(tmp_path: Path) -> None:
    rows = ms_marco_rows(60)
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(write_as(tmp_path / "marco.parquet", rows)),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    corpus = corpus_of_rows(rows_of_dataset(loaded), name="ms_marco", source="hub", n=6)
    assert triples(corpus) == published_ms_marco(rows, 6)
    from_file = read_corpus(tmp_path / "marco.parquet", n=6)
    assert corpus.sha256 == from_file.sha256


def test_an_unreachable_hub_says_what_to_do(tmp_path: Path) -> None:
    program = "from budgetlens.corpora.corpus import read_corpus; read_corpus('ms_marco', n=3)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "CorpusError: microsoft/ms_marco (split 'validation') could not be loaded" in result.stderr
    assert "HF_HUB_OFFLINE" in result.stderr
    assert "give the Parquet or JSON file" in result.stderr


def test_without_the_datasets_package_the_error_says_what_to_install(tmp_path: Path) -> None:
    # A module of that name that cannot be imported stands for a missing one.
    (tmp_path / "datasets.py").write_text("raise ImportError('no module here')\n", encoding="utf-8")
    program = "from budgetlens.corpora.corpus import read_corpus; read_corpus('neural-bridge', n=3)"
    project = str(Path(__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), project])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (
        "CorpusError: reading neural-bridge/rag-dataset-12000 needs the package 'datasets'" in result.stderr
    )
    assert "pip install datasets" in result.stderr


def test_the_built_in_corpora_are_read_by_the_same_rules() -> None:
    file = CORPORA["reference"].file
    assert file is not None
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    corpus = read_corpus("reference", n=150)
    assert triples(corpus) == published_ms_marco(rows, 150)
    everything = read_corpus("reference", n=None)
    assert len(everything.examples) == len(rows) >= 600
    assert everything.rejected == ()
    assert len({example.identifier for example in everything.examples}) == len(rows)
    long = read_corpus("reference-long", n=None)
    assert (long.schema, long.rejected, long.warnings) == ("plain", (), ())


def test_hub_corpora_are_the_published_ones() -> None:
    marco, bridge = CORPORA["ms_marco"], CORPORA["neural-bridge"]
    assert (marco.repository, marco.configuration, marco.split) == (
        "microsoft/ms_marco",
        "v1.1",
        "validation",
    )
    assert (bridge.repository, bridge.configuration, bridge.split) == (
        "neural-bridge/rag-dataset-12000",
        None,
        "train",
    )


def test_bad_rows_are_counted_and_named(tmp_path: Path) -> None:
    good = PLAIN[0]
    rows: list[Any] = [
        good,  # 1
        {**good, "answer": ""},  # 2
        {**good, "answer": "  \n"},  # 3
        {**good, "answer": None},  # 4
        {"query": "q", "answer": "a"},  # 5
        {**good, "answer": 42},  # 6
        {**good, "query": ["q"]},  # 7
        ["not", "an", "object"],  # 8
        {**good, "document": "half of a pair: \ud83d"},  # 9
        {**good, "passages": ["fine", 3]},  # 10
        good,  # 11
    ]
    corpus = read_corpus(write_json_lines(tmp_path / "bad.jsonl", rows), n=None)
    assert len(corpus.examples) == 2
    assert corpus.rows_read == 11
    assert {(rejection.reason, rejection.count, rejection.rows) for rejection in corpus.rejected} == {
        ("'answer' is empty", 2, (2, 3)),
        ("'answer' is missing", 1, (4,)),
        ("'document' is missing", 1, (5,)),
        ("'answer' is a number, not text", 1, (6,)),
        ("'query' is a list, not text", 1, (7,)),
        ("the row is a list, not an object with named fields", 1, (8,)),
        ("'document' holds a broken character (a lone surrogate)", 1, (9,)),
        ("'passages' holds a number, not only texts", 1, (10,)),
    }
    assert all(rejection.malformed for rejection in corpus.rejected)
    assert corpus.warnings == ("9 bad rows were left out",)
    assert "bad rows: 9" in corpus.describe()
    assert "2 x 'answer' is empty (row 2, 3)" in corpus.describe()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answers": "No Answer"}, "'answers' is text that is not JSON"),
        ({"answers": [1], "wellFormedAnswers": []}, "'answers' holds a number, not only texts"),
        ({"answers": [" "], "wellFormedAnswers": []}, "the first of 'answers' is empty"),
        ({"answers": None, "wellFormedAnswers": []}, "'answers' is missing"),
        ({"query": None}, "'query' is missing"),
        ({"passages": None}, "'passages' is missing"),
        ({"passages": 3}, "'passages' is a number, not lists of 'is_selected' and 'passage_text'"),
        (
            {"passages": {"is_selected": [1], "passage_text": []}},
            "'is_selected' and 'passage_text' differ in length",
        ),
        ({"passages": {"passage_text": ["t"]}}, "'is_selected' is missing"),
        (
            {"passages": {"is_selected": ["yes"], "passage_text": ["t"]}},
            "'is_selected' is not a list of whole numbers",
        ),
    ],
)
def test_bad_ms_marco_rows(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    good = {
        "query": "q",
        "answers": ["a"],
        "passages": {"is_selected": [1], "passage_text": [words(40, "w")]},
    }
    path = write_json_lines(tmp_path / "bad.jsonl", [good, {**good, **change}])
    corpus = read_corpus(path, n=None)
    assert [(rejection.reason, rejection.malformed, rejection.rows) for rejection in corpus.rejected] == [
        (reason, True, (2,))
    ]


def test_only_the_first_few_row_numbers_are_named(tmp_path: Path) -> None:
    rows = [PLAIN[0]] + [{**PLAIN[0], "answer": ""}] * 8
    corpus = read_corpus(write_json_lines(tmp_path / "bad.jsonl", rows), n=None)
    assert (corpus.rejected[0].count, corpus.rejected[0].rows) == (8, (2, 3, 4, 5, 6))
    assert "8 x 'answer' is empty (row 2, 3, 4, 5, 6, ...)" in corpus.describe()


def test_no_usable_row_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    path = write_json_lines(tmp_path / "none.jsonl", [{**PLAIN[0], "answer": ""}] * 2)
    with pytest.raises(CorpusError, match=r"none of 2 rows is usable.*2 x 'answer' is empty \(row 1, 2\)"):
        read_corpus(path, n=5)


def test_fewer_usable_rows_than_asked_is_a_warning(tmp_path: Path) -> None:
    corpus = read_corpus(write_json_lines(tmp_path / "plain.jsonl", PLAIN), n=500)
    assert len(corpus.examples) == 3
    assert corpus.warnings == (
        "500 examples were asked for, but only 3 rows are usable; all of them are used",
    )
    assert "warning: 500 examples were asked for" in corpus.describe()
    assert read_corpus(tmp_path / "plain.jsonl", n=3).warnings == ()


@pytest.mark.parametrize("n", [0, -1, True, 2.5])
def test_n_is_checked(tmp_path: Path, n: Any) -> None:
    path = write_json_lines(tmp_path / "plain.jsonl", PLAIN)
    with pytest.raises(CorpusError, match="whole number of at least 1, or None"):
        read_corpus(path, n=n)


def test_identifiers_are_unique_and_do_not_depend_on_n(tmp_path: Path) -> None:
    rows = [{**PLAIN[index % 3], "id": "same" if index % 2 else index} for index in range(8)]
    path = write_json_lines(tmp_path / "plain.jsonl", rows)
    everything = [example.identifier for example in read_corpus(path, n=None).examples]
    assert sorted(everything) == ["0", "2", "4", "6", "same", "same-row-4", "same-row-6", "same-row-8"]
    assert [example.identifier for example in read_corpus(path, n=3).examples] == everything[:3]


def test_sha256_is_a_hash_of_every_field_in_order(tmp_path: Path) -> None:
    rows = [{**row, "id": str(place), "passages": ["x y"]} for place, row in enumerate(PLAIN)]
    corpus = read_corpus(write_json_lines(tmp_path / "plain.jsonl", rows), n=2)
    digest = hashlib.sha256()
    for example in corpus.examples:
        fields = [example.identifier, example.query, example.document, example.answer, ["x y"]]
        digest.update((json.dumps(fields, separators=(",", ":")) + "\n").encode())
    assert corpus.sha256 == digest.hexdigest()
    changed = [{**row, "passages": ["x z"]} for row in rows]
    assert read_corpus(write_json_lines(tmp_path / "other.jsonl", changed), n=2).sha256 != corpus.sha256


def test_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    expected = sorted((row["query"], row["document"], row["answer"]) for row in PLAIN)
    lines = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in PLAIN)
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode() + b"\r\n\r\n")
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(PLAIN).encode())
    table = "\r\n".join(
        ["query,document,answer"] + [f'{row["query"]},"{row["document"]}",{row["answer"]}' for row in PLAIN]
    )
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    for name in ("a.jsonl", "a.json", "a.csv"):
        assert sorted(triples(read_corpus(tmp_path / name, n=None))) == expected


def test_line_separators_inside_a_string_do_not_cut_a_json_line(tmp_path: Path) -> None:
    row = {**PLAIN[0], "document": "one\u2028two\x85three"}
    path = tmp_path / "plain.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_corpus(path, n=None).examples[0].document == row["document"]


def test_csv_with_quoted_line_breaks_and_a_ragged_row(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_bytes(b'query,document,answer\nq,"two\r\nlines, one cell",a\nq,only two\n\nq,d,a\n')
    corpus = read_corpus(path, n=None)
    assert sorted(example.document for example in corpus.examples) == ["d", "two\r\nlines, one cell"]
    assert [(rejection.reason, rejection.rows) for rejection in corpus.rejected] == [
        ("not as many fields as the header names", (2,))
    ]


BROKEN: list[tuple[str, bytes, str]] = [
    ("empty.jsonl", b"", "is empty"),
    ("empty.csv", b"", "is empty"),
    ("blank.jsonl", b"\n \n", "holds no rows"),
    ("header.csv", b"query,document,answer\n", "holds no rows"),
    ("none.json", b"[]", "holds no rows"),
    (
        "text.txt",
        b"hello",
        r"ends in '\.txt'; a corpus file ends in one of \.json, \.jsonl, \.csv, \.parquet",
    ),
    ("bare", b"hello", "ends in 'no extension'"),
    (
        "cut.jsonl",
        b'{"query": "q", "document": "d", "answer": "a"}\n\n{"query": "q", "docu',
        "line 3: not JSON",
    ),
    ("cut.json", b'[{"query": "q",\n "document"', "line 2: not JSON"),
    ("scalar.json", b"3", "holds one int; expected an array of objects"),
    (
        "latin.jsonl",
        b'{"query": "q"}\n{"query": "caf\xe9"}',
        r"line 2: byte 0xe9 is not UTF-8.*save the file as UTF-8",
    ),
    ("latin.csv", b"query,document,answer\nq,caf\xe9,a\n", "line 2: byte 0xe9 is not UTF-8"),
    ("utf16.csv", "query,document,answer\nq,d,a\n".encode("utf-16"), "line 1: byte 0xff is not UTF-8"),
    ("open.csv", b'query,document,answer\nq,"never closed,a\n', "line 2: not CSV"),
    ("twice.csv", b"query,answer,query\nq,a,q\n", "more than once"),
    ("text.parquet", b"query,document,answer\n", "not.*Parquet|cannot be read as Parquet"),
    (
        "other.csv",
        b"prompt,completion\nq,a\n",
        r"columns \['completion', 'prompt'\].*ms_marco: answers, passages",
    ),
    ("semicolons.csv", b"query;document;answer\nq;d;a\n", "fit no known schema"),
    ("lists.jsonl", b"[1]\n[2]\n", "its rows are no objects"),
    ("commas.csv", b"query,document,answer\nq,d,a,\nq,d,a,\n", "line 2: 4 fields, and the header names 3"),
    ("null.csv", b"query,document,answer\nq,d,a\nq,\0,a\n", "line 3: holds a NUL character"),
    ("null.jsonl", b'{"query": "q"}\n\0', "line 2: holds a NUL character"),
    ("open2.csv", b'query,document,answer\nq,d,a\nq,"open,a\nq,d,a\nq,d,a\n', "line 3: not CSV"),
    ("deep.jsonl", b'{"query": "q"}\n{"query": ' + b"[" * 100_000, "line 2: nested too deeply to be read"),
    ("deep.json", b'[{"query": "q"},\n{"query": ' + b"[" * 100_000, "line 2: nested too deeply to be read"),
    ("huge.jsonl", b'{"id": ' + b"9" * 5_000 + b"}", "line 1: a number of 5000 digits"),
    ("huge.json", b'[{"id": 1},\n\n{"id": ' + b"9" * 5_000 + b"}]", "line 3: a number of 5000 digits"),
    (
        "doubled.jsonl",
        b'{"query": "q", "document": "d", "answer": "a"}\n{"query": "q", "document": "d", "query": "a"}',
        "line 2: the key 'query' is there twice in one object",
    ),
    ("doubled.json", b'[{"query": "q"},\n {"a": {"b": 1, "b": 2}}]', "line 2: the key 'b' is there twice"),
]


@pytest.mark.parametrize(("name", "content", "message"), BROKEN, ids=[name for name, _, _ in BROKEN])
def test_broken_files_are_clear_errors(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_corpus(tmp_path / name, n=1)


def test_directories_missing_files_and_unknown_names_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is a directory; give one file"):
        read_corpus(tmp_path, n=1)
    with pytest.raises(CorpusError, match=r"neither a known corpus \(reference, .*\) nor an existing file"):
        read_corpus("squad", n=1)
    with pytest.raises(CorpusError, match="not on the hub"):
        read_corpus(write_json_lines(tmp_path / "a.jsonl", PLAIN), n=1, revision="main")


def test_a_home_of_nobody_and_an_empty_name_are_clear_errors() -> None:
    with pytest.raises(CorpusError, match="'~nosuchuser/c.csv' begins with the home directory of a user"):
        read_corpus("~nosuchuser/c.csv", n=1)
    for empty in ("", "  "):
        with pytest.raises(CorpusError, match="the corpus has no name; give one of reference"):
            read_corpus(empty, n=1)
    with pytest.raises(CorpusError, match="neither a known corpus"):
        read_corpus("a" * 5_000, n=1)


def test_lone_surrogates_make_a_row_malformed_wherever_they_stand(tmp_path: Path) -> None:
    rows = [PLAIN[0], *({**PLAIN[0], name: "a\ud800b"} for name in ("query", "document", "answer", "id"))]
    corpus = read_corpus(write_json_lines(tmp_path / "plain.jsonl", rows), n=None)
    assert [(rejection.reason, rejection.rows) for rejection in corpus.rejected] == [
        (f"{name!r} holds a broken character (a lone surrogate)", (row,))
        for row, name in enumerate(("query", "document", "answer", "id"), start=2)
    ]


def test_a_long_cell_and_text_that_looks_like_something_else(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    long = "word " * 30_000
    path.write_text(f'id,query,document,answer\n01,NA,"{long}",null\n1,None,nan,01\n', encoding="utf-8")
    examples = {each.identifier: each for each in read_corpus(path, n=None).examples}
    assert (examples["01"].query, examples["01"].document, examples["01"].answer) == ("NA", long, "null")
    assert (examples["1"].query, examples["1"].document, examples["1"].answer) == ("None", "nan", "01")
    assert csv.field_size_limit() == 131_072


def test_a_default_is_not_what_somebody_asked_for(tmp_path: Path) -> None:
    path = write_json_lines(tmp_path / "plain.jsonl", PLAIN)
    (told,) = read_corpus(path, n=500, n_asked=False).warnings
    assert told == (
        "the analysis takes 500 examples where no number is given, and only 3 rows are usable; all of them are used"
    )


def test_a_corpus_without_some_examples(tmp_path: Path) -> None:
    corpus = read_corpus(write_json_lines(tmp_path / "plain.jsonl", PLAIN), n=None)
    first, second, third = corpus.examples
    assert corpus.without({second.identifier, "nobody"}).examples == (first, third)
    assert corpus.without(()) is corpus


def test_columns_are_found_even_when_the_first_row_lacks_one(tmp_path: Path) -> None:
    rows = [{"query": "q"}, *PLAIN]
    corpus = read_corpus(write_json_lines(tmp_path / "plain.jsonl", rows), n=None)
    assert (len(corpus.examples), corpus.rejected[0].reason) == (3, "'document' is missing")


def test_examples_are_the_record_type_of_trials(tmp_path: Path) -> None:
    corpus = read_corpus(write_json_lines(tmp_path / "plain.jsonl", PLAIN[:1]), n=1)
    assert corpus.examples == (
        Example(identifier="row-1", query="who made it", document="Ann made it in May.", answer="Ann"),
    )


def test_reading_a_local_file_needs_neither_torch_nor_datasets(tmp_path: Path) -> None:
    path = write_json_lines(tmp_path / "plain.jsonl", PLAIN)
    program = (
        "import sys; from budgetlens.corpora.corpus import read_corpus; "
        f"read_corpus({str(path)!r}, n=1); print(sorted({{'torch', 'datasets'}} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"
