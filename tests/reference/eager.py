"""What a run must measure, computed in the plainest way: one example, no padding, eager attention.

Written from the definitions and from the library's own attention weights (``output_attentions``). It
imports nothing of the project, shares no code with it, and is slow.

Precision. A model in float32 is computed as the library computes it. One in float64 (:func:`double_twin`) is
computed in float64 throughout, also where the library takes float32 whatever a model's own precision.

Rows. With ``n`` decoder positions and an answer of ``a`` tokens, position ``t``'s logits predict the token at
``t + 1``; so the answer is predicted by the rows ``n-a-1 ... n-2`` and held by the rows ``n-a ... n-1``.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedConfig, PreTrainedModel

ENCODER_ROLES = ("bos", "prefix", "separator", "document", "eos")
DECODER_ROLES = ("start", "prompt", "answer")

#: Model types whose decoder has one softmax over its own and the encoder's keys.
MERGED_TYPES = ("t5gemma2",)
#: Model types whose position ids are an argument of the forward pass.
ROTARY_TYPES = ("t5gemma", "t5gemma2")


@dataclass(frozen=True)
class Weights:
    """Attention weights of one example, float64, and its logits.

    ``encoder``, ``own`` and ``cross`` hold one array per layer: ``encoder[l]`` is (head, encoder row,
    encoder key), ``own[l]`` is (head, decoder row, decoder key), ``cross[l]`` is (head, decoder row,
    encoder key). Where ``merged``, a row of ``own`` and the same row of ``cross`` sum to 1 together.
    ``logits`` is (decoder row, vocabulary) and ``states`` the encoder's final states, (position, width), both in
    the model's own precision.
    """

    merged: bool
    encoder: list[numpy.ndarray]
    own: list[numpy.ndarray]
    cross: list[numpy.ndarray]
    logits: torch.Tensor
    states: torch.Tensor


@dataclass(frozen=True)
class Measurement:
    """All numbers of one example.

    * ``nll``: of every answer token, nats, shape (answer,); ``nll_mean`` and ``nll_sum`` over them.
    * ``budgets[stack, block, layer, head, role]``: share of the row that goes to keys of the role, mean over
      the rows. Stack is ``encoder`` (block ``self``, rows that hold the document) or ``decoder`` (block
      ``merged``, or ``self`` and ``cross``). Every role of the block has an entry, 0 without positions.
    * ``entropies[stack, block, layer, head, part]``: (mass, entropy). Mass is the part's share of the row;
      entropy, in nats, that of the part's weights divided by their mass; both are means over the rows.
      The parts of a ``merged`` block are ``self``, ``cross`` and ``all``; any other block has one part
      that bears its name. Entropy is NaN when the part has no mass in some row.
    * ``published_entropies[layer, part]``: the same rows; weights averaged over heads, then -sum(a log a)
      over the part's keys without dividing by its mass, mean over rows. Decoder only; the part is
      ``self`` or ``cross``.
    """

    nll: numpy.ndarray
    budgets: dict[tuple[str, str, int, int, str], float]
    entropies: dict[tuple[str, str, int, int, str], tuple[float, float]]
    published_entropies: dict[tuple[int, str], float]

    @property
    def nll_mean(self) -> float:
        return float(self.nll.mean())

    @property
    def nll_sum(self) -> float:
        return float(self.nll.sum())


def eager_twin(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model that computes attention eagerly; the model itself is left as it is.

    A deep copy rather than a new model with the same state dict: building T5 v1.1 from its configuration
    ties its head to its embeddings, and loading would overwrite one with the other.
    """
    twin = copy.deepcopy(model)
    set_attention(twin, "eager")
    return twin.eval()


def set_attention(model: PreTrainedModel, implementation: str) -> None:
    """Have every part of a model compute attention like this.

    The library's own way, before its version 5.20, leaves nested configurations as they are when it is gone a second
    time. T5's stacks have copies of the configuration.
    """
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig):
            config._attn_implementation = implementation


def double_twin(model: PreTrainedModel) -> PreTrainedModel:
    """The eager twin in float64: the same parameters, and next to none of float32's rounding."""
    return eager_twin(model).double()


def own_precision(model: PreTrainedModel) -> AbstractContextManager[object]:
    """Within it, a model in float64 is computed in float64 throughout; one in float32 as the library does it."""
    return _Double() if model.dtype == torch.float64 else nullcontext()


class _Double(TorchFunctionMode):
    """Takes float64 for float32.

    The library computes norms, softmaxes and the angles of positions in float32 whatever a model's own precision.
    """

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        named = {name: self._wide(value) for name, value in (named or {}).items()}
        result = function(*map(self._wide, arguments), **named)
        if isinstance(result, torch.Tensor) and result.dtype == torch.float32:
            # No TypeError: an operator would take that for "not my operand" and hide the sentence.
            raise RuntimeError(f"{function} gave float32 in a computation that is to be float64 throughout")
        return result

    @staticmethod
    def _wide(value: Any) -> Any:
        return torch.float64 if value is torch.float32 else value


def attention_weights(
    model: PreTrainedModel,
    *,
    encoder_ids: Sequence[int],
    decoder_ids: Sequence[int],
    visible: Sequence[bool],
    decoder_position_ids: Sequence[int] | None = None,
    encoder_position_ids: Sequence[int] | None = None,
    encoder_visible: Sequence[bool] | None = None,
) -> Weights:
    """Run one example through the model in eager attention and keep every attention weight.

    ``visible`` says which encoder positions the decoder may attend to. The encoder attends to all of its
    positions, unless ``encoder_visible`` says which. Position ids default to 0, 1, 2, ...; T5 and its kin
    have relative positions only, for which ids that are consecutive change nothing and others are refused.
    """
    encoder_visible = [True] * len(encoder_ids) if encoder_visible is None else encoder_visible
    _check_length("visible", visible, encoder_ids)
    _check_length("encoder_visible", encoder_visible, encoder_ids)
    _check_length("decoder_position_ids", decoder_position_ids, decoder_ids)
    _check_length("encoder_position_ids", encoder_position_ids, encoder_ids)
    merged = model.config.model_type in MERGED_TYPES
    if not merged and not any(visible):
        raise ValueError("no encoder position is visible: a cross softmax of its own is undefined then")
    if model.config._attn_implementation != "eager":
        model = eager_twin(model)
    encoder_options: dict[str, Any] = {}
    decoder_options: dict[str, Any] = {}
    if model.config.model_type in ROTARY_TYPES:
        if encoder_position_ids is not None:
            encoder_options["position_ids"] = _row(encoder_position_ids)
        if decoder_position_ids is not None:
            decoder_options["decoder_position_ids"] = _row(decoder_position_ids)
        encoder_position_ids = decoder_position_ids = None
    with (
        torch.no_grad(),
        own_precision(model),
        _positions(model.get_encoder(), encoder_position_ids),
        _positions(model.get_decoder(), decoder_position_ids),
    ):
        encoder_outputs = model.get_encoder()(
            input_ids=_row(encoder_ids),
            attention_mask=_row(encoder_visible),
            output_attentions=True,
            return_dict=True,
            **encoder_options,
        )
        outputs = model(
            encoder_outputs=encoder_outputs,
            attention_mask=_row(visible),
            decoder_input_ids=_row(decoder_ids),
            # Given, not left out: T5 starts with its padding token, and without a mask the library reads
            # position ids with a gap as several packed texts.
            decoder_attention_mask=torch.ones(1, len(decoder_ids), dtype=torch.long),
            output_attentions=True,
            use_cache=False,
            return_dict=True,
            **decoder_options,
        )
    return Weights(
        merged=merged,
        encoder=_arrays(encoder_outputs.attentions),
        own=_arrays(outputs.decoder_attentions),
        cross=_arrays(outputs.cross_attentions),
        logits=outputs.logits[0],
        states=encoder_outputs.last_hidden_state[0],
    )


def measure(
    model: PreTrainedModel,
    *,
    encoder_ids: Sequence[int],
    encoder_roles: Sequence[str],
    visible: Sequence[bool],
    decoder_ids: Sequence[int],
    decoder_roles: Sequence[str],
    answer_length: int,
    rows: str = "predicting",
    decoder_position_ids: Sequence[int] | None = None,
    encoder_position_ids: Sequence[int] | None = None,
    encoder_visible: Sequence[bool] | None = None,
) -> Measurement:
    """All numbers of one example; ``decoder_ids`` is start, prompt and answer together.

    ``rows`` is ``"predicting"`` or ``"holding"`` (see the module's text); the likelihood never depends on it.
    For the other arguments see :func:`attention_weights`.
    """
    _check_length("encoder_roles", encoder_roles, encoder_ids)
    _check_length("decoder_roles", decoder_roles, decoder_ids)
    _check_roles(encoder_roles, ENCODER_ROLES)
    _check_roles(decoder_roles, DECODER_ROLES)
    if not 1 <= answer_length < len(decoder_ids):
        raise ValueError(
            f"answer_length={answer_length} does not fit {len(decoder_ids)} decoder positions with a start"
        )
    if rows not in ("predicting", "holding"):
        raise ValueError(f"rows={rows!r}; expected 'predicting' or 'holding'")
    weights = attention_weights(
        model,
        encoder_ids=encoder_ids,
        decoder_ids=decoder_ids,
        visible=visible,
        decoder_position_ids=decoder_position_ids,
        encoder_position_ids=encoder_position_ids,
        encoder_visible=encoder_visible,
    )
    return numbers_of(
        weights,
        encoder_roles=encoder_roles,
        decoder_ids=decoder_ids,
        decoder_roles=decoder_roles,
        answer_length=answer_length,
        rows=rows,
    )


def numbers_of(
    weights: Weights,
    *,
    encoder_roles: Sequence[str],
    decoder_ids: Sequence[int],
    decoder_roles: Sequence[str],
    answer_length: int,
    rows: str = "predicting",
) -> Measurement:
    """All numbers of the example that has these weights; for the arguments see :func:`measure`."""
    length = len(decoder_ids)
    predicting = range(length - answer_length - 1, length - 1)
    holding = range(length - answer_length, length)
    chosen = list(predicting if rows == "predicting" else holding)
    document = [position for position, role in enumerate(encoder_roles) if role == "document"]

    log_probabilities = torch.log_softmax(weights.logits, dim=-1)
    nll = numpy.array([-log_probabilities[row, decoder_ids[row + 1]].item() for row in predicting])

    budgets: dict[tuple[str, str, int, int, str], float] = {}
    entropies: dict[tuple[str, str, int, int, str], tuple[float, float]] = {}

    def account(
        stack: str,
        block: str,
        layer: int,
        parts: dict[str, numpy.ndarray],
        roles: dict[str, Sequence[str]],
        known: Sequence[str],
    ) -> None:
        for head in range(next(iter(parts.values())).shape[0]):
            for role in known:
                columns = [
                    part[head][:, [name == role for name in roles[name_of_part]]]
                    for name_of_part, part in parts.items()
                ]
                share = sum(column.sum(axis=1) for column in columns)
                budgets[stack, block, layer, head, role] = float(numpy.mean(share))
            for name_of_part, part in parts.items():
                entropies[stack, block, layer, head, name_of_part] = _mass_and_entropy(part[head])
            if len(parts) > 1:
                everything = numpy.concatenate([part[head] for part in parts.values()], axis=1)
                entropies[stack, block, layer, head, "all"] = _mass_and_entropy(everything)

    published: dict[tuple[int, str], float] = {}
    for layer, weight in enumerate(weights.encoder):
        account(
            "encoder", "self", layer, {"self": weight[:, document]}, {"self": encoder_roles}, ENCODER_ROLES
        )
    for layer, (own, cross) in enumerate(zip(weights.own, weights.cross, strict=True)):
        own, cross = own[:, chosen], cross[:, chosen]
        if weights.merged:
            account(
                "decoder",
                "merged",
                layer,
                {"self": own, "cross": cross},
                {"self": decoder_roles, "cross": encoder_roles},
                (*DECODER_ROLES, *ENCODER_ROLES),
            )
        else:
            account("decoder", "self", layer, {"self": own}, {"self": decoder_roles}, DECODER_ROLES)
            account("decoder", "cross", layer, {"cross": cross}, {"cross": encoder_roles}, ENCODER_ROLES)
        published[layer, "self"] = float(_plain_entropy(own.mean(axis=0)).mean())
        published[layer, "cross"] = float(_plain_entropy(cross.mean(axis=0)).mean())
    return Measurement(nll, budgets, entropies, published)


def _mass_and_entropy(part: numpy.ndarray) -> tuple[float, float]:
    """Mass and entropy of a part's weights, shape (row, key), each a mean over rows."""
    mass = part.sum(axis=1)
    if (mass == 0).any():
        return float(mass.mean()), float("nan")
    return float(mass.mean()), float(_plain_entropy(part / mass[:, None]).mean())


def _plain_entropy(weights: numpy.ndarray) -> numpy.ndarray:
    """-sum(a log a) over the last axis, with 0 log 0 = 0."""
    logarithms = numpy.log(numpy.where(weights > 0, weights, 1.0))
    return -(weights * logarithms).sum(axis=-1)


def _arrays(attentions: tuple[torch.Tensor, ...]) -> list[numpy.ndarray]:
    return [weight[0].double().numpy() for weight in attentions]


def _row(values: Sequence[int] | Sequence[bool]) -> torch.Tensor:
    return torch.tensor([[int(value) for value in values]])


@contextmanager
def _positions(stack: torch.nn.Module, position_ids: Sequence[int] | None) -> Iterator[None]:
    """Give a stack with a table of absolute positions the position ids that its forward pass cannot take."""
    if position_ids is None:
        yield
        return
    table = getattr(stack, "embed_positions", None)
    if table is None:
        if any(after - before != 1 for before, after in itertools.pairwise(position_ids)):
            raise ValueError(f"relative positions only: the ids {list(position_ids)} are not consecutive")
        yield
        return
    # BART's tables begin with two unused rows.
    rows = torch.tensor(position_ids) + getattr(table, "offset", 0)
    handle = table.register_forward_hook(lambda module, arguments, output: module.weight[rows].unsqueeze(0))
    try:
        yield
    finally:
        handle.remove()


def _check_length(name: str, values: Sequence[Any] | None, ids: Sequence[int]) -> None:
    if values is not None and len(values) != len(ids):
        raise ValueError(f"{name} has {len(values)} entries for {len(ids)} positions")


def _check_roles(roles: Sequence[str], known: tuple[str, ...]) -> None:
    unknown = sorted(set(roles) - set(known))
    if unknown:
        raise ValueError(f"unknown role(s) {unknown}; known: {known}")
