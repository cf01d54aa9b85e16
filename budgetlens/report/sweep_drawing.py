"""The figures of a sweep: the headline effects of every model side by side, and the likelihoods of every model."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.runs.run import Run
from figures import effects_forest, interaction_plot

#: So many cells of the headline contrasts have room along the axis.
MOST_CELLS = 12


def sweep_figures(sweep: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, Figure]:
    """Effects by model, corrected over models, and the cell means of every model, per character where it is known."""
    setting, correction = sweep.manifest.setting, sweep.plan.correction
    runs = [own.source or own for own in sweep.of_models.values() if isinstance(own, Run)]
    headline = {contrast.name: contrast for run in runs for contrast in run.plan.headline_contrasts}
    effects = tables["model_effects"]
    # Every contrast is a panel, and its rows are the models.
    panels = pd.concat([effects[effects["contrast"] == name] for name in headline], ignore_index=True)
    panels = panels.assign(
        family=panels["contrast"],
        contrast=panels["model"],
        alias=panels["model"],
        **{name: panels[f"{name}_over_models"] for name in ("small", "kind", "verdict")},
        **{f"p_{correction}": panels["p_over_models"]},
    )
    drawn = {
        "model_effects": effects_forest(
            panels.assign(baseline="", treatment=""),
            unit="nats per token",
            title=f"Effects by model: {setting}",
        )
    }
    used = {cell for contrast in headline.values() for cell in contrast.weights}
    means = tables["model_likelihood"]
    means = means[
        means["cell"].isin([cell for cell in sweep.manifest.cell_names if cell in used][:MOST_CELLS])
    ]
    known = means["per_character"].notna().all()
    if known:
        means = means.assign(
            **{
                name: means[f"per_character{end}"]
                for name, end in (("mean", ""), ("low", "_low"), ("high", "_high"))
            }
        )
    drawn["model_likelihood"] = interaction_plot(
        means.assign(condition=means["cell"].map(sweep.manifest.labels)),
        x="condition",
        line="model",
        facet=None,
        unit="nats per character of the answer" if known else "nats per token of the model's own tokenizer",
        reading="a line is a model" if known else "levels of different tokenizers do not compare",
        title=f"Answer NLL by model: {setting}",
    )
    return drawn
