"""Paired effects of anyone's own values, from a DataFrame: what `budgetlens effects FILE` computes of a file."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from budgetlens.face.captioned import CaptionedFrame
from budgetlens.model.observation import available_probes
from budgetlens.registry.names import lookup
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.choices import Smallest
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import Missing
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL
from budgetlens.tables.own_values import OWN_UNIT, Columns, effects_of

#: Columns by which a frame of :func:`budgetlens.face.measuring.measure` is known.
MEASURED = ("example", "cell", "probe", "quantity", "value")


def effects(
    frame: pd.DataFrame,
    baseline: str,
    treatment: str | Sequence[str],
    *,
    example: str | None = None,
    condition: str | None = None,
    value: str | None = None,
    weights: str | None = None,
    clusters: str | None = None,
    higher_is_better: bool = False,
    unit: str | None = None,
    smallest_difference: float | str | None = None,
    correction: Correction = "holm",
    missing: Missing = "refuse",
    seed: int = 42,
) -> CaptionedFrame:
    """The effect of each treatment against the baseline, paired by example, with interval, test and verdict.

    A table is wide, with a row per example and a column of numbers per condition, or long, with a row per example and
    condition. A long frame of ``bl.measure`` needs no column named: its cells are the conditions.

    Args:
        frame: the values; of a frame of ``bl.measure`` the rows of one quantity of one probe, at one place.
        baseline, treatment: columns of a wide table; entries of ``condition`` in a long one.
        example: column that names the example; a wide table's rows are examples without it.
        condition, value: columns of a long table.
        weights: column of weights (answer tokens) for the token-weighted mean.
        clusters: column whose equal entries mark examples that are not independent (a shared document).
        higher_is_better: the values are scores, not losses: differences are treatment - baseline.
        unit: of the values, for the caption.
        smallest_difference: smallest that matters: an amount in that unit, or as text an amount ("0.05"), a part of the
            baseline's mean ("5%") or points of a whole ("1pp"); 5 % of the mean, or what the probe of measured values
            declares.
        correction: ``none``, ``holm``, ``bonferroni`` or ``fdr``, over the treatments.
        missing: ``refuse`` an example without a value, or ``drop`` it.
        seed: of sign flips.

    Returns:
        A row per treatment: ``mean_difference`` (baseline - treatment) with ``low`` and ``high`` (95 %, for long
        tails), ``p_holm``, ``kind``, ``verdict`` and everything that tables of effects have; it shows itself in a notebook.

    Raises:
        ValueError: a column or a condition that is not there, entries that are no numbers, examples that are not paired,
            or measured values of several quantities or places; the message says what to do.

    Examples:
        >>> import pandas as pd, budgetlens as bl
        >>> losses = pd.DataFrame({"bare": [2.0, 2.5, 1.9, 2.2], "oracle": [1.5, 2.1, 1.6, 1.4]})
        >>> table = bl.effects(losses, baseline="bare", treatment="oracle")
        >>> float(round(table["mean_difference"].iloc[0], 3)), int(table["n"].iloc[0])
        (0.5, 4)
    """
    own = _plain(frame)
    columns = Columns(example, condition, value, weights, clusters)
    quantity = ANSWER_NLL
    if value is None and set(MEASURED) <= set(own.columns):
        quantity = _measured_quantity(own)
        columns = Columns(example or "example", condition or "cell", "value", weights, clusters)
        if smallest_difference is None and quantity.smallest_difference is None:
            raise ValueError(
                f"{quantity.name} declares no smallest difference that matters; give smallest_difference, in {quantity.unit}"
            )
        unit = unit or quantity.unit
    if smallest_difference is not None:
        quantity = Smallest(str(smallest_difference)).of(quantity)
    table = effects_of(
        own,
        baseline,
        (treatment,) if isinstance(treatment, str) else tuple(treatment),
        columns,
        Inference(seed=seed, correction=correction).of(quantity),
        quantity=quantity,
        higher_is_better=higher_is_better,
        unit=unit or OWN_UNIT,
        missing=missing,
    )
    return CaptionedFrame.of(table.frame, table)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with rows that are counted and columns that are told apart, and texts in place of categories."""
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"the values are a DataFrame; got {type(frame).__name__}")
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise ValueError(f"the frame has two columns {str(doubled[0])!r}; rename or drop one")
    if frame.empty:
        raise ValueError("the frame holds no rows")
    categories = [name for name, kind in frame.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    return frame.astype(dict.fromkeys(categories, object)).reset_index(drop=True)


def _measured_quantity(frame: pd.DataFrame) -> Quantity:
    """The one quantity that measured rows hold, as its probe declares it.

    Raises ValueError where they hold several, or one at several places: an effect is of one value per example and cell.
    """
    several = {
        name: list(dict.fromkeys(frame[name].dropna()))
        for name in frame.columns[list(frame.columns).index("probe") :]
        if name != "value"
    }
    crowded = next((name for name, found in several.items() if len(found) > 1), None)
    if crowded is not None:
        first = several[crowded][0]
        first = first.item() if hasattr(first, "item") else first
        raise ValueError(
            f"the frame holds {len(several[crowded])} entries of {crowded!r} ({', '.join(map(str, several[crowded][:6]))}"
            f"{'…' if len(several[crowded]) > 6 else ''}), and an effect is of one value per example and cell; choose one, "
            f"frame[frame[{crowded!r}] == {first!r}], or average over them first"
        )
    (probe,), (name,) = several["probe"], several["quantity"]
    declared = lookup("probe", str(probe), available_probes()).declares
    return next(own for own in declared.quantities if own.name == name)
