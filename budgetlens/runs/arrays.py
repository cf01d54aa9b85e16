"""Records of attention as dense arrays, read one part at a time: what a run of any size has memory for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet

from budgetlens.runs.parquet_files import reading
from budgetlens.statistics.budget_arrays import (
    PLACES,
    SITE,
    BudgetArray,
    Coded,
    check_columns,
    empty_budget,
    sorted_entries,
)


def read_arrays(
    paths: Sequence[Path], category: str, quantities: Sequence[str]
) -> dict[str, list[BudgetArray]]:
    """Records of attention, one Parquet part at a time: per quantity one array per stack and block.

    Args:
        paths: Parquet files of one kind of records, in the order of the parts.
        category: the records' own column: `role` of budgets, `part` of entropies; it takes the place of
            the roles.
        quantities: columns of numbers, such as `mass` and `entropy`.

    Raises:
        ValueError: a part lacks a column or repeats an observation.
    """
    names = [*PLACES, category]
    blocks: dict[tuple[str, str], list[_Block]] = {}
    # One part at a time: two threads were no faster, and held more memory (13 cells × 5,000 × 34 × 8 × 8).
    for path in paths:
        for site, block in _read_part(path, names, quantities):
            blocks.setdefault(site, []).append(block)
    arrays: dict[str, list[BudgetArray]] = {quantity: [] for quantity in quantities}
    for stack, block_kind in sorted(blocks):
        own = blocks.pop((stack, block_kind))
        axes = [
            sorted_entries(set().union(*(block.entries[axis] for block in own))) for axis in range(len(names))
        ]
        cells, examples, layers, heads, categories = axes
        for quantity in quantities:
            budget = empty_budget(
                stack,
                block_kind,
                cells=cells,
                examples=examples,
                layers=layers,
                heads=heads,
                roles=categories,
            )
            for block in own:
                _put(budget, block, quantity)
            arrays[quantity].append(budget)
    return arrays


def _read_part(
    path: Path, names: Sequence[str], quantities: Sequence[str]
) -> list[tuple[tuple[str, str], _Block]]:
    """The blocks of one part with their stack and block, row group by row group."""
    found = []
    for group in _groups(path, [*names, *SITE, *quantities]):
        for site, rows in _by_site(group):
            try:
                block = _block([_codes(rows.column(name)) for name in names], rows, quantities)
            except ValueError as error:
                raise ValueError(f"{path}: {' '.join(site)}: {error}") from error
            found.append((site, block))
    return found


@dataclass(frozen=True)
class _Block:
    """Some rows of records as dense arrays over their own entries, so that every part is read only once."""

    entries: tuple[list, ...]
    values: dict[str, NDArray[np.float32]]
    taken: NDArray[np.bool_]


def _block(columns: Sequence[Coded], rows: pa.Table, quantities: Sequence[str]) -> _Block:
    """The rows as a block; an error where two rows have one place."""
    entries, codes = [], []
    for own, names in columns:
        assert names is not None  # read as dictionaries
        used = np.bincount(own, minlength=len(names)) > 0
        entries.append([name for name, is_used in zip(names, used, strict=True) if is_used])
        codes.append(own if used.all() else (np.cumsum(used) - 1)[own])
    shape = tuple(len(own) for own in entries)
    flat = np.zeros(rows.num_rows, dtype=np.int64)
    for size, own in zip(shape, codes, strict=True):
        flat *= size
        flat += own
    taken = np.zeros(int(np.prod(shape)), dtype=bool)
    taken[flat] = True
    if int(taken.sum()) < rows.num_rows:
        raise ValueError("an observation occurs twice; each is one row")
    values = {}
    for quantity in quantities:
        values[quantity] = np.empty(taken.size, dtype=np.float32)
        if rows.num_rows < taken.size:
            values[quantity].fill(np.nan)
        values[quantity][flat] = rows.column(quantity).to_numpy()
        values[quantity] = values[quantity].reshape(shape)
    return _Block(tuple(entries), values, taken.reshape(shape))


def _put(budget: BudgetArray, block: _Block, quantity: str) -> None:
    """Write a block into the array, where nothing may be yet."""
    axes = (budget.cells, budget.examples, budget.layers, budget.heads, budget.roles)
    positions = [
        pd.Index(list(axis)).get_indexer(pd.Index(own)) for axis, own in zip(axes, block.entries, strict=True)
    ]
    place = _place(positions)
    there = budget.values[place]
    whole = bool(block.taken.all())
    if not np.isnan(there if whole else there[block.taken]).all():
        raise ValueError(f"{budget.stack} {budget.block}: an observation occurs twice; each is one row")
    values = block.values[quantity]
    budget.values[place] = values if whole else np.where(block.taken, values, there)


def _place(positions: Sequence[NDArray[np.int64]]) -> tuple:
    """An index of these positions on every axis; slices, which copy many times faster, where they adjoin."""
    slices = [slice(int(own[0]), int(own[-1]) + 1) if (np.diff(own) == 1).all() else own for own in positions]
    scattered = sum(not isinstance(own, slice) for own in slices)
    return tuple(slices) if scattered < 2 else np.ix_(*positions)


def _groups(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Row groups of a part, one at a time, texts as dictionaries."""
    texts = [name for name in columns if name in ("cell", "example", "role", "part", *SITE)]
    # Without threads: where none can be started for want of memory, the pool of Arrow waits for ever.
    with reading(path), parquet.ParquetFile(path, read_dictionary=texts, pre_buffer=False) as file:
        check_columns(file.schema_arrow.names, columns)
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns=columns, use_threads=False)


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
