"""What an intervention is: a frozen dataclass with one pure method that rewrites a trial.

Registering one takes the decorator ``@intervention("name")``, in a module of :mod:`interventions` or of a
distribution with an entry point in the group ``budgetlens.interventions``. A factor of a design then uses
it by name, and each level is text that :meth:`Intervention.parse` turns into an instance.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self, TypeVar

import numpy as np

from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import Example, Trial
from budgetlens.registry.discovery import discover
from budgetlens.registry.labels import Label
from budgetlens.registry.names import name_of
from budgetlens.registry.parameters import ParameterError, from_text
from budgetlens.registry.registering import registered

InterventionClass = TypeVar("InterventionClass", bound="type[Intervention]")


#: Distance between the legacy seeds of two draws: beyond any corpus's size.
DRAW_STRIDE = 100_000_007


class LevelError(ValueError):
    """A level that an intervention can't be made from."""


@dataclass(frozen=True)
class Context:
    """What an intervention may know besides the trial: the corpus, the tokenizer, the seed.

    ``index`` is the example's place in the selected corpus ``examples``. ``vocabulary_size`` counts the
    tokenizer's ids without added tokens. ``draw`` numbers independent repetitions of a random choice: the
    level ``random-text#2`` is the same choice as ``random-text``, made with another seed. ``padding_pool`` are
    passages that no row of the corpus selects, of the rows outside the selection as well.

    Examples:
        >>> from budgetlens import Context, Example
        >>> examples = [Example(str(number), "who", "Oss built it.", "Oss") for number in range(4)]
        >>> context = Context(index=0, examples=examples, tokenizer=None, vocabulary_size=0, seed=42)
        >>> context.other().identifier
        '2'
        >>> int(context.generator("hint").integers(10)) == int(context.generator("hint").integers(10))
        True
    """

    index: int
    examples: Sequence[Example]
    tokenizer: TrialTokenizer
    vocabulary_size: int
    seed: int
    draw: int = 0
    padding_pool: Sequence[str] = ()

    @property
    def depths(self) -> Mapping[str, int]:
        """Number of layers by stack of the model that will be run."""
        return self.tokenizer.depths

    def generator(self, purpose: str) -> np.random.Generator:
        """A generator of its own for every example, purpose and draw, the same in every run with this seed."""
        key = [self.seed, self.index, zlib.crc32(purpose.encode())]
        return np.random.default_rng([*key, self.draw] if self.draw else key)

    def published_generator(self, offset: int) -> np.random.RandomState:
        """numpy's legacy generator, seeded with ``seed + index + offset`` as the published runs did.

        Further draws, which the published runs did not have, move the seed by a large stride.
        """
        return np.random.RandomState((self.seed + self.index + offset + self.draw * DRAW_STRIDE) % 2**32)

    def other(self, distance: int | None = None) -> Example:
        """Another example: half a corpus away unless ``distance`` says otherwise."""
        count = len(self.examples)
        return self.examples[(self.index + (count // 2 if distance is None else distance)) % count]


class Intervention(ABC):
    """Base of every intervention: subclasses are frozen dataclasses.

    ``sample_levels`` are levels under which the conformance suite tries it, each of which must have an effect;
    ``identity_levels`` must change nothing. Any other level that leaves every trial of a run as it is, or edits
    nothing but roles that none has, is refused before the run (:mod:`budgetlens.design.reach`), unless
    ``may_be_idle`` says that doing nothing is an answer: a document that is long enough is not padded.

    Examples:
        >>> from dataclasses import dataclass, replace
        >>> from budgetlens import Context, Intervention, Segment, Trial, intervention
        >>> @intervention("hint")
        ... @dataclass(frozen=True)
        ... class Hint(Intervention):
        ...     text: str = "It may help"
        ...
        ...     def apply(self, trial: Trial, context: Context) -> Trial:
        ...         return replace(trial, decoder=(Segment("prompt", text=self.text), *trial.decoder))
        >>> Hint.parse("Look")
        Hint(text='Look')
    """

    sample_levels: ClassVar[tuple[str, ...]] = ("",)
    identity_levels: ClassVar[tuple[str, ...]] = ()
    may_be_idle: ClassVar[bool] = False

    @abstractmethod
    def apply(self, trial: Trial, context: Context) -> Trial:
        """The rewritten trial; the given one is left as it is."""

    @classmethod
    def parse(cls, level: str) -> Self:
        """An instance from a design's level: the fields' values in order, joined by ``:``, or by name (``k=10``).

        Raises LevelError for too many or too few values, an unknown name or a value of the wrong type
        (:func:`budgetlens.registry.parameters.from_text`).
        """
        try:
            return from_text(cls, level)
        except ParameterError as error:
            raise LevelError(str(error)) from error

    @classmethod
    def label(cls, level: str) -> Label:
        """The words for a level, without its draw; LevelError for one that can't be parsed.

        By default the level behind the intervention's name, and nothing to tell on an axis where nothing is changed.
        """
        if level in cls.identity_levels:
            return Label("", f"no {name_of(cls).replace('_', ' ')}", rest=True)
        cls.parse(level)
        return Label(f"{name_of(cls).replace('_', ' ')} {level}".strip())

    @classmethod
    def known_levels(cls) -> tuple[str, ...]:
        """Levels that a list of interventions shows, without repetition; there may be endlessly many others."""
        return tuple(dict.fromkeys((*cls.identity_levels, *cls.sample_levels)))

    def files(self) -> tuple[Path, ...]:
        """Files whose content changes numbers; a run's identity holds their hashes."""
        return ()

    @property
    def name(self) -> str:
        """The registered name."""
        return name_of(self)


def intervention(name: str) -> Callable[[InterventionClass], InterventionClass]:
    """Register an intervention under ``name``, which is also the name of its factor in designs.

    Examples:
        >>> from dataclasses import dataclass
        >>> from budgetlens import Intervention, intervention
        >>> @intervention("as_it_is")
        ... @dataclass(frozen=True)
        ... class AsItIs(Intervention):
        ...     def apply(self, trial, context):
        ...         return trial
        >>> AsItIs().name
        'as_it_is'
    """
    return registered("intervention", name)


def available_interventions() -> Mapping[str, type[Intervention]]:
    """Every registered intervention by name."""
    return discover("intervention", "budgetlens.interventions")
