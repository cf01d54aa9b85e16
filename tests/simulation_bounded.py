"""What the statistics of bounded outcomes keep of their promises, at any number of units: a part of ``tests.simulation``.

Populations are distributions of a paired difference between -1 and 1: of answers that few examples change, of one rare large
difference that a sample may lack (with and without noise, which hides that it is lacking), of F1 and reciprocal ranks. Those
whose chance is k in n move with n, so that each n meets its worst. Documents share a part of their examples' draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from budgetlens.statistics.bounded import BoundedMeans, Range, bounded_means

Floats = NDArray[np.float64]

#: Examples, or documents.
UNITS = (3, 5, 8, 12, 20, 35, 50, 100, 200, 500, 1_000)
WITHIN = Range(-1.0, 1.0)
#: Values drawn at once.
BLOCK = 4_000_000
#: Part of a document's examples that share its draw.
SHARED = 0.5


@dataclass(frozen=True)
class Differences:
    """A distribution on finitely many values between -1 and 1."""

    name: str
    values: Floats
    chances: Floats

    @property
    def mean(self) -> float:
        """The true mean."""
        return float(self.values @ self.chances)

    def drawn(self, generator: np.random.Generator, shape: tuple[int, ...]) -> Floats:
        """So many independent draws."""
        places = np.searchsorted(np.cumsum(self.chances)[:-1], generator.random(shape), side="right")
        return self.values[places]


def _of(name: str, values: list[float], chances: list[float]) -> Differences:
    return Differences(name, np.array(values, dtype=float), np.array(chances, dtype=float) / np.sum(chances))


def _between_scores(name: str, scores: Floats, chances: Floats, same: float, better: float) -> Differences:
    """Of two scores that are alike with chance ``same``, and else drawn apart, the other one from tilted chances."""
    tilted = chances * np.exp(better * scores)
    tilted /= tilted.sum()
    joint = (1 - same) * np.outer(chances, tilted) + same * np.diag(chances)
    differences = np.round(scores[None, :] - scores[:, None], 9)
    values, places = np.unique(differences, return_inverse=True)
    weights = np.bincount(places.reshape(-1), joint.reshape(-1), len(values))
    return Differences(name, values, weights)


def at(units: int) -> Iterator[Differences]:
    """The populations of one number of units."""
    for k in (0.3, 1.0, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0):
        chance = min(0.5, k / units)
        # Of one that is right where a small harm is everywhere else: a true mean of 0 that looks like harm.
        yield _of(f"one rare gain, {k:g} in n", [0.0, 1.0], [1 - chance, chance])
        yield _of(f"rare gain, small harms, {k:g} in n", [-chance / (1 - chance), 1.0], [1 - chance, chance])
        noise = np.linspace(-0.05, 0.05, 5)
        yield _of(
            f"rare gain in noise, {k:g} in n",
            [*noise, 1.0],
            [*(np.full(5, (1 - chance) / 5)), chance],
        )
    for differing in (0.02, 0.1, 0.4):
        for lean in (0.0, 0.5, 1.0):
            up = differing * (1 + lean) / 2
            yield _of(
                f"answers, {differing:g} differ, lean {lean:g}",
                [-1.0, 0.0, 1.0],
                [differing - up, 1 - differing, up],
            )
    grid = np.linspace(0, 1, 21)
    words = stats.beta(0.4, 0.4).pdf(np.clip(grid, 0.02, 0.98))
    words /= words.sum()
    ranks = 1 / np.arange(1.0, 11.0)
    likely = 0.6 ** np.arange(10)
    likely /= likely.sum()
    for same in (0.5, 0.9):
        for better in (0.0, 0.7):
            yield _between_scores(f"F1, {same:g} alike, {better:g}", grid, words, same, better)
            yield _between_scores(f"reciprocal rank, {same:g} alike, {better:g}", ranks, likely, same, better)


def samples(population: Differences, units: int, count: int, generator: np.random.Generator) -> BoundedMeans:
    """Means of independent examples, a column a sample."""
    return bounded_means(population.drawn(generator, (units, count)), WITHIN, None, units)


def in_documents(
    population: Differences, documents: int, count: int, generator: np.random.Generator, *, unequal: bool
) -> BoundedMeans:
    """The same of examples in documents, four each or one to seven: a draw of its document's, or one of its own."""
    sizes = generator.integers(1, 8, documents) if unequal else np.full(documents, 4)
    labels = np.repeat(np.arange(documents), sizes)
    common = population.drawn(generator, (documents, count))[labels]
    own = population.drawn(generator, (len(labels), count))
    values = np.where(generator.random(own.shape) < SHARED, common, own)
    return bounded_means(values, WITHIN, labels, documents)


def _joined(parts: list[BoundedMeans]) -> BoundedMeans:
    estimate = np.concatenate([part.estimate for part in parts])
    return replace(parts[0], estimate=estimate, error=np.concatenate([part.error for part in parts]))


def rates(means: BoundedMeans, truth: float) -> dict[str, float]:
    """Percent of samples whose interval misses the mean, on either side, and that call it a difference or none falsely."""
    low, high = means.interval(0.95)
    found: dict[str, float] = {
        "above": 100 * float((low > truth + 1e-12).mean()),
        "below": 100 * float((high < truth - 1e-12).mean()),
    }
    found["coverage"] = 100 - found["above"] - found["below"]
    if abs(truth) < 1e-12:
        found["false"] = 100 * float((means.p_difference < 0.05).mean())
    else:
        # The mean lies on the bound: whoever calls it none is wrong.
        found["none at the bound"] = 100 * float((means.p_equivalence(abs(truth)) < 0.05).mean())
    return found


def table(units: tuple[int, ...], count: int, seed: int) -> pd.DataFrame:
    """One row per number of units, kind of sample and population; a block of samples shares its documents' sizes."""
    kinds: dict[str, Callable[..., BoundedMeans]] = {
        "examples": samples,
        "documents of four": lambda *given: in_documents(*given, unequal=False),
        "documents of one to seven": lambda *given: in_documents(*given, unequal=True),
    }
    rows = []
    for number in units:
        for place, (kind, drawn) in enumerate(kinds.items()):
            generator = np.random.default_rng([seed, number, place])
            for population in at(number):
                together = max(1, BLOCK // (4 * number))
                counts = [min(together, count - start) for start in range(0, count, together)]
                means = _joined([drawn(population, number, each, generator) for each in counts])
                rows.append(
                    {
                        "units": number,
                        "of": kind,
                        "population": population.name,
                        **rates(means, population.mean),
                    }
                )
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """The worst over the populations, by kind and number of units."""
    grouped = rows.groupby(["of", "units"], sort=False)
    return pd.DataFrame(
        {
            "false": grouped["false"].max(),
            "none at the bound": grouped["none at the bound"].max(),
            "least coverage": grouped["coverage"].min(),
            "median coverage": grouped["coverage"].median(),
        }
    ).reset_index()
