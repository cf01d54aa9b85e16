"""Which attention an edit of attention calls concerns, as text: ``rows->keys@layers/heads``.

``rows``: decoder roles joined by ``+``, ``predicting`` (the rows whose logits predict the answer) among them,
or ``decoder`` for every row; or encoder roles, or ``encoder``, for the encoder's self-attention. ``keys``: roles
joined by ``+``, ``encoder`` or ``decoder`` for all of a stack, or ``all-bos`` for every key but the BOS.
``@layers``: a window (:mod:`interventions.levels.layer_windows`); left out, all. ``/heads``: ``/h0+3``, ``/h0-2``; left
out, all. ``predicting->bos@20-33/h0+3`` · ``predicting->document+prefix@0%-25%`` · ``document->prefix@all``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from budgetlens.design.intervention import Context, LevelError
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, PREDICTING
from interventions.levels.layer_windows import LayerWindow, parse_window, window_layers
from interventions.levels.values import role_set

#: What a level looks like, for errors.
FORM = "'rows->keys@layers/heads', for example 'predicting->bos@20-33/h0+3', 'answer->all-document@0%-25%'"

_HEADS = re.compile(r"h(\d+(?:-\d+)?(?:\+\d+(?:-\d+)?)*)")
_STACKS = {"encoder": ENCODER_ROLES, "decoder": DECODER_ROLES}


@dataclass(frozen=True)
class EdgeChoice:
    """Rows, keys, layers and heads as a level names them; ``rows`` None is every row of ``stack``.

    ``all_but`` tells that ``keys`` are the ones that stay.
    """

    stack: str
    rows: frozenset[str] | None
    keys: frozenset[str]
    all_but: bool
    window: LayerWindow
    heads: frozenset[int] | None

    def settings(self, context: Context) -> dict[str, Any]:
        """The fields of :class:`budgetlens.model.edits.Edges` for the model of ``context``.

        Raises LevelError for layers that the stack does not have.
        """
        return {
            "keys": self.keys,
            "rows": self.rows,
            "stack": self.stack,
            "layers": window_layers(self.window, self.stack, context),
            "heads": self.heads,
        }


def parse_edges(text: str, *, all_but: bool = False) -> EdgeChoice:
    """A choice of attention from text; ``all_but`` tells whether ``all-ROLE`` is a meaningful set of keys.

    Raises LevelError with the expected form.
    """
    edges, _, where = text.partition("@")
    edges, slash, heads = edges.partition("/") if not where else (edges, *where.partition("/")[1:])
    rows, arrow, keys = edges.partition("->")
    if not arrow or not rows or not keys:
        raise LevelError(f"{text!r} names no attention; give {FORM}")
    stack, row_roles = _rows(rows)
    keeps = keys.startswith("all-")
    if keeps and not all_but:
        raise LevelError(f"{text!r}: name the keys that are meant; 'all-…' is for knockout alone")
    key_roles = _keys(keys.removeprefix("all-").replace("-", "+") if keeps else keys)
    if stack == "encoder" and not key_roles <= set(ENCODER_ROLES):
        raise LevelError(
            f"{text!r}: rows of the encoder see keys of the encoder alone, {', '.join(ENCODER_ROLES)}"
        )
    return EdgeChoice(
        stack=stack,
        rows=row_roles,
        keys=key_roles,
        all_but=keeps,
        window=parse_window(where.partition("/")[0] or "all"),
        heads=_heads(heads, text) if slash else None,
    )


def _rows(text: str) -> tuple[str, frozenset[str] | None]:
    if text in _STACKS:
        return text, None
    roles = role_set(text, (*DECODER_ROLES, PREDICTING, *ENCODER_ROLES))
    if roles and roles <= set(ENCODER_ROLES):
        return "encoder", roles
    if roles and not roles & set(ENCODER_ROLES):
        return "decoder", roles
    raise LevelError(f"rows are of one stack, and {text!r} is not; give {FORM}")


def _keys(text: str) -> frozenset[str]:
    parts = [text_part.strip() for text_part in text.split("+")]
    stacks = [role for part in parts for role in _STACKS.get(part, ())]
    roles = role_set(
        "+".join(part for part in parts if part not in _STACKS), (*DECODER_ROLES, *ENCODER_ROLES)
    )
    if not roles and not stacks:
        raise LevelError(f"{text!r} names no keys; give {FORM}")
    return roles | frozenset(stacks)


def _heads(text: str, level: str) -> frozenset[int]:
    match = _HEADS.fullmatch(text)
    if not match:
        raise LevelError(f"{level!r}: heads are 'h0', 'h0+3' or 'h0-2', counted from 0; got {text!r}")
    heads: set[int] = set()
    for part in match[1].split("+"):
        first, _, last = part.partition("-")
        heads.update(range(int(first), int(last or first) + 1))
    if not heads:
        raise LevelError(f"{level!r}: {text!r} holds no head")
    return frozenset(heads)
