"""Interventions: what all have in common, how they are found, truncation, and the file that newcomers copy."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import interventions
from budgetlens.command.inventory import inventory
from budgetlens.design.design import Factor, crossed
from budgetlens.design.intervention import (
    Context,
    Intervention,
    LevelError,
    available_interventions,
    intervention,
)
from budgetlens.model.observation import available_probes
from budgetlens.model.trials import FIRST_POSITIONS, Segment, Trial
from budgetlens.registry.discovery import discover
from budgetlens.registry.names import RegistryError, lookup, name_of, nearest
from budgetlens.registry.registering import registered
from interventions.decoder_prompt import DecoderPrompt
from interventions.padding import PadDocument
from interventions.prefix import Prefix
from interventions.shuffling import Shuffle
from interventions.truncation import Truncate
from tests.distributions import write_metadata
from tests.word_level import EXAMPLES, TOKENIZER, context_of

ROOT = Path(__file__).parents[1]
INPUT_SIDE: dict[str, type[Intervention]] = {
    "prefix": Prefix,
    "hidden": Truncate,
    "prompt": DecoderPrompt,
    "shuffle": Shuffle,
    "padding": PadDocument,
}


def applied(change: Intervention, index: int, **options: Any) -> Trial:
    return change.apply(Trial.bare(EXAMPLES[index]), context_of(index, **options))


# What all have in common.


@pytest.mark.parametrize("name", sorted(INPUT_SIDE))
def test_samples_change_something_and_identities_nothing(name: str) -> None:
    """Also a second time, whatever ran in between; the given trial and context stay as they are."""
    cls = INPUT_SIDE[name]
    assert cls.sample_levels
    assert cls.identity_levels
    for index in range(3):
        bare, context = Trial.bare(EXAMPLES[index]), context_of(index)
        for level in cls.identity_levels:
            assert cls.parse(level).apply(bare, context) == bare, level
        # With a prefix there is something to hide.
        given = bare if name == "prefix" else Prefix("oracle").apply(bare, context)
        before = TOKENIZER(given)
        made = {level: cls.parse(level).apply(given, context) for level in cls.sample_levels}
        for level, trial in reversed(made.items()):
            fed = TOKENIZER(trial)
            assert (fed.encoder_ids, fed.visible, fed.decoder_ids) != (
                before.encoder_ids,
                before.visible,
                before.decoder_ids,
            ), level
            assert cls.parse(level).apply(given, context) == trial, level
        assert bare == Trial.bare(EXAMPLES[index])
        assert context == context_of(index)


@pytest.mark.parametrize("name", sorted(INPUT_SIDE))
def test_interventions_are_values(name: str) -> None:
    cls = INPUT_SIDE[name]
    for level in (*cls.sample_levels, *cls.identity_levels):
        assert cls.parse(level) == cls.parse(level)
        assert hash(cls.parse(level)) == hash(cls.parse(level))
        with pytest.raises(AttributeError):
            cls.parse(level).anything = 1  # type: ignore[attr-defined]


def test_every_level_works_in_a_cell_and_with_a_draw() -> None:
    """By the factor's name; of the random ones, another draw feeds something else."""
    for factor, level, is_random in (
        ("prefix", "shuffled_sentence", True),
        ("prefix", "literal:a#b", False),
        ("prompt", "random-text:6", True),
        ("prompt", "corpus-unigram:6", True),
        ("shuffle", "document:tokens", True),
        ("padding", "60", True),
        ("hidden", "bos", False),
    ):
        design = crossed((Factor(factor, (level, f"{level}#1", f"{level}#2")),))
        fed = [TOKENIZER(cell.trial(EXAMPLES[0], context_of(0))) for cell in design.cells]
        assert len({(one.encoder_ids, one.visible, one.decoder_ids) for one in fed}) == (
            3 if is_random else 1
        )


# Truncation.


def test_hidden_levels() -> None:
    assert Truncate.parse("none") == Truncate(frozenset())
    assert Truncate.parse("prefix+separator") == Truncate(frozenset({"prefix", "separator"}))
    assert Truncate.parse("first-n") == Truncate(frozenset({FIRST_POSITIONS}))
    assert applied(Truncate.parse("none"), 0) == Trial.bare(EXAMPLES[0])
    context = context_of(1)
    trial = Truncate.parse("bos+prefix+separator").apply(applied(Prefix("oracle"), 1), context)
    tokenized = TOKENIZER(trial)
    # BOS, three words and the line break.
    assert tokenized.visible == (False,) * 5 + (True,) * 13
    assert tokenized.encoder_ids == TOKENIZER(applied(Prefix("oracle"), 1)).encoder_ids
    first = TOKENIZER(Truncate.parse("first-n").apply(applied(Prefix("oracle"), 1), context))
    assert first.visible == (False,) * 4 + (True,) * 14


# Levels.


def test_unknown_roles_name_the_nearest() -> None:
    with pytest.raises(
        LevelError,
        match=r"unknown role\(s\) \['seperator'\].*Did you mean 'separator'\?.*or 'first-n' for the published",
    ):
        Truncate.parse("prefix+seperator")


@intervention("counted")
@dataclass(frozen=True)
class Counted(Intervention):
    """An intervention of a third party with typed values."""

    count: int = 1
    share: float = 0.5
    word: str = "x"
    flag: tuple[int, ...] = ()

    def apply(self, trial: Trial, context: Context) -> Trial:
        return trial


def test_levels_are_parsed_by_the_fields_types() -> None:
    assert Counted.parse("") == Counted()
    assert Counted.parse("3") == Counted(count=3)
    assert Counted.parse("3:0.25:a-b") == Counted(3, 0.25, "a-b")
    assert Counted.parse("3").name == "counted"
    with pytest.raises(LevelError, match=r"Counted.count must be int; got 'three'"):
        Counted.parse("three")
    with pytest.raises(LevelError, match=r"Counted must define parse\(\), since its field flag is a tuple"):
        Counted.parse("3:1:a:b")


# Discovery.


def test_what_is_registered_is_found() -> None:
    found = available_interventions()
    assert INPUT_SIDE.items() <= found.items()
    assert list(found) == sorted(found)
    # This module is no part of the package, so its own intervention is not found.
    assert "counted" not in found
    assert {"budgets", "entropies", "published_entropies"} <= available_probes().keys()
    assert name_of(Prefix) == name_of(Prefix()) == "prefix"


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> ModuleType:
    """A package with these modules, imported, which a distribution names under ``budgetlens.test_shapes``."""
    name = f"package_{tmp_path.name}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(
            "from budgetlens.registry.registering import registered\n" + textwrap.dedent(source)
        )
    write_metadata(tmp_path, name.replace("_", "-"), "1.0", {"budgetlens.test_shapes": {"all": name}})
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module(name)


def test_a_registered_class_of_a_module_is_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = package(
        tmp_path,
        monkeypatch,
        shapes="""
        @registered("shape", "round")
        def round_one(): ...

        @registered("colour", "red")
        def red(): ...

        class Circle: ...

        class Oval(registered("size", "large")(Circle)):
            "A subclass does not inherit the name."
        """,
        more="""
        from .shapes import round_one

        @registered("shape", "edgy")
        def edgy(): ...
        """,
    )
    found = discover("shape", "budgetlens.test_shapes")
    assert list(found) == ["edgy", "round"]
    assert found["round"].__name__ == "round_one"
    with pytest.raises(TypeError):
        found["round"] = int  # type: ignore[index]
    assert list(discover("colour", "budgetlens.test_shapes")) == ["red"]
    with pytest.raises(RegistryError, match="Oval is not registered"):
        name_of(importlib.import_module(f"{made.__name__}.shapes").Oval)


def test_one_name_for_two_things_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
    @registered("shape", "round")
    def {name}(): ...
    """
    package(tmp_path, monkeypatch, first=source.format(name="one"), second=source.format(name="two"))
    with pytest.raises(
        RegistryError, match=r"two shapes are called 'round': .*first\.one and .*second\.two; rename"
    ):
        discover("shape", "budgetlens.test_shapes")


def test_a_group_that_nothing_names_is_told() -> None:
    with pytest.raises(
        RegistryError, match=r"no installed distribution names its shapes under 'budgetlens.nothing'"
    ):
        discover("shape", "budgetlens.nothing")


def test_lookup_names_the_nearest() -> None:
    known = {"prefix": 1, "prompt": 2}
    assert lookup("intervention", "prompt", known) == 2
    with pytest.raises(
        RegistryError,
        match=r"no intervention is called 'prefx'. Did you mean 'prefix'\? Known: prefix, prompt",
    ):
        lookup("intervention", "prefx", known)
    assert nearest("zzz", known) == ""
    assert registered("kind", "name")(type("Thing", (), {})).__name__ == "Thing"


def distribution(folder: Path, source: str, **groups: str) -> None:
    """An installed distribution of one module, ``third_party``, with an entry point per group."""
    metadata = folder / "third_party-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    lines = [f"[budgetlens.{group}]\nentry = {target}\n" for group, target in groups.items()]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    (folder / "third_party.py").write_text(textwrap.dedent(source))


def test_another_distribution_s_interventions_are_found(tmp_path: Path) -> None:
    """In a process of its own: a design uses the intervention by name."""
    distribution(
        tmp_path,
        """
        from dataclasses import dataclass
        from budgetlens.design.intervention import Intervention, intervention
        from budgetlens.model.trials import Segment

        @intervention("shout")
        @dataclass(frozen=True)
        class Shout(Intervention):
            times: int = 1

            def apply(self, trial, context):
                return trial.with_prompt((Segment("prompt", text="HEY " * self.times),))
        """,
        interventions="third_party",
    )
    script = textwrap.dedent(
        """
        from budgetlens.design.design import Factor, crossed
        from budgetlens.design.intervention import Context
        from budgetlens.model.trials import Example

        cell = crossed((Factor("prefix", ("none",)), Factor("shout", ("2",)))).cells[0]
        example = Example("one", "query", "document", "answer")
        trial = cell.trial(example, Context(0, (example,), None, 0, 42))
        print(cell.interventions[1].name, trial.decoder[0].text)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout == "shout HEY HEY \n", result.stderr


def test_another_distribution_s_probe_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distribution(
        tmp_path,
        """
        from dataclasses import dataclass
        from budgetlens.model.declaration import Declaration
        from budgetlens.model.observation import probe

        @probe("peak")
        @dataclass(frozen=True)
        class Peak:
            declares = Declaration("Peak", (), "part")

            def categories(self, site): ...

            def observe(self, row_attention): ...
        """,
        probes="third_party:Peak",
    )
    assert "peak" not in available_probes()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert available_probes()["peak"].__name__ == "Peak"
    # A name of the project's own is taken, whoever comes second.
    module = tmp_path / "third_party.py"
    sys.modules.pop("third_party")
    importlib.invalidate_caches()
    module.write_text(module.read_text().replace('"peak"', '"budgets"') + "# changed\n")
    with pytest.raises(
        RegistryError, match=r"two probes are called 'budgets': probes.budgets.Budgets and third_party.Peak"
    ):
        available_probes()
    sys.modules.pop("third_party")


# The file that newcomers copy.


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The example file without its underscore, in a folder that the package takes modules from as well."""
    name = "a_copied_example"
    source = (ROOT / "interventions" / "_example.py").read_text(encoding="utf-8")
    (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(interventions, "__path__", [*interventions.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(f"interventions.{name}")
    delattr(interventions, name)


def test_the_example_is_not_registered_where_it_is() -> None:
    assert "hint" not in available_interventions()


def test_a_copy_of_the_example_is_listed_and_works(copied: str) -> None:
    """Without another edit: in the list, and by name in a design."""
    first, *_ = inventory(["interventions"])["interventions"]["hint"].splitlines()
    assert first == "Write a hint in front of the decoder's prompt."
    found = available_interventions()["hint"]
    assert found.__module__ == f"interventions.{copied}"
    design = crossed((Factor("prompt", ("query",)), Factor("hint", ("none", "", "word7:2"))))
    without, default, twice = (cell.trial(EXAMPLES[0], context_of(0)) for cell in design.cells)
    assert TOKENIZER(without).decoder_ids == (0, 10, 11, 50)
    assert default.decoder[0] == Segment("prompt", text="Hint")
    assert TOKENIZER(twice).decoder_ids == (0, 7, 7, 10, 11, 50)
    assert TOKENIZER(twice).decoder_roles == ("start", *("prompt",) * 4, "answer")
    for level in found.sample_levels:
        assert found.parse(level).apply(without, context_of(0)) != without
    for level in found.identity_levels:
        assert found.parse(level).apply(without, context_of(0)) == without
    with pytest.raises(LevelError, match="Hint.times must be int; got 'often'"):
        found.parse("word7:often")


def test_the_example_is_about_ten_lines() -> None:
    """Of code: no imports, comments, documentation or blank lines."""
    source = (ROOT / "interventions" / "_example.py").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line.split("#")[0].strip()]
    code = [line for line in lines if not line.lstrip().startswith(('"""', "from ", "import "))]
    assert len(code) <= 13, code


def test_the_readme_shows_the_example_without_its_comments() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## An intervention of your own")[1].split("\n## ")[0]
    (shown,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    source = (ROOT / "interventions" / "_example.py").read_text(encoding="utf-8")
    example = ast.parse(source)
    # The file has a docstring of its own.
    example.body = example.body[1:]
    assert ast.dump(ast.parse(shown)) == ast.dump(example)
    assert "#" not in shown
