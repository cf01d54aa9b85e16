"""Sign-flip permutations as matrix products.

Under the null that baseline and treatment are exchangeable within each example, a difference is as likely
as its negative. Flipping signs therefore gives the exact null distribution of any statistic of the
differences.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from budgetlens.statistics.intervals import rows_per_block
from budgetlens.statistics.products import product

Floats = NDArray[np.float64]

# Two sums that are equal on paper can differ in their last bits; without this a tie would be lost at random.
TIE_TOLERANCE = 1e-10


def sign_blocks(units: int, *, seed: int, permutations: int, dtype: type = np.float64) -> Iterator[NDArray]:
    """Blocks of sign patterns, each of shape [permutations in the block, units], entries -1 or +1.

    All 2^units - 1 patterns other than the observed one are enumerated where that is no more than
    `permutations`; otherwise they are drawn at random.
    """
    if units < 63 and 2**units - 1 <= permutations:
        patterns = np.arange(1, 2**units, dtype=np.int64)
        yield (1 - 2 * ((patterns[:, None] >> np.arange(units)) & 1)).astype(dtype)
        return
    generator = np.random.default_rng([seed, 2])
    block = rows_per_block(units)
    for start in range(0, permutations, block):
        rows = min(block, permutations - start)
        signs = generator.integers(0, 2, size=(rows, units), dtype=np.int8)
        yield (2 * signs - 1).astype(dtype)


def sign_flip_p(columns: Floats, *, seed: int, permutations: int) -> Floats:
    """Two-sided sign-flip p of the sum of each column, (k + 1) / (m + 1) (Phipson and Smyth 2010, eq. 2).

    Args:
        columns: shape [units, columns]; a unit's values are flipped together.
        seed: seeds the random patterns.
        permutations: m, the number of random patterns; with few units all patterns are used and p is exact.

    Returns:
        Shape [columns], between 1 / (m + 1) and 1.
    """
    observed = np.abs(columns.sum(axis=0))
    threshold = observed - TIE_TOLERANCE * np.abs(columns).sum(axis=0)
    reached = np.zeros(columns.shape[1])
    drawn = 0
    for signs in sign_blocks(columns.shape[0], seed=seed, permutations=permutations):
        reached += (np.abs(product(signs, columns)) >= threshold).sum(axis=0)
        drawn += signs.shape[0]
    return (reached + 1) / (drawn + 1)
