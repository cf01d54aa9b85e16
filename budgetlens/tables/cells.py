"""Tables by cell: in the order of the cells, with their aliases and levels."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from budgetlens.runs.manifest import CellFacts


def with_cell_columns(table: pd.DataFrame, cells: Sequence[CellFacts]) -> pd.DataFrame:
    """``table`` in the order of the cells, with each cell's alias and factor levels beside its name."""
    order = {cell.name: position for position, cell in enumerate(cells)}
    rest = [column for column in table.columns if column != "cell"]
    described = pd.DataFrame([{"cell": cell.name, "alias": cell.alias, **cell.factors} for cell in cells])
    table = table.assign(cell=table["cell"].astype(str))
    merged = table.merge(described, on="cell", how="left", validate="many_to_one")
    merged = merged[[*described.columns, *rest]]
    return merged.sort_values("cell", key=lambda column: column.map(order), kind="stable").reset_index(
        drop=True
    )
