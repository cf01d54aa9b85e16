"""The tables of a re-analysis by answer length, with their captions."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analyses.studies.prefix_ratios import SHOWN
from analyses.studies.prefix_ratios import presented as ratios_presented
from budgetlens.model.roles import ROLES
from budgetlens.runs.run import Run
from budgetlens.statistics.decisions import DOCUMENT_MEANS
from budgetlens.statistics.verdicts import CAUTION_RULE, CAUTIONS, trend_rule
from budgetlens.tables.presentation import (
    TESTED_COLUMNS,
    Table,
    documents_resampled,
    effects_presentation,
    shares_documents,
)
from budgetlens.tables.probe_presentation import UNIT_OF_SHARES, shown_layers

STRATA = "strata by words of the answer"
#: What names a row of effects by stratum.
BY_STRATUM = ("contrast", "by", "stratum")


def presented(frames: Mapping[str, pd.DataFrame], run: Run) -> dict[str, Table]:
    """Tables by name; ``frames`` are those of :mod:`analyses.studies.reanalysis`, ``run`` is the one analysed."""
    seed, inference = run.seed, run.inference
    n = f"{run.manifest.corpus.n} examples in all, as in the column by stratum"
    effects = effects_presentation(
        frames["strata_effects"],
        inference,
        title="Effects by answer length",
        columns=(*BY_STRATUM, *TESTED_COLUMNS),
    )
    shared = documents_resampled(shares_documents(frames["strata_effects"]))
    tables = {
        "strata_likelihood": Table(
            frame=frames["strata_likelihood"].assign(condition=frames["strata_likelihood"]["alias"]),
            title="Answer NLL by answer length",
            estimand="mean over the examples of a stratum of the mean NLL of an answer's tokens",
            unit="nats per answer token",
            n=n,
            family="none",
            correction="none",
            seed=seed,
            notes=("95 % intervals made for long tails", *shared, CAUTION_RULE, STRATA),
            allows_for_documents=True,
            columns=("condition", *BY_STRATUM[1:], "n", "mean_answer_words", "mean", "caution", "reason"),
        ),
        "strata_effects": effects,
        "strata_ratios": ratios_presented(
            frames["strata_ratios"], n, seed, ("quantity", *BY_STRATUM[1:], *SHOWN[3:])
        ),
        "strata_trends": Table(
            frame=frames["strata_trends"],
            title="Trends over answer length",
            estimand="change of the mean effect from one bin to the next; for short or long: long minus short",
            unit="nats per answer token",
            n=n,
            family="the contrasts of one stratification",
            correction="Holm on the permutation p",
            seed=seed,
            notes=(
                "95 % intervals made for long tails; p by studentised permutation of examples over strata",
                *((CAUTIONS[DOCUMENT_MEANS],) if shared else ()),
                CAUTION_RULE,
                STRATA,
            ),
            columns=("contrast", "by", "n", "strata", "slope", "p_holm", "verdict", "caution", "reason"),
            rule=trend_rule(),
            allows_for_documents=True,
        ),
    }
    if len(frames["strata_shares"]):
        tables["strata_shares"] = _shares(frames["strata_shares"], n, run.manifest.rows)
    return tables


def _shares(shares: pd.DataFrame, n: str, rows: str) -> Table:
    """Shares of bare and oracle at chosen layers, a column per role; the frame keeps every row."""
    chosen = shares[shares["alias"].isin(("bare", "oracle_trunc", "bare_nq", "oracle_trunc_nq"))]
    wide = (
        chosen[chosen["layer"].isin(shown_layers(chosen["layer"]))]
        .assign(condition=chosen["alias"], percent=100 * chosen["mean"])
        .pivot_table(
            index=["condition", "stratum", "block", "layer"],
            columns="role",
            values="percent",
            sort=False,
            observed=True,
        )
    )
    frame = wide[[role for role in ROLES if role in wide]].map("{:.1f}".format).reset_index()
    frame.columns.name = None
    return Table(
        frame=frame,
        title="Attention shares by answer length, decoder",
        estimand="mean over a stratum's examples and heads of the share that the answer's "
        f"{rows} rows give to each role",
        unit="percent",
        n=n,
        family="none",
        correction="none",
        seed=None,
        notes=("chosen layers", UNIT_OF_SHARES, STRATA),
        allows_for_documents=True,
    )
