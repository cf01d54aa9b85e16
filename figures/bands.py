"""Lines with bands of intervals around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from figures.theme import with_opacity

BAND_OPACITY = 0.18


def band_outline(
    x: ArrayLike, low: ArrayLike, high: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The outline of the band between two lines, broken where an end is missing.

    Args:
        x, low, high: equally long; NaN in `low` or `high` is a gap.

    Returns:
        x and y of closed polygons, forth along `low` and back along `high`, with NaN between polygons. A
        single point between gaps gives an upright stroke.
    """
    xs, lows, highs = (np.asarray(values, dtype=float) for values in (x, low, high))
    there = np.isfinite(lows) & np.isfinite(highs)
    starts = np.flatnonzero(there & ~np.concatenate([[False], there[:-1]]))
    ends = np.flatnonzero(there & ~np.concatenate([there[1:], [False]])) + 1
    outline_x: list[NDArray[np.float64]] = []
    outline_y: list[NDArray[np.float64]] = []
    for start, end in zip(starts, ends, strict=True):
        if outline_x:
            outline_x.append(np.array([np.nan]))
            outline_y.append(np.array([np.nan]))
        part = slice(start, end)
        outline_x.append(np.concatenate([xs[part], xs[part][::-1]]))
        outline_y.append(np.concatenate([lows[part], highs[part][::-1]]))
    if not outline_x:
        return np.empty(0), np.empty(0)
    return np.concatenate(outline_x), np.concatenate(outline_y)


def band(
    x: ArrayLike, low: ArrayLike, high: ArrayLike, colour: str, *, group: str, meta: dict[str, Any]
) -> go.Scatter:
    """A shaded band; it follows its line in the legend (`group`) and is told apart by `meta["band"]`."""
    outline_x, outline_y = band_outline(x, low, high)
    return go.Scatter(
        x=outline_x,
        y=outline_y,
        mode="lines",
        fill="toself",
        fillcolor=with_opacity(colour, BAND_OPACITY),
        line={"width": 0.8, "color": with_opacity(colour, BAND_OPACITY)},
        hoverinfo="skip",
        legendgroup=group,
        showlegend=False,
        meta={**meta, "band": True},
    )
