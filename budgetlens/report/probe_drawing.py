"""The figures of every probe of attention, as its declaration says it is drawn; no probe is known here by name."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.design.plan import Plan
from budgetlens.model.declaration import Declaration
from budgetlens.runs.run import Run
from budgetlens.tables.probe_maps import layer_map, map_of_heads
from budgetlens.tables.probes import headline_shares
from figures import budget_differences, budget_ledger, entropy_against_mass, head_map
from figures.labels import readable

#: A figure has a panel per cell; of larger designs it has those of the headline contrasts.
MOST_PANELS = 24
DECODER = "decoder"
#: Maps of heads are drawn of so many categories where a probe does not say which.
MOST_MAPS = 4


def probe_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """What every probe saw by layer, and what the headline contrasts do to it by layer and by head."""
    figures: dict[str, Figure] = {}
    for name, declared in run.declarations.items():
        if declared.shown and declared.axis:
            cells = tables.get(declared.table(name, "cells"))
            if cells is not None:
                figures |= _of_cells(run, name, declared, cells)
            effects = tables.get(declared.table(name, "effects"))
            if effects is not None:
                figures |= _of_contrasts(run, name, declared, effects)
            heads = tables.get(declared.table(name, "heads"))
            if heads is not None:
                figures |= _of_heads(run, name, declared, heads)
    return figures


def _of_cells(run: Run, name: str, declared: Declaration, table: pd.DataFrame) -> dict[str, Figure]:
    setting = run.manifest.setting
    if declared.drawn == "mass":
        # The whole of a softmax has a mass of 1 everywhere.
        parts = table[~table[declared.axis].isin(declared.wholes)]
        cells, of = drawn_cells(run.plan, parts)
        return {
            _of_stack(name, stack): entropy_against_mass(
                parts,
                cells=cells,
                stack=stack,
                title=f"{declared.label.short} against mass{of}{_words(stack)}: {setting}",
            )
            for stack in _stacks(parts)
        }
    figures = {}
    cells, of = drawn_cells(run.plan, table)
    for stack in table["stack"].unique():
        title = f"{declared.label.short}, {stack}{of}: {setting}"
        own = table[(table["stack"] == stack) & table["cell"].isin(cells)]
        if declared.drawn == "ledger":
            figures[f"{name}_{stack}"] = budget_ledger(table, cells=cells, stack=str(stack), title=title)
            continue
        labelled = own.assign(cell=own["cell"].map(run.manifest.labels))
        for block, part in labelled.groupby("block", sort=False):
            several = own["block"].nunique() > 1
            figures[f"{name}_{stack}_{block}" if several else f"{name}_{stack}"] = _map(
                part, declared, facet="cell", title=f"{title}, {block} block" if several else title
            )
    return figures


def _map(rows: pd.DataFrame, declared: Declaration, *, facet: str, title: str) -> Figure:
    """The main quantity in every layer and category, a panel per cell or contrast."""
    quantity = declared.tested or declared.quantities[0]
    columns = {"mean": quantity.name, "low": f"{quantity.name}_low", "high": f"{quantity.name}_high"}
    if "mean" not in rows:
        rows = rows.rename(columns={own: name for name, own in columns.items()})
    return layer_map(rows, declared, quantity, facet=facet, title=title)


def _of_contrasts(run: Run, name: str, declared: Declaration, effects: pd.DataFrame) -> dict[str, Figure]:
    """Differences of the headline contrasts by layer, of the categories in which there are any.

    A category that is hidden or absent on both sides of every contrast has a difference of exactly 0 and no panel;
    sums of categories are drawn as their parts.
    """
    headline = [contrast.name for contrast in headline_shares(run.plan)]
    differences = effects[effects["contrast"].isin(headline) & ~effects[declared.axis].isin(declared.sums)]
    moved = differences["mean"].fillna(0.0).ne(0.0).groupby(differences[declared.axis]).any()
    categories = [own for own in declared.ordered(set(moved.index.astype(str))) if moved[own]]
    if not headline or not categories or not declared.draws_differences:
        return {}
    differences = differences[differences[declared.axis].isin(categories)]
    name = declared.names.get("differences", f"{name}_differences")
    figures = {}
    for stack in _stacks(differences):
        key, own = _of_stack(name, stack), differences[differences["stack"] == stack]
        title = f"What the contrasts do to {declared.label.sentence}{_words(stack)}: {run.manifest.setting}"
        if declared.drawn == "ledger":
            present = set(own[declared.axis].astype(str))
            figures[key] = budget_differences(
                own,
                contrasts=headline,
                roles=[category for category in categories if category in present],
                stack=stack,
                bands="bands: 95 %, of all layers at once",
                title=title,
            )
            continue
        banded = own.assign(
            low=own["band_low"],
            high=own["band_high"],
            marked=(own["band_low"] > 0) | (own["band_high"] < 0),
        )
        several = banded["block"].nunique() > 1
        figures |= {
            f"{key}_{block}" if several else key: _map(part, declared, facet="contrast", title=title)
            for block, part in banded.groupby("block", sort=False)
        }
    return figures


def _of_heads(run: Run, name: str, declared: Declaration, heads: pd.DataFrame) -> dict[str, Figure]:
    """Differences head by head of the categories that the probe maps."""
    found = declared.ordered(set(heads[declared.axis].astype(str)))
    wanted = found[:MOST_MAPS] if declared.head_maps is True else declared.head_maps or ()
    name = declared.names.get("maps", f"{name}_heads")
    figures = {}
    for stack, category in itertools.product(_stacks(heads), wanted):
        mapped = heads[(heads[declared.axis] == category) & (heads["stack"] == stack)]
        if not mapped["mean"].abs().sum() > 0 or mapped["block"].nunique() != 1:
            continue
        key = f"{_of_stack(name, stack)}_{category}"
        words = f"{declared.labels.get(str(category), readable(str(category)))}{_words(stack)}"
        if declared.drawn == "ledger":
            title = f"Difference in attention on {words} by head: {run.manifest.setting}"
            figures[key] = head_map(mapped, str(category), stack=stack, title=title)
            continue
        quantity = declared.tested or declared.quantities[0]
        title = f"{declared.label.short} by head, {words}: {run.manifest.setting}"
        figures[key] = map_of_heads(mapped, quantity, facet="contrast", title=title)
    return figures


def _stacks(rows: pd.DataFrame) -> list[str]:
    """The stacks whose rows were read, the decoder first."""
    return sorted(set(rows["stack"].astype(str)))


def _of_stack(name: str, stack: str) -> str:
    """The name of a figure: the decoder's, which every run has, has no more than the probe's."""
    return name if stack == DECODER else f"{name}_{stack}"


def _words(stack: str) -> str:
    return "" if stack == DECODER else f", {stack}"


def drawn_cells(plan: Plan, table: pd.DataFrame) -> tuple[list[str], str]:
    """The cells that get a panel, and words that say which they are where these are not all."""
    cells = list(dict.fromkeys(table["cell"].astype(str)))
    if len(cells) <= MOST_PANELS:
        return cells, ""
    wanted = {cell for contrast in plan.headline_contrasts for cell in contrast.weights}
    chosen = [cell for cell in cells if cell in wanted][:MOST_PANELS] or cells[:MOST_PANELS]
    return chosen, f", {len(chosen)} of {len(cells)} cells"
