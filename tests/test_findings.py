"""What the report says of interactions, slopes and shared documents: words fit for a difference of differences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from budgetlens.report.caveats import caveats
from budgetlens.report.findings import sentence, split_sentences
from budgetlens.statistics.decisions import FAMILY, TAILS, Kind
from budgetlens.statistics.findings import Finding, findings
from budgetlens.statistics.verdicts import SLOPE
from budgetlens.tables.presentation import Table
from tests import report_pages


def table(frame: pd.DataFrame) -> Table:
    return Table(frame, "T", "e", "u", "n", "f", "c", 1)


def split(order: int, amount: float, **more: Any) -> str:
    """The sentence of one split into two parts."""
    rows = [
        {"part": "total", "mean_difference": amount, "share": 1.0},
        {
            "part": "length",
            "mean_difference": 1.13 * amount,
            "share": 1.13,
            "share_low": 1.03,
            "share_high": 1.25,
        },
        {
            "part": "content",
            "mean_difference": -0.13 * amount,
            "share": -0.13,
            "share_low": -0.23,
            "share_high": 0.0,
        },
    ]
    frame = pd.DataFrame([{"contrast": "prefix × prompt", "order": order, **more, **row} for row in rows])
    ((_, text),) = split_sentences(frame)
    return text


LABELS = {"effect_of": "prefix none→oracle", "at_baseline": "prompt=none", "at_treatment": "prompt=query"}
PARTS = "length 113 % [103, 125], content −13 % [−23, 0]"


def test_shares_of_an_interaction_are_told_as_shares_of_a_difference_of_differences() -> None:
    head = "the effect of prefix=oracle instead of prefix=none on the answer's NLL (positive: it falls) is 0.529 nats"
    tail = f"with prompt=none than with prompt=query; of this difference of differences, {PARTS}"
    assert split(2, 0.529, **LABELS) == f"{head} larger {tail}"
    assert split(2, -0.529, **LABELS) == f"{head} smaller {tail}"


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (1, "of 0.529 nats"),
        (2, "a difference of differences of 0.529 nats, of which"),
        (3, "a difference between interactions of 0.529 nats, of which"),
    ],
)
def test_shares_of_other_contrasts(order: int, words: str) -> None:
    assert split(order, 0.529, effect_of="", at_baseline="", at_treatment="") == f"{words}, {PARTS}"


def finding(kind: Kind, order: int) -> Finding:
    table = pd.DataFrame(
        {
            "contrast": ["c"],
            "family": ["f"],
            "order": [order],
            "mean_difference": [0.5],
            "low": [0.4],
            "high": [0.6],
            "p_holm": [0.01],
            "n": [40],
            "kind": [kind],
            "smallest_effect": [0.05],
        }
    )
    return findings(table)[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (finding("none", 2), "the difference of differences is 0.50 [0.40, 0.60] nats and lies"),
        (finding("none", 3), "the difference between two interactions is 0.50"),
        (finding("none", SLOPE), "the slope is 0.50 [0.40, 0.60] nats and lies within"),
        (
            finding("undecided", 2),
            "the data do not decide: the difference of differences is 0.50 [0.40, 0.60] nats",
        ),
        (finding("undecided", 1), "the data do not decide: 0.50 [0.40, 0.60] nats"),
        (finding("positive", 3), "with the third factor the interaction is smaller: 0.50 [0.40, 0.60] nats"),
        (
            finding("positive", SLOPE),
            "along the quantity it does better: 0.50 [0.40, 0.60] nats",
        ),
        (finding("negative", SLOPE), "along the quantity it does worse: 0.50"),
    ],
)
def test_sentences_name_what_the_mean_is(given: Finding, words: str) -> None:
    assert sentence(given).startswith(words)


@pytest.mark.parametrize(
    ("kind", "because", "words"),
    [
        (
            "none",
            FAMILY,
            "the difference is 0.50 [0.40, 0.60] nats and lies within ±0.05; the interval",
        ),
        (
            "undecided",
            FAMILY,
            "the data do not decide, since the interval, of this contrast alone, leaves out 0, and the p",
        ),
        (
            "undecided",
            TAILS,
            "the data do not decide, since n is too small for tails like these (the interval, of this",
        ),
    ],
)
def test_a_sentence_says_why_an_interval_without_0_is_no_effect(kind: Kind, because: str, words: str) -> None:
    given = replace(finding(kind, 1), because=because, p=0.2)
    told = sentence(given)
    assert told.startswith(words)
    assert "leaves out 0, and the p corrected over its family is 0.2" in told
    # An interval that holds 0 has nothing to explain.
    assert "leaves out 0" not in sentence(replace(given, because="", low=-0.1))
    assert "leaves out 0" not in sentence(replace(given, because=TAILS, kind="undecided", low=-0.1))


def test_shared_documents_are_a_caveat() -> None:
    frame = pd.DataFrame(
        {"n": [600], "clusters": [200], "kind": ["positive"], "mean_difference": [0.1], "caution": [""]}
    )
    told = caveats(report_pages.manifest(), {"effects": table(frame)})
    assert told == [
        "Examples share documents: 200 documents are the independent units of 600 examples, and intervals and tests "
        "resample documents."
    ]
    assert caveats(report_pages.manifest(), {"effects": table(frame.assign(clusters=600))}) == []


@pytest.mark.parametrize(("dtype", "told"), [("bfloat16", True), ("float32", False), ("auto", False)])
def test_activations_are_called_rounded_where_it_is_known(dtype: str, told: bool) -> None:
    """A sweep's own directory holds what was asked for, auto, which says nothing about its models."""
    found = caveats(report_pages.manifest(identity={"dtype": dtype}), {})
    assert any("activations are rounded" in own for own in found) == told
