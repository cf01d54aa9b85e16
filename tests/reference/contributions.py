"""What rows take from each role, in the plainest way: every vector written out, one example, no padding.

Written from the definitions (Kobayashi et al. 2020; direct logit attribution) with torch's forward hooks and an attention
function of its own, which the library calls in the place of its own. It imports nothing of the project but the other
references, and shares no code with it: parts are pushed forward through held norms one by one, never a direction back.

With T(t, k, h) = α · W_O v of row t, key k and head h, of one sublayer:

* ``weighted``: per head, the sum of ‖T(t, k, h)‖ over the keys of a role, over the sum over all keys;
* ``norm``: the same of ‖Σ_h T(t, k, h)‖; block ``joint``: behind the norms that a part passes, of self and cross;
* ``projection``: ⟨part, y⟩ / ‖y‖², y the sum of all parts behind the sublayer's norm;
* ``logit``: a part pushed forward to the head's input, times the head's row; ``margin``: times the difference of two rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask
from transformers.modeling_outputs import BaseModelOutput

from tests.reference.eager import DECODER_ROLES, ENCODER_ROLES, own_precision, set_attention

#: (measure, stack, block, layer, head, part) → mean over rows; head -1 of what is no head's.
Numbers = dict[tuple[str, str, str, int, int, str], float]


@dataclass(frozen=True)
class Edits:
    """What is changed, by (stack, block, layer): ``hidden``, a mask of rows × keys, True where hidden; ``zeroed``, heads ×
    rows × keys, True where a row takes nothing from a key; ``outputs``, what the output projection's output becomes.
    ``states``: what the states that leave a decoder layer become."""

    hidden: Mapping[tuple[str, str, int], torch.Tensor] = field(default_factory=dict)
    zeroed: Mapping[tuple[str, str, int], torch.Tensor] = field(default_factory=dict)
    outputs: Mapping[tuple[str, str, int], Callable[[torch.Tensor], torch.Tensor]] = field(
        default_factory=dict
    )
    states: Mapping[int, Callable[[torch.Tensor], torch.Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """Module paths, by hand: from the model, or from a layer by block. ``kind``: what a sublayer's norm acts on."""

    layers: Mapping[str, str]
    attention: Mapping[str, str]
    projection: str
    norm: Mapping[str, str]
    kind: str
    mlp: str
    mlp_norm: str | None
    final: str | None


_T5GEMMA = {
    "projection": "o_proj",
    "kind": "rms of the output",
    "mlp": "post_feedforward_layernorm",
    "mlp_norm": None,
    "final": "model.decoder.norm",
}
_BART = {
    "layers": {"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
    "attention": {"encoder": "self_attn", "self": "self_attn", "cross": "encoder_attn"},
    "projection": "out_proj",
    "mlp": "fc2",
}
_T5 = Layout(
    layers={"encoder": "encoder.block", "decoder": "decoder.block"},
    attention={
        "encoder": "layer.0.SelfAttention",
        "self": "layer.0.SelfAttention",
        "cross": "layer.1.EncDecAttention",
    },
    projection="o",
    norm={},
    kind="none",
    mlp="layer.2.DenseReluDense",
    mlp_norm=None,
    final="decoder.final_layer_norm",
)
_POST = Layout(
    norm={
        "encoder": "self_attn_layer_norm",
        "self": "self_attn_layer_norm",
        "cross": "encoder_attn_layer_norm",
    },
    kind="layer norm of the sum",
    mlp_norm="final_layer_norm",
    final=None,
    **_BART,
)
_PRE = Layout(norm={}, kind="none", mlp_norm=None, final="model.decoder.layer_norm", **_BART)

LAYOUTS: dict[str, Layout] = {
    "t5gemma2": Layout(
        layers={"encoder": "model.encoder.text_model.layers", "decoder": "model.decoder.layers"},
        attention={"encoder": "self_attn", "merged": "self_attn"},
        norm={"encoder": "post_self_attn_layernorm", "merged": "post_self_attn_layernorm"},
        **_T5GEMMA,
    ),
    "t5gemma": Layout(
        layers={"encoder": "model.encoder.layers", "decoder": "model.decoder.layers"},
        attention={"encoder": "self_attn", "self": "self_attn", "cross": "cross_attn"},
        norm={
            "encoder": "post_self_attn_layernorm",
            "self": "post_self_attn_layernorm",
            "cross": "post_cross_attn_layernorm",
        },
        **_T5GEMMA,
    ),
    "t5": _T5,
    "mt5": _T5,
    "umt5": _T5,
    "bart": _POST,
    "marian": _POST,
    "mbart": _PRE,
    "pegasus": _PRE,
}


def rms_scaled(part: torch.Tensor, whole: torch.Tensor, norm: Any) -> torch.Tensor:
    """A part through Gemma's norm, whose root mean square is that of the ``whole``."""
    return (1 + norm.weight) * part / (whole.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt()


def t5_scaled(part: torch.Tensor, whole: torch.Tensor, norm: Any) -> torch.Tensor:
    """A part through T5's norm."""
    return norm.weight * part / (whole.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon).sqrt()


def centred_scaled(part: torch.Tensor, whole: torch.Tensor, norm: Any) -> torch.Tensor:
    """A part through a LayerNorm whose deviation is that of the ``whole``, without the shift."""
    deviation = (whole.var(-1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    return norm.weight * (part - part.mean(-1, keepdim=True)) / deviation


def final_scaled(part: torch.Tensor, whole: torch.Tensor, norm: Any) -> torch.Tensor:
    """A part through whichever norm stands behind the last layer."""
    if isinstance(norm, torch.nn.LayerNorm):
        return centred_scaled(part, whole, norm)
    return (t5_scaled if hasattr(norm, "variance_epsilon") else rms_scaled)(part, whole, norm)


@dataclass
class Seen:
    """What hooks and the attention function saw of one forward pass; first axis of the batch taken away."""

    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    plain: dict[str, torch.Tensor] = field(default_factory=dict)
    inputs: dict[str, torch.Tensor] = field(default_factory=dict)
    outputs: dict[str, torch.Tensor] = field(default_factory=dict)
    logits: torch.Tensor = field(default_factory=lambda: torch.empty(0))


def forward(
    model: PreTrainedModel,
    layout: Layout,
    edits: Edits,
    *,
    encoder_ids: Sequence[int],
    decoder_ids: Sequence[int],
    visible: Sequence[bool],
) -> Seen:
    """Both stacks of one example, with every attention weight, value, and module's input and output."""
    seen = Seen()
    places = {
        f"{layout.layers[stack]}.{layer}.{layout.attention[block]}": (stack, block, layer)
        for stack, block, layer in _sublayers(model, layout)
    }
    with torch.no_grad(), own_precision(model), _watched(model, layout, places, seen, edits):
        ids, own = torch.tensor([list(encoder_ids)]), torch.tensor([list(decoder_ids)])
        states = model.get_encoder()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        output = model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=torch.tensor([[int(shown) for shown in visible]]),
            decoder_input_ids=own,
            decoder_attention_mask=torch.ones_like(own),
            use_cache=False,
        )
    seen.logits = output.logits[0]
    return seen


def _sublayers(model: PreTrainedModel, layout: Layout) -> Iterator[tuple[str, str, int]]:
    for stack, blocks in (("encoder", ("encoder",)), ("decoder", ("merged", "self", "cross"))):
        for layer in range(len(model.get_submodule(layout.layers[stack]))):
            yield from ((stack, block, layer) for block in blocks if block in layout.attention)


@contextmanager
def _watched(
    model: PreTrainedModel,
    layout: Layout,
    places: Mapping[str, tuple[str, str, int]],
    seen: Seen,
    edits: Edits,
) -> Iterator[None]:
    names = {id(model.get_submodule(path)): path for path in places}

    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        mask: torch.Tensor | None,
        scaling: float | None = None,
        softcap: float | None = None,
        position_bias: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        path = names[id(module)]
        times = query.shape[1] // key.shape[1]
        key, value = (own.repeat_interleave(times, dim=1) for own in (key, value))
        scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        scores = scores + (0 if position_bias is None else position_bias)
        scores = scores + (0 if mask is None else mask)
        hidden, zeroed = edits.hidden.get(places[path]), edits.zeroed.get(places[path])
        if hidden is not None:
            scores = scores.masked_fill(hidden, -math.inf)
        weights = torch.softmax(scores, dim=-1)
        if zeroed is not None:
            weights = weights.masked_fill(zeroed[None], 0.0)
        seen.weights[path], seen.values[path] = weights[0], value[0]
        return (weights @ value).transpose(1, 2).contiguous(), weights

    AttentionInterface.register("written_out", attention)
    AttentionMaskInterface.register("written_out", eager_mask)
    before = model.config._attn_implementation
    set_attention(model, "written_out")
    with ExitStack() as stack:
        stack.callback(set_attention, model, before)
        for name, module in model.named_modules():
            if name:
                hook = _hook(name, layout, places, seen, edits)
                stack.callback(module.register_forward_hook(hook).remove)
        yield


def _hook(
    name: str, layout: Layout, places: Mapping[str, tuple[str, str, int]], seen: Seen, edits: Edits
) -> Callable[..., Any]:
    place = places.get(name.removesuffix(f".{layout.projection}"))
    change = None if place is None or not name.endswith(layout.projection) else edits.outputs.get(place)
    prefix = f"{layout.layers['decoder']}."
    number = name.removeprefix(prefix) if name.startswith(prefix) else ""
    added = edits.states.get(int(number)) if number.isdigit() else None

    def hook(module: torch.nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        if arguments and isinstance(arguments[0], torch.Tensor):
            seen.inputs[name] = arguments[0][0].clone()
        if not isinstance(first, torch.Tensor):
            return None
        seen.plain[name] = first[0].clone()
        changed = None
        if change is not None:
            changed = change(first)
        if added is not None:
            changed = added(first)
        seen.outputs[name] = (first if changed is None else changed)[0].clone()
        if changed is None:
            return None
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return hook


def contributions(
    model: PreTrainedModel,
    model_type: str,
    *,
    encoder_ids: Sequence[int],
    encoder_roles: Sequence[str],
    visible: Sequence[bool],
    decoder_ids: Sequence[int],
    decoder_roles: Sequence[str],
    answer_length: int,
    edits: Edits | None = None,
) -> Numbers:
    """All numbers of one example, and under further measures what they are to sum to.

    ``output``: every entry of what a sublayer's own norm makes of its hooked output, and ``sum``, that of all its parts;
    ``head``: the head's output at the target, and at the target less the best other, under the parts ``logit`` and
    ``margin``.
    """
    layout = LAYOUTS[model_type]
    seen = forward(
        model,
        layout,
        edits or Edits(),
        encoder_ids=encoder_ids,
        decoder_ids=decoder_ids,
        visible=visible,
    )
    length = len(decoder_ids)
    answer = list(range(length - answer_length - 1, length - 1))
    document = [place for place, role in enumerate(encoder_roles) if role == "document"]
    found: Numbers = {}
    joint: dict[int, list[_Written]] = {}
    with torch.no_grad(), own_precision(model):
        for stack, block, layer in _sublayers(model, layout):
            rows = document if stack == "encoder" else answer
            roles, known = _roles(block, encoder_roles, decoder_roles)
            own = _written(model, layout, seen, stack, block, layer, rows, roles, known)
            _measure(found, own, stack, "self" if stack == "encoder" else block, layer)
            if block in ("self", "cross"):
                joint.setdefault(layer, []).append(own)
        for layer, (self_part, cross_part) in joint.items():
            _measure_joint(found, self_part, cross_part, layer)
        _attribute(found, model, layout, seen, answer, decoder_ids, encoder_roles, decoder_roles)
    return found


def _roles(
    block: str, encoder_roles: Sequence[str], decoder_roles: Sequence[str]
) -> tuple[list[str], list[str]]:
    if block == "merged":
        return [*decoder_roles, *encoder_roles], [*DECODER_ROLES, *ENCODER_ROLES]
    if block == "self":
        return list(decoder_roles), list(DECODER_ROLES)
    return list(encoder_roles), list(ENCODER_ROLES)


@dataclass(frozen=True)
class _Written:
    """One sublayer's parts: ``vectors`` row × key × head × width before any norm, and what is no key's, row × width."""

    vectors: torch.Tensor
    bias: torch.Tensor
    edit: torch.Tensor
    output: torch.Tensor
    roles: list[str]
    known: list[str]
    through: Callable[[torch.Tensor], torch.Tensor]
    shift: torch.Tensor
    normed: torch.Tensor | None


def _written(
    model: PreTrainedModel,
    layout: Layout,
    seen: Seen,
    stack: str,
    block: str,
    layer: int,
    rows: list[int],
    roles: list[str],
    known: list[str],
) -> _Written:
    path = f"{layout.layers[stack]}.{layer}.{layout.attention[block]}"
    projection = f"{path}.{layout.projection}"
    linear = model.get_submodule(projection)
    weights, values = seen.weights[path][:, rows], seen.values[path]
    heads, _, size = values.shape
    matrices = linear.weight.reshape(-1, heads, size)
    vectors = torch.einsum("hrk,hkd,whd->rkhw", weights, values, matrices)
    plain, output = seen.plain[projection][rows], seen.outputs[projection][rows]
    bias = torch.zeros_like(output) if linear.bias is None else linear.bias.expand_as(output)
    through, shift, normed = _norm_of(model, layout, seen, stack, block, layer, rows, output)
    return _Written(
        vectors, bias, output - plain, output, roles, known, through, shift.expand_as(output), normed
    )


def _norm_of(
    model: PreTrainedModel,
    layout: Layout,
    seen: Seen,
    stack: str,
    block: str,
    layer: int,
    rows: list[int],
    output: torch.Tensor,
) -> tuple[Callable[[torch.Tensor], torch.Tensor], torch.Tensor, torch.Tensor | None]:
    if layout.kind == "none":
        return (lambda part: part), torch.zeros_like(output), None
    path = f"{layout.layers[stack]}.{layer}.{layout.norm[block]}"
    norm = model.get_submodule(path)
    whole = seen.inputs[path][rows]
    if layout.kind == "rms of the output":
        return (
            (lambda part: rms_scaled(part, whole, norm)),
            torch.zeros_like(output),
            seen.outputs[path][rows],
        )
    # What the norm gives, less what it makes of the stream that the sublayer found.
    of_stream = centred_scaled(whole - output, whole, norm)
    normed = seen.outputs[path][rows] - of_stream
    return (lambda part: centred_scaled(part, whole, norm)), norm.bias, normed


def _of_role(own: _Written, role: str) -> torch.Tensor:
    chosen = torch.tensor([name == role for name in own.roles])
    return own.vectors[:, chosen]


def _measure(found: Numbers, own: _Written, stack: str, block: str, layer: int) -> None:
    lengths = own.vectors.norm(dim=-1)
    together = own.vectors.sum(dim=2).norm(dim=-1)
    y = own.through(own.output) + own.shift
    for role in own.known:
        chosen = torch.tensor([name == role for name in own.roles])
        shares = lengths[:, chosen].sum(dim=1) / lengths.sum(dim=1)
        for head in range(shares.shape[1]):
            found["weighted", stack, block, layer, head, role] = _mean(shares[:, head])
        found["norm", stack, block, layer, -1, role] = _mean(
            together[:, chosen].sum(dim=1) / together.sum(dim=1)
        )
        part = own.through(_of_role(own, role).sum(dim=(1, 2)))
        found["projection", stack, block, layer, -1, role] = _projected(part, y)
    for name, part in (
        ("bias", own.through(own.bias)),
        ("edit", own.through(own.edit)),
        ("shift", own.shift),
    ):
        found["projection", stack, block, layer, -1, name] = _projected(part, y)
    hooked = own.output if own.normed is None else own.normed
    parts = [_of_role(own, role).sum(dim=(1, 2)) for role in own.known]
    total = sum((own.through(part) for part in (*parts, own.bias, own.edit)), own.shift)
    for entry in range(hooked.shape[1]):
        found["output", stack, block, layer, -1, str(entry)] = _mean(hooked[:, entry])
        found["sum", stack, block, layer, -1, str(entry)] = _mean(total[:, entry])


def _measure_joint(found: Numbers, first: _Written, second: _Written, layer: int) -> None:
    post = bool((second.shift != 0).any())

    def of_first(part: torch.Tensor) -> torch.Tensor:
        # In a post-norm family the norm of cross-attention takes in what self-attention's has left in the stream.
        return second.through(first.through(part)) if post else first.through(part)

    carried = second.through(first.shift) if post else first.shift
    ways = ((first, of_first), (second, second.through))
    y = of_first(first.output) + carried + second.through(second.output) + second.shift
    lengths = {}
    for own, through in ways:
        for role in own.known:
            vectors = _of_role(own, role).sum(dim=2)
            behind = [through(vectors[:, key]) for key in range(vectors.shape[1])]
            lengths[role] = sum((part.norm(dim=-1) for part in behind), torch.zeros(len(y), dtype=y.dtype))
            found["projection", "decoder", "joint", layer, -1, role] = _projected(
                through(vectors.sum(dim=1)), y
            )
    total = torch.stack(list(lengths.values())).sum(dim=0)
    for role, length in lengths.items():
        found["norm", "decoder", "joint", layer, -1, role] = _mean(length / total)
    for name, parts in (
        ("bias", [through(own.bias) for own, through in ways]),
        ("edit", [through(own.edit) for own, through in ways]),
        ("shift", [carried, second.shift]),
    ):
        found["projection", "decoder", "joint", layer, -1, name] = _projected(parts[0] + parts[1], y)


@dataclass
class _Part:
    """A part of the stream on its way to the head."""

    key: tuple[str, int, int, str]
    vector: torch.Tensor


def _attribute(
    found: Numbers,
    model: PreTrainedModel,
    layout: Layout,
    seen: Seen,
    rows: list[int],
    decoder_ids: Sequence[int],
    encoder_roles: Sequence[str],
    decoder_roles: Sequence[str],
) -> None:
    """Push every part forward, layer by layer, and read it at the head's input."""
    layers = layout.layers["decoder"]
    parts = [_Part(("ends", 0, -1, "embedding"), seen.inputs[f"{layers}.0"][rows])]
    count = len(model.get_submodule(layers))
    for layer in range(count):
        for block in ("merged", "self", "cross"):
            if block not in layout.attention:
                continue
            roles, known = _roles(block, encoder_roles, decoder_roles)
            own = _written(model, layout, seen, "decoder", block, layer, rows, roles, known)
            new = [_Part((block, layer, -1, "bias"), own.bias), _Part((block, layer, -1, "edit"), own.edit)]
            for role in known:
                vectors = _of_role(own, role).sum(dim=1)
                new += [
                    _Part((block, layer, head, role), vectors[:, head]) for head in range(vectors.shape[1])
                ]
            _put(parts, new, own.through, own.shift, (block, layer), layout.kind)
        mlp = f"{layers}.{layer}.{layout.mlp}"
        new = [_Part(("mlp", layer, -1, "mlp"), seen.outputs[mlp][rows])]
        if layout.mlp_norm is None:
            _put(parts, new, lambda part: part, new[0].vector.new_zeros(1), ("mlp", layer), "none")
        else:
            path = f"{layers}.{layer}.{layout.mlp_norm}"
            norm, whole = model.get_submodule(path), seen.inputs[path][rows]
            _put(parts, new, _through_norm(whole, norm), norm.bias, ("mlp", layer), layout.kind)
        before, after = seen.plain[f"{layers}.{layer}"][rows], seen.outputs[f"{layers}.{layer}"][rows]
        if not torch.equal(before, after):
            parts.append(_Part(("states", layer, -1, "edit"), after - before))
    _read(found, model, layout, seen, rows, decoder_ids, parts)


def _through_norm(whole: torch.Tensor, norm: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda part: centred_scaled(part, whole, norm)


def _put(
    parts: list[_Part],
    new: list[_Part],
    through: Callable[[torch.Tensor], torch.Tensor],
    shift: torch.Tensor,
    place: tuple[str, int],
    kind: str,
) -> None:
    """Add the parts of a sublayer behind its norm, which the stream passes as well where it is of the sum."""
    if kind == "layer norm of the sum":
        for part in parts:
            part.vector = through(part.vector)
    for part in new:
        part.vector = through(part.vector)
    parts += new
    if kind == "layer norm of the sum":
        parts.append(_Part((*place, -1, "shift"), shift.expand_as(new[0].vector)))


def _read(
    found: Numbers,
    model: PreTrainedModel,
    layout: Layout,
    seen: Seen,
    rows: list[int],
    decoder_ids: Sequence[int],
    parts: list[_Part],
) -> None:
    output = model.get_output_embeddings()
    (head_path,) = [name for name, module in model.named_modules() if module is output]
    fixed = getattr(model, "final_logits_bias", None)
    uncapped = seen.outputs[head_path][rows] + (0 if fixed is None else fixed[0])
    targets = torch.tensor([decoder_ids[row + 1] for row in rows])
    others = uncapped.clone()
    others[range(len(rows)), targets] = -math.inf
    rivals = others.argmax(dim=-1)
    norm = None if layout.final is None else model.get_submodule(layout.final)
    if norm is not None:
        whole = seen.inputs[layout.final or ""][rows]
        for part in parts:
            part.vector = final_scaled(part.vector, whole, norm)
        normed = seen.outputs[layout.final or ""][rows]
        # T5's tied head is given a scaled input.
        scale = (seen.inputs[head_path][rows] * normed).sum() / (normed * normed).sum()
        for part in parts:
            part.vector = part.vector * scale
        if isinstance(norm, torch.nn.LayerNorm):
            parts.append(_Part(("ends", 0, -1, "final_shift"), norm.bias.expand_as(normed)))
    added = torch.zeros_like(uncapped) if fixed is None else fixed.expand_as(uncapped)
    for name, directions, of in (
        ("logit", output.weight[targets], lambda table: _at(table, targets)),
        (
            "margin",
            output.weight[targets] - output.weight[rivals],
            lambda table: _at(table, targets) - _at(table, rivals),
        ),
    ):
        for part in parts:
            block, layer, head, label = part.key
            # What no head writes, and is neither the first nor the last of all, is told layer by layer.
            block = "rest" if head < 0 and block != "ends" else block
            key = (name, "decoder", block, layer, head, label)
            found[key] = found.get(key, 0.0) + _mean((part.vector * directions).sum(dim=-1))
        found[name, "decoder", "ends", 0, -1, "head_bias"] = _mean(of(added))
        found["head", "decoder", "", -1, -1, name] = _mean(of(uncapped))


def _at(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return table[range(len(ids)), ids]


def _projected(part: torch.Tensor, y: torch.Tensor) -> float:
    return _mean((part * y).sum(dim=-1) / (y * y).sum(dim=-1))


def _mean(values: torch.Tensor) -> float:
    return float(numpy.mean(values.double().numpy()))
