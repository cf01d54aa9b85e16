"""Does a longer prefix do more damage? A prefix's effect by its own length in tokens.

Lengths are compared in fifths of the examples, with a trend over them; Spearman's correlation stands
beside it as a description. The same words in another order have the same length: where damage grows with
length for both, it is no matter of what the sentence says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import contrast_values, wide_cells
from budgetlens.statistics.decisions import DOCUMENT_MEANS, of_intervals
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.ranks import spearman
from budgetlens.statistics.strata import quantile_strata, strata_table, trend_test
from budgetlens.statistics.verdicts import CAUTION_RULE, CAUTIONS, trend_rule
from budgetlens.tables.digits import counted
from budgetlens.tables.presentation import Table, documents_resampled, sample
from budgetlens.tables.run_statistics import with_trend_verdicts
from figures import length_curves

#: Strata of equal size; fewer where there are too few examples to fill them.
FIFTHS, LEAST_PER_STRATUM = 5, 4


def damage_tables(run: Run, contrasts: Mapping[str, str], measured_in: str) -> dict[str, Table]:
    """``damage_by_length`` and ``damage_trend``.

    ``contrasts`` maps a word for the table to the name of a contrast of ``plan``; ``measured_in`` is the cell
    whose prefix's tokens are the length.
    """
    plan, seed = run.plan, run.seed
    by_name = {contrast.name: contrast for contrast in plan.contrasts}
    chosen = [by_name[name] for name in contrasts.values()]
    values = contrast_values(wide_cells(run.outcomes, "nll"), chosen)
    values.columns = list(contrasts)
    trials, documents = run.trials, run.documents
    own = trials[trials["cell"] == measured_in]
    lengths = own.assign(example=own["example"].astype(str)).set_index("example")["prefix_tokens"]
    lengths = lengths.reindex(values.index.astype(str)).set_axis(values.index)
    inference = run.inference
    strata, trends = damage_frames(values, lengths, inference)
    n = sample(len(values), documents)
    shared: dict[str, Any] = {
        "unit": "nats per answer token",
        "n": n,
        "seed": seed,
        "allows_for_documents": True,
    }
    length = "length: the sentence's tokens"
    return {
        "damage_by_length": Table(
            frame=strata,
            title="Effect by the length of the first sentence",
            estimand="mean over the examples of a stratum of bare - prefix, or of the contrast named",
            family="none: every row stands for itself",
            notes=(
                f"95 % intervals made for long tails; strata are fifths of the examples by length; {length}",
                *documents_resampled(documents is not None),
                CAUTION_RULE,
            ),
            columns=("effect", "stratum", "n", "length", "mean_difference", "caution", "reason"),
            correction="none",
            **shared,
        ),
        "damage_trend": Table(
            frame=trends,
            title="Trend of the effect over the length of the first sentence",
            estimand="change of the mean from one fifth to the next; Spearman's rho over examples",
            family=f"the {counted(len(trends), 'trend')} of this table",
            correction="Holm on the p of the slope, the larger of a permutation's and of one made for long tails",
            rule=trend_rule(),
            notes=(
                "95 % intervals made for long tails; p by studentised permutation",
                *((CAUTIONS[DOCUMENT_MEANS],) if documents is not None else ()),
                CAUTION_RULE,
                f"rho describes, it is not tested; {length}",
                "length goes together with other things, so that a trend is no effect of length alone",
            ),
            **shared,
        ),
    }


def damage_frames(
    values: pd.DataFrame, lengths: pd.Series, inference: Inference
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The effect by stratum of length, and its trend.

    ``values`` holds contrast values, one row per example and one column per effect; ``lengths`` tokens per
    example.

    Returns columns effect, stratum, length (mean tokens) and those of `PairedEffect`; and effect, n (documents where
    examples share them), strata, slope, low, high, p, p_holm (over the effects), verdict, rho, caution, reason.
    """
    strata = quantile_strata(lengths, max(2, min(FIFTHS, len(lengths) // LEAST_PER_STRATUM)))
    means = lengths.groupby(strata, observed=True).mean()
    by_stratum, trends = [], []
    for effect in values.columns:
        # Intervals are shown and no tests.
        table = strata_table(values[effect], strata, inference, sign_flips=False)
        table["caution"] = table["caution"].map(of_intervals)
        table.insert(0, "effect", effect)
        table.insert(2, "length", [float(means[stratum]) for stratum in table["stratum"]])
        by_stratum.append(table)
        trend = trend_test(values[effect], strata, inference)
        varies = lengths.nunique() > 1 and values[effect].nunique() > 1
        rho = spearman(lengths, values[effect]) if varies else float("nan")
        reason = trend.reason or ("" if varies else "all lengths or all values are equal: no correlation")
        trends.append({"effect": effect, **trend.as_row(), "rho": rho, "reason": reason})
    columns = [
        "effect",
        "n",
        "strata",
        "slope",
        "low",
        "high",
        "p",
        "p_holm",
        "verdict",
        "rho",
        "caution",
        "reason",
    ]
    return pd.concat(by_stratum, ignore_index=True), with_trend_verdicts(pd.DataFrame(trends), inference)[
        columns
    ]


def damage_figures(run: Run, tables: Mapping[str, pd.DataFrame], effects: Sequence[str]) -> dict[str, Figure]:
    """The effects over the length of the sentence, one line each."""
    strata = tables["damage_by_length"]
    curves = strata[strata["effect"].isin(effects)].rename(columns={"mean_difference": "mean"})
    # Ties in length can give two strata the same mean.
    curves = curves.drop_duplicates(["effect", "length"])
    return {
        "damage_by_length": length_curves(
            curves,
            line="effect",
            facet=None,
            length="first sentence's length",
            title=f"Effect by the first sentence's length: {run.manifest.setting}",
        )
    }
