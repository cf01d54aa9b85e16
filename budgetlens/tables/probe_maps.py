"""A probe's quantity as a map by layer or by head: how report and explorer draw it unless it asks for another form."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.model.declaration import Declaration
from budgetlens.statistics.quantities import Quantity
from figures import TokenMeasure, budget_ledger, effect_map
from figures.looks import LOOKS, Look

#: Half the width of a head's interval in standard errors, 95 % of a normal distribution.
HALF_WIDTH = 1.96


def layer_map(
    rows: pd.DataFrame,
    declared: Declaration,
    quantity: Quantity,
    *,
    facet: str,
    title: str,
    look: Look = LOOKS["light"],
) -> Figure:
    """A quantity in every layer and category, a panel per cell, or its differences in a panel per contrast.

    ``rows`` have the columns layer, the probe's axis, n, mean, low, high, the facet's, and ``marked`` of differences.
    """
    differs = facet == "contrast"
    categories = declared.ordered(set(rows[declared.axis].astype(str)))
    named = rows.assign(**{declared.axis: rows[declared.axis].map(lambda own: declared.labels.get(own, own))})
    return effect_map(
        named,
        x="layer",
        y=declared.axis,
        facet=facet,
        quantity=f"difference in {quantity.label}" if differs else quantity.label,
        unit=drawn_unit(quantity, differs),
        percent=quantity.part_of_whole,
        around_zero=differs or bool((rows["mean"] < 0).any()),
        order={
            "layer": [str(layer) for layer in sorted(set(rows["layer"]))],
            declared.axis: [declared.labels.get(own, own) for own in categories],
        },
        title=title,
        subtitle="baseline − treatment; a frame: the band of all layers leaves out 0" if differs else "",
        **look,
    )


def token_measure(name: str, declared: Declaration) -> TokenMeasure:
    """How the token view draws the tested quantity of a probe of contributions: of signed ones by a diverging scale."""
    quantity = declared.tested or declared.quantities[0]
    return TokenMeasure(
        column=name,
        label=quantity.label,
        unit=quantity.unit,
        percent=quantity.part_of_whole,
        signed=not quantity.part_of_whole,
        adds_heads=declared.adds_heads,
    )


def records_map(
    records: pd.DataFrame,
    declared: Declaration,
    quantity: Quantity,
    *,
    labels: Mapping[str, str],
    title: str,
    look: Look = LOOKS["light"],
) -> Figure:
    """A probe's records of a single example, by layer, in the form that the probe asks for.

    ``records`` have the columns cell, stack, block, layer, head, the probe's axis and the quantity; ``labels`` name
    the cells.
    """
    keys = ["cell", "stack", "block", "layer", declared.axis]
    by_place = records.groupby(keys, sort=False)[quantity.name]
    # As a sum of what is NaN, 0 would be drawn.
    over_heads = by_place.sum(min_count=1) if declared.adds_heads else by_place.mean()
    rows = over_heads.rename("mean").reset_index()
    rows = rows.assign(n=1, low=float("nan"), high=float("nan"), alias=rows["cell"].map(labels))
    if declared.drawn == "ledger":
        return budget_ledger(rows, cells=list(labels), title=title, **look)
    rows = rows.assign(cell=rows["alias"])
    if rows["block"].nunique() > 1:
        rows = rows.assign(cell=rows["cell"] + ", " + rows["block"])
    return layer_map(rows, declared, quantity, facet="cell", title=title, look=look)


def map_of_heads(
    rows: pd.DataFrame,
    quantity: Quantity,
    *,
    facet: str,
    title: str,
    x: str = "layer",
    look: Look = LOOKS["light"],
) -> Figure:
    """One category head by head: means in a panel per cell, or differences in a panel per contrast.

    ``rows`` have the columns layer, head, n, mean and the facet's; differences standard_error, ``discovered`` and
    ``mapped``.
    ``x`` is what stands across, layer or head.
    """
    differs = facet == "contrast"
    half = HALF_WIDTH * rows["standard_error"] if differs else float("nan")
    marks = {"marked": rows["discovered"]} if differs else {}
    return effect_map(
        rows.assign(low=rows["mean"] - half, high=rows["mean"] + half, **marks),
        x=x,
        y="head" if x == "layer" else "layer",
        facet=facet,
        quantity=f"difference in {quantity.label}" if differs else quantity.label,
        unit=drawn_unit(quantity, differs),
        percent=quantity.part_of_whole,
        around_zero=differs or bool((rows["mean"] < 0).any()),
        order={axis: [str(own) for own in sorted(set(rows[axis]))] for axis in ("layer", "head")},
        title=title,
        subtitle=f"baseline − treatment; {_frames(rows)}" if differs else "",
        **look,
    )


def drawn_unit(quantity: Quantity, differs: bool) -> str:
    """The unit as a picture tells it: parts of a whole are drawn in percent, their differences in points."""
    if not quantity.part_of_whole:
        return quantity.unit
    return "points" if differs else "percent"


def _frames(rows: pd.DataFrame) -> str:
    """What a frame around a head says, or why there can be none."""
    # Tables that a run holds from before lack the column.
    if "mapped" in rows.columns and not rows["mapped"].any():
        return "too few examples to discover a head"
    return "a frame: discovered (false discovery rate 5 %)"
