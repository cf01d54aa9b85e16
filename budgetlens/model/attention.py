"""The attention call: what a model hands to its attention function, the same for every architecture.

Budgets and entropies are computed here from the model's own queries, keys and mask, for the rows asked
for only, so that the model keeps its fast attention and no rows × keys × layers tensor ever exists.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from budgetlens.model.masks import rows_of_mask, twins_together
from budgetlens.model.roles import PREDICTING, ROLE_CODES, ROLES, roles_of

#: Scores (batch × head × row × key) that one row block may hold; bounds the extra memory of a capture.
BLOCK_SCORES = 1 << 22

#: Scores further below their row's maximum have a probability of exactly 0 in float32.
LEAST_SHIFTED = -1e4


@dataclass(frozen=True)
class Site:
    """Which attention call: ``stack`` encoder or decoder, ``block`` self, cross or merged, ``layer`` from 0.

    ``tokens`` names the keys one by one, in their order, where a trial is read token by token: each is then a role.
    """

    stack: str
    block: str
    layer: int
    tokens: tuple[str, ...] | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that keys of this call can have."""
        return roles_of(self.stack, self.block) if self.tokens is None else self.tokens

    @cached_property
    def columns(self) -> Mapping[str, int]:
        """The place of every role in sums by role."""
        return ROLE_CODES if self.tokens is None else {name: place for place, name in enumerate(self.tokens)}

    def __str__(self) -> str:
        return f"{self.stack} {self.block} layer {self.layer}"


@dataclass(frozen=True)
class Tokens:
    """Ids and positions of the rows and keys of a call.

    ``row_positions`` and ``key_positions`` count within each trial's own decoder or encoder input, as the model is told
    them; at padding they mean nothing.
    """

    row_ids: Int[Tensor, "batch row"]
    row_positions: Int[Tensor, "batch row"]
    key_ids: Int[Tensor, "batch key"]
    key_positions: Int[Tensor, "batch key"]

    def of_batch(self, chosen: Int[Tensor, " part"]) -> Tokens:
        """Those of some entries of the batch alone."""
        return Tokens(
            self.row_ids[chosen], self.row_positions[chosen], self.key_ids[chosen], self.key_positions[chosen]
        )


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention function, with a role for every row and key.

    Shapes: ``query`` batch × head × row × width, ``key`` and ``value`` batch × key head × key × width
    (grouped queries where there are fewer key heads than heads). ``mask`` is additive or boolean (True =
    visible) or None, broadcastable to batch × head × row × key; ``causal`` says that a missing mask
    means *causal*, which is what SDPA does for a decoder's self-attention. ``bias`` is added to the
    scaled scores (T5's relative positions), ``softcap`` bounds them (Gemma 2: c·tanh(s/c)). ``predicting``
    marks the rows whose logits predict answer tokens; None in the encoder. ``copies`` is above 1 where an edit
    has given every key twins, of which a row sees one: readings take the twins together, as the key they are.
    ``tokens`` has ids and positions, without twins; ``projection`` is the sublayer's output projection, which takes the
    heads' outputs side by side. Both are None in calls made by hand.
    """

    site: Site
    query: Float[Tensor, "batch head row width"]
    key: Float[Tensor, "batch key_head key width"]
    value: Float[Tensor, "batch key_head key value_width"]
    mask: Tensor | None
    bias: Tensor | None
    scaling: float
    softcap: float | None
    causal: bool
    row_roles: Int[Tensor, "batch row"]
    key_roles: Int[Tensor, "batch key"]
    predicting: Bool[Tensor, "batch row"] | None = None
    copies: int = 1
    tokens: Tokens | None = None
    projection: nn.Module | None = None

    @cached_property
    def group(self) -> int:
        """Heads per key head."""
        return self.query.shape[1] // self.key.shape[1]

    @cached_property
    def members(self) -> Float[Tensor, "batch key role"]:
        """Which role every key has, as one column per role; twins of a key count once."""
        keys = self.key_roles.shape[1] // self.copies
        if self.site.tokens is None:
            return role_members(self.key_roles[:, :keys])
        each = torch.eye(keys, len(self.site.tokens), device=self.key_roles.device)
        return each.expand(len(self.key_roles), -1, -1)

    def keys_with(self, roles: frozenset[str]) -> Bool[Tensor, "batch key"]:
        """Which keys have one of ``roles``."""
        return _with_roles(self.key_roles, roles)

    def rows_with(self, roles: frozenset[str]) -> Bool[Tensor, "batch row"]:
        """Which rows have one of ``roles``, among which may be ``predicting``."""
        chosen = _with_roles(self.row_roles, roles - {PREDICTING})
        if PREDICTING in roles and self.predicting is not None:
            chosen = chosen | self.predicting
        return chosen

    def rows_and_heads(
        self, rows: frozenset[str] | None, heads: frozenset[int] | None
    ) -> Bool[Tensor, "batch head row 1"]:
        """Which rows have one of the roles ``rows``, in the heads ``heads``; None means all.

        An axis on which nothing is chosen has length one.
        """
        chosen = torch.ones((1, 1, 1, 1), dtype=torch.bool, device=self.query.device)
        if rows is not None:
            chosen = rearrange(self.rows_with(rows), "batch row -> batch 1 row 1")
        if heads is not None:
            wanted = torch.tensor(sorted(heads), dtype=torch.long, device=chosen.device)
            found = torch.isin(torch.arange(self.query.shape[1], device=chosen.device), wanted)
            chosen = chosen & rearrange(found, "head -> 1 head 1 1")
        return chosen

    def additive_mask(self) -> Float[Tensor, "batch head row key"]:
        """The mask as scores to add: 0 or the mask's own value where visible, :attr:`hidden_score` where not.

        Whole and writable, with a head axis of length one where the mask is the same for all heads; made only
        for edits, since reading attention never needs it.
        """
        batch, _, rows, _ = self.query.shape
        keys = self.key.shape[2]
        if self.mask is not None:
            mask = self.mask[(None,) * (4 - self.mask.dim())]
            boolean = mask.dtype == torch.bool
            hidden = ~mask if boolean else mask <= torch.finfo(mask.dtype).min / 2
            result = self.query.new_zeros((batch, mask.shape[1], rows, keys))
            return (result if boolean else result + mask).masked_fill(hidden, self.hidden_score)
        result = self.query.new_zeros((batch, 1, rows, keys))
        if self.causal:
            later = torch.ones(rows, keys, dtype=torch.bool, device=result.device).triu(1)
            return result.masked_fill(later, self.hidden_score)
        return result

    @property
    def hidden_score(self) -> float:
        """The lowest number of the query's type: as exact as -inf beside a visible key, and finite in the
        rows of padding, whose NaN would spread."""
        return torch.finfo(self.query.dtype).min

    def of_batch(self, chosen: Int[Tensor, " part"]) -> AttentionCall:
        """The call for some entries of the batch alone."""

        return replace(
            self,
            query=self.query[chosen],
            key=self.key[chosen],
            value=self.value[chosen],
            mask=self.mask if self.mask is None or self.mask.dim() < 4 else _of_batch(self.mask, chosen),
            bias=None if self.bias is None else _of_batch(self.bias, chosen),
            row_roles=self.row_roles[chosen],
            key_roles=self.key_roles[chosen],
            predicting=None if self.predicting is None else self.predicting[chosen],
            tokens=None if self.tokens is None else self.tokens.of_batch(chosen),
        )

    def joined(
        self, parts: Sequence[tuple[Int[Tensor, " part"], AttentionCall, AttentionCall]]
    ) -> AttentionCall:
        """The call in which some entries of the batch are edited.

        ``parts``: numbers of entries, their :meth:`of_batch`, and what edits made of that.
        """
        copies = max(self.copies, *(part.copies for _, _, part in parts))
        whole = self.with_hidden_twins(copies // self.copies)
        edited = [(chosen, part.with_hidden_twins(copies // part.copies)) for chosen, _, part in parts]
        masks = [part.additive_mask() for _, part in edited]
        mask = whole.additive_mask()
        heads = max(one.shape[1] for one in (mask, *masks))
        mask = mask.expand(-1, heads, -1, -1).clone()
        for (chosen, _), own in zip(edited, masks, strict=True):
            mask[chosen] = own.expand(-1, heads, -1, -1)
        tensors = {}
        for name in ("query", "key", "value"):
            if any(getattr(part, name) is not getattr(original, name) for _, original, part in parts):
                tensors[name] = getattr(whole, name).clone()
                for chosen, part in edited:
                    tensors[name][chosen] = getattr(part, name)
        return replace(whole.with_mask(mask), **tensors)

    def with_hidden_twins(self, times: int) -> AttentionCall:
        """The same attention with every key ``times`` times, all but the first of its twins hidden."""
        if times == 1:
            return self
        mask = self.additive_mask()
        hidden = torch.full_like(mask, self.hidden_score)
        return replace(
            self.with_mask(torch.cat([mask, *[hidden] * (times - 1)], dim=-1)),
            key=torch.cat([self.key] * times, dim=2),
            value=torch.cat([self.value] * times, dim=2),
            bias=None if self.bias is None else torch.cat([self.bias] * times, dim=-1),
            key_roles=torch.cat([self.key_roles] * times, dim=1),
            copies=self.copies * times,
        )

    def with_twins(
        self, chosen: Bool[Tensor, "batch head row 1"], value: Float[Tensor, "batch key_head key value_width"]
    ) -> AttentionCall:
        """The call in which every key has a twin with another ``value``, which the chosen rows and heads see in its place.

        Values are shared by rows and heads, keys by all but the mask: the softmax stays the same.
        """
        mask = self.additive_mask()
        twins = [mask.masked_fill(chosen, self.hidden_score), mask.masked_fill(~chosen, self.hidden_score)]
        return replace(
            self.with_mask(torch.cat(torch.broadcast_tensors(*twins), dim=-1)),
            key=torch.cat([self.key, self.key], dim=2),
            value=torch.cat([self.value, value], dim=2),
            bias=None if self.bias is None else torch.cat([self.bias, self.bias], dim=-1),
            key_roles=torch.cat([self.key_roles, self.key_roles], dim=1),
            copies=2 * self.copies,
        )

    def with_mask(self, mask: Tensor) -> AttentionCall:
        """The same call under another mask."""
        return replace(self, mask=mask, causal=False)

    def attention_rows(self, rows: Int[Tensor, "batch chosen"]) -> Iterator[tuple[slice, RowAttention]]:
        """Attention of the chosen rows, in blocks that bound the memory.

        Yields the block's place in ``rows`` and its :class:`RowAttention`.
        """
        batch, heads, _, _ = self.query.shape
        per_row = max(1, batch * heads * self.key.shape[2])
        step = max(1, BLOCK_SCORES // per_row)
        key = self.key.float()
        for start in range(0, rows.shape[1], step):
            block = slice(start, min(start + step, rows.shape[1]))
            yield block, self._block(rows[:, block], key)

    def _block(self, rows: Int[Tensor, "batch chosen"], key: Tensor) -> RowAttention:
        index = rearrange(rows, "batch row -> batch 1 row 1")
        query = torch.take_along_dim(self.query, index, dim=2).float() * self.scaling
        grouped = rearrange(
            query, "batch (key_head group) row width -> batch key_head (group row) width", group=self.group
        )
        scores = rearrange(
            grouped @ key.transpose(-1, -2),
            "batch key_head (group row) key -> batch (key_head group) row key",
            group=self.group,
        )
        if self.softcap is not None:
            scores = torch.tanh(scores / self.softcap) * self.softcap
        if self.bias is not None:
            scores += rows_of_mask(self.bias, rows)
        hidden: Tensor | None = None
        if self.mask is not None:
            mask = rows_of_mask(self.mask, rows)
            if mask.dtype == torch.bool:
                hidden = ~mask
            else:
                # A floating mask hides with -inf or with the lowest number of its type.
                hidden = mask <= torch.finfo(mask.dtype).min / 2
                scores += mask.float()
        elif self.causal:
            keys = torch.arange(key.shape[2], device=rows.device)
            hidden = keys > rearrange(rows, "batch row -> batch 1 row 1")
        if self.copies > 1 and hidden is not None:
            scores, hidden = twins_together(scores, hidden, self.copies)
        return replace(
            RowAttention.from_scores(self.site, scores, hidden, self.members), call=self, rows=rows
        )


def _with_roles(
    roles: Int[Tensor, "batch position"], wanted: frozenset[str]
) -> Bool[Tensor, "batch position"]:
    codes = torch.tensor(
        [ROLE_CODES[role] for role in sorted(wanted)], dtype=roles.dtype, device=roles.device
    )
    return torch.isin(roles, codes)


def _of_batch(tensor: Tensor, chosen: Int[Tensor, " part"]) -> Tensor:
    return tensor if tensor.shape[0] == 1 else tensor[chosen]


@dataclass(frozen=True)
class RowAttention:
    """Attention of some rows: probabilities and what entropies need, in float32.

    ``probabilities`` sum to 1 over the keys and are exactly 0 at hidden keys. ``shifted`` are the scores
    less the row's maximum, meaningless at hidden keys; ``log_normaliser`` is the logarithm of the sum of their
    exponentials, so that log p = shifted − log_normaliser at every visible key. ``members`` has one column
    per role, 1 where the key has it. ``call`` is the call as the model makes it, edits included, with values, roles,
    ids and positions, and ``rows`` are the places of these rows in it; both are None where scores were given.
    """

    site: Site
    probabilities: Float[Tensor, "batch head row key"]
    shifted: Float[Tensor, "batch head row key"]
    log_normaliser: Float[Tensor, "batch head row 1"]
    members: Float[Tensor, "batch key role"]
    call: AttentionCall | None = None
    rows: Int[Tensor, "batch row"] | None = None

    @classmethod
    def from_scores(
        cls, site: Site, scores: Tensor, hidden: Tensor | None, members: Float[Tensor, "batch key role"]
    ) -> RowAttention:
        """Softmax of ``scores`` over the keys that are not hidden; ``scores`` is overwritten.

        A row in which every key is hidden has no softmax: its probabilities are NaN.
        """
        if hidden is not None:
            scores.masked_fill_(hidden, -math.inf)
        shifted = scores.sub_(scores.amax(dim=-1, keepdim=True))
        probabilities = shifted.exp()
        # Without -inf at hidden keys, 0 · shifted is 0 there and not NaN.
        shifted.clamp_(min=LEAST_SHIFTED)
        normaliser = probabilities.sum(dim=-1, keepdim=True)
        probabilities.div_(normaliser)
        return cls(site, probabilities, shifted, normaliser.log(), members)

    @cached_property
    def role_mass(self) -> Float[Tensor, "batch head row role"]:
        """Share of each row's attention that goes to each role, in the order of :data:`ROLES`."""
        return self._by_role(self.probabilities)

    @cached_property
    def _role_weighted(self) -> Float[Tensor, "batch head row role"]:
        return self._by_role(self.probabilities * self.shifted)

    def mass(self, groups: tuple[tuple[str, ...], ...]) -> Float[Tensor, "batch head row group"]:
        """Share of each row's attention that goes to each group of roles, between 0 and 1."""
        return self._regrouped(self.role_mass, groups)

    def entropy(self, groups: tuple[tuple[str, ...], ...]) -> Float[Tensor, "batch head row group"]:
        """Entropy in nats of each row's attention, normalised within each group of roles.

        H = log m − (Σ p log p) / m over the keys of the group, m their mass; NaN where m is 0.
        """
        mass = self.mass(groups)
        # Σ p log p = Σ p·shifted − log_normaliser · m, without a logarithm of every probability.
        negative = self._regrouped(self._role_weighted, groups) - self.log_normaliser * mass
        return torch.where(mass > 0, mass.log() - negative / mass, math.nan).clamp_min(0.0)

    def sums(
        self, values: Float[Tensor, "batch head row key"], groups: tuple[tuple[str, ...], ...]
    ) -> Tensor:
        """Sums of any quantity of the keys over each group of roles: batch × head × row × group."""
        return self._regrouped(self._by_role(values), groups)

    def _regrouped(self, by_role: Tensor, groups: tuple[tuple[str, ...], ...]) -> Tensor:
        """Sums over groups of roles, from sums over roles."""
        chosen = [by_role[..., [self.site.columns[role] for role in roles]] for roles in groups]
        return torch.stack([part.sum(dim=-1) for part in chosen], dim=-1)

    def _by_role(self, values: Float[Tensor, "batch head row key"]) -> Float[Tensor, "batch head row role"]:
        heads = values.shape[1]
        flat = rearrange(values, "batch head row key -> batch (head row) key")
        return rearrange(
            torch.bmm(flat, self.members), "batch (head row) role -> batch head row role", head=heads
        )


def role_members(key_roles: Int[Tensor, "batch key"]) -> Float[Tensor, "batch key role"]:
    """One column per role of :data:`ROLES`, 1 where the key has it; a padded key has none."""
    roles = torch.arange(len(ROLES), device=key_roles.device)
    return (rearrange(key_roles, "batch key -> batch key 1") == roles).float()
