"""A worker that computes nothing: it sleeps as long as a part takes, and sends back what it was given."""

from __future__ import annotations

import time
from collections.abc import Mapping

from budgetlens.runs.engines.process_worker import serve


class Sleeper:
    """In place of :class:`budgetlens.runs.engines.worker.Worker`, without a model."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def versions(self) -> Mapping[str, str]:
        return {}

    def ready(self, given: bytes) -> str:
        return "asleep"

    def part(self, given: bytes) -> bytes:
        time.sleep(self.seconds)
        return given


def main(seconds: float) -> None:
    serve(Sleeper(seconds))
