"""The files to copy: what they define is found under a name without the underscore, and does what it says."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import analyses
import probes
from budgetlens.design.catalogue import find_analysis
from budgetlens.model.capture import Probing, capture
from budgetlens.model.observation import available_probes, chosen_probes
from budgetlens.model.token_attention import token_attention
from tests.conftest import SHAPES, batch_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Puts a copy of a package's example where the package looks for its modules."""

    def copy(package: Any) -> None:
        shutil.copy(ROOT / package.__name__ / "_example.py", tmp_path / "a_copy_of_the_example.py")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        monkeypatch.delitem(sys.modules, f"{package.__name__}.a_copy_of_the_example", raising=False)

    return copy


def test_the_example_of_a_probe(copied: Callable[[Any], None], loaded: Callable[[str], Any]) -> None:
    assert "strongest" not in available_probes()
    copied(probes)
    (probe,) = chosen_probes(("strongest:count=2",))
    trial, model = SHAPES["bare"].trial(), loaded("t5gemma2")
    captured = capture(model, batch_of([trial]), Probing((probe,)))
    tokens = token_attention(model, trial)
    for observation in captured.observations:
        own = tokens[(tokens["layer"] == observation.site.layer)]
        by_row = own.groupby(["head", "row"])["share"].apply(lambda shares: np.sort(shares)[-2:].sum())
        # Both are float32 probabilities of the same call, summed in another order.
        assert observation.values["strongest"][0, :, 0] == pytest.approx(
            by_row.groupby("head").mean().to_numpy(), rel=1e-5
        )


def test_the_example_of_an_analysis(copied: Callable[[Any], None]) -> None:
    copied(analyses)
    plan = find_analysis("mine").plan("corrected")
    assert [cell.alias for cell in plan.design.cells] == ["", "bare", "", "oracle"]
    (contrast,) = plan.contrasts
    assert contrast.weights == {
        "prefix=none|prompt=query": 1.0,
        "prefix=oracle|prompt=query": -1.0,
    }
