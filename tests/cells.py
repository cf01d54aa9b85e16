"""Cells of designs on the tiny models: what tests of interventions that work inside the model share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy

from budgetlens.design.design import Cell
from budgetlens.design.intervention import Context
from budgetlens.model.capture import Capture, Probing, capture
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Example
from tests.conftest import batch_of, corpus_rows
from tests.reference import hooks, tiny_models

#: One family of every kind, and the packed layout of the one that packs.
CASES = [("t5gemma2", False), ("t5gemma2", True), ("t5gemma", False), ("t5", False), ("bart", False)]
KINDS = ("t5gemma2", "t5gemma", "t5", "bart")
CASE_NAMES = [f"{family}{'-packed' if pack else ''}" for family, pack in CASES]

Models = Callable[[str], LoadedModel]

EXAMPLES = tuple(
    Example(f"row {number}", row["query"], row["document"], row["answer"])
    for number, row in enumerate(corpus_rows(6))
)


def context_of(model: LoadedModel, index: int) -> Context:
    """What interventions may know of the example at ``index``."""
    return Context(
        index=index,
        examples=EXAMPLES,
        tokenizer=model.trial_tokenizer,
        vocabulary_size=tiny_models.VOCABULARY - 12,
        seed=5,
    )


def tokenized(model: LoadedModel, index: int = 0, levels: Mapping[str, str] | None = None) -> TokenizedTrial:
    """The example at ``index`` in the cell with these levels, in their order."""
    cell = Cell(tuple((levels or {}).items()))
    return model.trial_tokenizer(cell.trial(EXAMPLES[index], context_of(model, index)))


def captured(
    model: LoadedModel,
    trials: Sequence[TokenizedTrial],
    reading: Probing | None = None,
    *,
    pack: bool = False,
    rows: str = "predicting",
) -> Capture:
    """A capture of trials, each under its own edits."""
    return capture(model, batch_of(trials, pack=pack, rows=rows), reading or Probing())


def losses(found: Capture, index: int = 0) -> numpy.ndarray:
    """Losses of one trial's answer tokens."""
    own = found.token_losses[index]
    return own[~numpy.isnan(own)]


def plain_losses(
    model: object,
    trial: TokenizedTrial,
    *,
    encoder: Mapping[str, hooks.Change] | None = None,
    final: hooks.Change | None = None,
    decoder: Mapping[str, hooks.Change] | None = None,
) -> numpy.ndarray:
    """Losses of one trial by torch's hooks: changes of encoder modules, final states, decoder modules."""
    states = hooks.encoder_states(model, trial.encoder_ids, encoder)  # type: ignore[arg-type]
    return hooks.answer_losses(
        model,  # type: ignore[arg-type]
        states if final is None else final(states),
        visible=trial.visible,
        decoder_ids=trial.decoder_ids,
        answer_length=trial.answer_tokens,
        changes=decoder,
    )


def places(roles: Sequence[str], *wanted: str) -> list[int]:
    """Positions with one of the wanted roles."""
    return [place for place, role in enumerate(roles) if role in wanted]
