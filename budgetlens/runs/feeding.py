"""What a run feeds: every example in every cell, without the examples that some cell can't be made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.design import Cell, context_of
from budgetlens.design.reach import (
    feed,
    first_alike,
    first_token_words,
    idle_factors,
    none_is_left,
    untouched_first_token,
)
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import ExampleError
from budgetlens.runs.records import Fed


@dataclass(frozen=True)
class Feeding:
    """``fed`` holds the trials of each example that is left, ``left_out`` why another is not, by its identifier.

    ``corpus`` is the corpus of those that are left, from which prefixes, prompts and donors are taken.
    """

    corpus: Corpus
    fed: tuple[tuple[Fed, ...], ...]
    left_out: dict[str, str]

    def cautions(self, cells: Sequence[Cell], tokenizer: TrialTokenizer, seed: int) -> tuple[str, ...]:
        """What a reader must know of the design's levels, as sentences; asked of the first example."""
        example, context = self.corpus.examples[0], context_of(self.corpus, 0, tokenizer, seed)
        levels = {
            level: None
            for cell, item in zip(cells, self.fed[0], strict=True)
            for level in untouched_first_token(cell, example, context, item.trial)
        }
        return first_token_words(levels)


def feeding_of(
    cells: Sequence[Cell],
    corpus: Corpus,
    tokenizer: TrialTokenizer,
    seed: int,
    *,
    count: int | None = None,
    progress: bool = False,
) -> Feeding:
    """Every example with all its cells, in the corpus's order; of the first ``count`` where it is given.

    An example that can't be fed in one cell is left out of all, since effects are paired, and of the corpus: nobody
    gets its prefix, its prompt or its states. What is left is what a corpus without those rows gives. Since another
    example may then get another donor, all are made again until each can be fed.

    Raises ExampleError where none is left, and as :func:`budgetlens.design.reach.feed` does for a design's faults.
    """
    reasons: dict[str, ExampleError] = {}
    for example in corpus.examples:
        try:
            tokenizer.require_text(example)
        except ExampleError as error:
            reasons[example.identifier] = error
    while True:
        left = corpus.without(reasons)
        if not left.examples:
            raise none_is_left(len(corpus.examples), next(iter(reasons.values())))
        fed, refused = _round(cells, left, tokenizer, seed, count, progress)
        if not refused:
            order = [example.identifier for example in corpus.examples if example.identifier in reasons]
            return Feeding(left, fed, {name: _told(reasons[name]) for name in order})
        reasons |= refused


def _round(
    cells: Sequence[Cell],
    corpus: Corpus,
    tokenizer: TrialTokenizer,
    seed: int,
    count: int | None,
    progress: bool,
) -> tuple[tuple[tuple[Fed, ...], ...], dict[str, ExampleError]]:
    """The trials of all examples that can be fed from this corpus, and the errors of the others."""
    fed, refused = [], {}
    for index, example in enumerate(
        tqdm(corpus.examples[:count], desc="tokenizing", unit="example", disable=not progress, leave=False)
    ):
        context = context_of(corpus, index, tokenizer, seed)
        try:
            made = [(cell, *feed(cell, example, context, tokenizer)) for cell in cells]
        except ExampleError as error:
            refused[example.identifier] = error
            continue
        alike = first_alike([trial for _, trial, _ in made])
        fed.append(
            tuple(
                Fed(cell.name, trial, idle_factors(idle), made[first][0].name)
                for (cell, trial, idle), first in zip(made, alike, strict=True)
            )
        )
    return tuple(fed), refused


def _told(error: ExampleError) -> str:
    """Reason and message, as run.json keeps them: what stands before the first colon is the same for all of a kind."""
    return f"{error.reason}: {error}"
