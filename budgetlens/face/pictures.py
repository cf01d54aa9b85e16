"""Figures of a reading: where its answer looks, token by token, and what a probe measured, layer by layer."""

from __future__ import annotations

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.model.declaration import Declaration
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.token_attention import token_attention
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.tables.probe_maps import records_map
from figures import token_view

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
) -> Figure:
    """The token view of one layer, the last by default. Raises ValueError for a layer, head or row that is not there."""
    layer = model.trial_tokenizer.depths["decoder"] - 1 if layer is None else layer
    tokens = token_attention(model, trial, layers=[layer], rows=rows, cell=_CELL)
    heads = "mean over heads" if head is None else f"head {head}"
    return token_view(
        tokens, layer=layer, head=head, row=row, title=f"Where the answer looks, layer {layer}, {heads}"
    )


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
