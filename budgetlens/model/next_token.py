"""Which token comes next: the generation configuration's logits processors, then the best token or a drawn one."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from budgetlens.model.decoding import Decoding, GenerationError
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.tokenization import TokenizedTrial


class NextToken:
    """Chooses one trial's tokens, one after the other.

    ``given`` are the ids that its decoder starts with. Raises GenerationError where the generation configuration asks
    for more than a choice by the logits of one pass.
    """

    def __init__(
        self, model: LoadedModel, trial: TokenizedTrial, given: Sequence[int], decoding: Decoding
    ) -> None:
        self.decoding = decoding
        self.ids = list(given)
        self.processors = (
            LogitsProcessorList()
            if decoding.plain
            else logits_processors(model, trial.encoder_ids, len(given), decoding.tokens)
        )
        name = zlib.crc32(trial.trial.example.identifier.encode())
        self._generator = np.random.default_rng([decoding.seed, name])

    def __call__(self, logits: Float[Tensor, " vocabulary"]) -> int:
        """The token behind the last one, which counts as given from now on; float32 as the library does it."""
        scores = logits.float()[None]
        if self.processors:
            given = torch.tensor([self.ids], device=logits.device)
            scores = self.processors(given, scores.clone())  # type: ignore[arg-type]
        token = int(scores.argmax()) if self.decoding.temperature == 0 else self._drawn(scores[0])
        self.ids.append(token)
        return token

    def _drawn(self, scores: Float[Tensor, " vocabulary"]) -> int:
        """The token whose part of the cumulative distribution, in the order of ids, a uniform number falls into."""
        reached = (scores.double() / self.decoding.temperature).softmax(dim=-1).cpu().numpy().cumsum()
        wanted = self._generator.random() * reached[-1]
        return int(np.searchsorted(reached, wanted, side="right"))


def end_tokens(model: LoadedModel) -> frozenset[int]:
    """The ids that end an answer; none where the generation configuration names none."""
    own = model.model.generation_config.eos_token_id
    return frozenset() if own is None else frozenset([own] if isinstance(own, int) else own)


def logits_processors(
    model: LoadedModel, encoder_ids: Sequence[int], given: int, tokens: int
) -> LogitsProcessorList:
    """What the generation configuration does to the logits of one sequence, as the library's own generation does it.

    ``given`` counts the decoder's ids before the answer, ``tokens`` the most that follow.
    """
    own: GenerationConfig = copy.deepcopy(model.model.generation_config)
    if own.guidance_scale not in (None, 1):
        raise GenerationError(
            f"the generation configuration of {model.name} asks for classifier-free guidance (guidance_scale="
            f"{own.guidance_scale}), which runs the model once more for every token; give plain"
        )
    own.do_sample, own.num_beams = False, 1
    own.max_length = given + tokens
    if own.min_new_tokens is not None:
        own.min_length = own.min_new_tokens + given
    ends = sorted(end_tokens(model))
    own._eos_token_tensor = torch.tensor(ends, device=model.device) if ends else None
    # The library has no public way to its own list; tests compare answers with its generation, processor by processor.
    make: Callable[..., LogitsProcessorList] = model.model._get_logits_processor  # type: ignore[assignment]
    return make(
        generation_config=own,
        input_ids_seq_length=given,
        encoder_input_ids=torch.tensor([list(encoder_ids)], device=model.device),
        device=str(model.device),
    )
