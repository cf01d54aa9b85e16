"""The same figure for other pages: dark, and as narrow as a phone.

A page holds a figure once, and of every other look only what differs from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypedDict

import plotly.graph_objects as go

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
    digest: str


def redrawable(draw: Callable[Parameters, go.Figure]) -> Callable[Parameters, go.Figure]:
    """A drawing function with the arguments `dark` and `narrow` whose figures can be drawn again in other looks."""

    @wraps(draw)
    def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> go.Figure:
        figure = draw(*args, **kwargs)

        def again(**look: bool) -> go.Figure:
            given: dict[str, Any] = {**kwargs, **look}
            return draw(*args, **given)

        # Who asks for a look gets this look alone.
        if not kwargs.get("dark") and not kwargs.get("narrow"):
            figure._drawing = _Drawing(again, digest(figure))
        return figure

    return drawn


def digest(figure: go.Figure) -> str:
    """A hash of everything that a figure shows."""
    return hashlib.sha256(str(figure.to_json()).encode()).hexdigest()


def has_looks(figure: go.Figure) -> bool:
    """Whether a figure can be drawn in every look.

    One that was changed after it was drawn can't: its other looks would lack the change.
    """
    drawing = getattr(figure, "_drawing", None)
    return drawing is not None and bool(drawing.digest == digest(figure))


def looks(figure: go.Figure) -> dict[str, go.Figure]:
    """A figure in every look, by name; as *light* alone, whatever it is, where it can't be drawn again."""
    if not has_looks(figure):
        return {"light": figure}
    others = {name: figure._drawing.draw(**look) for name, look in LOOKS.items() if any(look.values())}
    return {"light": figure} | others


def as_json(figure: go.Figure) -> dict[str, Any]:
    """A figure as plotly.js reads it: `data` and `layout`, numbers packed as plotly packs them."""
    content: dict[str, Any] = json.loads(str(figure.to_json()))
    return {"data": content["data"], "layout": content["layout"]}


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
