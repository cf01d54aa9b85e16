"""Checks of the tables that figures are given: columns, types, rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd


def named(names: Iterable[object]) -> str:
    """Names for an error message: comma-separated, or "none"."""
    return ", ".join(str(name) for name in names) or "none"


def checked(
    table: pd.DataFrame,
    figure: str,
    *,
    required: Sequence[str],
    numbers: Sequence[str] = (),
    keys: Sequence[str] = (),
) -> pd.DataFrame:
    """A copy of a table with a fresh index, after checking that a figure can be drawn from it.

    Args:
        table: the table given to the figure.
        figure: name of the figure's function, for messages.
        required: columns that must be there.
        numbers: columns that must hold numbers; those of them that are there are converted to float64.
        keys: columns whose values together must name a row once (missing ones are ignored).

    Raises:
        TypeError: not a DataFrame.
        ValueError: a column is missing, the table has no rows, a number column holds something else, or two
            rows have the same keys.
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{figure} draws a pandas DataFrame; given: {type(table).__name__}")
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise ValueError(
            f"{figure}: missing columns: {named(missing)}; given columns: {named(table.columns)}; "
            f"required: {named(required)}"
        )
    if table.empty:
        raise ValueError(
            f"{figure}: the table has no rows (columns: {named(table.columns)}); nothing can be drawn"
        )
    copy = table.reset_index(drop=True)
    for column in numbers:
        if column in copy.columns:
            copy[column] = as_numbers(copy[column], figure)
    present = [key for key in keys if key in copy.columns]
    repeated = copy[copy.duplicated(present, keep="first")] if present else copy.iloc[:0]
    if len(repeated):
        first = "; ".join(f"{key}={repeated.iloc[0][key]}" for key in present)
        raise ValueError(
            f"{figure}: {len(repeated)} rows repeat the same {named(present)} (first: {first}); "
            f"expected one row each: select or aggregate the table first"
        )
    return copy


def as_numbers(column: pd.Series, figure: str) -> pd.Series:
    """A column as float64; an error that names the column and the first value that is no number."""
    numbers = pd.to_numeric(column, errors="coerce")
    wrong = column[numbers.isna() & column.notna()]
    if len(wrong):
        raise ValueError(
            f"{figure}: column {column.name!r} must hold numbers; {len(wrong)} rows do not, "
            f"first: {wrong.iloc[0]!r}"
        )
    return numbers.astype("float64")


def chosen(values: Iterable[str], wanted: Sequence[str] | None, figure: str, what: str) -> list[str]:
    """The distinct values of a column in order of appearance, or those asked for in the order asked for.

    Raises:
        ValueError: a value asked for does not occur, or none is asked for.
    """
    known = list(dict.fromkeys(values))
    if wanted is None:
        return known
    unknown = [value for value in wanted if value not in known]
    if unknown:
        raise ValueError(f"{figure}: unknown {what}: {named(unknown)}; known: {named(known)}")
    if not wanted:
        raise ValueError(f"{figure}: no {what} chosen; known: {named(known)}")
    return list(dict.fromkeys(wanted))
