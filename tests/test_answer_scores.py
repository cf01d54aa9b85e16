"""Scores of generated answers: SQuAD's by another implementation and by hand, and all right answers of a row."""

from __future__ import annotations

import random

import pytest

from budgetlens.statistics.answer_scores import best, exact_match, f1, recall, words_of
from tests.reference import squad

WORDS = (
    "The", "the", "a", "An", "theatre", "Orla", "Venn", "venn", "Zoë", "Straße", "ÉCOLE", "école", "42", "42,000",
    "mill-stone", "millstone", "don't", "dont", "(1412)", "…", "“quoted”", "the-end", "—", "naïve", "x_y", "李", "I.", "№5",
)  # fmt: skip
GAPS = (" ", "  ", "\n", "\t", "\u00a0", " - ", ", ", "-")


def pairs(count: int) -> list[tuple[str, str]]:
    """Texts with punctuation, articles, other alphabets and odd spaces; half of them share most of their words."""
    generator = random.Random(7)

    def text(words: list[str]) -> str:
        return "".join(word + generator.choice(GAPS) for word in words)

    found = []
    for number in range(count):
        right = generator.choices(WORDS, k=generator.randrange(0, 7))
        own = generator.choices(WORDS, k=generator.randrange(0, 7))
        if number % 2:
            own = generator.sample(right, len(right)) if number % 4 == 1 else [word.upper() for word in right]
        found.append((text(own), text(right)))
    return found


def test_500_pairs_against_another_implementation() -> None:
    seen = set()
    for own, right in pairs(500):
        found = (exact_match(own, right), f1(own, right), recall(own, right))
        assert found == pytest.approx(squad.scores(own, right), abs=1e-12), (own, right)
        seen.add(found[0])
    assert seen == {0.0, 1.0}


def test_500_pairs_against_torchmetrics() -> None:
    """Where torchmetrics is installed, which no requirement of the project asks for; it gives percent in float32."""
    text = pytest.importorskip("torchmetrics.functional.text")
    for own, right in pairs(500):
        found = text.squad(
            [{"prediction_text": own, "id": "1"}],
            [{"answers": {"answer_start": [0], "text": [right]}, "id": "1"}],
        )
        expected = (float(found["exact_match"]) / 100, float(found["f1"]) / 100)
        assert (exact_match(own, right), f1(own, right)) == pytest.approx(expected, abs=1e-6), (own, right)


@pytest.mark.parametrize(
    ("own", "right", "expected"),
    [
        # Two of the three words of the answer, two of the four right ones: 2·2/(3+4).
        ("Orla Venn twice", "Orla Venn built it", (0.0, 4 / 7, 0.5)),
        # A word counts as often as it is in both.
        ("no no no", "no no yes", (0.0, 2 * 2 / 6, 2 / 3)),
        ("The  mill!", "a Mill", (1.0, 1.0, 1.0)),
        ("", "", (1.0, 1.0, 1.0)),
        ("the", "", (1.0, 1.0, 1.0)),
        ("mill", "", (0.0, 0.0, 0.0)),
        ("", "mill", (0.0, 0.0, 0.0)),
        ("bridge", "mill", (0.0, 0.0, 0.0)),
    ],
)
def test_scores_by_hand(own: str, right: str, expected: tuple[float, float, float]) -> None:
    assert (exact_match(own, right), f1(own, right), recall(own, right)) == pytest.approx(expected)


def test_the_best_right_answer_counts_score_by_score() -> None:
    right = ("Orla", "Orla Venn of Lund and of Kesh")
    assert best(exact_match, "orla", right) == 1
    assert best(recall, "Orla Venn", right) == 1
    # By the long one 2·2/(2+7), by the short one 2·1/(2+1).
    assert best(f1, "Orla Venn", right) == pytest.approx(2 / 3)


def test_normalised_words() -> None:
    assert words_of("The theatre, An ARTICLE\u00a0of  a-b") == ["theatre", "article", "of", "ab"]
