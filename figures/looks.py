"""The same figure for other pages: dark, and as narrow as a phone.

A page holds a figure once. Its dark look is its light one in other colours; of the narrow one it holds what differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypedDict

import plotly.graph_objects as go

from figures.panels import on_paper
from figures.theme import DARKENED

Parameters = ParamSpec("Parameters")


class Look(TypedDict):
    """What a figure is drawn with for the reader's page."""

    dark: bool
    narrow: bool


LOOKS: Mapping[str, Look] = {
    "light": {"dark": False, "narrow": False},
    "dark": {"dark": True, "narrow": False},
    "light narrow": {"dark": False, "narrow": True},
    "dark narrow": {"dark": True, "narrow": True},
}
"""Name of every look, and what a figure is drawn with for it."""


@dataclass(frozen=True)
class _Drawing:
    """How a figure was drawn: again, with other looks, and what it was then."""

    draw: Callable[..., go.Figure]
    content: str

    def on_paper(self, width: int) -> go.Figure:
        """For print, that many pixels wide."""
        return self.draw(paper=width, narrow=True)


def redrawable(draw: Callable[Parameters, go.Figure]) -> Callable[Parameters, go.Figure]:
    """A drawing function with the arguments `dark` and `narrow` whose figures can be drawn again in other looks."""

    @wraps(draw)
    def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> go.Figure:
        figure = draw(*args, **kwargs)
        context = copy_context()

        def again(*, paper: int | None = None, **look: bool) -> go.Figure:
            given: dict[str, Any] = {**kwargs, **look}
            if paper is None:
                return context.run(draw, *args, **given)
            return context.run(printed, paper, given)

        def printed(paper: int, given: dict[str, Any]) -> go.Figure:
            with on_paper(paper):
                return draw(*args, **given)

        # Who asks for a look gets this look alone.
        if not kwargs.get("dark") and not kwargs.get("narrow"):
            figure._drawing = _Drawing(again, content(figure))
        return figure

    return drawn


def content(figure: go.Figure) -> str:
    """Everything that a figure shows, as plotly writes it."""
    return str(figure.to_json())


def follows_theme(figure: go.Figure) -> bool:
    """Whether a figure's colours are those of our theme, which has a dark one for each of them."""
    return getattr(figure, "_drawing", None) is not None


def narrow_look(figure: go.Figure, shown: str) -> go.Figure | None:
    """The same figure for a phone; ``shown`` is its `content`.

    None of one that was drawn elsewhere, and of one that was changed after it was drawn: it would lack the change.
    """
    drawing = getattr(figure, "_drawing", None)
    if drawing is None or drawing.content != shown:
        return None
    return drawing.draw(narrow=True)


def paper_look(figure: go.Figure, width: int) -> go.Figure | None:
    """The same figure for print, that many pixels wide, without a title; None of one that was drawn elsewhere."""
    drawing = getattr(figure, "_drawing", None)
    return None if drawing is None else drawing.on_paper(width)


def as_json(shown: str) -> dict[str, Any]:
    """A figure's `content` as plotly.js reads it: `data` and `layout`, numbers packed as plotly packs them."""
    read: dict[str, Any] = json.loads(shown)
    return {"data": read["data"], "layout": read["layout"]}


def recoloured(value: Any) -> Any:
    """A figure's JSON with every colour of the light page turned into the dark page's; figures/page.js does the same."""
    if isinstance(value, dict):
        return {name: recoloured(part) for name, part in value.items()}
    if isinstance(value, list):
        return [recoloured(part) for part in value]
    if not isinstance(value, str):
        return value
    channels, sheer, rest = value.partition(",0.") if value.startswith("rgba(") else ("", "", "")
    if channels in DARKENED:
        return f"{DARKENED[channels]}{sheer}{rest}"
    return DARKENED.get(value, value)


def difference(before: Any, after: Any) -> Any:
    """What turns one JSON value into another: `{"=": value}` for another value, `{"*": {name: difference}}` for an
    object of whose entries some differ (`{"-": 0}` for one that is gone) or a list as long as before, by place.

    None where nothing differs.
    """
    if before == after and type(before) is type(after):
        return None
    if isinstance(before, dict) and isinstance(after, dict):
        changed = {name: {"-": 0} for name in before if name not in after}
        for name, value in after.items():
            change = difference(before[name], value) if name in before else {"=": value}
            if change is not None:
                changed[name] = change
        return {"*": changed}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        changes = {
            str(place): difference(one, other)
            for place, (one, other) in enumerate(zip(before, after, strict=True))
            if one != other
        }
        return {"*": changes}
    return {"=": after}


def changed(before: Any, change: Any) -> Any:
    """A JSON value after a `difference`; the page does the same in figures/page.js."""
    if change is None:
        return before
    if "=" in change:
        return change["="]
    if isinstance(before, list):
        return [changed(value, change["*"].get(str(place))) for place, value in enumerate(before)]
    kept = {name: value for name, value in before.items() if "-" not in change["*"].get(name, {})}
    new = {name: part["="] for name, part in change["*"].items() if name not in before}
    return {name: changed(value, change["*"].get(name)) for name, value in kept.items()} | new
