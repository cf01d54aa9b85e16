"""Runs from Python: the same ones as the command's, made of a model and a corpus that are at hand."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from budgetlens.corpora.corpus import Corpus
from budgetlens.corpora.tasks import ANSWER
from budgetlens.design.analysis import CUSTOM, Analysis
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.custom import custom_analysis
from budgetlens.design.design import Design, crossed
from budgetlens.face.arguments import is_whole, layer_numbers, optional_number, path_given, seed_given
from budgetlens.face.commands import command_of
from budgetlens.face.finished import FinishedRun
from budgetlens.face.measuring import (
    Level,
    design_of,
    known_rows,
    probe_texts,
)
from budgetlens.face.model import Model
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import limited
from budgetlens.report.saving import save, with_cautions
from budgetlens.runs.engines.choice import LOCAL, Engine
from budgetlens.runs.known_models import short_name
from budgetlens.runs.model_sweep import sweep
from budgetlens.runs.request import RunRequest, execute
from budgetlens.runs.run import Run
from budgetlens.runs.running import RunOptions, default_run_path

#: What may be run: a registered analysis by name, one's own, a design of its own, or the table of a design file.
Asked = str | Analysis | Callable[[], Analysis] | Design | Mapping[str, Any]


def run(
    analysis: Asked | None = None,
    *,
    model: Model | str | Sequence[str] | None = None,
    corpus: Corpus | str | Path | None = None,
    out: str | Path | None = None,
    n: int | None = None,
    seed: int | None = None,
    protocol: str | None = None,
    probes: str | Any | Sequence[str | Any] | None = None,
    layers: int | Sequence[int] | None = None,
    rows: str | None = None,
    encoder_rows: bool = False,
    encoder_tokens: int | None = None,
    batch_tokens: int | None = None,
    tokens: int | Sequence[str] = 0,
    engine: Engine | str = LOCAL,
    report: bool = True,
    source: Run | str | Path | None = None,
    **factors: Level | Sequence[Level],
) -> FinishedRun:
    """Run an analysis, or continue it where it was stopped; the finished run, its tables, figures and report saved.

    It is the command's run: the same identity, records and tables, in a directory that either continues. A model or rows
    that have no name are told in run.json by their hash; rows lie in the run.

    Args:
        analysis: a name (``"exp08"``), an Analysis or a function that makes one, a Design (``bl.crossed``), or the mapping
            of a design file; None where ``factors`` make the design.
        model: from ``bl.load_model`` or ``bl.wrap``, or a name; several names are a sweep. None takes the analysis's.
        corpus: from ``bl.read_corpus`` or ``bl.corpus``, or a name or file, of which ``n`` examples are drawn with
            ``seed``. None takes the analysis's. A Corpus has both already.
        out: the run's directory; None makes one under ``runs``, named after what is run.
        protocol: ``corrected`` or ``published``; None takes the analysis's.
        probes: names, instances or classes, measured in place of the analysis's.
        layers, rows, encoder_rows, batch_tokens: as of ``bl.measure``; ``encoder_tokens`` cuts encoder inputs there.
        tokens: keeps the attention of so many first examples token by token, or of those with these identifiers.
        engine: where it is computed: ``bl.Engine("local", workers=2)``, ``bl.Engine("ray", address="auto")``, or such a
            name alone. No number depends on it.
        report: False, the fast way, saves the tables alone; figures are drawn when they are asked for.
        source: a finished run that a re-analysis (exp06) reads.
        factors: a design of one's own, as of ``bl.measure``: every effect that it can tell is tested.

    Raises:
        RunError: the directory holds another run (the message says what differs) or is in use, or memory is used up.
        ValueError: as the command's sentences tell; LevelError, RegistryError, EditError as of ``bl.measure``.

    Examples:
        >>> import tempfile, budgetlens as bl
        >>> model, corpus = bl.load_model("reference"), bl.read_corpus("reference", n=4)
        >>> run = bl.run(model=model, corpus=corpus, out=tempfile.mkdtemp(), prefix=["none", "oracle"], layers=[0])
        >>> [finding.effect for finding in run.findings], len(run.tables["effects"])
        (['prefix none→oracle'], 1)
    """
    chosen = analysis_given(analysis, factors)
    loaded, names = _models(chosen, model)
    request = RunRequest(
        analysis=chosen,
        models=names,
        corpus=_named(corpus),
        task=corpus.task if isinstance(corpus, Corpus) else ANSWER,
        n=_count(corpus, n),
        out=None if out is None else path_given("out", out),
        source=source.path
        if isinstance(source, Run)
        else None
        if source is None
        else path_given("source", source),
        encoder_tokens=optional_number("encoder_tokens", encoder_tokens, 1),
        options=RunOptions(
            protocol=protocol or chosen.protocol,
            seed=_seed(corpus, seed, chosen),
            layers=layer_numbers(layers),
            rows=None if rows is None else known_rows(rows),
            batch_tokens=optional_number("batch_tokens", batch_tokens, 1),
            encoder_rows=encoder_rows,
            probes=None if probes is None else probe_texts(probes),
        ),
        tokens=_tokens(tokens),
        engine=engine_given(engine),
    )
    return _carried_out(request, corpus if isinstance(corpus, Corpus) else None, loaded, report=report)


def open_run(
    path: str | Path, *, corpus: str | Path | None = None, analysis: Analysis | None = None
) -> FinishedRun:
    """A finished run of a directory, whoever made it, checked against its hashes.

    ``corpus`` is the name or file where its texts lie, for figures that show them; a file that the run alone names is not
    opened. ``analysis`` is the one that made it, where that is registered nowhere: without it such a run has the tables
    and figures of every run.

    Raises:
        RunError: no run, an unfinished one, or one that was damaged or altered; the message says what to do.

    Examples:
        >>> import tempfile, budgetlens as bl
        >>> few = {"model": bl.load_model("reference"), "corpus": bl.read_corpus("reference", n=4), "layers": [0]}
        >>> made = bl.run(out=tempfile.mkdtemp(), prefix=["none", "oracle"], **few)
        >>> run = bl.open_run(made.path)
        >>> str(run.conclusion) == str(made.conclusion)
        True
    """
    return FinishedRun.open(
        path_given("path", path), corpus=None if corpus is None else str(corpus), made_by=analysis
    )


def analysis_given(given: Asked | None, factors: Mapping[str, Level | Sequence[Level]]) -> Analysis:
    """The analysis that a call asks for: by name, as it is, or made of a design or of factors.

    Raises ValueError for factors beside an analysis, for neither, and for what is none.
    """
    if factors:
        if given not in (None, CUSTOM):
            raise ValueError(
                f"{next(iter(factors))}= describes a design of your own, and the analysis has its own; leave one out"
            )
        return _of_design(design_of(factors))
    if given is None or given == CUSTOM:
        raise ValueError(
            "name an analysis, such as bl.run('exp08', …), or give a design of your own by its factors: "
            "bl.run(prefix=['none', 'oracle'], …)"
        )
    if isinstance(given, str):
        return find_analysis(given)
    if isinstance(given, Design):
        return _of_design(given)
    if isinstance(given, Mapping):
        return custom_analysis(given)
    made = given() if callable(given) else given
    if not isinstance(made, Analysis):
        raise ValueError(
            f"{given!r} is no analysis; give a name, an Analysis, a function that makes one, a Design or factors"
        )
    return made


def _of_design(design: Design) -> Analysis:
    mapping: dict[str, Any] = {"factors": {factor.name: list(factor.levels) for factor in design.factors}}
    if list(design.by_name) != list(crossed(design.factors).by_name):
        mapping["cells"] = list(design.by_name)
    aliases: dict[str, list[str]] = {}
    for cell in design.cells:
        if cell.alias:
            aliases.setdefault(cell.alias, []).append(cell.name)
    return custom_analysis(mapping | ({"aliases": aliases} if aliases else {}))


def _models(
    analysis: Analysis, given: Model | str | Sequence[str] | None
) -> tuple[LoadedModel | None, tuple[str, ...]]:
    """The loaded model, where one was given, and the names of the models that are run."""
    if given is None or isinstance(given, str):
        return None, () if given is None else (given,)
    if not isinstance(given, Model):
        names = tuple(given) if isinstance(given, Sequence) else (given,)
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError(
                "a model is what bl.load_model or bl.wrap gives, or a name; several are given by their names, since only "
                f"one is loaded at a time. Got {given!r}"
            )
        return None, names
    loaded = given.loaded
    if analysis.models:
        raise ValueError(
            f"{analysis.name} is a sweep, which loads its models one after another; give their names, such as "
            f"model=[{short_name(loaded.name)!r}]"
        )
    return loaded, (short_name(loaded.name),)


def engine_given(given: Engine | str) -> Engine:
    """An engine, by its name or as it is. Raises ValueError for what is none."""
    if isinstance(given, Engine):
        return given
    if isinstance(given, str):
        return Engine(given)
    raise ValueError(
        f"an engine is a name or what bl.Engine gives, such as bl.Engine('local', workers=2); got {given!r}"
    )


def _tokens(given: int | Sequence[str]) -> int | tuple[str, ...]:
    """A number of examples, or identifiers. ValueError for neither."""
    if isinstance(given, list | tuple) and given and all(isinstance(name, str) for name in given):
        return tuple(dict.fromkeys(given))
    if not is_whole(given) or given < 0:
        raise ValueError(
            f"tokens is a number of first examples, or a list of identifiers such as ['row-1']; got {given!r}"
        )
    return int(given)


def _seed(corpus: Any, seed: int | None, analysis: Analysis) -> int:
    if not isinstance(corpus, Corpus):
        return analysis.seed if seed is None else seed_given(seed)
    if seed is not None and seed_given(seed) != corpus.seed:
        raise ValueError(
            f"the corpus was drawn with seed {corpus.seed}, which is its run's as well; read it with seed={seed}, or leave "
            "seed out"
        )
    return corpus.seed


def _count(corpus: Any, n: int | None) -> int | None:
    n = optional_number("n", n, 1)
    if not isinstance(corpus, Corpus):
        return n
    if n not in (None, len(corpus.examples), corpus.asked_n):
        raise ValueError(
            f"the corpus holds {len(corpus.examples)} examples, and n={n} was given; read it with n={n}, or leave n out"
        )
    return corpus.asked_n or len(corpus.examples)


def _named(corpus: Any) -> str | None:
    """The name or path of a corpus; None for the analysis's, and for rows, which lie in the run."""
    if isinstance(corpus, Corpus):
        return corpus.asked or None
    if corpus is None or isinstance(corpus, str | Path):
        return None if corpus is None else str(corpus)
    raise ValueError(
        f"a corpus is what bl.read_corpus or bl.corpus gives, a name or a file; got {type(corpus).__name__}. "
        "Rows are made a corpus by bl.corpus(rows)"
    )


def _carried_out(
    request: RunRequest, corpus: Corpus | None, loaded: LoadedModel | None, *, report: bool
) -> FinishedRun:
    """The run that is asked for, with what is saved of it."""
    if loaded is not None and request.has_limits:
        loaded = limited(loaded, request.limits)
    if loaded is not None and corpus is not None and request.out is None:
        # Where it will lie: rows that lie in no file are named by that place.
        request = replace(request, out=default_run_path(request.analysis, loaded, corpus, request.options))
    request = replace(request, command=command_of(request, corpus, loaded))
    if request.is_sweep:
        saving = partial(save, page=report, on_step=_told)
        return FinishedRun.of(sweep(request, saving, lambda run: saving(with_cautions(run)), corpus))
    run = execute(request, corpus, loaded)
    return FinishedRun.of(run, save(run, page=report, on_step=_told))


def _told(step: str) -> None:
    """A line behind the bars: what they don't count takes its time as well."""
    print(step, file=sys.stderr)
