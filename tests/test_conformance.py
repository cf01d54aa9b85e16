"""Every registered intervention, discovered and not listed, on every kind of family; and that the checks can fail."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy
import pytest

import interventions
from budgetlens.command.main import main
from budgetlens.design.intervention import Context, Intervention, available_interventions
from budgetlens.model.attention import AttentionCall, Site
from budgetlens.model.edits import HideKeys, RemoveOutput
from budgetlens.model.loaded import LoadedModel
from budgetlens.model.loading import prepare_model
from budgetlens.model.trials import Example, Segment, Trial
from tests.conformance import Bench, ConformanceError, check_identity, check_sample
from tests.conftest import corpus_rows
from tests.reference import tiny_models

FAMILIES = ("t5gemma2", "t5gemma", "t5", "bart")

#: Sample levels of interventions that need a file; ``{file}`` is a direction of the tiny models' width.
LEVELS_WITH_FILES = {
    "steering": ("document:4:{file}@final", "predicting:4:{file}@0", "document:-3:{file}@0-1")
}


def sample_levels(name: str) -> tuple[str, ...]:
    """The levels under which an intervention is tried."""
    return (*available_interventions()[name].sample_levels, *LEVELS_WITH_FILES.get(name, ()))


@pytest.fixture(scope="session")
def bench(loaded: Callable[[str], LoadedModel]) -> Callable[[str], Bench]:
    """The tiny model of a family with three unequal examples; made and measured once."""
    examples = tuple(
        Example(f"example {number}", **row) for number, row in enumerate(corpus_rows(4)) if number != 1
    )

    @cache
    def make(family: str) -> Bench:
        return Bench(loaded(family), examples)

    return make


@pytest.fixture(scope="session")
def direction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A direction in a file."""
    path = tmp_path_factory.mktemp("directions") / "random.npy"
    numpy.save(path, numpy.random.default_rng(3).normal(size=tiny_models.HIDDEN))
    return path


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", available_interventions())
def test_identity_levels_change_nothing(name: str, family: str, bench: Callable[[str], Bench]) -> None:
    cls = available_interventions()[name]
    for level in cls.identity_levels:
        check_identity(cls, level, bench(family))


@pytest.mark.parametrize("name", available_interventions())
def test_sample_levels_keep_to_what_every_intervention_must(
    name: str, bench: Callable[[str], Bench], direction: Path
) -> None:
    cls = available_interventions()[name]
    assert sample_levels(name), f"{name} names no sample level; the suite can't try it"
    for level in sample_levels(name):
        worked = [
            family for family in FAMILIES if check_sample(cls, level.format(file=direction), bench(family))
        ]
        assert worked, f"{name}={level} is refused by every family"


def test_every_registered_intervention_names_what_must_change_nothing() -> None:
    """Every one of this project has a level that does nothing, and is tried under at least one that does."""
    for name, cls in available_interventions().items():
        assert cls.identity_levels, name
        assert sample_levels(name), name


# Broken on purpose: each check must fail.


@dataclass(frozen=True)
class Prompting(Intervention):
    """Keeps to everything: a prompt of random words, or ``none``."""

    what: str = "words"

    def apply(self, trial: Trial, context: Context) -> Trial:
        if self.what == "none":
            return trial
        number = context.generator("prompting").integers(1000)
        return trial.with_prompt((Segment("prompt", text=f"number {number}"),))


class Mutating(Prompting):
    """Writes into the trial that it was given."""

    def apply(self, trial: Trial, context: Context) -> Trial:
        object.__setattr__(trial, "hidden", frozenset({"eos"}))
        return super().apply(trial, context)


class MutatingExamples(Prompting):
    """Writes into the examples of the corpus."""

    def apply(self, trial: Trial, context: Context) -> Trial:
        object.__setattr__(context.examples[0], "query", "who wrote this")
        return super().apply(trial, context)


class GloballyRandom(Prompting):
    """Draws from numpy's global generator."""

    def apply(self, trial: Trial, context: Context) -> Trial:
        return trial.with_prompt((Segment("prompt", text=f"number {numpy.random.randint(10**6)}"),))


class Unseeded(Prompting):
    """Draws from a generator that nobody seeded."""

    def apply(self, trial: Trial, context: Context) -> Trial:
        return trial.with_prompt((Segment("prompt", text=f"number {random.SystemRandom().random()}"),))


class OrderDependent(Prompting):
    """Remembers which example came before."""

    last: ClassVar[list[int]] = [0]

    def apply(self, trial: Trial, context: Context) -> Trial:
        before = self.last[0]
        self.last[0] = context.index
        return trial.with_prompt((Segment("prompt", text=f"after {before}"),))


class Idle(Prompting):
    """Does nothing."""

    def apply(self, trial: Trial, context: Context) -> Trial:
        return trial


class NoTrial(Prompting):
    """Returns text."""

    def apply(self, trial: Trial, context: Context) -> Any:
        return trial.example.query


class Leaving(Prompting):
    """Leaves a hook on the model, beside a proper edit."""

    model: ClassVar[Any] = None

    def apply(self, trial: Trial, context: Context) -> Trial:
        def doubled(module: Any, given: Any, output: Any) -> Any:
            return 2 * output

        self.model.get_output_embeddings().register_forward_hook(doubled)
        return replace(trial, edits=(RemoveOutput("attention", "decoder", frozenset({0})),))


@dataclass(frozen=True)
class Everywhere:
    """An edit of values that claims to match whatever layers it is given."""

    layers: frozenset[int] | None = None
    factor: float = 2

    def matches(self, site: Site) -> bool:
        return True

    def apply(self, call: AttentionCall) -> AttentionCall:
        return replace(call, value=call.value * self.factor)


class IdleEdit(Prompting):
    """Has an edit that changes no number."""

    def apply(self, trial: Trial, context: Context) -> Trial:
        return replace(trial, edits=(Everywhere(factor=1),))


class Unmatchable(Prompting):
    """Has an edit that raises nothing where it matches nothing."""

    def apply(self, trial: Trial, context: Context) -> Trial:
        return replace(trial, edits=(Everywhere(),))


@dataclass(frozen=True)
class Unhashable(Prompting):
    """Has a field that can't be hashed."""

    words: Any = None

    @classmethod
    def parse(cls, level: str) -> Any:
        return cls(level, [])


class Counting(Prompting):
    """Comes back from a pickle as another one."""

    def __reduce__(self) -> Any:
        return Prompting, ("other",)


BROKEN: dict[type[Intervention], str] = {
    Mutating: "changes the trial or the examples",
    MutatingExamples: "changes the trial or the examples",
    GloballyRandom: "draws from a global random generator",
    Unseeded: "makes another trial the second time, with the same seed",
    OrderDependent: "depends on the order",
    Idle: "has no effect, neither on bare trials nor on prompted ones",
    IdleEdit: "has no effect, neither on bare trials nor on prompted ones",
    NoTrial: "must return a Trial; got str",
    Unmatchable: "has an edit that matches no layer, which raised nothing",
    Unhashable: "can't be hashed and pickled",
    Counting: "is another one after pickling",
}


def test_a_sound_intervention_passes(bench: Callable[[str], Bench]) -> None:
    check_identity(Prompting, "none", bench("t5"))
    assert check_sample(Prompting, "words", bench("t5"))


@pytest.mark.parametrize("cls", BROKEN, ids=lambda cls: cls.__name__)
def test_a_broken_intervention_fails(cls: type[Intervention], bench: Callable[[str], Bench]) -> None:
    own = bench("t5")
    # The trials and examples are copies, so that what is broken here breaks nothing elsewhere.
    with pytest.raises(ConformanceError, match=BROKEN[cls]):
        check_sample(cls, "words", Bench(own.model, tuple(replace(example) for example in own.examples)))


def test_an_identity_that_is_none_fails(bench: Callable[[str], Bench]) -> None:
    with pytest.raises(ConformanceError, match="is to change nothing, and changes a number by"):
        check_identity(Prompting, "words", bench("t5"))


def test_a_hook_that_is_left_behind_is_noticed(
    bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = prepare_model(
        tiny_models.build("t5"), tiny_models.tokenizer(), name="t5", identity="tiny", check=False
    )
    fresh = Bench(own, bench("t5").examples)
    assert fresh.bases
    monkeypatch.setattr(Leaving, "model", own.model)
    with pytest.raises(ConformanceError, match="leaves something behind"):
        check_sample(Leaving, "words", fresh)


def test_an_error_in_a_trace_that_is_swallowed_is_noticed(
    bench: Callable[[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.conformance._Explosion", lambda: HideKeys(frozenset({"document"})))
    with pytest.raises(ConformanceError, match="swallows an error in the middle of a trace"):
        check_sample(available_interventions()["knockout"], "predicting->bos@0", bench("t5gemma2"))


# A newcomer's file.

NEWCOMER = """
from dataclasses import dataclass
from budgetlens.design.intervention import Intervention, intervention
from budgetlens.model.trials import Segment

@intervention("greeting")
@dataclass(frozen=True)
class Greeting(Intervention):
    \"\"\"Greet the decoder.\"\"\"
    sample_levels = ("", "good day:2")
    identity_levels = ("nobody",)
    word: str = "hello"
    times: int = 1

    def apply(self, trial, context):
        if self.word == "nobody":
            return trial
        return trial.with_prompt((Segment("prompt", text=" ".join([self.word] * self.times)),))
"""


def test_a_newcomer_s_file_is_found_by_everything(
    tmp_path: Path,
    tiny_directory: Path,
    bench: Callable[[str], Bench],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One file in the package's folder: in the list, in designs by name, in `show`, and in this suite."""
    (tmp_path / "greeting.py").write_text(NEWCOMER)
    monkeypatch.setattr(interventions, "__path__", [*interventions.__path__, str(tmp_path)])
    assert "greeting" in available_interventions()
    assert main(["list", "interventions"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Greet the decoder." in printed
    assert "parameters: word: str = 'hello', times: int = 1" in printed
    assert "levels such as: nobody, '', good day:2" in printed
    design = ["custom", "--factor", "greeting=nobody,good day:times=2"]
    assert main(["design", *design]) == 0
    assert 'greeting = ["nobody", "good day:times=2"]' in capsys.readouterr().out
    assert main(["show", *design, "--model", str(tiny_directory), "--n", "2"]) == 0
    assert "good day good day" in " ".join(capsys.readouterr().out.split())
    assert sample_levels("greeting") == ("", "good day:2")
    for level in sample_levels("greeting"):
        assert check_sample(available_interventions()["greeting"], level, bench("t5"))
    check_identity(available_interventions()["greeting"], "nobody", bench("t5"))
    sys.modules.pop("interventions.greeting")
