"""Edits of attention as interventions: closed forms, torch's forward hooks, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy
import pytest
import torch

from budgetlens.design.intervention import LevelError
from budgetlens.model.attention import Site
from budgetlens.model.capture import EditError, Probing, capture
from budgetlens.model.edits import HideKeys, KeepKeys, RemoveOutput, ReweightKeys, ZeroValues
from budgetlens.model.observation import probe
from budgetlens.model.trials import Segment, Trial
from budgetlens.runs.batches import batches
from budgetlens.runs.capturing import Unit, capture_part
from budgetlens.runs.records import Fed
from interventions.knockout import Knockout
from interventions.levels.edges import EdgeChoice, parse_edges
from interventions.prefix_attention import PrefixAttention
from interventions.reweighting import Reweighting
from interventions.sublayer_removal import SublayerRemoval
from interventions.value_zeroing import ValueZeroing
from probes.budgets import Budgets
from probes.likelihood import Likelihood
from tests.cells import (
    CASE_NAMES,
    CASES,
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
from tests.precision import (
    TIMES,
    Float32,
    beyond,
    expected_numbers,
    measured,
    numbers,
    numbers_equal,
    numbers_within,
    units_apart,
    within,
)
from tests.reference import hooks, tiny_models

Oracle = Callable[[str], Any]
Precision = Callable[[str], Float32]
PROMPT = {"prompt": "query"}
ORACLE = {"prefix": "oracle", **PROMPT}
LAST = tiny_models.DECODER_LAYERS - 1
#: Answers of several tokens and of one.
LONG, SHORT = 3, 1


def block_of(model: Any) -> str:
    """The decoder's block whose keys are the encoder's."""
    return "merged" if model.family.merged else "cross"


def shares(found: Any, site: Site, index: int = 0) -> numpy.ndarray:
    """Budgets of one trial at one site, head × role."""
    for observation in found.observations:
        if observation.probe == "budgets" and observation.site == site:
            return observation.values["share"][index]
    raise AssertionError(f"{site} was not read")


# Levels.


def by_layers(choice: EdgeChoice) -> list[tuple[frozenset[int], frozenset[int] | None]]:
    """Layers of a stack of 40, each with its heads, in the order in which they are named."""
    return [(own.window.layers(40), own.heads) for own in choice.heads]


def test_levels_by_hand() -> None:
    choice = parse_edges("answer->bos@20-33/h0+3-4")
    assert (choice.stack, choice.rows, choice.keys) == ("decoder", {"answer"}, {"bos"})
    [(layers, heads)] = by_layers(choice)
    assert (layers, heads) == (set(range(20, 34)), {0, 3, 4})
    choice = parse_edges("predicting+prompt->document+prefix@0%-25%")
    assert choice.rows == {"predicting", "prompt"}
    assert choice.keys == {"document", "prefix"}
    assert by_layers(choice) == [(set(range(10)), None)]
    choice = parse_edges("document->prefix")
    assert choice.stack == "encoder"
    assert by_layers(choice) == [(set(range(40)), None)]
    assert parse_edges("encoder->prefix@all/h1").rows is None
    assert by_layers(parse_edges("encoder->prefix/h1")) == [(set(range(40)), {1})]
    choice = parse_edges("predicting->document@2/h1+5@4/h0-3@30-31@75%-100%/h7")
    assert by_layers(choice) == [
        ({2}, {1, 5}),
        ({4}, {0, 1, 2, 3}),
        ({30, 31}, None),
        (set(range(30, 40)), {7}),
    ]
    assert parse_edges("decoder->encoder").keys == {"bos", "prefix", "separator", "document", "eos"}
    choice = parse_edges("predicting->all-bos-eos@2", all_but=True)
    assert (choice.all_but, choice.keys) == (True, {"bos", "eos"})
    assert Knockout.parse("none") == Knockout()
    assert Reweighting.parse("answer->bos*0.5@1").factor == 0.5
    assert Reweighting.parse("answer->bos*0.5@1/h0@2/h1").edges == parse_edges("answer->bos@1/h0@2/h1")
    assert SublayerRemoval.parse("cross@0%-50%").window.layers(8) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        (Knockout, "answer", "names no attention; give 'rows->keys@layers/heads'"),
        (Knockout, "->bos@all", "names no attention"),
        (Knockout, "answer->@all", "names no attention"),
        (Knockout, "answer->none@all", "names no keys"),
        (Knockout, "answer->boss@all", "Did you mean 'bos'"),
        (Knockout, "answers->bos@all", "Did you mean 'answer'"),
        (Knockout, "answer+document->bos@all", "rows are of one stack"),
        (Knockout, "document->prompt@all", "rows of the encoder see keys of the encoder alone"),
        (Knockout, "answer->bos@last", "is no window of layers"),
        (Knockout, "answer->bos@all/0", "heads are 'h0', 'h0\\+3' or 'h0-2'"),
        (Knockout, "answer->bos@all/h3-1", "holds no head"),
        (Knockout, "answer->bos@2/h1+5/h0-3", "got 'h1\\+5/h0-3'. Heads of other layers follow another '@'"),
        (Knockout, "answer->bos@2/h1;4/h0", "Heads of other layers follow another '@'"),
        (Knockout, "answer->bos@2/h1@", "'' is no window of layers"),
        (Knockout, "answer->bos@", "'' is no window of layers"),
        (ValueZeroing, "answer->bos@2/h1@last/h0", "'last' is no window of layers"),
        (Reweighting, "answer->bos*2@2/h1@4/0", "heads are 'h0', 'h0\\+3' or 'h0-2'"),
        (Knockout, "answer->predicting@all", r"unknown role\(s\) \['predicting'\]"),
        (ValueZeroing, "answer->all-bos@all", "'all-…' is for knockout alone"),
        (Reweighting, "answer->bos@all", "has no factor of 0 or more"),
        (Reweighting, "answer->bos*-1@all", "has no factor of 0 or more"),
        (Reweighting, "answer->bos*much@all", "has no factor of 0 or more"),
        (SublayerRemoval, "crosss@all", "Did you mean 'cross'"),
        (SublayerRemoval, "none@all", "'none' has no layers"),
        (PrefixAttention, "hidden", "is none, masked, unshifted or masked\\+unshifted"),
    ],
)
def test_levels_that_cannot_be_read(kind: Any, level: str, message: str) -> None:
    with pytest.raises(LevelError, match=message):
        kind.parse(level)


@pytest.mark.parametrize("kind", [Knockout, ValueZeroing, Reweighting, SublayerRemoval, PrefixAttention])
def test_none_leaves_the_trial_as_it_is(kind: Any, loaded: Models) -> None:
    model = loaded("t5")
    trial = tokenized(model, 0, ORACLE).trial
    assert kind.parse("none").apply(trial, context_of(model, 0)) is trial


def test_layers_that_the_model_lacks_are_refused(loaded: Models) -> None:
    model = loaded("bart")
    for kind, level, stack in (
        (Knockout, "answer->bos@5", "decoder"),
        (Knockout, "answer->bos@1/h0@5/h1", "decoder"),
        (Reweighting, "document->bos*2@0/h0@1-3/h1", "encoder"),
        (ValueZeroing, "document->bos@3", "encoder"),
        (SublayerRemoval, "self@2-5", "decoder"),
    ):
        with pytest.raises(LevelError, match=f"{stack}: the layers .* go beyond the stack"):
            kind.parse(level).apply(tokenized(model, 0).trial, context_of(model, 0))


# Knockout.


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_the_only_key_left_gets_exactly_one(family: str, pack: bool, loaded: Models) -> None:
    model = loaded(family)
    for role in ("bos", "eos"):
        levels = {**ORACLE, "knockout": f"predicting->all-{role}@1-3"}
        found = captured(
            model, [tokenized(model, index, levels) for index in range(3)], EVERYTHING, pack=pack
        )
        for layer in range(5):
            site = Site("decoder", block_of(model), layer)
            place = site.roles.index(role)
            for index in range(3):
                own = shares(found, site, index)
                if layer in (1, 2, 3):
                    assert (own[:, place] == 1.0).all()
                    assert (numpy.delete(own, place, axis=1) == 0.0).all()
                else:
                    assert (own[:, place] < 0.999).all()


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("role", ["bos", "prefix", "document"])
def test_knockout_from_chosen_rows_and_heads_by_the_closed_form(
    family: str, role: str, loaded: Models, float32: Precision
) -> None:
    """One answer token: the row that predicts it loses the keys, A/(1 − m); the row that holds it keeps them."""
    model = loaded(family)
    site = Site("decoder", block_of(model), 0)
    levels = {**ORACLE, "knockout": f"predicting->{role}@0/h0+2-3"}
    for rows, touched in (("predicting", True), ("holding", False)):
        before = shares(captured(model, [tokenized(model, SHORT, ORACLE)], EVERYTHING, rows=rows), site)
        after = shares(captured(model, [tokenized(model, SHORT, levels)], EVERYTHING, rows=rows), site)
        place = site.roles.index(role)
        for head in range(len(before)):
            expected, kept = before[head].copy(), 1.0
            if touched and head in (0, 2, 3):
                # Multiplied out: where nearly all mass is hidden, 1 - m has few digits left.
                expected[place], kept = 0.0, 1.0 - before[head, place]
                assert after[head, place] == 0.0
            within(after[head] * kept, expected, of=float32(family).of("share", "decoder", 0))


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_predicting_rows_are_not_the_rows_that_hold_the_answer(
    family: str, pack: bool, loaded: Models, float32: Precision
) -> None:
    """In the last layer only predicting rows count; the last row of an answer predicts nothing that is asked."""
    model = loaded(family)
    trials = {
        rows: captured(
            model,
            [
                tokenized(model, index, {**PROMPT, "knockout": f"{rows}->document@{LAST}"})
                for index in (SHORT, LONG)
            ],
            pack=pack,
        )
        for rows in ("predicting", "answer", "predicting+answer+prompt+start", "prompt")
    }
    plain = captured(model, [tokenized(model, index, PROMPT) for index in (SHORT, LONG)], pack=pack)
    everywhere = losses(trials["predicting+answer+prompt+start"], 1)
    own = float32(family).losses
    within(losses(trials["predicting"], 1), everywhere, of=own)
    for cut, whole in zip(losses(trials["predicting"], 1), losses(plain, 1), strict=True):
        assert units_apart(cut, whole, own) > 2 * TIMES
    # The first answer token is predicted by the prompt's last row, the others by rows that hold an answer token.
    within(losses(trials["answer"], 0), losses(plain, 0), of=own)
    within(losses(trials["answer"], 1)[0], losses(plain, 1)[0], of=own)
    within(losses(trials["answer"], 1)[1:], everywhere[1:], of=own)
    within(losses(trials["prompt"], 1)[0], everywhere[0], of=own)
    within(losses(trials["prompt"], 1)[1:], losses(plain, 1)[1:], of=own)


@pytest.mark.parametrize("family", KINDS)
def test_a_knockout_of_every_row_and_layer_is_a_hidden_role(
    family: str, loaded: Models, truth: Oracle, float32: Precision
) -> None:
    model = loaded(family)
    hidden = tokenized(model, LONG, {**ORACLE, "hidden": "prefix+separator"})
    found = captured(
        model, [tokenized(model, LONG, {**ORACLE, "knockout": "decoder->prefix+separator"})], EVERYTHING
    )
    expected = measured(truth(family), hidden)
    within(losses(found), expected.nll, of=float32(family).losses)
    numbers_within(numbers(found, 0), expected_numbers(expected, model.family.merged), float32(family))


def test_no_position_with_the_role_is_no_error(loaded: Models, float32: Precision) -> None:
    """Designs cross edits of the prompt with cells that have none."""
    for family in KINDS:
        model = loaded(family)
        bare = captured(model, [tokenized(model, 0)])
        for name, level in {
            "knockout": "predicting->prompt@all",
            "value_zeroing": "predicting->prompt@all",
            "reweighting": "predicting->prompt*2@all",
        }.items():
            found = captured(model, [tokenized(model, 0, {name: level})])
            within(losses(found), losses(bare), of=float32(family).losses)


# Reweighting.


@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("factor", [0.0, 0.25, 1.0, 7.0])
def test_reweighting_by_the_closed_form(
    family: str, factor: float, loaded: Models, float32: Precision
) -> None:
    """m becomes f·m / (1 − m + f·m), and every other share is divided by the same."""
    model = loaded(family)
    site = Site("decoder", block_of(model), 0)
    before = shares(captured(model, [tokenized(model, SHORT, ORACLE)], EVERYTHING), site)
    levels = {**ORACLE, "reweighting": f"predicting->document+bos*{factor}@0"}
    after = shares(captured(model, [tokenized(model, SHORT, levels)], EVERYTHING), site)
    chosen = [site.roles.index(role) for role in ("bos", "document")]
    mass = before[:, chosen].sum(axis=1, keepdims=True)
    weights = numpy.ones(len(site.roles))
    weights[chosen] = factor
    # A factor above 1 multiplies what a share deviates as well.
    of = max(1.0, factor) * float32(family).of("share", "decoder", 0)
    within(after * (1 - mass + factor * mass), before * weights, of=of)
    assert mass.max() > 0.05


def test_factor_zero_is_a_knockout_and_one_is_nothing(loaded: Models) -> None:
    for family in KINDS:
        model = loaded(family)
        zero = captured(
            model, [tokenized(model, LONG, {**ORACLE, "reweighting": "predicting->prefix*0@1-2"})]
        )
        cut = captured(model, [tokenized(model, LONG, {**ORACLE, "knockout": "predicting->prefix@1-2"})])
        numpy.testing.assert_array_equal(zero.token_losses, cut.token_losses)
        one = captured(model, [tokenized(model, LONG, {**ORACLE, "reweighting": "predicting->prefix*1@1-2"})])
        plain = captured(model, [tokenized(model, LONG, ORACLE)])
        numpy.testing.assert_array_equal(one.token_losses, plain.token_losses)
    for factor in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="multiplied by 0 or a positive number"):
            ReweightKeys(frozenset({"bos"}), factor=factor)


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
@pytest.mark.parametrize("kind", ["knockout", "value_zeroing", "reweighting"])
def test_other_heads_in_other_layers_are_two_levels_made_together(
    kind: str, family: str, pack: bool, loaded: Models
) -> None:
    """One level that names both is the trial with the edits of two levels, and neither of the two alone."""
    model = loaded(family)
    factor = "*5" if kind == "reweighting" else ""
    both, first, second = (
        tokenized(model, LONG, {**ORACLE, kind: f"predicting->document{factor}@{where}"})
        for where in ("0/h1@2-3/h0+2", "0/h1", "2-3/h0+2")
    )
    edits = (*first.trial.edits, *second.trial.edits)
    together = replace(first, trial=replace(first.trial, edits=edits))
    found, expected, *alone = (
        captured(model, [trial], EVERYTHING, pack=pack) for trial in (both, together, first, second)
    )
    numpy.testing.assert_array_equal(found.token_losses, expected.token_losses)
    numbers_equal(numbers(found, 0), numbers(expected, 0))
    for one in alone:
        assert numpy.abs(losses(found) - losses(one)).max() > 1e-6


@pytest.mark.parametrize("family", KINDS)
def test_a_knockout_cuts_these_heads_in_these_layers_and_no_others(family: str, loaded: Models) -> None:
    model = loaded(family)
    cut = {0: {1}, 1: set(), 2: {0, 2, 3}, 3: {3}}
    trial = tokenized(model, LONG, {**ORACLE, "knockout": "predicting->document@0/h1@2/h0+2@2-3/h3"})
    found = captured(model, [trial], EVERYTHING)
    for layer, heads in cut.items():
        site = Site("decoder", block_of(model), layer)
        own = shares(found, site)[:, site.roles.index("document")]
        assert {head for head, share in enumerate(own) if share == 0.0} == heads, layer


@pytest.mark.parametrize("family", KINDS)
def test_a_head_that_is_named_twice_is_reweighted_once(family: str, loaded: Models) -> None:
    """By the closed form in the first layer, where nothing upstream differs."""
    model = loaded(family)
    site = Site("decoder", block_of(model), 0)
    place = site.roles.index("document")
    before = shares(captured(model, [tokenized(model, SHORT, ORACLE)], EVERYTHING), site)
    levels = {**ORACLE, "reweighting": "predicting->document*3@0/h1@0-2/h1+2@1/h0"}
    after = shares(captured(model, [tokenized(model, SHORT, levels)], EVERYTHING), site)
    expected = before.copy()
    for head in (1, 2):
        expected[head, place] *= 3
        expected[head] /= 1 + 2 * before[head, place]
    numpy.testing.assert_allclose(after, expected, atol=1e-5)
    assert numpy.abs(after - before)[[1, 2]].max() > 0.01


# Value zeroing.


def zero_values(trial: Any, roles: tuple[str, ...], heads: slice | None = None) -> hooks.Change:
    """A hook on a value projection: zeros at the positions of the roles, in some of its columns.

    A merged sublayer projects the decoder's states and the encoder's with one module: their lengths differ.
    """
    by_length = {
        len(trial.encoder_roles): places(trial.encoder_roles, *roles),
        len(trial.decoder_roles): places(trial.decoder_roles, *roles),
    }
    assert len(by_length) == 2

    def change(output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, by_length[output.shape[1]], heads or slice(None)] = 0.0
        return output

    return change


@pytest.mark.parametrize("family", KINDS)
def test_value_zeroing_against_hooks(family: str, loaded: Models, truth: Oracle, float32: Precision) -> None:
    model, plain = loaded(family), truth(family)
    paths = hooks.PATHS[family]
    cross = paths.cross_attention or paths.self_attention
    own = [paths.self_attention]
    cases: dict[str, dict[str, Any]] = {
        "decoder->document+prompt@1-2": {
            "decoder": [f"{paths.decoder}.{layer}.{name}" for layer in (1, 2) for name in {cross, *own}],
            "roles": ("document", "prompt"),
        },
        "encoder->prefix+bos@0": {
            "encoder": [f"{paths.encoder}.0.{paths.encoder_attention}"],
            "roles": ("prefix", "bos"),
        },
        # In the last layer only predicting rows count, so that zeroing for them is zeroing for all.
        f"predicting->document@{LAST}": {
            "decoder": [f"{paths.decoder}.{LAST}.{cross}"],
            "roles": ("document",),
        },
    }
    before = captured(model, [tokenized(model, LONG, ORACLE)], EVERYTHING)
    for level, case in cases.items():
        trial = tokenized(model, LONG, {**ORACLE, "value_zeroing": level})
        found = captured(model, [trial], EVERYTHING)
        change = zero_values(trial, case["roles"])
        changes = {
            stack: {f"{path}.{paths.value}": change for path in case[stack]}
            for stack in ("encoder", "decoder")
            if stack in case
        }
        within(losses(found), plain_losses(plain, trial, **changes), of=float32(family).losses)
        beyond(losses(found), losses(before), of=float32(family).losses)
        # The attention of the first edited call is what it was: nothing is renormalised.
        own_block = "merged" if model.family.merged else "self"
        first = Site("encoder", "self", 0) if "encoder" in case else Site("decoder", own_block, 1)
        if level.startswith("predicting"):
            first = Site("decoder", block_of(model), LAST)
        own = float32(family).of("share", first.stack, first.layer)
        within(shares(found, first), shares(before, first), of=own)


@pytest.mark.parametrize("family", ["t5", "bart"])
@pytest.mark.parametrize(
    ("where", "heads"),
    [
        ("2/h1-2", {2: (1, 3)}),
        # Other heads in other layers, one of which two parts of the level name.
        ("1/h0@2/h1-2@3", {1: (0, 1), 2: (1, 3), 3: (0, 6)}),
        ("1-2/h3@0/h1-4@2/h4@1/h4", {0: (1, 5), 1: (3, 5), 2: (3, 5)}),
    ],
)
def test_value_zeroing_of_heads_against_hooks(
    family: str,
    where: str,
    heads: dict[int, tuple[int, int]],
    loaded: Models,
    truth: Oracle,
    float32: Precision,
) -> None:
    """Where every head has values of its own, a head's columns of the projection are its values."""
    model, plain = loaded(family), truth(family)
    paths = hooks.PATHS[family]
    trial = tokenized(model, LONG, {**ORACLE, "value_zeroing": f"decoder->document@{where}"})
    changes = {}
    for layer, (first, end) in heads.items():
        path = f"{paths.decoder}.{layer}.{paths.cross_attention}.{paths.value}"
        width = plain.get_submodule(path).weight.shape[0] // 6
        changes[path] = zero_values(trial, ("document",), slice(first * width, end * width))
    expected = plain_losses(plain, trial, decoder=changes)
    found = losses(captured(model, [trial]))
    within(found, expected, of=float32(family).losses)
    beyond(found, losses(captured(model, [tokenized(model, LONG, ORACLE)])), of=float32(family).losses)


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_twins_of_keys_are_read_as_one_key(
    family: str, pack: bool, loaded: Models, float32: Precision
) -> None:
    """Rows and heads that keep the values: budgets and entropies at the edited layer are those without the edit.

    Also under edits before and after, and twice over.
    """
    model = loaded(family)
    chosen = {"value_zeroing": f"predicting->document@{LAST}/h0"}
    trials = [tokenized(model, index, ORACLE) for index in range(3)]
    before = captured(model, trials, EVERYTHING, pack=pack)
    after = captured(
        model, [tokenized(model, index, {**ORACLE, **chosen}) for index in range(3)], EVERYTHING, pack=pack
    )
    for index in range(3):
        numbers_within(numbers(after, index), numbers(before, index), float32(family))
    beyond(after.token_losses, before.token_losses, of=float32(family).losses)
    batch = batch_of(trials, pack=pack)
    settings: dict[str, Any] = {"rows": frozenset({"predicting", "prompt"}), "layers": frozenset({LAST})}
    hide = HideKeys(frozenset({"bos"}), **settings)
    zero = ZeroValues(frozenset({"document"}), **settings)
    again = ZeroValues(frozenset({"eos", "document"}), **settings | {"heads": frozenset({0, 1})})
    alone = capture(model, batch, EVERYTHING, (hide,))
    for edits in ((hide, zero), (zero, hide), (zero, again, hide)):
        both = capture(model, batch, EVERYTHING, edits)
        for index in range(3):
            numbers_within(numbers(both, index), numbers(alone, index), float32(family))
    one, two = (capture(model, batch, Probing(), edits) for edits in ((hide, zero), (zero, hide)))
    within(one.token_losses, two.token_losses, of=float32(family).losses)


# Removal of sublayers.


@pytest.mark.parametrize("family", KINDS)
def test_removal_against_hooks(family: str, loaded: Models, truth: Oracle, float32: Precision) -> None:
    model, plain = loaded(family), truth(family)
    paths = hooks.PATHS[family]
    merged = paths.cross_attention is None
    cases = {
        "encoder@1": ("encoder", [f"{paths.encoder}.1.{paths.encoder_attention}"]),
        "decoder@2-3": (
            "decoder",
            [
                f"{paths.decoder}.{layer}.{name}"
                for layer in (2, 3)
                for name in (paths.self_attention, paths.cross_attention)
                if name
            ],
        ),
    }
    if merged:
        cases["merged@0%-50%"] = (
            "decoder",
            [f"{paths.decoder}.{layer}.{paths.self_attention}" for layer in (0, 1)],
        )
    else:
        cases["self@0+4"] = (
            "decoder",
            [f"{paths.decoder}.{layer}.{paths.self_attention}" for layer in (0, 4)],
        )
        cases["cross@1"] = ("decoder", [f"{paths.decoder}.1.{paths.cross_attention}"])
    before = losses(captured(model, [tokenized(model, LONG, ORACLE)]))
    for level, (stack, modules) in cases.items():
        trial = tokenized(model, LONG, {**ORACLE, "sublayer_removal": level})
        changes: dict[str, Any] = {
            stack: {f"{module}.{paths.output}": torch.zeros_like for module in modules}
        }
        found = losses(captured(model, [trial], EVERYTHING))
        within(found, plain_losses(plain, trial, **changes), of=float32(family).losses, what=level)
        beyond(found, before, of=float32(family).losses, what=level)


def test_a_sublayer_that_the_family_does_not_have_is_refused(loaded: Models) -> None:
    merged, separate = loaded("t5gemma2"), loaded("t5")
    for sublayer in ("self", "cross"):
        trial = tokenized(merged, 0, {"sublayer_removal": f"{sublayer}@all"})
        with pytest.raises(
            EditError, match=r"5 × decoder merged; this family merges .* which 'merged' names"
        ):
            captured(merged, [trial])
    with pytest.raises(EditError, match="matches no attention call of t5: the model has"):
        captured(separate, [tokenized(separate, 0, {"sublayer_removal": "merged@all"})])
    with pytest.raises(ValueError, match="attention blocks are self, cross and merged"):
        RemoveOutput("feed-forward")


# What is refused.


def test_edits_that_cannot_be_made_are_refused(loaded: Models) -> None:
    model = loaded("t5")
    plain = captured(model, [tokenized(model, 0, PROMPT)])
    for level, message in {
        "predicting->encoder@2": "hides every key of some row at decoder cross layer 2",
        "predicting->all-prefix@2": "hides every key of some row at decoder cross layer 2",
        "predicting->bos@1/h4-6": r"decoder cross layer 1 has heads 0 to 5; the edit names \[6\]",
        "predicting->bos@0/h1@2/h0+7": r"decoder cross layer 2 has heads 0 to 5; the edit names \[7\]",
        "document->encoder@0": "hides every key of some row at encoder self layer 0",
    }.items():
        with pytest.raises(EditError, match=message):
            captured(model, [tokenized(model, 0, {**PROMPT, "knockout": level})])
        after = captured(model, [tokenized(model, 0, PROMPT)])
        numpy.testing.assert_array_equal(after.token_losses, plain.token_losses)
    with pytest.raises(ValueError, match=r"no row of the encoder has the role\(s\) \['predicting'\]"):
        HideKeys(frozenset({"bos"}), rows=frozenset({"predicting"}), stack="encoder")
    with pytest.raises(ValueError, match=r"unknown role\(s\) \['query'\]"):
        KeepKeys(frozenset({"query"}))


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_a_batch_under_unlike_edits_is_its_trials_one_by_one(
    family: str, pack: bool, loaded: Models, float32: Precision
) -> None:
    """Edits of all rows and of some, of heads, of both stacks, none at all, several at once, and shared passes."""
    model = loaded(family)
    every = {
        "knockout": "predicting->bos@0-2/h1",
        "value_zeroing": "predicting->eos@1",
        "reweighting": "predicting+answer->document*0.3@3",
        "sublayer_removal": "encoder@1",
    }
    levels = [
        {**ORACLE, **every},
        {"prefix": "oracle", "hidden": "prefix", **every},
        *({**ORACLE, name: level} for name, level in every.items()),
        {**ORACLE, "value_zeroing": "decoder->document@1-3"},
        {**ORACLE, "value_zeroing": "document->prefix@0"},
        {**ORACLE, "knockout": "document->prefix@0/h0"},
        {**ORACLE, "knockout": "predicting->document@0/h1@2-3/h0+2"},
        {**ORACLE, "value_zeroing": "predicting->document@0/h1@2-3/h0+2"},
        {**ORACLE, "sublayer_removal": "decoder@2"},
        ORACLE,
        PROMPT,
    ]
    trials = [tokenized(model, index, level) for level in levels for index in (0, 3)]
    batch = batch_of(trials, pack=pack)
    # Bare; with the prefix; and so with the encoder's sublayer removed, its values zeroed, its edges cut. Edits of
    # the decoder alone need no pass of their own.
    assert batch.decoded == 2 * 5
    together = capture(model, batch, EVERYTHING)
    for index, trial in enumerate(trials):
        alone = captured(model, [trial], EVERYTHING)
        within(losses(together, index), losses(alone), of=float32(family).losses)
        numbers_within(numbers(together, index), numbers(alone, 0), float32(family))
    # Naming a trial's own edit besides does not make it twice.
    third = trials[2 * list(every).index("reweighting") + 4]
    once = captured(model, [third])
    twice = capture(model, batch_of([third]), Probing(), third.trial.edits)
    numpy.testing.assert_array_equal(once.token_losses, twice.token_losses)


def test_a_run_with_many_edits_is_its_cells_one_by_one(loaded: Models, float32: Precision) -> None:
    """However the trials of a part are put into batches."""
    model = loaded("t5gemma2")
    cells = [
        ORACLE,
        *(
            {**ORACLE, "knockout": f"predicting->{role}@{layer}"}
            for role in ("bos", "document")
            for layer in (0, 3)
        ),
        {**PROMPT, "state_patching": "document<-prefix=oracle@1"},
    ]
    units = [
        Unit(tuple(Fed(str(number), tokenized(model, index, cell)) for number, cell in enumerate(cells)))
        for index in range(3)
    ]
    for batch_tokens in (150, 100_000):
        chunks = list(batches([item for unit in units for item in unit.fed], batch_tokens))
        assert sum(map(len, chunks)) == len(cells) * 3
        assert (len(chunks) == 1) == (batch_tokens == 100_000)
        reading = Probing((Likelihood(), Budgets()))
        records = capture_part(model, units, reading, rows="predicting", batch_tokens=batch_tokens)
        table = records["likelihood"].to_pandas().set_index(["example", "cell"])["nll"]
        for unit in units:
            for fed in unit.fed:
                alone = losses(captured(model, [fed.trial])).mean()
                found = table[fed.trial.trial.example.identifier, fed.cell]
                within(found, alone, of=float32("t5gemma2").losses)


# The prefix within the encoder.


@pytest.mark.parametrize("family", KINDS)
def test_a_masked_prefix_is_one_that_no_other_row_of_the_encoder_sees(
    family: str, loaded: Models, truth: Oracle, float32: Precision
) -> None:
    model = loaded(family)
    for index in (0, LONG):
        trial = tokenized(
            model, index, {**ORACLE, "hidden": "prefix+separator", "prefix_attention": "masked"}
        )
        expected = measured(
            truth(family),
            trial,
            encoder_visible=[role not in ("prefix", "separator") for role in trial.encoder_roles],
        )
        found = captured(model, [trial], EVERYTHING)
        within(losses(found), expected.nll, of=float32(family).losses)
        numbers_within(numbers(found, 0), expected_numbers(expected, model.family.merged), float32(family))


@pytest.mark.parametrize(("family", "pack"), CASES, ids=CASE_NAMES)
def test_without_attention_and_without_shift_there_is_no_prefix(
    family: str, pack: bool, loaded: Models, float32: Precision
) -> None:
    """Exact in every family: windows that count positions, rotary ones, relative ones, tables."""
    model = loaded(family)
    levels = {**ORACLE, "hidden": "prefix+separator", "prefix_attention": "masked+unshifted"}
    neither = captured(model, [tokenized(model, index, levels) for index in range(4)], pack=pack)
    bare = captured(model, [tokenized(model, index, PROMPT) for index in range(4)], pack=pack)
    within(neither.token_losses, bare.token_losses, of=float32(family).losses)
    for one in ("masked", "unshifted"):
        levels["prefix_attention"] = one
        found = captured(model, [tokenized(model, index, levels) for index in range(4)], pack=pack)
        beyond(found.token_losses, bare.token_losses, of=float32(family).losses)


@pytest.mark.parametrize("family", KINDS)
def test_an_unshifted_prefix_stands_where_it_moves_nothing(family: str, loaded: Models) -> None:
    model = loaded(family)
    bare, running = tokenized(model, 0), tokenized(model, 0, {"prefix": "oracle"})
    apart = tokenized(model, 0, {"prefix": "oracle", "prefix_attention": "unshifted"})
    prefix = [
        token
        for token, role in zip(running.encoder_ids, running.encoder_roles, strict=True)
        if role in ("prefix", "separator")
    ]
    if family == "bart":
        assert apart.encoder_ids == (*bare.encoder_ids, *prefix)
        assert apart.encoder_roles[len(bare.encoder_ids)] == "prefix"
    else:
        assert apart.encoder_ids == (*prefix, *bare.encoder_ids)
        assert apart.encoder_roles[0] == "prefix"
    hidden = tokenized(model, 0, {"prefix": "oracle", "hidden": "first-n", "prefix_attention": "unshifted"})
    # What is hidden moves with its tokens: BOS and all of the prefix but the line break.
    seen = dict(zip(hidden.encoder_roles, hidden.visible, strict=True))
    assert (seen["bos"], seen["separator"], seen["document"]) == (False, True, True)
    with pytest.raises(ValueError, match="prefix_positions is one of running, before; got 'after'"):
        replace(bare.trial, prefix_positions="after")


def test_a_trial_without_a_prefix_is_left_as_it_is(loaded: Models) -> None:
    model = loaded("t5")
    trial = Trial.bare(tokenized(model, 0).trial.example)
    assert PrefixAttention(masked=True, unshifted=True).apply(trial, context_of(model, 0)) is trial
    prefixed = trial.with_prefix((Segment("prefix", text="who"),))
    assert PrefixAttention.parse("masked+unshifted").apply(prefixed, context_of(model, 0)) != prefixed


def test_sums_by_trial_are_the_same_every_time_and_keep_trials_apart(loaded: Models) -> None:
    """An undefined row is undefined for its own trial alone, and means are those of a loop over rows."""
    model = loaded("t5gemma2")
    trials = [tokenized(model, index, ORACLE) for index in (0, 3, 1)]
    batch = batch_of(trials, pack=True)
    rows = numpy.arange(batch.chosen.owner.numel(), dtype=numpy.float64).reshape(batch.chosen.owner.shape)
    # The first row's owner: the table of rows is padded with that row.
    rows[batch.chosen.owner.numpy() == int(batch.chosen.owner[0, 0])] = numpy.nan
    found = capture(model, batch, Probing((_RowNumbers(tuple(map(tuple, rows.tolist()))),)))
    for observation in found.observations:
        for owner in range(3):
            own = rows[batch.chosen.owner.numpy() == owner]
            numpy.testing.assert_array_equal(observation.values["number"][owner, 0, 0], own.mean())


@probe("row_numbers")
class _RowNumbers(Budgets):
    """A probe that reads nothing but which row it is."""

    def __init__(self, rows: tuple[tuple[float, ...], ...]) -> None:
        super().__init__()
        object.__setattr__(self, "rows", rows)

    def categories(self, site: Site) -> tuple[str, ...]:
        return ("row",) if site.stack == "decoder" else ()

    def observe(self, attention: Any) -> Any:
        rows = torch.tensor(self.rows, dtype=torch.float64)  # type: ignore[attr-defined]
        return {"number": rows[:, None, :, None]}
