"""Following what tokens become of each other through the layers of a stack, inside a trace and only where a probe asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from budgetlens.model.attention import AttentionCall, Site, role_members
from budgetlens.model.batching import Batch, StateChange
from budgetlens.model.mixing import ROWS, contributions, mixed, mixed_with_own
from budgetlens.model.norms import NormMap
from budgetlens.model.roles import TokenKeys
from budgetlens.model.sublayer import Mixture, ProjectedValues


@dataclass(frozen=True)
class Columns:
    """Which column each input token counts in, 1 there and 0 elsewhere; padding counts in none."""

    encoder: Float[Tensor, "encoder_pass position column"]
    decoder: Float[Tensor, "lane position column"]

    @classmethod
    def of(cls, batch: Batch, tokens: TokenKeys | None) -> Columns:
        """One column per role; or one per token, the encoder's before the decoder's, of a batch of one trial."""
        if tokens is None:
            return cls(role_members(batch.pass_roles).double(), role_members(batch.decoder_roles).double())
        passes, positions = batch.encoder_ids.shape
        each = torch.eye(
            tokens.encoder + tokens.decoder, dtype=torch.float64, device=batch.decoder_ids.device
        )
        # Passes of donors may be longer than the trial's own.
        padding = each.new_zeros((positions - tokens.encoder, len(each)))
        encoder = torch.cat([each[: tokens.encoder], padding])
        return cls(encoder.expand(passes, -1, -1), each[None, tokens.encoder :])


@dataclass(frozen=True)
class Memory:
    """The encoder's final states as a decoder takes them, by column: what they are made of, and themselves."""

    rolled: Float[Tensor, "lane key column"]
    states: Float[Tensor, "lane key column"]


@dataclass(frozen=True)
class Mixing:
    """What some rows are made of behind the attention of one layer, by the roles of the site.

    ``rolled`` goes down to input tokens, ``in_layer`` to the states that enter the layer (of a decoder, to the encoder's
    final ones besides). Both sum to 1 and are NaN where undefined; float64.
    """

    site: Site
    rolled: Float[Tensor, "batch row role"]
    in_layer: Float[Tensor, "batch row role"]


class MixingFollower:
    """Follows every row of a stack's entries (passes or lanes), each by itself, from layer to layer.

    ``lengths`` are those of the entries that are followed, the first of the batch. ``memory`` is None in the encoder.
    """

    def __init__(
        self,
        columns: Columns,
        inputs: Float[Tensor, "entry row column"],
        lengths: Sequence[int],
        memory: Memory | None = None,
    ) -> None:
        self.columns = columns
        self.inputs = inputs
        self.lengths = lengths
        self.memory = memory
        self.rolled = inputs.clone()
        self.in_layer = inputs.clone()

    def of_decoder(self, batch: Batch, tokens: TokenKeys | None) -> MixingFollower:
        """The follower of the lanes of ``batch``, once this one has followed the encoder.

        They need not be those of the batch that the encoder was run for: where generated answers are read, they hold these.
        """
        memory = Memory(self.rolled[batch.lane_pass], self.inputs[batch.lane_pass])
        lengths = (batch.decoder_trial >= 0).sum(dim=1).tolist()
        columns = Columns.of(batch, tokens)
        return MixingFollower(columns, columns.decoder, lengths, memory)

    def begin_layer(self) -> None:
        """What enters a layer is itself."""
        self.in_layer = self.inputs.clone()

    def visit(
        self,
        call: AttentionCall,
        residual: Float[Tensor, "batch row width"],
        edited: Float[Tensor, "batch row width"],
        norm: NormMap | None,
        *,
        on_stream: bool,
    ) -> None:
        """Follow one sublayer: its call, the stream before it, its output behind edits, and the norm that closes it."""
        for entry, length in enumerate(self.lengths):
            own = call.of_batch(torch.tensor([entry], device=residual.device))
            closed = _closed(
                residual[entry, :length].float(), edited[entry, :length].float(), norm, on_stream
            )
            rolled, in_layer = self.rolled[entry].clone(), self.in_layer[entry].clone()
            for rows, shares in _shares(own, closed):
                self.rolled[entry, rows] = self._step(call.site.block, shares, rolled, rows, entry, "rolled")
                self.in_layer[entry, rows] = self._step(
                    call.site.block, shares, in_layer, rows, entry, "states"
                )

    def _step(
        self, block: str, shares: Tensor, before: Tensor, rows: slice, entry: int, of: str
    ) -> Float[Tensor, "row column"]:
        if self.memory is None or block == "self":
            return mixed(shares, before)
        memory = getattr(self.memory, of)[entry]
        if block == "merged":
            return mixed(shares, torch.cat([before, memory]))
        return mixed_with_own(shares, memory, before[rows])

    def lose(self, change: StateChange) -> None:
        """Mark positions whose states an edit put in the place of what the layers below had made."""
        if change.edit.replaces:
            for positions in change.positions:
                self.rolled[change.row, positions] = torch.nan

    def mixing(self, site: Site, rows: Int[Tensor, "batch row"]) -> Mixing:
        """What chosen rows are made of behind a layer, by the roles of ``site``."""
        # A token's column bears its number.
        columns = list(map(int, site.tokens)) if site.tokens else [site.columns[role] for role in site.roles]
        index = rearrange(rows, "batch row -> batch row 1")
        return Mixing(
            site,
            *(
                torch.take_along_dim(part, index, dim=1)[..., columns]
                for part in (self.rolled, self.in_layer)
            ),
        )


def followed(batch: Batch, tokens: TokenKeys | None) -> MixingFollower:
    """The follower of the encoder's passes from which trials are decoded, by role or by token."""
    columns = Columns.of(batch, tokens)
    lengths = batch.encoder_mask.sum(dim=1).tolist()[: batch.decoded]
    return MixingFollower(columns, columns.encoder, lengths)


@dataclass(frozen=True)
class _Closed:
    """The stream around a sublayer behind the norm that closes it: y, the residual's part, and the norm's two factors."""

    total: Float[Tensor, "row width"]
    residual: Float[Tensor, "row width"]
    maps: tuple[NormMap, ...] = ()
    scale: Float[Tensor, "row 1"] | None = None


def _closed(
    residual: Float[Tensor, "row width"],
    edited: Float[Tensor, "row width"],
    norm: NormMap | None,
    on_stream: bool,
) -> _Closed:
    if norm is None:
        return _Closed(residual + edited, residual)
    acts_on = residual + edited if on_stream else edited
    held = norm.held(rearrange(acts_on, "row width -> 1 row width"))
    normed = norm(acts_on) / held.scale[0]
    if norm.shift is not None:
        normed = normed + norm.shift
    kept = norm(residual) / held.scale[0] if on_stream else residual
    return _Closed(normed if on_stream else kept + normed, kept, (norm,), held.scale[0])


def _shares(call: AttentionCall, closed: _Closed) -> Iterator[tuple[slice, Float[Tensor, "row column"]]]:
    """Contributions of every key to the rows of a call of one entry, in blocks of rows."""
    values = ProjectedValues(call, closed.maps)
    index = torch.arange(len(closed.total), device=closed.total.device)
    for first in range(0, len(index), ROWS):
        some = rearrange(index[first : first + ROWS], "row -> 1 row")
        for block, attention in call.attention_rows(some):
            rows = slice(first + block.start, first + block.stop)
            slots = rearrange(Mixture(attention, values).slots, "copy 1 head row key -> (copy head) row key")
            if closed.scale is not None:
                slots = slots / closed.scale[rows]
            yield (
                rows,
                contributions(
                    slots,
                    lambda keys: values.of_keys(keys)[0],
                    closed.total[rows],
                    closed.residual[rows],
                    None if call.site.block == "cross" else index[rows],
                ),
            )
