"""Where parts are computed: what a user chooses, what a part needs, and what comes back."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from budgetlens.model.capture import Probing
from budgetlens.model.loaded import LoadedModel
from budgetlens.runs.capturing import Unit
from budgetlens.runs.storage import PartFacts


@dataclass(frozen=True)
class Task:
    """What every part of a run needs besides the model: probes and layers, the rows read, padded positions per batch."""

    reading: Probing
    rows: str
    batch_tokens: int


@dataclass(frozen=True)
class Part:
    """A part of a run by its number: its units, in the order in which they are computed."""

    index: int
    units: tuple[Unit, ...]


@dataclass(frozen=True)
class Result:
    """The records of a part by kind, and how it was computed: ``halved`` tells of batches that memory had no room for.

    ``worker`` is the name of the worker that computed it; empty in this process.
    """

    index: int
    records: Mapping[str, pa.Table]
    facts: PartFacts
    halved: tuple[str, ...] = ()
    worker: str = ""


#: Results one by one, from workers that end when it is closed.
Results = Generator[Result, None, None]


class Computer(Protocol):
    """An engine at work: parts in, records out. Parts are independent, so that results come in any order.

    ``device`` is the kind of device that computes, where it is not that of the model in this process; else empty.
    """

    @property
    def device(self) -> str:
        """Kind of the workers' device (``cpu``, ``cuda``); empty where this process computes."""
        ...

    def computed(self, model: LoadedModel, task: Task, parts: Sequence[Part]) -> Results:
        """Results of all parts, each as soon as it is there.

        Raises RunError where no worker is left or a part ends every worker that computes it, and whatever a part itself
        raises.
        """
        ...
