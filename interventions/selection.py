"""Selection: the decoder sees some positions of the document, whose states were made with all of it there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.keeping import ATTENTION, MODEL_SCORES, NORM, SCORES, SCORING_ROWS, Keep, Readers
from budgetlens.model.trials import Trial
from budgetlens.registry.labels import Label
from interventions.levels.edges import HeadChoice, parse_head_choice
from interventions.levels.layer_windows import LayerWindow, window_layers
from interventions.levels.values import at_least, known_name, whole_number

_EVERYWHERE = HeadChoice(LayerWindow.all())
_ROW_WORDS = {
    "prompt": "the prompt's rows",
    "last": "the last row before the answer",
    "predicting": "the rows that predict the answer",
}
_SCORE_WORDS = {ATTENTION: "looked at most by", NORM: "that give most to"}


@intervention("keep")
@dataclass(frozen=True)
class Selection(Intervention):
    """Hide all positions of the document from the decoder but K.

    Level: ``SCORE:K``, K positions or ``K%`` of them, rounded up; or ``none``. ``first`` and ``last`` go by place,
    ``random`` draws (``random:20%#2`` is another draw). Prefix, separator, BOS and EOS stay as they are.

    ``attention`` and ``norm`` ask the model, in this very cell with all of the document visible: the positions that rows of
    the decoder look at most, or take the longest vectors ‖Σ_h α W_O v‖ from (:mod:`budgetlens.model.selecting`), by the
    mean over rows, heads and layers; of equals the earlier. ``SCORE:K:ROWS@LAYERS/HEADS`` says whose and where, as in
    ``attention:20%:last@50%-100%/h0+3``: ``prompt`` (all of the prompt's rows; the default, and not in a cell without a
    prompt), ``last`` (the last row before the answer) or ``predicting`` (an oracle: those rows hold the right answer, and
    generation refuses it). All layers and heads are the default; ``norm`` adds heads up and takes none by themselves.
    """

    sample_levels: ClassVar[tuple[str, ...]] = (
        "first:4",
        "last:30%",
        "random:30%",
        "attention:30%",
        "norm:4:last@50%-100%",
        "attention:30%:predicting@all/h0",
    )
    identity_levels: ClassVar[tuple[str, ...]] = ("none", "first:100%", "attention:100%", "norm:100%")

    score: str = "none"
    amount: int = 100
    percent: bool = True
    rows: str = SCORING_ROWS[0]
    where: HeadChoice = _EVERYWHERE

    def __post_init__(self) -> None:
        known_name(self.score, "score of positions", ("none", *SCORES))
        known_name(self.rows, "group of rows that choose", SCORING_ROWS)
        at_least(self.amount, "the number of positions that are kept", least=1)
        if self.percent and self.amount > 100:
            raise LevelError(f"at most 100 % of the document is kept; got {self.amount} %")
        asks = self.score in MODEL_SCORES
        if not asks and (self.rows, self.where) != (SCORING_ROWS[0], _EVERYWHERE):
            raise LevelError(
                f"keep={self.score} goes by place; rows, layers and heads are of {', '.join(MODEL_SCORES)}"
            )
        if isinstance(self.where.heads, int):
            raise LevelError(
                "name the heads by which positions are chosen, as in '@all/h0+3', or leave them out"
            )
        if self.score == NORM and self.where.heads is not None:
            raise LevelError("norms are of what all heads take together; heads are of keep=attention alone")

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none`` or ``SCORE:K``, ``SCORE:K%``, ``SCORE:K:ROWS@LAYERS/HEADS``; LevelError otherwise."""
        chosen, at, where = level.partition("@")
        score, colon, rest = chosen.partition(":")
        known_name(score, "score of positions", ("none", *SCORES))
        if (score == "none") == bool(colon or at):
            raise LevelError(
                f"keep is none, or a score with a number behind a colon, as in first:20%; got {level!r}"
            )
        if not colon:
            return cls()
        amount, named, rows = rest.partition(":")
        what = f"the number of positions in keep={level}"
        return cls(
            score,
            whole_number(amount.removesuffix("%"), what, least=1),
            amount.endswith("%"),
            rows if named else SCORING_ROWS[0],
            parse_head_choice(where, level) if at else _EVERYWHERE,
        )

    @classmethod
    def label(cls, level: str) -> Label:
        """How much of the document is seen, and by which score."""
        own = cls.parse(level)
        if own.score == "none" or (own.percent and own.amount == 100):
            return Label("", "the whole document visible", rest=True)
        amount = f"{own.amount} %" if own.percent else f"{own.amount} tokens"
        if own.score not in MODEL_SCORES:
            words = f"{own.score} {amount} of the document"
            return Label(f"kept: {words}", f"the {words} kept")
        where = own.where.words
        more = "" if (own.rows, where) == (SCORING_ROWS[0], "") else f" of {_ROW_WORDS[own.rows]}{where}"
        return Label(
            f"kept: {amount} of the document by {own.score}{more}",
            f"the {amount} of the document kept {_SCORE_WORDS[own.score]} {_ROW_WORDS[own.rows]}{where}",
        )

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this selection in place of any other. Raises LevelError for layers that the model lacks."""
        if self.score == "none":
            return replace(trial, keep=None)
        if self.score not in MODEL_SCORES:
            seed = int(context.generator("keep").integers(2**32)) if self.score == "random" else 0
            return replace(trial, keep=Keep(self.score, self.amount, self.percent, seed))
        layers = None if self.where == _EVERYWHERE else window_layers(self.where.window, "decoder", context)
        heads = self.where.heads
        assert not isinstance(heads, int)
        return replace(
            trial, keep=Keep(self.score, self.amount, self.percent, readers=Readers(self.rows, layers, heads))
        )
