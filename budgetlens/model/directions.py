"""Files that hold a direction: one vector of the model's width, for steering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from budgetlens.model.trials import StateError


def read_direction(path: Path) -> Float[Tensor, " width"]:
    """The vector of a ``.npy``, or of a ``.safetensors`` or ``.pt`` that holds one tensor, in float32.

    Raises StateError where the file can't be read or holds anything but one vector of finite numbers.
    """
    vector = torch.atleast_1d(torch.squeeze(_read_tensor(path).detach().to(torch.float32)))
    if vector.dim() != 1 or not bool(vector.isfinite().all()):
        raise StateError(
            f"{path} must hold one vector of finite numbers; its tensor has the shape {tuple(vector.shape)}"
        )
    return vector


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
