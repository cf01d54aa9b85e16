"""Captures against the eager oracle, and the theorems that hold for every attention budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy
import pytest
import torch
from transformers import PreTrainedModel

from budgetlens.model.attention import AttentionCall, Site
from budgetlens.model.capture import Capture, EditError, Probing, capture, encode
from budgetlens.model.edits import HideKeys, ScaleValues
from budgetlens.model.families import family_of
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Edit
from probes.budgets import Budgets
from probes.entropies import Entropies
from tests.conftest import EVERYTHING, PREFIXED, Shape, batch_of
from tests.precision import (
    TIMES,
    Float32,
    Key,
    beyond,
    expected_numbers,
    kind_of,
    least_unit,
    measured,
    numbers,
    numbers_equal,
    numbers_within,
    unit,
    weights_of,
    within,
)
from tests.reference import tiny_models

FAMILIES = tiny_models.FAMILIES
#: One family of every kind: merged, soft-capped, relative positions, learned and sinusoidal tables.
KINDS = ("t5gemma2", "t5gemma", "t5", "bart", "marian")
#: Families by what their model type is called in :mod:`budgetlens.model.families`.
MODEL_TYPES = {"t5-gated": "t5"}
PACKABLE = tuple(name for name in FAMILIES if family_of(MODEL_TYPES.get(name, name)).packs)
PACKING = [(family, pack) for family in FAMILIES for pack in (False, True) if not pack or family in PACKABLE]
PACKING_KINDS = [(family, pack) for family, pack in PACKING if family in KINDS]

Models = Callable[[str], LoadedModel]
Oracle = Callable[[str], PreTrainedModel]
Precision = Callable[[str], Float32]
Trials = dict[str, TokenizedTrial]


def names(cases: list[tuple[str, bool]]) -> list[str]:
    return [f"{family}{'-packed' if pack else ''}" for family, pack in cases]


def losses(captured: Capture, index: int) -> list[float]:
    own = captured.token_losses[index]
    return own[~numpy.isnan(own)].tolist()


def share(captured: Capture, trial: int, **wanted: Any) -> dict[tuple[int, str], float]:
    """Share by head and role at one site."""
    site = Site(wanted["stack"], wanted["block"], wanted["layer"])
    for observation in captured.observations:
        if observation.probe == "budgets" and observation.site == site:
            return {
                (head, role): float(value)
                for head, by_role in enumerate(observation.values["share"][trial])
                for role, value in zip(observation.categories, by_role, strict=True)
            }
    raise AssertionError(f"{site} was not observed")


def encoder_block(model: LoadedModel) -> str:
    """The decoder's block whose keys are the encoder's."""
    return "merged" if model.family.merged else "cross"


# Parity with the oracle.


def test_some_family_packs() -> None:
    assert "t5gemma2" in PACKABLE


@pytest.mark.parametrize("rows", ["predicting", "holding"])
@pytest.mark.parametrize(("family", "pack"), PACKING, ids=names(PACKING))
def test_a_mixed_batch_equals_eager_attention_one_example_at_a_time(
    family: str, pack: bool, rows: str, loaded: Models, truth: Oracle, float32: Precision, trials: Trials
) -> None:
    """Losses, budgets, both entropies, in both stacks, for every kind of trial in one padded batch."""
    model = loaded(family)
    captured = capture(model, batch_of(list(trials.values()), rows=rows, pack=pack), EVERYTHING)
    blocks = {(observation.site.stack, observation.site.block) for observation in captured.observations}
    own = {("decoder", "merged")} if model.family.merged else {("decoder", "self"), ("decoder", "cross")}
    assert blocks == {("encoder", "self"), *own}
    for index, trial in enumerate(trials.values()):
        expected = measured(truth(family), trial, rows)
        within(losses(captured, index), expected.nll, of=float32(family).losses)
        found = numbers(captured, index)
        numbers_within(found, expected_numbers(expected, model.family.merged), float32(family))
        # Nothing else is reported, but what the published definition does not have: mass, and the encoder.
        defined = {
            key for key in found if key[0] != "published_entropies" or key[1:3] == ("entropy", "decoder")
        }
        assert defined == expected_numbers(expected, model.family.merged).keys()


@pytest.mark.parametrize("family", KINDS)
def test_published_mass_is_the_mean_mass_of_the_heads(
    family: str, loaded: Models, float32: Precision, trials: Trials
) -> None:
    captured = capture(loaded(family), batch_of([trials["prefix visible"]]), EVERYTHING)
    found = numbers(captured, 0)
    heads: dict[tuple[int, str, str], list[float]] = {}
    for (probe, quantity, stack, block, layer, _, part), value in found.items():
        if (probe, quantity, stack) == ("entropies", "mass", "decoder"):
            heads.setdefault((layer, block, part), []).append(value)
    for (layer, block, part), masses in heads.items():
        if part != "all":
            key = ("published_entropies", "mass", "decoder", block, layer, -1, f"published_{part}")
            within(found[key], sum(masses) / len(masses), of=float32(family).of("mass", "decoder", layer))


@pytest.mark.parametrize("family", KINDS)
def test_losses_are_the_library_s_own_loss(
    family: str, loaded: Models, float32: Precision, trials: Trials
) -> None:
    trial = trials["prefix visible"]
    model = loaded(family)
    count = trial.answer_tokens
    labels = [-100] * len(trial.decoder_ids)
    labels[-count - 1 : -1] = trial.decoder_ids[-count:]
    with torch.no_grad():
        expected = model.model(
            input_ids=torch.tensor([trial.encoder_ids]),
            attention_mask=torch.ones(1, len(trial.encoder_ids), dtype=torch.long),
            decoder_input_ids=torch.tensor([trial.decoder_ids]),
            decoder_attention_mask=torch.ones(1, len(trial.decoder_ids), dtype=torch.long),
            labels=torch.tensor([labels]),
        ).loss.item()
    captured = capture(model, batch_of([trial]), Probing())
    within(numpy.nanmean(captured.token_losses), expected, of=float32(family).losses)


@pytest.mark.parametrize(("family", "pack"), PACKING_KINDS, ids=names(PACKING_KINDS))
def test_layers_choose_what_is_read_and_change_nothing(
    family: str, pack: bool, loaded: Models, float32: Precision, trials: Trials
) -> None:
    model, batch = loaded(family), batch_of(list(trials.values()), pack=pack)
    whole = capture(model, batch, replace(EVERYTHING, encoder=False))
    some = capture(model, batch, replace(EVERYTHING, encoder=False, layers=frozenset({1, 4})))
    nothing = capture(model, batch, Probing())
    assert {observation.site.layer for observation in some.observations} == {1, 4}
    assert nothing.observations == ()
    assert {observation.site.stack for observation in whole.observations} == {"decoder"}
    for index in range(len(trials)):
        numbers_equal(numbers(whole, index), numbers(some, index))
    numpy.testing.assert_array_equal(whole.token_losses, some.token_losses)
    within(whole.token_losses, nothing.token_losses, of=float32(family).losses)


def test_encode_gives_the_encoder_s_states_once_per_distinct_input(
    loaded: Models, truth: Oracle, float32: Precision, trials: Trials
) -> None:
    model = loaded("t5gemma2")
    batch = batch_of(list(trials.values()))
    # Three shapes share one prefixed input, and the moved trial has the bare one's.
    assert batch.encoder_ids.shape[0] == 4
    states = encode(model, batch)
    for trial, row in zip(trials.values(), batch.trial_pass.tolist(), strict=True):
        length = int(batch.encoder_mask[row].sum())
        alone = weights_of(truth("t5gemma2"), trial).states
        within(states[row, :length], alone, of=float32("t5gemma2").of("states"))


# Batch size, order, padding and packing.


@pytest.mark.parametrize(("family", "pack"), PACKING_KINDS, ids=names(PACKING_KINDS))
def test_batch_size_order_and_padding_change_nothing(
    family: str, pack: bool, loaded: Models, float32: Precision, trials: Trials
) -> None:
    model = loaded(family)
    order = list(trials)
    alone = {name: capture(model, batch_of([trials[name]], pack=pack), EVERYTHING) for name in order}
    # Reversed, in pairs of unlike lengths, and one trial twice.
    groups = [
        order[::-1],
        [order[0], order[4]],
        [order[4], order[6], order[2]],
        [order[1], order[3], order[1]],
    ]
    for group in groups:
        together = capture(model, batch_of([trials[name] for name in group], pack=pack), EVERYTHING)
        for index, name in enumerate(group):
            numbers_within(numbers(together, index), numbers(alone[name], 0), float32(family))
            within(losses(together, index), losses(alone[name], 0), of=float32(family).losses)


@pytest.mark.parametrize("family", PACKABLE)
@pytest.mark.parametrize("rows", ["predicting", "holding"])
def test_packing_changes_nothing(family: str, rows: str, loaded: Models, float32: Precision) -> None:
    """Many trials of one encoder pass, more and less hidden, moved and not, beside another pass."""
    model = loaded(family)
    shapes = [
        replace(PREFIXED, prompt=prompt, answer=answer, hidden=hidden, shift=shift)
        for prompt, answer, shift in ((0, 5, 0), (6, 2, 0), (0, 1, 6), (3, 11, 0))
        for hidden in ((), ("prefix", "separator"), ("bos", "prefix", "separator"))
    ]
    several = [
        shape.trial() for shape in (*shapes, Shape(answer=7), Shape(prompt=2), Shape(seed=3, document=9))
    ]
    packed_batch = batch_of(several, rows=rows, pack=True)
    plain_batch = batch_of(several, rows=rows)
    assert packed_batch.decoder_ids.shape[0] < plain_batch.decoder_ids.shape[0]
    packed, plain = capture(model, packed_batch, EVERYTHING), capture(model, plain_batch, EVERYTHING)
    within(packed.token_losses, plain.token_losses, of=float32(family).losses)
    for index in range(len(several)):
        numbers_within(numbers(packed, index), numbers(plain, index), float32(family))


@pytest.mark.parametrize("family", [family for family in KINDS if family not in PACKABLE])
def test_packing_is_refused_where_trials_cannot_be_kept_apart(
    family: str, loaded: Models, trials: Trials
) -> None:
    shared = [trials["prefix visible"], trials["prefix hidden"]]
    with pytest.raises(ValueError, match=r"takes no packed batches; make the batch with pack=False"):
        capture(loaded(family), batch_of(shared, pack=True), EVERYTHING)


@pytest.mark.parametrize("family", [*PACKABLE, "t5", "bart"])
def test_what_is_left_of_batching_is_the_precision_of_the_states(family: str, trials: Trials) -> None:
    """With a model in float64, padding, order and packing leave no more than float32 readings do.

    What is left is that a row's exponentials are summed over more or fewer columns of padding.
    """
    model = prepare_model(
        tiny_models.build(family).double(),
        tiny_models.tokenizer(),
        name=family,
        identity="tiny",
        check=False,
    )
    order = list(trials.values())
    together = capture(model, batch_of(order, pack=family in PACKABLE), EVERYTHING)
    for index, trial in enumerate(order):
        alone = capture(model, batch_of([trial]), EVERYTHING)
        both, own = numbers(together, index), numbers(alone, 0)
        for kind in {kind_of(key) for key in own}:
            keys = [key for key in own if kind_of(key) == kind]
            within(
                [both[key] for key in keys], [own[key] for key in keys], of=least_unit([own[k] for k in keys])
            )
        within(losses(together, index), losses(alone, 0), of=least_unit(losses(alone, 0)))


# Exact theorems.


@pytest.mark.parametrize(("family", "pack"), PACKING, ids=names(PACKING))
def test_a_hidden_role_has_share_exactly_zero_and_a_row_sums_to_one(
    family: str, pack: bool, loaded: Models, float32: Precision, trials: Trials
) -> None:
    captured = capture(loaded(family), batch_of(list(trials.values()), pack=pack), EVERYTHING)
    for index, trial in enumerate(trials.values()):
        sums: dict[Any, float] = {}
        for (probe, _, stack, block, layer, head, role), value in numbers(captured, index).items():
            if probe != "budgets":
                continue
            sums[stack, block, layer, head] = sums.get((stack, block, layer, head), 0.0) + value
            positions = trial.encoder_roles + trial.decoder_roles
            if role not in positions or (stack == "decoder" and role in trial.trial.hidden):
                assert value == 0.0, (role, trial.trial.example.identifier)
        # A merged row is one softmax over both stacks' keys; any other block is a softmax of its own.
        within(list(sums.values()), numpy.ones(len(sums)), of=float32(family).of("mass"))


@pytest.mark.parametrize("family", KINDS)
def test_an_encoder_that_is_wholly_hidden_is_refused(family: str) -> None:
    nothing = Shape(hidden=("bos", "document", "eos")).trial()
    with pytest.raises(
        ValueError, match=r"would see nothing of the encoder \(hidden: \['bos', 'document', 'eos'\]\)"
    ):
        batch_of([nothing])
    with pytest.raises(ValueError, match="at least one trial"):
        batch_of([])
    with pytest.raises(ValueError, match="'predicting' or 'holding', not 'both'"):
        batch_of([Shape().trial()], rows="both")


#: A one-token answer: one row is read, so that the mean over rows is the row.
ONE_ROW = replace(PREFIXED, prompt=4, answer=1)


@pytest.mark.parametrize("role", ["bos", "prefix", "document"])
@pytest.mark.parametrize("family", FAMILIES)
def test_hiding_mass_m_from_a_softmax_scales_the_rest_by_one_over_one_minus_m(
    family: str, role: str, loaded: Models, float32: Precision
) -> None:
    """In the first layer, whose input the edit does not change: A' = A / (1 - m), head by head."""
    model, batch = loaded(family), batch_of([ONE_ROW.trial()])
    reading = Probing((Budgets(),), layers=frozenset({0}))
    where: dict[str, Any] = {"stack": "decoder", "block": encoder_block(model), "layer": 0}
    before = share(capture(model, batch, reading), 0, **where)
    edit = HideKeys(frozenset({role}), layers=frozenset({0}))
    after = share(capture(model, batch, reading, (edit,)), 0, **where)
    heads = {head for head, _ in before}
    assert max(before[head, role] for head in heads) > 0.005
    for (head, key_role), value in after.items():
        if key_role == role:
            assert value == 0.0
        else:
            # Multiplied out: where nearly all mass is hidden, 1 - m has few digits left.
            kept = 1.0 - before[head, role]
            own = float32(family).of("share", "decoder", 0)
            within(value * kept, before[head, key_role], of=own, what=(head, key_role))


@pytest.mark.parametrize("family", FAMILIES)
def test_hiding_decoder_keys_renormalises_a_causal_row(
    family: str, loaded: Models, float32: Precision
) -> None:
    """The same for the decoder's own keys, whose mask is left out under SDPA: causality must survive."""
    model, batch = loaded(family), batch_of([replace(PREFIXED, prompt=7, answer=1).trial()])
    block = "merged" if model.family.merged else "self"
    reading = Probing((Budgets(),), layers=frozenset({1}))
    edit = HideKeys(frozenset({"start"}), rows=frozenset({"prompt", "answer"}), layers=frozenset({1}))
    where: dict[str, Any] = {"stack": "decoder", "block": block, "layer": 1}
    before = share(capture(model, batch, reading), 0, **where)
    after = share(capture(model, batch, reading, (edit,)), 0, **where)
    assert max(value for (_, role), value in before.items() if role == "start") > 0.01
    for (head, role), value in after.items():
        expected = 0.0 if role == "start" else before[head, role]
        within(value * (1.0 - before[head, "start"]), expected, of=float32(family).of("share", "decoder", 1))
        # The row that predicts the first answer token does not see it.
        if role == "answer":
            assert value == before[head, role] == 0.0


@pytest.mark.parametrize("family", KINDS)
def test_an_edit_reaches_only_its_rows_heads_and_layers(
    family: str, loaded: Models, float32: Precision
) -> None:
    model, batch = loaded(family), batch_of([ONE_ROW.trial()])
    reading = Probing((Budgets(),), layers=frozenset({0}))
    where: dict[str, Any] = {"stack": "decoder", "block": encoder_block(model), "layer": 0}
    keys = frozenset({"document"})
    before = share(capture(model, batch, reading), 0, **where)
    # The one row that is read is the last prompt position.
    other_rows = HideKeys(keys, rows=frozenset({"answer", "start"}), layers=frozenset({0}))
    untouched = share(capture(model, batch, reading, (other_rows,)), 0, **where)
    assert untouched.keys() == before.keys()
    own = float32(family).of("share", "decoder", 0)
    within(list(untouched.values()), list(before.values()), of=own)
    later = HideKeys(keys, layers=frozenset({1}))
    assert share(capture(model, batch, reading, (later,)), 0, **where) == before
    one_head = HideKeys(keys, heads=frozenset({2}), layers=frozenset({0}))
    after = share(capture(model, batch, reading, (one_head,)), 0, **where)
    for (head, role), value in after.items():
        if head == 2 and role == "document":
            assert value == 0.0
        elif head != 2:
            within(value, before[head, role], of=own)
        else:
            assert value >= before[head, role]


@pytest.mark.parametrize(("family", "pack"), PACKING_KINDS, ids=names(PACKING_KINDS))
def test_hiding_by_edit_is_hiding_by_mask(
    family: str, pack: bool, loaded: Models, truth: Oracle, float32: Precision
) -> None:
    """What is hidden from every row, head and layer by edits is hidden as by the encoder's mask."""
    model = loaded(family)
    roles = ("prefix", "separator")
    visible = [replace(PREFIXED, prompt=4, answer=3).trial(), replace(PREFIXED, answer=6).trial()]
    edits = (HideKeys(frozenset(roles)),)
    captured = capture(model, batch_of(visible, pack=pack), replace(EVERYTHING, encoder=False), edits)
    for index, trial in enumerate(visible):
        seen = tuple(role not in roles for role in trial.encoder_roles)
        expected = measured(truth(family), replace(trial, visible=seen))
        decoder = {
            key: value
            for key, value in expected_numbers(expected, model.family.merged).items()
            if key[2] == "decoder"
        }
        numbers_within(numbers(captured, index), decoder, float32(family))
        within(losses(captured, index), expected.nll, of=float32(family).losses)


@pytest.mark.parametrize("family", KINDS)
def test_hiding_in_the_encoder_changes_its_document_rows(
    family: str, loaded: Models, float32: Precision
) -> None:
    model, batch = loaded(family), batch_of([PREFIXED.trial()])
    reading = Probing((Budgets(),), layers=frozenset({0}), encoder=True)
    edit = HideKeys(
        frozenset({"prefix"}), rows=frozenset({"document"}), stack="encoder", layers=frozenset({0})
    )
    before, after = capture(model, batch, reading), capture(model, batch, reading, (edit,))
    where: dict[str, Any] = {"stack": "encoder", "block": "self", "layer": 0}
    lost, own = share(before, 0, **where), float32(family).of("share", "encoder", 0)
    for (head, role), value in share(after, 0, **where).items():
        if role == "prefix":
            assert value == 0.0
        else:
            assert value >= lost[head, role] - TIMES * own
    beyond(before.token_losses, after.token_losses, of=float32(family).losses)


@pytest.mark.parametrize(("family", "pack"), PACKING_KINDS, ids=names(PACKING_KINDS))
def test_an_edit_that_does_nothing_changes_nothing(
    family: str, pack: bool, loaded: Models, float32: Precision, trials: Trials
) -> None:
    model = loaded(family)
    without_prefix = [trials["bare"], trials["moved"], trials["long decoder, no BOS"]]
    batch = batch_of(without_prefix, pack=pack)
    before = capture(model, batch, EVERYTHING)
    edits: tuple[Edit, ...] = (
        # No position has the role; no head is named; every value times one, at a site of each stack.
        HideKeys(frozenset({"prefix", "separator"})),
        HideKeys(frozenset({"prefix"}), stack="encoder"),
        HideKeys(frozenset({"document"}), heads=frozenset()),
        *(ScaleValues(site, 1.0) for site in (model.sites("encoder")[1], model.sites("decoder")[-1])),
    )
    after = capture(model, batch, EVERYTHING, edits)
    within(after.token_losses, before.token_losses, of=float32(family).losses)
    for index in range(len(without_prefix)):
        numbers_within(numbers(after, index), numbers(before, index), float32(family))


@pytest.mark.parametrize("family", ["t5", "bart", "t5gemma"])
def test_an_edit_that_leaves_a_row_without_keys_is_refused(
    loaded: Models, trials: Trials, family: str
) -> None:
    batch = batch_of([trials["bare"], trials["prefix hidden"]])
    edit = HideKeys(frozenset({"start"}))  # the start row sees no other key
    with pytest.raises(EditError, match="hides every key of some row at decoder self layer 0"):
        capture(loaded(family), batch, EVERYTHING, (edit,))
    capture(loaded(family), batch, EVERYTHING, (replace(edit, rows=frozenset({"answer"})),))


def test_edits_that_match_no_site_are_refused(loaded: Models, trials: Trials) -> None:
    batch = batch_of([trials["bare"]])
    t5, merged = loaded("t5"), loaded("t5gemma2")
    unmatched: dict[str, Edit] = {
        "a layer beyond the last": HideKeys(frozenset({"document"}), layers=frozenset({5})),
        "no role": HideKeys(frozenset()),
        "no layer": HideKeys(frozenset({"document"}), layers=frozenset()),
        "a decoder role in the encoder": HideKeys(frozenset({"prompt"}), stack="encoder"),
        "another family's block": ScaleValues(Site("decoder", "merged", 0), 2.0),
    }
    for edit in unmatched.values():
        with pytest.raises(EditError, match=r"matches no attention call of t5: .*5 × decoder self"):
            capture(t5, batch, EVERYTHING, (edit,))
    # One that matches does not excuse one that does not.
    with pytest.raises(EditError, match="5 × decoder merged"):
        capture(merged, batch, EVERYTHING, (HideKeys(frozenset({"bos"})), unmatched["no layer"]))
    with pytest.raises(ValueError, match=r"unknown role\(s\) \['query'\]; known"):
        HideKeys(frozenset({"query"}))


@dataclass(frozen=True)
class Fails:
    """An edit that raises when its call is reached."""

    site: Site

    def matches(self, site: Site) -> bool:
        return site == self.site

    def apply(self, call: AttentionCall) -> AttentionCall:
        raise RuntimeError(f"failed at {call.site}")


@dataclass(frozen=True)
class FailingProbe(Budgets):
    """A probe that raises at its third layer."""

    def observe(self, attention: Any) -> Mapping[str, torch.Tensor]:
        if attention.site.layer == 2:
            raise RuntimeError(f"failed at {attention.site}")
        return super().observe(attention)


@pytest.mark.parametrize(("family", "pack"), PACKING_KINDS, ids=names(PACKING_KINDS))
def test_an_error_in_a_trace_leaves_nothing_behind(
    family: str, pack: bool, loaded: Models, trials: Trials
) -> None:
    model = loaded(family)
    batch = batch_of(list(trials.values()), pack=pack)
    before = capture(model, batch, EVERYTHING)
    hooks = sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.model.modules()
    )
    for site in (model.sites("encoder")[2], model.sites("decoder")[0], model.sites("decoder")[-1]):
        with pytest.raises(Exception, match=f"failed at {site}"):
            capture(
                model,
                batch,
                EVERYTHING,
                (Fails(site), HideKeys(frozenset({"document"}), layers=frozenset({0}))),
            )
    with pytest.raises(Exception, match=r"failed at encoder self layer 2"):
        capture(model, batch, Probing((FailingProbe(),), encoder=True))
    after = capture(model, batch, EVERYTHING)
    numpy.testing.assert_array_equal(after.token_losses, before.token_losses)
    for index in range(len(trials)):
        numbers_equal(numbers(after, index), numbers(before, index))
    assert hooks == sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.model.modules()
    )


# Causality and relative positions over long decoders.


def cut(trial: TokenizedTrial, answer: int) -> TokenizedTrial:
    """The trial with the decoder ending after ``answer`` answer tokens, of which the last alone is answer."""
    length = len(trial.decoder_ids) - trial.answer_tokens + answer
    roles = ("start", *("prompt",) * (length - 2), "answer")
    return replace(trial, decoder_ids=trial.decoder_ids[:length], decoder_roles=roles)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_knows_nothing_of_later_tokens(
    family: str, loaded: Models, float32: Precision, trials: Trials
) -> None:
    """Cut after any answer token, a decoder gives that token the same loss, and the same budget to its row.

    Each cut trial runs alone, so that its self-attention has no mask at all under SDPA.
    """
    model = loaded(family)
    trial = Shape(bos=0, document=38, prompt=42, answer=4).trial()
    reading = Probing((Budgets(),))
    whole = capture(model, batch_of([trial, trials["bare"]]), reading)
    count = trial.answer_tokens
    cuts = [capture(model, batch_of([cut(trial, answer)]), reading) for answer in range(1, count + 1)]
    within(losses(whole, 0), [losses(one, 0)[0] for one in cuts], of=float32(family).losses)

    def merged_tokens(captured: Capture) -> dict[Key, float]:
        # A cut trial calls earlier answer tokens prompt: they are one role here.
        total: dict[Key, float] = {}
        for (*key, role), value in numbers(captured, 0).items():
            name = (*key, "tokens" if role in ("prompt", "answer") else role)
            total[name] = total.get(name, 0.0) + value  # type: ignore[index, arg-type]
        return total

    rows = [merged_tokens(one) for one in cuts]
    mean = {key: sum(row[key] for row in rows) / count for key in rows[0]}
    numbers_within(merged_tokens(whole), mean, float32(family))


@pytest.mark.parametrize(("family", "pack"), PACKING, ids=names(PACKING))
def test_changing_a_later_token_changes_no_earlier_row(
    family: str, pack: bool, loaded: Models, float32: Precision, trials: Trials
) -> None:
    model = loaded(family)
    trial = trials["long decoder, no BOS"]
    last = trial.decoder_ids[-1]
    changed = replace(trial, decoder_ids=(*trial.decoder_ids[:-1], 5 if last != 5 else 6))
    other = trials["moved"]
    # The last token is no predicting row and no predicting row's key; it is a holding row.
    one = capture(model, batch_of([trial, other], pack=pack), EVERYTHING)
    two = capture(model, batch_of([changed, other], pack=pack), EVERYTHING)
    own = float32(family)
    numbers_within(numbers(one, 0), numbers(two, 0), own)
    within(losses(one, 0)[:-1], losses(two, 0)[:-1], of=own.losses)
    beyond(losses(one, 0)[-1], losses(two, 0)[-1], of=own.losses)
    held = [
        capture(model, batch_of([trial], rows="holding"), EVERYTHING),
        capture(model, batch_of([changed], rows="holding"), EVERYTHING),
    ]
    first, second = numbers(held[0], 0), numbers(held[1], 0)
    beyond([first[key] for key in first], [second[key] for key in first], of=own.of("entropy"))


@pytest.mark.parametrize("family", ["t5", "t5-gated", "mt5", "umt5"])
def test_moving_every_position_alike_is_the_identity_where_only_distances_count(
    family: str, loaded: Models
) -> None:
    model = loaded(family)
    still, moved = Shape().trial(), Shape(shift=9).trial()
    one, two = capture(model, batch_of([still]), EVERYTHING), capture(model, batch_of([moved]), EVERYTHING)
    numbers_equal(numbers(one, 0), numbers(two, 0))


@pytest.mark.parametrize("family", ["t5gemma2", "t5gemma", "bart", "mbart", "marian", "pegasus"])
def test_moving_positions_changes_the_decoder_elsewhere(
    family: str, loaded: Models, float32: Precision
) -> None:
    """T5Gemma 1 moves its queries in the self block only, and there only distances count."""
    model = loaded(family)
    one = capture(model, batch_of([Shape().trial()]), EVERYTHING)
    two = capture(model, batch_of([Shape(shift=9).trial()]), EVERYTHING)
    compare = within if family == "t5gemma" else beyond
    compare(one.token_losses, two.token_losses, of=float32(family).losses)


def test_positions_beyond_the_table_are_refused(loaded: Models, truth: Oracle, float32: Precision) -> None:
    """The last row of the table still is a position; what needs one more is refused."""
    for family in ("bart", "marian"):
        length = len(Shape(answer=3).trial().decoder_ids)
        last = Shape(shift=tiny_models.POSITIONS - length, answer=3).trial()
        expected = measured(truth(family), last)
        captured = capture(loaded(family), batch_of([last]), EVERYTHING)
        within(losses(captured, 0), expected.nll, of=float32(family).losses)
        beyond = replace(last, decoder_shift=last.decoder_shift + 1)
        with pytest.raises(ValueError, match=f"needs 191 positions, but {family} has 190; use shorter"):
            capture(loaded(family), batch_of([beyond]), EVERYTHING)


# One attention call by hand.


def hand_made_call(mask: torch.Tensor | None = None, **options: Any) -> AttentionCall:
    generator = torch.Generator().manual_seed(3)
    settings: dict[str, Any] = {"bias": None, "scaling": 0.3, "softcap": None, "causal": False, **options}
    return AttentionCall(
        site=Site("decoder", "self", 0),
        query=torch.randn(2, 4, 3, 6, generator=generator) * 2,
        key=torch.randn(2, 2, 3, 6, generator=generator) * 2,
        value=torch.randn(2, 2, 3, 6, generator=generator),
        mask=mask,
        row_roles=torch.tensor([[5, 6, 7], [5, 7, -1]]),
        key_roles=torch.tensor([[5, 6, 7], [5, 7, -1]]),
        **settings,
    )


def softmax_by_hand(call: AttentionCall, hidden: torch.Tensor | None, precision: torch.dtype) -> torch.Tensor:
    """Probabilities of a call, batch × head × row × key, head by head."""
    result = torch.empty(2, 4, 3, 3, dtype=precision)
    for batch in range(2):
        for head in range(4):
            query, key = call.query[batch, head].to(precision), call.key[batch, head // 2].to(precision)
            scores = query @ key.T * call.scaling
            if call.softcap is not None:
                scores = call.softcap * torch.tanh(scores / call.softcap)
            if call.bias is not None:
                scores = scores + call.bias[0, head].to(precision)
            if hidden is not None:
                scores = scores.masked_fill(hidden, -torch.inf)
            result[batch, head] = torch.softmax(scores, dim=-1)
    return result


@pytest.mark.parametrize("kind", ["none", "boolean", "lowest", "infinite", "causal", "softcap", "bias"])
def test_probabilities_are_those_of_the_softmax(kind: str) -> None:
    """For every way in which a mask, a bias or a cap may be given."""
    hidden = torch.tensor([[False, True, True], [False, False, True], [False, False, False]])
    zeros = torch.zeros(1, 1, 3, 3)
    masks = {
        "boolean": ~hidden[None, None],
        "lowest": zeros.masked_fill(hidden, torch.finfo(torch.float32).min),
        "infinite": zeros.masked_fill(hidden, -torch.inf),
    }
    bias = torch.randn(1, 4, 3, 3, generator=torch.Generator().manual_seed(1)) if kind == "bias" else None
    softcap = 1.5 if kind == "softcap" else None
    call = hand_made_call(masks.get(kind), causal=kind == "causal", bias=bias, softcap=softcap)
    unseen = hidden if kind in (*masks, "causal") else None
    narrow, wide = (softmax_by_hand(call, unseen, kind) for kind in (torch.float32, torch.float64))
    own = unit(narrow, wide)
    rows = torch.tensor([[2, 1], [0, 2]])
    ((block, attention),) = list(call.attention_rows(rows))
    assert block == slice(0, 2)
    mass = attention.mass((("start",), ("start", "prompt")))
    for batch in range(2):
        expected, found = wide[batch][:, rows[batch]], attention.probabilities[batch]
        within(found, expected, of=own)
        assert ((found == 0) == (expected == 0)).all()
        # Only the first of the batch has its prompt at the second position.
        start, prompt = expected[..., 0], expected[..., 1]
        within(mass[batch, ..., 0], start, of=own)
        within(mass[batch, ..., 1], start + prompt * (batch == 0), of=own)


def test_entropy_of_a_part_without_mass_is_undefined() -> None:
    hidden = torch.tensor([[True, True, False]]).expand(3, 3)
    call = hand_made_call(~hidden[None, None])
    ((_, attention),) = list(call.attention_rows(torch.tensor([[0], [0]])))
    entropy = attention.entropy((("start",), ("answer",), ("start", "prompt", "answer")))
    assert entropy[0, :, :, 0].isnan().all()
    assert (entropy[0, :, :, 1:] == 0).all()


def test_row_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    call = hand_made_call(causal=True)
    rows = torch.tensor([[0, 1, 2], [1, 2, 0]])
    ((_, whole),) = list(call.attention_rows(rows))
    monkeypatch.setattr("budgetlens.model.attention.BLOCK_SCORES", 24)
    blocks = list(call.attention_rows(rows))
    assert [block for block, _ in blocks] == [slice(0, 1), slice(1, 2), slice(2, 3)]
    joined = torch.cat([attention.probabilities for _, attention in blocks], dim=2)
    within(joined, whole.probabilities, of=least_unit(1.0))


def test_entropies_of_merged_parts_compose() -> None:
    """The chain rule: H(all) = H(masses) + m_self H(self) + m_cross H(cross), row by row."""
    generator = torch.Generator().manual_seed(9)
    site = Site("decoder", "merged", 0)
    call = AttentionCall(
        site=site,
        query=torch.randn(1, 2, 1, 6, generator=generator) * 2,
        key=torch.randn(1, 2, 8, 6, generator=generator),
        value=torch.randn(1, 2, 8, 6, generator=generator),
        mask=None,
        bias=None,
        scaling=1.0,
        softcap=None,
        causal=False,
        row_roles=torch.tensor([[6]]),
        key_roles=torch.tensor([[5, 6, 7, 0, 1, 2, 3, 4]]),
    )
    ((_, attention),) = list(call.attention_rows(torch.tensor([[0]])))
    values = Entropies().observe(attention)
    assert Entropies().categories(site) == ("self", "cross", "all")
    mass, entropy = values["mass"].double()[0, :, 0], values["entropy"].double()[0, :, 0]
    between = -(mass[:, :2] * mass[:, :2].log()).sum(dim=1)
    composed = between + (mass[:, :2] * entropy[:, :2]).sum(dim=1)
    within(entropy[:, 2], composed, of=least_unit(composed))
    within(mass[:, 2], torch.ones(2), of=least_unit(1.0))
