"""What the statistics keep of their promises, in samples of real differences: ``python -m tests.simulation``.

Populations are differences of answer NLL between a baseline and conditions, resampled with replacement: centred on 0 they
tell how often a direction is claimed that is not there; moved to the smallest difference that matters, how often *no effect*
is; moved beyond it, how often what is there is found. Outcomes between 0 and 1 have distributions made to mislead
(:mod:`tests.simulation_bounded`). The project's tests hold one population
(``tests/populations/differences.csv``); ``--populations FOLDER`` reads every CSV file of a folder, of which the first column
of values is the baseline, and judges ratios, interactions and families besides. ``--heads RUN`` takes the shares of a
finished run. Everything is seeded.

Columns of the table: shares of samples in percent, with the Monte-Carlo standard error of the largest one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from budgetlens.statistics.decisions import coverage_cautions
from budgetlens.statistics.tails import TailedMeans, tailed, unit_sums

Floats = NDArray[np.float64]

OWN = Path(__file__).parent / "populations" / "differences.csv"
OWN_BETWEEN = Path(__file__).parent / "populations" / "between.csv"
SIZES = (20, 50, 100, 200, 500, 1_000)
SAMPLES = 10_000
#: Smallest difference that matters, as a part of the baseline's mean.
SMALLEST = 0.05
#: Mean answer NLL, in nats, of the baseline that the project's own population is of.
OWN_BASELINE = 3.676
#: Values drawn at once.
BLOCK = 4_000_000


@dataclass(frozen=True)
class Population:
    """Differences of one condition with a baseline, shape [examples], in nats."""

    name: str
    difference: Floats
    baseline_mean: float
    between: bool = False
    """Whether it is no difference from a baseline: one between conditions, or a difference of differences."""

    @property
    def bound(self) -> float:
        """The smallest difference that matters, in nats."""
        return SMALLEST * self.baseline_mean


def own_population() -> Population:
    """The one that the project holds: 500 differences of a public run, skew 10, kurtosis 136."""
    values = pd.read_csv(OWN)["difference"].to_numpy(dtype=np.float64)
    return Population("own", values, OWN_BASELINE)


def own_between() -> Population:
    """500 differences between two prefixes of the same run: of all pairs those that err most under the other's values."""
    values = pd.read_csv(OWN_BETWEEN)["difference"].to_numpy(dtype=np.float64)
    return Population("own between", values, OWN_BASELINE, between=True)


def populations(folder: Path) -> Iterator[Population]:
    """Every condition of every file of a folder against the file's first column of values."""
    for path in sorted(folder.glob("*.csv")):
        frame = pd.read_csv(path).drop(columns="example", errors="ignore")
        baseline = frame.iloc[:, 0].to_numpy(dtype=np.float64)
        for name in frame.columns[1:]:
            difference = baseline - frame[name].to_numpy(dtype=np.float64)
            yield Population(f"{path.stem} {name}", difference, float(baseline.mean()))


def interactions(folder: Path) -> Iterator[Population]:
    """Differences between conditions, and of two conditions from two others: what crossings of factors give."""
    for path in sorted(folder.glob("*.csv")):
        frame = pd.read_csv(path).drop(columns="example", errors="ignore")
        baseline, *conditions = (frame[name].to_numpy(dtype=np.float64) for name in frame.columns)
        names = list(frame.columns[1:])
        for place in range(len(names)):
            one, two, three = (conditions[(place + step) % len(names)] for step in range(3))
            if len(names) > 2:
                mean = float(baseline.mean())
                yield Population(f"{path.stem} {names[place]} between", one - two, mean, between=True)
                crossed = baseline - one - two + three
                yield Population(f"{path.stem} {names[place]} crossed", crossed, mean, between=True)


def samples(values: Floats, n: int, count: int, seed: int) -> TailedMeans:
    """Means of samples of n, as the statistics see them: one column per sample."""
    generator = np.random.default_rng([seed, n])
    together = max(1, BLOCK // n)
    found = []
    for start in range(0, count, together):
        drawn = generator.integers(0, len(values), (n, min(together, count - start)))
        sample = values[drawn]
        found.append(tailed(sample.mean(axis=0), sample))
    return _joined(found, n)


def clustered(values: Floats, documents: int, count: int, seed: int) -> TailedMeans:
    """The same with documents of 1 to 12 examples, which share half of the variation of their differences."""
    generator = np.random.default_rng([seed, documents])
    found = []
    for _ in range(count):
        sizes = generator.integers(1, 13, documents)
        labels = np.repeat(np.arange(documents), sizes)
        own = values[generator.integers(0, len(values), labels.size)]
        common = values[generator.integers(0, len(values), documents)][labels]
        sample = ((own + common) / 2)[:, None]
        mean = sample.mean(axis=0)
        found.append(tailed(mean, unit_sums((sample - mean) / len(sample), labels, documents) * documents))
    return _joined(found, documents)


def _joined(parts: Sequence[TailedMeans], units: int) -> TailedMeans:
    return TailedMeans(
        np.concatenate([part.estimate for part in parts]),
        np.concatenate([part.error for part in parts]),
        np.concatenate([part.asymmetry for part in parts]),
        units,
    )


def moved(means: TailedMeans, by: float) -> TailedMeans:
    """The same samples with every value moved."""
    return replace(means, estimate=means.estimate + by)


def rates(population: Population, means: TailedMeans) -> dict[str, float]:
    """Percent of samples in which each thing happens, of samples whose mean is 0 as drawn from a centred population."""
    bound = population.bound
    low, high = means.interval(0.95)
    student = np.abs(means.estimate / means.error)
    critical = float(np.nanquantile(student, 0.95))
    found: dict[str, float] = {"helps": (low > 0).mean(), "hurts": (high < 0).mean()}
    for sign, name in ((1, "+"), (-1, "-")):
        at = moved(means, sign * bound)
        found[f"none at {name}1"] = (at.p_equivalence(bound) < 0.05).mean()
        for size in (1, 2):
            there = moved(means, sign * size * bound)
            ends = there.interval(0.95)
            power = (ends[0] > 0).mean() if sign > 0 else (ends[1] < 0).mean()
            reference = (sign * there.estimate / there.error > critical).mean()
            found[f"power {name}{size}"] = power
            # Of what almost nobody finds there is no part to speak of.
            found[f"of t {name}{size}"] = power / reference if reference > 0.05 else np.nan
    found["coverage"] = ((low <= 0) & (high >= 0)).mean()
    return {name: 100 * float(share) for name, share in found.items()}


def table(pairs: Sequence[tuple[Population, int]], count: int, seed: int) -> pd.DataFrame:
    """One row of :func:`rates` per population and number of examples."""
    rows = []
    for population, n in pairs:
        centred = population.difference - population.difference.mean()
        means = replace(samples(centred, n, count, seed), between=population.between)
        named = {"n": n, "population": population.name, "between": population.between}
        rows.append({**named, **rates(population, means)})
    return pd.DataFrame(rows)


def summary(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """The worst of every column over the populations, by number of examples; which intervals carry a caution."""
    grouped = rows.groupby("n")
    # Beside the power that is found, the least part of what a t test of size 5 % finds.
    least = [name for name in rows.columns if name.startswith(("power", "of t"))]
    worst = grouped[["helps", "hurts", "none at +1", "none at -1"]].max()
    worst["false"] = (rows["helps"] + rows["hurts"]).groupby(rows["n"]).max()
    worst["least coverage"] = grouped["coverage"].min()
    worst["most coverage"] = grouped["coverage"].max()
    worst = worst.join(grouped[least].min())
    between = bool(rows["between"].any())
    worst["cautioned"] = ["yes" if coverage_cautions(n, between=between) else "no" for n in worst.index]
    share = worst["false"] / 100
    worst["error"] = 100 * np.sqrt(share * (1 - share) / count)
    return worst.reset_index()


def ratios(pairs: Sequence[tuple[Population, Population]], n: int, count: int, seed: int) -> pd.DataFrame:
    """Coverage of ratios of two conditions' differences over the same examples, among those that are shown."""
    rows = []
    for top, bottom in pairs:
        generator = np.random.default_rng([seed, n, 1])
        drawn = generator.integers(0, len(top.difference), (n, count))
        numerator, denominator = top.difference[drawn], bottom.difference[drawn]
        low, high = tailed(denominator.mean(axis=0), denominator).interval(0.95)
        shown = ((low > 0) | (high < 0)) & (np.abs(denominator.mean(axis=0)) >= bottom.bound)
        estimate = numerator.mean(axis=0) / denominator.mean(axis=0)
        ratio = tailed(
            estimate, (numerator - estimate * denominator) / denominator.mean(axis=0), between=True
        )
        ends = ratio.interval(0.95)
        truth = top.difference.mean() / bottom.difference.mean()
        covered = (ends[0] <= truth) & (ends[1] >= truth)
        rows.append(
            {
                "n": n,
                "population": f"{top.name} / {bottom.name}",
                "shown": 100 * float(shown.mean()),
                "coverage": 100 * float(covered[shown].mean()) if shown.any() else np.nan,
            }
        )
    return pd.DataFrame(rows)


def families(folder: Path, n: int, count: int, seed: int) -> pd.DataFrame:
    """How often a family of all conditions of a file, none of which does anything, has a false direction under Holm."""
    from budgetlens.statistics.adjustment import adjusted_p

    rows = []
    for path in sorted(folder.glob("*.csv")):
        own = [each for each in populations(folder) if each.name.startswith(f"{path.stem} ")]
        centred = np.column_stack([each.difference - each.difference.mean() for each in own])
        generator = np.random.default_rng([seed, n, 2])
        false = 0
        for _ in range(count):
            sample = centred[generator.integers(0, len(centred), n)]
            p = tailed(sample.mean(axis=0), sample).p_difference
            false += bool((adjusted_p(p) < 0.05).any())
        rows.append({"n": n, "family": path.stem, "tests": len(own), "false": 100 * false / count})
    return pd.DataFrame(rows)


def fitted(
    every: Sequence[Population], n: int, slope: float, count: int, seed: int, *, own: float = 0.0
) -> float:
    """The critical value at one number of units under which the worst population errs in 5.5 % of samples.

    ``slope`` and ``own`` are what is added per unit of asymmetry against and with the claim.
    """
    drawn = [samples(each.difference - each.difference.mean(), n, count, seed) for each in every]
    student = float(stats.t.ppf(0.975, n - 1))

    def worst(critical: float) -> float:
        errors = []
        for means in drawn:
            t = np.nan_to_num(means.estimate / means.error)
            skewed = means.asymmetry
            above, below = (
                np.maximum(student, critical + slope * np.maximum(a, 0) + own * np.minimum(a, 0))
                for a in (skewed, -skewed)
            )
            errors.append(((t < -above) | (t > below)).mean())
        return max(errors)

    low, high = 0.0, 25.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if worst(middle) > 0.055 else (low, middle)
    return high


def main() -> None:
    """Print the tables."""
    from tests.simulation_tables import run

    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.split("\n")[0])
    parser.add_argument("--populations", type=Path, metavar="FOLDER", help="CSV files of real values")
    parser.add_argument("--heads", type=Path, metavar="RUN", help="a finished run whose shares are resampled")
    parser.add_argument("--samples", type=int, default=SAMPLES, metavar="N")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--fit", action="store_true", help="fit the critical values again, and nothing else")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
