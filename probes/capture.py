"""Capture: the encoder's states, then one nnsight trace of the decoder in which edits and probes work.

Online, the decoder gets cached encoder states; a capture follows that cut. The encoder runs once per
distinct input. The decoder then runs in one trace: at every attention call the edits change what the
model hands to its attention function, the probes read the same call for the chosen rows, and the output
head is given the rows that predict answer tokens, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from probes.attention import AttentionCall, Site
from probes.batching import Batch, Rows
from probes.decoder_inputs import decoder_inputs, position_rows
from probes.edits import Edit, EditError
from probes.likelihood import token_losses
from probes.models import LoadedModel, at_path
from probes.observation import AttentionProbe, Observation
from probes.registry import name_of
from probes.roles import ROLE_CODES


@dataclass(frozen=True)
class Capture:
    """What one batch leaves.

    ``token_losses`` trial × row, nats, NaN at padding; ``observations`` one per probe and site.
    """

    token_losses: Float[np.ndarray, "trial row"]
    observations: tuple[Observation, ...]


@dataclass(frozen=True)
class Reading:
    """Which probes read which sites: ``layers`` None means all; ``encoder`` asks for the document rows."""

    probes: tuple[AttentionProbe, ...] = ()
    layers: frozenset[int] | None = None
    encoder: bool = False

    def reads(self, site: Site) -> bool:
        """Whether any probe reads ``site``."""
        return bool(self.probes) and (self.layers is None or site.layer in self.layers)


def capture(model: LoadedModel, batch: Batch, reading: Reading, edits: Sequence[Edit] = ()) -> Capture:
    """Run ``batch`` through ``model`` under ``edits``; read attention and answer losses.

    Raises EditError where an edit matches no attention site of the model.
    """
    edits = tuple(edits)
    for edit in edits:
        if not any(edit.matches(site) for site in model.operations):
            raise EditError(
                f"{edit} matches no attention call of {model.name}: the model has "
                f"{_inventory(model.operations)}. Correct its stack, layers or roles."
            )
    with torch.inference_mode():
        states, encoder_observations = _encode(model, batch, reading, edits)
        losses, decoder_observations = _decode(model, batch, states, reading, edits)
    return Capture(losses, (*encoder_observations, *decoder_observations))


def encode(model: LoadedModel, batch: Batch) -> Float[Tensor, "encoder_pass encoder_position width"]:
    """The encoder's last hidden states of every distinct encoder input, nothing observed."""
    with torch.inference_mode():
        return _encode(model, batch, Reading(), ())[0]


def _encode(
    model: LoadedModel, batch: Batch, reading: Reading, edits: tuple[Edit, ...]
) -> tuple[Tensor, list[Observation]]:
    inputs = {"input_ids": batch.encoder_ids, "attention_mask": batch.encoder_mask}
    visitor = _Visitor(
        model,
        reading if reading.encoder else Reading(),
        edits,
        stack="encoder",
        row_roles=batch.pass_roles,
        key_roles={"self": batch.pass_roles},
        rows=_document_rows(batch.pass_roles),
    )
    encoder = model.model.get_encoder()
    if not visitor.sites:
        return encoder(**inputs).last_hidden_state, []
    envoy = at_path(model.envoy, _path_of(model, encoder))
    with envoy.trace(**inputs):
        for site in visitor.sites:
            operation = visitor.operation(site)
            changed = visitor.visit(site, operation.inputs)
            if changed is not None:
                operation.inputs = changed
        states = envoy.output.last_hidden_state.save()
    return states, visitor.observations(batch.trial_pass)


def _decode(
    model: LoadedModel, batch: Batch, states: Tensor, reading: Reading, edits: tuple[Edit, ...]
) -> tuple[np.ndarray, list[Observation]]:
    visitor = _Visitor(
        model,
        reading,
        edits,
        stack="decoder",
        row_roles=batch.decoder_roles,
        key_roles={
            "self": batch.decoder_roles,
            "cross": batch.lane_roles,
            "merged": torch.cat([batch.decoder_roles, batch.lane_roles], dim=1),
        },
        rows=batch.chosen,
    )
    inputs = decoder_inputs(model, batch, states)
    moves_table = model.family.positions == "table" and batch.shifted
    table = position_rows(model, batch.decoder_positions) if moves_table else None
    rows = rearrange(batch.answer.index, "lane row -> lane row 1")
    head = at_path(model.envoy, model.family.head)
    with model.envoy.trace(**inputs):
        if table is not None:
            at_path(model.envoy, str(model.family.decoder_positions)).output = table
        for site in visitor.sites:
            operation = visitor.operation(site)
            changed = visitor.visit(site, operation.inputs)
            if changed is not None:
                operation.inputs = changed
        head.input = torch.take_along_dim(head.input, rows, dim=1)
        logits = model.envoy.output.logits.save()
    losses = token_losses(logits, batch.targets)
    return _by_trial(losses, batch.answer).cpu().numpy(), visitor.observations(None)


def _by_trial(values: Float[Tensor, "lane row"], rows: Rows) -> Float[Tensor, "trial row"]:
    """The rows of each trial in their order, NaN where a trial has fewer than the longest."""
    real = rows.owner >= 0
    owner, own = rows.owner[real], values[real]
    # A trial's rows adjoin, so that its first row tells the place of the others.
    _, inverse, counts = torch.unique_consecutive(owner, return_inverse=True, return_counts=True)
    place = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[inverse]
    table = values.new_full((rows.count, int(counts.max())), torch.nan)
    table[owner, place] = own
    return table


class _Visitor:
    """Visits the attention calls of one stack: applies edits, lets probes read, keeps the averages."""

    def __init__(
        self,
        model: LoadedModel,
        reading: Reading,
        edits: tuple[Edit, ...],
        *,
        stack: str,
        row_roles: Tensor,
        key_roles: Mapping[str, Tensor],
        rows: Rows,
    ) -> None:
        self.model = model
        self.reading = reading
        self.row_roles = row_roles
        self.key_roles = key_roles
        self.rows = rows
        self.edits = {
            site: tuple(edit for edit in edits if edit.matches(site)) for site in model.sites(stack)
        }
        self.sites = tuple(site for site in model.sites(stack) if self.edits[site] or reading.reads(site))
        self.parts: list[tuple[AttentionProbe, Site, dict[str, Tensor]]] = []

    def operation(self, site: Site) -> Any:
        """nnsight's handle of the call of the attention function at ``site``."""
        return getattr(self.model.attention_envoy(site).source, self.model.operations[site])

    def visit(self, site: Site, inputs: tuple[tuple, dict]) -> tuple[tuple, dict] | None:
        """Edit and read one call; the changed inputs, or None where nothing changed."""
        call = self.model_call(site, inputs)
        for edit in self.edits[site]:
            call = edit.apply(call)
        if self.reading.reads(site):
            self._read(call)
        if not self.edits[site]:
            return None
        (module, *_), keywords = inputs
        return (module, call.query, call.key, call.value, call.mask), keywords

    def model_call(self, site: Site, inputs: tuple[tuple, dict]) -> AttentionCall:
        """The call that the model makes at ``site``, with a role for every row and key."""
        (module, query, key, value, mask), keywords = inputs
        scaling = keywords.get("scaling")
        own_causal = keywords.get("is_causal")
        causal = getattr(module, "is_causal", True) if own_causal is None else own_causal
        return AttentionCall(
            site=site,
            query=query,
            key=key,
            value=value,
            mask=mask,
            bias=keywords.get("position_bias"),
            scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
            softcap=keywords.get("softcap"),
            # Only SDPA takes a missing mask for causality, and only with more than one row.
            causal=bool(causal)
            and mask is None
            and query.shape[2] > 1
            and self.model.attention_implementation == "sdpa",
            row_roles=self.row_roles,
            key_roles=self.key_roles[site.block],
        )

    def _read(self, call: AttentionCall) -> None:
        probes = [probe for probe in self.reading.probes if probe.categories(call.site)]
        sums: list[dict[str, Tensor]] = [{} for _ in probes]
        for block, attention in call.attention_rows(self.rows.index):
            owner = self.rows.owner[:, block]
            real = owner >= 0
            for probe, total in zip(probes, sums, strict=True):
                for name, values in probe.observe(attention).items():
                    by_row = rearrange(values, "lane head row category -> lane row head category")[
                        real
                    ].double()
                    if name not in total:
                        total[name] = by_row.new_zeros((self.rows.count, *by_row.shape[1:]))
                    total[name].index_add_(0, owner[real], by_row)
        counts = torch.bincount(self.rows.owner[self.rows.owner >= 0], minlength=self.rows.count)
        for probe, total in zip(probes, sums, strict=True):
            means = {name: value / rearrange(counts, "owner -> owner 1 1") for name, value in total.items()}
            self.parts.append((probe, call.site, means))

    def observations(self, index: Int[Tensor, " trial"] | None) -> list[Observation]:
        """Every probe's averages at every site, one row per trial; ``index`` maps trials to row owners."""
        return [
            Observation(
                probe=name_of(probe),
                site=site,
                axis=probe.axis,
                categories=probe.categories(site),
                averages_heads=probe.averages_heads,
                values={
                    name: (value if index is None else value[index]).cpu().numpy()
                    for name, value in means.items()
                },
            )
            for probe, site, means in self.parts
        ]


def _document_rows(roles: Int[Tensor, "encoder_pass position"]) -> Rows:
    """The positions of every pass whose role is *document*; each pass owns its rows."""
    is_document = roles == ROLE_CODES["document"]
    width = int(is_document.sum(dim=1).max())
    order = torch.argsort((~is_document).to(torch.int8), dim=1, stable=True)[:, :width]
    passes = torch.arange(len(roles), device=roles.device)
    owner = torch.where(is_document.gather(1, order), rearrange(passes, "owner -> owner 1"), -1)
    return Rows(order, owner, len(roles))


def _path_of(model: LoadedModel, module: torch.nn.Module) -> str:
    for path, candidate in model.model.named_modules():
        if candidate is module:
            return path
    raise ValueError(f"{type(module).__name__} is not a part of {model.name}")


def _inventory(sites: Iterable[Site]) -> str:
    found: dict[str, int] = {}
    for site in sites:
        key = f"{site.stack} {site.block}"
        found[key] = found.get(key, 0) + 1
    return ", ".join(f"{count} × {name}" for name, count in found.items())
