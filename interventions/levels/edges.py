"""Which attention edits of attention calls concern, as text: ``rows->keys@layers/heads``.

``rows``: decoder roles joined by ``+``, ``predicting`` (the rows whose logits predict the answer) among them,
or ``decoder`` for every row; or encoder roles, or ``encoder``, for the encoder's self-attention. ``keys``: roles
joined by ``+``, ``encoder`` or ``decoder`` for all of a stack, or ``all-bos`` for every key but the BOS.
``@layers``: a window (:mod:`interventions.levels.layer_windows`); left out, all. ``/heads``: ``/h0+3``, ``/h0-2``; left
out, all; ``/random:K``: K heads of every layer, drawn by chance and the same in every example, of which ``#2`` behind
the level is another draw. Another ``@`` names further layers with heads of their own: ``@2/h1+5@4/h0-3``; a layer that
several name has the heads of all of them. ``predicting->bos@20-33/h0+3`` · ``predicting->document+prefix@0%-25%`` ·
``document->prefix@all`` · ``predicting->document@2/h1+5@4/h0-3`` · ``predicting->document@2/random:1#3``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from budgetlens.design.intervention import Context, LevelError
from budgetlens.model.edits import Edges, RandomHeads
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, PREDICTING, ROLE_LABELS, ROLES
from interventions.levels.layer_windows import LayerWindow, number_of, parse_window, window_layers
from interventions.levels.values import role_set, whole_number

EdgesEdit = TypeVar("EdgesEdit", bound=Edges)

#: What a level looks like, for errors.
FORM = (
    "'rows->keys@layers/heads', for example 'predicting->bos@20-33/h0+3', 'answer->all-document@0%-25%' or, with other "
    "heads in other layers, 'predicting->document@2/h1+5@4/h0-3'"
)

#: More heads than any layer of a model has.
MOST_HEADS = 1_000

#: What stands before the number of heads that are drawn by chance.
_RANDOM = "random:"

_HEADS = re.compile(r"h(\d+(?:-\d+)?(?:\+\d+(?:-\d+)?)*)")
_STACKS = {"encoder": ENCODER_ROLES, "decoder": DECODER_ROLES}


@dataclass(frozen=True)
class HeadChoice:
    """Heads of some layers; ``heads`` None is all of them, a number so many of each layer, by chance."""

    window: LayerWindow
    heads: frozenset[int] | int | None = None

    @property
    def words(self) -> str:
        """Layers and heads as people read them, behind a comma; empty where all are meant."""
        told = f"layers {self.window.text}" + _head_words(self.heads)
        return "" if told == "layers all" else f", {told}"


@dataclass(frozen=True)
class EdgeChoice:
    """Rows, keys and heads by layer as a level names them; ``rows`` None is every row of ``stack``.

    ``all_but`` tells that ``keys`` are the ones that stay.
    """

    stack: str
    rows: frozenset[str] | None
    keys: frozenset[str]
    all_but: bool
    heads: tuple[HeadChoice, ...]

    @property
    def words(self) -> str:
        """Rows, keys and layers as people read them."""
        rows = f"{self.stack} rows" if self.rows is None else f"{_roles(self.rows)} rows"
        keys = f"all keys but {_roles(self.keys)}" if self.all_but else _roles(self.keys)
        places = [choice.words.removeprefix(", ") or "layers all" for choice in self.heads]
        return f"{rows} to {keys}" + ("" if places == ["layers all"] else f", {' and '.join(places)}")

    def edits(self, kind: Callable[..., EdgesEdit], context: Context) -> tuple[EdgesEdit, ...]:
        """Edits of ``kind`` for the model of ``context``: one for all layers in which the same heads are meant.

        No layer is in two of them, so that an edit which is not idempotent is made once.
        Raises LevelError for layers that the stack does not have, or of which named and random heads are meant.
        """
        heads: dict[int, frozenset[int] | RandomHeads | None] = {}
        for choice in self.heads:
            own = choice.heads
            drawn = RandomHeads(own, context.seed, context.draw) if isinstance(own, int) else own
            for layer in sorted(window_layers(choice.window, self.stack, context)):
                heads[layer] = _joined(heads[layer], drawn, layer) if layer in heads else drawn
        layers: dict[frozenset[int] | RandomHeads | None, list[int]] = {}
        for layer, chosen in heads.items():
            layers.setdefault(chosen, []).append(layer)
        return tuple(
            kind(keys=self.keys, rows=self.rows, stack=self.stack, layers=frozenset(own), heads=chosen)
            for chosen, own in layers.items()
        )


def _roles(roles: frozenset[str]) -> str:
    told = [role for role in (PREDICTING, *ROLES) if role in roles]
    return " and ".join(ROLE_LABELS[role].short if role in ROLE_LABELS else role for role in told)


def _head_words(heads: frozenset[int] | int | None) -> str:
    if heads is None:
        return ""
    if isinstance(heads, int):
        return f", {heads} random head{'s' if heads > 1 else ''} of each"
    return f", head{'s' if len(heads) > 1 else ''} {'+'.join(map(str, sorted(heads)))}"


def parse_edges(text: str, *, all_but: bool = False) -> EdgeChoice:
    """A choice of attention from text; ``all_but`` tells whether ``all-ROLE`` is a meaningful set of keys.

    Raises LevelError with the expected form.
    """
    edges, *places = text.split("@")
    if not places:
        edges, slash, heads = edges.partition("/")
        places = [f"all{slash}{heads}"]
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
        heads=tuple(parse_head_choice(place, text) for place in places),
    )


def _joined(
    first: frozenset[int] | RandomHeads | None, second: frozenset[int] | RandomHeads | None, layer: int
) -> frozenset[int] | RandomHeads | None:
    if isinstance(first, RandomHeads) or isinstance(second, RandomHeads):
        raise LevelError(f"layer {layer} is named twice, once with random heads; name it once")
    return None if first is None or second is None else first | second


def parse_head_choice(text: str, level: str) -> HeadChoice:
    """Layers, and heads of them behind a slash, as they stand behind an ``@``; LevelError names the whole ``level``."""
    window, slash, heads = text.partition("/")
    if heads.startswith(_RANDOM):
        count = whole_number(heads.removeprefix(_RANDOM), f"{level!r}: the number of random heads", least=1)
        return HeadChoice(parse_window(window), count)
    return HeadChoice(parse_window(window), _heads(heads, level) if slash else None)


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
        raise LevelError(
            f"{level!r}: heads are 'h0', 'h0+3' or 'h0-2', counted from 0, or 'random:1'; got {text!r}. Heads of other "
            "layers follow another '@', as in '@2/h1+5@4/h0-3'"
        )
    heads: set[int] = set()
    for part in match[1].split("+"):
        first, _, last = part.partition("-")
        low, high = (number_of(digits, level) for digits in (first, last or first))
        # Before they are counted out: billions would fill the memory.
        if max(low, high) >= MOST_HEADS:
            raise LevelError(
                f"{level!r}: {text!r} names head {max(low, high)}, and no model has more than {MOST_HEADS:,} in a layer; "
                "give heads from 0 to one less than the model has"
            )
        heads.update(range(low, high + 1))
    if not heads:
        raise LevelError(f"{level!r}: {text!r} holds no head")
    return frozenset(heads)
