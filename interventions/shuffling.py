"""Shuffling: the words or tokens of a role in random order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.trials import Segment, Trial
from interventions.levels.values import known_name, role_set

#: Roles that segments have; the others are special tokens, which the tokenization adds.
SHUFFLED_ROLES: tuple[str, ...] = ("prefix", "separator", "document", "prompt", "answer")
UNITS: tuple[str, ...] = ("words", "tokens")

_WORD = re.compile(r"\S+")


@intervention("shuffle")
@dataclass(frozen=True)
class Shuffle(Intervention):
    """Put the words or the tokens of a role in random order, none added and none lost.

    A level is ``ROLE:words`` or ``ROLE:tokens`` (``document:words``), with several roles joined by ``+``,
    each shuffled within itself; ``none`` shuffles nothing. Every order is as likely as any other, the given
    one included.

    *Words* are what white space parts; they change places and the white space stays where it is, at both
    ends as well. *Tokens* are the ids that the trial would feed for the role, and are fed as ids; the text
    before and after them is then tokenized by itself.

    A role that the trial does not have is left as it is, so put this factor behind those that make the role.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("document:words", "document:tokens")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    roles: frozenset[str] = frozenset({"document"})
    unit: str = "words"

    def __post_init__(self) -> None:
        known_name(self.unit, "unit of shuffling", UNITS)

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``none``, ``ROLES`` or ``ROLES:UNIT``; the empty level shuffles the document's words."""
        if not level:
            return cls()
        roles, colon, unit = level.partition(":")
        if roles == "none" and colon:
            raise LevelError(f"shuffle=none takes no unit; got {level!r}")
        return cls(role_set(roles, SHUFFLED_ROLES), unit if colon else "words")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with these roles shuffled.

        Raises ValueError where words are to be shuffled and the role consists of token ids.
        """
        for role in SHUFFLED_ROLES:
            if role in self.roles:
                trial = self._shuffled(trial, role, context)
        return trial

    def _shuffled(self, trial: Trial, role: str, context: Context) -> Trial:
        encoder, decoder = (_of_role(segments, role) for segments in (trial.encoder, trial.decoder))
        own = encoder or decoder
        if not own:
            return trial
        generator = context.generator(f"shuffle={role}:{self.unit}")
        if self.unit == "words":
            slots = [word for segment in own for word in _WORD.findall(_text_of(segment, trial))]
            words = iter([slots[place] for place in generator.permutation(len(slots))])
            new = tuple(_refilled(segment, words) for segment in own)
        else:
            ids = _ids_of_role(trial, role, context)
            shuffled = tuple(ids[place] for place in generator.permutation(len(ids)))
            # One segment holds them all; the others of the role are left without tokens.
            new = (Segment(role, token_ids=shuffled), *(Segment(role, token_ids=()) for _ in own[1:]))
        return replace(
            trial,
            encoder=_replaced(trial.encoder, role, new),
            decoder=_replaced(trial.decoder, role, new),
        )


def _of_role(segments: Sequence[Segment], role: str) -> tuple[Segment, ...]:
    return tuple(segment for segment in segments if segment.role == role)


def _replaced(segments: Sequence[Segment], role: str, new: Sequence[Segment]) -> tuple[Segment, ...]:
    following = iter(new)
    return tuple(next(following) if segment.role == role else segment for segment in segments)


def _text_of(segment: Segment, trial: Trial) -> str:
    if segment.text is None:
        raise ValueError(
            f"example {trial.example.identifier!r}: the {segment.role} consists of token ids and has no words to "
            f"shuffle; use shuffle={segment.role}:tokens"
        )
    return segment.text


def _refilled(segment: Segment, words: Iterator[str]) -> Segment:
    return replace(segment, text=_WORD.sub(lambda slot: next(words), segment.text or ""))


def _ids_of_role(trial: Trial, role: str, context: Context) -> tuple[int, ...]:
    fed = context.tokenizer(trial)
    positions = zip(fed.encoder_ids + fed.decoder_ids, fed.encoder_roles + fed.decoder_roles, strict=True)
    return tuple(token for token, own in positions if own == role)
