"""Attention budgets as dense arrays: four bytes an observation, which a run of any size needs.

A tidy row of a budget takes about a hundred bytes; 12 cells of 5,000 examples with 34 layers, 8 heads and 8
roles are 130 million of them. The array holds the same numbers in half a gigabyte and is filled part by
part. Entropies have the same form, with parts in the place of roles.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet

PLACES = ("cell", "example", "layer", "head")
AXES = (*PLACES, "role")
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


def by_document(budgets: Sequence[BudgetArray], documents: pd.Series | None) -> list[BudgetArray]:
    """The budgets with one entry per document, the mean of its examples, where examples share documents.

    Examples of one document are no independent units; their mean is one. `documents` (index example) names the
    document of each; None where none is shared.

    Raises:
        ValueError: an example has no document.
    """
    if documents is None:
        return list(budgets)
    return [_one_by_document(budget, documents) for budget in budgets]


def _one_by_document(budget: BudgetArray, documents: pd.Series) -> BudgetArray:
    own = documents.reindex(list(budget.examples))
    if own.isna().any():
        raise ValueError(f"example {own.index[own.isna()][0]!r} has no document among the trials' records")
    members = {document: np.flatnonzero((own == document).to_numpy()) for document in dict.fromkeys(own)}
    values = np.stack(
        [budget.values[:, examples].mean(axis=1, dtype=np.float64) for examples in members.values()], axis=1
    )
    return replace(budget, examples=tuple(members), values=values.astype(np.float32))


def fill(budget: BudgetArray, part: pd.DataFrame) -> None:
    """Write the rows of one part (columns example, cell, layer, head, role, share) into the array.

    Raises:
        ValueError: a row names something outside the axes, or an observation that is already there.
    """
    columns: dict[str, Coded] = {}
    for name in AXES:
        if isinstance(part[name].dtype, pd.CategoricalDtype):
            columns[name] = (part[name].cat.codes.to_numpy(), list(part[name].cat.categories))
        else:
            columns[name] = (part[name].to_numpy(), None)
    places = _places(budget, [columns[name] for name in AXES])
    _write(budget, places, part["share"].to_numpy(dtype=np.float32))


Coded: TypeAlias = tuple[NDArray, Sequence[object] | None]
"""A column: its values and None, or codes and the entries that they stand for."""


def _places(budget: BudgetArray, columns: Sequence[Coded]) -> NDArray[np.int64]:
    """Where each row stands in the flattened array; `columns` in the order of the axes."""
    axes = (budget.cells, budget.examples, budget.layers, budget.heads, budget.roles)
    flat = np.zeros(len(columns[0][0]), dtype=np.int64)
    for name, axis, (values, entries) in zip(AXES, axes, columns, strict=True):
        flat *= len(axis)
        flat += _positions(values, entries, name, axis)
    return flat


def _write(budget: BudgetArray, flat: NDArray[np.int64], shares: NDArray[np.float32]) -> None:
    """Write shares at their places, none of which may be taken."""
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
    return read_arrays(directory, "role", ("share",))["share"]


def read_arrays(
    directory: str | Path, category: str, quantities: Sequence[str]
) -> dict[str, list[BudgetArray]]:
    """Records of attention, one Parquet part at a time: per quantity one array per stack and block.

    Args:
        directory: `RUN/records/KIND`.
        category: the records' own column: `role` of budgets, `part` of entropies; it takes the place of
            the roles.
        quantities: columns of numbers, such as `mass` and `entropy`.

    Raises:
        FileNotFoundError: there is no part.
        ValueError: a part lacks a column or repeats an observation.
    """
    paths = sorted(Path(directory).glob("*.parquet"))
    if not paths:
        raise FileNotFoundError(f"no *.parquet under {directory}; run the analysis first")
    names = [*PLACES, category]
    blocks: dict[tuple[str, str], list[_Block]] = {}
    # One part at a time: two threads were no faster, and held more memory (13 cells × 5,000 × 34 × 8 × 8).
    for path in paths:
        for site, block in _read_part(path, names, quantities):
            blocks.setdefault(site, []).append(block)
    arrays: dict[str, list[BudgetArray]] = {quantity: [] for quantity in quantities}
    for stack, block_kind in sorted(blocks):
        own = blocks.pop((stack, block_kind))
        axes = [_sorted(set().union(*(block.entries[axis] for block in own))) for axis in range(len(names))]
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
    file = parquet.ParquetFile(path, read_dictionary=texts)
    _check_columns(file.schema_arrow.names, columns)
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=columns)


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


def _check_columns(columns: Iterable[str], needed: Sequence[str] = COLUMNS) -> None:
    absent = [name for name in needed if name not in list(columns)]
    if absent:
        raise ValueError(f"these records need the columns {list(needed)}; {absent} are missing")


def _entries(column: pd.Series) -> list:
    return _sorted(column.unique())


def _sorted(entries: Iterable[object]) -> list:
    """Sorted, numbers by size; entries of mixed kinds by their text."""
    values = list(entries)
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)
