"""The independent reference itself, against theorems, closed forms and attention written out by hand."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy
import pytest
import torch
from transformers import PreTrainedModel

from tests.reference import eager, tiny_models

FAMILIES = tiny_models.FAMILIES
SEPARATE = tuple(family for family in FAMILIES if family not in tiny_models.MERGED)
#: The families by their kind of positions.
ROTARY = ("t5gemma2", "t5gemma")
RELATIVE = ("t5", "t5-gated", "mt5", "umt5")
TABLE = ("bart", "mbart", "marian", "pegasus")

#: A million float64 epsilons of the numbers that are compared here, of which none is above 20; next to nothing of
#: float32's epsilon.
ROUNDING = 5e-9

#: Probabilities of rotated scores. The library keeps the frequencies in float32 also in a model in float64, so that the
#: angle of position 7 may be off by 7 float32 epsilons, and a score by that times its size; it does not depend on
#: kernels otherwise.
ANGLES = 20 * float(numpy.finfo(numpy.float32).eps)


@lru_cache
def model_of(family: str) -> PreTrainedModel:
    return tiny_models.build(family, attention="eager")


@lru_cache
def truth_of(family: str) -> PreTrainedModel:
    """The same model in float64, in which theorems hold to many more digits than any processor rounds away."""
    return eager.double_twin(model_of(family))


@dataclass(frozen=True)
class Input:
    """Random ids with roles: BOS, prefix, separator, document, EOS; start, prompt, answer."""

    encoder_roles: tuple[str, ...] = ("bos", *["prefix"] * 4, "separator", *["document"] * 17, "eos")
    decoder_roles: tuple[str, ...] = ("start", *["prompt"] * 4, *["answer"] * 3)
    hidden: frozenset[str] = frozenset()
    ids: tuple[list[int], list[int]] = field(init=False)

    def __post_init__(self) -> None:
        generator = numpy.random.default_rng(11)
        encoder = generator.integers(4, tiny_models.VOCABULARY, len(self.encoder_roles)).tolist()
        decoder = generator.integers(4, tiny_models.VOCABULARY, len(self.decoder_roles)).tolist()
        object.__setattr__(self, "ids", (encoder, decoder))

    @property
    def visible(self) -> list[bool]:
        return [role not in self.hidden for role in self.encoder_roles]

    def weights(self, model: PreTrainedModel, **options: Any) -> eager.Weights:
        encoder, decoder = self.ids
        return eager.attention_weights(
            model, encoder_ids=encoder, decoder_ids=decoder, **{"visible": self.visible, **options}
        )

    def measure(self, model: PreTrainedModel, **options: Any) -> eager.Measurement:
        encoder, decoder = self.ids
        arguments: dict[str, Any] = {
            "encoder_ids": encoder,
            "encoder_roles": self.encoder_roles,
            "visible": self.visible,
            "decoder_ids": decoder,
            "decoder_roles": self.decoder_roles,
            "answer_length": self.decoder_roles.count("answer"),
        }
        return eager.measure(model, **{**arguments, **options})


def rows_of(weights: eager.Weights) -> list[numpy.ndarray]:
    """Every softmax of the model, (head, row, key), its rows complete."""
    if weights.merged:
        decoder = [numpy.concatenate(pair, axis=2) for pair in zip(weights.own, weights.cross, strict=True)]
    else:
        decoder = weights.own + weights.cross
    return weights.encoder + decoder


def assert_same(one: eager.Measurement, other: eager.Measurement) -> None:
    numpy.testing.assert_allclose(one.nll, other.nll, atol=ROUNDING, rtol=0)
    assert one.budgets.keys() == other.budgets.keys()
    assert one.entropies.keys() == other.entropies.keys()
    for key, share in one.budgets.items():
        assert share == pytest.approx(other.budgets[key], abs=ROUNDING), key
    for entropy_key, pair in one.entropies.items():
        numpy.testing.assert_allclose(
            pair, other.entropies[entropy_key], atol=ROUNDING, rtol=0, err_msg=str(entropy_key)
        )


# The tiny models.


@pytest.mark.parametrize("family", FAMILIES)
def test_sizes_are_distinct_and_windows_are_short(family: str) -> None:
    values = list(tiny_models.sizes(model_of(family)).values())
    assert len(set(values)) == len(values)
    document = Input().encoder_roles.count("document")
    assert document > tiny_models.ENCODER_WINDOW
    assert len(Input().decoder_roles) > tiny_models.DECODER_WINDOW


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_far_from_uniform_and_from_one_hot(family: str) -> None:
    for layer, weights in enumerate(rows_of(Input().weights(model_of(family)))):
        # Of the rows that have a choice: relative to a uniform row over the keys that the row can see.
        seen = (weights > 0).sum(axis=2)
        entropy = -(weights * numpy.log(numpy.where(weights > 0, weights, 1.0))).sum(axis=2)
        choice = seen >= 3
        relative = (entropy[choice] / numpy.log(seen[choice])).mean()
        times_uniform = (weights.max(axis=2)[choice] * seen[choice]).mean()
        assert 0.1 < relative < 0.85, (family, layer, relative)
        assert times_uniform > 2, (family, layer, times_uniform)


@pytest.mark.parametrize("family", FAMILIES)
def test_seeds_decide_the_weights(family: str) -> None:
    state = torch.random.get_rng_state()
    same, other = tiny_models.build(family, seed=0), tiny_models.build(family, seed=1)
    assert torch.equal(state, torch.random.get_rng_state())
    for name, tensor in model_of(family).state_dict().items():
        assert torch.equal(tensor, same.state_dict()[name]), name
    assert not torch.equal(Input().weights(same).logits, Input().weights(other).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_models_are_float32_and_in_evaluation_mode(family: str) -> None:
    model = tiny_models.build(family)
    assert not model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    expected = "eager" if family in tiny_models.EAGER_ONLY else "sdpa"
    assert model.config._attn_implementation == expected


def test_t5_v1_1_has_a_head_of_its_own_that_survives_the_copy() -> None:
    model = tiny_models.build("t5-gated")
    twin = eager.eager_twin(model)
    weights, copied = model.state_dict(), twin.state_dict()
    assert not torch.equal(weights["lm_head.weight"], weights["shared.weight"])
    for name in ("lm_head.weight", "shared.weight"):
        assert torch.equal(copied[name], weights[name])
    assert not model.config.scale_decoder_outputs


def test_unknown_families_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown family 'gpt2'; known: \['t5gemma2'"):
        tiny_models.build("gpt2")


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - tiny_models.EAGER_ONLY))
def test_the_eager_twin_is_the_model(family: str) -> None:
    """The copy from an SDPA model agrees with the model as it is built for eager attention, and with SDPA in float64."""
    model = tiny_models.build(family, attention="sdpa")
    twin = eager.eager_twin(model)
    assert model.config._attn_implementation == "sdpa"
    encoder, decoder = Input().ids
    with torch.no_grad(), eager.own_precision(model.double()):
        fast = model(
            input_ids=torch.tensor([encoder]),
            attention_mask=torch.ones(1, len(encoder), dtype=torch.long),
            decoder_input_ids=torch.tensor([decoder]),
            decoder_attention_mask=torch.ones(1, len(decoder), dtype=torch.long),
        ).logits[0]
    assert torch.equal(Input().weights(twin).logits, Input().weights(model_of(family)).logits)
    numpy.testing.assert_allclose(Input().weights(truth_of(family)).logits, fast, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("newline", tiny_models.NEWLINES)
@pytest.mark.parametrize(("begin", "end"), [(True, True), (False, True), (True, False), (False, False)])
def test_tokenizer_options(newline: str, begin: bool, end: bool) -> None:
    tokenizer = tiny_models.tokenizer(begin=begin, end=end, newline=newline)
    assert tokenizer.is_fast
    assert len(tokenizer) < tiny_models.VOCABULARY
    whole = tokenizer("who built it\nThe wall")["input_ids"]
    plain = tokenizer("who built it\nThe wall", add_special_tokens=False)["input_ids"]
    assert whole == [tiny_models.BEGIN] * begin + plain + [tiny_models.END] * end
    document = tokenizer("The wall", add_special_tokens=False)["input_ids"]
    breaks = [token for token in tokenizer.convert_ids_to_tokens(plain) if "\n" in token]
    if newline == "kept":
        assert len(breaks) == 1
        assert breaks[0].strip("▁") == "\n"
    elif newline == "folded":
        assert breaks == []
        assert plain == tokenizer("who built it The wall", add_special_tokens=False)["input_ids"]
    else:
        assert breaks == ["\nT"]
    # Where a piece spans the break, the document's ids differ with and without the prefix.
    assert (plain[-len(document) :] == document) is (newline != "merged")


# Theorems that hold for every family.


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_sum_to_one(family: str) -> None:
    weights = Input(hidden=frozenset({"prefix"})).weights(truth_of(family))
    softmaxes = rows_of(weights)
    assert len(softmaxes) == 3 + (5 if weights.merged else 10)
    for softmax in softmaxes:
        numpy.testing.assert_allclose(softmax.sum(axis=2), 1.0, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rows", ["predicting", "holding"])
def test_budgets_are_complete_and_sum_to_one(family: str, rows: str) -> None:
    model = truth_of(family)
    sums: dict[tuple[str, str, int, int], float] = {}
    roles: dict[tuple[str, str], set[str]] = {}
    for (stack, block, layer, head, role), share in Input().measure(model, rows=rows).budgets.items():
        sums[stack, block, layer, head] = sums.get((stack, block, layer, head), 0.0) + share
        roles.setdefault((stack, block), set()).add(role)
    numpy.testing.assert_allclose(list(sums.values()), 1.0, atol=ROUNDING, rtol=0)
    encoder, decoder = set(eager.ENCODER_ROLES), set(eager.DECODER_ROLES)
    if family in tiny_models.MERGED:
        assert roles == {("encoder", "self"): encoder, ("decoder", "merged"): encoder | decoder}
    else:
        assert roles == {
            ("encoder", "self"): encoder,
            ("decoder", "self"): decoder,
            ("decoder", "cross"): encoder,
        }


@pytest.mark.parametrize("family", FAMILIES)
def test_hidden_positions_get_exactly_nothing(family: str) -> None:
    hidden = frozenset({"bos", "prefix", "separator"})
    concealed, shown = Input(hidden=hidden).measure(truth_of(family)), Input().measure(truth_of(family))
    for (stack, block, layer, head, role), share in concealed.budgets.items():
        if stack == "decoder" and role in hidden:
            assert share == 0.0
            assert shown.budgets[stack, block, layer, head, role] > 0.0
        elif stack == "encoder":
            # The encoder has seen everything before anything was hidden from the decoder.
            assert share == shown.budgets[stack, block, layer, head, role]


@pytest.mark.parametrize("family", FAMILIES)
def test_hiding_mass_m_in_the_first_layer_gives_a_over_one_minus_m(family: str) -> None:
    """In the first layer the input is the same, so hiding renormalises: A' = A / (1 - m), row by row.

    The cross attention of separate softmaxes reads the output of the self attention below it, which
    nothing is hidden from: its first layer's input is the same too.
    """
    hidden = Input(hidden=frozenset({"bos", "prefix"}))
    before, after = Input().weights(truth_of(family)), hidden.weights(truth_of(family))
    columns = numpy.array(hidden.visible)
    mass = before.cross[0][:, :, ~columns].sum(axis=2, keepdims=True)
    assert mass.mean() > 0.02
    # Multiplied out: 1 - m is known to a few digits only where nearly all mass is hidden.
    kept = 1 - mass
    numpy.testing.assert_allclose(
        after.cross[0][:, :, columns] * kept, before.cross[0][:, :, columns], atol=ROUNDING, rtol=0
    )
    own = after.own[0] * kept if before.merged else after.own[0]
    numpy.testing.assert_allclose(own, before.own[0], atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_are_causal_and_windows_are_windows(family: str) -> None:
    weights = Input().weights(truth_of(family))
    decoder, encoder = len(Input().decoder_roles), len(Input().encoder_roles)
    back = numpy.arange(decoder)[:, None] - numpy.arange(decoder)[None, :]
    apart = numpy.abs(numpy.arange(encoder)[:, None] - numpy.arange(encoder)[None, :])
    sliding_decoder = {0, 2, 3} if family in ROTARY else set()
    sliding_encoder = {0, 2} if family in ROTARY else set()
    # T5Gemma 2 shares its window between the two sides; T5Gemma reaches the whole window to either side.
    reach = (tiny_models.ENCODER_WINDOW - 1) // 2 if family == "t5gemma2" else tiny_models.ENCODER_WINDOW
    for layer, own in enumerate(weights.own):
        seen = (back >= 0) & ((back < tiny_models.DECODER_WINDOW) | (layer not in sliding_decoder))
        assert ((own > 0) == seen).all(), layer
    for layer, own in enumerate(weights.encoder):
        seen = (apart <= reach) | (layer not in sliding_encoder)
        assert ((own > 0) == seen).all(), layer
    for cross in weights.cross:
        assert (cross > 0).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_later_decoder_tokens_change_no_earlier_row(family: str) -> None:
    encoder, decoder = Input().ids
    changed = [*decoder[:-1], decoder[-1] - 1 if decoder[-1] > 4 else 5]
    one = eager.attention_weights(
        truth_of(family), encoder_ids=encoder, decoder_ids=decoder, visible=Input().visible
    )
    other = eager.attention_weights(
        truth_of(family), encoder_ids=encoder, decoder_ids=changed, visible=Input().visible
    )
    torch.testing.assert_close(one.logits[:-1], other.logits[:-1], atol=ROUNDING, rtol=0)
    assert (one.logits[-1] - other.logits[-1]).abs().max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_likelihood_is_the_library_s_own_loss(family: str) -> None:
    encoder, decoder = Input().ids
    labels = [-100] * len(decoder)
    labels[4:7] = decoder[5:8]
    with torch.no_grad(), eager.own_precision(truth_of(family)):
        loss = truth_of(family)(
            input_ids=torch.tensor([encoder]),
            attention_mask=torch.ones(1, len(encoder), dtype=torch.long),
            decoder_input_ids=torch.tensor([decoder]),
            decoder_attention_mask=torch.ones(1, len(decoder), dtype=torch.long),
            labels=torch.tensor([labels]),
        ).loss
    for rows in ("predicting", "holding"):
        measurement = Input().measure(truth_of(family), rows=rows)
        assert measurement.nll.shape == (3,)
        assert measurement.nll_mean == pytest.approx(loss.item(), abs=ROUNDING)
        assert measurement.nll_sum == pytest.approx(3 * loss.item(), abs=ROUNDING)


# Closed forms: with all queries zero every score is equal.


def flat(family: str) -> PreTrainedModel:
    """The family's model with queries (and T5's position bias) of zero: uniform attention."""
    model = copy.deepcopy(truth_of(family))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("q_proj", ".q.", "relative_attention_bias")):
                parameter.zero_()
    return model


@pytest.mark.parametrize("family", ["t5gemma2", "t5gemma", "t5", "umt5", "bart", "marian"])
def test_uniform_attention_has_closed_form_budgets_and_entropies(family: str) -> None:
    measurement = Input(hidden=frozenset({"separator"})).measure(flat(family))
    # Layer 1 is a full layer. The predicting rows 4, 5 and 6 see 5, 6 and 7 decoder keys: one start, four
    # prompt, and 0, 1 and 2 answer. Of 24 encoder keys 23 are visible, 17 of them document.
    own = numpy.array([5.0, 6.0, 7.0])
    if family in tiny_models.MERGED:
        total = own + 23
        expected = {
            "start": (1 / total).mean(),
            "prompt": (4 / total).mean(),
            "answer": (numpy.array([0, 1, 2]) / total).mean(),
            "bos": (1 / total).mean(),
            "prefix": (4 / total).mean(),
            "separator": 0.0,
            "document": (17 / total).mean(),
            "eos": (1 / total).mean(),
        }
        shares = {role: measurement.budgets["decoder", "merged", 1, 5, role] for role in expected}
        parts = {
            "self": ((own / total).mean(), numpy.log(own).mean()),
            "cross": ((23 / total).mean(), math.log(23)),
            "all": (1.0, numpy.log(total).mean()),
        }
        entropies = {part: measurement.entropies["decoder", "merged", 1, 5, part] for part in parts}
        published = {
            "self": (own / total * numpy.log(total)).mean(),
            "cross": (23 / total * numpy.log(total)).mean(),
        }
    else:
        expected = {
            "start": (1 / own).mean(),
            "prompt": (4 / own).mean(),
            "answer": (numpy.array([0, 1, 2]) / own).mean(),
            "bos": 1 / 23,
            "prefix": 4 / 23,
            "separator": 0.0,
            "document": 17 / 23,
            "eos": 1 / 23,
        }
        shares = {
            role: measurement.budgets[
                "decoder", "self" if role in eager.DECODER_ROLES else "cross", 1, 5, role
            ]
            for role in expected
        }
        parts = {"self": (1.0, numpy.log(own).mean()), "cross": (1.0, math.log(23))}
        entropies = {part: measurement.entropies["decoder", part, 1, 5, part] for part in parts}
        published = {"self": numpy.log(own).mean(), "cross": math.log(23)}
    assert shares == pytest.approx(expected, abs=ROUNDING)
    for part, pair in parts.items():
        assert entropies[part] == pytest.approx(pair, abs=ROUNDING), part
        if part in published:
            assert measurement.published_entropies[1, part] == pytest.approx(published[part], abs=ROUNDING)
    # The encoder's layer 1 is full: its 17 document rows see all 24 keys, hidden or not.
    assert measurement.budgets["encoder", "self", 1, 3, "document"] == pytest.approx(17 / 24, abs=ROUNDING)
    assert measurement.entropies["encoder", "self", 1, 3, "self"] == pytest.approx(
        (1.0, math.log(24)), abs=ROUNDING
    )


def test_encoder_budgets_are_those_of_the_document_rows() -> None:
    """In a sliding layer under uniform attention, by counting the keys in every document row's window."""
    measurement = Input().measure(flat("t5gemma2"))
    shares = []
    for row in range(6, 23):
        window = [key for key in range(24) if abs(row - key) <= 4]
        shares.append(sum(1 <= key <= 4 for key in window) / len(window))
    assert 0 < numpy.mean(shares) < 0.1
    assert measurement.budgets["encoder", "self", 0, 7, "prefix"] == pytest.approx(
        numpy.mean(shares), abs=ROUNDING
    )


def test_one_answer_token_has_disjoint_rows() -> None:
    example = Input(decoder_roles=("start", "prompt", "prompt", "answer"))
    weights = example.weights(truth_of("t5gemma2"))
    for rows, row in (("predicting", 2), ("holding", 3)):
        budgets = example.measure(truth_of("t5gemma2"), rows=rows).budgets
        assert budgets["decoder", "merged", 4, 1, "prompt"] == pytest.approx(
            weights.own[4][1, row, 1:3].sum()
        )
    assert example.measure(truth_of("t5gemma2")).budgets["decoder", "merged", 4, 1, "answer"] == 0.0


def test_entropy_of_a_part_without_mass_is_nan() -> None:
    everything = frozenset(eager.ENCODER_ROLES)
    measurement = Input(hidden=everything).measure(truth_of("t5gemma2"))
    mass, entropy = measurement.entropies["decoder", "merged", 0, 0, "cross"]
    assert mass == 0.0
    assert math.isnan(entropy)
    assert measurement.entropies["decoder", "merged", 0, 0, "self"][0] == pytest.approx(1.0)


@pytest.mark.parametrize("family", ["t5gemma2", "bart"])
def test_conditional_and_published_entropies_from_one_row(family: str) -> None:
    """One predicting row, written out; the chain rule joins the parts of a merged row."""
    example = Input(decoder_roles=("start", "prompt", "prompt", "answer"))
    weights, measurement = example.weights(truth_of(family)), example.measure(truth_of(family))
    own, cross = weights.own[1][:, 2], weights.cross[1][:, 2]
    for part, values in (("self", own[:, :3]), ("cross", cross)):
        block = "merged" if weights.merged else part
        for head, row in enumerate(values):
            expected = -sum(value / row.sum() * math.log(value / row.sum()) for value in row)
            assert measurement.entropies["decoder", block, 1, head, part] == pytest.approx(
                (row.sum(), expected)
            )
        averaged = values.mean(axis=0)
        assert measurement.published_entropies[1, part] == pytest.approx(
            -(averaged * numpy.log(averaged)).sum()
        )
    if weights.merged:
        for head in range(own.shape[0]):
            (m, h_self), (c, h_cross), (one, h_all) = (
                measurement.entropies["decoder", "merged", 1, head, part] for part in ("self", "cross", "all")
            )
            assert one == pytest.approx(1.0)
            assert h_all == pytest.approx(m * h_self + c * h_cross - m * math.log(m) - c * math.log(c))


# Attention written out by hand, from the states that go into a layer.


class States:
    """What went into an attention module in one run of the reference."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.positional: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}
        self.handle = module.register_forward_pre_hook(self._keep, with_kwargs=True)

    def _keep(self, module: torch.nn.Module, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.positional, self.named = positional, named

    def get(self, name: str) -> torch.Tensor:
        value = self.named[name] if name in self.named else self.positional[0]
        return value[0].double()


def heads(states: torch.Tensor, projection: torch.nn.Linear, count: int) -> torch.Tensor:
    """(position, hidden) to (head, position, channel)."""
    projected = states @ projection.weight.double().T
    if projection.bias is not None:
        projected = projected + projection.bias.double()
    return projected.reshape(len(states), count, -1).transpose(0, 1)


def gemma_norm(states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return states / (states.pow(2).mean(dim=-1, keepdim=True) + 1e-6).sqrt() * (1 + weight.double())


def rotated(states: torch.Tensor, theta: float) -> torch.Tensor:
    """Rotary embedding as complex multiplication: channel i pairs with channel i + d/2."""
    half = states.shape[-1] // 2
    angles = torch.arange(states.shape[-2])[:, None] * theta ** (-torch.arange(half).double() / half)[None, :]
    turned = torch.complex(states[..., :half], states[..., half:]) * torch.polar(
        torch.ones_like(angles), angles
    )
    return torch.cat([turned.real, turned.imag], dim=-1)


def softmax_where(scores: torch.Tensor, seen: torch.Tensor) -> numpy.ndarray:
    exponentials = torch.where(seen, (scores - scores.max()).exp(), 0.0)
    return (exponentials / exponentials.sum(dim=-1, keepdim=True)).detach().numpy()


def causal(length: int, window: int | None = None) -> torch.Tensor:
    back = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    return (back >= 0) & (back < (window or length))


@pytest.mark.parametrize(("layer", "theta", "window"), [(2, 1e4, 4), (4, 1e6, None)])
def test_t5gemma2_by_hand(layer: int, theta: float, window: int | None) -> None:
    """One softmax over rotated own keys and unrotated, normed encoder keys; two query heads share no keys."""
    model = eager.double_twin(model_of("t5gemma2"))
    attention = model.get_decoder().layers[layer].self_attn
    states = States(attention)
    example = Input(hidden=frozenset({"prefix"}))
    weights = example.weights(model)
    own, encoder = states.get("hidden_states"), states.get("encoder_hidden_states")
    query = rotated(gemma_norm(heads(own, attention.q_proj, 6), attention.q_norm.weight), theta)
    own_key = rotated(gemma_norm(heads(own, attention.k_proj, 2), attention.k_norm.weight), theta)
    encoder_key = gemma_norm(heads(encoder, attention.k_proj, 2), attention.k_norm.weight)
    key = torch.cat([own_key, encoder_key], dim=1)[[0, 0, 0, 1, 1, 1]]
    seen = torch.cat([causal(8, window), torch.tensor(example.visible).expand(8, -1)], dim=1)
    expected = softmax_where(query @ key.transpose(1, 2) / math.sqrt(7), seen)
    numpy.testing.assert_allclose(weights.own[layer], expected[:, :, :8], atol=ANGLES, rtol=0)
    numpy.testing.assert_allclose(weights.cross[layer], expected[:, :, 8:], atol=ANGLES, rtol=0)


def test_t5gemma_by_hand() -> None:
    """Soft-capped scores; rotary positions in the self block only."""
    model = eager.double_twin(model_of("t5gemma"))
    layer = model.get_decoder().layers[2]
    own_states, cross_states = States(layer.self_attn), States(layer.cross_attn)
    example = Input(hidden=frozenset({"prefix"}))
    weights = example.weights(model)

    def capped(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return 4 * torch.tanh(query @ key[[0, 0, 0, 1, 1, 1]].transpose(1, 2) / math.sqrt(7) / 4)

    states = own_states.get("hidden_states")
    query = rotated(heads(states, layer.self_attn.q_proj, 6), 1e4)
    key = rotated(heads(states, layer.self_attn.k_proj, 2), 1e4)
    numpy.testing.assert_allclose(
        weights.own[2],
        softmax_where(capped(query, key), causal(8, tiny_models.DECODER_WINDOW)),
        atol=ANGLES,
        rtol=0,
    )
    query = heads(cross_states.get("hidden_states"), layer.cross_attn.q_proj, 6)
    key = heads(cross_states.get("encoder_hidden_states"), layer.cross_attn.k_proj, 2)
    expected = softmax_where(capped(query, key), torch.tensor(example.visible))
    numpy.testing.assert_allclose(weights.cross[2], expected, atol=ROUNDING, rtol=0)


def t5_bucket(distance: int) -> int:
    """Bucket of a key ``distance`` back: 8 buckets, of which 4 exact and 4 logarithmic up to 20."""
    return distance if distance < 4 else min(7, 4 + int(math.log(distance / 4) / math.log(20 / 4) * 4))


@pytest.mark.parametrize("family", RELATIVE)
def test_t5_by_hand(family: str) -> None:
    """Unscaled scores; a bias by distance in the self block: the first layer's (UMT5: the layer's own)."""
    model = eager.double_twin(model_of(family))
    blocks = model.get_decoder().block
    own, cross = blocks[3].layer[0].SelfAttention, blocks[3].layer[1].EncDecAttention
    own_states, cross_states = States(own), States(cross)
    example = Input(hidden=frozenset({"prefix"}))
    weights = example.weights(model)
    source = own if family == "umt5" else blocks[0].layer[0].SelfAttention
    table = source.relative_attention_bias.weight.detach().double()
    bias = torch.stack(
        [torch.stack([table[t5_bucket(max(row - key, 0))] for key in range(8)]) for row in range(8)]
    )
    states = own_states.get("hidden_states")
    scores = heads(states, own.q, 6) @ heads(states, own.k, 6).transpose(1, 2) + bias.permute(2, 0, 1)
    numpy.testing.assert_allclose(weights.own[3], softmax_where(scores, causal(8)), atol=ROUNDING, rtol=0)
    encoder = cross_states.get("encoder_hidden_states" if family == "umt5" else "key_value_states")
    query = heads(cross_states.get("hidden_states"), cross.q, 6)
    scores = query @ heads(encoder, cross.k, 6).transpose(1, 2)
    expected = softmax_where(scores, torch.tensor(example.visible))
    numpy.testing.assert_allclose(weights.cross[3], expected, atol=ROUNDING, rtol=0)


@pytest.mark.parametrize("family", TABLE)
def test_bart_and_its_kin_by_hand(family: str) -> None:
    model = eager.double_twin(model_of(family))
    layer = model.get_decoder().layers[3]
    own_states, cross_states = States(layer.self_attn), States(layer.encoder_attn)
    example = Input(hidden=frozenset({"prefix"}))
    weights = example.weights(model)
    states = own_states.get("hidden_states")
    query, key = heads(states, layer.self_attn.q_proj, 6), heads(states, layer.self_attn.k_proj, 6)
    expected = softmax_where(query @ key.transpose(1, 2) / math.sqrt(8), causal(8))
    numpy.testing.assert_allclose(weights.own[3], expected, atol=ROUNDING, rtol=0)
    query = heads(cross_states.get("hidden_states"), layer.encoder_attn.q_proj, 6)
    key = heads(cross_states.get("key_value_states"), layer.encoder_attn.k_proj, 6)
    expected = softmax_where(query @ key.transpose(1, 2) / math.sqrt(8), torch.tensor(example.visible))
    numpy.testing.assert_allclose(weights.cross[3], expected, atol=ROUNDING, rtol=0)


# Positions.


@pytest.mark.parametrize("family", ["t5gemma", *RELATIVE])
def test_shifting_all_decoder_positions_changes_nothing_where_they_are_relative(family: str) -> None:
    shifted = Input().measure(truth_of(family), decoder_position_ids=list(range(5, 13)))
    assert_same(shifted, Input().measure(truth_of(family)))


@pytest.mark.parametrize("family", [*ROTARY, *RELATIVE])
def test_shifting_all_encoder_positions_changes_nothing_where_they_are_relative(family: str) -> None:
    shifted = Input().measure(truth_of(family), encoder_position_ids=list(range(9, 33)))
    assert_same(shifted, Input().measure(truth_of(family)))


def test_shifting_decoder_positions_moves_the_merged_balance_but_not_the_self_part() -> None:
    """Rotated queries meet unrotated encoder keys; among themselves the decoder's keys keep their places."""
    plain = Input().weights(truth_of("t5gemma2"))
    shifted = Input().weights(truth_of("t5gemma2"), decoder_position_ids=list(range(5, 13)))
    own_plain, own_shifted = plain.own[0], shifted.own[0]
    assert numpy.abs(own_shifted.sum(axis=2) - own_plain.sum(axis=2)).max() > 0.05
    numpy.testing.assert_allclose(
        own_shifted / own_shifted.sum(axis=2, keepdims=True),
        own_plain / own_plain.sum(axis=2, keepdims=True),
        atol=ROUNDING,
        rtol=0,
    )


@pytest.mark.parametrize("family", ROTARY)
def test_a_gap_in_the_positions_cuts_no_attention(family: str) -> None:
    """Without a decoder mask the library would take the gap for the border between packed texts."""
    weights = Input().weights(truth_of(family), decoder_position_ids=[0, *range(6, 13)])
    assert (weights.own[1][:, -1] > 0).all()


@pytest.mark.parametrize("family", TABLE)
def test_position_ids_pick_the_rows_of_a_table(family: str) -> None:
    """Ids shifted by five are the same as a table moved up by five rows."""
    moved = copy.deepcopy(truth_of(family))
    for stack in (moved.get_encoder(), moved.get_decoder()):
        with torch.no_grad():
            stack.embed_positions.weight.copy_(stack.embed_positions.weight.roll(-5, dims=0))
    shifted = Input().measure(
        truth_of(family),
        decoder_position_ids=list(range(5, 13)),
        encoder_position_ids=list(range(5, 29)),
    )
    assert_same(shifted, Input().measure(moved))
    assert abs(shifted.nll_mean - Input().measure(truth_of(family)).nll_mean) > 1e-3


@pytest.mark.parametrize("family", [*ROTARY, *RELATIVE])
def test_a_masked_prefix_is_no_prefix_where_positions_are_relative(family: str) -> None:
    """Masked for the encoder and hidden from the decoder, a prefix leaves nothing behind."""
    encoder, decoder = Input().ids
    options: dict[str, Any] = {
        "decoder_ids": decoder,
        "decoder_roles": Input().decoder_roles,
        "answer_length": 3,
    }
    seen = [False] * 6 + [True] * 18
    masked = eager.measure(
        truth_of(family),
        encoder_ids=encoder,
        encoder_roles=Input().encoder_roles,
        visible=seen,
        encoder_visible=seen,
        **options,
    )
    bare = eager.measure(
        truth_of(family),
        encoder_ids=encoder[6:],
        encoder_roles=Input().encoder_roles[6:],
        visible=[True] * 18,
        **options,
    )
    assert_same(masked, bare)


# Arguments.


def test_wrong_arguments_are_refused() -> None:
    merged, separate = truth_of("t5gemma2"), truth_of("t5")
    with pytest.raises(ValueError, match="visible has 3 entries for 24 positions"):
        Input().measure(merged, visible=[True] * 3)
    with pytest.raises(ValueError, match="decoder_roles has 1 entries for 8 positions"):
        Input().measure(merged, decoder_roles=("start",))
    with pytest.raises(ValueError, match=r"unknown role\(s\) \['query'\]"):
        Input().measure(merged, decoder_roles=("start", *["query"] * 7))
    with pytest.raises(ValueError, match="answer_length=8 does not fit 8 decoder positions"):
        Input().measure(merged, answer_length=8)
    with pytest.raises(ValueError, match="expected 'predicting' or 'holding'"):
        Input().measure(merged, rows="all")
    with pytest.raises(ValueError, match="no encoder position is visible"):
        Input().measure(separate, visible=[False] * 24)
    with pytest.raises(ValueError, match="relative positions only"):
        Input().measure(separate, decoder_position_ids=[0, *range(6, 13)])
