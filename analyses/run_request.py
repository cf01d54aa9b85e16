"""What a user asks of `budgetlens run`, and how it is carried out: corpus, model, run, directory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analyses.analysis import Analysis
from analyses.corpus import Corpus, read_corpus
from analyses.known_models import model_path
from analyses.run_directory import RunDirectory
from analyses.runs import RunOptions, default_run_path, run_analysis
from probes.models import load_model
from probes.tokenization import Limits


@dataclass(frozen=True)
class RunRequest:
    """An analysis with everything that a user may choose for it.

    ``models`` are hub names or directories, one for an ordinary run. ``corpus``, ``n`` and
    ``encoder_tokens`` None take the analysis's. ``out`` None takes a directory under ``runs`` named after
    the run's identity. ``source`` is the finished run that a re-analysis reads.
    """

    analysis: Analysis
    models: tuple[str, ...] = ("reference",)
    revision: str | None = None
    corpus: str | None = None
    n: int | None = None
    out: Path | None = None
    source: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    encoder_tokens: int | None = None
    options: RunOptions = field(default_factory=RunOptions)
    quiet: bool = False
    command: Sequence[str] = ()

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
        corpus = read_corpus(self.corpus or self.analysis.corpus, n=self.n or self.analysis.n, seed=self.seed)
        print(corpus.describe(), file=sys.stderr)
        return corpus


def execute(request: RunRequest) -> RunDirectory:
    """Run what is asked, or continue it; the directory, finished but for its tables.

    Raises ValueError for an ``out`` that is a file, for several models or for a ``source`` where the analysis takes none.
    """
    if request.out is not None and request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out {request.out} is a file; give a directory, which need not exist yet")
    if request.analysis.runner is not None:
        return request.analysis.runner(request)
    if len(request.models) != 1:
        raise ValueError(
            f"{request.analysis.name} runs one model, {len(request.models)} were given: {', '.join(request.models)}; "
            "exp09 takes several"
        )
    if request.source is not None:
        raise ValueError(f"{request.analysis.name} runs a model and re-analyses no run; leave --from out")
    corpus = request.read_corpus()
    model = load_model(
        model_path(request.models[0]),
        revision=request.revision,
        device=request.device,
        dtype=request.dtype,
        limits=request.limits,
    )
    path = request.out or default_run_path(request.analysis, model, corpus, request.options)
    directory = RunDirectory(path)
    run_analysis(
        request.analysis,
        model,
        corpus,
        directory,
        request.options,
        command=request.command,
        progress=not request.quiet,
    )
    return directory
