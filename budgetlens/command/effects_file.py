"""Paired statistics for a file of one's own: `budgetlens effects FILE`, no model and no run needed.

The file is CSV, JSON, JSONL or Parquet. Wide: one row per example, baseline and treatments are columns.
Long: one row per example and condition, with columns that name the example, the condition and the value.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from budgetlens.command.effects_options import SUFFIXES, add_arguments
from budgetlens.corpora.delimited import read_delimited
from budgetlens.corpora.sources import rows_of_json, rows_of_json_lines
from budgetlens.runs.files import write_output
from budgetlens.statistics.inference import Inference
from budgetlens.tables.own_values import Columns, effects_of
from budgetlens.tables.presentation import printed, render

__all__ = ["add_arguments", "main", "read_table"]


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


def main(arguments: argparse.Namespace) -> int:
    """Run `budgetlens effects`; the exit status."""
    inference = Inference(
        seed=arguments.seed,
        correction=arguments.correction,
        smallest_difference=arguments.smallest_effect.size,
        smallest_relative=arguments.smallest_effect.unit == "%",
    )
    columns = Columns(
        example=arguments.example,
        condition=arguments.condition,
        value=arguments.value,
        weights=arguments.weights,
        clusters=arguments.clusters,
    )
    table = effects_of(
        read_table(arguments.file),
        arguments.baseline,
        arguments.treatment,
        columns,
        inference,
        higher_is_better=arguments.higher_is_better,
        unit=arguments.unit,
        missing=arguments.missing,
    )
    if arguments.out is None:
        sys.stdout.write(printed(table, arguments.format))
    else:
        write_output(arguments.out, render(table, arguments.format))
    return 0
