"""What the token view shades keys by: attention, or what a row takes from each key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from figures import theme

if TYPE_CHECKING:
    import pandas as pd
    from pandas.core.groupby import SeriesGroupBy


@dataclass(frozen=True)
class TokenMeasure:
    """A column of token-level records, and how its values are told.

    ``label`` is the quantity and ``unit`` its unit; ``percent`` says that values are fractions, told in percent. ``signed``
    values lie around 0 and are drawn in a diverging scale. ``adds_heads`` says that heads are added where several are
    drawn, and not averaged.
    """

    column: str = "share"
    label: str = "share"
    unit: str = ""
    percent: bool = True
    signed: bool = False
    adds_heads: bool = False

    @property
    def bar_title(self) -> list[str]:
        """The heading of the colour bar, word by word: a bar is narrow."""
        words = self.label.split()
        unit = "%" if self.percent else self.unit
        if not unit or words[-1] == unit:
            return words
        return [*words[:-1], f"{words[-1]} (%)"] if self.percent else [*words, *f"({unit})".split()]

    @property
    def bar_format(self) -> str:
        """How the colour bar writes numbers."""
        return ".1~%" if self.percent else ".3~g"

    @property
    def hover_format(self) -> str:
        """How a hover writes numbers."""
        return ".3%" if self.percent else ".4g"

    def words(self, value: float) -> str:
        """A value for a hover."""
        if np.isnan(value):
            return f"{self.label} undefined"
        return f"{self.label} {100 * value:.3f} %" if self.percent else f"{self.label} {value:.4g}"

    def place(self, value: float, largest: float) -> float:
        """Where a value stands on the colour scale, from 0 to 1: its size counts by the square root."""
        part = float(np.sqrt(min(abs(value) / largest, 1.0)))
        if self.signed:
            return 0.5 + 0.5 * part * float(np.sign(value))
        return part if value > 0 else 0.0

    def scale(self, dark: bool) -> theme.Scale:
        """The colours, by the square root of the size."""
        if self.signed:
            return theme.DIVERGING_DARK if dark else theme.DIVERGING
        return theme.SEQUENTIAL_DARK if dark else theme.SEQUENTIAL

    def ink(self, value: float, largest: float, dark: bool) -> str:
        """Black or white, whichever is better read on the value's shade."""
        if np.isnan(value):
            return theme.page(dark).ink
        return theme.on_shade(self.scale(False), self.scale(True), self.place(value, largest), dark)

    def colour_axis(self, largest: float, dark: bool) -> dict:
        """Colours by value: their stops are moved so that shades follow the square root."""
        if not self.signed:
            stops = [[stop**2, colour] for stop, colour in self.scale(dark)]
            return {"colorscale": stops, "cmin": 0, "cmax": largest}
        stops = [[0.5 + 2 * (stop - 0.5) * abs(stop - 0.5), colour] for stop, colour in self.scale(dark)]
        return {"colorscale": stops, "cmin": -largest, "cmax": largest}


#: Attention itself.
SHARE = TokenMeasure()


def whole_means(values: SeriesGroupBy) -> pd.Series:
    """The mean of every group; undefined where any of its values is, which pandas 2 has no word for."""
    return values.mean().where(values.count() == values.size())
