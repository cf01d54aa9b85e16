"""Running an analysis: plan the work, capture part by part, leave records.

A unit of work is one example with all its cells. Units are independent and deterministic; a part is some
units of similar length, fixed by the plan alone, so that a resumed run computes exactly what an
uninterrupted one computes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from budgetlens.corpora.corpus import Corpus
from budgetlens.corpora.own_rows import lines_of
from budgetlens.design.analysis import Analysis
from budgetlens.design.catalogue import available_analyses
from budgetlens.design.custom import design_mapping
from budgetlens.design.design import Cell
from budgetlens.design.generable import require_generable
from budgetlens.design.intervention import Intervention
from budgetlens.design.plan import Plan
from budgetlens.design.reach import require_feasible
from budgetlens.model.capture import Probing
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import AnyProbe, read_probes
from budgetlens.model.roles import GENERATED
from budgetlens.registry.discovery import plugin_of
from budgetlens.registry.names import name_of
from budgetlens.registry.notebook import is_own, source_of
from budgetlens.runs.capturing import Unit
from budgetlens.runs.computing import compute_parts, computed_facts
from budgetlens.runs.engines.engine import Computer, Task
from budgetlens.runs.engines.here import HERE
from budgetlens.runs.engines.versions import NUMERIC_PACKAGES, own_version
from budgetlens.runs.examples_shown import examples_text
from budgetlens.runs.feeding import feeding_of
from budgetlens.runs.files import file_hash
from budgetlens.runs.known_models import last_part, short_name
from budgetlens.runs.storage import ROWS, RunDirectory

#: Padded positions (encoder and decoder) per batch where ``batch_tokens`` is ``auto``.
AUTOMATIC_BATCH_TOKENS = {"cpu": 12_288, "cuda": 131_072}


@dataclass(frozen=True)
class RunOptions:
    """What a user may choose for a run besides analysis, model and corpus.

    ``layers`` None reads all; ``rows`` None takes the protocol's; ``batch_tokens`` None chooses by device;
    ``encoder_rows`` also reads the encoder's document rows; ``probes`` None takes the analysis's.
    """

    protocol: str = "corrected"
    seed: int = 42
    layers: tuple[int, ...] | None = None
    rows: str | None = None
    batch_tokens: int | None = None
    encoder_rows: bool = False
    probes: tuple[str, ...] | None = None


def run_analysis(
    analysis: Analysis,
    model: LoadedModel,
    corpus: Corpus,
    directory: RunDirectory,
    options: RunOptions,
    *,
    computer: Computer = HERE,
    command: Sequence[str] = (),
    progress: bool = True,
) -> None:
    """Run ``analysis`` into ``directory``, or continue it there; returns when every part is whole.

    ``computer`` computes the parts, and this process alone writes them.

    Raises RunError where the directory belongs to another run, ValueError for layers the model lacks, and as
    :func:`budgetlens.design.reach.require_feasible` and, where answers are generated,
    :func:`budgetlens.design.generable.require_generable` do.
    """
    plan = analysis.plan(options.protocol)
    rows, batch_tokens = resolved(plan.rows, model, options)
    reading = reading_of(read_probes(options.probes or plan.probes), model, options)
    if plan.read_in:
        reading = dataclasses.replace(reading, cells=frozenset(plan.read_in))
    # The command asks before it loads the weights; whoever has a model already comes here at once.
    require_feasible(plan.design, corpus, model.trial_tokenizer, options.seed, allow_idle=plan.allow_idle)
    if reading.of_generation or rows == GENERATED:
        require_generable(plan.design, corpus, model.trial_tokenizer, options.seed)
    with directory.locked():
        directory.begin(
            run_identity(analysis, plan, model, corpus, options, rows=rows, batch_tokens=batch_tokens),
            run_details(analysis, plan, model, corpus, options, command),
        )
        keep_rows(directory, corpus)
        cells, tokenizer = plan.design.cells, model.trial_tokenizer
        feeding = feeding_of(
            cells,
            corpus,
            tokenizer,
            options.seed,
            passages=bool(reading.of_passages),
            progress=progress,
        )
        units = [Unit(fed) for fed in feeding.fed]
        cautions = list(feeding.cautions(cells, tokenizer, options.seed))
        details = {"left_out": feeding.left_out, "cautions": cautions}
        directory.renew({key: value for key, value in details.items() if value})
        for words in (*directory.manifest().left_out_words, *cautions):
            print(words, file=sys.stderr)
        parts = plan_parts(units, batch_tokens)
        directory.plan_parts(len(parts), examples_text(units, model.trial_tokenizer))
        bar = f"{analysis.name} {len(cells)} cells"
        compute_parts(computer, model, Task(reading, rows, batch_tokens), parts, directory, bar, progress)
        directory.renew({"computed": computed_facts(directory, len(parts))})
        for words in directory.manifest().computed_words:
            print(words, file=sys.stderr)


def keep_rows(directory: RunDirectory, corpus: Corpus) -> None:
    """Write rows that lie in no file into the run, which could not be told nor continued without them."""
    if not corpus.asked:
        directory.write_text(ROWS, lines_of(corpus))


def tokenized_units(
    cells: Sequence[Cell],
    model: LoadedModel,
    corpus: Corpus,
    seed: int,
    *,
    count: int | None = None,
    progress: bool = False,
) -> list[Unit]:
    """Every example with all its cells, in the corpus's order, without those that can't be fed.

    Of the first ``count`` examples where it is given. Raises as :func:`budgetlens.runs.feeding.feeding_of`.
    """
    feeding = feeding_of(cells, corpus, model.trial_tokenizer, seed, count=count, progress=progress)
    return [Unit(fed) for fed in feeding.fed]


def plan_parts(units: Sequence[Unit], batch_tokens: int) -> list[list[Unit]]:
    """Units of similar length in parts of about ``batch_tokens`` padded positions, at least one unit each."""
    order = sorted(
        range(len(units)), key=lambda index: (units[index].encoder_length, units[index].decoder_length, index)
    )
    parts: list[list[Unit]] = []
    used = 0
    for index in order:
        unit = units[index]
        size = len(unit.fed) * (unit.encoder_length + unit.decoder_length) + unit.donors * unit.encoder_length
        size += unit.others
        if not parts or used + size > batch_tokens:
            parts.append([])
            used = 0
        parts[-1].append(unit)
        used += size
    return parts


def reading_of(probes: tuple[AnyProbe, ...], model: LoadedModel, options: RunOptions) -> Probing:
    """What the probes read in the layers and rows of the options. Raises ValueError for layers that the model lacks."""
    layers = None
    if options.layers is not None:
        depth = 1 + max(site.layer for site in model.sites("decoder"))
        wrong = [layer for layer in options.layers if not 0 <= layer < depth]
        if wrong:
            raise ValueError(
                f"layers {wrong} were asked for; {model.name} has decoder layers 0 to {depth - 1}"
            )
        layers = frozenset(options.layers)
    return Probing(probes, layers=layers, encoder=options.encoder_rows)


def run_identity(
    analysis: Analysis,
    plan: Plan,
    model: LoadedModel,
    corpus: Corpus,
    options: RunOptions,
    *,
    rows: str,
    batch_tokens: int,
) -> dict[str, Any]:
    """Everything that can change a number, and nothing else."""
    return {
        "analysis": analysis.name,
        "protocol": options.protocol,
        "cells": [cell.name for cell in plan.design.cells],
        "files": file_hashes(plan.design.interventions),
        "plugins": _plugins(plan, options),
        **_if_any(
            "sources", {name: _digest(text) for name, text in sources(analysis, plan, options).items()}
        ),
        "model": model.identity,
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device_type,
        "attention": model.attention_implementation,
        "limits": dataclasses.asdict(model.trial_tokenizer.limits),
        "start": [list(start) for start in _starts(plan, model)],
        "corpus": corpus.sha256,
        **_if_any("columns", corpus.columns_sha256),
        **_if_any("other_queries", corpus.other_queries_sha256),
        "padding_pool": corpus.padding_sha256,
        "seed": options.seed,
        "layers": list(options.layers) if options.layers is not None else "all",
        "rows": rows,
        "probes": list(options.probes or plan.probes),
        **_if_any("read_in", list(plan.read_in)),
        "encoder_rows": options.encoder_rows,
        # Padding and order change no number beyond float noise, but a resumed run must repeat even that.
        "batch_tokens": batch_tokens,
        "packages": {name: version(name) for name in NUMERIC_PACKAGES},
    }


def _starts(plan: Plan, model: LoadedModel) -> list[tuple[int, ...]]:
    """What decoder inputs start with, by the cells' choice; one for all in every design that is made here."""
    return sorted({model.trial_tokenizer.start(cell.forced_start) for cell in plan.design.cells})


def file_hashes(interventions: Iterable[Intervention]) -> list[str]:
    """SHA-256 of every file whose content changes what the interventions do; where it lies changes nothing.

    Raises ValueError that names the intervention where a file can't be read.
    """
    hashes = []
    for intervention in interventions:
        for path in intervention.files():
            try:
                hashes.append(file_hash(path))
            except OSError as error:
                raise ValueError(f"{intervention} reads {path}, which can't be read: {error}") from error
    return hashes


def _plugins(plan: Plan, options: RunOptions) -> dict[str, str]:
    """Versions of the other distributions whose interventions and probes take part."""
    probes = read_probes(options.probes or plan.probes)
    found = [
        *(plugin_of(type(one), "budgetlens.interventions") for one in plan.design.interventions),
        *(plugin_of(type(one), "budgetlens.probes") for one in probes),
    ]
    return dict(sorted({origin for origin in found if origin is not None}))


def sources(analysis: Analysis, plan: Plan, options: RunOptions) -> dict[str, str]:
    """The text of what takes part and comes from no distribution, a notebook's classes, by kind and name.

    Raises RegistryError as :func:`budgetlens.registry.notebook.source_of`.
    """
    probes = read_probes(options.probes or plan.probes)
    things: list[tuple[str, str, Any]] = [
        *(("intervention", "budgetlens.interventions", type(one)) for one in plan.design.interventions),
        *(("probe", "budgetlens.probes", type(one)) for one in probes),
    ]
    maker = available_analyses().get(analysis.name)
    if maker is not None:
        things.append(("analysis", "budgetlens.analyses", maker))
    return {
        f"{kind} {name_of(thing)}": source_of(thing) for kind, group, thing in things if is_own(thing, group)
    }


def _if_any(key: str, value: Any) -> dict[str, Any]:
    """An entry that runs without it don't have: they are what they were before there was any."""
    return {key: value} if value else {}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def design_details(analysis: Analysis, protocol: str) -> dict[str, Any]:
    """What a reader needs of an analysis besides the records: its words, its cells and its whole design."""
    return {
        "analysis": analysis.name,
        "title": analysis.title,
        "question": analysis.question,
        "protocol": protocol,
        "cells": [
            {"name": cell.name, "alias": cell.alias, "factors": cell.factors}
            for cell in analysis.plan(protocol).design.cells
        ],
        "design": design_mapping(analysis, protocol),
    }


def run_details(
    analysis: Analysis,
    plan: Plan,
    model: LoadedModel,
    corpus: Corpus,
    options: RunOptions,
    command: Sequence[str],
) -> dict[str, Any]:
    """What else a reader wants to know of a run."""
    return {
        **design_details(analysis, options.protocol),
        "model": {
            "name": short_name(model.name),
            "revision": model.revision,
            "hash": model.identity,
            "family": model.family.name,
            "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
        },
        "corpus": corpus_details(corpus),
        **_if_any("sources", sources(analysis, plan, options)),
        "declarations": {
            name_of(probe): probe.declares.to_mapping()
            for probe in read_probes(options.probes or plan.probes)
        },
        "seed": options.seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "environment": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "budgetlens": own_version(),
        },
    }


def corpus_details(corpus: Corpus) -> dict[str, Any]:
    """What run.json tells of a corpus, and with what it is found again."""
    return {
        "name": corpus.name,
        "source": corpus.source,
        "hash": corpus.sha256,
        "n": len(corpus.examples),
        "description": corpus.describe(),
        "asked": {"corpus": corpus.asked, "n": corpus.asked_n},
        "task": corpus.task,
    }


def default_run_path(analysis: Analysis, model: LoadedModel, corpus: Corpus, options: RunOptions) -> Path:
    """A directory under ``runs`` whose name differs whenever the run's identity does."""
    plan = analysis.plan(options.protocol)
    rows, batch_tokens = resolved(plan.rows, model, options)
    identity = run_identity(analysis, plan, model, corpus, options, rows=rows, batch_tokens=batch_tokens)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / f"{analysis.name}-{last_part(short_name(model.name))}-{digest}"


def resolved(rows: str, model: LoadedModel, options: RunOptions) -> tuple[str, int]:
    """Whose attention is read, ``rows`` where the options don't say, and the padded positions of a batch."""
    automatic = AUTOMATIC_BATCH_TOKENS.get(model.device_type, AUTOMATIC_BATCH_TOKENS["cpu"])
    return options.rows or rows, options.batch_tokens or automatic
