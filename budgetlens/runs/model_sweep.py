"""A sweep: one analysis on several models, one after another, for tables over all of them.

    RUN/run.json               what was swept: analysis, corpus, n, seed, protocol
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
from budgetlens.design.catalogue import find_analysis
from budgetlens.runs.files import WriteError
from budgetlens.runs.known_models import model_path
from budgetlens.runs.manifest import MODELS, OVER
from budgetlens.runs.memory import free_memory, is_out_of_memory
from budgetlens.runs.request import RunRequest, chosen, execute, require_creatable, require_runnable
from budgetlens.runs.run import Run
from budgetlens.runs.running import corpus_details, design_details, file_hashes, keep_rows
from budgetlens.runs.storage import RunDirectory
from budgetlens.runs.swept import Swept, swept_in, write_swept

#: Longest reason of a failure that the table shows.
LONGEST_REASON = 300


class SweepError(ValueError):
    """Some models of a sweep failed; the message names them."""


def sweep(
    request: RunRequest,
    finish: Callable[[Run], object],
    finish_sweep: Callable[[Run], object],
    corpus: Corpus | None = None,
) -> Run:
    """Run the analysis of ``request`` on each of its models, or continue; the sweep, with its tables.

    ``finish`` makes tables, figures and report of each model's run, ``finish_sweep`` those over all of them; ``corpus``
    is that of the request, where it was made in Python. Raises
    ValueError for a model given twice, a ``source``, a revision of several models and as :func:`execute` does for
    what concerns all models; SweepError, after the tables, where a model failed.
    """
    require_creatable(request.out or Path("runs"))
    _require_sweep(request)
    corpus = corpus or request.read_corpus()
    identity = _identity(request, corpus)
    directory = RunDirectory(request.out or _default_path(request.analysis.name, identity))
    names = request.chosen_models
    with directory.locked():
        directory.begin(identity, _details(request, corpus))
        directory.renew(
            {**design_details(request.analysis, request.options.protocol), **chosen(request.choices)}
        )
        keep_rows(directory, corpus)
        # Models of an earlier command stay: each has a row of its own, whoever else is swept.
        known = {one.name: one for one in swept_in(directory)}
        labels = labels_of(names, {name: one.label for name, one in known.items()}, request.analysis.reads)
        known |= {name: Swept(name, label) for name, label in labels.items()}
        # Before the first of them runs: after a kill the tables tell which models are to come.
        write_swept(directory, known.values())
        for name in names:
            failure = _run_one(request, name, corpus, known[name].place(directory.path), finish)
            known[name] = replace(known[name], failure=failure)
            write_swept(directory, known.values())
            free_memory()
    failed = [known[name] for name in names if known[name].failure]
    run = Run.open(directory.path, corpus=request.corpus)
    if len(failed) < len(known):
        finish_sweep(run)
    if failed:
        raise SweepError(_words_of(failed, len(names), directory.path))
    return run


def _require_sweep(request: RunRequest) -> None:
    """Raise ValueError for what concerns all models, before the corpus is read and a model is loaded."""
    analysis = request.analysis
    if analysis.reads and request.source is not None:
        raise ValueError(
            f"source=… (--from) re-analyses one run as it is; leave model (--model) out, or run {analysis.reads} first"
        )
    require_runnable(replace(request, analysis=find_analysis(analysis.reads)) if analysis.reads else request)
    if request.revision is not None and len(request.chosen_models) > 1:
        raise ValueError("--revision is of one model; several were given")
    require_different(request.chosen_models)


def require_different(models: Sequence[str]) -> None:
    """Raise ValueError for a model that is given twice, be it by two names of one directory, and for an empty name."""
    seen: dict[str, str] = {}
    for name in models:
        path = Path(model_path(name))
        place = str(path.resolve()) if path.is_dir() else name
        if place in seen:
            same = "" if seen[place] == name else f", as {seen[place]} and as {name}"
            raise ValueError(f"--model {seen[place]} was given twice{same}; give each model once")
        seen[place] = name


def _run_one(
    request: RunRequest, name: str, corpus: Corpus, out: Path, finish: Callable[[Run], object]
) -> str:
    """Run one model; why it failed, empty where it did not. The model is nobody's when this returns."""
    print(f"model {name}", file=sys.stderr)
    try:
        finish(execute(replace(request, models=(name,), out=out), corpus))
    except WriteError:
        # No other model could be written either.
        raise
    # Whatever a model fails with (missing weights, memory, an unknown family), the others are to be run.
    except Exception as error:
        reason = _reason_of(error)
        print(f"model {name} failed: {reason}", file=sys.stderr)
        return reason
    return ""


def _reason_of(error: Exception) -> str:
    """One line that says why a model failed."""
    if is_out_of_memory(error):
        reason = "the memory is used up (of the machine, of this process's limit, or of the GPU)"
    elif isinstance(error, ValueError | OSError | ModuleNotFoundError) and str(error):
        reason = str(error)
    else:
        reason = f"{type(error).__name__}: {error}"
    reason = " ".join(reason.split())
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def labels_of(models: Sequence[str], taken: Mapping[str, str], reads: str = "") -> dict[str, str]:
    """Name of each model's directory: the last part of its name, told apart by a digest where two agree.

    ``taken`` are labels of models that are there already, which keep them; so that no other gets one of these.
    ``reads`` is what a run that is made first adds to the name of its directory.
    """
    short = {name: _last_part(name) for name in models if name not in taken}

    def places(label: str) -> set[str]:
        # As a file system tells names apart that does not know capitals.
        return {label.casefold(), f"{label}-{reads}".casefold()} if reads else {label.casefold()}

    labels = {name: taken[name] for name in models if name in taken}
    for name, label in short.items():
        others = [*taken.values(), *(other for each, other in short.items() if each != name)]
        unlike = all(places(label).isdisjoint(places(other)) for other in others)
        labels[name] = label if unlike else f"{label}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return {name: labels[name] for name in models}


def _last_part(name: str) -> str:
    """What a model is called in short; a path such as ``..`` has no such name."""
    label = name.rstrip("/").replace("\\", "/").rpartition("/")[2]
    return "model" if label.strip(".") == "" else label


def _words_of(failed: Sequence[Swept], count: int, path: Path) -> str:
    """Which models failed, why, and what to do."""
    reasons = "; ".join(f"{one.name}: {one.failure}" for one in failed)
    given = f". What the others gave is in {path}" if len(failed) < count else ""
    return f"{len(failed)} of {count} models failed: {reasons}{given}; the same command tries the failed ones again"


def _identity(request: RunRequest, corpus: Corpus) -> dict[str, Any]:
    """What all runs of the sweep share. The models are no part of it: each row stands for itself."""
    design = request.analysis.plan(request.options.protocol).design
    options = json.loads(json.dumps(asdict(request.options)))
    return {
        "analysis": request.analysis.name,
        OVER: MODELS,
        **options,
        "cells": [cell.name for cell in design.cells],
        "files": file_hashes(design.interventions),
        "corpus": corpus.sha256,
        "limits": asdict(request.limits),
        "device": request.device,
        "dtype": request.dtype,
        "revision": request.revision,
    }


def _details(request: RunRequest, corpus: Corpus) -> Mapping[str, Any]:
    return {
        **design_details(request.analysis, request.options.protocol),
        "model": {"name": "several models"},
        "corpus": corpus_details(corpus),
        "seed": request.seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(request.command),
    }


def _default_path(name: str, identity: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{name}-sweep-{digest}"
