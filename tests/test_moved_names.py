"""Imports by the names of budgetlens 0.1: each ends in one sentence that says the new one."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import analyses
import interventions
import probes
from budgetlens.registry import moved

ROOT = Path(__file__).parents[1]

#: Every module of the three folders as it was before the engine moved (commit ff08047), one a line, with the modules
#: that hold now what it held; alone where it is still there. Written down once from that commit and the one after it.
OLD = [line.split() for line in (Path(__file__).parent / "old_modules.txt").read_text().splitlines()]
MOVED = {old: new for old, *new in OLD if new}
STAYED = [old for old, *new in OLD if not new]

#: Names that `interventions` and, while it was a module, `interventions.levels` had, and the modules of today.
OLD_NAMES = {
    "interventions": (
        "budgetlens.design.intervention.Context interventions.decoder_prompt.DecoderPrompt "
        "budgetlens.design.intervention.Intervention interventions.knockout.Knockout "
        "interventions.padding.PadDocument interventions.prefix.Prefix "
        "interventions.prefix_attention.PrefixAttention interventions.reweighting.Reweighting "
        "interventions.shuffling.Shuffle interventions.state_patching.StatePatching "
        "interventions.state_replacement.StateReplacement interventions.steering.Steering "
        "interventions.sublayer_removal.SublayerRemoval interventions.truncation.Truncate "
        "interventions.value_zeroing.ValueZeroing"
    ),
    "interventions.levels": (
        "interventions.levels.values.at_least interventions.levels.values.known_name "
        "interventions.levels.values.role_set budgetlens.registry.parameters.split_draw "
        "interventions.levels.values.whole_number"
    ),
}


def python(*given: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process of its own that finds this checkout first."""
    return subprocess.run(
        [sys.executable, *given],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_list_is_whole() -> None:
    assert (len(MOVED), len(STAYED)) == (134, 33)


@pytest.mark.parametrize("old", MOVED)
def test_an_old_module_says_the_new_one(old: str) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        importlib.import_module(old)
    sentence = str(caught.value)
    assert re.fullmatch(
        r"\S+ is now [^\n:]+ \(since budgetlens 0\.2\): write 'from [^\n]+ import …'", sentence
    )
    assert {find_spec(name) is not None for name in re.findall(r"'from (\S+?)(?:\.…)? import", sentence)} == {
        True
    }
    package, _, name = old.rpartition(".")
    for new in MOVED[old]:
        assert find_spec(new) is not None
        # Python asks for the package first, and of a package only the modules that are called otherwise are named.
        said_by_package = f"{package} is now {new.removesuffix(f'.{name}')}" in sentence
        assert re.search(rf"\b{new}(?![\w.]*\w)", sentence) or (new.endswith(f".{name}") and said_by_package)


@pytest.mark.parametrize("name", STAYED)
def test_what_stayed_is_imported(name: str) -> None:
    assert find_spec(name) is not None
    assert moved.module_sentence(name) is None


@pytest.mark.parametrize(
    ("package", "new"), [(package, new) for package, names in OLD_NAMES.items() for new in names.split()]
)
def test_an_old_name_of_a_package_says_the_new_one(package: str, new: str) -> None:
    module, _, name = new.rpartition(".")
    with pytest.raises(ImportError) as caught:
        exec(f"from {package} import {name}")
    assert str(caught.value) == (
        f"{package}.{name} is now {new} (since budgetlens 0.2): write 'from {module} import {name}'"
    )
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("from probes import trials", "probes.trials is now budgetlens.model.trials ("),
        ("import probes.trials", "probes.trials is now budgetlens.model.trials ("),
        ("from interventions import intervention", "intervention is now budgetlens.design.intervention ("),
        ("from analyses import effects", "analyses.effects is now budgetlens.statistics.effects ("),
        (
            "from analyses.storage.run_directory import RunDirectory",
            "run_directory is budgetlens.runs.storage (",
        ),
    ],
)
def test_however_it_is_written(statement: str, told: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=re.escape(told)):
        exec(statement)


@pytest.mark.parametrize("package", ["probes", "interventions", "analyses", "interventions.levels"])
def test_any_other_name_keeps_python_s_own_error(package: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"^No module named '{package}.nonsense'$"):
        importlib.import_module(f"{package}.nonsense")
    with pytest.raises(ImportError, match=f"^cannot import name 'nonsense' from '{package}'"):
        exec(f"from {package} import nonsense")
    assert not hasattr(importlib.import_module(package), "nonsense")


def test_nothing_is_appended_twice() -> None:
    for module in (probes, interventions, analyses, probes):
        importlib.reload(module)
    assert sys.meta_path.count(moved.MovedModules) == 1
    # After Python's own finders: a module that is there is found by those.
    own = sys.meta_path.index(importlib.machinery.PathFinder)
    assert sys.meta_path.index(moved.MovedModules) > own


@pytest.fixture
def more_of_analyses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which Python looks for modules of `analyses` as well."""
    before = set(sys.modules)
    monkeypatch.setattr(analyses, "__path__", [*analyses.__path__, str(tmp_path)])
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("analyses."):
            del sys.modules[name]
            vars(analyses).pop(name.removeprefix("analyses."), None)


def test_a_file_of_one_s_own_wins(more_of_analyses: Path) -> None:
    (more_of_analyses / "effects.py").write_text("mine = True\n")
    (more_of_analyses / "tables").mkdir()
    (more_of_analyses / "tables" / "__init__.py").write_text("mine = True\n")
    importlib.invalidate_caches()
    assert importlib.import_module("analyses.effects").mine
    assert importlib.import_module("analyses.tables").mine
    with pytest.raises(ModuleNotFoundError, match="^No module named 'analyses.tables.build'$"):
        importlib.import_module("analyses.tables.build")


def test_what_is_left_of_an_old_package_s_folder_hides_nothing(more_of_analyses: Path) -> None:
    """Git leaves folders with __pycache__ behind, and Python takes a bare folder for a package."""
    (more_of_analyses / "statistics" / "__pycache__").mkdir(parents=True)
    importlib.invalidate_caches()
    for statement in ("import analyses.statistics.paired", "from analyses.statistics import paired"):
        with pytest.raises(ModuleNotFoundError, match="analyses.statistics is now budgetlens.statistics"):
            exec(statement)


@pytest.mark.parametrize(
    ("old", "new"),
    [("analyses.command", "budgetlens.command.main"), ("analyses.reference", "budgetlens.reference")],
)
def test_an_old_module_that_was_run(old: str, new: str, tmp_path: Path) -> None:
    done = python("-m", old, cwd=tmp_path)
    assert done.returncode == 1
    assert f"{old} is now {new} (since budgetlens 0.2)" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_is_light_and_the_engine_is_without_it() -> None:
    code = "import probes, interventions, analyses, sys; print([n for n in ('torch', 'numpy') if n in sys.modules])"
    assert python("-c", code).stdout == "[]\n"
    engine = "import budgetlens.registry.discovery, budgetlens.command.main, sys"
    assert python("-c", f"{engine}; print('budgetlens.registry.moved' in sys.modules)").stdout == "False\n"
