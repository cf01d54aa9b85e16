"""From segments to positions: token ids with a role each, labelled by character offsets."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from budgetlens.model.edits import EditError
from budgetlens.model.keeping import Keep
from budgetlens.model.offsets import label_by_offsets, special_frame
from budgetlens.model.plain_text import PlainText
from budgetlens.model.roles import PREDICTING
from budgetlens.model.trials import (
    FIRST_POSITIONS,
    CutDocumentError,
    Edit,
    Example,
    ExampleError,
    Segment,
    StateError,
    Trial,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Longest inputs of the published runs, in tokens (protocol.md, section 1).
ENCODER_LIMIT, PROMPT_LIMIT, ANSWER_LIMIT = 2048, 512, 256


#: How SentencePiece names the byte that a fall-back token stands for.
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>")


@dataclass(frozen=True)
class Limits:
    """Longest encoder input (special tokens included), decoder prompt and answer, in tokens."""

    encoder: int = ENCODER_LIMIT
    prompt: int = PROMPT_LIMIT
    answer: int = ANSWER_LIMIT


#: What makes an encoder pass what it is: ids, roles, edits of attention, edits of states with their donors' keys.
EncoderKey = tuple[tuple[int, ...], tuple[str, ...], tuple[Edit, ...], tuple[Any, ...]]


@dataclass(frozen=True)
class TokenizedTrial:
    """Positions of one trial: ids, a role for each, and which encoder positions the decoder may see.

    ``document_intact`` tells whether the document has the same token ids as without its prefix;
    ``published_hidden`` is the number of first positions that the published truncation hides.
    ``truncated`` counts encoder tokens cut at the limit, ``answer_cut`` and ``prompt_cut`` the decoder's at theirs.
    ``donors`` are the tokenized donors of each of the trial's state edits. ``selected`` tells that the model has chosen the
    positions that ``visible`` shows, where the trial leaves that to it.
    """

    trial: Trial
    encoder_ids: tuple[int, ...]
    encoder_roles: tuple[str, ...]
    visible: tuple[bool, ...]
    decoder_ids: tuple[int, ...]
    decoder_roles: tuple[str, ...]
    decoder_shift: int
    document_intact: bool
    published_hidden: int
    truncated: int
    donors: tuple[tuple[TokenizedTrial, ...], ...] = ()
    answer_cut: int = 0
    prompt_cut: int = 0
    selected: bool = False

    @property
    def chooses(self) -> Keep | None:
        """By what the model itself has still to choose positions of the document; None where all is decided."""
        keep = self.trial.keep
        if keep is None or self.selected or not keep.asks_the_model:
            return None
        return keep if keep.hides(self.encoder_roles.count("document")) else None

    @property
    def hidden_positions(self) -> int:
        """How many positions of the encoder the decoder does not see, those among them that the model will leave out."""
        hidden = self.visible.count(False)
        if self.chooses is None or "document" in self.trial.hidden:
            return hidden
        return hidden + self.chooses.hides(self.encoder_roles.count("document"))

    def keeping(self, kept: Collection[int]) -> TokenizedTrial:
        """The trial in which of the document's positions those alone are visible that are so already and are ``kept``."""
        visible = tuple(
            seen and (role != "document" or place in kept)
            for place, (role, seen) in enumerate(zip(self.encoder_roles, self.visible, strict=True))
        )
        return replace(self, visible=visible, selected=True)

    @cached_property
    def encoder_key(self) -> EncoderKey:
        """What two trials must share to share an encoder pass: positions, and whatever is edited in the encoder.

        Donors count by their own keys, so that their decoders don't matter; nor do edits of the decoder.
        """
        edits = tuple(edit for edit in self.trial.edits if getattr(edit, "stack", None) != "decoder")
        states = tuple(
            (replace(edit, donors=()), tuple(donor.encoder_key for donor in donors))
            for edit, donors in zip(self.trial.states, self.donors, strict=True)
            if edit.stack == "encoder"
        )
        return self.encoder_ids, self.encoder_roles, edits, states

    @property
    def asks(self) -> bool:
        """Whether the model is still to be asked which positions the decoder may see."""
        return self.trial.keep is not None and self.trial.keep.asks

    @property
    def answer_tokens(self) -> int:
        """Number of answer tokens."""
        return self.decoder_roles.count("answer")

    def answer_rows(self, rows: str) -> range:
        """Decoder rows that predict the answer's tokens (``predicting``) or hold them (``holding``)."""
        first = len(self.decoder_ids) - self.answer_tokens
        if rows == "predicting":
            return range(first - 1, first - 1 + self.answer_tokens)
        if rows == "holding":
            return range(first, first + self.answer_tokens)
        raise ValueError(f"rows are 'predicting' or 'holding', not {rows!r}")

    def positions(self, stack: str, roles: Collection[str] | None) -> list[int]:
        """The positions of a stack that have one of the roles, ascending; all where ``roles`` is None.

        ``predicting`` among them stands for the decoder's rows that predict the answer.
        """
        own = self.encoder_roles if stack == "encoder" else self.decoder_roles
        if roles is None:
            return list(range(len(own)))
        found = {place for place, role in enumerate(own) if role in roles}
        if stack == "decoder" and PREDICTING in roles:
            found.update(self.answer_rows(PREDICTING))
        return sorted(found)

    def idle_reason(self, edit: object) -> str | None:
        """Why an edit of attention, outputs or states changes nothing in this trial; None where it may change something."""
        ask = getattr(edit, "idle_in", None)
        return None if ask is None else ask(self)

    def role_counts(self) -> dict[str, int]:
        """Positions by role, both stacks."""
        roles = self.encoder_roles + self.decoder_roles
        return {role: roles.count(role) for role in dict.fromkeys(roles)}


class TrialTokenizer:
    """Tokenizes trials for one model: its tokenizer, how its decoder starts, its length limits.

    Texts are tokenized as texts: where a document spells a control token, as ``<bos>``, it gets the tokens of
    its characters and not the control token.

    The decoder's input starts with ``start_token`` and, where the generation configuration forces a first token
    (BART's BOS, mBART's language), with ``forced_start`` behind it, which trials may leave out.
    ``depths`` tells how many layers each stack of the model has (``encoder``, ``decoder``); it is empty where
    the tokenizer belongs to no model. ``position_table`` tells that the encoder looks its positions up in a
    table, so that a prefix which shall move nothing has to stand behind the input and not before it.
    ``decoder_positions`` is the length of the decoder's table, None where it has none.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        start_token: int,
        limits: Limits | None = None,
        *,
        forced_start: int | None = None,
        depths: Mapping[str, int] | None = None,
        position_table: bool = False,
        decoder_positions: int | None = None,
    ) -> None:
        if not tokenizer.is_fast:
            raise ValueError(
                f"{type(tokenizer).__name__} gives no character offsets, so positions can't be labelled; "
                "a fast tokenizer (tokenizer.json) is needed"
            )
        self.tokenizer = tokenizer
        self.start_token = start_token
        self.forced_start = forced_start
        self.limits = limits or Limits()
        self.depths: Mapping[str, int] = MappingProxyType(dict(depths or {}))
        self.position_table = position_table
        self.decoder_positions = decoder_positions
        self.leading, self.trailing = special_frame(tokenizer)
        self.plain_text = PlainText(tokenizer)
        # A trial's cells repeat the same texts; the caches live and die with this tokenizer.
        self._plain = lru_cache(maxsize=4096)(self._plain_ids)
        self._encoder = lru_cache(maxsize=256)(self._encoder_positions)

    def __call__(self, trial: Trial) -> TokenizedTrial:
        """Positions of ``trial``.

        Raises ExampleError where the answer or the document has no token left or the decoder's input is longer than
        its table of positions, StateError where a state edit's donor has not the positions that the edit needs, and
        EditError where a prompt's rows are to choose positions and there is none.
        """
        tokenized = self._tokenized(trial)
        _require_scoring_rows(tokenized)
        self.require_room(trial.example, len(tokenized.decoder_ids), tokenized.decoder_shift)
        return tokenized

    def require_text(self, example: Example) -> None:
        """Raise ExampleError where one of the example's texts has no token, or its answer alone is too long.

        In no design could such an example be fed, or give others a prefix or a prompt, as every other one can.
        """
        for name in ("query", "document", "answer"):
            if not self._plain(getattr(example, name)):
                raise ExampleError(
                    f"example {example.identifier!r}: its {name} {_short(getattr(example, name))} has no token",
                    f"their {name} has no token under the model's tokenizer",
                )
        answer = self.decoder_segment(example.answer, self.limits.answer)
        self.require_room(example, 1 + len(answer), 0)

    def require_room(self, example: Example, length: int, shift: int) -> None:
        """Raise ExampleError where a decoder's input of ``length`` ids is longer than its table of positions."""
        if self.decoder_positions is not None and length + shift > self.decoder_positions:
            raise ExampleError(
                f"example {example.identifier!r}: the decoder's input ends at position {length + shift}, and the model "
                f"has a table of {self.decoder_positions} decoder positions",
                "prompt and answer are longer than the decoder's table of positions",
            )

    def _tokenized(self, trial: Trial) -> TokenizedTrial:
        encoder_ids, encoder_roles, truncated = self._encoder(trial.encoder)
        document = tuple(
            token for token, role in zip(encoder_ids, encoder_roles, strict=True) if role == "document"
        )
        alone, alone_roles, _ = self._encoder(_documents(trial.encoder))
        unprefixed = tuple(
            token for token, role in zip(alone, alone_roles, strict=True) if role == "document"
        )
        if not document:
            raise ExampleError(
                f"example {trial.example.identifier!r}: no document token is left in the encoder "
                f"(limit {self.limits.encoder} tokens); shorten the prefix or raise the limit",
                "no token of their document is left in the encoder",
            )
        # Where both were cut at the limit, the prefixed one is a shorter copy of the same ids.
        intact = document == (unprefixed[: len(document)] if truncated else unprefixed)
        first = len(encoder_ids) - len(alone) if not truncated else self._untruncated_surplus(trial.encoder)
        hidden_roles = trial.hidden - {FIRST_POSITIONS}
        hidden_first = first if FIRST_POSITIONS in trial.hidden else 0
        unkept = _unkept(trial, encoder_roles)
        visible = tuple(
            role not in hidden_roles and position >= hidden_first and position not in unkept
            for position, role in enumerate(encoder_roles)
        )
        decoder_ids, decoder_roles, cut = self._decoder(trial)
        order = list(range(len(encoder_ids)))
        if trial.prefix_positions == "before":
            order = self._prefix_apart(encoder_roles)
        tokenized = TokenizedTrial(
            trial=trial,
            encoder_ids=tuple(encoder_ids[position] for position in order),
            encoder_roles=tuple(encoder_roles[position] for position in order),
            visible=tuple(visible[position] for position in order),
            decoder_ids=decoder_ids,
            decoder_roles=decoder_roles,
            decoder_shift=self._shift(trial),
            document_intact=intact,
            published_hidden=first,
            truncated=truncated,
            # The decoder of a donor is never run.
            donors=tuple(tuple(self._tokenized(donor) for donor in edit.donors) for edit in trial.states),
            answer_cut=cut["answer"],
            prompt_cut=cut["prompt"],
        )
        require_positions(tokenized)
        return tokenized

    def start(self, forced: bool) -> tuple[int, ...]:
        """Ids that a decoder input starts with, with or without the token that is forced after the first."""
        if forced and self.forced_start is not None:
            return self.start_token, self.forced_start
        return (self.start_token,)

    def decoder_segment(self, text: str, limit: int) -> tuple[int, ...]:
        """Ids of a decoder text, without special tokens, cut at ``limit`` tokens."""
        return self._plain(text)[:limit]

    def query_ids(self, query: str) -> tuple[int, ...]:
        """Ids of a query as decoder prompt."""
        return self.decoder_segment(query, self.limits.prompt)

    @cached_property
    def text_tokens(self) -> tuple[int, ...]:
        """Ids of the vocabulary's ordinary text tokens, ascending.

        Without special and added tokens (control and unused tokens are such), byte fall-backs and ids
        that do not decode to visible text.
        """
        added = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        candidates = [token for token in range(self.tokenizer.vocab_size) if token not in added]
        ordinary = []
        for token, piece in zip(candidates, self.tokenizer.convert_ids_to_tokens(candidates), strict=True):
            if piece is None or _BYTE_TOKEN.fullmatch(piece):
                continue
            text = str(self.tokenizer.decode([token]))
            if text.strip() and "\ufffd" not in text:
                ordinary.append(token)
        return tuple(ordinary)

    def _plain_ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.plain_text(text, add_special_tokens=False)["input_ids"])

    def _prefix_apart(self, roles: Sequence[str]) -> list[int]:
        """An order of the positions in which the prefix moves nothing else.

        Relative positions (rotary, T5): the prefix first, so that all distances between BOS, document and EOS
        are those without a prefix, in windows too; without a BOS, that is the order they have. A table of
        positions: the prefix last, so that all others have the numbers they have without one.
        """
        apart = [position for position, role in enumerate(roles) if role in ("prefix", "separator")]
        others = [position for position, role in enumerate(roles) if role not in ("prefix", "separator")]
        return others + apart if self.position_table else apart + others

    def _encoder_positions(
        self, segments: tuple[Segment, ...]
    ) -> tuple[tuple[int, ...], tuple[str, ...], int]:
        ids, roles = self._body(segments)
        room = self.limits.encoder - len(self.leading) - len(self.trailing)
        truncated = max(0, len(ids) - room)
        return (
            (*self.leading, *ids[:room], *self.trailing),
            ("bos",) * len(self.leading) + tuple(roles[:room]) + ("eos",) * len(self.trailing),
            truncated,
        )

    def _body(self, segments: Sequence[Segment]) -> tuple[list[int], list[str]]:
        ids: list[int] = []
        roles: list[str] = []
        run: list[Segment] = []
        for segment in (*segments, None):
            if segment is not None and segment.text is not None:
                run.append(segment)
                continue
            run_ids, run_roles = label_by_offsets(self.plain_text, run)
            ids.extend(run_ids)
            roles.extend(run_roles)
            run = []
            if segment is not None and segment.token_ids is not None:
                ids.extend(segment.token_ids)
                roles.extend([segment.role] * len(segment.token_ids))
        return ids, roles

    def _untruncated_surplus(self, segments: Sequence[Segment]) -> int:
        # The published count comes from the lengths before they are cut.
        return len(self._body(segments)[0]) - len(self._body(_documents(segments))[0])

    def _decoder(self, trial: Trial) -> tuple[tuple[int, ...], tuple[str, ...], dict[str, int]]:
        """Ids, roles, and how many tokens of the prompt and of the answer are cut at their limits."""
        ids: list[int] = list(self.start(trial.forced_start))
        roles: list[str] = ["start"] * len(ids)
        limits = {"prompt": self.limits.prompt, "answer": self.limits.answer}
        cut = dict.fromkeys(limits, 0)
        for segment in trial.decoder:
            # Each decoder segment is tokenized by itself, so that an answer has the same ids in every cell.
            own = (
                segment.token_ids
                if segment.token_ids is not None
                else self.decoder_segment(segment.text or "", limits[segment.role])
            )
            ids.extend(own)
            roles.extend([segment.role] * len(own))
            if segment.token_ids is None:
                cut[segment.role] += len(self._plain(segment.text or "")) - len(own)
        if "answer" not in roles:
            raise ExampleError(
                f"example {trial.example.identifier!r}: the answer {_short(trial.example.answer)} has no token",
                "their answer has no token under the model's tokenizer",
            )
        if roles[-1] != "answer":
            raise ValueError(
                f"example {trial.example.identifier!r}: the answer must stand last in the decoder; got {roles}"
            )
        return tuple(ids), tuple(roles), cut

    def _shift(self, trial: Trial) -> int:
        if trial.decoder_shift == "query":
            return len(self.query_ids(trial.example.query))
        return int(trial.decoder_shift)


def require_positions(trial: TokenizedTrial) -> None:
    """Raise StateError, with the example and the counts, where a state edit's donors don't fit the trial.

    CutDocumentError where the encoder's limit cut one of them, so that they might fit under a higher one.
    """
    for edit, donors in zip(trial.trial.states, trial.donors, strict=True):
        for role in sorted(edit.roles) if donors else ():
            count = trial.encoder_roles.count(role)
            counts = [donor.encoder_roles.count(role) for donor in donors]
            reason = edit.refusal(count, counts) if count or any(counts) else None
            if reason:
                cut = trial.truncated or any(donor.truncated for donor in donors)
                raise (CutDocumentError if cut else StateError)(
                    f"example {trial.trial.example.identifier!r}, {type(edit).__name__}: the role {role!r} {reason}; "
                    "name other roles or another donor, or raise the encoder's limit if a document was cut"
                )


def _require_scoring_rows(trial: TokenizedTrial) -> None:
    """Raise EditError where the prompt's rows are to score positions, and there is no prompt."""
    keep = trial.chooses
    if keep is not None and keep.readers.rows == "prompt" and "prompt" not in trial.decoder_roles:
        raise EditError(
            f"{keep.level} goes by what the prompt's rows look at, and a cell of the design (example "
            f"{trial.trial.example.identifier!r}) has no prompt: give it one, name other rows ({keep.level}:…:last), "
            "or leave that cell out"
        )


def _unkept(trial: Trial, roles: Sequence[str]) -> frozenset[int]:
    """The document's positions that a selection hides; none where the model has still to choose.

    Raises ExampleError where it hides all that there are.
    """
    if trial.keep is None:
        return frozenset()
    document = [position for position, role in enumerate(roles) if role == "document"]
    if document and trial.keep.hides(len(document)) == len(document):
        raise ExampleError(
            f"example {trial.example.identifier!r}: {trial.keep.level} hides all {len(document)} tokens of its document, "
            "and the decoder needs something to see; choose fewer",
            "a selection hides every token of their document",
        )
    if trial.keep.asks_the_model:
        return frozenset()
    kept = trial.keep.of(len(document))
    return frozenset(position for place, position in enumerate(document) if place not in kept)


def _short(text: str) -> str:
    """A text in quotes, its control characters written out, cut where it is long."""
    return ascii(text if len(text) <= 40 else text[:39] + "…")


def _documents(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    return tuple(segment for segment in segments if segment.role == "document")
