"""What a person gives to be read, texts and interventions, as a cell and what it feeds the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from budgetlens.design.design import Cell
from budgetlens.design.intervention import Context, Intervention, LevelError, available_interventions
from budgetlens.design.reach import feed
from budgetlens.face.arguments import several
from budgetlens.face.levels import level_of, made_of, own_name
from budgetlens.model.edits import EditError
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import Example
from budgetlens.registry.characters import is_broken
from budgetlens.registry.names import RegistryError, lookup
from budgetlens.registry.parameters import split_draw
from budgetlens.runs.records import Fed

#: Seed of whatever a level leaves to chance, as in the command.
SEED = 42

#: The factors that texts are made levels of; a person may name them among the interventions instead.
_PREFIX, _PROMPT = "prefix", "prompt"


@dataclass(frozen=True)
class GivenCell(Cell):
    """A cell of instances: a text that is fed as it is, or an own class's instance, need not be written as a level."""

    instances: tuple[Intervention, ...] = ()

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """The instances, one per factor."""
        return self.instances


def fed_texts(
    tokenizer: TrialTokenizer,
    *,
    document: str,
    query: str,
    answer: str,
    prefix: str,
    interventions: Sequence[str | Intervention] | None,
) -> Fed:
    """The trial of some texts under interventions, made as a run makes it of an example and a cell.

    A prefix stands before the document with a line break behind it, and the query is the decoder's prompt, as under
    the levels ``prefix=literal:…`` and ``prompt=query``; interventions come behind them, in their order.

    Raises:
        ExampleError: the document or the answer is empty or has no token, nothing of the encoder is left to see, or
            the model has no room for them.
        LevelError: an intervention that is none, a factor given twice, or a prefix beside ``prefix=…``.
        EditError: an intervention that changes nothing here.
        RegistryError: a factor that is no registered intervention.
    """
    for name, text in (("document", document), ("answer", answer), ("query", query), ("prefix", prefix)):
        _require_text(name, text, may_be_empty=name in ("query", "prefix"))
    example = Example("given", query, document, answer)
    cell = given_cell(interventions, has_query=bool(query), prefix=prefix)
    context = Context(
        index=0,
        examples=(example,),
        tokenizer=tokenizer,
        vocabulary_size=tokenizer.tokenizer.vocab_size,
        seed=SEED,
    )
    trial, idle = feed(cell, example, context, tokenizer)
    # One cell is no crossing: hiding what is not there is told as well.
    for factor in idle:
        raise EditError(
            f"{factor}={cell.factors[factor]} changes nothing here: {idle[factor].reason}. The texts give the roles "
            f"{', '.join(trial.role_counts())}; name one of these, give the text that is missing, or leave it out"
        )
    return Fed(cell.name, trial)


def given_cell(
    interventions: Sequence[str | Intervention] | None, *, has_query: bool, prefix: str
) -> GivenCell:
    """The cell of some interventions, behind those that a prefix and a query stand for. Raises as :func:`fed_texts`."""
    listed = [made_of(each) for each in ([] if interventions is None else several(interventions))]
    known = available_interventions()
    given: list[tuple[str, str, Intervention]] = []
    for each in listed:
        if isinstance(each, Intervention):
            given.append((own_name("intervention", each), _told(each), each))
        else:
            factor, level = level_of(each)
            given.append((factor, level, known[factor].parse(split_draw(level)[0])))
    factors = [factor for factor, _, _ in given]
    doubled = sorted({factor for factor in factors if factors.count(factor) > 1})
    if doubled:
        raise LevelError(f"{doubled[0]!r} is given twice among the interventions; each factor has one level")
    if prefix and _PREFIX in factors:
        raise LevelError(
            "a prefix is given as a text and as a level; give prefix='…' or 'prefix=…' among the interventions"
        )
    texts: list[tuple[str, str, Intervention]] = []
    if prefix:
        # The text itself never passes through a level, in which '#2' at its end would be a draw.
        texts.append((_PREFIX, "literal", lookup("intervention", _PREFIX, known).parse(f"literal:{prefix}")))
    if has_query and _PROMPT not in factors:
        texts.append((_PROMPT, "query", lookup("intervention", _PROMPT, known).parse("query")))
    cell = [*texts, *given]
    return GivenCell(
        tuple((factor, level) for factor, level, _ in cell), instances=tuple(own for _, _, own in cell)
    )


def _told(instance: Intervention) -> str:
    """How a cell's name tells an instance: by its level where it has one that others could give."""
    try:
        return level_of(instance)[1]
    except (LevelError, RegistryError):
        return repr(instance)


def _require_text(name: str, text: object, *, may_be_empty: bool) -> None:
    if not isinstance(text, str):
        raise TypeError(f"the {name} is a text; got {text!r}")
    if not text and not may_be_empty:
        raise ValueError(
            f"the {name} is empty; give the text whose attention or likelihood is read ({name}='…')"
        )
    if is_broken(text):
        raise ValueError(
            f"the {name} holds a broken character (a lone surrogate), which no tokenizer can read: {text[:60]!a}; decode "
            "the text again, or leave the character out"
        )
