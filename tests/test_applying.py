"""What an intervention may not hand back, or do, is one sentence with level, cell and example: in read, measure and run."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

import budgetlens as bl
from budgetlens.design.applying import applied
from budgetlens.design.intervention import LevelError
from budgetlens.model.edits import EditError
from budgetlens.model.loaded import LoadedModel
from tests.conftest import corpus_rows

#: What ``apply`` makes of a trial, by level, and the words that tell it.
FAULTS: dict[str, tuple[Callable[[bl.Trial], Any], str]] = {
    "nothing": (lambda trial: None, "a Trial is expected, and it is None"),
    "number": (lambda trial: 5, "a Trial is expected, and it is 5"),
    "edits": (
        lambda trial: replace(trial, edits=("x",)),
        "its edits are a tuple of edits of attention (matches, and apply or apply_to_output), and 'x' is among them",
    ),
    "list": (lambda trial: replace(trial, edits=[]), "its edits are a tuple of edits of attention"),
    "states": (lambda trial: replace(trial, states=(3,)), "its states are a tuple of StateEdits, and 3"),
    "roles": (
        lambda trial: trial.hiding(["documnt"]),
        "what it hides is a frozenset of roles of the encoder (bos, prefix, separator, document, eos), and it is "
        "frozenset({{'documnt'}})",
    ),
    "texts": (lambda trial: replace(trial, encoder=("a",)), "its encoder is a tuple of Segments, and 'a'"),
    "raises": (lambda trial: {}["key"], "can't be applied to the example {example}: KeyError: 'key'"),
    "broken": (
        lambda trial: trial.with_prefix([bl.Segment("prefix", text="\ud800")]),
        "ValueError: the text of a segment with the role 'prefix' is '\\ud800'",
    ),
}


@bl.intervention("faulty")
@dataclass(frozen=True)
class Faulty(bl.Intervention):
    """Does what an author may do by mistake."""

    identity_levels: ClassVar[tuple[str, ...]] = ("none",)

    kind: str = "nothing"

    def apply(self, trial: bl.Trial, context: bl.Context) -> bl.Trial:
        return trial if self.kind == "none" else FAULTS[self.kind][0](trial)


@pytest.mark.parametrize("kind", list(FAULTS))
def test_what_is_no_trial_is_told_alike_everywhere(
    loaded: Callable[[str], LoadedModel], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "Faulty", Faulty, raising=False)
    model, corpus = bl.Model(loaded("t5")), bl.corpus(corpus_rows(2))
    row = {name: corpus_rows(1)[0][name] for name in ("document", "query", "answer")}
    design = {"faulty": ["none", kind], "prompt": "query"}
    calls: dict[str, Callable[[], Any]] = {
        "given": partial(model.read, **row, interventions=[Faulty(kind)]),
        "row-1": partial(bl.measure, model, corpus, **design),
    }
    if kind in ("nothing", "raises"):
        calls |= {"row-1 ": partial(bl.run, model=model, corpus=corpus, out=tmp_path / "run", **design)}
    for example, call in calls.items():
        words = FAULTS[kind][1].format(example=repr(example.strip()))
        with pytest.raises(LevelError, match=re.escape(words)) as told:
            call()
        assert f"faulty={kind}" in str(told.value)
        assert repr(example.strip()) in str(told.value)
        assert str(told.value).startswith("cell ")
        assert str(told.value).count("cell ") == 1


def test_what_is_raised_on_purpose_stays_what_it_is() -> None:
    class Refusing(Faulty):
        def apply(self, trial: bl.Trial, context: bl.Context) -> bl.Trial:
            raise EditError("no such head")

    trial = bl.Trial.bare(bl.Example("1", "q", "d", "a"))
    context = bl.Context(index=0, examples=[trial.example], tokenizer=None, vocabulary_size=0, seed=0)
    with pytest.raises(EditError, match="^no such head$"):
        applied(Refusing(), "faulty=x", trial, context)
