"""Greedy answers in the plainest way, for the tests: the library's own, and a loop without a cache.

Imports nothing of the project and shares no code with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


def by_library(
    model: PreTrainedModel,
    *,
    encoder_ids: Sequence[int],
    visible: Sequence[bool],
    decoder_ids: Sequence[int],
    tokens: int,
    **settings: Any,
) -> list[int]:
    """What the library's own generation puts behind ``decoder_ids``: one example, no padding, greedy, no beams.

    ``visible`` says which encoder positions the decoder may see. The end-of-sequence token stands last where one came.
    """
    ids = torch.tensor([list(encoder_ids)])
    given = torch.tensor([list(decoder_ids)])
    options: dict[str, Any] = {"input_ids": ids}
    with torch.no_grad():
        if not all(visible):
            # The encoder sees all that it is given: what hides positions from the decoder alone is behind it.
            states = model.get_encoder()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            options = {"encoder_outputs": BaseModelOutput(last_hidden_state=states)}
        found = model.generate(
            **options,
            attention_mask=torch.tensor([[int(seen) for seen in visible]]),
            decoder_input_ids=given,
            # Left out, T5 would take its start token, which is its padding token, for padding.
            decoder_attention_mask=torch.ones_like(given),
            max_new_tokens=tokens,
            do_sample=False,
            num_beams=1,
            **settings,
        )
    return found[0, len(decoder_ids) :].tolist()


def step_by_step(
    following: Callable[[list[list[int]]], list[int]], *, count: int, tokens: int
) -> list[list[int]]:
    """Answers by a loop that asks for every token anew: ``following(answers so far)`` are the ones that come next.

    ``count`` answers of ``tokens`` tokens each, which nothing ends.
    """
    answers: list[list[int]] = [[] for _ in range(count)]
    for _ in range(tokens):
        for answer, token in zip(answers, following(answers), strict=True):
            answer.append(token)
    return answers
