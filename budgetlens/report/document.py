"""The report of a run: one page that tells its question, what may be concluded, and everything behind it.

The page opens from a file and asks no network: plotly.js, figures, tables and their CSV are in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.report.conclusion import conclusion_html
from budgetlens.report.examples import examples_section
from budgetlens.report.figures import drawn_tables, figures_section
from budgetlens.report.findings import summary_section
from budgetlens.report.page import Section, escaped, foreign, page, paragraph, scroller
from budgetlens.report.tables import tables_section
from budgetlens.runs.manifest import Manifest
from budgetlens.runs.run import Run
from budgetlens.tables.conclusions import Concluded, conclusions_of
from budgetlens.tables.presentation import Table


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
    text = report_page(
        run.manifest,
        tables,
        figures,
        examples=run.shown_examples(),
        headline=[contrast.name for contrast in run.plan.headline_contrasts],
        concluded=conclusions_of(run, frames or {name: table.frame for name, table in tables.items()}),
        further=further,
        altered=altered,
        frames=frames,
        drawn=drawn_tables(run),
    )
    return run.directory.write_text("report.html", text)


def report_page(
    manifest: Manifest,
    tables: Mapping[str, Table],
    figures: Mapping[str, Figure],
    *,
    examples: Sequence[Mapping[str, Any]] = (),
    headline: Sequence[str] = (),
    concluded: Sequence[Concluded] = (),
    further: Mapping[str, str] | None = None,
    altered: Sequence[str] = (),
    frames: Mapping[str, pd.DataFrame] | None = None,
    drawn: Mapping[str, str] | None = None,
) -> str:
    """The page as text. Every piece of text that comes from a model, corpus or user is escaped.

    Args:
        manifest: what run.json says.
        tables, figures: by name, in reading order.
        examples: the content of RUN/examples.json.
        concluded: the run's conclusions, which come first.
        headline: contrasts that the summary tells first; by default the first of each family.
        further: CSV of further tables, by name.
        altered: further tables that are not as they were written, and not shown.
        frames: the run's tables by name, for downloads.
        drawn: which table each figure draws, where it has another name (:func:`budgetlens.report.figures.drawn_tables`).
    """
    title = f"{manifest.analysis}: {manifest.title}"
    lead = (
        f"<h1>{foreign(title)}</h1>\n"
        f'<p class="question">{foreign(manifest.question)}</p>\n'
        f'<p class="setting">{foreign(setting(manifest))}</p>'
    )
    sections = [
        summary_section(manifest, tables, headline, conclusion_html(concluded)),
        design_section(manifest),
        examples_section(manifest, examples),
        figures_section(figures, tables, drawn or {}),
        tables_section(tables, further or {}, altered, frames),
        manifest_section(manifest),
    ]
    return page(title, lead, sections)


def setting(manifest: Manifest) -> str:
    """Model, corpus, n, seed and protocol in one line."""
    model, corpus = manifest.model, manifest.corpus
    size = f" ({model.parameters:,} parameters)" if model.parameters is not None else ""
    which = "Several models" if manifest.is_sweep else f"Model {model.name}{size}"
    return (
        f"{which}, corpus {corpus.name}, n = {corpus.n} examples, seed {manifest.seed}, "
        f"{manifest.protocol} protocol."
    )


def design_section(manifest: Manifest) -> Section:
    """The cells and their factor levels."""
    cells = manifest.cells
    if not cells:
        return Section("design", "Design", paragraph("This run has no cells of its own."))
    factors = list(dict.fromkeys(factor for cell in cells for factor in cell.factors))
    head = "".join(f'<th scope="col" class="short">{foreign(name)}</th>' for name in ("cell", *factors))
    rows = "".join(
        f'<tr><th scope="row" class="short">{foreign(cell.label)}</th>'
        + "".join(f'<td class="short">{foreign(cell.factors.get(factor, "–"))}</td>' for factor in factors)
        + "</tr>"
        for cell in cells
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    crossed = " × ".join(
        f"{factor} ({len(dict.fromkeys(cell.factors.get(factor) for cell in cells))} levels)"
        for factor in factors
    )
    lead = paragraph(
        f"{len(cells)} cells from the factors {crossed}. Every example is fed in every cell, so each contrast is "
        "paired: an example is compared with itself."
        if factors
        else f"{len(cells)} cells."
    )
    return Section("design", "Design", f"{lead}\n{scroller(table, 'Cells of the design')}")


def manifest_section(manifest: Manifest) -> Section:
    """What was run, exactly: chosen facts, then the whole of run.json."""
    identity, model, corpus = manifest.identity, manifest.model, manifest.corpus
    environment = manifest.environment
    packages = ", ".join(f"{name} {version}" for name, version in identity.get("packages", {}).items())
    facts = {
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
        "packages": packages,
    }
    entries = "".join(
        f"<dt>{escaped(name)}</dt><dd>{foreign(value)}</dd>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    whole = escaped_lines(json.dumps(manifest.content, indent=1, ensure_ascii=False))
    return Section(
        "manifest",
        "Manifest",
        f'<dl class="facts">{entries}</dl>\n<details><summary>run.json in full</summary>'
        f"<pre>{whole}</pre></details>",
    )


def escaped_lines(text: str) -> str:
    """Escaped text of several lines, for a `pre` element."""
    return "\n".join(escaped(line) for line in text.split("\n"))
