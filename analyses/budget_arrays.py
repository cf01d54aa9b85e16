"""Attention budgets as dense arrays: four bytes an observation, which a run of any size needs.

A tidy row of a budget takes about a hundred bytes; 12 cells of 5,000 examples with 34 layers, 8 heads and 8
roles are 130 million of them. The array holds the same numbers in half a gigabyte and is filled part by
part.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet

AXES = ("cell", "example", "layer", "head", "role")
SITE = ("stack", "block")
COLUMNS = (*AXES, *SITE, "share")


@dataclass(frozen=True)
class BudgetArray:
    """Shares of one block of one stack; NaN where nothing was observed.

    `values` is float32 of shape [cell, example, layer, head, role], each share between 0 and 1; the other
    fields name the entries of its axes.
    """

    stack: str
    block: str
    cells: tuple[str, ...]
    examples: tuple[object, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    roles: tuple[str, ...]
    values: NDArray[np.float32]

    def __post_init__(self) -> None:
        expected = tuple(
            len(axis) for axis in (self.cells, self.examples, self.layers, self.heads, self.roles)
        )
        if self.values.shape != expected:
            raise ValueError(f"budget values have shape {self.values.shape}; the axes name {expected}")


def empty_budget(
    stack: str,
    block: str,
    *,
    cells: Sequence[str],
    examples: Sequence[object],
    layers: Sequence[int],
    heads: Sequence[int],
    roles: Sequence[str],
) -> BudgetArray:
    """A budget array without observations, to be filled part by part with `fill`."""
    axes = tuple(cells), tuple(examples), tuple(layers), tuple(heads), tuple(roles)
    values = np.full([len(axis) for axis in axes], np.nan, dtype=np.float32)
    return BudgetArray(stack, block, *axes, values=values)


def fill(budget: BudgetArray, part: pd.DataFrame) -> None:
    """Write the rows of one part (columns example, cell, layer, head, role, share) into the array.

    Raises:
        ValueError: a row names something outside the axes, or an observation that is already there.
    """
    columns: dict[str, tuple[NDArray, Sequence[object] | None]] = {}
    for name in AXES:
        if isinstance(part[name].dtype, pd.CategoricalDtype):
            columns[name] = (part[name].cat.codes.to_numpy(), list(part[name].cat.categories))
        else:
            columns[name] = (part[name].to_numpy(), None)
    _write(budget, columns, part["share"].to_numpy(dtype=np.float32))


def _write(
    budget: BudgetArray,
    columns: Mapping[str, tuple[NDArray, Sequence[object] | None]],
    shares: NDArray[np.float32],
) -> None:
    """Write shares at their places; a column is its values, or codes and the entries that they stand for."""
    axes = (budget.cells, budget.examples, budget.layers, budget.heads, budget.roles)
    flat = np.zeros(len(shares), dtype=np.int64)
    for name, axis in zip(AXES, axes, strict=True):
        values, entries = columns[name]
        flat *= len(axis)
        flat += _positions(values, entries, name, axis)
    target = budget.values.reshape(-1)
    if not np.isnan(target[flat]).all():
        raise ValueError(f"{budget.stack} {budget.block}: an observation occurs twice; each is one row")
    # Two rows of one place: the later number overwrites the earlier.
    numbered, order = target.view(np.int32), np.arange(len(flat), dtype=np.int32)
    numbered[flat] = order
    doubled = bool((numbered[flat] != order).any())
    target[flat] = np.nan if doubled else shares
    if doubled:
        raise ValueError(f"{budget.stack} {budget.block}: an observation occurs twice; each is one row")


def _positions(
    values: NDArray, entries: Sequence[object] | None, name: str, axis: Sequence[object]
) -> NDArray[np.int64]:
    """Where each value stands on an axis."""
    if entries is None:
        codes, found = pd.factorize(values)
        entries = list(found)
    else:
        codes = values
    lookup = pd.Index(list(axis)).get_indexer(pd.Index(entries))
    used = np.unique(codes) if (lookup < 0).any() or codes.min(initial=0) < 0 else None
    if used is not None and (used.min(initial=0) < 0 or (lookup[used] < 0).any()):
        stranger = next((entries[code] for code in used if code >= 0 and lookup[code] < 0), None)
        raise ValueError(
            f"{name} {stranger!r} is not on the budget's {name} axis, which holds {len(axis)} entries"
        )
    return lookup[codes]


def budget_arrays(budgets: pd.DataFrame) -> list[BudgetArray]:
    """Tidy `budgets` records as one array per stack and block."""
    _check_columns(budgets.columns)
    arrays = []
    for (stack, block), rows in budgets.groupby(["stack", "block"], sort=True, observed=True):
        axes = {name: _entries(rows[name]) for name in AXES}
        budget = empty_budget(
            str(stack),
            str(block),
            cells=axes["cell"],
            examples=axes["example"],
            layers=axes["layer"],
            heads=axes["head"],
            roles=axes["role"],
        )
        fill(budget, rows)
        arrays.append(budget)
    return arrays


def read_budgets(directory: str | Path) -> list[BudgetArray]:
    """The `budgets` records of a run, one Parquet part at a time, as one array per stack and block.

    Args:
        directory: `RUN/records/budgets`.

    Raises:
        FileNotFoundError: there is no part.
        ValueError: a part lacks a column or repeats an observation.
    """
    paths = sorted(Path(directory).glob("*.parquet"))
    if not paths:
        raise FileNotFoundError(f"no *.parquet under {directory}; run the analysis first")
    axes: dict[tuple[str, str], dict[str, set]] = {}
    for _, group in _groups(paths, [*AXES, *SITE]):
        for site, rows in _by_site(group):
            own = axes.setdefault(site, {name: set() for name in AXES})
            for name in AXES:
                own[name].update(rows.column(name).unique().to_pylist())
    arrays = {
        (stack, block): empty_budget(
            stack,
            block,
            cells=_sorted(own["cell"]),
            examples=_sorted(own["example"]),
            layers=_sorted(own["layer"]),
            heads=_sorted(own["head"]),
            roles=_sorted(own["role"]),
        )
        for (stack, block), own in axes.items()
    }
    for path, group in _groups(paths, list(COLUMNS)):
        for site, rows in _by_site(group):
            try:
                _write(
                    arrays[site],
                    {name: _codes(rows.column(name)) for name in AXES},
                    rows.column("share").to_numpy().astype(np.float32),
                )
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
    return [arrays[key] for key in sorted(arrays)]


def _groups(paths: Iterable[Path], columns: list[str]) -> Iterator[tuple[Path, pa.Table]]:
    """Row groups of all parts, one at a time, texts as dictionaries."""
    texts = ["cell", "example", "role", *SITE]
    for path in paths:
        file = parquet.ParquetFile(path, read_dictionary=texts)
        _check_columns(file.schema_arrow.names)
        for number in range(file.num_row_groups):
            yield path, file.read_row_group(number, columns=columns)


def _by_site(group: pa.Table) -> Iterator[tuple[tuple[str, str], pa.Table]]:
    """The rows of each stack and block in a row group."""
    stacks, blocks = (group.column(name).unique().to_pylist() for name in SITE)
    for stack, block in itertools.product(stacks, blocks):
        if len(stacks) == len(blocks) == 1:
            yield (stack, block), group
            continue
        chosen = compute.and_(
            compute.equal(group.column("stack"), stack), compute.equal(group.column("block"), block)
        )
        rows = group.filter(chosen)
        if rows.num_rows:
            yield (stack, block), rows


def _codes(column: pa.ChunkedArray) -> tuple[NDArray, list]:
    """Codes of a column and the entries that they stand for."""
    encoded = column.combine_chunks()
    if not pa.types.is_dictionary(encoded.type):
        encoded = encoded.dictionary_encode()
    return encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _check_columns(columns: Iterable[str]) -> None:
    absent = [name for name in COLUMNS if name not in list(columns)]
    if absent:
        raise ValueError(f"budgets need the columns {list(COLUMNS)}; {absent} are missing")


def _entries(column: pd.Series) -> list:
    return _sorted(column.unique())


def _sorted(entries: Iterable[object]) -> list:
    """Sorted, numbers by size; entries of mixed kinds by their text."""
    values = list(entries)
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)
