"""Exact attention budgets, interventions and paired effects in encoder-decoder language models.

What an extension needs comes from here with one import, and is loaded when it is first asked for: importing
`budgetlens` loads no torch.

    from budgetlens import Context, Intervention, Segment, Trial, intervention
"""

from importlib import import_module
from typing import Any

#: Where each name lives.
_FACE = {
    "ActivationCache": "budgetlens.face.activations",
    "Activations": "budgetlens.face.activations",
    "Analysis": "budgetlens.design.analysis",
    "Context": "budgetlens.design.intervention",
    "Declaration": "budgetlens.model.declaration",
    "Direction": "budgetlens.face.directions",
    "Effect": "budgetlens.design.effects",
    "Engine": "budgetlens.runs.engines.choice",
    "Example": "budgetlens.model.trials",
    "Factor": "budgetlens.design.design",
    "FinishedRun": "budgetlens.face.finished",
    "Inference": "budgetlens.statistics.inference",
    "Intervention": "budgetlens.design.intervention",
    "Model": "budgetlens.face.model",
    "Plan": "budgetlens.design.plan",
    "Probe": "budgetlens.model.observation",
    "Quantity": "budgetlens.statistics.quantities",
    "Reading": "budgetlens.face.reading",
    "Run": "budgetlens.runs.run",
    "Segment": "budgetlens.model.trials",
    "Trial": "budgetlens.model.trials",
    "analysis": "budgetlens.design.analysis",
    "cache_activations": "budgetlens.face.caching",
    "corpus": "budgetlens.face.corpora",
    "crossed": "budgetlens.design.design",
    "direction": "budgetlens.face.directions",
    "effect": "budgetlens.design.effects",
    "effects": "budgetlens.face.effects",
    "intervention": "budgetlens.design.intervention",
    "load_model": "budgetlens.face.model",
    "measure": "budgetlens.face.measuring",
    "open_activations": "budgetlens.face.activations",
    "open_run": "budgetlens.face.runs",
    "probe": "budgetlens.model.observation",
    "read_corpus": "budgetlens.face.corpora",
    "run": "budgetlens.face.runs",
    "wrap": "budgetlens.face.model",
}

__all__ = [*_FACE]


def __getattr__(name: str) -> Any:
    """The thing called ``name``, from the module where it lives. Raises AttributeError for any other name."""
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_FACE)}")
    return getattr(import_module(_FACE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FACE})
