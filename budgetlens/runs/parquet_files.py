"""Parquet files that are read without trust that they are there, still, and whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from budgetlens.runs.manifest import RunError


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what a read of ``path`` in this block fails with into a RunError that says what to do.

    A directory may be removed while it is read. Where the memory is used up, that is said instead.
    """
    try:
        yield
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise RunError(f"{path} is not there, or no longer; bring it back, or run it again") from error
    except (OSError, pa.ArrowException) as error:
        raise RunError(f"{path} can't be read ({error}); run it again") from error
