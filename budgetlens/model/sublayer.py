"""What a sublayer of attention writes into the residual stream, taken apart by key, role and head.

The output of a row t is a sum over keys k: T_{t,k} = Σ_h α^h_{t,k} W_O^h v^h_k, plus the projection's bias, plus what an
edit of the output changed. Everything is computed from the call as the model makes it, edits included, for the rows asked
for, and no rows × keys × width tensor is made: sums over the keys of a role are taken before the output projection, and
norms of T_{t,k} come from one Gram matrix of heads per key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from budgetlens.model.attention import BLOCK_SCORES, AttentionCall, RowAttention, Site
from budgetlens.model.masks import rows_of_mask
from budgetlens.model.norms import HeldNorm, NormMap


@dataclass(frozen=True, eq=False)
class ProjectedValues:
    """The values of a call's keys behind its output projection and, in their order, the linear ``maps`` of norms.

    A *slot* is a head, or a head and one of the twins that edits give its keys (``copy head``).
    """

    call: AttentionCall
    maps: tuple[NormMap, ...] = ()

    @property
    def projection(self) -> nn.Linear:
        """The sublayer's output projection."""
        assert isinstance(self.call.projection, nn.Linear)
        return self.call.projection

    @cached_property
    def weight(self) -> Float[Tensor, "head value_width width"]:
        """The output projection's part of every head, mapped."""
        by_head = head_weights(self.projection, self.call.query.shape[1])
        for own in self.maps:
            by_head = own(by_head)
        return by_head

    @cached_property
    def values(self) -> Float[Tensor, "copy batch key_head key value_width"]:
        """The values of every twin of the keys, with the value projection's bias in them."""
        twins = "batch key_head (copy key) own -> copy batch key_head key own"
        return rearrange(self.call.value, twins, copy=self.call.copies).float()

    def of_keys(self, keys: slice) -> Float[Tensor, "batch key slot width"]:
        """What some keys give through each slot at an attention of 1."""
        weight = rearrange(
            self.weight, "(key_head group) own width -> key_head own (group width)", group=self.call.group
        )
        given = self.values[:, :, :, keys] @ weight
        return rearrange(
            given,
            "copy batch key_head key (group width) -> batch key (copy key_head group) width",
            group=self.call.group,
        )

    @cached_property
    def gram(self) -> Float[Tensor, "batch key slot slot"]:
        """Products of what a key gives through any two slots."""
        copies, batch, _, keys, _ = self.values.shape
        heads, _, width = self.weight.shape
        step = max(1, BLOCK_SCORES // (copies * batch * heads * width))
        found = []
        for start in range(0, keys, step):
            given = self.of_keys(slice(start, start + step))
            found.append(given @ given.transpose(-1, -2))
        return torch.cat(found, dim=1)

    @cached_property
    def role_spans(self) -> tuple[tuple[str, slice], ...]:
        """The roles that any key of the batch has, each with the keys between its first and its last."""
        found = []
        seen = self.call.members.bool().any(dim=0).cpu()
        for role in self.call.site.roles:
            places = seen[:, self.call.site.columns[role]].nonzero()
            if len(places):
                found.append((role, slice(int(places[0]), int(places[-1]) + 1)))
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Mixture:
    """The attention of some rows with the values that it mixes."""

    attention: RowAttention
    values: ProjectedValues

    @cached_property
    def slots(self) -> Float[Tensor, "copy batch head row key"]:
        """Attention by the twin of the key that each row and head sees; the others get 0."""
        shares, call, rows = self.attention.probabilities, self.values.call, self.attention.rows
        if call.copies == 1:
            return shares[None]
        # Twins are told apart by the mask alone, and edits that make them leave a whole one.
        assert call.mask is not None
        assert rows is not None
        mask = rows_of_mask(call.mask, rows)
        seen = (mask > torch.finfo(mask.dtype).min / 2).expand(*shares.shape[:-1], mask.shape[-1])
        by_copy = rearrange(seen, "batch head row (copy key) -> copy batch head row key", copy=call.copies)
        return shares * by_copy

    @cached_property
    def by_role(self) -> Float[Tensor, "batch row head role value_width"]:
        """Σ α·v over the keys of every role of the site, head by head, before the output projection."""
        call = self.values.call
        _, batch, heads, rows, _ = self.slots.shape
        roles = self.attention.site.roles
        shape = (batch, rows, heads, len(roles), call.value.shape[-1])
        found = torch.zeros(shape, device=call.value.device)
        grouped = "batch (key_head group) row key -> batch key_head (group row) key"
        for role, span in self.values.role_spans:
            members = call.members[:, span, call.site.columns[role]]
            for shares, values in zip(self.slots, self.values.values, strict=True):
                own = shares[..., span] * rearrange(members, "batch key -> batch 1 1 key")
                mixed = rearrange(own, grouped, group=call.group) @ values[:, :, span]
                found[:, :, :, roles.index(role)] += rearrange(
                    mixed,
                    "batch key_head (group row) own -> batch row (key_head group) own",
                    group=call.group,
                )
        return found

    @cached_property
    def head_norms(self) -> Float[Tensor, "batch head row key"]:
        """‖α^h W_O^h v^h‖₂ of every head and key."""
        lengths = self.values.gram.diagonal(dim1=-2, dim2=-1).clamp_min(0.0).sqrt()
        lengths = rearrange(
            lengths, "batch key (copy head) -> copy batch head 1 key", copy=self.values.call.copies
        )
        return (self.slots * lengths).sum(dim=0)

    def key_norms(self, values: ProjectedValues) -> Float[Tensor, "batch row key"]:
        """‖Σ_h α^h W_O^h v^h‖₂ of every key, behind the maps of ``values``, which are those of the same call."""
        slots = rearrange(self.slots, "copy batch head row key -> batch key row (copy head)")
        squares = ((slots @ values.gram) * slots).sum(dim=-1)
        return rearrange(squares.clamp_min(0.0).sqrt(), "batch key row -> batch row key")


@dataclass(frozen=True, eq=False)
class Sublayer:
    """One sublayer of attention in some rows, with the stream that it read and what it wrote, in float32.

    ``residual`` is the stream before it. ``output`` is the output projection's, ``edited`` what edits made of that: the
    same tensor where there are none. What it writes passes ``norms``, held, in their order: none, its own, and in the
    ledger of a layer of a post-norm family those of the sublayers behind it. ``through`` has the values behind those.
    ``on_stream`` says that these norm the stream and the output together, so that the stream passes them as well.
    """

    mixture: Mixture
    through: ProjectedValues
    residual: Float[Tensor, "batch row width"]
    output: Float[Tensor, "batch row width"]
    edited: Float[Tensor, "batch row width"]
    norms: tuple[HeldNorm, ...]
    on_stream: bool

    @property
    def site(self) -> Site:
        """Which sublayer."""
        return self.mixture.attention.site

    @property
    def attention(self) -> RowAttention:
        """The attention of these rows."""
        return self.mixture.attention

    @cached_property
    def bias(self) -> Float[Tensor, "1 1 width"] | None:
        """The output projection's bias; None where it has none."""
        return projection_bias(self.mixture.values.projection)

    @property
    def edit(self) -> Float[Tensor, "batch row width"] | None:
        """What edits of the output changed; None where there are none."""
        return None if self.edited is self.output else self.edited - self.output

    @cached_property
    def shift(self) -> Float[Tensor, "batch row width"] | None:
        """What the sublayer's own norm adds by itself, behind the norms that follow; None where it adds nothing."""
        own = self.norms[0].map.shift if self.norms else None
        if own is None:
            return None
        found = own.expand_as(self.output)
        for norm in self.norms[1:]:
            found = norm(found)
        return found

    @cached_property
    def written(self) -> Float[Tensor, "batch row width"]:
        """The output behind the norms with its own norm's shift, and without what they make of the stream."""
        passed = self.passed(self.edited)
        return passed if self.shift is None else passed + self.shift

    def passed(self, part: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch row width"]:
        """A part of the output behind the norms."""
        for norm in self.norms:
            part = norm(part)
        return part

    def pulled(self, direction: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch row width"]:
        """The direction whose product with a part of the output is that of ``direction`` with the part behind the norms."""
        for norm in reversed(self.norms):
            direction = norm.transposed(direction)
        return direction

    @cached_property
    def key_norms(self) -> Float[Tensor, "batch row key"]:
        """‖T_{t,k}‖₂ of every key, before the norms."""
        return self.mixture.key_norms(self.mixture.values)

    @cached_property
    def passed_key_norms(self) -> Float[Tensor, "batch row key"]:
        """‖T_{t,k}‖₂ of every key behind the norms."""
        found = self.key_norms if not self.through.maps else self.mixture.key_norms(self.through)
        for norm in self.norms:
            found = found / norm.scale
        return found


def head_weights(projection: nn.Linear, heads: int) -> Float[Tensor, "head value_width width"]:
    """The part of an output projection that every head's own output passes, in float32."""
    return rearrange(projection.weight.detach().float(), "width (head own) -> head own width", head=heads)


def projection_bias(projection: nn.Linear) -> Float[Tensor, "1 1 width"] | None:
    """The bias of an output projection in float32; None where it has none."""
    # An annotation of torch's says that there always is one.
    bias: Tensor | None = projection.bias
    return None if bias is None else rearrange(bias.detach().float(), "width -> 1 1 width")


def role_products(
    mixed: Float[Tensor, "batch row head role value_width"],
    weight: Float[Tensor, "head value_width width"],
    direction: Float[Tensor, "batch row width"],
) -> Float[Tensor, "batch row head role"]:
    """Products of a direction with what every head takes from every role, which :attr:`Mixture.by_role` has mixed."""
    pulled = torch.einsum("brw,hdw->brhd", direction, weight)
    return torch.einsum("brhud,brhd->brhu", mixed, pulled)


def product(
    part: Float[Tensor, "batch row width"] | None, direction: Float[Tensor, "batch row width"]
) -> Float[Tensor, "batch row"]:
    """The product of a part with a direction; 0 where there is no part."""
    return direction.new_zeros(direction.shape[:-1]) if part is None else (part * direction).sum(dim=-1)


def joint_site(sublayers: Sequence[Sublayer]) -> Site:
    """The site of one sublayer, or that of both of a layer together, whose block is ``joint``."""
    first = sublayers[0].site
    if len(sublayers) == 1:
        return first
    named = [sublayer.site.tokens for sublayer in sublayers]
    tokens = None if None in named else tuple(name for own in named for name in own or ())
    return Site(first.stack, JOINT, first.layer, tokens)


#: Block of both attention sublayers of a layer together, where each has a softmax of its own.
JOINT = "joint"
