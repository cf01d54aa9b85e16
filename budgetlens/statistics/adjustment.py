"""Corrections of p-values within a family of tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from budgetlens.statistics.correction_names import Correction


def adjusted_p(p: NDArray[np.float64], correction: Correction = "holm") -> NDArray[np.float64]:
    """Holm (1979) or Bonferroni p within one family, Benjamini and Hochberg's (1995) q, or the p themselves.

    An undefined p stays NaN but still counts as a member: the family was declared before the data were seen.
    """
    values = np.asarray(p, dtype=np.float64)
    if values.size == 0:
        return values
    undefined = np.isnan(values)
    known = np.where(undefined, 1.0, values)
    # By hand: statsmodels collects all garbage at every call, which took half of a small run's time.
    if correction == "none":
        adjusted = known
    elif correction == "fdr":
        order = np.argsort(-known, kind="stable")
        steps = known[order] * known.size / np.arange(known.size, 0, -1)
        adjusted = np.empty_like(known)
        adjusted[order] = np.minimum(np.minimum.accumulate(steps), 1.0)
    elif correction == "bonferroni":
        adjusted = np.minimum(known * known.size, 1.0)
    else:
        order = np.argsort(known, kind="stable")
        steps = known[order] * np.arange(known.size, 0, -1)
        adjusted = np.empty_like(known)
        adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return np.where(undefined, np.nan, adjusted)


def false_discovery_q(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini and Hochberg's (1995) q within one family; an undefined p stays NaN and is no member."""
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        order = np.argsort(p[known], kind="stable")[::-1]
        steps = p[known][order] * order.size / np.arange(order.size, 0, -1)
        own = np.empty(order.size)
        own[order] = np.minimum.accumulate(np.minimum(steps, 1.0))
        q[known] = own
    return q
