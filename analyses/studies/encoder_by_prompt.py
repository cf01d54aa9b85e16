"""Designs that cross what the encoder co-encoded with what the decoder is prompted with.

The shared part of the analyses 07 and 08: does a prefix still help once the decoder has the query, and
what does the decoder gain from the query that random text of its length does not give?
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from budgetlens.design.conclusions import Conclusion, Evidence, doing
from budgetlens.design.design import Design, Factor, crossed
from budgetlens.design.effects import Effect, Level, effect
from budgetlens.design.plan import Plan, Split
from budgetlens.model.trials import FIRST_POSITIONS
from budgetlens.statistics.contrasts import Contrast, distinct

BOS_VISIBLE = "prefix+separator"
BOS_HIDDEN = "bos+prefix+separator"
BOS_QUESTION = "Does hiding the encoder’s BOS, an attention sink, matter?"

_PREFIXES = {"none": "bare", "oracle": "oracle_trunc"}
_PROMPTS = {
    "none": "nq",
    "random": "random_q",
    "random-text": "random_q",
    "query": "q",
    "position": "shifted_nq",
    "shuffled-query": "shuffled_q",
    "other-query": "other_q",
}
#: Prompts that share more with the query than random text does, with the words of the steps to and from them.
_BESIDE = {
    "shuffled-query": ("the query's words in any order", "their order"),
    "other-query": ("any question", "this question"),
}


def plan(protocol: str, prompts: Sequence[str]) -> Plan:
    """The plan of an encoder × prompt analysis; ``prompts`` from ``none`` to ``query``, in order.

    Corrected: crossed with the encoder BOS visible or hidden, plus the position control (prompt=position)
    for the bare encoder; and where a prompt stands between none and the query, which is told from the query by order,
    words, length in words and form at once, the query's own words shuffled and another example's query beside it.
    Published: exactly prefix × prompt, truncated by first positions.
    """
    if protocol == "published":
        return _published(prompts)
    return _corrected(prompts)


def prefix_conclusion(protocol: str) -> Conclusion:
    """Whether the co-encoded query still helps a decoder that has the query."""
    hidden, words = _default(protocol)
    suffix = _suffix(words)
    effects = (_prefix(hidden, "query", suffix), *_two_by_two(hidden, words))
    names = dict.fromkeys(own.name for own in effects)
    return Conclusion(
        tuple(Evidence(name) for name in names),
        {
            "positive": "A co-encoded query helps a decoder that has the query",
            "negative": "A co-encoded query hurts a decoder that has the query",
            "none": "A co-encoded query makes no difference that matters to a decoder that has the query",
            "undecided": "Whether a co-encoded query helps a decoder that has the query is open",
        },
        "interaction",
    )


def content_conclusion(protocol: str, prompts: Sequence[str]) -> Conclusion:
    """Whether the query is worth more than random text of its length; beside it, what such text is worth."""
    hidden, words = _default(protocol)
    suffix = _suffix(words)
    length, content = _prompt_steps(prompts, hidden, "none", suffix)
    whole = _two_by_two(hidden, words)[2]
    return Conclusion(
        (
            Evidence(content.name),
            Evidence(whole.name, said=doing("the query")),
            Evidence(length.name, said=doing("random text")),
        ),
        {
            "positive": "The query is worth more than random text of its length",
            "negative": "The query does worse than random text of its length",
            "none": "The query is worth no more than random text of its length, by what matters",
            "undecided": "Whether the query is worth more than random text of its length is open",
        },
        "splits",
        besides={} if protocol == "published" else {BOS_QUESTION: tuple(own.name for own in _sink(prompts))},
    )


def _default(protocol: str) -> tuple[str, str]:
    """What is hidden where a protocol says nothing else, and its words in names."""
    return (FIRST_POSITIONS, "") if protocol == "published" else (BOS_VISIBLE, "BOS visible")


def _published(prompts: Sequence[str]) -> Plan:
    design = crossed(
        (
            Factor("prefix", ("none", "oracle")),
            Factor("hidden", (FIRST_POSITIONS,)),
            Factor("prompt", tuple(prompts)),
        ),
        aliases={
            (prefix, FIRST_POSITIONS, prompt): f"{short}_{_PROMPTS[prompt]}"
            for prefix, short in _PREFIXES.items()
            for prompt in prompts
        },
    )
    contrasts = _contrasts(design, prompts, FIRST_POSITIONS, "")
    return Plan(
        design=design,
        rows="holding",
        probes=("budgets", "published_entropies", "norm"),
        contrasts=contrasts,
        share_contrasts=_made(design, _two_by_two(FIRST_POSITIONS, "")),
        splits=_splits(design, prompts, FIRST_POSITIONS, ""),
        correction="bonferroni",
        interaction=("prompt", "prefix", "hidden"),
    )


def _corrected(prompts: Sequence[str]) -> Plan:
    levels = (BOS_VISIBLE, BOS_HIDDEN)
    position = ("none", BOS_VISIBLE, "position")
    aliases: dict[tuple[str, ...], str] = {
        (prefix, hidden, prompt): f"{short}_{_PROMPTS[prompt]}"
        + ("" if hidden == BOS_VISIBLE else "_bos_hidden")
        for prefix, short in _PREFIXES.items()
        for hidden in levels
        for prompt in prompts
    }
    beside: dict[tuple[str, ...], str] = {
        (prefix, BOS_VISIBLE, prompt): f"{short}_{_PROMPTS[prompt]}"
        for prefix, short in _PREFIXES.items()
        for prompt in _beside(prompts)
    }
    design = crossed(
        (Factor("prefix", ("none", "oracle")), Factor("hidden", levels), Factor("prompt", tuple(prompts))),
        aliases={**aliases, position: "bare_shifted_nq", **beside},
        extra=(position, *beside),
    )
    contrasts: list[Contrast] = []
    splits: list[Split] = []
    for hidden, words in ((BOS_VISIBLE, "BOS visible"), (BOS_HIDDEN, "BOS hidden")):
        contrasts += _contrasts(design, prompts, hidden, words)
        splits += _splits(design, prompts, hidden, words)
    for prompt in _beside(prompts):
        for own in _beside_steps(prompt):
            contrasts += _made(design, own)
        splits += _beside_splits(design, prompt)
    sink = _made(design, _sink(prompts))
    bare = {"prefix": "none", "hidden": BOS_VISIBLE}
    position_steps = _made(design, _steps(("none", "position", *prompts[1:]), bare, "position", "| bare"))
    whole = effect(prompt=("none", "query"), **bare).named(
        "query prompt | bare, by position and content", "position"
    )
    return Plan(
        design=design,
        rows="predicting",
        probes=("budgets", "entropies", "norm"),
        # The last step over the bare document's positions may be one between its prompts.
        contrasts=distinct((*contrasts, *sink, *position_steps)),
        share_contrasts=(*_made(design, _two_by_two(BOS_VISIBLE, "BOS visible")), *sink),
        splits=(*splits, Split(whole.contrast(design.cells), position_steps)),
        correction="holm",
        interaction=("prompt", "prefix", "hidden"),
    )


def _sink(prompts: Sequence[str]) -> tuple[Effect, ...]:
    """Hiding the encoder's BOS, per encoder level and prompt."""
    return tuple(
        effect(prefix=prefix, hidden=(BOS_VISIBLE, BOS_HIDDEN), prompt=prompt).named(
            f"hiding BOS | {short}, prompt={prompt}", "sink"
        )
        for prefix, short in _PREFIXES.items()
        for prompt in prompts
    )


def _made(design: Design, effects: Iterable[Effect]) -> tuple[Contrast, ...]:
    return tuple(own.contrast(design.cells) for own in effects)


def _suffix(words: str) -> str:
    return f", {words}" if words else ""


def _two_by_two(hidden: str, words: str) -> tuple[Effect, ...]:
    """Prefix within each end of the prompt, prompt within each prefix, and their interaction."""
    suffix = _suffix(words)
    return (
        *(_prefix(hidden, end, suffix) for end in ("none", "query")),
        *(
            effect(prefix=level, prompt=("none", "query"), hidden=hidden).named(
                f"query prompt | {short}{suffix}", f"prompt{suffix}"
            )
            for level, short in _PREFIXES.items()
        ),
        effect(prefix=("none", "oracle"), prompt=("none", "query"), hidden=hidden).named(
            f"oracle prefix × query prompt{suffix}", f"interaction{suffix}"
        ),
    )


def _prefix(hidden: str, prompt: str, suffix: str) -> Effect:
    return effect(prefix=("none", "oracle"), prompt=prompt, hidden=hidden).named(
        f"oracle prefix | prompt={prompt}{suffix}", f"prefix{suffix}"
    )


def _contrasts(design: Design, prompts: Sequence[str], hidden: str, words: str) -> tuple[Contrast, ...]:
    suffix = _suffix(words)
    effects = [*_two_by_two(hidden, words), *(_prefix(hidden, middle, suffix) for middle in prompts[1:-1])]
    if len(prompts) > 2:
        for prefix in _PREFIXES:
            effects += _prompt_steps(prompts, hidden, prefix, suffix)
        effects += _interaction_steps(prompts, hidden, suffix)
    return _made(design, effects)


def _beside(prompts: Sequence[str]) -> Sequence[str]:
    return tuple(_BESIDE) if len(prompts) > 2 else ()


def _step_name(first: str, second: str) -> str:
    if second == "position":
        return "position"
    for prompt, (to, beyond) in _BESIDE.items():
        if prompt in (first, second):
            return to if second == prompt else beyond
    if second == "query":
        return "semantic" if first.startswith("random") else "content"
    if first == "none":
        # What was published as length is random ids of that length; random text is a length and noise.
        return "length" if second == "random" else "random text"
    return "tokens"


def _steps(
    prompts: Sequence[str], held: Mapping[str, Level | tuple[Level, Level]], family: str, words: str
) -> tuple[Effect, ...]:
    """From each prompt to the next: effects that add up to the effect from the first to the last."""
    return tuple(
        effect(**held, prompt=(first, second)).named(
            f"{_step_name(first, second)} ({first}→{second}) {words}", family
        )
        for first, second in pairwise(prompts)
    )


def _prompt_steps(prompts: Sequence[str], hidden: str, prefix: str, suffix: str) -> tuple[Effect, ...]:
    held = {"prefix": prefix, "hidden": hidden}
    return _steps(prompts, held, f"prompt steps{suffix}", f"| {_PREFIXES[prefix]}{suffix}")


def _interaction_steps(prompts: Sequence[str], hidden: str, suffix: str) -> tuple[Effect, ...]:
    crossed: dict[str, Level | tuple[Level, Level]] = {"prefix": ("none", "oracle"), "hidden": hidden}
    return _steps(prompts, crossed, f"interaction{suffix}", f"× oracle prefix{suffix}")


def _beside_steps(prompt: str) -> tuple[tuple[Effect, ...], ...]:
    """From no prompt to ``prompt`` and from there to the query: per encoder level, and of the prefix's interaction."""
    suffix = _suffix("BOS visible")
    steps = ("none", prompt, "query")
    held: Mapping[str, Level | tuple[Level, Level]] = {"prefix": ("none", "oracle"), "hidden": BOS_VISIBLE}
    return (
        *(
            _steps(
                steps,
                {"prefix": prefix, "hidden": BOS_VISIBLE},
                f"other prompts{suffix}",
                f"| {short}{suffix}",
            )
            for prefix, short in _PREFIXES.items()
        ),
        _steps(steps, held, f"other prompts × prefix{suffix}", f"× oracle prefix{suffix}"),
    )


def _beside_splits(design: Design, prompt: str) -> list[Split]:
    """The prompt effect per encoder level, and the interaction, split at ``prompt``."""
    totals = _two_by_two(BOS_VISIBLE, "BOS visible")[2:]
    return [
        Split(whole.named(f"{whole.name}, by {prompt}").contrast(design.cells), _made(design, own))
        for whole, own in zip(totals, _beside_steps(prompt), strict=True)
    ]


def _splits(design: Design, prompts: Sequence[str], hidden: str, words: str) -> tuple[Split, ...]:
    """The prompt effect per encoder level, and the interaction, split into the steps between prompts."""
    if len(prompts) < 3:
        return ()
    suffix = _suffix(words)
    totals = _made(design, _two_by_two(hidden, words))[2:]
    parts = (
        *(_prompt_steps(prompts, hidden, prefix, suffix) for prefix in _PREFIXES),
        _interaction_steps(prompts, hidden, suffix),
    )
    return tuple(Split(total, _made(design, own)) for total, own in zip(totals, parts, strict=True))
