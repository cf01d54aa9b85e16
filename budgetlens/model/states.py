"""Edits of hidden states: what an intervention may write over, between two layers.

A state edit names roles, a stack and a layer, and changes the states that leave that layer at those roles'
positions. It belongs to one trial, so that trials under different edits share a batch. Where states come
from another trial, that trial is a *donor*: its encoder input runs in the same batch and the same trace, it
is not decoded, and it is never altered by what is taken from it. Declaring an edit loads no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from einops import pack, rearrange

from budgetlens.model.direction_files import DOCUMENTS, description_of
from budgetlens.model.trials import StateEdit, StateError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


@dataclass(frozen=True)
class CopyStates(StateEdit):
    """Take the only donor's states, position by position: activation patching."""

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """The donor's states."""
        return donors[0]

    def refusal(self, count: int, donor_counts: Sequence[int]) -> str | None:
        """Copying needs as many positions on both sides."""
        if donor_counts[0] == count:
            return None
        return f"has {count} position(s) here and {donor_counts[0]} in the donor; copying needs as many"


@dataclass(frozen=True)
class CycleStates(StateEdit):
    """Take the only donor's states in their order, from the first again where they are too few."""

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """Position p takes the donor's position p modulo their number."""
        return donors[0][[position % len(donors[0]) for position in range(len(states))]]

    def refusal(self, count: int, donor_counts: Sequence[int]) -> str | None:
        """At least one state to cycle through."""
        return None if donor_counts[0] else "has no position in the donor"


@dataclass(frozen=True)
class MeanStates(StateEdit):
    """Take the mean, in float64, over all positions of the role in all donors: mean ablation."""

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """The same mean at every position."""
        found, _ = pack(list(donors), "* width")
        mean = found.double().mean(dim=0)
        return mean.to(states.dtype).expand_as(states)

    def refusal(self, count: int, donor_counts: Sequence[int]) -> str | None:
        """A mean of nothing is undefined."""
        return None if sum(donor_counts) else "has no position in any donor"


@dataclass(frozen=True)
class ZeroStates(StateEdit):
    """Put zeros."""

    by_row: ClassVar[bool] = True

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """Zeros."""
        return states.new_zeros(states.shape)


#: Steps from 0 to the largest absolute value, by the name of a precision.
STEPS = {"int8": 127, "int4": 7}
PRECISIONS = ("bfloat16", *STEPS)


@dataclass(frozen=True)
class RoundStates(StateEdit):
    """Store states in a lower precision and read them again: what a smaller cache would give the decoder.

    ``bfloat16``, or ``int8`` and ``int4``: symmetric, each position by its own largest absolute value.
    """

    precision: str = PRECISIONS[0]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in PRECISIONS:
            raise ValueError(f"precisions are {', '.join(PRECISIONS)}; got {self.precision!r}")

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """The rounded states; of integers, each number is at most half a step from what it was."""
        if self.precision not in STEPS:
            return states.bfloat16().to(states.dtype)
        wide = states.float()
        step = wide.abs().amax(dim=-1, keepdim=True) / STEPS[self.precision]
        # A position of zeros has no step, and is stored as it is.
        return ((wide / step.masked_fill(step == 0, 1.0)).round() * step).to(states.dtype)


@dataclass(frozen=True)
class Direction:
    """A vector in a file: ``.npy``, or ``.safetensors`` or ``.pt`` that hold one tensor."""

    path: Path

    @cached_property
    def documents(self) -> frozenset[str]:
        """Digests of the documents from whose states it was made; empty where the file does not tell.

        Raises StateError as :func:`budgetlens.model.direction_files.description_of` does.
        """
        return frozenset(description_of(self.path).get(DOCUMENTS, ()))

    @cached_property
    def values(self) -> Float[Tensor, " width"]:
        """The vector in float32. Raises StateError as :func:`budgetlens.model.directions.read_direction` does."""
        from budgetlens.model.directions import read_direction

        return read_direction(self.path)


@dataclass(frozen=True)
class AddDirection(StateEdit):
    """Add ``strength`` × a direction to every position: steering. The direction is taken as it is, unscaled."""

    by_row: ClassVar[bool] = True
    replaces = False

    direction: Direction = Direction(Path())
    strength: float = 1.0

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """The moved states. Raises StateError where the widths differ."""
        vector = self.direction.values
        if len(vector) != states.shape[-1]:
            raise StateError(
                f"the direction {self.direction.path} has the width {len(vector)}, but the states of the "
                f"{self.stack} have the width {states.shape[-1]}"
            )
        return states + self.strength * rearrange(vector, "width -> 1 width").to(states)
