"""Attention as a labelled array: one layer of one trial, head × row × key."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from budgetlens.face.arguments import is_whole
from budgetlens.model.attention import Site
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.token_attention import key_table, keys_of, shares_by_site, token_texts
from budgetlens.model.tokenization import TokenizedTrial

#: So many rows are shown in a notebook.
ROWS_SHOWN = 40


@dataclass(frozen=True, eq=False)
class Attention:
    """The attention of one layer, with a label for every row and key; ``numpy.asarray`` gives its values.

    ``values`` are probabilities, head × row × key, float32: each row sums to 1 over the keys of its softmax, and a
    hidden key has exactly 0. In the decoder a row stands for the answer token that it predicts (or holds, where the
    reading was asked for that), whose text is in ``rows``; in the encoder for the position itself. Keys are the
    encoder's positions and then, where the softmax has them, the decoder's; ``keys`` are their texts, ``key_roles``
    their roles, and ``hidden`` says which of them the decoder is not shown. ``side`` is encoder or decoder, ``block``
    merged, self or cross, and ``layer`` counts from 0.
    """

    values: Float[np.ndarray, "head row key"]
    rows: tuple[str, ...]
    row_roles: tuple[str, ...]
    keys: tuple[str, ...]
    key_roles: tuple[str, ...]
    hidden: tuple[bool, ...]
    side: str
    block: str
    layer: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The values, for numpy."""
        return np.array(self.values, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of heads, rows and keys."""
        heads, rows, keys = self.values.shape
        return heads, rows, keys

    def head(self, number: int) -> pd.DataFrame:
        """One head as a table, row × key, with their texts as labels; ValueError for a head that is not there."""
        count = len(self.values)
        if not is_whole(number) or not 0 <= number < count:
            raise ValueError(
                f"head {number!r} was asked for; layer {self.layer} of the {self.side} has heads 0 to {count - 1}"
            )
        return pd.DataFrame(
            self.values[number],
            index=pd.Index(self.rows, name="row"),
            columns=pd.MultiIndex.from_arrays([self.key_roles, self.keys], names=["role", "key"]),
        )

    def __repr__(self) -> str:
        heads, rows, keys = self.shape
        return (
            f"Attention of layer {self.layer} ({self.side}, {self.block}): {heads} heads × {rows} rows × {keys} keys; "
            ".values, .rows, .keys, .key_roles, .head(0)"
        )

    def _repr_html_(self) -> str:
        """Shares by row and role, mean over heads, in a notebook: the keys themselves may be thousands."""
        means = pd.DataFrame(
            self.values.mean(axis=0, dtype=np.float64), index=pd.Index(self.rows, name="row")
        )
        sums = means.T.groupby(np.array(self.key_roles), sort=False).sum().T
        shown = sums.head(ROWS_SHOWN).to_html(float_format="{:.3f}".format)
        return f"<p>{escape(repr(self))}; here, shares by role, mean over heads</p>{shown}"


def attention_of(
    model: LoadedModel, trial: TokenizedTrial, *, layer: int, side: str, block: str | None, rows: str
) -> Attention:
    """The attention of one layer of a trial. Raises ValueError for a side, block or layer that the model does not have."""
    site = _site(model, layer, side, block)
    layer = site.layer
    values = shares_by_site(model, trial, stack=side, layers=[layer], rows=rows)[site]
    keys = keys_of(site, key_table(model.tokenizer, trial))
    if side == "encoder":
        texts, roles = tuple(keys["key_token"]), trial.encoder_roles
    else:
        answer = trial.decoder_ids[-trial.answer_tokens :]
        texts = tuple(token_texts(model.tokenizer, answer))
        roles = tuple(trial.decoder_roles[row] for row in trial.answer_rows(rows))
    return Attention(
        values=values,
        rows=texts,
        row_roles=roles,
        keys=tuple(keys["key_token"]),
        key_roles=tuple(keys["role"]),
        hidden=tuple(keys["hidden"].tolist()),
        side=side,
        block=site.block,
        layer=layer,
    )


def _site(model: LoadedModel, layer: int, side: str, block: str | None) -> Site:
    if side not in ("encoder", "decoder"):
        raise ValueError(f"a side is encoder or decoder; got {side!r}")
    sites = model.sites(side)
    blocks = tuple(dict.fromkeys(site.block for site in sites))
    if block is None and len(blocks) > 1:
        raise ValueError(
            f"{model.name} has a softmax each for {' and '.join(blocks)} in its {side}; say which: "
            f"{' or '.join(f'block={own!r}' for own in blocks)}"
        )
    block = blocks[0] if block is None else block
    if block not in blocks:
        raise ValueError(
            f"the {side} of {model.name} has no block {block!r}; it has {' and '.join(map(repr, blocks))}"
        )
    known = [site.layer for site in sites]
    if not is_whole(layer) or layer not in known:
        raise ValueError(f"layer {layer!r} was asked for; {model.name} has {side} layers 0 to {max(known)}")
    return Site(side, block, int(layer))
