"""Capture: the encoder's states, then one nnsight trace of the decoder in which edits and probes work.

Online, the decoder gets cached encoder states; a capture follows that cut. The encoder runs once per
distinct input. The decoder then runs in one trace: at every attention call the edits change what the
model hands to its attention function, the probes read the same call for the chosen rows (:mod:`budgetlens.model.visitor`),
and the output head is given the rows that predict answer tokens, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from budgetlens.model.attention import Site
from budgetlens.model.batching import Batch, by_trial, make_batch, with_donors
from budgetlens.model.candidates import candidate_trials
from budgetlens.model.decoding import Decoding
from budgetlens.model.edit_words import edit_words
from budgetlens.model.edits import EditError, OutputEdit
from budgetlens.model.generation import Generated, generate_from, generated_answer
from budgetlens.model.lenses import behind_final_norm, layer_logits, layer_observation
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.observation import (
    AnswerLogits,
    AnswerObservation,
    CandidateObservation,
    GeneratedObservation,
    Observation,
    Probing,
)
from budgetlens.model.passes import run_decoder, run_encoder
from budgetlens.model.selecting import selected
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Edit
from budgetlens.model.visitor import StackVisitor
from budgetlens.registry.names import name_of

__all__ = ["Capture", "EditError", "Probing", "capture", "decode", "encode"]


@dataclass(frozen=True)
class Capture:
    """What one batch leaves.

    ``token_losses`` trial × row, nats, NaN at padding; ``observations`` one per probe of attention and site,
    ``answers`` one per probe of answers, ``generated`` one per probe of generated answers,
    ``candidates`` one per probe of candidates.
    ``activations`` are those that the reading keeps, by stack, by site (the
    residual stream: by layer) and by what they are: of passes in the encoder, of lanes in the decoder, before edits of
    the call and behind those of states.
    """

    token_losses: Float[np.ndarray, "trial row"]
    observations: tuple[Observation, ...]
    answers: tuple[AnswerObservation, ...] = ()
    generated: tuple[GeneratedObservation, ...] = ()
    candidates: tuple[CandidateObservation, ...] = ()
    activations: Mapping[tuple[str, Site | int, str], Tensor] = field(default_factory=dict)


def capture(model: LoadedModel, batch: Batch, reading: Probing, edits: Sequence[Edit] = ()) -> Capture:
    """Run ``batch`` through ``model``; read attention and answer losses.

    Where the rows of generated answers are to be read, the model answers first, greedily; its answers then take the place
    of the right ones, whose likelihood is read beside.
    Every trial runs under its own edits, and under ``edits`` besides; donors of state edits that are no trials of
    the batch run under their own alone. An edit that a trial has already is not made twice. Raises EditError
    where an edit matches no attention site, or a state edit no layer, of the model, and StateError where states
    can't be changed as asked.
    """
    edits = tuple(edits)
    _require_matches(model, batch, edits)
    with torch.inference_mode():
        states, encoder = run_encoder(model, batch, reading, edits)
        batch = selected(model, batch, states, edits)
        answers = _Answers(model, batch, states, edits)
        read = answers.read_batch() if batch.generates else batch
        follower = None if encoder.follower is None else encoder.follower.of_decoder(read, reading.tokens)
        answer, decoder = run_decoder(model, read, states, reading, edits, follower)
        layers = tuple(_layer_observations(model, read, reading, edits, (encoder, decoder)))
        if batch.generates:
            # Likelihoods are the right answer's, whose rows nobody reads.
            answer, _ = run_decoder(model, batch, states, Probing(), edits)
        losses = by_trial(answer.losses, batch.answer).cpu().numpy()
        generated = _generated(model, answers, reading)
        candidates = _candidates(model, batch, losses, reading, edits)
    owners = batch.trial_pass if batch.encoder_owners is None else batch.encoder_owners
    return Capture(
        token_losses=losses,
        observations=(*encoder.observations(owners), *decoder.observations(None), *layers),
        answers=_answer_observations(reading, answer, batch),
        generated=generated,
        candidates=candidates,
        activations={
            (visitor.stack, *key): tensor
            for visitor in (encoder, decoder)
            for key, tensor in visitor.activations.items()
        },
    )


def encode(
    model: LoadedModel, batch: Batch, edits: Sequence[Edit] = ()
) -> Float[Tensor, "encoder_pass encoder_position width"]:
    """The encoder's last hidden states of every distinct encoder input, as a decoder is given them.

    State edits of the batch's trials are made; nothing is observed. Raises as :func:`capture` does.
    """
    edits = tuple(edits)
    _require_matches(model, batch, edits)
    with torch.inference_mode():
        return run_encoder(model, batch, Probing(), edits)[0]


def decode(
    model: LoadedModel, batch: Batch, states: Float[Tensor, "encoder_pass encoder_position width"]
) -> AnswerLogits:
    """The answer's logits from given final states of the encoder, under the edits of the batch's trials.

    Nothing is observed. Where gradients are on and the states ask for one, the logits carry it.
    """
    return run_decoder(model, batch, states, Probing(), ())[0]


def _require_matches(model: LoadedModel, batch: Batch, edits: Sequence[Edit]) -> None:
    own = (edit for trial in batch.trials for edit in (*trial.trial.edits, *_donors_edits(trial)))
    for edit in dict.fromkeys((*edits, *own)):
        if not any(edit.matches(site) for site in model.operations):
            hint = (
                "; this family merges self- and cross-attention in one sublayer, which 'merged' names"
                if isinstance(edit, OutputEdit) and model.family.merged
                else ""
            )
            raise EditError(
                f"the edit '{edit_words(edit)}' matches no attention call of {model.name}: the model has "
                f"{_inventory(model.operations)}{hint}. Correct its stack, layers or roles."
            )
    for change in batch.state_changes:
        depth = model.trial_tokenizer.depths[change.edit.stack]
        if change.edit.layer is not None and change.edit.layer >= depth:
            raise EditError(
                f"the edit '{edit_words(change.edit)}' is for layer {change.edit.layer} of the {change.edit.stack}, "
                f"but {model.name} has layers 0 to {depth - 1}"
            )


def _donors_edits(trial: TokenizedTrial) -> Iterator[Edit]:
    for donor in with_donors(trial)[1:]:
        yield from donor.trial.edits


def _layer_observations(
    model: LoadedModel,
    batch: Batch,
    reading: Probing,
    edits: tuple[Edit, ...],
    visited: tuple[StackVisitor, StackVisitor],
) -> Iterator[Observation]:
    """What probes read of the answer behind the layers of the encoder and of the decoder."""
    encoder, decoder = visited
    for visitor in visited:
        probes = [probe for probe in reading.of_layers if probe.reads_stack == visitor.stack]
        for layer, states in visitor.layer_states.items():
            if visitor is decoder:
                logits = layer_logits(model, states)
                answer = AnswerLogits(logits, batch.targets, batch.answer.owner >= 0)
            else:
                final = encoder.final_states(behind_final_norm(model, "encoder", states))
                answer, _ = run_decoder(model, batch, final, Probing(), edits)
            for probe in probes:
                yield layer_observation(probe, layer, answer, batch)


def _answer_observations(
    reading: Probing, answer: AnswerLogits, batch: Batch
) -> tuple[AnswerObservation, ...]:
    """What the probes of answers read, summed over each trial's rows in float64, in the order of the rows."""
    tokens = np.array([trial.answer_tokens for trial in batch.trials])
    found = []
    for probe in reading.of_answers:
        seen = probe.observe_answer(answer)
        for name, values in seen.items():
            if values.shape != answer.losses.shape:
                raise ValueError(
                    f"the probe {name_of(probe)!r} gave {name!r} of shape {tuple(values.shape)}; expected one value per row "
                    f"of the answers, {tuple(answer.losses.shape)} (batch × row)"
                )
        by_row = {
            name: by_trial(values.double(), batch.answer).cpu().numpy() for name, values in seen.items()
        }
        sums = {
            name: np.array([row[:count].sum() for row, count in zip(table, tokens, strict=True)])
            for name, table in by_row.items()
        }
        found.append(AnswerObservation(name_of(probe), probe.declares.by_token, tokens, sums, by_row))
    return tuple(found)


@dataclass(frozen=True)
class _Answers:
    """What the trials of a batch answer by themselves, by the way in which they decode; each is asked once."""

    model: LoadedModel
    batch: Batch
    states: Tensor
    edits: tuple[Edit, ...]
    known: dict[Decoding, tuple[Generated, ...]] = field(default_factory=dict)

    def by(self, decoding: Decoding) -> tuple[Generated, ...]:
        """The answers in the order of the trials. Raises as :func:`budgetlens.model.generation.generate_from` does."""
        if decoding not in self.known:
            self.known[decoding] = generate_from(self.model, self.batch, self.states, decoding, self.edits)
        return self.known[decoding]

    def read_batch(self) -> Batch:
        """The batch in which every trial has its greedy answer, with the same passes of the encoder."""
        found = zip(self.by(Decoding()), self.batch.trials, strict=True)
        trials = [own.in_place_of_answer(trial) for own, trial in found]
        model = self.model
        return make_batch(trials, pad_token=pad_token(model), device=model.device, pack=self.batch.packed)


def _generated(model: LoadedModel, answers: _Answers, reading: Probing) -> tuple[GeneratedObservation, ...]:
    """What the probes of generation make of the batch's answers; those that decode alike share them."""
    found = []
    for probe in reading.of_generation:
        made = zip(answers.batch.trials, answers.by(probe.decoding), strict=True)
        told = tuple(generated_answer(model, trial, own) for trial, own in made)
        seen = [probe.observe_generated(answer) for answer in told]
        values = {name: np.array([own[name] for own in seen], dtype=np.float64) for name in seen[0]}
        found.append(GeneratedObservation(name_of(probe), told, values))
    return tuple(found)


def _candidates(
    model: LoadedModel, batch: Batch, losses: np.ndarray, reading: Probing, edits: tuple[Edit, ...]
) -> tuple[CandidateObservation, ...]:
    """What the probes of candidates make of the NLL of every trial's answer and of its other candidates."""
    if not reading.of_candidates:
        return ()
    others = [candidate_trials(model.trial_tokenizer, trial) for trial in batch.trials]
    flat = [one for own in others for one in own]
    means = np.empty(0)
    if flat:
        own = make_batch(flat, pad_token=pad_token(model), device=model.device, pack=model.family.packs)
        means = np.nanmean(capture(model, own, Probing(), edits).token_losses.astype(np.float64), axis=1)
    ends = np.cumsum([len(own) for own in others])
    apart = np.split(means, ends[:-1])
    answers = np.nanmean(losses.astype(np.float64), axis=1)
    found = []
    for probe in reading.of_candidates:
        seen = [
            probe.observe_candidates(float(answer), own.tolist())
            for answer, own in zip(answers, apart, strict=True)
        ]
        values = {name: np.array([each[name] for each in seen], dtype=np.float64) for name in seen[0]}
        found.append(CandidateObservation(name_of(probe), values))
    return tuple(found)


def _inventory(sites: Iterable[Site]) -> str:
    found: dict[str, int] = {}
    for site in sites:
        key = f"{site.stack} {site.block}"
        found[key] = found.get(key, 0) + 1
    return ", ".join(f"{count} × {name}" for name, count in found.items())
