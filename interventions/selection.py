"""Selection: which of the document's positions the decoder sees; encoder states are made with all of them in place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.keeping import (
    ATTENTION,
    GRADIENT,
    MODEL_SCORES,
    NORM,
    PLACES,
    SCORES,
    SCORING_ROWS,
    Keep,
    Readers,
)
from budgetlens.model.observation import available_probes, scoring_probes
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.edges import HeadChoice, parse_head_choice
from interventions.levels.layer_windows import LayerWindow, window_layers
from interventions.levels.values import at_least, known_name, whole_number

NONE = "none"
_EVERYWHERE = HeadChoice(LayerWindow.all())
_ROW_WORDS = {
    "prompt": "the prompt's rows",
    "last": "the last row before the answer",
    "predicting": "the rows that predict the answer",
}
_SCORE_WORDS = {ATTENTION: "looked at most by", NORM: "that give most to"}


def scores() -> tuple[str, ...]:
    """By what positions can be chosen: place, chance, and what the model does with them or says of them."""
    return tuple(dict.fromkeys((*SCORES, *scoring_probes(), GRADIENT)))


@dataclass(frozen=True)
class _Choice(Intervention):
    """Some positions of the document, by a score: ``SCORE:K``, K positions, or ``SCORE:K%``, K percent, rounded up."""

    #: What random numbers are drawn for, what becomes of what is chosen, and whether that is hidden.
    purpose: ClassVar[str] = "keep"
    verb: ClassVar[str] = "kept"
    removes: ClassVar[bool] = False

    score: str = NONE
    amount: int = 100
    percent: bool = True
    rows: str = SCORING_ROWS[0]
    where: HeadChoice = _EVERYWHERE

    def __post_init__(self) -> None:
        known_name(self.score, "score of positions", (NONE, *scores()))
        known_name(self.rows, "group of rows that choose", SCORING_ROWS)
        at_least(self.amount, "the number of positions that are chosen", least=1)
        if self.percent and self.amount > 100:
            raise LevelError(f"at most 100 % of the document is chosen; got {self.amount} %")
        if self.score not in MODEL_SCORES and (self.rows, self.where) != (SCORING_ROWS[0], _EVERYWHERE):
            how = (
                "by place"
                if self.score in PLACES
                else "by the rows that predict the right answer, in all layers"
            )
            raise LevelError(
                f"{self.purpose}={self.score} goes {how}; rows, layers and heads are of {', '.join(MODEL_SCORES)}"
            )
        if isinstance(self.where.heads, int):
            raise LevelError(
                "name the heads by which positions are chosen, as in '@all/h0+3', or leave them out"
            )
        if self.score == NORM and self.where.heads is not None:
            raise LevelError("norms are of what all heads take together; heads are of attention alone")

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``SCORE:K``, ``SCORE:K%``, ``SCORE:K:ROWS@LAYERS/HEADS``; LevelError otherwise."""
        chosen, at, where = level.partition("@")
        score, colon, rest = chosen.partition(":")
        known_name(score, "score of positions", (NONE, *scores()))
        if (score == NONE) == bool(colon or at):
            raise LevelError(
                f"{cls.purpose} is none, or a score with a number behind a colon, as in first:20%; got {level!r}"
            )
        if not colon:
            return cls()
        amount, named, rows = rest.partition(":")
        what = f"the number of positions in {cls.purpose}={level}"
        number = whole_number(amount.removesuffix("%"), what, least=1)
        # Written in another way it would be another level, and tested a second time.
        if amount.removesuffix("%") != str(number):
            raise LevelError(f"{what} is written {number}; got {amount.removesuffix('%')!r}")
        return cls(
            score,
            number,
            amount.endswith("%"),
            rows if named else SCORING_ROWS[0],
            parse_head_choice(where, level) if at else _EVERYWHERE,
        )

    @classmethod
    def _label(cls, level: str) -> Label:
        """How much of the document is chosen, and by which score."""
        own = cls.parse(level)
        amount = f"{own.amount} %" if own.percent else f"{own.amount} tokens"
        if own.score in PLACES:
            words = f"{own.score} {amount} of the document"
            return Label(f"{cls.verb}: {words}", f"the {words} {cls.verb}")
        if own.score not in MODEL_SCORES:
            made = available_probes().get(own.score)
            by = "gradient × input" if made is None else made.declares.label.short
            words = f"highest {amount} of the document by {by}"
            return Label(f"{cls.verb}: {words}", f"the {words} {cls.verb}")
        where = own.where.words
        more = "" if (own.rows, where) == (SCORING_ROWS[0], "") else f" of {_ROW_WORDS[own.rows]}{where}"
        return Label(
            f"{cls.verb}: {amount} of the document by {own.score}{more}",
            f"the {amount} of the document {cls.verb} {_SCORE_WORDS[own.score]} {_ROW_WORDS[own.rows]}{where}",
        )

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this selection; ``none`` leaves it as it is.

        Raises LevelError for layers that the model lacks, and for a trial that has a selection already.
        """
        if self.score == NONE:
            return trial
        if trial.keep is not None:
            raise LevelError(
                f"a cell shows one selection of the document's tokens, and {trial.keep.level} has made it where "
                f"{self.purpose}={self.score} is to: give keep or remove in a cell, and none of the other"
            )
        seed = int(context.generator(self.purpose).integers(2**32)) if self.score == "random" else 0
        readers = Readers()
        if self.score in MODEL_SCORES:
            everywhere = self.where == _EVERYWHERE
            layers = None if everywhere else window_layers(self.where.window, "decoder", context)
            heads = self.where.heads
            assert not isinstance(heads, int)
            readers = Readers(self.rows, layers, heads)
        keep = Keep(self.score, self.amount, self.percent, seed, readers, self.removes)
        return replace(trial, keep=keep)


@intervention("keep")
@dataclass(frozen=True)
class Selection(_Choice):
    """Hide all positions of the document from the decoder but K.

    Level: ``SCORE:K``, K positions or ``K%`` of them, rounded up; or ``none``. ``first`` and ``last`` go by place,
    ``random`` draws (``random:20%#2`` is another draw). Prefix, separator, BOS and EOS stay as they are.

    ``attention`` and ``norm`` ask the model, in this very cell with all of the document visible: the positions that rows of
    the decoder look at most, or take the longest vectors ‖Σ_h α W_O v‖ from (:mod:`budgetlens.model.selecting`), by the
    mean over rows, heads and layers; of equals the earlier. ``SCORE:K:ROWS@LAYERS/HEADS`` says whose and where, as in
    ``attention:20%:last@50%-100%/h0+3``: ``prompt`` (all of the prompt's rows; the default, and not in a cell without a
    prompt), ``last`` (the last row before the answer) or ``predicting`` (an oracle: those rows hold the right answer, and
    generation refuses it). All layers and heads are the default; ``norm`` adds heads up and takes none by themselves.

    The name of any other probe whose records are by role (``projection``, ``logit`` …) takes the positions that have most by
    it while the model predicts the right answer, ``gradient`` those whose states times their gradient add most to its
    likelihood (:mod:`budgetlens.model.token_scores`); these are oracles too.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "first:4",
        "last:30%",
        "random:30%",
        "attention:30%",
        "norm:4:last@50%-100%",
        "attention:30%:predicting@all/h0",
        "gradient:3",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none", "first:100%", "attention:100%", "norm:100%")

    @classmethod
    def label(cls, level: str) -> Label:
        """How much of the document is seen, and by which score."""
        own = cls.parse(level)
        if own.score == NONE or (own.percent and own.amount == 100):
            return Label("", "the whole document visible", rest=True)
        return cls._label(level)


@intervention("remove")
@dataclass(frozen=True)
class Removal(_Choice):
    """Hide K positions of the document from the decoder.

    Levels are those of ``keep``; here they name what is hidden. A cell has one of the two.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("first:4", "random:30%", "attention:20%", "gradient:2")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)
    purpose: ClassVar[str] = "remove"
    verb: ClassVar[str] = "removed"
    removes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score != NONE and self.percent and self.amount == 100:
            raise LevelError(
                "at most 99 % of the document can be removed: the decoder needs something to see"
            )

    @classmethod
    def label(cls, level: str) -> Label:
        """How much of the document is hidden, and by which score."""
        if cls.parse(level).score == NONE:
            return Label("", "nothing of the document removed", rest=True)
        return cls._label(level)
