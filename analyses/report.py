"""The report of a run: one page with its question, design, tables and figures, which opens from a file."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plotly.graph_objects import Figure

from analyses.presentation import Table
from analyses.run_directory import RunDirectory, write_text
from figures import html_fragment

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1d1f23; max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
nav a { margin-right: 1rem; } a { color: #1a4f9c; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; margin: .5rem 0; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #d9dce1; text-align: left; vertical-align: top; }
caption { caption-side: bottom; text-align: left; padding-top: .4rem; color: #4a4f57; }
pre { background: #f4f5f7; padding: .8rem; overflow-x: auto; font-size: .8rem; }
@media print { nav { display: none; } h2 { break-after: avoid; } }
"""


def write_report(directory: RunDirectory, tables: Mapping[str, Table], figures: Mapping[str, Figure]) -> Path:
    """Write ``RUN/report.html``: self-contained, no request to any host; its path."""
    manifest = directory.manifest()
    path = directory.path / "report.html"
    write_text(path, report_page(manifest, tables, figures))
    return path


def report_page(
    manifest: Mapping[str, Any], tables: Mapping[str, Table], figures: Mapping[str, Figure]
) -> str:
    """The page as text. Every piece of text that comes from a model, corpus or user is escaped."""
    title = f"{manifest['analysis']}: {manifest['title']}"
    links = [("design", "Design"), ("figures", "Figures"), ("tables", "Tables"), ("manifest", "Manifest")]
    sections = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{html.escape(manifest['question'])}</p>",
        f"<p>{html.escape(_setting(manifest))}</p>",
        "<nav>" + "".join(f'<a href="#{anchor}">{text}</a>' for anchor, text in links) + "</nav>",
        _design(manifest),
        '<h2 id="figures">Figures</h2>',
        *(
            f'<div class="scroll" id="figure-{html.escape(name)}">{html_fragment(figure, with_plotly=position == 0)}</div>'
            for position, (name, figure) in enumerate(figures.items())
        ),
        '<h2 id="tables">Tables</h2>',
        *(
            f'<div class="scroll" id="table-{html.escape(name)}">{table.to_html()}</div>'
            for name, table in tables.items()
        ),
        '<h2 id="manifest">Manifest</h2>',
        f"<pre>{html.escape(json.dumps(manifest, indent=2, ensure_ascii=False))}</pre>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(sections)
        + "\n</body></html>\n"
    )


def _setting(manifest: Mapping[str, Any]) -> str:
    model, corpus = manifest["model"], manifest["corpus"]
    setting = (
        f"Model {model['name']} ({model['parameters']:,} parameters), corpus {corpus['name']}, n = {corpus['n']}, "
        f"seed {manifest['seed']}, {manifest['protocol']} protocol."
    )
    if model["name"] == "reference":
        setting += (
            " The built-in model demonstrates the tool; its numbers are no results about any other model."
        )
    if manifest["protocol"] == "published":
        setting += (
            " The published protocol hides the encoder's BOS with the prefix, reads the rows that hold the answer, "
            "and is kept for replication; the corrected protocol controls for these."
        )
    return setting


def _design(manifest: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(cell['alias'])}</td>"
        + "".join(f"<td>{html.escape(level)}</td>" for level in cell["factors"].values())
        + "</tr>"
        for cell in manifest["cells"]
    )
    factors = "".join(f"<th>{html.escape(factor)}</th>" for factor in manifest["cells"][0]["factors"])
    return (
        '<h2 id="design">Design</h2><div class="scroll"><table><thead><tr><th>cell</th>'
        f"{factors}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
