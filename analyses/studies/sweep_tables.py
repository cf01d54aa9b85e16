"""The tables of a sweep over models: one row per model, every effect by model, and attention shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.prefix_ratios import RatioOf, ratio_frame
from budgetlens.design.plan import Plan
from budgetlens.model.roles import ROLES
from budgetlens.runs.manifest import Manifest
from budgetlens.runs.run import Run
from budgetlens.runs.swept import finished, read_swept
from budgetlens.statistics.bands import share_table
from budgetlens.statistics.budget_arrays import by_document
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.statistics.decisions import joined, of_intervals
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.verdicts import CAUTION_RULE, SMALLEST_EFFECT
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.digits import with_interval
from budgetlens.tables.outcomes import by_cell
from budgetlens.tables.presentation import (
    TESTED_COLUMNS,
    Table,
    documents_resampled,
    effects_presentation,
    shares_documents,
)
from budgetlens.tables.probe_presentation import UNIT_OF_SHARES
from figures import effects_forest, interaction_plot

ORACLE, RANDOM = "oracle prefix | prompt=query", "pool prefix | prompt=query"
PROMPT = "query prompt | bare"
FRACTION = RatioOf("structural fraction", RANDOM, ORACLE)

#: Columns of the row of a model, and the contrasts that they report.
REPORTED = {"oracle": ORACLE, "random": RANDOM, "query_prompt": PROMPT}


def sweep_tables(sweep: Run) -> dict[str, Table]:
    """``models``, ``model_effects``, ``model_likelihood`` and ``model_shares``. RunError where no model is finished."""
    seed, n = sweep.seed, f"{sweep.manifest.corpus.n} examples of each model"
    rows: list[dict[str, Any]] = []
    effects, likelihoods, shares = [], [], []
    runs = finished(sweep)
    for swept in read_swept(sweep):
        if swept.failure:
            rows.append({"model": swept.name, "failure": swept.failure})
            continue
        run = runs[swept.name]
        own, own_plan, likelihood, documents = run.manifest, run.plan, run.outcomes, run.documents
        inference = run.inference
        table = effects_table(likelihood, own_plan.contrasts, inference)
        table.insert(0, "model", swept.name)
        effects.append(table)
        means = by_cell(likelihood, run.declarations[run.outcome], own.cells, inference)
        likelihoods.append(means.assign(model=swept.name))
        ratio = ratio_frame(wide_cells(likelihood, "nll"), own_plan, [FRACTION], inference).iloc[0]
        rows.append(_row(swept.name, own, table, means, ratio, own_plan))
        budgets = [
            budget for budget in by_document(run.observed("budgets"), documents) if budget.stack == "decoder"
        ]
        own_shares = with_cell_columns(share_table(budgets, inference), own.cells)
        shares.append(own_shares.assign(model=swept.name))
    frame = pd.DataFrame(rows)
    for text in ("failure", "reason", "family", *REPORTED, "structural_fraction"):
        frame[text] = frame[text].fillna("") if text in frame else ""
    for count in ("n", "clusters", "parameters"):
        frame[count] = frame[count].astype("Int64") if count in frame else pd.NA
    shared = documents_resampled("clusters" in frame and shares_documents(frame))
    tables = {"models": _models_presented(frame, n, seed, shared)}
    if effects:
        tables |= {
            "model_effects": _effects_presented(pd.concat(effects, ignore_index=True), sweep.plan, seed),
            "model_likelihood": Table(
                frame=pd.concat(likelihoods, ignore_index=True),
                title="Answer NLL by model and cell",
                estimand="mean over examples of the mean NLL of an answer's tokens",
                unit="nats per answer token of the model's own tokenizer",
                n=n,
                family="none",
                correction="none",
                seed=seed,
                notes=("95 % BCa intervals", *shared, CAUTION_RULE),
                columns=("model", "alias", "n", "mean", "caution", "reason"),
            ),
            "model_shares": _shares_presented(pd.concat(shares, ignore_index=True), n),
        }
    return tables


def _row(
    name: str,
    manifest: Manifest,
    effects: pd.DataFrame,
    means: pd.DataFrame,
    ratio: pd.Series,
    plan: Plan,
) -> dict[str, Any]:
    """The row of one model: numbers for the file, and texts with intervals for the reader."""
    by_name = effects.set_index("contrast")
    row: dict[str, Any] = {
        "model": name,
        "family": manifest.model.family,
        "parameters": manifest.model.parameters,
        "n": int(by_name["n"].iloc[0]),
        "clusters": int(by_name["clusters"].iloc[0]),
        **{f"nll_{alias}": mean for alias, mean in zip(means["alias"], means["mean"], strict=True)},
    }
    for column, contrast in REPORTED.items():
        effect = by_name.loc[contrast]
        row |= {
            column: with_interval(effect["mean_difference"], effect["low"], effect["high"]),
            f"{column}_mean": effect["mean_difference"],
            f"{column}_low": effect["low"],
            f"{column}_high": effect["high"],
            f"{column}_d": effect["d_z"],
            f"{column}_p": effect["p_t"] if plan.correction == "bonferroni" else effect["p_sign_flip"],
        }
    cautions = [*by_name.loc[list(REPORTED.values()), "caution"], ratio["caution"]]
    return {
        **row,
        "structural_fraction": with_interval(ratio["ratio"], ratio["low"], ratio["high"]),
        "structural_fraction_ratio": ratio["ratio"],
        "structural_fraction_low": ratio["low"],
        "structural_fraction_high": ratio["high"],
        "ratio_of_d": ratio["ratio_of_d"],
        "caution": of_intervals(joined(*cautions)),
        "reason": ratio["reason"],
    }


def _models_presented(frame: pd.DataFrame, n: str, seed: int, shared: tuple[str, ...]) -> Table:
    return Table(
        frame=frame,
        title="Models",
        estimand="mean over examples of bare - prefix (oracle, random) and of no prompt - query prompt (query prompt), "
        "positive: it helps; structural fraction: random over oracle, ratio of means",
        unit="nats per answer token of the model's own tokenizer",
        n=n,
        family="none: every row stands for itself; tests are in the table of effects by model",
        correction="none",
        seed=seed,
        notes=(
            "95 % BCa intervals; a fraction is withheld where the interval of the oracle prefix holds 0",
            *shared,
            "ratio of d: the published definition of the structural fraction, unstable",
            "nats per token are not comparable between tokenizers",
            f"a caution stands for any interval of its row; {CAUTION_RULE}",
        ),
        columns=(
            "model",
            "family",
            "n",
            "nll_bare",
            "oracle",
            "oracle_d",
            "random",
            "random_d",
            "query_prompt",
            "query_prompt_d",
            "structural_fraction",
            "ratio_of_d",
            "failure",
            "caution",
            "reason",
        ),
    )


def _effects_presented(frame: pd.DataFrame, plan: Plan, seed: int) -> Table:
    return effects_presentation(
        frame,
        Inference(seed=seed, correction=plan.correction),
        title="Effects by model (families are within a model)",
        columns=("model", "contrast", *TESTED_COLUMNS),
    )


def _shares_presented(frame: pd.DataFrame, n: str) -> Table:
    """Shares averaged over the decoder's layers; the frame keeps every layer."""
    wide = (
        frame.assign(percent=100 * frame["mean"])
        .pivot_table(
            index=["model", "alias", "block"], columns="role", values="percent", sort=False, observed=True
        )
        .map("{:.1f}".format)
    )
    wide = wide[[role for role in ROLES if role in wide]].reset_index()
    wide.columns.name = None
    return Table(
        frame=wide,
        title="Attention shares by model, decoder",
        estimand="mean over layers, heads and examples of the share that the answer's rows give to each role",
        unit="percent of a softmax; separate blocks each sum to 100",
        n=n,
        family="none",
        correction="none",
        seed=None,
        notes=("shares by layer are in each model's own run, below models/", UNIT_OF_SHARES),
    )


def sweep_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Effects by model, and the cell means of every model."""
    setting = run.manifest.setting
    if "model_effects" not in tables:
        return {}
    effects = tables["model_effects"]
    chosen = effects[effects["contrast"].isin(REPORTED.values())]
    chosen = chosen.assign(family=chosen["contrast"], alias=chosen["model"], contrast=chosen["model"])
    figures = {
        "model_effects": effects_forest(
            chosen.assign(baseline="", treatment=""), SMALLEST_EFFECT, title=f"Effects by model: {setting}"
        )
    }
    means = tables["model_likelihood"]
    shown = means[means["alias"].isin(("bare", "oracle_trunc", "random_trunc", "bare_nq"))]
    figures["model_likelihood"] = interaction_plot(
        shown,
        x="alias",
        line="model",
        facet=None,
        title=f"Answer NLL by model: {setting}",
    )
    return figures
