"""What a caption states of how its table infers: the correction, and the smallest difference that matters."""

from __future__ import annotations

import math

import pandas as pd

from budgetlens.statistics.correction_names import CORRECTION_NAMES, Correction
from budgetlens.statistics.quantities import Bound


def stated(frame: pd.DataFrame) -> Bound:
    """The smallest difference of rows of effects: as a part of the baseline's mean where it is one, else its size."""
    share = float(frame["smallest_share"].iloc[0])
    return Bound(float(frame["smallest_effect"].iloc[0]) if math.isnan(share) else math.nan, share)


def correction_words(correction: Correction) -> str:
    """What is corrected, and how; which p decides where the published one is shown."""
    if correction == "none":
        return CORRECTION_NAMES[correction]
    within = f"{CORRECTION_NAMES[correction]} on the {{}} within each family"
    if correction != "bonferroni":
        return within.format("p of the mean")
    return within.format("t-test p, as published; verdicts: on the p of the mean")
