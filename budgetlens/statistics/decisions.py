"""What a test decides, as values: the kind of an effect, whether it is small, and what speaks against its interval.

No words are made here; those of a table or a sentence are :mod:`budgetlens.statistics.verdicts`'. A decision needs
evidence in either direction: an interval that leaves out 0 with a corrected p below alpha for an effect, an equivalence
test for the lack of one that matters. A large p alone decides nothing. Where both hold, there is an effect and it is too
small to matter (Lakens 2017, Social Psychological and Personality Science 8, fig. 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["positive", "negative", "both", "none", "undecided"]
"""Sign of the estimate (baseline - treatment) where an effect was found, ``both`` where layers differ in it; ``none``
where it was shown to be within the bound; else ``undecided``."""

FOUND = ("positive", "negative", "both")

#: Codes of cautions. They stand in tables, joined by :data:`JOINT`; the words are made where a table is shown.
TAILS, SKEW = "tails", "skew"
REGRESSION = "regression"
"""Of strata of the baseline's own value."""
DOCUMENT_MEANS = "document means"
"""Of trends whose unit is the document's mean."""
JOINT = "; "


@dataclass(frozen=True)
class Decision:
    """The kind of an effect; ``small`` where the equivalence test holds, whatever the kind."""

    kind: Kind
    small: bool = False

    @property
    def found(self) -> bool:
        """Whether there is an effect."""
        return self.kind in FOUND


def decide(
    low: float, high: float, p_difference: float, p_equivalence: float, alpha: float = 0.05
) -> Decision:
    """What one contrast decides; undecided wherever an input that it needs is NaN.

    Args:
        low, high: ends of the interval of the mean difference, baseline - treatment.
        p_difference: p of the test against 0, corrected within its family.
        p_equivalence: p of the equivalence test (TOST) against the smallest difference, corrected within its family.
        alpha: level of both tests.
    """
    if math.isnan(low) or math.isnan(high):
        return Decision("undecided")
    # NaN < alpha is False: an undefined test decides nothing.
    small = bool(p_equivalence < alpha)
    if (low > 0 or high < 0) and p_difference < alpha:
        return Decision("positive" if low > 0 else "negative", small)
    return Decision("none", small) if small else Decision("undecided")


def decide_over_layers(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    p_difference: NDArray[np.float64],
    p_equivalence: NDArray[np.float64],
    alpha: float = 0.05,
) -> Decision:
    """What one contrast of attention decides over all its layers.

    Positive, negative or both where the band of a layer leaves out 0, small where no layer's change is larger than the
    smallest difference; none where no band leaves out 0 and every layer is within; else undecided.

    Args:
        low, high: ends of the band of each layer, which hold for all layers at once, shape [layers].
        p_difference: p against 0 of each layer, corrected over the layers.
        p_equivalence: TOST p of each layer, not corrected: that every layer is within the bound is shown at level alpha
            where each layer's own test shows it (Berger 1982, intersection-union).
        alpha: level of the tests.
    """
    # NaN < alpha is False: an undefined test decides nothing.
    found = p_difference < alpha
    small = len(low) > 0 and bool((p_equivalence < alpha).all())
    falls, rises = bool((found & (low > 0)).any()), bool((found & (high < 0)).any())
    if falls or rises:
        return Decision("both" if falls and rises else "positive" if falls else "negative", small)
    return Decision("none", small) if small else Decision("undecided")


def surest_layer(tested: pd.DataFrame) -> pd.Series:
    """The layer that an effect over layers is told at: the largest |t| of its tested layers, one row each."""
    return tested.loc[(tested["mean"] / tested["standard_error"]).abs().idxmax()]


def coverage_cautions(n: int, skewness: float, kurtosis: float) -> tuple[str, ...]:
    """Codes where an interval or a p-value is known not to keep its promise.

    Two rules, both checked by simulation with the skew (9) and tails (kurtosis 110) of the published
    differences (tests/test_effects_coverage.py):
    * :data:`TAILS`: the BCa interval needs n of at least 20 (kurtosis + 3): n/(kurtosis + 3) is the number of examples
      that carry the variance, and with fewer than about 20 the 95 % interval covers less than 93 % (89 % at
      n = 500).
    * :data:`SKEW`: tests of the mean need n of at least 25 skewness^2 (Cochran 1977, Sampling Techniques, eq. 2.25).
      Below, a mean of 0 with a skewed tail is rejected too often (9 % at n = 500 for a nominal 5 %); the
      sign-flip p is still exact for its own null, that baseline and treatment are exchangeable.

    Args:
        n: independent units.
        skewness: sample skewness of the differences.
        kurtosis: their sample excess kurtosis (0 for a normal distribution).

    Returns:
        None, one or both codes. Tails that no example of the sample shows cannot be warned of.
    """
    found = []
    if n < 20 * (kurtosis + 3):
        found.append(TAILS)
    if n < 25 * skewness**2:
        found.append(SKEW)
    return tuple(found)


def joined(*codes: str) -> str:
    """Codes, or joined codes, as one cell of a table, each once."""
    return JOINT.join(dict.fromkeys(code for given in codes for code in codes_of(given)))


def codes_of(cell: object) -> tuple[str, ...]:
    """The codes in one cell of a table; none in an empty or missing one."""
    return tuple(code for code in cell.split(JOINT) if code) if isinstance(cell, str) else ()


def of_intervals(*cells: str) -> str:
    """The codes of some cells that concern intervals, where no test is shown beside them."""
    return TAILS if any(TAILS in codes_of(cell) for cell in cells) else ""


def of_tests(cell: str) -> str:
    """The codes of a cell that concern tests of a mean, where no interval is shown beside them."""
    return SKEW if SKEW in codes_of(cell) else ""
