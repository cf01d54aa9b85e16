"""ALTI and ALTI+: a two-layer encoder-decoder by hand, and every family against the independent computation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import PreTrainedModel

from budgetlens.model import mixing, mixing_reading
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.edits import HideKeys, RemoveOutput, ZeroValues
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.mixing import contributions, mixed, mixed_with_own
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Edit
from probes.alti import Alti, AltiInLayer
from tests.cells import captured, places, tokenized
from tests.conftest import batch_of
from tests.precision import unit, within
from tests.reference import alti, eager, hooks, tiny_models

# By hand. Width 2, one head, two encoder tokens e1 and e2, two decoder tokens d1 and d2; nothing between the sublayers.
# The map of a layer's values, W, is the identity or minus the identity, so that T_k = ±α_k x_k.

HALF = (0.5, 0.5)


@dataclass(frozen=True)
class Hand:
    """One sublayer: attention by row, the states of its keys, those of its rows, and the sign of W."""

    weights: tuple[tuple[float, ...], ...]
    keys: tuple[tuple[float, float], ...]
    rows: tuple[tuple[float, float], ...]
    sign: float = 1.0

    @property
    def reference(self) -> alti.Sublayer:
        """As the independent implementation takes it."""
        weights, keys, rows = (numpy.array(part) for part in (self.weights, self.keys, self.rows))
        return alti.Sublayer(weights[None], self.sign * keys[None], rows, weights @ (self.sign * keys))

    def mixed(self, below: numpy.ndarray, own: numpy.ndarray | None = None) -> numpy.ndarray:
        """What the project makes of it: one layer of a rollout; ``own`` is what its rows are, if no keys of it."""
        sublayer = self.reference
        residual = torch.tensor(sublayer.residual)
        given = torch.tensor(sublayer.transformed)
        shares = contributions(
            torch.tensor(sublayer.weights),
            lambda keys: given[:, keys].transpose(0, 1),
            residual + torch.tensor(sublayer.output),
            residual,
            torch.arange(len(self.rows)) if own is None else None,
        )
        if own is None:
            return mixed(shares, torch.tensor(below)).numpy()
        return mixed_with_own(shares, torch.tensor(below), torch.tensor(own)).numpy()


ENCODER = (
    # y1 = e1 + ½e1 + ½e2 = (2,0) + (1,0) + (0,1) = (3,1), ‖y1‖ = 4. Own: e1 + ½e1 = (3,0), 4 − ‖(0,1)‖ = 3; e2:
    # 4 − ‖(3,0)‖ = 1. y2 = e2 + e2 = (0,4). Own: 4 − 0 = 4; e1 gives nothing: 4 − 4 = 0.    C = [[3/4, 1/4], [0, 1]]
    Hand((HALF, (0.0, 1.0)), ((2.0, 0.0), (0.0, 2.0)), ((2.0, 0.0), (0.0, 2.0))),
    # W = −1. y1 = (3,1) − (0,4) = (3,−3), 6. Own (3,1): 6 − ‖(0,−4)‖ = 2; the other (0,−4): 6 − ‖(3,1)‖ = 2.
    # y2 = (0,4) − ½(3,1) − ½(0,4) = (−1.5,1.5), 3. Own (0,4) − (0,2) = (0,2): 3 − ‖(−1.5,−.5)‖ = 1; the other
    # (−1.5,−.5): 3 − ‖(0,2)‖ = 1.                                                          C = [[1/2, 1/2], [1/2, 1/2]]
    Hand(((0.0, 1.0), HALF), ((3.0, 1.0), (0.0, 4.0)), ((3.0, 1.0), (0.0, 4.0)), -1.0),
)
#: ½(3/4, 1/4) + ½(0, 1) for both.
ENCODER_ROLLOUT = numpy.array([[3 / 8, 5 / 8], [3 / 8, 5 / 8]])
FINAL = ((3.0, -3.0), (-1.5, 1.5))

SEPARATE = (
    (
        # y1 = d1 + d1 = (2,0): own alone. y2 = d2 + ½d1 + ½d2 = (.5,3), 3.5. Own (0,3): 3.5 − .5 = 3; d1 (.5,0):
        # 3.5 − 3 = .5.
        #                                                                                   C = [[1, 0], [1/7, 6/7]]
        Hand(((1.0, 0.0), HALF), ((1.0, 0.0), (0.0, 2.0)), ((1.0, 0.0), (0.0, 2.0))),
        # y1 = (2,0) + ⅓(3,−3) + ⅔(−1.5,1.5) = (2,0), 2. Residual: 2 − 0 = 2; e1 (1,−1): 2 − ‖(1,1)‖ = 0; e2 (−1,1):
        # 2 − ‖(3,−1)‖ = −2, which is 0. y2 = (.5,3) + (−1.5,1.5) = (−1,4.5), 5.5. Residual: 5.5 − ‖(−1.5,1.5)‖ = 2.5;
        # e1: 0; e2: 5.5 − ‖(.5,3)‖ = 2.                                     C = [[1; 0, 0], [5/9; 0, 4/9]]
        Hand(((1 / 3, 2 / 3), (0.0, 1.0)), FINAL, ((2.0, 0.0), (0.5, 3.0))),
    ),
    (
        # W = −1. y1 = (2,0) − (2,0) = 0: a row of zeros, undefined. y2 = (−1,4.5) − (1,0) − (−.5,2.25) = (−1.5,2.25), 3.75.
        # Own (−1,4.5) − (−.5,2.25) = (−.5,2.25): 3.75 − 1 = 2.75; d1 (−1,0): 3.75 − ‖(−.5,2.25)‖ = 1.
        #                                                                                   C = [[–, –], [4/15, 11/15]]
        Hand(((1.0, 0.0), HALF), ((2.0, 0.0), (-1.0, 4.5)), ((2.0, 0.0), (-1.0, 4.5)), -1.0),
        # y1 = 0 + (3,−3). Residual: 6 − 6 = 0, so that nothing of the undefined row is taken; e1: 6.
        # y2 = (−1.5,2.25) + ½(3,−3) + ½(−1.5,1.5) = (−.75,1.5), 2.25. Residual: 2.25 − ‖(.75,−.75)‖ = .75; e1 (1.5,−1.5):
        # 2.25 − ‖(−2.25,3)‖ = −3, which is 0; e2 (−.75,.75): 2.25 − ‖(0,.75)‖ = 1.5.        C = [[0; 1, 0], [1/3; 0, 2/3]]
        Hand(((1.0, 0.0), HALF), FINAL, ((0.0, 0.0), (-1.5, 2.25))),
    ),
)
#: Columns d1, d2, e1, e2.
SEPARATE_ROLLOUT = (
    # Row 2: 5/9·(1/7, 6/7) of the decoder, 4/9·(3/8, 5/8) of the encoder.
    numpy.array([[1, 0, 0, 0], [5 / 63, 30 / 63, 1 / 6, 5 / 18]]),
    # Row 1: all of e1's. Row 2, self: 4/15·(1, 0 | 0, 0) + 11/15·(5/63, 30/63 | 1/6, 5/18) = (307/945, 22/63 | 11/90,
    # 11/54); a third of that, and two thirds of (3/8, 5/8): 11/270 + 1/4 = 157/540, 11/162 + 5/12 = 157/324.
    numpy.array([[0, 0, 3 / 8, 5 / 8], [307 / 2835, 22 / 189, 157 / 540, 157 / 324]]),
)

MERGED = (
    # Keys d1, d2, e1, e2. y1 = (1,0) + ½(1,0) + ½(3,−3) = (3,−1.5), 4.5. Own (1.5,0): 4.5 − ‖(1.5,−1.5)‖ = 1.5; e1
    # (1.5,−1.5): 4.5 − ‖(1.5,0)‖ = 3. y2 = (0,2) + ¼(1,0) + ¼(0,2) + ½(−1.5,1.5) = (−.5,3.25), 3.75. d1 (.25,0):
    # 3.75 − 4 = −.25, which is 0; own (0,2.5): 3.75 − ‖(−.5,.75)‖ = 2.5; e2 (−.75,.75): 3.75 − ‖(.25,2.5)‖ = 1.
    #                                                                  C = [[1/3, 0, 2/3, 0], [0, 5/7, 0, 2/7]]
    Hand(
        ((0.5, 0.0, 0.5, 0.0), (0.25, 0.25, 0.0, 0.5)),
        ((1.0, 0.0), (0.0, 2.0), *FINAL),
        ((1.0, 0.0), (0.0, 2.0)),
    ),
    # y1 = (3,−1.5) + (−1.5,1.5) = (1.5,0), 1.5. Own: 1.5 − ‖(−1.5,1.5)‖ = −1.5; e2: 1.5 − ‖(3,−1.5)‖ = −3: all 0, undefined.
    # y2 = (−.5,3.25) + ½(3,−1.5) + ½(3,−3) = (2.5,1), 3.5. d1 (1.5,−.75): 3.5 − ‖(1,1.75)‖ = .75; own (−.5,3.25):
    # 3.5 − ‖(3,−2.25)‖ = −1.75; e1 (1.5,−1.5): 3.5 − ‖(1,2.5)‖ = 0.                       C = [[–], [1, 0, 0, 0]]
    Hand(
        ((0.0, 0.0, 0.0, 1.0), (0.5, 0.0, 0.5, 0.0)),
        ((3.0, -1.5), (-0.5, 3.25), *FINAL),
        ((3.0, -1.5), (-0.5, 3.25)),
    ),
)
MERGED_ROLLOUT = (
    # 2/3·(3/8, 5/8) and 2/7·(3/8, 5/8) of the encoder.
    numpy.array([[1 / 3, 0, 1 / 4, 5 / 12], [0, 5 / 7, 3 / 28, 5 / 28]]),
    # Row 2 is what d1's was below.
    numpy.array([[math.nan] * 4, [1 / 3, 0, 1 / 4, 5 / 12]]),
)
#: Sums of a few numbers, each rounded once.
ROUNDINGS = 8 * numpy.finfo(numpy.float64).eps


def same(found: numpy.ndarray, expected: numpy.ndarray) -> None:
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDINGS)


def test_the_independent_implementation_by_hand() -> None:
    encoder = [alti.own_block(layer.reference) for layer in ENCODER]
    same(encoder[0], numpy.array([[3 / 4, 1 / 4], [0, 1]]))
    same(encoder[1], numpy.full((2, 2), 1 / 2))
    separate = [(alti.own_block(own.reference), alti.cross_block(cross.reference)) for own, cross in SEPARATE]
    same(separate[0][0], numpy.array([[1, 0], [1 / 7, 6 / 7]]))
    same(separate[0][1], numpy.array([[1, 0, 0], [5 / 9, 0, 4 / 9]]))
    same(separate[1][0], numpy.array([[math.nan] * 2, [4 / 15, 11 / 15]]))
    same(separate[1][1], numpy.array([[0, 1, 0], [1 / 3, 0, 2 / 3]]))
    merged = [(alti.own_block(layer.reference),) for layer in MERGED]
    same(merged[0][0], numpy.array([[1 / 3, 0, 2 / 3, 0], [0, 5 / 7, 0, 2 / 7]]))
    same(merged[1][0], numpy.array([[math.nan] * 4, [1, 0, 0, 0]]))
    for decoder, expected in ((separate, SEPARATE_ROLLOUT), (merged, MERGED_ROLLOUT)):
        of_encoder, of_decoder = alti.rolled_out(encoder, decoder)
        same(of_encoder[-1], ENCODER_ROLLOUT)
        for found, wanted in zip(of_decoder, expected, strict=True):
            same(found, wanted)


def encoder_rollout() -> numpy.ndarray:
    below = numpy.eye(2)
    for layer in ENCODER:
        below = layer.mixed(below)
    return below


def of_encoder(rollout: numpy.ndarray) -> numpy.ndarray:
    """Rows of encoder states over the columns d1, d2, e1, e2."""
    return numpy.concatenate([numpy.zeros((2, 2)), rollout], axis=1)


def test_contributions_and_rollout_by_hand() -> None:
    memory = encoder_rollout()
    same(memory, ENCODER_ROLLOUT)
    below = numpy.eye(2, 4)
    for (own, cross), expected in zip(SEPARATE, SEPARATE_ROLLOUT, strict=True):
        below = cross.mixed(of_encoder(memory), own.mixed(below))
        same(below, expected)
    below = numpy.eye(2, 4)
    for layer, expected in zip(MERGED, MERGED_ROLLOUT, strict=True):
        below = layer.mixed(numpy.concatenate([below, of_encoder(memory)]))
        same(below, expected)


# Every family.

Models = Callable[[str], LoadedModel]
Oracle = Callable[[str], PreTrainedModel]
Trials = dict[str, TokenizedTrial]
#: By what it is of: stack, layer, quantity.
Kind = tuple[str, int, str]

ALTI = Probing((Alti(), AltiInLayer()), encoder=True)
#: One of every kind of norm and block first; the others are kin of them.
FAMILIES = [
    *("t5gemma2", "t5gemma", "t5", "bart", "mbart", "marian", "pegasus"),
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("t5-gated", "mt5", "umt5")),
]
KINDS = ("t5gemma2", "t5gemma", "t5", "bart", "mbart")
LAST = tiny_models.DECODER_LAYERS - 1


def expected(
    model: PreTrainedModel, trial: TokenizedTrial, rows: str = "predicting", **options: Any
) -> dict[Kind, dict[str, float]]:
    """Contributions by role, means over the rows, as the independent implementation has them."""
    found, weights = reference(model, trial, **options)
    document = places(trial.encoder_roles, "document")
    chosen = list(trial.answer_rows(rows))
    both = (*trial.decoder_roles, *trial.encoder_roles)
    by_kind: dict[Kind, dict[str, float]] = {}
    for layer, (rolled, within_layer) in enumerate(zip(found.encoder_rollout, found.encoder, strict=True)):
        by_kind["encoder", layer, "alti"] = by_role(rolled[document], trial.encoder_roles)
        by_kind["encoder", layer, "alti_in_layer"] = by_role(within_layer[document], trial.encoder_roles)
    for layer, (rolled, blocks) in enumerate(zip(found.decoder_rollout, found.decoder, strict=True)):
        whole = blocks[0]
        if not weights.merged:
            whole = numpy.concatenate([blocks[1][:, :1] * blocks[0], blocks[1][:, 1:]], axis=1)
        by_kind["decoder", layer, "alti"] = by_role(rolled[chosen], both)
        by_kind["decoder", layer, "alti_in_layer"] = by_role(whole[chosen], both)
    return by_kind


def reference(
    model: PreTrainedModel, trial: TokenizedTrial, **options: Any
) -> tuple[alti.Alti, eager.Weights]:
    first = trial.decoder_shift
    return alti.alti(
        model,
        encoder_ids=trial.encoder_ids,
        decoder_ids=trial.decoder_ids,
        visible=trial.visible,
        decoder_position_ids=list(range(first, first + len(trial.decoder_ids))),
        **options,
    )


def by_role(rows: numpy.ndarray, roles: Sequence[str]) -> dict[str, float]:
    return {role: float(rows[:, places(roles, role)].sum(axis=1).mean()) for role in dict.fromkeys(roles)}


def of_trial(found: Capture, trial: int) -> dict[Kind, dict[str, float]]:
    """The same numbers of a capture; those of roles without positions are 0 and left out."""
    by_kind: dict[Kind, dict[str, float]] = {}
    for observation in found.observations:
        for name, values in observation.values.items():
            own = dict(zip(observation.categories, values[trial, 0].tolist(), strict=True))
            by_kind[observation.site.stack, observation.site.layer, name] = own
    return by_kind


def assert_parity(
    found: Mapping[Kind, Mapping[str, float]],
    narrow: Mapping[Kind, Mapping[str, float]],
    wide: Mapping[Kind, Mapping[str, float]],
) -> None:
    """Every number is within a multiple of what the independent float32 deviates from its float64."""
    assert found.keys() == wide.keys()
    for kind, truth in wide.items():
        roles = list(truth)
        theirs = [truth[role] for role in roles]
        of = 1.0 if numpy.isnan(theirs).any() else unit([narrow[kind][role] for role in roles], theirs)
        within([found[kind][role] for role in roles], theirs, of=of, what=kind)
        assert all(value == 0 or role in truth or math.isnan(value) for role, value in found[kind].items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mixed_batch_equals_the_papers_equations_one_example_at_a_time(
    family: str, loaded: Models, oracle: Oracle, truth: Oracle, trials: Trials
) -> None:
    """Rollouts and single layers of both stacks, for every kind of trial in one padded batch; packed where that is done."""
    model = loaded(family)
    found = capture(model, batch_of(list(trials.values()), pack=model.family.packs), ALTI)
    own = "merged" if model.family.merged else "joint"
    assert {(one.site.stack, one.site.block) for one in found.observations} == {
        ("encoder", "self"),
        ("decoder", own),
    }
    for index, trial in enumerate(trials.values()):
        narrow, wide = (expected(one(family), trial) for one in (oracle, truth))
        assert_parity(of_trial(found, index), narrow, wide)


@pytest.mark.parametrize("family", KINDS)
def test_rows_that_hold_the_answer(
    family: str, loaded: Models, oracle: Oracle, truth: Oracle, trials: Trials
) -> None:
    trial = trials["prefix visible"]
    found = capture(loaded(family), batch_of([trial], rows="holding"), ALTI)
    narrow, wide = (expected(one(family), trial, "holding") for one in (oracle, truth))
    assert_parity(of_trial(found, 0), narrow, wide)


@pytest.mark.parametrize("family", KINDS)
def test_contributions_of_all_roles_are_the_whole(family: str, loaded: Models, trials: Trials) -> None:
    found = capture(loaded(family), batch_of(list(trials.values())), ALTI)
    for index in range(len(trials)):
        for own in of_trial(found, index).values():
            assert abs(sum(own.values()) - 1) < 1e-12
            assert min(own.values()) >= 0


@pytest.mark.parametrize("family", KINDS)
def test_a_hidden_prefix_comes_through_the_document(family: str, loaded: Models, trials: Trials) -> None:
    """No row sees it, and yet it contributes: the encoder has put it into the document's states."""
    found = of_trial(capture(loaded(family), batch_of([trials["prefix hidden"]]), ALTI), 0)
    assert found["decoder", 0, "alti_in_layer"]["prefix"] == 0
    assert found["decoder", 0, "alti"]["prefix"] > 0.01


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
def test_blocks_bound_the_memory_and_change_nothing(
    family: str, loaded: Models, trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = loaded(family), batch_of(list(trials.values()))
    whole = capture(model, batch, ALTI)
    sizes: list[int] = []
    nearer = mixing._nearer

    rooms: list[set[int]] = []
    contributions = mixing.contributions

    def spied(parts: torch.Tensor, total: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        sizes.append(parts.numel())
        if parts.dim() == 3:
            rooms[-1].add(parts.data_ptr())
        return nearer(parts, total, length)

    def counted(*given: Any) -> torch.Tensor:
        rooms.append(set())
        return contributions(*given)

    monkeypatch.setattr(mixing, "_nearer", spied)
    monkeypatch.setattr(mixing_reading, "contributions", counted)
    monkeypatch.setattr(mixing, "BLOCK_VECTORS", 3000)
    monkeypatch.setattr(mixing_reading, "ROWS", 9)
    small = capture(model, batch, ALTI)
    assert max(sizes) <= 3000
    assert max(sizes) > 1500
    # Blocks of one call share their room: the heap is asked once.
    assert len(sizes) > 2 * len(rooms)
    assert max(map(len, rooms)) == 1
    for index in range(len(trials)):
        one, other = of_trial(whole, index), of_trial(small, index)
        for kind, values in one.items():
            numpy.testing.assert_allclose(list(values.values()), list(other[kind].values()), atol=1e-5)


def test_layers_choose_what_is_reported_and_not_what_is_followed(loaded: Models, trials: Trials) -> None:
    model, batch = loaded("t5gemma2"), batch_of(list(trials.values()))
    whole = of_trial(capture(model, batch, ALTI), 0)
    some = of_trial(capture(model, batch, replace(ALTI, encoder=False, layers=frozenset({1, 4}))), 0)
    assert some.keys() == {("decoder", layer, name) for layer in (1, 4) for name in ("alti", "alti_in_layer")}
    assert all(whole[kind] == values for kind, values in some.items())


# Edits.

#: Layer, rows and heads of edits that some rows and heads escape.
LAYER, HEADS = 1, (0, 2, 3)
PATHS = {family: hooks.PATHS[family if family in hooks.PATHS else "bart"] for family in KINDS}


def document_block(model: LoadedModel) -> str:
    """What the reference calls the decoder's block that sees the document."""
    return "self" if model.family.merged else "cross"


def edited(
    model: PreTrainedModel, family: str, trial: TokenizedTrial, block: str, *, renormalise: bool
) -> dict[Kind, dict[str, float]]:
    """The numbers where the rows that predict take nothing of the document in some heads of a layer.

    A layer's weights do not depend on what is changed in it: they are computed, changed, and the output is moved by what
    that makes of it.
    """
    found, weights = reference(model, trial)
    sublayer = found.sublayers[LAYER, block]
    keys = (*trial.decoder_roles, *trial.encoder_roles) if weights.merged else trial.encoder_roles
    changed = sublayer.weights.copy()
    rows = list(trial.answer_rows("predicting"))
    for head in HEADS:
        own = changed[head, rows]
        own[:, places(keys, "document")] = 0
        changed[head, rows] = own / own.sum(axis=1, keepdims=True) if renormalise else own
    moved = numpy.einsum("htk,hkd->td", changed - sublayer.weights, sublayer.transformed)
    paths = PATHS[family]
    attention = paths.self_attention if block == "self" else paths.cross_attention
    path = f"{paths.decoder}.{LAYER}.{attention}.{paths.output}"
    with hooks.changed_outputs(model, {path: lambda output: output + torch.tensor(moved)}):
        return expected(model, trial, changed={(LAYER, block): changed})


@pytest.mark.parametrize("renormalise", [True, False], ids=["knockout", "values zeroed"])
@pytest.mark.parametrize("family", KINDS)
def test_edits_of_calls_are_in_force(
    family: str, renormalise: bool, loaded: Models, oracle: Oracle, truth: Oracle, trials: Trials
) -> None:
    """Hidden keys, and twins of keys of which some rows and heads see one without values."""
    model, trial = loaded(family), trials["prefix visible"]
    kind = HideKeys if renormalise else ZeroValues
    edit: Edit = kind(
        frozenset({"document"}),
        rows=frozenset({"predicting"}),
        layers=frozenset({LAYER}),
        heads=frozenset(HEADS),
    )
    found = of_trial(capture(model, batch_of([trial]), ALTI, (edit,)), 0)
    block = document_block(model)
    narrow, wide = (
        edited(own(family), family, trial, block, renormalise=renormalise) for own in (oracle, truth)
    )
    assert_parity(found, narrow, wide)
    plain = expected(truth(family), trial)
    kinds: list[Kind] = [("decoder", LAYER, "alti_in_layer"), ("decoder", LAST, "alti")]
    for where in kinds:
        assert abs(found[where]["document"] - plain[where]["document"]) > 1e-3


@pytest.mark.parametrize("family", KINDS)
def test_a_removed_sublayer_leaves_the_residual(
    family: str, loaded: Models, oracle: Oracle, truth: Oracle, trials: Trials
) -> None:
    """What keys would have given is measured against the stream as it is, without it."""
    model, trial = loaded(family), trials["prefix visible"]
    paths = PATHS[family]
    attention = paths.self_attention if model.family.merged else paths.cross_attention
    path = f"{paths.decoder}.{LAYER}.{attention}.{paths.output}"
    edit = RemoveOutput("merged" if model.family.merged else "cross", layers=frozenset({LAYER}))
    found = of_trial(capture(model, batch_of([trial]), ALTI, (edit,)), 0)
    with_hook = []
    for own in (oracle, truth):
        with hooks.changed_outputs(own(family), {path: torch.zeros_like}):
            with_hook.append(expected(own(family), trial))
    assert_parity(found, *with_hook)


@pytest.mark.parametrize("family", KINDS)
def test_states_of_another_trial_are_of_no_token_of_this_one(
    family: str, loaded: Models, oracle: Oracle, truth: Oracle
) -> None:
    """Undefined in what reads them, defined in what does not, and within the layer in either."""
    model = loaded(family)
    prompt = {"prompt": "query"}
    donor = tokenized(model, 3, {"prefix": "oracle", **prompt})
    path = f"{PATHS[family].encoder}.{LAYER}"
    for roles, hidden in (("document", "none"), ("eos", "eos")):
        levels = {**prompt, "hidden": hidden, "state_patching": f"{roles}<-prefix=oracle@{LAYER}"}
        trial = tokenized(model, 3, levels)
        where = places(trial.encoder_roles, roles)
        pair = []
        for own in (oracle(family), truth(family)):
            taken = hooks.layer_states(own, donor.encoder_ids, path)[places(donor.encoder_roles, roles)]

            def change(output: torch.Tensor, where: Any = where, taken: Any = taken) -> torch.Tensor:
                output = output.clone()
                output[0, where] = taken
                return output

            with hooks.changed_outputs(own, {path: change}):
                pair.append(expected(own, trial, foreign={("encoder", LAYER): where}))
        found = of_trial(captured(model, [trial, donor], ALTI), 0)
        assert_parity(found, *pair)
        assert math.isnan(found["decoder", LAST, "alti"]["document"])
        assert not math.isnan(found["encoder", LAYER, "alti"]["document"])
        assert not math.isnan(found["decoder", LAST, "alti_in_layer"]["document"])


@pytest.mark.parametrize("family", KINDS)
def test_final_states_of_another_trial_that_no_row_sees_undo_nothing(
    family: str, loaded: Models, oracle: Oracle, truth: Oracle
) -> None:
    model = loaded(family)
    levels = {"prompt": "query", "hidden": "eos", "state_patching": "eos<-prefix=oracle@final"}
    trial, plain = tokenized(model, 3, levels), tokenized(model, 3, {"prompt": "query", "hidden": "eos"})
    found = of_trial(captured(model, [trial], ALTI), 0)
    assert_parity(found, *(expected(own(family), plain) for own in (oracle, truth)))
    seen = tokenized(model, 3, {**levels, "hidden": "none"})
    assert math.isnan(of_trial(captured(model, [seen], ALTI), 0)["decoder", 0, "alti"]["document"])


def test_a_direction_that_is_added_is_no_other_trial_s(
    tmp_path: Path, loaded: Models, oracle: Oracle, truth: Oracle
) -> None:
    """Like a bias, it has no column, and the rest of the state stays what it was."""
    vector = numpy.linspace(-1, 1, tiny_models.HIDDEN, dtype=numpy.float32)
    numpy.save(tmp_path / "direction.npy", vector)
    model = loaded("t5gemma2")
    trial = tokenized(model, 3, {"steering": f"document:0.7:{tmp_path}/direction.npy@{LAYER}"})
    where = places(trial.encoder_roles, "document")

    def change(output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[0, where] += 0.7 * torch.tensor(vector.astype(numpy.float64)).to(output.dtype)
        return output

    pair = []
    for own in (oracle("t5gemma2"), truth("t5gemma2")):
        with hooks.changed_outputs(own, {f"{PATHS['t5gemma2'].encoder}.{LAYER}": change}):
            pair.append(expected(own, trial))
    assert_parity(of_trial(captured(model, [trial], ALTI), 0), *pair)
