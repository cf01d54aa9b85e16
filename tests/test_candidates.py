"""Candidates: margins by an eager computation of every answer by itself, and accuracies of known ranks."""

from __future__ import annotations

import math

import numpy
import pytest

import budgetlens as bl
from budgetlens.model.trials import Example
from probes.choice import Choice
from tests.reference import eager, tiny_models

DOCUMENT = "The mill was built by Oss in 1412."
QUERY = "who built the mill"
# The last two are the right answer, one of them by its tokens alone.
OTHERS = ["Kesh", "Orla Venn", "the people of Lund", "Kesh", "Oss", " Oss"]


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
def test_margins_are_those_of_every_answer_fed_by_itself(family: str) -> None:
    """Packed and not, with and without a prefix: the NLL of each candidate, one eager pass each."""
    model = bl.wrap(tiny_models.build(family), tiny_models.tokenizer())
    rows = [
        {"query": QUERY, "document": DOCUMENT, "answer": "Oss", "candidates": OTHERS},
        {"query": QUERY, "document": DOCUMENT, "answer": "Kesh"},
    ]
    corpus = bl.corpus(rows)
    frame = bl.measure(model, corpus, prefix=["none", "oracle"], prompt="query", probes=["choice"])
    found = frame[frame["probe"] == "choice"].set_index(["example", "prefix", "quantity"])["value"]
    own, without = (example.identifier for example in corpus.examples)
    for prefix in ("none", "oracle"):
        nll = {}
        for answer in ("Oss", *OTHERS[:3]):
            fed = model.read(
                document=DOCUMENT, query=QUERY, answer=answer, prefix="" if prefix == "none" else QUERY
            ).trial
            nll[answer] = eager.measure(
                tiny_models.build(family),
                encoder_ids=fed.encoder_ids,
                encoder_roles=fed.encoder_roles,
                visible=fed.visible,
                decoder_ids=fed.decoder_ids,
                decoder_roles=fed.decoder_roles,
                answer_length=fed.answer_tokens,
            ).nll_mean
        margin = min(value for answer, value in nll.items() if answer != "Oss") - nll["Oss"]
        assert found[own, prefix, "margin"] == pytest.approx(margin, abs=1e-4)
        assert found[own, prefix, "accuracy"] == (margin > 0)
        missing = found.get((without, prefix, "margin"))
        assert missing is None or math.isnan(missing)


@pytest.mark.parametrize(
    ("answer", "others", "expected"),
    [(1.0, [2.0, 1.5], (0.5, 1.0)), (1.0, [2.0, 0.25], (-0.75, 0.0)), (1.0, [1.0], (0.0, 0.0))],
)
def test_known_ranks(answer: float, others: list[float], expected: tuple[float, float]) -> None:
    found = Choice().observe_candidates(answer, others)
    assert (found["margin"], found["accuracy"]) == expected
    assert numpy.isnan(list(Choice().observe_candidates(1.0, []).values())).all()


def test_right_answers_are_no_wrong_candidates() -> None:
    columns = (("answers", ["Oss", "the Oss"]), ("candidates", ["the Oss", "Kesh", "Kesh", " ", 5]))
    assert Example("1", QUERY, DOCUMENT, "Oss", columns=columns).candidates == ("Kesh",)
