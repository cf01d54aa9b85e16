"""Figures of a reading: where its answer looks, token by token, and what a probe measured, layer by layer."""

from __future__ import annotations

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.model.declaration import Declaration
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.observation import AnyProbe, available_probes
from budgetlens.model.token_attention import token_attention
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.registry.names import name_of
from budgetlens.tables.probe_maps import records_map, token_measure
from figures import TokenMeasure, token_view
from figures.token_measures import SHARE

#: The one cell of a reading's figures.
_CELL = "these texts"


def token_picture(
    model: LoadedModel,
    trial: TokenizedTrial,
    rows: str,
    *,
    layer: int | None,
    head: int | None,
    row: int | None,
    measure: AnyProbe | None,
) -> Figure:
    """The token view of one layer, the last by default: of attention, or of what a probe of contributions measures.

    Raises ValueError for a layer, head or row that is not there, and for a probe of anything but contributions.
    """
    layer = model.trial_tokenizer.depths["decoder"] - 1 if layer is None else layer
    measures = () if measure is None else (measure,)
    what, drawn = ("Where the answer looks", SHARE) if measure is None else _drawn(measure)
    tokens = token_attention(model, trial, layers=[layer], rows=rows, cell=_CELL, measures=measures)
    over = "sum" if drawn.adds_heads else "mean"
    heads = f"{over} over heads" if head is None else f"head {head}"
    title = f"{what}, layer {layer}, {heads}"
    return token_view(tokens, layer=layer, head=head, row=row, measure=drawn, title=title)


def _drawn(measure: AnyProbe) -> tuple[str, TokenMeasure]:
    """What a probe of contributions is called, and how its tested quantity is drawn."""
    declared = measure.declares
    if not declared.contributes:
        known = [name for name, made in available_probes().items() if made.declares.contributes]
        raise ValueError(
            f"{name_of(measure)!r} is no measure of what rows take from keys; those are {', '.join(known)}"
        )
    return declared.label.short, token_measure(name_of(measure), declared)


def probe_picture(probe: str, declared: Declaration, records: pd.DataFrame) -> Figure:
    """What a probe of attention measured in the decoder, by layer. Raises ValueError for a probe that has no layers."""
    if not declared.axis:
        raise ValueError(
            f"{probe!r} measures the answer as a whole and has no layers to draw; see records({probe!r})"
        )
    own = records[records["side"] == "decoder"].rename(columns={"side": "stack"}).assign(cell=_CELL)
    quantity = declared.tested or declared.quantities[0]
    return records_map(
        own, declared, quantity, labels={_CELL: _CELL}, title=f"{declared.label.short} of these texts"
    )
