"""Statistics of one paired comparison: a difference per example, and what may be said about its mean.

The differences of answer NLL are heavy-tailed (a few examples carry much of the mean), so that the mean
stands beside a median and a trimmed mean, its interval is a BCa bootstrap, and its p-value a sign-flip
permutation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from budgetlens.statistics.decisions import coverage_cautions, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import (
    bca_interval,
    detectable_shift,
    hedges_factor,
    left_out_sums,
    resampled_sums,
    standard_errors,
    unit_sums,
)
from budgetlens.statistics.paired_inputs import numbers, token_weights, unit_labels
from budgetlens.statistics.permutations import sign_flip_p
from budgetlens.statistics.products import product

Floats = NDArray[np.float64]
Missing = Literal["refuse", "drop"]

LARGEST_SHARE = 0.05
NAN = float("nan")


@dataclass(frozen=True)
class PairedEffect:
    """One paired comparison; difference = baseline - treatment, so positive means that the treatment helps.

    Values are in the unit of the input (nats for NLL) unless said. Undefined values are NaN, and `reason` or
    `withheld` says why.
    """

    n: int = 0
    clusters: int = 0
    """Independent units: documents where several examples share one, else n."""
    mean_difference: float = NAN
    low: float = NAN
    """Lower end of the BCa interval of the mean."""
    high: float = NAN
    median: float = NAN
    trimmed_mean: float = NAN
    """Mean without the 10 % smallest and the 10 % largest differences."""
    win_percent: float = NAN
    """Share of strictly positive differences, 0 to 100."""
    tie_percent: float = NAN
    sd: float = NAN
    """Standard deviation of the differences, n - 1 in the denominator."""
    skewness: float = NAN
    kurtosis: float = NAN
    """Excess kurtosis of the differences, 0 for a normal distribution."""
    d_z: float = NAN
    """mean/sd (published as d)."""
    d_z_hedges: float = NAN
    d_z_low: float = NAN
    """Lower end of the BCa interval of d_z (without the Hedges correction)."""
    d_z_high: float = NAN
    p_sign_flip: float = NAN
    p_wilcoxon: float = NAN
    p_t: float = NAN
    """One-sample t (published); cluster-robust where examples share a document."""
    p_tost: float = NAN
    """Larger of the two one-sided p against -smallest_effect and +smallest_effect."""
    smallest_effect: float = NAN
    minimum_detectable: float = NAN
    """Mean that a two-sided t test finds with power 0.8 at this n and sd."""
    share_of_largest: float = NAN
    """Part of the summed difference that the 5 % of examples with the largest |difference| carry."""
    token_weighted_mean: float = NAN
    token_weighted_low: float = NAN
    token_weighted_high: float = NAN
    caution: str = ""
    """Codes of cautions (`budgetlens.statistics.decisions`), joined."""
    reason: str = ""
    """Why the mean, its interval or its tests are undefined, or rest on fewer examples than there are."""
    withheld: str = ""
    """Why one of the further statistics is not there: Wilcoxon's p, the share of the largest, the token-weighted mean."""

    def as_row(self) -> dict[str, object]:
        """Field name to value, one table row."""
        return asdict(self)


def paired_effect(
    baseline: ArrayLike,
    treatment: ArrayLike,
    inference: Inference,
    *,
    weights: ArrayLike | None = None,
    clusters: Sequence[object] | NDArray | None = None,
    missing: Missing = "refuse",
) -> PairedEffect:
    """Statistics of baseline - treatment over paired examples.

    Args:
        baseline, treatment: one value per example in the same order, shape [examples]; lower is better.
        inference: seed, levels and resamples; the level is also that of the power calculation.
        weights: answer tokens per example, for the token-weighted mean; None leaves it NaN.
        clusters: label per example; examples of one label (a shared document) are one independent unit.
        missing: "refuse" makes every statistic NaN if a pair is not finite; "drop" leaves such pairs out
            and counts them in `reason`.

    Raises:
        ValueError: the inputs are not one-dimensional numbers, or are not paired.
    """
    before, after = numbers(baseline, "baseline"), numbers(treatment, "treatment")
    if before.shape != after.shape:
        raise ValueError(
            f"baseline has {before.size} values and treatment {after.size}; "
            "a paired comparison needs one of each per example, in the same order"
        )
    with np.errstate(invalid="ignore"):
        difference = before - after
    values = difference[:, None]
    return one_sample_effects(values, inference, weights=weights, clusters=clusters, missing=missing)[0]


def one_sample_effects(
    values: ArrayLike,
    inference: Inference,
    *,
    weights: ArrayLike | None = None,
    clusters: Sequence[object] | NDArray | None = None,
    sign_flips: bool = True,
    missing: Missing = "refuse",
) -> list[PairedEffect]:
    """The statistics of `paired_effect` for every column of values, shape [examples, columns].

    Columns share their resamples and sign patterns, and each gives what it would give alone. Without `sign_flips`
    `p_sign_flip` is NaN, which saves the time where means and intervals alone are wanted.
    """
    differences = np.asarray(values, dtype=np.float64)
    if differences.ndim != 2:
        raise ValueError(f"values have shape {differences.shape}; expected [examples, columns]")
    if missing not in ("refuse", "drop"):
        raise ValueError(f"missing is {missing!r}; expected 'refuse' or 'drop'")
    n, columns = differences.shape
    known_weights = None if weights is None else token_weights(weights, n)
    labels = unit_labels(clusters, n)
    finite = np.isfinite(differences)
    effects: list[PairedEffect] = [PairedEffect()] * columns
    patterns, members = np.unique(finite.T, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        chosen = np.flatnonzero(members.reshape(-1) == index)
        left_out = int(n - pattern.sum())
        if left_out and missing == "refuse":
            bad = PairedEffect(
                n=n,
                smallest_effect=inference.smallest_difference,
                reason=f"{left_out} of {n} examples are NaN or infinite; repair them or use missing='drop'",
            )
            for column in chosen:
                effects[column] = bad
            continue
        found = _finite_effects(
            differences[np.ix_(pattern, chosen)],
            None if known_weights is None else known_weights[pattern],
            # Numbered anew: a document whose examples are all left out is no unit.
            None if labels is None else pd.factorize(labels[pattern])[0],
            inference,
            sign_flips,
        )
        note = f"{left_out} of {n} examples left out: NaN or infinite" if left_out else ""
        for column, effect in zip(chosen, found, strict=True):
            effects[column] = replace(effect, reason="; ".join(filter(None, (note, effect.reason))))
    return effects


def _finite_effects(
    values: Floats,
    weights: Floats | None,
    labels: NDArray | None,
    inference: Inference,
    sign_flips: bool,
) -> list[PairedEffect]:
    """Statistics of columns without missing values; `labels` are unit numbers 0, 1, ... per example."""
    n, columns = values.shape
    blank = PairedEffect(n=n, smallest_effect=inference.smallest_difference)
    if n == 0:
        return [replace(blank, reason="no examples")] * columns
    units = n if labels is None else int(labels.max()) + 1
    described = _described(replace(blank, clusters=units), values)
    # A spread this small beside the values is rounding of equal differences, not variation.
    varies = np.ptp(values, axis=0) > 1e-12 * np.abs(values).max(axis=0)
    if units < 2:
        why = "one example: no interval, no test" if n == 1 else "one document: no interval, no test"
        return [replace(effect, reason=why) for effect in described]
    usable = np.flatnonzero(varies)
    effects = [
        replace(effect, reason="all differences are equal: nothing to estimate an interval or a test from")
        for effect in described
    ]
    if usable.size == 0:
        return effects
    chosen = values[:, usable]
    intervals = _bootstrap(chosen, weights, labels, units, inference)
    flipped = np.full(usable.size, NAN)
    if sign_flips:
        sums = unit_sums(chosen, labels, units)
        flipped = sign_flip_p(sums, seed=inference.seed, permutations=inference.resamples)
    errors = standard_errors(chosen, labels, units)
    shapes = _shapes(chosen)
    unit_shapes = (
        shapes if labels is None else _shapes(unit_sums(chosen - chosen.mean(axis=0), labels, units))
    )
    detectable = detectable_shift(units - 1, alpha=inference.alpha)
    for position, column in enumerate(usable):
        if errors[position] == 0:
            # Examples differ, and their documents, which are the units, do not.
            effects[column] = replace(
                described[column],
                reason="all documents have equal differences: nothing to estimate an interval or a test from",
            )
            continue
        effects[column] = _tested(
            replace(
                described[column],
                skewness=float(shapes[0][position]),
                kurtosis=float(shapes[1][position]),
                minimum_detectable=detectable * float(errors[position]),
                caution=joined(*coverage_cautions(units, unit_shapes[0][position], unit_shapes[1][position])),
            ),
            values[:, column],
            standard_error=float(errors[position]),
            p_sign_flip=float(flipped[position]),
            intervals={
                name: (float(ends[0][position]), float(ends[1][position])) for name, ends in intervals.items()
            },
            weights=weights,
        )
    return effects


def _shapes(values: Floats) -> tuple[Floats, Floats]:
    """Skewness and excess kurtosis of every column."""
    return np.asarray(stats.skew(values, axis=0)), np.asarray(stats.kurtosis(values, axis=0))


def _described(effect: PairedEffect, values: Floats) -> list[PairedEffect]:
    """Fill in, per column, what needs no variation."""
    mean, median = values.mean(axis=0), np.median(values, axis=0)
    trimmed = stats.trim_mean(values, 0.1, axis=0)
    wins, ties = (values > 0).mean(axis=0), (values == 0).mean(axis=0)
    return [
        replace(
            effect,
            mean_difference=float(mean[column]),
            median=float(median[column]),
            trimmed_mean=float(trimmed[column]),
            win_percent=float(100 * wins[column]),
            tie_percent=float(100 * ties[column]),
        )
        for column in range(values.shape[1])
    ]


def _tested(
    effect: PairedEffect,
    values: Floats,
    *,
    standard_error: float,
    p_sign_flip: float,
    intervals: dict[str, tuple[float, float]],
    weights: Floats | None,
) -> PairedEffect:
    """Fill in intervals and tests of one column that varies."""
    n, units = effect.n, effect.clusters
    degrees = units - 1
    mean, sd = effect.mean_difference, float(values.std(ddof=1))
    low, high = intervals["mean"]
    withheld = []
    share = NAN
    if low > 0 or high < 0:
        share = _share_of_largest(values)
    else:
        withheld.append("share of the largest withheld: the interval of the mean holds 0")
    wilcoxon = NAN
    if units < n:
        withheld.append("Wilcoxon withheld: examples share documents")
    else:
        wilcoxon = float(stats.wilcoxon(values).pvalue)
    bound = effect.smallest_effect
    # P(T <= x) of Student's t; the upper tail of x is the lower one of -x.
    above = special.stdtr(degrees, -(mean + bound) / standard_error)
    under = special.stdtr(degrees, (mean - bound) / standard_error)
    weighted, weighted_ends = NAN, (NAN, NAN)
    if weights is not None:
        weighted = float(product(weights, values) / weights.sum())
        weighted_ends = intervals["weighted"]
    return replace(
        effect,
        low=low,
        high=high,
        sd=sd,
        d_z=mean / sd,
        d_z_hedges=hedges_factor(n - 1) * mean / sd,
        d_z_low=intervals["d_z"][0],
        d_z_high=intervals["d_z"][1],
        p_sign_flip=p_sign_flip,
        p_wilcoxon=wilcoxon,
        p_t=float(2 * special.stdtr(degrees, -abs(mean) / standard_error)),
        p_tost=float(max(above, under)),
        share_of_largest=share,
        token_weighted_mean=weighted,
        token_weighted_low=weighted_ends[0],
        token_weighted_high=weighted_ends[1],
        reason="too few distinct examples for a BCa interval" if np.isnan(low) else "",
        withheld=joined(*withheld),
    )


def _share_of_largest(values: Floats) -> float:
    count = max(1, round(LARGEST_SHARE * values.size))
    largest = np.argsort(-np.abs(values), kind="stable")[:count]
    return float(values[largest].sum() / values.sum())


def _bootstrap(
    values: Floats,
    weights: Floats | None,
    labels: NDArray | None,
    units: int,
    inference: Inference,
) -> dict[str, tuple[Floats, Floats]]:
    """BCa intervals of the mean, of d_z and of the weighted mean of every column."""
    n, k = values.shape
    # Centred, because the sum of squares of uncentred values would cancel.
    centre = values.mean(axis=0)
    centred = values - centre
    weight = np.ones(n) if weights is None else weights
    columns = np.hstack([centred, centred**2, weight[:, None] * centred, weight[:, None], np.ones((n, 1))])
    summed = unit_sums(columns, labels, units)

    def statistics(sums: Floats) -> dict[str, Floats]:
        size = sums[:, -1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = sums[:, :k] / size
            variance = (sums[:, k : 2 * k] - size * mean**2) / (size - 1)
            # A resample of equal examples has no spread but rounding.
            variance = np.where(variance > 1e-14 * (centred**2).mean(axis=0), variance, np.nan)
            found = {"mean": centre + mean, "d_z": (centre + mean) / np.sqrt(variance)}
            if weights is not None:
                found["weighted"] = centre + sums[:, 2 * k : 3 * k] / sums[:, -2:-1]
        return found

    estimates = statistics(summed.sum(axis=0, keepdims=True))
    resampled = statistics(resampled_sums(summed, seed=inference.seed, resamples=inference.resamples))
    left_out = statistics(left_out_sums(summed))
    return {
        name: bca_interval(estimates[name][0], resampled[name], left_out[name], inference.confidence)
        for name in estimates
    }
