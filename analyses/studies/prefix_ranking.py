"""Which prefix helps most: every prefix's effect, what it is of the oracle prefix's, and its length."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.prefix_plans import PrefixStudy
from analyses.studies.prefix_ratios import ratio_of_d
from budgetlens.design.plan import Plan
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import contrast_values, reference_means, wide_cells
from budgetlens.statistics.decisions import joined, of_intervals
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.ratios import ratio_of_means
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.presentation import Table, documents_resampled, sample
from figures import keyword_curve

_KEYWORDS = re.compile(r"keywords:(?P<count>[0-9]+)")


def ranking_tables(run: Run, study: PrefixStudy) -> dict[str, Table]:
    """``ranking`` and, where there are keywords of several counts, ``keyword_curve``."""
    plan, seed = run.plan, run.seed
    trials, documents = run.trials, run.documents
    inference = run.inference
    likelihood, protocol = run.outcomes, run.manifest.protocol
    frame = ranking_frame(likelihood, trials, plan, study, protocol, inference)
    shared: dict[str, Any] = {
        "n": sample(int(frame["n"].max()), documents),
        "family": "none: every row stands for itself",
        "correction": "none",
        "seed": seed,
        "allows_for_documents": True,
    }
    tables = {
        "ranking": Table(
            frame=frame,
            title="Ranking of prefixes, prompt=query",
            estimand="mean over examples of bare - prefix, and its share of bare - oracle (ratio of means)",
            unit="nats per answer token",
            notes=(
                "95 % intervals made for long tails; a share is withheld where the interval of the oracle prefix holds 0",
                "a prefix of several draws is the mean of an example's draws",
                "share of d: the published definition, d over the oracle prefix's d",
                "tests are in the table of paired effects",
                *documents_resampled(documents is not None),
                CAUTION_RULE,
            ),
            columns=(
                "rank",
                "prefix",
                "mean_prefix_tokens",
                "mean_difference",
                "d_z",
                "win_percent",
                "share",
                "share_of_d",
                "caution",
                "reason",
            ),
            **shared,
        )
    }
    curve = curve_frame(frame)
    if len(curve) > 1:
        tables["keyword_curve"] = Table(
            frame=curve,
            title="Effect by number of keywords",
            estimand="mean over examples of bare - keywords",
            unit="nats per answer token",
            notes=(
                "95 % intervals made for long tails",
                *documents_resampled(documents is not None),
                CAUTION_RULE,
                "a document with fewer different content words than the count gives all that it has",
            ),
            **shared,
        )
    return tables


def ranking_frame(
    likelihood: pd.DataFrame,
    trials: pd.DataFrame,
    plan: Plan,
    study: PrefixStudy,
    protocol: str,
    inference: Inference,
) -> pd.DataFrame:
    """One row per prefix, the most helpful first.

    Columns rank, prefix, alias, n, mean_prefix_tokens, mean_difference, low, high, d_z, win_percent, share,
    share_low, share_high (of the oracle prefix's mean difference), share_of_d, caution (of the intervals),
    reason.
    """
    by_name = {contrast.name: contrast for contrast in plan.contrasts}
    prefixes = study.compared(protocol)
    contrasts = [by_name[study.prefix(prefix.level).name] for prefix in prefixes]
    wide = wide_cells(likelihood, "nll")
    values = contrast_values(wide, contrasts)
    labels = inference.labels(values.index)
    effects = one_sample_effects(values.to_numpy(), inference, clusters=labels, sign_flips=False)
    oracle = values[study.prefix("oracle").name].to_numpy()
    (reference,) = reference_means(wide, [by_name[study.prefix("oracle").name]])
    tokens = trials.groupby("cell", observed=True)["prefix_tokens"].mean()
    rows = []
    for prefix, contrast, effect in zip(prefixes, contrasts, effects, strict=True):
        own_values = values[contrast.name].to_numpy()
        ratio = ratio_of_means(own_values, oracle, inference, reference=float(reference), clusters=labels)
        own = prefix.level == "oracle"
        rows.append(
            {
                "prefix": prefix.level,
                "alias": prefix.alias,
                "n": effect.n,
                "mean_prefix_tokens": float(
                    tokens[
                        [study.cell(draw, protocol).name for draw in study.draws(protocol, prefix.level)]
                    ].mean()
                ),
                "mean_difference": effect.mean_difference,
                "low": effect.low,
                "high": effect.high,
                "d_z": effect.d_z,
                "win_percent": effect.win_percent,
                "share": ratio.ratio,
                # The oracle prefix is all of itself in every resample.
                "share_low": float("nan") if own else ratio.low,
                "share_high": float("nan") if own else ratio.high,
                "share_of_d": ratio_of_d(values[contrast.name].to_numpy(), oracle),
                # Nothing is tested here, so that only what concerns the intervals is said.
                "caution": of_intervals(joined(effect.caution, ratio.caution)),
                "reason": "" if own and ratio.ratio == 1 else ratio.reason,
            }
        )
    frame = pd.DataFrame(rows).sort_values("mean_difference", ascending=False, kind="stable")
    frame.insert(0, "rank", range(1, len(frame) + 1))
    return frame.reset_index(drop=True)


def curve_frame(ranking: pd.DataFrame) -> pd.DataFrame:
    """The keyword prefixes of a ranking by count: columns keywords, n, mean_prefix_tokens, mean, low, high,
    caution (of the interval or of the prefix's share).
    """
    counts = ranking["prefix"].str.fullmatch(_KEYWORDS)
    curve = ranking[counts].assign(
        keywords=lambda rows: rows["prefix"].str.extract(_KEYWORDS)["count"].astype(int),
        mean=lambda rows: rows["mean_difference"],
    )
    columns = ["keywords", "n", "mean_prefix_tokens", "mean", "low", "high", "caution"]
    return curve.sort_values("keywords")[columns].reset_index(drop=True)


def ranking_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """The curve over the number of keywords, with the other prefixes as level lines."""
    setting = run.manifest.setting
    if "keyword_curve" not in tables:
        return {}
    ranking = tables["ranking"]
    others = ranking[~ranking["prefix"].str.fullmatch(_KEYWORDS)]
    references = others.rename(columns={"prefix": "name", "mean_difference": "mean"})
    return {
        "keyword_curve": keyword_curve(
            tables["keyword_curve"],
            references=references[["name", "mean", "low", "high"]],
            title=f"Effect by number of keywords: {setting}",
        )
    }
