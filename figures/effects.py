"""The forest of effects: every contrast with its interval and its verdict."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked
from figures.labels import count_label, escaped, p_value, panel_title, signed
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, dressed, panel_grid, panel_heading

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
    "p_holm",
    "verdict",
)
NUMBERS = ("n", "mean_difference", "low", "high", "d_z", "win_percent", "p_sign_flip", "p_holm")
ROW_HEIGHT = 27

# x of the text columns as fractions of the panels' width to the right of it, with their headings.
TEXT_COLUMNS = (
    (0.02, "mean [interval]"),
    (0.36, "d<sub>z</sub>"),
    (0.46, "win"),
    (0.56, "p (Holm)"),
    (0.70, "verdict"),
)


def verdict_style(verdict: str, dark: bool) -> tuple[str, str]:
    """Colour and marker of a verdict: filled where something was found, hollow where nothing was."""
    ink = theme.page(dark).ink
    if verdict == "helps":
        return "#14967B", "circle"
    if verdict == "hurts":
        return "#C8559D", "diamond"
    if verdict.startswith("no effect"):
        return ink, "square-open"
    return theme.page(dark).zero, "circle-open"


def effects_forest(
    effects: pd.DataFrame,
    smallest_effect: float | None = None,
    *,
    quantity: str = "answer NLL",
    unit: str = "nats",
    title: str | None = None,
    dark: bool = False,
) -> go.Figure:
    """Paired mean differences with their intervals, grouped by family, the numbers and verdicts beside them.

    Args:
        effects: columns contrast, baseline, treatment, family, n, mean_difference, low, high (in `unit`, baseline
            minus treatment: positive means that the treatment helps), d_z, win_percent (0 to 100), p_sign_flip,
            p_holm, verdict; an `alias` column shortens the contrasts' names.
        smallest_effect: smallest effect of interest in `unit`; a band of plus and minus this is shaded.
        quantity, unit: what differs, for the axis.
        title: heading.
        dark: dark page.

    Raises:
        ValueError: missing columns, no rows, repeated rows, or a smallest effect that is not positive.
    """
    name = "effects_forest"
    rows = checked(
        effects, name, required=EFFECT_COLUMNS, numbers=NUMBERS, keys=("family", "contrast", "baseline", "treatment")
    )
    if smallest_effect is not None and not smallest_effect > 0:
        raise ValueError(f"{name}: smallest_effect must be positive, in {unit}; given: {smallest_effect!r}")
    families = list(dict.fromkeys(rows["family"].astype(str)))
    style = theme.page(dark)
    frame = Frame(width=1080, left=250, right=436, gap_down=34)
    sizes = {family: int((rows["family"].astype(str) == family).sum()) for family in families}
    filled = [(i + 1, 1) for i in range(len(families))]
    figure = panel_grid(
        len(families),
        1,
        filled,
        frame=frame,
        panel_height=[ROW_HEIGHT * sizes[family] + 8 for family in families],
        share_y=False,
    )
    seen: set[str] = set()
    for row, family in enumerate(families, start=1):
        group = rows[rows["family"].astype(str) == family].reset_index(drop=True)
        group["position"] = range(len(group))
        for verdict, part in group.groupby(group["verdict"].fillna("no verdict").astype(str), sort=False):
            figure.add_trace(effect_trace(part, str(verdict), quantity, unit, dark, seen), row=row, col=1)
            seen.add(str(verdict))
        label_rows(figure, group, row, frame, dark)
        panel_heading(figure, row, 1, f"<b>{panel_title(family, 60, 1)}</b>", dark=dark)
        figure.update_yaxes(
            tickvals=list(group["position"]),
            ticktext=[panel_title(str(label), 36, 2) for label in contrast_names(group)],
            range=[len(group) - 0.4, -0.6],
            showgrid=False,
            tickfont={"color": style.ink},
            row=row,
            col=1,
        )
        figure.add_vline(x=0, line={"color": style.zero, "width": 1.2}, layer="below", row=row, col=1)
        if smallest_effect is not None:
            figure.add_vrect(
                x0=-smallest_effect,
                x1=smallest_effect,
                fillcolor=style.band,
                line_width=0,
                layer="below",
                row=row,
                col=1,
            )
    heading_row(figure, frame, dark)
    figure.update_xaxes(
        title_text=f"mean paired difference in {escaped(quantity)}, baseline − treatment ({escaped(unit)})",
        row=len(families),
        col=1,
    )
    missing = missing_rows(rows, "mean_difference", ("family", "contrast"))
    subtitle = f"{count_label(rows['n'])} | right of 0: the treatment helps"
    if smallest_effect is not None:
        subtitle += f" | shaded: within ±{smallest_effect:g} {escaped(unit)}"
    return dressed(
        figure,
        title=escaped(title) if title else f"Effects on {escaped(quantity)}",
        subtitle=subtitle,
        notes=[missing_note(missing, ("family", "contrast"))],
        frame=frame,
        dark=dark,
        heading_lines=2,
        missing=missing,
    )


def contrast_names(group: pd.DataFrame) -> list[str]:
    """Names of the contrasts of a family: the alias where there is one."""
    if "alias" not in group.columns:
        return [str(name) for name in group["contrast"]]
    pairs = zip(group["alias"], group["contrast"], strict=True)
    return [str(contrast) if pd.isna(alias) else str(alias) for alias, contrast in pairs]


def effect_trace(
    part: pd.DataFrame, verdict: str, quantity: str, unit: str, dark: bool, seen: set[str]
) -> go.Scatter:
    """The points of one family with the same verdict."""
    colour, symbol = verdict_style(verdict, dark)
    words = [
        [escaped(contrast), escaped(baseline), escaped(treatment)]
        for contrast, baseline, treatment in zip(part["contrast"], part["baseline"], part["treatment"], strict=True)
    ]
    numbers = part[["low", "high", "n", "d_z", "win_percent", "p_sign_flip", "p_holm"]].to_numpy().tolist()
    return go.Scatter(
        x=part["mean_difference"].to_numpy(),
        y=part["position"].to_numpy(),
        error_x={
            "type": "data",
            "symmetric": False,
            "array": (part["high"] - part["mean_difference"]).to_numpy(),
            "arrayminus": (part["mean_difference"] - part["low"]).to_numpy(),
            "thickness": 2,
            "width": 0,
            "color": colour,
        },
        customdata=[number + word for number, word in zip(numbers, words, strict=True)],
        mode="markers",
        marker={"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2, "color": colour}},
        name=escaped(verdict),
        legendgroup=verdict,
        showlegend=verdict not in seen,
        meta={"verdict": verdict},
        hovertemplate="<b>%{customdata[7]}</b><br>baseline %{customdata[8]}<br>treatment %{customdata[9]}<br>"
        f"difference in {escaped(quantity)} %{{x:+.4f}} [%{{customdata[0]:+.4f}}, %{{customdata[1]:+.4f}}] "
        f"{escaped(unit)}<br>d_z %{{customdata[3]:.3f}}, win %{{customdata[4]:.1f}} %, n = %{{customdata[2]:,}}<br>"
        "p (sign flips) %{customdata[5]:.3g}, Holm %{customdata[6]:.3g}<br>"
        f"{escaped(verdict)}<extra></extra>",
    )


def text_position(fraction: float, frame: Frame) -> float:
    """Paper x of a text column: the panels end at 1, the right margin follows."""
    return 1 + fraction * frame.right / (frame.width - frame.left - frame.right)


def text_at(figure: go.Figure, fraction: float, text: str, frame: Frame, **options: object) -> None:
    """One piece of text in the right margin, at a fixed distance from the panels whatever the page's width is."""
    figure.add_annotation(
        text=text,
        x=1,
        xshift=round(fraction * frame.right),
        xref="paper",
        xanchor="left",
        showarrow=False,
        align="left",
        **options,
    )


def label_rows(figure: go.Figure, group: pd.DataFrame, row: int, frame: Frame, dark: bool) -> None:
    """The numbers and the verdict of every contrast, in columns to the right of its interval."""
    reference = figure.get_subplot(row, 1).xaxis.anchor
    for record in group.to_dict("records"):
        verdict = "no verdict" if pd.isna(record["verdict"]) else str(record["verdict"])
        colour, _ = verdict_style(verdict, dark)
        if pd.isna(record["mean_difference"]):
            interval = "undefined"
        else:
            interval = f"{signed(record['mean_difference'])} [{signed(record['low'])}, {signed(record['high'])}]"
        win = "–" if pd.isna(record["win_percent"]) else f"{record['win_percent']:.0f} %"
        texts = (interval, signed(record["d_z"], 2), win, p_value(record["p_holm"]), panel_title(verdict, 22, 2))
        for (fraction, heading), text in zip(TEXT_COLUMNS, texts, strict=True):
            strong = heading == "verdict" and verdict in ("helps", "hurts")
            text_at(
                figure,
                fraction,
                f"<b>{text}</b>" if strong else text,
                frame,
                y=record["position"],
                yref=reference,
                yanchor="middle",
                font={"size": theme.SMALL_SIZE, "color": colour if strong else theme.page(dark).ink},
            )


def heading_row(figure: go.Figure, frame: Frame, dark: bool) -> None:
    """The headings of the text columns, above the first family."""
    for fraction, heading in TEXT_COLUMNS:
        text_at(
            figure,
            fraction,
            heading,
            frame,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=2,
            font={"size": theme.SMALL_SIZE, "color": theme.page(dark).muted},
        )
