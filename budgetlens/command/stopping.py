"""How the command ends before its time: signals, and memory that is used up; what is told, and the exit status."""

from __future__ import annotations

import contextlib
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType

from budgetlens.tables.terminal_text import visible

#: Exit status of a process that a signal ended is this plus its number.
SIGNALLED = 128

#: Signals that ask to stop, as schedulers, lost terminals and `kill` send them; some systems lack SIGHUP.
ASKING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stopped(BaseException):
    """A signal asked the command to stop. No Exception, and no KeyboardInterrupt, so that nothing on its way takes it
    for its own."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`Stopped` in this block where a signal asks to stop, so that files are left whole and told of.

    Signals that whoever started the process had ignored (`nohup`) stay ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ASKING}
    ours = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def words_of_stop(stop: BaseException, command: Sequence[str]) -> tuple[str, int]:
    """What is told after a :class:`Stopped` or a KeyboardInterrupt, and the exit status."""
    number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
    what = f"stopped by {signal.Signals(number).name}" if isinstance(stop, Stopped) else "interrupted"
    return f"{what}; {again(command)}", SIGNALLED + number


def words_of_memory(command: Sequence[str]) -> str:
    """What is told where memory is used up."""
    return (
        "the memory is used up (of the machine, of this process's limit, or of the GPU); free memory, or raise the limit; "
        f"{again(command)}"
    )


def again(command: Sequence[str]) -> str:
    """How to go on, with this process's own command as a shell takes it."""
    does = "continues a run where it stopped" if command[1:2] == ["run"] else "begins again"
    return f"the same command {does}: {visible(shlex.join(command))}"
