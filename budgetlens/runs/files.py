"""Files that are whole or not there: atomic writing, hashes, and small JSON read without trust."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Why a write fails for want of room, and what helps, by the number of the error.
_NO_ROOM = {
    errno.ENOSPC: ("no space is left on its disk", "free space"),
    errno.EDQUOT: ("its disk quota is used up", "free space"),
    errno.EFBIG: ("it would be larger than the limit on files allows (ulimit -f)", "raise the limit"),
}

#: The folder of a file is no more.
_GONE = (errno.ENOENT, errno.ENOTDIR)


class WriteError(OSError):
    """A file that can't be written; the message names it and says what to do."""


#: Largest JSON file of a run that is read, in bytes: a thousand cells and their examples take a quarter of it.
LARGEST_JSON = 256 * 2**20


def read_json(path: Path) -> Any:
    """The content of a small JSON file, None where it is missing, damaged, too large or nested too deeply."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a write of ``path`` in this block fails with into a WriteError that says what to do."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(_words(path, error)) from error


def _words(path: Path, error: OSError) -> str:
    if error.errno in _NO_ROOM:
        reason, remedy = _NO_ROOM[error.errno]
        return f"{path} can't be written, since {reason}; {remedy} and give the same command again"
    if error.errno in _GONE:
        return (
            f"{path} can't be written, since its folder is not there, or no longer; bring it back and give the same "
            "command again"
        )
    reason = error.strerror or str(error)
    return f"{path} can't be written ({reason}); make it writable and give the same command again"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error.

    Raises WriteError where it can't be written; nothing of it stays then.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; its folder is made where only that is missing."""
    make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_output(path: Path, text: str) -> None:
    """Write a text where the user asked for it: a file whole or not at all, anything else, such as a pipe, as it is."""
    if path.exists() and not path.is_file():
        with writing(path):
            path.write_text(text, encoding="utf-8")
    else:
        write_text(path.resolve(), text)


def make_folder(path: Path) -> None:
    """Make a folder in one that is there: a run's directory that was removed is not made again by its files."""
    with writing(path):
        path.mkdir(exist_ok=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
