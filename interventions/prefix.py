"""The encoder's prefix: what is co-encoded before the document, offline."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Self

from budgetlens.design.intervention import Context, Intervention, LevelError, intervention
from budgetlens.model.trials import Example, Segment, Trial
from budgetlens.registry.labels import Label
from interventions.levels.values import at_least, known_name, whole_number
from interventions.texts.matching import matched
from interventions.texts.prefix_sources import MATCHED, SOURCES, Request, Source, oracle

#: Text between prefix and document (protocol, section 1).
SEPARATOR = "\n"
#: What readers see of the sources whose names don't tell.
_SOURCE_WORDS = {
    "oracle": "the query",
    "template": "a template question",
    "first_sentence": "the first sentence",
    "shuffled_sentence": "the first sentence's words shuffled",
    "random": "another document's words",
    "pool": "random words",
    "generic": "a generic sentence",
    "neutral": "neutral tokens",
    "sibling_query": "another query of the document",
}
#: The part of a level before its first colon: a name, then ``@DISTANCE`` and ``*TIMES`` where they are given.
_HEAD = re.compile(r"(?P<name>[^@*]*)(?:@(?P<distance>[^@*]*))?(?:\*(?P<times>[^@*]*))?")


@intervention("prefix")
@dataclass(frozen=True)
class Prefix(Intervention):
    """Put a prefix and a line break before the document: the query, keywords, a sentence, words, any text.

    A level is ``SOURCE``, ``SOURCE:COUNT``, ``literal:TEXT`` or ``column:NAME``. The sources:

    * ``none``: no prefix, no separator;
    * ``oracle``: the query;
    * ``template``: "What is …?" about the document's most frequent content word;
    * ``keywords:K``: its K (5) most frequent content words;
    * ``first_sentence``, and ``shuffled_sentence``, the same words in random order;
    * ``wrong_…`` of these five: taken from another example;
    * ``random``: the first words of another example's document, as many as the query has, or ``random:K``;
    * ``pool:K``: K (8) words drawn from a hundred common words of eight letters;
    * ``generic``: one sentence that says nothing about the document;
    * ``literal:TEXT``: the text after the colon, as it is;
    * ``column:NAME``: the text of the corpus's further column of that name;
    * ``sibling_query``: another query of the same document, drawn from the corpus's (no such cell of an example without);
    * ``matched:LEVEL``: neutral tokens in the place of another prefix's, ``matched:oracle`` of the query's: as many, with
      the same separator and document behind them, token by token. An example for which that can't be is left out;
    * ``neutral:K``: one token without content, K times or as many as the query has; fed as ids.

    Another example is the one half a corpus on, or so many on as ``@`` says: ``wrong_keywords@1:5`` takes
    the keywords of the next one. ``*`` repeats a prefix: ``oracle*3`` is the query three times, with spaces
    between (``neutral*3:2`` is the same as ``neutral:6``).

    The texts come from the example as the corpus has it, whatever padding or shuffling does to the trial.
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("oracle", "wrong_keywords@1:3", "pool", "neutral:4")
    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    source: str = "oracle"
    count: int | None = None
    distance: int | None = None
    times: int = 1
    literal: str = ""

    def __post_init__(self) -> None:
        known_name(self.source, "prefix source", ("none", *SOURCES))
        # A level without a prefix takes no parameter; any maker of text does for the checks.
        source = SOURCES.get(self.source, Source(oracle))
        if self.count is not None:
            if not source.counts:
                counted = ", ".join(name for name, known in SOURCES.items() if known.counts)
                raise LevelError(f"prefix={self.source} takes no number, got {self.count!r}; {counted} do")
            at_least(self.count, f"prefix={self.source}: the number of {source.counts}", least=1)
            if source.most is not None and self.count > source.most:
                raise LevelError(f"prefix={self.source} has {source.most} {source.counts}; got {self.count}")
        if bool(source.text) != bool(self.literal):
            forms = " and ".join(f"prefix={name}:{own.text}" for name, own in SOURCES.items() if own.text)
            raise LevelError(
                f"{forms}, and no other source, take a text; got prefix={self.source} with {self.literal!r}"
            )
        if self.distance is not None and not source.elsewhere:
            elsewhere = ", ".join(name for name, known in SOURCES.items() if known.elsewhere)
            raise LevelError(
                f"'@' says which other example a prefix is taken from, but prefix={self.source} is taken from "
                f"none; {elsewhere} are"
            )
        if self.distance == 0:
            raise LevelError("'@0' is the example itself; give the distance to another one")
        at_least(self.times, "the number of repetitions after '*'", least=1)
        if self.source in ("none", MATCHED) and self.times != 1:
            raise LevelError(f"prefix={self.source} can't be repeated")
        if self.source == MATCHED and type(self).parse(self.literal).source in ("none", MATCHED):
            raise LevelError(
                f"prefix=matched takes the place of a prefix that has a text of its own; got prefix=matched:{self.literal}"
            )

    @classmethod
    def known_levels(cls) -> tuple[str, ...]:
        """Every source, with a parameter where it takes one, then a distance and a repetition."""
        parameters = {
            "keywords": ":5",
            "wrong_keywords": ":5",
            "pool": ":8",
            "literal": ":TEXT",
            "column": ":NAME",
            MATCHED: ":oracle",
            "neutral": ":20",
        }
        sources = (name + parameters.get(name, "") for name in SOURCES)
        return ("none", *sources, "wrong_keywords@1:5", "oracle*2")

    @classmethod
    def parse(cls, level: str) -> Self:
        """From ``SOURCE[@DISTANCE][*TIMES][:COUNT or TEXT]``; the empty level is the oracle prefix."""
        if not level:
            return cls()
        head, colon, rest = level.partition(":")
        match = _HEAD.fullmatch(head)
        if match is None:
            raise LevelError(
                f"{head!r} in prefix={level!r} is no SOURCE, SOURCE@DISTANCE, SOURCE*TIMES or SOURCE@DISTANCE*TIMES"
            )
        source = known_name(match["name"], "prefix source", ("none", *SOURCES))
        is_text = source in SOURCES and bool(SOURCES[source].text)
        distance, times = match["distance"], match["times"]
        return cls(
            source=source,
            count=whole_number(rest, f"the number in prefix={level}", least=1)
            if colon and not is_text
            else None,
            distance=None if distance is None else _distance(distance),
            times=1 if times is None else whole_number(times, "the number of repetitions after '*'", least=1),
            literal=rest if is_text else "",
        )

    @classmethod
    def label(cls, level: str) -> Label:
        """What the prefix is, of how much and how often."""
        own = cls.parse(level)
        if own.source == "none":
            return Label("no prefix", rest=True)
        kind = own.source.removeprefix("wrong_")
        words = own.literal if own.source == "literal" else _SOURCE_WORDS.get(kind, kind.replace("_", " "))
        if own.source == "literal":
            words = f"“{words}”"
        if own.source == MATCHED:
            words = f"neutral tokens, as many as {cls.label(own.literal).short.removeprefix('prefix: ')} has"
        if own.source == "column":
            words = f"the column {own.literal}"
        if own.count is not None:
            words = f"{own.count} {words.removesuffix('s') if own.count == 1 else words}"
        if own.source != kind:
            words = f"another example's {words.removeprefix('the ').removeprefix('a ')}"
        if own.times > 1:
            words += f", {own.times} times"
        return Label(f"prefix: {words}", f"{words} as prefix")

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this prefix in place of any other.

        Raises ValueError where the corpus has no other example to take a prefix from, or no token of a document could
        stand behind so long a prefix.
        """
        if self.source == "none":
            return trial.with_prefix(())
        if self.source == MATCHED:
            return matched(type(self).parse(self.literal).apply(trial, context), self.literal, context)
        source, own = SOURCES[self.source], trial.example
        self._refuse_endless(source, context)
        example = self._another(context) if source.elsewhere else own
        made = source.make(Request(example, own, context, self.count, self.literal))
        if isinstance(made, str):
            prefix = Segment("prefix", text=" ".join([made] * self.times))
        else:
            prefix = Segment("prefix", token_ids=made * self.times)
        return trial.with_prefix((prefix, Segment("separator", text=SEPARATOR)))

    def _refuse_endless(self, source: Source, context: Context) -> None:
        """Before it is made, since billions of words would fill the memory: every repetition has a token or more."""
        least = self.times * (self.count or 1 if source.counts == "tokens" else 1)
        if least > 1 and least > context.tokenizer.limits.encoder:
            raise ValueError(
                f"prefix={self.source} of at least {least} tokens is longer than the encoder's limit of "
                f"{context.tokenizer.limits.encoder}; give fewer, or raise the limit"
            )

    def _another(self, context: Context) -> Example:
        count = len(context.examples)
        distance = count // 2 if self.distance is None else self.distance
        if distance % count == 0:
            raise ValueError(
                f"prefix={self.source} is taken from another example, but {distance} on in a corpus of {count} "
                "is the example itself; run more examples or give another distance, as in random@1"
            )
        return context.other(distance)


def _distance(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise LevelError(
            f"the distance after '@' is a whole number, so many examples on; got {text!r}"
        ) from error
