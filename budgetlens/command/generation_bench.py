"""How fast answers are generated: eight cells of two examples in one batch, against the library's own, one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from budgetlens.corpora.corpus import read_corpus
from budgetlens.design.design import Cell
from budgetlens.model.batching import Batch, make_batch
from budgetlens.model.capture import encode
from budgetlens.model.decoding import Decoding
from budgetlens.model.generation import generate_from
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.runs.running import tokenized_units

#: Target: the library's time per answer over ours.
GENERATION_LEAST = 5.0

#: Tokens of every answer: nothing ends one earlier.
STEPS = 32
EXAMPLES = 2
_PREFIXES = (("none", "none"), *((name, "prefix+separator") for name in ("oracle", "keywords:5", "random")))
CELLS = tuple(
    Cell((("prefix", prefix), ("hidden", hidden), ("prompt", prompt)))
    for prefix, hidden in _PREFIXES
    for prompt in ("none", "query")
)


def generation_ratios(model: LoadedModel, repeats: int) -> list[float]:
    """The library's time per answer over ours, from the same encoder states, in turn.

    Raises RuntimeError where the two ways answer differently.
    """
    model.model.generation_config.eos_token_id = None
    units = tokenized_units(CELLS, model, read_corpus("reference", n=EXAMPLES), 42)
    trials = [fed.trial for unit in units for fed in unit.fed]
    batch = make_batch(trials, pad_token=pad_token(model))
    states = encode(model, batch)

    def ours() -> list[list[int]]:
        return [list(own.tokens) for own in generate_from(model, batch, states, Decoding(tokens=STEPS))]

    def theirs() -> list[list[int]]:
        # One example's cells tell what an answer takes.
        return [_by_library(model, batch, states, number) for number in range(len(CELLS))]

    if ours()[: len(CELLS)] != theirs():
        raise RuntimeError(f"generation and the library's own answer differently with {model.name}")
    return [(_seconds(theirs) / len(CELLS)) / (_seconds(ours) / len(trials)) for _ in range(repeats)]


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    # Answers come back as numbers, so that a GPU has computed them by then.
    function()
    return time.perf_counter() - start


def _by_library(model: LoadedModel, batch: Batch, states: torch.Tensor, number: int) -> list[int]:
    from transformers.modeling_outputs import BaseModelOutput

    trial = batch.trials[number]
    given = torch.tensor([trial.decoder_ids[: -trial.answer_tokens]], device=model.device)
    own = states[batch.trial_pass[number], : len(trial.encoder_ids)]
    with torch.inference_mode():
        found = model.model.generate(  # type: ignore[operator]
            encoder_outputs=BaseModelOutput(last_hidden_state=own[None]),
            attention_mask=torch.tensor([trial.visible], device=model.device).long(),
            decoder_input_ids=given,
            decoder_attention_mask=torch.ones_like(given),
            max_new_tokens=STEPS,
            do_sample=False,
            num_beams=1,
        )
    return found[0, given.shape[1] :].tolist()
