"""What a run concludes: the findings that its analysis names, its clause for the outcome, and nothing that it can't say."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from analyses.studies.length_tables import length_trends
from analyses.studies.look_and_use_plans import AGREEMENT_PAIRS, SINK_PAIRS, instead
from budgetlens.design.analysis import CUSTOM
from budgetlens.design.catalogue import available_analyses, find_analysis
from budgetlens.design.conclusions import OUTCOMES, Conclusion, Evidence
from budgetlens.design.labels import Labels
from budgetlens.model.observation import read_probes
from budgetlens.registry.names import name_of
from budgetlens.report.conclusion import NOTHING, conclusion_html, words
from budgetlens.report.summary import summary_lines
from budgetlens.runs.run import Run
from budgetlens.statistics.findings import findings
from budgetlens.tables.complete import tables_of
from budgetlens.tables.conclusions import conclusions_of
from tests.test_shared_documents import write_run_of

NAMES = sorted(name for name in available_analyses() if name.startswith("exp"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of 08 with random records, of which nothing is to be found."""
    return write_run_of("exp08", tmp_path_factory.mktemp("runs") / "exp08", [f"d{i}" for i in range(24)])


@pytest.fixture(scope="module")
def frames(run: Run) -> dict[str, pd.DataFrame]:
    return tables_of(run)[0]


@pytest.mark.parametrize(
    ("name", "protocol"), [(name, protocol) for name in NAMES for protocol in find_analysis(name).plans]
)
def test_every_analysis_names_effects_that_it_tests_and_words_without_ids(name: str, protocol: str) -> None:
    analysis = find_analysis(name)
    assert analysis.conclusion is not None
    conclusion = analysis.conclusion(protocol)
    plan = analysis.plan(protocol)
    tested = {
        "effects": {contrast.name for contrast in plan.contrasts},
        "share_effects": {contrast.name for contrast in plan.share_contrasts},
        "strata_trends": {contrast.name for contrast in plan.contrasts},
    }
    for probe in read_probes(plan.probes):
        if not probe.declares.axis:
            tables = probe.declares.effects_of(name_of(probe))
            tested |= dict.fromkeys(tables, tested["effects"])
    if name == "exp13":
        tested["agreement_effects"] = {instead(*pair) for pair in AGREEMENT_PAIRS}
        tested["sink_effects"] = {instead(*pair) for pair in SINK_PAIRS}
    if name == "exp02":
        study = __import__("analyses.exp02_length_scaling", fromlist=["STUDY"]).STUDY
        tested["length_trends"] = {own.name for own in length_trends(study, plan.contrasts, protocol)}
    assert 2 <= len(conclusion.evidence) <= 9
    labels = Labels({cell.name: cell.factors for cell in plan.design.cells})
    by_name = {contrast.name: contrast for contrast in (*plan.contrasts, *plan.share_contrasts)}
    for evidence in conclusion.evidence:
        assert evidence.effect in tested[evidence.table], evidence
        label = evidence.label or labels.effect(by_name[evidence.effect])
        # Readers see no id: no level of a design as it is written there.
        assert not any(sign in label.long for sign in "=|_→"), label
    told = {(evidence.effect, evidence.table) for evidence in conclusion.evidence}
    assert len(told) == len(conclusion.evidence)
    for clause in conclusion.outcomes.values():
        assert not any(sign in clause for sign in "=|_→"), clause
        assert clause[0].isupper()
        assert not clause.endswith(".")
    assert len(set(conclusion.outcomes.values())) == len(OUTCOMES)


@pytest.mark.parametrize("kind", OUTCOMES)
def test_the_outcome_is_the_kind_of_what_decides(
    run: Run, frames: dict[str, pd.DataFrame], kind: str
) -> None:
    declared = run.analysis.conclusion
    assert declared is not None
    conclusion = declared("corrected")
    decides = conclusion.evidence[0].effect
    effects = frames["effects"].copy()
    low, mean, high = (-0.6, -0.5, -0.4) if kind == "negative" else (0.4, 0.5, 0.6)
    found = (kind, mean, low, high)
    effects.loc[effects["contrast"] == decides, ["kind", "mean_difference", "low", "high"]] = found
    # What both do by themselves: a difference between them tells of neither.
    query, text = (own.effect for own in conclusion.evidence[1:])
    effects.loc[effects["contrast"] == query, "kind"] = "positive"
    effects.loc[effects["contrast"] == text, "kind"] = "negative"
    (concluded,) = conclusions_of(run, {**frames, "effects": effects})
    behind = " (the query helps, random text hurts)" if kind in ("positive", "negative") else ""
    assert concluded.outcome == f"{conclusion.outcomes[kind]}{behind}"
    assert concluded.figure == "splits"
    by_name = {own.effect: own for own in findings(effects)}
    assert [told.finding for told in concluded.told] == [by_name[own.effect] for own in conclusion.evidence]
    told = words(concluded)
    assert told.startswith(f"{conclusion.outcomes[kind]}{behind}: ")
    assert "0.50 [0.40, 0.60] nats" in told
    for shown in (told, *summary_lines(run, [concluded], 0, None)[:-1]):
        assert "|" not in shown
        assert "prompt=" not in shown
        assert "bare" not in shown
    # The id of an effect is on hover alone.
    html = conclusion_html([concluded])
    assert f'title="{decides}"' in html
    assert html.count(decides) == 1
    assert html.count("<li>") == len(concluded.told)


def test_without_what_decides_nothing_is_concluded(run: Run, frames: dict[str, pd.DataFrame]) -> None:
    assert run.analysis.conclusion is not None
    decides, beside, *_ = run.analysis.conclusion("corrected").evidence
    effects = frames["effects"]
    (concluded,) = conclusions_of(run, {**frames, "effects": effects[effects["contrast"] != decides.effect]})
    assert words(concluded) == NOTHING
    assert conclusion_html([concluded]).count("<li>") == 0
    (concluded,) = conclusions_of(run, {**frames, "effects": effects[effects["contrast"] != beside.effect]})
    assert beside.effect not in {told.finding.effect for told in concluded.told}
    assert concluded.told[0].finding.effect == decides.effect


def test_a_design_of_one_s_own_is_told_by_its_headlines(run: Run, frames: dict[str, pd.DataFrame]) -> None:
    own = replace(run)
    vars(own)["analysis"] = replace(run.analysis, name=CUSTOM, conclusion=None)
    (concluded,) = conclusions_of(own, frames)
    assert [told.finding.effect for told in concluded.told] == [
        each.name for each in run.plan.headline_contrasts
    ]
    assert words(concluded).startswith("The query as prefix")
    nothing = conclusions_of(own, {})
    assert words(nothing[0]) == NOTHING


def test_shares_over_layers_are_told_in_points_at_the_surest_layer(
    run: Run, frames: dict[str, pd.DataFrame]
) -> None:
    effect = frames["share_effects"]["contrast"].iloc[0]
    layers = frames["share_effects"].query(
        "contrast == @effect and role == 'document' and stack == 'decoder'"
    )
    layers = layers.iloc[:1].assign(
        mean=-0.028,
        band_low=-0.039,
        band_high=-0.017,
        p_simultaneous=0.001,
        p_tost=0.9,
        layer=7,
        n=24,
        caution="",
    )
    conclusion = Conclusion(
        (Evidence(effect, "share_effects", {"role": "document"}),),
        {kind: f"It is {kind}" for kind in OUTCOMES},
    )
    own = replace(run)
    vars(own)["analysis"] = replace(run.analysis, conclusion=lambda protocol: conclusion)
    (concluded,) = conclusions_of(own, {**frames, "share_effects": layers})
    assert words(concluded) == (
        "It is negative: the attention share of the document rises by 2.8 [1.7, 3.9] points at layer 7, the surest "
        "(n = 24)."
    )
    (none,) = conclusions_of(own, {**frames, "share_effects": layers.assign(band_low=math.nan)})
    assert words(none) == NOTHING


def test_trends_are_told_per_step_and_in_their_unit(run: Run) -> None:
    trends = pd.DataFrame(
        {
            "contrast": ["x", "x"],
            "by": ["short or long", "bins"],
            "n": 30,
            "slope": [0.25, 9.0],
            "low": [0.1, 8.0],
            "high": [0.4, 10.0],
            "p_holm": 0.001,
            "kind": "positive",
        }
    )
    where = {"by": "short or long"}
    conclusion = Conclusion(
        (Evidence("x", "trends", where, "nats per step"),), {kind: f"It is {kind}" for kind in OUTCOMES}
    )
    own = replace(run)
    vars(own)["analysis"] = replace(run.analysis, conclusion=lambda protocol: conclusion)
    (concluded,) = conclusions_of(own, {"trends": trends})
    assert words(concluded) == (
        "It is positive: along the quantity it does better: 0.25 [0.10, 0.40] nats per step (n = 30)."
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"evidence": ()}, "needs one or more effects as evidence; got none"),
        ({"outcomes": {"positive": "yes"}}, "missing: negative, none, undecided, unknown: none"),
        ({"outcomes": {kind: kind for kind in (*OUTCOMES, "maybe")}}, "unknown: maybe"),
    ],
)
def test_a_conclusion_has_evidence_and_a_clause_for_everything(change: dict[str, Any], told: str) -> None:
    given: dict[str, Any] = {"evidence": (Evidence("x"),), "outcomes": {kind: kind for kind in OUTCOMES}}
    assert Conclusion(**given)
    with pytest.raises(ValueError, match=told):
        Conclusion(**(given | change))
