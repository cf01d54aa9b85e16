"""What every subcommand's options share: no empty value is taken for a default, and an error is one sentence."""

from __future__ import annotations

import argparse
import contextlib
import re
import reprlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from budgetlens.tables.terminal_text import visible

#: Exit status after an error that the message explains.
FAILED = 2

#: Longest sentence in characters; those of this project are far below.
_LONGEST = 1_800

#: So many digits are enough for any number that is meant.
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")


class Parser(argparse.ArgumentParser):
    """A parser whose options refuse empty values, and which ends in one sentence on stderr with exit status 2.

    A shell hands an unset variable over as an empty text (``--corpus "$FILE"``): no name, file or list is empty, and
    what is meant when nothing is given is another thing. Subparsers are of this class as well.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # The types of options that name none, and of paths, in all groups.
        self.register("type", None, filled)
        self.register("type", Path, filled_path)
        self.register("type", float, number)
        self.register("type", int, whole)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong in one line, and exit."""
        self.exit(
            FAILED, f"{self.prog}: {sentence(message)} (`{self.prog} --help` tells what can be given)\n"
        )


def sentence(message: str) -> str:
    """A message as one line for a terminal, without its middle where somebody's input makes it very long."""
    line = visible(message)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 300]} … {line[-300:]}"


def filled(text: str) -> str:
    """The text itself; ArgumentTypeError where it is empty or blank."""
    if not text.strip():
        raise argparse.ArgumentTypeError(
            f"got {'an empty' if not text else 'a blank'} text, as from a shell variable that is not set; give a value, "
            "or leave the option out"
        )
    return text


def filled_path(text: str) -> Path:
    """The path; ArgumentTypeError where it is empty or blank."""
    return Path(filled(text))


def whole(text: str) -> int:
    """A whole number; ArgumentTypeError otherwise."""
    if not _WHOLE.fullmatch(text.strip()):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {reprlib.repr(text)}")
    return int(text)


def number(text: str) -> float:
    """A finite number; ArgumentTypeError otherwise."""
    try:
        found = float(text)
    except ValueError:
        found = float("nan")
    if found - found != 0:
        raise argparse.ArgumentTypeError(f"expected a number, got {reprlib.repr(text)}")
    return found


@contextlib.contextmanager
def any_encoding() -> Iterator[None]:
    """Let stdout and stderr write out (``\\u2192``) what their encoding has no character for, instead of failing."""
    changed = []
    for stream in (sys.stdout, sys.stderr):
        # A notebook's streams, for one, can't be told so, and need not be.
        if hasattr(stream, "reconfigure") and stream.errors != "backslashreplace":
            changed.append((stream, stream.errors))
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in changed:
            if not stream.closed:
                stream.reconfigure(errors=errors)


def chosen_examples(text: str) -> int | tuple[str, ...]:
    """A number of examples, from 0, or identifiers joined by commas: what is no number, or has a comma."""
    names = [part.strip() for part in text.removesuffix(",").split(",")]
    if "," not in text and names[0].lstrip("+-").isdecimal():
        number = whole(text)
        if number < 0:
            raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
        return number
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"expected a number of examples, or their identifiers joined by commas, got {text!r}"
        )
    return tuple(dict.fromkeys(names))
