"""The tables that ``python -m tests.simulation`` prints."""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pandas as pd

from budgetlens.statistics.locations import TRIMMED_FROM, locations
from budgetlens.statistics.tails import PER_ASYMMETRY, PER_OWN_ASYMMETRY_BETWEEN, UNITS
from tests.simulation import (
    SIZES,
    Population,
    clustered,
    families,
    fitted,
    interactions,
    own_population,
    populations,
    rates,
    ratios,
    summary,
    table,
)
from tests.simulation_shares import SHARE_SAMPLES, layers_alone, shares_of, table_of_shares, worst_of_shares

#: Samples of what is slow: documents, families, maps of heads and bands.
SLOW_SAMPLES = 2_000
DOCUMENTS = 40


def run(options: argparse.Namespace) -> None:
    """Print what is asked for."""
    every = list(populations(options.populations)) if options.populations else [own_population()]
    if options.fit:
        _print_fit(every, options)
        return
    count, seed = options.samples, options.seed
    rows = table(list(itertools.product(every, SIZES)), count, seed)
    _show("Differences, every population", rows)
    _show(f"Differences, the worst population (Monte-Carlo error of {count} samples)", summary(rows, count))
    _show("Median and trimmed mean, coverage", pd.DataFrame(_locations(every, seed)))
    documents = [_of_documents(each, seed) for each in every]
    _show(f"Differences of {DOCUMENTS} documents of 1 to 12 examples", pd.DataFrame(documents))
    if options.populations:
        crossed = list(interactions(options.populations))
        rows = table(list(itertools.product(crossed, SIZES)), count, seed)
        _show("Interactions and differences between conditions, the worst", summary(rows, count))
        pairs = [pair for pair in itertools.permutations(every, 2) if _paired(*pair)]
        found = pd.concat([ratios(pairs, n, SLOW_SAMPLES, seed) for n in SIZES])
        shown = found.groupby("n").agg(
            shown=("shown", "mean"), least=("coverage", "min"), most=("coverage", "max")
        )
        _show("Ratios: shown, and coverage among those shown", shown.reset_index())
        _show(
            "Families under Holm",
            pd.concat([families(options.populations, n, SLOW_SAMPLES, seed) for n in SIZES]),
        )
    if options.heads:
        own = list(shares_of(options.heads))
        rows = table_of_shares(own, SHARE_SAMPLES, seed)
        _show("Shares: null maps with a discovery, null bands with a direction, coverage of bands", rows)
        _show(
            f"The worst contrast (Monte-Carlo error of 6 %: 0.5, {SHARE_SAMPLES} samples)",
            worst_of_shares(rows),
        )
        _show("Every layer and role by itself, the worst", layers_alone(own, SHARE_SAMPLES, seed))


def _paired(one: Population, other: Population) -> bool:
    """Whether two conditions are of the same examples."""
    return one.name.split()[0] == other.name.split()[0]


def _print_fit(every: list[Population], options: argparse.Namespace) -> None:
    """Critical values of differences from the baseline and, of a folder, of those between conditions and of crossings."""
    others = list(interactions(options.populations)) if options.populations else []
    for units, slope, own in zip(UNITS, PER_ASYMMETRY, PER_OWN_ASYMMETRY_BETWEEN, strict=True):
        found = fitted(every, units, slope, options.samples, options.seed)
        told = f"{units:>6} units: {found:.2f}, + {slope} × asymmetry"
        if others:
            between = fitted(others, units, slope, options.samples, options.seed, own=own)
            told += f"; between {between:.2f}, - {own} × asymmetry on the side of the claim"
        print(told)


def _of_documents(population: Population, seed: int) -> dict[str, object]:
    centred = population.difference - population.difference.mean()
    means = clustered(centred, DOCUMENTS, SLOW_SAMPLES, seed)
    return {"population": population.name, **rates(population, means)}


def _locations(every: list[Population], seed: int) -> list[dict[str, object]]:
    """Coverage of the median's interval and, where it is shown, of the trimmed mean's, the worst population."""
    found = []
    for n in SIZES:
        generator = np.random.default_rng([seed, n, 3])
        covered: dict[str, list[float]] = {"median": [], "trimmed": []}
        for each in every:
            drawn = each.difference[generator.integers(0, len(each.difference), (n, SLOW_SAMPLES))]
            own, truth = locations(drawn, 0.95), locations(each.difference[:, None], 0.95)
            covered["median"].append(_coverage(own.median_low, own.median_high, truth.median[0]))
            covered["trimmed"].append(_coverage(own.trimmed_low, own.trimmed_high, truth.trimmed[0]))
        least = {name: min(shares) for name, shares in covered.items()}
        if n < TRIMMED_FROM:
            least["trimmed"] = np.nan
        found.append({"n": n, **least})
    return found


def _coverage(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    return 100 * float(((low <= truth) & (high >= truth)).mean())


def _show(title: str, frame: pd.DataFrame) -> None:
    print(f"\n{title}\n")
    with pd.option_context("display.width", 250, "display.max_columns", None, "display.max_rows", None):
        print(frame.to_string(index=False, float_format=lambda value: f"{value:.1f}"))
