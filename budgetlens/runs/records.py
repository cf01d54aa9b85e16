"""From captures to tidy records: one row per observation, never rounded."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from budgetlens.model.observation import (
    ALL_HEADS,
    AnswerObservation,
    CandidateObservation,
    GeneratedObservation,
    Observation,
)
from budgetlens.model.roles import ROLES
from budgetlens.model.tokenization import TokenizedTrial

#: Keys of every record: which example, in which cell.
KEYS = ("example", "cell")


@dataclass(frozen=True)
class Fed:
    """One trial with the name of its cell, as it was fed to the model, and the factors that change nothing in it.

    ``same_as`` is the first cell that feeds the same for this example; empty where nobody asked. ``others`` is what the
    cell feeds with the example's other passages in the place of its document; empty where nobody ranks them.
    """

    cell: str
    trial: TokenizedTrial
    idle: tuple[str, ...] = ()
    same_as: str = ""
    others: tuple[TokenizedTrial, ...] = ()

    @property
    def example(self) -> str:
        """Identifier of the example."""
        return self.trial.trial.example.identifier


def trial_records(fed: Sequence[Fed]) -> pa.Table:
    """What was fed: positions by role, hidden positions, boundary check, truncation, the texts' words.

    ``truncated_tokens``, ``answer_cut`` and ``prompt_cut`` count the tokens cut at the limits of the encoder's input,
    the answer and the prompt; ``answer_characters`` is null where the answer is cut. ``document`` is a digest of the
    example's document, the same for examples that share it.
    ``idle`` names the factors, joined by ``+``, whose edits found none of their roles, ``same_as`` the first cell that
    fed the same (:mod:`budgetlens.design.reach`).
    """
    examples = [item.trial.trial.example for item in fed]
    counts = [item.trial.role_counts() for item in fed]
    columns: dict[str, pa.Array] = {
        **_keys(fed),
        **{
            f"{role}_tokens": pa.array([count.get(role, 0) for count in counts], pa.int32()) for role in ROLES
        },
        "hidden_tokens": pa.array([item.trial.hidden_positions for item in fed], pa.int32()),
        "published_hidden_tokens": pa.array([item.trial.published_hidden for item in fed], pa.int32()),
        "truncated_tokens": pa.array([item.trial.truncated for item in fed], pa.int32()),
        "answer_cut": pa.array([item.trial.answer_cut for item in fed], pa.int32()),
        "prompt_cut": pa.array([item.trial.prompt_cut for item in fed], pa.int32()),
        "document_intact": pa.array([item.trial.document_intact for item in fed], pa.bool_()),
        "idle": pa.array(["+".join(item.idle) for item in fed]).dictionary_encode(),
        "same_as": pa.array([item.same_as or None for item in fed], pa.string()).dictionary_encode(),
        "decoder_shift": pa.array([item.trial.decoder_shift for item in fed], pa.int32()),
        **{
            f"{text}_words": pa.array(
                [len(getattr(example, text).split()) for example in examples], pa.int32()
            )
            for text in ("query", "document", "answer")
        },
        # Of an answer that was cut, nobody knows how many characters the tokens that are left stand for.
        "answer_characters": pa.array(
            [
                None if item.trial.answer_cut else len(example.answer)
                for item, example in zip(fed, examples, strict=True)
            ],
            pa.int32(),
        ),
        # Examples with the same document are no independent units.
        "document": pa.array(
            [hashlib.sha256(example.document.encode()).hexdigest()[:16] for example in examples]
        ).dictionary_encode(),
    }
    return pa.table(columns)


def answer_records(fed: Sequence[Fed], observation: AnswerObservation) -> pa.Table:
    """What a probe of answers saw: one row per trial, one column per quantity, its mean over the answer's tokens.

    Where it declares ``by_token``, ``answer_tokens`` and the sums ``NAME_sum`` stand beside.
    """
    columns = _keys(fed)
    if observation.by_token:
        columns["answer_tokens"] = pa.array(observation.tokens, pa.int32())
    for name, sums in observation.sums.items():
        columns[name] = pa.array(sums / observation.tokens, pa.float64())
        if observation.by_token:
            columns[f"{name}_sum"] = pa.array(sums, pa.float64())
    return pa.table(columns)


def candidate_records(fed: Sequence[Fed], observation: CandidateObservation) -> pa.Table:
    """What a probe of candidates saw: one row per trial, its quantities; NaN where an example has no other candidate."""
    values = {name: pa.array(own, pa.float64()) for name, own in observation.values.items()}
    return pa.table({**_keys(fed), **values})


def passage_records(
    fed: Sequence[Fed], values: Mapping[str, Sequence[float]], losses: Sequence[Sequence[float]]
) -> pa.Table:
    """What a probe of passages saw: one row per trial, its quantities, then ``passage_nll``, of the document first.

    ``losses`` are the mean NLL of each trial's answer in nats per token under every passage; quantities are NaN where an
    example has no other passage.
    """
    return pa.table(
        {
            **_keys(fed),
            **{name: pa.array(own, pa.float64()) for name, own in values.items()},
            "passage_nll": pa.array(losses, pa.list_(pa.float64())),
        }
    )


def generated_records(fed: Sequence[Fed], observation: GeneratedObservation) -> pa.Table:
    """What a probe of generated answers saw: one row per trial, its quantities, then ``text`` and ``tokens`` (ids)."""
    return pa.table(
        {
            **_keys(fed),
            **{name: pa.array(values, pa.float64()) for name, values in observation.values.items()},
            "text": pa.array([answer.text for answer in observation.answers], pa.string()),
            "tokens": pa.array([answer.tokens for answer in observation.answers], pa.list_(pa.int32())),
        }
    )


def observation_records(fed: Sequence[Fed], observations: Sequence[Observation]) -> pa.Table:
    """All observations of one probe: stack, block, layer, head, the probe's axis, one column per quantity.

    ``head`` is -1 where a quantity is computed from the average over heads.
    """
    return pa.concat_tables([_one(fed, observation) for observation in observations]).unify_dictionaries()


def _one(fed: Sequence[Fed], observation: Observation) -> pa.Table:
    arrays = list(observation.values.values())
    trials, heads, categories = arrays[0].shape
    head_numbers = np.array([ALL_HEADS]) if observation.averages_heads else np.arange(heads)
    keys = {
        name: array.take(pa.array(np.repeat(np.arange(trials), heads * categories)))
        for name, array in _keys(fed).items()
    }
    rows = trials * heads * categories
    site = observation.site
    return pa.table(
        {
            **keys,
            "stack": _constant(site.stack, rows),
            "block": _constant(site.block, rows),
            "layer": pa.array(np.full(rows, site.layer), pa.int16()),
            "head": pa.array(np.tile(np.repeat(head_numbers, categories), trials), pa.int16()),
            observation.axis: pa.DictionaryArray.from_arrays(
                pa.array(np.tile(np.arange(categories), trials * heads), pa.int8()),
                pa.array(observation.categories),
            ),
            **{
                name: pa.array(values.astype(np.float64).reshape(-1), pa.float64())
                for name, values in observation.values.items()
            },
        }
    )


def _keys(fed: Sequence[Fed]) -> dict[str, pa.Array]:
    return {
        "example": pa.array([item.example for item in fed]).dictionary_encode(),
        "cell": pa.array([item.cell for item in fed]).dictionary_encode(),
    }


def _constant(value: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows), pa.int8()), pa.array([value]))
