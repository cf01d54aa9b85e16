"""Sums over the rows of every owner (a trial, or a single row), in one order whatever the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor

from budgetlens.model.batching import Rows


class OwnerSums:
    """Sums in float64 over the rows of each owner, always in the same order.

    Adding rows to their owners' cells in parallel would leave the order to the device; a table of each owner's rows, made
    once for every block of rows, does not.
    """

    def __init__(self) -> None:
        self._tables: dict[tuple[int, int, int], tuple[Tensor, Tensor]] = {}

    def __call__(
        self, values: Float[Tensor, "lane head row category"], block: slice, of: Rows
    ) -> Float[Tensor, "owner head category"]:
        """Sums of what was read of a block of the rows ``of``."""
        place = (id(of), block.start, block.stop)
        if place not in self._tables:
            self._tables[place] = _rows_of_owners(of.owner[:, block], of.count)
        table, filled = self._tables[place]
        rows = rearrange(values, "lane head row category -> (lane row) head category")[table]
        absent = rearrange(~filled, "owner row -> owner row 1 1")
        return rows.masked_fill(absent, 0.0).sum(dim=1, dtype=torch.float64)


def means_of(sums: Mapping[str, Tensor], rows: Rows) -> dict[str, Tensor]:
    """Means over the rows of every owner, from their sums."""
    counts = torch.bincount(rows.owner[rows.owner >= 0], minlength=rows.count)
    return {name: value / rearrange(counts, "owner -> owner 1 1") for name, value in sums.items()}


def _rows_of_owners(
    owner: Int[Tensor, "lane row"], count: int
) -> tuple[Int[Tensor, "owner row"], Bool[Tensor, "owner row"]]:
    """For every owner, the places of its rows among all rows, and which entries of that table are filled."""
    flat = owner.reshape(-1)
    order = torch.argsort(flat, stable=True)
    order = order[flat[order] >= 0]
    owners = flat[order]
    counts = torch.bincount(owners, minlength=count)
    # Rows are sorted by owner, so that an owner's first row tells the place of the others.
    column = torch.arange(len(owners), device=flat.device) - (counts.cumsum(0) - counts)[owners]
    table = flat.new_zeros((count, max(1, int(counts.max()))))
    filled = torch.zeros_like(table, dtype=torch.bool)
    table[owners, column] = order
    filled[owners, column] = True
    return table, filled
