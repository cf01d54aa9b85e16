"""Paired effects of anyone's own values, from a DataFrame: what `budgetlens effects FILE` computes of a file."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from numbers import Real

import numpy as np
import pandas as pd

from budgetlens.face.arguments import is_whole, seed_given, text_given, told
from budgetlens.face.captioned import CaptionedFrame
from budgetlens.model.observation import available_probes
from budgetlens.registry.names import lookup
from budgetlens.statistics.adjustment import Correction
from budgetlens.statistics.choices import Smallest
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import Missing
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL
from budgetlens.tables.digits import counted
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
        baseline, treatment: columns of a wide table; entries of ``condition`` in a long one. What is named by a number is
            known by its digits, ``"1"``.
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
        missing: ``refuse`` an example without a finite value, or ``drop`` it.
        seed: of sign flips.

    Returns:
        A row per treatment: ``mean_difference`` (baseline - treatment) with ``low`` and ``high`` (95 %, for long
        tails), ``p_holm``, ``kind``, ``verdict`` and everything that tables of effects have; it shows itself in a notebook.

    Raises:
        ValueError: a column or a condition that is not there, entries that are no numbers, weights that are not above 0,
            values that are missing or infinite (where ``missing`` does not drop them), examples that are not paired,
            or measured values of several quantities or places; the message says what to do.

    Examples:
        >>> import pandas as pd, budgetlens as bl
        >>> losses = pd.DataFrame({"bare": [2.0, 2.5, 1.9, 2.2], "oracle": [1.5, 2.1, 1.6, 1.4]})
        >>> table = bl.effects(losses, baseline="bare", treatment="oracle")
        >>> float(round(table["mean_difference"].iloc[0], 3)), int(table["n"].iloc[0])
        (0.5, 4)
    """
    own, named = _plain(frame), _conditions(baseline, treatment)
    columns = Columns(example, condition, value, weights, clusters)
    _require_names(own, columns)
    quantity = ANSWER_NLL
    if value is None and set(MEASURED) <= set(own.columns):
        quantity = _measured_quantity(own)
        columns = Columns(example or "example", condition or "cell", "value", weights, clusters)
        _require_names(own, columns)
        if smallest_difference is None and quantity.smallest_difference is None:
            raise ValueError(
                f"{quantity.name} declares no smallest difference that matters; give smallest_difference, in {quantity.unit}"
            )
        unit = unit or quantity.unit
    if smallest_difference is not None:
        quantity = Smallest(_amount(smallest_difference)).of(quantity)
    table = effects_of(
        own,
        named[0],
        named[1:],
        columns,
        Inference(seed=seed_given(seed), correction=correction).of(quantity),
        quantity=quantity,
        higher_is_better=higher_is_better,
        unit=OWN_UNIT if unit is None else text_given("unit", unit),
        missing=missing,
    )
    _require_weights(own, named, columns)
    if missing == "refuse":
        _require_values(own, named, columns)
    return CaptionedFrame.of(table.frame, table)


def _conditions(baseline: str, treatment: str | Sequence[str]) -> tuple[str, ...]:
    """Baseline and treatments. ValueError for names that are no texts."""
    several = isinstance(treatment, list | tuple)
    for name in (baseline, *(treatment if several else (treatment,))):
        if not isinstance(name, str):
            raise ValueError(
                f"baseline and treatment are texts, and a column or condition that is a number is known by its digits "
                f"('1'); got {told(name)}"
            )
    return (baseline, *(treatment if several else (str(treatment),)))


def _require_names(frame: pd.DataFrame, columns: Columns) -> None:
    """Raise ValueError for columns named by no text, and for entries of them that can't be told apart, such as lists."""
    for what, name in vars(columns).items():
        if name is None:
            continue
        if not isinstance(name, str):
            raise ValueError(
                f"{what} is the name of a column, a text (a column 1 is known as '1'); got {told(name)}"
            )
        if name not in frame.columns:
            continue
        for row, entry in frame[name].items():
            if not isinstance(entry, Hashable):
                raise ValueError(
                    f"column {name!r} holds {told(entry)} in row {row}; expected a text or a number, so that equal entries "
                    "can be found"
                )


def _used_rows(frame: pd.DataFrame, named: Sequence[str], columns: Columns) -> pd.DataFrame:
    """The rows that have a part in the effects: all of a wide table, those of the conditions of a long one."""
    if columns.condition is None:
        return frame
    return frame[frame[columns.condition].map(str).isin(named)]


def _require_weights(frame: pd.DataFrame, named: Sequence[str], columns: Columns) -> None:
    """Raise ValueError for a weight that is 0 or negative; one that is missing is told in the table."""
    if columns.weights is None:
        return
    weights = pd.to_numeric(_used_rows(frame, named, columns)[columns.weights], errors="coerce")
    wrong = weights[weights <= 0]
    if len(wrong):
        raise ValueError(
            f"column {columns.weights!r} holds the weight {wrong.iloc[0]:g} in row {wrong.index[0]}; weights, such as "
            "answer tokens, are above 0: correct it, or leave the row out"
        )


def _require_values(frame: pd.DataFrame, named: Sequence[str], columns: Columns) -> None:
    """Raise ValueError for a value that is missing or infinite, as for an example that a long table lacks."""
    used = _used_rows(frame, named, columns)
    for name in named if columns.value is None else (columns.value,):
        values = pd.to_numeric(used[name], errors="coerce")
        wrong = values[~np.isfinite(values.to_numpy(dtype=np.float64, na_value=np.nan))]
        if len(wrong):
            raise ValueError(
                f"column {name!r} holds no finite value in {counted(len(wrong), 'row')}, first in row {wrong.index[0]} "
                f"({used[name][wrong.index[0]]}); repair it, or leave such examples out with missing='drop'"
            )


def _amount(given: float | str) -> str:
    """A smallest difference as it is written: a number without an exponent."""
    if isinstance(given, Real) and not isinstance(given, bool):
        return np.format_float_positional(float(given), trim="-")
    return str(given)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with rows that are counted and columns that are told apart, and texts in place of categories."""
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"the values are a DataFrame; got {type(frame).__name__}")
    # A column that is named by a number is known by its digits.
    frame = frame.set_axis([str(name) if is_whole(name) else name for name in frame.columns], axis=1)
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
