"""Contrasts of cells: simple comparisons, main effects, simple effects and interactions of any order.

All are one object: a weight per cell. Its value for an example is the weighted sum of that example's cells,
so that an interaction is tested on per-example values (a difference of differences), never as a difference
of two tests. Contrasts are declared without pandas, which only their values need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from budgetlens.statistics.products import product
from budgetlens.statistics.verdicts import SLOPE

if TYPE_CHECKING:
    import pandas as pd

#: The level at which a factor changes nothing, by every intervention's convention.
NOTHING = "none"

#: Part of its cells' size below which a difference is what rounding left.
ROUNDING = 1e-13


@dataclass(frozen=True)
class Contrast:
    """A named weighting of cells; +1 stands by the baseline, -1 by the treatment.

    `order` says what it is: 1 a difference of (averaged) cells, 2 an interaction (a difference of
    differences), 3 and more a higher interaction. 0 reads it from the weights, whose positive ones sum to 1,
    2, 4, ... where an effect is averaged over the other factors; give it where yours do not, and SLOPE where
    the weights make an effect's slope along a quantity.

    Raises:
        ValueError: a weight is not finite, all are 0, they do not sum to 0, or there is no such order.
    """

    name: str
    family: str
    weights: Mapping[str, float]
    order: int = 0

    def __post_init__(self) -> None:
        if self.order < 0 and self.order != SLOPE:
            raise ValueError(
                f"the order of contrast {self.name!r} is {self.order}; expected 0, 1, 2, ... or {SLOPE} (a slope)"
            )
        weights = list(self.weights.values())
        if not all(np.isfinite(weights)) or not any(weights):
            raise ValueError(
                f"contrast {self.name!r} needs finite weights, not all 0; got {dict(self.weights)}"
            )
        if abs(sum(weights)) > 1e-9:
            raise ValueError(
                f"the weights of contrast {self.name!r} sum to {sum(weights):g}; those of a contrast sum to 0"
            )

    @property
    def effect_order(self) -> int:
        """1 for a difference, 2 for an interaction of two factors, 3 and more for higher ones; or SLOPE."""
        if self.order:
            return self.order
        positive = sum(weight for weight in self.weights.values() if weight > 0)
        return 1 + max(0, round(float(np.log2(positive))))

    @property
    def between(self) -> bool:
        """Whether it is no difference from doing nothing: an interaction, a slope, or a difference between treatments.

        A difference is one from doing nothing where the factors in which its sides differ stand at ``none`` on the side of
        the baseline, or where its cells have names of someone's own: of those the baseline is said to be one.
        """
        if self.effect_order != 1:
            return True
        try:
            sides = [
                [parse_cell(cell) for cell, weight in self.weights.items() if weight * sign > 0]
                for sign in (1, -1)
            ]
        except ValueError:
            return False
        levels = [{factor: {own.get(factor, "") for own in side} for factor in side[0]} for side in sides]
        return any(
            found != {NOTHING} for factor, found in levels[0].items() if found != levels[1].get(factor)
        )

    @property
    def baseline(self) -> str:
        """The cells with positive weight, in words."""
        return _side({cell: weight for cell, weight in self.weights.items() if weight > 0})

    @property
    def treatment(self) -> str:
        """The cells with negative weight, in words."""
        return _side({cell: -weight for cell, weight in self.weights.items() if weight < 0})


def _side(weights: Mapping[str, float]) -> str:
    return " + ".join(cell if weight == 1 else f"{weight:g} × {cell}" for cell, weight in weights.items())


def factor_steps(contrast: Contrast) -> dict[str, tuple[str, str]]:
    """The factors that a contrast crosses, each with the level it goes from and the level it goes to.

    Factors that it averages over are none of them. Where the ends of two factors are exchanged together an interaction
    stays the same: the way told starts at the contrast's first cell.

    Returns:
        As many factors as the order of the contrast; none where its cells have no canonical names or are no crossing.
    """
    try:
        cells = [(parse_cell(cell), weight) for cell, weight in contrast.weights.items()]
    except ValueError:
        return {}
    weights = {frozenset(levels.items()): weight for levels, weight in cells}
    steps: dict[str, tuple[str, str]] = {}
    for factor in cells[0][0]:
        ends = list(dict.fromkeys(levels.get(factor, "") for levels, _ in cells))
        if len(ends) != 2:
            continue
        other = dict(zip(ends, reversed(ends), strict=True))
        # To go to the other end turns the sign of every cell; of a factor averaged over it turns none.
        turned = (
            abs(
                weights.get(frozenset({**levels, factor: other[levels.get(factor, "")]}.items()), 0.0)
                + weight
            )
            < 1e-9
            for levels, weight in cells
        )
        if all(turned):
            steps[factor] = (ends[0], ends[1])
    return steps if len(steps) == contrast.effect_order else {}


def reference_weights(contrast: Contrast) -> dict[str, float]:
    """The cells that a contrast starts from, weighted to 1 together: of a difference its baseline.

    Of an interaction the cells in which every factor that it crosses stands at the level it goes from; of one whose cells
    have no canonical names its first cell.
    """
    positive = {cell: weight for cell, weight in contrast.weights.items() if weight > 0}
    if contrast.effect_order >= 2:
        steps = factor_steps(contrast)
        starts = {
            cell: weight
            for cell, weight in contrast.weights.items()
            if steps
            and all(parse_cell(cell).get(factor, "") == start for factor, (start, _) in steps.items())
        }
        positive = {cell: abs(weight) for cell, weight in starts.items()} or {
            next(iter(contrast.weights)): 1.0
        }
    total = sum(positive.values())
    return {cell: weight / total for cell, weight in positive.items()}


@dataclass(frozen=True)
class Crossed:
    """The parts of an interaction: what two treatments do alone and both, as baseline - treatment of neither."""

    first: str
    """The first treatment, ``factor=level``."""
    second: str
    first_alone: float
    second_alone: float
    both: float


def crossed_effects(cell_values: pd.DataFrame, contrast: Contrast) -> Crossed | None:
    """The parts of an interaction of two factors, in means over the examples that have all of its cells; None of others.

    ``first_alone + second_alone - both`` is the interaction's mean.
    """
    steps = list(factor_steps(contrast).items()) if contrast.effect_order == 2 else []
    if len(steps) != 2:
        return None
    (first, (first_start, first_end)), (second, (second_start, second_end)) = steps
    values = cell_values[list(contrast.weights)]
    means = values[np.isfinite(values).all(axis=1)].mean()

    def corner(*levels: str) -> float:
        own = {
            cell: abs(weight)
            for cell, weight in contrast.weights.items()
            if (parse_cell(cell).get(first, ""), parse_cell(cell).get(second, "")) == levels
        }
        return sum(weight * means[cell] for cell, weight in own.items()) / sum(own.values())

    reference = corner(first_start, second_start)
    return Crossed(
        f"{first}={first_end}",
        f"{second}={second_end}",
        reference - corner(first_end, second_start),
        reference - corner(first_start, second_end),
        reference - corner(first_end, second_end),
    )


def reference_means(cell_values: pd.DataFrame, contrasts: Sequence[Contrast]) -> NDArray[np.float64]:
    """Mean of what each contrast starts from, over the examples that have it, shape [contrasts].

    Args:
        cell_values: index example, one column per cell (see `wide_cells`).
        contrasts: of these cells.
    """
    means = cell_values.where(np.isfinite(cell_values)).mean()
    return np.array(
        [
            sum(weight * means[cell] for cell, weight in reference_weights(contrast).items())
            for contrast in contrasts
        ]
    )


def comparison(baseline: str, treatment: str, family: str, name: str | None = None) -> Contrast:
    """baseline - treatment."""
    return Contrast(name or f"{baseline} → {treatment}", family, {baseline: 1.0, treatment: -1.0})


def averaged(places: Mapping[tuple[str, ...], float], order: int = 1) -> dict[str, float]:
    """Weights by cell of an effect that is averaged: over crossings of the other factors, and over draws.

    Args:
        places: the places of the effect's crossings, in order, each as the cells that stand there (more than one where
            they are draws of the same levels), with its sign, or its sign times what its crossing counts.
        order: how many factors the effect crosses; a crossing has 2 to the power of ``order`` places.
    """
    crossings = sum(weight for weight in places.values() if weight > 0) / 2 ** (order - 1)
    return {cell: weight / crossings / len(draws) for draws, weight in places.items() for cell in draws}


def same_effect(contrast: Contrast) -> frozenset[tuple[str, float]]:
    """What two contrasts share that weigh the same cells alike, whatever their names, families, scale and sign."""
    first = min(cell for cell, weight in contrast.weights.items() if weight)
    largest = max(abs(weight) for weight in contrast.weights.values())
    scale = largest if contrast.weights[first] > 0 else -largest
    return frozenset((cell, round(weight / scale, 9)) for cell, weight in contrast.weights.items() if weight)


def distinct(contrasts: Iterable[Contrast]) -> tuple[Contrast, ...]:
    """The contrasts without those that are the effect of one before them: a contrast stands, and counts, once."""
    first: dict[frozenset[tuple[str, float]], Contrast] = {}
    for contrast in contrasts:
        first.setdefault(same_effect(contrast), contrast)
    return tuple(first.values())


def parse_cell(name: str) -> dict[str, str]:
    """Factor levels of a canonical cell name such as `prefix=oracle|hidden=none|prompt=query`.

    Raises:
        ValueError: a part of the name has no `=`, or a factor occurs twice.
    """
    levels: dict[str, str] = {}
    for part in name.split("|"):
        factor, equals, level = part.partition("=")
        if not equals or factor in levels:
            raise ValueError(f"cell {name!r} is not written factor=level|factor=level with distinct factors")
        levels[factor] = level
    return levels


def effect_words(factors: Mapping[str, tuple[str, str]], held: Mapping[str, str]) -> str:
    """The name of an effect that has none of its own: what it crosses, and at which levels of other factors."""
    crossed = " × ".join(f"{factor} {pair[0]}→{pair[1]}" for factor, pair in factors.items())
    return crossed + "".join(f" | {factor}={level}" for factor, level in held.items())


def contrast_values(cell_values: pd.DataFrame, contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """Per-example values of each contrast, index example, one column per contrast in order.

    Args:
        cell_values: index example, one column per cell (see `wide_cells`).

    Raises:
        ValueError: a contrast names a cell that is not there.
    """
    import pandas as pd

    matrix = np.zeros((cell_values.shape[1], len(contrasts)))
    positions = {cell: position for position, cell in enumerate(cell_values.columns)}
    values = cell_values.to_numpy(dtype=np.float64)
    result = np.empty((values.shape[0], len(contrasts)))
    for column, contrast in enumerate(contrasts):
        absent = [cell for cell in contrast.weights if cell not in positions]
        if absent:
            raise ValueError(
                f"contrast {contrast.name!r} names cell {absent[0]!r}, which the records do not hold; "
                f"they hold {list(cell_values.columns)}"
            )
        # Only the contrast's own cells: 0 times a missing value elsewhere would be NaN.
        chosen = [positions[cell] for cell in contrast.weights]
        matrix[chosen, column] = list(contrast.weights.values())
        with np.errstate(invalid="ignore", over="ignore"):
            own = product(values[:, chosen], matrix[chosen, column])
            # Thirds of one value don't sum to it: what rounding leaves of nothing is no difference.
            size = product(np.abs(values[:, chosen]), np.abs(matrix[chosen, column]))
            nothing = np.isfinite(size) & (np.abs(own) <= ROUNDING * size)
            result[:, column] = np.where(nothing, 0.0, own)
    return pd.DataFrame(result, index=cell_values.index, columns=[contrast.name for contrast in contrasts])


def wide_cells(records: pd.DataFrame, value: str, *, missing: str = "refuse") -> pd.DataFrame:
    """Long records to one row per example (sorted) and one column per cell.

    Args:
        records: columns example, cell and `value`, one row per example and cell.
        missing: "refuse" raises where an example lacks a cell; "drop" leaves NaN there.

    Raises:
        ValueError: a column is missing, a pair occurs twice, or examples are not paired.
    """
    for column in ("example", "cell", value):
        if column not in records.columns:
            raise ValueError(f"the records have no column {column!r}; they have {list(records.columns)}")
    # Categories without rows (records of other cells) would come back as empty rows and columns.
    records = records.assign(**{key: _plain(records[key]) for key in ("example", "cell")})
    doubled = records.duplicated(["example", "cell"])
    if doubled.any():
        first = records.loc[doubled].iloc[0]
        raise ValueError(
            f"{int(doubled.sum())} rows repeat an example and cell, first example {first['example']!r} "
            f"in cell {first['cell']!r}; expected one row each"
        )
    marked = records[["example", "cell"]].assign(present=1)
    present = marked.pivot(index="example", columns="cell", values="present").notna()
    if missing == "refuse" and not present.to_numpy().all():
        lacking = present.index[~present.all(axis=1)].tolist()
        cells = list(present.columns[~present.loc[lacking[0]].to_numpy()])
        raise ValueError(
            f"{len(lacking)} of {len(present)} examples are unpaired, first {lacking[0]!r} "
            f"without cell {cells[0]!r}; complete the run or leave them out (missing='drop')"
        )
    return records.pivot(index="example", columns="cell", values=value).sort_index()


def _plain(column: pd.Series) -> pd.Series:
    import pandas as pd

    return (
        column.astype(column.cat.categories.dtype)
        if isinstance(column.dtype, pd.CategoricalDtype)
        else column
    )
