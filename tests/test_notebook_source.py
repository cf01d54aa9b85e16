"""The source of what a notebook defines: found, complete, and another one whenever what it does may be another."""

from __future__ import annotations

import linecache
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from budgetlens.registry.names import RegistryError
from budgetlens.registry.notebook import is_own, source_of
from interventions.prefix import Prefix

Cells = Callable[[str], None]

CLASS = """
@intervention("hint")
@dataclass(frozen=True)
class Hint(Intervention):
    text: str = "Hint"

    def apply(self, trial, context):
        return trial.with_prompt([Segment("prompt", text=spoken(self.text))])
"""
IMPORTS = """
from dataclasses import dataclass
from budgetlens import Intervention, Segment, intervention
"""
SPOKEN = """
def spoken(text):
    return text + END
"""


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    """Run text as a notebook's cell: in a module without a file, each cell's text in the cache of lines alone."""
    main = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    files: list[str] = []

    def run(text: str) -> None:
        files.append(f"<cell-{len(files)}>")
        linecache.cache[files[-1]] = (len(text), None, text.splitlines(keepends=True), files[-1])
        exec(compile(text, files[-1], "exec"), vars(main))

    yield run
    for file in files:
        linecache.cache.pop(file, None)


def own(name: str) -> Any:
    return vars(sys.modules["__main__"])[name]


@pytest.fixture
def hint(cell: Cells) -> Cells:
    for text in (IMPORTS, "END = '.'", SPOKEN, CLASS):
        cell(text)
    return cell


def test_the_source_is_the_class_and_all_that_it_names(hint: Cells) -> None:
    text = source_of(own("Hint"))
    assert text == "\n".join(["END = '.'", CLASS.lstrip("\n"), SPOKEN.lstrip("\n")])
    assert is_own(own("Hint"), "budgetlens.interventions")
    assert not is_own(Prefix, "budgetlens.interventions")


@pytest.mark.parametrize(
    "again",
    [
        CLASS.replace('"Hint"', '"Hints"'),
        CLASS.replace("with_prompt([", "with_prompt(2 * ["),
        "from functools import cache\n@cache\n" + SPOKEN.lstrip("\n"),
        "from functools import cache\nEND = ','\n@cache\n" + SPOKEN.lstrip("\n"),
        "END = '!'",
        SPOKEN.replace("+ END", "+ 2 * END"),
        "def spoken(text):\n    return other(text)\ndef other(text):\n    return text",
    ],
)
def test_any_change_of_it_is_told(hint: Cells, again: str) -> None:
    before = source_of(own("Hint"))
    hint(again)
    assert source_of(own("Hint")) != before


@pytest.mark.parametrize("again", ["OTHER = 3", "\n\n" + CLASS, "def spokn(text):\n    return text", SPOKEN])
def test_nothing_else_changes_it(hint: Cells, again: str) -> None:
    before = source_of(own("Hint"))
    hint(again)
    assert source_of(own("Hint")) == before


def test_a_helper_of_a_helper_a_base_and_an_array_count(hint: Cells) -> None:
    hint("import numpy as np\nWEIGHTS = np.arange(3)\ndef deep():\n    return WEIGHTS.sum()")
    hint("class Base(Intervention):\n    def extra(self):\n        return deep()")
    hint(CLASS.replace("(Intervention)", "(Base)"))
    before = source_of(own("Hint"))
    assert "def deep()" in before
    assert "class Base" in before
    hint("WEIGHTS = np.arange(3) + 1")
    changed = source_of(own("Hint"))
    assert changed != before
    hint("WEIGHTS = np.arange(3)")
    assert source_of(own("Hint")) == before


def test_local_names_and_attributes_are_nobodys_values(hint: Cells) -> None:
    hint("text = object()\ntrial = object()\nprompt = object()")
    assert "object" not in source_of(own("Hint"))


def test_a_value_whose_content_nobody_can_tell_is_refused(hint: Cells) -> None:
    for value, kind in (
        ("object()", "object"),
        ("np.array([object()])", "ndarray"),
        ("partial(print, 3)", "partial"),
        ("np.random.default_rng(3).normal", "method"),
        ("[object()]", "object"),
        ("{'a': spoken}", "function"),
        ("Hint('x')", "Hint"),
    ):
        hint(f"import numpy as np\nfrom functools import partial\nEND = {value}")
        with pytest.raises(RegistryError, match=f"Hint uses END, of the type {kind}, .* whose content"):
            source_of(own("Hint"))


def test_a_class_within_a_block(cell: Cells) -> None:
    cell(IMPORTS + "if True:\n" + textwrap.indent(CLASS.replace("spoken(self.text)", "self.text"), "    "))
    assert source_of(own("Hint")) == CLASS.replace("spoken(self.text)", "self.text").lstrip("\n")


@pytest.mark.parametrize(
    "value", ["np.exp", "len", "int", "list[int]", "int | None", "np", "Mapping[str, int]"]
)
def test_what_comes_from_elsewhere_is_its_versions_matter(hint: Cells, value: str) -> None:
    hint(f"import numpy as np\nfrom collections.abc import Mapping\nEND = {value}")
    assert "spoken" in source_of(own("Hint"))


def test_a_class_that_was_typed_nowhere_is_refused(cell: Cells) -> None:
    exec(IMPORTS + CLASS, vars(sys.modules["__main__"]))
    with pytest.raises(RegistryError, match="the source of the intervention 'hint' .* can't be found"):
        source_of(own("Hint"))


def test_two_classes_of_one_name_in_one_cell(cell: Cells) -> None:
    second = CLASS.replace('Hint"\n', 'Second"\n').replace("spoken(self.text)", "self.text")
    cell(IMPORTS + CLASS + second)
    text = source_of(own("Hint"))
    assert "spoken" not in text
    assert text == second.lstrip("\n")


def test_a_class_of_a_file_of_ones_own_has_the_file(
    cell: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_hints.py").write_text(IMPORTS + "END = '.'\n" + SPOKEN + CLASS)
    monkeypatch.syspath_prepend(str(tmp_path))
    cell("from my_hints import Hint")
    assert source_of(own("Hint")) == (tmp_path / "my_hints.py").read_text()
    monkeypatch.delitem(sys.modules, "my_hints")


def test_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    text = IMPORTS + "END = '.'\n" + SPOKEN + CLASS
    script.write_text(
        text + "\nfrom budgetlens.registry.notebook import source_of\nprint(source_of(Hint), end='')\n"
    )
    told = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=60
    )
    assert told.stdout == "\n".join(["END = '.'", CLASS.lstrip("\n"), SPOKEN.lstrip("\n")])


def test_in_a_notebook(tmp_path: Path) -> None:
    """A kernel: cells have no file, magics are no Python, and a cell that is run again makes another class."""
    told = "from budgetlens.registry.notebook import source_of\nprint(source_of(Hint))"
    imported = "from budgetlens.design.intervention import available_interventions"
    found = f"{imported}\nprint(available_interventions()['hint'] is Hint)"
    magic = "%time None\n"
    cells = [
        IMPORTS,
        "END = '.'",
        SPOKEN,
        magic + CLASS,
        told,
        "Hint",
        magic + CLASS.replace('"Hint"', '"Again"'),
        told,
        found,
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = ["".join(out.get("text", "") for out in each.outputs) for each in notebook.cells]
    first = "\n".join(["END = '.'", CLASS.strip("\n"), "", SPOKEN.strip("\n")])
    assert outputs[4].strip() == textwrap.dedent(first).strip()
    assert outputs[7].strip() == outputs[4].strip().replace('"Hint"', '"Again"')
    assert outputs[8].strip() == "True"
