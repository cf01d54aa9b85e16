"""Edits of attention: what an intervention may change while the model runs.

An edit is a frozen dataclass with one pure method that takes a call, or a sublayer's output, and returns a
changed one. The capture applies it at every site it names, before probes read the call, and refuses an
edit that matched nothing. An edit whose roles no position of a batch has changes nothing there, and that is
no error of the batch: a design crosses prompts with edits of the prompt, and some of its cells have none. Whether it
reaches anything in a design is asked before the run (:mod:`budgetlens.design.reach`).

Declaring an edit loads no torch: what is computed, the call and its tensors compute themselves.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np
from einops import rearrange

from budgetlens.model.edit_words import edit_words
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, PADDING, PREDICTING, ROLES
from budgetlens.model.trials import Edit, Positioned

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from budgetlens.model.attention import AttentionCall, Site


class EditError(ValueError):
    """An edit that would change nothing, silently, or leave a row without any key."""


@runtime_checkable
class CallEdit(Edit, Protocol):
    """A change of attention calls."""

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The changed call; the given one is left as it is."""
        ...


@runtime_checkable
class OutputEdit(Edit, Protocol):
    """A change of the output of attention sublayers."""

    def apply_to_output(self, output: Tensor) -> Tensor:
        """The changed output of the sublayer's output projection; the given one is left as it is."""
        ...


@dataclass(frozen=True)
class RandomHeads:
    """``count`` heads of every layer, drawn by chance: the same ones in every example, others in every layer and draw."""

    count: int
    seed: int
    draw: int

    def at(self, layer: int, heads: int) -> frozenset[int]:
        """Those of a layer with so many heads. Raises EditError where it has fewer than ``count``."""
        if self.count > heads:
            raise EditError(f"{self.count} random heads were asked for, and layer {layer} has {heads}")
        key = [self.seed, zlib.crc32(b"random heads"), self.draw, layer]
        return frozenset(np.random.default_rng(key).choice(heads, self.count, replace=False).tolist())


@dataclass(frozen=True)
class Edges:
    """Which attention is meant: from the rows of ``rows`` to the keys of ``keys``.

    ``layers`` and ``heads`` are numbers from 0, or heads drawn by chance; None means all. ``rows`` are roles, or
    ``predicting`` for the rows whose logits predict the answer; None means every row of the stack.
    """

    by_row: ClassVar[bool] = True

    keys: frozenset[str]
    rows: frozenset[str] | None = None
    stack: str = "decoder"
    layers: frozenset[int] | None = None
    heads: frozenset[int] | RandomHeads | None = None

    def __post_init__(self) -> None:
        row_roles = ENCODER_ROLES if self.stack == "encoder" else (*DECODER_ROLES, PREDICTING)
        unknown = sorted(self.keys - set(ROLES) | (self.rows or frozenset()) - {*ROLES, PREDICTING})
        if unknown:
            raise ValueError(f"unknown role(s) {unknown}; known: {list(ROLES)}")
        strangers = sorted((self.rows or frozenset()) - set(row_roles))
        if strangers:
            raise ValueError(
                f"no row of the {self.stack} has the role(s) {strangers}; rows: {list(row_roles)}"
            )

    def matches(self, site: Site) -> bool:
        """Sites of the stack and layers whose keys can have one of the roles."""
        return (
            site.stack == self.stack
            and (self.layers is None or site.layer in self.layers)
            and bool(self.keys & set(site.roles))
        )

    def idle_in(self, trial: Positioned) -> str | None:
        """Why no row of the trial sees a key of these; None where one does. Windows of attention are not asked."""
        rows = trial.positions(self.stack, self.rows)
        if not rows:
            return f"the {self.stack} has no row of {_joined(self.rows or frozenset())}"
        seen = trial.encoder_roles
        if self.stack == "decoder":
            visible = zip(trial.encoder_roles, trial.visible, strict=True)
            # A decoder row sees no row behind it.
            seen = (*trial.decoder_roles[: rows[-1] + 1], *(role for role, shown in visible if shown))
        if self.keys.isdisjoint(seen):
            return f"the rows see no key of {_joined(self.keys)}"
        return None

    def rows_and_heads(self, call: AttentionCall) -> Bool[Tensor, "batch head row 1"]:
        """The chosen rows in the chosen heads; an axis on which nothing is chosen has length one.

        Raises EditError for a head that the call does not have.
        """
        count = call.query.shape[1]
        heads = self.heads
        if isinstance(heads, RandomHeads):
            heads = heads.at(call.site.layer, count)
        beyond = sorted(head for head in heads or () if head >= count)
        if beyond:
            raise EditError(
                f"{call.site} has heads 0 to {count - 1}; the edit names {beyond} ({edit_words(self)})"
            )
        return call.rows_and_heads(self.rows, heads)

    def chosen(self, call: AttentionCall) -> Bool[Tensor, "batch head row key"]:
        """The edges as a mask that broadcasts to the call's scores."""
        return self.rows_and_heads(call) & rearrange(call.keys_with(self.keys), "batch key -> batch 1 1 key")


@dataclass(frozen=True)
class HideKeys(Edges):
    """Hide keys from rows (knockout): their attention becomes exactly 0.

    Hiding mass m from a softmax scales every other share by 1/(1 − m) (Geva et al. 2023, attention knockout).
    """

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call in which no chosen row sees a hidden key.

        Raises EditError where a row would be left without any key.
        """
        return with_keys_hidden(call, self.chosen(call), self)


@dataclass(frozen=True)
class KeepKeys(Edges):
    """Hide every key but those of ``keys`` from rows, in the softmaxes in which there can be such keys.

    A key that is left alone in its softmax gets exactly 1.
    """

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call in which no chosen row sees another key.

        Raises EditError where a row would be left without any key.
        """
        others = rearrange(~call.keys_with(self.keys), "batch key -> batch 1 1 key")
        return with_keys_hidden(call, self.rows_and_heads(call) & others, self)


@dataclass(frozen=True)
class ReweightKeys(Edges):
    """Multiply the unnormalised weight of keys by ``factor``, before the softmax is normalised.

    A row's mass m on those keys becomes f·m / (1 − m + f·m); 1 changes nothing, 0 hides the keys. Weights within
    the keys, and within the others, keep their proportions.
    """

    factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.factor < math.inf:
            raise ValueError(f"a weight is multiplied by 0 or a positive number; got {self.factor}")

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call with log f added to the scores of the chosen keys.

        Raises EditError where the factor is 0 and a row would be left without any key.
        """
        if self.factor == 1:
            return call
        chosen = self.chosen(call)
        if self.factor == 0:
            return with_keys_hidden(call, chosen, self)
        mask = call.additive_mask()
        # A hidden key stays as hidden as it is: nothing is added to the lowest number.
        visible = mask > call.hidden_score / 2
        return call.with_mask(mask.where(~(chosen & visible), mask + math.log(self.factor)))


@dataclass(frozen=True)
class ZeroValues(Edges):
    """Let keys contribute nothing to rows, while their attention stays: their values become 0.

    Unlike hiding, it moves no attention to other keys.
    """

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call in which chosen rows take nothing from the chosen keys."""
        return _with_values(call, call.value.new_zeros(call.value.shape), self)


@dataclass(frozen=True)
class MeanValues(Edges):
    """Give keys the mean value, while their attention stays: what is lost is what sets a key apart from the others.

    The mean is over the keys that the first of the chosen rows sees in that softmax, the chosen ones among them: rows
    further down see more of the answer, which no row above them may be told. In the encoder, where every row is given
    from the start, it is over all keys that any chosen row sees.
    """

    #: The mean is that of the first chosen row, which is not there any more where later ones are generated.
    by_row: ClassVar[bool] = False
    #: Values are shared by the rows of a lane, and a mean is of one trial's keys.
    alone: ClassVar[bool] = True

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call in which chosen rows take the mean value from each of the chosen keys."""
        real = call.row_roles != PADDING
        rows = real if self.rows is None else call.rows_with(self.rows)
        if self.stack == "decoder":
            rows = rows & (rows.cumsum(dim=1) == 1)
        visible = (call.additive_mask() > call.hidden_score / 2).any(dim=1)
        seen = (visible & rearrange(rows, "batch row -> batch row 1")).any(dim=1)
        weight = rearrange(seen.float(), "batch key -> batch 1 key 1")
        total = weight.sum(dim=2, keepdim=True).clamp_min(1.0)
        mean = ((call.value.float() * weight).sum(dim=2, keepdim=True) / total).to(call.value.dtype)
        return _with_values(call, mean.expand_as(call.value), self)


#: In the place of a block: every attention sublayer of the stack.
ATTENTION = "attention"


@dataclass(frozen=True)
class RemoveOutput:
    """Remove what attention sublayers add to the residual stream, biases included.

    ``block`` is ``self``, ``cross`` or ``merged``, or :data:`ATTENTION` for whichever there are; ``layers`` are
    numbers from 0, None means all.
    """

    by_row: ClassVar[bool] = True

    block: str
    stack: str = "decoder"
    layers: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if self.block not in ("self", "cross", "merged", ATTENTION):
            raise ValueError(
                f"attention blocks are self, cross and merged, or {ATTENTION}; got {self.block!r}"
            )

    def matches(self, site: Site) -> bool:
        """Sites of this block and stack in these layers."""
        return (
            site.stack == self.stack
            and self.block in (site.block, ATTENTION)
            and (self.layers is None or site.layer in self.layers)
        )

    def apply_to_output(self, output: Tensor) -> Tensor:
        """Zeros."""
        return output.new_zeros(output.shape)


@dataclass(frozen=True)
class ScaleValues:
    """Multiply every value at one site by a factor: the contract check's proof that an edit arrives."""

    by_row: ClassVar[bool] = True

    site: Site
    factor: float

    def matches(self, site: Site) -> bool:
        """This site only."""
        return site == self.site

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call with scaled values."""
        return replace(call, value=call.value * self.factor)


def _joined(roles: frozenset[str]) -> str:
    """Roles in the order of the input, ``predicting`` last."""
    return "+".join(role for role in (*ROLES, PREDICTING) if role in roles)


def _with_values(
    call: AttentionCall, values: Float[Tensor, "batch key_head key value_width"], edit: Edges
) -> AttentionCall:
    """The call in which the chosen rows and heads take ``values`` from the chosen keys.

    Values are shared by rows and heads. Where some rows or heads keep them, every key gets a twin with the others, and
    each row sees one of the two: the softmax is the same.
    """
    others = rearrange(~call.keys_with(edit.keys), "batch key -> batch 1 key 1")
    changed = call.value.where(others, values)
    if edit.rows is None and edit.heads is None:
        return replace(call, value=changed)
    return call.with_twins(edit.rows_and_heads(call), changed)


def with_keys_hidden(
    call: AttentionCall, chosen: Bool[Tensor, "batch head row key"], edit: Edges
) -> AttentionCall:
    """The call in which the chosen edges are hidden; EditError where a row would see no key at all."""
    mask = call.additive_mask().masked_fill(chosen, call.hidden_score)
    real = rearrange(call.row_roles != PADDING, "batch row -> batch 1 row 1")
    if bool((real & (mask == call.hidden_score).all(dim=-1, keepdim=True)).any()):
        raise EditError(
            f"the edit '{edit_words(edit)}' hides every key of some row at {call.site}, whose attention would "
            "be undefined; leave at least one key visible to every row, or name fewer rows"
        )
    return call.with_mask(mask)
