"""The view of effects: the forest of a run's contrasts, of all examples or of one stratum."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from budgetlens.explorer.data import RESAMPLES, RunData, subset_effects
from budgetlens.explorer.state import State
from budgetlens.explorer.strata import KINDS, level_label, mask_of
from budgetlens.explorer.views import LIGHT, Link, Listing, NothingToShow, View
from budgetlens.model.declaration import Declaration
from budgetlens.statistics.bands import share_differences
from budgetlens.statistics.budget_arrays import by_document
from budgetlens.statistics.decisions import surest_layer
from budgetlens.statistics.findings import CORRECTED
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.probe_maps import layer_map
from budgetlens.tables.probes import headline_shares
from figures import effects_forest
from figures.labels import p_value, signed
from figures.looks import Look

#: What an effect to the right of 0 means, by which way is better.
RIGHT_OF_0 = {"lower": "the treatment helps", "higher": "the treatment hurts", "": "the treatment lowers it"}
#: Fewest examples of a stratum that statistics are computed for.
FEWEST = 5


def effects_view(data: RunData, state: State, look: Look = LIGHT) -> View:
    """The effects of the chosen family in the chosen stratum, on what the chosen probe measures.

    Raises NothingToShow where a stratum has too few examples.
    """
    declared = data.tested[state.tested]
    quantity = declared.tested
    assert quantity is not None  # it is among the tested ones
    table = effects_of(data, state)
    if state.family:
        table = table[table["family"] == state.family]
    if table.empty:
        raise NothingToShow("This run compares no cells, so that it has no effects.")
    title = f"Effects on {declared.label.sentence}: {data.title}{stratum_words(state)}"
    if declared.axis:
        figure, listing = (
            _by_layer(data, declared, quantity, table, title, look),
            _bands(data, declared, table),
        )
        lead = (
            f"Every comparison of {quantity.label} by layer and {declared.axis}, as baseline minus treatment. Choose one to "
            "see it head by head."
        )
    else:
        figure = effects_forest(
            table,
            quantity=declared.label.sentence,
            unit=quantity.unit,
            better=quantity.better,
            title=title,
            **look,
        )
        listing = _listing(data, table, f"{declared.label.sentence} in {quantity.unit}")
        lead = (
            f"Every comparison, as baseline minus treatment: to the right of 0 {RIGHT_OF_0[quantity.better]}. Choose one to "
            "see its examples."
        )
    n = int(mask_of(data, state.strata, state.stratum).sum())
    return View(
        heading="Effects",
        lead=lead,
        figure=figure,
        listing=listing,
        frame=table,
        notes=()
        if not state.stratum
        else (
            f"{n:,} of {len(data.nll):,} examples ({KINDS[state.strata]} {level_label(state.strata, state.stratum)}); "
            f"intervals and p from {RESAMPLES:,} resamples, corrected within each family of this stratum alone.",
        ),
    )


def effects_of(data: RunData, state: State) -> pd.DataFrame:
    """The table of effects of all examples, or of the chosen stratum."""
    of_answers = not data.tested[state.tested].axis
    if of_answers and not state.stratum:
        return data.effects(state.tested)
    mask = mask_of(data, state.strata, state.stratum)
    if int(mask.sum()) < FEWEST:
        raise NothingToShow(
            f"Only {int(mask.sum())} examples are in this stratum; statistics need at least {FEWEST}. Choose another one."
        )
    packed = np.packbits(mask).tobytes()
    if of_answers:
        return _stratum_effects(_Held(data), state.tested, packed, len(mask))
    return _attention_effects(_Held(data), state.tested, state.family, packed, len(mask))


class _Held:
    """A run as a key of a cache: the same run is the same key."""

    def __init__(self, data: RunData) -> None:
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and other.data is self.data

    def __hash__(self) -> int:
        return id(self.data)


@lru_cache(maxsize=32)
def _stratum_effects(held: _Held, measure: str, packed: bytes, count: int) -> pd.DataFrame:
    inference = held.data.run.inference.at_most(RESAMPLES)
    return subset_effects(held.data, _unpacked(packed, count), inference, measure)


@lru_cache(maxsize=32)
def _attention_effects(held: _Held, measure: str, family: str, packed: bytes, count: int) -> pd.DataFrame:
    """The contrasts of a family, else the headline ones, by layer and category, with bands over all layers."""
    data = held.data
    declared = data.tested[measure]
    quantity = declared.tested
    assert quantity is not None  # it is among the tested ones
    own = [contrast for contrast in data.plan.share_contrasts if contrast.family == family]
    contrasts = [
        contrast
        for contrast in (own or headline_shares(data.plan))
        if set(contrast.weights) <= set(data.cells)
    ]
    arrays = data.arrays(measure, quantity.name)
    if not contrasts or not arrays:
        raise NothingToShow("This run compares no cells by their attention, so that it has no such effects.")
    mask = _unpacked(packed, count)
    chosen = [
        replace(
            array,
            examples=tuple(np.array(array.examples, dtype=object)[mask]),
            values=array.values[:, mask],
        )
        for array in arrays
    ]
    inference = data.run.inference.at_most(RESAMPLES).of(quantity)
    found = share_differences(by_document(chosen, data.run.documents), contrasts, inference, quantity)
    return found.rename(columns={"role": declared.axis})


def _unpacked(packed: bytes, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count).astype(bool)


def stratum_words(state: State) -> str:
    """``, answer length 1-2 words`` where a stratum is chosen."""
    if not state.stratum:
        return ""
    return f", {KINDS[state.strata]} {level_label(state.strata, state.stratum)}"


def _by_layer(
    data: RunData, declared: Declaration, quantity: Quantity, table: pd.DataFrame, title: str, look: Look
) -> Figure:
    """The differences by layer and category, a panel per contrast, stack and block."""
    marked = (table["band_low"] > 0) | (table["band_high"] < 0)
    rows = table.assign(low=table["band_low"], high=table["band_high"], marked=marked)
    for name in ("stack", "block"):
        if rows[name].nunique() > 1:
            rows = rows.assign(contrast=rows["contrast"] + ", " + rows[name])
    return layer_map(rows, declared, quantity, facet="contrast", title=title, look=look)


def _bands(data: RunData, declared: Declaration, table: pd.DataFrame) -> Listing:
    """Per contrast and category, the layer that is surest, and in how many a difference was found."""
    rows = []
    for (contrast, stack, block, category), own in table.groupby(
        ["contrast", "stack", "block", declared.axis], sort=False
    ):
        tested = own[own["band_low"].notna()]
        if tested.empty:
            continue
        surest = surest_layer(tested)
        found = int(((tested["band_low"] > 0) | (tested["band_high"] < 0)).sum())
        name = str(contrast)
        rows.append(
            (
                Link("contrast", name, name) if name in data.contrasts else name,
                f"{stack}, {block}",
                declared.labels.get(str(category), str(category)),
                str(int(surest["layer"])),
                signed(surest["mean"]),
                f"{signed(surest['band_low'])} to {signed(surest['band_high'])}",
                p_value(surest["p_simultaneous"]),
                f"{found} of {len(tested)}",
            )
        )
    return Listing(
        caption="The surest layer of every comparison, with its band, which holds all layers at once.",
        columns=(
            "contrast",
            "rows",
            declared.axis,
            "layer",
            "difference",
            "95 % band",
            "p (all layers)",
            "layers with a difference",
        ),
        rows=tuple(rows),
        numbers=frozenset({3, 4, 5, 6}),
    )


def _listing(data: RunData, table: pd.DataFrame, what: str) -> Listing:
    corrected = next(name for name in CORRECTED if name in table.columns)
    rows = []
    for row in table.to_dict("records"):
        name = str(row["contrast"])
        rows.append(
            (
                Link("contrast", name, name) if name in data.contrasts else name,
                f"{int(row['n']):,}",
                signed(row["mean_difference"]),
                f"{signed(row['low'])} to {signed(row['high'])}",
                signed(row["d_z"], 2),
                p_value(row[corrected]),
                str(row["verdict"]),
            )
        )
    return Listing(
        caption=f"The same effects as a table: mean paired difference of {what}, with its interval.",
        columns=(
            "contrast",
            "n",
            "difference",
            "95 % interval",
            "d_z",
            f"p ({corrected.removeprefix('p_').capitalize()})",
            "verdict",
        ),
        rows=tuple(rows),
        numbers=frozenset({1, 2, 3, 4, 5}),
    )
