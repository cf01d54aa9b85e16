"""Contributions: the probes of what rows take from each role, against vectors written out, and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy
import pytest
import torch
from einops import rearrange

from budgetlens.model.attention import AttentionCall, Site
from budgetlens.model.capture import Probing, capture
from budgetlens.model.declaration import Declaration
from budgetlens.model.edits import HideKeys, RemoveOutput, ZeroValues
from budgetlens.model.observation import probe
from budgetlens.model.roles import ROLE_CODES
from budgetlens.model.states import ZeroStates
from budgetlens.model.sublayer import Mixture, ProjectedValues, Sublayer
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.statistics.quantities import Quantity
from probes.logit import Logit
from probes.norm import Norm
from probes.projection import Projection
from probes.weighted import Weighted
from tests.conftest import SHAPES, batch_of
from tests.precision import Key, numbers, unit, within
from tests.reference import contributions, tiny_models
from tests.reference.contributions import Edits, Numbers

Models = Callable[[str], Any]
#: The four as one reading, of both stacks.
FOUR = Probing((Weighted(), Norm(), Projection(), Logit()), encoder=True)
#: What the reference has besides: what parts are to sum to.
SUMS = ("output", "sum", "head")
SHOWN = ("prefix visible", "prefix and BOS hidden", "long decoder, no BOS")
#: One of every way of norming: an RMSNorm of the output, none, and a LayerNorm of the sum.
KINDS = ("t5gemma2", "t5gemma", "t5", "bart", "mbart")
OTHERS = tuple(family for family in tiny_models.FAMILIES if family not in KINDS)
SLOW = [*KINDS, *(pytest.param(family, marks=pytest.mark.slow) for family in OTHERS)]


@dataclass(frozen=True)
class Halved:
    """The output of one sublayer turned round and halved."""

    site: Site

    def matches(self, site: Site) -> bool:
        return site == self.site

    def apply_to_output(self, output: torch.Tensor) -> torch.Tensor:
        return output * -0.5


def blocks(family: str) -> tuple[str, str]:
    """The decoder's blocks that have its own keys and the encoder's."""
    return ("merged", "merged") if family in tiny_models.MERGED else ("self", "cross")


def edits_of(family: str) -> tuple[Any, ...]:
    """Edits of every kind: attention of some rows, values of a head and of some rows, outputs; in both stacks."""
    own, other = blocks(family)
    return (
        HideKeys(frozenset({"document"}), rows=frozenset({"predicting"}), layers=frozenset({1})),
        ZeroValues(frozenset({"document", "prompt"}), layers=frozenset({2}), heads=frozenset({0})),
        ZeroValues(frozenset({"document", "start"}), rows=frozenset({"predicting"}), layers=frozenset({2})),
        RemoveOutput(other, layers=frozenset({0})),
        Halved(Site("decoder", own, 3)),
        HideKeys(frozenset({"prefix"}), stack="encoder", layers=frozenset({0})),
        Halved(Site("encoder", "self", 1)),
    )


def written_out(family: str, trial: TokenizedTrial, heads: int) -> Edits:
    """The same edits as the reference makes them; ``heads`` of the decoder."""
    own, other = blocks(family)
    answer = trial.decoder_roles.count("answer")
    count = len(trial.decoder_ids)
    predicting = torch.zeros(count, 1, dtype=torch.bool)
    predicting[count - answer - 1 : count - 1] = True

    def keys(block: str, *roles: str) -> torch.Tensor:
        named = {
            "merged": (*trial.decoder_roles, *trial.encoder_roles),
            "self": trial.decoder_roles,
            "cross": trial.encoder_roles,
        }[block]
        return torch.tensor([role in roles for role in named])

    first = torch.zeros(heads, 1, 1, dtype=torch.bool)
    first[0] = True
    zeroed = {
        ("decoder", block, 2): (first & keys(block, "document", "prompt"))
        | (predicting & keys(block, "document", "start"))
        for block in {own, other}
    }
    prefix = torch.tensor([role == "prefix" for role in trial.encoder_roles])
    return Edits(
        hidden={
            ("decoder", other, 1): predicting & keys(other, "document"),
            ("encoder", "encoder", 0): prefix[None],
        },
        zeroed=zeroed,
        outputs={
            ("decoder", other, 0): torch.zeros_like,
            ("decoder", own, 3): lambda output: output * -0.5,
            ("encoder", "encoder", 1): lambda output: output * -0.5,
        },
    )


@pytest.fixture(scope="module")
def reference(oracle: Models, truth: Models) -> Callable[..., tuple[Numbers, Numbers]]:
    """The numbers of one trial in float32 and float64, with or without edits."""

    @cache
    def make(family: str, shape: str, edited: str) -> tuple[Numbers, Numbers]:
        trial = SHAPES[shape].trial()
        found = []
        for model in (oracle(family), truth(family)):
            edits = {
                "": Edits(),
                "edits": written_out(family, trial, _decoder_heads(model)),
                "states": Edits(states={2: _without(trial)}),
            }[edited]
            found.append(
                contributions.contributions(
                    model,
                    model.config.model_type,
                    encoder_ids=trial.encoder_ids,
                    encoder_roles=trial.encoder_roles,
                    visible=trial.visible,
                    decoder_ids=trial.decoder_ids,
                    decoder_roles=trial.decoder_roles,
                    answer_length=trial.decoder_roles.count("answer"),
                    edits=edits,
                )
            )
        return found[0], found[1]

    return make


def _decoder_heads(model: Any) -> int:
    sizes = tiny_models.sizes(model)
    return sizes.get("decoder heads", sizes.get("heads", 0))


def _without(trial: TokenizedTrial) -> Callable[[torch.Tensor], torch.Tensor]:
    """States of the answer's positions as zeros."""
    answer = torch.tensor([role == "answer" for role in trial.decoder_roles])
    return lambda states: states.masked_fill(answer[None, :, None], 0.0)


def units(pairs: Sequence[tuple[Numbers, Numbers]]) -> dict[tuple[str, str, int], float]:
    """What float32 deviates from float64 by measure, stack and layer, over some trials."""
    values: dict[tuple[str, str, int], tuple[list[float], list[float]]] = {}
    for narrow, wide in pairs:
        assert narrow.keys() == wide.keys()
        for key, value in wide.items():
            own = values.setdefault((key[0], key[1], key[3]), ([], []))
            own[0].append(narrow[key])
            own[1].append(value)
    # Of an output that was taken out, there is no projection at all.
    return {kind: 1.0 if numpy.isnan(own[1]).all() else unit(*own) for kind, own in values.items()}


def named(found: Mapping[Key, float]) -> dict[tuple[str, str, str, int, int, str], float]:
    """Our numbers under the reference's keys."""
    return {(quantity, *rest): value for (_, quantity, *rest), value in found.items()}  # type: ignore[misc]


def compared(ours: Mapping[Key, float], wide: Numbers, of: Mapping[tuple[str, str, int], float]) -> None:
    """Every number of the reference is ours, and what it does not have is exactly 0."""
    found = named(ours)
    expected = {key: value for key, value in wide.items() if key[0] not in SUMS}
    assert not expected.keys() - found.keys(), sorted(map(str, expected.keys() - found.keys()))[:5]
    assert {found[key] for key in found.keys() - expected.keys()} <= {0.0}
    kinds: dict[tuple[str, str, int], list[Any]] = {}
    for key in expected:
        kinds.setdefault((key[0], key[1], key[3]), []).append(key)
    for kind, keys in kinds.items():
        within([found[key] for key in keys], [expected[key] for key in keys], of=of[kind], what=kind)


@pytest.mark.parametrize("edited", [False, True], ids=["plain", "edited"])
@pytest.mark.parametrize("family", SLOW)
def test_numbers_are_those_of_vectors_written_out(
    loaded: Models, reference: Any, family: str, edited: bool
) -> None:
    model = loaded(family)
    trials = [SHAPES[shape].trial() for shape in SHOWN]
    edits = edits_of(family) if edited else ()
    captured = capture(model, batch_of(trials, pack=model.family.packs), FOUR, edits)
    pairs = [reference(family, shape, "edits" if edited else "") for shape in SHOWN]
    of = units(pairs)
    for index, (_, wide) in enumerate(pairs):
        compared(numbers(captured, index), wide, of)


@pytest.mark.parametrize("family", KINDS)
def test_edits_of_states_are_a_part_of_the_logit(loaded: Models, reference: Any, family: str) -> None:
    model = loaded(family)
    shape = "prefix visible"
    trial = SHAPES[shape].trial()
    states = (ZeroStates(roles=frozenset({"answer"}), stack="decoder", layer=2),)
    edited = replace(trial, trial=replace(trial.trial, states=states), donors=((),))
    captured = capture(model, batch_of([edited, SHAPES["bare"].trial()]), FOUR)
    pair = reference(family, shape, "states")
    compared(numbers(captured, 0), pair[1], units([pair]))
    parts = [key for key in pair[1] if key[0] == "logit" and key[2:4] == ("rest", 2) and key[-1] == "edit"]
    assert any(abs(pair[1][key]) > 0.01 for key in parts)


@pytest.mark.parametrize("edited", [False, True], ids=["plain", "edited"])
@pytest.mark.parametrize("family", SLOW)
def test_parts_sum_to_what_they_are_parts_of(
    loaded: Models, reference: Any, family: str, edited: bool
) -> None:
    """Projections sum to 1, weighted attention and norms too, logit parts to the head's output before a soft cap."""
    model = loaded(family)
    trials = [SHAPES[shape].trial() for shape in SHOWN]
    captured = capture(
        model, batch_of(trials, pack=model.family.packs), FOUR, edits_of(family) if edited else ()
    )
    pairs = [reference(family, shape, "edits" if edited else "") for shape in SHOWN]
    own = [summed(named(numbers(captured, index))) for index in range(len(SHOWN))]
    theirs = [tuple(summed(numbers) for numbers in pair) for pair in pairs]
    for measure in ("weighted", "norm", "projection", "logit", "margin"):
        keys = [key for key in own[0] if key[0] == measure]
        narrow, wide, ours = (
            [one[key] for one in table for key in keys]
            for table in ([pair[0] for pair in theirs], [pair[1] for pair in theirs], own)
        )
        whole = (
            [pair[1]["head", "decoder", "", -1, -1, measure] for pair in pairs]
            if measure in ("logit", "margin")
            else numpy.where(numpy.isnan(wide), numpy.nan, 1.0)
        )
        assert len(whole) == len(ours) > 0
        within(wide, whole, of=unit(narrow, wide), what="the reference itself")
        within(ours, whole, of=unit(narrow, wide), what=measure)


def summed(found: Mapping[tuple[str, str, str, int, int, str], float]) -> dict[Any, float]:
    """Sums over parts: of logits over all sites and heads, else of every site and head."""
    sums: dict[Any, float] = {}
    for (measure, *place, _), value in found.items():
        if measure in SUMS:
            continue
        key = (measure,) if measure in ("logit", "margin") else (measure, *place)
        sums[key] = sums.get(key, 0.0) + value
    return sums


@probe("vectors")
@dataclass(frozen=True)
class Vectors:
    """Every entry of the sum of a sublayer's parts behind its norm, as a category."""

    declares = Declaration(
        title="Vectors",
        quantities=(Quantity("output", "entry", "its own"),),
        axis="entry",
        averages_heads=True,
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        return () if site.block == "joint" else tuple(map(str, range(tiny_models.HIDDEN)))

    def observe_sublayers(self, sublayers: Sequence[Sublayer]) -> Mapping[str, torch.Tensor]:
        (own,) = sublayers
        mixed = own.mixture.by_role
        total = own.passed(torch.einsum("brhud,hdw->brw", mixed, own.mixture.values.weight))
        for part in (own.bias, own.edit):
            if part is not None:
                total = total + own.passed(part.expand_as(own.output))
        if own.shift is not None:
            total = total + own.shift
        return {"output": rearrange(total, "batch row entry -> batch 1 row entry")}


@pytest.mark.parametrize("edited", [False, True], ids=["plain", "edited"])
@pytest.mark.parametrize("family", SLOW)
def test_parts_sum_to_the_hooked_output(loaded: Models, reference: Any, family: str, edited: bool) -> None:
    """Roles, bias, edit and shift are, entry by entry, what hooks see of the sublayer behind its norm."""
    model = loaded(family)
    captured = capture(
        model,
        batch_of([SHAPES[shape].trial() for shape in SHOWN], pack=model.family.packs),
        Probing((Vectors(),), encoder=True),
        edits_of(family) if edited else (),
    )
    pairs = [reference(family, shape, "edits" if edited else "") for shape in SHOWN]
    ours = [named(numbers(captured, index)) for index in range(len(SHOWN))]
    hooked = [{key[1:]: value for key, value in wide.items() if key[0] == "output"} for _, wide in pairs]
    for site in {key[:3] for key in hooked[0]}:
        entries = [key for key in hooked[0] if key[:3] == site]
        wide = [own[key] for own in hooked for key in entries]
        # An output of 0 is a sum of parts that cancel: what its own sum loses in float32 is the unit.
        narrow = [own["sum", *key] for own, _ in pairs for key in entries]
        found = [own["output", *key] for own in ours for key in entries]
        within(found, wide, of=unit(narrow, wide), what=site)


# Closed forms, on calls made by hand.


def sublayer(
    values: torch.Tensor,
    projection: torch.nn.Linear,
    roles: Sequence[str],
    *,
    query: torch.Tensor | None = None,
    key: torch.Tensor | None = None,
) -> Sublayer:
    """One row that attends to all keys (``values``: head × key × width), alike unless a query and keys are given."""
    heads, keys, width = values.shape
    call = AttentionCall(
        site=Site("decoder", "cross", 0),
        query=torch.zeros(1, heads, 1, width) if query is None else query,
        key=torch.zeros(1, heads, keys, width) if key is None else key,
        value=values[None],
        mask=None,
        bias=None,
        scaling=1.0,
        softcap=None,
        causal=False,
        row_roles=torch.full((1, 1), ROLE_CODES["answer"]),
        key_roles=torch.tensor([[ROLE_CODES[role] for role in roles]]),
        projection=projection,
    )
    ((_, attention),) = call.attention_rows(torch.zeros(1, 1, dtype=torch.long))
    plain = ProjectedValues(call)
    mixed = torch.einsum("bhrk,bhkd->brhd", attention.probabilities, call.value)
    output = projection(rearrange(mixed, "batch row head own -> batch row (head own)"))
    return Sublayer(Mixture(attention, plain), plain, torch.zeros_like(output), output, output, (), False)


def read(own: Sublayer) -> dict[str, dict[str, float]]:
    """The three measures of a sublayer by role; of the first head."""
    found = {}
    for each in (Weighted(), Norm(), Projection()):
        (values,) = each.observe_sublayers([own]).values()
        found[each.declares.quantities[0].name] = dict(
            zip(each.categories(own.site), values[0, 0, 0].tolist(), strict=True)
        )
    return found


def identity(width: int) -> torch.nn.Linear:
    """A projection that changes nothing."""
    linear = torch.nn.Linear(width, width, bias=False)
    torch.nn.init.eye_(linear.weight)
    return linear.requires_grad_(False)


def test_one_key_gives_everything() -> None:
    found = read(sublayer(torch.randn(2, 1, 3), torch.nn.Linear(6, 5, bias=False), ["document"]))
    for measure in found.values():
        assert measure["document"] == pytest.approx(1)
        assert sum(abs(value) for role, value in measure.items() if role != "document") == 0


def test_one_head_has_the_norms_of_its_weighted_attention() -> None:
    values, roles = torch.randn(1, 6, 4), ["bos", "prefix", "document", "document", "document", "eos"]
    keys, query = torch.randn(1, 1, 6, 4), torch.randn(1, 1, 1, 4)
    found = read(sublayer(values, torch.nn.Linear(4, 7), roles, query=query, key=keys))
    for role in ("bos", "prefix", "separator", "document", "eos"):
        assert found["norm"][role] == pytest.approx(found["weighted"][role], rel=1e-5)
    assert found["weighted"]["document"] > 0.1


def test_uniform_attention_behind_the_identity() -> None:
    """Orthogonal values of lengths 1, 2 and 3: lengths go by their size, projections by their squares."""
    values = torch.diag(torch.tensor([1.0, 2.0, 3.0]))[None]
    found = read(sublayer(values, identity(3), ["bos", "prefix", "document"]))
    for measure, shares in (("weighted", (1, 2, 3)), ("norm", (1, 2, 3)), ("projection", (1, 4, 9))):
        for role, share in zip(("bos", "prefix", "document"), shares, strict=True):
            assert found[measure][role] == pytest.approx(share / sum(shares))


def test_heads_add_as_vectors() -> None:
    """Two heads side by side behind the identity: lengths are those of a right triangle; against each other they cancel."""
    values = torch.tensor([[[3.0], [6.0]], [[4.0], [8.0]]])
    found = read(sublayer(values, identity(2), ["bos", "document"]))
    assert found["norm"]["document"] == pytest.approx(10 / 15)
    against = torch.nn.Linear(2, 2, bias=False).requires_grad_(False)
    against.weight[:] = torch.tensor([[1.0, -1.0], [0.0, 1.0]])
    values = torch.tensor([[[2.0], [1.0]], [[2.0], [0.0]]])
    found = read(sublayer(values, against, ["bos", "document"]))
    # Half of (0, 2) and half of (1, 0): the first heads of BOS cancel, but for what the second adds by itself.
    assert found["norm"] == pytest.approx(
        {**dict.fromkeys(found["norm"], 0.0), "bos": 2 / 3, "document": 1 / 3}
    )


def test_what_points_against_the_output_is_below_zero() -> None:
    """Values −1 and 3 under uniform attention sum to an output of 1: parts of −½ and 1½."""
    found = read(sublayer(torch.tensor([[[-1.0], [3.0]]]), identity(1), ["bos", "document"]))
    assert found["projection"]["bos"] == pytest.approx(-0.5)
    assert found["projection"]["document"] == pytest.approx(1.5)


def test_nothing_taken_is_undefined() -> None:
    found = read(sublayer(torch.zeros(2, 3, 2), identity(4), ["bos", "document", "eos"]))
    assert all(math.isnan(value) for measure in found.values() for value in measure.values())


def test_the_bias_is_a_part_of_its_own() -> None:
    linear = identity(1)
    biased = torch.nn.Linear(1, 1).requires_grad_(False)
    biased.weight[:], biased.bias[:] = linear.weight, 3.0
    found = read(sublayer(torch.tensor([[[1.0], [1.0]]]), biased, ["bos", "document"]))["projection"]
    assert (found["bias"], found["bos"], found["document"]) == pytest.approx((0.75, 0.125, 0.125))
