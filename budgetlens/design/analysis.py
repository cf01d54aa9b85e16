"""What an analysis is: designs for both protocols, a corpus, contrasts, and what its tables compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from budgetlens.design.conclusions import Conclusion
from budgetlens.design.plan import PROTOCOLS, PUBLISHED, Plan
from budgetlens.registry.registering import registered

#: Name of an analysis whose design came from the command line or a file.
CUSTOM = "custom"


@dataclass(frozen=True)
class Analysis:
    """A named question with its plans. ``corpus``, ``n`` and ``seed`` are the defaults of a run.

    ``tables`` gives further tables (:class:`budgetlens.tables.presentation.Table`) of a finished
    :class:`budgetlens.runs.run.Run` by name, ``figures`` further figures (plotly) of it from the frames of all tables
    by name; both live on higher floors, so that they are not named in the types here. ``reads`` names the analysis
    whose finished runs this one reads again instead of running a model: its ``tables`` take all from ``Run.source``.
    ``models`` are those of a run that names none: such an analysis is always a sweep over models, whatever their
    number; any other is one where several are given. ``encoder_tokens`` is the longest encoder input by default.
    ``conclusion`` gives, for a protocol, what answers the question; without it the headlines speak for themselves.
    Decoder inputs of the published protocol start as they did, with the start token alone;
    those of any other with all that the model's generation starts with.

    Examples:
        >>> from budgetlens import Analysis, Factor, Plan, crossed, effect
        >>> def plan():
        ...     design = crossed([Factor("prefix", ("none", "oracle"))])
        ...     contrasts = (effect(prefix=("none", "oracle")).contrast(design.cells),)
        ...     return Plan(design=design, rows="predicting", probes=(), contrasts=contrasts, share_contrasts=contrasts)
        >>> mine = Analysis(name="mine", title="Mine", question="Does it help?", plans={"corrected": plan()}, n=20)
        >>> [cell.name for cell in mine.plan("corrected").design.cells]
        ['prefix=none', 'prefix=oracle']
    """

    name: str
    title: str
    question: str
    plans: Mapping[str, Plan]
    corpus: str = "reference"
    n: int = 500
    seed: int = 42
    tables: Callable[[Any], Mapping[str, Any]] | None = None
    figures: Callable[[Any, Mapping[str, Any]], Mapping[str, Any]] | None = None
    reads: str = ""
    models: tuple[str, ...] = ()
    encoder_tokens: int | None = None
    conclusion: Callable[[str], Conclusion] | None = None

    def __post_init__(self) -> None:
        started = {
            protocol: plan.without_forced_start() if protocol == PUBLISHED else plan
            for protocol, plan in self.plans.items()
        }
        object.__setattr__(self, "plans", started)

    @property
    def protocol(self) -> str:
        """The protocol of a run that names none: corrected, or the only one that there is."""
        return PROTOCOLS[0] if PROTOCOLS[0] in self.plans else next(iter(self.plans))

    def plan(self, protocol: str) -> Plan:
        """The plan for a protocol; ValueError with the known ones otherwise."""
        if protocol not in self.plans:
            raise ValueError(f"{self.name} has no protocol {protocol!r}; it has {', '.join(self.plans)}")
        return self.plans[protocol]


def analysis(name: str) -> Callable[[Callable[[], Analysis]], Callable[[], Analysis]]:
    """Register a function that makes an analysis under ``name``.

    Examples:
        >>> from budgetlens import Analysis, Factor, Plan, analysis, crossed, effect
        >>> def plan():
        ...     design = crossed([Factor("prefix", ("none", "oracle"))])
        ...     contrasts = (effect(prefix=("none", "oracle")).contrast(design.cells),)
        ...     return Plan(design=design, rows="predicting", probes=(), contrasts=contrasts, share_contrasts=contrasts)
        >>> @analysis("mine")
        ... def mine():
        ...     return Analysis(name="mine", title="Mine", question="Does it help?", plans={"corrected": plan()}, n=20)
        >>> mine().plan("corrected").rows
        'predicting'
    """
    return registered("analysis", name)
