"""The tables of every probe of attention, as its declaration says: by cell, by contrast, by head.

No probe is known here by name. Records have the columns example, cell, stack, block, layer, head, the probe's axis and
its quantities; a value per example is the mean over heads, where heads are not the question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from budgetlens.design.plan import Plan
from budgetlens.model.declaration import Declaration
from budgetlens.runs.run import Run
from budgetlens.statistics.bands import head_map, share_differences, share_table
from budgetlens.statistics.budget_arrays import BudgetArray, by_document
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.inference import Inference
from budgetlens.tables.cells import with_cell_columns


def probe_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every table of every probe that has any, probe by probe; the encoder's rows are treated like the decoder's.

    Where examples share documents the document is the unit, and n counts documents.
    """
    tables: dict[str, pd.DataFrame] = {}
    for name, declared in run.declarations.items():
        if declared.shown and declared.axis:
            tables |= _tables(run, name, declared)
    return tables


def _tables(run: Run, name: str, declared: Declaration) -> dict[str, pd.DataFrame]:
    quantities = [quantity.name for quantity in declared.quantities]
    arrays = {
        quantity: by_document(own, run.documents)
        for quantity, own in run.arrays(name, declared.axis, quantities).items()
    }
    cells, inference, plan = run.manifest.cells, run.inference, run.plan
    means = _without_absent(_cell_table(arrays, declared, inference), declared)
    tables = {declared.table(name, "cells"): with_cell_columns(means, cells)}
    tested = declared.tested
    if tested is None:
        return tables
    observed = arrays[tested.name]
    del arrays
    totals = sums_of(observed, declared)
    if totals:
        found = share_table(totals, inference).rename(columns={"role": declared.axis})
        tables[declared.table(name, "totals")] = with_cell_columns(found, cells)
    contrasts = plan.share_contrasts if tests_every_contrast(run, declared) else headline_shares(plan)
    if not contrasts:
        return tables
    differences = share_differences([*observed, *totals], contrasts, inference.of(tested), tested)
    tables[declared.table(name, "effects")] = differences.rename(columns={"role": declared.axis})
    if declared.head_maps and not declared.averages_heads:
        mapped = head_map(observed, headline_shares(plan)).rename(columns={"role": declared.axis})
        tables[declared.table(name, "heads")] = mapped
    return tables


def tests_every_contrast(run: Run, declared: Declaration) -> bool:
    """Whether a probe is tested on every contrast of shares of the plan, and not on its headlines alone.

    So is one that is told beside another which is, where the run reads that.
    """
    other = run.declarations.get(declared.beside)
    return declared.every_contrast or (other is not None and other.every_contrast)


def headline_shares(plan: Plan) -> tuple[Contrast, ...]:
    """The share contrasts among the plan's headlines; without any, the first of each family, six at most."""
    names = {contrast.name for contrast in plan.headline_contrasts}
    chosen = tuple(contrast for contrast in plan.share_contrasts if contrast.name in names)
    return chosen or replace(plan, contrasts=plan.share_contrasts, headline=()).headline_contrasts


def sums_of(arrays: Sequence[BudgetArray], declared: Declaration) -> list[BudgetArray]:
    """The declared sums over categories, of the blocks that hold all of them.

    A block without some of them has no such sums: each softmax sums to 1 by itself.
    """
    found = []
    for array in arrays:
        wanted = [set(parts) for parts in declared.sums.values()]
        if not wanted or not all(parts <= set(array.roles) for parts in wanted):
            continue
        totals = [
            array.values[..., [array.roles.index(part) for part in parts]].sum(axis=-1)
            for parts in declared.sums.values()
        ]
        found.append(replace(array, roles=tuple(declared.sums), values=np.stack(totals, axis=-1)))
    return found


def _without_absent(table: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    """A table by cell without the categories of a block that are exactly 0 in every cell and layer where they were observed.

    Such a part is none: a role that no input has or that every cell hides, a bias or a norm's shift of a model without. What
    is 0 in some cells alone is told as 0 there.
    """
    alone = len(declared.quantities) == 1
    names = ["mean"] if alone else [quantity.name for quantity in declared.quantities]
    spread = "sd" if alone else f"{(declared.tested or declared.quantities[-1]).name}_sd"
    some = (table[names] != 0).any(axis=1) & (table["n"] > 0) | (table[spread] > 0)
    by_place = [table["stack"], table["block"], table[declared.axis]]
    there = some.groupby(by_place, sort=False).transform("any")
    # What nobody observed is undefined, and says why.
    undefined = (table["n"] == 0).groupby(by_place, sort=False).transform("all")
    return table[there | undefined].reset_index(drop=True)


def _cell_table(
    arrays: dict[str, list[BudgetArray]], declared: Declaration, inference: Inference
) -> pd.DataFrame:
    """Means by cell, layer and category: heads averaged per example, then examples, with intervals.

    One quantity has the columns cell, stack, block, layer, the axis, n, mean, sd, low, high, caution, reason. Of
    several each has its own columns NAME, NAME_low, NAME_high; n, the standard deviation NAME_sd and the reason are
    those of the tested one, or of the last.
    """
    if len(declared.quantities) == 1:
        (only,) = arrays.values()
        return share_table(only, inference).rename(columns={"role": declared.axis})
    tables = {name: share_table(own, inference) for name, own in arrays.items()}
    main = (declared.tested or declared.quantities[-1]).name
    table = tables[main][["cell", "stack", "block", "layer", "role", "n"]].rename(
        columns={"role": declared.axis}
    )
    for name, found in tables.items():
        table[name] = found["mean"]
        table[f"{name}_low"], table[f"{name}_high"] = found["low"], found["high"]
    table[f"{main}_sd"] = tables[main]["sd"]
    table["caution"] = [
        "; ".join(dict.fromkeys(filter(None, own)))
        for own in zip(*(found["caution"] for found in tables.values()), strict=True)
    ]
    table["reason"] = np.where(table["n"] > 0, tables[main]["reason"], declared.undefined)
    return table
