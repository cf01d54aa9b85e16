"""The tables of a run: likelihood, effects, splits, attention shares, entropies, and what was fed.

Everything here is read from records; nothing needs a model. Statistics live in :mod:`budgetlens.statistics.effects`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from budgetlens.runs.manifest import CellFacts
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.statistics.decisions import of_intervals
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.live import idle_in_every_example, live_cells, same_in_every_example
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.ratios import decompositions
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.outcomes import outcome_tables
from budgetlens.tables.probes import probe_tables
from budgetlens.tables.run_statistics import anova_table, seeds_table, strata_tables

#: Columns of the trials records that count cut tokens, and of the trials table that count the trials with any.
CUTS = {"truncated_tokens": "truncated", "answer_cut": "answers_cut", "prompt_cut": "prompts_cut"}
#: So many examples with a cut input are named for each cell.
CUT_NAMED = 5


def build_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every table of a run, by name."""
    tables = likelihood_tables(run)
    tables |= outcome_tables(run)
    tables |= probe_tables(run)
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
    tables["anova"] = anova_table(likelihood, _live(factors, trials), inference)
    tables["strata"], tables["trends"] = strata_tables(likelihood, facts, plan.headline_contrasts, inference)
    tables["seeds"] = seeds_table(
        likelihood, factors, plan.contrasts, inference, effects=tables.get("effects")
    )
    return {name: table for name, table in tables.items() if len(table)}


def _live(factors: Mapping[str, Mapping[str, str]], trials: pd.DataFrame) -> Mapping[str, Mapping[str, str]]:
    """The cells in which every factor acts."""
    return live_cells(factors, idle_in_every_example(trials), same_in_every_example(trials))


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
        sign_flips=False,
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
            "caution": of_intervals(effect.caution),
            "reason": effect.reason,
        }
        for name, effect in zip(names, described, strict=True)
    ]
    return with_cell_columns(pd.DataFrame(rows), cells)


def trials_table(trials: pd.DataFrame) -> pd.DataFrame:
    """What each cell fed the model: mean positions by role, and the boundary checks.

    ``documents_changed`` counts examples whose document has other token ids than without its prefix;
    ``truncated`` counts examples cut at the limit; ``idle`` those in which a level of the cell edits roles that are
    not there, and so changes nothing; ``answers_cut`` and ``prompts_cut`` those whose answer or prompt is cut. The first
    examples of each kind of cut are named beside, ``truncated_examples`` and so on.

    Raises ValueError where the records don't tell what was fed.
    """
    needed = {"document_intact", "truncated_tokens"}
    if not needed <= set(trials.columns):
        raise ValueError(
            f"the trials records have no column {min(needed - set(trials.columns))!r}, so that they don't tell what was "
            "fed; run it again"
        )
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
