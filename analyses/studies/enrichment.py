"""Tables and figures of state patching (:mod:`analyses.studies.enrichment_plans`): what share of the effect states carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from plotly.graph_objects import Figure

from analyses.studies.enrichment_plans import DEPTHS, RESTORED, ROLE_SETS, Patch, patch_cell
from analyses.studies.sink_prediction import CROSS_TOTAL
from budgetlens.runs.run import Run
from budgetlens.statistics.budget_arrays import BudgetArray
from budgetlens.statistics.column_splits import ColumnMeans, means_of_columns, split_of_columns
from budgetlens.statistics.contrasts import wide_cells
from budgetlens.statistics.decisions import of_intervals
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.ratios import Ratio, ratio_of_means
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.extract import Extract
from budgetlens.tables.presentation import Table, documents_resampled, sample
from budgetlens.tables.probes import sums_of
from figures import effect_map, interaction_plot
from probes.budgets import Budgets


def restoration_table(likelihood: pd.DataFrame, every: Sequence[Patch], inference: Inference) -> pd.DataFrame:
    """What share of the enrichment's effect on the NLL each patch restores or takes away.

    Args:
        likelihood: `likelihood` records with the cells of the patches and their ends.
        every: the patches.
        inference: seed and resamples; where its clusters name shared documents, documents are resampled.

    Returns:
        Columns direction, roles, depth, prompt, n, mean_difference, low, high (mean change that the patch
        makes, in nats per answer token: bare − patched, or patched − enriched), enrichment (bare −
        enriched, with enrichment_low, enrichment_high), share, share_low, share_high (change over enrichment,
        ratio of means with an interval), caution (of any of these intervals), reason.
    """
    wide = wide_cells(likelihood, "nll")
    labels = inference.labels(wide.index)
    rows = []
    for patch in every:
        bare, enriched = (
            wide[patch_cell(prefix, patch.hidden, patch.prompt).name] for prefix in ("none", "oracle")
        )
        patched = wide[patch.cell.name]
        effect = bare - patched if patch.direction == RESTORED else patched - enriched
        level = means_of_columns(effect.to_numpy()[:, None], inference, clusters=labels)
        reference = float(bare.mean())
        ratio = ratio_of_means(effect, bare - enriched, inference, reference=reference, clusters=labels)
        rows.append({**_key(patch), **_ratio(ratio, level)})
    return pd.DataFrame(rows)


def _key(patch: Patch) -> dict[str, str]:
    return {
        "direction": patch.direction,
        "roles": patch.roles,
        "depth": DEPTHS[patch.depth],
        "prompt": patch.prompt,
    }


def _ratio(ratio: Ratio, level: ColumnMeans) -> dict[str, object]:
    return {
        "n": ratio.n,
        "mean_difference": ratio.numerator_mean,
        "low": level.low[0],
        "high": level.high[0],
        "enrichment": ratio.denominator_mean,
        "enrichment_low": ratio.denominator_low,
        "enrichment_high": ratio.denominator_high,
        "share": ratio.ratio,
        "share_low": ratio.low,
        "share_high": ratio.high,
        "caution": of_intervals(level.caution[0], ratio.caution, ratio.denominator_caution),
        "reason": ratio.reason,
    }


def budget_restoration_table(
    budgets: Sequence[BudgetArray], every: Sequence[Patch], inference: Inference
) -> pd.DataFrame:
    """The same for attention: what share of the enrichment's shift in each role's share a patch makes.

    Shares of the decoder's chosen rows, averaged over heads and layers. Columns as in `restoration_table`,
    with block and role (of the keys, totals included), in shares of attention.
    """
    decoder = [budget for budget in budgets if budget.stack == "decoder"]
    frames = []
    for budget in (*decoder, *sums_of(decoder, Budgets.declares)):
        values = {
            cell: budget.values[place].mean(axis=(1, 2), dtype=np.float64)
            for place, cell in enumerate(budget.cells)
        }
        for patch in every:
            frames.append(_restored_shares(budget, values, patch, inference))
    return pd.concat(frames, ignore_index=True)


def _restored_shares(
    budget: BudgetArray,
    values: Mapping[str, NDArray[np.float64]],
    patch: Patch,
    inference: Inference,
) -> pd.DataFrame:
    bare, enriched = (
        values[patch_cell(prefix, patch.hidden, patch.prompt).name] for prefix in ("none", "oracle")
    )
    steps = ("done", "left") if patch.direction == RESTORED else ("left", "done")
    points = [bare, values[patch.cell.name], enriched]
    labels = inference.labels(pd.Index(budget.examples))
    split = split_of_columns(points, steps, inference, clusters=labels)
    return pd.DataFrame(
        {
            **_key(patch),
            "block": budget.block,
            "role": list(budget.roles),
            "n": split.total.n,
            "mean_difference": split.parts["done"].mean,
            "low": split.parts["done"].low,
            "high": split.parts["done"].high,
            "enrichment": split.total.mean,
            "enrichment_low": split.total.low,
            "enrichment_high": split.total.high,
            "share": split.share["done"],
            "share_low": split.share_low["done"],
            "share_high": split.share_high["done"],
            "caution": [
                of_intervals(*own)
                for own in zip(
                    split.parts["done"].caution, split.total.caution, split.share_caution["done"], strict=True
                )
            ],
            "reason": split.share_reason["done"],
        }
    )


def enrichment_tables(run: Run, every: Sequence[Patch]) -> dict[str, Table]:
    """Both tables with their captions."""
    seed, rows = run.seed, run.manifest.rows
    trials, documents = run.trials, run.documents
    count = sample(trials["example"].nunique(), documents)
    inference = run.inference
    frame = restoration_table(run.outcomes, every, inference)
    budgets = run.observed("budgets")
    shifts = budget_restoration_table(budgets, every, inference)
    there = [roles for roles in ROLE_SETS if any(trials[f"{role}_tokens"].sum() for role in roles.split("+"))]
    frame, shifts = (_only_there(table, there) for table in (frame, shifts))
    main = CROSS_TOTAL if (shifts["role"] == CROSS_TOTAL).any() else "document"
    notes = (
        "mean difference: bare − patched, or patched − enriched",
        "95 % intervals over examples, made for long tails",
        *documents_resampled(documents is not None),
        "enriched states into bare: share of the enrichment's effect that the copied states restore; bare "
        "states into enriched: share that is lost",
        "shares are ratios of means, withheld where the interval of the enrichment's own effect holds 0",
        "depth: the encoder layer at whose output states are copied, counted as part of the depth; final: what "
        "the decoder is given",
        "roles that the model's inputs do not have are not shown",
        f"a caution stands for any interval of its row; {CAUTION_RULE}",
        *run.manifest.left_out_words,
    )
    columns = (
        "direction",
        "prompt",
        "roles",
        "depth",
        "mean_difference",
        "enrichment",
        "share",
        "caution",
        "reason",
    )
    return {
        "restoration": Extract(
            frame=frame,
            title="Where enrichment lives: shares of its effect on the answer's NLL that copied states carry",
            estimand="mean change of NLL that a patch makes over the mean change from bare to enriched",
            unit="effects in nats per answer token; share of the enrichment, 1 = all of it",
            n=count,
            family="none (the effects table tests each patch)",
            correction="none",
            seed=seed,
            notes=notes,
            allows_for_documents=True,
            columns=columns,
            shown_rows=tuple(np.flatnonzero(frame["roles"].isin(there))),
        ),
        "restored_shares": Extract(
            frame=shifts,
            title=f"Where enrichment lives: shares of its shift in the {main} that copied states carry",
            estimand=f"mean change that a patch makes in the share that the answer's {rows} rows give to the "
            f"{main}, over heads and layers, over the mean change from bare to enriched",
            unit="effects in share of attention, 0 to 1; share of the enrichment's shift, 1 = all of it",
            n=count,
            family="none",
            correction="none",
            seed=seed,
            notes=(*notes, "the CSV file has every role"),
            allows_for_documents=True,
            columns=columns,
            shown_rows=tuple(np.flatnonzero((shifts["role"] == main) & shifts["roles"].isin(there))),
        ),
    }


def _only_there(table: pd.DataFrame, there: Sequence[str]) -> pd.DataFrame:
    """The table with NaN and a reason in rows of roles without a position in any trial."""
    absent = ~table["roles"].isin(there)
    table = table.copy()
    table.loc[absent, ["mean_difference", "low", "high", "share", "share_low", "share_high"]] = np.nan
    table.loc[absent, "reason"] = "no trial has a position of these roles"
    return table


def enrichment_figures(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Shares of the effect by depth, as curves and as a map, and of the shift in attention as a map."""
    setting = run.manifest.setting
    frame = _drawn(tables["restoration"])
    shifts = _drawn(tables["restored_shares"])
    main = CROSS_TOTAL if (shifts["role"] == CROSS_TOTAL).any() else "document"
    order = {"depth": list(DEPTHS.values()), "roles": list(ROLE_SETS)}
    common: dict[str, Any] = {
        "x": "depth",
        "y": "roles",
        "facet": "patch",
        "percent": True,
        "limit": 1.0,
        "order": order,
        "unit": "%",
        "x_title": "encoder depth at which states are copied",
        "y_title": "roles whose states are copied",
        "subtitle": "framed: the interval leaves out 0",
    }
    return {
        "restoration": interaction_plot(
            _panels(tables["restoration"]).rename(columns={"mean_difference": "mean"}),
            x="depth",
            line="roles",
            facet="patch",
            order=order,
            quantity="change of answer NLL by the copied states",
            reading="0: the copied states change nothing",
            title=f"Where enrichment lives: {setting}",
        ),
        "restoration_map": effect_map(
            frame,
            **common,
            quantity="share of the effect on NLL",
            title=f"Where enrichment lives, effect on NLL: {setting}",
        ),
        "restored_shares_map": effect_map(
            shifts[shifts["role"] == main],
            **common,
            quantity=f"share of the shift in the {main}",
            title=f"Where enrichment lives, shift in the {main}: {setting}",
        ),
    }


def _panels(table: pd.DataFrame) -> pd.DataFrame:
    """Rows named by their panel (direction and prompt) and by their own cell."""
    patch = table["direction"] + ", prompt=" + table["prompt"]
    return table.assign(patch=patch, cell=patch + ", " + table["roles"] + ", " + table["depth"])


def _drawn(table: pd.DataFrame) -> pd.DataFrame:
    """Shares as means with intervals; a mark where the interval leaves out 0."""
    drawn = _panels(table).drop(columns=["mean_difference", "low", "high"])
    drawn = drawn.rename(columns={"share": "mean", "share_low": "low", "share_high": "high"})
    return drawn.assign(marked=(drawn["low"] > 0) | (drawn["high"] < 0))
