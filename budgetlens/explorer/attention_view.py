"""The view of attention: what a probe saw across layers and in heads, of any part of a run, as the probe declares it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from budgetlens.explorer.data import RunData
from budgetlens.explorer.effects_view import stratum_words
from budgetlens.explorer.state import HEADS_OF_CONTRAST, LAYERS, State
from budgetlens.explorer.strata import mask_of
from budgetlens.explorer.views import LIGHT, NothingToShow, View
from budgetlens.model.declaration import Declaration
from budgetlens.statistics.bands import head_map as head_contrasts
from budgetlens.statistics.bands import share_table
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.probe_maps import layer_map, map_of_heads
from figures import budget_ledger, head_map
from figures.looks import Look


def attention_view(data: RunData, state: State, look: Look = LIGHT) -> View:
    """What the chosen probe saw in the chosen cells, layers, heads, categories and examples, by layer or by head.

    Raises NothingToShow where the run has no probe of attention, or nothing is left after choosing.
    """
    if state.probe not in data.probes:
        raise NothingToShow(
            "This run recorded no attention. Run the analysis with `--probes NAME` to see it; `budgetlens list probes` "
            "tells which there are."
        )
    drawn = Drawn(data, state, look)
    mask = mask_of(data, state.strata, state.stratum)
    arrays = [narrowed(array, data, state, mask) for array in drawn.arrays]
    declared, label = drawn.declared, drawn.quantity.label
    if state.map == LAYERS:
        frame, figure = _layers(drawn, arrays, int(mask.sum()))
        lead = (
            f"{declared.label.long}: {label} of the {rows_of(state.side)}, by layer and {declared.axis}. "
            "Choose a layer to look at its tokens."
        )
    else:
        frame, figure, words = _heads(drawn, arrays, mask)
        lead = (
            f"{declared.label.long}: {label}, {declared.axis} {words} (the first one chosen), head by head. "
            "Choose a head to see where it looks in one example."
        )
    return View(heading="Attention", lead=lead, figure=figure, frame=frame)


class Drawn:
    """What is drawn, and how: the run, what is chosen, the probe's declaration, and the quantity's arrays."""

    def __init__(self, data: RunData, state: State, look: Look) -> None:
        self.data, self.state, self.look = data, state, look
        self.declared: Declaration = data.probes[state.probe]
        self.quantity: Quantity = next(own for own in self.declared.quantities if own.name == state.quantity)

    @property
    def arrays(self) -> list[BudgetArray]:
        """The chosen quantity in the rows of the chosen stack, one array per block."""
        found = self.data.arrays(self.state.probe, self.quantity.name)
        return [array for array in found if array.stack == self.state.side]

    def titled(self, words: str) -> str:
        """A heading: what is drawn, of which run, in which stratum."""
        return f"{words}: {self.data.title}{stratum_words(self.state)}"

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The numbers with the column of categories as the probe calls it."""
        return frame.rename(columns={"role": self.declared.axis})


def rows_of(side: str) -> str:
    """Whose attention it is."""
    return "answer's rows" if side == "decoder" else "document's rows"


def narrowed(budget: BudgetArray, data: RunData, state: State, mask: NDArray[np.bool_]) -> BudgetArray:
    """The part of a budget that is chosen: cells, examples, layers and heads; all roles are kept."""
    cells = _places(budget.cells, state.cells or data.cells)
    layers = (
        _places(list(map(str, budget.layers)), state.layers) if state.layers else range(len(budget.layers))
    )
    heads = _places(list(map(str, budget.heads)), state.heads) if state.heads else range(len(budget.heads))
    values = budget.values
    # Whole axes are not copied: a run of many cells holds hundreds of megabytes.
    if list(cells) != list(range(len(budget.cells))):
        values = values[list(cells)]
    if not mask.all():
        values = values[:, mask]
    if len(layers) < len(budget.layers):
        values = values[:, :, list(layers)]
    if len(heads) < len(budget.heads):
        values = values[:, :, :, list(heads)]
    return replace(
        budget,
        cells=tuple(budget.cells[place] for place in cells),
        examples=tuple(np.array(budget.examples, dtype=object)[mask]),
        layers=tuple(budget.layers[place] for place in layers),
        heads=tuple(budget.heads[place] for place in heads),
        values=values,
    )


def _layers(drawn: Drawn, arrays: Sequence[BudgetArray], n: int) -> tuple[pd.DataFrame, Figure]:
    data, state, declared = drawn.data, drawn.state, drawn.declared
    frames = [share_table(array, data.run.inference) for array in arrays]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["role"])
    if state.categories:
        frame = frame[frame["role"].isin(state.categories)]
    if frame.empty or n == 0:
        raise NothingToShow(
            f"Nothing is left of {declared.label.sentence} after this choice. Choose more cells, layers or categories."
        )
    frame = frame.assign(alias=frame["cell"].map(data.labels))
    heads = f", heads {', '.join(state.heads)}" if state.heads else ""
    title = f"{drawn.titled(declared.label.short)}{heads}"
    if declared.drawn == "ledger":
        cells = list(state.cells or data.cells)
        return frame, budget_ledger(frame, cells=cells, stack=state.side, title=title, **drawn.look)
    # Of several blocks every category stands once for each.
    categories, blocks = frame["role"], frame["block"]
    if blocks.nunique() > 1:
        categories = categories.map(lambda own: declared.labels.get(own, own)) + " (" + blocks + ")"
    rows = frame.assign(**{declared.axis: categories, "cell": frame["alias"]})
    figure = layer_map(rows, declared, drawn.quantity, facet="cell", title=title, look=drawn.look)
    return drawn.named(frame), figure


def _heads(
    drawn: Drawn, arrays: Sequence[BudgetArray], mask: NDArray[np.bool_]
) -> tuple[pd.DataFrame, Figure, str]:
    """The numbers and the map of one category head by head, and that category's name."""
    data, state, declared, look = drawn.data, drawn.state, drawn.declared, drawn.look
    if declared.averages_heads:
        raise NothingToShow(
            f"{declared.label.long} is computed from the average over heads, so that no head has one."
        )
    category = state.categories[0] if state.categories else first_category(declared, arrays)
    words = declared.labels.get(category, category)
    if not any(category in array.roles for array in arrays):
        raise NothingToShow(f"The {rows_of(state.side)} have no {declared.axis} {words}. Choose another one.")
    ledger = declared.drawn == "ledger"
    if state.map == HEADS_OF_CONTRAST:
        if state.contrast not in data.contrasts:
            raise NothingToShow("This run compares no cells, so that there is no difference to map.")
        everything = replace(state, cells=())
        wanted = [narrowed(own, data, everything, mask) for own in drawn.arrays if category in own.roles]
        frame = head_contrasts(wanted, [data.contrasts[state.contrast]])
        frame = frame[frame["role"] == category]
        title = drawn.titled(f"{state.contrast}. Difference in {drawn.quantity.label}, {words}")
        figure = (
            head_map(frame, category, stack=state.side, title=title, **look)
            if ledger
            else map_of_heads(
                _by_block(frame, "contrast"),
                drawn.quantity,
                facet="contrast",
                title=title,
                x="head",
                look=look,
            )
        )
        return drawn.named(frame), figure, words
    frame = pd.concat(
        [_head_rows(own, category) for own in arrays if category in own.roles], ignore_index=True
    )
    frame = frame.assign(alias=frame["cell"].map(data.labels))
    title = drawn.titled(f"{declared.label.short}, {words}")
    if ledger:
        facets = list(state.cells or data.cells)
        figure = head_map(frame, category, facets=facets, stack=state.side, title=title, **look)
    else:
        rows = _by_block(frame.assign(cell=frame["alias"]), "cell")
        figure = map_of_heads(rows, drawn.quantity, facet="cell", title=title, x="head", look=look)
    return drawn.named(frame), figure, words


def _by_block(frame: pd.DataFrame, facet: str) -> pd.DataFrame:
    """The frame with a panel for each block of a cell or contrast where there are several."""
    if frame["block"].nunique() == 1:
        return frame
    return frame.assign(**{facet: frame[facet] + ", " + frame["block"]})


def _head_rows(array: BudgetArray, category: str) -> pd.DataFrame:
    """Mean of one category by cell, layer and head."""
    values = array.values[..., array.roles.index(category)]
    n = np.isfinite(values).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(n > 0, np.nansum(values, axis=1, dtype=np.float64) / np.maximum(n, 1), np.nan)
    cells, layers, heads = np.indices(mean.shape)
    return pd.DataFrame(
        {
            "cell": np.array(array.cells, dtype=object)[cells.ravel()],
            "stack": array.stack,
            "block": array.block,
            "layer": np.array(array.layers)[layers.ravel()],
            "head": np.array(array.heads)[heads.ravel()],
            "role": category,
            "n": n.ravel(),
            "mean": mean.ravel(),
        }
    )


def first_category(declared: Declaration, arrays: Sequence[BudgetArray]) -> str:
    """The category that is shown where none is chosen: the first that the probe maps, else its first."""
    known = declared.ordered({name for array in arrays for name in array.roles})
    mapped = declared.head_maps if isinstance(declared.head_maps, tuple) else ()
    return next((name for name in (*mapped, *known) if name in known), "")


def site_of(data: RunData, state: State, x: int, y: int) -> tuple[str, str | None] | None:
    """The layer, and the head where the map has one, that stands at a place of the figure; None where nothing does."""
    if state.probe not in data.probes:
        return None
    by_layer = state.map == LAYERS
    if data.probes[state.probe].drawn == "ledger":
        return (str(x), None) if by_layer else (str(y), str(x))
    # Other maps have their layers and heads side by side, whatever their numbers.
    axes = data.axes(state.probe, state.side)
    layers = [str(own) for own in axes.layers if not state.layers or str(own) in state.layers]
    heads = [str(own) for own in axes.heads if not state.heads or str(own) in state.heads]
    across, down = (layers, []) if by_layer else (heads, layers)
    if not 0 <= x < len(across) or (down and not 0 <= y < len(down)):
        return None
    return (across[x], None) if by_layer else (down[y], across[x])


def _places(axis: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [place for place, entry in enumerate(axis) if entry in set(wanted)]
