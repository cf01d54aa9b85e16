"""What a run measures of the published figures: one quantity at a time, read from its records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from budgetlens.comparison.published import own_cell_names, same_levels
from budgetlens.model.declaration import Declaration
from budgetlens.model.observation import available_probes
from budgetlens.runs.run import Run
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.contrasts import Contrast, contrast_values, wide_cells
from budgetlens.statistics.decisions import of_intervals, of_student
from budgetlens.statistics.intervals import proportion_interval
from budgetlens.statistics.paired import PairedEffect, one_sample_effects
from budgetlens.statistics.paired_inputs import unit_labels
from budgetlens.statistics.ratios import ratio_of_means

NAN = float("nan")

RATIO_OF_D = "two d_z have different units of spread: no interval is given, and their ratio is unstable"
DIFFERENCE_OF_D = "a difference of d_z is no effect: d_z does not add up; see the contrasts on the mean"

#: In front of a quantity whose spread over examples was published.
SPREAD = "sd of "
SEPARATE = "separate softmaxes for self and cross attention: their shares are not shares of one budget"


@dataclass(frozen=True)
class Measured:
    """One measured quantity with its interval, or why there is none."""

    n: int = 0
    value: float = NAN
    low: float = NAN
    high: float = NAN
    caution: str = ""
    reason: str = ""


def as_contrast(baseline: str, treatment: str) -> Contrast:
    """Cells joined by ` + ` on either side as one contrast."""
    weights = dict.fromkeys(baseline.split(" + "), 1.0) | dict.fromkeys(treatment.split(" + "), -1.0)
    return Contrast(f"{baseline} → {treatment}", "published", weights)


class Measurements:
    """Measured counterparts of published figures; records are read once, when first needed.

    ``documents`` (index example) names the document of each example where some share one: documents are then the
    independent units of every interval and test.
    """

    def __init__(self, run: Run, resamples: int) -> None:
        self._run = run
        self._cells = own_cell_names(run.manifest)
        self._wide = wide_cells(run.outcomes, run.outcome_quantity.name)
        self.documents = run.documents
        self._inference = replace(run.inference, resamples=resamples)
        self._effects: dict[str, PairedEffect] = {}
        self._observed: dict[tuple[str, str], list[BudgetArray]] = {}
        self._words: pd.Series | None = None

    def __call__(self, figure: pd.Series) -> Measured:
        sides = ("baseline", "treatment", "whole_baseline", "whole_treatment")
        names = {side: self._own_cells(str(figure[side])) for side in sides}
        if None in names.values():
            return Measured(reason="the run has no such cell")
        measured = self._measured(figure, names)
        if all(same_levels(str(name), str(figure[side])) for side, name in names.items()):
            return measured
        note = "the run's own cells of the same published short name"
        return replace(measured, reason="; ".join(filter(None, (measured.reason, note))))

    def _measured(self, figure: pd.Series, names: Mapping[str, str | None]) -> Measured:
        quantity = str(figure["quantity"])
        baseline, part = str(names["baseline"]), str(figure["part"])
        probe = self._probe_of(quantity.removeprefix(SPREAD))
        if probe is not None:
            return _spread_or_mean(quantity, self._seen(*probe, baseline, int(figure["layer"]), part))
        chosen = self._examples(str(figure["stratum"]))
        if isinstance(chosen, str):
            return Measured(reason=chosen)
        if quantity == "examples":
            return Measured(len(chosen), float(len(chosen)), float(len(chosen)), float(len(chosen)))
        if quantity == "document tokens":
            return self._document_tokens(baseline)
        wide = self._wide.loc[chosen]
        key = f"{figure['stratum']} {baseline} → {names['treatment']}"
        if quantity == "mean NLL":
            return _mean(self._described(key, wide[baseline]))
        if quantity in ("ratio of d_z", "difference of d_z"):
            return self._of_d(quantity, wide, names)
        contrast = as_contrast(baseline, str(names["treatment"]))
        if quantity == "share of the whole":
            whole = as_contrast(str(names["whole_baseline"]), str(names["whole_treatment"]))
            pair = contrast_values(wide, [contrast, whole]).to_numpy()
            labels = self._inference.labels(wide.index)
            ratio = ratio_of_means(pair[:, 0], pair[:, 1], self._inference, clusters=labels)
            return Measured(ratio.n, ratio.ratio, ratio.low, ratio.high, ratio.caution, ratio.reason)
        values = contrast_values(wide, [contrast]).iloc[:, 0]
        effect = self._described(key, values)
        return self._won(effect, values) if quantity == "win %" else _statistic(quantity, effect)

    def _examples(self, stratum: str) -> pd.Index | str:
        """The examples of a stratum of answer words such as `answer words 3-5` or `answer words 21+`."""
        if not stratum:
            return self._wide.index
        if self._words is None:
            if "answer_words" not in self._run.trials.columns:
                return "the run's trials do not count the words of the answers"
            self._words = self._run.trials.groupby("example", observed=True)["answer_words"].first()
        low, _, high = stratum.removeprefix("answer words ").rstrip("+").partition("-")
        words = self._words.reindex(self._wide.index)
        within = words.between(
            int(low), int(high) if high else (np.inf if stratum.endswith("+") else int(low))
        )
        return self._wide.index[within.to_numpy()]

    def _document_tokens(self, cell: str) -> Measured:
        own = self._run.trials[self._run.trials["cell"] == cell].set_index("example")
        return _mean(self._described(f"document tokens {cell}", own["document_tokens"].sort_index()))

    def _of_d(self, quantity: str, wide: pd.DataFrame, names: Mapping[str, str | None]) -> Measured:
        """Ratio or difference of two d_z; several treatments on a side give the mean of their d_z."""

        def d_z(baseline: str, treatments: str) -> float:
            with np.errstate(divide="ignore", invalid="ignore"):
                found = [
                    difference.mean() / difference.std(ddof=1)
                    for difference in (
                        wide[baseline] - wide[treatment] for treatment in treatments.split(" + ")
                    )
                ]
            return float(np.mean(found)) if np.isfinite(found).all() else NAN

        one = d_z(str(names["baseline"]), str(names["treatment"]))
        other = d_z(str(names["whole_baseline"]), str(names["whole_treatment"]))
        if not (math.isfinite(one) and math.isfinite(other)) or (quantity == "ratio of d_z" and other == 0):
            return Measured(len(wide), reason="a d_z is undefined: too few examples, or they do not differ")
        if quantity == "ratio of d_z":
            return Measured(len(wide), one / other, reason=RATIO_OF_D)
        return Measured(len(wide), one - other, reason=DIFFERENCE_OF_D)

    def _own_cells(self, published: str) -> str | None:
        """The run's names of published cells, joined as they were; None where it lacks one."""
        if not published:
            return ""
        own = [self._cells.get(cell) for cell in published.split(" + ")]
        return None if None in own else " + ".join(str(cell) for cell in own)

    def _described(self, key: str, values: pd.Series) -> PairedEffect:
        """Statistics of values with the index example; ``key`` names them, so that they are computed once."""
        if key not in self._effects:
            self._effects[key] = one_sample_effects(
                values.to_numpy(dtype=np.float64)[:, None],
                self._inference,
                clusters=self._inference.labels(values.index),
                sign_flips=False,
            )[0]
        return self._effects[key]

    def _won(self, effect: PairedEffect, values: pd.Series) -> Measured:
        if math.isnan(effect.win_percent):
            return Measured(effect.n, reason=effect.reason)
        labels = unit_labels(self._inference.labels(values.index), len(values))
        ends = proportion_interval(values.to_numpy() > 0, labels, effect.clusters, self._inference.confidence)
        return Measured(effect.n, effect.win_percent, 100 * ends[0], 100 * ends[1])

    def _probe_of(self, words: str) -> tuple[str, Declaration] | None:
        """The probe of attention that a published quantity is of, by what it or its quantity is called; None of others."""
        known = {name: made.declares for name, made in available_probes().items()}
        for name, declared in (known | self._run.declarations).items():
            if (
                declared.axis
                and declared.tested
                and words in (declared.tested.label, declared.label.short.lower())
            ):
                return name, declared
        return None

    def _seen(self, name: str, declared: Declaration, cell: str, layer: int, part: str) -> PairedEffect | str:
        """What a probe saw of a category, or of a declared sum of them, in one cell and layer; or why that is unknown."""
        if not self._recorded(name, declared):
            return f"the run has no {declared.label.sentence}"
        words = {declared.labels.get(own, own): own for own in declared.categories}
        wanted = declared.sums.get(part, (words.get(part, part),))
        arrays = [own for own in self._arrays(name, declared) if own.stack == "decoder"]
        if declared.sums:
            # A published share is one of a single softmax over the keys of both stacks.
            arrays = [own for own in arrays if own.block == "merged"]
            if not arrays:
                return SEPARATE
        found = next((own for own in arrays if set(wanted) & set(own.roles)), None)
        if found is None and name not in self._run.kinds:
            return f"the run has no {declared.label.sentence}"
        if found is None:
            return f"the run's {declared.label.sentence} have no {declared.axis} of {part}"
        if layer not in found.layers or cell not in found.cells:
            return f"the run's {declared.label.sentence} have no layer {layer} in this cell"
        places = [found.roles.index(category) for category in wanted if category in found.roles]
        chosen = found.values[found.cells.index(cell), :, found.layers.index(layer)][:, :, places]
        values = pd.Series(chosen.sum(axis=2, dtype=np.float64).mean(axis=1), index=list(found.examples))
        return self._described(f"{name} {cell} {layer} {part}", values)

    def _recorded(self, name: str, declared: Declaration) -> list[str]:
        """The kinds of record that may hold what a probe saw: its own, else those of a like probe.

        An earlier version kept several definitions of a quantity, each with categories of its own, as one kind.
        """
        if name in self._run.kinds:
            return [name]
        return [
            other
            for other, own in self._run.declarations.items()
            if own.axis == declared.axis and declared.tested in own.quantities and own.axis
        ]

    def _arrays(self, name: str, declared: Declaration) -> list[BudgetArray]:
        quantity = declared.tested or declared.quantities[0]
        key = (name, quantity.name)
        if key not in self._observed:
            self._observed[key] = [
                array
                for kind in self._recorded(name, declared)
                for array in self._run.arrays(kind, declared.axis, (quantity.name,))[quantity.name]
            ]
        return self._observed[key]


def _spread_or_mean(quantity: str, effect: PairedEffect | str) -> Measured:
    """The mean over examples, or their standard deviation where the quantity asks for it."""
    if isinstance(effect, str):
        return Measured(reason=effect)
    if not quantity.startswith(SPREAD):
        return _mean(effect)
    if math.isfinite(effect.sd):
        return Measured(effect.n, effect.sd)
    # Equal values have a spread of 0 and no interval; a single one has none at all.
    constant = effect.n > 1 and math.isfinite(effect.mean_difference)
    return Measured(effect.n, 0.0 if constant else NAN, reason="" if constant else effect.reason)


def _mean(effect: PairedEffect) -> Measured:
    reason = effect.reason if math.isnan(effect.low) else ""
    caution = of_intervals(effect.caution)
    return Measured(effect.n, effect.mean_difference, effect.low, effect.high, caution, reason)


def _statistic(quantity: str, effect: PairedEffect) -> Measured:
    if quantity == "mean difference":
        return _mean(effect)
    if quantity == "d_z":
        reason = effect.reason if math.isnan(effect.d_z) else ""
        caution = of_intervals(effect.caution)
        return Measured(effect.n, effect.d_z, effect.d_z_low, effect.d_z_high, caution, reason)
    if quantity == "p (t)":
        reason = effect.reason if math.isnan(effect.p_t) else ""
        return Measured(effect.n, effect.p_t, caution=of_student(effect.clusters), reason=reason)
    raise ValueError(f"published_figures.csv names quantity {quantity!r}, which nothing here measures")
