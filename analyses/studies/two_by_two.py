"""Two properties of a prefix crossed: main effects, simple effects and interaction as per-example contrasts.

The levels of one factor (which prefix) are read as the crossing of two properties, so that the contrasts
are weightings of cells and not of factors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from budgetlens.statistics.contrasts import Contrast, averaged, wide_cells

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
    """A crossing of two properties over cells.

    ``cells`` maps the levels of the two properties to the names of the cells that have them: one, or the
    draws of a random one, which are averaged.
    """

    first: Property
    second: Property
    cells: Mapping[tuple[str, str], Sequence[str]]

    def contrasts(self, family: str) -> tuple[Contrast, ...]:
        """Two main effects and the interaction in ``family``, then four simple effects in a family of their own.

        Positive: the present level lowers the answer's NLL. The interaction is the first property's effect
        where the second is absent less its effect where it is present.
        """
        first, second, halves = self.first.name, self.second.name, {"absent": 1.0, "present": 1.0}
        effects = [
            self._contrast(f"{first}, {family}", family, _STEP, halves),
            self._contrast(f"{second}, {family}", family, halves, _STEP),
            self._contrast(f"{first} × {second}, {family}", family, _STEP, _STEP),
        ]
        simple = f"{family}, simple effects"
        for side in _STEP:
            name = f"{first} | {getattr(self.second, side)}, {family}"
            effects.append(self._contrast(name, simple, _STEP, {side: 1.0}))
        for side in _STEP:
            name = f"{second} | {getattr(self.first, side)}, {family}"
            effects.append(self._contrast(name, simple, {side: 1.0}, _STEP))
        return tuple(effects)

    def _contrast(
        self, name: str, family: str, first: Mapping[str, float], second: Mapping[str, float]
    ) -> Contrast:
        places = {
            tuple(self.cells[getattr(self.first, side), getattr(self.second, other_side)]): weight
            * other_weight
            for (side, weight), (other_side, other_weight) in product(first.items(), second.items())
        }
        return Contrast(name, family, averaged(places, sum(own is _STEP for own in (first, second))))


#: Baseline minus treatment.
_STEP: Mapping[str, float] = {"absent": 1.0, "present": -1.0}


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
