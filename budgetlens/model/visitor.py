"""What happens at the layers of one stack inside a trace: edits first, then probes, then edits of states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from budgetlens.model.attention import AttentionCall, Site, Tokens
from budgetlens.model.batching import Rows, StateChange
from budgetlens.model.edits import CallEdit, OutputEdit
from budgetlens.model.loaded import LoadedModel, at_path, site_path
from budgetlens.model.mixing_reading import MixingFollower
from budgetlens.model.observation import (
    ACTIVATIONS,
    AnswerLogits,
    AnyProbe,
    AttentionProbe,
    MixingProbe,
    Observation,
    Probing,
    SublayerProbe,
)
from budgetlens.model.owner_sums import OwnerSums, means_of
from budgetlens.model.sublayer import JOINT
from budgetlens.model.sublayer_reading import SublayerReader
from budgetlens.model.trials import Edit
from budgetlens.registry.names import name_of

#: Those of the activations that an attention call is handed.
CALL_ACTIVATIONS = ACTIVATIONS[1:]

#: Edits with the entries of the batch that they concern; None is all of them.
PlacedEdits = tuple[Int[Tensor, " part"] | None, tuple[Edit, ...]]


#: A probe that yields what it reads of some rows of a site.
_OfRows: TypeAlias = AttentionProbe | SublayerProbe | MixingProbe


@dataclass(frozen=True)
class _Part:
    """What a probe has of one site: ``means`` by quantity, owner × head × category."""

    probe: AnyProbe
    site: Site
    categories: tuple[str, ...]
    averages_heads: bool
    means: Mapping[str, Tensor]


class StackVisitor:
    """Visits the layers of one stack: applies edits, lets probes read, keeps the averages of what they read.

    ``edits`` are those of every entry of the batch (pass or lane). ``key_roles`` and ``tokens`` are
    by block. ``changes`` of the other stack are left out. ``answer``: the decoder's rows whose logits predict the answer,
    which ``predicting`` marks. ``follower`` follows what tokens become of each other, where a probe asks.
    """

    def __init__(
        self,
        model: LoadedModel,
        reading: Probing,
        edits: Sequence[Sequence[Edit]],
        changes: Sequence[StateChange],
        *,
        stack: str,
        row_roles: Int[Tensor, "batch row"],
        key_roles: Mapping[str, Int[Tensor, "batch key"]],
        tokens: Mapping[str, Tokens],
        rows: Rows,
        predicting: Bool[Tensor, "batch row"] | None = None,
        answer: Rows | None = None,
        follower: MixingFollower | None = None,
    ) -> None:
        self.model = model
        self.reading = reading
        self.stack = stack
        self.row_roles = row_roles
        self.key_roles = key_roles
        self.tokens = tokens
        self.rows = rows
        self.predicting = predicting
        self.answer = answer
        self.follower = follower
        self.sublayers = SublayerReader(
            model, reading, stack=stack, rows=rows.index, predicting=None if answer is None else answer.index
        )
        sites = model.sites(stack)
        self.edits = {site: _placed(site, edits, row_roles.device) for site in sites}
        self.sites = tuple(
            site
            for site in sites
            if self.edits[site] or reading.reads(site) or self._keeps_call(site) or self._looks_at(site)
        )
        self.changes = [change for change in changes if change.edit.stack == stack]
        self.parts: list[_Part] = []
        self._sums: dict[tuple[int, Site], tuple[_OfRows, dict[str, Tensor]]] = {}
        #: By site, or by layer for the residual stream, and what it is.
        self.activations: dict[tuple[Site | int, str], Tensor] = {}
        #: States behind layers that probes read: of the decoder, those of the rows that predict the answer.
        self.layer_states: dict[int, Tensor] = {}
        self._by_owner = OwnerSums()

    @property
    def has_work(self) -> bool:
        """Whether anything in the stack is read or edited."""
        layers = range(self.model.trial_tokenizer.depths[self.stack])
        keeps = any(
            self.reading.keeps(layer, "residual") or self.reading.reads_layer(self.stack, layer)
            for layer in layers
        )
        return bool(self.sites or self.changes or keeps)

    def visit_layers(self) -> None:
        """Edit and read every layer in the order of the forward. To be called inside a trace."""
        for layer in range(self.model.trial_tokenizer.depths[self.stack]):
            if self.follower is not None:
                self.follower.begin_layer()
            sites = [site for site in self.sites if site.layer == layer]
            for site in sites:
                self._visit_site(site)
            self.sublayers.read_layer(self._take)
            if self.follower is not None:
                self._read_mixing(self.follower, sites[-1])
            self._close_layer()
            self.sublayers.visit_feed_forward(layer)
            changes = [change for change in self.changes if change.edit.layer == layer]
            keeps = self.reading.keeps(layer, "residual")
            reads = self.reading.reads_layer(self.stack, layer)
            if changes or keeps or reads or self.sublayers.follows:
                family = self.model.family
                path = family.encoder_layers if self.stack == "encoder" else family.decoder_layers
                module = at_path(self.model.envoy, f"{path}.{layer}")
                output = module.output
                own = output[0] if isinstance(output, tuple) else output
                states = changed_states(own, changes)
                self.sublayers.visit_states(layer, own, states)
                if changes:
                    module.output = (states, *output[1:]) if isinstance(output, tuple) else states
                if keeps:
                    # A layer behind may write where it reads.
                    self.activations[layer, "residual"] = states.clone()
                if reads:
                    self.layer_states[layer] = self._answer_rows(states)
                self._lose(changes)

    def final_states(self, states: Float[Tensor, "batch position width"]) -> Tensor:
        """The states behind the last layer and norm, with the edits that concern them."""
        changes = [change for change in self.changes if change.edit.layer is None]
        self._lose(changes)
        return changed_states(states, changes)

    def read_stream(self, answer: AnswerLogits) -> None:
        """Let probes read the stream up to the logits, once these are there. To be called behind the trace."""
        if not self.sublayers.follows:
            return
        assert self.answer is not None
        stream = self.sublayers.stream(answer)
        for probe in self.reading.of_stream:
            for own in probe.observe_stream(stream):
                if self.reading.has(own.site.layer):
                    whole = slice(0, self.answer.index.shape[1])
                    sums = {
                        name: self._by_owner(values, whole, self.answer)
                        for name, values in own.values.items()
                    }
                    means = means_of(sums, self.answer)
                    self.parts.append(_Part(probe, own.site, own.categories, not own.by_head, means))

    def observations(self, index: Int[Tensor, " trial"] | None) -> list[Observation]:
        """Every probe's averages at every site, one row per trial; ``index`` maps trials to row owners."""
        return [
            Observation(
                probe=name_of(part.probe),
                site=part.site,
                axis=part.probe.declares.axis,
                categories=part.categories,
                averages_heads=part.averages_heads,
                values={
                    name: (value if index is None else value[index]).cpu().numpy()
                    for name, value in part.means.items()
                },
            )
            for part in self.parts
        ]

    def _visit_site(self, site: Site) -> None:
        calls = _of_kind(CallEdit, self.edits[site])
        outputs = _of_kind(OutputEdit, self.edits[site])
        looks = self._looks_at(site)
        residual = self.sublayers.residual(site) if looks else None
        if looks or calls or self.reading.reads(site) or self._keeps_call(site):
            operation = getattr(self.model.attention_envoy(site).source, self.model.operations[site])
            call, changed = self._visit_call(site, operation.inputs, calls)
            if changed is not None:
                operation.inputs = changed
        if outputs or looks:
            projection = at_path(
                self.model.envoy, f"{site_path(self.model.family, site)}.{self.model.family.output}"
            )
            output = projection.output
            edited = _edited_output(output, outputs) if outputs else output
            if outputs:
                projection.output = edited
            if residual is not None and self.sublayers.wants(site):
                self.sublayers.visit(call, residual, output, edited)
            if residual is not None and self.follower is not None:
                norm, on_stream = self.sublayers.closing_norm(site)
                self.follower.visit(call, residual, edited, norm, on_stream=on_stream)

    def _looks_at(self, site: Site) -> bool:
        return self.follower is not None or self.sublayers.wants(site)

    def _read_mixing(self, follower: MixingFollower, site: Site) -> None:
        """Let probes read what the chosen rows are made of behind a layer whose last sublayer is at ``site``."""
        if not self.reading.has(site.layer) or (self.stack == "encoder" and not self.reading.encoder):
            return
        block = JOINT if site.block == "cross" else site.block
        mixing = follower.mixing(self._by_token(Site(site.stack, block, site.layer)), self.rows.index)
        for probe in self.reading.of_mixing:
            whole = slice(0, self.rows.index.shape[1])
            self._take(probe, mixing.site, probe.observe_mixing(mixing), whole)

    def _by_token(self, site: Site) -> Site:
        """The site with its keys one by one, where a trial is read like that."""
        keys = self.reading.tokens
        return site if keys is None else replace(site, tokens=keys.of(site.stack, site.block))

    def _lose(self, changes: Sequence[StateChange]) -> None:
        for change in changes:
            if self.follower is not None:
                self.follower.lose(change)

    def _answer_rows(self, states: Float[Tensor, "batch position width"]) -> Tensor:
        """A copy of the states of the rows that predict the answer; of all where there is no answer."""
        if self.answer is None:
            return states.clone()
        return torch.take_along_dim(states, rearrange(self.answer.index, "lane row -> lane row 1"), dim=1)

    def _visit_call(
        self, site: Site, inputs: tuple[tuple, dict], edits: Sequence[PlacedEdits]
    ) -> tuple[AttentionCall, tuple[tuple, dict] | None]:
        """Edit and read one call; the call as edited, and its changed inputs, or None where nothing changed."""
        original = self._model_call(site, inputs)
        for what in CALL_ACTIVATIONS:
            if self.reading.keeps(site.layer, what):
                self.activations[site, what] = getattr(original, what).clone()
        call = _edited_call(original, edits)
        if self.reading.reads(site):
            self._read(call)
        if call is original:
            return call, None
        (module, *_), keywords = inputs
        if call.bias is not original.bias:
            keywords = {**keywords, "position_bias": call.bias}
        return call, ((module, call.query, call.key, call.value, call.mask), keywords)

    def _keeps_call(self, site: Site) -> bool:
        return any(self.reading.keeps(site.layer, what) for what in CALL_ACTIVATIONS)

    def _model_call(self, site: Site, inputs: tuple[tuple, dict]) -> AttentionCall:
        """The call that the model makes at ``site``, with a role for every row and key."""
        (module, query, key, value, mask), keywords = inputs
        scaling = keywords.get("scaling")
        own_causal = keywords.get("is_causal")
        causal = getattr(module, "is_causal", True) if own_causal is None else own_causal
        return AttentionCall(
            site=self._by_token(site),
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
            predicting=self.predicting,
            tokens=self.tokens[site.block],
            projection=at_path(
                self.model.model, f"{site_path(self.model.family, site)}.{self.model.family.output}"
            ),
        )

    def _read(self, call: AttentionCall) -> None:
        probes = [probe for probe in self.reading.of_attention if probe.categories(call.site)]
        if not probes:
            return
        for block, attention in call.attention_rows(self.rows.index):
            for probe in probes:
                self._take(probe, call.site, probe.observe(attention), block)
        self._close_layer()

    def _take(self, probe: _OfRows, site: Site, found: Mapping[str, Tensor], block: slice) -> None:
        """Add what a probe read of a block of rows to what it read of the others."""
        _, total = self._sums.setdefault((id(probe), site), (probe, {}))
        for name, values in found.items():
            own = self._by_owner(values, block, self.rows)
            total[name] = total[name] + own if name in total else own

    def _close_layer(self) -> None:
        """Averages of what was read of whole sites."""
        for (_, site), (probe, total) in self._sums.items():
            self.parts.append(
                _Part(
                    probe,
                    site,
                    probe.categories(site),
                    probe.declares.averages_heads,
                    means_of(total, self.rows),
                )
            )
        self._sums.clear()


def changed_states(
    states: Float[Tensor, "batch position width"], changes: Sequence[StateChange]
) -> Float[Tensor, "batch position width"]:
    """The states under ``changes``, made one after the other; the given ones are left as they are."""
    if not changes:
        return states
    states = states.clone()
    for change in changes:
        for positions, donors in zip(change.positions, change.donors, strict=True):
            taken = [states[row, places] for row, places in donors]
            states[change.row, positions] = change.edit.apply(states[change.row, positions], taken)
    return states


def _placed(site: Site, edits: Sequence[Sequence[Edit]], device: torch.device) -> tuple[PlacedEdits, ...]:
    """The edits that match ``site``, with the entries of the batch that run under the same of them."""
    entries: dict[tuple[Edit, ...], list[int]] = {}
    for number, own in enumerate(edits):
        entries.setdefault(tuple(edit for edit in own if edit.matches(site)), []).append(number)
    if len(entries) == 1:
        return tuple((None, own) for own in entries if own)
    return tuple((torch.tensor(numbers, device=device), own) for own, numbers in entries.items() if own)


def _of_kind(kind: type, placed: Sequence[PlacedEdits]) -> list[PlacedEdits]:
    chosen = [(entries, tuple(edit for edit in edits if isinstance(edit, kind))) for entries, edits in placed]
    return [(entries, edits) for entries, edits in chosen if edits]


def _edited_call(call: AttentionCall, placed: Sequence[PlacedEdits]) -> AttentionCall:
    parts = []
    for entries, edits in placed:
        part = original = call if entries is None else call.of_batch(entries)
        for edit in edits:
            assert isinstance(edit, CallEdit)
            part = edit.apply(part)
        if entries is None:
            return part
        if part is not original:
            parts.append((entries, original, part))
    return call.joined(parts) if parts else call


def _edited_output(output: Tensor, placed: Sequence[PlacedEdits]) -> Tensor:
    edited = output.clone()
    for entries, edits in placed:
        chosen = slice(None) if entries is None else entries
        for edit in edits:
            assert isinstance(edit, OutputEdit)
            edited[chosen] = edit.apply_to_output(edited[chosen])
    return edited
