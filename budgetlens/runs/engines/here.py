"""The engine in this process: the model that is loaded computes part after part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from budgetlens.model.loaded import LoadedModel
from budgetlens.runs.capturing import capture_part
from budgetlens.runs.engines.engine import Part, Result, Results, Task
from budgetlens.runs.processors import processor_of
from budgetlens.runs.storage import PartFacts


def part_computed(model: LoadedModel, task: Task, part: Part) -> Result:
    """The records of one part. Raises as :func:`budgetlens.runs.capturing.capture_part` does."""
    halved: list[str] = []
    records = capture_part(
        model,
        part.units,
        task.reading,
        rows=task.rows,
        batch_tokens=task.batch_tokens,
        on_halving=halved.append,
    )
    return Result(part.index, records, PartFacts(processor_of(model.device), bool(halved)), tuple(halved))


@dataclass(frozen=True)
class Here:
    """This process, with the threads and the device that it has."""

    @property
    def device(self) -> str:
        """Empty: the model's own."""
        return ""

    def computed(self, model: LoadedModel, task: Task, parts: Sequence[Part]) -> Results:
        """Results in the order of the parts."""
        for part in parts:
            yield part_computed(model, task, part)


#: Everything in this process.
HERE = Here()
