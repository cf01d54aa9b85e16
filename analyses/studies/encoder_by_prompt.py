"""Designs that cross what the encoder co-encoded with what the decoder is prompted with.

The shared part of the analyses 07 and 08: does a prefix still help once the decoder has the query, and
is it the query's content or only its length that the decoder gains?
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from budgetlens.design.design import Design, Factor, crossed
from budgetlens.design.plan import Plan, Split
from budgetlens.model.trials import FIRST_POSITIONS
from budgetlens.statistics.contrasts import Contrast, distinct, factor_contrast

BOS_VISIBLE = "prefix+separator"
BOS_HIDDEN = "bos+prefix+separator"

_PREFIXES = {"none": "bare", "oracle": "oracle_trunc"}
_PROMPTS = {
    "none": "nq",
    "random": "random_q",
    "random-text": "random_q",
    "query": "q",
    "position": "shifted_nq",
}


def plan(protocol: str, prompts: Sequence[str]) -> Plan:
    """The plan of an encoder × prompt analysis; ``prompts`` from ``none`` to ``query``, in order.

    Corrected: crossed with the encoder BOS visible or hidden, plus the position control (prompt=position)
    for the bare encoder. Published: exactly prefix × prompt, truncated by first positions.
    """
    if protocol == "published":
        return _published(prompts)
    return _corrected(prompts)


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
    hidden = {"hidden": FIRST_POSITIONS}
    contrasts = _contrasts(design, prompts, hidden, "")
    return Plan(
        design=design,
        rows="holding",
        probes=("budgets", "published_entropies"),
        contrasts=contrasts,
        share_contrasts=_two_by_two(design, hidden, ""),
        splits=_splits(design, prompts, hidden, ""),
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
    design = crossed(
        (Factor("prefix", ("none", "oracle")), Factor("hidden", levels), Factor("prompt", tuple(prompts))),
        aliases={**aliases, position: "bare_shifted_nq"},
        extra=(position,),
    )
    contrasts: list[Contrast] = []
    splits: list[Split] = []
    for hidden, words in ((BOS_VISIBLE, "BOS visible"), (BOS_HIDDEN, "BOS hidden")):
        contrasts += _contrasts(design, prompts, {"hidden": hidden}, words)
        splits += _splits(design, prompts, {"hidden": hidden}, words)
    sink = tuple(
        factor_contrast(
            _cells(design),
            {"hidden": levels},
            family="sink",
            at={"prefix": prefix, "prompt": prompt},
            name=f"hiding BOS | {short}, prompt={prompt}",
        )
        for prefix, short in _PREFIXES.items()
        for prompt in prompts
    )
    steps = ("none", "position", *prompts[1:])
    at = {"prefix": "none", "hidden": BOS_VISIBLE}
    position_steps = _steps(design, steps, at, "position", "bare")
    return Plan(
        design=design,
        rows="predicting",
        probes=("budgets", "entropies"),
        # The last step over the bare document's positions may be one between its prompts.
        contrasts=distinct((*contrasts, *sink, *position_steps)),
        share_contrasts=(*_two_by_two(design, {"hidden": BOS_VISIBLE}, "BOS visible"), *sink),
        splits=(
            *splits,
            Split(
                factor_contrast(
                    _cells(design),
                    {"prompt": ("none", "query")},
                    family="position",
                    at=at,
                    name="query prompt | bare, by position and content",
                ),
                position_steps,
            ),
        ),
        correction="holm",
        interaction=("prompt", "prefix", "hidden"),
    )


def _cells(design: Design) -> dict[str, dict[str, str]]:
    return {cell.name: cell.factors for cell in design.cells}


def _suffix(words: str) -> str:
    return f", {words}" if words else ""


def _two_by_two(design: Design, held: dict[str, str], words: str) -> tuple[Contrast, ...]:
    """Prefix within each end of the prompt, prompt within each prefix, and their interaction."""
    cells, ends = _cells(design), ("none", "query")
    prefix = {"prefix": ("none", "oracle")}
    prompt = {"prompt": ends}
    return (
        *(
            factor_contrast(
                cells,
                prefix,
                family=f"prefix{_suffix(words)}",
                at={**held, "prompt": end},
                name=f"oracle prefix | prompt={end}{_suffix(words)}",
            )
            for end in ends
        ),
        *(
            factor_contrast(
                cells,
                prompt,
                family=f"prompt{_suffix(words)}",
                at={**held, "prefix": level},
                name=f"query prompt | {short}{_suffix(words)}",
            )
            for level, short in _PREFIXES.items()
        ),
        factor_contrast(
            cells,
            {**prefix, **prompt},
            family=f"interaction{_suffix(words)}",
            at=held,
            name=f"oracle prefix × query prompt{_suffix(words)}",
        ),
    )


def _contrasts(
    design: Design, prompts: Sequence[str], held: dict[str, str], words: str
) -> tuple[Contrast, ...]:
    contrasts = list(_two_by_two(design, held, words))
    for middle in prompts[1:-1]:
        contrasts.append(
            factor_contrast(
                _cells(design),
                {"prefix": ("none", "oracle")},
                family=f"prefix{_suffix(words)}",
                at={**held, "prompt": middle},
                name=f"oracle prefix | prompt={middle}{_suffix(words)}",
            )
        )
    if len(prompts) > 2:
        for prefix, short in _PREFIXES.items():
            contrasts += _steps(
                design,
                prompts,
                {**held, "prefix": prefix},
                f"prompt steps{_suffix(words)}",
                f"{short}{_suffix(words)}",
            )
        contrasts += _interaction_steps(design, prompts, held, words)
    return tuple(contrasts)


def _step_name(first: str, second: str) -> str:
    if second == "position":
        return "position"
    if second == "query":
        return "semantic" if first.startswith("random") else "content"
    return "length" if first == "none" else "tokens"


def _steps(
    design: Design, prompts: Sequence[str], held: dict[str, str], family: str, words: str
) -> tuple[Contrast, ...]:
    """From each prompt to the next: effects that add up to the effect from the first to the last."""
    return tuple(
        factor_contrast(
            _cells(design),
            {"prompt": (first, second)},
            family=family,
            at=held,
            name=f"{_step_name(first, second)} ({first}→{second}) | {words}",
        )
        for first, second in pairwise(prompts)
    )


def _interaction_steps(
    design: Design, prompts: Sequence[str], held: dict[str, str], words: str
) -> tuple[Contrast, ...]:
    return tuple(
        factor_contrast(
            _cells(design),
            {"prefix": ("none", "oracle"), "prompt": (first, second)},
            family=f"interaction{_suffix(words)}",
            at=held,
            name=f"{_step_name(first, second)} ({first}→{second}) × oracle prefix{_suffix(words)}",
        )
        for first, second in pairwise(prompts)
    )


def _splits(design: Design, prompts: Sequence[str], held: dict[str, str], words: str) -> tuple[Split, ...]:
    """The prompt effect per encoder level, and the interaction, split into the steps between prompts."""
    if len(prompts) < 3:
        return ()
    two_by_two = _two_by_two(design, held, words)
    splits = [
        Split(
            total,
            _steps(
                design,
                prompts,
                {**held, "prefix": prefix},
                f"prompt steps{_suffix(words)}",
                f"{short}{_suffix(words)}",
            ),
        )
        for total, (prefix, short) in zip(two_by_two[2:4], _PREFIXES.items(), strict=True)
    ]
    splits.append(Split(two_by_two[4], _interaction_steps(design, prompts, held, words)))
    return tuple(splits)
