"""The end of a run on a terminal: short, narrow, and with the numbers of the tables."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from budgetlens.command.finishing import finish
from budgetlens.design.catalogue import available_analyses, find_analysis
from budgetlens.registry.labels import Label
from budgetlens.report.summary import MOST_LINES, WIDEST, summary_lines
from budgetlens.runs.run import Run
from budgetlens.runs.swept import Swept
from budgetlens.statistics.findings import Finding
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL
from budgetlens.tables.conclusions import Concluded, Told
from tests.test_shared_documents import write_run_of

PAGE = Path("runs/x/report.html")
SHARE = Quantity(
    "share", "attention share", "fraction of attention", smallest_difference=0.01, part_of_whole=True
)


def finding(estimate: float = 0.5, kind: str = "positive", *, small: bool = False, quantity: Quantity = ANSWER_NLL,
            cautions: tuple[str, ...] = ()) -> Finding:  # fmt: skip
    return Finding(
        effect="oracle_trunc_q", family="f", quantity=quantity, order=1, estimate=estimate, low=estimate - 0.1,
        high=estimate + 0.1, p=0.001, p_equivalence=0.9, n=24, units=24, kind=kind, small=small,
        smallest_difference=quantity.smallest_difference or 0.05, detectable=0.1, cautions=cautions,
    )  # fmt: skip


def concluded(count: int = 3, label: str = "the query as prefix", **of_finding) -> Concluded:
    told = tuple(
        Told(finding(0.5 + number, **of_finding), Label(f"{label} {number}")) for number in range(count)
    )
    return Concluded(told, "It helps", "effects")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run_of("exp08", tmp_path_factory.mktemp("runs") / "exp08", [f"d{i}" for i in range(24)])


def test_a_run_ends_with_question_answer_effects_and_places_and_nothing_else(run: Run, capsys) -> None:
    finish(run, full=False)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert len(lines) <= MOST_LINES
    assert max(len(line) for line in lines if not re.match("report:|tables:", line)) <= 80
    assert lines[0] == run.analysis.question
    assert lines[-2:] == [f"report:  {run.path / 'report.html'}", f"tables:  {run.path / 'tables'}"]
    assert Path(lines[-2].split()[1]).exists()
    # The size of every effect is that of the table's row.
    effects = pd.read_csv(run.path / "tables" / "effects.csv").set_index("contrast")
    declared = run.analysis.conclusion("corrected")
    sizes = re.findall(r"(\S+) \[(\S+), (\S+)\] +(?:helps|hurts|undecided|no effect)", shown)
    assert len(sizes) == len(declared.evidence)
    for evidence, found in zip(declared.evidence, sizes, strict=True):
        row = effects.loc[evidence.effect, ["mean_difference", "low", "high"]]
        assert [float(text.replace("−", "-")) for text in found] == pytest.approx(list(row), abs=0.006)
    finish(run)
    assert capsys.readouterr().out.endswith(shown)


def test_without_a_report_only_tables_are_made(run: Run, tmp_path: Path, capsys) -> None:
    own = write_run_of("exp08", tmp_path / "own", [f"d{i}" for i in range(24)])
    finish(own, full=False, page=False)
    assert not (own.path / "report.html").exists()
    assert not (own.path / "figures").exists()
    assert (own.path / "tables" / "effects.csv").exists()
    shown = capsys.readouterr().out
    assert f"budgetlens report {own.path}" in " ".join(shown.split())


def test_effects_beyond_the_room_are_counted(run: Run) -> None:
    lines = summary_lines(run, [concluded(30)], 3, PAGE)
    assert len(lines) == MOST_LINES
    (more,) = [line for line in lines if "more effects" in line]
    shown = sum(line.endswith("helps") for line in lines)
    assert 0 < shown < 30
    assert f"… and {30 - shown} more effects in the report" in more


@pytest.mark.parametrize("width", [20, 60, 80, 100, 300])
def test_lines_keep_to_the_width_whatever_the_words(run: Run, width: int) -> None:
    long = "another example's five most frequent words, each of them twice, as prefix · prefix hidden"
    lines = summary_lines(run, [concluded(4, long, cautions=("tails", "skew"))], 7, None, width)
    assert max(map(len, lines[:-2])) <= min(max(width, 60), WIDEST)
    assert len(lines) <= MOST_LINES
    assert f"budgetlens report {run.path}" in " ".join(lines)


def test_small_effects_and_equivalence_name_their_bound_and_units_stand_where_they_differ(run: Run) -> None:
    told = (
        Told(finding(0.004, small=True), Label("one")),
        Told(finding(0.001, "none", small=True), Label("two")),
        Told(finding(-0.028, "negative", quantity=SHARE), Label("three")),
    )
    lines = summary_lines(run, [Concluded(told, "It helps", "effects")], 0, PAGE)
    text = "\n".join(lines)
    assert re.search(r"one .* nats +helps, small$", text, re.MULTILINE)
    assert re.search(r"two .* nats +no effect$", text, re.MULTILINE)
    assert re.search(r"three +−3 \[−13, 7\] points +rises$", text, re.MULTILINE)
    # Of two quantities it is said whose bound it is.
    assert f"Within ±0.05 a difference in the {ANSWER_NLL.label} is too small to matter." in " ".join(
        text.split()
    )
    assert "It helps, too little to matter: " in text


def test_a_sweep_says_which_models_say_what_and_which_failed(run: Run) -> None:
    models = [replace(concluded(2), model=f"m{number}") for number in range(3)]
    models.append(Concluded((Told(finding(0, "undecided"), Label("x")),), "It is open", "effects", "m3"))
    swept = replace(run)
    vars(swept)["swept"] = (Swept("m4", "m4", failure="no such file"),)
    text = "\n".join(summary_lines(swept, models, 0, PAGE))
    assert "It helps (m0, m1, m2).\nIt is open (m3)." in text
    assert re.findall(r"^  (m\d) .*(helps|undecided)$", text, re.MULTILINE) == [
        ("m0", "helps"), ("m1", "helps"), ("m2", "helps"), ("m3", "undecided"),
    ]  # fmt: skip
    assert "m4 failed: no such file" in text


def test_what_acts_on_a_terminal_is_written_out(run: Run) -> None:
    text = "\n".join(summary_lines(run, [replace(concluded(1), model="a\x1b[2Jb")], 0, PAGE))
    assert "\x1b" not in text
    assert "⟨U+001B⟩" in text


@pytest.mark.parametrize("name", sorted(name for name in available_analyses() if name.startswith("exp")))
def test_every_analysis_fits(run: Run, name: str) -> None:
    """With the longest labels and every outcome of each."""
    analysis = find_analysis(name)
    for protocol in analysis.plans:
        declared = analysis.conclusion(protocol)
        for kind, clause in declared.outcomes.items():
            own = replace(run)
            vars(own)["analysis"] = analysis
            told = tuple(
                Told(
                    finding(1 / 3, kind, cautions=("tails", "skew")), evidence.label or Label(evidence.effect)
                )
                for evidence in declared.evidence
            )
            lines = summary_lines(own, [Concluded(told, clause, "effects")], 12, PAGE)
            assert len(lines) <= MOST_LINES
            assert max(map(len, lines)) <= 80
