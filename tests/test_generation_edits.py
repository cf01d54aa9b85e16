"""Answers under edits: every registered intervention in force at every step, against a loop that keeps nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from budgetlens.design.intervention import available_interventions
from budgetlens.model.answering import generate
from budgetlens.model.decoding import Decoding, GenerationError
from tests.conformance import REFUSALS, Bench, applied
from tests.test_conformance import FAMILIES, bench, direction, sample_levels
from tests.test_generation import recomputed

# Fixtures of the conformance suite.
__all__ = ["bench", "direction"]

#: More than the sliding windows of the tiny decoders.
TOKENS = 6
GREEDY = Decoding(tokens=TOKENS, plain=True)
#: What makes of a row what depends on others, or reads the answer: refused, by these words.
REFUSED = {
    "value_mean": "mean values",
    "keep": "rows that hold the right answer",
    "remove": "rows that hold the right answer",
}
#: Levels that are, where an intervention has others that are not.
ORACLES = {"keep": ("attention:30%:predicting@all/h0", "gradient:3"), "remove": ("gradient:2",)}
#: Levels besides the samples: what moves positions and nothing else.
FURTHER = {"prompt": ("position:5",)}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", available_interventions())
def test_edits_are_in_force_at_every_step(
    name: str, family: str, bench: Callable[[str], Bench], direction: Path
) -> None:
    """The answers of a batch, with a cache, are those of a loop that feeds everything again at every step."""
    own, cls = bench(family), available_interventions()[name]
    for level in (*sample_levels(name), *FURTHER.get(name, ())):
        try:
            trials = applied(cls.parse(level.format(file=direction)), own.prompted, own)
            found = generate(own.model, own.tokenized(trials), GREEDY)
        except GenerationError as error:
            assert level in ORACLES.get(name, (level,))
            assert not level.startswith("encoder->")
            assert REFUSED[name] in str(error)  # noqa: PT017
            continue
        except REFUSALS:
            # What the family can't do, it refuses under teacher forcing as well: the conformance suite sees to it.
            continue
        expected = recomputed(own.model, trials, TOKENS)
        for answer, whole in zip(found, expected, strict=True):
            assert list(answer.tokens) == whole[: len(answer.tokens)], level
            assert len(answer.tokens) == TOKENS or answer.stopped


@pytest.mark.parametrize("family", FAMILIES)
def test_every_trial_answers_under_its_own_edits(
    family: str, bench: Callable[[str], Bench], direction: Path
) -> None:
    """One batch of bare and prompted trials under different edits: each answers as it does alone, and not all alike."""
    own, known = bench(family), available_interventions()
    levels = (
        ("knockout", "predicting->document@all"),
        ("value_zeroing", "predicting->document@all"),
        ("steering", "predicting:40:{file}@0"),
        ("steering", "answer:40:{file}@0"),
        ("sublayer_removal", "decoder@all"),
    )
    trials = [own.bare[0], *own.prompted]
    for name, level in levels:
        trials += applied(known[name].parse(level.format(file=direction)), own.prompted, own)
    fed = own.tokenized(trials)
    found = generate(own.model, fed, GREEDY)
    assert found == tuple(generate(own.model, [trial], GREEDY)[0] for trial in fed)
    without = found[1:4]
    moved = [level for place, level in enumerate(levels) if found[4 + 3 * place : 7 + 3 * place] != without]
    # Random weights may find the same token most probable under one of them; the rows of generated tokens are edited too.
    assert len(moved) >= 4
    assert ("steering", "answer:40:{file}@0") in moved
