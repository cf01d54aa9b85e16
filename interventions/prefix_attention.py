"""Prefix ablation in the encoder: position shift without attention, and attention without position shift."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.edits import HideKeys
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label

PREFIX = frozenset({"prefix", "separator"})
OTHERS = frozenset({"bos", "document", "eos"})


@intervention("prefix_attention")
@dataclass(frozen=True)
class PrefixAttention(Intervention):
    """Separate what a prefix does to the document by attention from what it does by moving its positions.

    ``masked``: prefix and separator are there, but BOS, document and EOS don't attend to them in the encoder's
    self-attention. What is left is the shift of positions. Where positions are relative (T5; rotary ones),
    that moves the document away from the BOS, and nothing at all where the tokenizer has no BOS.

    ``unshifted``: the document attends to the prefix, and BOS, document and EOS keep the positions that they have
    without one. Exact in every family, sliding windows included: with relative positions the prefix stands
    before the BOS, with a table of positions (BART, Marian, Pegasus) behind the EOS. Where the tokenizer has no
    BOS and positions are relative, a prefix moves nothing, and ``unshifted`` is the identity.

    ``masked+unshifted``: both, which leaves the document's states as they are without a prefix.
    ``none``: the prefix as it is. Hide it from the decoder by the factor ``hidden``.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("masked", "unshifted", "masked+unshifted")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    masked: bool = False
    unshifted: bool = False

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none``, ``masked``, ``unshifted`` or ``masked+unshifted``; LevelError otherwise."""
        parts = frozenset() if level == "none" else frozenset(level.split("+"))
        if not parts <= {"masked", "unshifted"}:
            raise LevelError(
                f"prefix_attention is none, masked, unshifted or masked+unshifted; got {level!r}"
            )
        return cls("masked" in parts, "unshifted" in parts)

    @classmethod
    def label(cls, level: str) -> Label:
        """What of the prefix reaches the document."""
        own = cls.parse(level)
        if not (own.masked or own.unshifted):
            return Label("", "a prefix that moves the document and is seen by it", rest=True)
        if own.masked and own.unshifted:
            return Label(
                "prefix neither moves nor is seen",
                "a prefix that neither moves the document nor is seen by it",
            )
        if own.masked:
            return Label("prefix only moves", "a prefix that only moves the document")
        return Label("prefix only seen", "a prefix that the document sees without being moved")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial whose encoder treats its prefix so; a trial without a prefix is left as it is."""
        if not any(segment.role in PREFIX for segment in trial.encoder):
            return trial
        if self.masked:
            hide = HideKeys(PREFIX, rows=OTHERS, stack="encoder")
            trial = replace(trial, edits=(*trial.edits, hide))
        if self.unshifted:
            trial = replace(trial, prefix_positions="before")
        return trial
