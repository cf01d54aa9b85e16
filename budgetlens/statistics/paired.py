"""Statistics of one paired comparison: a difference per example, and what may be said about its mean.

The differences of answer NLL are heavy-tailed (a few examples carry much of the mean), so that interval and p of the mean
are made for such tails (:mod:`budgetlens.statistics.tails`), and median and trimmed mean stand beside it with inference of
their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from budgetlens.statistics.decisions import carriers, coverage_cautions, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import detectable_shift, hedges_factor
from budgetlens.statistics.locations import TRIMMED_FROM, Locations, locations
from budgetlens.statistics.paired_inputs import numbers, token_weights, unit_labels
from budgetlens.statistics.permutations import sign_flip_p
from budgetlens.statistics.ranks import wilcoxon_p
from budgetlens.statistics.tails import TailedMeans, tailed, tailed_means, unit_sums

Floats = NDArray[np.float64]
Missing = Literal["refuse", "drop"]

LARGEST_SHARE = 0.05
#: Units from which on the interval of d_z, whose spread has tails of its own, covers what it promises.
D_Z_FROM = 5_000
NAN = float("nan")
#: Why a mean has no interval of its own where nothing varies: its examples, or the documents that they share.
UNVARIED = (
    "all differences are equal: nothing to estimate an interval or a test from",
    "all documents have equal differences: nothing to estimate an interval or a test from",
)


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
    """Lower end of the interval of the mean, which is made for long tails."""
    high: float = NAN
    p: float = NAN
    """Two-sided, of the mean against 0, made for long tails: below alpha exactly where the interval leaves out 0."""
    median: float = NAN
    median_low: float = NAN
    """Lower end of the interval of the median, from order statistics."""
    median_high: float = NAN
    trimmed_mean: float = NAN
    """Mean without the 10 % smallest and the 10 % largest differences."""
    trimmed_low: float = NAN
    """Lower end of the interval of the trimmed mean, by its winsorised variance; from 200 examples on."""
    trimmed_high: float = NAN
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
    """Lower end of the interval of d_z (without the Hedges correction); from 5,000 units on."""
    d_z_high: float = NAN
    p_sign_flip: float = NAN
    """Of sign flips: exact where baseline and treatment are exchangeable, too small for a mean of 0 with a skewed tail."""
    p_sign: float = NAN
    """Sign test of the median."""
    p_trimmed: float = NAN
    """Of the trimmed mean; from 200 examples on."""
    p_wilcoxon: float = NAN
    p_t: float = NAN
    """One-sample t (published); cluster-robust where examples share a document."""
    p_tost: float = NAN
    """Equivalence with 0 within ±smallest_effect: below alpha exactly where the interval lies within it."""
    smallest_effect: float = NAN
    minimum_detectable: float = NAN
    """Mean that the test of the mean finds with power 0.8 at this n and sd."""
    share_of_largest: float = NAN
    """Part of the summed difference that the 5 % of examples with the largest |difference| carry."""
    carriers: int = 0
    """How many examples carry the mean, where they are too few to conclude from it (`decisions.carriers`); else 0."""
    token_weighted_mean: float = NAN
    token_weighted_low: float = NAN
    token_weighted_high: float = NAN
    caution: str = ""
    """Codes of cautions (`budgetlens.statistics.decisions`), joined."""
    reason: str = ""
    """Why the mean, its interval or its tests are undefined, or rest on fewer examples than there are."""
    withheld: str = ""
    """Why one of the further statistics is not there: Wilcoxon's p, an interval of d_z, of the median or of the trimmed
    mean, the share of the largest, the token-weighted mean."""

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
    finite = np.isfinite(difference)
    return one_sample_effects(
        difference[:, None],
        inference,
        references=np.array([before[finite].mean() if finite.any() else NAN]),
        weights=weights,
        clusters=clusters,
        missing=missing,
    )[0]


def one_sample_effects(
    values: ArrayLike,
    inference: Inference,
    *,
    references: Floats | None = None,
    weights: ArrayLike | None = None,
    clusters: Sequence[object] | NDArray | None = None,
    sign_flips: bool = True,
    missing: Missing = "refuse",
    between: NDArray[np.bool_] | bool = False,
) -> list[PairedEffect]:
    """The statistics of `paired_effect` for every column of values, shape [examples, columns].

    Columns share their sign patterns, and each gives what it would give alone. Without `sign_flips`
    `p_sign_flip` is NaN, which saves the time where means and intervals alone are wanted. `references` holds the mean of
    what each column is compared with, which a smallest difference may be a part of; `between` tells which columns are no
    differences from doing nothing (:data:`budgetlens.statistics.tails.CRITICAL_BETWEEN`), one for all or one each.
    """
    differences = np.asarray(values, dtype=np.float64)
    if differences.ndim != 2:
        raise ValueError(f"values have shape {differences.shape}; expected [examples, columns]")
    if missing not in ("refuse", "drop"):
        raise ValueError(f"missing is {missing!r}; expected 'refuse' or 'drop'")
    n, columns = differences.shape
    bounds = inference.bounds(references, columns)
    known_weights = None if weights is None else token_weights(weights, n)
    labels = unit_labels(clusters, n)
    finite = np.isfinite(differences)
    treated = np.broadcast_to(between, (columns,))
    effects: list[PairedEffect] = [PairedEffect()] * columns
    patterns, members = np.unique(finite.T, axis=0, return_inverse=True)
    for index, pattern in enumerate(patterns):
        chosen = np.flatnonzero(members.reshape(-1) == index)
        left_out = int(n - pattern.sum())
        if left_out and missing == "refuse":
            why = f"{left_out} of {n} examples are NaN or infinite; repair them or use missing='drop'"
            for column in chosen:
                effects[column] = PairedEffect(n=n, smallest_effect=float(bounds[column]), reason=why)
            continue
        found = _finite_effects(
            differences[np.ix_(pattern, chosen)],
            bounds[chosen],
            None if known_weights is None else known_weights[pattern],
            # Numbered anew: a document whose examples are all left out is no unit.
            None if labels is None else pd.factorize(labels[pattern])[0],
            inference,
            sign_flips,
            treated[chosen],
        )
        note = f"{left_out} of {n} examples left out: NaN or infinite" if left_out else ""
        for column, effect in zip(chosen, found, strict=True):
            effects[column] = replace(effect, reason="; ".join(filter(None, (note, effect.reason))))
    return effects


def _finite_effects(
    values: Floats,
    bounds: Floats,
    weights: Floats | None,
    labels: NDArray | None,
    inference: Inference,
    sign_flips: bool,
    between: NDArray[np.bool_],
) -> list[PairedEffect]:
    """Statistics of columns without missing values; `labels` are unit numbers 0, 1, ... per example."""
    n = len(values)
    if n == 0:
        return [PairedEffect(n=n, smallest_effect=float(bound), reason="no examples") for bound in bounds]
    units = n if labels is None else int(labels.max()) + 1
    middle = locations(values, inference.confidence)
    described = _described(values, bounds, units, middle)
    # A spread this small beside the values is rounding of equal differences, not variation.
    varies = np.ptp(values, axis=0) > 1e-12 * np.abs(values).max(axis=0)
    if units < 2:
        why = "one example: no interval, no test" if n == 1 else "one document: no interval, no test"
        return [replace(effect, reason=why) for effect in described]
    effects = [replace(effect, reason=UNVARIED[0]) for effect in described]
    usable = np.flatnonzero(varies)
    if usable.size == 0:
        return effects
    chosen = values[:, usable]
    means = tailed_means(chosen, labels, units, between=between[usable])
    flipped = np.full(usable.size, NAN)
    if sign_flips:
        sums = unit_sums(chosen, labels, units)
        flipped = sign_flip_p(sums, seed=inference.seed, permutations=inference.resamples)
    found = {
        "p_sign_flip": flipped,
        **_of_the_mean(means, bounds[usable], inference),
        **_standardised(chosen, labels, units, inference),
        **_weighted(chosen, weights, labels, units, inference, between[usable]),
        **_shape(chosen),
    }
    for position, column in enumerate(usable):
        if not means.error[position] > 0:
            # Examples differ, and their documents, which are the units, do not.
            effects[column] = replace(described[column], reason=UNVARIED[1])
            continue
        own: dict[str, Any] = {name: float(column_[position]) for name, column_ in found.items()}
        effects[column] = _tested(
            replace(described[column], **own),
            values[:, column],
            middle,
            int(column),
            between=bool(between[column]),
        )
    return effects


def _shape(values: Floats) -> dict[str, Floats]:
    """Skewness and excess kurtosis of every column, not corrected for n; NaN where it varies by rounding alone."""
    deviations = values - values.mean(axis=0)
    second, third, fourth = ((deviations**power).mean(axis=0) for power in (2, 3, 4))
    known = second > (np.finfo(float).eps * values.mean(axis=0)) ** 2
    second = np.where(known, second, NAN)
    return {"skewness": third / second**1.5, "kurtosis": fourth / second**2 - 3}


def _of_the_mean(means: TailedMeans, bounds: Floats, inference: Inference) -> dict[str, NDArray]:
    """Interval and tests of the means, by field of `PairedEffect`."""
    low, high = means.interval(inference.confidence)
    degrees = int(means.units) - 1
    # Power is of one side alone: that on which the interval is longer.
    longer = np.maximum(means.lower_factor, means.upper_factor) - 1
    critical = float(special.stdtrit(degrees, 1 - inference.alpha / 2))
    detectable = detectable_shift(degrees, alpha=inference.alpha) + longer * critical
    return {
        "low": low,
        "high": high,
        "p": means.p_difference,
        "p_t": means.p_student,
        "p_tost": means.p_equivalence(bounds),
        "minimum_detectable": detectable * means.error,
    }


def _standardised(
    values: Floats, labels: NDArray | None, units: int, inference: Inference
) -> dict[str, NDArray]:
    """d_z with its interval, which comes from the influence of each unit on mean and standard deviation together."""
    n = len(values)
    mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
    found = {"sd": sd, "d_z": mean / sd, "d_z_hedges": hedges_factor(n - 1) * mean / sd}
    if units < D_Z_FROM:
        return found
    standard = (values - mean) / sd
    influences = unit_sums(standard - mean / sd / 2 * (standard**2 - 1), labels, units) * units / n
    low, high = tailed(found["d_z"], influences).interval(inference.confidence)
    return found | {"d_z_low": low, "d_z_high": high}


def _weighted(
    values: Floats,
    weights: Floats | None,
    labels: NDArray | None,
    units: int,
    inference: Inference,
    between: NDArray[np.bool_],
) -> dict[str, NDArray]:
    """The token-weighted mean with its interval; nothing without weights."""
    if weights is None:
        return {}
    means = tailed_means(values, labels, units, weights, between=between)
    low, high = means.interval(inference.confidence)
    return {"token_weighted_mean": means.estimate, "token_weighted_low": low, "token_weighted_high": high}


def _described(values: Floats, bounds: Floats, units: int, middle: Locations) -> list[PairedEffect]:
    """Fill in, per column, what needs no variation."""
    mean = values.mean(axis=0)
    wins, ties = (values > 0).mean(axis=0), (values == 0).mean(axis=0)
    return [
        PairedEffect(
            n=len(values),
            clusters=units,
            smallest_effect=float(bounds[column]),
            mean_difference=float(mean[column]),
            median=float(middle.median[column]),
            trimmed_mean=float(middle.trimmed[column]),
            win_percent=float(100 * wins[column]),
            tie_percent=float(100 * ties[column]),
        )
        for column in range(values.shape[1])
    ]


def _tested(
    effect: PairedEffect, values: Floats, middle: Locations, column: int, *, between: bool
) -> PairedEffect:
    """Fill in what takes one column that varies, and what is withheld of it."""
    withheld = []
    share = NAN
    if effect.low > 0 or effect.high < 0:
        share = _share_of_largest(values)
    else:
        withheld.append("share of the largest withheld: the interval of the mean holds 0")
    further: dict[str, Any] = {}
    if effect.clusters < effect.n:
        withheld.append("Wilcoxon, median and trimmed mean untested: examples share documents")
    else:
        further = {
            "p_wilcoxon": wilcoxon_p(values),
            "p_sign": float(middle.p_sign[column]),
            "median_low": float(middle.median_low[column]),
            "median_high": float(middle.median_high[column]),
            "trimmed_low": float(middle.trimmed_low[column]),
            "trimmed_high": float(middle.trimmed_high[column]),
            "p_trimmed": float(middle.p_trimmed[column]),
        }
        if effect.n < TRIMMED_FROM:
            withheld.append(f"interval of the trimmed mean withheld: fewer than {TRIMMED_FROM} examples")
    if effect.clusters < D_Z_FROM:
        withheld.append(f"interval of d_z withheld: fewer than {D_Z_FROM:,} independent examples")
    return replace(
        effect,
        **further,
        share_of_largest=share,
        carriers=carriers(values, effect.clusters),
        caution=joined(*coverage_cautions(effect.clusters, between=between)),
        withheld=joined(*withheld),
    )


def _share_of_largest(values: Floats) -> float:
    count = max(1, round(LARGEST_SHARE * values.size))
    largest = np.argsort(-np.abs(values), kind="stable")[:count]
    return float(values[largest].sum() / values.sum())
