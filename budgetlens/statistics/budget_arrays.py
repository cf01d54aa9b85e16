"""Attention budgets as dense arrays: four bytes an observation, which a run of any size needs.

A tidy row of a budget takes about a hundred bytes; 12 cells of 5,000 examples with 34 layers, 8 heads and 8
roles are 130 million of them. The array holds the same numbers in half a gigabyte and is filled part by
part. Entropies have the same form, with parts in the place of roles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

PLACES = ("cell", "example", "layer", "head")
AXES = (*PLACES, "role")
SITE = ("stack", "block")
COLUMNS = (*AXES, *SITE, "share")


@dataclass(frozen=True)
class BudgetArray:
    """Shares of one block of one stack; NaN where nothing was observed.

    `values` is float32 of shape [cell, example, layer, head, role], each share between 0 and 1; the other
    fields name the entries of its axes. Over heads a value is the mean, or the sum where `adds_heads`.
    """

    stack: str
    block: str
    cells: tuple[str, ...]
    examples: tuple[object, ...]
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    roles: tuple[str, ...]
    values: NDArray[np.float32]
    adds_heads: bool = False

    def over_heads(self, values: NDArray[np.float32], axis: int) -> NDArray[np.float64]:
        """Values of these heads, which stand on `axis`, in one; NaN where a head is missing."""
        return (np.sum if self.adds_heads else np.mean)(values, axis=axis, dtype=np.float64)

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
    check_columns(budgets.columns)
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


def check_columns(columns: Iterable[str], needed: Sequence[str] = COLUMNS) -> None:
    """Raise ValueError that names the columns that are missing."""
    absent = [name for name in needed if name not in list(columns)]
    if absent:
        raise ValueError(f"these records need the columns {list(needed)}; {absent} are missing")


def _entries(column: pd.Series) -> list:
    return sorted_entries(column.unique())


def sorted_entries(entries: Iterable[object]) -> list:
    """Sorted, numbers by size; entries of mixed kinds by their text."""
    values = list(entries)
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=str)
