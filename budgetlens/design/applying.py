"""What an intervention hands back, looked at before anything is made of it: its author learns of a fault where it is."""

from __future__ import annotations

from typing import Any

from budgetlens.design.intervention import Context, Intervention, LevelError
from budgetlens.model.edits import CallEdit, EditError, OutputEdit
from budgetlens.model.roles import ENCODER_ROLES
from budgetlens.model.trials import FIRST_POSITIONS, ExampleError, Segment, StateEdit, StateError, Trial


def applied(intervention: Intervention, level: str, trial: Trial, context: Context) -> Trial:
    """What ``intervention``, written ``factor=level``, makes of a trial.

    Raises LevelError that names level and example where ``apply`` fails, or hands back what is no trial. What
    interventions raise on purpose (ExampleError, LevelError, EditError, StateError) is left as it is.
    """
    try:
        made = intervention.apply(trial, context)
    except (ExampleError, LevelError, EditError, StateError, MemoryError):
        raise
    # Anybody's code, which may fail in any way.
    except Exception as error:
        raise LevelError(
            f"{level} can't be applied to the example {trial.example.identifier!r}: {type(error).__name__}: {error}; "
            f"correct {type(intervention).__name__}.apply, or leave the level out"
        ) from error
    fault = _fault(made)
    if fault:
        raise LevelError(
            f"{level} makes no trial of the example {trial.example.identifier!r}: {fault}; correct what "
            f"{type(intervention).__name__}.apply returns, such as dataclasses.replace(trial, …)"
        )
    return made


def _fault(made: Any) -> str:
    """What is wrong with what an intervention handed back; empty where nothing is."""
    if not isinstance(made, Trial):
        return f"a Trial is expected, and it is {_told(made)}"
    for name in ("encoder", "decoder"):
        wrong = _stranger(getattr(made, name), Segment)
        if wrong:
            return f"its {name} is a tuple of Segments, and {wrong}"
    if not isinstance(made.hidden, frozenset) or not made.hidden <= {*ENCODER_ROLES, FIRST_POSITIONS}:
        return (
            f"what it hides is a frozenset of roles of the encoder ({', '.join(ENCODER_ROLES)}), and it is "
            f"{_told(made.hidden)}"
        )
    wrong = _stranger(made.edits, CallEdit | OutputEdit)
    if wrong:
        return f"its edits are a tuple of edits of attention (matches, and apply or apply_to_output), and {wrong}"
    wrong = _stranger(made.states, StateEdit)
    return f"its states are a tuple of StateEdits, and {wrong}" if wrong else ""


def _stranger(given: Any, kind: Any) -> str:
    """What in a tuple is not of a kind, in words; empty where all is."""
    if not isinstance(given, tuple):
        return f"it is {_told(given)}"
    # Classes have the methods of their instances.
    wrong = [each for each in given if isinstance(each, type) or not isinstance(each, kind)]
    return f"{_told(wrong[0])} is among them" if wrong else ""


def _told(thing: Any) -> str:
    words = repr(thing)
    return words if len(words) <= 80 else words[:79] + "…"
