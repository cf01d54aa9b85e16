"""What a report says beside its answer: further questions in one sentence, and the words that it explains."""

from __future__ import annotations

from dataclasses import replace

from budgetlens.report.besides import together
from budgetlens.report.glossary import GLOSSARY, explained
from budgetlens.statistics.findings import Finding, findings
from tests import report_pages


def finding(kind: str, estimate: float, effect: str) -> Finding:
    first = findings(report_pages.effects_frame())[0]
    return replace(
        first, effect=effect, kind=kind, estimate=estimate, low=estimate - 0.1, high=estimate + 0.1
    )


def test_several_effects_are_counted_by_verdict_and_the_largest_of_a_direction_is_named() -> None:
    found = [
        finding("none", 0.0, "a"),
        finding("negative", -0.2, "b"),
        finding("none", 0.01, "c"),
        finding("negative", -0.5, "d"),
        finding("positive", 0.3, "e"),
    ]
    told = together(found, {"d": "the fourth", "e": "the fifth"})
    assert told == (
        "Helps in 1 of 5 comparisons, namely with the fifth: 0.30 [0.20, 0.40] nats; hurts in 2, most with the fourth: "
        "−0.50 [−0.60, −0.40] nats; no effect in 2."
    )
    # Whatever the order in which they come.
    assert together(found[::-1], {"d": "the fourth", "e": "the fifth"}) == told


def test_words_are_explained_where_they_stand_and_nowhere_else() -> None:
    assert [word for word, _ in explained("the NLL of BOSS is undecided")] == ["NLL", "undecided"]
    assert list(explained("nothing to explain")) == []
    assert all(told and not told.endswith(".") for told in GLOSSARY.values())
