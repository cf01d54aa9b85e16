"""What a user chooses of where a run is computed; without torch and without Ray, so that options can be read."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from numbers import Integral

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Where the parts of a run are computed: in this process, by processes of this machine, or by a Ray cluster.

    Every number is the same wherever it is computed on one kind of processor: the engine is no part of a run's identity,
    and a run that one engine began is continued by any other.

    Args:
        name: ``local`` (this machine) or ``ray`` (a cluster, or this machine where there is none).
        workers: how many workers hold the model and compute parts; None computes in this process (``local``), or takes as
            many as the cluster has GPUs, or else CPUs (``ray``).
        address: of the cluster, ``auto`` on one of its machines or ``ray://HOST:10001`` from outside; None starts Ray here.
        gpus_per_worker: GPUs that each worker of ``ray`` asks for; None is 1 where the cluster has GPUs and the device is
            not the CPU.

    Raises:
        ValueError: an unknown name, a number below 1 of workers or 0 of GPUs, what ``local`` has no use for, and ``ray``
            where it is not installed.

    Examples:
        >>> import budgetlens as bl
        >>> bl.Engine("local", workers=2).has_workers
        True
    """

    name: str = "local"
    workers: int | None = None
    address: str | None = None
    gpus_per_worker: int | None = None

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise ValueError(f"unknown engine {self.name!r}; give one of {', '.join(ENGINES)}")
        for option, number, least in (
            ("workers", self.workers, 1),
            ("gpus_per_worker", self.gpus_per_worker, 0),
        ):
            if number is None:
                continue
            if isinstance(number, bool) or not isinstance(number, Integral) or number < least:
                raise ValueError(f"{option} is a whole number of at least {least}; got {number!r}")
        if self.name == "local":
            given = [
                f"{option}= (--{option.replace('_', '-')})"
                for option in ("address", "gpus_per_worker")
                if getattr(self, option) is not None
            ]
            if given:
                raise ValueError(
                    f"{' and '.join(given)} is of the engine ray; give --engine ray, or leave it out"
                )
        elif find_spec("ray") is None:
            raise ValueError(
                "the engine ray needs Ray, which is not installed; pip install 'budgetlens[ray]'"
            )

    @property
    def has_workers(self) -> bool:
        """Whether other processes than this one compute."""
        return self.name == "ray" or self.workers is not None


#: Everything in this process.
LOCAL = Engine()
