"""Exact attention budgets, interventions and paired effects in encoder-decoder language models.

What an extension needs comes from here with one import, and is loaded when it is first asked for: importing
`budgetlens` loads no torch.

    from budgetlens import Context, Intervention, Segment, Trial, intervention
"""

from importlib import import_module
from typing import Any

#: Where each name lives.
_FACE = {
    "Analysis": "budgetlens.design.analysis",
    "Context": "budgetlens.design.intervention",
    "Declaration": "budgetlens.model.declaration",
    "Example": "budgetlens.model.trials",
    "Factor": "budgetlens.design.design",
    "Inference": "budgetlens.statistics.inference",
    "Intervention": "budgetlens.design.intervention",
    "Plan": "budgetlens.design.plan",
    "Quantity": "budgetlens.statistics.quantities",
    "Run": "budgetlens.runs.run",
    "Segment": "budgetlens.model.trials",
    "Trial": "budgetlens.model.trials",
    "corpus": "budgetlens.face.corpora",
    "effects": "budgetlens.face.effects",
    "measure": "budgetlens.face.measuring",
    "open_run": "budgetlens.face.runs",
    "read_corpus": "budgetlens.face.corpora",
    "run": "budgetlens.face.runs",
    "analysis": "budgetlens.design.analysis",
    "crossed": "budgetlens.design.design",
    "effect": "budgetlens.design.effects",
    "intervention": "budgetlens.design.intervention",
    "probe": "budgetlens.model.observation",
}

__all__ = [*_FACE]


def __getattr__(name: str) -> Any:
    """The thing called ``name``, from the module where it lives. Raises AttributeError for any other name."""
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_FACE)}")
    return getattr(import_module(_FACE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})
