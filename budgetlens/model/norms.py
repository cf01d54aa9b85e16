"""Norms with their scale held at what a row had: linear maps, which let a sum of parts be normed part by part."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class UnknownNormError(ValueError):
    """A norm of a kind that nobody has written down here."""


@dataclass(frozen=True)
class NormMap:
    """What a norm does to every row alike: x to ``gain`` × x, of which the mean over the width is taken before where it is
    ``centred``. A norm divides by each row's own scale besides, and adds its ``shift``, if it has one."""

    gain: Float[Tensor, " width"]
    shift: Float[Tensor, " width"] | None
    centred: bool
    epsilon: float

    @classmethod
    def of(cls, module: nn.Module) -> NormMap:
        """The map of a norm module, in float32.

        Raises UnknownNormError for a module that is neither torch's LayerNorm nor one of the library's root mean square
        norms of T5 and Gemma, which are known by the names of their eps.
        """
        weight = getattr(module, "weight", None)
        if isinstance(module, nn.LayerNorm) and weight is not None:
            shift = None if module.bias is None else module.bias.detach().float()
            return cls(weight.detach().float(), shift, True, float(module.eps))
        if isinstance(weight, Tensor) and hasattr(module, "variance_epsilon"):
            return cls(weight.detach().float(), None, False, _number(module.variance_epsilon))
        if isinstance(weight, Tensor) and hasattr(module, "eps") and hasattr(module, "_norm"):
            # Gemma keeps what its scale differs from 1 by.
            return cls(1.0 + weight.detach().float(), None, False, _number(module.eps))
        raise UnknownNormError(
            f"{type(module).__name__} is no norm that is known here: what it does to the parts of a sum would be guessed"
        )

    def __call__(self, parts: Float[Tensor, "*place width"]) -> Float[Tensor, "*place width"]:
        """``parts`` mapped, before each row's scale divides them."""
        return self._centred(parts) * self.gain

    def transposed(self, directions: Float[Tensor, "*place width"]) -> Float[Tensor, "*place width"]:
        """The directions whose product with a part is that of ``directions`` with the mapped part."""
        return self._centred(directions * self.gain)

    def held(self, normed: Float[Tensor, "batch row width"]) -> HeldNorm:
        """The norm held at the scale that it has where it is given ``normed``."""
        own = self._centred(normed.float())
        scale = (own.square().mean(dim=-1, keepdim=True) + self.epsilon).sqrt()
        return HeldNorm(self, scale)

    def _centred(self, values: Tensor) -> Tensor:
        return values - values.mean(dim=-1, keepdim=True) if self.centred else values


@dataclass(frozen=True)
class HeldNorm:
    """A norm that divides every row by a ``scale`` that is held: then it is linear, but for its shift."""

    map: NormMap
    scale: Float[Tensor, "batch row 1"]

    def __call__(self, parts: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch row width"]:
        """Parts of what was normed, normed, without the shift."""
        return self.map(parts) / self.scale

    def transposed(self, directions: Float[Tensor, "batch row width"]) -> Float[Tensor, "batch row width"]:
        """Directions behind the norm pulled back before it."""
        return self.map.transposed(directions) / self.scale

    def of_rows(self, block: slice) -> HeldNorm:
        """The norm of some of the rows."""
        return replace(self, scale=self.scale[:, block])


def _number(entry: Any) -> float:
    return float(entry)


def rows_of(
    states: Float[Tensor, "batch position width"], rows: Int[Tensor, "batch row"]
) -> Float[Tensor, "batch row width"]:
    """The states of chosen rows in float32; a copy, since a module behind may write where it reads."""
    return torch.take_along_dim(states, rows[:, :, None], dim=1).float()
