"""The tables that ``python -m tests.simulation`` prints."""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pandas as pd

from budgetlens.runs.run import Run
from budgetlens.statistics.bands import MAPPED_FROM, head_map, share_differences
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.locations import TRIMMED_FROM, locations
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.tails import PER_ASYMMETRY, UNITS
from budgetlens.tables.probes import headline_shares
from tests import simulation_bounded
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

#: Samples of what is slow: documents, families, maps of heads and bands.
SLOW_SAMPLES = 2_000
#: Heads and layers are many, and sign flips are drawn for each sample.
SHARE_SAMPLES = 200
DOCUMENTS = 40
SHARE = Quantity("share", "share", "fraction", smallest_difference=0.01, part_of_whole=True)


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
    bounded = simulation_bounded.table(simulation_bounded.UNITS, count, seed)
    _show("Outcomes between 0 and 1, the worst population", simulation_bounded.summary(bounded))
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
        _show(
            "Shares: null maps with a discovery, null bands with a direction, coverage of bands",
            heads(options.heads, seed),
        )


def _paired(one: Population, other: Population) -> bool:
    """Whether two conditions are of the same examples."""
    return one.name.split()[0] == other.name.split()[0]


def _print_fit(every: list[Population], options: argparse.Namespace) -> None:
    """Critical values of differences from the baseline and, of a folder, of those between conditions and of crossings."""
    others = list(interactions(options.populations)) if options.populations else []
    for units, slope in zip(UNITS, PER_ASYMMETRY, strict=True):
        found = fitted(every, units, slope, options.samples, options.seed)
        own = f"; between {fitted(others, units, slope, options.samples, options.seed):.2f}" if others else ""
        print(f"{units:>6} units: {found:.2f}{own}, + {slope} × asymmetry")


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


def heads(path: str, seed: int) -> pd.DataFrame:
    """Resampled, centred shares of the headline contrasts of a run: false discoveries and bands that miss."""
    run_ = Run.open(path)
    arrays = run_.observed("budgets")
    rows = []
    for array, contrast in itertools.product(arrays, headline_shares(run_.plan)):
        centred = _centred(array, contrast)
        for n in SIZES:
            rows.append({"n": n, "contrast": contrast.name, **_shares(centred, n, seed)})
    found = pd.DataFrame(rows).drop(columns="contrast").groupby("n").agg(["median", "max", "min"])
    found.columns = [f"{name} {part}" for name, part in found.columns]
    return found.reset_index()


def _centred(array: BudgetArray, contrast: Contrast) -> BudgetArray:
    """The contrast of every head as one cell, centred on 0, beside a cell of zeros."""
    value = sum(weight * array.values[array.cells.index(cell)] for cell, weight in contrast.weights.items())
    value = value - np.nanmean(value, axis=0)
    # What is rounding alone stays what it is: nothing is tested there.
    return BudgetArray(
        array.stack,
        array.block,
        ("a", "b"),
        array.examples,
        array.layers,
        array.heads,
        array.roles,
        np.stack([value, np.zeros_like(value)]).astype(np.float32),
    )


def _shares(array: BudgetArray, n: int, seed: int) -> dict[str, float]:
    generator = np.random.default_rng([seed, n, 4])
    contrast = [comparison("a", "b", "f")]
    inference = Inference(seed=seed, resamples=199, smallest_difference=0.01)
    discovered, directed, covering = 0, [], []
    for _ in range(SHARE_SAMPLES):
        drawn = generator.integers(0, len(array.examples), n)
        sample = BudgetArray(
            array.stack,
            array.block,
            array.cells,
            tuple(range(n)),
            array.layers,
            array.heads,
            array.roles,
            array.values[:, drawn],
        )
        if n >= MAPPED_FROM:
            discovered += bool(head_map([sample], contrast)["discovered"].any())
        bands = share_differences([sample], contrast, inference, SHARE)
        banded = bands[bands["band_low"].notna()]
        by_role = banded.assign(
            out=(banded["band_low"] > 0) | (banded["band_high"] < 0),
            found=banded["kind"].isin(("positive", "negative")),
        ).groupby("role")
        directed.append(by_role["found"].any())
        covering.append(~by_role["out"].any())
    return {
        "discovery": 100 * discovered / SHARE_SAMPLES if n >= MAPPED_FROM else np.nan,
        "direction in a role": 100 * float(pd.DataFrame(directed).mean().max()),
        "coverage of bands": 100 * float(pd.DataFrame(covering).mean().min()),
    }


def _show(title: str, frame: pd.DataFrame) -> None:
    print(f"\n{title}\n")
    with pd.option_context("display.width", 250, "display.max_columns", None, "display.max_rows", None):
        print(frame.to_string(index=False, float_format=lambda value: f"{value:.1f}"))
