"""Ranks: correlation and signed-rank test, without scipy.stats, which takes longest of all to load."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

#: Differences of which the signed-rank test is exact: without zeros and ties, and with them.
MOST_EXACT, MOST_TIED = 50, 13


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's correlation of two samples of one length that vary: Pearson's of their ranks, ties at their mean rank."""
    ranks = [pd.Series(np.asarray(values, dtype=float)).rank().to_numpy() for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])


def wilcoxon_p(values: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that differences, not all 0, lie around 0; zeros are dropped.

    Exact of up to 50 differences without zeros and ties, and of up to 13 with them; else by the normal approximation
    with its correction for ties, and none for continuity.
    """
    differences = values[values != 0]
    ranks = pd.Series(np.abs(differences)).rank().to_numpy()
    won, n = float(ranks[differences > 0].sum()), differences.size
    _, sizes = np.unique(ranks, return_counts=True)
    plain = n == values.size and sizes.max() == 1
    if values.size <= (MOST_EXACT if plain else MOST_TIED):
        return _exact_p(np.rint(2 * ranks).astype(int), round(2 * won))
    variance = n * (n + 1) * (2 * n + 1) / 24 - float((sizes.astype(float) ** 3 - sizes).sum()) / 48
    return float(2 * special.ndtr(-abs(won - n * (n + 1) / 4) / np.sqrt(variance)))


def _exact_p(ranks: NDArray[np.int64], won: int) -> float:
    """Of a sum of ranks over random signs, both doubled, so that ties have whole ones too."""
    ways = np.zeros(int(ranks.sum()) + 1)
    ways[0] = 1.0
    for rank in ranks:
        ways[rank:] = ways[rank:] + ways[:-rank]
    tail = min(ways[: won + 1].sum(), ways[won:].sum()) / ways.sum()
    return min(1.0, float(2 * tail))
