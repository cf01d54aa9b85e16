"""Tables and figures of attention knockouts (:mod:`analyses.studies.knockout_plans`): what cutting costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from analyses.studies.knockout_plans import QUARTERS, WINDOWS, Knocked, knockout_cell
from budgetlens.model.roles import ROLES
from budgetlens.runs.run import Run
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.decisions import FOUND
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.findings import CORRECTED
from budgetlens.statistics.verdicts import CAUTION_RULE, rule
from budgetlens.tables.presentation import Table, documents_resampled, sample
from budgetlens.tables.stating import correction_words
from figures import effect_map, interaction_plot
from interventions.levels.layer_windows import parse_window

#: The words for a knockout of a role that is not there, of which nothing was decided.
_NOT_THERE = "not there"
_ABSENT, _UNSEEN = "no trial has a position of this role", "no trial's rows see a key of this role"


def knockout_table(
    effects: pd.DataFrame,
    budgets: Sequence[BudgetArray],
    knocked: Sequence[Knocked],
    positions: Mapping[str, int],
) -> pd.DataFrame:
    """One row per knockout: the rise of the NLL, its test, and the attention that the keys had got.

    Args:
        effects: the effects table of the knockouts' contrasts (baseline − treatment), which leaves out
            those that change nothing in any trial.
        budgets: shares by role; of the decoder's, the bases' are read.
        knocked: the knockouts; without a row in `effects` nothing is defined.
        positions: how many positions of each role there are in all trials; for a role without any, nothing is
            defined.

    Returns:
        Columns base, rows, keys, window, n, mean, low, high (NLL with the knockout − without, nats per answer
        token), d_z (of the rise), the corrected p, kind (of the fall), verdict, share (mean
        share that the keys had without the knockout, over the window's layers, heads, examples; NaN where budgets lack
        them), caution (that of the effect), reason.
    """
    by_name = effects.set_index("contrast")
    corrected = next(name for name in CORRECTED if name in effects.columns)
    rows = []
    for each in knocked:
        key = {
            "base": each.base.label,
            "rows": each.rows,
            "keys": each.keys,
            "window": each.window,
        }
        share = _share(budgets, each)
        if positions[each.keys] == 0 or each.contrast.name not in by_name.index:
            undefined = dict.fromkeys(("mean", "low", "high", "d_z", corrected), np.nan)
            reason = _UNSEEN if positions[each.keys] else _ABSENT
            told = {"kind": "", "verdict": _NOT_THERE, "share": share, "caution": "", "reason": reason}
            rows.append({**key, "n": int(effects["n"].max()), **undefined, **told})
            continue
        effect = by_name.loc[each.contrast.name]
        rows.append(
            {
                **key,
                "n": int(effect["n"]),
                "mean": -effect["mean_difference"],
                "low": -effect["high"],
                "high": -effect["low"],
                "d_z": -effect["d_z"],
                corrected: effect[corrected],
                "kind": effect["kind"],
                "verdict": effect["verdict"],
                "share": share,
                "caution": effect["caution"],
                "reason": effect["reason"] if np.isnan(effect["p_sign_flip"]) else "",
            }
        )
    return pd.DataFrame(rows)


def _share(budgets: Sequence[BudgetArray], knocked: Knocked) -> float:
    name = knockout_cell(knocked.base).name
    for budget in budgets:
        if budget.stack != "decoder" or knocked.keys not in budget.roles or name not in budget.cells:
            continue
        wanted = parse_window(knocked.window).layers(1 + max(budget.layers))
        layers = [place for place, layer in enumerate(budget.layers) if layer in wanted]
        if layers:
            values = budget.values[budget.cells.index(name), :, layers, :, budget.roles.index(knocked.keys)]
            return float(values.mean(dtype=np.float64))
    return float("nan")


def knockout_tables(run: Run, knocked: Sequence[Knocked]) -> dict[str, Table]:
    """The table of knockouts with its caption."""
    plan, seed, rows = run.plan, run.seed, run.manifest.rows
    trials, documents = run.trials, run.documents
    inference = run.inference
    effects = effects_table(run.outcomes, plan.contrasts, inference)
    budgets = run.observed("budgets")
    positions = {role: int(trials[f"{role}_tokens"].sum()) for role in ROLES}
    frame = knockout_table(effects, budgets, knocked, positions)
    sizes = effects.groupby("family", sort=False).size()
    table = Table(
        frame=frame,
        title="What cutting costs: rise of the answer's NLL when rows no longer see keys",
        estimand="mean over examples of NLL with the knockout − without (positive: cutting them costs); share: "
        f"mean attention share that the answer's {rows} rows gave these keys without it, in the same layers",
        unit="nats per answer token; share from 0 to 1",
        n=sample(trials["example"].nunique(), documents),
        family=", ".join(f"{family} ({size})" for family, size in sizes.items()),
        correction=correction_words(plan.correction),
        seed=seed,
        rule=f"of the knockout as treatment: {rule(inference.stated, inference.alpha)}",
        allows_for_documents=True,
        notes=(
            "95 % intervals over examples, made for long tails",
            *documents_resampled(documents is not None),
            CAUTION_RULE,
            "windows are parts of the decoder's depth; a knockout cuts the direct look alone, and what rows took "
            "in below the window stays",
        ),
    )
    return {"knockouts": table}


def knockout_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Maps of the rise by role and window, by role and rows, and of the attention that the keys had got."""
    setting = run.manifest.setting
    frame = tables["knockouts"]
    frame = frame.assign(marked=frame["kind"].isin(FOUND))
    first = frame["rows"].iloc[0]
    by_window = frame[frame["rows"] == first]
    roles = [role for role in ROLES if role in set(frame["keys"])]
    windows = [window for window in WINDOWS if window in set(by_window["window"])]
    common: dict[str, Any] = {"y": "keys", "facet": "base", "y_title": "keys"}
    figures = {
        "knockout_windows": effect_map(
            by_window,
            x="window",
            **common,
            order={"keys": roles, "window": windows},
            quantity="rise of answer NLL",
            x_title="decoder layers, part of the depth",
            title=f"What cutting costs, by layers: {setting}",
            subtitle=f"{first} rows no longer see the keys | framed: corrected p below .05 and the interval leaves "
            "out 0",
        ),
        "knockout_attention": effect_map(
            by_window.drop(columns=["mean", "low", "high", "marked"])
            .rename(columns={"share": "mean"})
            .assign(low=np.nan, high=np.nan),
            x="window",
            **common,
            order={"keys": roles, "window": windows},
            quantity="attention share without knockout",
            unit="%",
            percent=True,
            around_zero=False,
            x_title="decoder layers, part of the depth",
            title=f"What the answer's rows look at, by layers: {setting}",
            subtitle="mean share of attention, nothing knocked out: cutting a large share need not cost much",
        ),
    }
    quarters = by_window[by_window["mean"].notna()]
    figures["knockout_curves"] = interaction_plot(
        quarters.assign(cell=quarters["keys"] + "@" + quarters["window"] + ", " + quarters["base"]),
        x="window",
        line="base",
        facet="keys",
        order={
            "keys": [role for role in roles if role in set(quarters["keys"])],
            "window": [window for window in QUARTERS if window in set(quarters["window"])],
        },
        quantity="rise of answer NLL",
        unit="nats",
        reading=f"{first} rows no longer see the keys in a quarter of the decoder's layers; at 0 cutting costs nothing",
        zero=True,
        x_title="decoder layers, part of the depth",
        title=f"What cutting costs, by quarters of the depth: {setting}",
    )
    if frame["rows"].nunique() > 1:
        figures["knockout_rows"] = effect_map(
            frame[frame["window"] == "all"],
            x="rows",
            **common,
            order={"keys": roles, "rows": list(dict.fromkeys(frame["rows"]))},
            quantity="rise of answer NLL",
            x_title="rows that no longer see the keys, in all layers",
            title=f"What cutting costs, by who may look: {setting}",
            subtitle="framed: corrected p below .05 and the interval leaves out 0",
        )
    return figures
