"""What a test decides, as values: the kind of an effect, whether it is small, and what speaks against its interval.

No words are made here; those of a table or a sentence are :mod:`budgetlens.statistics.verdicts`'. A decision needs
evidence in either direction: an interval that leaves out 0 with a corrected p below alpha for an effect, an equivalence
test for the lack of one that matters. A large p alone decides nothing. Where both hold, there is an effect and it is too
small to matter (Lakens 2017, Social Psychological and Personality Science 8, fig. 1).
"""

from __future__ import annotations

import math
from collections.abc import Collection
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
CARRIED = "carried"
"""Why nothing is decided, beside :data:`TAILS`: few examples carry the mean."""
FAMILY = "family"
"""Why no effect is found although the interval leaves out 0: the interval is of its contrast alone, p of the family."""
REGRESSION = "regression"
"""Of strata of the baseline's own value."""
DOCUMENT_MEANS = "document means"
"""Of trends whose unit is the document's mean."""
JOINT = "; "

#: Independent units from which on an interval has about the length that it needs, whatever the tails.
CAUTIOUS_BELOW = 500
#: The same for what is no difference from doing nothing, whose intervals are longer, and for bands over layers, which then
#: cover more than 98 %.
CAUTIOUS_BETWEEN = 1_000
#: Independent units from which on Student's t, which knows no tails, errs in 6 % of samples at most.
STUDENT_FROM = 5_000
#: Part of the examples that are few, where they carry most of a mean.
FEW_EXAMPLES = 0.05


@dataclass(frozen=True)
class Decision:
    """The kind of an effect; ``small`` where the equivalence test holds, whatever the kind."""

    kind: Kind
    small: bool = False
    because: str = ""
    """Why no effect is found although Student's t or the interval by itself shows one: :data:`TAILS`, :data:`CARRIED` or
    :data:`FAMILY`."""
    carriers: int = 0
    """The examples that carry the mean, where that is why."""

    @property
    def found(self) -> bool:
        """Whether there is an effect."""
        return self.kind in FOUND

    @property
    def little(self) -> bool:
        """Whether there is an effect, and it is too small to matter."""
        return self.found and self.small


def decide(
    low: float,
    high: float,
    p_difference: float,
    p_equivalence: float,
    alpha: float = 0.05,
    *,
    p_student: float = math.nan,
    carriers: int = 0,
) -> Decision:
    """What one contrast decides; undecided wherever an input that it needs is NaN.

    Args:
        low, high: ends of the interval of the mean difference, baseline - treatment.
        p_difference: p of the test against 0, corrected within its family.
        p_equivalence: p of the equivalence test (TOST) against the smallest difference, corrected within its family.
        alpha: level of both tests.
        p_student: p of Student's t, corrected alike: what it alone finds, the tails leave undecided.
        carriers: how many examples carry the mean where they are so few that nothing is found (:func:`carriers`); else 0.
    """
    if math.isnan(low) or math.isnan(high):
        return Decision("undecided")
    # NaN < alpha is False: an undefined test decides nothing.
    small = bool(p_equivalence < alpha)
    outside = low > 0 or high < 0
    if outside and p_difference < alpha:
        if carriers:
            return Decision("undecided", small, CARRIED, carriers)
        return Decision("positive" if low > 0 else "negative", small)
    if small:
        return Decision("none", small, FAMILY if outside else "")
    return Decision("undecided", because=TAILS if p_student < alpha else FAMILY if outside else "")


def carriers(values: NDArray[np.float64], units: int) -> int:
    """How many examples carry the mean of values, shape [examples], where they forbid to conclude from it; else 0.

    Few examples carry a mean where the median or the 10 %-trimmed mean has another sign, or where
    :data:`FEW_EXAMPLES` of them are more than half of the sum. From :data:`CAUTIOUS_BELOW` units on the mean is
    concluded from all the same: its test then holds what it promises.

    Returns:
        The smallest number of examples whose sum is more than half of that of all.
    """
    mean = float(values.mean()) if len(values) else 0.0
    if units >= CAUTIOUS_BELOW or not mean:
        return 0
    turned = np.sort(values * np.sign(mean))[::-1]
    number = int(np.argmax(np.cumsum(turned) > turned.sum() / 2)) + 1
    few = number <= max(1, math.floor(FEW_EXAMPLES * len(turned)))
    cut = int(0.1 * len(turned))
    other = np.median(turned) < 0 or turned[cut : len(turned) - cut].mean() < 0
    return number if few or other else 0


def decide_over_layers(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    p_difference: NDArray[np.float64],
    p_equivalence: NDArray[np.float64],
    alpha: float = 0.05,
    *,
    because: Collection[str] = (),
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
        because: why its layers are undecided, each a code or empty.
    """
    # NaN < alpha is False: an undefined test decides nothing.
    found = p_difference < alpha
    small = len(low) > 0 and bool((p_equivalence < alpha).all())
    falls, rises = bool((found & (low > 0)).any()), bool((found & (high < 0)).any())
    if falls or rises:
        return Decision("both" if falls and rises else "positive" if falls else "negative", small)
    if small:
        return Decision("none", small)
    return Decision("undecided", because=TAILS if TAILS in because else "")


def surest_layer(tested: pd.DataFrame) -> pd.Series:
    """The layer that an effect over layers is told at: the largest |t| of its tested layers, one row each."""
    return tested.loc[(tested["mean"] / tested["standard_error"]).abs().idxmax()]


def coverage_cautions(units: int, *, between: bool = False) -> tuple[str, ...]:
    """:data:`TAILS` where so few units carry an interval that it had to be made longer for tails they may not show.

    By the number of units alone: a sample that lacks the tail of its population looks harmless. The interval covers
    94 % and more with any of the real tails, and more than 98 % with lighter ones (``python -m tests.simulation``).
    ``between`` is of what is no difference from doing nothing (:data:`budgetlens.statistics.tails.CRITICAL_BETWEEN`),
    and of bands.
    """
    return (TAILS,) if units < (CAUTIOUS_BETWEEN if between else CAUTIOUS_BELOW) else ()


def of_student(units: int) -> str:
    """:data:`SKEW` where a p of Student's t or of sign flips, which know no skewed tails, may be too small; else nothing."""
    return SKEW if units < STUDENT_FROM else ""


def joined(*codes: str) -> str:
    """Codes, or joined codes, as one cell of a table, each once."""
    return JOINT.join(dict.fromkeys(code for given in codes for code in codes_of(given)))


def codes_of(cell: object) -> tuple[str, ...]:
    """The codes in one cell of a table; none in an empty or missing one."""
    return tuple(code for code in cell.split(JOINT) if code) if isinstance(cell, str) else ()


def of_intervals(*cells: str) -> str:
    """The codes of some cells that concern intervals."""
    return TAILS if any(TAILS in codes_of(cell) for cell in cells) else ""
