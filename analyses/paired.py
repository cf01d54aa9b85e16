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
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analyses.intervals import (
    bca_interval,
    detectable_shift,
    hedges_factor,
    left_out_sums,
    resampled_sums,
    standard_errors,
    unit_sums,
)
from analyses.permutations import sign_flip_p
from analyses.verdicts import coverage_caution

Floats = NDArray[np.float64]
Missing = Literal["refuse", "drop"]

RESAMPLES = 9_999
PERMUTATIONS = 9_999
LARGEST_SHARE = 0.05
NAN = float("nan")


@dataclass(frozen=True)
class PairedEffect:
    """One paired comparison; difference = baseline - treatment, so positive means that the treatment helps.

    Values are in the unit of the input (nats for NLL) unless said. Undefined values are NaN, and `reason`
    says why.
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
    reason: str = ""

    def as_row(self) -> dict[str, object]:
        """Field name to value, one table row."""
        return asdict(self)


def paired_effect(
    baseline: ArrayLike,
    treatment: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    clusters: Sequence[object] | NDArray | None = None,
    seed: int,
    smallest_effect: float = 0.05,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    missing: Missing = "refuse",
) -> PairedEffect:
    """Statistics of baseline - treatment over paired examples.

    Args:
        baseline, treatment: one value per example in the same order, shape [examples]; lower is better.
        weights: answer tokens per example, for the token-weighted mean; None leaves it NaN.
        clusters: label per example; examples of one label (a shared document) are one independent unit.
        seed: seeds the bootstrap and the permutations.
        smallest_effect: smallest effect of interest, the bound of the equivalence test; > 0.
        confidence: nominal coverage of the intervals; its complement is the level of the power calculation.
        resamples, permutations: how many of each are drawn.
        missing: "refuse" makes every statistic NaN if a pair is not finite; "drop" leaves such pairs out
            and counts them in `reason`.

    Raises:
        ValueError: the inputs are not one-dimensional numbers, are not paired, or a setting is out of range.
    """
    before, after = _numbers(baseline, "baseline"), _numbers(treatment, "treatment")
    if before.shape != after.shape:
        raise ValueError(
            f"baseline has {before.size} values and treatment {after.size}; "
            "a paired comparison needs one of each per example, in the same order"
        )
    with np.errstate(invalid="ignore"):
        difference = before - after
    return one_sample_effects(
        difference[:, None],
        weights=weights,
        clusters=clusters,
        seed=seed,
        smallest_effect=smallest_effect,
        confidence=confidence,
        resamples=resamples,
        permutations=permutations,
        missing=missing,
    )[0]


def one_sample_effects(
    values: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    clusters: Sequence[object] | NDArray | None = None,
    seed: int,
    smallest_effect: float = 0.05,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    permutations: int = PERMUTATIONS,
    missing: Missing = "refuse",
) -> list[PairedEffect]:
    """The statistics of `paired_effect` for every column of values, shape [examples, columns].

    Columns share their resamples and sign patterns, and each gives what it would give alone.
    """
    differences = np.asarray(values, dtype=np.float64)
    if differences.ndim != 2:
        raise ValueError(f"values have shape {differences.shape}; expected [examples, columns]")
    _check_settings(smallest_effect, confidence, resamples, permutations, missing)
    n, columns = differences.shape
    token_weights = None if weights is None else _weights(weights, n)
    labels = _labels(clusters, n)
    finite = np.isfinite(differences)
    effects: list[PairedEffect] = [PairedEffect()] * columns
    patterns, members = np.unique(finite.T, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        chosen = np.flatnonzero(members.reshape(-1) == index)
        left_out = int(n - pattern.sum())
        if left_out and missing == "refuse":
            bad = PairedEffect(
                n=n,
                smallest_effect=smallest_effect,
                reason=f"{left_out} of {n} examples are NaN or infinite; repair them or use missing='drop'",
            )
            for column in chosen:
                effects[column] = bad
            continue
        found = _finite_effects(
            differences[np.ix_(pattern, chosen)],
            None if token_weights is None else token_weights[pattern],
            None if labels is None else labels[pattern],
            seed=seed,
            smallest_effect=smallest_effect,
            confidence=confidence,
            resamples=resamples,
            permutations=permutations,
        )
        note = f"{left_out} of {n} examples left out: NaN or infinite" if left_out else ""
        for column, effect in zip(chosen, found, strict=True):
            effects[column] = replace(effect, reason="; ".join(filter(None, (note, effect.reason))))
    return effects


def _finite_effects(
    values: Floats,
    weights: Floats | None,
    labels: NDArray | None,
    *,
    seed: int,
    smallest_effect: float,
    confidence: float,
    resamples: int,
    permutations: int,
) -> list[PairedEffect]:
    """Statistics of columns without missing values; `labels` are unit numbers 0, 1, ... per example."""
    n, columns = values.shape
    blank = PairedEffect(n=n, smallest_effect=smallest_effect)
    if n == 0:
        return [replace(blank, reason="no examples")] * columns
    units = n if labels is None else int(labels.max()) + 1
    described = [_described(replace(blank, clusters=units), values[:, column]) for column in range(columns)]
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
    intervals = _bootstrap(
        chosen, weights, labels, units, seed=seed, resamples=resamples, confidence=confidence
    )
    flipped = sign_flip_p(unit_sums(chosen, labels, units), seed=seed, permutations=permutations)
    errors = standard_errors(chosen, labels, units)
    for position, column in enumerate(usable):
        effects[column] = _tested(
            described[column],
            values[:, column],
            standard_error=float(errors[position]),
            p_sign_flip=float(flipped[position]),
            intervals={
                name: (float(ends[0][position]), float(ends[1][position])) for name, ends in intervals.items()
            },
            weights=weights,
            confidence=confidence,
        )
    return effects


def _described(effect: PairedEffect, values: Floats) -> PairedEffect:
    """Fill in what needs no variation."""
    return replace(
        effect,
        mean_difference=float(values.mean()),
        median=float(np.median(values)),
        trimmed_mean=float(stats.trim_mean(values, 0.1)),
        win_percent=float(100 * (values > 0).mean()),
        tie_percent=float(100 * (values == 0).mean()),
    )


def _tested(
    effect: PairedEffect,
    values: Floats,
    *,
    standard_error: float,
    p_sign_flip: float,
    intervals: dict[str, tuple[float, float]],
    weights: Floats | None,
    confidence: float,
) -> PairedEffect:
    """Fill in intervals and tests of one column that varies."""
    n, units = effect.n, effect.clusters
    degrees = units - 1
    mean, sd = effect.mean_difference, float(values.std(ddof=1))
    skewness, kurtosis = float(stats.skew(values)), float(stats.kurtosis(values))
    low, high = intervals["mean"]
    reasons = []
    if np.isnan(low):
        reasons.append("too few distinct examples for a BCa interval")
    share = _share_of_largest(values)
    if not (low > 0 or high < 0):
        share = NAN
        reasons.append("share of the largest withheld: the interval of the mean holds 0")
    wilcoxon = NAN
    if units < n:
        reasons.append("Wilcoxon withheld: examples share documents")
    else:
        wilcoxon = float(stats.wilcoxon(values).pvalue)
    bound = effect.smallest_effect
    above = stats.t.sf((mean + bound) / standard_error, degrees)
    under = stats.t.cdf((mean - bound) / standard_error, degrees)
    weighted, weighted_ends = NAN, (NAN, NAN)
    if weights is not None:
        weighted = float(weights @ values / weights.sum())
        weighted_ends = intervals["weighted"]
    return replace(
        effect,
        low=low,
        high=high,
        sd=sd,
        skewness=skewness,
        kurtosis=kurtosis,
        d_z=mean / sd,
        d_z_hedges=hedges_factor(n - 1) * mean / sd,
        d_z_low=intervals["d_z"][0],
        d_z_high=intervals["d_z"][1],
        p_sign_flip=p_sign_flip,
        p_wilcoxon=wilcoxon,
        p_t=float(2 * stats.t.sf(abs(mean) / standard_error, degrees)),
        p_tost=float(max(above, under)),
        minimum_detectable=detectable_shift(degrees, alpha=1 - confidence) * standard_error,
        share_of_largest=share,
        token_weighted_mean=weighted,
        token_weighted_low=weighted_ends[0],
        token_weighted_high=weighted_ends[1],
        caution=coverage_caution(units, skewness, kurtosis),
        reason="; ".join(reasons),
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
    *,
    seed: int,
    resamples: int,
    confidence: float,
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
    resampled = statistics(resampled_sums(summed, seed=seed, resamples=resamples))
    left_out = statistics(left_out_sums(summed))
    return {
        name: bca_interval(estimates[name][0], resampled[name], left_out[name], confidence)
        for name in estimates
    }


def _numbers(values: ArrayLike, name: str) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds something that is not a number: {error}") from error
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; expected one value per example, shape [examples]")
    return array


def _weights(weights: ArrayLike, n: int) -> Floats:
    array = _numbers(weights, "weights")
    if array.size != n:
        raise ValueError(f"weights has {array.size} values for {n} examples")
    if n and (not np.isfinite(array).all() or (array <= 0).any()):
        raise ValueError("weights must be finite and above 0 (answer tokens per example)")
    return array


def _labels(clusters: Sequence[object] | NDArray | None, n: int) -> NDArray | None:
    if clusters is None:
        return None
    if len(clusters) != n:
        raise ValueError(f"clusters has {len(clusters)} labels for {n} examples")
    return np.unique(np.asarray(clusters).astype(str), return_inverse=True)[1].reshape(-1)


def _check_settings(
    smallest_effect: float, confidence: float, resamples: int, permutations: int, missing: str
) -> None:
    if not (np.isfinite(smallest_effect) and smallest_effect > 0):
        raise ValueError(f"smallest_effect is {smallest_effect}; expected a finite number above 0, e.g. 0.05")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number between 0 and 1, e.g. 0.95")
    if resamples < 1 or permutations < 1:
        raise ValueError(f"resamples is {resamples} and permutations {permutations}; expected 1 or more")
    if missing not in ("refuse", "drop"):
        raise ValueError(f"missing is {missing!r}; expected 'refuse' or 'drop'")
