"""Removal of attention sublayers: what they add to the residual stream becomes zero."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.edits import ATTENTION, RemoveOutput
from budgetlens.model.trials import Trial
from interventions.levels.layer_windows import LayerWindow, parse_window, window_layers
from interventions.levels.values import known_name

#: Sublayers by name: their block and stack. ``decoder`` is all attention of the decoder, whatever its blocks.
SUBLAYERS = {
    "self": ("self", "decoder"),
    "cross": ("cross", "decoder"),
    "merged": ("merged", "decoder"),
    "decoder": (ATTENTION, "decoder"),
    "encoder": ("self", "encoder"),
}


@intervention("sublayer_removal")
@dataclass(frozen=True)
class SublayerRemoval(Intervention):
    """Remove the output of attention sublayers, the output projection's bias included.

    Level: ``sublayer@layers``, or ``none``. ``self`` and ``cross`` are the decoder's where it keeps them apart,
    ``merged`` its one where it does not, ``decoder`` all of its attention in either case, ``encoder`` the
    encoder's self-attention. Asking for a sublayer that a family does not have is an error when it runs.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("decoder@all", "decoder@0", "encoder@0%-50%")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    sublayer: str = "none"
    window: LayerWindow = field(default_factory=LayerWindow.all)

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``sublayer@layers``; LevelError with the known sublayers otherwise."""
        sublayer, at, where = level.partition("@")
        known_name(sublayer, "sublayer", ("none", *SUBLAYERS))
        if sublayer == "none" and at:
            raise LevelError(f"{level!r}: 'none' has no layers")
        return cls(sublayer, parse_window(where) if at else LayerWindow.all())

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this edit besides its others."""
        if self.sublayer == "none":
            return trial
        block, stack = SUBLAYERS[self.sublayer]
        edit = RemoveOutput(block, stack, window_layers(self.window, stack, context))
        return replace(trial, edits=(*trial.edits, edit))
