"""Everything that `from budgetlens import …` gives has a docstring with an example, and every example does what it says."""

from __future__ import annotations

import doctest
from functools import cache
from pathlib import Path

import pytest

import budgetlens
from budgetlens.model import loading


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, where examples may write; the built-in model is loaded and proved once for all of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "load_model", loaded_once)


loaded_once = cache(loading.load_model)


def examples_of(name: str) -> list[doctest.DocTest]:
    """The docstrings of a thing and of its methods that hold examples, the thing's own first."""
    found = doctest.DocTestFinder().find(getattr(budgetlens, name), name, globs={})
    return sorted((test for test in found if test.examples), key=lambda test: test.name != name)


def outcome(test: doctest.DocTest) -> str:
    """What a docstring's examples gave otherwise than it says; empty where nothing."""
    told: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=told.append)
    return "".join(told)


@pytest.mark.parametrize("name", budgetlens.__all__)
def test_the_examples_of_everything_on_the_face_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tests = examples_of(name)
    assert tests, f"{name} has no example"
    assert tests[0].name == name, f"{name} itself has no example"
    for test in tests:
        # doctest takes the standard output for itself, and bars of progress go to the standard error.
        with capsys.disabled():
            assert outcome(test) == ""


def test_an_example_that_does_something_else_is_found() -> None:
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert "Expected:\n    3\nGot:\n    2" in outcome(test)


def test_the_first_lines_of_the_readme_run() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\nimport budgetlens as bl\n")[1].split("```")[0]
    given: dict[str, object] = {}
    exec(f"import budgetlens as bl\n{code}", given)
    assert {"model", "reading", "cut"} <= given.keys()
