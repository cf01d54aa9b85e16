"""Paired statistics for a file of one's own: `budgetlens effects FILE`, no model and no run needed.

The file is CSV, JSON, JSONL or Parquet. Wide: one row per example, baseline and treatments are columns.
Long: one row per example and condition, with columns that name the example, the condition and the value.
"""

from __future__ import annotations

import argparse
import math
import re
import reprlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from budgetlens.command.effects_options import SUFFIXES, add_arguments
from budgetlens.corpora.delimited import read_delimited
from budgetlens.corpora.sources import rows_of_json, rows_of_json_lines
from budgetlens.runs.files import write_output
from budgetlens.statistics.contrasts import comparison
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import Missing
from budgetlens.tables.digits import counted
from budgetlens.tables.presentation import Table, effects_presentation, printed, render

#: A number as text, and what programs write in its place where there is none.
_NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf|infinity)", re.ASCII | re.IGNORECASE)
_NO_NUMBER = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none"))

__all__ = ["add_arguments", "effects_of_file", "main", "read_table"]


def effects_of_file(
    file: str | Path,
    baseline: str,
    treatments: Sequence[str],
    inference: Inference,
    *,
    example: str | None = None,
    condition: str | None = None,
    value: str | None = None,
    weights: str | None = None,
    clusters: str | None = None,
    higher_is_better: bool = False,
    unit: str = "the unit of the values",
    missing: Missing = "refuse",
) -> Table:
    """Effects of each treatment against the baseline, all in one family.

    Args:
        file: CSV, TSV, JSON (a list of records), JSONL or Parquet.
        baseline, treatments: columns of a wide file, or values of the column `condition` of a long one.
        inference: as in `budgetlens.statistics.effects.effects_table`, its clusters excepted: they come from the file.
        example: column that names the example; needed for a long file, the row's number by default for a
            wide one.
        condition, value: columns of a long file; give both or neither.
        weights: column of weights (answer tokens) for the token-weighted mean.
        clusters: column whose equal entries mark examples that are not independent (a shared document).
        higher_is_better: the values are scores, not losses: differences are treatment - baseline.
        unit: of the values, for the caption.
        missing: as in `budgetlens.statistics.effects.effects_table`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file's kind, a column or a condition is not there, or examples are not paired.
    """
    named = _distinct(baseline, treatments)
    data = read_table(file)
    if (condition is None) != (value is None):
        raise ValueError("a long file needs both the condition and the value column; a wide file neither")
    if condition is None or value is None:
        records = _from_wide(data, named, example, weights, clusters)
    else:
        records = _from_long(data, named, example, condition, value, weights, clusters)
    if higher_is_better:
        records = records.assign(nll=-records["nll"])
    labels = records.groupby("example", sort=False)["cluster"].first() if clusters else None
    family = f"{counted(len(treatments), 'comparison')} with {baseline}"
    frame = effects_table(
        records,
        [comparison(baseline, treatment, family) for treatment in treatments],
        replace(inference, clusters=labels),
        missing=missing,
    )
    return effects_presentation(
        frame,
        inference,
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


def read_table(file: str | Path) -> pd.DataFrame:
    """A file of records as a DataFrame, by its ending. Text stays the text that it is; an empty cell is a missing one.

    Raises FileNotFoundError where there is no such file, ValueError for another ending and for what is no table of
    records, with the line: a row with more or fewer fields than the header, a column named twice, broken quotes or
    JSON, text that is not UTF-8.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    ending = path.suffix.lower()
    if ending not in SUFFIXES:
        raise ValueError(f"{path} ends in {ending!r}; expected one of {', '.join(SUFFIXES)}")
    try:
        data = _data(path, ending)
    except (ValueError, OSError) as error:
        raise ValueError(f"not a table of records: {error}") from error
    if data.empty:
        raise ValueError(f"{path} holds no rows")
    return data


def _data(path: Path, ending: str) -> pd.DataFrame:
    if ending == ".parquet":
        try:
            return pd.read_parquet(path)
        except (ValueError, OSError) as error:
            raise ValueError(f"{path} cannot be read as Parquet ({error})") from error
    if ending in (".csv", ".tsv"):
        table = read_delimited(path, "\t" if ending == ".tsv" else ",")
        table.require_whole()
        cells = [[field or None for field in fields] for _, fields in table.records]
        return pd.DataFrame(cells, columns=list(table.header), dtype=object)
    read = rows_of_json if ending == ".json" else rows_of_json_lines
    return pd.DataFrame([_record(path, number, row) for number, row in read(path)], dtype=object)


def _record(path: Path, number: int, row: Any) -> dict[str, Any]:
    """A row of JSON whose values are texts, numbers or nothing."""
    if not isinstance(row, dict):
        raise ValueError(f"{path}, row {number}: no object with named values")
    for name, value in row.items():
        if isinstance(value, dict | list):
            kind = "an object" if isinstance(value, dict) else "a list"
            raise ValueError(f"{path}, row {number}: {name!r} holds {kind}; expected text or a number")
    return row


def _from_wide(
    data: pd.DataFrame, named: Sequence[str], example: str | None, weights: str | None, clusters: str | None
) -> pd.DataFrame:
    _need(
        data,
        [*named, *filter(None, (example, weights, clusters))],
        "If the file is long, name its condition column",
    )
    identity = (
        pd.Series(range(len(data)), index=data.index) if example is None else _known(data[example], example)
    )
    if identity.duplicated().any():
        raise ValueError(
            f"column {example!r} names example {identity[identity.duplicated()].iloc[0]!r} more than once; "
            "a wide file has one row per example"
        )
    frames = [_records(identity, name, _numbers(data[name], name), data, weights, clusters) for name in named]
    return pd.concat(frames, ignore_index=True)


def _from_long(
    data: pd.DataFrame,
    named: Sequence[str],
    example: str | None,
    condition: str,
    value: str,
    weights: str | None,
    clusters: str | None,
) -> pd.DataFrame:
    if example is None:
        raise ValueError("a long file needs the column that names the example, so that values can be paired")
    _need(data, [condition, value, example, *filter(None, (weights, clusters))], "")
    own = data[condition].map(lambda entry: entry if pd.isna(entry) else str(entry))
    absent = [name for name in named if name not in set(own)]
    if absent:
        raise ValueError(f"column {condition!r} has no {absent[0]!r}; it has {sorted(set(own.dropna()))}")
    rows = data[own.isin(named)]
    return _records(
        _known(rows[example], example), own[rows.index], _numbers(rows[value], value), rows, weights, clusters
    )


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
    identity: pd.Series,
    cell: str | pd.Series,
    values: pd.Series,
    data: pd.DataFrame,
    weights: str | None,
    clusters: str | None,
) -> pd.DataFrame:
    columns: dict[str, object] = {"example": identity, "cell": cell, "nll": values}
    if weights:
        columns["answer_tokens"] = _numbers(data[weights], weights)
    if clusters:
        columns["cluster"] = data[clusters]
    return pd.DataFrame(columns)


def _need(data: pd.DataFrame, columns: Sequence[str], hint: str) -> None:
    absent = [name for name in columns if name not in data.columns]
    if absent:
        present = [str(name) for name in data.columns]
        raise ValueError(f"the file has no column {absent[0]!r}; it has {present}. {hint}".strip())


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


def main(arguments: argparse.Namespace) -> int:
    """Run `budgetlens effects`; the exit status."""
    inference = Inference(
        seed=arguments.seed,
        correction=arguments.correction,
        smallest_difference=arguments.smallest_effect,
    )
    table = effects_of_file(
        arguments.file,
        arguments.baseline,
        arguments.treatment,
        inference,
        example=arguments.example,
        condition=arguments.condition,
        value=arguments.value,
        weights=arguments.weights,
        clusters=arguments.clusters,
        higher_is_better=arguments.higher_is_better,
        unit=arguments.unit,
        missing=arguments.missing,
    )
    if arguments.out is None:
        sys.stdout.write(printed(table, arguments.format))
    else:
        write_output(arguments.out, render(table, arguments.format))
    return 0
