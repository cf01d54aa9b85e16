"""A finding: one effect as a value, from which every sentence, mark and picture of it is made.

Nothing reads a finding back from words. Tables of effects hold the same fields as columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from budgetlens.statistics.decisions import Decision, Kind, codes_of, decide_over_layers, surest_layer
from budgetlens.statistics.quantities import Bound, Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL, SLOPE, verdict

if TYPE_CHECKING:
    import pandas as pd

NAN = float("nan")

#: Corrected p of the difference, by the correction that a table was made with; its equivalence tests' have `p_tost_`.
CORRECTED = ("p_holm", "p_bonferroni", "p_fdr", "p_none")


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
    category: str = ""
    """What of a whole it is of, such as a role; empty of an answer's outcome."""
    layer: int | None = None
    """The layer that is told, of an effect over layers; its interval and p hold over all of them."""
    reason: str = ""
    """Why the estimate, its interval or its tests are undefined."""
    because: str = ""
    """Why nothing is decided although Student's t would: a code (:mod:`budgetlens.statistics.decisions`)."""
    carriers: int = 0
    """How many examples carry the mean, where they are too few to conclude from it."""
    first: str = ""
    """Of an interaction of two factors, the first treatment, ``factor=level``; empty of others."""
    second: str = ""
    first_alone: float = NAN
    """Of an interaction, baseline - treatment of the first alone, in the unit."""
    second_alone: float = NAN
    both: float = NAN
    smallest_share: float = NAN
    """The part of the baseline's mean that ``smallest_difference`` is, where it is declared so."""
    median: float = NAN
    median_low: float = NAN
    """Lower end of the interval of the median, which tails do not touch."""
    median_high: float = NAN

    @property
    def decision(self) -> Decision:
        """The kind, whether it is small, and what forbids to decide."""
        return Decision(self.kind, self.small, self.because, self.carriers)

    @property
    def verdict(self) -> str:
        """The decision in words."""
        alone = (self.first_alone, self.second_alone)
        return verdict(self.decision, self.bound, self.order, self.quantity, alone=alone)

    @property
    def bound(self) -> Bound:
        """The smallest difference that matters."""
        return Bound(self.smallest_difference, self.smallest_share)

    @property
    def better(self) -> bool | None:
        """Whether the treatment is better; None where neither way is, where nothing was found, or of an interaction."""
        if self.order != 1 or not self.quantity.better or self.kind not in ("positive", "negative"):
            return None
        return (self.kind == "positive") == (self.quantity.better == "lower")


def findings(effects: pd.DataFrame, quantity: Quantity = ANSWER_NLL) -> tuple[Finding, ...]:
    """The rows of a table of effects (:func:`budgetlens.statistics.effects.effects_table`) or of trends, in order.

    Raises:
        ValueError: a column that a finding needs is missing.
    """
    corrected = next((name for name in CORRECTED if name in effects.columns), CORRECTED[0])
    estimate = "slope" if "mean_difference" not in effects and "slope" in effects else "mean_difference"
    name = "effect" if "contrast" not in effects and "effect" in effects else "contrast"
    needed = (name, estimate, "low", "high", corrected, "n", "kind")
    missing = [name for name in needed if name not in effects.columns]
    if missing:
        raise ValueError(
            f"a table of effects needs the columns {', '.join(needed)}; this one lacks {', '.join(missing)}"
        )
    return tuple(
        _finding(
            {**row, "contrast": row[name], "mean_difference": row[estimate]}, corrected, quantity, estimate
        )
        for row in effects.to_dict("records")
    )


def finding_over_layers(layers: pd.DataFrame, quantity: Quantity, category: str = "") -> Finding | None:
    """One contrast and category of a probe of attention over its layers, told at the layer that is surest.

    Args:
        layers: rows of :func:`budgetlens.statistics.bands.share_differences`, one per layer, of one block.
        quantity: what was measured.
        category: what it is of, in words.

    Returns:
        Its finding, whose p is that of the layer over all layers; None where no layer was tested.
    """
    tested = layers[layers["band_low"].notna()]
    if tested.empty:
        return None
    surest = surest_layer(tested)
    decision = decide_over_layers(
        *(tested[name].to_numpy() for name in ("band_low", "band_high", "p_simultaneous", "p_tost")),
        because=list(tested["because"]),
    )
    n = int(surest["n"])
    return Finding(
        effect=str(surest["contrast"]),
        family=str(surest["family"]),
        quantity=quantity,
        order=int(surest["order"]),
        estimate=float(surest["mean"]),
        low=float(surest["band_low"]),
        high=float(surest["band_high"]),
        p=float(surest["p_simultaneous"]),
        p_equivalence=float(tested["p_tost"].max()),
        n=n,
        units=n,
        kind=decision.kind,
        small=decision.small,
        smallest_difference=float(surest["smallest_effect"]),
        detectable=float("nan"),
        cautions=tuple(dict.fromkeys(code for cell in tested["caution"] for code in codes_of(cell))),
        category=category,
        layer=int(surest["layer"]),
        because=decision.because,
        smallest_share=float(surest["smallest_share"]),
    )


def _finding(row: Mapping[str, Any], corrected: str, quantity: Quantity, estimate: str) -> Finding:
    if row["kind"] not in get_args(Kind):
        raise ValueError(
            f"effect {row['contrast']!r}: kind is {row['kind']!r}; expected one of {', '.join(get_args(Kind))}"
        )
    for column in ("n", "order", "clusters"):
        if column in row and not row[column] == row[column]:
            raise ValueError(f"effect {row['contrast']!r}: {column} is missing; expected a whole number")
    n = int(row["n"])
    return Finding(
        effect=str(row["contrast"]),
        family=str(row.get("family", "")),
        quantity=quantity,
        order=int(row.get("order", SLOPE if estimate == "slope" else 1)),
        estimate=_number(row["mean_difference"]),
        low=_number(row["low"]),
        high=_number(row["high"]),
        p=_number(row[corrected]),
        p_equivalence=_number(row.get(f"p_tost_{corrected.removeprefix('p_')}", NAN)),
        n=n,
        units=int(row.get("clusters", n) or n),
        kind=row["kind"],
        small=row.get("small") == "yes",
        smallest_difference=_number(row.get("smallest_effect", NAN)),
        detectable=_number(row.get("minimum_detectable", NAN)),
        cautions=codes_of(row.get("caution")),
        reason=_words(row.get("reason")),
        because=_words(row.get("because")),
        carriers=int(row.get("carriers", 0) or 0),
        first=_words(row.get("first")),
        second=_words(row.get("second")),
        first_alone=_number(row.get("first_alone", NAN)),
        second_alone=_number(row.get("second_alone", NAN)),
        both=_number(row.get("both", NAN)),
        smallest_share=_number(row.get("smallest_share", NAN)),
        median=_number(row.get("median", NAN)),
        median_low=_number(row.get("median_low", NAN)),
        median_high=_number(row.get("median_high", NAN)),
    )


def _number(value: Any) -> float:
    """The number; of what is none always the same one, so that equal findings are equal."""
    found = float(value)
    return NAN if found != found else found


def _words(cell: object) -> str:
    """The text of a cell; empty where it has none."""
    return cell if isinstance(cell, str) else ""
