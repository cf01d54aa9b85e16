"""Figures: a DataFrame in, a plotly figure out. Imports neither torch nor what makes the tables."""

from figures.curves import keyword_curve, length_curves, selection_curves, token_curves
from figures.description import described
from figures.differences import budget_differences
from figures.effects import effects_forest
from figures.entropy import entropy_against_mass
from figures.examples import example_scatter, example_slopes
from figures.export import NoBrowser, html_fragment, write_html, write_static
from figures.heads import head_map
from figures.interaction import interaction_plot
from figures.layers import effect_map, shift_by_layer
from figures.ledger import budget_ledger
from figures.look_and_use import look_and_use
from figures.published import published_beside_measured
from figures.sinks import sink_audit
from figures.splits import split_bars
from figures.token_measures import TokenMeasure
from figures.tokens import token_view

__all__ = [
    "NoBrowser",
    "TokenMeasure",
    "budget_differences",
    "budget_ledger",
    "described",
    "effect_map",
    "effects_forest",
    "entropy_against_mass",
    "example_scatter",
    "example_slopes",
    "head_map",
    "html_fragment",
    "interaction_plot",
    "keyword_curve",
    "length_curves",
    "look_and_use",
    "published_beside_measured",
    "selection_curves",
    "shift_by_layer",
    "sink_audit",
    "split_bars",
    "token_curves",
    "token_view",
    "write_html",
    "write_static",
]
