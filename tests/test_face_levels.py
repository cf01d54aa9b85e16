"""Levels from Python: texts, instances, and classes that a notebook defines."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import pytest

from budgetlens.design.design import Cell
from budgetlens.design.intervention import (
    Context,
    Intervention,
    LevelError,
    available_interventions,
    intervention,
)
from budgetlens.face.levels import level_of, probe_text
from budgetlens.model.observation import available_probes, chosen_probes
from budgetlens.model.trials import Trial
from budgetlens.registry.names import RegistryError
from budgetlens.registry.parameters import ParameterError
from interventions.knockout import Knockout
from interventions.prefix_attention import PrefixAttention
from probes.entropies import Entropies
from tests.cells import EXAMPLES


@intervention("hint")
@dataclass(frozen=True)
class Hint(Intervention):
    """Hides the separator, so many times: enough to see which instance was applied."""

    text: str = "Hint"
    times: int = 1
    scale: float | None = None
    loud: bool = False

    def apply(self, trial: Trial, context: Context) -> Trial:
        """The trial, its answer replaced by this instance's words."""
        return replace(trial, example=replace(trial.example, answer=f"{self.text}/{self.times}"))


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put classes into the namespace of what is run, as the cells of a notebook do."""

    def define(*classes: type, name: str | None = None) -> None:
        for cls in classes:
            monkeypatch.setattr(sys.modules["__main__"], name or cls.__name__, cls, raising=False)

    return define


@pytest.mark.parametrize(
    "given",
    [
        Hint(),
        Hint("It may help", 2),
        Hint("a: b", 1, 0.1, True),
        Hint("word=other", 3),
        Hint("", 1),
        Hint(scale=1e-300),
        Hint(loud=True),
    ],
)
def test_a_notebooks_instance_is_its_level_and_back(notebook: Callable[..., None], given: Hint) -> None:
    notebook(Hint)
    factor, level = level_of(given)
    assert factor == "hint"
    cell = Cell(((factor, level),))
    assert cell.interventions == (given,)
    tiny = Context(0, EXAMPLES, None, 0, 0)  # type: ignore[arg-type]
    assert cell.trial(EXAMPLES[0], tiny).example.answer == f"{given.text}/{given.times}"


@pytest.mark.parametrize(
    ("given", "level"),
    [
        (Hint("It may help", 2), "It may help:2"),
        (Hint(times=2), "Hint:2"),
        (Hint(), "Hint"),
        (Hint("", 2), ":2"),
        (Hint("", 1), "text="),
        (Hint("word=other"), "text=word=other"),
    ],
)
def test_levels_read_as_a_person_would_write_them(
    notebook: Callable[..., None], given: Hint, level: str
) -> None:
    notebook(Hint)
    assert level_of(given) == ("hint", level)


def test_texts_and_known_instances_of_a_syntax_of_their_own() -> None:
    assert level_of("hidden=prefix+separator") == ("hidden", "prefix+separator")
    assert level_of("prompt=random-text#2") == ("prompt", "random-text#2")
    assert level_of("prefix=literal:a=b") == ("prefix", "literal:a=b")
    for name, cls in available_interventions().items():
        for level in (*cls.sample_levels, *cls.identity_levels):
            factor, text = level_of(cls.parse(level))
            assert (factor, cls.parse(text)) == (name, cls.parse(level))
    assert level_of(PrefixAttention(masked=True, unshifted=True)) == ("prefix_attention", "masked+unshifted")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("hiden=prefix", "no intervention is called 'hiden'. Did you mean 'hidden'?"),
        ("hidden", "names no level"),
        ("hiddn", "Did you mean 'hidden'?"),
        ("knockout=bos", "names no attention"),
        ("prefix=literal:a|b", "holds '|'"),
        (3, "got 3"),
        (Hint, "from tests.test_face_levels import Hint"),
        (str, "the class str"),
        (Hint(), "from tests.test_face_levels import Hint"),
    ],
)
def test_what_is_no_level_is_told(given: Any, words: str) -> None:
    with pytest.raises((LevelError, RegistryError), match=re.escape(words)):
        level_of(given)


def test_an_instance_without_a_text_is_told() -> None:
    with pytest.raises(LevelError, match="give the level as text, 'knockout=LEVEL'"):
        level_of(Knockout(replace(Knockout.parse("answer->bos").edges, keys=frozenset({"document"}))))  # type: ignore[type-var]


def test_a_text_that_would_end_the_cell_or_be_a_draw_is_refused(notebook: Callable[..., None]) -> None:
    notebook(Hint)
    with pytest.raises(LevelError, match="holds '|'"):
        level_of(Hint("a|b"))
    with pytest.raises(LevelError, match="no text is known"):
        level_of(Hint("a#2"))
    with pytest.raises(LevelError, match="no text is known"):
        level_of(Hint("ends in a backslash\\", 2))


def test_a_class_that_was_defined_again(notebook: Callable[..., None]) -> None:
    old = Hint("before")

    @intervention("hint")
    @dataclass(frozen=True)
    class Again(Intervention):
        word: str = ""

        def apply(self, trial: Trial, context: Context) -> Trial:
            return trial

    Again.__name__ = "Hint"
    # History keeps the class as it was.
    notebook(Hint, name="_12")
    notebook(Again)
    assert level_of(Again("x")) == ("hint", "x")
    with pytest.raises(RegistryError, match="defined again"):
        level_of(old)


def test_a_notebook_can_not_take_a_name_that_is_there(notebook: Callable[..., None]) -> None:
    @intervention("prefix")
    @dataclass(frozen=True)
    class Mine(Intervention):
        def apply(self, trial: Trial, context: Context) -> Trial:
            return trial

    notebook(Mine)
    with pytest.raises(RegistryError, match="two interventions are called 'prefix'"):
        level_of("prefix=none")


def test_probes_as_text_and_as_instances(notebook: Callable[..., None]) -> None:
    from budgetlens.model.declaration import Declaration
    from budgetlens.model.observation import probe

    @probe("mine")
    @dataclass(frozen=True)
    class Mine:
        count: int = 5
        places: ClassVar[int] = 2
        declares = Declaration(title="Mine", quantities=())

        def observe_answer(self, answer: Any) -> dict[str, Any]:
            return {}

    notebook(Mine)
    assert probe_text(Entropies()) == "entropies"
    assert probe_text("entropies") == "entropies"
    assert probe_text(Mine()) == "mine"
    assert chosen_probes([probe_text(Mine(3))]) == (Mine(3),)
    assert "mine" in available_probes()
    with pytest.raises(RegistryError, match="Did you mean 'entropies'"):
        probe_text("entropys")
    with pytest.raises(ParameterError, match="takes at most"):
        probe_text("entropies:3")
    with pytest.raises(ParameterError, match="can't be written as text"):
        probe_text(Mine((1, 2)))  # type: ignore[arg-type]
    with pytest.raises(RegistryError, match="is a class"):
        probe_text(Mine)
    with pytest.raises(RegistryError, match="is of no registered class"):
        probe_text(object())


def test_a_class_without_the_decorator_or_with_fields_that_are_made(notebook: Callable[..., None]) -> None:
    class Plain(Intervention):
        def apply(self, trial: Trial, context: Context) -> Trial:
            return trial

    with pytest.raises(RegistryError, match=r'@intervention\("name"\) above .*Plain'):
        level_of(Plain())

    @intervention("made")
    @dataclass(frozen=True)
    class Made(Intervention):
        words: tuple[str, ...] = field(default_factory=lambda: ("a",))

        @classmethod
        def parse(cls, level: str) -> Self:
            return cls(tuple(level.split("+")))

        def apply(self, trial: Trial, context: Context) -> Trial:
            return trial

    notebook(Made)
    assert level_of("made=a+b") == ("made", "a+b")
    with pytest.raises(LevelError, match="'made=LEVEL'"):
        level_of(Made(("a", "b")))


#: What a notebook may define by mistake, and the words that tell it.
MISTAKEN = [
    (
        '@bl.intervention("own")\nclass Own(bl.Intervention):\n    def apply(self, trial, context):\n        return trial\n',
        "intervention 'own' (__main__.Own) is not frozen; expected a frozen dataclass with apply, parse",
    ),
    (
        '@bl.intervention("own")\n@dataclass(frozen=True)\nclass Own:\n    word: str = ""\n',
        "intervention 'own' (__main__.Own) has no apply, parse, files, sample_levels, identity_levels",
    ),
    (
        '@bl.intervention("own")\n@dataclass(frozen=True)\nclass Own(bl.Intervention):\n    word: str = ""\n',
        "intervention 'own' (__main__.Own) has no apply",
    ),
    (
        '@bl.probe("own")\n@dataclass(frozen=True)\nclass Own:\n    word: str = ""\n',
        "probe 'own' (__main__.Own) has no declares, categories, observe",
    ),
    ('@bl.probe("own")\ndef own():\n    pass\n', "probe 'own' (__main__.own) is no class"),
    (
        '@bl.intervention("prefix")\n@dataclass(frozen=True)\nclass Own(bl.Intervention):\n'
        "    def apply(self, trial, context):\n        return trial\n",
        "the intervention 'prefix' is there already (interventions.prefix.Prefix); give __main__.Own another name: "
        '@intervention("…")',
    ),
]


@pytest.mark.parametrize("number", range(len(MISTAKEN)))
def test_what_can_not_be_registered_is_told_where_a_notebook_defines_it(number: int) -> None:
    source, words = MISTAKEN[number]
    head = "from dataclasses import dataclass\nimport budgetlens as bl\n"
    with pytest.raises(RegistryError, match=re.escape(words)):
        exec(head + source, {"__name__": "__main__"})
    # A package's class is told of when it is found, with its distribution.
    exec(head + source, {"__name__": __name__})


def test_a_script_may_be_the_module_that_is_found_and_a_cell_may_run_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = (
        "from dataclasses import dataclass\nimport budgetlens as bl\n"
        '@bl.intervention("NAME")\n@dataclass(frozen=True)\nclass Own(bl.Intervention):\n'
        "    def apply(self, trial, context):\n        return trial\n"
    )
    for _ in range(2):
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(source.replace("NAME", "own"), space)
        monkeypatch.setattr(sys.modules["__main__"], "Own", space["Own"], raising=False)
        assert level_of(space["Own"]()) == ("own", "")
    monkeypatch.delattr(sys.modules["__main__"], "Own")
    monkeypatch.setattr(
        sys.modules["__main__"], "__file__", sys.modules["interventions.prefix"].__file__, raising=False
    )
    exec(source.replace("NAME", "prefix"), {"__name__": "__main__"})
