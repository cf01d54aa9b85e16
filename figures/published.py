"""Published figures beside measured ones."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from figures import theme
from figures.columns import checked
from figures.labels import contrast_label, count_label, escaped, factor_levels, panel_title, plain_number
from figures.looks import redrawable
from figures.missing import missing_note, missing_rows
from figures.panels import Frame, dressed, span
from figures.rows import interval_error, row_panels, row_text

COMPARED_COLUMNS = (
    "quantity",
    "baseline",
    "treatment",
    "layer",
    "part",
    "unit",
    "n",
    "published",
    "measured",
    "low",
    "high",
    "agreement",
)
TEXT_COLUMNS = ((0.03, "published"), (0.22, "measured [interval]"), (0.72, "agreement"))


@redrawable
def published_beside_measured(
    compared: pd.DataFrame, *, title: str | None = None, dark: bool = False, narrow: bool = False
) -> go.Figure:
    """Every published figure as a hollow diamond beside the measured one with its interval, by quantity.

    Args:
        compared: columns quantity, baseline, treatment, layer, part, unit, n, published, measured, low, high,
            agreement, one row per figure; quantities have an axis each.
        title: heading.
        dark: dark page.
        narrow: for a phone.

    Raises:
        ValueError: missing columns or no rows.
    """
    name = "published_beside_measured"
    rows = checked(
        compared, name, required=COMPARED_COLUMNS, numbers=("n", "published", "measured", "low", "high")
    )
    for column in ("quantity", "unit", "agreement"):
        rows[column] = rows[column].fillna("").astype(str)
    rows["label"] = [compared_label(record) for record in rows.to_dict("records")]
    groups, units = {}, []
    for (quantity, unit), part in rows.groupby(["quantity", "unit"], sort=False):
        group = str(quantity) if str(quantity) not in groups else f"{quantity} ({unit})"
        groups[group] = part
        units.append(str(unit) or "no unit")
    frame = Frame(width=1060, left=256, right=330, gap_down=62).fitted(narrow, left=14, right=14)
    labels = {group: list(part["label"]) for group, part in groups.items()}
    figure, annotations = row_panels(labels, frame, TEXT_COLUMNS, dark, share_x=False)
    for row, (group, part) in enumerate(groups.items(), start=1):
        part = part.assign(position=range(len(part)))
        for trace in compared_traces(part, group, dark):
            trace.showlegend = row == 1
            figure.add_trace(trace, row=row, col=1)
        for record in part.to_dict("records"):
            texts = row_texts(record)
            if narrow:
                texts = (f"published {texts[0]}", f"measured {texts[1]}", texts[2])
            annotations += row_text(figure, row, record["position"], texts, TEXT_COLUMNS, frame, dark)
        figure.update_xaxes(range=span(part[["published", "measured", "low", "high"]]), row=row, col=1)
        figure.update_xaxes(title={"text": panel_title(units[row - 1], 70, 1), "standoff": 2}, row=row, col=1)
    missing = missing_rows(rows, "measured", ("quantity", "label"))
    return dressed(
        figure,
        title=escaped(title) if title else "Published beside measured",
        subtitle=f"measured: {count_label(rows['n'])} · lines: intervals of the measured figures; "
        "published figures are taken as exact",
        notes=[missing_note([{**m, "first": m["label"]} for m in missing], ("first", "quantity"))],
        frame=frame,
        dark=dark,
        legends=["figure  "],
        annotations=annotations,
        missing=missing,
    )


def compared_label(record: dict) -> str:
    """What a published figure is of: its cells, shortened, its layer and its part."""
    baseline, treatment = (
        "" if pd.isna(record[side]) else str(record[side]) for side in ("baseline", "treatment")
    )
    if baseline and treatment:
        cells = contrast_label(f"{baseline} → {treatment}", baseline, treatment)
    else:
        one = baseline or treatment
        cells = " · ".join((factor_levels(one) or {one: one}).values()) if one else ""
    layer = "" if pd.isna(record["layer"]) else str(record["layer"]).removesuffix(".0")
    parts = [cells]
    if layer:
        parts.append(layer if "layer" in layer else f"layer {layer}")
    if not pd.isna(record["part"]) and str(record["part"]):
        parts.append(str(record["part"]))
    return ", ".join(part for part in parts if part)


def compared_traces(part: pd.DataFrame, group: str, dark: bool) -> list[go.Scatter]:
    """The published and the measured figures of one quantity."""
    style = theme.page(dark)
    words = [
        [escaped(label), escaped(agreement)]
        for label, agreement in zip(part["label"], part["agreement"], strict=True)
    ]
    numbers = part[["published", "measured", "low", "high", "n"]].to_numpy().tolist()
    shared = {
        "y": part["position"].to_numpy(),
        "customdata": [[*number, *word] for number, word in zip(numbers, words, strict=True)],
        "mode": "markers",
        "hovertemplate": f"<b>{escaped(group)}</b><br>%{{customdata[5]}}<br>"
        "published %{customdata[0]:.4f}<br>"
        "measured %{customdata[1]:.4f} [%{customdata[2]:.4f}, %{customdata[3]:.4f}]<br>"
        "n = %{customdata[4]:,}<br>%{customdata[6]}<extra></extra>",
    }
    measured = go.Scatter(
        x=part["measured"].to_numpy(),
        error_x=interval_error(part["measured"], part["low"], part["high"], "#14967B"),
        marker={"color": "#14967B", "symbol": "circle", "size": 9},
        name="measured",
        legendgroup="measured",
        meta={"group": group, "what": "measured"},
        **shared,
    )
    published = go.Scatter(
        x=part["published"].to_numpy(),
        marker={
            "color": style.ink,
            "symbol": "diamond-open",
            "size": 11,
            "line": {"width": 1.8, "color": style.ink},
        },
        name="published",
        legendgroup="published",
        meta={"group": group, "what": "published"},
        **shared,
    )
    return [measured, published]


def row_texts(record: dict) -> tuple[str, str, str]:
    """Published, measured with interval, and the verdict on them."""
    measured = plain_number(record["measured"])
    if not pd.isna(record["low"]) and not pd.isna(record["high"]):
        measured += f" [{plain_number(record['low'])}, {plain_number(record['high'])}]"
    return plain_number(record["published"]), measured, panel_title(record["agreement"], 16, 2)
