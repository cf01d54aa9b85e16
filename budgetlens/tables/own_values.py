"""Paired statistics of anyone's own values, one per example and condition: no model and no run needed.

Wide: one row per example, baseline and treatments are columns. Long: one row per example and condition, with columns
that name the example, the condition and the value.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from budgetlens.statistics.contrasts import comparison
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import Missing
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL
from budgetlens.tables.digits import counted
from budgetlens.tables.presentation import Table, effects_presentation

#: What the values are in where nobody says.
OWN_UNIT = "the unit of the values"

#: Column of the values while they are read.
_VALUE = "value"

#: A number as text, and what programs write in its place where there is none.
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.ASCII | re.IGNORECASE)
_NO_NUMBER = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"))


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what, by their names.

    ``example`` names the example: needed in a long table, the row's number by default in a wide one. ``condition`` and
    ``value`` are of a long one; both or neither. ``weights`` are for the token-weighted mean (answer tokens). Equal
    entries of ``clusters`` mark examples that are not independent (a shared document).
    """

    example: str | None = None
    condition: str | None = None
    value: str | None = None
    weights: str | None = None
    clusters: str | None = None

    @property
    def further(self) -> tuple[str, ...]:
        """Those of weights and clusters that are named."""
        return tuple(name for name in (self.weights, self.clusters) if name)


def effects_of(
    data: pd.DataFrame,
    baseline: str,
    treatments: Sequence[str],
    columns: Columns,
    inference: Inference,
    *,
    quantity: Quantity = ANSWER_NLL,
    higher_is_better: bool = False,
    unit: str = OWN_UNIT,
    missing: Missing = "refuse",
) -> Table:
    """Effects of each treatment against the baseline, all in one family.

    Args:
        data: one row per example (wide), or per example and condition (long); its index counts rows.
        baseline, treatments: columns of a wide table, or values of the column of conditions of a long one.
        columns: what is in which column.
        inference: as in `budgetlens.statistics.effects.effects_table`, its clusters excepted: they come from the table.
        quantity: what the values are; gives the verdicts their words.
        higher_is_better: the values are scores, not losses: differences are treatment - baseline.
        unit: of the values, for the caption.
        missing: as in `budgetlens.statistics.effects.effects_table`.

    Raises:
        ValueError: a column or a condition is not there, or examples are not paired.
    """
    named = _distinct(baseline, treatments)
    if (columns.condition is None) != (columns.value is None):
        raise ValueError("a long table needs both the condition and the value column; a wide one neither")
    if columns.condition is None or columns.value is None:
        found = _from_wide(data, named, columns)
    else:
        found = _from_long(data, named, columns.condition, columns.value, columns)
    if higher_is_better:
        found = found.assign(**{_VALUE: -found[_VALUE]})
    records = found.rename(columns={_VALUE: quantity.name})
    labels = records.groupby("example", sort=False)["cluster"].first() if columns.clusters else None
    family = f"{counted(len(treatments), 'comparison')} with {baseline}"
    frame = effects_table(
        records,
        [comparison(baseline, treatment, family) for treatment in treatments],
        replace(inference, clusters=labels),
        quantity=quantity,
        missing=missing,
    )
    return effects_presentation(
        frame,
        inference,
        quantity=quantity,
        unit=unit + (", sign turned so that higher is better" if higher_is_better else ""),
        title=f"Paired effects against {baseline}",
    )


def _distinct(baseline: str, treatments: Sequence[str]) -> list[str]:
    """Baseline and treatments, of which there must be one or more, each once."""
    if not treatments:
        raise ValueError("no treatment named; name one or more beside the baseline")
    named = [baseline, *treatments]
    if len(set(named)) != len(named):
        raise ValueError(f"baseline and treatments must differ; got {named}")
    return named


def _from_wide(data: pd.DataFrame, named: Sequence[str], columns: Columns) -> pd.DataFrame:
    example = columns.example
    _need(
        data,
        [*named, *([example] if example else []), *columns.further],
        "If the table is long, name its condition column",
    )
    identity = (
        pd.Series(range(len(data)), index=data.index) if example is None else _known(data[example], example)
    )
    if identity.duplicated().any():
        raise ValueError(
            f"column {example!r} names example {identity[identity.duplicated()].iloc[0]!r} more than once; "
            "a wide table has one row per example"
        )
    frames = [_records(identity, name, _numbers(data[name], name), data, columns) for name in named]
    return pd.concat(frames, ignore_index=True)


def _from_long(
    data: pd.DataFrame, named: Sequence[str], condition: str, value: str, columns: Columns
) -> pd.DataFrame:
    if columns.example is None:
        raise ValueError("a long table needs the column that names the example, so that values can be paired")
    _need(data, [condition, value, columns.example, *columns.further], "")
    own = data[condition].map(lambda entry: entry if pd.isna(entry) else str(entry))
    absent = [name for name in named if name not in set(own)]
    if absent:
        raise ValueError(f"column {condition!r} has no {absent[0]!r}; it has {sorted(set(own.dropna()))}")
    rows = data[own.isin(named)]
    identity = _known(rows[columns.example], columns.example)
    return _records(identity, own[rows.index], _numbers(rows[value], value), rows, columns)


def _known(identity: pd.Series, name: str | None) -> pd.Series:
    """The examples' names, of which none may be missing: values without one cannot be paired."""
    absent = identity.isna()
    if absent.any():
        raise ValueError(
            f"column {name!r} names no example in {int(absent.sum())} rows, first {identity.index[absent][0]}"
        )
    kinds = {_kind(entry) for entry in identity}
    if len(kinds) > 1:
        # 1 and "1", 1 and true: whether they are one example nobody can tell.
        raise ValueError(
            f"column {name!r} names some examples by {' and some by '.join(sorted(kinds))}; write all as text"
        )
    return identity


def _kind(entry: Any) -> str:
    if isinstance(entry, str):
        return "text"
    return "truth values" if isinstance(entry, bool | np.bool_) else "numbers"


def _records(
    identity: pd.Series, cell: str | pd.Series, values: pd.Series, data: pd.DataFrame, columns: Columns
) -> pd.DataFrame:
    found: dict[str, object] = {"example": identity, "cell": cell, _VALUE: values}
    if columns.weights:
        found["answer_tokens"] = _numbers(data[columns.weights], columns.weights)
    if columns.clusters:
        found["cluster"] = data[columns.clusters]
    return pd.DataFrame(found)


def _need(data: pd.DataFrame, columns: Sequence[str], hint: str) -> None:
    absent = [name for name in columns if name not in data.columns]
    if absent:
        present = [str(name) for name in data.columns]
        raise ValueError(f"the table has no column {absent[0]!r}; it has {present}. {hint}".strip())


def _numbers(column: pd.Series, name: str) -> pd.Series:
    """A column as numbers; what stands for no number (an empty cell, NA) is missing. ValueError for anything else."""
    numbers = column.map(_number).astype("float64")
    wrong = column[numbers.isna() & ~column.map(_is_missing)]
    if len(wrong):
        entry = wrong.iloc[0]
        given = reprlib.repr(entry if isinstance(entry, str) else str(entry))
        raise ValueError(f"column {name!r} holds {given} in row {wrong.index[0]}; expected numbers")
    return numbers


def _number(entry: Any) -> float:
    """The entry as a number, NaN where it is none."""
    if isinstance(entry, str):
        return float(entry) if _NUMBER.fullmatch(entry.strip()) else math.nan
    if isinstance(entry, bool | np.bool_):
        return math.nan
    try:
        return float(entry)
    # A date or nothing; a whole number that is larger than any float.
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _is_missing(entry: Any) -> bool:
    return bool(pd.isna(entry)) or (isinstance(entry, str) and entry.strip().lower() in _NO_NUMBER)
