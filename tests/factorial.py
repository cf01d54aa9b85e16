"""Effects of full crossings, written down cell by cell: what the algebra of effects is held against."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from budgetlens.statistics.contrasts import Contrast, averaged, effect_words, parse_cell


def factor_contrast(
    cells: Iterable[str] | Mapping[str, Mapping[str, str]],
    factors: Mapping[str, tuple[str, str]],
    *,
    family: str,
    at: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Contrast:
    """Main effect, simple effect or interaction: product of (baseline - treatment) over the named factors.

    Args:
        cells: canonical cell names, or a mapping from any cell name to its factor levels.
        factors: factor to its (baseline, treatment) levels; one factor gives a main or simple effect, two a
            difference of differences, and so on.
        family: the family of tests it belongs to.
        at: other factors held at a level (a simple effect); factors not named at all are averaged over.
        name: defaults to a description.

    Raises:
        ValueError: a crossing needed is missing, so that the average over the other factors would be
            unbalanced.
    """
    held = dict(at or {})
    levels = _levels(cells)
    weights: dict[str, float] = {}
    corners: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for cell, own in levels.items():
        unknown = [factor for factor in (*factors, *held) if factor not in own]
        if unknown:
            raise ValueError(f"cell {cell!r} has no factor {unknown[0]!r}; it has {sorted(own)}")
        if any(own[factor] != level for factor, level in held.items()):
            continue
        if any(own[factor] not in pair for factor, pair in factors.items()):
            continue
        corner = tuple(own[factor] for factor in factors)
        free = sorted(set(own) - set(factors) - set(held))
        corners.setdefault(corner, []).append(tuple(own[factor] for factor in free))
        weights[cell] = float(np.prod([1 if own[f] == pair[0] else -1 for f, pair in factors.items()]))
    wanted = list(itertools.product(*factors.values()))
    rests = sorted(corners.get(wanted[0], []))
    for corner in wanted:
        if not corners.get(corner) or sorted(corners[corner]) != rests:
            raise ValueError(
                f"the cells do not cross {dict(factors)} fully"
                + (f" at {held}" if held else "")
                + f": {corner} has {len(corners.get(corner, []))} cells, {wanted[0]} has {len(rests)}"
            )
    weights = averaged({(cell,): weight for cell, weight in weights.items()}, len(factors))
    return Contrast(name or effect_words(factors, held), family, weights, order=len(factors))


def factorial_contrasts(
    cells: Iterable[str] | Mapping[str, Mapping[str, str]],
    factors: Mapping[str, Sequence[str]],
    *,
    family: str,
    simple_effects: bool = True,
) -> list[Contrast]:
    """Every main effect, interaction and simple effect of a full crossing, each as a per-example contrast.

    Args:
        cells: as in `factor_contrast`.
        factors: factor to its levels; the first level is the baseline that the others are compared with.
        family: prefix of the families: `family: main effects`, `family: interactions`, `family: simple
            effects`.
        simple_effects: also give each effect of one factor at every crossing of the others.
    """
    levels = _levels(cells)
    contrasts: list[Contrast] = []
    names = list(factors)
    for order in range(1, len(names) + 1):
        kind = "main effects" if order == 1 else "interactions"
        for chosen in itertools.combinations(names, order):
            for treatments in itertools.product(*(list(factors[factor])[1:] for factor in chosen)):
                pairs = {f: (factors[f][0], t) for f, t in zip(chosen, treatments, strict=True)}
                contrasts.append(factor_contrast(levels, pairs, family=f"{family}: {kind}"))
    if simple_effects and len(names) > 1:
        for factor in names:
            others = [other for other in names if other != factor]
            for treatment in list(factors[factor])[1:]:
                for held in itertools.product(*(factors[other] for other in others)):
                    contrasts.append(
                        factor_contrast(
                            levels,
                            {factor: (factors[factor][0], treatment)},
                            family=f"{family}: simple effects",
                            at=dict(zip(others, held, strict=True)),
                        )
                    )
    return contrasts


def _levels(cells: Iterable[str] | Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    if isinstance(cells, Mapping):
        return {cell: dict(levels) for cell, levels in cells.items()}
    return {cell: parse_cell(cell) for cell in cells}
