"""Directions for steering, made from two cells on documents that are then not tested."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file

from budgetlens.corpora.corpus import Corpus
from budgetlens.corpora.splitting import split_by_document
from budgetlens.design.design import Cell
from budgetlens.face.arguments import is_whole, path_given, several
from budgetlens.face.measuring import Level, corpus_given, design_of, loaded_of
from budgetlens.face.model import Model
from budgetlens.model.activations import states_at
from budgetlens.model.direction_files import DESCRIPTION, DOCUMENTS, VECTOR, description_of, document_digest
from budgetlens.model.directions import read_direction
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, PREDICTING
from budgetlens.model.selecting import selected_trial
from budgetlens.model.token_scores import placed
from budgetlens.model.trials import StateError
from budgetlens.runs.feeding import feeding_of
from budgetlens.runs.files import replacing
from budgetlens.runs.manifest import RunError
from budgetlens.runs.running import NUMERIC_PACKAGES, file_hashes

FINAL = "final"


@dataclass(frozen=True)
class Direction:
    """A direction in a file, with what it was made from: `direction` makes it.

    ``examples`` counts those whose states were averaged, ``documents`` theirs, of which none is tested under it.

    Examples:
        >>> import budgetlens as bl
        >>> model, corpus = bl.load_model("reference"), bl.read_corpus("reference", n=4)
        >>> to_query = bl.direction(
        ...     model, corpus, baseline={"prefix": "none"}, treatment={"prefix": "oracle"}, roles="document",
        ...     layer=1, out="query.safetensors",
        ... )
        >>> to_query.level(2)
        'document:2:query.safetensors@1'
    """

    path: Path
    roles: str
    where: str
    examples: int
    documents: int

    @property
    def values(self) -> Float[np.ndarray, " width"]:
        """The direction, one number per unit of the model's width, float32."""
        return read_direction(self.path).numpy()

    def level(self, strength: float) -> str:
        """The level of the factor ``steering`` that adds so many times the direction where it was made.

        Raises ValueError for a strength that is no finite number.
        """
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not math.isfinite(strength):
            raise ValueError(f"the strength of a direction is a finite number; got {strength!r}")
        return f"{self.roles}:{strength}:{self.path}@{self.where}"


def direction(
    model: Model,
    corpus: Corpus,
    *,
    baseline: Mapping[str, Level],
    treatment: Mapping[str, Level],
    roles: str,
    layer: int | None = None,
    out: str | Path,
    share: float = 0.5,
) -> Direction:
    """Make a steering direction from two cells: the mean state under the treatment less that under the baseline.

    States are averaged over an example's positions, then over examples, each counting alike, in float64. They come from a
    part of the corpus's documents; whatever is run with the direction leaves these out, by name, so that it is
    tested on the others alone. The same call gives the same file, and makes it once.

    Args:
        model: from ``bl.load_model`` or ``bl.wrap``; the direction is one of this model's width.
        corpus: from ``bl.read_corpus`` or ``bl.corpus``; its seed draws the documents.
        baseline, treatment: the two cells, by factor the level: ``{"prefix": "none"}`` and ``{"prefix": "oracle"}``.
        roles: whose states, of one stack, joined by ``+``: ``"document"``, ``"prompt"``, ``"predicting"``.
        layer: at whose output, from 0; None takes the encoder's final states.
        out: the file, ``….safetensors``, whose folder is there.
        share: part of the documents that the direction is made from, above 0 and below 1.

    Returns:
        The direction: ``.level(2)`` is a level of the factor ``steering``, ``.values`` are its numbers.

    Raises:
        ValueError: roles of no stack or of both, a layer that the model lacks, a name that doesn't end with
            ``.safetensors``, a share without documents on both sides, an example without such a position; as LevelError or
            RegistryError a level that is none.
        RunError: the file is there and holds another direction. WriteError: it can't be written.

    Examples:
        >>> import budgetlens as bl
        >>> model, corpus = bl.load_model("reference"), bl.read_corpus("reference", n=6)
        >>> to_query = bl.direction(
        ...     model, corpus, baseline={"prefix": "none"}, treatment={"prefix": "oracle"}, roles="document",
        ...     out="to_query.safetensors",
        ... )
        >>> frame = bl.measure(model, corpus, prompt="query", steering=["none", to_query.level(1)])
        >>> len(frame.attrs["left_out"]) == to_query.examples
        True
    """
    loaded, path = loaded_of(model), path_given("out", out)
    if path.suffix != ".safetensors":
        raise ValueError(
            f"{path} (out=…) is to end with .safetensors, which holds a direction and how it was made"
        )
    making, _ = split_by_document(corpus_given(corpus), share)
    cells = tuple(_cell(levels) for levels in (baseline, treatment))
    where = FINAL if layer is None else str(layer)
    stack, chosen = _place(loaded, roles, layer)
    identity = _identity(loaded, making, cells, roles, where)
    if path.exists():
        return _there(path, identity, roles, where)
    vector, counted = _difference(loaded, making, cells, stack, chosen, layer)
    documents = sorted({document_digest(own.document) for own in making.examples})
    told = {
        "identity": identity,
        "cells": [cell.name for cell in cells],
        "examples": counted,
        DOCUMENTS: documents,
    }
    with replacing(path) as temporary:
        save_file({VECTOR: torch.from_numpy(vector)}, temporary, {DESCRIPTION: json.dumps(told)})
    return _there(path, identity, roles, where)


def _cell(levels: Mapping[str, Level]) -> Cell:
    """The one cell of some levels. Raises as :func:`budgetlens.face.measuring.design_of`."""
    if not isinstance(levels, Mapping):
        raise ValueError(
            f"a cell is given as levels by factor, such as {{'prefix': 'oracle'}}; got {levels!r}"
        )
    doubled = [name for name, level in levels.items() if len(several(level)) != 1]
    if doubled:
        raise ValueError(
            f"a cell has one level of each factor; {doubled[0]!r} is given {levels[doubled[0]]!r}"
        )
    (cell,) = design_of(levels).cells
    return cell


def _place(model: LoadedModel, roles: str, layer: int | None) -> tuple[str, frozenset[str]]:
    """The stack that the roles are of, and the roles. ValueError for those of none or both, and for a missing layer."""
    if not isinstance(roles, str):
        raise ValueError(f"roles are a text, one or several joined by '+', such as 'document'; got {roles!r}")
    chosen = frozenset(roles.split("+"))
    in_encoder, in_decoder = chosen <= set(ENCODER_ROLES), chosen <= {*DECODER_ROLES, PREDICTING}
    if not in_encoder and not in_decoder:
        raise ValueError(
            f"states are of roles of one stack, {', '.join(ENCODER_ROLES)} or {', '.join((*DECODER_ROLES, PREDICTING))}, "
            f"joined by '+'; got {roles!r}"
        )
    stack = "encoder" if in_encoder else "decoder"
    depth = model.trial_tokenizer.depths[stack]
    if layer is None and in_decoder:
        raise ValueError("final states are the encoder's; give layer=… for states of the decoder")
    if layer is not None and not (is_whole(layer) and 0 <= layer < depth):
        raise ValueError(f"the {stack} of {model.name} has layers 0 to {depth - 1}; got layer={layer!r}")
    return stack, chosen


def _identity(
    model: LoadedModel, making: Corpus, cells: Collection[Cell], roles: str, where: str
) -> dict[str, Any]:
    """Everything that can change a number of the direction."""
    interventions = [own for cell in cells for own in cell.interventions]
    return {
        "model": model.identity,
        "dtype": str(model.dtype),
        "corpus": [making.sha256, making.columns_sha256, making.padding_sha256, making.seed],
        "cells": [cell.name for cell in cells],
        "files": file_hashes(interventions),
        "limits": vars(model.trial_tokenizer.limits),
        "place": [roles, where],
        "packages": {name: version(name) for name in NUMERIC_PACKAGES},
    }


def _difference(
    model: LoadedModel,
    making: Corpus,
    cells: tuple[Cell, ...],
    stack: str,
    roles: frozenset[str],
    layer: int | None,
) -> tuple[Float[np.ndarray, " width"], int]:
    """Mean state under the second cell less that under the first, and the number of examples averaged over."""
    feeding = feeding_of(cells, making, model.trial_tokenizer, making.seed)
    means = []
    for pair in feeding.fed:
        both = []
        for fed in pair:
            # Each alone, so that no padding has a part in it.
            (trial,) = placed(model, [fed.trial])
            states = states_at(model, selected_trial(model, trial), stack, roles, layer)
            if not len(states):
                raise ValueError(
                    f"example {fed.example!r} has no position of {'+'.join(sorted(roles))} in the cell {fed.cell}; name "
                    "roles that both cells have"
                )
            both.append(states.double().mean(dim=0).numpy())
        means.append(both[1] - both[0])
    return np.mean(means, axis=0).astype(np.float32), len(means)


def _there(path: Path, identity: Mapping[str, Any], roles: str, where: str) -> Direction:
    """What a file holds. RunError where that is another direction than the one that is asked for, or none."""
    try:
        told = description_of(path)
    except StateError as error:
        raise RunError(f"{error}; delete it, or give another out=…") from error
    if told.get("identity") != json.loads(json.dumps(identity)):
        raise RunError(
            f"{path} holds another direction: of another model, corpus, cells, place or package versions; delete it, or "
            "give another out=…"
        )
    return Direction(path, roles, where, told["examples"], len(told[DOCUMENTS]))
