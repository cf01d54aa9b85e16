"""Edits of attention calls: what an intervention may change while the model runs.

An edit is a frozen dataclass with one pure method that takes a call and returns a changed one. The
capture applies it at every site it names, before probes read the call, and refuses an edit that
matched nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from einops import rearrange

from probes.attention import AttentionCall, Site
from probes.roles import PADDING, ROLES


class EditError(ValueError):
    """An edit that would change nothing, silently, or leave a row without any key."""


class Edit(Protocol):
    """A change of attention calls."""

    def matches(self, site: Site) -> bool:
        """Whether this edit changes calls at ``site``."""
        ...

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The changed call; the given one is left as it is."""
        ...


@dataclass(frozen=True)
class HideKeys:
    """Hide the keys of ``keys`` from the rows of ``rows``: their attention becomes exactly 0.

    Hiding mass m from a softmax scales every other share by 1/(1 − m). ``layers`` and ``heads`` are
    numbers from 0; None means all. ``rows`` None means every row.
    """

    keys: frozenset[str]
    rows: frozenset[str] | None = None
    stack: str = "decoder"
    layers: frozenset[int] | None = None
    heads: frozenset[int] | None = None

    def __post_init__(self) -> None:
        unknown = sorted((self.keys | (self.rows or frozenset())) - set(ROLES))
        if unknown:
            raise ValueError(f"unknown role(s) {unknown}; known: {list(ROLES)}")

    def matches(self, site: Site) -> bool:
        """Sites of the stack and layers whose keys can have one of the roles."""
        return (
            site.stack == self.stack
            and (self.layers is None or site.layer in self.layers)
            and bool(self.keys & set(site.roles))
        )

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call in which no chosen row sees a hidden key.

        Raises EditError where a row would be left without any key.
        """
        chosen = rearrange(call.keys_with(self.keys), "batch key -> batch 1 1 key")
        if self.rows is not None:
            codes = torch.tensor([ROLES.index(role) for role in sorted(self.rows)], device=chosen.device)
            chosen = chosen & rearrange(torch.isin(call.row_roles, codes), "batch row -> batch 1 row 1")
        if self.heads is not None:
            heads = torch.arange(call.query.shape[1], device=chosen.device)
            wanted = torch.tensor(sorted(self.heads), device=chosen.device)
            chosen = chosen & rearrange(torch.isin(heads, wanted), "head -> 1 head 1 1")
        mask = call.additive_mask().masked_fill(chosen, call.hidden_score)
        real = rearrange(call.row_roles != PADDING, "batch row -> batch 1 row 1")
        if bool((real & (mask == call.hidden_score).all(dim=-1, keepdim=True)).any()):
            raise EditError(
                f"{self} hides every key of some row at {call.site}, whose attention would then be undefined; "
                "leave at least one key visible to every row, or name fewer rows"
            )
        return call.with_mask(mask)


@dataclass(frozen=True)
class ScaleValues:
    """Multiply every value at one site by a factor: the contract check's proof that an edit arrives."""

    site: Site
    factor: float

    def matches(self, site: Site) -> bool:
        """This site only."""
        return site == self.site

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call with scaled values."""
        return replace(call, value=call.value * self.factor)
