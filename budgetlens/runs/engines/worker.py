"""A worker: it holds the model once and computes parts, in whatever process an engine puts it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any

import cloudpickle

# Nothing that a worker of another version could lack: it is asked for its versions before it is given anything else.
from budgetlens.runs.engines.versions import versions_here

#: What the libraries take for the number of their threads.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def thread_variables(threads: int) -> dict[str, str]:
    """The environment by which a worker's libraries start so many threads."""
    return dict.fromkeys(THREADS, str(threads))


class Worker:
    """What an engine asks of a worker, in this order: its versions, to get ready, parts. Everything travels as bytes."""

    def __init__(self, threads: int) -> None:
        # Before torch is imported, which reads them once.
        os.environ.update(thread_variables(threads))
        self.threads = threads
        self.model: Any = None
        self.task: Any = None

    def versions(self) -> Mapping[str, str]:
        """What must be the same as where the run was started."""
        return versions_here()

    def ready(self, given: bytes, files: Mapping[str, bytes] | None = None) -> str | None:
        """Load the model of a pickled (ModelSource, Task); the kind of processor, None where its files must be sent.

        Raises ModelError as :func:`budgetlens.model.loading.load_model`.
        """
        import torch
        from transformers.utils import logging

        from budgetlens.runs.processors import processor_of

        torch.set_num_threads(self.threads)
        logging.disable_progress_bar()
        source, self.task = pickle.loads(given)
        if files is not None:
            source.keep(files)
        if not source.is_here():
            return None
        self.model = source.load()
        return processor_of(self.model.device)

    def part(self, given: bytes) -> bytes:
        """Compute a pickled Part; its Result, as :func:`budgetlens.runs.engines.wire.packed`."""
        from budgetlens.runs.engines.here import part_computed
        from budgetlens.runs.engines.wire import packed

        return packed(part_computed(self.model, self.task, pickle.loads(given)))


def sendable(error: Exception) -> bytes:
    """An exception, pickled; in its words where it can't be, or could not be made again elsewhere."""
    try:
        given = cloudpickle.dumps(error)
        pickle.loads(given)
    # Whatever a class of anyone's raises while it is pickled or made again.
    except Exception:
        given = cloudpickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    return given
