"""The main function of a worker process: it reads what it is asked from its standard input, and answers on its output."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from typing import Any, BinaryIO

from budgetlens.runs.engines.frames import read_frame, write_frame
from budgetlens.runs.engines.worker import Worker, sendable


def main() -> None:
    """Be a worker with as many threads as ``sys.argv[1]`` says."""
    serve(Worker(int(sys.argv[1])))


def serve(worker: Any) -> None:
    """Call the methods of ``worker`` that are asked for, with what is given, until the other side is gone."""
    # The terminal sends it to all; the process that started this one decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _own_output()
    asked: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
    # Besides the computing, so that the other side never waits until it can write the next part.
    threading.Thread(target=_listen, args=(sys.stdin.buffer, asked), daemon=True).start()
    while True:
        name, given = asked.get()
        try:
            answer = (name, getattr(worker, name)(*given))
        # Any error is the other side's to tell; this process stays.
        except Exception as error:
            answer = ("failed", sendable(error))
        try:
            write_frame(answers, answer)
        except OSError:
            os._exit(0)


def _own_output() -> BinaryIO:
    """The pipe of the standard output; what code prints goes to the standard error from now on."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def _listen(pipe: BinaryIO, asked: queue.SimpleQueue[tuple[str, tuple[Any, ...]]]) -> None:
    """Put what is asked into the queue. Without anyone who asks the process ends, in the midst of a part as well."""
    while True:
        try:
            asked.put(read_frame(pipe))
        except (EOFError, OSError):
            os._exit(0)


if __name__ == "__main__":
    main()
