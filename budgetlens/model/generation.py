"""Generation: what a cell answers, from the encoder's states, with every edit in force at every step.

The encoder ran as for a likelihood (:func:`budgetlens.model.capture.encode`). The decoder reads the prompts of a
batch in one pass and then one token of every trial at a time, with the library's own cache of keys and values. It
holds what the model projected, before any edit: edits of a call change the keys and values of every step's call anew,
as they change those of the one call under teacher forcing. That is the same so long as what an edit makes of a row
depends on no later row, which edits say of themselves (``by_row``); others are refused. Generated tokens have the role
``answer``, and their rows are *predicting* rows.

Prompts are padded on the left, so that windows and distances are those of each trial alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import nnsight
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from budgetlens.model.attention import Tokens
from budgetlens.model.batching import Batch, Rows, StateChange
from budgetlens.model.decoder_inputs import position_rows
from budgetlens.model.decoding import Decoding, GenerationError
from budgetlens.model.generable import require_by_row, require_unseen_answer
from budgetlens.model.loaded import LoadedModel, at_path, pad_token
from budgetlens.model.next_token import NextToken, end_tokens
from budgetlens.model.observation import GeneratedAnswer, Probing
from budgetlens.model.roles import PADDING, PREDICTING, ROLE_CODES
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Edit
from budgetlens.model.visitor import StackVisitor

ANSWER = ROLE_CODES["answer"]


@dataclass(frozen=True)
class Generated:
    """What one trial answers: ``tokens`` without the token that ends them, and that one, ``end``, where it came."""

    tokens: tuple[int, ...]
    end: int | None

    @property
    def stopped(self) -> bool:
        """Whether the answer ended by itself."""
        return self.end is not None

    def in_place_of_answer(self, trial: TokenizedTrial) -> TokenizedTrial:
        """The trial whose answer is this one, its end included: under teacher forcing its rows are those generated."""
        given = len(trial.decoder_ids) - trial.answer_tokens
        answer = self.tokens if self.end is None else (*self.tokens, self.end)
        return replace(
            trial,
            decoder_ids=(*trial.decoder_ids[:given], *answer),
            decoder_roles=(*trial.decoder_roles[:given], *("answer",) * len(answer)),
        )


def generate_from(
    model: LoadedModel,
    batch: Batch,
    states: Float[Tensor, "encoder_pass encoder_position width"],
    decoding: Decoding,
    edits: Sequence[Edit] = (),
) -> tuple[Generated, ...]:
    """The answer of every trial of a batch, in place of the one that it holds, from given encoder states.

    ``states`` are as :func:`budgetlens.model.capture.encode` makes them; trials that share a lane answer by themselves.
    Every trial runs under its own edits, and under ``edits`` besides.
    Raises GenerationError for an edit that may read later rows, for a selection by the right answer, and where the
    decoder's table of positions is too short; EditError and StateError as :func:`budgetlens.model.capture.capture` does.
    """
    for trial in batch.trials:
        require_unseen_answer(trial.trial)
        require_by_row((*trial.trial.edits, *trial.trial.states))
    require_by_row(edits)
    with torch.inference_mode():
        return _Steps(model, batch, states, decoding, edits).answers()


def generated_answer(model: LoadedModel, trial: TokenizedTrial, generated: Generated) -> GeneratedAnswer:
    """What was generated as text, with the answers that are right for the trial's example."""
    text = str(model.tokenizer.decode(list(generated.tokens), skip_special_tokens=True)).strip()
    return GeneratedAnswer(generated.tokens, text, generated.stopped, trial.trial.example.right_answers)


class _Steps:
    """A batch's decoder, step by step: what it was given so far, and the cache of its keys and values."""

    def __init__(
        self,
        model: LoadedModel,
        batch: Batch,
        states: Float[Tensor, "encoder_pass position width"],
        decoding: Decoding,
        edits: Sequence[Edit],
    ) -> None:
        self.model = model
        self.edits = edits
        self.batch = batch
        self.decoding = decoding
        self.edited = bool(edits) or any(trial.trial.edits or trial.trial.states for trial in batch.trials)
        self.encoder = BaseModelOutput(last_hidden_state=states[batch.trial_pass])
        self.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        prompts = [trial.decoder_ids[: -trial.answer_tokens] for trial in batch.trials]
        self.choosers = [
            NextToken(model, trial, prompt, decoding)
            for trial, prompt in zip(batch.trials, prompts, strict=True)
        ]
        roles = [
            [ROLE_CODES[role] for role in trial.decoder_roles[: len(prompt)]]
            for trial, prompt in zip(batch.trials, prompts, strict=True)
        ]
        self.ids = self._padded(prompts, pad_token(model))
        self.roles = self._padded(roles, PADDING)
        shifts = torch.tensor([trial.decoder_shift for trial in batch.trials], device=model.device)
        # Padding on the left has no place; 0 keeps its lookups within every table.
        places = (self.roles != PADDING).long().cumsum(dim=1) - 1
        self.positions = (places.clamp_min(0) + rearrange(shifts, "lane -> lane 1")) * (self.roles != PADDING)
        self._require_positions()

    def answers(self) -> tuple[Generated, ...]:
        """Steps until every answer has ended or has as many tokens as it gets."""
        ends = end_tokens(self.model)
        found: list[list[int]] = [[] for _ in self.choosers]
        stops: list[int | None] = [None] * len(found)
        fed = self.ids.shape[1]
        for step in range(self.decoding.tokens):
            logits = self._forward(fed)
            tokens = [pad_token(self.model)] * len(found)
            for number, choose in enumerate(self.choosers):
                if stops[number] is not None:
                    continue
                tokens[number] = choose(logits[number])
                if tokens[number] in ends:
                    stops[number] = tokens[number]
                else:
                    found[number].append(tokens[number])
            if None not in stops or step == self.decoding.tokens - 1:
                break
            self._append(tokens)
            fed = 1
        return tuple(Generated(tuple(own), end) for own, end in zip(found, stops, strict=True))

    def _append(self, tokens: Sequence[int]) -> None:
        new = torch.tensor(tokens, device=self.ids.device)[:, None]
        self.ids = torch.cat([self.ids, new], dim=1)
        self.roles = torch.cat([self.roles, torch.full_like(new, ANSWER)], dim=1)
        self.positions = torch.cat([self.positions, self.positions[:, -1:] + 1], dim=1)

    def _forward(self, fed: int) -> Float[Tensor, "lane vocabulary"]:
        """Logits behind the last of the ``fed`` newest columns, which the cache does not hold yet."""
        model, positions = self.model, self.positions[:, -fed:]
        inputs: dict[str, Any] = {
            "encoder_outputs": self.encoder,
            "attention_mask": self.batch.visible,
            "decoder_input_ids": self.ids[:, -fed:],
            "decoder_attention_mask": (self.roles != PADDING).long(),
            "past_key_values": self.cache,
            "use_cache": True,
        }
        if model.family.positions == "argument":
            inputs["decoder_position_ids"] = positions
        table = position_rows(model, positions) if self._moves_table else None
        # A visitor with nothing to do costs more than what it is asked for.
        visitor = self._visitor(fed) if fed > 1 or self.edited else None
        if fed == 1 and table is None and not (visitor is not None and visitor.has_work):
            return model.model(**inputs).logits[:, -1]
        visitor = visitor or self._visitor(fed)
        head = at_path(model.envoy, model.family.head)
        with model.envoy.trace(**inputs):
            if table is not None:
                at_path(model.envoy, str(model.family.decoder_positions)).output = table
            visitor.visit_layers()
            # A prompt's other rows predict nothing that is asked for.
            head.input = head.input[:, -1:]
            logits = nnsight.save(model.envoy.output.logits)
        return logits[:, -1]

    @property
    def _moves_table(self) -> bool:
        """Whether positions of a table differ from the columns: by padding, or by a shift."""
        columns = torch.arange(self.positions.shape[1], device=self.positions.device)
        return self.model.family.positions == "table" and not bool((self.positions == columns).all())

    def _visitor(self, fed: int) -> StackVisitor:
        batch, rows = self.batch, slice(-fed, None)
        ids, places = batch.encoder_ids[batch.trial_pass], torch.arange(batch.encoder_ids.shape[1])
        places = places.to(ids.device).expand(ids.shape)
        own = (self.ids[:, rows], self.positions[:, rows])
        roles = batch.pass_roles[batch.trial_pass]
        keys = {
            "self": (self.ids, self.positions, self.roles),
            "cross": (ids, places, roles),
            "merged": tuple(
                torch.cat(pair, dim=1)
                for pair in ((self.ids, ids), (self.positions, places), (self.roles, roles))
            ),
        }
        predicting = self.roles[:, rows] == ANSWER
        predicting[:, -1] = True
        return StackVisitor(
            self.model,
            Probing(),
            [tuple(dict.fromkeys((*trial.trial.edits, *self.edits))) for trial in batch.trials],
            self._changes(fed),
            stack="decoder",
            row_roles=self.roles[:, rows],
            key_roles={block: found[2] for block, found in keys.items()},
            tokens={block: Tokens(*own, found[0], found[1]) for block, found in keys.items()},
            # Nothing is read: a row is asked for by nobody.
            rows=Rows(self.ids[:, :0], self.ids[:, :0], 0),
            predicting=predicting,
        )

    def _changes(self, fed: int) -> list[StateChange]:
        """The edits of the decoder's states that concern one of the newest columns."""
        found = []
        names = {code: role for role, code in ROLE_CODES.items()}
        for number, trial in enumerate(self.batch.trials):
            edits = [edit for edit in trial.trial.states if edit.stack == "decoder"]
            own = self.roles[number, -fed:].tolist() if edits else []
            for edit in edits:
                places = [
                    place
                    for place, code in enumerate(own)
                    if names.get(code) in edit.roles or (PREDICTING in edit.roles and place == fed - 1)
                ]
                if places:
                    at = torch.tensor(places, device=self.ids.device)
                    found.append(StateChange(edit, number, (at,), ((),)))
        return found

    def _padded(self, rows: Sequence[Sequence[int]], value: int) -> Int[Tensor, "lane position"]:
        """Rows of unequal lengths with their ends in one column."""
        width = max(map(len, rows))
        padded = [[value] * (width - len(row)) + list(row) for row in rows]
        return torch.tensor(padded, device=self.model.device)

    def _require_positions(self) -> None:
        available = self.model.trial_tokenizer.decoder_positions
        needed = int(self.positions.max()) + self.decoding.tokens
        if available is not None and needed > available:
            raise GenerationError(
                f"prompt and answer need up to {needed} positions, and the decoder of {self.model.name} has a table of "
                f"{available}; give fewer tokens to an answer, or a shorter prompt"
            )
