"""The forest of effects: every contrast with its interval and its verdict."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import as_numbers, checked, named
from figures.labels import (
    bracketed,
    contrast_label,
    count_label,
    escaped,
    p_value,
    panel_title,
    signed,
    visible_text,
)
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, dressed, guide, span
from figures.rows import interval_error, row_panels, row_text

#: Characters that the texts of a narrow row have room for.
NARROW_TEXT = 56

EFFECT_COLUMNS = (
    "contrast",
    "baseline",
    "treatment",
    "family",
    "n",
    "mean_difference",
    "low",
    "high",
    "d_z",
    "win_percent",
    "p_sign_flip",
    "kind",
    "verdict",
)
CORRECTIONS = {
    "p_holm": "Holm",
    "p_bonferroni": "Bonferroni",
    "p_fdr": "Benjamini-Hochberg",
    "p_none": "uncorrected",
}
#: The same where there is little room.
SHORT_CORRECTIONS = {"p_holm": "Holm", "p_bonferroni": "Bonf.", "p_fdr": "BH", "p_none": "raw"}
NUMBERS = ("n", "mean_difference", "low", "high", "d_z", "win_percent", "p_sign_flip", *CORRECTIONS)


#: Colour and marker of what was found: where it is positive (baseline − treatment above 0) and where negative.
HELP, HARM = ("#14967B", "circle"), ("#C8559D", "diamond")
LESS, MORE = "#8A68D4", "#8E8B1F"
BETTER = {"lower": (HELP, HARM), "higher": (HARM, HELP)}
"""Of a difference, by which way is better."""
CHANGE = ((LESS, "triangle-down"), (MORE, "triangle-up"))
"""Of a difference where neither way is better: it falls, it rises."""
_LESS_HELP, _MORE_HELP = (LESS, "triangle-up"), (MORE, "triangle-down")
INTERACTION = {"lower": (_LESS_HELP, _MORE_HELP), "higher": (_MORE_HELP, _LESS_HELP)}
"""Of an interaction, which neither helps nor hurts: together less than the sum of each alone, and more."""
HIGHER = ((LESS, "star"), (MORE, "star"))
TREND = ((HELP[0], "triangle-right"), (HARM[0], "triangle-left"))

#: Columns that say what was decided, and the kinds that there are.
DECIDED = ("kind", "small", "order")
KINDS = ("positive", "negative", "both", "none", "undecided")
SMALL = "yes"
"""What the column `small` says where an effect was shown to be too small to matter."""


def effect_style(kind: str, small: bool, order: int, better: str, dark: bool) -> tuple[str, str]:
    """Colour and marker of an effect: filled where something was found that matters, hollow where not.

    Args:
        kind: positive, negative, none (shown to be within the bound); anything else is undecided.
        small: whether it was shown to be within the bound.
        order: 1 a difference, 2 an interaction, 3 and more a higher one, below 0 a slope.
        better: `lower`, `higher`, or nothing where neither way is.
        dark: dark page.
    """
    if kind == "none":
        return theme.page(dark).ink, "square-open"
    if kind not in ("positive", "negative"):
        return theme.page(dark).zero, "circle-open"
    styles = (
        TREND
        if order < 0
        else BETTER.get(better, CHANGE)
        if order < 2
        else INTERACTION.get(better, HIGHER)
        if order == 2
        else HIGHER
    )
    colour, symbol = styles[0 if kind == "positive" else 1]
    return colour, f"{symbol}-open" if small else symbol


@redrawable
def effects_forest(
    effects: pd.DataFrame,
    *,
    quantity: str = "answer NLL",
    unit: str = "nats",
    better: str = "lower",
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """Paired mean differences with their intervals, grouped by family, the numbers and verdicts beside them.

    Args:
        effects: columns contrast, baseline, treatment, family, n, mean_difference, low, high (in `unit`,
            baseline minus treatment: positive means that the treatment helps), d_z, win_percent (0 to 100),
            p_sign_flip, p_holm, p_bonferroni, p_fdr or p_none, kind (positive, negative, none, undecided), verdict (any
            words); `order` (1 a difference, 2 an interaction, 3 and more a higher one, below 0 a slope; 1 where there is no
            such column) and `small` (yes where an effect is too small to matter) give marks a look of their own; an `alias`
            column shortens the contrasts' names; `smallest_effect` (the smallest difference that matters, in `unit`) is
            shaded behind each row that has one.
        quantity, unit: what differs, for the axis.
        better: whether lower or higher is better, or neither (empty).
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, repeated rows, or a smallest effect that is not positive.
    """
    name = "effects_forest"
    keys = ("family", "contrast", "baseline", "treatment")
    rows = checked(effects, name, required=EFFECT_COLUMNS, numbers=NUMBERS, keys=keys)
    corrected = next((column for column in CORRECTIONS if column in rows.columns), None)
    if corrected is None:
        raise ValueError(
            f"{name}: missing columns: one of {named(CORRECTIONS)}; given columns: {named(rows.columns)}"
        )
    rows = rows.assign(smallest=_smallest(rows, name, unit))
    rows["family"] = rows["family"].astype(str)
    rows["verdict"] = rows["verdict"].astype(object).where(rows["verdict"].notna(), "no verdict").astype(str)
    rows = rows.assign(**_decided(rows, name))
    rows["label"] = contrast_labels(rows)
    frame = Frame(width=1080, left=256, right=436, gap_down=34).fitted(narrow, left=14, right=14)
    text_columns = (
        (0.02, "mean [interval]"),
        (0.36, "d<sub>z</sub>"),
        (0.47, "win"),
        (0.57, f"p ({SHORT_CORRECTIONS[corrected]})"),
        (0.715, "verdict"),
    )
    families = {str(family): part for family, part in rows.groupby("family", sort=False)}
    labels = {family: list(part["label"]) for family, part in families.items()}
    figure, annotations = row_panels(labels, frame, text_columns, dark)
    seen: set[tuple[str, ...]] = set()
    for row, group in enumerate(families.values(), start=1):
        group = group.assign(position=range(len(group)), p_corrected=group[corrected])
        for (words, kind, small, order), part in group.groupby(["verdict", *DECIDED], sort=False):
            style = effect_style(str(kind), bool(small), int(order), better, dark)
            trace = effect_trace(part, str(words), f"{escaped(quantity)}", escaped(unit), style)
            look = (str(words), *style)
            trace.showlegend = look not in seen
            seen.add(look)
            figure.add_trace(trace, row=row, col=1)
        for record in group.to_dict("records"):
            texts = row_texts(record)
            texts = narrow_texts(texts) if narrow else texts
            annotations += row_text(figure, row, record["position"], texts, text_columns, frame, dark)
    figure.update_xaxes(range=span(rows[["mean_difference", "low", "high"]], include=0.0))
    figure.update_xaxes(
        title_text=f"mean paired difference in {escaped(quantity)}, baseline − treatment ({escaped(unit)})",
        row=len(families),
        col=1,
    )
    missing = missing_rows(rows, "mean_difference", ("family", "contrast"))
    means = {"lower": "helps", "higher": "hurts"}.get(better, "lowers it")
    subtitle = f"{count_label(rows['n'])} · right of 0: the treatment {means}"
    if better and (rows["order"].eq(2) & rows["kind"].isin(("positive", "negative"))).any():
        together = "less help, or more harm" if better == "lower" else "more help, or less harm"
        subtitle += f"; of an interaction: {together}, together"
    if rows["smallest"].notna().any():
        same = rows["smallest"].nunique() == 1
        size = f": within ±{rows['smallest'].max():.3g} {escaped(unit)}" if same else ""
        subtitle += f" · shaded: too small to matter{size}"
    return dressed(
        figure,
        title=escaped(title) if title else f"Effects on {escaped(quantity)}",
        subtitle=subtitle,
        notes=[
            f"p: {CORRECTIONS[corrected]}. d<sub>z</sub> and wins: at the marks and in the table."
            if narrow
            else "",
            missing_note(missing, ("family", "contrast")),
        ],
        frame=frame,
        dark=dark,
        annotations=annotations,
        shapes=shade(figure, list(families.values()), dark),
        missing=missing,
    )


def _decided(rows: pd.DataFrame, figure: str) -> dict[str, pd.Series]:
    """The columns `DECIDED`, checked; a missing kind is one that nothing was decided of."""
    kinds = rows["kind"].astype(object).where(rows["kind"].notna(), "undecided").replace("", "undecided")
    unknown = [kind for kind in kinds.unique() if kind not in KINDS]
    if unknown:
        raise ValueError(f"{figure}: column 'kind' holds {unknown[0]!r}; expected {named(KINDS)}")
    order = as_numbers(rows["order"], figure) if "order" in rows.columns else pd.Series(1.0, index=rows.index)
    if not (order.notna() & (order % 1 == 0)).all():
        raise ValueError(
            f"{figure}: column 'order' must hold whole numbers: 1 a difference, 2 an interaction, ..."
        )
    small = (
        rows["small"].isin((SMALL, True)) if "small" in rows.columns else pd.Series(False, index=rows.index)
    )
    return {"kind": kinds, "small": small, "order": order.astype(int)}


def contrast_labels(rows: pd.DataFrame) -> list[str]:
    """Names of the contrasts for the axis: the alias where there is one, else the name, shortened."""
    aliases = rows["alias"] if "alias" in rows.columns else pd.Series(index=rows.index, dtype=object)
    columns = (aliases, rows["contrast"], rows["baseline"], rows["treatment"])
    return [
        contrast_label(str(contrast), str(baseline), str(treatment)) if pd.isna(alias) else str(alias)
        for alias, contrast, baseline, treatment in zip(*columns, strict=True)
    ]


def effect_trace(
    part: pd.DataFrame, verdict: str, quantity: str, unit: str, style: tuple[str, str]
) -> go.Scatter:
    """The points of one family with the same verdict, in the colour and with the marker of ``style``."""
    colour, symbol = style
    numbers = (
        part[["low", "high", "n", "d_z", "win_percent", "p_sign_flip", "p_corrected"]].to_numpy().tolist()
    )
    names = part[["contrast", "baseline", "treatment"]].map(escaped).to_numpy().tolist()
    return go.Scatter(
        x=part["mean_difference"].to_numpy(),
        y=part["position"].to_numpy(),
        error_x=interval_error(part["mean_difference"], part["low"], part["high"], colour),
        customdata=[number + name for number, name in zip(numbers, names, strict=True)],
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2, "color": colour}},
        name=escaped(verdict),
        legendgroup=verdict,
        meta={"verdict": verdict},
        hovertemplate="<b>%{customdata[7]}</b><br>baseline %{customdata[8]}<br>treatment %{customdata[9]}<br>"
        f"difference in {quantity} %{{x:+.4f}} [%{{customdata[0]:+.4f}}, %{{customdata[1]:+.4f}}] {unit}<br>"
        "d<sub>z</sub> %{customdata[3]:.3f}, win %{customdata[4]:.1f} %, n = %{customdata[2]:,}<br>"
        "p (sign flips) %{customdata[5]:.3g}, corrected %{customdata[6]:.3g}<br>"
        f"{escaped(verdict)}<extra></extra>",
    )


def row_texts(record: dict) -> tuple[str, ...]:
    """Mean with interval, d_z, win, corrected p and verdict of one contrast."""
    verdict = panel_title(record["verdict"], 22, 2)
    interval = f"{signed(record['mean_difference'])} {bracketed(record['low'], record['high'])}"
    return (
        "undefined" if pd.isna(record["mean_difference"]) else interval,
        signed(record["d_z"], 2),
        "–" if pd.isna(record["win_percent"]) else f"{record['win_percent']:.0f} %",
        p_value(record["p_corrected"]),
        f"<b>{verdict}</b>"
        if record["kind"] in ("positive", "negative") and not record["small"]
        else verdict,
    )


def narrow_texts(texts: tuple[str, ...]) -> tuple[str, ...]:
    """What a narrow row tells of its texts: mean, verdict, and p (`p < 0.001`, `p = 0.02`) where it has room."""
    mean, _, _, p, verdict = texts
    said = "p undefined" if p == "–" else f"p {p}" if p.startswith("<") else f"p = {p}"
    room = len(visible_text(mean + said + verdict)) <= NARROW_TEXT
    return (mean, said, verdict) if room else (mean, verdict)


def _smallest(rows: pd.DataFrame, figure: str, unit: str) -> pd.Series:
    """The smallest effect of every row, NaN where it has none."""
    if "smallest_effect" not in rows.columns:
        return pd.Series(float("nan"), index=rows.index)
    smallest = as_numbers(rows["smallest_effect"], figure)
    wrong = smallest[smallest.notna() & ~(smallest > 0)]
    if len(wrong):
        raise ValueError(
            f"{figure}: smallest_effect must be positive, in {unit}; given: {float(wrong.iloc[0]):g}"
        )
    return smallest


def shade(figure: go.Figure, families: list[pd.DataFrame], dark: bool) -> list[dict[str, Any]]:
    """The line at 0 in every panel, and the band of the smallest effect behind every row."""
    style = theme.page(dark)
    shapes = []
    for row, rows in enumerate(families, start=1):
        shapes.append(guide(figure, row, 1, x=(0.0, 0.0), colour=style.zero, width=1.2))
        for position, smallest in enumerate(rows["smallest"]):
            if not pd.isna(smallest):
                ends = (-float(smallest), float(smallest))
                band = guide(figure, row, 1, x=ends, colour=style.band)
                shapes.append(
                    {
                        **band,
                        "yref": band["yref"].removesuffix(" domain"),
                        "y0": position - 0.5,
                        "y1": position + 0.5,
                    }
                )
    return shapes
