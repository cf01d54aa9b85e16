"""Roles: what a position is. A budget is a share of attention by role of the keys."""

from __future__ import annotations

from dataclasses import dataclass

from budgetlens.registry.labels import Label

#: Encoder roles, in the order in which they stand in the input.
ENCODER_ROLES: tuple[str, ...] = ("bos", "prefix", "separator", "document", "eos")
#: Decoder roles, in the order in which they stand in the input.
DECODER_ROLES: tuple[str, ...] = ("start", "prompt", "answer")
#: All roles; the position of a role in this tuple is its code in role arrays.
ROLES: tuple[str, ...] = ENCODER_ROLES + DECODER_ROLES
ROLE_CODES: dict[str, int] = {role: code for code, role in enumerate(ROLES)}
#: What readers see of a role: BOS and EOS as they are written, the others by their names.
ROLE_LABELS: dict[str, Label] = {
    "bos": Label("BOS", "the encoder's BOS"),
    "prefix": Label("prefix", "the prefix"),
    "separator": Label("separator", "the separator behind the prefix"),
    "document": Label("document", "the document"),
    "eos": Label("EOS", "the encoder's EOS"),
    "start": Label("start", "the decoder's start"),
    "prompt": Label("prompt", "the decoder's prompt"),
    "answer": Label("answer", "the answer so far"),
}
#: Rows whose logits predict the answer's tokens: the last row before the answer and all of it but its last.
#: The role ``answer`` is of the rows that *hold* them. A group of rows only: keys have no such name.
PREDICTING = "predicting"
#: Whose attention can be read: the rows that predict the answer's tokens, those that hold them, or those that predict
#: the tokens of the answer that the model generates by itself.
GENERATED = "generated"
READ_ROWS: tuple[str, ...] = (PREDICTING, "holding", GENERATED)
#: Code of padding in role arrays: padding has no role.
PADDING = -1


def roles_of(stack: str, block: str) -> tuple[str, ...]:
    """The roles that keys of an attention call can have.

    ``stack`` is ``encoder`` or ``decoder``; ``block`` is ``self``, ``cross`` or ``merged``, or ``joint`` for self and cross
    together where each has a softmax of its own.
    """
    if stack == "encoder" or block == "cross":
        return ENCODER_ROLES
    if block == "self":
        return DECODER_ROLES
    if block in ("merged", "joint"):
        return DECODER_ROLES + ENCODER_ROLES
    raise ValueError(
        f"no attention block {block!r} in stack {stack!r}; blocks are self, cross, merged and joint"
    )


@dataclass(frozen=True)
class TokenKeys:
    """The numbers of a trial's input tokens, of which each key is one: the encoder's from 0, then the decoder's."""

    encoder: int
    decoder: int

    def of(self, stack: str, block: str) -> tuple[str, ...]:
        """The tokens that are keys of a block, in their order there; the decoder's come first where there are both."""
        own = range(self.encoder, self.encoder + self.decoder)
        other = range(self.encoder)
        if stack == "encoder" or block == "cross":
            return tuple(map(str, other))
        return tuple(map(str, own if block == "self" else (*own, *other)))


def parse_roles(text: str, known: tuple[str, ...] = ENCODER_ROLES) -> frozenset[str]:
    """``"prefix+separator"`` to ``{"prefix", "separator"}``; ``"none"`` and ``""`` to the empty set.

    Raises ValueError that names the unknown role and the known ones.
    """
    if text in ("", "none"):
        return frozenset()
    roles = frozenset(part.strip() for part in text.split("+"))
    unknown = sorted(roles - set(known))
    if unknown:
        raise ValueError(
            f"unknown role(s) {unknown} in {text!r}; known: {list(known)}, joined by '+', or 'none'"
        )
    return roles
