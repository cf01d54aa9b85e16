"""Whether the levels of a cell change anything: an edit of roles that a trial does not have is an effect of 0.

The rule. A level is *idle* in an example where its intervention hands back the very trial that it was given, or where
all that it adds are edits and hidings of roles that the trial does not have, or whose rows can't see their keys. A
level that is idle in every example of every cell of the design is refused before the run: it measures nothing, and
its effect of 0 would read like a finding. A level that is idle in some cells alone is what a crossing brings
(``prefix=none,oracle`` with a knockout of the prefix), and no error: records count the trials and the report says in
which cells. Levels that an intervention declares as identities are no edits, and designs with ``allow_idle`` are not
refused anything: they ask which roles there are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from budgetlens.design.design import Cell, Design, context_of
from budgetlens.design.intervention import Context, Intervention
from budgetlens.model.edits import EditError
from budgetlens.model.roles import ROLES
from budgetlens.model.tokenization import TokenizedTrial, TrialTokenizer
from budgetlens.model.trials import FIRST_POSITIONS, CutDocumentError, Example, ExampleError, StateEdit, Trial
from budgetlens.registry.names import printable

if TYPE_CHECKING:
    from budgetlens.corpora.corpus import Corpus

#: So many levels are named in a note.
LEVELS_NAMED = 6

#: A factor with one of its levels.
Level = tuple[str, str]


@dataclass(frozen=True)
class Idle:
    """Why a level changes nothing in a trial; ``expected`` where it merely hides what is not there.

    Hiding the prefix of a bare document is no news: every design that hides a prefix has such cells.
    """

    reason: str
    expected: bool = False


def feed(
    cell: Cell, example: Example, context: Context, tokenizer: TrialTokenizer
) -> tuple[TokenizedTrial, dict[str, Idle]]:
    """What a cell feeds the model for an example, and its idle factors.

    Raises as the cell and the tokenizer do, and ExampleError where the decoder would see nothing of the encoder.
    """
    trials = cell.trials(example, context)
    tokenized = tokenizer(trials[-1])
    if not any(tokenized.visible):
        raise ExampleError(
            f"example {example.identifier!r} in the cell {cell.name}: the decoder would see nothing of the encoder "
            f"(hidden: {'+'.join(sorted(trials[-1].hidden))}); leave at least one role visible",
            "the decoder would see nothing of the encoder",
        )
    found = {}
    for (factor, _), intervention, before, after in zip(
        cell.levels, cell.interventions, trials, trials[1:], strict=False
    ):
        if type(intervention).may_be_idle or intervention in _identities(type(intervention)):
            continue
        idle = _idle(before, after, tokenized)
        if idle is not None:
            found[factor] = idle
    return tokenized, found


def first_alike(fed: Sequence[TokenizedTrial]) -> list[int]:
    """For each trial of an example the number of the first that feeds the model the same: positions, edits, states.

    Edits that change nothing count for nothing, and so does where a prefix lies that is not there.
    """
    known: dict[object, list[tuple[tuple[object, ...], int]]] = {}
    found = []
    for number, trial in enumerate(fed):
        positions = trial.trial.prefix_positions if "prefix" in trial.encoder_roles else ""
        # Of a selection that the model is still to make, nobody knows what it hides.
        asked = trial.trial.keep if trial.asks else trial.chooses
        inputs = (trial.encoder_ids, trial.encoder_roles, trial.visible, positions, asked)
        alike = known.setdefault((inputs, trial.decoder_ids, trial.decoder_roles, trial.decoder_shift), [])
        # Edits need not have hashes, and so are compared one by one.
        edits = _acting(trial)
        first = next((earlier for own, earlier in alike if own == edits), number)
        if first == number:
            alike.append((edits, number))
        found.append(first)
    return found


def _acting(trial: TokenizedTrial) -> tuple[object, ...]:
    """The edits of a trial that change something in it, those of states with what their donors are fed."""
    edits = tuple(edit for edit in trial.trial.edits if trial.idle_reason(edit) is None)
    states = tuple(
        (replace(edit, donors=()), tuple(donor.encoder_key for donor in donors))
        for edit, donors in zip(trial.trial.states, trial.donors, strict=True)
        if trial.idle_reason(edit) is None
    )
    return edits, states


def require_feasible(
    design: Design, corpus: Corpus, tokenizer: TrialTokenizer, seed: int, *, allow_idle: bool = False
) -> None:
    """Refuse, before any model runs, what the tokenizer and the corpus rule out.

    Every cell is made for the first example that can be fed; further examples are looked at only for levels that
    were idle until then.

    Raises:
        EditError: a level is idle in every example of every cell that has it, or all levels of a factor feed the same
            since factors behind it undo what it does, and not ``allow_idle``.
        ExampleError: no example can be fed; the message tells why the first can't.
        ValueError: a cell can't be made.
    """
    pending: dict[Level, tuple[str, Idle] | None] = {
        level: None for cell in design.cells for level in cell.levels
    }
    undone = _asked(design)
    roles: set[str] = set()
    tried, refused = False, None
    for index, example in enumerate(corpus.examples):
        context = context_of(corpus, index, tokenizer, seed)
        wanted = [cell for cell in design.cells if undone or any(level in pending for level in cell.levels)]
        try:
            tokenizer.require_text(example)
            made = [(cell, *feed(cell, example, context, tokenizer)) for cell in wanted]
        except ExampleError as error:
            refused = refused or error
            continue
        tried = True
        if undone:
            cells, fed = [cell for cell, _, _ in made], first_alike([trial for _, trial, _ in made])
            undone = {
                factor for factor in undone if _is_undone(factor, cells, fed, example, context, tokenizer)
            }
        for cell, trial, idle in made:
            roles |= trial.role_counts().keys()
            for level in cell.levels:
                if level in pending:
                    if level[0] in idle:
                        pending[level] = (cell.name, idle[level[0]])
                    else:
                        del pending[level]
        if allow_idle or not (pending or undone):
            return
    if refused is not None and not tried:
        raise none_is_left(len(corpus.examples), refused)
    for own, known in pending.items():
        if known is not None:
            (factor, text), (cell_name, why) = own, known
            raise EditError(
                f"{factor}={text} changes nothing in any of the {len(corpus.examples)} examples, such as in the cell "
                f"{cell_name}: {why.reason}. The design's trials have the roles {_listed(roles)}. Name other roles, put a "
                f"factor that makes them before {factor}, or leave the level out; a design file with allow_idle = true "
                "runs it all the same"
            )
    for factor in sorted(undone):
        order = ", ".join(design.cells[0].factors)
        raise EditError(
            f"{factor} changes nothing in any cell: in all of the {len(corpus.examples)} examples its levels feed the same, "
            f"since a factor behind it undoes what it does. Factors are applied in the order given ({order}): put {factor} "
            "last, or leave it out"
        )


def _asked(design: Design) -> set[str]:
    """Factors whose levels are compared in cells that are alike otherwise; none that may do nothing."""
    found = set()
    for factor in design.cells[0].factors:
        if any(
            type(own).may_be_idle
            for cell in design.cells
            for own, (name, _) in zip(cell.interventions, cell.levels, strict=True)
            if name == factor
        ):
            continue
        if any(len(cells) > 1 for cells in _beside(factor, design.cells).values()):
            found.add(factor)
    return found


def _beside(factor: str, cells: Sequence[Cell]) -> dict[tuple[Level, ...], list[int]]:
    """The numbers of cells that are alike but for a factor."""
    groups: dict[tuple[Level, ...], list[int]] = {}
    for number, cell in enumerate(cells):
        groups.setdefault(tuple(level for level in cell.levels if level[0] != factor), []).append(number)
    return groups


def _is_undone(
    factor: str,
    cells: Sequence[Cell],
    alike: Sequence[int],
    example: Example,
    context: Context,
    tokenizer: TrialTokenizer,
) -> bool:
    """Whether a factor's levels feed the same in the end, for this example, and fed something else before later factors.

    ``alike`` is what :func:`first_alike` gives of the trials of ``cells``.
    """
    groups = _beside(factor, cells).values()
    if any(len({alike[number] for number in group}) > 1 for group in groups):
        return False
    place = 1 + list(cells[0].factors).index(factor)
    own = first_alike([tokenizer(cell.trials(example, context)[place]) for cell in cells])
    return any(len({own[number] for number in group}) > 1 for group in groups)


def none_is_left(count: int, first: ExampleError) -> ExampleError:
    """The error of a run in which not one of ``count`` examples can be fed, with that of the first."""
    if isinstance(first, CutDocumentError):
        return CutDocumentError(
            f"no example is left: each of the {count} is cut, or can't be fed for another reason. The first: {first}"
        )
    return ExampleError(
        f"no example is left: none of the {count} can be fed in every cell. The first: {first}", first.reason
    )


def _listed(roles: Collection[str]) -> str:
    return ", ".join(role for role in ROLES if role in roles)


@lru_cache(maxsize=256)
def _identities(kind: type[Intervention]) -> frozenset[Intervention]:
    return frozenset(kind.parse(level) for level in kind.identity_levels)


def _idle(before: Trial, after: Trial, tokenized: TokenizedTrial) -> Idle | None:
    """Why the step from ``before`` to ``after`` changes nothing of what is fed as ``tokenized``; None where it does."""
    if after is before:
        return Idle("it leaves the trial as it is")
    kept = replace(after, edits=before.edits, states=before.states, hidden=before.hidden)
    if kept != before:
        return None
    hidden = after.hidden - before.hidden
    if _hides(hidden, tokenized):
        return None
    reasons = [
        tokenized.idle_reason(edit)
        for edit in (*_added(before.edits, after.edits), *_added(before.states, after.states))
    ]
    if any(reason is None for reason in reasons):
        return None
    if reasons:
        return Idle("; ".join(dict.fromkeys(reason for reason in reasons if reason)))
    if hidden:
        return Idle(f"the encoder has no {'+'.join(sorted(hidden))} to hide", expected=True)
    return None


def _added(before: Sequence[object], after: Sequence[object]) -> Sequence[object]:
    return after[len(before) :]


def _hides(hidden: frozenset[str], tokenized: TokenizedTrial) -> bool:
    first = FIRST_POSITIONS in hidden and tokenized.published_hidden > 0
    return first or not hidden.isdisjoint(tokenized.encoder_roles)


def untouched_first_token(
    cell: Cell, example: Example, context: Context, tokenized: TokenizedTrial
) -> tuple[Level, ...]:
    """The levels of a cell that edit decoder rows which hold the answer, but not the one that predicts its first token.

    Rows that hold the answer's tokens stand one position behind those that predict them: under such a level the
    likelihood of the first token is what it was. ``tokenized`` is what the cell feeds for ``example``.
    """
    first, holding = tokenized.answer_rows("predicting")[0], set(tokenized.answer_rows("holding"))
    trials = cell.trials(example, context)
    found = []
    for level, before, after in zip(cell.levels, trials, trials[1:], strict=False):
        for edit in (*_added(before.edits, after.edits), *_added(before.states, after.states)):
            roles = edit.roles if isinstance(edit, StateEdit) else getattr(edit, "rows", None)
            if roles is None or getattr(edit, "stack", None) != "decoder" or tokenized.idle_reason(edit):
                continue
            rows = set(tokenized.positions("decoder", roles))
            if rows & holding and first not in rows:
                found.append(level)
    return tuple(dict.fromkeys(found))


def first_token_words(levels: Collection[Level]) -> tuple[str, ...]:
    """What a reader must know of such levels, as a sentence; none where there are none."""
    if not levels:
        return ()
    named = [printable(f"{factor}={level}") for factor, level in levels]
    more = f" and {len(named) - LEVELS_NAMED} more" if len(named) > LEVELS_NAMED else ""
    return (
        f"The row that predicts the answer's first token is untouched by {', '.join(named[:LEVELS_NAMED])}{more}: rows "
        "with the role answer hold the answer's tokens and predict those that follow, so that the likelihood of the first "
        "token is what it is without the edit. Name 'predicting' as rows to edit all that the answer's likelihood is "
        "made of.",
    )


def idle_factors(found: Mapping[str, Idle]) -> tuple[str, ...]:
    """The factors among ``found`` that a reader must be told of."""
    return tuple(factor for factor, idle in found.items() if not idle.expected)
