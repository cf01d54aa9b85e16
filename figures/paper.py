"""Figures for print: as wide as a column or a page of a paper, their type at least 7 points, and without a title."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType

import plotly.graph_objects as go

from figures.export import picture
from figures.looks import paper_look
from figures.theme import SMALL_SIZE

#: Widths of a column and of a page, in inches, by the name of each.
WIDTHS: Mapping[str, float] = MappingProxyType({"3.25in": 3.25, "6.75in": 6.75})
#: Points of the smallest type, and dots per inch of a PNG.
LEAST_TYPE, DOTS = 7.0, 300
#: CSS pixels and points of an inch.
PIXELS, POINTS = 96, 72


def pixels_across(inches: float) -> int:
    """How many pixels wide a figure is drawn whose smallest type is then :data:`LEAST_TYPE` points."""
    return int(inches * POINTS * SMALL_SIZE / LEAST_TYPE)


def paper_svg(figure: go.Figure, inches: float) -> str:
    """A figure of this package as SVG of that width.

    Raises ValueError of a figure that was drawn elsewhere, and :class:`figures.export.NoBrowser` where nothing draws it.
    """
    drawn = paper_look(figure, pixels_across(inches))
    if drawn is None:
        raise ValueError("only figures of this package can be drawn anew for print")
    return sized(picture(drawn, "svg").decode("utf-8"), inches)


def sized(svg: str, inches: float) -> str:
    """A drawing that says how large it is: so wide, and as high as its view box asks."""
    head, end, rest = svg.partition(">")
    _, _, across, down = (float(number) for number in _attribute(head, "viewBox").split())
    head = re.sub(r'\s(width|height|style|class|data-[\w-]+)="[^"]*"', "", head)
    return f'{head} width="{inches:g}in" height="{inches * down / across:.4f}in"{end}{rest}'


def printed(svg: str, kind: str) -> bytes:
    """A sized drawing as pdf or png; its lines and type stay such in a pdf. Raises NoBrowser."""
    head = svg.partition(">")[0]
    across, down = (float(_attribute(head, name).removesuffix("in")) for name in ("width", "height"))
    data = base64.b64encode(svg.encode("utf-8")).decode("ascii")
    whole = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "sizex": 1, "sizey": 1, "sizing": "stretch"}
    sheet = go.Figure(
        layout={
            "width": round(across * PIXELS),
            "height": round(down * PIXELS),
            "margin": dict.fromkeys("lrtb", 0),
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "images": [{"source": f"data:image/svg+xml;base64,{data}", **whole}],
            **{key: {"visible": False} for key in ("xaxis", "yaxis")},
        }
    )
    return picture(sheet, kind, scale=DOTS / PIXELS)


def _attribute(head: str, name: str) -> str:
    found = re.search(rf'\s{name}="([^"]*)"', head)
    if found is None:
        raise ValueError(f"a drawing without {name} has no size")
    return found.group(1)
