"""Figures in the report: stored once, drawn when they are opened, described in words, saved as pictures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from plotly.graph_objects import Figure

from budgetlens.report.page import slug
from budgetlens.runs.run import Run
from budgetlens.tables.presentation import Table
from figures import described
from figures.export import div_id, figure_height, figure_width, packed, stored_figure
from figures.labels import visible_text


@dataclass(frozen=True)
class StoredFigure:
    """A figure as the page holds it: anchor, title, what it shows in words, where its numbers are, its content packed."""

    anchor: str
    title: str
    told: str
    table: str
    identifier: str
    packed: str
    width: int
    height: int


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


def stored_figures(
    figures: Mapping[str, Figure],
    tables: Mapping[str, Table],
    drawn: Mapping[str, str],
    opened: Collection[str],
) -> dict[str, StoredFigure]:
    """Every figure by name, as the page holds it; ``drawn`` as :func:`drawn_tables` gives it.

    Those that stand ``opened`` have a look for a phone; what is folded scrolls sideways there, as tables do.
    """
    found = {}
    for name, figure in figures.items():
        text = stored_figure(figure, phone=name in opened)
        found[name] = StoredFigure(
            slug("figure", name),
            short_title(figure, name),
            described(figure),
            table_anchor(name, tables, drawn),
            div_id(text),
            packed(text),
            figure_width(figure),
            figure_height(figure),
        )
    return found


def short_title(figure: Figure, name: str) -> str:
    """The figure's title up to its setting, which the page tells already."""
    title = " ".join(visible_text(figure.layout.title.text or "").split())
    return title.partition(": ")[0] or name


def table_anchor(name: str, tables: Mapping[str, Table], drawn: Mapping[str, str]) -> str:
    """Where the numbers behind a figure are: its own table, the one it draws, or all of them."""
    # Figures that one alone has no room for are numbered.
    name = re.sub(r"_\d+$", "", name)
    # A figure may be of a part of a table, which stands behind the name of what is drawn: the longest such name.
    parts = [own for own in drawn if name == own or name.startswith(f"{own}_")]
    start = max(parts, key=len, default="")
    candidates = [name, f"{drawn[start]}{name.removeprefix(start)}", drawn[start]] if start else [name]
    for table in tables:
        if any(wanted and (table == wanted or table.startswith(f"{wanted}_")) for wanted in candidates):
            return slug("table", table)
    return "tables"
