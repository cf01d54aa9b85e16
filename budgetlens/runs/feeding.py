"""What a run feeds: every example in every cell, without the examples that some cell can't be made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from budgetlens.corpora.corpus import Corpus
from budgetlens.corpora.tasks import RERANK
from budgetlens.design.design import Cell, context_of
from budgetlens.design.intervention import Context
from budgetlens.design.reach import (
    feed,
    first_alike,
    first_token_words,
    idle_factors,
    none_is_left,
    untouched_first_token,
)
from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
from budgetlens.model.trials import ExampleError, Trial
from budgetlens.registry.names import printable
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
        return (*first_token_words(levels), *self._of_reranking(tokenizer))

    def _of_reranking(self, tokenizer: TrialTokenizer) -> tuple[str, ...]:
        """What a reader must know where the query is what is predicted: that it is, and which cells tell it beforehand."""
        if self.corpus.task != RERANK:
            return ()
        words = [
            "Task rerank: what is predicted, and called the answer, is the query, given one of its passages."
        ]
        told = [printable(item.cell) for item in self.fed[0] if _tells_query(item.trial.trial, tokenizer)]
        if told:
            words.append(
                f"The query that is predicted stands in the prefix or the prompt already in {', '.join(told)}: there its "
                "likelihood is that of a copy."
            )
        return tuple(words)


def feeding_of(
    cells: Sequence[Cell],
    corpus: Corpus,
    tokenizer: TrialTokenizer,
    seed: int,
    *,
    count: int | None = None,
    passages: bool = False,
    progress: bool = False,
) -> Feeding:
    """Every example with all its cells, in the corpus's order; of the first ``count`` where it is given.
    With ``passages``, also with each of its other passages in its document's place.

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
        fed, refused = _round(cells, left, tokenizer, seed, count, passages, progress)
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
    passages: bool,
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
            others = _others([trial for _, trial, _ in made], cells, context, tokenizer) if passages else None
        except ExampleError as error:
            refused[example.identifier] = error
            continue
        alike = first_alike([trial for _, trial, _ in made])
        fed.append(
            tuple(
                Fed(cell.name, trial, idle_factors(idle), made[first][0].name, own)
                for (cell, trial, idle), first, own in zip(
                    made, alike, others or ((),) * len(made), strict=True
                )
            )
        )
    return tuple(fed), refused


def _tells_query(trial: Trial, tokenizer: TrialTokenizer) -> bool:
    """Whether a prefix or a prompt holds the example's query."""
    query = trial.example.query
    return any(
        segment.role in ("prefix", "prompt")
        and (query in (segment.text or "") or segment.token_ids == tokenizer.query_ids(query))
        for segment in (*trial.encoder, *trial.decoder)
    )


def _others(
    fed: Sequence[TokenizedTrial], cells: Sequence[Cell], context: Context, tokenizer: TrialTokenizer
) -> list[tuple[TokenizedTrial, ...]]:
    """By cell, what it feeds with each other passage of the example in its document's place; the same passages in all.

    One that feeds the encoder what the document does, in any cell, is no other passage. Raises as the cells do: an example
    one of whose passages can't be fed is left out.
    """
    kept = []
    for other in fed[0].trial.example.with_other_passages:
        own = [feed(cell, other, context, tokenizer)[0] for cell in cells]
        if all(one.encoder_ids != trial.encoder_ids for one, trial in zip(own, fed, strict=True)):
            kept.append(own)
    return [tuple(own[place] for own in kept) for place in range(len(fed))]


def _told(error: ExampleError) -> str:
    """Reason and message, as run.json keeps them: what stands before the first colon is the same for all of a kind."""
    return f"{error.reason}: {error}"
