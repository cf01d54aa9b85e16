"""The decoder's prompt: what stands between the start token and the answer, online."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from interventions.intervention import Context, Intervention, LevelError, intervention
from probes.registry import nearest
from probes.trials import Segment, Trial

#: The published random prompt draws ids from [MARGIN, V − MARGIN) with seed + index + OFFSET.
PUBLISHED_MARGIN, PUBLISHED_OFFSET = 100, 10_000


def _query(trial: Trial, context: Context) -> Segment:
    """The example's query."""
    return Segment("prompt", token_ids=context.tokenizer.query_ids(trial.example.query))


def _random_ids(trial: Trial, context: Context) -> Segment:
    """As many ids as the query has, uniform over [100, V − 100): the published fill.

    Uniform ids include unused and control tokens; ``random-text`` does not.
    """
    low, high = PUBLISHED_MARGIN, context.vocabulary_size - PUBLISHED_MARGIN
    if high <= low:
        raise ValueError(
            f"prompt=random draws ids from [{low}, {high}), which is empty for a vocabulary of "
            f"{context.vocabulary_size}; use prompt=random-text"
        )
    count = len(context.tokenizer.query_ids(trial.example.query))
    ids = context.published_generator(PUBLISHED_OFFSET).randint(low, high, size=count)
    return Segment("prompt", token_ids=tuple(int(token) for token in ids))


def _random_text(trial: Trial, context: Context) -> Segment:
    """As many ids as the query has, uniform over the vocabulary's ordinary text tokens."""
    ordinary = context.tokenizer.text_tokens
    count = len(context.tokenizer.query_ids(trial.example.query))
    chosen = context.generator("prompt=random-text").integers(0, len(ordinary), size=count)
    return Segment("prompt", token_ids=tuple(ordinary[position] for position in chosen))


#: How a prompt is filled, by the name of the level.
FILLS: Mapping[str, Callable[[Trial, Context], Segment]] = MappingProxyType(
    {"query": _query, "random": _random_ids, "random-text": _random_text}
)


@intervention("prompt")
@dataclass(frozen=True)
class DecoderPrompt(Intervention):
    """Fill the decoder's prompt.

    ``fill``: ``none``; ``query``; ``random`` (uniform ids, as published); ``random-text`` (uniform over
    ordinary text tokens); ``position`` (no prompt, but every decoder position id moved by the query's
    length: what a prompt does to positions, without its tokens).
    """

    fill: str = "query"

    def __post_init__(self) -> None:
        known = ["none", "position", *FILLS]
        if self.fill not in known:
            raise LevelError(
                f"no prompt fill is called {self.fill!r}.{nearest(self.fill, known)} Known: {', '.join(known)}"
            )

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial with this prompt in place of any other."""
        if self.fill == "none":
            return trial.with_prompt(())
        if self.fill == "position":
            return replace(trial.with_prompt(()), decoder_shift="query")
        return trial.with_prompt((FILLS[self.fill](trial, context),))
