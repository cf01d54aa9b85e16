"""The figures of a run, drawn from its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from plotly.graph_objects import Figure

from analyses.analysis import find_analysis
from analyses.run_directory import RunDirectory
from analyses.tables import SMALLEST_EFFECT
from figures import budget_ledger, effects_forest, interaction_plot, write_html


def draw_figures(directory: RunDirectory, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Every figure that the run's tables allow, by name."""
    manifest = directory.manifest()
    plan = find_analysis(manifest["analysis"]).plan(manifest["protocol"])
    title = f"{manifest['title']} ({manifest['protocol']}): {manifest['model']['name']}, corpus {manifest['corpus']['name']}"
    figures = {"effects": effects_forest(tables["effects"], SMALLEST_EFFECT, title=title)}
    if plan.interaction:
        x, line, facet = plan.interaction
        figures["interaction"] = interaction_plot(
            tables["likelihood"], x=x, line=line, facet=facet, title=title
        )
    if "shares" in tables:
        shares = tables["shares"]
        for stack in shares["stack"].unique():
            figures[f"budgets_{stack}"] = budget_ledger(shares, stack=stack, title=title)
    return figures


def save_figures(directory: RunDirectory, figures: Mapping[str, Figure]) -> list[Path]:
    """Write every figure as a page that opens without a network; the paths."""
    folder = directory.path / "figures"
    folder.mkdir(exist_ok=True)
    return [Path(write_html(figure, folder / f"{name}.html")) for name, figure in figures.items()]
