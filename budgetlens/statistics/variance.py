"""Repeated-measures analysis of variance for fully crossed within-example designs of any size."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from budgetlens.statistics.contrasts import parse_cell
from budgetlens.statistics.products import product

NAN = float("nan")
STATISTICS = (
    "f",
    "p",
    "epsilon_greenhouse_geisser",
    "p_greenhouse_geisser",
    "epsilon_huynh_feldt",
    "p_huynh_feldt",
    "partial_eta_squared",
)


def repeated_measures_anova(
    cell_values: pd.DataFrame,
    factors: Mapping[str, Sequence[str]],
    cells: Mapping[str, Mapping[str, str]] | None = None,
) -> pd.DataFrame:
    """F tests of every main effect and interaction, each against its own interaction with examples.

    Args:
        cell_values: index example, one column per cell (see `budgetlens.statistics.contrasts.wide_cells`).
        factors: factor to its levels, fully crossed by the columns; columns of other levels are not used.
        cells: cell name to factor levels; by default the canonical names are parsed.

    Returns:
        One row per effect: effect, n, df, df_error, sum_of_squares, sum_of_squares_error, f, p (sphericity
            assumed),
        epsilon and p after Greenhouse and Geisser (1959) and after Huynh and Feldt (1976, with the bound at
        1), partial_eta_squared, reason. With two levels per factor epsilon is 1 and all three p agree.

    Raises:
        ValueError: a crossing has no cell or several.
    """
    matrix = cell_values[_crossed(cell_values.columns, factors, cells)].to_numpy(dtype=np.float64)
    n = matrix.shape[0]
    bad = int((~np.isfinite(matrix)).any(axis=1).sum())
    problem = ""
    if bad:
        problem = f"{bad} of {n} examples are NaN or infinite"
    elif n < 2:
        problem = "fewer than two examples: no error term"
    names = list(factors)
    rows = []
    for order in range(1, len(names) + 1):
        for chosen in itertools.combinations(names, order):
            weights = _orthonormal(
                [len(factors[name]) if name in chosen else -len(factors[name]) for name in names]
            )
            rows.append({"effect": " × ".join(chosen), "n": n, **_effect(matrix, weights, problem)})
    return pd.DataFrame(rows)


def _effect(matrix: NDArray[np.float64], weights: NDArray[np.float64], problem: str) -> dict[str, object]:
    """One row of the table from orthonormal contrast scores, shape [examples, df]."""
    n, df = matrix.shape[0], weights.shape[1]
    row: dict[str, object] = {
        "df": df,
        "df_error": df * (n - 1),
        "sum_of_squares": NAN,
        "sum_of_squares_error": NAN,
    }
    row |= dict.fromkeys(STATISTICS, NAN) | {"reason": problem}
    if problem:
        return row
    scores = product(matrix, weights)
    mean = scores.mean(axis=0)
    explained = float(n * (mean**2).sum())
    covariance = product((scores - mean).T, scores - mean) / (n - 1)
    error = float(np.trace(covariance) * (n - 1))
    row |= {"sum_of_squares": explained, "sum_of_squares_error": error}
    # Orthonormal scores of equal rows are 0 but for rounding of the values themselves.
    if error <= 1e-20 * float((matrix**2).sum()):
        return row | {"reason": "examples do not differ in this effect: no error term"}
    f = (explained / df) / (error / (df * (n - 1)))
    epsilon = float(np.trace(covariance) ** 2 / (df * np.trace(product(covariance, covariance))))
    return row | {
        "f": f,
        "p": _upper_tail(f, df, n, 1.0),
        "epsilon_greenhouse_geisser": epsilon,
        "p_greenhouse_geisser": _upper_tail(f, df, n, epsilon),
        **_huynh_feldt(f, df, n, epsilon),
        "partial_eta_squared": explained / (explained + error),
    }


def _upper_tail(f: float, df: int, n: int, epsilon: float) -> float:
    return float(special.fdtrc(epsilon * df, epsilon * df * (n - 1), f))


def _huynh_feldt(f: float, df: int, n: int, epsilon: float) -> dict[str, float]:
    """Huynh and Feldt (1976, eq. 4): less conservative, never above 1; undefined with too few examples."""
    remaining = df * (n - 1 - df * epsilon)
    if remaining <= 0:
        return {"epsilon_huynh_feldt": 1.0, "p_huynh_feldt": _upper_tail(f, df, n, 1.0)}
    adjusted = min(1.0, (n * df * epsilon - 2) / remaining)
    return {"epsilon_huynh_feldt": adjusted, "p_huynh_feldt": _upper_tail(f, df, n, adjusted)}


def _crossed(
    columns: Iterable[str],
    factors: Mapping[str, Sequence[str]],
    cells: Mapping[str, Mapping[str, str]] | None,
) -> list[str]:
    """Columns in the order of the crossing, last factor fastest."""
    levels = {cell: (parse_cell(cell) if cells is None else cells[cell]) for cell in columns}
    chosen = []
    for crossing in itertools.product(*factors.values()):
        wanted = dict(zip(factors, crossing, strict=True))
        found = [
            cell for cell, own in levels.items() if all(own.get(f) == level for f, level in wanted.items())
        ]
        if len(found) != 1:
            raise ValueError(f"{len(found)} cells cross {wanted}; an analysis of variance needs exactly one")
        chosen.append(found[0])
    return chosen


def _orthonormal(sizes: Sequence[int]) -> NDArray[np.float64]:
    """Kronecker product of orthonormal contrasts (size > 0) and means (size < 0), shape [cells, df]."""
    weights = np.ones((1, 1))
    for size in sizes:
        count = abs(size)
        if size < 0:
            part = np.full((count, 1), 1 / np.sqrt(count))
        else:
            # Orthonormal basis of the complement of the constant vector.
            part = np.linalg.qr(np.column_stack([np.ones(count), np.eye(count)[:, : count - 1]]))[0][:, 1:]
        weights = np.kron(weights, part)
    return weights
