"""Checks of what the paired statistics are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def numbers(values: ArrayLike, name: str) -> Floats:
    """One value per example as float64."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds something that is not a number: {error}") from error
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected one value per example, shape [examples]")
    return array


def token_weights(weights: ArrayLike, n: int) -> Floats:
    """Weights above 0, one per example."""
    array = numbers(weights, "weights")
    if array.size != n:
        raise ValueError(f"weights has {array.size} values for {n} examples")
    if n and (not np.isfinite(array).all() or (array <= 0).any()):
        raise ValueError("weights must be finite and above 0 (answer tokens per example)")
    return array


def unit_labels(clusters: Sequence[object] | NDArray | None, n: int) -> NDArray | None:
    """Unit number, 0, 1, ..., of each example in order of appearance; None stays None."""
    if clusters is None:
        return None
    if len(clusters) != n:
        raise ValueError(f"clusters has {len(clusters)} labels for {n} examples")
    if pd.isna(np.asarray(clusters, dtype=object)).any():
        raise ValueError("clusters must name the document of every example; some are missing")
    return pd.factorize(np.asarray(clusters, dtype=object))[0]
