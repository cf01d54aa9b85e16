"""The conclusion of a run as values: the findings that its analysis names, and which of its outcomes they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from budgetlens.design.conclusions import OUTCOMES, Conclusion, Evidence
from budgetlens.design.labels import Labels
from budgetlens.registry.labels import Label
from budgetlens.runs.run import Run
from budgetlens.statistics.findings import CORRECTED, Finding, finding_over_layers, findings
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.outcomes import effects_on
from budgetlens.tables.shifts import Shift, category_words, shifts_of

#: Columns that name the effect of a row, the first that a table has.
_NAMES = ("contrast", "effect")
#: Column of the model in the tables of a sweep, and what their names begin with.
MODEL, OF_MODELS = "model", "model_"


@dataclass(frozen=True)
class Told:
    """A finding with the words for its effect; ``beside`` are those of probes that are told beside its own."""

    finding: Finding
    label: Label
    beside: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class InAnswers:
    """An effect on the run's outcome beside what it does to the answers that the model gives by itself."""

    outcome: Told
    found: tuple[Finding, ...]
    """By quantity, in the order in which the probes declare them."""


@dataclass(frozen=True)
class Concluded:
    """What a run concludes: the deciding finding's outcome, and the findings that carry it, the deciding one first.

    ``outcome`` is empty where the analysis has no clause for it; ``told`` is empty where nothing that the question needs
    could act in this run. ``shifts`` are what these effects shift in a probe of attention, with what they do to the measure
    that is told beside it, the largest of each effect first. ``answers`` is of the first of them that is an effect on the
    outcome; None where no answers were generated, or where they are what is concluded of.
    """

    told: tuple[Told, ...]
    outcome: str
    figure: str
    model: str = ""
    shifts: tuple[Shift, ...] = ()
    answers: InAnswers | None = None


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
    shifts = shifts_of(run.source or run, frames, {evidence.effect for evidence in declared.evidence})
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
        told.append(Told(finding, evidence.label or label, _beside(evidence, finding, shifts)))
    outcome = _outcome(declared, told) if run.analysis.conclusion else ""
    return Concluded(
        tuple(told),
        outcome,
        declared.figure,
        shifts=_found(told, shifts),
        answers=_in_answers(run, told, frames),
    )


def _beside(evidence: Evidence, finding: Finding, shifts: Sequence[Shift]) -> tuple[Finding, ...]:
    """What is told beside a finding of attention: the same contrast and category by other probes."""
    wanted = set(evidence.where.values())
    return tuple(
        shift.beside
        for shift in shifts
        if shift.own.effect == evidence.effect
        and shift.category in wanted
        and shift.own.quantity == finding.quantity
    )


def _found(told: Sequence[Told], shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    """The pairs whose first probe shifts, effect by effect as these are told."""
    order = {each.finding.effect: place for place, each in reversed(list(enumerate(told)))}
    found = [shift for shift in shifts if shift.is_shift and shift.own.effect in order]
    return tuple(sorted(found, key=lambda shift: (order[shift.own.effect], -abs(shift.own.estimate))))


def _in_answers(run: Run, told: Sequence[Told], frames: Mapping[str, pd.DataFrame]) -> InAnswers | None:
    """What the first effect that is told, of those that the run tests, does to answers."""
    source = run.source or run
    judged = [name for name, own in source.declarations.items() if own.of_answers]
    own = {quantity for name in judged for quantity in source.declarations[name].effects_of(name).values()}
    names = {contrast.name for contrast in source.plan.contrasts}
    shown = next((each for each in told if each.finding.effect in names), None)
    if not judged or shown is None or told[0].finding.quantity in own:
        return None
    (outcome, *_) = _of_effect(source, source.outcome, shown.finding.effect, frames)
    found = [each for name in judged for each in _of_effect(source, name, shown.finding.effect, frames)]
    return InAnswers(Told(outcome, shown.label), tuple(found)) if found else None


def _of_effect(run: Run, probe: str, effect: str, frames: Mapping[str, pd.DataFrame]) -> list[Finding]:
    """The findings of one effect on all that a probe of answers tests.

    Made anew where ``frames``, the tables at hand, are not those of the run itself, as in a sweep or a re-analysis.
    """
    tables = run.declarations[probe].effects_of(probe)
    at_hand = {name: frames[name] for name in tables if name in frames and "contrast" in frames[name]}
    used = at_hand if len(at_hand) == len(tables) else effects_on(run, probe)
    return [
        own
        for name, quantity in tables.items()
        for own in findings(used[name][used[name]["contrast"] == effect], quantity)
    ]


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
        rows, quantity, evidence.of or ", ".join(map(category_words, evidence.where.values()))
    )


def _quantity(run: Run, evidence: Evidence) -> Quantity:
    if evidence.quantity is not None:
        return evidence.quantity
    source = run.source or run
    for name, declared in source.declarations.items():
        if evidence.table in declared.effects_of(name):
            return declared.effects_of(name)[evidence.table]
    quantity = source.outcome_quantity
    return replace(quantity, short_unit=evidence.unit) if evidence.unit else quantity
