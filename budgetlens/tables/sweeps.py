"""Tables over the runs of a sweep: its models, every effect by model, likelihoods, shares, and the analysis's own.

Likelihoods per token are of each model's own tokenizer and compare with no other model's: beside them stands the
likelihood per character of the answer. Tests are corrected over models as well as within each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from budgetlens.runs.manifest import RunError
from budgetlens.runs.run import Run
from budgetlens.statistics.bands import share_table
from budgetlens.statistics.budget_arrays import by_document
from budgetlens.statistics.contrasts import Contrast, contrast_values, wide_cells
from budgetlens.statistics.effects import effects_table, with_verdicts
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import PairedEffect, one_sample_effects
from budgetlens.tables.cells import with_cell_columns
from budgetlens.tables.outcomes import by_cell
from budgetlens.tables.presentation import Table
from budgetlens.tables.sweep_presentation import (
    by_model,
    effects_presented,
    likelihood_presented,
    models_presented,
    shares_presented,
)

#: Columns of an effect that is corrected over models, by those of one that is corrected within its model.
OVER_MODELS = tuple(f"{name}_over_models" for name in ("p", "p_tost", "small", "kind", "verdict"))

#: Why a run's likelihood per character is not there.
NO_CHARACTERS = (
    "no likelihood per character: the records are of a version that did not count the answers' characters"
)

CUT = "the answers of the others were cut at the limit"


@dataclass(frozen=True)
class Member:
    """One model of a sweep with its run, and the run that holds the records, which may be another that it reads."""

    name: str
    run: Run

    @cached_property
    def records(self) -> Run:
        """Where likelihoods and probes were recorded."""
        return self.run.source or self.run

    @cached_property
    def per_character(self) -> pd.DataFrame | None:
        """Answer NLL in nats per character, one row per example and one column per cell.

        Of examples whose answer was fed whole. None where the records don't count characters.
        """
        trials, likelihood = self.records.trials, self.records.outcomes
        if "answer_characters" not in trials:
            return None
        characters = trials.groupby("example", observed=True)["answer_characters"].first()
        # An answer of blanks alone has tokens in some tokenizers, and no rate per character that means anything.
        counted = likelihood["example"].map(characters.where(characters > 0)).astype(float)
        known = likelihood.assign(nll=likelihood["nll_sum"] / counted)[counted.notna()]
        return wide_cells(known, "nll") if len(known) else None

    def described(self, values: pd.DataFrame) -> list[PairedEffect]:
        """Means and intervals of the columns of ``values`` (index example)."""
        inference = self.records.inference
        return one_sample_effects(
            values.to_numpy(), inference, clusters=inference.labels(values.index), sign_flips=False
        )


def sweep_tables(
    sweep: Run, own_tables: Callable[[Run], Mapping[str, Table]]
) -> tuple[dict[str, pd.DataFrame], dict[str, Table]]:
    """Every table of a sweep: frames by name, and those with captions. ``own_tables`` are the analysis's, of one run.

    Raises RunError where no model's run is finished.
    """
    members = [Member(name, run) for name, run in sweep.of_models.items() if isinstance(run, Run)]
    if not members:
        raise RunError(
            f"{sweep.path} is a sweep over models of which none is finished; give the command that made it again "
            "(run.json tells it)"
        )
    # What each model's effects are judged by, over all of them.
    judged = replace(
        members[0].records.inference, seed=sweep.seed, correction=sweep.plan.correction, clusters=None
    )
    effects = _effects(members, judged)
    likelihoods = pd.concat([_likelihood(member) for member in members], ignore_index=True)
    frames = {
        "models": _models(sweep, members, likelihoods),
        "model_effects": effects,
        "model_likelihood": likelihoods,
    }
    presented = {
        "models": models_presented(sweep, frames["models"]),
        "model_effects": effects_presented(sweep, effects, headline_names(members), judged),
        "model_likelihood": likelihood_presented(sweep, likelihoods),
    }
    for name, table in {**_shares(sweep, members), **_own(members, own_tables)}.items():
        if name in frames:
            raise ValueError(
                f"{sweep.analysis.name} has a table whose name gives {name!r}, which sweeps have"
            )
        frames[name], presented[name] = table.frame, table
    return frames, presented


def headline_names(members: list[Member]) -> tuple[str, ...]:
    """The headline contrasts of the models' plans, each once: a contrast that can't act in one may act in another."""
    return tuple(
        dict.fromkeys(
            contrast.name for member in members for contrast in member.records.plan.headline_contrasts
        )
    )


def _models(sweep: Run, members: list[Member], likelihoods: pd.DataFrame) -> pd.DataFrame:
    """A row per model: what it is, n, its likelihood by cell per token and per character, and why it failed."""
    by_name = {member.name: member for member in members}
    rows = []
    for one in sweep.swept:
        if one.name in by_name:
            rows.append(_model(by_name[one.name], likelihoods[likelihoods["model"] == one.name]))
        else:
            rows.append({"model": one.name, "failure": one.failure or str(sweep.of_models[one.name])})
    frame = pd.DataFrame(rows)
    for text in ("family", "reason", "failure"):
        frame[text] = frame[text].fillna("") if text in frame else ""
    for count in ("n", "clusters", "parameters"):
        frame[count] = frame[count].astype("Int64")
    return frame


def _model(member: Member, likelihood: pd.DataFrame) -> dict[str, Any]:
    """The row of a model from its rows of the likelihoods."""
    manifest, characters = member.records.manifest, member.per_character
    n = int(likelihood["n"].iloc[0])
    row: dict[str, Any] = {
        "model": member.name,
        "family": manifest.model.family,
        "parameters": manifest.model.parameters,
        "n": n,
        "clusters": int(likelihood["clusters"].iloc[0]),
    }
    columns = {"nll": "mean"} if characters is None else {"nll": "mean", "per_character": "per_character"}
    for name, source in columns.items():
        values = zip(likelihood["cell"], likelihood[source], strict=True)
        row |= {f"{name}_{manifest.labels[cell]}": value for cell, value in values}
    if characters is None:
        return {**row, "reason": NO_CHARACTERS}
    whole = len(characters)
    return {
        **row,
        "reason": "" if whole == n else f"likelihoods per character are of {whole} examples: {CUT}",
    }


def _effects(members: list[Member], inference: Inference) -> pd.DataFrame:
    """Every effect of every model, tested within its model and over all, in nats per token and per character."""
    frames = []
    for member in members:
        records = member.records
        contrasts = records.plan.contrasts
        table = effects_table(records.outcomes, contrasts, records.inference)
        table.insert(0, "model", member.name)
        frames.append(table.join(_beside(member, contrasts)))
    frame = pd.concat(frames, ignore_index=True)
    # One family: the contrasts of one family in all models.
    together = with_verdicts(frame, inference)
    p = inference.correction
    for name, source in zip(OVER_MODELS, (f"p_{p}", f"p_tost_{p}", "small", "kind", "verdict"), strict=True):
        frame[name] = together[source]
    return frame


def _beside(member: Member, contrasts: tuple[Contrast, ...]) -> pd.DataFrame:
    """The baseline of each contrast per token and per character, and its effect per character; a row per contrast."""
    nll, characters = wide_cells(member.records.outcomes, "nll"), member.per_character
    table = pd.DataFrame({"baseline_nll": [_baseline(nll, contrast) for contrast in contrasts]})
    if characters is None:
        return table.assign(**dict.fromkeys(PER_CHARACTER, np.nan))
    found = member.described(contrast_values(characters, contrasts))
    return table.assign(
        baseline_per_character=[_baseline(characters, contrast) for contrast in contrasts],
        per_character=[effect.mean_difference for effect in found],
        per_character_low=[effect.low for effect in found],
        per_character_high=[effect.high for effect in found],
    )


PER_CHARACTER = ("baseline_per_character", "per_character", "per_character_low", "per_character_high")


def _baseline(wide: pd.DataFrame, contrast: Contrast) -> float:
    """Mean NLL of a difference's baseline; NaN of an interaction, which has no one baseline."""
    weights = {cell: weight for cell, weight in contrast.weights.items() if weight > 0}
    if contrast.effect_order != 1 or not np.isclose(sum(weights.values()), 1):
        return float("nan")
    return float(sum(weight * wide[cell].mean() for cell, weight in weights.items()))


def _likelihood(member: Member) -> pd.DataFrame:
    """Likelihood by cell, per token as in the model's own run, and per character."""
    records = member.records
    declared = records.declarations[records.outcome]
    table = by_cell(records.outcomes, declared, records.manifest.cells, records.inference)
    table["model"] = member.name
    characters = member.per_character
    if characters is None:
        return table.assign(per_character=np.nan, per_character_low=np.nan, per_character_high=np.nan)
    found = dict(zip(characters.columns, member.described(characters), strict=True))
    own = [found[cell] for cell in table["cell"]]
    return table.assign(
        per_character=[effect.mean_difference for effect in own],
        per_character_low=[effect.low for effect in own],
        per_character_high=[effect.high for effect in own],
    )


def _shares(sweep: Run, members: list[Member]) -> dict[str, Table]:
    """Of every probe whose values are parts of one whole: the decoder's, averaged over layers, by model and cell."""
    found: dict[str, list[pd.DataFrame]] = {}
    declarations = {}
    for member in members:
        records = member.records
        for probe, declared in records.declarations.items():
            if not (declared.shown and declared.axis and len(declared.quantities) == 1):
                continue
            (quantity,) = declared.quantities
            if not quantity.part_of_whole:
                continue
            arrays = by_document(
                records.arrays(probe, declared.axis, (quantity.name,))[quantity.name], records.documents
            )
            decoder = [array for array in arrays if array.stack == "decoder"]
            if decoder:
                own = with_cell_columns(share_table(decoder, records.inference), records.manifest.cells)
                labels = records.manifest.labels
                name = declared.table(probe, "cells")
                found.setdefault(name, []).append(
                    own.assign(model=member.name, alias=own["cell"].map(labels))
                )
                declarations[name] = declared
    return {
        f"model_{name}": shares_presented(sweep, pd.concat(own, ignore_index=True), declarations[name])
        for name, own in found.items()
    }


def _own(members: list[Member], own_tables: Callable[[Run], Mapping[str, Table]]) -> dict[str, Table]:
    """The analysis's own tables, those of all models one below the other."""
    found: dict[str, dict[str, Table]] = {}
    for member in members:
        for name, table in own_tables(member.run).items():
            found.setdefault(name, {})[member.name] = table
    return {f"model_{name}": by_model(tables) for name, tables in found.items()}
