"""Plans that compare prefixes: the shared part of the analyses 01 to 05 and 09.

Every one of them asks what a co-encoded prefix is worth to the answer once the prefix itself is hidden.
A :class:`PrefixStudy` says which prefixes; this module makes the cells and contrasts of both protocols.

The corrected protocol adds, beside what was published: another example's query as prefix, a question about another
document; the encoder BOS visible by default and hidden in cells of its own (the sink control), several draws of the
random prefix, and, wherever the decoder's prompt changes, the same shift of positions without a prompt (the position
control). Prefixes that a study takes apart get the position control of the encoder: the prefix there and unseen by the
document (positions alone), and seen without moving it (attention alone).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from analyses.studies.encoder_by_prompt import BOS_HIDDEN, BOS_VISIBLE
from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.effects import Effect, Level, effect, place
from budgetlens.design.plan import Plan, Split
from budgetlens.model.trials import FIRST_POSITIONS

#: Factor and alias of the padded document's length, where a study has one.
PADDING = "padding"
#: Factor of what a prefix does within the encoder, where a study takes one apart: all of it, positions, attention.
CO_ENCODING = "prefix_attention"
WHOLE, POSITION, ATTENTION = "none", "masked", "unshifted"
#: The level of no padding, and how the published tables call it.
UNPADDED, UNPADDED_ALIAS = "none", "original"


@dataclass(frozen=True)
class PrefixLevel:
    """A prefix of a study: its level, its published short name, and its further draws under the corrected protocol.

    Draws are levels that make the same kind of prefix with independent chance.
    """

    level: str
    alias: str
    draws: tuple[str, ...] = ()


ORACLE = PrefixLevel("oracle", "oracle_trunc")
#: The words of other examples' documents; the example half a corpus away is the published one.
RANDOM = PrefixLevel("random", "random_trunc", draws=("random@1", "random@-1"))
#: Another example's query: of the oracle prefix's form, a question, and about another document.
OTHER_QUERY = PrefixLevel("wrong_oracle", "wrong_oracle_trunc")
#: Prefixes whose effect can't be of content: what they do is structure.
WORDS_OF_NO_QUESTION = ("random", "pool")


@dataclass(frozen=True)
class PrefixStudy:
    """Which prefixes are compared with the bare document, and where.

    ``prefixes`` are run with the query in the prompt and hidden after co-encoding; ``corrected_prefixes``
    as well, but under the corrected protocol only. ``untruncated`` maps a prefix that is also left visible
    to the short name of that cell. ``without_prompt`` are the prefixes that are run without a prompt as
    well, which the bare document always is. ``paddings`` are the levels of the factor padding; without any
    there is no such factor. ``taken_apart`` maps a prefix to the prompts under which the corrected protocol asks
    what of its effect comes of moving the document's positions and what of the document's attention to it.
    """

    prefixes: tuple[PrefixLevel, ...]
    corrected_prefixes: tuple[PrefixLevel, ...] = ()
    untruncated: Mapping[str, str] = field(default_factory=dict)
    without_prompt: tuple[str, ...] = ("oracle",)
    paddings: tuple[str, ...] = ()
    taken_apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def plan(
        self,
        protocol: str,
        *,
        effects: Sequence[Effect] = (),
        splits: Sequence[tuple[Effect, Sequence[Effect]]] = (),
        headline: Sequence[Effect] = (),
    ) -> Plan:
        """The plan of a protocol, with the analysis's own ``effects`` and ``splits`` after the shared ones.

        A split is an effect and the effects that add up to it; ``headline`` are effects of the plan, by their names.
        """
        cells = self.cells(protocol)
        shared = tuple(own.contrast(cells) for own in _unique(self.effects(protocol)))
        published = protocol == "published"
        return Plan(
            design=_design(cells),
            rows="holding" if published else "predicting",
            probes=("budgets", "published_entropies" if published else "entropies"),
            contrasts=(*shared, *(own.contrast(cells) for own in effects)),
            share_contrasts=tuple(contrast for contrast in shared if contrast.family in _SHARE_FAMILIES),
            splits=tuple(
                Split(whole.contrast(cells), tuple(part.contrast(cells) for part in parts))
                for whole, parts in (*self._splits(protocol), *splits)
            ),
            correction="bonferroni" if published else "holm",
            interaction=None if self.paddings else ("prompt", "prefix", "hidden"),
            headline=tuple(own.words for own in headline),
        )

    def cells(self, protocol: str) -> tuple[Cell, ...]:
        """The cells of a protocol, in the order of the tables."""
        found = tuple(cell for padding in self.paddings or (None,) for cell in self._cells(protocol, padding))
        if protocol == "published" or not self.taken_apart:
            return found
        return tuple(Cell((*each.levels, (CO_ENCODING, WHOLE)), each.alias) for each in found) + tuple(
            Cell((*each.levels, (CO_ENCODING, part)), _apart(each.alias, part))
            for level, prompts in self.taken_apart.items()
            for each in found
            if each.factors["prefix"] == level
            and each.factors["hidden"] == BOS_VISIBLE
            and each.factors["prompt"] in prompts
            for part in (POSITION, ATTENTION)
        )

    def _cells(self, protocol: str, padding: str | None) -> Iterator[Cell]:
        published = protocol == "published"
        hidden = FIRST_POSITIONS if published else BOS_VISIBLE
        for level, alias in self._levels(protocol):
            yield cell(level, hidden, "query", alias, padding)
        for level, alias in self.untruncated.items():
            yield cell(level, "none", "query", alias, padding)
        aliases = self.aliases
        for level in ("none", *self.without_prompt):
            yield cell(level, hidden, "none", f"{aliases[level]}_nq", padding)
        if published:
            return
        for level in ("none", "oracle"):
            yield cell(level, BOS_HIDDEN, "query", f"{aliases[level]}_bos_hidden", padding)
        for level in ("none", *self._without_prompt_and_oracle):
            yield cell(level, BOS_HIDDEN, "none", f"{aliases[level]}_nq_bos_hidden", padding)
        for level in ("none", *self._without_prompt_and_oracle):
            yield cell(level, BOS_VISIBLE, "position", f"{aliases[level]}_shifted_nq", padding)

    @property
    def aliases(self) -> dict[str, str]:
        """Published short name by level of the prefix; the bare document's is ``bare``."""
        return {"none": "bare", **{prefix.level: prefix.alias for prefix in self.prefixes}}

    @property
    def _without_prompt_and_oracle(self) -> tuple[str, ...]:
        return tuple(level for level in self.without_prompt if level == "oracle")

    def compared(self, protocol: str) -> tuple[PrefixLevel, ...]:
        """The prefixes that a protocol compares with the bare document."""
        return self.prefixes if protocol == "published" else (*self.prefixes, *self.corrected_prefixes)

    def draws(self, protocol: str, prefix: str) -> list[str]:
        """The levels of a prefix, one per draw: several where the protocol draws it several times."""
        found = {each.level: each.draws for each in self.compared(protocol)}.get(prefix, ())
        return [prefix, *(() if protocol == "published" else found)]

    def cell(self, prefix: str, protocol: str) -> Cell:
        """The cell of a level of the prefix with the query in the prompt, truncated as the protocol does by default."""
        (chosen,) = self.at(place(prefix=prefix, prompt="query"), protocol).cells(self.cells(protocol))
        return chosen

    def at(
        self,
        compared: Effect,
        protocol: str = "corrected",
        *,
        bos_hidden: bool = False,
        padding: str | None = None,
    ) -> Effect:
        """An effect as this study's cells have it: truncated as the protocol does by default, wholly co-encoded."""
        hidden = FIRST_POSITIONS if protocol == "published" else BOS_HIDDEN if bos_hidden else BOS_VISIBLE
        held: dict[str, Level] = {"hidden": hidden}
        if self.taken_apart and protocol != "published":
            held[CO_ENCODING] = WHOLE
        if padding is not None:
            held[PADDING] = padding
        return compared.at(**held)

    def prefix(
        self,
        level: str,
        prompt: str = "query",
        protocol: str = "corrected",
        *,
        bos_hidden: bool = False,
        padding: str | None = None,
    ) -> Effect:
        """The bare document against a prefix under the same prompt, averaged over the prefix's draws with the query."""
        levels = self.draws(protocol, level) if prompt == "query" and not bos_hidden else [level]
        own = effect(prefix=("none", levels), prompt=prompt)
        at = "" if padding is None else f", padding={padding}"
        name = f"{level} prefix | prompt={prompt}{', BOS hidden' if bos_hidden else ''}{at}"
        family = "position" if prompt == "position" else f"prefix{', BOS hidden' if bos_hidden else ''}"
        return self.at(own, protocol, bos_hidden=bos_hidden, padding=padding).named(name, f"{family}{at}")

    def interaction(
        self,
        level: str = "oracle",
        protocol: str = "corrected",
        *,
        bos_hidden: bool = False,
        padding: str | None = None,
    ) -> Effect:
        """The effect of a prefix without a prompt less its effect with the query, per example."""
        at = "" if padding is None else f", padding={padding}"
        words = ", BOS hidden" if bos_hidden else ""
        own = effect(prefix=("none", level), prompt="none") - effect(prefix=("none", level), prompt="query")
        return self.at(own, protocol, bos_hidden=bos_hidden, padding=padding).named(
            f"{level} prefix × query prompt{at}{words}", f"interaction{words}{at}"
        )

    def _levels(self, protocol: str) -> Iterator[tuple[str, str]]:
        """Every level of the prefix that is run with the query, with its short name."""
        yield "none", "bare"
        for prefix in self.compared(protocol):
            yield prefix.level, prefix.alias
            if protocol != "published":
                for number, draw in enumerate(prefix.draws, start=2):
                    yield draw, f"{prefix.alias}_draw_{number}"

    def effects(self, protocol: str) -> Iterator[Effect]:
        """Every effect that the study's plan tests, named."""
        for padding in self.paddings or (None,):
            yield from self._effects_of(protocol, padding)

    def _effects_of(self, protocol: str, padding: str | None) -> Iterator[Effect]:
        at = "" if padding is None else f", padding={padding}"
        for prefix in self.compared(protocol):
            yield self.prefix(prefix.level, "query", protocol, padding=padding)
        for level in self.untruncated:
            left = self.at(place(prefix="none", prompt="query"), protocol, padding=padding) - self.at(
                place(prefix=level, prompt="query", hidden="none"), protocol, padding=padding
            )
            yield left.named(f"{level} prefix, left visible | prompt=query{at}", f"prefix{at}")
        for level in self.without_prompt:
            yield self.prefix(level, "none", protocol, padding=padding)
        for level in ("none", *self.without_prompt):
            yield self.prompt(level, protocol, padding=padding)
        for level in self.without_prompt:
            yield self.interaction(level, protocol, padding=padding)
        if OTHER_QUERY in self.compared(protocol):
            own = effect(prefix=(OTHER_QUERY.level, ORACLE.level), prompt="query")
            yield self.at(own, protocol, padding=padding).named(
                f"oracle prefix over another example's query | prompt=query{at}", f"whose query{at}"
            )
        for level in self.untruncated:
            hidden = FIRST_POSITIONS if protocol == "published" else BOS_VISIBLE
            hiding = effect(prefix=level, prompt="query", hidden=("none", hidden))
            yield self.at(hiding, protocol, padding=padding).named(
                f"hiding the {level} prefix{at}", f"truncation{at}"
            )
        if protocol != "published":
            yield from self._controls(padding)

    def prompt(self, level: str, protocol: str = "corrected", *, padding: str | None = None) -> Effect:
        """The query in the prompt over a prefix (``none``: the bare document)."""
        at = "" if padding is None else f", padding={padding}"
        own = effect(prefix=level, prompt=("none", "query"))
        return self.at(own, protocol, padding=padding).named(
            f"query prompt | {self.aliases[level]}{at}", f"prompt{at}"
        )

    def _controls(self, padding: str | None) -> Iterator[Effect]:
        """The effects of the corrected protocol's own cells."""
        at = "" if padding is None else f", padding={padding}"
        for prefix in self.compared("corrected"):
            for number, draw in enumerate((prefix.level, *prefix.draws) if prefix.draws else (), start=1):
                own = effect(prefix=("none", draw), prompt="query")
                yield self.at(own, padding=padding).named(
                    f"{prefix.level} prefix, draw {number} | prompt=query{at}", f"draws{at}"
                )
        crossed = ("none", *self._without_prompt_and_oracle)
        prompts = {"query": ("none", "oracle"), "none": crossed}
        for prompt, levels in prompts.items():
            if "oracle" in levels:
                yield self.prefix("oracle", prompt, bos_hidden=True, padding=padding)
        for level in self._without_prompt_and_oracle:
            yield self.interaction(level, bos_hidden=True, padding=padding)
        for prompt, levels in prompts.items():
            for level in levels:
                own = effect(prefix=level, prompt=prompt, hidden=(BOS_VISIBLE, BOS_HIDDEN))
                yield self.at(own, padding=padding).named(
                    f"hiding BOS | {self.aliases[level]}, prompt={prompt}{at}", f"sink{at}"
                )
        for level in crossed:
            yield from self._position_steps(level, padding)
        for level in self._without_prompt_and_oracle:
            yield self.prefix(level, "position", padding=padding)
            yield from self._position_interactions(level, padding)
        for level, asked in self.taken_apart.items():
            for prompt in asked:
                yield from self._co_encoding(level, prompt, padding)
            if {"none", "query"} <= set(asked):
                yield from self._co_encoding_interactions(level, padding)

    def _position_steps(self, level: str, padding: str | None) -> Iterator[Effect]:
        """From no prompt to its positions alone, and from there to the query: steps of the prompt's effect."""
        at = "" if padding is None else f", padding={padding}"
        for first, second in pairwise(_PROMPTS):
            own = effect(prefix=level, prompt=(first, second))
            yield self.at(own, padding=padding).named(
                f"{_STEPS[second]} ({first}→{second}) | {self.aliases[level]}{at}", f"position{at}"
            )

    def _position_interactions(self, level: str, padding: str | None) -> Iterator[Effect]:
        """The same steps of the prefix's interaction with the prompt."""
        at = "" if padding is None else f", padding={padding}"
        for first, second in pairwise(_PROMPTS):
            own = effect(prefix=("none", level), prompt=first) - effect(prefix=("none", level), prompt=second)
            yield self.at(own, padding=padding).named(
                f"{_STEPS[second]} ({first}→{second}) × {level} prefix{at}", f"position{at}"
            )

    def _co_encoding(self, level: str, prompt: str, padding: str | None) -> tuple[Effect, ...]:
        """What of a prefix's effect is the move of the document's positions, and what its attention to the prefix.

        From the bare document to the prefix as it is there are two ways, over positions alone and over attention
        alone; the steps of each add up to the effect. The last effect is by how much the ways differ: what
        positions do without attention, less what they do with it.
        """
        at = "" if padding is None else f", padding={padding}"
        words, family = f"| {self.aliases[level]}, prompt={prompt}{at}", f"co-encoding{at}"
        places = {"bare": place(prefix="none", prompt=prompt), WHOLE: place(prefix=level, prompt=prompt)} | {
            part: place(prefix=level, prompt=prompt, **{CO_ENCODING: part}) for part in (POSITION, ATTENTION)
        }
        found = {name: self.at(own, padding=padding) for name, own in places.items()}
        ways = {name: found[first] - found[second] for name, (first, second) in _WAYS.items()}
        ways["position × attention"] = found["bare"] - found[POSITION] - found[ATTENTION] + found[WHOLE]
        return tuple(own.named(f"{name} {words}", family) for name, own in ways.items())

    def _co_encoding_interactions(self, level: str, padding: str | None) -> tuple[Effect, ...]:
        """Each step without a prompt less the same with the query."""
        at = "" if padding is None else f", padding={padding}"
        words, family = f"× query prompt | {self.aliases[level]}{at}", f"co-encoding{at}"
        pairs = zip(
            _WAYS,
            self._co_encoding(level, "none", padding),
            self._co_encoding(level, "query", padding),
            strict=False,
        )
        return tuple((without - asked).named(f"{name} {words}", family) for name, without, asked in pairs)

    def _splits(self, protocol: str) -> Iterator[tuple[Effect, Sequence[Effect]]]:
        """Effects as sums of steps: of the oracle prefix over the random one, of the prompt over positions."""
        for padding in self.paddings or (None,):
            if ORACLE in self.compared(protocol):
                yield from self._structure(protocol, padding)
            if protocol == "published":
                continue
            for level in ("none", *self._without_prompt_and_oracle):
                yield (
                    self.prompt(level, protocol, padding=padding),
                    tuple(self._position_steps(level, padding)),
                )
            for level in self._without_prompt_and_oracle:
                yield (
                    self.interaction(level, padding=padding),
                    tuple(self._position_interactions(level, padding)),
                )
            for level, prompts in self.taken_apart.items():
                wholes = [
                    (self.prefix(level, prompt, padding=padding), self._co_encoding(level, prompt, padding))
                    for prompt in prompts
                ]
                if {"none", "query"} <= set(prompts):
                    wholes.append(
                        (
                            self.interaction(level, padding=padding),
                            self._co_encoding_interactions(level, padding),
                        )
                    )
                for whole, steps in wholes:
                    parts = dict(zip(_WAYS, steps, strict=False))
                    for order, names in _ORDERS.items():
                        yield whole.named(f"{whole.name}, {order}"), [parts[name] for name in names]

    def _structure(self, protocol: str, padding: str | None) -> Iterator[tuple[Effect, Sequence[Effect]]]:
        """The oracle prefix's effect as that of a prefix of no question, or of another one, and what its content adds."""
        whole = self.prefix("oracle", "query", protocol, padding=padding)
        for prefix in self.compared(protocol):
            if prefix.level in WORDS_OF_NO_QUESTION:
                steps = ("structure", "content")
            elif prefix is OTHER_QUERY:
                steps = ("any question", "this question")
            else:
                continue
            first = self.prefix(prefix.level, "query", protocol, padding=padding)
            yield (
                whole.named(f"{whole.name}, by {prefix.level}"),
                (
                    first.named(f"{steps[0]} (none→{prefix.level})"),
                    (whole - first).named(f"{steps[1]} ({prefix.level}→oracle)", whole.family),
                ),
            )


#: The steps from the bare document to the co-encoded one, by name.
_WAYS = {
    "position alone": ("bare", POSITION),
    "attention after position": (POSITION, WHOLE),
    "attention alone": ("bare", ATTENTION),
    "position after attention": (ATTENTION, WHOLE),
}
_ORDERS = {
    "position first": ("position alone", "attention after position"),
    "attention first": ("attention alone", "position after attention"),
}
_PROMPTS = ("none", "position", "query")
_STEPS = {"position": "position", "query": "content"}

#: Families whose contrasts are also tested on attention shares.
_SHARE_FAMILIES = (
    "prefix",
    "prompt",
    "interaction",
    "sink",
    "co-encoding",
    "prefix, padding=none",
    "sink, padding=none",
)


def cell(prefix: str, hidden: str, prompt: str, alias: str, padding: str | None = None) -> Cell:
    """The cell of these levels; a padding's length follows its short name after ``@``."""
    levels = (("prefix", prefix), ("hidden", hidden), ("prompt", prompt))
    if padding is None:
        return Cell(levels, alias)
    length = UNPADDED_ALIAS if padding == UNPADDED else padding
    return Cell(((PADDING, padding), *levels), f"{alias}@{length}")


def _apart(alias: str, part: str) -> str:
    """Short name of a cell that takes the one called ``alias`` apart; a padding's length stays at the end."""
    name, at, length = alias.partition("@")
    return f"{name}_{part}{at}{length}"


def _design(cells: Sequence[Cell]) -> Design:
    levels: dict[str, dict[str, None]] = {}
    for each in cells:
        for factor, level in each.levels:
            levels.setdefault(factor, {})[level] = None
    return Design(tuple(Factor(name, tuple(found)) for name, found in levels.items()), tuple(cells))


def _unique(effects: Iterator[Effect]) -> Iterator[Effect]:
    """Each name once; two effects of one name would be one row too many in every table."""
    seen: set[str] = set()
    for own in effects:
        if own.name in seen:
            raise ValueError(f"two effects are called {own.name!r}")
        seen.add(own.name)
        yield own
