"""What a run concludes, in words: for the top of the report and the end of what a terminal shows."""

from __future__ import annotations

from collections.abc import Sequence

from budgetlens.report.findings import colour, mark, sentence
from budgetlens.report.page import escaped, foreign
from budgetlens.statistics.findings import Finding
from budgetlens.statistics.verdicts import CAUTIONS
from budgetlens.tables.conclusions import Concluded, Told

#: What is said where nothing that decides could act.
NOTHING = (
    "This run can't answer its question: its tables lack what would decide it, since the model or the design has no such "
    "role, block or level."
)


def words(concluded: Concluded) -> str:
    """The conclusion as one sentence."""
    of = f"{concluded.model}: " if concluded.model else ""
    if not concluded.told:
        return of + NOTHING
    decided = concluded.told[0]
    clause = concluded.outcome or f"{decided.label.sentence[:1].upper()}{decided.label.sentence[1:]}"
    # Found, and too small to matter: the clause alone would say too much.
    little = ", too little to matter" if decided.finding.small and decided.finding.decision.found else ""
    return f"{of}{clause}{little}: {sentence(decided.finding)}{_care(decided.finding)}"


def _care(finding: Finding) -> str:
    """What stands against the interval or the test of a finding."""
    if not finding.cautions:
        return ""
    return f" Read with care: {'; '.join(CAUTIONS.get(code, code) for code in finding.cautions)}."


def evidence(told: Told) -> str:
    """One of the findings behind it: its effect and what it shows."""
    return f"{told.label.long}: {told.finding.verdict}; {sentence(told.finding)}"


def conclusion_html(concluded: Sequence[Concluded]) -> str:
    """Each conclusion with the findings that carry it; ids are on hover."""
    return "".join(
        f'<div class="conclusion"><p class="answer">{foreign(words(own))}</p>{_findings(own.told)}</div>'
        for own in concluded
    )


def _findings(told: Sequence[Told]) -> str:
    if not told:
        return ""
    items = "".join(
        f"<li>{mark(colour(own.finding), own.finding.verdict)} "
        f'<span class="name" title="{escaped(own.finding.effect)}">{foreign(own.label.long)}</span>: '
        f"{escaped(sentence(own.finding))}</li>"
        for own in told
    )
    return f'<ul class="findings">{items}</ul>'


def conclusion_lines(concluded: Sequence[Concluded]) -> list[str]:
    """The same as lines of text."""
    return [
        line
        for own in concluded
        for line in (f"conclusion: {words(own)}", *(f"  {evidence(each)}" for each in own.told))
    ]
