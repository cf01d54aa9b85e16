"""What answers an analysis's question: which effects, what is said for every kind of outcome, and the figure beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from budgetlens.registry.labels import Label
from budgetlens.statistics.quantities import Quantity

#: Kinds of outcome that every conclusion has words for (:data:`budgetlens.statistics.decisions.Kind`); an effect whose
#: layers differ in sign is told by its own sentence alone.
OUTCOMES = ("positive", "negative", "none", "undecided")


@dataclass(frozen=True)
class Evidence:
    """One effect of a run: a row of a table of effects; of a probe over layers, the rows of one category.

    ``where`` chooses among rows of one effect by further columns. ``unit`` is told behind its numbers where it is not
    the outcome's, as of a slope. ``label`` are its words where they are not made of its cells' levels,
    ``of`` the words of a category that is no role. ``quantity`` is what the table is of where that is neither the
    outcome nor a probe's. ``said`` is what is said behind the clause of the deciding effect, by this one's kind of outcome:
    a difference between two effects tells of neither whether it helps.
    """

    effect: str
    table: str = "effects"
    where: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    label: Label | None = None
    of: str = ""
    quantity: Quantity | None = None
    said: Mapping[str, str] = field(default_factory=dict)


def doing(subject: str, *, plural: bool = False) -> Mapping[str, str]:
    """What is said of an effect on a likelihood, by its kind of outcome: ``subject`` helps, hurts, or neither."""
    s, do = ("", "do") if plural else ("s", "does")
    return {
        "positive": f"{subject} help{s}",
        "negative": f"{subject} hurt{s}",
        "none": f"{subject} {do} nothing that matters",
        "undecided": f"what {subject} {do} is open",
    }


@dataclass(frozen=True)
class Conclusion:
    """The effects that carry the answer, the deciding one first; a clause for each kind of that one's outcome.

    Each clause is a sentence without its full stop: behind it stands what was found. ``figure`` is the name of the
    figure that shows it; without the effects that it ``needs`` nothing is concluded. ``besides`` are further questions that
    readers ask of such a run, each with the effects on its outcome that answer it together.

    Raises:
        ValueError: no evidence, or an outcome without a clause.
    """

    evidence: tuple[Evidence, ...]
    outcomes: Mapping[str, str]
    figure: str = "effects"
    needs: tuple[Evidence, ...] = ()
    besides: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError("a conclusion needs one or more effects as evidence; got none")
        missing = [kind for kind in OUTCOMES if not self.outcomes.get(kind)]
        unknown = [kind for kind in self.outcomes if kind not in OUTCOMES]
        if missing or unknown:
            raise ValueError(
                f"a conclusion has a clause for each of {', '.join(OUTCOMES)}; "
                f"missing: {', '.join(missing) or 'none'}, unknown: {', '.join(unknown) or 'none'}"
            )
