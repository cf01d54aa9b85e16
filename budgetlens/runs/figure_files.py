"""Figures of a run as files: ``RUN/figures/NAME.html``, all with the one plotly.js that lies beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from budgetlens.runs.files import write_text
from budgetlens.runs.storage import RunDirectory
from figures.export import page_html

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

#: The file that the pages share: a copy in each would be a hundred times as large as what they show.
PLOTLY = "plotly.min.js"


def write_figures(directory: RunDirectory, figures: Mapping[str, Figure]) -> list[Path]:
    """Write every figure as a page that opens without a network; the paths. They are moved together with ``PLOTLY``."""
    from plotly.offline import get_plotlyjs

    directory.require_there()
    written = []
    for name, figure in figures.items():
        written.append(directory.folder("figures") / f"{name}.html")
        # Not by write_html, which makes folders: a run that was removed meanwhile is not made again.
        write_text(written[-1], page_html(figure, plotly=PLOTLY))
    if written:
        write_text(directory.folder("figures") / PLOTLY, get_plotlyjs())
    return written
