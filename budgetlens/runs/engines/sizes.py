"""How many workers a cluster has room for, and how large each may be."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetlens.runs.engines.choice import Engine
from budgetlens.runs.manifest import RunError


@dataclass(frozen=True)
class Size:
    """``workers`` of so many ``threads`` and ``gpus`` each, which compute on ``device``."""

    workers: int
    threads: int
    gpus: int
    device: str


def size_of(engine: Engine, device: str, nodes: Sequence[Mapping[str, float]]) -> Size:
    """How many workers of which size there is room for on machines with such resources (``CPU``, ``GPU``).

    ``device`` ``auto`` is CUDA where the workers have GPUs, and else the CPU. Raises ValueError for GPUs of workers that are
    to compute on the CPU, and RunError where there is no room for a worker.
    """
    if device == "cpu" and engine.gpus_per_worker:
        raise ValueError(
            "the device is the CPU, and GPUs for each worker (--gpus-per-worker, gpus_per_worker=) were asked for as well; "
            "leave them out, or let the workers load the model by its name on another device"
        )
    cpus = [math.floor(node.get("CPU", 0)) for node in nodes]
    total_gpus = math.floor(sum(node.get("GPU", 0) for node in nodes))
    wants_gpu = device.partition(":")[0] == "cuda" or (device == "auto" and total_gpus > 0)
    gpus = engine.gpus_per_worker if engine.gpus_per_worker is not None else int(wants_gpu)
    if gpus:
        # Where there are none of them, processors are of no use.
        cpus = [own for own, node in zip(cpus, nodes, strict=True) if node.get("GPU", 0) >= gpus]
        device, fitting = "cuda", sum(math.floor(node.get("GPU", 0)) // gpus for node in nodes)
    else:
        device, fitting = ("cpu" if device == "auto" else device), sum(cpus)
    if not fitting:
        wanted = f"{gpus} GPUs" if gpus else "a CPU"
        total_cpus = math.floor(sum(node.get("CPU", 0) for node in nodes))
        raise RunError(
            f"the Ray cluster has no machine with {wanted} for a worker (it has {total_cpus} CPUs and {total_gpus} GPUs); "
            "give fewer --gpus-per-worker, or another --address"
        )
    workers = engine.workers or fitting
    return Size(workers, threads_of(cpus, workers), gpus, device)


def threads_of(cpus: Sequence[int], workers: int) -> int:
    """The most threads with which so many workers fit on machines with so many CPUs each, but no more than are asked for.

    ``OMP_NUM_THREADS``, where it is set, is what is asked for.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    most = int(asked) if asked.isdecimal() and int(asked) > 0 else max(cpus)
    fitting = (count for count in range(most, 0, -1) if sum(own // count for own in cpus) >= workers)
    return next(fitting, 1)
