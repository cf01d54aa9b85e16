"""Matrix products whose bytes do not depend on the number of threads.

Libraries of linear algebra split a product among threads, and add up in another order then. The last bits of a sum
follow, and an interval or a tie with them.
"""

from __future__ import annotations

from functools import cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

#: Bytes that OpenBLAS takes for itself at the first product of a process, and as much again.
WORKING_ROOM = 2 * 2**25


def product(left: NDArray, right: NDArray) -> NDArray:
    """``left @ right``, computed by one thread, in the type of both."""
    controller, lock = _threads()
    # The number of threads is the process's, not the caller's: two callers at once would give each other's back.
    with lock, controller.limit(limits=1, user_api="blas"):
        return np.matmul(left, right)


@cache
def _threads() -> tuple[ThreadpoolController, Lock]:
    """The libraries that are loaded, numpy's among them: to look for them takes as long as a small product.

    Raises MemoryError where they would find no room to work in: OpenBLAS ends the process then, and says nothing of use.
    """
    np.empty(WORKING_ROOM, dtype=np.uint8)
    return ThreadpoolController(), Lock()
