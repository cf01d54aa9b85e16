"""Memory that is used up: how the libraries say so, and giving back what nobody holds."""

from __future__ import annotations

import errno
import gc
from collections.abc import Iterator

#: How torch, and what it calls, say that memory is used up: none of them has an exception class for the processor's.
_WORDS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "defaultcpuallocator",
    "bad_alloc",
    "alloc_failed",
    "cannot allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that led to it, says that the memory of the machine or of its GPU is used up."""
    return any(_says_so(each) for each in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
        return True
    # torch.OutOfMemoryError is a RuntimeError as well; ImportError comes of libraries that can't be mapped.
    return isinstance(error, RuntimeError | ImportError) and any(
        word in str(error).lower() for word in _WORDS
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        yield current
        seen.add(id(current))
        current = current.__cause__ or current.__context__


def free_memory() -> None:
    """Give the memory of models and batches that nobody holds any more back: they refer to each other in circles."""
    # Here, because the command asks above what an error means also where torch was never loaded.
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
