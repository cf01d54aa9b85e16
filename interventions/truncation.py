"""Truncation: hiding encoder positions from the decoder after co-encoding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.roles import ENCODER_ROLES, ROLE_LABELS
from budgetlens.model.trials import FIRST_POSITIONS, Trial
from budgetlens.registry.labels import Label
from interventions.levels.values import role_set


@intervention("hidden")
@dataclass(frozen=True)
class Truncate(Intervention):
    """Hide roles of the encoder from the decoder; the document's states keep what co-encoding did to them.

    ``roles`` is exact. ``first-n`` in it is the published variant: it hides the first
    ``len(ids(prefix + separator + document)) - len(ids(document))`` positions, which on a tokenizer with
    BOS are the BOS and all of the prefix and separator but their last token.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "prefix+separator",
        "bos+prefix+separator",
        FIRST_POSITIONS,
        "document",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    roles: frozenset[str]

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none``, ``first-n``, or encoder roles joined by ``+``."""
        if level == FIRST_POSITIONS:
            return cls(frozenset({FIRST_POSITIONS}))
        try:
            return cls(role_set(level, ENCODER_ROLES))
        except LevelError as error:
            raise LevelError(f"{error}; or {FIRST_POSITIONS!r} for the published truncation") from error

    @classmethod
    def label(cls, level: str) -> Label:
        """Which roles are hidden; the separator goes with the prefix."""
        own = cls.parse(level)
        if not own.roles:
            return Label("nothing hidden", rest=True)
        if FIRST_POSITIONS in own.roles:
            return Label("first positions hidden", "the first positions hidden, as published")
        told = [role for role in ENCODER_ROLES if role in own.roles]
        if {"prefix", "separator"} <= own.roles:
            told.remove("separator")
        others = _hidden([role for role in told if role not in ("prefix", "separator")])
        if "prefix" in own.roles and "separator" not in own.roles:
            told[told.index("prefix")] = "prefix without its separator"
        whole = _hidden(told)
        return replace(whole, needs="prefix", alone=others) if whole != others else whole

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these roles hidden as well."""
        return trial.hiding(self.roles)


def _hidden(told: list[str]) -> Label:
    words = " and ".join(ROLE_LABELS[role].short if role in ROLE_LABELS else role for role in told)
    return Label(f"{words} hidden") if told else Label("", "nothing hidden", rest=True)
