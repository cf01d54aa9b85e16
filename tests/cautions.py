"""When a number needs a caution, worked out apart from the project; and which tables have no column for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

TAILS = "tails"
SKEW = "skew"


def tails_of(*numbers: ArrayLike) -> str:
    """What is to be said where nothing is tested and any of some lists of values, one a unit, has tails too heavy."""
    return TAILS if any(TAILS in caution_of(values) for values in numbers) else ""


def caution_of(values: ArrayLike) -> str:
    """What is to be said of the mean of values, one a unit, where it is tested."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    said = [TAILS] if len(known) < 20 * (stats.kurtosis(known) + 3) else []
    said += [SKEW] if len(known) < 25 * stats.skew(known) ** 2 else []
    return "; ".join(said)


def left_out_ratios(numerator: ArrayLike, denominator: ArrayLike) -> np.ndarray:
    """The ratio of means without each unit in turn: whose tails its interval has to bear."""
    top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
    return np.array(
        [np.delete(top, unit).mean() / np.delete(bottom, unit).mean() for unit in range(len(top))]
    )


def tables_without_caution(folder: Path) -> list[str]:
    """The tables that hold an interval and have no column for a caution."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        columns = pd.read_csv(path, nrows=0).columns
        if any(name == "low" or name.endswith("_low") for name in columns) and "caution" not in columns:
            found.append(path.name)
    return found
