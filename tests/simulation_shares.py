"""What bands over layers and maps of heads keep of their promises, in resampled shares of attention.

``python -m tests.simulation --heads RUN`` prints the tables for every contrast of a finished run, centred head by head, so
that nothing is there to be found; whole examples are drawn, which keeps what heads and layers have in common. The project
holds one such contrast (``tests/populations/shares.npz``, of exp08 on the built-in model, 200 examples), the one whose maps
err most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.runs.run import Run
from budgetlens.statistics.adjustment import false_discovery_q
from budgetlens.statistics.bands import FALSE_DISCOVERIES, MAPPED_FROM, ROUNDING
from budgetlens.statistics.decisions import coverage_cautions
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.permutations import max_statistic
from budgetlens.statistics.tails import tailed
from tests.simulation import SIZES, SMALLEST, Population, rates, samples

Floats = NDArray[np.float64]

OWN_SHARES = Path(__file__).parent / "populations" / "shares.npz"
#: Sign patterns of each sample.
SIGN_PATTERNS = 199
SHARE_SAMPLES = 2_000
#: Smallest difference of a share that matters.
ONE_POINT = 0.01


@dataclass(frozen=True)
class Shares:
    """One contrast of shares by example, centred on 0; columns that do not vary are left out."""

    contrast: str
    layers: Floats
    """Over heads, shape [example, layer and role]."""
    roles: NDArray[np.int64]
    """The role of each of those columns."""
    heads: Floats
    """Shape [example, layer and head and role]."""


def shares(contrast: str, differences: Floats) -> Shares:
    """One contrast, of differences of shape [example, layer, head, role]."""
    centred = differences - differences.mean(axis=0)
    examples, layers, _, roles = centred.shape
    over_heads, heads = centred.mean(axis=2).reshape(examples, -1), centred.reshape(examples, -1)
    vary = np.ptp(over_heads, axis=0) > 10 * ROUNDING
    role_of = np.tile(np.arange(roles), layers)
    seen = heads[:, np.ptp(heads, axis=0) > 10 * ROUNDING]
    return Shares(contrast, over_heads[:, vary], role_of[vary], seen)


def own_shares() -> Shares:
    """The one that the project holds."""
    with np.load(OWN_SHARES) as stored:
        return shares(str(stored["contrast"]), stored["differences"].astype(np.float64))


def shares_of(path: str) -> Iterator[Shares]:
    """Every contrast of shares of a finished run."""
    run = Run.open(path)
    for array in run.observed("budgets"):
        for contrast in run.plan.share_contrasts:
            cells = [
                weight * array.values[array.cells.index(cell)].astype(np.float64)
                for cell, weight in contrast.weights.items()
            ]
            yield shares(contrast.name, np.sum(cells, axis=0))


def rates_of_shares(own: Shares, n: int, count: int, seed: int) -> dict[str, float]:
    """Percent of samples of n examples in which nothing is there and each thing happens.

    A discovery in the map of heads, whatever n; of the worst role, a fall or a rise of a layer; of the role that is covered
    least and most, a band that holds every layer.
    """
    generator = np.random.default_rng([seed, n, 4])
    # Columns of one role, as a matrix from columns to roles.
    members = own.roles[:, None] == np.unique(own.roles)
    discovered = 0
    below, above, found = np.zeros((3, count, members.shape[1]), dtype=bool)
    for number in range(count):
        drawn = generator.integers(0, len(own.layers), n)
        sample = own.heads[drawn]
        q = false_discovery_q(tailed(sample.mean(axis=0), sample).p_of_many)
        discovered += bool((q <= FALSE_DISCOVERIES).any())
        inference = Inference(seed=seed + number, resamples=SIGN_PATTERNS)
        band = max_statistic(own.layers[drawn], own.roles, inference)
        low, high = band["band_low"] > 0, band["band_high"] < 0
        below[number], above[number] = high @ members, low @ members
        found[number] = ((band["p_simultaneous"] < inference.alpha) & (low | high)) @ members
    outside = (below | above).mean(axis=0)
    return {
        "discovery": 100 * discovered / count,
        "falls": 100 * float((above & found).mean(axis=0).max()),
        "rises": 100 * float((below & found).mean(axis=0).max()),
        "direction": 100 * float(found.mean(axis=0).max()),
        "least coverage": 100 * float(1 - outside.max()),
        "most coverage": 100 * float(1 - outside.min()),
    }


def table_of_shares(every: Iterable[Shares], count: int, seed: int) -> pd.DataFrame:
    """One row of :func:`rates_of_shares` per contrast and number of examples."""
    return pd.DataFrame(
        {"n": n, "contrast": own.contrast, **rates_of_shares(own, n, count, seed)}
        for own in every
        for n in SIZES
    )


def worst_of_shares(rows: pd.DataFrame) -> pd.DataFrame:
    """The worst contrast by number of examples, whether a map is shown and whether a band carries a caution."""
    grouped = rows.groupby("n")
    worst = grouped[["discovery", "falls", "rises", "direction"]].max()
    worst["least coverage"] = grouped["least coverage"].min()
    worst["most coverage"] = grouped["most coverage"].max()
    worst["mapped"] = ["yes" if n >= MAPPED_FROM else "no" for n in worst.index]
    worst["cautioned"] = ["yes" if coverage_cautions(n, between=True) else "no" for n in worst.index]
    return worst.reset_index()


def layers_alone(every: Iterable[Shares], count: int, seed: int) -> pd.DataFrame:
    """:func:`tests.simulation.rates` of every layer and role by itself, the worst by number of examples.

    Equivalence is tested of single layers (then corrected over them); direction and coverage are stricter in a band.
    """
    rows = []
    for own in every:
        for place, role in enumerate(own.roles):
            # The bound is a point, given as the part of a mean that populations have.
            population = Population(f"{own.contrast} {role}", own.layers[:, place], ONE_POINT / SMALLEST)
            for n in SIZES:
                means = samples(population.difference, n, count, seed)
                rows.append({"n": n, **rates(population, means)})
    grouped = pd.DataFrame(rows).groupby("n")
    worst = grouped[["helps", "hurts", "none at +1", "none at -1"]].max()
    return worst.join(grouped[["coverage"]].min()).reset_index()
