"""A sweep: the same design on several models, one after another, and a table with one row per model.

    RUN/run.json               what was swept: corpus, n, seed, protocol
    RUN/sweep.json             the models in order, and why one failed
    RUN/models/LABEL/          each model's run: an ordinary run directory

Only one model is alive at a time. A model that fails does not take the others with it: they are finished,
the failure is in the table, and the command ends with an error.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.analysis import Analysis
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.devices import chosen_device
from budgetlens.model.loading import load_model
from budgetlens.runs.files import write_text
from budgetlens.runs.known_models import model_path
from budgetlens.runs.memory import free_memory
from budgetlens.runs.request import RunRequest
from budgetlens.runs.run import Run
from budgetlens.runs.running import corpus_details, design_details, run_analysis
from budgetlens.runs.storage import RunDirectory
from budgetlens.runs.swept import Swept, swept_in

#: Longest reason of a failure that the table shows.
LONGEST_REASON = 300


class SweepError(ValueError):
    """Some models of a sweep failed; the message names them."""


def sweep(request: RunRequest, swept_as: str, finish: Callable[[Run], None]) -> Run:
    """Run ``request.analysis`` on every model of the request, or continue; the sweep.

    ``swept_as`` is the analysis that the directory of the sweep belongs to; ``finish`` makes its tables where the
    sweep ends with an error, since nobody else does then. Raises ValueError for a model given twice, a ``source``
    or a revision of several models, SweepError where a model failed.
    """
    if request.source is not None:
        raise ValueError(f"{request.analysis.name} runs models and re-analyses no run; leave --from out")
    if request.revision is not None and len(request.models) > 1:
        raise ValueError("--revision is of one model; several were given")
    labels = labels_of(request.models)
    chosen_device(request.device)
    for name in request.models:
        model_path(name)
    corpus = request.read_corpus()
    identity, details = _identity(request, corpus, swept_as), _details(request, corpus, swept_as)
    directory = RunDirectory(request.out or _default_path(request.analysis.name, identity))
    with directory.locked():
        directory.begin(identity, details)
        # Models of an earlier command stay: each has a row of its own, whoever else is swept.
        earlier = {one.name: one for one in swept_in(directory)}
        known = {**earlier, **{name: Swept(name, label) for name, label in labels.items()}}
        for name, label in labels.items():
            failure = _run_one(request, name, corpus, RunDirectory(directory.path / "models" / label))
            known[name] = Swept(name, label, failure)
            _write_swept(directory, known.values())
            free_memory()
    failed = [one for one in known.values() if one.failure and one.name in labels]
    if failed:
        if len(failed) < len(known):
            finish(Run.open(directory.path))
        raise SweepError(
            f"{len(failed)} of {len(labels)} models failed: "
            + "; ".join(f"{one.name}: {one.failure}" for one in failed)
            + f". What the others gave is in {directory.path}; the same command tries the failed ones again"
        )
    return Run.open(directory.path)


def _run_one(request: RunRequest, name: str, corpus: Corpus, directory: RunDirectory) -> str:
    """Run one model; why it failed, empty where it did not. The model is nobody's when this returns."""
    print(f"model {name}", file=sys.stderr)
    try:
        model = load_model(
            model_path(name),
            revision=request.revision,
            device=request.device,
            dtype=request.dtype,
            limits=request.limits,
        )
        run_analysis(
            request.analysis,
            model,
            corpus,
            directory,
            request.options,
            command=request.command,
            progress=not request.quiet,
        )
    # Whatever a model fails with (missing weights, memory, an unknown family), the others are to be run.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".replace("\n", " ")
        return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"
    return ""


def labels_of(models: Sequence[str]) -> dict[str, str]:
    """Name of each model's directory: the last part of its name, told apart by a digest where two agree.

    Raises ValueError for a model given twice.
    """
    doubled = sorted({name for name in models if models.count(name) > 1})
    if doubled:
        raise ValueError(f"--model {doubled[0]} was given twice; give each model once")
    short = {name: name.rstrip("/").rpartition("/")[2] or "model" for name in models}
    return {
        name: label
        if list(short.values()).count(label) == 1
        else f"{label}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
        for name, label in short.items()
    }


def _write_swept(directory: RunDirectory, swept: Any) -> None:
    content = {"models": [asdict(one) for one in swept]}
    write_text(directory.path / "sweep.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _identity(request: RunRequest, corpus: Corpus, swept_as: str) -> dict[str, Any]:
    """What all runs of the sweep share. The models are no part of it: each row stands for itself."""
    options = asdict(request.options)
    return {
        "analysis": swept_as,
        **json.loads(json.dumps(options)),
        "corpus": corpus.sha256,
        "limits": asdict(request.limits),
        "device": request.device,
        "dtype": request.dtype,
        "revision": request.revision,
    }


def _details(request: RunRequest, corpus: Corpus, swept_as: str) -> Mapping[str, Any]:
    swept: Analysis = find_analysis(swept_as)
    return {
        **design_details(replace(swept, plans=request.analysis.plans), request.options.protocol),
        "model": {"name": "several models", "parameters": 0},
        "corpus": corpus_details(corpus),
        "seed": request.seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(request.command),
    }


def _default_path(name: str, identity: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{name}-sweep-{digest}"
