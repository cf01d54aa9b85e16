"""Rank correlation, without scipy.stats, which takes longest of all to load."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def spearman(one: ArrayLike, other: ArrayLike) -> float:
    """Spearman's correlation of two samples of one length that vary: Pearson's of their ranks, ties at their mean rank."""
    ranks = [pd.Series(np.asarray(values, dtype=float)).rank().to_numpy() for values in (one, other)]
    return float(np.corrcoef(*ranks)[0, 1])
