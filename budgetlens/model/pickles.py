"""What a pickle of weights would import if it were read, found without reading it."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

#: Modules of what pickled tensors are made of.
_TENSORS = ("torch", "collections")


def imported_code(path: Path) -> str | None:
    """The first name that the pickles of a checkpoint would import and that makes no tensor; None where none is found.

    Only instructions are listed, none is followed. A damaged pickle is listed as far as it goes.
    """
    for pickled in _pickles(path):
        for name in _imports(pickled):
            if name.partition(".")[0] not in _TENSORS:
                return name
    return None


def _pickles(path: Path) -> Iterator[IO[bytes]]:
    """The pickles of a file of ``torch.save``: members of an archive, else the file, in which several follow each other."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".pkl"):
                    yield io.BytesIO(archive.read(member))
    else:
        with path.open("rb") as file:
            yield file


def _imports(pickled: IO[bytes]) -> Iterator[str]:
    texts: list[str] = []
    while True:
        try:
            for operation, argument, _ in pickletools.genops(pickled):
                if operation.name in ("GLOBAL", "INST"):
                    yield str(argument).replace(" ", ".")
                elif operation.name == "STACK_GLOBAL":
                    yield ".".join(texts[-2:])
                elif isinstance(argument, str):
                    texts.append(argument)
        # The end of the file, or what is no pickle.
        except ValueError:
            return
