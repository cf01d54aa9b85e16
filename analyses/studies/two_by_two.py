"""Two properties of a prefix crossed: main effects, simple effects and interaction as per-example contrasts.

The levels of one factor (which prefix) are read as the crossing of two properties, so that the effects
are between places and not between levels of factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from budgetlens.design.effects import Effect, mean
from budgetlens.statistics.contrasts import Contrast, wide_cells

if TYPE_CHECKING:
    import pandas as pd

    from budgetlens.statistics.inference import Inference


@dataclass(frozen=True)
class Property:
    """A property with its two levels: its effect is that of going from ``absent`` to ``present``."""

    name: str
    absent: str
    present: str


@dataclass(frozen=True)
class TwoByTwo:
    """A crossing of two properties that levels of one factor have.

    ``places`` gives the place (:func:`budgetlens.design.effects.place`) of each pair of the properties' levels, that of
    ``first`` first; draws of a random level are averaged there.
    """

    first: Property
    second: Property
    places: Mapping[tuple[str, str], Effect]

    def effects(self, family: str) -> tuple[Effect, ...]:
        """Two main effects and the interaction in ``family``, then four simple effects in a family of their own.

        Positive: the present level lowers the answer's NLL. The interaction is the first property's effect
        where the second is absent less its effect where it is present.
        """
        first, second = self.first, self.second
        of_first = {
            side: self.places[first.absent, side] - self.places[first.present, side]
            for side in (second.absent, second.present)
        }
        of_second = {
            side: self.places[side, second.absent] - self.places[side, second.present]
            for side in (first.absent, first.present)
        }
        simple = f"{family}, simple effects"
        return (
            (self._mean(first.absent) - self._mean(first.present)).named(f"{first.name}, {family}", family),
            mean(*of_second.values()).named(f"{second.name}, {family}", family),
            (of_second[first.absent] - of_second[first.present]).named(
                f"{first.name} × {second.name}, {family}", family
            ),
            *(own.named(f"{first.name} | {side}, {family}", simple) for side, own in of_first.items()),
            *(own.named(f"{second.name} | {side}, {family}", simple) for side, own in of_second.items()),
        )

    def _mean(self, level: str) -> Effect:
        """The places with a level of the first property."""
        return mean(*(self.places[level, side] for side in (self.second.absent, self.second.present)))


def effects_of(
    likelihood: pd.DataFrame,
    contrasts: Sequence[Contrast],
    bare: str,
    inference: Inference,
) -> pd.DataFrame:
    """The rows of :func:`budgetlens.statistics.effects.effects_table`, and ``difference_of_d`` beside them.

    ``difference_of_d`` is the published definition: the contrast's weights applied to each cell's d against
    ``bare`` instead of to the cells' values. d's do not add up, so that it is no effect of anything.
    """
    from budgetlens.statistics.effects import effects_table

    table = effects_table(likelihood, contrasts, inference)
    wide = wide_cells(likelihood, "nll")
    gains = {
        cell: (wide[bare] - wide[cell]).to_numpy()
        for contrast in contrasts
        for cell in contrast.weights
        if cell != bare
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        d = {cell: float(gain.mean() / gain.std(ddof=1)) for cell, gain in gains.items()}
    table["difference_of_d"] = [
        -sum(weight * d[cell] for cell, weight in contrast.weights.items()) for contrast in contrasts
    ]
    return table
