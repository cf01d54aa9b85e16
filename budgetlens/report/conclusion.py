"""What a run concludes, in words, and as the top of the report shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from budgetlens.report.findings import beside, colour, sentence, short_verdict, size
from budgetlens.report.page import render
from budgetlens.statistics.findings import Finding
from budgetlens.statistics.verdicts import CAUTIONS
from budgetlens.tables.conclusions import Concluded, InAnswers, Told

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
    """The conclusion as one sentence, with its model and with what stands against its interval or test.

    Behind it stands whether it shows in the answers, where the model gave any.
    """
    of = f"{concluded.model}: " if concluded.model else ""
    care = _care(concluded.told[0].finding) if concluded.told else ""
    answers = in_answers(concluded)
    return f"{of}{answer(concluded)}{care}{' ' if answers else ''}{answers}"


def in_answers(concluded: Concluded) -> str:
    """Whether an effect on the outcome shows in the answers that the model gives by itself, as a sentence; else empty.

    Amounts are treatment less baseline, as answers are better the higher they score.
    """
    own = concluded.answers
    if own is None:
        return ""
    # Of an effect that is not the one that decides, a reader must be told which it is.
    other = own.outcome.finding.effect != concluded.told[0].finding.effect
    of = f" (of: {own.outcome.label.sentence})" if other else ""
    told = "; ".join(_score(finding) for finding in own.found)
    codes = dict.fromkeys(code for finding in own.found for code in finding.cautions)
    care = f" Read with care: {'; '.join(CAUTIONS.get(code, code) for code in codes)}." if codes else ""
    return f"{_showing(own)}{of}: {told}.{care}"


def _showing(own: InAnswers) -> str:
    """What is said before the scores: only what was found counts as shown, and only what was shown to be small as not."""
    outcome = own.outcome.finding
    wanted = _direction(outcome)
    ways = {_direction(finding) for finding in own.found} - {0}
    if len(ways) > 1:
        return "The answers are better by one score and worse by another"
    if not ways:
        settled = all(finding.kind == "none" for finding in own.found)
        if wanted:
            return (
                "This does not show in the answers"
                if settled
                else "Whether this shows in the answers is open"
            )
        if outcome.kind == "none":
            return (
                "Nor do the answers differ by what matters"
                if settled
                else "Whether the answers differ is open"
            )
        return (
            "The answers do not differ by what matters"
            if settled
            else "Whether the answers differ is open, too"
        )
    (way,) = ways
    shown = [finding for finding in own.found if _direction(finding)]
    little = ", too little to matter" if all(finding.decision.little for finding in shown) else ""
    some = "" if len(shown) == len(own.found) else " by some scores"
    better = f"{'better' if way > 0 else 'worse'}{some}{little}"
    if not wanted:
        return f"The answers, for their part, are {better}"
    if way != wanted:
        return f"It is otherwise with the answers, which are {better}"
    return f"This shows in the answers{some}{little}"


def _direction(finding: Finding) -> int:
    """1 where the treatment was found to be better, -1 where worse, else 0."""
    if finding.kind not in ("positive", "negative") or not finding.quantity.better:
        return 0
    return 1 if (finding.kind == "positive") == (finding.quantity.better == "lower") else -1


def _score(finding: Finding) -> str:
    """One score: treatment less baseline with its interval, and the verdict."""
    if math.isnan(finding.estimate):
        return f"{finding.quantity.label} undefined"
    amount, unit = size(finding, -1)
    return f"{finding.quantity.label} {amount} {unit}, {short_verdict(finding)}"


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
