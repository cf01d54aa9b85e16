"""What one example feeds the model in one cell, before any token exists.

A :class:`Trial` is text (or token ids) cut into segments, each with one role, plus what the decoder
may not see of the encoder. Interventions rewrite trials; :mod:`budgetlens.model.tokenization` turns them into
positions. No other module does index arithmetic on inputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from budgetlens.model.keeping import Keep
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES, PREDICTING
from budgetlens.registry.characters import is_broken

if TYPE_CHECKING:
    # Annotations only: what is fed is declared without torch.
    from jaxtyping import Float
    from torch import Tensor

    from budgetlens.model.attention import Site


@dataclass(frozen=True)
class Example:
    """One question with the document that holds its answer.

    ``passages`` are other passages of the same source row (not selected): material for padding. ``columns`` are the
    further columns of the row with their values, in its order: ``example["surrogate"]`` is the value of one.
    ``other_queries`` are the queries of the corpus's other rows with the same document, in their order.

    Examples:
        >>> from budgetlens import Example
        >>> Example("1", query="who built the mill", document="Oss built the mill.", answer="Oss").answer
        'Oss'
    """

    identifier: str
    query: str
    document: str
    answer: str
    passages: tuple[str, ...] = ()
    # Values may be lists, which have no hash; equality compares them.
    columns: tuple[tuple[str, Any], ...] = field(default=(), hash=False)
    other_queries: tuple[str, ...] = ()

    @property
    def with_other_passages(self) -> tuple[Example, ...]:
        """The example with each of its other passages for a document: what the document is ranked among.

        Every text that is not the document counts once, an empty one not at all. The others' passages are the rest.
        """
        texts = dict.fromkeys(text for text in self.passages if text.strip() and text != self.document)
        return tuple(
            replace(self, document=text, passages=tuple(other for other in texts if other != text))
            for text in texts
        )

    @property
    def right_answers(self) -> tuple[str, ...]:
        """All answers that count as right, each once: ``answer``, then the texts of the column ``answers``."""
        further = dict(self.columns).get("answers", ())
        listed = further if isinstance(further, list | tuple) else ()
        return tuple(dict.fromkeys((self.answer, *(one for one in listed if isinstance(one, str)))))

    @property
    def candidates(self) -> tuple[str, ...]:
        """The texts of the column ``candidates`` that are no right answers, each once."""
        further = dict(self.columns).get("candidates", ())
        listed = further if isinstance(further, list | tuple) else ()
        texts = dict.fromkeys(one for one in listed if isinstance(one, str) and one.strip())
        return tuple(one for one in texts if one not in self.right_answers)

    def __getitem__(self, column: str) -> Any:
        """The value of a further column; KeyError that names those that there are."""
        found = dict(self.columns)
        if column not in found:
            raise KeyError(
                f"example {self.identifier!r} has no column {column!r}; its further columns are "
                f"{', '.join(map(repr, found)) or 'none'}"
            )
        return found[column]


@dataclass(frozen=True)
class Segment:
    """A run of text, or of token ids, whose positions all have one role.

    Examples:
        >>> from budgetlens import Segment
        >>> Segment("prompt", text="who built the mill").role
        'prompt'
    """

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
        if self.text is not None and (not isinstance(self.text, str) or is_broken(self.text)):
            raise ValueError(
                f"the text of a segment with the role {self.role!r} is {self.text!a}; a text without broken characters "
                "(lone surrogates) is expected"
            )


class Positioned(Protocol):
    """Positions with roles, as edits ask for them: :class:`budgetlens.model.tokenization.TokenizedTrial`."""

    @property
    def encoder_roles(self) -> tuple[str, ...]:
        """Role of every encoder position."""
        ...

    @property
    def decoder_roles(self) -> tuple[str, ...]:
        """Role of every decoder position."""
        ...

    @property
    def visible(self) -> tuple[bool, ...]:
        """Whether the decoder may see each encoder position."""
        ...

    def positions(self, stack: str, roles: Collection[str] | None) -> list[int]:
        """The positions of a stack that have one of the roles, ascending; all where ``roles`` is None."""
        ...


class Edit(Protocol):
    """A change of attention calls, or of what a sublayer adds to the residual stream.

    An edit that has an attribute ``stack`` changes that stack alone: trials whose edits are all of the decoder
    share an encoder pass. One without may change either, and shares no pass with trials that lack it. One with a
    method ``idle_in(trial)`` tells why it changes nothing in a tokenized trial, or None where it may change
    something; one without counts as changing something everywhere. One whose ``alone`` is true shares its decoder rows
    with no other trial. One with an attribute ``by_row`` that is true makes of every row what depends on that row and
    earlier ones alone: where answers are generated, later ones are not there yet, and edits of the decoder that don't say
    so are refused.
    """

    def matches(self, site: Site) -> bool:
        """Whether this edit changes something at ``site``."""
        ...


class ExampleError(ValueError):
    """An example that can't be fed in some cell, by its own content: it is left out, and the others are run.

    ``reason`` is the kind of fault in words that follow "since", the same for all examples that have it; the message
    says more of this one. A design's fault, which every example would have, is no ExampleError.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class StateError(ValueError):
    """States that can't be written where they are asked for."""


class CutDocumentError(ExampleError, StateError):
    """States that don't fit since the encoder's limit cut the document of the trial or of a donor: the example's fault.

    A design's fault, roles that don't match in length by themselves, is a plain StateError.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, CUT_DOCUMENT)


#: Why an example whose document is cut is left out where states are copied.
CUT_DOCUMENT = "the encoder's limit cuts their document, so that states can't be copied position by position"


@dataclass(frozen=True)
class StateEdit(ABC):
    """A change of the states of ``roles`` where they leave ``layer`` of ``stack``.

    ``layer`` counts from 0; None stands for the encoder's final states, behind its last norm, which are what
    the decoder is given. ``donors`` are trials whose encoder states at the same place the edit may read.
    In the decoder, ``predicting`` (:mod:`budgetlens.model.roles`) may stand among the roles, and there are no donors;
    ``by_row`` says there what it says of an :class:`Edit`.
    """

    by_row: ClassVar[bool] = False
    #: Whether the new states take the place of the old ones, so that these have no part in them.
    replaces: ClassVar[bool] = True

    roles: frozenset[str]
    stack: str
    layer: int | None
    # A trial's texts need not be hashed again for every edit; equality still compares donors.
    donors: tuple[Trial, ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        known = {"encoder": ENCODER_ROLES, "decoder": (*DECODER_ROLES, PREDICTING)}.get(self.stack)
        if known is None:
            raise ValueError(f"no stack is called {self.stack!r}; stacks are encoder and decoder")
        unknown = sorted(self.roles - set(known))
        if unknown or not self.roles:
            raise ValueError(
                f"states of the {self.stack} have the roles {list(known)}; got {sorted(self.roles)}"
            )
        if self.stack == "decoder" and (self.donors or self.layer is None):
            raise ValueError("states of the decoder are edited at a layer, and take nothing from donors")

    @abstractmethod
    def apply(
        self,
        states: Float[Tensor, "position width"],
        donors: Sequence[Float[Tensor, "donor_position width"]],
    ) -> Float[Tensor, "position width"]:
        """The new states of one role's positions, given the old ones and the donors' of the same role."""

    def refusal(self, count: int, donor_counts: Sequence[int]) -> str | None:
        """Why the edit can't be made where a role has ``count`` positions and the donors so many; else None."""
        return None

    def idle_in(self, trial: Positioned) -> str | None:
        """Why no state of the trial changes; None where one does."""
        if trial.positions(self.stack, self.roles):
            return None
        return f"the {self.stack} has no position of {'+'.join(sorted(self.roles))}"


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
    the positions they have without a prefix). ``keep`` lets the decoder see only some positions of the document.
    ``forced_start`` lets the decoder's input start as the model's own
    generation does, with the token that its configuration forces after the start token; the published runs fed the
    start token alone.

    Examples:
        >>> from budgetlens import Example, Segment, Trial
        >>> trial = Trial.bare(Example("1", query="who built the mill", document="Oss built the mill.", answer="Oss"))
        >>> [segment.role for segment in trial.with_prompt([Segment("prompt", text="who built the mill")]).decoder]
        ['prompt', 'answer']
    """

    example: Example
    encoder: tuple[Segment, ...]
    decoder: tuple[Segment, ...]
    hidden: frozenset[str] = field(default_factory=frozenset)
    decoder_shift: int | str = 0
    edits: tuple[Edit, ...] = ()
    states: tuple[StateEdit, ...] = ()
    prefix_positions: str = "running"
    forced_start: bool = True
    keep: Keep | None = None

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
