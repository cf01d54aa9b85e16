"""ALTI and ALTI+ in the plainest way: numpy, in the model's own precision, every row × key × width array whole.

Written from the equations of Ferrando et al. (2022, arXiv:2203.04212, and arXiv:2205.11631 for encoder-decoders).
Imports nothing of the project. Module names are written out by hand; what the model computes is taken by torch's
forward hooks.

Of one attention sublayer, y_t = x_t + Σ_k T_{t,k} + b, with T_{t,k} = Σ_h α^h_{t,k} W^h v^h_k. What goes through a norm
that closes the sublayer goes through it with the norm's denominator held, which makes it linear: Gemma's acts on the
output, BART's on the sum. Key k contributes c_{t,k} = max(0, ‖y_t‖₁ − ‖y_t − T_{t,k}‖₁), and the residual belongs to
the row's own token: in a block that sees its own stack it is in that token's T, in a cross block it is a column by itself.
Biases have no column. Rows are divided by their sums; a row of zeros is NaN.

Rollout: R^l = C^l R^{l-1}, R^{-1} the identity; of a decoder with a cross block first C_self, then the residual's column
times that plus the encoder's columns times the encoder's own rollout.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from transformers import PreTrainedModel

from tests.reference.eager import Weights, attention_weights

#: Model types whose LayerNorm stands behind residual + output.
POST_LAYER_NORM = ("bart", "marian")
#: Where each kind keeps a block: attention, the norm before it and the norm behind it, if any.
_BLOCKS: Mapping[str, Mapping[str, tuple[str, str | None, str | None]]] = {
    "gemma": {
        "self": ("self_attn", "pre_self_attn_layernorm", "post_self_attn_layernorm"),
        "cross": ("cross_attn", "pre_cross_attn_layernorm", "post_cross_attn_layernorm"),
    },
    "t5": {
        "self": ("layer.0.SelfAttention", "layer.0.layer_norm", None),
        "cross": ("layer.1.EncDecAttention", "layer.1.layer_norm", None),
    },
    "pre": {
        "self": ("self_attn", "self_attn_layer_norm", None),
        "cross": ("encoder_attn", "encoder_attn_layer_norm", None),
    },
    "post": {
        "self": ("self_attn", None, "self_attn_layer_norm"),
        "cross": ("encoder_attn", None, "encoder_attn_layer_norm"),
    },
}
_KINDS = {
    **dict.fromkeys(("t5gemma", "t5gemma2"), "gemma"),
    **dict.fromkeys(("t5", "mt5", "umt5"), "t5"),
    **dict.fromkeys(("mbart", "pegasus"), "pre"),
    **dict.fromkeys(POST_LAYER_NORM, "post"),
}
_STACKS = {
    ("t5gemma2", "encoder"): "model.encoder.text_model.layers",
    ("t5", "encoder"): "encoder.block",
    ("t5", "decoder"): "decoder.block",
}
#: Query, value and output projection.
_PROJECTIONS = {"t5": ("q", "v", "o"), "gemma": ("q_proj", "v_proj", "o_proj")}


@dataclass(frozen=True)
class Sublayer:
    """What a row of an attention sublayer is made of.

    ``weights`` (head, row, key) are α and ``transformed`` (head, key, width) W^h v^h_k. ``residual`` and ``output``,
    (row, width), are x_t and the projection's output, with bias and edits.
    ``norm`` is the module behind, None where there is none, and ``closes`` what it acts on: ``output`` or ``sum``.
    """

    weights: numpy.ndarray
    transformed: numpy.ndarray
    residual: numpy.ndarray
    output: numpy.ndarray
    norm: torch.nn.Module | None = None
    closes: str = "output"

    def vectors(self) -> tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray]:
        """T (row, key, width), the residual's part and y (row, width), all behind the norm."""
        parts = numpy.einsum("htk,hkd->tkd", self.weights, self.transformed)
        if self.norm is None:
            return parts, self.residual, self.residual + self.output
        if self.closes == "output":
            size = numpy.sqrt((self.output**2).mean(axis=-1, keepdims=True) + self.norm.eps)
            scale = (1 + _array(self.norm.weight)) / size
            return parts * scale[:, None], self.residual, self.residual + self.output * scale
        total = self.residual + self.output
        weight, bias = _array(self.norm.weight), _array(self.norm.bias)
        scale = weight / numpy.sqrt(total.var(axis=-1, keepdims=True) + self.norm.eps)

        def centred(states: numpy.ndarray) -> numpy.ndarray:
            return states - states.mean(axis=-1, keepdims=True)

        return centred(parts) * scale[:, None], centred(self.residual) * scale, centred(total) * scale + bias


@dataclass(frozen=True)
class Alti:
    """Contributions of one example; every array has rows in its first axis.

    ``encoder[l]`` (position, position) are those of one layer; ``decoder[l]`` those of its blocks: of a merged block
    (row, decoder position + encoder position) alone, else of self (row, row) and cross (row, 1 + encoder position), the
    residual first. ``encoder_rollout[l]`` (position, position) and ``decoder_rollout[l]`` (row, decoder position + encoder
    position) go to input tokens. ``sublayers`` are those of the decoder, by layer and block (``self`` of merged ones).
    """

    encoder: list[numpy.ndarray]
    decoder: list[tuple[numpy.ndarray, ...]]
    encoder_rollout: list[numpy.ndarray]
    decoder_rollout: list[numpy.ndarray]
    sublayers: Mapping[tuple[int, str], Sublayer]


def contributions(total: numpy.ndarray, parts: numpy.ndarray) -> numpy.ndarray:
    """c (row, column) of parts (row, column, width) to totals (row, width), before rows are divided by their sums."""
    norm = numpy.abs(total).sum(axis=-1, keepdims=True)
    return numpy.maximum(0.0, norm - numpy.abs(total[:, None] - parts).sum(axis=-1))


def normalised(rows: numpy.ndarray) -> numpy.ndarray:
    """Rows divided by their sums; NaN where a row is 0."""
    sums = rows.sum(axis=-1, keepdims=True)
    return numpy.divide(rows, sums, out=numpy.full_like(rows, numpy.nan), where=sums > 0)


def own_block(sublayer: Sublayer) -> numpy.ndarray:
    """(row, key) of a block whose first keys are the rows themselves; the residual is in each row's own column."""
    parts, residual, total = sublayer.vectors()
    parts = parts.copy()
    rows = numpy.arange(len(parts))
    parts[rows, rows] += residual
    return normalised(contributions(total, parts))


def cross_block(sublayer: Sublayer) -> numpy.ndarray:
    """(row, 1 + key) of a block that sees another stack: the residual, then the keys."""
    parts, residual, total = sublayer.vectors()
    return normalised(contributions(total, numpy.concatenate([residual[:, None], parts], axis=1)))


def times(mixing: numpy.ndarray, rollout: numpy.ndarray) -> numpy.ndarray:
    """A product of matrices in which exactly nothing of an undefined row is nothing."""
    undefined = numpy.isnan(rollout).any(axis=-1)
    product = mixing @ numpy.where(undefined[:, None], 0.0, rollout)
    taken = ((mixing != 0) & undefined[None]).any(axis=-1)
    return numpy.where(taken[:, None], numpy.nan, product)


def rolled_out(
    encoder: Sequence[numpy.ndarray],
    decoder: Sequence[tuple[numpy.ndarray, ...]],
    foreign: Mapping[tuple[str, int], Sequence[int]] | None = None,
) -> tuple[list[numpy.ndarray], list[numpy.ndarray]]:
    """Rollouts of an encoder's and a decoder's layers, shaped as in :class:`Alti`.

    ``foreign`` names, by stack and layer, positions whose states behind that layer are not this example's own, for what
    reads them; the encoder's final states are behind the layer that is numbered as there are layers.
    """
    foreign = foreign or {}

    def marked(rollout: numpy.ndarray, stack: str, layer: int) -> numpy.ndarray:
        rollout = rollout.copy()
        rollout[list(foreign.get((stack, layer), ()))] = numpy.nan
        return rollout

    own = numpy.eye(len(encoder[0]))
    of_encoder = []
    for layer, mixing in enumerate(encoder):
        of_encoder.append(times(mixing, own))
        own = marked(of_encoder[-1], "encoder", layer)
    final = marked(own, "encoder", len(encoder))
    rows, positions = len(decoder[0][0]), len(own)
    below = numpy.concatenate([numpy.eye(rows), numpy.zeros((rows, positions))], axis=1)
    memory = numpy.concatenate([numpy.zeros((positions, rows)), final], axis=1)
    of_decoder = []
    for layer, blocks in enumerate(decoder):
        if len(blocks) == 1:
            below = times(blocks[0], numpy.concatenate([below, memory]))
        else:
            of_self, of_cross = blocks
            between = times(of_self, below)
            # A row's residual is the row itself: a diagonal before the encoder's columns.
            residual = numpy.diag(of_cross[:, 0])
            lost = numpy.isnan(of_cross).any(axis=1)
            below = times(
                numpy.concatenate([numpy.where(lost[:, None], 0.0, residual), of_cross[:, 1:]], axis=1),
                numpy.concatenate([between, memory]),
            )
        of_decoder.append(below)
        below = marked(below, "decoder", layer)
    return of_encoder, of_decoder


def alti(
    model: PreTrainedModel,
    *,
    foreign: Mapping[tuple[str, int], Sequence[int]] | None = None,
    changed: Mapping[tuple[int, str], numpy.ndarray] | None = None,
    **inputs: Any,
) -> tuple[Alti, Weights]:
    """ALTI+ of one example, and the weights that it comes from; ``inputs`` are those of ``eager.attention_weights``.

    The model must be an eager twin, so that the hooks are on the modules that run. ``foreign``: see :func:`rolled_out`.
    ``changed``: by decoder layer and block (``self`` of merged ones), the weights (head, row, key) with which values are
    mixed in fact, where the caller's own hooks make an output of them.
    """
    assert model.config._attn_implementation == "eager"
    seen = _Seen()
    with _hooked(model, seen):
        weights = attention_weights(model, **inputs)

    sublayers: dict[tuple[int, str], Sublayer] = {}

    def of_decoder(layer: int, block: str, weight: numpy.ndarray) -> Sublayer:
        own = (changed or {}).get((layer, block), weight)
        sublayers[layer, block] = _sublayer(model, seen, "decoder", layer, block, own)
        return sublayers[layer, block]

    encoder = [
        own_block(_sublayer(model, seen, "encoder", layer, "self", weight))
        for layer, weight in enumerate(weights.encoder)
    ]
    decoder: list[tuple[numpy.ndarray, ...]] = []
    for layer, (own, cross) in enumerate(zip(weights.own, weights.cross, strict=True)):
        if weights.merged:
            both = numpy.concatenate([own, cross], axis=-1)
            decoder.append((own_block(of_decoder(layer, "self", both)),))
        else:
            of_self = own_block(of_decoder(layer, "self", own))
            of_cross = cross_block(of_decoder(layer, "cross", cross))
            decoder.append((of_self, of_cross))
    return Alti(encoder, decoder, *rolled_out(encoder, decoder, foreign), sublayers), weights


@dataclass
class _Seen:
    """Inputs and outputs of modules by their paths, (position, width), in the order of the calls."""

    inputs: dict[str, list[numpy.ndarray]] = field(default_factory=lambda: defaultdict(list))
    outputs: dict[str, list[numpy.ndarray]] = field(default_factory=lambda: defaultdict(list))


@contextmanager
def _hooked(model: PreTrainedModel, seen: _Seen) -> Iterator[None]:
    kind = _KINDS[model.config.model_type]
    query, value, output = _PROJECTIONS.get(kind, ("q_proj", "v_proj", "out_proj"))
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if path.rpartition(".")[2] in (query, value, output) or "norm" in path.rpartition(".")[2]:

                def hook(module: Any, arguments: Any, result: Any, path: str = path) -> None:
                    # Query and key norms act on heads, four axes; they are not asked for.
                    if result.dim() == 3:
                        seen.inputs[path].append(_array(arguments[0][0]))
                        seen.outputs[path].append(_array(result[0]))

                stack.callback(module.register_forward_hook(hook).remove)
        yield


def _sublayer(
    model: PreTrainedModel, seen: _Seen, stack: str, layer: int, block: str, weights: numpy.ndarray
) -> Sublayer:
    """``weights`` are (head, row, key)."""
    model_type = model.config.model_type
    kind = _KINDS[model_type]
    family = "t5" if kind == "t5" else model_type
    base = f"{_STACKS.get((family, stack), f'model.{stack}.layers')}.{layer}"
    attention, before, behind = (f"{base}.{name}" if name else None for name in _BLOCKS[kind][block])
    query, value, output = _PROJECTIONS.get(kind, ("q_proj", "v_proj", "out_proj"))
    heads = len(weights)
    values = numpy.concatenate(seen.outputs[f"{attention}.{value}"])
    weights = weights.astype(values.dtype)
    width = model.get_submodule(f"{attention}.{output}").weight.shape[1] // heads
    values = values.reshape(len(values), -1, width).repeat(heads * width // values.shape[1], axis=1)
    projection = _array(model.get_submodule(f"{attention}.{output}").weight).reshape(-1, heads, width)
    # With a norm before it, the residual enters that norm; without one, the query's projection.
    residual = seen.inputs[before or f"{attention}.{query}"][0]
    return Sublayer(
        weights=weights,
        transformed=numpy.einsum("khc,dhc->hkd", values, projection),
        residual=residual,
        output=seen.outputs[f"{attention}.{output}"][0],
        norm=None if behind is None else model.get_submodule(behind),
        closes="sum" if kind == "post" else "output",
    )


def _array(tensor: torch.Tensor) -> numpy.ndarray:
    return tensor.detach().numpy()
