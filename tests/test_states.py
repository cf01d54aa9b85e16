"""Edits of hidden states against torch's forward hooks, and what must hold for every one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file

from budgetlens.design.intervention import LevelError
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import EditError, Probing, capture, encode
from budgetlens.model.edits import HideKeys
from budgetlens.model.states import AddDirection, CopyStates, CycleStates, Direction, MeanStates, ZeroStates
from budgetlens.model.trials import StateError
from interventions.state_patching import StatePatching
from interventions.state_replacement import StateReplacement
from interventions.steering import Steering
from tests.cells import (
    CASE_NAMES,
    CASES,
    EXAMPLES,
    KINDS,
    Models,
    captured,
    context_of,
    losses,
    places,
    plain_losses,
    tokenized,
)
from tests.conftest import EVERYTHING, batch_of
from tests.precision import Float32, beyond, measured, numbers, numbers_equal, numbers_within, within
from tests.reference import hooks, tiny_models

PROMPT = {"prompt": "query"}
ORACLE = {"prefix": "oracle", **PROMPT}
TRUNCATED = {"prefix": "oracle", "hidden": "prefix+separator", **PROMPT}
ALL = "bos+document+eos"

Oracle = Callable[[str], Any]
Precision = Callable[[str], Float32]


def patched(donor: str, where: str, roles: str = ALL) -> dict[str, str]:
    return {**PROMPT, "state_patching": f"{roles}<-{donor}@{where}"}


# Patching.


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
@pytest.mark.parametrize("where", ["final", f"{tiny_models.ENCODER_LAYERS - 1}", "all"])
def test_every_state_of_a_cell_reproduces_its_likelihood(
    family: str, pack: bool, where: str, loaded: Models, truth: Oracle, float32: Precision
) -> None:
    """Oracle's states in bare are oracle with its prefix hidden: the eager oracle says so, and so does a capture."""
    model = loaded(family)
    recipients = [tokenized(model, index, patched("prefix=oracle", where)) for index in range(4)]
    found = captured(model, recipients, pack=pack)
    for index in range(4):
        truncated = tokenized(model, index, TRUNCATED)
        expected = measured(truth(family), truncated).nll
        within(losses(found, index), expected, of=float32(family).losses)
        bare = losses(captured(model, [tokenized(model, index, PROMPT)]))
        beyond(losses(found, index), bare, of=float32(family).losses)


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_and_back(family: str, pack: bool, loaded: Models, float32: Precision) -> None:
    """Bare's states in oracle, whose prefix is hidden, are bare."""
    model = loaded(family)
    levels = {**TRUNCATED, "state_patching": f"{ALL}<-prefix=none@final"}
    back = captured(model, [tokenized(model, index, levels) for index in range(4)], pack=pack)
    bare = captured(model, [tokenized(model, index, PROMPT) for index in range(4)], pack=pack)
    within(back.token_losses, bare.token_losses, of=float32(family).losses)


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("layer", range(tiny_models.ENCODER_LAYERS))
def test_patching_some_roles_at_a_layer_against_hooks(
    family: str, layer: int, loaded: Models, truth: Oracle, float32: Precision
) -> None:
    model, plain = loaded(family), truth(family)
    path = f"{hooks.PATHS[family].encoder}.{layer}"
    for roles in ("document", "bos+eos"):
        trial = tokenized(model, 3, patched("prefix=oracle", str(layer), roles))
        donor = tokenized(model, 3, ORACLE)
        taken = hooks.layer_states(plain, donor.encoder_ids, path)[
            places(donor.encoder_roles, *roles.split("+"))
        ]
        where = places(trial.encoder_roles, *roles.split("+"))

        def change(output: torch.Tensor, where: Any = where, taken: Any = taken) -> torch.Tensor:
            output = output.clone()
            output[0, where] = taken
            return output

        expected = plain_losses(plain, trial, encoder={path: change})
        found = losses(captured(model, [trial]))
        within(found, expected, of=float32(family).losses)
        beyond(found, losses(captured(model, [tokenized(model, 3, PROMPT)])), of=float32(family).losses)


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_a_trial_s_own_states_change_nothing(
    family: str, pack: bool, loaded: Models, float32: Precision
) -> None:
    """At every layer and at the end, with every role; budgets of both stacks too."""
    model = loaded(family)
    plain = captured(model, [tokenized(model, index, ORACLE) for index in range(3)], EVERYTHING, pack=pack)
    for where in (*map(str, range(tiny_models.ENCODER_LAYERS)), "all", "final"):
        levels = {**ORACLE, "state_patching": f"bos+prefix+separator+document+eos<-prefix=oracle@{where}"}
        same = captured(model, [tokenized(model, index, levels) for index in range(3)], EVERYTHING, pack=pack)
        within(same.token_losses, plain.token_losses, of=float32(family).losses)
        for index in range(3):
            numbers_within(numbers(same, index), numbers(plain, index), float32(family))


def mixed_trials(model: Any, directory: Path) -> list[Any]:
    """Trials under every kind of state edit, and under none, of unlike lengths."""
    numpy.save(directory / "direction.npy", numpy.linspace(-1, 1, tiny_models.HIDDEN, dtype=numpy.float32))
    levels: list[dict[str, str]] = [
        PROMPT,
        patched("prefix=oracle", "final"),
        patched("prefix=oracle", "0", "document"),
        patched("prefix=oracle&prompt=none", "1-2", "document"),
        TRUNCATED,
        {**ORACLE, "state_replacement": "prefix+separator<-mean:2:prefix=oracle@final"},
        {**ORACLE, "state_replacement": "prefix<-other:prefix=oracle@1"},
        {"state_replacement": "document<-zero@0"},
        {"steering": f"document:0.7:{directory}/direction.npy@final"},
        {**PROMPT, "steering": f"predicting+prompt:0.7:{directory}/direction.npy@1-2"},
        {**PROMPT, "steering": f"bos:2:{directory}/direction.npy@all"},
    ]
    return [tokenized(model, index, level) for level in levels for index in (0, 3)]


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_a_batch_is_its_trials_one_by_one(
    family: str, pack: bool, loaded: Models, float32: Precision, tmp_path: Path
) -> None:
    """Also: no donor is altered by what is taken from it, since donors are decoded in the same batch."""
    model = loaded(family)
    trials = mixed_trials(model, tmp_path)
    together = captured(model, trials, EVERYTHING, pack=pack)
    backwards = captured(model, trials[::-1], EVERYTHING, pack=pack)
    for index, trial in enumerate(trials):
        alone = captured(model, [trial], EVERYTHING)
        for found, place in ((together, index), (backwards, len(trials) - 1 - index)):
            within(losses(found, place), losses(alone), of=float32(family).losses)
            numbers_within(numbers(found, place), numbers(alone, 0), float32(family))


def test_passes_are_shared_as_far_as_states_are_the_same(loaded: Models) -> None:
    model = loaded("t5gemma2")
    one, two = (
        tokenized(model, 0, patched("prefix=oracle", "0")),
        tokenized(model, 0, patched("prefix=oracle", "1")),
    )
    other_prompt = tokenized(model, 0, {"state_patching": f"{ALL}<-prefix=oracle@0"})
    plain = tokenized(model, 0, PROMPT)
    # Two patched ones, the bare one, and the one donor; the prompt changes the donor's decoder alone.
    batch = batch_of([one, two, plain], pack=True)
    assert batch.encoder_ids.shape[0] == 4
    assert len({int(number) for number in batch.trial_pass}) == 3
    assert batch_of([one, other_prompt]).trial_pass.tolist() == [0, 0]
    assert batch_of([one, two]).trial_pass.tolist() == [0, 1]
    # A donor that is a cell of its own, under the same edits, is that cell's pass.
    assert batch_of([one, tokenized(model, 0, ORACLE)]).encoder_ids.shape[0] == 2


def test_donors_have_donors(loaded: Models, float32: Precision) -> None:
    """The oracle's states reach a cell by way of another that has them in part."""
    model = loaded("t5")
    levels = {**PROMPT, "state_patching": f"{ALL}<-state_patching=document<-prefix=oracle@final@final"}
    with pytest.raises(LevelError, match="is no level of a factor|names no donor"):
        StatePatching.parse("document<-oracle@final")
    chain = tokenized(model, 0, levels)
    assert len(chain.donors[0][0].donors[0]) == 1
    direct = tokenized(model, 0, patched("prefix=oracle", "final", "document"))
    within(losses(captured(model, [chain])), losses(captured(model, [direct])), of=float32("t5").losses)


@pytest.mark.parametrize("family", KINDS)
def test_donors_run_under_their_own_edits(family: str, loaded: Models, float32: Precision) -> None:
    """The recipient's encoder is edited after the donor was named, so that the donor's is not: and the reverse."""
    model = loaded(family)
    mask = "bos+document+eos->prefix+separator"
    late = {
        **ORACLE,
        "hidden": "prefix+separator",
        "state_patching": f"{ALL}<-prefix=oracle@final",
        "knockout": mask,
    }
    plain = captured(model, [tokenized(model, index, TRUNCATED) for index in range(3)])
    found = captured(model, [tokenized(model, index, late) for index in range(3)])
    within(found.token_losses, plain.token_losses, of=float32(family).losses)
    donor_only = {**PROMPT, "state_patching": f"{ALL}<-prefix=oracle&prefix_attention=masked@final"}
    masked = captured(model, [tokenized(model, index, {**TRUNCATED, "knockout": mask}) for index in range(3)])
    found = captured(model, [tokenized(model, index, donor_only) for index in range(3)])
    within(found.token_losses, masked.token_losses, of=float32(family).losses)
    beyond(masked.token_losses, plain.token_losses, of=float32(family).losses)


@pytest.mark.parametrize("family", ["t5gemma2", "t5"])
def test_donors_that_keep_the_values_of_chosen_rows(family: str, loaded: Models, float32: Precision) -> None:
    """Value zeroing gives the recipient's keys twins; the donor's keys have none to see."""
    model = loaded(family)
    late = {**TRUNCATED, "state_patching": f"{ALL}<-prefix=oracle@2", "value_zeroing": "document->prefix@0"}
    after = {**TRUNCATED, "state_patching": f"{ALL}<-prefix=oracle@2"}
    within(
        losses(captured(model, [tokenized(model, 1, late)])),
        losses(captured(model, [tokenized(model, 1, after)])),
        of=float32(family).losses,
    )


# Replacement.


@pytest.mark.parametrize("family", KINDS)
def test_replacements_at_the_end_against_states_made_by_hand(
    family: str, loaded: Models, truth: Oracle, float32: Precision
) -> None:
    model, plain = loaded(family), truth(family)
    index = 2
    trial = tokenized(model, index, ORACLE)
    where = places(trial.encoder_roles, "prefix")

    def donor_states(number: int) -> torch.Tensor:
        donor = tokenized(model, number, {"prefix": "oracle"})
        return hooks.encoder_states(plain, donor.encoder_ids)[places(donor.encoder_roles, "prefix")]

    # The first three examples but the third itself; half a corpus away.
    mean = torch.cat([donor_states(number) for number in (0, 1, 3)]).mean(dim=0)
    other = donor_states((index + len(EXAMPLES) // 2) % len(EXAMPLES))
    assert len(other) != len(where)
    cycled = torch.stack([other[place % len(other)] for place in range(len(where))])
    for level, values in {
        "prefix<-zero@final": torch.zeros(tiny_models.HIDDEN).double(),
        "prefix<-mean:3:prefix=oracle@final": mean,
        "prefix<-other:prefix=oracle@final": cycled,
    }.items():

        def change(states: torch.Tensor, values: torch.Tensor = values) -> torch.Tensor:
            states = states.clone()
            states[where] = values
            return states

        found = captured(model, [tokenized(model, index, {**ORACLE, "state_replacement": level})])
        expected = plain_losses(plain, trial, final=change)
        within(losses(found), expected, of=float32(family).losses)
        beyond(losses(found), losses(captured(model, [trial])), of=float32(family).losses)


def test_a_role_without_positions_is_not_replaced(loaded: Models) -> None:
    model = loaded("bart")
    for level in (
        "prefix+separator<-zero@final",
        "prefix<-mean:2:prefix=oracle@0",
        "prefix<-other:prefix=oracle@all",
    ):
        trial = tokenized(model, 0, {**PROMPT, "state_replacement": level})
        assert batch_of([trial]).state_changes == ()
        numpy.testing.assert_array_equal(
            captured(model, [trial]).token_losses, captured(model, [tokenized(model, 0, PROMPT)]).token_losses
        )


def test_each_change_by_hand() -> None:
    own, donor = torch.arange(12.0).reshape(4, 3), torch.arange(100.0, 106).reshape(2, 3)
    roles = frozenset({"prefix"})
    cycle, mean = CycleStates(roles, "encoder", 0), MeanStates(roles, "encoder", 0)
    assert cycle.apply(own, [donor]).tolist() == [[100, 101, 102], [103, 104, 105]] * 2
    assert cycle.apply(own[:1], [donor]).tolist() == [[100, 101, 102]]
    assert mean.apply(own, [donor, donor[:1]]).tolist() == [[101, 102, 103]] * 4
    assert ZeroStates(roles, "encoder", 0).apply(own, []).tolist() == [[0, 0, 0]] * 4
    assert CopyStates(roles, "encoder", 0).apply(own[:2], [donor]) is donor
    assert own.tolist() == torch.arange(12.0).reshape(4, 3).tolist()


# Steering.


def direction(path: Path, values: numpy.ndarray) -> Path:
    tensor = torch.from_numpy(values)
    if path.suffix == ".npy":
        numpy.save(path, values)
    elif path.suffix == ".pt":
        torch.save(tensor if path.stem == "plain" else {"direction": tensor}, path)
    else:
        save_file({"direction": tensor}, path)
    return path


@pytest.mark.parametrize("family", KINDS)
def test_steering_against_hooks(
    family: str, loaded: Models, truth: Oracle, float32: Precision, tmp_path: Path
) -> None:
    model, plain = loaded(family), truth(family)
    vector = numpy.random.default_rng(3).normal(size=tiny_models.HIDDEN).astype(numpy.float32)
    file = direction(tmp_path / "d.npy", vector)
    added = 1.5 * torch.from_numpy(vector).double()
    bare = tokenized(model, 3, PROMPT)
    before = losses(captured(model, [bare]))
    count = len(bare.decoder_ids)
    predicting = list(range(count - bare.answer_tokens - 1, count - 1))
    cases = {
        "document@1": ("encoder", 1, places(bare.encoder_roles, "document")),
        "bos+eos@final": ("final", None, places(bare.encoder_roles, "bos", "eos")),
        "predicting@2": ("decoder", 2, predicting),
        "prompt@0": ("decoder", 0, places(bare.decoder_roles, "prompt")),
        "answer+start@3": ("decoder", 3, places(bare.decoder_roles, "answer", "start")),
    }
    for name, (stack, layer, where) in cases.items():
        roles, _, place = name.partition("@")

        def change(states: torch.Tensor, where: list[int] = where) -> torch.Tensor:
            states = states.clone()
            states[..., where, :] += added
            return states

        paths = hooks.PATHS[family]
        changes: dict[str, Any] = {
            "encoder": {"encoder": {f"{paths.encoder}.{layer}": change}},
            "decoder": {"decoder": {f"{paths.decoder}.{layer}": change}},
            "final": {"final": change},
        }[stack]
        trial = tokenized(model, 3, {**PROMPT, "steering": f"{roles}:1.5:{file}@{place}"})
        found = losses(captured(model, [trial]))
        within(found, plain_losses(plain, trial, **changes), of=float32(family).losses, what=name)
        beyond(found, before, of=float32(family).losses, what=name)
        nothing = tokenized(model, 3, {**PROMPT, "steering": f"{roles}:0:{file}@{place}"})
        within(losses(captured(model, [nothing])), before, of=float32(family).losses, what=name)


def test_directions_of_every_format_are_the_same(tmp_path: Path) -> None:
    values = numpy.linspace(-2, 2, 7, dtype=numpy.float32)
    for name in ("a.npy", "plain.pt", "named.pt", "a.safetensors"):
        for shape in ((7,), (1, 7)):
            found = Direction(direction(tmp_path / name, values.reshape(shape))).values
            numpy.testing.assert_array_equal(found.numpy(), values)


def test_what_is_no_direction_is_refused(loaded: Models, tmp_path: Path) -> None:
    square = direction(tmp_path / "square.npy", numpy.ones((3, 4), dtype=numpy.float32))
    endless = direction(tmp_path / "endless.npy", numpy.array([1.0, numpy.inf], dtype=numpy.float32))
    (tmp_path / "broken.npy").write_bytes(b"no array")
    save_file({"a": torch.ones(3), "b": torch.ones(3)}, tmp_path / "two.safetensors")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, message in {
        "square.npy": r"square.npy must hold one vector of finite numbers; its tensor has the shape \(3, 4\)",
        "endless.npy": "endless.npy must hold one vector of finite numbers",
        "broken.npy": "broken.npy could not be read",
        "two.safetensors": "must hold one tensor; it holds 2: a, b",
        "list.pt": "must hold one tensor; it holds a list",
        "absent.npy": "there is no file .*absent.npy",
        "vector.txt": "is no file of a direction; give one that ends with .npy, .safetensors, .pt",
    }.items():
        with pytest.raises(StateError, match=message):
            _ = Direction(tmp_path / name).values
    assert square != endless
    narrow = direction(tmp_path / "narrow.npy", numpy.ones(5, dtype=numpy.float32))
    model = loaded("t5")
    plain = captured(model, [tokenized(model, 0, PROMPT)])
    for roles, place in (("document", "1"), ("document", "final"), ("predicting", "1")):
        trial = tokenized(model, 0, {**PROMPT, "steering": f"{roles}:1:{narrow}@{place}"})
        with pytest.raises(
            StateError, match=r"narrow.npy has the width 5, but the states of the .* width 48"
        ):
            captured(model, [trial])
        # Nothing is left behind by an error in the middle of a trace.
        after = captured(model, [tokenized(model, 0, PROMPT)])
        numpy.testing.assert_array_equal(after.token_losses, plain.token_losses)
    assert Steering.parse(f"document:2:{narrow}@final").files() == (narrow,)
    assert Steering.parse("none").files() == ()


# What is refused, and what is left behind.


def test_unequal_lengths_are_refused_with_the_example_and_the_counts(loaded: Models) -> None:
    model = loaded("t5gemma2")
    words = len(tokenized(model, 1, ORACLE).encoder_roles) - len(tokenized(model, 1).encoder_roles) - 1
    with pytest.raises(
        StateError, match=rf"example 'row 1', CopyStates: the role 'prefix' has 0 .* {words} in the"
    ):
        tokenized(model, 1, {"state_patching": "prefix+document<-prefix=oracle@final"})
    short = StateReplacement.parse("document<-other:padding=none@final")
    assert short.apply(tokenized(model, 1).trial, context_of(model, 1)).states
    with pytest.raises(
        StateError, match="'document' has . position|the role 'prefix' has no position in the donor"
    ):
        tokenized(model, 1, {**ORACLE, "state_replacement": "prefix<-other@final"})
    with pytest.raises(StateError, match="the role 'prefix' has no position in any donor"):
        tokenized(model, 1, {**ORACLE, "state_replacement": "prefix<-mean:2@final"})


def test_a_layer_that_the_model_lacks_is_refused(loaded: Models) -> None:
    model = loaded("t5")
    bare = tokenized(model, 0, PROMPT)
    for edit, message in (
        (
            ZeroStates(frozenset({"document"}), "encoder", 3),
            "layer 3 of the encoder, but t5 has layers 0 to 2",
        ),
        (
            AddDirection(frozenset({"answer"}), "decoder", 5, (), Direction(Path("d.npy")), 1.0),
            "layer 5 of the decoder, but t5 has layers 0 to 4",
        ),
    ):
        trial = model.trial_tokenizer(replace(bare.trial, states=(edit,)))
        with pytest.raises(EditError, match=message):
            captured(model, [trial])
    with pytest.raises(
        LevelError, match="encoder: the layers '7' go beyond the stack, which has layers 0 to 2"
    ):
        tokenized(model, 0, {"state_patching": "document<-prefix=oracle@7"})


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        (StatePatching, "document<-prefix=oracle", "names no donor and place"),
        (StatePatching, "document<-@final", "names no donor and place"),
        (StatePatching, "answer<-prefix=oracle@final", r"unknown role\(s\) \['answer'\]"),
        (StatePatching, "document<-prefix=oracle@last", "is no window of layers"),
        (StatePatching, "none<-prefix=oracle@final", "name the roles whose states are meant"),
        (StateReplacement, "prefix<-zero", "names no replacement and place"),
        (StateReplacement, "prefix<-zeros@final", "Did you mean 'zero'"),
        (StateReplacement, "prefix<-mean@final", "a mean's number of examples"),
        (StateReplacement, "prefix<-mean:0@final", "a whole number of at least 1"),
        (StateReplacement, "prefix<-zero:prefix=oracle@final", "zeros come from no other trial"),
        (Steering, "document:1", "names no direction and place"),
        (Steering, "document:strong:d.npy@final", "names no direction and place"),
        (Steering, "document:1:d.npy@final", "there is no file d.npy"),
    ],
)
def test_levels_that_cannot_be_read(kind: Any, level: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        kind.parse(level)


def test_states_of_one_stack_alone(tmp_path: Path) -> None:
    file = direction(tmp_path / "d.npy", numpy.ones(3, dtype=numpy.float32))
    with pytest.raises(LevelError, match="states are of one stack"):
        Steering.parse(f"document+answer:1:{file}@1")
    with pytest.raises(LevelError, match="'final' names the encoder's final states"):
        Steering.parse(f"answer:1:{file}@final")
    with pytest.raises(ValueError, match="states of the encoder have the roles"):
        ZeroStates(frozenset({"answer"}), "encoder", 0)
    with pytest.raises(ValueError, match="edited at a layer, and take nothing from donors"):
        ZeroStates(frozenset({"answer"}), "decoder", None)
    with pytest.raises(ValueError, match="no stack is called 'middle'"):
        ZeroStates(frozenset({"document"}), "middle", 0)


def test_a_mean_needs_a_corpus(loaded: Models) -> None:
    model = loaded("t5")
    many = StateReplacement.parse("document<-mean:6@final")
    with pytest.raises(LevelError, match="a mean over 6 other examples needs a corpus of 7; this one has 6"):
        many.apply(tokenized(model, 0).trial, context_of(model, 0))
    alone = replace(context_of(model, 0), examples=EXAMPLES[:1])
    with pytest.raises(LevelError, match="need a corpus of two or more"):
        StateReplacement.parse("document<-other@final").apply(tokenized(model, 0).trial, alone)


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_an_error_between_edits_leaves_nothing_behind(
    family: str, pack: bool, loaded: Models, tmp_path: Path
) -> None:
    model = loaded(family)
    narrow = direction(tmp_path / "narrow.npy", numpy.ones(5, dtype=numpy.float32))
    plain = captured(model, [tokenized(model, index, PROMPT) for index in range(3)], EVERYTHING, pack=pack)
    for roles in ("document", "answer"):
        levels = {
            **PROMPT,
            "state_patching": "document<-prefix=oracle@0",
            "sublayer_removal": "decoder@0",
            "knockout": "predicting->bos@0",
            "steering": f"{roles}:1:{narrow}@1",
        }
        with pytest.raises(StateError):
            captured(model, [tokenized(model, index, levels) for index in range(3)], EVERYTHING, pack=pack)
        after = captured(
            model, [tokenized(model, index, PROMPT) for index in range(3)], EVERYTHING, pack=pack
        )
        numpy.testing.assert_array_equal(after.token_losses, plain.token_losses)
        for index in range(3):
            numbers_equal(numbers(after, index), numbers(plain, index))


def test_the_caller_s_trials_are_unchanged(loaded: Models) -> None:
    model = loaded("t5")
    trial = tokenized(model, 0, ORACLE).trial
    before = replace(trial)
    StatePatching.parse("document<-prefix=none@final").apply(trial, context_of(model, 0))
    StateReplacement.parse("prefix<-zero@final").apply(trial, context_of(model, 0))
    assert trial == before


def test_encode_gives_the_edited_states(loaded: Models) -> None:
    model = loaded("bart")
    trial = tokenized(model, 0, {"state_replacement": "bos<-zero@final"})
    batch = make_batch([trial], pad_token=0)
    states = encode(model, batch)
    assert bool((states[0, 0] == 0).all())
    assert bool((states[0, 1:] != 0).any())
    with pytest.raises(EditError, match="matches no attention call"):
        encode(model, batch, (HideKeys(frozenset()),))
    assert capture(model, batch, Probing()).observations == ()
