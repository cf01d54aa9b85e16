"""The report of a run: one page that answers its question first, and holds everything behind the answer.

The page opens from a file and asks no network: plotly.js, figures, tables and their CSV are in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from budgetlens.report.card import Card, answer_card
from budgetlens.report.caveats import caveats
from budgetlens.report.cells import cells_html
from budgetlens.report.conclusion import shift_sentences
from budgetlens.report.evidence import Evidence, evidence_of
from budgetlens.report.figures import drawn_tables, stored_figures
from budgetlens.report.findings import split_sentences
from budgetlens.report.glossary import explained
from budgetlens.report.page import POLICY, asset, render, role_styles
from budgetlens.report.readable import in_words, words_of
from budgetlens.report.tables import further_tables, shown_table
from budgetlens.runs.manifest import Manifest
from budgetlens.runs.run import Run
from budgetlens.tables.conclusions import Concluded, conclusions_of
from budgetlens.tables.presentation import Table
from figures.export import drawing_script, packed

#: Figures that stand open behind the answer, those that are drawn when they come into sight included.
MOST_OPEN = 3


@dataclass(frozen=True)
class Behind:
    """What a page shows of a run besides its tables and figures.

    ``concluded`` comes first; ``words`` are what readers see of ids of cells and contrasts. ``examples`` is the content of
    RUN/examples.json. ``further`` is the CSV of further tables by name, ``altered`` names those that are not as they were
    written, and not shown. ``frames`` are the run's tables by name, for downloads. ``drawn`` says which table a figure draws
    that has another name (:func:`budgetlens.report.figures.drawn_tables`).
    """

    concluded: Sequence[Concluded] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    evidence: Evidence = field(default_factory=Evidence)
    examples: Sequence[Mapping[str, Any]] = ()
    further: Mapping[str, str] = field(default_factory=dict)
    altered: Sequence[str] = ()
    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    drawn: Mapping[str, str] = field(default_factory=dict)


#: Of a page of tables and figures alone.
NOTHING_MORE = Behind()


def write_report(
    run: Run,
    tables: Mapping[str, Table],
    figures: Mapping[str, Figure],
    frames: Mapping[str, pd.DataFrame] | None = None,
) -> Path:
    """Write ``RUN/report.html``: self-contained, no request to any host; its path.

    Args:
        run: a finished run; those of its tables that are not among ``tables`` can be downloaded too.
        tables: the presented tables by name, in reading order.
        figures: by name, in reading order.
        frames: the run's tables by name: what is downloaded under the name of a presented one.
    """
    further, altered = run.further_tables(tables)
    every = frames or {name: table.frame for name, table in tables.items()}
    concluded, words = conclusions_of(run, every), words_of(run)
    behind = Behind(
        concluded,
        words,
        evidence_of(run, concluded, every, words),
        run.shown_examples(),
        further,
        altered,
        every,
        drawn_tables(run),
    )
    return run.directory.write_text("report.html", report_page(run.manifest, tables, figures, behind))


def report_page(
    manifest: Manifest,
    tables: Mapping[str, Table],
    figures: Mapping[str, Figure],
    behind: Behind = NOTHING_MORE,
) -> str:
    """The page as text. Every piece of text that comes from a model, corpus or user is escaped.

    Args:
        manifest: what run.json says.
        tables, figures: by name, in reading order.
        behind: what else is shown.
    """
    room = MOST_OPEN - len(behind.evidence.pictures)
    opened = [name for name in dict.fromkeys(behind.evidence.figures) if name in figures][:room]
    stored = stored_figures(figures, tables, behind.drawn, opened)
    split, told = tables.get("decomposition"), in_words(behind.words)
    card = answer_card(manifest, behind.concluded)
    cautions = [told(caution) for caution in caveats(manifest, tables)]
    return render(
        "page.html",
        title=f"{manifest.analysis}: {manifest.title}",
        manifest=manifest,
        policy=POLICY,
        style=asset("report.css") + role_styles(),
        script=asset("report.js"),
        drawing=Markup(drawing_script()) if figures else "",
        plotly=packed(get_plotlyjs()) if figures else "",
        card=card,
        evidence=behind.evidence,
        glossary=list(explained(_read_first(card, cautions, behind.evidence))),
        opened=[stored[name] for name in opened],
        figures=[own for name, own in stored.items() if name not in opened],
        cautions=cautions,
        rules=_rules(tables),
        splits=[
            (told(name), told(parts))
            for name, parts in (() if split is None or split.frame.empty else split_sentences(split.frame))
        ],
        shifts=[pair for own in behind.concluded for pair in shift_sentences(own, behind.words)],
        cells=cells_html(behind.examples, behind.words, manifest.is_sweep),
        factors=list(dict.fromkeys(factor for cell in manifest.cells for factor in cell.factors)),
        facts=facts(manifest),
        whole=json.dumps(manifest.content, indent=1, ensure_ascii=False).split("\n"),
        tables=[
            shown_table(name, table, behind.frames.get(name, table.frame), told)
            for name, table in tables.items()
        ],
        further=further_tables(behind.further, behind.altered),
    )


def _read_first(card: Card, cautions: Sequence[str], evidence: Evidence) -> str:
    """The words that stand open on a page, whose terms it explains."""
    pictures = "".join(map(str, [*card.pictures[:1], *(own.looks[0] for own in evidence.pictures)]))
    said = [text for own in card.said for text in (own.clause, own.numbers, own.verdict)]
    besides = [f"{own.question} {own.answer}" for own in evidence.besides]
    return " ".join([card.question, *said, *card.care, *cautions, *besides, re.sub("<[^>]*>", " ", pictures)])


def _rules(tables: Mapping[str, Table]) -> dict[str, list[str]]:
    """The titles of the tables by the rule that made their verdicts, each once."""
    found: dict[str, list[str]] = {}
    for table in tables.values():
        titles = found.setdefault(table.rule, []) if table.rule else [table.title]
        titles.extend([table.title] if table.title not in titles else [])
    return found


def setting(manifest: Manifest) -> str:
    """Model, corpus, n, seed and protocol in one line."""
    model, corpus = manifest.model, manifest.corpus
    size = f" ({model.parameters:,} parameters)" if model.parameters is not None else ""
    which = "Several models" if manifest.is_sweep else f"Model {model.name}{size}"
    return (
        f"{which}, corpus {corpus.name}, n = {corpus.n} examples, seed {manifest.seed}, "
        f"{manifest.protocol} protocol."
    )


def facts(manifest: Manifest) -> dict[str, object]:
    """What was run, exactly: chosen facts of run.json, those that it has."""
    identity, model, corpus = manifest.identity, manifest.model, manifest.corpus
    environment = manifest.environment
    found = {
        "command": " ".join(manifest.command),
        "started": manifest.started,
        "model": model.name,
        "model revision": model.revision,
        "model hash": model.hash,
        "corpus": corpus.source,
        "corpus hash": corpus.hash,
        "seed": manifest.seed,
        "rows read": identity.get("rows"),
        "layers read": identity.get("layers"),
        "dtype, device, attention": ", ".join(
            str(identity[name]) for name in ("dtype", "device", "attention") if name in identity
        ),
        "budgetlens, Python": ", ".join(
            str(environment[name]) for name in ("budgetlens", "python") if name in environment
        ),
        "packages": ", ".join(f"{name} {version}" for name, version in identity.get("packages", {}).items()),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}
