"""Strata of examples, trends over them, and random seeds as a random factor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.statistics.decisions import coverage_cautions, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import rows_per_block
from budgetlens.statistics.paired import PairedEffect, one_sample_effects
from budgetlens.statistics.products import product
from budgetlens.statistics.tails import tailed

NAN = float("nan")

ANSWER_LENGTH_EDGES = (1, 3, 6, 11, 21)
"""Lower edges, in words, of the published bins 1-2, 3-5, 6-10, 11-20 and 21 or more."""
FACTOID_EDGES = (1, 6)
"""Lower edges of the published split: at most 5 words against more."""


def length_strata(lengths: pd.Series, edges: Sequence[int] = ANSWER_LENGTH_EDGES) -> pd.Series:
    """Ordered strata of whole-number lengths (answer words, document tokens).

    Args:
        lengths: index example, value a length.
        edges: first length of each stratum, increasing; the last stratum is open.

    Returns:
        Ordered categorical with labels such as "1-2" and "21+"; lengths below the first edge are missing.
    """
    labels = [str(low) if high - low == 1 else f"{low}-{high - 1}" for low, high in itertools.pairwise(edges)]
    return pd.cut(lengths, [*edges, np.inf], right=False, labels=[*labels, f"{edges[-1]}+"])


def quantile_strata(values: pd.Series, count: int = 5) -> pd.Series:
    """Ordered strata of equal size, "1 of 5" (smallest values) to "5 of 5"; ties go in order of the index.

    Mind that baseline - treatment depends on the baseline by arithmetic: strata of the baseline's own NLL
    show a trend under no effect at all (regression to the mean). Strata of the mean of baseline and
    treatment do not (Oldham 1962).
    """
    labels = [f"{number} of {count}" for number in range(1, count + 1)]
    ranks = values.sort_index().rank(method="first")
    positions = (ranks - 1) * count // max(int(ranks.notna().sum()), 1)
    strata = positions.map(dict(enumerate(labels))).reindex(values.index)
    return strata.astype(pd.CategoricalDtype(labels, ordered=True)).rename("stratum")


def range_strata(lengths: pd.Series, count: int = 5) -> pd.Series:
    """Ordered strata of about equal size, named by their lengths ("36-52"); equal lengths stay together.

    Fewer than `count` where many lengths are equal.
    """
    ordered = np.sort(lengths.dropna().to_numpy())
    starts = np.unique(
        ordered[[part * ordered.size // count for part in range(1, count)] if ordered.size else []]
    )
    inner = starts[starts > ordered[0]] if ordered.size else starts
    place = pd.Series(np.searchsorted(inner, lengths, side="right"), index=lengths.index)
    names = {}
    for number, own in lengths.groupby(place):
        low, high = own.min(), own.max()
        names[number] = f"{low:g}" if low == high else f"{low:g}-{high:g}"
    labels = place.where(lengths.notna()).map(names)
    return labels.astype(pd.CategoricalDtype(list(names.values()), ordered=True)).rename("stratum")


def strata_table(
    values: pd.Series,
    strata: pd.Series,
    inference: Inference,
    *,
    reference: float = NAN,
    sign_flips: bool = True,
) -> pd.DataFrame:
    """The statistics of one contrast in each stratum.

    Args:
        values: per-example contrast values, index example.
        strata: ordered categorical over the same examples; examples without a stratum are left out.
        reference: mean of what is compared with, which a smallest difference may be a part of.
        sign_flips: as in `one_sample_effects`.

    Returns:
        One row per stratum in order: stratum and the fields of `PairedEffect`. Give it a family and pass it
        to `budgetlens.statistics.effects.with_verdicts` for corrected p and verdicts.

    Raises:
        ValueError: an example of `values` has no entry in `strata`.
    """
    absent = values.index.difference(strata.index)
    if len(absent):
        raise ValueError(f"strata hold no entry for {len(absent)} examples, first {absent.tolist()[0]!r}")
    labels = strata.reindex(values.index)
    rows = []
    for level in _levels(labels):
        members = values.index[labels == level]
        effect = one_sample_effects(
            values.loc[members].to_numpy(dtype=np.float64)[:, None],
            inference,
            references=np.array([reference]),
            clusters=inference.labels(members),
            sign_flips=sign_flips,
        )[0]
        rows.append({"stratum": str(level), **effect.as_row()})
    return pd.DataFrame(rows, columns=["stratum", *PairedEffect().as_row()])


@dataclass(frozen=True)
class Trend:
    """Change of a mean per step from one stratum to the next."""

    n: int = 0
    strata: int = 0
    slope: float = NAN
    """Least-squares slope on the position of the stratum; with two strata, second minus first mean."""
    low: float = NAN
    high: float = NAN
    p: float = NAN
    """Two-sided p: the larger of a studentised permutation's and of one for long tails."""
    caution: str = ""
    reason: str = ""

    def as_row(self) -> dict[str, object]:
        """Field name to value, one table row."""
        return asdict(self)


def trend_test(values: pd.Series, strata: pd.Series, inference: Inference) -> Trend:
    """Linear trend of the mean over ordered strata; for two strata, their difference.

    The interval comes from the influence of each example on the slope, and is made for long tails. The p is the larger
    of its own and of one that permutes examples over strata with a statistic
    studentised for unequal variances (DiCiccio and Romano 2017, section 2): short answers vary far more
    than long ones, and a plain permutation would mistake that for a trend. Where examples share documents, the
    document is the unit: the mean of its examples' values against the mean position of their strata.
    """
    return trend_tests([(values, strata)], inference)[0]


def trend_tests(pairs: Sequence[tuple[pd.Series, pd.Series]], inference: Inference) -> list[Trend]:
    """`trend_test` of several (values, strata); those of equal strata share their permutations."""
    trends: list[Trend] = []
    ready: dict[tuple[int, bytes], list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]] = {}
    for number, (values, strata) in enumerate(pairs):
        trend, outcome, step = _prepared(values, strata, inference)
        trends.append(trend)
        if not trend.reason:
            moved = step - step.mean()
            # The permutations of equal sets of steps are the same ones.
            key = (outcome.size, np.sort(moved).tobytes())
            ready.setdefault(key, []).append((number, moved, outcome - outcome.mean()))
    for group in ready.values():
        moved, centred = (np.column_stack([entry[part] for entry in group]) for part in (1, 2))
        p = _permuted_p(np.sort(moved[:, 0]), centred, moved, inference)
        slopes = _slopes(moved, centred, inference)
        for position, (number, _, _) in enumerate(group):
            slope, low, high, p_tails, caution = (column[position] for column in slopes)
            trends[number] = replace(
                trends[number],
                slope=float(slope),
                low=float(low),
                high=float(high),
                p=float(np.fmax(p[position], p_tails)),
                caution=caution,
                reason="" if np.isfinite(low) else "no interval: a stratum holds a single example",
            )
    return trends


def _prepared(
    values: pd.Series, strata: pd.Series, inference: Inference
) -> tuple[Trend, NDArray[np.float64], NDArray[np.float64]]:
    """Values with the position of their stratum, and a trend that says why there is none, if so."""
    labels = strata.reindex(values.index)
    known = labels.notna().to_numpy()
    levels = _levels(labels[known])
    outcome = values.to_numpy(dtype=np.float64)[known]
    position = labels[known].map({level: float(index) for index, level in enumerate(levels)})
    step = position.to_numpy(dtype=np.float64)
    bad = int((~np.isfinite(outcome)).sum())
    reason = f"{bad} of {outcome.size} examples are NaN or infinite" if bad else ""
    documents = None if bad else inference.labels(values.index[known])
    if documents is not None:
        means = pd.DataFrame({"outcome": outcome, "step": step}).groupby(documents).mean()
        outcome, step = means["outcome"].to_numpy(), means["step"].to_numpy()
    n = outcome.size
    if bad:
        return Trend(n=n, strata=len(levels), reason=reason), outcome, step
    if len(levels) < 2 or n < 3 or not np.ptp(step):
        reason = (
            f"fewer than two strata or three {'examples' if documents is None else 'documents'}: no trend"
        )
    elif not np.ptp(outcome) > 1e-12 * np.abs(outcome).max():
        reason = "all values are equal: nothing to test"
    return Trend(n=n, strata=len(levels), reason=reason), outcome, step


def _slopes(
    moved: NDArray[np.float64],
    centred: NDArray[np.float64],
    inference: Inference,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], list[str]]:
    """Least-squares slope of every column, its interval, its p for long tails and a caution about it."""
    squares = (moved**2).sum(axis=0)
    estimate = (moved * centred).sum(axis=0) / squares
    leverage = moved**2 / squares + 1 / len(moved)
    # Left out, an example moves the slope by its residual, the larger the more it had drawn the line to itself.
    with np.errstate(divide="ignore", invalid="ignore"):
        residuals = (centred - estimate * moved) / (1 - leverage)
        slopes = tailed(estimate, len(moved) * moved * residuals / squares)
        low, high = slopes.interval(inference.confidence)
    caution = joined(*coverage_cautions(len(moved)))
    return estimate, low, high, slopes.p_difference, [caution] * len(estimate)


def _permuted_p(
    steps: NDArray[np.float64],
    centred: NDArray[np.float64],
    moved: NDArray[np.float64],
    inference: Inference,
) -> NDArray[np.float64]:
    """(k + 1) / (m + 1) of |sum(x y)| / sqrt(sum(x^2 y^2)) over permutations of x, for every column.

    `steps` holds the entries of each column of `moved` in any order; `centred` and `moved` have shape
    [examples, columns].
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.abs((moved * centred).sum(axis=0)) / np.sqrt((moved**2 * centred**2).sum(axis=0))
    generator = np.random.default_rng([inference.seed, 3])
    reached = np.zeros(centred.shape[1])
    block = rows_per_block(steps.size)
    for start in range(0, inference.resamples, block):
        rows = min(block, inference.resamples - start)
        shuffled = generator.permuted(np.tile(steps, (rows, 1)), axis=1)
        statistic = np.abs(product(shuffled, centred)) / np.sqrt(product(shuffled**2, centred**2))
        reached += (statistic >= observed * (1 - 1e-10)).sum(axis=0)
    return (reached + 1) / (inference.resamples + 1)


@dataclass(frozen=True)
class SeedEffect:
    """One contrast under several random seeds; an example with all its seeds is one independent unit."""

    effect: PairedEffect
    seeds: int
    seed_mean_low: float
    """Smallest of the seeds' own means."""
    seed_mean_high: float
    seed_mean_sd: float
    """Standard deviation of the seeds' own means, NaN for one seed."""
    within_share: float
    """Part of the variance of a single difference that is between seeds of the same example, 0 to 1."""

    def as_row(self) -> dict[str, object]:
        """Field name to value, one table row."""
        own = {name: value for name, value in asdict(self).items() if name != "effect"}
        return {**self.effect.as_row(), **own}


def seed_effect(values: pd.DataFrame, inference: Inference, reference: float = NAN) -> SeedEffect:
    """Effect over examples and random seeds, seeds as a random factor within examples.

    Every example draws its own fill from each seed, so that seeds are nested in examples: with whole examples as
    units both sources of variation are in the interval.

    Args:
        values: contrast values, index example, one column per seed (`contrast_values` with one contrast per
            seed).
        inference: where its clusters name shared documents, documents are the independent units.
        reference: as in `strata_table`.
    """
    matrix = values.to_numpy(dtype=np.float64)
    examples, seeds = matrix.shape
    documents = inference.labels(values.index)
    units = np.arange(examples) if documents is None else documents
    labels = np.repeat(units, seeds) if seeds > 1 or documents is not None else None
    effect = one_sample_effects(
        matrix.reshape(-1, 1), inference, references=np.array([reference]), clusters=labels
    )[0]
    complete = matrix[np.isfinite(matrix).all(axis=1)]
    if np.isnan(effect.mean_difference) or not len(complete):
        return SeedEffect(effect, seeds, NAN, NAN, NAN, NAN)
    means = complete.mean(axis=0)
    spread = float(means.std(ddof=1)) if seeds > 1 else NAN
    return SeedEffect(effect, seeds, float(means.min()), float(means.max()), spread, _within_share(complete))


def _within_share(matrix: NDArray[np.float64]) -> float:
    """One-way random-effects variance components (Searle, Casella and McCulloch 1992, section 3.6)."""
    examples, seeds = matrix.shape
    if examples < 2 or seeds < 2:
        return NAN
    within = float(matrix.var(axis=1, ddof=1).mean())
    between = max(0.0, float(matrix.mean(axis=1).var(ddof=1)) - within / seeds)
    return within / (within + between) if within + between > 0 else NAN


def _levels(labels: pd.Series) -> list[object]:
    """Strata that occur, in the categorical's own order, else sorted."""
    if isinstance(labels.dtype, pd.CategoricalDtype):
        present = set(labels.dropna())
        return [level for level in labels.cat.categories if level in present]
    return sorted(labels.dropna().unique())
