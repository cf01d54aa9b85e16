"""A finding: one effect as a value, from which every sentence, mark and picture of it is made.

Nothing reads a finding back from words. Tables of effects hold the same fields as columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from budgetlens.statistics.decisions import Decision, Kind, codes_of
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL, verdict

if TYPE_CHECKING:
    import pandas as pd

#: Corrected p of the difference, by the correction that a table was made with; its equivalence tests' have `p_tost_`.
CORRECTED = ("p_holm", "p_bonferroni")


@dataclass(frozen=True)
class Finding:
    """What one contrast of cells showed of one quantity."""

    effect: str
    """The contrast's name."""
    family: str
    """Contrasts that were corrected together."""
    quantity: Quantity
    order: int
    """1 a difference, 2 an interaction, 3 and more a higher one, -1 a slope."""
    estimate: float
    """Mean over examples of baseline - treatment, in the quantity's unit; NaN where undefined."""
    low: float
    high: float
    p: float
    """Of the difference, corrected within the family."""
    p_equivalence: float
    """Of the equivalence test against ±``smallest_difference``, corrected within the family."""
    n: int
    units: int
    """Independent units: documents where examples share them, else examples."""
    kind: Kind
    small: bool
    """Whether it was shown to be within ±``smallest_difference``."""
    smallest_difference: float
    detectable: float
    """Mean that a t test finds with power 0.8 at this n."""
    cautions: tuple[str, ...] = ()
    """Codes (:mod:`budgetlens.statistics.decisions`)."""
    reason: str = ""
    """Why the estimate, its interval or its tests are undefined."""

    @property
    def decision(self) -> Decision:
        """The kind, and whether it is small."""
        return Decision(self.kind, self.small)

    @property
    def verdict(self) -> str:
        """The decision in words."""
        return verdict(self.decision, self.smallest_difference, self.order, self.quantity)

    @property
    def better(self) -> bool | None:
        """Whether the treatment is better; None where neither way is, where nothing was found, or of an interaction."""
        if self.order != 1 or not self.quantity.better or self.kind not in ("positive", "negative"):
            return None
        return (self.kind == "positive") == (self.quantity.better == "lower")


def findings(effects: pd.DataFrame, quantity: Quantity = ANSWER_NLL) -> tuple[Finding, ...]:
    """The rows of a table of effects (:func:`budgetlens.statistics.effects.effects_table`) as findings, in order.

    Raises:
        ValueError: a column that a finding needs is missing.
    """
    corrected = next((name for name in CORRECTED if name in effects.columns), CORRECTED[0])
    needed = (
        "contrast",
        "family",
        "mean_difference",
        "low",
        "high",
        corrected,
        "n",
        "kind",
        "smallest_effect",
    )
    missing = [name for name in needed if name not in effects.columns]
    if missing:
        raise ValueError(
            f"a table of effects needs the columns {', '.join(needed)}; this one lacks {', '.join(missing)}"
        )
    return tuple(_finding(row, corrected, quantity) for row in effects.to_dict("records"))


def _finding(row: Mapping[str, Any], corrected: str, quantity: Quantity) -> Finding:
    n = int(row["n"])
    reason = row.get("reason", "")
    return Finding(
        effect=str(row["contrast"]),
        family=str(row["family"]),
        quantity=quantity,
        order=int(row.get("order", 1)),
        estimate=float(row["mean_difference"]),
        low=float(row["low"]),
        high=float(row["high"]),
        p=float(row[corrected]),
        p_equivalence=float(row.get(f"p_tost_{corrected.removeprefix('p_')}", float("nan"))),
        n=n,
        units=int(row.get("clusters", n) or n),
        kind=row["kind"],
        small=row.get("small") == "yes",
        smallest_difference=float(row["smallest_effect"]),
        detectable=float(row.get("minimum_detectable", float("nan"))),
        cautions=codes_of(row.get("caution")),
        reason=reason if isinstance(reason, str) else "",
    )
