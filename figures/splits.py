"""Split bars: how much of an effect each of its parts makes up."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked
from figures.labels import bracketed, count_label, escaped, signed
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, dressed, guide, span
from figures.rows import BAR, NARROW_BAR, interval_error, row_panels, row_text

SPLIT_COLUMNS = (
    "contrast",
    "part",
    "n",
    "mean_difference",
    "low",
    "high",
    "share",
    "share_low",
    "share_high",
    "reason",
)
TEXT_COLUMNS = ((0.03, "mean [interval]"), (0.5, "share of the total [interval]"))


@redrawable
def split_bars(
    decomposition: pd.DataFrame,
    *,
    quantity: str = "answer NLL",
    unit: str = "nats",
    title: str | None = None,
    dark: bool = False,
    narrow: bool = False,
) -> go.Figure:
    """The parts of effects beside their totals, with intervals; parts may be negative, so they are not
    stacked.

    Args:
        decomposition: columns contrast, part ("total" for the whole), n, mean_difference, low, high (in
            `unit`), share, share_low, share_high (of the total, 1 = all of it), reason (why a share
            is withheld).
        quantity, unit: what is split, for the axis.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns, no rows, or repeated rows.
    """
    rows = checked(
        decomposition,
        "split_bars",
        required=SPLIT_COLUMNS,
        numbers=("n", "mean_difference", "low", "high", "share", "share_low", "share_high"),
        keys=("contrast", "part"),
    )
    rows[["contrast", "part"]] = rows[["contrast", "part"]].astype(str)
    rows["reason"] = rows["reason"].fillna("").astype(str)
    frame = Frame(width=1000, left=256, right=344, gap_down=36).fitted(narrow, left=14, right=14)
    effects = {str(effect): group for effect, group in rows.groupby("contrast", sort=False)}
    labels = {effect: list(group["part"]) for effect, group in effects.items()}
    figure, annotations = row_panels(labels, frame, TEXT_COLUMNS, dark)
    shapes = []
    for row, (effect, group) in enumerate(effects.items(), start=1):
        group = group.assign(position=range(len(group)))
        figure.add_trace(
            go.Bar(
                x=group["mean_difference"].to_numpy(),
                y=group["position"].to_numpy(),
                orientation="h",
                width=NARROW_BAR if narrow else BAR,
                error_x=interval_error(
                    group["mean_difference"],
                    group["low"],
                    group["high"],
                    theme.page(dark).ink,
                    thickness=1.5,
                    width=5,
                ),
                customdata=[
                    [*numbers, escaped(part), escaped(reason)]
                    for numbers, part, reason in zip(
                        group[["low", "high", "n", "share", "share_low", "share_high"]].to_numpy().tolist(),
                        group["part"],
                        group["reason"],
                        strict=True,
                    )
                ],
                marker={
                    "color": [bar_colour(part, dark) for part in group["part"]],
                    "line": {"width": 0},
                },
                showlegend=False,
                meta={"contrast": effect},
                hovertemplate="<b>%{customdata[6]}</b><br>"
                "%{x:+.4f} [%{customdata[0]:+.4f}, %{customdata[1]:+.4f}] "
                f"{escaped(unit)}<br>share of the total %{{customdata[3]:.1%}} "
                "[%{customdata[4]:.1%}, %{customdata[5]:.1%}]<br>%{customdata[7]}<br>"
                "n = %{customdata[2]:,}<br>"
                f"{escaped(effect)}<extra></extra>",
            ),
            row=row,
            col=1,
        )
        for record in group.to_dict("records"):
            texts = row_texts(record)
            if narrow and record["part"] != "total":
                texts = (texts[0], f"{texts[1]} of the total")
            annotations += row_text(
                figure,
                row,
                record["position"],
                texts[:1] if narrow and record["part"] == "total" else texts,
                TEXT_COLUMNS,
                frame,
                dark,
            )
        shapes.append(guide(figure, row, 1, x=(0.0, 0.0), colour=theme.page(dark).zero, width=1.2))
    figure.update_xaxes(range=span(rows[["mean_difference", "low", "high"]], include=0.0))
    figure.update_xaxes(
        title_text=f"mean difference in {escaped(quantity)} ({escaped(unit)})", row=len(effects), col=1
    )
    missing = missing_rows(rows, "mean_difference", ("contrast", "part"))
    withheld = rows[rows["share"].isna() & rows["reason"].ne("")]
    reasons = [
        f"{escaped(contrast)}: {', '.join(map(escaped, part['part']))} "
        f"({escaped(str(reason).removeprefix('withheld: '))})"
        for (contrast, reason), part in withheld.groupby(["contrast", "reason"], sort=False)
    ]
    return dressed(
        figure,
        title=escaped(title) if title else f"Effects on {escaped(quantity)}, split into their parts",
        subtitle=f"{count_label(rows['n'])} · parts add up to the total; lines: intervals",
        notes=[
            missing_note(missing, ("contrast", "part")),
            "Shares withheld: " + "; ".join(reasons[:4]) + ("; …" if len(reasons) > 4 else "") + "."
            if reasons
            else "",
        ],
        frame=frame,
        dark=dark,
        annotations=annotations,
        shapes=shapes,
        missing=missing,
    )


def bar_colour(part: str, dark: bool) -> str:
    """Totals in a darker grey than their parts: colours are of roles and of what helps and hurts."""
    return theme.page(dark).muted if part == "total" else theme.page(dark).zero


def row_texts(record: dict) -> tuple[str, str]:
    """Mean and share of one part, with intervals, or that they are undefined or withheld."""
    mean = f"{signed(record['mean_difference'])} {bracketed(record['low'], record['high'])}"
    if pd.isna(record["mean_difference"]):
        mean = "undefined"
    if pd.isna(record["share"]):
        return mean, "withheld"
    share = f"{whole_percent(record['share'])} %"
    if not pd.isna(record["share_low"]):
        share += f" [{whole_percent(record['share_low'])}, {whole_percent(record['share_high'])}]"
    return mean, share


def whole_percent(share: float) -> str:
    """A share in whole percent, a true minus, and no minus before 0."""
    return f"{round(100 * share)}".replace("-", "−")
