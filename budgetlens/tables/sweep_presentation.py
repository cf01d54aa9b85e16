"""The tables of a sweep over models with their captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import pandas as pd

from budgetlens.model.declaration import Declaration
from budgetlens.runs.run import Run
from budgetlens.runs.swept import MODELS_FOLDER
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.verdicts import CAUTION_RULE
from budgetlens.tables.extract import Extract
from budgetlens.tables.presentation import Table, documents_resampled, effects_presentation, shares_documents
from budgetlens.tables.probe_presentation import UNIT_OF_SHARES

#: What every caption says that has numbers of several tokenizers.
TOKENIZERS = (
    "nats per token are of each model's own tokenizer and not comparable between models; those per character of the "
    "answer are"
)
PER_TOKEN = "nats per answer token of the model's own tokenizer"

#: Columns of the effects by model that are shown.
EFFECTS = (
    "contrast",
    "model",
    "n",
    "baseline_nll",
    "mean_difference",
    "baseline_per_character",
    "per_character",
    "d_z",
    "p_holm",
    "p_bonferroni",
    "p_fdr",
    "p_none",
    "verdict",
    "caution",
    "reason",
)


def models_presented(sweep: Run, frame: pd.DataFrame) -> Table:
    """One row per model, with its likelihood in the design's first cell; the frame has every cell."""
    first = sweep.manifest.cells[0].label
    shared = "clusters" in frame and shares_documents(frame.dropna(subset=["clusters"]))
    return Table(
        frame=frame,
        title="Models",
        estimand=f"mean over examples of the answer's NLL in the cell {first}",
        unit=f"{PER_TOKEN}, and nats per character of the answer",
        n="as in the column",
        family="none",
        correction="none",
        seed=None,
        notes=(TOKENIZERS, *documents_resampled(shared)),
        allows_for_documents=True,
        columns=(
            "model",
            "family",
            "parameters",
            "n",
            f"nll_{first}",
            f"per_character_{first}",
            "failure",
            "reason",
        ),
    )


def effects_presented(
    sweep: Run, effects: pd.DataFrame, headline: Sequence[str], inference: Inference
) -> Table:
    """Every effect by model, of which the headline contrasts are shown, contrast by contrast.

    p and verdict are those that are corrected over models; the frame of the file has both.
    """
    correction = sweep.plan.correction
    shown = effects.assign(
        **{
            "family": effects["family"] + " over models",
            f"p_{correction}": effects["p_over_models"],
            f"p_tost_{correction}": effects["p_tost_over_models"],
            **{name: effects[f"{name}_over_models"] for name in ("small", "kind", "verdict")},
        }
    )
    table = effects_presentation(shown, inference, title="Effects by model", columns=EFFECTS)
    notes = (
        *table.notes,
        "a family is the contrasts of one family in all models; model_effects.csv also has p and verdict within a model",
        TOKENIZERS,
    )
    # Row numbers, since models lie one below the other in the file, and contrasts are compared over models.
    places = [place for name in headline for place in _places(effects["contrast"] == name)]
    own = {each.name: getattr(table, each.name) for each in fields(Table)}
    return Extract(**own | {"notes": notes, "unit": PER_TOKEN}, shown_rows=tuple(places))


def _places(chosen: pd.Series) -> list[int]:
    return [place for place, each in enumerate(chosen) if each]


def likelihood_presented(sweep: Run, frame: pd.DataFrame) -> Table:
    """Likelihoods by model and cell."""
    labels = sweep.manifest.labels
    return Table(
        frame=frame.assign(condition=[labels.get(cell, cell) for cell in frame["cell"]]),
        title="Answer NLL by model and cell",
        estimand="mean over examples of the mean NLL of an answer's tokens, and of its characters",
        unit=f"{PER_TOKEN}, and nats per character",
        n="as in the column",
        family="none",
        correction="none",
        seed=sweep.seed,
        notes=(
            "95 % intervals made for long tails",
            TOKENIZERS,
            *documents_resampled(shares_documents(frame)),
            CAUTION_RULE,
        ),
        allows_for_documents=True,
        columns=("model", "condition", "n", "mean", "per_character", "caution", "reason"),
    )


def shares_presented(sweep: Run, frame: pd.DataFrame, declared: Declaration) -> Table:
    """Shares averaged over the decoder's layers, a column per category.

    ``frame`` has the columns of :func:`budgetlens.statistics.bands.share_table` with model and alias.
    """
    wide = (
        frame.assign(percent=100 * frame["mean"])
        .pivot_table(
            index=["model", "alias", "block"], columns="role", values="percent", sort=False, observed=True
        )
        .map(lambda percent: "" if pd.isna(percent) else f"{percent:.1f}")
    )
    wide = wide[declared.ordered(set(map(str, wide.columns)))].reset_index()
    wide.columns.name = None
    return Table(
        frame=wide,
        title=f"{declared.label.long} by model, decoder",
        estimand=f"mean over layers of the {declared.estimand.format(rows=_whose(sweep))}",
        unit="percent of a softmax; separate blocks each sum to 100",
        n="as in the table of models",
        family="none",
        correction="none",
        seed=None,
        notes=(
            f"{declared.label.sentence} by layer are in each model's own run, below {MODELS_FOLDER}/",
            UNIT_OF_SHARES,
        ),
        allows_for_documents=True,
    )


def _whose(sweep: Run) -> str:
    rows = sweep.plan.rows if sweep.manifest.rows in ("", "None") else sweep.manifest.rows
    return f"the answer's {rows} rows"


def by_model(tables: Mapping[str, Table]) -> Table:
    """One table of an analysis for several models, one below the other; its rows are named by their model first."""
    frames, places, start = [], [], 0
    for model, table in tables.items():
        own = table.frame.copy()
        own.insert(0, "model", model)
        frames.append(own)
        rows = table.shown_rows if isinstance(table, Extract) else range(len(own))
        places += [start + row for row in rows]
        start += len(own)
    first = next(iter(tables.values()))
    notes = tuple(dict.fromkeys(note for table in tables.values() for note in table.notes))
    columns = None if first.columns is None else ("model", *first.columns)
    told = {
        "frame": pd.concat(frames, ignore_index=True),
        "title": f"{first.title}, by model",
        "n": "; ".join(dict.fromkeys(table.n for table in tables.values())),
        "notes": (
            *notes,
            "families are within a model; what is told of a tokenizer's tokens is of each model's own",
        ),
        "columns": columns,
    }
    if isinstance(first, Extract):
        return replace(first, **told, shown_rows=tuple(places))
    return replace(first, **told)
