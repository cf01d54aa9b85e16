"""The theme: role colours stay apart for colour-blind readers, text keeps its contrast on both pages."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from figures import theme

Floats = NDArray[np.float64]

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
MACHADO = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}
# Viénot, Brettel and Mollon (1999): another model of the same two, through cone responses.
CONES = [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]]
VIENOT = {
    "deuteranopia": [[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]],
    "protanopia": [[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]],
}


def linear(colour: str) -> Floats:
    """Linear RGB, 0 to 1, of a #RRGGBB colour."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lightness_ab(rgb: Floats) -> Floats:
    """CIELAB (D65) of linear RGB."""
    matrix = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.119192, 0.9503041],
        ]
    )
    xyz = matrix @ np.clip(rgb, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(first: Floats, second: Floats) -> float:
    """CIEDE2000 colour difference (Sharma, Wu and Dalal 2005)."""
    chroma = (np.hypot(*first[1:]) + np.hypot(*second[1:])) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(chroma**7 / (chroma**7 + 25.0**7)))
    light, c, h = [], [], []
    for lab in (first, second):
        a, b = lab[1] * stretch, lab[2]
        light.append(lab[0])
        c.append(np.hypot(a, b))
        h.append(np.degrees(np.arctan2(b, a)) % 360)
    turn = 0.0 if c[0] * c[1] == 0 else (h[1] - h[0] + 180) % 360 - 180
    d_light, d_chroma = light[1] - light[0], c[1] - c[0]
    d_hue = 2 * np.sqrt(c[0] * c[1]) * np.sin(np.radians(turn / 2))
    m_light, m_chroma = sum(light) / 2, sum(c) / 2
    if c[0] * c[1] == 0:
        m_hue = sum(h)
    else:
        m_hue = sum(h) / 2 if abs(h[0] - h[1]) <= 180 else (sum(h) + (360 if sum(h) < 360 else -360)) / 2
    t = (
        1
        - 0.17 * np.cos(np.radians(m_hue - 30))
        + 0.24 * np.cos(np.radians(2 * m_hue))
        + 0.32 * np.cos(np.radians(3 * m_hue + 6))
        - 0.20 * np.cos(np.radians(4 * m_hue - 63))
    )
    s_light = 1 + 0.015 * (m_light - 50) ** 2 / np.sqrt(20 + (m_light - 50) ** 2)
    s_chroma, s_hue = 1 + 0.045 * m_chroma, 1 + 0.015 * m_chroma * t
    turned = 2 * np.sqrt(m_chroma**7 / (m_chroma**7 + 25.0**7))
    rotation = -np.sin(np.radians(60 * np.exp(-(((m_hue - 275) / 25) ** 2)))) * turned
    x, y, z = d_light / s_light, d_chroma / s_chroma, d_hue / s_hue
    return float(np.sqrt(x**2 + y**2 + z**2 + rotation * y * z))


def seen(rgb: Floats, model: str, kind: str) -> Floats:
    """Linear RGB as a colour-blind reader sees it."""
    if model == "machado":
        return np.array(MACHADO[kind]) @ rgb
    return np.linalg.inv(np.array(CONES)) @ np.array(VIENOT[kind]) @ np.array(CONES) @ rgb


def contrast(first: str, second: str) -> float:
    """WCAG 2 contrast ratio."""
    light = [float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)) for colour in (first, second)]
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_colour_difference_gives_the_published_test_pairs(
    first: tuple, second: tuple, expected: float
) -> None:
    assert ciede2000(np.array(first), np.array(second)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("model", "kind", "least"),
    [
        ("", "", 17),
        ("machado", "deuteranopia", 17),
        ("machado", "protanopia", 17),
        ("vienot", "deuteranopia", 14),
        ("vienot", "protanopia", 14),
    ],
)
def test_role_colours_stay_apart(model: str, kind: str, least: float) -> None:
    labs = {}
    for role, colour in theme.ROLE_COLOURS.items():
        labs[role] = lightness_ab(seen(linear(colour), model, kind) if model else linear(colour))
    distances = {pair: ciede2000(labs[pair[0]], labs[pair[1]]) for pair in itertools.combinations(labs, 2)}
    nearest = min(distances, key=distances.__getitem__)
    assert distances[nearest] >= least, f"{nearest} are {distances[nearest]:.1f} apart"


def test_encoder_roles_are_warm_and_decoder_roles_cool() -> None:
    for role, colour in theme.ROLE_COLOURS.items():
        red, _, blue = linear(colour)
        assert (red > blue) == (role in theme.ENCODER_ROLES), role


def test_every_role_has_one_colour_and_one_symbol() -> None:
    assert tuple(theme.ROLE_COLOURS) == theme.ROLES == tuple(theme.ROLE_SYMBOLS)
    assert len(set(theme.ROLE_COLOURS.values())) == len(set(theme.ROLE_SYMBOLS.values())) == 8


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_that_wcag_aa_asks(dark: bool) -> None:
    page = theme.page(dark)
    assert contrast(page.ink, page.paper) >= 7
    assert contrast(page.muted, page.paper) >= 4.5
    for style in theme.level_styles(list("abcdefg"), dark).values():
        assert contrast(style.colour, page.paper) >= 3, style


def test_no_level_is_drawn_in_a_role_colour_and_all_levels_differ() -> None:
    styles = theme.level_styles([str(i) for i in range(30)])
    assert not {style.colour for style in styles.values()} & set(theme.ROLE_COLOURS.values())
    assert len({(style.colour, style.symbol, style.dash) for style in styles.values()}) == 30


def test_opacity_keeps_the_colour() -> None:
    assert theme.with_opacity("#0A80FF", 0.25) == "rgba(10,128,255,0.25)"


@pytest.mark.parametrize("dark", [False, True])
def test_scales_begin_or_meet_at_the_shade_of_the_page(dark: bool) -> None:
    """Nothing looks like nothing: the zero of a scale is the stop nearest to the page."""
    paper = lightness_ab(linear(theme.page(dark).paper))
    sequential = theme.SEQUENTIAL_DARK if dark else theme.SEQUENTIAL
    diverging = theme.DIVERGING_DARK if dark else theme.DIVERGING
    for scale, zero in ((sequential, 0), (diverging, 2)):
        distances = [ciede2000(paper, lightness_ab(linear(colour))) for _, colour in scale]
        assert int(np.argmin(distances)) == zero


@pytest.mark.parametrize("scale", [theme.SEQUENTIAL, theme.SEQUENTIAL_DARK])
def test_shades_of_shares_are_no_role_colours(scale: tuple) -> None:
    for role, colour in theme.ROLE_COLOURS.items():
        for _, stop in scale:
            assert ciede2000(lightness_ab(linear(colour)), lightness_ab(linear(stop))) >= 12, (role, stop)
