"""When a number needs a caution, worked out apart from the project; and which tables have no column for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

TAILS = "tails"
SKEW = "skew"


def caution_of(values: ArrayLike) -> str:
    """What is to be said of the mean of values, one a unit: by their number alone, whatever they look like."""
    return TAILS if np.isfinite(np.asarray(values, dtype=np.float64)).sum() < 500 else ""


def tables_without_caution(folder: Path) -> list[str]:
    """The tables that hold an interval and have no column for a caution."""
    found = []
    for path in sorted(folder.glob("*.csv")):
        columns = pd.read_csv(path, nrows=0).columns
        if any(name == "low" or name.endswith("_low") for name in columns) and "caution" not in columns:
            found.append(path.name)
    return found
