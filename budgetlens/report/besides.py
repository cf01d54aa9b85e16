"""Further questions that readers ask of a run, each answered by several effects together, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from budgetlens.report.findings import COLOURS, colour, short_verdict, size
from budgetlens.runs.run import Run
from budgetlens.statistics.findings import Finding, findings
from budgetlens.tables.digits import counted


@dataclass(frozen=True)
class Beside:
    """A question and its answer in words."""

    question: str
    answer: str


def besides_of(run: Run, frames: Mapping[str, pd.DataFrame], words: Mapping[str, str]) -> tuple[Beside, ...]:
    """The questions of the run's analysis that its effects on the outcome answer; none of a run without such."""
    key = run.declarations[run.outcome].table(run.outcome, "effects")
    if run.analysis.conclusion is None or key not in frames:
        return ()
    found = {own.effect: own for own in findings(frames[key], run.outcome_quantity)}
    told = []
    for question, effects in run.analysis.conclusion(run.manifest.protocol).besides.items():
        own = [found[name] for name in effects if name in found]
        told += [Beside(question, together(own, words))] if own else []
    return tuple(told)


def together(found: Sequence[Finding], words: Mapping[str, str]) -> str:
    """How many of several effects have which verdict, those with a direction first, and the largest of these."""
    by_verdict: dict[str, list[Finding]] = {}
    for one in sorted(found, key=lambda one: COLOURS.index(colour(one))):
        by_verdict.setdefault(short_verdict(one), []).append(one)
    parts: list[str] = []
    for verdict, own in by_verdict.items():
        most = max(own, key=lambda one: abs(one.estimate))
        directed = colour(most) not in ("none", "undecided")
        amount, unit = size(most)
        which = f", {'most' if len(own) > 1 else 'namely'} with {words.get(most.effect, most.effect)}: {amount} {unit}"
        of = "" if parts else f" of {counted(len(found), 'comparison')}"
        parts.append(f"{verdict} in {len(own)}{of}{which if directed else ''}")
    told = "; ".join(parts)
    return f"{told[:1].upper()}{told[1:]}."
