"""How an attention sublayer mixes tokens: the contributions of ALTI (Ferrando et al. 2022), and their rollout.

y_t, a row's state behind the sublayer, is what it was before (the residual), plus T_{t,k} from every key, plus biases and
what edits of the output added. Key k contributes c_{t,k} = max(0, ‖y_t‖₁ − ‖y_t − T_{t,k}‖₁), by how much y_t is nearer to
T_{t,k} than to nothing; biases and edits of the output have no column. The residual belongs to the row's own token: where
the row sees its own stack, it is taken together with what the row takes of itself, as in the paper; where it sees another
stack, it is a column by itself. Rows are divided by their sums.

A rollout follows contributions from layer to layer down to the input: rows times what the layer below made of its rows.
It is carried as rows × columns, where the columns are what the inputs are summed by (roles, or single tokens), so that
no rows × keys matrix outlives a block of rows. NaN rows are undefined: no token contributed, or the state is another
trial's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

#: Numbers (row × key × width) that one block of vectors may hold: 8 MiB in float32. Only a
#: single key of :data:`ROWS` rows in a model wider than 8,192 holds more.
BLOCK_VECTORS = 1 << 21

#: Rows that are read at once, so that a block holds several keys, and no key is projected for a few rows alone.
ROWS = 256


def contributions(
    shares: Float[Tensor, "slot row key"],
    given: Callable[[slice], Float[Tensor, "key slot width"]],
    total: Float[Tensor, "row width"],
    residual: Float[Tensor, "row width"],
    own: Int[Tensor, " row"] | None,
) -> Float[Tensor, "row column"]:
    """c of some rows, divided by their sums; exactly 0 where a key has no share, NaN in rows without any contribution.

    T_{t,k} is the sum over slots (heads, by the twins of keys) of a share times what the key gives there, which ``given``
    computes for some keys. A norm behind the sublayer, held, is in them: its map in ``given``, one over its scale in
    ``shares``, and ``total`` and ``residual`` are behind it. ``own`` is each row's own place among the keys, whose T has
    the residual in it; None where the rows see another stack: then the residual is a last column, behind the keys'.
    """
    slots, rows, keys = shares.shape
    step = max(1, BLOCK_VECTORS // (total.shape[-1] * max(rows, slots)))
    # One room for the vectors of every block and one for what is found: of many large ones, with small ones that stay
    # between them, glibc's heap takes each anew, since it gives back no aligned piece of the size that was freed.
    room = total.new_empty((min(step, keys), rows, total.shape[-1]))
    found = total.new_zeros((rows, keys if own is not None else keys + 1))
    length = total.abs()
    for start in range(0, keys, step):
        block = slice(start, min(start + step, keys))
        _of_keys(found[:, block], shares, given, total, length, residual, own, block, room)
    if own is None:
        found[:, -1] = _nearer(residual.clone(), total, length)
    columns = found.double()
    sums = columns.sum(dim=-1, keepdim=True)
    return torch.where(sums > 0, columns / sums, math.nan)


def _of_keys(
    found: Float[Tensor, "row key"],
    shares: Float[Tensor, "slot row key"],
    given: Callable[[slice], Float[Tensor, "key slot width"]],
    total: Float[Tensor, "row width"],
    length: Float[Tensor, "row width"],
    residual: Float[Tensor, "row width"],
    own: Int[Tensor, " row"] | None,
    keys: slice,
    room: Float[Tensor, "most row width"],
) -> None:
    """Write c of some rows and keys into ``found``, before rows are divided by their sums; 0 where nothing is taken."""
    taken = rearrange(shares[..., keys], "slot row key -> key row slot")
    rows = torch.arange(taken.shape[1], device=total.device)
    # The rows that are themselves among these keys.
    inside = rows[:0] if own is None else rows[(own >= keys.start) & (own < keys.stop)]
    if not len(inside) and not bool(taken.any()):
        # Windows and masks hide most blocks of a long input from a block of rows.
        return
    parts = torch.bmm(taken, given(keys), out=room[: len(taken)])
    if own is not None:
        parts[own[inside] - keys.start, inside] += residual[inside]
    found.copy_(_nearer(parts, total, length).T)


def _nearer(
    parts: Float[Tensor, "*key row width"],
    total: Float[Tensor, "row width"],
    length: Float[Tensor, "row width"],
) -> Float[Tensor, "*key row"]:
    """max(0, ‖y‖₁ − ‖y − T‖₁), summed channel by channel, so that no part gives exactly 0; ``parts`` is overwritten."""
    return parts.sub_(total).abs_().sub_(length).sum(dim=-1).neg_().clamp_min_(0.0)


def mixed(
    shares: Float[Tensor, "row key"], below: Float[Tensor, "key column"]
) -> Float[Tensor, "row column"]:
    """Rows of contributions times what the keys are below: one step of a rollout.

    NaN where a row is undefined, or takes anything from what is undefined below.
    """
    undefined = below.isnan().any(dim=-1)
    # Contributions are never negative: what is taken of the undefined is 0 exactly where none is.
    lost = (shares @ undefined.to(shares.dtype)) != 0
    return (shares @ below.masked_fill(rearrange(undefined, "key -> key 1"), 0.0)).masked_fill(
        rearrange(lost, "row -> row 1"), math.nan
    )


def mixed_with_own(
    shares: Float[Tensor, "row key_and_own"],
    below: Float[Tensor, "key column"],
    own: Float[Tensor, "row column"],
) -> Float[Tensor, "row column"]:
    """The same where the last column is the residual's, and the rows are ``own`` before the sublayer."""
    residual = shares[:, -1:]
    # Nothing of an undefined row is nothing.
    kept = torch.where(residual == 0, 0.0, residual * own)
    return mixed(shares[:, :-1], below) + kept
