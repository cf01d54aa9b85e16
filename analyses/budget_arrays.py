"""Attention budgets as dense arrays: four bytes an observation, which a run of any size needs.

A tidy row of a budget takes about a hundred bytes; 12 cells of 5,000 examples with 34 layers, 8 heads and 8
roles are 130 million of them. The array holds the same numbers in half a gigabyte and is filled part by
part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

AXES = ("cell", "example", "layer", "head", "role")
COLUMNS = (*AXES, "stack", "block", "share")


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
    axes = (budget.cells, budget.examples, budget.layers, budget.heads, budget.roles)
    positions = []
    for name, axis in zip(AXES, axes, strict=True):
        found = _positions(part[name], axis)
        if (found < 0).any():
            stranger = part[name].iloc[int(np.argmax(found < 0))]
            raise ValueError(
                f"{name} {stranger!r} is not on the budget's {name} axis, which holds {len(axis)} entries"
            )
        positions.append(found)
    flat = np.ravel_multi_index(tuple(positions), budget.values.shape)
    target = budget.values.reshape(-1)
    shares = part["share"].to_numpy(dtype=np.float32)
    if not np.isnan(target[flat]).all() or len(np.unique(flat)) != len(flat):
        raise ValueError(f"{budget.stack} {budget.block}: an observation occurs twice; each is one row")
    target[flat] = shares


def _positions(column: pd.Series, axis: Sequence[object]) -> NDArray[np.int64]:
    """Where each value stands on an axis, -1 if nowhere; through the categories where the column has them."""
    index = pd.Index(list(axis))
    if isinstance(column.dtype, pd.CategoricalDtype):
        lookup = np.append(index.get_indexer(column.cat.categories), -1)
        return lookup[column.cat.codes.to_numpy()].astype(np.int64)
    return index.get_indexer(pd.Index(column)).astype(np.int64)


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
    axes: dict[tuple[str, str], dict[str, dict[object, None]]] = {}
    for part in _parts(paths, [name for name in COLUMNS if name != "share"]):
        for key, rows in part.groupby(["stack", "block"], sort=False, observed=True):
            own = axes.setdefault((str(key[0]), str(key[1])), {name: {} for name in AXES})
            for name in AXES:
                own[name] |= dict.fromkeys(rows[name].unique())
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
    for part in _parts(paths, list(COLUMNS)):
        for key, rows in part.groupby(["stack", "block"], sort=False, observed=True):
            fill(arrays[str(key[0]), str(key[1])], rows)
    return [arrays[key] for key in sorted(arrays)]


def _parts(paths: Iterable[Path], columns: list[str]) -> Iterator[pd.DataFrame]:
    # Imported here so that statistics on plain arrays do not need it.
    import pyarrow.parquet as parquet

    texts = [name for name in columns if name in ("cell", "stack", "block", "role")]
    for path in paths:
        file = parquet.ParquetFile(path, read_dictionary=texts)
        _check_columns(file.schema_arrow.names)
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=columns).to_pandas()


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
