"""The report of a run: one page that tells its question, what may be concluded, and everything behind it.

The page opens from a file and asks no network: plotly.js, figures, tables and their CSV are in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plotly.graph_objects import Figure

from budgetlens.design.catalogue import analysis_of
from budgetlens.report.examples import examples_section
from budgetlens.report.figures import figures_section
from budgetlens.report.findings import summary_section
from budgetlens.report.page import Section, escaped, foreign, page, paragraph, scroller
from budgetlens.report.tables import tables_section
from budgetlens.runs.examples_shown import read_examples
from budgetlens.runs.storage import RunDirectory, write_text
from budgetlens.tables.presentation import Table


def write_report(directory: RunDirectory, tables: Mapping[str, Table], figures: Mapping[str, Figure]) -> Path:
    """Write ``RUN/report.html``: self-contained, no request to any host; its path.

    Args:
        directory: a finished run; its RUN/tables/*.csv that are not among ``tables`` can be downloaded too.
        tables: the presented tables by name, in reading order.
        figures: by name, in reading order.
    """
    manifest = directory.manifest()
    path = directory.path / "report.html"
    plan = analysis_of(manifest).plan(manifest["protocol"])
    text = report_page(
        manifest,
        tables,
        figures,
        examples=read_examples(directory),
        headline=[contrast.name for contrast in plan.headline_contrasts],
        table_folder=directory.path / "tables",
    )
    write_text(path, text)
    return path


def report_page(
    manifest: Mapping[str, Any],
    tables: Mapping[str, Table],
    figures: Mapping[str, Figure],
    *,
    examples: Sequence[Mapping[str, Any]] = (),
    headline: Sequence[str] = (),
    table_folder: Path = Path("."),
) -> str:
    """The page as text. Every piece of text that comes from a model, corpus or user is escaped.

    Args:
        manifest: the content of run.json.
        tables, figures: by name, in reading order.
        examples: the content of RUN/examples.json.
        headline: contrasts that the summary tells first; by default the first of each family.
        table_folder: where further CSV files lie.
    """
    title = f"{manifest['analysis']}: {manifest['title']}"
    lead = (
        f"<h1>{foreign(title)}</h1>\n"
        f'<p class="question">{foreign(manifest["question"])}</p>\n'
        f'<p class="setting">{foreign(setting(manifest))}</p>'
    )
    sections = [
        summary_section(manifest, tables, headline),
        design_section(manifest),
        examples_section(manifest, examples),
        figures_section(figures, tables),
        tables_section(tables, table_folder),
        manifest_section(manifest),
    ]
    return page(title, lead, sections)


def setting(manifest: Mapping[str, Any]) -> str:
    """Model, corpus, n, seed and protocol in one line."""
    model, corpus = manifest.get("model", {}), manifest.get("corpus", {})
    parameters = model.get("parameters")
    size = f" ({parameters:,} parameters)" if isinstance(parameters, int) else ""
    return (
        f"Model {model.get('name', 'several')}{size}, corpus {corpus.get('name', 'several')}, "
        f"n = {corpus.get('n', 'see tables')} examples, seed {manifest['seed']}, "
        f"{manifest['protocol']} protocol."
    )


def design_section(manifest: Mapping[str, Any]) -> Section:
    """The cells and their factor levels."""
    cells = manifest.get("cells", [])
    if not cells:
        return Section("design", "Design", paragraph("This run has no cells of its own."))
    factors = list(dict.fromkeys(factor for cell in cells for factor in cell.get("factors", {})))
    head = "".join(f'<th scope="col" class="short">{foreign(name)}</th>' for name in ("cell", *factors))
    rows = "".join(
        f'<tr><th scope="row" class="short">{foreign(cell.get("alias") or cell["name"])}</th>'
        + "".join(f'<td class="short">{foreign(cell["factors"].get(factor, "–"))}</td>' for factor in factors)
        + "</tr>"
        for cell in cells
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    crossed = " × ".join(
        f"{factor} ({len(dict.fromkeys(cell['factors'].get(factor) for cell in cells))} levels)"
        for factor in factors
    )
    lead = paragraph(
        f"{len(cells)} cells from the factors {crossed}. Every example is fed in every cell, so each contrast is "
        "paired: an example is compared with itself."
        if factors
        else f"{len(cells)} cells."
    )
    return Section("design", "Design", f"{lead}\n{scroller(table, 'Cells of the design')}")


def manifest_section(manifest: Mapping[str, Any]) -> Section:
    """What was run, exactly: chosen facts, then the whole of run.json."""
    identity, model = manifest.get("identity", {}), manifest.get("model", {})
    corpus, environment = manifest.get("corpus", {}), manifest.get("environment", {})
    packages = ", ".join(f"{name} {version}" for name, version in identity.get("packages", {}).items())
    facts = {
        "command": " ".join(str(word) for word in manifest.get("command", [])),
        "started": manifest.get("started"),
        "model": model.get("name"),
        "model revision": model.get("revision"),
        "model hash": model.get("hash"),
        "corpus": corpus.get("source"),
        "corpus hash": corpus.get("hash"),
        "seed": manifest.get("seed"),
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
    whole = escaped_lines(json.dumps(manifest, indent=1, ensure_ascii=False))
    return Section(
        "manifest",
        "Manifest",
        f'<dl class="facts">{entries}</dl>\n<details><summary>run.json in full</summary>'
        f"<pre>{whole}</pre></details>",
    )


def escaped_lines(text: str) -> str:
    """Escaped text of several lines, for a `pre` element."""
    return "\n".join(escaped(line) for line in text.split("\n"))
