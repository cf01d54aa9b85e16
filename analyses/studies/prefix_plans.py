"""Plans that compare prefixes: the shared part of the analyses 01 to 05 and 09.

Every one of them asks what a co-encoded prefix is worth to the answer once the prefix itself is hidden.
A :class:`PrefixStudy` says which prefixes; this module makes the cells and contrasts of both protocols.

The corrected protocol adds, beside what was published: the encoder BOS visible by default and hidden in
cells of its own (the sink control), several draws of the random prefix, and, wherever the decoder's prompt
changes, the same shift of positions without a prompt (the position control). Prefixes that a study takes apart
get the position control of the encoder: the prefix there and unseen by the document (positions alone), and seen
without moving it (attention alone).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from analyses.studies.encoder_by_prompt import BOS_HIDDEN, BOS_VISIBLE
from budgetlens.design.design import Cell, Design, Factor
from budgetlens.design.plan import Plan, Split
from budgetlens.model.trials import FIRST_POSITIONS
from budgetlens.statistics.contrasts import Contrast, averaged

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
        contrasts: Sequence[Contrast] = (),
        splits: Sequence[Split] = (),
        headline: Sequence[str] = (),
    ) -> Plan:
        """The plan of a protocol, with the analysis's own ``contrasts`` and ``splits`` after the shared ones."""
        cells = self.cells(protocol)
        shared = tuple(_unique(self._contrasts(protocol, cells)))
        published = protocol == "published"
        return Plan(
            design=_design(cells),
            rows="holding" if published else "predicting",
            probes=("budgets", "published_entropies" if published else "entropies"),
            contrasts=(*shared, *contrasts),
            share_contrasts=tuple(contrast for contrast in shared if contrast.family in _SHARE_FAMILIES),
            splits=(*self._splits(protocol, shared), *splits),
            correction="bonferroni" if published else "holm",
            interaction=None if self.paddings else ("prompt", "prefix", "hidden"),
            headline=tuple(headline),
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

    def find(self, protocol: str, prefix: str, prompt: str = "query") -> tuple[str, ...]:
        """Names of the cells of a prefix, one per draw, hidden as the protocol hides by default."""
        finder = _Finder(self.cells(protocol), FIRST_POSITIONS if protocol == "published" else BOS_VISIBLE)
        draws = {each.level: each.draws for each in self.compared(protocol)}.get(prefix, ())
        return tuple(finder(level, prompt) for level in (prefix, *(() if protocol == "published" else draws)))

    def _levels(self, protocol: str) -> Iterator[tuple[str, str]]:
        """Every level of the prefix that is run with the query, with its short name."""
        yield "none", "bare"
        for prefix in self.compared(protocol):
            yield prefix.level, prefix.alias
            if protocol != "published":
                for number, draw in enumerate(prefix.draws, start=2):
                    yield draw, f"{prefix.alias}_draw_{number}"

    def _contrasts(self, protocol: str, cells: Sequence[Cell]) -> Iterator[Contrast]:
        for padding in self.paddings or (None,):
            own = [each for each in cells if each.factors.get(PADDING) == padding]
            yield from self._contrasts_of(protocol, own, padding)

    def _contrasts_of(self, protocol: str, cells: Sequence[Cell], padding: str | None) -> Iterator[Contrast]:
        published = protocol == "published"
        find = _Finder(cells, FIRST_POSITIONS if published else BOS_VISIBLE)
        at = "" if padding is None else f", padding={padding}"
        family = f"prefix{at}"
        for prefix in self.compared(protocol):
            draws = (prefix.level, *(() if published else prefix.draws))
            yield _versus_bare(find, draws, "query", family, effect_name(prefix.level, padding=padding))
        for level, _ in self.untruncated.items():
            yield Contrast(
                f"{level} prefix, left visible | prompt=query{at}",
                family,
                {find("none", "query"): 1.0, find(level, "query", "none"): -1.0},
            )
        for level in self.without_prompt:
            yield _versus_bare(find, (level,), "none", family, effect_name(level, "none", padding=padding))
        for level in ("none", *self.without_prompt):
            yield Contrast(
                f"query prompt | {self.aliases[level]}{at}",
                f"prompt{at}",
                {find(level, "none"): 1.0, find(level, "query"): -1.0},
            )
        for level in self.without_prompt:
            yield _interaction(
                find, level, ("none", "query"), f"interaction{at}", interaction_name(level, padding)
            )
        for level, _ in self.untruncated.items():
            yield Contrast(
                f"hiding the {level} prefix{at}",
                f"truncation{at}",
                {find(level, "query", "none"): 1.0, find(level, "query"): -1.0},
            )
        if not published:
            yield from self._controls(find, at, padding)

    def _controls(self, find: _Finder, at: str, padding: str | None) -> Iterator[Contrast]:
        """The contrasts of the corrected protocol's own cells."""
        for prefix in self.compared("corrected"):
            if prefix.draws:
                for number, draw in enumerate((prefix.level, *prefix.draws), start=1):
                    name = f"{prefix.level} prefix, draw {number} | prompt=query{at}"
                    yield _versus_bare(find, (draw,), "query", f"draws{at}", name)
        crossed = ("none", *self._without_prompt_and_oracle)
        prompts = {"query": ("none", "oracle"), "none": crossed}
        hidden = _Finder(find.cells, BOS_HIDDEN)
        for prompt, levels in prompts.items():
            if "oracle" in levels:
                name = effect_name("oracle", prompt, bos_hidden=True, padding=padding)
                yield _versus_bare(hidden, ("oracle",), prompt, f"prefix, BOS hidden{at}", name)
        for level in self._without_prompt_and_oracle:
            name = f"{interaction_name(level, padding)}, BOS hidden"
            yield _interaction(hidden, level, ("none", "query"), f"interaction, BOS hidden{at}", name)
        for prompt, levels in prompts.items():
            for level in levels:
                yield Contrast(
                    f"hiding BOS | {self.aliases[level]}, prompt={prompt}{at}",
                    f"sink{at}",
                    {find(level, prompt): 1.0, hidden(level, prompt): -1.0},
                )
        steps = ("none", "position", "query")
        for level in crossed:
            for first, second in pairwise(steps):
                yield Contrast(
                    f"{_STEPS[second]} ({first}→{second}) | {self.aliases[level]}{at}",
                    f"position{at}",
                    {find(level, first): 1.0, find(level, second): -1.0},
                )
        for level in self._without_prompt_and_oracle:
            name = effect_name(level, "position", padding=padding)
            yield _versus_bare(find, (level,), "position", f"position{at}", name)
            for first, second in pairwise(steps):
                name = f"{_STEPS[second]} ({first}→{second}) × {level} prefix{at}"
                yield _interaction(find, level, (first, second), f"position{at}", name)
        for level, asked in self.taken_apart.items():
            apart = {
                prompt: _co_encoding(find, level, prompt, f"| {self.aliases[level]}, prompt={prompt}{at}", at)
                for prompt in asked
            }
            for contrasts in apart.values():
                yield from contrasts
            if {"none", "query"} <= apart.keys():
                for without, with_query in zip(apart["none"][:4], apart["query"][:4], strict=True):
                    words = without.name.partition(" | ")[0]
                    yield step(with_query, without, f"{words} × query prompt | {self.aliases[level]}{at}")

    def _splits(self, protocol: str, shared: Sequence[Contrast]) -> Iterator[Split]:
        """Effects as sums of steps: of the oracle prefix over the random one, of the prompt over positions."""
        by_name = {contrast.name: contrast for contrast in shared}
        for padding in self.paddings or (None,):
            at = "" if padding is None else f", padding={padding}"
            oracle = by_name.get(effect_name("oracle", padding=padding))
            for prefix in self.compared(protocol):
                if oracle is None or prefix.level not in WORDS_OF_NO_QUESTION:
                    continue
                structure = by_name[effect_name(prefix.level, padding=padding)]
                yield Split(
                    renamed(oracle, f"{oracle.name}, by {prefix.level}"),
                    (
                        renamed(structure, f"structure (none→{prefix.level})"),
                        step(structure, oracle, f"content ({prefix.level}→oracle)"),
                    ),
                )
            if protocol == "published":
                continue
            totals = {
                f"query prompt | {self.aliases[level]}{at}": f"| {self.aliases[level]}{at}"
                for level in ("none", *self._without_prompt_and_oracle)
            } | {
                interaction_name(level, padding): f"× {level} prefix{at}"
                for level in self._without_prompt_and_oracle
            }
            for total, words in totals.items():
                yield Split(
                    by_name[total],
                    tuple(
                        by_name[f"{_STEPS[second]} ({first}→{second}) {words}"]
                        for first, second in pairwise(("none", "position", "query"))
                    ),
                )
            for level, prompts in self.taken_apart.items():
                alias = self.aliases[level]
                wholes = {
                    effect_name(level, prompt, padding=padding): f"| {alias}, prompt={prompt}{at}"
                    for prompt in prompts
                }
                if {"none", "query"} <= set(prompts):
                    wholes[interaction_name(level, padding)] = f"× query prompt | {alias}{at}"
                for total, words in wholes.items():
                    for order, parts in _ORDERS.items():
                        yield Split(
                            renamed(by_name[total], f"{total}, {order}"),
                            tuple(by_name[f"{part} {words}"] for part in parts),
                        )


def _co_encoding(find: _Finder, level: str, prompt: str, words: str, at: str) -> tuple[Contrast, ...]:
    """What of a prefix's effect is the move of the document's positions, and what its attention to the prefix.

    From the bare document to the prefix as it is there are two ways, over positions alone and over attention
    alone; the steps of each add up to the effect. The last contrast is by how much the ways differ: what
    positions do without attention, less what they do with it.
    """
    ends = {"bare": find("none", prompt), WHOLE: find(level, prompt)}
    places = ends | {part: find(level, prompt, apart=part) for part in (POSITION, ATTENTION)}
    family = f"co-encoding{at}"
    steps = tuple(
        Contrast(f"{name} {words}", family, {places[first]: 1.0, places[second]: -1.0})
        for name, (first, second) in _WAYS.items()
    )
    corners = {"bare": 1.0, POSITION: -1.0, ATTENTION: -1.0, WHOLE: 1.0}
    together = {places[place]: weight for place, weight in corners.items()}
    return (*steps, Contrast(f"position × attention {words}", family, together))


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


def effect_name(
    level: str, prompt: str = "query", *, bos_hidden: bool = False, padding: str | None = None
) -> str:
    """Name of the contrast of a prefix with the bare document under the same prompt."""
    name = f"{level} prefix | prompt={prompt}"
    return name + (", BOS hidden" if bos_hidden else "") + ("" if padding is None else f", padding={padding}")


def interaction_name(level: str = "oracle", padding: str | None = None) -> str:
    """Name of the interaction of a prefix with the query in the prompt."""
    return f"{level} prefix × query prompt" + ("" if padding is None else f", padding={padding}")


def step(first: Contrast, second: Contrast, name: str, family: str = "") -> Contrast:
    """What the treatment of ``second`` adds to that of ``first``, both compared with the same baseline."""
    weights: dict[str, float] = dict(second.weights)
    for cell_name, weight in first.weights.items():
        weights[cell_name] = weights.get(cell_name, 0.0) - weight
    return Contrast(
        name, family or second.family, {name: weight for name, weight in weights.items() if weight}
    )


@dataclass(frozen=True)
class _Finder:
    """Names of cells by prefix and prompt, truncated as ``hidden`` says unless told, co-encoded wholly unless told."""

    cells: Sequence[Cell]
    hidden: str

    def __call__(self, prefix: str, prompt: str, hidden: str | None = None, *, apart: str = WHOLE) -> str:
        wanted = {"prefix": prefix, "hidden": hidden or self.hidden, "prompt": prompt, CO_ENCODING: apart}
        (found,) = (
            each for each in self.cells if wanted.items() <= ({CO_ENCODING: WHOLE} | each.factors).items()
        )
        return found.name


def _versus_bare(find: _Finder, levels: Sequence[str], prompt: str, family: str, name: str) -> Contrast:
    """The bare document against a prefix, averaged over its draws."""
    draws = tuple(find(level, prompt) for level in levels)
    return Contrast(name, family, averaged({(find("none", prompt),): 1.0, draws: -1.0}))


def _interaction(find: _Finder, level: str, prompts: tuple[str, str], family: str, name: str) -> Contrast:
    """Effect of a prefix under the first prompt less its effect under the second, per example."""
    first, second = prompts
    weights = {
        find("none", first): 1.0,
        find(level, first): -1.0,
        find("none", second): -1.0,
        find(level, second): 1.0,
    }
    return Contrast(name, family, weights)


def renamed(contrast: Contrast, name: str) -> Contrast:
    """The same contrast under another name."""
    return Contrast(name, contrast.family, contrast.weights)


def _design(cells: Sequence[Cell]) -> Design:
    levels: dict[str, dict[str, None]] = {}
    for each in cells:
        for factor, level in each.levels:
            levels.setdefault(factor, {})[level] = None
    return Design(tuple(Factor(name, tuple(found)) for name, found in levels.items()), tuple(cells))


def _unique(contrasts: Iterator[Contrast]) -> Iterator[Contrast]:
    """Each name once; two contrasts of one name would be one row too many in every table."""
    seen: set[str] = set()
    for contrast in contrasts:
        if contrast.name in seen:
            raise ValueError(f"two contrasts are called {contrast.name!r}")
        seen.add(contrast.name)
        yield contrast
