"""The tables of a run: those of every probe, by its declaration, and what was fed.

Everything here is read from records; nothing needs a model. Statistics live in :mod:`budgetlens.statistics.effects`.
"""

from __future__ import annotations

import pandas as pd

from budgetlens.runs.run import Run
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.outcomes import outcome_tables
from budgetlens.tables.probes import probe_tables
from budgetlens.tables.shifts import SHIFTS, shifts_of, shifts_table

#: Columns of the trials records that count cut tokens, and of the trials table that count the trials with any.
CUTS = {"truncated_tokens": "truncated", "answer_cut": "answers_cut", "prompt_cut": "prompts_cut"}
#: So many examples with a cut input are named for each cell.
CUT_NAMED = 5


def build_tables(run: Run) -> dict[str, pd.DataFrame]:
    """Every table of a run, by name."""
    tables = outcome_tables(run)
    tables |= probe_tables(run)
    shifts = shifts_of(run, tables)
    if shifts:
        tables[SHIFTS] = shifts_table(shifts)
    tables["trials"] = with_cell_columns(trials_table(run.trials), run.manifest.cells)
    return tables


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
