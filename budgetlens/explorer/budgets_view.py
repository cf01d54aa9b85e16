"""The view of budgets: shares by role across layers, and maps of heads, of any part of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly.graph_objects import Figure
from scipy import stats

from budgetlens.explorer.data import RunData
from budgetlens.explorer.effects_view import stratum_words
from budgetlens.explorer.state import State
from budgetlens.explorer.strata import mask_of
from budgetlens.explorer.views import LIGHT, NothingToShow, View
from budgetlens.statistics.bands import head_map as head_contrasts
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.decisions import of_intervals
from budgetlens.statistics.intervals import column_cautions
from figures import budget_ledger, head_map
from figures.looks import Look

CONFIDENCE = 0.95


def budgets_view(data: RunData, state: State, look: Look = LIGHT) -> View:
    """Shares by role of the chosen cells, layers, heads, roles and examples, or a map of heads.

    Raises NothingToShow where the run has no budgets, or nothing is left after choosing.
    """
    if not data.decoder_budgets:
        raise NothingToShow(
            "This run recorded no attention budgets. Run the analysis with the probe `budgets` to see them."
        )
    mask = mask_of(data, state.strata, state.stratum)
    budgets = [narrowed(budget, data, state, mask) for budget in data.decoder_budgets]
    n = int(mask.sum())
    if state.map == "ledger":
        frame, figure = _ledger(data, state, budgets, n, look)
        lead = "Which share of the answer rows' attention goes to each role. Choose a bar's layer to look at its tokens."
    else:
        frame, figure = _heads(data, state, budgets, look)
        lead = (
            f"Attention on the role {frame['role'].iloc[0]} (the first one chosen), head by head. Choose a head to see "
            "where it looks in one example."
        )
    return View(heading="Budgets", lead=lead, figure=figure, frame=frame)


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


def share_rows(budget: BudgetArray, *, confidence: float = CONFIDENCE) -> pd.DataFrame:
    """Mean share of each role by cell and layer, averaged over heads, with a t interval over examples.

    Columns cell, stack, block, layer, role, n, mean, low, high, caution (of the interval).
    """
    shares = budget.values.mean(axis=3, dtype=np.float64)
    n = np.isfinite(shares).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(n > 0, np.nansum(shares, axis=1) / n, np.nan)
        squares = np.nansum((shares - mean[:, None]) ** 2, axis=1)
        error = np.where(n > 1, np.sqrt(squares / (n - 1) / n), np.nan)
        reach = stats.t.ppf(0.5 + confidence / 2, np.maximum(n - 1, 1)) * error
    cautions = [column_cautions(own.reshape(own.shape[0], -1)) for own in shares]
    cells, layers, roles = np.indices(mean.shape)
    return pd.DataFrame(
        {
            "cell": np.array(budget.cells, dtype=object)[cells.ravel()],
            "stack": budget.stack,
            "block": budget.block,
            "layer": np.array(budget.layers)[layers.ravel()],
            "role": np.array(budget.roles, dtype=object)[roles.ravel()],
            "n": n.ravel(),
            "mean": mean.ravel(),
            "low": (mean - reach).ravel(),
            "high": (mean + reach).ravel(),
            "caution": [of_intervals(own) for own in np.concatenate(cautions)],
        }
    )


def _ledger(
    data: RunData, state: State, budgets: Sequence[BudgetArray], n: int, look: Look
) -> tuple[pd.DataFrame, Figure]:
    frame = pd.concat([share_rows(budget) for budget in budgets], ignore_index=True)
    if state.roles:
        frame = frame[frame["role"].isin(state.roles)]
    if frame.empty or n == 0:
        raise NothingToShow(
            "Nothing is left of the budgets after this choice. Choose more cells, layers or roles."
        )
    frame = frame.assign(alias=frame["cell"].map(data.labels))
    heads = f", heads {', '.join(state.heads)}" if state.heads else ""
    title = f"Attention budgets: {data.title}{stratum_words(state)}{heads}"
    return frame, budget_ledger(frame, cells=list(state.cells or data.cells), title=title, **look)


def _heads(
    data: RunData, state: State, budgets: Sequence[BudgetArray], look: Look
) -> tuple[pd.DataFrame, Figure]:
    role = state.roles[0] if state.roles else _first_role(budgets)
    own = [budget for budget in budgets if role in budget.roles]
    if not own:
        raise NothingToShow(f"No key of the decoder's rows has the role {role}. Choose another role.")
    words = f"{role}: {data.title}{stratum_words(state)}"
    if state.map == "contrast":
        if state.contrast not in data.contrasts:
            raise NothingToShow("This run compares no cells, so that there is no difference to map.")
        contrast = data.contrasts[state.contrast]
        everything = replace(state, cells=())
        mask = mask_of(data, state.strata, state.stratum)
        wanted = [budget for budget in data.decoder_budgets if role in budget.roles]
        frame = head_contrasts([narrowed(budget, data, everything, mask) for budget in wanted], [contrast])
        frame = frame[frame["role"] == role]
        return frame, head_map(
            frame, role, title=f"{state.contrast}. Difference in attention on {words}", **look
        )
    frame = pd.concat([_head_rows(budget, role) for budget in own], ignore_index=True)
    frame = frame.assign(alias=frame["cell"].map(data.labels))
    facets = list(state.cells or data.cells)
    return frame, head_map(frame, role, facets=facets, title=f"Share of attention on {words}", **look)


def _head_rows(budget: BudgetArray, role: str) -> pd.DataFrame:
    """Mean share of one role by cell, layer and head."""
    shares = budget.values[..., budget.roles.index(role)]
    n = np.isfinite(shares).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean = np.where(n > 0, np.nansum(shares, axis=1, dtype=np.float64) / np.maximum(n, 1), np.nan)
    cells, layers, heads = np.indices(mean.shape)
    return pd.DataFrame(
        {
            "cell": np.array(budget.cells, dtype=object)[cells.ravel()],
            "stack": budget.stack,
            "block": budget.block,
            "layer": np.array(budget.layers)[layers.ravel()],
            "head": np.array(budget.heads)[heads.ravel()],
            "role": role,
            "n": n.ravel(),
            "mean": mean.ravel(),
        }
    )


def _first_role(budgets: Sequence[BudgetArray]) -> str:
    known = [role for budget in budgets for role in budget.roles]
    return "document" if "document" in known else known[0]


def _places(axis: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [place for place, entry in enumerate(axis) if entry in set(wanted)]
