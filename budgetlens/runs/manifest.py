"""What a run says of itself: the content of run.json, checked and typed.

Two formats are read. Format 2 ends with a digest of everything before it, so that an altered run.json is never taken
for the one that was written. Format 1 (budgetlens 0.1) has none: what it says twice, in its identity and beside it,
must agree. Only this module knows how run.json is laid out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

from budgetlens.corpora.tasks import ANSWER
from budgetlens.design.analysis import Analysis
from budgetlens.design.catalogue import analysis_of
from budgetlens.model.trials import CUT_DOCUMENT
from budgetlens.registry.names import printable

Fact = TypeVar("Fact")

#: What is written, and what is read.
FORMAT, FORMATS = 2, (1, 2)

#: So many of the examples that were left out for one reason are named in notes.
LEFT_OUT_NAMED = 5

#: The key of the digest of everything else.
DIGEST = "digest"

#: What the identity of a sweep says that it is a run over, and how format 1 named its analysis instead.
OVER, MODELS, OLD_SWEEP = "over", "models", "-sweep"


class RunError(ValueError):
    """A run directory that can't be used as asked; the message says what to do."""


@dataclass(frozen=True)
class CellFacts:
    """A cell as run.json names it: canonical name, alias (may be empty) and level by factor."""

    name: str
    alias: str
    factors: Mapping[str, str]

    @property
    def label(self) -> str:
        """The alias, else the name."""
        return self.alias or self.name


@dataclass(frozen=True)
class ModelFacts:
    """The model of a run; a sweep over several names none."""

    name: str
    revision: str | None = None
    hash: str | None = None
    family: str | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class CorpusFacts:
    """The corpus of a run, and what the user asked for: a name or file, a number of examples (None: the default), a task."""

    name: str
    n: int
    hash: str = ""
    source: str = ""
    description: str = ""
    asked: str | None = None
    asked_n: int | None = None
    task: str = ANSWER


@dataclass(frozen=True)
class Manifest:
    """The content of run.json.

    ``identity`` is everything that can change a number; the rest is what a reader wants to know besides.
    ``left_out`` tells, by identifier, why an example is in no cell. ``computed`` tells how the parts were: on which
    ``processors`` (parts by kind), and which in ``smaller_batches``. ``cautions`` are sentences about the design's levels
    that a reader must know. ``source`` is the run that a re-analysis reads.
    ``choices`` is what was chosen of the statistics (:mod:`budgetlens.statistics.choices`). ``content`` is the whole as it
    was written.
    """

    analysis: str
    title: str
    question: str
    protocol: str
    seed: int
    model: ModelFacts
    corpus: CorpusFacts
    identity: Mapping[str, Any]
    cells: tuple[CellFacts, ...] = ()
    design: Mapping[str, Any] | None = None
    command: tuple[str, ...] = ()
    started: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    computed: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    source: str | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT
    content: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, content: Any, where: object = "run.json") -> Manifest:
        """The manifest that ``content`` holds, of either format.

        Raises RunError that names ``where`` and what is missing, of a wrong type or unlike itself.
        """
        try:
            return _parsed(content)
        except RunError as error:
            raise RunError(
                f"{where} {error}; bring the run back as it was written, or run it again"
            ) from None

    @cached_property
    def cell_names(self) -> tuple[str, ...]:
        """Canonical names in the design's order."""
        return tuple(cell.name for cell in self.cells)

    @cached_property
    def labels(self) -> dict[str, str]:
        """What readers see of each cell: its alias, else its name."""
        return {cell.name: cell.label for cell in self.cells}

    @property
    def factors(self) -> dict[str, Mapping[str, str]]:
        """Level by factor of every cell."""
        return {cell.name: cell.factors for cell in self.cells}

    @property
    def rows(self) -> str:
        """Whose attention was read: ``predicting`` or ``holding``; empty where a run has no identity of its own."""
        return str(self.identity.get("rows") or "")

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes that were asked for, with their parameters."""
        return tuple(str(text) for text in self.identity.get("probes") or ())

    @property
    def declarations(self) -> Mapping[str, Any]:
        """What the run keeps of its probes' declarations, by name."""
        kept = self.content.get("declarations")
        return kept if isinstance(kept, Mapping) else {}

    @property
    def is_sweep(self) -> bool:
        """Whether it is of several models, whose runs lie below it, and has no records itself."""
        return self.identity.get(OVER) == MODELS

    @property
    def examples(self) -> int:
        """How many examples are in every cell: those of the corpus without those left out."""
        return self.corpus.n - len(self.left_out)

    @property
    def examples_words(self) -> str:
        """That number, for captions."""
        return f"{self.examples} example{'' if self.examples == 1 else 's'}"

    @property
    def left_out_words(self) -> tuple[str, ...]:
        """A note about the examples that are left out, by reason, with the first of each; none where there are none."""
        return left_out_words(self.left_out, self.corpus.n)

    @property
    def computed_words(self) -> tuple[str, ...]:
        """Notes about parts that were computed in other ways than the rest; none where all were alike."""
        processors, smaller = self.computed.get("processors"), self.computed.get("smaller_batches")
        notes = []
        if isinstance(processors, Mapping) and len(processors) > 1:
            told = ", ".join(f"parts {parts} on {kind}" for kind, parts in processors.items())
            notes.append(
                f"The parts were computed on different kinds of processor ({told}): on one kind alone, the numbers "
                "would differ within the rounding of float32"
            )
        if smaller:
            notes.append(
                f"Parts {smaller} were computed in smaller batches, since the memory was used up: the numbers differ "
                "from those of whole batches within the rounding of float32"
            )
        return tuple(notes)

    @cached_property
    def digest(self) -> str:
        """What the files of this run, and of no other, carry: a digest of the identity."""
        return content_digest(self.identity)

    @property
    def setting(self) -> str:
        """Analysis, protocol, model and corpus in a line, for titles."""
        which = self.model.name if self.is_sweep else f"model {self.model.name}"
        return f"{self.analysis} {self.protocol}, {which}, corpus {self.corpus.name}"

    @cached_property
    def found_analysis(self) -> Analysis:
        """The analysis that made the run (:func:`budgetlens.design.catalogue.analysis_of`)."""
        return analysis_of(self.analysis, self.design, self.protocol, self.cell_names)


def left_out_words(left_out: Mapping[str, str], count: int, named_by: str = "run.json") -> tuple[str, ...]:
    """A note about the examples, of ``count``, that are left out, by reason; none where there are none.

    ``named_by`` has the names of all of them.
    """
    if not left_out:
        return ()
    groups: dict[str, list[str]] = {}
    for name, why in left_out.items():
        groups.setdefault(_kind_of_reason(why), []).append(name)
    parts = [
        (f"{len(names)} " if len(groups) > 1 else "") + f"since {reason}: {_first_names(names, named_by)}"
        for reason, names in groups.items()
    ]
    return (f"{len(left_out)} of {count} examples are left out of every cell, {'; '.join(parts)}",)


def _kind_of_reason(why: str) -> str:
    """What stands before the colon of a reason; those of earlier versions, which name their example, had one kind."""
    return CUT_DOCUMENT if why.startswith("example ") else why.partition(": ")[0]


def _first_names(names: Sequence[str], named_by: str) -> str:
    hidden = len(names) - LEFT_OUT_NAMED
    return ", ".join(map(printable, names[:LEFT_OUT_NAMED])) + (
        f" and {hidden} more, which {named_by} names" if hidden > 0 else ""
    )


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of run.json with its format and, at its end, its digest."""
    whole = {
        "format": FORMAT,
        **{key: value for key, value in content.items() if key not in ("format", DIGEST)},
    }
    return {**whole, DIGEST: content_digest(whole)}


def is_sealed(content: Mapping[str, Any]) -> bool:
    """Whether the content has the digest with which it was written."""
    unsealed = {key: value for key, value in content.items() if key != DIGEST}
    return content.get(DIGEST) == content_digest(unsealed)


def content_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of a table that JSON can hold, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _parsed(content: Any) -> Manifest:
    if not isinstance(content, Mapping):
        raise RunError(f"holds {_kind(content)}; expected the table that `budgetlens run` writes")
    form = content.get("format")
    if form not in FORMATS or isinstance(form, bool):
        raise RunError(
            f"has format {form!r}; this version reads the formats {' and '.join(map(str, FORMATS))}"
        )
    if form == FORMAT and not is_sealed(content):
        raise RunError("was altered after it was written: its content does not have its digest")
    identity = _table(content, "identity")
    command = tuple(_texts(content, "command"))
    manifest = Manifest(
        analysis=_text(content, "analysis"),
        title=_text(content, "title"),
        question=_text(content, "question"),
        protocol=_text(content, "protocol"),
        seed=_whole(content, "seed"),
        model=_model(_table(content, "model")),
        corpus=_corpus(_table(content, "corpus")),
        identity=identity,
        cells=_cells(content),
        design=_table(content, "design") if content.get("design") is not None else None,
        command=command,
        started=_maybe(_text, content, "started", "") or "",
        environment=_table(content, "environment", needed=False),
        left_out=_table(content, "left_out", needed=False),
        computed=_table(content, "computed", needed=False),
        cautions=tuple(_texts(content, "cautions")),
        source=_maybe(_text, content, "source", ""),
        choices=_table(content, "choices", needed=False),
        format=form,
        content=content,
    )
    if form == 1:
        manifest = _upgraded(manifest)
    _require_agreement(manifest)
    return manifest


def _upgraded(manifest: Manifest) -> Manifest:
    """Format 1 kept what the user asked of the corpus in the command line alone, and named sweeps by their analysis."""
    name = manifest.analysis.removesuffix(OLD_SWEEP)
    if name != manifest.analysis:
        identity = {**manifest.identity, "analysis": name, OVER: MODELS}
        manifest = replace(manifest, analysis=name, identity=identity)
    number = _option(manifest.command, "--n")
    asked_n = int(number) if number and number.isdecimal() and number.isascii() else None
    asked = _option(manifest.command, "--corpus")
    return replace(manifest, corpus=replace(manifest.corpus, asked=asked, asked_n=asked_n))


def _option(command: Sequence[str], name: str) -> str | None:
    """The value of an option in a command line, ``--n 5`` or ``--n=5``."""
    for place, word in enumerate(command):
        if word == name and place + 1 < len(command):
            return command[place + 1]
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def _require_agreement(manifest: Manifest) -> None:
    """Raise RunError where something that run.json says twice is not the same."""
    identity = manifest.identity
    if manifest.examples < 0:
        raise RunError(f"leaves {len(manifest.left_out)} of {manifest.corpus.n} examples out: it was altered")
    twice = {
        "analysis": (manifest.analysis, identity.get("analysis")),
        "protocol": (manifest.protocol, identity.get("protocol")),
        "seed": (manifest.seed, identity.get("seed")),
        "cells": (list(manifest.cell_names), identity.get("cells")),
        "corpus hash": (manifest.corpus.hash, identity.get("corpus")),
        "model hash": (manifest.model.hash, identity.get("model")),
    }
    for what, (beside, inside) in twice.items():
        if inside is not None and beside != inside:
            raise RunError(f"says of its {what} {beside!r}, and in its identity {inside!r}: it was altered")


def _model(table: Mapping[str, Any]) -> ModelFacts:
    revision, digest, family = (_maybe(_text, table, key, "model.") for key in ("revision", "hash", "family"))
    return ModelFacts(
        name=_text(table, "name", "model."),
        revision=revision,
        hash=digest,
        family=family,
        parameters=_maybe(_whole, table, "parameters", "model."),
    )


def _corpus(table: Mapping[str, Any]) -> CorpusFacts:
    asked = _table(table, "asked", "corpus.", needed=False)
    return CorpusFacts(
        name=_text(table, "name", "corpus."),
        n=_whole(table, "n", "corpus."),
        hash=_maybe(_text, table, "hash", "corpus.") or "",
        source=_maybe(_text, table, "source", "corpus.") or "",
        description=_maybe(_text, table, "description", "corpus.") or "",
        asked=_maybe(_text, asked, "corpus", "corpus.asked."),
        asked_n=_maybe(_whole, asked, "n", "corpus.asked."),
        task=_maybe(_text, table, "task", "corpus.") or ANSWER,
    )


def _cells(content: Mapping[str, Any]) -> tuple[CellFacts, ...]:
    found: list[CellFacts] = []
    given = _need(content, "cells", "")
    if not isinstance(given, list):
        raise RunError(f"has as cells {_kind(given)}; expected a list of tables")
    for number, cell in enumerate(given):
        path = f"cells[{number}]."
        if not isinstance(cell, Mapping):
            raise RunError(f"has as cells[{number}] {_kind(cell)}; expected a table with name and factors")
        factors = _table(cell, "factors", path)
        levels = {str(factor): str(level) for factor, level in factors.items()}
        if found and levels.keys() != found[0].factors.keys():
            first = ", ".join(found[0].factors)
            raise RunError(
                f"has as {path}factors {', '.join(levels)}, and of its first cell {first}: it was altered"
            )
        found.append(CellFacts(_text(cell, "name", path), str(cell.get("alias") or ""), levels))
    return tuple(found)


def _need(table: Mapping[str, Any], key: str, path: str) -> Any:
    if key not in table:
        raise RunError(f"has no {path}{key}: it was not written by `budgetlens run`, or was altered")
    return table[key]


def _text(table: Mapping[str, Any], key: str, path: str = "") -> str:
    value = _need(table, key, path)
    if not isinstance(value, str):
        raise RunError(f"has as {path}{key} {_kind(value)}; expected text")
    return value


def _maybe(
    read: Callable[[Mapping[str, Any], str, str], Fact], table: Mapping[str, Any], key: str, path: str
) -> Fact | None:
    """What is there, or None where it is not or is said to be nothing."""
    return None if table.get(key) is None else read(table, key, path)


def _texts(table: Mapping[str, Any], key: str) -> list[str]:
    value = table.get(key) or []
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise RunError(f"has as {key} {_kind(value)}; expected a list of texts")
    return value


def _whole(table: Mapping[str, Any], key: str, path: str = "") -> int:
    value = _need(table, key, path)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RunError(f"has as {path}{key} {value!r}; expected a whole number of at least 0")
    return value


def _table(table: Mapping[str, Any], key: str, path: str = "", *, needed: bool = True) -> Mapping[str, Any]:
    value = _need(table, key, path) if needed else table.get(key)
    if value is None and not needed:
        return {}
    if not isinstance(value, Mapping):
        raise RunError(f"has as {path}{key} {_kind(value)}; expected a table")
    return value


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
