"""What a user asks of `budgetlens run`, and how it is carried out: corpus, model, run, directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from budgetlens.corpora.corpus import Corpus, read_corpus
from budgetlens.corpora.places import place_of
from budgetlens.corpora.tasks import ANSWER
from budgetlens.design.analysis import Analysis
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.reach import require_feasible
from budgetlens.model.devices import chosen_device
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import limited, load_model, load_trial_tokenizer
from budgetlens.model.observation import chosen_probes, probes_of_task, read_probes
from budgetlens.model.tokenization import Limits, TrialTokenizer
from budgetlens.registry.names import printable
from budgetlens.runs.engines.choice import LOCAL, Engine
from budgetlens.runs.engines.engine import Computer
from budgetlens.runs.engines.opening import opened
from budgetlens.runs.known_models import model_path
from budgetlens.runs.manifest import Manifest, RunError
from budgetlens.runs.rereading import read_again
from budgetlens.runs.run import Run
from budgetlens.runs.running import (
    RunOptions,
    default_run_path,
    design_details,
    run_analysis,
    tokenized_units,
)
from budgetlens.runs.storage import RunDirectory
from budgetlens.runs.tokens import save_token_attention, stored_examples
from budgetlens.statistics.choices import Choices


@dataclass(frozen=True)
class RunRequest:
    """An analysis with everything that a user may choose for it.

    ``models`` are hub names or directories; none takes the analysis's, or else the built-in one. ``corpus``, ``n``
    and ``encoder_tokens`` None take the analysis's. ``out`` None takes a directory under ``runs`` named after
    the run's identity. ``source`` is the finished run that a re-analysis reads.
    ``choices`` is what is chosen of the statistics. ``tokens`` is the number of first examples whose attention is kept
    token by token, or the identifiers of some. ``engine`` is where parts are computed. ``task`` is what the answer is
    (:mod:`budgetlens.corpora.tasks`); its probes are read besides those that are chosen.
    """

    analysis: Analysis
    models: tuple[str, ...] = ()
    revision: str | None = None
    corpus: str | None = None
    task: str = ANSWER
    n: int | None = None
    out: Path | None = None
    source: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    encoder_tokens: int | None = None
    options: RunOptions = field(default_factory=RunOptions)
    choices: Choices = field(default_factory=Choices)
    tokens: int | tuple[str, ...] = 0
    engine: Engine = LOCAL
    quiet: bool = False
    command: Sequence[str] = ()

    def __post_init__(self) -> None:
        plan, named = self.analysis.plan(self.options.protocol), self.options.probes
        known = {text.partition(":")[0] for text in named or plan.probes}
        further = tuple(name for name in probes_of_task(self.task) if name not in known)
        if further:
            options = replace(self.options, probes=(*(named or plan.probes), *further))
            object.__setattr__(self, "options", options)

    @property
    def chosen_models(self) -> tuple[str, ...]:
        """The models that are run, at least one."""
        return self.models or self.analysis.models or ("reference",)

    @property
    def is_sweep(self) -> bool:
        """Whether it is a sweep over models, each run below one directory, and no run of a single model."""
        return len(self.chosen_models) > 1 or bool(self.analysis.models)

    @property
    def has_limits(self) -> bool:
        """Whether it says how long inputs may be, where a model that is loaded already has limits of its own."""
        return bool(self.encoder_tokens or self.analysis.encoder_tokens)

    @property
    def limits(self) -> Limits:
        """The longest inputs."""
        tokens = self.encoder_tokens or self.analysis.encoder_tokens
        return Limits(encoder=tokens) if tokens else Limits()

    @property
    def seed(self) -> int:
        """Seed of the selection and of every random choice."""
        return self.options.seed

    def read_corpus(self) -> Corpus:
        """The examples of this request, selected; a line about them on stderr."""
        corpus = read_corpus(
            self.analysis.corpus if self.corpus is None else self.corpus,
            n=self.analysis.n if self.n is None else self.n,
            seed=self.seed,
            n_asked=self.n is not None,
            task=self.task,
        )
        print(corpus.describe(), file=sys.stderr)
        return corpus


def execute(request: RunRequest, corpus: Corpus | None = None, model: LoadedModel | None = None) -> Run:
    """Run what is asked of one model, or continue it; the run, finished but for its tables.

    Of several models each is run by itself (:func:`budgetlens.runs.model_sweep.sweep`). ``corpus`` and ``model`` are
    those of the request where somebody has them already, read once for all models, or made in Python.

    What can be refused without the model's weights is refused before they are loaded. Raises ValueError for an
    ``out`` that can't be a run's directory, for a ``source`` where the analysis reads none or beside options that ask
    for another run than it is, for layers that the model lacks, for cells that can't be made, for levels that change
    nothing in any example and for a design without anything to compare.
    """
    require_creatable(request.out or Path("runs"))
    if request.analysis.reads:
        return _read_again(request, corpus, model)
    require_runnable(request)
    device, dtype = (request.device, request.dtype) if model is None else _placed(model)
    with opened(request.engine, device, dtype) as computer:
        return _run_by(computer, request, corpus, model)


def _placed(model: LoadedModel) -> tuple[str, str]:
    """Device and number type of a loaded model, by name; one of several GPUs is as good as another."""
    return model.device.type, str(model.dtype).removeprefix("torch.")


def _run_by(computer: Computer, request: RunRequest, corpus: Corpus | None, model: LoadedModel | None) -> Run:
    """The run whose parts an engine at work computes."""
    if request.tokens and computer.device not in ("", "cpu"):
        raise ValueError(
            "token by token (--tokens) attention is read in this process, and the workers compute on another device; run "
            "without it, and then give the same command with it and without workers where there is such a device"
        )
    if model is None:
        model, corpus = _loaded(request, corpus, computer.device)
    else:
        model = limited(model, request.limits) if request.has_limits else model
        model = replace(model, elsewhere=computer.device)
        corpus = corpus or request.read_corpus()
        _require_feasible(request, corpus, model.trial_tokenizer)
    path = request.out or default_run_path(request.analysis, model, corpus, request.options)
    directory = RunDirectory(path)
    run_analysis(
        request.analysis,
        model,
        corpus,
        directory,
        request.options,
        computer=computer,
        command=request.command,
        progress=not request.quiet,
    )
    _renew_details(
        directory, {**design_details(request.analysis, request.options.protocol), **chosen(request.choices)}
    )
    if request.tokens:
        _keep_tokens(request, model, corpus, directory)
    return Run.open(path, corpus=request.corpus, made_by=request.analysis)


def _loaded(request: RunRequest, corpus: Corpus | None, elsewhere: str) -> tuple[LoadedModel, Corpus]:
    """The model that a request names, and its corpus; what needs no weights is refused before they are loaded.

    ``elsewhere`` is the kind of device on which workers compute; here the model is then on the CPU.
    """
    (name,) = request.chosen_models
    source = model_path(name)
    # Before the corpus, which may be long to read: the model's name, and what its configuration and tokenizer tell.
    tokenizer = load_trial_tokenizer(source, revision=request.revision, limits=request.limits)
    corpus = corpus or request.read_corpus()
    _require_feasible(request, corpus, tokenizer)
    model = load_model(
        source,
        revision=request.revision,
        device="cpu" if elsewhere else request.device,
        dtype=request.dtype,
        limits=request.limits,
        elsewhere=elsewhere,
    )
    return model, corpus


def _read_again(request: RunRequest, corpus: Corpus | None, model: LoadedModel | None) -> Run:
    """What an analysis reads of ``request.source``, or of a run that is made first, at RUN-NAME beside ``--out RUN``."""
    analysis = request.analysis
    if request.source is not None:
        source = Run.open(request.source)
        _refuse_other(request, source.manifest)
    else:
        out = None if request.out is None else request.out.with_name(f"{request.out.name}-{analysis.reads}")
        source = execute(replace(request, analysis=find_analysis(analysis.reads), out=out), corpus, model)
    run = read_again(analysis, source, request.out, request.command)
    _renew_details(run.directory, chosen(request.choices))
    return Run.open(run.path)


def chosen(choices: Choices) -> dict[str, Any]:
    """The key of run.json that keeps what was chosen of the statistics."""
    return {"choices": choices.to_mapping()}


def _refuse_other(request: RunRequest, manifest: Manifest) -> None:
    """Raise ValueError where options ask for another run than the one that is read again."""
    asked = {
        "model (--model)": request.models or None,
        "corpus (--corpus)": request.corpus,
        "n (--n)": request.n,
        "task (--task)": None if request.task == ANSWER else request.task,
        "engine (--engine, --workers)": None if request.engine == LOCAL else request.engine,
    }
    given = [name for name, value in asked.items() if value is not None]
    if request.options.protocol == "published" and manifest.protocol != "published":
        given.append("protocol (--protocol)")
    if given:
        raise ValueError(
            f"source=… (--from) re-analyses a run as it is (protocol {manifest.protocol}, model {manifest.model.name}, "
            f"corpus {manifest.corpus.name}, n {manifest.corpus.n}); leave {' and '.join(given)} out"
        )


def _keep_tokens(request: RunRequest, model: LoadedModel, corpus: Corpus, directory: RunDirectory) -> None:
    """Token-level records of the chosen examples; those that are there are not computed again.

    Of examples that could not be fed a line on stderr tells that nothing is kept.
    """
    cells = request.analysis.plan(request.options.protocol).design.cells
    manifest, layers = directory.manifest(), request.options.layers
    # Of the corpus that the run took its donors from.
    fed = corpus.without(manifest.left_out)
    places = {example.identifier: place for place, example in enumerate(fed.examples)}
    chosen = request.tokens if isinstance(request.tokens, tuple) else list(places)[: request.tokens]
    for identifier in chosen:
        if identifier in manifest.left_out:
            words = f"no attention of example {printable(identifier)} is kept: the run leaves it out"
            print(words, file=sys.stderr)
    wanted = places.keys() & set(chosen)
    # What stands behind the last of them need not be made.
    count = 1 + max((places[identifier] for identifier in wanted), default=-1)
    units = tokenized_units(cells, model, fed, request.seed, count=count)
    with directory.locked():
        there = stored_examples(directory)
        missing = [
            item
            for unit in units
            for item in unit.fed
            if item.example in wanted and item.example not in there
        ]
        measures = [own for own in chosen_probes(manifest.probes) if own.declares.contributes]
        save_token_attention(directory, model, missing, layers=layers, rows=manifest.rows, measures=measures)


def require_creatable(path: Path) -> None:
    """Raise ValueError where ``path`` is or lies below a file, or below a directory that can't be written to.

    RunError where it is a directory that holds something else than a run.
    """
    existing = path
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise ValueError(
            f"{path} (out=… or --out) is a file; give a directory, which need not exist yet"
            if existing == path
            else f"{path} (out=… or --out) can't be made, since {existing} is a file; give another directory"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ValueError(
            f"{path} (out=… or --out) can't be written: no permission in {existing}; give another directory"
        )
    if existing == path and path != Path("runs") and RunDirectory(path).holds_something_else:
        raise RunError(f"{path} is not empty and holds no run.json; give an empty or new directory")


def require_runnable(request: RunRequest) -> None:
    """Raise ValueError for a ``source``, unknown names and levels, no device, and a design without anything to compare."""
    if request.source is not None:
        raise ValueError(
            f"{request.analysis.name} runs a model and re-analyses no run; leave source=… (--from) out"
        )
    plan = request.analysis.plan(request.options.protocol)
    # Names first: a misspelt level is not cured by a second one.
    _ = plan.design.interventions
    read_probes(request.options.probes or plan.probes)
    if not plan.contrasts:
        raise ValueError(
            f"the design has {len(plan.design.cells)} cell(s) and nothing to compare; give a factor a second level"
        )
    if request.engine.name == "local":
        # A cluster may have devices that this machine has not.
        chosen_device(request.device)


def _require_feasible(request: RunRequest, corpus: Corpus, tokenizer: TrialTokenizer) -> None:
    """Raise ValueError for what the model's configuration, its tokenizer and the corpus rule out by themselves."""
    if isinstance(request.tokens, tuple):
        for identifier in request.tokens:
            place_of(corpus, identifier)
    plan = request.analysis.plan(request.options.protocol)
    depth = tokenizer.depths["decoder"]
    beyond = [layer for layer in request.options.layers or () if not 0 <= layer < depth]
    if beyond:
        raise ValueError(
            f"layers {beyond} were asked for; {request.chosen_models[0]} has decoder layers 0 to {depth - 1}"
        )
    require_feasible(plan.design, corpus, tokenizer, request.seed, allow_idle=plan.allow_idle)


def _renew_details(directory: RunDirectory, details: Mapping[str, Any]) -> None:
    """Let run.json tell the design as it is now: a continued run may have other contrasts, aliases or words."""
    with directory.locked():
        directory.renew(details)
