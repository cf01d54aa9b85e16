"""Beside a shift in attention: whether what rows take shifted, from the two findings and never from words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from budgetlens.design.catalogue import find_analysis
from budgetlens.model.observation import available_probes
from budgetlens.report.conclusion import answer, shift_sentences
from budgetlens.report.findings import beside
from budgetlens.report.summary import MOST_LINES, summary_lines
from budgetlens.runs.run import Run
from budgetlens.statistics.findings import Finding
from budgetlens.statistics.quantities import Quantity
from budgetlens.tables.build import build_tables
from budgetlens.tables.conclusions import conclusions_of
from budgetlens.tables.shifts import SHIFTS, shifts_of
from tests.test_shared_documents import write_run_of

SHARE = Quantity(
    "share", "attention share", "fraction of attention", smallest_difference=0.01, part_of_whole=True
)
NORM = Quantity("norm", "share of the norms", "fraction", smallest_difference=0.01, part_of_whole=True)


def finding(quantity: Quantity, estimate: float, kind: str, **more: object) -> Finding:
    own = Finding(
        effect="c", family="f", quantity=quantity, order=1, estimate=estimate, low=estimate - 0.01,
        high=estimate + 0.01, p=0.001, p_equivalence=0.9, n=24, units=24, kind=kind, small=False,
        smallest_difference=0.01, detectable=float("nan"), category="the document", layer=3,
    )  # fmt: skip
    return replace(own, **more)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (finding(NORM, 0.04, "positive"), "its share of the norms falls by 4.0 [3.0, 5.0] points at layer 3, the surest"),
        (finding(NORM, -0.04, "negative"), "its share of the norms rises by 4.0 [3.0, 5.0] points at layer 3, the surest"),
        (
            finding(NORM, 0.001, "none", small=True, low=-0.003, high=0.005),
            "its share of the norms does not shift: the difference is 0.10 [−0.30, 0.50] points at layer 3, the surest "
            "and lies within ±1 point",
        ),
        (
            finding(NORM, 0.02, "undecided", because="tails"),
            "whether its share of the norms shifts is open: the data do not decide, since n is too small for tails",
        ),
        (finding(NORM, 0.02, "both"), "its share of the norms rises in some layers and falls in others"),
        (finding(NORM, 0.04, "positive", order=2), "of its share of the norms, with the second treatment the first one"),
    ],
)  # fmt: skip
def test_the_clause_beside_a_shift_is_that_of_the_other_finding_s_kind(other: Finding, words: str) -> None:
    own = finding(SHARE, 0.12, "positive")
    told = beside(own, other)
    assert told.startswith(
        "the attention share of the document falls by 12.0 [11.0, 13.0] points at layer 3, the surest (n = 24); "
    )
    assert words in told
    assert told.endswith(".")


def test_analyses_of_attention_read_a_measure_that_is_told_beside_shares() -> None:
    probes = available_probes()
    for name in ("exp07", "exp08", "exp10"):
        for plan in find_analysis(name).plans.values():
            told = [probes[own].declares.beside for own in plan.probes]
            assert "budgets" in plan.probes
            assert "budgets" in told


def run_of(name: str, folders: pytest.TempPathFactory) -> Run:
    documents = [f"d{number}" for number in range(24)]
    return write_run_of(name, folders.mktemp("runs") / name, documents, {"norm": "norm"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 08 with random records, in which both measures have every role."""
    return run_of("exp08", tmp_path_factory)


@pytest.fixture(scope="module")
def frames(run: Run) -> dict[str, pd.DataFrame]:
    return build_tables(run)


def test_every_contrast_and_role_has_both_findings(run: Run, frames: dict[str, pd.DataFrame]) -> None:
    """Each at its own surest layer: the largest |t|, by hand from the two tables of effects."""
    table = frames[SHIFTS]
    keys = ["contrast", "stack", "block"]
    shares, norms = frames["share_effects"], frames["norm_effects"]
    assert set(norms["contrast"]) == set(shares["contrast"]) == {own.name for own in run.plan.share_contrasts}
    tested = shares[shares["band_low"].notna() & ~shares["role"].str.contains("total")]
    assert set(zip(table["contrast"], table["category"], strict=True)) >= set(
        zip(tested["contrast"], tested["role"], strict=True)
    )
    for row in table.to_dict("records"):
        for before, effects in (("", shares), ("beside_", norms)):
            own = effects[(effects[keys] == [row[key] for key in keys]).all(axis=1)]
            own = own[(own["role"] == row["category"]) & own["band_low"].notna()]
            t = (own["mean"] / own["standard_error"]).abs().to_numpy()
            surest = own.iloc[int(np.argmax(t))]
            assert row[f"{before}layer"] == surest["layer"]
            assert row[f"{before}mean"] == surest["mean"]
            assert row[f"{before}low"] == surest["band_low"]


def _with(effects: pd.DataFrame, contrast: str, mean: float) -> pd.DataFrame:
    """The table with a shift of the document in every layer of one contrast."""
    changed = effects.copy()
    chosen = (
        (changed["contrast"] == contrast) & (changed["role"] == "document") & (changed["stack"] == "decoder")
    )
    values = {"mean": mean, "standard_error": 0.01, "band_low": mean - 0.02, "band_high": mean + 0.02}
    for name, value in {
        **values,
        "p_simultaneous": 0.001,
        "p_tost": 0.9,
        "caution": "",
        "because": "",
    }.items():
        changed.loc[chosen, name] = value
    return changed


def test_the_conclusion_tells_the_shifts_of_its_effects(run: Run, frames: dict[str, pd.DataFrame]) -> None:
    declared = run.analysis.conclusion
    assert declared is not None
    (effect,) = {own.effect for own in declared("corrected").evidence} & set(
        frames["share_effects"]["contrast"]
    )
    nothing = conclusions_of(run, frames)[0].shifts
    given = {
        **frames,
        "share_effects": _with(frames["share_effects"], effect, -0.2),
        "norm_effects": _with(frames["norm_effects"], effect, 0.1),
    }
    (concluded,) = conclusions_of(run, given)
    assert len(concluded.shifts) == len(nothing) + 1
    first = concluded.shifts[0]
    assert (first.category, first.own.kind, first.beside.kind) == ("document", "negative", "positive")
    ((name, told), *_) = shift_sentences(concluded, {effect: "the query as prompt"})
    assert name == "the query as prompt"
    assert "the attention share of the document rises by 20" in told
    assert "; its share of the norms falls by 10" in told
    lines = summary_lines(run, [concluded], 0, None)
    assert len(lines) <= MOST_LINES
    assert "its share of the norms falls by 10" in " ".join(line.strip() for line in lines)
    # What does not shift is no shift, whatever the measure beside it does.
    only_norms = {**given, "share_effects": frames["share_effects"]}
    assert "document" not in {own.category for own in conclusions_of(run, only_norms)[0].shifts}
    # Without the measure nothing is told beside.
    assert shifts_of(run, {name: frame for name, frame in given.items() if name != "norm_effects"}) == ()


def test_an_answer_about_attention_tells_the_measure_beside_it(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    run = run_of("exp10", tmp_path_factory)
    (concluded,) = conclusions_of(run, build_tables(run))
    assert all(len(own.beside) == 1 for own in concluded.told)
    first = concluded.told[0]
    assert first.finding.category == first.beside[0].category.replace(
        "the cross total", "all encoder positions"
    )
    assert answer(concluded).endswith(beside(first.finding, first.beside[0]))
