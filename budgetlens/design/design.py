"""Designs: factors, cells, and how a cell turns an example into a trial."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from budgetlens.design.applying import applied
from budgetlens.design.intervention import Context, Intervention, LevelError, available_interventions
from budgetlens.model.trials import Example, Trial
from budgetlens.registry.names import RegistryError, lookup
from budgetlens.registry.parameters import split_draw

if TYPE_CHECKING:
    from budgetlens.corpora.corpus import Corpus
    from budgetlens.model.tokenization import TrialTokenizer


@dataclass(frozen=True)
class Factor:
    """A named factor with its levels; the name is a registered intervention's.

    Examples:
        >>> from budgetlens import Factor
        >>> Factor("prefix", ("none", "oracle")).levels
        ('none', 'oracle')
    """

    name: str
    levels: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.levels)) != len(self.levels) or not self.levels:
            raise ValueError(f"factor {self.name!r} needs one or more distinct levels; got {self.levels}")
        for level in self.levels:
            if "|" in level:
                raise ValueError(
                    f"level {level!r} of factor {self.name!r} holds '|', which joins a cell's levels"
                )


@dataclass(frozen=True)
class Cell:
    """One level of every factor. ``alias`` is a short name for tables and figures.

    ``forced_start`` is its trials' (:class:`budgetlens.model.trials.Trial`): how the decoder's input starts.
    """

    levels: tuple[tuple[str, str], ...]
    alias: str = ""
    forced_start: bool = True

    @property
    def name(self) -> str:
        """``factor=level`` joined by ``|``, in the order of the factors."""
        return "|".join(f"{factor}={level}" for factor, level in self.levels)

    @property
    def factors(self) -> dict[str, str]:
        """Level by factor."""
        return dict(self.levels)

    @cached_property
    def interventions(self) -> tuple[Intervention, ...]:
        """The cell's interventions, one per factor, in the order of the factors."""
        known = available_interventions()
        return tuple(
            lookup("intervention", factor, known).parse(split_draw(level)[0]) for factor, level in self.levels
        )

    def trial(self, example: Example, context: Context) -> Trial:
        """What this cell feeds the model for ``example``."""
        return self.trials(example, context)[-1]

    def trials(self, example: Example, context: Context) -> tuple[Trial, ...]:
        """The bare trial of ``example``, then what each intervention makes of the one before it.

        Raises as the interventions do; a LevelError, such as for layers that the model lacks or for what is no trial,
        names the cell.
        """
        trials = [replace(Trial.bare(example), forced_start=self.forced_start)]
        for intervention, (factor, level) in zip(self.interventions, self.levels, strict=True):
            own = replace(context, draw=split_draw(level)[1])
            try:
                trials.append(applied(intervention, f"{factor}={level}", trials[-1], own))
            except LevelError as error:
                raise LevelError(f"cell {self.name}: {error}") from error
        return tuple(trials)


@dataclass(frozen=True)
class Design:
    """The cells of an analysis, all over the same factors."""

    factors: tuple[Factor, ...]
    cells: tuple[Cell, ...]

    def __post_init__(self) -> None:
        counts = Counter(cell.name for cell in self.cells)
        doubled = sorted(name for name, count in counts.items() if count > 1)
        if doubled:
            raise ValueError(f"a design's cells must differ; there twice: {', '.join(doubled)}")

    @cached_property
    def by_name(self) -> Mapping[str, Cell]:
        """The cells by their names, in order."""
        return {cell.name: cell for cell in self.cells}

    @property
    def interventions(self) -> tuple[Intervention, ...]:
        """Every intervention of every cell, each once.

        Raises RegistryError for a factor that is no registered intervention, LevelError for a level that it
        can't be made from, ValueError for one that can't be hashed; all name the cell.
        """
        found: dict[Intervention, None] = {}
        for cell in self.cells:
            try:
                found.update(dict.fromkeys(cell.interventions))
            except RegistryError as error:
                raise RegistryError(f"cell {cell.name}: {error}") from error
            except LevelError as error:
                raise LevelError(f"cell {cell.name}: {error}") from error
            except (ValueError, TypeError) as error:
                raise ValueError(f"cell {cell.name}: {error}") from error
        return tuple(found)

    def without_forced_start(self) -> Design:
        """The same design, its decoder inputs starting with the start token alone."""
        return replace(self, cells=tuple(replace(cell, forced_start=False) for cell in self.cells))

    def cell(self, **levels: str) -> Cell:
        """The cell with these levels of all factors; KeyError with the cells' names otherwise."""
        for cell in self.cells:
            if cell.factors == levels:
                return cell
        raise KeyError(f"no cell has the levels {levels}; cells: {[cell.name for cell in self.cells]}")


def context_of(corpus: Corpus, index: int, tokenizer: TrialTokenizer, seed: int) -> Context:
    """What an intervention may know of the example at ``index`` of ``corpus``."""
    return Context(
        index=index,
        examples=corpus.examples,
        tokenizer=tokenizer,
        vocabulary_size=tokenizer.tokenizer.vocab_size,
        seed=seed,
        padding_pool=corpus.padding_pool,
    )


def crossed(
    factors: Sequence[Factor],
    *,
    aliases: Mapping[tuple[str, ...], str] | None = None,
    extra: Sequence[tuple[str, ...]] = (),
) -> Design:
    """The design that crosses ``factors``, then the ``extra`` cells, given as one level per factor.

    ``aliases`` maps a cell's levels, in the order of the factors, to its short name.

    Examples:
        >>> from budgetlens import Factor, crossed
        >>> [cell.name for cell in crossed([Factor("prefix", ("none", "oracle")), Factor("prompt", ("query",))]).cells]
        ['prefix=none|prompt=query', 'prefix=oracle|prompt=query']
    """
    aliases = aliases or {}
    names = [factor.name for factor in factors]
    combinations = [*itertools.product(*(factor.levels for factor in factors)), *extra]
    cells = tuple(
        Cell(tuple(zip(names, levels, strict=True)), aliases.get(tuple(levels), ""))
        for levels in combinations
    )
    unused = sorted(set(aliases) - {tuple(levels) for levels in combinations})
    if unused:
        raise ValueError(f"aliases name cells that the design does not have: {unused}")
    return Design(tuple(factors), cells)
