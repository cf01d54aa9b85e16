"""Activations of one trial as the model computes them: the residual stream, queries, keys and values of chosen layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from budgetlens.model.attention import Site
from budgetlens.model.batching import make_batch
from budgetlens.model.capture import Probing, capture, encode
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.observation import ACTIVATIONS
from budgetlens.model.tokenization import TokenizedTrial


def activation_name(stack: str, layer: int, what: str, block: str = "") -> str:
    """``decoder.3.residual``, ``decoder.3.cross.key``: how an activation is called in a file."""
    return ".".join(part for part in (stack, str(layer), block, what) if part)


def require_activations(model: LoadedModel, layers: Iterable[int] | None, what: Collection[str]) -> None:
    """Raise ValueError for layers that neither stack of the model has, and for activations that nobody knows."""
    unknown = [each for each in what if each not in ACTIVATIONS]
    if unknown or not what or isinstance(what, str):
        raise ValueError(f"what is kept are some of {', '.join(ACTIVATIONS)}, in a list; got {what!r}")
    if isinstance(layers, int):
        raise ValueError(f"layers are whole numbers in a list, or None for all; got {layers}")
    depth = max(model.trial_tokenizer.depths.values())
    wrong = None if layers is None else [layer for layer in layers if not 0 <= layer < depth]
    if wrong or (layers is not None and not list(layers)):
        raise ValueError(
            f"layers {wrong or 'none'} were asked for; {model.name} has layers 0 to {depth - 1} (encoder "
            f"{model.trial_tokenizer.depths['encoder']}, decoder {model.trial_tokenizer.depths['decoder']})"
        )


def activations_of(
    model: LoadedModel, trial: TokenizedTrial, *, layers: Collection[int] | None, what: Collection[str]
) -> dict[str, Tensor]:
    """The activations of one trial, which runs alone, by :func:`activation_name`; on the CPU, in the model's precision.

    The residual stream is position × width, as it leaves the layer, state edits made. Queries are head × row × width,
    keys and values key head × key × width, as the attention function is handed them: normed and rotated where the
    family does so, before any edit of the call. Keys of a merged softmax are the encoder's and then the decoder's.

    Raises ValueError as :func:`require_activations` does.
    """
    require_activations(model, layers, what)
    batch = make_batch([trial], pad_token=pad_token(model), device=model.device)
    reading = Probing(
        layers=None if layers is None else frozenset(layers), activations=frozenset(what), encoder=True
    )
    found = {}
    for (stack, place, kind), tensor in capture(model, batch, reading).activations.items():
        # The first pass and the only lane are the trial's own.
        own = tensor[0]
        if isinstance(place, Site):
            name = activation_name(stack, place.layer, kind, place.block)
            own = _own_positions(own, trial, place, kind)
        else:
            name = activation_name(stack, place, kind)
            own = own[: len(trial.encoder_ids if stack == "encoder" else trial.decoder_ids)]
        found[name] = own.cpu().contiguous()
    return found


def states_at(
    model: LoadedModel, trial: TokenizedTrial, stack: str, roles: Collection[str], layer: int | None
) -> Float[Tensor, "position width"]:
    """States of some roles of one trial, which runs alone, where they leave a layer; the encoder's final ones for None.

    On the CPU, in the model's precision, state edits made; without positions where the trial has none of the roles.
    """
    if layer is None:
        batch = make_batch([trial], pad_token=pad_token(model), device=model.device)
        found = encode(model, batch)[0].cpu()
    else:
        kept = activations_of(model, trial, layers=[layer], what=["residual"])
        found = kept[activation_name(stack, layer, "residual")]
    return found[trial.positions(stack, roles)]


def _own_positions(tensor: Tensor, trial: TokenizedTrial, site: Site, kind: str) -> Tensor:
    """Queries, keys or values of one call (head × position × width) without padding, the encoder's keys first."""
    encoder, decoder = len(trial.encoder_ids), len(trial.decoder_ids)
    if site.stack == "encoder":
        return tensor[:, :encoder]
    if kind == "query" or site.block == "self":
        return tensor[:, :decoder]
    if site.block == "cross":
        return tensor[:, :encoder]
    return torch.cat([tensor[:, decoder : decoder + encoder], tensor[:, :decoder]], dim=1)
