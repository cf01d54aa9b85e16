"""The list of what generation admits names every intervention, and says of each what is so."""

from __future__ import annotations

import re
from pathlib import Path

from budgetlens.design.intervention import available_interventions
from tests.test_generation_edits import ORACLES, REFUSED

PAGE = (Path(__file__).parents[1] / "docs" / "answers" / "README.md").read_text(encoding="utf-8")


def test_the_list_of_admitted_interventions_is_whole_and_true() -> None:
    """What the tests of generation find refused is told as such; levels that rewrite or read the answer are told besides."""
    told = dict(re.findall(r"^\| `(\w+)` \| (admitted.*|refused.*) \|$", PAGE, flags=re.MULTILINE))
    assert told.keys() == available_interventions().keys()
    assert {
        name for name, words in told.items() if words.startswith("refused")
    } == REFUSED.keys() - ORACLES.keys()
    partly = {name for name, words in told.items() if words.startswith("admitted, but")}
    # Tested with a column and a shuffled answer in tests/test_generation_probe.py.
    assert partly == {*ORACLES, "prefix", "prompt", "shuffle"}


def test_the_code_of_the_page_is_python() -> None:
    for code in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        compile(code, "docs/answers/README.md", "exec")
