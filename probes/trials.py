"""What one example feeds the model in one cell, before any token exists.

A :class:`Trial` is text (or token ids) cut into segments, each with one role, plus what the decoder
may not see of the encoder. Interventions rewrite trials; :mod:`probes.tokenization` turns them into
positions. No other module does index arithmetic on inputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from probes.roles import DECODER_ROLES, ENCODER_ROLES

if TYPE_CHECKING:
    from probes.edits import Edit
    from probes.states import StateEdit


@dataclass(frozen=True)
class Example:
    """One question with the document that holds its answer.

    ``passages`` are other passages of the same source row (not selected): material for padding.
    """

    identifier: str
    query: str
    document: str
    answer: str
    passages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Segment:
    """A run of text, or of token ids, whose positions all have one role."""

    role: str
    text: str | None = None
    token_ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if (self.text is None) == (self.token_ids is None):
            raise ValueError(
                f"a segment holds either text or token_ids; got text={self.text!r}, "
                f"token_ids={self.token_ids!r}"
            )
        if self.role not in ENCODER_ROLES and self.role not in DECODER_ROLES:
            raise ValueError(
                f"unknown role {self.role!r}; encoder roles are {ENCODER_ROLES}, "
                f"decoder roles are {DECODER_ROLES}"
            )


#: Name under which a trial asks for the published truncation: hide the first
#: ``len(ids(prefix + separator + document)) - len(ids(document))`` encoder positions.
FIRST_POSITIONS = "first-n"

#: Where the positions of a prefix lie: before the document, which they move, or out of its way.
PREFIX_POSITIONS: tuple[str, ...] = ("running", "before")


@dataclass(frozen=True)
class Trial:
    """The encoder's and the decoder's segments of one example in one cell.

    ``encoder`` and ``decoder`` hold no special tokens: the tokenization adds BOS, EOS and the
    decoder's start token, and gives them their roles. ``hidden`` is the set of encoder roles that the
    decoder may not attend to; it may also hold :data:`FIRST_POSITIONS`. ``decoder_shift`` moves every
    decoder position id by so many positions, or by the query's length when it is ``"query"``. ``edits``
    change attention calls while the model runs, and ``states`` hidden states, each trial's for itself.
    ``prefix_positions`` is ``running`` (the prefix moves what follows it) or ``before`` (BOS, document and EOS keep
    the positions they have without a prefix).
    """

    example: Example
    encoder: tuple[Segment, ...]
    decoder: tuple[Segment, ...]
    hidden: frozenset[str] = field(default_factory=frozenset)
    decoder_shift: int | str = 0
    edits: tuple[Edit, ...] = ()
    states: tuple[StateEdit, ...] = ()
    prefix_positions: str = "running"

    def __post_init__(self) -> None:
        if self.prefix_positions not in PREFIX_POSITIONS:
            raise ValueError(
                f"prefix_positions is one of {', '.join(PREFIX_POSITIONS)}; got {self.prefix_positions!r}"
            )

    @classmethod
    def bare(cls, example: Example) -> Trial:
        """The document in the encoder, the answer in the decoder, nothing else."""
        return cls(
            example=example,
            encoder=(Segment("document", text=example.document),),
            decoder=(Segment("answer", text=example.answer),),
        )

    def with_prefix(self, prefix: Iterable[Segment]) -> Trial:
        """The same trial with its prefix and separator segments replaced by ``prefix``."""
        kept = tuple(segment for segment in self.encoder if segment.role not in ("prefix", "separator"))
        return replace(self, encoder=(*prefix, *kept))

    def with_prompt(self, prompt: Iterable[Segment]) -> Trial:
        """The same trial with its decoder prompt replaced by ``prompt``."""
        kept = tuple(segment for segment in self.decoder if segment.role != "prompt")
        return replace(self, decoder=(*prompt, *kept))

    def hiding(self, roles: Iterable[str]) -> Trial:
        """The same trial with ``roles`` hidden from the decoder as well."""
        return replace(self, hidden=self.hidden | frozenset(roles))
