"""The attention call: what a model hands to its attention function, the same for every architecture.

Budgets and entropies are computed here from the model's own queries, keys and mask, for the rows asked
for only, so that the model keeps its fast attention and no rows × keys × layers tensor ever exists.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from probes.roles import ROLE_CODES, ROLES, roles_of

#: Scores (batch × head × row × key) that one row block may hold; bounds the extra memory of a capture.
BLOCK_SCORES = 1 << 22

#: Scores further below their row's maximum have a probability of exactly 0 in float32.
LEAST_SHIFTED = -1e4


@dataclass(frozen=True)
class Site:
    """Which attention call: ``stack`` encoder or decoder, ``block`` self, cross or merged, ``layer`` from 0."""

    stack: str
    block: str
    layer: int

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that keys of this call can have."""
        return roles_of(self.stack, self.block)

    def __str__(self) -> str:
        return f"{self.stack} {self.block} layer {self.layer}"


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention function, with a role for every row and key.

    Shapes: ``query`` batch × head × row × width, ``key`` and ``value`` batch × key head × key × width
    (grouped queries where there are fewer key heads than heads). ``mask`` is additive or boolean (True =
    visible) or None, broadcastable to batch × head × row × key; ``causal`` says that a missing mask
    means *causal*, which is what SDPA does for a decoder's self-attention. ``bias`` is added to the
    scaled scores (T5's relative positions), ``softcap`` bounds them (Gemma 2: c·tanh(s/c)).
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

    @cached_property
    def group(self) -> int:
        """Heads per key head."""
        return self.query.shape[1] // self.key.shape[1]

    @cached_property
    def members(self) -> Float[Tensor, "batch key role"]:
        """Which role every key has, as one column per role."""
        return role_members(self.key_roles)

    def keys_with(self, roles: frozenset[str]) -> Bool[Tensor, "batch key"]:
        """Which keys have one of ``roles``."""
        codes = torch.tensor([ROLE_CODES[role] for role in sorted(roles)], device=self.key_roles.device)
        return torch.isin(self.key_roles, codes)

    def additive_mask(self) -> Float[Tensor, "batch head row key"]:
        """The mask as scores to add: 0 or the mask's own value where visible, :attr:`hidden_score` where not.

        Whole and writable; made only for edits, since reading attention never needs it.
        """
        batch, heads, rows, _ = self.query.shape
        shape = (batch, heads, rows, self.key.shape[2])
        result = self.query.new_zeros(shape)
        if self.mask is not None:
            boolean = self.mask.dtype == torch.bool
            hidden = ~self.mask if boolean else self.mask <= torch.finfo(self.mask.dtype).min / 2
            return (result if boolean else result + self.mask).masked_fill(hidden, self.hidden_score)
        if self.causal:
            later = torch.ones(rows, shape[-1], dtype=torch.bool, device=result.device).triu(1)
            return result.masked_fill(later, self.hidden_score)
        return result

    @property
    def hidden_score(self) -> float:
        """The lowest number of the query's type: as exact as -inf beside a visible key, and finite in the
        rows of padding, whose NaN would spread."""
        return torch.finfo(self.query.dtype).min

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
            scores += _rows_of(self.bias, rows)
        hidden: Tensor | None = None
        if self.mask is not None:
            mask = _rows_of(self.mask, rows)
            if mask.dtype == torch.bool:
                hidden = ~mask
            else:
                # A floating mask hides with -inf or with the lowest number of its type.
                hidden = mask <= torch.finfo(mask.dtype).min / 2
                scores += mask.float()
        elif self.causal:
            keys = torch.arange(key.shape[2], device=rows.device)
            hidden = keys > rearrange(rows, "batch row -> batch 1 row 1")
        return RowAttention.from_scores(self.site, scores, hidden, self.members)


def _rows_of(mask: Tensor, rows: Int[Tensor, "batch chosen"]) -> Tensor:
    """The chosen rows of a mask or bias whose batch, head or row axis may have length one."""
    mask = mask[(None,) * (4 - mask.dim())]
    if mask.shape[2] == 1:
        return mask
    index = rearrange(rows, "batch row -> batch 1 row 1")
    return torch.take_along_dim(mask, index, dim=2)


@dataclass(frozen=True)
class RowAttention:
    """Attention of some rows: probabilities and what entropies need, in float32.

    ``probabilities`` sum to 1 over the keys and are exactly 0 at hidden keys. ``shifted`` are the scores
    less the row's maximum, meaningless at hidden keys; ``log_normaliser`` is the logarithm of the sum of their
    exponentials, so that log p = shifted − log_normaliser at every visible key. ``members`` has one column
    per role, 1 where the key has it.
    """

    site: Site
    probabilities: Float[Tensor, "batch head row key"]
    shifted: Float[Tensor, "batch head row key"]
    log_normaliser: Float[Tensor, "batch head row 1"]
    members: Float[Tensor, "batch key role"]

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
        return _regrouped(self.role_mass, groups)

    def entropy(self, groups: tuple[tuple[str, ...], ...]) -> Float[Tensor, "batch head row group"]:
        """Entropy in nats of each row's attention, normalised within each group of roles.

        H = log m − (Σ p log p) / m over the keys of the group, m their mass; NaN where m is 0.
        """
        mass = self.mass(groups)
        # Σ p log p = Σ p·shifted − log_normaliser · m, without a logarithm of every probability.
        negative = _regrouped(self._role_weighted, groups) - self.log_normaliser * mass
        return torch.where(mass > 0, mass.log() - negative / mass, math.nan).clamp_min(0.0)

    def sums(
        self, values: Float[Tensor, "batch head row key"], groups: tuple[tuple[str, ...], ...]
    ) -> Tensor:
        """Sums of any quantity of the keys over each group of roles: batch × head × row × group."""
        return _regrouped(self._by_role(values), groups)

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


def _regrouped(by_role: Tensor, groups: tuple[tuple[str, ...], ...]) -> Tensor:
    """Sums over groups of roles, from sums over roles."""
    chosen = [by_role[..., [ROLE_CODES[role] for role in roles]] for roles in groups]
    return torch.stack([part.sum(dim=-1) for part in chosen], dim=-1)
