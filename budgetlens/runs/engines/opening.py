"""From the engine that is chosen to one at work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from budgetlens.model.devices import chosen_device
from budgetlens.runs.engines.choice import Engine
from budgetlens.runs.engines.engine import Computer
from budgetlens.runs.engines.here import HERE
from budgetlens.runs.engines.processes import Processes


@contextlib.contextmanager
def opened(engine: Engine, device: str, dtype: str) -> Iterator[Computer]:
    """The engine, ready for parts; ``device`` and ``dtype`` are the names that a user gives, ``auto`` among them.

    Raises ModelError for a device that is not here where it has to be, and RunError where no cluster answers.
    """
    if engine.name == "ray":
        # Whoever computes without it need not have it.
        from budgetlens.runs.engines.ray_actors import connected

        with connected(engine, device, dtype) as cluster:
            yield cluster
    elif engine.workers is not None:
        place = chosen_device(device)
        yield Processes(engine.workers, place.type if device in ("auto", "cuda") else device, dtype)
    else:
        yield HERE
