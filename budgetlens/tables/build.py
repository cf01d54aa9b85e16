"""The tables of a run: likelihood, effects, splits, attention shares, entropies, and what was fed.

Everything here is read from records; nothing needs a model. Statistics live in :mod:`budgetlens.statistics.effects`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from budgetlens.design.plan import Plan
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.runs.manifest import CellFacts
from budgetlens.runs.run import Run
from budgetlens.statistics.bands import head_map, share_differences, share_table
from budgetlens.statistics.budget_arrays import BudgetArray, by_document
from budgetlens.statistics.contrasts import Contrast, wide_cells
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.ratios import decompositions
from budgetlens.statistics.verdicts import CAUTION_TAILS, SMALLEST_ENTROPY, SMALLEST_SHARE
from budgetlens.tables.run_statistics import anova_table, seeds_table, strata_tables

#: Columns of the trials records that count cut tokens, and of the trials table that count the trials with any.
CUTS = {"truncated_tokens": "truncated", "answer_cut": "answers_cut", "prompt_cut": "prompts_cut"}
#: So many examples with a cut input are named for each cell.
CUT_NAMED = 5


def build_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every table of a run, by name."""
    tables = likelihood_tables(run)
    tables |= attention_tables(run)
    tables["trials"] = with_cell_columns(trials_table(run.trials), run.manifest.cells)
    return tables


def likelihood_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every table of the answers' likelihood; a kind of table that the design does not allow is left out."""
    plan, cells, factors = run.plan, run.manifest.cells, run.manifest.factors
    likelihood, trials, inference = run.likelihood, run.trials, run.inference
    tables = {"likelihood": likelihood_table(likelihood, cells, inference)}
    if plan.contrasts:
        tables["effects"] = effects_table(likelihood, plan.contrasts, inference)
    if plan.splits:
        splits = [(split.total, split.parts) for split in plan.splits]
        tables["decomposition"] = decompositions(likelihood, splits, inference)
    facts = trials[trials["cell"] == cells[0].name]
    tables["anova"] = anova_table(likelihood, factors, inference)
    tables["strata"], tables["trends"] = strata_tables(likelihood, facts, plan.headline_contrasts, inference)
    tables["seeds"] = seeds_table(
        likelihood, factors, plan.contrasts, inference, effects=tables.get("effects")
    )
    return {name: table for name, table in tables.items() if len(table)}


def attention_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every table of attention shares and entropies: by cell, by contrast, by head.

    Where examples share documents the document is the unit, and n counts documents.
    """
    plan, cells, inference, documents = run.plan, run.manifest.cells, run.inference, run.documents
    tables: dict[str, pd.DataFrame] = {}
    headline = headline_shares(plan)
    if "budgets" in run.kinds:
        budgets = by_document(run.budgets(), documents)
        tables["shares"] = with_cell_columns(share_table(budgets, inference), cells)
        decoder = [budget for budget in budgets if budget.stack == "decoder"]
        totals = stack_totals(decoder)
        if totals:
            tables["totals"] = with_cell_columns(share_table(totals, inference), cells)
        if plan.share_contrasts and decoder:
            tested = replace(inference, smallest_difference=SMALLEST_SHARE)
            tables["share_effects"] = share_differences([*decoder, *totals], plan.share_contrasts, tested)
            tables["heads"] = head_map(decoder, headline)
        del budgets, decoder, totals
    for kind in ("entropies", "published_entropies"):
        if kind not in run.kinds:
            continue
        found = run.arrays(kind, "part", ("mass", "entropy"))
        arrays = {name: by_document(own, documents) for name, own in found.items()}
        tables[kind] = with_cell_columns(entropy_table(arrays["mass"], arrays["entropy"], inference), cells)
        decoder = [budget for budget in arrays["entropy"] if budget.stack == "decoder"]
        if headline and decoder:
            tested = replace(inference, smallest_difference=SMALLEST_ENTROPY)
            differences = share_differences(decoder, headline, tested, quantity="entropy")
            tables[f"{kind.removesuffix('ies')}y_effects"] = differences.rename(columns={"role": "part"})
    return tables


def headline_shares(plan: Plan) -> tuple[Contrast, ...]:
    """The share contrasts among the plan's headlines; without any, the first of each family, six at most."""
    names = {contrast.name for contrast in plan.headline_contrasts}
    chosen = tuple(contrast for contrast in plan.share_contrasts if contrast.name in names)
    return chosen or replace(plan, contrasts=plan.share_contrasts, headline=()).headline_contrasts


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


def likelihood_table(
    likelihood: pd.DataFrame, cells: Sequence[CellFacts], inference: Inference
) -> pd.DataFrame:
    """Answer NLL by cell: mean over examples in nats per answer token, with a BCa interval.

    Columns cell, alias, factors, n, clusters (independent units), mean, low, high, sd, median, trimmed_mean,
    token_weighted_mean, caution (of the interval) and reason.
    """
    names = [cell.name for cell in cells]
    wide = wide_cells(likelihood, "nll")[names]
    tokens = likelihood.groupby("example", observed=True)["answer_tokens"].first().loc[wide.index]
    # Only means and intervals are taken: a likelihood has no null to test.
    described = one_sample_effects(
        wide.to_numpy(),
        inference,
        weights=tokens.to_numpy(),
        clusters=inference.labels(wide.index),
        sign_flips=0,
    )
    rows = [
        {
            "cell": name,
            "n": effect.n,
            "clusters": effect.clusters,
            "mean": effect.mean_difference,
            "low": effect.low,
            "high": effect.high,
            "sd": effect.sd,
            "median": effect.median,
            "trimmed_mean": effect.trimmed_mean,
            "token_weighted_mean": effect.token_weighted_mean,
            "caution": CAUTION_TAILS if CAUTION_TAILS in effect.caution else "",
            "reason": "; ".join(part for part in effect.reason.split("; ") if "Wilcoxon" not in part),
        }
        for name, effect in zip(names, described, strict=True)
    ]
    return with_cell_columns(pd.DataFrame(rows), cells)


def entropy_table(
    masses: Sequence[BudgetArray], entropies: Sequence[BudgetArray], inference: Inference
) -> pd.DataFrame:
    """Mass and entropy by cell, layer and part: heads averaged per example, then examples.

    Args:
        masses, entropies: one array per stack and block, parts in the place of roles.
        inference: as in `share_table`.

    Returns:
        Columns cell, stack, block, layer, part, n (examples with a defined entropy), mass, mass_low,
        mass_high, entropy, entropy_low, entropy_high (nats), entropy_sd (over examples), caution, reason.
        Intervals are BCa over examples.
    """
    mass, entropy = share_table(masses, inference), share_table(entropies, inference)
    keys = ["cell", "stack", "block", "layer", "role"]
    table = entropy[[*keys, "n"]].rename(columns={"role": "part"})
    for name, found in (("mass", mass), ("entropy", entropy)):
        table[name] = found["mean"]
        table[f"{name}_low"], table[f"{name}_high"] = found["low"], found["high"]
    table["entropy_sd"] = entropy["sd"]
    table["caution"] = [
        "; ".join(dict.fromkeys(filter(None, own)))
        for own in zip(mass["caution"], entropy["caution"], strict=True)
    ]
    table["reason"] = np.where(table["n"] > 0, entropy["reason"], "no example has mass in this part")
    return table


def trials_table(trials: pd.DataFrame) -> pd.DataFrame:
    """What each cell fed the model: mean positions by role, and the boundary checks.

    ``documents_changed`` counts examples whose document has other token ids than without its prefix;
    ``truncated`` counts examples cut at the limit; ``idle`` those in which a level of the cell edits roles that are
    not there, and so changes nothing; ``answers_cut`` and ``prompts_cut`` those whose answer or prompt is cut. The first
    examples of each kind of cut are named beside, ``truncated_examples`` and so on.
    """
    means = [
        column for column in trials.columns if column.endswith("_tokens") and column != "truncated_tokens"
    ]
    grouped = trials.groupby("cell", observed=True, sort=False)
    table = grouped[means].mean().add_prefix("mean_")
    table.insert(0, "n", grouped.size())
    table["documents_changed"] = grouped["document_intact"].agg(lambda intact: int((~intact).sum()))
    table["truncated"] = grouped["truncated_tokens"].agg(lambda cut: int((cut > 0).sum()))
    # Records of earlier versions cannot tell.
    if "idle" in trials:
        table["idle"] = grouped["idle"].agg(
            lambda factors: int((factors.astype(object).fillna("") != "").sum())
        )
    for column, counted in CUTS.items():
        if {column, "example"} <= set(trials.columns):
            named: dict[str, list[str]] = {str(cell): [] for cell in table.index}
            cut = trials[trials[column].fillna(0) > 0]
            for cell, example in zip(cut["cell"].astype(str), cut["example"].astype(str), strict=True):
                named[cell].append(example)
            table[counted] = [len(examples) for examples in named.values()]
            table[f"{counted}_examples"] = ["; ".join(examples[:CUT_NAMED]) for examples in named.values()]
    return table.reset_index()


def with_cell_columns(table: pd.DataFrame, cells: Sequence[CellFacts]) -> pd.DataFrame:
    """``table`` in the order of the cells, with each cell's alias and factor levels beside its name."""
    order = {cell.name: position for position, cell in enumerate(cells)}
    rest = [column for column in table.columns if column != "cell"]
    described = pd.DataFrame([{"cell": cell.name, "alias": cell.alias, **cell.factors} for cell in cells])
    table = table.assign(cell=table["cell"].astype(str))
    merged = table.merge(described, on="cell", how="left", validate="many_to_one")
    merged = merged[[*described.columns, *rest]]
    return merged.sort_values("cell", key=lambda column: column.map(order), kind="stable").reset_index(
        drop=True
    )
