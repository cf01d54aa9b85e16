"""Colours, fonts and page styles: the one theme of every figure.

Role colours come in two families, warm for the encoder's positions and cool for the decoder's. They were
found by a random search that raised the smallest CIEDE2000 distance over all pairs, for normal vision and for
simulated protanopia and deuteranopia (Machado, Oliveira and Fernandes 2009), with CIE lightness held between
34 and 84 so that every colour shows on the light and on the dark page. They do not change with the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import plotly.graph_objects as go

ENCODER_ROLES = ("bos", "prefix", "separator", "document", "eos")
DECODER_ROLES = ("start", "prompt", "answer")
ROLES = ENCODER_ROLES + DECODER_ROLES

ROLE_COLOURS = MappingProxyType(
    {
        "bos": "#88424F",
        "prefix": "#B0330E",
        "separator": "#DAD190",
        "document": "#E47503",
        "eos": "#B08D79",
        "start": "#5245A2",
        "prompt": "#4F86D5",
        "answer": "#9AC0D4",
    }
)
"""Fill colour of every role, as #RRGGBB; the order of the keys is the order of stacks and legends."""

ROLE_SYMBOLS = MappingProxyType(
    {
        "bos": "diamond",
        "prefix": "square",
        "separator": "x",
        "document": "circle",
        "eos": "triangle-down",
        "start": "star",
        "prompt": "triangle-up",
        "answer": "pentagon",
    }
)
"""Marker of every role: a second channel beside colour, for lines."""

FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, sans-serif"
MONOSPACE = "DejaVu Sans Mono, Menlo, Consolas, Liberation Mono, monospace"

Scale: TypeAlias = Sequence[tuple[float, str]]
"""Places from 0 to 1 with their colours."""

SEQUENTIAL = ((0.0, "#F7FBF6"), (0.25, "#BADFBA"), (0.5, "#62B47C"), (0.75, "#1F7A4D"), (1.0, "#07341F"))
SEQUENTIAL_DARK = ((0.0, "#191D22"), (0.25, "#173F2D"), (0.5, "#2A7B52"), (0.75, "#6CC58E"), (1.0, "#E3FAE6"))
"""Shares from 0: the page's own shade means nothing there. Green, because no role is."""

DIVERGING = ((0.0, "#6B2A86"), (0.25, "#BA98CB"), (0.5, "#F6F6F6"), (0.75, "#9FCFA3"), (1.0, "#1E6E3C"))
DIVERGING_DARK = ((0.0, "#DCAAF2"), (0.25, "#7A4A93"), (0.5, "#20242A"), (0.75, "#3C7F52"), (1.0, "#9BE0AC"))
"""Differences around 0: purple below, green above."""

LAYERS = ((0.0, "#3B2F7F"), (0.35, "#2A788E"), (0.7, "#3FAE78"), (1.0, "#D9CF3A"))
"""Depth: first layer dark, last layer light."""

BASE_SIZE = 13
SMALL_SIZE = 11
TITLE_SIZE = 18
NARROW_TITLE_SIZE = 15


@dataclass(frozen=True)
class Page:
    """Colours of a page: background, text, lesser text, grid lines, the line at 0, a neutral band."""

    paper: str
    ink: str
    muted: str
    grid: str
    zero: str
    band: str


LIGHT = Page(
    paper="#FFFFFF",
    ink="#1A1D21",
    muted="#555C66",
    grid="#E4E7EB",
    zero="#8A929C",
    band="rgba(90,100,115,0.13)",
)
DARK = Page(
    paper="#14171C",
    ink="#ECEEF1",
    muted="#A9B1BC",
    grid="#2B313A",
    zero="#78818D",
    band="rgba(170,180,195,0.16)",
)


#: Text on a shade, as the light page has it and as the dark one has it at the same place. Every pair has colours of its
#: own, so that the one gives the other, and none is the page's white.
ON_SHADE = MappingProxyType(
    {
        (True, True): ("#000000", "#000000"),
        (True, False): ("#000001", "#FFFFFE"),
        (False, False): ("#FFFFFD", "#FFFFFD"),
        (False, True): ("#FFFFFC", "#000002"),
    }
)
"""Colours by whether black is read better on the light page and on the dark one."""


@dataclass(frozen=True)
class LevelStyle:
    """How one level of a factor (a line, a condition) is drawn: colour, marker and dash all differ."""

    colour: str
    symbol: str
    dash: str


def page(dark: bool) -> Page:
    """The dark page or the light one."""
    return DARK if dark else LIGHT


def level_styles(levels: list[str], dark: bool = False) -> dict[str, LevelStyle]:
    """A style per level of a factor, in the given order; no colour among them is a role's.

    Args:
        levels: names of the levels, without repetition.
        dark: whether the page is dark (the first level is drawn in the page's ink).

    Returns:
        Level name to style. Colours repeat after 7 levels, markers after 8, so 56 levels stay distinct.
    """
    colours = (page(dark).ink, "#14967B", "#C8559D", "#8E8B1F", "#8A68D4", "#7B7F86", "#2E9E46")
    symbols = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "star", "hexagon")
    dashes = ("solid", "dash", "dot", "dashdot", "longdash")
    return {
        level: LevelStyle(colours[i % len(colours)], symbols[i % len(symbols)], dashes[i % len(dashes)])
        for i, level in enumerate(levels)
    }


def with_opacity(colour: str, opacity: float) -> str:
    """A #RRGGBB colour as `rgba(...)` with an opacity from 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def channels(colour: str) -> str:
    """What a #RRGGBB colour begins with where it is sheer: `rgba(red,green,blue`."""
    return with_opacity(colour, 0).rpartition(",")[0]


def mixed(scale: Scale, place: float) -> tuple[float, float, float]:
    """The colour of a scale at a place from 0 to 1, as red, green and blue from 0 to 1."""
    stops = [stop for stop, _ in scale]
    channels = [[int(colour[i : i + 2], 16) / 255 for _, colour in scale] for i in (1, 3, 5)]
    red, green, blue = (float(np.interp(place, stops, channel)) for channel in channels)
    return red, green, blue


def luminance(red: float, green: float, blue: float) -> float:
    """WCAG 2 relative luminance, 0 to 1, of a colour whose channels run from 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def on_shade(light: Scale, dark: Scale, place: float, dark_page: bool) -> str:
    """Black or white, whichever is better read on a scale's colour at a place; beyond its ends, at the end.

    Args:
        light, dark: the scale on the light page and on the dark one.
        place: from 0 to 1; NaN is the beginning.
        dark_page: which of the two is asked for.
    """
    inside = min(max(float(np.nan_to_num(place)), 0.0), 1.0)
    black = [(luminance(*mixed(scale, inside)) + 0.05) ** 2 >= 0.05 * 1.05 for scale in (light, dark)]
    return ON_SHADE[black[0], black[1]][dark_page]


def template(dark: bool = False) -> go.layout.Template:
    """The plotly template of every figure: fonts, sizes, grids and margins for screen and print."""
    style = page(dark)
    axis = {
        "gridcolor": style.grid,
        "gridwidth": 1,
        "zeroline": False,
        "linecolor": style.muted,
        "linewidth": 1,
        "showline": False,
        "ticks": "",
        "tickfont": {"size": SMALL_SIZE, "color": style.muted},
        "title": {"font": {"size": SMALL_SIZE + 1, "color": style.ink}, "standoff": 8},
        "automargin": False,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": BASE_SIZE, "color": style.ink},
            "paper_bgcolor": style.paper,
            "plot_bgcolor": style.paper,
            "title": {
                "font": {"size": TITLE_SIZE, "color": style.ink},
                "subtitle": {"font": {"size": BASE_SIZE, "color": style.muted}},
                "x": 0.0,
                "xref": "container",
                "xanchor": "left",
                "yanchor": "top",
                "yref": "container",
                "pad": {"l": 16},
            },
            "xaxis": axis,
            "yaxis": axis,
            "legend": {
                "font": {"size": SMALL_SIZE + 1, "color": style.ink},
                "title": {"font": {"size": SMALL_SIZE + 1, "color": style.muted}},
                "bgcolor": "rgba(0,0,0,0)",
            },
            "hoverlabel": {
                "font": {"family": FONT, "size": SMALL_SIZE + 1, "color": style.ink},
                "bgcolor": style.paper,
                "bordercolor": style.muted,
                "align": "left",
                "namelength": -1,
            },
            "hovermode": "closest",
            "margin": {"l": 64, "r": 24, "t": 90, "b": 60},
            "colorway": [ROLE_COLOURS[role] for role in ROLES],
        }
    )


_BOTH = [
    (LIGHT.paper, DARK.paper),
    (LIGHT.ink, DARK.ink),
    (LIGHT.muted, DARK.muted),
    (LIGHT.grid, DARK.grid),
    (LIGHT.zero, DARK.zero),
    (LIGHT.band, DARK.band),
    (channels(LIGHT.ink), channels(DARK.ink)),
    *((light, dark) for (_, light), (_, dark) in zip(SEQUENTIAL, SEQUENTIAL_DARK, strict=True)),
    *((light, dark) for (_, light), (_, dark) in zip(DIVERGING, DIVERGING_DARK, strict=True)),
    *ON_SHADE.values(),
]
DARKENED = MappingProxyType(dict(_BOTH))
"""The dark page's colour for every colour of the light page; roles, levels and verdicts keep theirs."""
