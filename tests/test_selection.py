"""Selection of document positions: which are kept, by hand, and what a decoder that sees no others makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from transformers import PreTrainedModel

from budgetlens.design.intervention import LevelError
from budgetlens.model.keeping import Keep
from interventions.selection import Selection
from tests.cells import Models, captured, context_of, losses, tokenized
from tests.reference import eager


def test_places_by_hand() -> None:
    assert Keep("first", 3).of(10) == {0, 1, 2}
    assert Keep("last", 3).of(10) == {7, 8, 9}
    # A part of a position is a position.
    assert Keep("first", 25, True).of(10) == {0, 1, 2}
    assert Keep("last", 20).of(10) == set(range(10))
    drawn = [Keep("random", 4, seed=seed).of(10) for seed in range(400)]
    assert {len(one) for one in drawn} == {4}
    for place in range(10):
        # 160 expected, with a standard deviation of about 10.
        assert abs(sum(place in one for one in drawn) - 160) < 45


def test_a_draw_is_part_of_the_level_and_of_the_example(loaded: Models) -> None:
    model = loaded("t5gemma2")
    selection = Selection.parse("random:40%")

    def kept(index: int, draw: int) -> Keep | None:
        context = replace(context_of(model, index), draw=draw)
        trial = tokenized(model, index).trial
        return selection.apply(trial, context).keep

    assert kept(0, 0) == kept(0, 0)
    assert len({kept(0, 0), kept(0, 1), kept(1, 0)}) == 3


@pytest.mark.parametrize("level", ["first:3", "last:25%", "random:30%"])
@pytest.mark.parametrize("family", ["t5gemma2", "t5", "bart"])
def test_the_decoder_sees_the_kept_positions_alone(
    family: str,
    level: str,
    loaded: Models,
    oracle: Callable[[str], PreTrainedModel],
) -> None:
    """The losses of an eager pass that hides the others; states are those of the whole document."""
    model = loaded(family)
    trial = tokenized(
        model, 0, {"prefix": "oracle", "hidden": "prefix+separator", "keep": level, "prompt": "query"}
    )
    document = [place for place, role in enumerate(trial.encoder_roles) if role == "document"]
    count = len(document)
    number = 3 if level == "first:3" else -(-count * int(level[-3:-1]) // 100)
    seen = [place for place in document if trial.visible[place]]
    assert len(seen) == number < count
    if level == "first:3":
        assert seen == document[:3]
    if level == "last:25%":
        assert seen == document[-number:]
    for place, role in enumerate(trial.encoder_roles):
        if role != "document":
            assert trial.visible[place] == (role not in ("prefix", "separator"))
    expected = eager.measure(
        oracle(family),
        encoder_ids=trial.encoder_ids,
        encoder_roles=trial.encoder_roles,
        visible=[role in ("bos", "eos") or place in seen for place, role in enumerate(trial.encoder_roles)],
        decoder_ids=trial.decoder_ids,
        decoder_roles=trial.decoder_roles,
        answer_length=trial.answer_tokens,
    )
    assert losses(captured(model, [trial])) == pytest.approx(expected.nll, abs=1e-4)


def test_all_of_it_is_no_selection(loaded: Models) -> None:
    model = loaded("t5gemma2")
    for level in ("first:100%", "last:100%", "random:100%", "random:9999"):
        assert tokenized(model, 0, {"keep": level}).visible == tokenized(model, 0).visible


def test_levels_that_select_nothing_are_refused() -> None:
    for level, message in (
        ("first", "a score with a number"),
        ("none:3", "a score with a number"),
        ("best:3", "no score of positions is called 'best'"),
        ("first:0", "at least 1"),
        ("last:101%", "at most 100 %"),
    ):
        with pytest.raises(LevelError, match=message):
            Selection.parse(level)
