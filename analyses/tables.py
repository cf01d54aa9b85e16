"""The tables of a run: likelihood, effects, splits, attention shares, entropies, and what was fed.

Everything here is read from records; nothing needs a model. Statistics live in :mod:`analyses.effects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analyses.analysis import find_analysis
from analyses.bands import share_differences, share_table
from analyses.budget_arrays import BudgetArray, read_budgets
from analyses.contrasts import wide_cells
from analyses.effects import decomposition, effects_table
from analyses.paired import one_sample_effects
from analyses.run_directory import RunDirectory, replacing
from probes.roles import DECODER_ROLES, ENCODER_ROLES

#: Smallest effect on the answer's NLL that would matter, in nats per token, for equivalence tests.
SMALLEST_EFFECT = 0.05


def build_tables(
    directory: RunDirectory, *, smallest_effect: float = SMALLEST_EFFECT
) -> dict[str, pd.DataFrame]:
    """Every table of a run, by name.

    Raises RunError where the run is not finished.
    """
    directory.require_whole()
    manifest = directory.manifest()
    plan = find_analysis(manifest["analysis"]).plan(manifest["protocol"])
    cells, seed = manifest["cells"], int(manifest["seed"])
    likelihood = directory.read_records("likelihood")
    tables = {
        "likelihood": likelihood_table(likelihood, cells, seed=seed),
        "effects": effects_table(
            likelihood, plan.contrasts, seed=seed, smallest_effect=smallest_effect, correction=plan.correction
        ),
    }
    if plan.splits:
        tables["decomposition"] = pd.concat(
            [decomposition(likelihood, split.total, split.parts, seed=seed) for split in plan.splits],
            ignore_index=True,
        )
    if "budgets" in directory.kinds():
        budgets = read_budgets(directory.path / "records" / "budgets")
        tables["shares"] = with_cell_columns(share_table(budgets, seed=seed), cells)
        decoder = [budget for budget in budgets if budget.stack == "decoder"]
        totals = stack_totals(decoder)
        if totals:
            tables["totals"] = with_cell_columns(share_table(totals, seed=seed), cells)
        if plan.share_contrasts and decoder:
            tables["share_effects"] = share_differences([*decoder, *totals], plan.share_contrasts, seed=seed)
    for kind in ("entropies", "published_entropies"):
        if kind in directory.kinds():
            tables[kind] = with_cell_columns(entropy_table(directory.read_records(kind)), cells)
    tables["trials"] = with_cell_columns(trials_table(directory.read_records("trials")), cells)
    return tables


def stack_totals(budgets: Sequence[BudgetArray]) -> list[BudgetArray]:
    """``self total`` and ``cross total`` of every merged block: what goes to the decoder and to the encoder.

    A separate block has no such totals: each of its softmaxes sums to 1 by itself.
    """
    totals = []
    for budget in budgets:
        if budget.block != "merged":
            continue
        groups = {"self total": DECODER_ROLES, "cross total": ENCODER_ROLES}
        sums = [
            budget.values[..., [budget.roles.index(role) for role in roles if role in budget.roles]].sum(
                axis=-1
            )
            for roles in groups.values()
        ]
        totals.append(replace(budget, roles=tuple(groups), values=np.stack(sums, axis=-1)))
    return totals


def likelihood_table(likelihood: pd.DataFrame, cells: Sequence[dict[str, Any]], *, seed: int) -> pd.DataFrame:
    """Answer NLL by cell: mean over examples in nats per answer token, with a BCa interval.

    Columns cell, alias, factors, n, mean, low, high, sd, median, trimmed_mean, token_weighted_mean.
    """
    names = [cell["name"] for cell in cells]
    wide = wide_cells(likelihood, "nll")[names]
    tokens = likelihood.groupby("example", observed=True)["answer_tokens"].first().loc[wide.index]
    described = one_sample_effects(wide.to_numpy(), weights=tokens.to_numpy(), seed=seed)
    rows = [
        {
            "cell": name,
            "n": effect.n,
            "mean": effect.mean_difference,
            "low": effect.low,
            "high": effect.high,
            "sd": effect.sd,
            "median": effect.median,
            "trimmed_mean": effect.trimmed_mean,
            "token_weighted_mean": effect.token_weighted_mean,
            "reason": effect.reason,
        }
        for name, effect in zip(names, described, strict=True)
    ]
    return with_cell_columns(pd.DataFrame(rows), cells)


def entropy_table(entropies: pd.DataFrame) -> pd.DataFrame:
    """Mass and entropy by cell, layer and part: heads averaged per example, then examples.

    Columns cell, stack, block, layer, part, n (examples with a defined entropy), mass, entropy (nats),
    entropy_sd (over examples).
    """
    keys = ["cell", "stack", "block", "layer", "part"]
    per_example = entropies.groupby([*keys, "example"], observed=True)[["mass", "entropy"]].agg(
        {"mass": "mean", "entropy": lambda values: values.mean(skipna=False)}
    )
    grouped = per_example.groupby(keys, observed=True)
    table = grouped.agg(
        n=("entropy", "count"),
        mass=("mass", "mean"),
        entropy=("entropy", "mean"),
        entropy_sd=("entropy", "std"),
    )
    table["reason"] = np.where(table["n"] > 0, "", "no example has mass in this part")
    return table.reset_index()


def trials_table(trials: pd.DataFrame) -> pd.DataFrame:
    """What each cell fed the model: mean positions by role, and the boundary checks.

    ``documents_changed`` counts examples whose document has other token ids than without its prefix;
    ``truncated`` counts examples cut at the limit.
    """
    means = [
        column for column in trials.columns if column.endswith("_tokens") and column != "truncated_tokens"
    ]
    grouped = trials.groupby("cell", observed=True, sort=False)
    table = grouped[means].mean().add_prefix("mean_")
    table.insert(0, "n", grouped.size())
    table["documents_changed"] = grouped["document_intact"].agg(lambda intact: int((~intact).sum()))
    table["truncated"] = grouped["truncated_tokens"].agg(lambda cut: int((cut > 0).sum()))
    return table.reset_index()


def with_cell_columns(table: pd.DataFrame, cells: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """``table`` in the order of the cells, with each cell's alias and factor levels beside its name."""
    order = {cell["name"]: position for position, cell in enumerate(cells)}
    rest = [column for column in table.columns if column != "cell"]
    described = pd.DataFrame(
        [{"cell": cell["name"], "alias": cell["alias"], **cell["factors"]} for cell in cells]
    )
    table = table.assign(cell=table["cell"].astype(str))
    merged = table.merge(described, on="cell", how="left", validate="many_to_one")
    merged = merged[[*described.columns, *rest]]
    return merged.sort_values("cell", key=lambda column: column.map(order), kind="stable").reset_index(
        drop=True
    )


def save_tables(directory: RunDirectory, tables: dict[str, pd.DataFrame]) -> list[str]:
    """Write every table as CSV, whole or not at all; the paths."""
    folder = directory.path / "tables"
    folder.mkdir(exist_ok=True)
    written = []
    for name, table in tables.items():
        path = folder / f"{name}.csv"
        with replacing(path) as temporary:
            table.to_csv(temporary, index=False)
        written.append(str(path))
    return written
