"""Attention token by token: every answer row, or encoder position, over every key, per layer and head, for one trial.

The numbers come from the same capture as budgets: each row is made an owner of its own, and a probe
whose categories are the keys reads it. Sums by role are therefore the budgets of the run's records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from budgetlens.model.attention import RowAttention, Site
from budgetlens.model.batching import Rows, make_batch
from budgetlens.model.capture import Probing, capture
from budgetlens.model.declaration import Declaration
from budgetlens.model.loaded import LoadedModel, pad_token
from budgetlens.model.observation import AnyProbe, probe
from budgetlens.model.roles import TokenKeys
from budgetlens.model.sublayer import JOINT
from budgetlens.model.tokenization import TokenizedTrial
from budgetlens.model.trials import Edit
from budgetlens.registry.names import name_of
from budgetlens.statistics.quantities import Quantity

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COLUMNS = (
    "cell",
    "block",
    "layer",
    "head",
    "row",
    "row_token",
    "key",
    "key_token",
    "role",
    "share",
    "hidden",
)

#: The column of attention itself.
SHARE = "share"

#: Pieces of words that follow a space begin with one of these in vocabularies (SentencePiece, byte-level).
_SPACES = ("\u2581", "\u0120")
_UNDECODABLE = "\ufffd"


@probe("token_shares")
@dataclass(frozen=True)
class _TokenShares:
    """Share of every key by itself, where a trial is read token by token."""

    declares = Declaration(
        title="Shares of single keys",
        quantities=(Quantity("share", "share", "fraction of attention"),),
        axis="key",
    )

    def categories(self, site: Site) -> tuple[str, ...]:
        """The keys, as the model orders them: the decoder's before the encoder's."""
        return site.roles

    def observe(self, attention: RowAttention) -> Mapping[str, Tensor]:
        """``share``: batch × head × row × key, between 0 and 1, exactly 0 at hidden keys."""
        # Behind the trial's own keys there may be padding.
        return {"share": attention.probabilities[..., : len(attention.site.roles)]}


def token_attention(
    model: LoadedModel,
    tokenized_trial: TokenizedTrial,
    *,
    layers: Iterable[int] | None = None,
    rows: str = "predicting",
    edits: Sequence[Edit] = (),
    cell: str = "trial",
    measures: Sequence[AnyProbe] = (),
) -> pd.DataFrame:
    """Attention of every answer row over every key, per decoder layer and head: what `figures.token_view` draws.

    The trial runs alone, under its own edits and those given here besides.

    Args:
        model: the model.
        tokenized_trial: one trial.
        layers: decoder layers; all by default.
        rows: ``predicting`` reads the rows that predict the answer's tokens, ``holding`` those that hold them.
        edits: further edits of attention calls.
        cell: what the trial is called in the column ``cell``.
        measures: probes whose records are by role; of each, its tested quantity key by key is a column of its name.

    Returns:
        One row per block, layer, head, answer row and key. ``row`` counts the answer's tokens from 0 and
        ``row_token`` is that token's text, which the row predicts or holds; ``key`` counts the encoder's
        positions from 0 and then the decoder's; ``role`` is the key's; ``share`` (0 to 1, float32) sums to 1 over
        the keys of one block, and is exactly 0 where a key is hidden; ``hidden`` says of which keys the trial hides
        from the decoder. A measure that no head has by itself stands in every head's rows; where it is of both blocks
        of a layer alone, in those of either.

    Raises:
        ValueError: a layer that the decoder does not have, or unknown rows.
        EditError: an edit matches no attention call.
    """
    names = [name_of(measure) for measure in measures]
    found = values_by_site(
        model, tokenized_trial, (_TokenShares(), *measures), "decoder", layers, rows, edits
    )
    keys = key_table(model.tokenizer, tokenized_trial)
    answer = tokenized_trial.decoder_ids[-tokenized_trial.answer_tokens :]
    row_tokens = token_texts(model.tokenizer, answer)
    frames = []
    for site, own in found.items():
        if SHARE in own:
            shares, of_site = own[SHARE], keys_of(site, keys)
            frame = _frame(site, shares, of_site, row_tokens, cell)
            both = found.get(Site(site.stack, JOINT, site.layer), {})
            for name in names:
                # Of both blocks together a block has the columns of its own keys.
                values = own[name] if name in own else both[name][..., of_site["key"].to_numpy()]
                frame[name] = np.broadcast_to(values, shares.shape).reshape(-1)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def shares_by_site(
    model: LoadedModel,
    tokenized_trial: TokenizedTrial,
    *,
    stack: str = "decoder",
    layers: Iterable[int] | None = None,
    rows: str = "predicting",
    edits: Sequence[Edit] = (),
) -> dict[Site, Float[np.ndarray, "head row key"]]:
    """Attention of one trial at every site of a stack: head × row × key, float32, keys as :func:`keys_of` orders them.

    In the decoder the rows are the answer's, ``predicting`` or ``holding``; in the encoder every position.
    Raises as :func:`token_attention` does.
    """
    found = values_by_site(model, tokenized_trial, (_TokenShares(),), stack, layers, rows, edits)
    return {site: values[SHARE] for site, values in found.items()}


def values_by_site(
    model: LoadedModel,
    trial: TokenizedTrial,
    probes: tuple[AnyProbe, ...],
    stack: str,
    layers: Iterable[int] | None,
    rows: str,
    edits: Sequence[Edit],
) -> dict[Site, dict[str, Float[np.ndarray, "head row key"]]]:
    """What probes read key by key at every site of a stack, by their names; of :class:`_TokenShares` under ``share``.

    Head × row × key, the encoder's keys before the decoder's; a head alone where a probe reads all heads together. Of each
    probe its tested quantity, or its first. Raises as :func:`token_attention` does.
    """
    wanted = _checked_layers(model, stack, layers)
    batch = make_batch([trial], pad_token=pad_token(model), rows=rows, device=model.device)
    keys = TokenKeys(len(trial.encoder_ids), len(trial.decoder_ids))
    # Only the rows of this stack are owners of their own; the others have no reader.
    if stack == "encoder":
        owners = _arange_like(batch.encoder_ids[:, : keys.encoder])
        owner = rearrange(owners, "row -> 1 row").repeat(len(batch.encoder_ids), 1)
        index = owner.clone()
        # Passes behind the first are donors.
        owner[1:] = -1
        batch = replace(batch, encoder_rows=Rows(index, owner, keys.encoder), encoder_owners=owners)
    else:
        batch = replace(batch, chosen=_each_row(batch.chosen), answer=_each_row(batch.answer))
    reading = Probing(probes, layers=wanted, encoder=stack == "encoder", tokens=keys)
    found: dict[Site, dict[str, Float[np.ndarray, "head row key"]]] = {}
    for observation in capture(model, batch, reading, edits).observations:
        site = Site(observation.site.stack, observation.site.block, observation.site.layer)
        tokens = observation.site.tokens or ()
        # Parts that are no token, as biases are, have no place among the keys.
        if site.stack == stack and set(tokens) & set(observation.categories):
            declared = next(one.declares for one in probes if name_of(one) == observation.probe)
            values = observation.values[(declared.tested or declared.quantities[0]).name]
            name = SHARE if observation.probe == name_of(_TokenShares) else observation.probe
            found.setdefault(site, {})[name] = _in_drawing_order(tokens, observation.categories, values)
    return found


def _each_row(rows: Rows) -> Rows:
    """The rows of one trial, each an owner of its own."""
    return Rows(rows.index, rearrange(_arange_like(rows.index), "row -> 1 row"), rows.index.shape[1])


def _in_drawing_order(
    tokens: Sequence[str], categories: Sequence[str], values: Float[np.ndarray, "row head category"]
) -> Float[np.ndarray, "head row key"]:
    """Values by key, the encoder's keys before the decoder's, which the model has in front."""
    order = [categories.index(name) for name in sorted(tokens, key=int)]
    return rearrange(values[..., order], "row head key -> head row key").astype(np.float32)


def token_texts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """The text of every token by itself, with the space before it where the token begins with one."""
    texts = []
    for token, piece in zip(ids, tokenizer.convert_ids_to_tokens(list(ids)), strict=True):
        text = str(tokenizer.decode([token]))
        # A part of a character has no text of its own; its name in the vocabulary has.
        if not text or _UNDECODABLE in text:
            text = piece or f"<{token}>"
        if piece and piece.startswith(_SPACES) and not text.startswith(" "):
            text = f" {text}" if text.strip(_SPACES[0]) else " "
        texts.append(text)
    return texts


def _checked_layers(model: LoadedModel, stack: str, layers: Iterable[int] | None) -> frozenset[int] | None:
    if layers is None:
        return None
    wanted = frozenset(layers)
    known = {site.layer for site in model.sites(stack)}
    unknown = sorted(wanted - known)
    if unknown or not wanted:
        raise ValueError(
            f"layers {unknown or 'none'} were asked for; {model.name} has {stack} layers 0 to {max(known)}"
        )
    return wanted


def _arange_like(index: Tensor) -> Tensor:
    return index.new_ones(index.shape[1]).cumsum(0) - 1


def key_table(tokenizer: PreTrainedTokenizerBase, trial: TokenizedTrial) -> pd.DataFrame:
    """key, key_token, role, hidden of every key: the encoder's positions, then the decoder's."""
    texts = token_texts(tokenizer, [*trial.encoder_ids, *trial.decoder_ids])
    roles = list(chain(trial.encoder_roles, trial.decoder_roles))
    hidden = [not visible for visible in trial.visible] + [False] * len(trial.decoder_ids)
    return pd.DataFrame(
        {"key": np.arange(len(texts)), "key_token": texts, "role": roles, "hidden": hidden}
    ).assign(encoder=np.arange(len(texts)) < len(trial.encoder_ids))


def keys_of(site: Site, keys: pd.DataFrame) -> pd.DataFrame:
    """The rows of a :func:`key_table` that are keys of a site, the encoder's first."""
    if site.block == "merged":
        return keys
    of_encoder = site.stack == "encoder" or site.block == "cross"
    return keys[keys["encoder"] == of_encoder]


def _frame(
    site: Site,
    shares: Float[np.ndarray, "head row key"],
    own: pd.DataFrame,
    row_tokens: Sequence[str],
    cell: str,
) -> pd.DataFrame:
    """Tidy rows of one site and its keys."""
    heads, rows, count = shares.shape
    values = rearrange(shares, "head row key -> (head row key)")
    each = heads * rows
    return pd.DataFrame(
        {
            "cell": _constant(cell, values.size),
            "block": _constant(site.block, values.size),
            "layer": np.full(values.size, site.layer, dtype=np.int16),
            "head": np.repeat(np.arange(heads, dtype=np.int16), rows * count),
            "row": np.tile(np.repeat(np.arange(rows, dtype=np.int32), count), heads),
            "row_token": _repeated(np.tile(np.repeat(np.arange(rows), count), heads), row_tokens),
            "key": np.tile(own["key"].to_numpy(dtype=np.int32), each),
            "key_token": _repeated(np.tile(np.arange(count), each), own["key_token"]),
            "role": _repeated(np.tile(np.arange(count), each), own["role"]),
            "share": values,
            "hidden": np.tile(own["hidden"].to_numpy(), each),
        }
    )


def _repeated(places: np.ndarray, texts: Iterable[str]) -> pd.Series:
    """Texts at their places, without a copy of each on the way."""
    return pd.Series(np.array(list(texts), dtype=object)[places], dtype="str")


def _constant(text: str, count: int) -> pd.Series:
    return pd.Series(np.full(count, text, dtype=object), dtype="str")
