"""Donors: the trials whose encoder states another trial takes, named by levels of factors.

``prefix=oracle`` or ``prefix=oracle&hidden=none``: levels joined by ``&``, made in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from budgetlens.design.intervention import Context, Intervention, LevelError, available_interventions
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, PREDICTING
from budgetlens.model.trials import Trial
from budgetlens.registry.names import lookup
from budgetlens.registry.parameters import split_draw
from interventions.levels.layer_windows import LayerWindow, parse_window, window_layers
from interventions.levels.values import role_set


@dataclass(frozen=True)
class Levels:
    """Levels of factors, with the draw of each."""

    interventions: tuple[tuple[Intervention, int], ...] = ()

    def applied(self, trial: Trial, context: Context) -> Trial:
        """The trial under these levels."""
        for intervention, draw in self.interventions:
            trial = intervention.apply(trial, replace(context, draw=draw))
        return trial


def parse_levels(text: str) -> Levels:
    """Levels from ``factor=level&factor=level``.

    Raises LevelError where a part names no level, and RegistryError for an unknown factor.
    """
    known = available_interventions()
    parsed = []
    for part in text.split("&") if text else ():
        factor, equals, level = part.partition("=")
        if not equals:
            raise LevelError(f"{part!r} is no level of a factor; give 'factor=level', joined by '&'")
        bare, draw = split_draw(level)
        parsed.append((lookup("intervention", factor, known).parse(bare), draw))
    return Levels(tuple(parsed))


@dataclass(frozen=True)
class Place:
    """Which states: roles of one stack, where they leave some layers, or (``window`` None) the final ones."""

    roles: frozenset[str]
    stack: str
    window: LayerWindow | None

    def layers(self, context: Context) -> Sequence[int | None]:
        """The layers, ascending; None alone for the final states."""
        return [None] if self.window is None else sorted(window_layers(self.window, self.stack, context))


def parse_place(roles: str, where: str, *, decoder: bool = False) -> Place:
    """States from roles joined by ``+`` and ``final`` or a window of layers.

    ``decoder`` tells whether states of the decoder, among them those of ``predicting`` rows, can be meant.
    Raises LevelError for unknown roles, none, or roles of both stacks.
    """
    chosen = role_set(roles, (*ENCODER_ROLES, *DECODER_ROLES, PREDICTING) if decoder else ENCODER_ROLES)
    if not chosen:
        raise LevelError("name the roles whose states are meant, joined by '+', as in 'bos+document'")
    in_encoder = chosen <= set(ENCODER_ROLES)
    if not in_encoder and chosen & set(ENCODER_ROLES):
        raise LevelError(f"states are of one stack, and {roles!r} names both")
    if not in_encoder and where == "final":
        raise LevelError("'final' names the encoder's final states; give layers for the decoder, as in '@5'")
    window = None if where == "final" else parse_window(where)
    return Place(chosen, "encoder" if in_encoder else "decoder", window)
