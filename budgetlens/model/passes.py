"""The passes of a capture: the encoder once for every distinct input, the decoder on its states, each in one trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import nnsight
import torch
from einops import rearrange
from jaxtyping import Int
from torch import Tensor

from budgetlens.model.attention import Tokens
from budgetlens.model.batching import Batch
from budgetlens.model.decoder_inputs import decoder_inputs, position_rows
from budgetlens.model.loaded import LoadedModel, at_path
from budgetlens.model.mixing_reading import MixingFollower, followed
from budgetlens.model.observation import AnswerLogits, Probing
from budgetlens.model.trials import Edit
from budgetlens.model.visitor import StackVisitor


def run_encoder(
    model: LoadedModel, batch: Batch, reading: Probing, edits: tuple[Edit, ...]
) -> tuple[Tensor, StackVisitor]:
    inputs = {"input_ids": batch.encoder_ids, "attention_mask": batch.encoder_mask}
    encoder_places = _places(batch.encoder_ids)
    visitor = StackVisitor(
        model,
        reading if reading.encoder else replace(reading, probes=reading.of_layers),
        [
            _besides(own, edits) if number < batch.decoded else own
            for number, own in enumerate(batch.pass_edits)
        ],
        batch.state_changes,
        stack="encoder",
        row_roles=batch.pass_roles,
        key_roles={"self": batch.pass_roles},
        tokens={"self": Tokens(batch.encoder_ids, encoder_places, batch.encoder_ids, encoder_places)},
        rows=batch.encoder_rows,
        follower=followed(batch, reading.tokens) if reading.of_mixing else None,
    )
    encoder = model.model.get_encoder()
    if not visitor.has_work:
        return encoder(**inputs).last_hidden_state, visitor
    envoy = at_path(model.envoy, _path_of(model, encoder))
    with envoy.trace(**inputs):
        visitor.visit_layers()
        states = nnsight.save(visitor.final_states(envoy.output.last_hidden_state))
    return states, visitor


def run_decoder(
    model: LoadedModel,
    batch: Batch,
    states: Tensor,
    reading: Probing,
    edits: tuple[Edit, ...],
    follower: MixingFollower | None = None,
) -> tuple[AnswerLogits, StackVisitor]:
    visitor = StackVisitor(
        model,
        reading,
        [_besides(own, edits) for own in batch.lane_edits],
        batch.state_changes,
        stack="decoder",
        row_roles=batch.decoder_roles,
        key_roles={
            "self": batch.decoder_roles,
            "cross": batch.lane_roles,
            "merged": torch.cat([batch.decoder_roles, batch.lane_roles], dim=1),
        },
        tokens=_decoder_tokens(batch),
        rows=batch.chosen,
        predicting=batch.predicting,
        answer=batch.answer,
        follower=follower,
    )
    inputs = decoder_inputs(model, batch, states)
    moves_table = model.family.positions == "table" and batch.shifted
    table = position_rows(model, batch.decoder_positions) if moves_table else None
    rows = rearrange(batch.answer.index, "lane row -> lane row 1")
    head = at_path(model.envoy, model.family.head)
    with model.envoy.trace(**inputs):
        if table is not None:
            at_path(model.envoy, str(model.family.decoder_positions)).output = table
        visitor.visit_layers()
        head.input = torch.take_along_dim(head.input, rows, dim=1)
        logits = model.envoy.output.logits.save()
    answer = AnswerLogits(logits, batch.targets, batch.answer.owner >= 0)
    visitor.read_stream(answer)
    return answer, visitor


def _besides(own: Sequence[Edit], edits: Sequence[Edit]) -> tuple[Edit, ...]:
    return tuple(dict.fromkeys((*own, *edits)))


def _places(ids: Int[Tensor, "batch position"]) -> Int[Tensor, "batch position"]:
    """The place of every position in its row, from 0."""
    return torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)


def _decoder_tokens(batch: Batch) -> dict[str, Tokens]:
    """Ids and positions of rows and keys by block, as the decoder's roles are."""
    own, own_places = batch.decoder_ids, batch.decoder_positions
    other = batch.encoder_ids[batch.lane_pass]
    other_places = _places(other)
    return {
        "self": Tokens(own, own_places, own, own_places),
        "cross": Tokens(own, own_places, other, other_places),
        "merged": Tokens(
            own, own_places, torch.cat([own, other], dim=1), torch.cat([own_places, other_places], dim=1)
        ),
    }


def _path_of(model: LoadedModel, module: torch.nn.Module) -> str:
    for path, candidate in model.model.named_modules():
        if candidate is module:
            return path
    raise ValueError(f"{type(module).__name__} is not a part of {model.name}")
