"""The activations of a corpus, kept in a directory: one file per example and cell, continued where it was stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.design import Design
from budgetlens.design.reach import require_feasible
from budgetlens.face.activations import FORMAT, INDEX, ActivationCache, open_file, read_index, save_trial
from budgetlens.face.arguments import layer_numbers, path_given
from budgetlens.face.measuring import Level, corpus_given, design_of, loaded_of
from budgetlens.face.model import Model
from budgetlens.model.activations import require_activations
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import ACTIVATIONS
from budgetlens.registry.discovery import plugin_of
from budgetlens.registry.names import name_of
from budgetlens.registry.notebook import is_own, source_of
from budgetlens.runs.feeding import feeding_of
from budgetlens.runs.files import file_hash, make_folder, write_text
from budgetlens.runs.manifest import RunError
from budgetlens.runs.records import Fed
from budgetlens.runs.running import NUMERIC_PACKAGES, file_hashes

#: Seconds after which a bar shows how far it is.
PATIENCE = 1.0


def cache_activations(
    model: Model,
    corpus: Corpus,
    out: str | Path,
    *,
    layers: int | Sequence[int] | None = None,
    what: Collection[str] = ACTIVATIONS,
    **factors: Level | Sequence[Level],
) -> ActivationCache:
    """Keep activations of every example of a corpus, under every crossing of some levels, in a directory.

    Each example runs alone, so that its tensors are those of a reading of it. Stopped at any moment, the same call
    continues where it was; a file that is not as it was written is made again.

    Args:
        model: from ``bl.load_model`` or ``bl.wrap``.
        corpus: from ``bl.read_corpus`` or ``bl.corpus``; its seed is that of every random choice.
        out: the directory, new or one that the same call has begun.
        layers: which, from 0, in both stacks; None keeps all.
        what: of ``residual``, ``query``, ``key`` and ``value``.
        factors: by the name of an intervention its level, or several that are crossed, as in ``bl.measure``.

    Returns:
        The cache: a mapping from example and cell to :class:`Activations`.

    Raises:
        ValueError: layers or activations that there are not; as LevelError or RegistryError a level that is none; as
            EditError one that changes nothing in any example.
        RunError: ``out`` holds something else. WriteError: it can't be written.

    Examples:
        >>> import budgetlens as bl
        >>> model, corpus = bl.load_model("reference"), bl.read_corpus("reference", n=2)
        >>> cache = bl.cache_activations(model, corpus, "residuals", layers=1, what=["residual"])
        >>> [kept.names for kept in cache.values()][0]
        ('decoder.1.residual', 'encoder.1.residual')
    """
    loaded, design, chosen = loaded_of(model), design_of(factors), layer_numbers(layers)
    corpus = corpus_given(corpus)
    require_activations(loaded, chosen, what)
    require_feasible(design, corpus, loaded.trial_tokenizer, corpus.seed)
    identity = _identity(loaded, corpus, design, chosen, what)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    directory = path_given("out", out)
    hashes = _begin(directory, digest)
    feeding = feeding_of(design.cells, corpus, loaded.trial_tokenizer, corpus.seed)
    files = []
    with tqdm(total=len(feeding.fed), unit="example", desc="activations", delay=PATIENCE) as bar:
        for example in feeding.fed:
            for fed in example:
                path = directory / _file_name(fed)
                if not _is_own(path, fed, digest, hashes.get(path.name)):
                    save_trial(loaded, fed, path, layers=chosen, what=what, identity=digest)
                files.append(
                    {"example": fed.example, "cell": fed.cell, "file": path.name, "hash": file_hash(path)}
                )
            bar.update()
    index = {
        "format": FORMAT,
        "identity": digest,
        "asked": identity,
        "files": files,
        "left_out": feeding.left_out,
    }
    write_text(directory / INDEX, json.dumps(index, indent=1) + "\n")
    return ActivationCache(directory, index)


def _identity(
    model: LoadedModel,
    corpus: Corpus,
    design: Design,
    layers: Sequence[int] | None,
    what: Collection[str],
) -> dict[str, Any]:
    """Everything that can change a number of a cache, or which numbers there are."""
    group, kinds = "budgetlens.interventions", [type(one) for one in design.interventions]
    return {
        "model": model.identity,
        "dtype": str(model.dtype),
        "device": model.device.type,
        "attention": model.attention_implementation,
        "limits": vars(model.trial_tokenizer.limits),
        "corpus": [corpus.sha256, corpus.padding_sha256, corpus.seed],
        "cells": [cell.name for cell in design.cells],
        "files": file_hashes(design.interventions),
        "plugins": sorted({origin for kind in kinds if (origin := plugin_of(kind, group)) is not None}),
        "sources": {name_of(kind): source_of(kind) for kind in kinds if is_own(kind, group)},
        "layers": layers,
        "what": [each for each in ACTIVATIONS if each in what],
        "packages": {name: version(name) for name in NUMERIC_PACKAGES},
    }


def _begin(directory: Path, digest: str) -> dict[str, str]:
    """Claim a directory; the hashes of the files of a finished cache by their names.

    Raises RunError where it holds something else than a cache of this identity.
    """
    found = read_index(directory)
    if found is not None:
        if found.get("identity") != digest:
            raise RunError(
                f"{directory} holds other activations: of another model, corpus, cells, layers or package versions; give "
                "another directory"
            )
        return {each["file"]: each["hash"] for each in found.get("files", [])}
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise RunError(
            f"{directory} is not empty and holds no {INDEX}; give an empty directory, or a new one"
        )
    make_folder(directory)
    write_text(directory / INDEX, json.dumps({"format": FORMAT, "identity": digest}) + "\n")
    return {}


def _file_name(fed: Fed) -> str:
    return f"{hashlib.sha256(f'{fed.example}|{fed.cell}'.encode()).hexdigest()[:16]}.safetensors"


def _is_own(path: Path, fed: Fed, identity: str, known: str | None) -> bool:
    """Whether a file holds this trial of this cache as it was written: as its index knows it, or as it knows itself."""
    if not path.is_file() or (known is not None and file_hash(path) != known):
        return False
    try:
        found = open_file(path).metadata
    except RunError:
        # Damaged, or nothing of ours: it is written anew.
        return False
    return all(
        found.get(key) == wanted
        for key, wanted in (("identity", identity), ("example", fed.example), ("cell", fed.cell))
    )
