"""Hiding random keys in the place of chosen ones: what it costs to cut anything of that number, or of that attention.

Which keys fall is decided per example and draw, by the keys' positions in their own input, so that neither padding nor
what else is in a batch has a part in it. All keys that a row sees may fall, the chosen ones among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from einops import rearrange

from budgetlens.model.edits import Edges, EditError, with_keys_hidden
from budgetlens.model.roles import DECODER_ROLES

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

    from budgetlens.model.attention import AttentionCall

#: What random keys have in common with the chosen ones.
ALIKE = ("number", "mass")

#: How often the keys that are left are gone through for those that still fit.
ROUNDS = 8

#: How many parts a whole row of attention has, where masses are added up: float32 has no more digits of what matters.
PARTS = 1 << 52

#: Of splitmix64 (Steele, Lea and Flood 2014), as signed numbers of 64 bits.
_STEP = -7046029254386353131
_FACTORS = ((30, -4658895280553007687), (27, -7723592293110705685))
_LAST_SHIFT = 31


@dataclass(frozen=True)
class RandomKeys(Edges):
    """Hide from each row as many random keys as it sees of ``keys``, or random keys of the same attention.

    ``alike`` is ``number`` or ``mass``. By mass, keys in random order are hidden as long as their attention together
    is no more than that of ``keys``, in every head for itself; a key that by itself would be too much is passed over, and
    the rest are gone through again for what is still left, :data:`ROUNDS` times.
    """

    alike: str = "number"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alike not in ALIKE:
            raise ValueError(f"random keys are alike in {' or '.join(ALIKE)}; got {self.alike!r}")

    def apply(self, call: AttentionCall) -> AttentionCall:
        """The call in which the chosen rows see none of the random keys.

        Raises EditError where a row would be left without any key.
        """
        mask = call.additive_mask() > call.hidden_score / 2
        # A row sees one of a key's twins.
        twins = "batch head row (copy key) -> copy batch head row key"
        visible = rearrange(mask, twins, copy=call.copies).any(dim=0)
        own = self.keys_of(call)
        chosen = visible & self.rows_and_heads(call) & rearrange(own, "batch key -> batch 1 1 key")
        order = self._order(call)
        place = rearrange(order, "batch key -> batch 1 1 key")
        seen, cut = (values.take_along_dim(place, dim=-1) for values in (visible, chosen))
        if self.alike == "number":
            taken = seen & (seen.cumsum(dim=-1) <= cut.sum(dim=-1, keepdim=True))
        else:
            taken = _of_mass(_probabilities(call).take_along_dim(place, dim=-1), seen, cut)
        back = rearrange(order.argsort(dim=-1), "batch key -> batch 1 1 key")
        hidden = taken.take_along_dim(back, dim=-1)
        return with_keys_hidden(call, hidden.repeat(1, 1, 1, call.copies), self)

    def keys_of(self, call: AttentionCall) -> Bool[Tensor, "batch key"]:
        """The keys whose number or mass is matched, without twins."""
        return call.keys_with(self.keys)[:, : call.key.shape[2] // call.copies]

    def _order(self, call: AttentionCall) -> Int[Tensor, "batch key"]:
        """Every entry's keys in random order."""
        if call.tokens is None:
            raise EditError(f"{call.site}: random keys go by positions, and this call has none")
        positions = call.tokens.key_positions
        of_decoder = call.keys_with(frozenset(DECODER_ROLES))[:, : positions.shape[1]]
        return random_numbers(2 * positions + of_decoder.long(), self.seed).argsort(dim=-1, stable=True)


def random_numbers(places: Int[Tensor, "batch key"], seed: int) -> Int[Tensor, "batch key"]:
    """The numbers at ``places``, from 0, in the sequence of a seed: splitmix64, the same on every device."""
    state = seed + (places + 1) * _STEP
    for shift, factor in _FACTORS:
        state = (state ^ _shifted(state, shift)) * factor
    return state ^ _shifted(state, _LAST_SHIFT)


def _shifted(state: Int[Tensor, "batch key"], bits: int) -> Int[Tensor, "batch key"]:
    """To the right, with zeros coming in from the left, whatever the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _probabilities(call: AttentionCall) -> Float[Tensor, "batch head row key"]:
    """Attention of every row, 0 where a row sees nothing."""
    import torch

    batch, _, rows, _ = call.query.shape
    every = torch.arange(rows, device=call.query.device).expand(batch, rows)
    blocks = [attention.probabilities for _, attention in call.attention_rows(every)]
    return torch.cat(blocks, dim=2).nan_to_num(0.0)


def _of_mass(
    attention: Float[Tensor, "batch head row key"],
    seen: Bool[Tensor, "batch head row key"],
    cut: Bool[Tensor, "batch head row key"],
) -> Bool[Tensor, "batch head row key"]:
    """Of the keys in their order those that together have no more attention than the cut ones; one is always left."""
    # Whole numbers: their sums depend on no order, which a GPU chooses anew every time.
    parts = (attention.double() * PARTS).long()
    left = (parts * cut).sum(dim=-1, keepdim=True)
    taken = cut & False
    for _ in range(ROUNDS):
        fits = seen & ~taken & (attention > 0) & (parts <= left)
        if not bool(fits.any()):
            break
        new = fits & ((parts * fits).cumsum(dim=-1) <= left)
        taken = taken | new
        left = left - (parts * new).sum(dim=-1, keepdim=True)
    rest = seen & ~taken
    last = seen & (seen.flip(-1).cumsum(dim=-1).flip(-1) == 1)
    return taken & ~(last & ~rest.any(dim=-1, keepdim=True))
