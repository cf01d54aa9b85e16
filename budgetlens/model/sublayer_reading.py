"""Reading sublayers of attention and the residual stream inside a trace, only where a probe asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from budgetlens.model.attention import BLOCK_SCORES, AttentionCall, Site
from budgetlens.model.families import MLP
from budgetlens.model.loaded import LoadedModel, at_path
from budgetlens.model.norms import HeldNorm, NormMap, rows_of
from budgetlens.model.observation import AnswerLogits, Probing, SublayerProbe
from budgetlens.model.stream import STATES, Head, Step, Stream
from budgetlens.model.sublayer import Mixture, ProjectedValues, Sublayer, joint_site

#: Takes what a probe read of a block of rows: the probe, its site, its values, and the rows' place.
Taken = Callable[[SublayerProbe, Site, Mapping[str, Tensor], slice], None]


@dataclass(frozen=True, eq=False)
class _Visited:
    """What was seen of one sublayer, in some rows; as in :class:`Sublayer`."""

    call: AttentionCall
    residual: Float[Tensor, "batch row width"]
    output: Float[Tensor, "batch row width"]
    edited: Float[Tensor, "batch row width"]
    norm: HeldNorm | None


@dataclass(eq=False)
class _Group:
    """Some rows, what they are read for, and what was seen of a layer's sublayers in them so far."""

    rows: Int[Tensor, "batch row"]
    probed: bool
    kept: bool
    seen: list[_Visited] = field(default_factory=list)


class SublayerReader:
    """Sees the sublayers of one stack: the stream before each, its output, its norm, held.

    ``rows`` are those whose sublayers probes read; ``predicting`` those of the stream: None where there is no answer.
    """

    def __init__(
        self,
        model: LoadedModel,
        reading: Probing,
        *,
        stack: str,
        rows: Int[Tensor, "batch row"],
        predicting: Int[Tensor, "batch row"] | None,
    ) -> None:
        self.model = model
        self.reading = reading
        self.stack = stack
        self.follows = bool(reading.of_stream) and predicting is not None
        self.steps: list[Step] = []
        self.embedding: Tensor | None = None
        self.last: Tensor | None = None
        self._groups: list[_Group] = []
        self.predicting = rows if predicting is None else predicting
        if self.follows and self.predicting is rows:
            self._groups.append(_Group(rows, True, True))
        else:
            if reading.of_sublayers:
                self._groups.append(_Group(rows, True, False))
            if self.follows:
                self._groups.append(_Group(self.predicting, False, True))
        self._maps: dict[str, NormMap] = {}

    def wants(self, site: Site) -> bool:
        """Whether a sublayer is looked at."""
        return self.follows or self.reading.reads_sublayer(site)

    def closing_norm(self, site: Site) -> tuple[NormMap | None, bool]:
        """The norm that closes a sublayer, if any, and whether it norms the stream and the output together."""
        block = self._block(site)
        closed = block in self.model.family.stream.norms
        return (self._map(site.layer, block) if closed else None), self._on_stream

    def residual(self, site: Site) -> Tensor:
        """The stream before a sublayer; to be called before the sublayer runs."""
        states = self._module(site.layer, self.model.family.stream.reads[self._block(site)]).input
        if self.follows and self.embedding is None:
            self.embedding = rows_of(states, self.predicting)
        return states

    def visit(self, call: AttentionCall, residual: Tensor, output: Tensor, edited: Tensor) -> None:
        """Keep the chosen rows of a sublayer whose output projection has run; its norm is waited for."""
        block = self._block(call.site)
        path = self.model.family.stream.norms.get(block)
        normed = None if path is None else self._module(call.site.layer, path).input
        for group in self._groups:
            own = rows_of(output, group.rows)
            held = None
            if normed is not None:
                held = self._map(call.site.layer, block).held(rows_of(normed, group.rows))
            group.seen.append(
                _Visited(
                    call,
                    rows_of(residual, group.rows),
                    own,
                    own if edited is output else rows_of(edited, group.rows),
                    held,
                )
            )

    def read_layer(self, taken: Taken) -> None:
        """Let probes read the sublayers of a layer's attention, and both together where there are two."""
        for group in self._groups:
            seen, group.seen = group.seen, []
            if seen:
                self._let_read(group, seen, taken)

    def visit_feed_forward(self, layer: int) -> None:
        """Keep what the layer's feed-forward sublayer puts into the stream."""
        if not self.follows:
            return
        stream = self.model.family.stream
        output = rows_of(self._module(layer, stream.feed_forward).output, self.predicting)
        path, norm = stream.norms.get(MLP), None
        if path is not None:
            normed = rows_of(self._module(layer, path).input, self.predicting)
            norm = self._map(layer, MLP).held(normed)
        self.steps.append(Step(Site(self.stack, MLP, layer), output, norm, self._on_stream))

    def visit_states(self, layer: int, states: Tensor, changed: Tensor) -> None:
        """Keep what edits changed of the states that leave a layer, and the stream behind the last one."""
        if not self.follows:
            return
        if changed is not states:
            edit = rows_of(changed, self.predicting) - rows_of(states, self.predicting)
            self.steps.append(Step(Site(self.stack, STATES, layer), edit, edit=edit))
        if layer == self.model.trial_tokenizer.depths[self.stack] - 1:
            self.last = rows_of(changed, self.predicting)

    def stream(self, answer: AnswerLogits) -> Stream:
        """The whole stream, once the logits are there."""
        assert self.embedding is not None
        assert self.last is not None
        path = self.model.family.stream.final_norms.get(self.stack)
        final = None if path is None else NormMap.of(at_path(self.model.model, path)).held(self.last)
        return Stream(
            embedding=self.embedding,
            steps=tuple(self.steps),
            last=self.last,
            final=final,
            head=Head.of(self.model),
            logits=answer.logits,
            targets=answer.targets,
        )

    @property
    def _on_stream(self) -> bool:
        return self.model.family.stream.normed == "stream"

    def _let_read(self, group: _Group, seen: Sequence[_Visited], taken: Taken) -> None:
        read = group.probed and self.reading.reads_sublayer(seen[0].call.site)
        places: list[tuple[int, ...]] = [(place,) for place in range(len(seen))]
        if read and len(seen) > 1:
            places.append(tuple(range(len(seen))))
        plain = [ProjectedValues(visited.call) for visited in seen]
        norms = [self._norms([seen[place] for place in own]) for own in places]
        through = [
            [_through(seen[place].call, held, plain[place]) for place, held in zip(own, helds, strict=True)]
            for own, helds in zip(places, norms, strict=True)
        ]
        kept: list[dict[Any, list[Tensor]]] = [{probe: [] for probe in self.reading.of_stream} for _ in seen]
        for block, mixtures in _mixtures(group.rows, seen, plain):
            for own, helds, values in zip(places, norms, through, strict=True):
                sublayers = [
                    self._sublayer(seen[place], mixtures[place], through_norms, held, block)
                    for place, held, through_norms in zip(own, helds, values, strict=True)
                ]
                if read:
                    self._read(sublayers, block, taken)
                if group.kept and len(own) == 1:
                    for probe, parts in kept[own[0]].items():
                        parts.append(probe.keep(sublayers[0]))
        if group.kept:
            self.steps.extend(map(self._step, seen, kept))

    def _read(self, sublayers: Sequence[Sublayer], block: slice, taken: Taken) -> None:
        site = joint_site(sublayers)
        for probe in self.reading.of_sublayers:
            if probe.categories(site):
                taken(probe, site, probe.observe_sublayers(sublayers), block)

    def _norms(self, group: Sequence[_Visited]) -> list[tuple[HeldNorm, ...]]:
        """What each sublayer's output passes: its own norm, and those of the stream behind it where they norm that."""
        own: list[tuple[HeldNorm, ...]] = [
            () if visited.norm is None else (visited.norm,) for visited in group
        ]
        if not self._on_stream:
            return own
        return [tuple(norm for norms in own[place:] for norm in norms) for place in range(len(own))]

    def _sublayer(
        self,
        visited: _Visited,
        mixture: Mixture,
        through: ProjectedValues,
        norms: tuple[HeldNorm, ...],
        block: slice,
    ) -> Sublayer:
        output = visited.output[:, block]
        return Sublayer(
            mixture,
            through,
            visited.residual[:, block],
            output,
            output if visited.edited is visited.output else visited.edited[:, block],
            tuple(norm.of_rows(block) for norm in norms),
            self._on_stream,
        )

    def _step(self, visited: _Visited, kept: Mapping[Any, Sequence[Tensor]]) -> Step:
        return Step(
            visited.call.site,
            visited.edited,
            visited.norm,
            self._on_stream and visited.norm is not None,
            None if visited.edited is visited.output else visited.edited - visited.output,
            ProjectedValues(visited.call).projection,
            {probe: torch.cat(list(parts), dim=1) for probe, parts in kept.items()},
        )

    def _block(self, site: Site) -> str:
        return "encoder" if site.stack == "encoder" else site.block

    def _module(self, layer: int, path: str) -> Any:
        return at_path(self.model.envoy, f"{self._layers}.{layer}.{path}")

    def _map(self, layer: int, block: str) -> NormMap:
        path = f"{self._layers}.{layer}.{self.model.family.stream.norms[block]}"
        if path not in self._maps:
            self._maps[path] = NormMap.of(at_path(self.model.model, path))
        return self._maps[path]

    @property
    def _layers(self) -> str:
        family = self.model.family
        return family.encoder_layers if self.stack == "encoder" else family.decoder_layers


def _through(call: AttentionCall, norms: Sequence[HeldNorm], plain: ProjectedValues) -> ProjectedValues:
    """The values behind the maps of these norms; those that there are where there are none."""
    return ProjectedValues(call, tuple(norm.map for norm in norms)) if norms else plain


def _mixtures(
    rows: Int[Tensor, "batch row"], seen: Sequence[_Visited], values: Sequence[ProjectedValues]
) -> Iterator[tuple[slice, list[Mixture]]]:
    """The attention of every sublayer in the same blocks of rows, which bound the memory."""
    per_row = sum(
        visited.call.query.shape[0] * visited.call.query.shape[1] * visited.call.key.shape[2]
        for visited in seen
    )
    step = max(1, BLOCK_SCORES // max(1, per_row))
    for start in range(0, rows.shape[1], step):
        block = slice(start, min(start + step, rows.shape[1]))
        found = []
        for visited, own in zip(seen, values, strict=True):
            # No more rows than one call by itself takes at a time: one block.
            ((_, attention),) = visited.call.attention_rows(rows[:, block])
            found.append(Mixture(attention, own))
        yield block, found
