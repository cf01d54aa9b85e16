"""Selection of document positions: which are kept, by hand, and what a decoder that sees no others makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy
import pytest
from transformers import PreTrainedModel

from budgetlens.design.intervention import LevelError
from budgetlens.model.answering import generate
from budgetlens.model.candidates import candidate_trials
from budgetlens.model.decoding import Decoding, GenerationError
from budgetlens.model.edits import EditError
from budgetlens.model.keeping import Keep, Readers
from budgetlens.model.selecting import selected_trial
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Segment
from interventions.selection import Selection
from tests.cells import CASE_NAMES, CASES, Models, captured, context_of, losses, tokenized
from tests.reference import contributions, eager


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
    for level in ("first:100%", "last:100%", "random:100%", "random:9999", "attention:100%", "norm:9999"):
        trial = tokenized(model, 0, {"keep": level})
        assert trial.visible == tokenized(model, 0).visible
        assert (losses(captured(model, [trial])) == losses(captured(model, [tokenized(model, 0)]))).all()


def test_levels_that_select_nothing_are_refused() -> None:
    for level, message in (
        ("first", "a score with a number"),
        ("none:3", "a score with a number"),
        ("best:3", "no score of positions is called 'best'"),
        ("first:0", "at least 1"),
        ("last:101%", "at most 100 %"),
        ("attention:3:answer", "no group of rows that choose is called 'answer'"),
        ("attention:3@all/random:1", "name the heads"),
        ("attention:3@x", "no window of layers"),
        ("norm:3:last@all/h0", "what all heads take together"),
        ("first:3:last", "keep=first goes by place"),
        ("random:3@0-1", "keep=random goes by place"),
    ):
        with pytest.raises(LevelError, match=message):
            Selection.parse(level)


CELL = {"prefix": "oracle", "hidden": "prefix+separator", "prompt": "query"}


def of_weights(
    model: PreTrainedModel,
    trial: TokenizedTrial,
    rows: Sequence[int],
    *,
    layers: Sequence[int] | None = None,
    heads: Sequence[int] | None = None,
) -> numpy.ndarray:
    """Attention of every position of the encoder by the library's own weights: mean over layers, heads and rows."""
    visible = [role not in ("prefix", "separator") for role in trial.encoder_roles]
    weights = eager.attention_weights(
        model, encoder_ids=trial.encoder_ids, decoder_ids=trial.decoder_ids, visible=visible
    )
    cross = numpy.stack([own[:, list(rows)] for own in weights.cross])
    cross = cross if layers is None else cross[list(layers)]
    return (cross if heads is None else cross[:, list(heads)]).mean(axis=(0, 1, 2))


def best(scores: numpy.ndarray, places: Sequence[int], number: int) -> set[int]:
    """The places of the highest scores; the test's models have no two scores that rounding could take for each other."""
    order = sorted(places, key=lambda place: -scores[place])
    assert scores[order[number - 1]] - scores[order[number]] > 1e-6
    return set(order[:number])


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_the_model_keeps_what_the_prompt_looks_at_most(
    family: str, pack: bool, loaded: Models, truth: Callable[[str], PreTrainedModel]
) -> None:
    """The largest weights in the library's eager attention, and the losses of a decoder that sees their positions."""
    model = loaded(family)
    levels = ("attention:30%", "attention:3:last", "attention:5:prompt@1-2/h0+3", "attention:30%:predicting")
    cells = [(index, level) for index in (0, 1, 2) for level in levels]
    fed = [tokenized(model, index, {**CELL, "keep": level}) for index, level in cells]
    found = captured(model, fed, pack=pack)
    for place, (trial, (_, level)) in enumerate(zip(fed, cells, strict=True)):
        document = [own for own, role in enumerate(trial.encoder_roles) if role == "document"]
        prompt = [own for own, role in enumerate(trial.decoder_roles) if role == "prompt"]
        number = int(level.split(":")[1]) if "%" not in level else -(-len(document) * 30 // 100)
        given = len(trial.decoder_ids) - trial.answer_tokens
        rows = {"last": [given - 1], "predicting": range(given - 1, len(trial.decoder_ids) - 1)}
        own = rows.get(level.split(":")[-1], prompt)
        chosen = {"layers": (1, 2), "heads": (0, 3)} if "@" in level else {}
        kept = best(of_weights(truth(family), trial, own, **chosen), document, number)
        visible = [
            role in ("bos", "eos") or position in kept for position, role in enumerate(trial.encoder_roles)
        ]
        expected = eager.measure(
            truth(family),
            encoder_ids=trial.encoder_ids,
            encoder_roles=trial.encoder_roles,
            visible=visible,
            decoder_ids=trial.decoder_ids,
            decoder_roles=trial.decoder_roles,
            answer_length=trial.answer_tokens,
        )
        assert losses(found, place) == pytest.approx(expected.nll, abs=1e-4), level
        assert selected_trial(model, trial).visible == tuple(visible)
        assert trial.hidden_positions == visible.count(False)


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
def test_the_model_keeps_what_gives_most(
    family: str, loaded: Models, truth: Callable[[str], PreTrainedModel]
) -> None:
    """Lengths written out key by key: each document position in turn has a role of its own."""
    model = loaded(family)
    trial = tokenized(model, 1, {**CELL, "keep": "norm:25%:last@0-1"})
    given = len(trial.decoder_ids) - trial.answer_tokens
    document = trial.positions("encoder", {"document"})
    scores = numpy.zeros(len(trial.encoder_ids))
    block = "merged" if family == "t5gemma2" else "cross"
    for place in document:
        roles = ["document" if own == place else "bos" for own in range(len(trial.encoder_ids))]
        numbers = contributions.contributions(
            truth(family),
            family,
            encoder_ids=trial.encoder_ids,
            encoder_roles=roles,
            visible=trial.visible,
            # One token of an answer: the only row that is read is the last one before it.
            decoder_ids=trial.decoder_ids[: given + 1],
            decoder_roles=trial.decoder_roles[: given + 1],
            answer_length=1,
        )
        scores[place] = sum(numbers["norm", "decoder", block, layer, -1, "document"] for layer in (0, 1))
    kept = best(scores, document, -(-len(document) // 4))
    assert {place for place in document if selected_trial(model, trial).visible[place]} == kept


def test_edits_of_the_cell_are_in_force_while_positions_are_scored(loaded: Models) -> None:
    """Rows that see nothing of half the document's keys in any head look at the others alone."""
    model = loaded("t5gemma2")
    cut = {**CELL, "knockout": "prompt->document@0-3", "keep": "attention:4@0-3"}
    # All scores are 0, and of equals the earlier come first.
    document = tokenized(model, 0, cut).positions("encoder", {"document"})
    visible = selected_trial(model, tokenized(model, 0, cut)).visible
    assert [place for place in document if visible[place]] == document[:4]
    plain = tokenized(model, 0, {**CELL, "keep": "attention:4@0-3"})
    assert selected_trial(model, plain, tokenized(model, 0, cut).trial.edits).visible == visible
    assert selected_trial(model, tokenized(model, 0, {**CELL, "keep": "attention:4@0-3"})).visible != visible


def test_places_by_scores() -> None:
    keep = Keep("attention", 3)
    assert keep.best([0.1, 0.5, 0.1, 0.5, 0.1]) == {0, 1, 3}
    assert keep.best([0.0, float("nan"), 0.0, -1.0]) == {0, 2, 3}
    assert Keep("norm", 50, True).best([1.0, 2.0, 3.0]) == {1, 2}
    with pytest.raises(ValueError, match="known when the model has run"):
        keep.of(5)
    for wrong in (Readers("prompt", frozenset({0}), None), Readers("last")):
        assert not wrong.see_the_answer
    with pytest.raises(ValueError, match="rows that score positions"):
        Readers("answer")
    with pytest.raises(ValueError, match="one layer and one head"):
        Readers(layers=frozenset())
    with pytest.raises(ValueError, match="all heads take together"):
        Keep("norm", 3, readers=Readers(heads=frozenset({0})))


def test_the_right_answer_has_no_part_in_what_the_prompt_keeps(loaded: Models) -> None:
    """Another answer, even a longer one, and the same positions; the oracle's rows choose others."""
    model = loaded("t5gemma2")
    other = (Segment("answer", text="the people of Lund and an old miller from the sea"),)

    def visible(level: str, *, answered: bool) -> tuple[bool, ...]:
        trial = tokenized(model, 0, {**CELL, "keep": level})
        prompt = tuple(own for own in trial.trial.decoder if own.role == "prompt")
        changed = replace(trial.trial, decoder=(*prompt, *other)) if answered else trial.trial
        return selected_trial(model, model.trial_tokenizer(changed)).visible

    for level in ("attention:4", "norm:4:last"):
        assert visible(level, answered=True) == visible(level, answered=False)
    assert visible("attention:4:predicting", answered=True) != visible(
        "attention:4:predicting", answered=False
    )


def test_what_is_generated_and_compared_sees_what_the_prompt_kept(loaded: Models) -> None:
    """Answers and candidates are those of the same trial with its positions chosen beforehand."""
    model = loaded("t5gemma2")
    trial = tokenized(model, 0, {**CELL, "keep": "attention:3"})
    settled = selected_trial(model, trial)
    assert settled.selected
    assert not trial.selected
    (found,) = generate(model, [trial], Decoding(tokens=8))
    assert found == generate(model, [settled], Decoding(tokens=8))[0]
    assert found != generate(model, [tokenized(model, 0, CELL)], Decoding(tokens=8))[0]
    example = replace(trial.trial.example, columns=(("candidates", ["Kesh", "the river"]),))
    others = candidate_trials(
        model.trial_tokenizer, replace(settled, trial=replace(trial.trial, example=example))
    )
    assert len(others) == 2
    assert all(other.chooses is None and other.visible == settled.visible for other in others)


def test_an_oracle_and_a_missing_prompt_are_refused_by_name(loaded: Models) -> None:
    model = loaded("t5gemma2")
    oracle = tokenized(model, 0, {**CELL, "keep": "attention:4:predicting"})
    for trial in (oracle, selected_trial(model, oracle)):
        with pytest.raises(GenerationError, match="keep=attention goes by rows that hold the right answer"):
            generate(model, [trial], Decoding(tokens=4))
    with pytest.raises(EditError, match="has no prompt: give it one"):
        tokenized(model, 0, {"keep": "attention:4"})
    assert tokenized(model, 0, {"keep": "attention:4:last"}).chooses is not None
    with pytest.raises(EditError, match=r"has heads 0 to 5; keep=attention names \[9\]"):
        captured(model, [tokenized(model, 0, {**CELL, "keep": "attention:4@all/h9"})])
    with pytest.raises(LevelError, match="decoder"):
        tokenized(model, 0, {**CELL, "keep": "norm:4@7"})
