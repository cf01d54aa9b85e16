"""What a run concludes, in words, and as the top of the report shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from budgetlens.report.findings import beside, colour, sentence
from budgetlens.report.page import render
from budgetlens.statistics.findings import Finding
from budgetlens.statistics.verdicts import CAUTIONS
from budgetlens.tables.conclusions import Concluded, Told

#: What is said where nothing that decides could act.
NOTHING = (
    "This run can't answer its question: its tables lack what would decide it, since the model or the design has no such "
    "role, block or level."
)


def clause(concluded: Concluded) -> str:
    """What is said, without the numbers: the clause of the outcome, or that nothing can be said."""
    if not concluded.told:
        return NOTHING
    decided = concluded.told[0]
    said = concluded.outcome or f"{decided.label.sentence[:1].upper()}{decided.label.sentence[1:]}"
    # Found, and too small to matter: the clause alone would say too much.
    little = ", too little to matter" if decided.finding.decision.little else ""
    return f"{said}{little}"


def answer(concluded: Concluded) -> str:
    """What is said, with the numbers."""
    if not concluded.told:
        return NOTHING
    return f"{clause(concluded)}: {numbers(concluded.told[0])}"


def numbers(told: Told) -> str:
    """What a finding shows, and behind it what those of measures beside its own show."""
    if not told.beside:
        return sentence(told.finding)
    return " ".join(beside(told.finding, other) for other in told.beside)


def shift_sentences(concluded: Concluded, words: Mapping[str, str]) -> list[tuple[str, str]]:
    """Each shift of attention under the effects that carry the answer: the effect in words, and a sentence of both."""
    return [
        (words.get(shift.own.effect, shift.own.effect), beside(shift.own, shift.beside))
        for shift in concluded.shifts
    ]


def words(concluded: Concluded) -> str:
    """The conclusion as one sentence, with its model and with what stands against its interval or test."""
    of = f"{concluded.model}: " if concluded.model else ""
    care = _care(concluded.told[0].finding) if concluded.told else ""
    return f"{of}{answer(concluded)}{care}"


def _care(finding: Finding) -> str:
    """What stands against the interval or the test of a finding."""
    if not finding.cautions:
        return ""
    return f" Read with care: {'; '.join(CAUTIONS.get(code, code) for code in finding.cautions)}."


def conclusion_html(concluded: Sequence[Concluded]) -> str:
    """Each conclusion with the findings that carry it, for a notebook; ids are on hover."""
    told = [
        (words(own), [(each, colour(each.finding), numbers(each)) for each in own.told]) for own in concluded
    ]
    return render("conclusion.html", told=told)
