"""Which device and number type a model is loaded to."""

from __future__ import annotations

from typing import Any

import torch

from budgetlens.model.loaded import ModelError

#: Number types by the name that a user gives.
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def chosen_device(device: str) -> torch.device:
    """The device of a name; ``auto`` is CUDA where there is one, else the CPU.

    Raises ModelError for a name that is none and for a device that can't do here what a capture does, which is to keep
    numbers, to add them in float64 and to give them back.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, kinds = device.partition(":")[0], _kinds()
    if kind == "cuda" and kind not in kinds:
        raise ModelError(
            f"device {device!r} was asked for, but this torch sees no CUDA device; give --device cpu"
        )
    known = f"give {', '.join(kinds)} or auto"
    if kind not in kinds:
        raise ModelError(f"unknown device {device!r}: this torch computes on {' and '.join(kinds)}; {known}")
    try:
        chosen = torch.device(device)
        made = torch.ones(2, dtype=torch.float64, device=chosen)
        total = made.sum().item()
    # Every back end has its own way to say no: no such index, no float64, no memory.
    except Exception as error:
        raise ModelError(f"device {device!r} can't be used here ({_first_words(error)}); {known}") from error
    # torch takes any number of a CPU for its only one.
    if total != 2.0 or chosen.index not in (None, made.device.index or 0):
        raise ModelError(f"there is no device {device!r} here; {known}")
    return chosen


def _kinds() -> tuple[str, ...]:
    """The kinds of device on which this torch can compute here."""
    other = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return ("cpu",) if other is None else ("cpu", other.type)


def chosen_type(dtype: str, device: torch.device) -> Any:
    """The number type of a name; ``auto`` is the checkpoint's on a GPU and float32 on a CPU. Raises ModelError."""
    if dtype == "auto":
        return "auto" if device.type == "cuda" else torch.float32
    if dtype not in _TYPES:
        raise ModelError(f"unknown dtype {dtype!r}; give one of {', '.join(_TYPES)} or auto")
    return _TYPES[dtype]


def _first_words(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0] if lines else type(error).__name__
