"""What every cell feeds the model, coloured by role: for `budgetlens show`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.text import Text

from budgetlens.corpora.corpus import Corpus
from budgetlens.design.design import Cell, Design, context_of
from budgetlens.design.reach import feed, idle_factors
from budgetlens.model.edit_words import edit_words
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
from budgetlens.runs.examples_shown import notes_on_input
from budgetlens.tables.terminal_text import visible

#: Terminal colours of the roles; hidden positions are struck through as well.
ROLE_STYLES: dict[str, str] = {
    "bos": "bold yellow",
    "prefix": "bright_red",
    "separator": "magenta",
    "document": "white",
    "eos": "yellow",
    "start": "bold cyan",
    "prompt": "bright_blue",
    "answer": "bright_green",
}


def print_cells(
    design: Design,
    corpus: Corpus,
    tokenizer: TrialTokenizer,
    *,
    index: int,
    seed: int,
    only: Sequence[str] | None = None,
    console: Console | None = None,
) -> None:
    """Print the encoder's and the decoder's text of every cell for one example, and what edits do to it.

    Characters that would act on the terminal are written out (:mod:`budgetlens.tables.terminal_text`).

    Raises ValueError for an index beyond the corpus or a cell that the design does not have.
    """
    if not 0 <= index < len(corpus.examples):
        raise ValueError(
            f"example {index} was asked for; the corpus has examples 0 to {len(corpus.examples) - 1}"
        )
    cells = _chosen(design, only)
    console = console or Console()
    context = context_of(corpus, index, tokenizer, seed)
    console.print(
        Text(visible(f"example {index} ({corpus.examples[index].identifier}) of {corpus.name}"), "bold")
    )
    legend = Text("roles: ")
    for role in (*ENCODER_ROLES, *DECODER_ROLES):
        legend.append(role, ROLE_STYLES[role]).append("  ")
    console.print(legend.append("hidden", "strike dim").append(" from the decoder"))
    for cell in cells:
        trial, idle = feed(cell, corpus.examples[index], context, tokenizer)
        heading = Text("\n").append(visible(cell.name), "bold underline")
        console.print(heading.append(f"  {visible(cell.alias)}" if cell.alias else ""))
        console.print(Text("encoder  ", "dim").append_text(encoder_text(trial, tokenizer)))
        console.print(Text("decoder  ", "dim").append_text(decoder_text(trial, tokenizer)))
        counts = ", ".join(f"{count} {role}" for role, count in trial.role_counts().items())
        console.print(Text("; ".join((counts, *notes_on_input(trial))), "dim"))
        for label, edits in (("edit", trial.trial.edits), ("states", trial.trial.states)):
            for edit in edits:
                console.print(Text(f"{label:<9}", "dim").append(visible(edit_words(edit)), "bold"))
        for factor in idle_factors(idle):
            console.print(
                Text(f"{'idle':<9}", "dim").append(
                    visible(f"{factor} changes nothing here: {idle[factor].reason}"), "bold yellow"
                )
            )


def encoder_text(trial: TokenizedTrial, tokenizer: TrialTokenizer) -> Text:
    """The encoder's positions as text, coloured by role, struck through where hidden."""
    keys = zip(trial.encoder_roles, trial.visible, strict=True)
    return _coloured(trial.encoder_ids, list(keys), tokenizer)


def decoder_text(trial: TokenizedTrial, tokenizer: TrialTokenizer) -> Text:
    """The decoder's positions as text, coloured by role."""
    return _coloured(trial.decoder_ids, [(role, True) for role in trial.decoder_roles], tokenizer)


def _coloured(ids: Sequence[int], keys: Sequence[tuple[str, bool]], tokenizer: TrialTokenizer) -> Text:
    text = Text()
    for (role, seen), run in groupby(zip(keys, ids, strict=True), key=lambda item: item[0]):
        decoded = visible(str(tokenizer.tokenizer.decode([token for _, token in run])))
        style = ROLE_STYLES[role] + ("" if seen else " strike dim")
        text.append(decoded, style).append(" ")
    return text


def _chosen(design: Design, only: Sequence[str] | None) -> tuple[Cell, ...]:
    if not only:
        return design.cells
    chosen = tuple(cell for cell in design.cells if cell.name in only or (cell.alias and cell.alias in only))
    missing = sorted(set(only) - {cell.name for cell in chosen} - {cell.alias for cell in chosen})
    if missing:
        raise ValueError(
            f"no cell is called {missing}; cells: {', '.join(cell.alias or cell.name for cell in design.cells)}"
        )
    return chosen
