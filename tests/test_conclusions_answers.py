"""Conclusions about likelihood say whether the effect shows in the answers, where the model gave any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from budgetlens.command.main import main
from budgetlens.design.catalogue import available_analyses, find_analysis
from budgetlens.registry.labels import Label
from budgetlens.report.card import answer_card
from budgetlens.report.conclusion import in_answers, words
from budgetlens.report.summary import summary_lines
from budgetlens.runs.run import Run
from budgetlens.statistics.findings import Finding, findings
from budgetlens.statistics.verdicts import ANSWER_NLL
from budgetlens.tables.complete import tables_of
from budgetlens.tables.conclusions import Concluded, InAnswers, Told, conclusions_of
from probes.generation import Generation
from tests.conftest import write_corpus

EXACT, F1, RECALL = (own for own in Generation.declares.quantities if own.smallest_difference)
ASKING = [f"exp0{number}" for number in range(1, 10)]


def finding(
    kind: str, quantity=ANSWER_NLL, *, small: bool = False, effect: str = "e", cautions=()
) -> Finding:
    """A difference of 0.1 on the side of its kind."""
    sign = -1 if kind == "negative" else 1
    ends = sorted((sign * 0.05, sign * 0.15)) if kind in ("positive", "negative") else (-0.1, 0.1)
    return Finding(
        effect=effect,
        family="f",
        quantity=quantity,
        order=1,
        estimate=sum(ends) / 2,
        low=ends[0],
        high=ends[1],
        p=0.01,
        p_equivalence=0.5,
        n=60,
        units=60,
        kind=kind,
        small=small or kind == "none",
        smallest_difference=0.01,
        detectable=0.1,
        cautions=cautions,
    )


def concluded(outcome: str, *scores: Finding, effect: str = "e") -> Concluded:
    told = Told(finding(outcome, effect=effect), Label("the query", sentence="the query as prefix"))
    first = Told(finding("positive"), Label("first"))
    return Concluded((first, told), "It helps", "effects", answers=InAnswers(told, scores))


@pytest.mark.parametrize(
    ("outcome", "kinds", "said"),
    [
        # Of a score that is better the higher it is, the better treatment's difference is negative.
        ("positive", ("negative",) * 3, "This shows in the answers: "),
        ("positive", ("undecided", "negative", "undecided"), "This shows in the answers by some scores: "),
        ("positive", ("none",) * 3, "This does not show in the answers: "),
        ("positive", ("none", "undecided", "none"), "Whether this shows in the answers is open: "),
        ("positive", ("undecided",) * 3, "Whether this shows in the answers is open: "),
        ("positive", ("positive",) * 3, "It is otherwise with the answers, which are worse: "),
        ("negative", ("positive",) * 3, "This shows in the answers: "),
        ("negative", ("negative",) * 3, "It is otherwise with the answers, which are better: "),
        (
            "positive",
            ("negative", "positive", "none"),
            "The answers are better by one score and worse by another: ",
        ),
        ("none", ("none",) * 3, "Nor do the answers differ by what matters: "),
        ("none", ("undecided",) * 3, "Whether the answers differ is open: "),
        ("none", ("negative",) * 3, "The answers, for their part, are better: "),
        ("undecided", ("undecided",) * 3, "Whether the answers differ is open, too: "),
        ("undecided", ("none",) * 3, "The answers do not differ by what matters: "),
        (
            "undecided",
            ("positive", "undecided", "none"),
            "The answers, for their part, are worse by some scores: ",
        ),
    ],
)
def test_what_is_said_follows_from_what_was_found(outcome: str, kinds: tuple[str, ...], said: str) -> None:
    scores = [finding(kind, own) for kind, own in zip(kinds, (EXACT, F1, RECALL), strict=True)]
    told = in_answers(concluded(outcome, *scores))
    assert told.startswith(said), told
    assert all(own.label in told for own in (EXACT, F1, RECALL))


def test_amounts_are_what_the_treatment_has_more_in_points() -> None:
    told = in_answers(concluded("positive", finding("negative", EXACT)))
    assert (
        told
        == "This shows in the answers: exact match of the generated answer 10.0 [5.0, 15.0] points, helps."
    )
    small = finding("negative", EXACT, small=True)
    assert in_answers(concluded("positive", small)).startswith(
        "This shows in the answers, too little to matter: exact match of the generated answer 10.0 [5.0, 15.0] points, "
        "helps, small"
    )


def test_cautions_are_told_and_an_effect_that_does_not_decide_is_named() -> None:
    told = in_answers(concluded("positive", finding("undecided", EXACT, cautions=("tails",))))
    assert "Read with care: few examples for tails like these" in told
    own = concluded("positive", finding("negative", EXACT), effect="other")
    assert in_answers(own).startswith("This shows in the answers (of: the query as prefix): exact")
    assert in_answers(replace(own, answers=None)) == ""
    assert words(replace(own, answers=None)) == words(own).removesuffix(f" {in_answers(own)}")


@pytest.mark.parametrize(
    ("name", "protocol"), [(name, protocol) for name in ASKING for protocol in find_analysis(name).plans]
)
def test_every_analysis_of_likelihood_tells_an_effect_that_answers_can_show(name: str, protocol: str) -> None:
    analysis = find_analysis(name)
    assert analysis.conclusion is not None
    asked = find_analysis(analysis.reads) if analysis.reads else analysis
    tested = {contrast.name for contrast in asked.plan(protocol).contrasts}
    told = [evidence.effect for evidence in analysis.conclusion(protocol).evidence]
    assert tested & set(told)
    # Where the deciding effect is one of a table of its own, another one is told of.
    assert (told[0] in tested) == (name != "exp02")


def test_all_of_them_are_looked_at() -> None:
    assert set(ASKING) <= set(available_analyses())


@pytest.fixture(scope="module")
def folder(tiny_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 01 that generates, one of 06 that reads it, a sweep of 09."""
    folder = tmp_path_factory.mktemp("answers")
    common = ["--no-report", "--quiet"]
    asked = [
        *("--model", str(tiny_directory)),
        *("--corpus", str(write_corpus(folder / "corpus.jsonl", 4)), "--protocol", "published"),
        *("--probes", "likelihood,generation:tokens=4"),
    ]
    assert main(["run", "exp01", *asked, "--out", str(folder / "exp01"), *common]) == 0
    assert (
        main(["run", "exp06", "--from", str(folder / "exp01"), "--out", str(folder / "exp06"), *common]) == 0
    )
    assert main(["run", "exp09", *asked, "--out", str(folder / "exp09"), *common]) == 0
    return folder


@pytest.mark.parametrize("name", ["exp01", "exp06", "exp09"])
def test_a_run_that_generates_says_so_in_sentence_terminal_and_card(folder: Path, name: str) -> None:
    run = Run.open(folder / name)
    frames = tables_of(run)[0]
    (found,) = conclusions_of(run, frames)
    assert found.answers is not None
    source = Run.open(folder / "exp01")
    effect = found.answers.outcome.finding.effect
    if name != "exp09":
        tables = tables_of(source)[0]
        for own, table in zip(
            (found.answers.outcome.finding, *found.answers.found),
            ("effects", "generation_effects", "generation_f1_effects", "generation_recall_effects"),
            strict=True,
        ):
            frame = tables[table]
            (expected,) = findings(frame[frame["contrast"] == effect], own.quantity)
            assert own == expected
    told = in_answers(found)
    assert "answers" in told
    assert words(found).endswith(told)
    assert "|" not in told
    assert "=" not in told
    if not run.manifest.is_sweep:
        lines = " ".join(summary_lines(run, [found], 0, None, 100))
        assert told.split(":")[0] in lines
    (said,) = answer_card(run.manifest, [found]).said
    assert told in said.numbers


def test_analysis_14_is_of_answers_itself(folder: Path) -> None:
    """Its conclusion is about exact match: whether that shows in the answers is no question."""
    run = Run.open(folder / "exp01")
    declared = find_analysis("exp14").conclusion
    assert declared is not None
    own = replace(run)
    vars(own)["analysis"] = replace(run.analysis, conclusion=declared)
    (found,) = conclusions_of(own, tables_of(run)[0])
    assert found.told[0].finding.quantity == EXACT
    assert found.answers is None
