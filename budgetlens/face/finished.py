"""A finished run as a person looks at it: what it concludes, its findings, tables and figures, and itself in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import pandas as pd

from budgetlens.face.captioned import CaptionedFrame
from budgetlens.face.shown import run_html
from budgetlens.registry.names import nearest
from budgetlens.report.caveats import caveats
from budgetlens.report.conclusion import conclusion_html, words
from budgetlens.report.document import setting
from budgetlens.report.drawing import draw_figures
from budgetlens.report.saving import Saved
from budgetlens.runs.run import Run
from budgetlens.statistics.findings import Finding, findings
from budgetlens.tables.complete import tables_of
from budgetlens.tables.conclusions import Concluded, conclusions_of
from budgetlens.tables.presentation import Table

#: The name under which a run's main figure stands before the others.
HERO = "hero"


@dataclass(frozen=True, repr=False)
class RunConclusion:
    """What a run concludes: one of each model of a sweep, else one; none of a run without effects.

    Printed, it is its sentence, a line per model. The values are inside: ``concluded`` has outcome, figure and findings,
    ``findings`` are those of all, the deciding one of each first. A notebook shows them below the sentence.
    """

    concluded: tuple[Concluded, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings that carry it."""
        return tuple(told.finding for own in self.concluded for told in own.told)

    def __str__(self) -> str:
        return "\n".join(words(own) for own in self.concluded)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return conclusion_html(self.concluded)


class Named(dict[str, Any]):
    """Tables or figures by name; shown, it is their names. KeyError with these for a name that is not there."""

    def __init__(self, kind: str, things: Mapping[str, Any]) -> None:
        super().__init__(things)
        self.kind = kind

    def __missing__(self, name: str) -> Any:
        raise KeyError(f"the run has no {self.kind} {name!r}.{nearest(name, self)} It has {', '.join(self)}")

    def __repr__(self) -> str:
        return f"{self.kind}s: {', '.join(self)}"


@dataclass(frozen=True, repr=False)
class FinishedRun(Run):
    """A finished run: ``conclusion``, ``findings``, ``tables``, ``figures``, ``records(probe)``; opened by ``bl.open_run``.

    Everything is read when it is first asked for, and checked against its hashes. It is a
    :class:`budgetlens.runs.run.Run` with the floors above: tables, words, figures.

    Examples:
        >>> import tempfile, budgetlens as bl
        >>> model, corpus = bl.load_model("reference"), bl.read_corpus("reference", n=4)
        >>> run = bl.run(model=model, corpus=corpus, out=tempfile.mkdtemp(), layers=[0], prefix=["none", "oracle"])
        >>> "effects" in run.tables, "hero" in run.figures, len(run.findings)
        (True, True, 1)
        >>> run.records("likelihood")["example"].nunique()
        4
    """

    saved: Saved | None = field(default=None, compare=False)

    @classmethod
    def of(cls, run: Run, saved: Saved | None = None) -> FinishedRun:
        """A run that was opened already, with what was saved of it where that is at hand."""
        return cls(**{each.name: getattr(run, each.name) for each in fields(Run)}, saved=saved)

    @cached_property
    def _complete(self) -> tuple[Mapping[str, pd.DataFrame], Mapping[str, Table]]:
        if self.saved is not None:
            return self.saved.frames, self.saved.presented
        return tables_of(self)

    @cached_property
    def tables(self) -> Named:
        """Every table by name as it was computed; those that a report shows also show themselves, with their caption."""
        frames, presented = self._complete
        return Named(
            "table", {name: CaptionedFrame.of(frame, presented.get(name)) for name, frame in frames.items()}
        )

    @cached_property
    def figures(self) -> Named:
        """Every figure (plotly) by name; ``hero`` is the one that its conclusion names, under that name as well."""
        at_hand = None if self.saved is None else self.saved.drawn
        drawn = draw_figures(self, self._complete[0]) if at_hand is None else at_hand
        named = [own.figure for own in self.conclusion.concluded if own.figure in drawn]
        chosen = next(iter([*named, *drawn]), None)
        return Named("figure", dict(drawn) if chosen is None else {HERO: drawn[chosen], **drawn})

    @cached_property
    def conclusion(self) -> RunConclusion:
        """What it concludes: prints as its sentence, with the values inside."""
        return RunConclusion(conclusions_of(self, self._complete[0]))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Every contrast on the run's outcome; of a sweep and of a re-analysis those that its conclusion names."""
        if not self.has_records:
            return self.conclusion.findings
        effects = self._complete[0].get(self.declarations[self.outcome].table(self.outcome, "effects"))
        return () if effects is None else findings(effects, self.outcome_quantity)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r}: {self.manifest.setting}, {self.manifest.examples_words})"

    def _repr_html_(self) -> str:
        frames, presented = self._complete
        return run_html(
            title=f"{self.manifest.analysis}: {self.manifest.title}",
            question=self.manifest.question,
            setting=setting(self.manifest),
            path=str(self.path),
            sentences=str(self.conclusion).splitlines(),
            caveats=caveats(self.manifest, presented),
            tables=list(frames),
            figures=list(self.figures),
        )
