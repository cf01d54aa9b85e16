"""Edits of hidden states: what an intervention may write over, between two layers.

A state edit names roles, a stack and a layer, and changes the states that leave that layer at those roles'
positions. It belongs to one trial, so that trials under different edits share a batch. Where states come
from another trial, that trial is a *donor*: its encoder input runs in the same batch and the same trace, it
is not decoded, and it is never altered by what is taken from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from budgetlens.model.trials import StateEdit, StateError


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
        places = torch.arange(len(states), device=states.device) % len(donors[0])
        return donors[0][places]

    def refusal(self, count: int, donor_counts: Sequence[int]) -> str | None:
        """At least one state to cycle through."""
        return None if donor_counts[0] else "has no position in the donor"


@dataclass(frozen=True)
class MeanStates(StateEdit):
    """Take the mean, in float64, over all positions of the role in all donors: mean ablation."""

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """The same mean at every position."""
        mean = torch.cat(list(donors)).double().mean(dim=0)
        return mean.to(states.dtype).expand_as(states)

    def refusal(self, count: int, donor_counts: Sequence[int]) -> str | None:
        """A mean of nothing is undefined."""
        return None if sum(donor_counts) else "has no position in any donor"


@dataclass(frozen=True)
class ZeroStates(StateEdit):
    """Put zeros."""

    def apply(self, states: Tensor, donors: Sequence[Tensor]) -> Tensor:
        """Zeros."""
        return torch.zeros_like(states)


@dataclass(frozen=True)
class Direction:
    """A vector in a file: ``.npy``, or ``.safetensors`` or ``.pt`` that hold one tensor."""

    path: Path

    @cached_property
    def values(self) -> Float[Tensor, " width"]:
        """The vector in float32.

        Raises StateError where the file can't be read or holds anything but one vector of finite numbers.
        """
        vector = torch.atleast_1d(torch.squeeze(_read_tensor(self.path).detach().to(torch.float32)))
        if vector.dim() != 1 or not bool(vector.isfinite().all()):
            raise StateError(
                f"{self.path} must hold one vector of finite numbers; its tensor has the shape {tuple(vector.shape)}"
            )
        return vector


@dataclass(frozen=True)
class AddDirection(StateEdit):
    """Add ``strength`` × a direction to every position: steering. The direction is taken as it is, unscaled."""

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


def _read_tensor(path: Path) -> Tensor:
    readers = {".npy": _from_numpy, ".safetensors": _from_safetensors, ".pt": _from_torch}
    if path.suffix not in readers:
        raise StateError(f"{path} is no file of a direction; give one that ends with {', '.join(readers)}")
    if not path.is_file():
        raise StateError(f"there is no file {path}; give the path of a direction")
    try:
        found = readers[path.suffix](path)
    except StateError:
        raise
    except Exception as error:  # every format raises its own kind of error for a damaged file
        raise StateError(f"{path} could not be read: {str(error).splitlines()[0]}") from error
    if not isinstance(found, Tensor):
        raise StateError(f"{path} must hold one tensor; it holds a {type(found).__name__}")
    return found


def _from_numpy(path: Path) -> Tensor:
    return torch.from_numpy(np.asarray(np.load(path, allow_pickle=False), dtype=np.float32))


def _from_safetensors(path: Path) -> object:
    from safetensors.torch import load_file

    return _only(load_file(path), path)


def _from_torch(path: Path) -> object:
    found = torch.load(path, map_location="cpu", weights_only=True)
    return _only(found, path) if isinstance(found, dict) else found


def _only(tensors: dict[str, Tensor], path: Path) -> Tensor:
    if len(tensors) != 1:
        raise StateError(
            f"{path} must hold one tensor; it holds {len(tensors)}: {', '.join(sorted(tensors))}"
        )
    return next(iter(tensors.values()))
