"""The kind of processor that a part was computed on: float32 sums differ in their last bits between kinds."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import torch


def processor_of(device: torch.device) -> str:
    """Machine, instruction set that torch uses there and, where it is a GPU, its name: ``x86_64 AVX2``."""
    words = [platform.machine(), torch.backends.cpu.get_cpu_capability()]
    if device.type == "cuda":
        words.append(torch.cuda.get_device_name(device))
    elif device.type != "cpu":
        words.append(device.type)
    return " ".join(words)


def in_words(numbers: Sequence[int]) -> str:
    """Ascending numbers with runs of them shortened: ``0-3, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
