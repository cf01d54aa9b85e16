"""The figures of a run, drawn from its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from analyses.analysis import analysis_of
from analyses.run_directory import RunDirectory
from analyses.tables import SMALLEST_EFFECT
from figures import budget_ledger, effects_forest, interaction_plot, split_bars, write_html


def draw_figures(directory: RunDirectory, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Every figure that the run's tables allow, by name."""
    manifest = directory.manifest()
    analysis = analysis_of(manifest)
    plan = analysis.plan(manifest["protocol"])
    setting = (
        f"{manifest['analysis']} {manifest['protocol']}, model {manifest['model']['name']}, "
        f"corpus {manifest['corpus']['name']}"
    )
    figures: dict[str, Figure] = {}
    if "effects" in tables:
        figures["effects"] = effects_forest(
            tables["effects"], SMALLEST_EFFECT, title=f"Paired effects: {setting}"
        )
    if plan.interaction and "likelihood" in tables:
        x, line, facet = (*plan.interaction, None)[:3]
        figures["interaction"] = interaction_plot(
            tables["likelihood"],
            x=x,
            line=line,
            facet=facet,
            order=_levels(manifest, plan.interaction),
            title=f"Answer NLL: {setting}",
        )
    if "decomposition" in tables:
        figures["splits"] = split_bars(tables["decomposition"], title=f"Splits of effects: {setting}")
    if "shares" in tables:
        shares = tables["shares"]
        for stack in shares["stack"].unique():
            title = f"Attention budgets, {stack}: {setting}"
            figures[f"budgets_{stack}"] = budget_ledger(shares, stack=stack, title=title)
    if analysis.figures is not None:
        own = analysis.figures(tables, setting)
        doubled = sorted(own.keys() & figures.keys())
        if doubled:
            raise ValueError(f"{analysis.name} names figures that every run has: {doubled}; rename them")
        figures |= own
    return figures


def _levels(manifest: Mapping[str, Any], factors: Sequence[str]) -> dict[str, list[str]]:
    """The levels of each factor in the design's order; the position control stands after *none*."""
    cells = manifest["cells"]
    levels = {factor: list(dict.fromkeys(cell["factors"][factor] for cell in cells)) for factor in factors}
    for found in levels.values():
        if "position" in found and "none" in found:
            found.remove("position")
            found.insert(found.index("none") + 1, "position")
    return levels


def save_figures(directory: RunDirectory, figures: Mapping[str, Figure]) -> list[Path]:
    """Write every figure as a page that opens without a network; the paths."""
    folder = directory.path / "figures"
    folder.mkdir(exist_ok=True)
    return [Path(write_html(figure, folder / f"{name}.html")) for name, figure in figures.items()]
