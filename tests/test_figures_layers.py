"""Effects by layer: what is drawn is the table, with units, n, intervals, marks and gaps."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.colors import sample_colorscale

import figures
from tests.test_figures import HOSTILE, assert_hostile_text_is_escaped, texts

WINDOWS = ("0%-25%", "25%-50%", "all")
KEYS = ("bos", "document", "answer")
PARTS = ("sink", "propagated", "prefix")


def effects(percent: bool = False, keys: tuple[str, ...] = KEYS) -> pd.DataFrame:
    generator = np.random.default_rng(1)
    rows = []
    for base, window, role in itertools.product(("visible", "hidden"), WINDOWS, keys):
        mean = generator.normal(0, 0.3 if percent else 2)
        rows.append(
            {
                "base": base,
                "window": window,
                "keys": role,
                "n": 60,
                "mean": mean,
                "low": mean - 0.2,
                "high": mean + 0.2,
                "marked": abs(mean) > 0.2,
            }
        )
    return pd.DataFrame(rows)


def shifts(layers: int = 6) -> pd.DataFrame:
    generator = np.random.default_rng(2)
    rows = []
    for shift, layer in itertools.product(("none", "query"), range(layers)):
        sizes = dict(zip(PARTS, generator.normal(0, 0.05, 3), strict=True))
        sizes["total"] = sum(sizes.values())
        rows += [
            {
                "shift": shift,
                "layer": layer,
                "part": part,
                "n": 80,
                "mean_difference": size,
                "low": size - 0.01,
                "high": size + 0.01,
            }
            for part, size in sizes.items()
        ]
    return pd.DataFrame(rows)


def maps(figure: go.Figure) -> dict[str, go.Heatmap]:
    return {trace.meta["facet"]: trace for trace in figure.data if isinstance(trace, go.Heatmap)}


def test_a_map_holds_the_table_in_the_given_order() -> None:
    table = effects()
    order = {"keys": ["document", "bos"], "window": ["all", "0%-25%"]}
    figure = figures.effect_map(table, x="window", y="keys", facet="base", order=order)
    found = maps(figure)
    assert set(found) == {"base: visible", "base: hidden"}
    indexed = table.set_index(["base", "keys", "window"])
    for base, trace in ((name.removeprefix("base: "), trace) for name, trace in found.items()):
        for (down, role), (across, window) in itertools.product(
            enumerate(order["keys"]), enumerate(order["window"])
        ):
            row = indexed.loc[(base, role, window)]
            assert trace.z[down][across] == row["mean"]
            np.testing.assert_array_equal(
                trace.customdata[down][across], row[["low", "high", "n"]].astype(float)
            )
            shown = trace.text[down][across].replace("−", "-")
            assert float(shown) == pytest.approx(row["mean"], abs=0.0051)
    assert list(figure.layout.yaxis.ticktext) == order["keys"]
    assert list(figure.layout.xaxis.ticktext) == order["window"]
    # The first level stands on top, and colours are even around 0.
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1]
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    assert "n = 60 examples" in texts(figure)


def test_marked_means_are_framed_and_no_others() -> None:
    table = effects()
    figure = figures.effect_map(table, x="window", y="keys", facet="base")
    frames = {t.meta["facet"]: t for t in figure.data if "marks" in t.meta}
    for base in ("visible", "hidden"):
        marked = table[(table["base"] == base) & table["marked"]]
        drawn = frames[f"base: {base}"]
        centres = {
            (round(float(np.mean(drawn.x[at : at + 4]))), round(float(np.mean(drawn.y[at : at + 4]))))
            for at in range(0, len(drawn.x), 6)
        }
        expected = {
            (WINDOWS.index(window), KEYS.index(role))
            for window, role in zip(marked["window"], marked["keys"], strict=True)
        }
        assert centres == expected


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("around_zero", [False, True])
def test_numbers_on_a_map_are_its_own_and_can_be_read(around_zero: bool, dark: bool) -> None:
    table = effects()
    table["mean"] = table["mean"] if around_zero else table["mean"].abs()
    figure = figures.effect_map(
        table, x="window", y="keys", facet="base", around_zero=around_zero, dark=dark, limit=3.0
    )
    axis = figure.layout.coloraxis
    for trace in figure.data:
        if not (isinstance(trace, go.Scatter) and trace.mode == "text"):
            continue
        drawn = maps(figure)[trace.meta["facet"]]
        for x, y, text, ink in zip(trace.x, trace.y, trace.text, trace.textfont.color, strict=True):
            assert text == drawn.text[y][x]
            place = (drawn.z[y][x] - axis.cmin) / (axis.cmax - axis.cmin)
            (behind,) = sample_colorscale([list(stop) for stop in axis.colorscale], [min(max(place, 0), 1)])
            channels = [float(part) / 255 for part in behind.strip("rgb()").split(",")]
            assert contrast_ratio(channels, [int(ink[i : i + 2], 16) / 255 for i in (1, 3, 5)]) >= 4.5


def contrast_ratio(one: list[float], other: list[float]) -> float:
    """WCAG 2 contrast of two colours with channels from 0 to 1."""
    light = sorted(
        sum(
            weight * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for weight, c in zip((0.2126, 0.7152, 0.0722), colour, strict=True)
        )
        for colour in (one, other)
    )
    return (light[1] + 0.05) / (light[0] + 0.05)


def test_percent_limit_and_long_axes() -> None:
    table = effects(percent=True)
    figure = figures.effect_map(table, x="window", y="keys", facet="base", percent=True, limit=1.0, unit="%")
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-1.0, 1.0)
    trace = maps(figure)["base: visible"]
    row = table.iloc[0]
    assert float(trace.text[0][0].replace("−", "-")) == pytest.approx(100 * row["mean"], abs=0.51)
    plain = figures.effect_map(
        table.assign(mean=table["mean"].abs()),
        x="window",
        y="keys",
        facet="base",
        percent=True,
        around_zero=False,
    )
    assert plain.layout.coloraxis.cmin == 0.0
    assert float(maps(plain)["base: visible"].text[0][0]) == pytest.approx(100 * abs(row["mean"]), abs=0.51)
    keys = tuple(f"layer {number}" for number in range(34))
    long = figures.effect_map(effects(keys=keys), x="window", y="keys", facet="base")
    assert not any(trace.mode == "text" for trace in long.data if isinstance(trace, go.Scatter))
    assert 2 <= len(long.layout.yaxis.tickvals) <= 8


def test_a_missing_mean_is_a_gap_that_is_named() -> None:
    table = effects()
    table["reason"] = ""
    table.loc[0, ["mean", "low", "high"]] = np.nan
    table.loc[0, "reason"] = "withheld: the total holds 0"
    figure = figures.effect_map(table, x="window", y="keys", facet="base")
    assert np.isnan(maps(figure)["base: visible"].z[0][0])
    assert maps(figure)["base: visible"].text[0][0] == ""
    assert "withheld: the total holds 0" in "\n".join(texts(figure))
    assert figure.layout.meta["missing"][0]["rows"] == 1


def test_parts_stand_on_each_other_and_reach_the_total() -> None:
    table = shifts()
    figure = figures.shift_by_layer(table)
    bars = {(t.meta["facet"], t.meta["part"]): t for t in figure.data if isinstance(t, go.Bar)}
    points = {t.meta["facet"]: t for t in figure.data if isinstance(t, go.Scatter)}
    assert set(bars) == set(itertools.product(("none", "query"), PARTS))
    for shift in ("none", "query"):
        total = table[(table["shift"] == shift) & (table["part"] == "total")]
        np.testing.assert_array_equal(points[shift].y, total["mean_difference"])
        np.testing.assert_allclose(
            np.asarray(points[shift].error_y.array), (total["high"] - total["mean_difference"])
        )
        ups, downs = np.zeros(6), np.zeros(6)
        for part in PARTS:
            bar = bars[shift, part]
            own = table[(table["shift"] == shift) & (table["part"] == part)]
            np.testing.assert_array_equal(bar.y, own["mean_difference"])
            base = np.where(np.asarray(bar.y) > 0, ups, downs)
            np.testing.assert_allclose(bar.base, base)
            ups += np.maximum(bar.y, 0)
            downs += np.minimum(bar.y, 0)
        np.testing.assert_allclose(ups + downs, total["mean_difference"], atol=1e-12)
    names = [trace.name for trace in figure.data if trace.showlegend]
    assert sorted(names) == sorted([*PARTS, "total"])
    assert "n = 80 examples" in texts(figure)


@pytest.mark.parametrize("dark", [False, True])
def test_both_pages_and_hostile_names(dark: bool) -> None:
    table = effects().replace({"base": {"visible": HOSTILE}, "keys": {"bos": HOSTILE}})
    assert_hostile_text_is_escaped(
        figures.effect_map(table, x="window", y="keys", facet="base", title=HOSTILE, dark=dark)
    )
    table = shifts().replace({"shift": {"none": HOSTILE}, "part": {"sink": HOSTILE}})
    assert_hostile_text_is_escaped(figures.shift_by_layer(table, title=HOSTILE, dark=dark))


def test_errors_name_what_is_wrong() -> None:
    table = effects()
    with pytest.raises(ValueError, match="missing columns: low"):
        figures.effect_map(table.drop(columns="low"), x="window", y="keys", facet="base")
    with pytest.raises(ValueError, match="repeat the same"):
        figures.effect_map(table, x="window", y="keys")
    with pytest.raises(ValueError, match="unknown levels of keys: eos"):
        figures.effect_map(table, x="window", y="keys", facet="base", order={"keys": ["eos"]})
    with pytest.raises(ValueError, match="unknown part: total"):
        figures.shift_by_layer(shifts()[lambda rows: rows["part"] != "total"])
    half = shifts()
    half = half[(half["part"] != "total") | (half["shift"] == "none")]
    with pytest.raises(ValueError, match="give the total of every panel"):
        figures.shift_by_layer(half)
