"""Generated answers: what a cell says when nobody forces the answer on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from budgetlens.model.declaration import Declaration
from budgetlens.model.decoding import ANSWER_TOKENS, Decoding
from budgetlens.model.observation import GeneratedAnswer, probe
from budgetlens.statistics.answer_scores import best, exact_match, f1, recall
from budgetlens.statistics.quantities import Quantity, score


def _told(name: str, label: str) -> Quantity:
    """What an answer is or is not, and nobody judges."""
    return Quantity(name, label, "fraction of 1", part_of_whole=True, binary=True)


@probe("generation")
@dataclass(frozen=True)
class Generation:
    """What the model answers from the cached states, under the cell's interventions, and how right it is.

    Greedy by default, with the generation configuration's logits processors (``plain`` leaves them out), until the
    end-of-sequence token or ``tokens`` tokens; a ``temperature`` above 0 draws, with ``seed``. Scores are those of the best
    of all right answers of the example: ``exact_match``, ``f1`` and ``recall`` of words as SQuAD normalises texts. Records
    have the answer's ``text`` and ``tokens`` besides.
    """

    declares = Declaration(
        title="Generated answer",
        quantities=(
            score("exact_match", "exact match of the generated answer", binary=True),
            score("f1", "F1 of the generated answer"),
            score("recall", "recall of the right answer's words"),
            Quantity("length", "length of the generated answer", "tokens"),
            _told("stopped", "generated answers that end by themselves"),
            _told("empty", "generated answers without a word"),
        ),
        estimand="mean over examples of what their generated answers are",
        plural="generated answers",
        of_answers=True,
    )

    tokens: int = ANSWER_TOKENS
    temperature: float = 0.0
    seed: int = 42
    plain: bool = False

    def __post_init__(self) -> None:
        # What is no decoding is told where the probe is named, and not when it runs.
        _ = self.decoding

    @property
    def decoding(self) -> Decoding:
        """How answers are generated."""
        return Decoding(self.tokens, self.temperature, self.seed, self.plain)

    def observe_generated(self, answer: GeneratedAnswer) -> Mapping[str, float]:
        """The scores, the number of tokens, whether an end came, and whether there is no word in it."""
        scores = {
            score.__name__: best(score, answer.text, answer.right_answers)
            for score in (exact_match, f1, recall)
        }
        return {
            **scores,
            "length": float(len(answer.tokens)),
            "stopped": float(answer.stopped),
            "empty": float(not answer.text),
        }
