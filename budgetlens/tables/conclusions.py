"""The conclusion of a run as values: the findings that its analysis names, and which of its outcomes they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from budgetlens.design.conclusions import OUTCOMES, Conclusion, Evidence
from budgetlens.design.labels import Labels
from budgetlens.model.roles import ROLE_LABELS
from budgetlens.registry.labels import Label
from budgetlens.runs.run import Run
from budgetlens.statistics.findings import CORRECTED, Finding, finding_over_layers, findings
from budgetlens.statistics.quantities import Quantity

#: Columns that name the effect of a row, the first that a table has.
_NAMES = ("contrast", "effect")
#: Column of the model in the tables of a sweep, and what their names begin with.
MODEL, OF_MODELS = "model", "model_"


@dataclass(frozen=True)
class Told:
    """A finding with the words for its effect."""

    finding: Finding
    label: Label


@dataclass(frozen=True)
class Concluded:
    """What a run concludes: the deciding finding's outcome, and the findings that carry it, the deciding one first.

    ``outcome`` is empty where the analysis has no clause for it; ``told`` is empty where nothing that the question needs
    could act in this run.
    """

    told: tuple[Told, ...]
    outcome: str
    figure: str
    model: str = ""


def conclusions_of(run: Run, frames: Mapping[str, pd.DataFrame]) -> tuple[Concluded, ...]:
    """The conclusion of a run; of a sweep one of each of its models that finished. None of a run without effects."""
    labels = Labels({cell.name: cell.factors for cell in run.manifest.cells})
    declared = _declared(run)
    if declared is None:
        return ()
    if not run.manifest.is_sweep:
        return (_concluded(run, declared, frames, labels),)
    found = []
    for name, own in run.of_models.items():
        if isinstance(own, Run):
            of_model = {
                table.removeprefix(OF_MODELS): _over_models(frame[frame[MODEL] == name])
                for table, frame in frames.items()
                if MODEL in frame
            }
            source = own.source or own
            own_labels = Labels({cell.name: cell.factors for cell in source.manifest.cells})
            found.append(replace(_concluded(own, declared, of_model, own_labels), model=name))
    return tuple(found)


def _over_models(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of one model, decided as they are over all of them, which is what the sweep's tables and report tell."""
    ending = "_over_models"
    decided = {name: name.removesuffix(ending) for name in frame if name.endswith(ending)}
    corrected = next((name for name in CORRECTED if name in frame), "")
    names = {"p": corrected, "p_tost": f"p_tost_{corrected.removeprefix('p_')}"}
    return frame.assign(**{names.get(own, own): frame[column] for column, own in decided.items()})


def _declared(run: Run) -> Conclusion | None:
    if run.analysis.conclusion is not None:
        return run.analysis.conclusion(run.manifest.protocol)
    headline = run.plan.headline_contrasts
    if not headline:
        return None
    # Nobody said what answers the question: the headlines speak for themselves.
    clauses = dict.fromkeys(OUTCOMES, "-")
    return Conclusion(tuple(Evidence(contrast.name) for contrast in headline), clauses)


def _concluded(
    run: Run, declared: Conclusion, frames: Mapping[str, pd.DataFrame], labels: Labels
) -> Concluded:
    contrasts = {contrast.name: contrast for contrast in (run.source or run).plan.contrasts}
    if any(_finding(run, evidence, frames) is None for evidence in declared.needs):
        return Concluded((), "", declared.figure)
    told = []
    for number, evidence in enumerate(declared.evidence):
        finding = _finding(run, evidence, frames)
        if finding is None:
            if not number:
                # What decides could not act: the rest answers another question.
                return Concluded((), "", declared.figure)
            continue
        known = contrasts.get(evidence.effect)
        label = Label(evidence.effect) if known is None else labels.effect(known)
        told.append(Told(finding, evidence.label or label))
    outcome = _outcome(declared, told) if run.analysis.conclusion else ""
    return Concluded(tuple(told), outcome, declared.figure)


def _outcome(declared: Conclusion, told: Sequence[Told]) -> str:
    """The clause of the deciding effect's outcome, and what others say behind it where that one has a direction."""
    kind = told[0].finding.kind
    clause = declared.outcomes.get(kind, "")
    kinds = {each.finding.effect: each.finding.kind for each in told[1:]}
    said = [own.said.get(kinds.get(own.effect, ""), "") for own in declared.evidence[1:]]
    behind = ", ".join(filter(None, said)) if kind in ("positive", "negative") else ""
    return f"{clause} ({behind})" if clause and behind else clause


def _finding(run: Run, evidence: Evidence, frames: Mapping[str, pd.DataFrame]) -> Finding | None:
    """The finding that a piece of evidence names; None where the table does not have it."""
    frame = frames.get(evidence.table)
    if frame is None or frame.empty:
        return None
    name = next((column for column in _NAMES if column in frame), "")
    if not name or not set(evidence.where) <= set(frame):
        return None
    rows = frame[frame[name].astype(str) == evidence.effect]
    for column, value in evidence.where.items():
        rows = rows[rows[column].astype(str) == value]
    if rows.empty:
        return None
    quantity = _quantity(run, evidence)
    if "layer" not in rows:
        return findings(rows, quantity)[0]
    return finding_over_layers(
        rows, quantity, evidence.of or ", ".join(map(_category, evidence.where.values()))
    )


def _category(name: str) -> str:
    """A role as readers see it; any other category, such as a total, by its name."""
    return ROLE_LABELS[name].long if name in ROLE_LABELS else f"the {name}"


def _quantity(run: Run, evidence: Evidence) -> Quantity:
    source = run.source or run
    for name, declared in source.declarations.items():
        if evidence.table in declared.effects_of(name):
            return declared.effects_of(name)[evidence.table]
    quantity = source.outcome_quantity
    return replace(quantity, short_unit=evidence.unit) if evidence.unit else quantity
