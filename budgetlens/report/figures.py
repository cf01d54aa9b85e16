"""Figures in the report: drawn for the reader's page, described in words, saved as pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping

from plotly.graph_objects import Figure

from budgetlens.report.page import Section, escaped, foreign, scroller, slug
from budgetlens.report.page import heading as section_heading
from budgetlens.runs.run import Run
from budgetlens.tables.presentation import Table
from figures import described, html_fragment
from figures.export import figure_height, figure_width
from figures.labels import visible_text


def drawn_tables(run: Run) -> dict[str, str]:
    """Which table a figure of another name draws: the figure's name, or what it starts with, to the table's."""
    found = {"splits": "decomposition"}
    for name, declared in run.declarations.items():
        found[name] = declared.table(name, "cells")
        for kind in ("differences", "maps"):
            drawn = declared.names.get(kind)
            if drawn is not None:
                found[drawn] = declared.table(name, "effects" if kind == "differences" else "heads")
        if declared.outcome:
            found["interaction"] = declared.table(name, "cells")
    return found


def figures_section(
    figures: Mapping[str, Figure], tables: Mapping[str, Table], drawn: Mapping[str, str]
) -> Section:
    """Every figure with its description and a link to its table; plotly.js once, before the first.

    ``drawn`` as :func:`drawn_tables` gives it.
    """
    blocks, parts = [], []
    for position, (name, figure) in enumerate(figures.items()):
        title = short_title(figure, name)
        parts.append((slug("figure", name), title))
        link = table_link(name, tables, drawn)
        blocks.append(_one(name, figure, title, link, with_plotly=position == 0))
    lead = (
        '<p class="screen">Point at a mark for its numbers; drag to enlarge, double-click to return. '
        "Lines and bands are intervals.</p>"
        if figures
        else "<p>This run has no figures.</p>"
    )
    return Section("figures", "Figures", "\n".join([lead, *blocks]), tuple(parts))


def short_title(figure: Figure, name: str) -> str:
    """The figure's title up to its setting, which the page tells already."""
    title = " ".join(visible_text(figure.layout.title.text or "").split())
    return title.partition(": ")[0] or name


def _one(name: str, figure: Figure, title: str, link: str, *, with_plotly: bool) -> str:
    anchor, width = slug("figure", name), figure_width(figure)
    plot = (
        f'<div class="plot" id="{anchor}-plot" style="--width: {width}; --height: {figure_height(figure)}">'
        f"{html_fragment(figure, with_plotly=with_plotly)}</div>"
    )
    buttons = "".join(
        f'<button type="button" data-plot="{anchor}-plot" data-format="{form}" '
        f'data-name="{escaped(slug("figure", name))}" aria-label="Save the figure {escaped(title)} as '
        f'{form.upper()}">{form.upper()}</button>'
        for form in ("svg", "png")
    )
    return "\n".join(
        [
            section_heading(3, anchor, title),
            f'<figure aria-labelledby="{anchor}">',
            scroller(plot, f"Figure: {title}"),
            # Sighted readers have title, axes and notes in the figure itself.
            f'<figcaption><p class="visually-hidden">{foreign(described(figure))}</p>'
            f'<div class="tools"><span>{link}</span><span>Save as</span>{buttons}</div>'
            "</figcaption>",
            "</figure>",
        ]
    )


def table_link(name: str, tables: Mapping[str, Table], drawn: Mapping[str, str]) -> str:
    """A link to the numbers behind a figure: its own table, the one it draws, or all of them."""
    # Figures that one alone has no room for are numbered.
    name = re.sub(r"_\d+$", "", name)
    # A figure may be of a part of a table, which stands behind the name of what is drawn: the longest such name.
    parts = [own for own in drawn if name == own or name.startswith(f"{own}_")]
    start = max(parts, key=len, default="")
    candidates = [name, f"{drawn[start]}{name.removeprefix(start)}", drawn[start]] if start else [name]
    for table in tables:
        if any(wanted and (table == wanted or table.startswith(f"{wanted}_")) for wanted in candidates):
            return f'<a href="#{slug("table", table)}">The numbers as a table</a>'
    return '<a href="#tables">The numbers as tables</a>'
