"""Figures: a DataFrame in, a plotly figure out. Imports neither torch nor the packages that make the tables."""

from figures.effects import effects_forest
from figures.export import NoBrowser, html_fragment, write_html, write_static
from figures.interaction import interaction_plot
from figures.ledger import budget_ledger

__all__ = [
    "NoBrowser",
    "budget_ledger",
    "effects_forest",
    "html_fragment",
    "interaction_plot",
    "write_html",
    "write_static",
]
