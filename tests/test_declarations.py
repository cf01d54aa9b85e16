"""What is declared loads without what computes: names, levels and designs are there without torch, runs without models.

Each case is a Python of its own, which tells the packages that it has loaded.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parent / "fixtures" / "format_1"

#: Packages that take long to load: models, corpora of the hub, and drawing.
MODELS = ("torch", "transformers", "nnsight")
NEVER = (*MODELS, "datasets", "dash")
STATISTICS = ("pandas", "pyarrow", "scipy")

_TELL = "\nimport sys\nprint('loaded:', *sorted(set(sys.modules) & set(sys.argv[1:])), file=sys.stderr)\n"


def loaded(code: str, packages: tuple[str, ...]) -> set[str]:
    """Which of ``packages`` a new Python has loaded once it has run ``code``."""
    ended = subprocess.run(
        [sys.executable, "-c", code + _TELL, *packages], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stderr.rpartition("loaded:")[2].split())


def command(*arguments: str) -> str:
    return f"from budgetlens.command.main import main\nassert main({list(arguments)!r}) == 0"


@pytest.mark.parametrize(
    "code",
    [
        "import budgetlens",
        "from budgetlens import Analysis, Context, Example, Intervention, Plan, Segment, Trial, analysis, intervention",
        "import budgetlens.design.intervention as found\nassert len(found.available_interventions()) > 10",
        "import budgetlens.design.catalogue as found\nassert len(found.listed_analyses()) > 10",
        "import budgetlens.design.catalogue as found\n"
        "for analysis in found.listed_analyses().values():\n"
        "    assert all(plan.design.interventions for plan in analysis.plans.values())",
        command("list"),
        *(command("list", kind) for kind in ("analyses", "interventions", "probes", "models", "corpora")),
        *(command("design", name) for name in ("exp08", "exp12")),
    ],
)
def test_declarations_load_neither_models_nor_statistics_nor_figures(code: str) -> None:
    assert loaded(code, (*NEVER, *STATISTICS, "plotly")) == set()


def test_levels_are_checked_and_fed_without_torch() -> None:
    """A trial under every kind of edit is made of its levels; only what runs a model needs torch."""
    code = """
from types import SimpleNamespace
from budgetlens.design.design import Cell
from budgetlens.design.intervention import Context
from budgetlens.model.trials import Example

examples = [Example(str(number), "who?", "a bridge of stone", "Ann") for number in range(4)]
tokenizer = SimpleNamespace(depths={"encoder": 3, "decoder": 5})
levels = (
    ("knockout", "predicting->document@0/h1@2/h0"),
    ("reweighting", "predicting->bos*2@all"),
    ("value_zeroing", "decoder->document@all"),
    ("sublayer_removal", "decoder@1"),
    ("state_patching", "document<-prefix=oracle@final"),
    ("state_replacement", "document<-mean:2@1"),
)
trial = Cell(levels).trial(examples[0], Context(0, examples, tokenizer, 100, 1))
assert (len(trial.edits), len(trial.states)) == (5, 2)
"""
    assert loaded(code, (*NEVER, *STATISTICS, "plotly")) == set()


def test_a_run_and_its_records_are_read_without_models_and_figures() -> None:
    code = f"""
from budgetlens.runs.run import Run

run = Run.open({str(FIXTURE)!r})
assert run.analysis.name == "exp08" and len(run.trials) and len(run.outcomes) and run.observed("budgets")
"""
    assert loaded(code, (*NEVER, "scipy", "plotly")) == set()


def test_tables_and_report_are_made_without_models(tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(FIXTURE, run)
    assert loaded(command("report", str(run)), NEVER) == set()
    assert (run / "report.html").is_file()
