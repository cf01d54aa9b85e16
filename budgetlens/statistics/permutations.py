"""Sign-flip permutations as matrix products.

Under the null that baseline and treatment are exchangeable within each example, a difference is as likely
as its negative. Flipping signs therefore gives the exact null distribution of any statistic of the
differences.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import rows_per_block
from budgetlens.statistics.products import product
from budgetlens.statistics.tails import asymmetries, length_factor

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


def max_statistic(
    values: NDArray[np.float64], groups: NDArray[np.int64], inference: Inference
) -> dict[str, NDArray[np.float64]]:
    """Sign-flip distribution of the maximal |t| within each group of columns, with the length that tails need.

    Returns:
        By name, shape [columns]: standard_error, asymmetry, p of the column alone, p_simultaneous within its group,
        p_student the same without the length that tails need, and ends of a band that holds the means of a whole group.
    """
    n, columns = values.shape
    mean = values.mean(axis=0)
    error = values.std(axis=0, ddof=1) / np.sqrt(n)
    asymmetry = asymmetries(values)
    below, above = length_factor(-asymmetry, n), length_factor(asymmetry, n)
    student = np.abs(mean) / error
    observed = student / np.where(mean > 0, below, above)
    # Unit scale lets float32 carry the products, which halves their time.
    scale = np.sqrt((values**2).sum(axis=0))
    scaled = (values / scale).astype(np.float32)
    ratio, spread = mean / scale, (n - 1) * (error * np.sqrt(n) / scale) ** 2
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    reached = np.zeros(columns)
    reached_maximum, reached_student = np.zeros((2, columns))
    maxima: list[list[NDArray[np.float64]]] = [[] for _ in members]
    drawn = 0
    patterns = sign_blocks(n, seed=inference.seed, permutations=inference.resamples, dtype=np.float32)
    for signs in patterns:
        sums = product(signs, scaled).astype(np.float64)
        flipped = _absolute_t(sums, n, np.ones(columns))
        # Flipped deviations from the mean: the same products less what the mean contributes.
        centred = _absolute_t(sums - signs.sum(axis=1, dtype=np.float64)[:, None] * ratio, n, spread)
        tolerated = observed * (1 - 1e-5)
        reached += (flipped >= tolerated).sum(axis=0)
        for number, chosen in enumerate(members):
            largest = flipped[:, chosen].max(axis=1)[:, None]
            reached_maximum[chosen] += (largest >= tolerated[chosen]).sum(axis=0)
            reached_student[chosen] += (largest >= student[chosen] * (1 - 1e-5)).sum(axis=0)
            maxima[number].append(centred[:, chosen].max(axis=1))
        drawn += signs.shape[0]
    width = np.empty(columns)
    rank = min(drawn, int(np.ceil(inference.confidence * (drawn + 1)))) - 1
    for number, chosen in enumerate(members):
        width[chosen] = np.sort(np.concatenate(maxima[number]))[rank] * error[chosen]
    return {
        "standard_error": error,
        "asymmetry": asymmetry,
        "band_low": mean - below * width,
        "band_high": mean + above * width,
        "p": (reached + 1) / (drawn + 1),
        "p_simultaneous": (reached_maximum + 1) / (drawn + 1),
        "p_student": (reached_student + 1) / (drawn + 1),
    }


def _absolute_t(sums: NDArray[np.float64], n: int, squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """|t| of columns from their sums and sums of squares; flipping signs leaves the latter as they are."""
    variance = (squares - sums**2 / n) / (n - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(sums) / np.sqrt(n * np.maximum(variance, 0))
