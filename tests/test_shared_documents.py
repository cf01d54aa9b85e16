"""Examples that share a document: ratios, splits, proportions and an analysis's own tables resample documents.

Compared with the jackknife over documents, statsmodels' cluster-robust errors, and with a theorem: repeating
every example within its document adds no evidence, so that no interval may become shorter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.proportion import proportion_confint

from analyses import exp01_production_cache, exp02_length_scaling, exp04_prefix_content
from analyses.exp05_truncation_wound import PUBLISHED
from analyses.studies.damage_by_length import damage_frames
from analyses.studies.enrichment import budget_restoration_table, restoration_table
from analyses.studies.enrichment_plans import patches
from analyses.studies.length_tables import effects_by_length, mean_lengths, ratios_by_length
from analyses.studies.prefix_ranking import ranking_frame
from analyses.studies.prefix_ratios import prefix_ratios, ratio_frame
from analyses.studies.reanalysis import (
    Records,
    effects_by_stratum,
    likelihood_by_stratum,
    ratios_by_stratum,
    shares_by_stratum,
    trends,
)
from analyses.studies.sink_paths import Path as SinkPath
from analyses.studies.sink_paths import Point
from analyses.studies.sink_prediction import SinkReadings
from analyses.studies.sink_tables import audit_table, entropy_table, head_table, shift_table
from analyses.studies.two_by_two import effects_of
from budgetlens.comparison.compare import compare
from budgetlens.design.catalogue import find_analysis
from budgetlens.explorer.data import load_run, subset_effects
from budgetlens.explorer.effects_view import effects_of as explored_effects
from budgetlens.explorer.state import State
from budgetlens.explorer.strata import mask_of
from budgetlens.model.roles import DECODER_ROLES, ENCODER_ROLES
from budgetlens.runs.manifest import CellFacts
from budgetlens.runs.run import Run, shared_documents
from budgetlens.runs.storage import RunDirectory, part_name
from budgetlens.statistics.budget_arrays import budget_arrays
from budgetlens.statistics.column_splits import ONE_DOCUMENT, means_of_columns, split_of_columns
from budgetlens.statistics.contrasts import comparison, wide_cells
from budgetlens.statistics.decisions import DOCUMENT_MEANS
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.intervals import proportion_interval
from budgetlens.statistics.ratios import decomposition, ratio_of_means
from budgetlens.statistics.tails import length_factor
from budgetlens.statistics.verdicts import CAUTIONS
from budgetlens.tables.complete import INDEPENDENT, tables_of
from budgetlens.tables.presentation import DOCUMENTS_RESAMPLED, Table, effects_presentation
from budgetlens.tables.probe_presentation import UNIT_OF_SHARES
from tests import test_compare
from tests.run_records import records
from tests.test_table_scale import observed, write_run

ROLES = (*ENCODER_ROLES, *DECODER_ROLES)


def clustered(documents: int = 40, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numerators, denominators and documents of examples; documents differ in size and share most of their noise."""
    generator = np.random.default_rng(seed)
    owners = np.repeat(np.arange(documents), 1 + np.arange(documents) % 4)
    own = generator.gamma(2, 0.5, documents)
    bottom = 0.5 + own[owners] + generator.normal(0, 0.2, owners.size)
    top = 0.4 * bottom + 0.3 * generator.normal(0, 1, documents)[owners]
    return top, bottom, owners


def over_documents(statistic, *columns: np.ndarray, owners: np.ndarray) -> tuple[float, float]:
    """Interval of a statistic of examples by leaving out each document in turn, with the factors of its influences."""
    rows = [np.flatnonzero(owners != owner) for owner in np.unique(owners)]
    whole, units = statistic(*columns), len(rows)
    influences = (units - 1) * (
        whole - np.array([statistic(*(column[chosen] for column in columns)) for chosen in rows])
    )
    asymmetry = stats.skew(influences) / math.sqrt(units)
    below, above = (float(length_factor(np.array(sign * asymmetry), units)) for sign in (-1, 1))
    reach = stats.t.ppf(0.975, units - 1) * influences.std(ddof=1) / math.sqrt(units)
    return whole - below * reach, whole + above * reach


# Statistics


def test_a_ratio_of_shared_documents_is_that_of_the_jackknife():
    top, bottom, owners = clustered()
    found = ratio_of_means(top, bottom, Inference(seed=1), clusters=owners)
    low, high = over_documents(lambda one, other: one.mean() / other.mean(), top, bottom, owners=owners)
    assert (found.n, found.clusters) == (100, 40)
    assert found.ratio == pytest.approx(top.mean() / bottom.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.06 * (high - low))
    ends = over_documents(np.mean, bottom, owners=owners)
    assert (found.denominator_low, found.denominator_high) == pytest.approx(
        ends, abs=0.06 * (ends[1] - ends[0])
    )
    # Independent examples would have claimed more.
    alone = ratio_of_means(top, bottom, Inference(seed=1))
    assert alone.high - alone.low < 0.85 * (found.high - found.low)


def test_a_ratio_of_documents_of_one_example_is_the_ratio_of_examples():
    top, bottom, _ = clustered()
    names = [f"d{number}" for number in range(top.size)]
    assert ratio_of_means(top, bottom, Inference(seed=1), clusters=names) == ratio_of_means(
        top, bottom, Inference(seed=1)
    )


def test_the_examples_of_one_document_have_no_ratio():
    found = ratio_of_means([1.0, 2.0, 3.0], [1.0, 1.5, 2.0], Inference(seed=1), clusters=["a", "a", "a"])
    assert math.isnan(found.ratio)
    assert (found.n, found.clusters, found.reason) == (3, 1, "one document: no interval")


def test_splits_of_columns_have_the_errors_of_statsmodels_and_the_intervals_of_the_jackknife():
    top, bottom, owners = clustered()
    points = [np.column_stack([bottom, top]), np.column_stack([top, 0 * top]), np.zeros((top.size, 2))]
    split = split_of_columns(points, ["first", "second"], Inference(seed=2), clusters=owners)
    fitted = OLS(bottom - top, np.ones(top.size)).fit(cov_type="cluster", cov_kwds={"groups": owners})
    part = split.parts["first"]
    # statsmodels' small-sample factor is units / (units - 1) · (n - 1) / (n - 1): the same with one parameter.
    assert part.standard_error[0] == pytest.approx(fitted.bse[0], rel=1e-9)
    assert (part.n[0], part.clusters[0]) == (100, 40)
    low, high = over_documents(lambda one, other: (one - other).mean(), bottom, top, owners=owners)
    assert (part.low[0], part.high[0]) == pytest.approx((low, high), abs=0.06 * (high - low))
    low, high = over_documents(
        lambda one, other: (one - other).mean() / one.mean(), bottom, top, owners=owners
    )
    found = split.share_low["first"][0], split.share_high["first"][0]
    assert found == pytest.approx((low, high), abs=0.06 * (high - low))


def test_a_column_that_lacks_examples_counts_the_documents_that_are_left():
    values = np.column_stack([np.arange(6.0), [1, np.nan, 2, 5, np.nan, np.nan], [1, 4, *[np.nan] * 4]])
    means = means_of_columns(values, Inference(seed=1), clusters=[7, 7, 8, 8, 9, 9])
    assert means.n.tolist() == [6, 3, 2]
    assert means.clusters.tolist() == [3, 2, 1]
    assert means.mean.tolist() == [2.5, pytest.approx(8 / 3), 2.5]
    assert math.isnan(means.low[2])
    assert means.reason[2] == ONE_DOCUMENT


def test_wilson_intervals_allow_for_the_design_effect():
    _, bottom, owners = clustered()
    won = bottom > 1.2
    n, share = won.size, won.mean()
    ends = stats.binomtest(int(won.sum()), n).proportion_ci(method="wilson")
    assert proportion_interval(won, None, n) == pytest.approx((ends.low, ends.high))
    assert proportion_interval(won, np.arange(n), n) == pytest.approx((ends.low, ends.high))
    fitted = OLS(won.astype(float), np.ones(n)).fit(cov_type="cluster", cov_kwds={"groups": owners})
    effective = n / (fitted.bse[0] ** 2 / (share * (1 - share) / (n - 1)))
    assert effective < 0.8 * n
    expected = proportion_confint(share * effective, effective, method="wilson")
    assert proportion_interval(won, owners, 40) == pytest.approx(expected)
    # All alike: as many examples as there are documents.
    assert proportion_interval(np.ones(n, bool), owners, 40) == pytest.approx(
        proportion_confint(40, 40, method="wilson")
    )
    assert proportion_interval(np.zeros(n, bool), owners, 40)[0] == 0
    # Documents that even out what they hold never make the sample larger than it is.
    even = np.tile([True, False], 20)
    assert proportion_interval(even, np.repeat(np.arange(20), 2), 20) == pytest.approx(
        proportion_confint(20, 40, method="wilson")
    )


def test_wilson_intervals_of_shared_documents_cover():
    generator = np.random.default_rng(11)
    documents, each, covered, naive = 60, 5, 0, 0
    owners = np.repeat(np.arange(documents), each)
    for _ in range(600):
        chances = generator.beta(1.5, 0.5, documents)
        won = generator.random(owners.size) < chances[owners]
        for count, labels in enumerate((owners, None)):
            low, high = proportion_interval(won, labels, documents if labels is owners else won.size)
            held = low <= 0.75 <= high
            covered, naive = (covered + held, naive) if count == 0 else (covered, naive + held)
    assert 0.93 <= covered / 600 <= 0.97
    assert naive / 600 < 0.85


def test_every_example_needs_a_document():
    documents = pd.Series({"a": "1", "b": "2"})
    assert Inference(seed=1).labels(pd.Index(["a"])) is None
    inference = Inference(seed=1, clusters=documents)
    assert inference.labels(pd.Index(["b", "a"])).tolist() == ["2", "1"]
    with pytest.raises(ValueError, match="clusters name no document for 1 examples, first 'c'"):
        inference.labels(pd.Index(["a", "c"]))


def test_documents_are_shared_only_where_some_are():
    trials = pd.DataFrame({"example": list("aabbcc"), "cell": list("xyxyxy"), "document": list("112233")})
    assert shared_documents(trials) is None
    assert shared_documents(trials.drop(columns="document")) is None
    shared = shared_documents(trials.assign(document=list("112211")))
    assert shared is not None
    assert shared.to_dict() == {"a": "1", "b": "2", "c": "1"}


def test_splits_of_shared_documents_resample_documents():
    likelihood = records(["p=none", "p=random", "p=oracle"], n=24, effect=0.3)
    total = comparison("p=none", "p=oracle", "f")
    parts = [comparison("p=none", "p=random", "f"), comparison("p=random", "p=oracle", "f")]
    examples = sorted(likelihood["example"].unique())
    alone = pd.Series(range(24), index=examples)
    plain = decomposition(likelihood, total, parts, Inference(seed=1, resamples=499))
    same = decomposition(likelihood, total, parts, Inference(seed=1, resamples=499, clusters=alone))
    numbers = ["low", "high", "share_low", "share_high"]
    assert same[numbers].to_numpy() == pytest.approx(plain[numbers].to_numpy(), nan_ok=True)
    # Every example twice: clusters bring the interval back to that of the single examples.
    twice = pd.concat([likelihood, likelihood.assign(example=likelihood["example"] + "x")])
    both = pd.concat([alone, pd.Series(range(24), index=[f"{name}x" for name in examples])])
    doubled = decomposition(twice, total, parts, Inference(seed=1, resamples=499, clusters=both))
    width, narrow = (
        (table["high"] - table["low"]).to_numpy()
        for table in (doubled, decomposition(twice, total, parts, Inference(seed=1, resamples=499)))
    )
    assert width == pytest.approx((plain["high"] - plain["low"]).to_numpy(), rel=0.15)
    assert (narrow < 0.85 * width).all()


# An analysis's own tables: repeating every example within its document changes no interval


def likelihood_of(cells: list[str], n: int = 40, seed: int = 4) -> pd.DataFrame:
    """NLL of every cell, every later one a little lower, with noise of its own."""
    generator = np.random.default_rng(seed)
    base = 3 + generator.gamma(2, 0.5, n)
    frames = []
    for number, cell in enumerate(cells):
        nll = base - 0.4 * (number + 1) + generator.normal(0, 0.3, n)
        keys = {"example": [f"e{i:02d}" for i in range(n)], "cell": cell}
        frames.append(pd.DataFrame({**keys, "answer_tokens": 3, "nll": nll, "nll_sum": 3 * nll}))
    return pd.concat(frames, ignore_index=True)


def repeated(records: pd.DataFrame) -> pd.DataFrame:
    """Every row twice, the second time under another example's name."""
    return pd.concat([records, records.assign(example=records["example"] + "x")], ignore_index=True)


def owners_of(records: pd.DataFrame) -> pd.Series:
    """The example that a repeated one repeats: its document."""
    names = sorted(set(records["example"]))
    return pd.Series([name.removesuffix("x") for name in names], index=names)


def names_of(analysis: str) -> list[str]:
    return [cell.name for cell in find_analysis(analysis).plan("corrected").design.cells]


def ratios(records, clusters):
    plan, study = find_analysis("exp01").plan("corrected"), exp01_production_cache.STUDY
    return ratio_frame(
        wide_cells(records, "nll"), plan, prefix_ratios(study), Inference(seed=1, clusters=clusters)
    )


def ranking(records, clusters):
    plan, study = find_analysis("exp04").plan("corrected"), exp04_prefix_content.STUDY
    trials = records.assign(prefix_tokens=2)
    return ranking_frame(records, trials, plan, study, "corrected", Inference(seed=1, clusters=clusters))


def lengths(records, clusters):
    plan, study = find_analysis("exp02").plan("corrected"), exp02_length_scaling.STUDY
    own = mean_lengths(records.assign(document_tokens=100.0))
    return effects_by_length(records, plan, study, own, Inference(seed=1, clusters=clusters))


def length_ratios(records, clusters):
    plan, study = find_analysis("exp02").plan("corrected"), exp02_length_scaling.STUDY
    own = mean_lengths(records.assign(document_tokens=100.0))
    return ratios_by_length(
        wide_cells(records, "nll"), plan, study, own, Inference(seed=1, clusters=clusters)
    )


def two_by_two(records, clusters):
    plan = find_analysis("exp05").plan("corrected")
    crossed = [contrast for contrast in plan.contrasts if contrast.family.startswith(PUBLISHED)]
    return effects_of(
        records, crossed, names_of("exp05")[0], Inference(seed=1, correction="holm", clusters=clusters)
    )


def damage(records, clusters):
    wide = wide_cells(records, "nll")
    cells = list(wide.columns)
    values = pd.DataFrame({"effect": wide[cells[0]] - wide[cells[1]]})
    numbers = pd.Series([int(name[1:3]) for name in wide.index], index=wide.index)
    return damage_frames(values, numbers, Inference(seed=1, clusters=clusters))[0]


def restored(records, clusters):
    return restoration_table(records, patches("prefix+separator")[:3], Inference(seed=1, clusters=clusters))


def restored_shares(records, clusters):
    own = patches("prefix+separator")[:3]
    ends = {cell.name for patch in own for cell in (patch.cell, patch.receiver)} | {
        name for name in set(records["cell"]) if name.endswith("state_patching=none")
    }
    chosen = records[records["cell"].isin(ends)]
    site = {"stack": "decoder", "block": "merged", "layer": 0, "head": 0}
    shares = pd.concat(
        chosen.assign(role=role, share=weight * chosen["nll"] / 40, **site)
        for role, weight in (("document", 1.0), ("answer", 0.5))
    )
    return budget_restoration_table(budget_arrays(shares), own, Inference(seed=1, clusters=clusters))


def reanalysed(records, clusters) -> Records:
    wide = wide_cells(records, "nll")
    words = pd.Series([1 + int(name[1:3]) % 9 for name in wide.index], index=wide.index)
    return Records(wide, words, (), clusters)


def strata_effects(records, clusters):
    plan = find_analysis("exp01").plan("corrected")
    few = replace(plan, contrasts=plan.contrasts[:2], headline=())
    return effects_by_stratum(reanalysed(records, clusters), few, Inference(seed=1, clusters=clusters))


def strata_likelihood(records, clusters):
    cells = find_analysis("exp01").plan("corrected").design.cells[:2]
    own = [CellFacts(cell.name, cell.alias, cell.factors) for cell in cells]
    return likelihood_by_stratum(reanalysed(records, clusters), own, Inference(seed=1, clusters=clusters))


def strata_ratios(records, clusters):
    plan, study = find_analysis("exp01").plan("corrected"), exp01_production_cache.STUDY
    own = reanalysed(records, clusters)
    return ratios_by_stratum(own, plan, prefix_ratios(study)[:2], Inference(seed=1, clusters=clusters))


def sinks(records) -> SinkReadings:
    """Readings of three points in two layers and heads, made of the NLL of three cells."""
    wide = wide_cells(records, "nll").iloc[:, :3]
    generator = np.random.default_rng(2)
    tilt = 1 + 0.1 * generator.random((2, 2, 2))
    values = {
        (f"hidden={number}", "none"): (
            wide.iloc[:, number].to_numpy()[:, None, None, None] * tilt / 20
        ).astype(np.float32)
        for number in range(3)
    }
    quantities = ("document", "cross_entropy")
    return SinkReadings("cross", tuple(wide.index), (0, 1), (0, 1), quantities, values, {})


PATH = SinkPath("shift", tuple(Point(f"hidden={number}") for number in range(3)), ("one", "two"))


def sink_shifts(records, clusters):
    return shift_table(sinks(records), [PATH], Inference(seed=1, clusters=clusters))


def sink_heads(records, clusters):
    return head_table(sinks(records), [PATH], Inference(seed=1, clusters=clusters))


def sink_audit(records, clusters):
    return audit_table(sinks(records), [PATH], Inference(seed=1, clusters=clusters))


def sink_entropies(records, clusters):
    return entropy_table(sinks(records), [PATH], Inference(seed=1, clusters=clusters))


@pytest.mark.parametrize(
    ("table", "analysis", "ends"),
    [
        (ratios, "exp01", ("low", "high")),
        (ranking, "exp04", ("low", "high")),
        (ranking, "exp04", ("share_low", "share_high")),
        (lengths, "exp02", ("low", "high")),
        (length_ratios, "exp02", ("low", "high")),
        (two_by_two, "exp05", ("low", "high")),
        (damage, "exp05", ("low", "high")),
        (restored, "exp11", ("low", "high")),
        (restored, "exp11", ("share_low", "share_high")),
        (restored_shares, "exp11", ("low", "high")),
        (restored_shares, "exp11", ("share_low", "share_high")),
        (strata_effects, "exp01", ("low", "high")),
        (strata_likelihood, "exp01", ("low", "high")),
        (strata_ratios, "exp01", ("low", "high")),
        (sink_shifts, "exp01", ("low", "high")),
        (sink_shifts, "exp01", ("share_low", "share_high")),
        (sink_heads, "exp01", ("low", "high")),
        (sink_audit, "exp01", ("low", "high")),
        (sink_audit, "exp01", ("difference_low", "difference_high")),
        (sink_entropies, "exp01", ("low", "high")),
    ],
)
def test_repeating_examples_within_their_document_shortens_no_interval(table, analysis, ends):
    once = likelihood_of(names_of(analysis))
    twice = repeated(once)
    alone, together = table(once, None), table(twice, owners_of(twice))
    naive = table(twice, None)
    widths = [(frame[ends[1]] - frame[ends[0]]).to_numpy(dtype=float) for frame in (alone, together, naive)]
    assert np.isfinite(widths[0]).sum() > 0
    assert np.array_equal(np.isnan(widths[0]), np.isnan(widths[1]))
    known = np.isfinite(widths[0]) & np.isfinite(widths[2])
    # Ties of a resample with the estimate may fall to either side by rounding, in small strata.
    assert widths[1][known] == pytest.approx(widths[0][known], rel=1e-3)
    # Independent examples would have given about 1 over the root of 2 of it.
    assert np.median(widths[2][known] / widths[1][known]) < 0.8


def test_tests_of_heads_count_documents():
    twice = repeated(likelihood_of(names_of("exp01")))
    found = sink_heads(twice, owners_of(twice)).query("part == 'one'").iloc[0]
    readings = sinks(twice)
    step = readings.at(PATH.points[0])[:, 0, 0, 0] - readings.at(PATH.points[1])[:, 0, 0, 0]
    owners = pd.factorize(owners_of(twice))[0]
    fitted = OLS(step.astype(float), np.ones(step.size)).fit(cov_type="cluster", cov_kwds={"groups": owners})
    assert (found["n"], found["clusters"]) == (80, 40)
    low, high = over_documents(np.mean, step.astype(float), owners=owners)
    longer = (step.mean() - low if step.mean() > 0 else high - step.mean()) / stats.t.ppf(0.975, 39)
    assert longer > fitted.bse[0]
    # A tiny p: approx would take any other for equal by its absolute tolerance.
    assert found["p"] == pytest.approx(2 * stats.t.sf(abs(step.mean()) / longer, 39), rel=1e-2, abs=0)


def test_reanalysed_trends_and_shares_are_those_of_documents():
    plan = find_analysis("exp01").plan("corrected")
    few = replace(plan, contrasts=plan.contrasts[:2], headline=())
    once = likelihood_of(names_of("exp01"))
    twice = repeated(once)
    pair = ((once, None), (twice, owners_of(twice)))
    alone, together = (trends(reanalysed(*each), few, Inference(seed=1, clusters=each[1])) for each in pair)
    columns = ["n", "slope", "low", "high", "p"]
    assert together[columns].to_numpy() == pytest.approx(alone[columns].to_numpy(), nan_ok=True)
    site = {"stack": "decoder", "block": "merged", "layer": 0, "head": 0, "role": "document"}
    cells = few.design.cells[:1]
    own = [CellFacts(cell.name, cell.alias, cell.factors) for cell in cells]
    tables = []
    for likelihood, clusters in pair:
        shares = likelihood[likelihood["cell"] == cells[0].name].assign(share=likelihood["nll"] / 20, **site)
        source = replace(reanalysed(likelihood, clusters), budgets=tuple(budget_arrays(shares)))
        tables.append(shares_by_stratum(source, own, Inference(seed=1, clusters=clusters)))
    assert tables[1]["n"].tolist() == tables[0]["n"].tolist()
    assert tables[1]["low"].tolist() == pytest.approx(tables[0]["low"].tolist())


# Published figures beside measured ones


def with_documents(path: Path, owners: pd.Series) -> Run:
    """The run with trials that name a document of each example."""

    def owned(trials: pd.DataFrame) -> pd.DataFrame:
        return trials.assign(document=trials["example"].astype(str).map(owners), document_tokens=9)

    test_compare.rewrite_records(path, "trials", owned)
    return Run.open(path)


def test_comparisons_resample_documents(tmp_path):
    once = test_compare.write_run(tmp_path / "once", n=50)
    twice = test_compare.write_run(tmp_path / "twice", n=50)
    for kind in Run.open(twice).kinds:
        test_compare.rewrite_records(twice, kind, lambda own: repeated(own.astype({"example": str})))
    test_compare.rewrite_manifest(twice, corpus={"name": "ms_marco", "hash": "0", "n": 100})
    naive = compare(Run.open(twice), resamples=999)
    names = [f"e{number:03d}{end}" for end in ("", "x") for number in range(50)]
    owners = pd.Series([name[:4] for name in names], index=names)
    together = compare(with_documents(twice, owners), resamples=999)
    alone = compare(Run.open(once), resamples=999)
    resampled = alone.frame["quantity"].isin(
        ["mean NLL", "mean difference", "share of the whole", "attention share"]
    )
    columns = ["low", "high"]
    expected = alone.frame.loc[resampled, columns].to_numpy(dtype=float)
    assert np.isfinite(expected).any()
    assert together.frame.loc[resampled, columns].to_numpy(dtype=float) == pytest.approx(
        expected, rel=1e-6, nan_ok=True
    )
    # Quantities with n - 1 in them change by that alone; those without it would have halved their variance.
    for quantity in ("win %",):
        own = alone.frame["quantity"] == quantity
        widths = [
            (table.frame.loc[own, "high"] - table.frame.loc[own, "low"]).to_numpy(dtype=float)
            for table in (alone, together, naive)
        ]
        assert widths[1] == pytest.approx(widths[0], rel=0.03)
        assert (widths[2] < 0.8 * widths[1]).all()
    p = alone.frame["quantity"] == "p (t)"
    if p.any():
        values = [table.frame.loc[p, "measured"].to_numpy(dtype=float) for table in (alone, together)]
        assert values[1] == pytest.approx(values[0], rel=1e-6)
    assert DOCUMENTS_RESAMPLED in together.notes
    assert DOCUMENTS_RESAMPLED not in alone.notes


# Captions of a whole run


def write_run_of(
    analysis: str, path: Path, documents: list[str], measures: Mapping[str, str] | None = None
) -> Run:
    """A finished run of random records, one example for each entry of ``documents``.

    ``measures`` are further probes by role, with their quantities.
    """
    plan = find_analysis(analysis).plan("corrected")
    cells = [cell.name for cell in plan.design.cells]
    generator = np.random.default_rng(1)
    names = [f"q{number:03d}" for number in range(len(documents))]
    directory = RunDirectory(path)
    directory.begin(
        {"rows": plan.rows},
        {
            "analysis": analysis,
            "title": "t",
            "question": "q",
            "protocol": "corrected",
            "model": {"name": "random numbers", "family": "t5gemma2", "parameters": 1},
            "corpus": {"name": "random numbers", "n": len(names)},
            "seed": 42,
            "cells": [
                {"name": cell.name, "alias": cell.alias, "factors": cell.factors}
                for cell in plan.design.cells
            ],
        },
    )
    directory.plan_parts(1, "[]\n")
    example = [name for name in names for _ in cells]
    cell = cells * len(names)
    trials = len(example)
    nll = np.repeat(generator.gamma(2, 0.5, len(names)), len(cells)) + generator.gamma(1, 0.2, trials)
    keys = {"example": pa.array(example).dictionary_encode(), "cell": pa.array(cell).dictionary_encode()}
    tokens = {f"{role}_tokens": generator.integers(1, 9, trials).astype(np.int32) for role in ROLES}
    per_example = np.repeat(1 + np.arange(len(names)) % 25, len(cells)).astype(np.int32)
    shares = generator.dirichlet(np.ones(len(ROLES)), size=(2, trials, 1)).astype(np.float32)
    directory.write_part(
        part_name(0),
        {
            "likelihood": pa.table(
                {**keys, "answer_tokens": np.full(trials, 2, np.int32), "nll": nll, "nll_sum": 2 * nll}
            ),
            "trials": pa.table(
                {
                    **keys,
                    **tokens,
                    "answer_words": per_example,
                    "document_words": per_example,
                    "document": pa.array(np.repeat(documents, len(cells)).tolist()),
                    "hidden_tokens": np.zeros(trials, np.int32),
                    "truncated_tokens": np.zeros(trials, np.int32),
                    "document_intact": np.ones(trials, bool),
                }
            ),
            "budgets": observed(example, cell, "role", ROLES, {"share": shares}),
            **{
                probe: observed(example, cell, "role", ROLES, {quantity: np.roll(shares, 1, axis=1)})
                for probe, quantity in (measures or {}).items()
            },
        },
    )
    return Run.open(path)


@pytest.mark.parametrize("analysis", ["exp01", "exp02", "exp04", "exp05", "exp11", "exp12"])
def test_captions_say_that_documents_are_resampled(tmp_path, analysis):
    documents = [f"d{number // 2}" for number in range(24)]
    run = write_run_of(analysis, tmp_path / "shared", documents)
    frames, presented = tables_of(run)
    own = find_analysis(analysis)
    assert own.tables is not None
    names = set(own.tables(run))
    assert names
    for name in names:
        assert {DOCUMENTS_RESAMPLED, CAUTIONS[DOCUMENT_MEANS]} & set(presented[name].notes), name
        assert presented[name].allows_for_documents
        assert INDEPENDENT not in presented[name].notes
        assert presented[name].n == "24 examples of 12 documents"
    for name in ("likelihood", "effects", "strata_answer_length"):
        assert DOCUMENTS_RESAMPLED in presented[name].notes
    assert UNIT_OF_SHARES in presented["shares_decoder_merged"].notes
    assert (frames["effects"]["clusters"] == 12).all()
    assert presented["effects"].n == "24 examples of 12 documents"


@pytest.mark.parametrize(
    ("n", "clusters", "expected"),
    [
        ([24, 24], [12, 12], "24 examples of 12 documents"),
        ([24, 20], [12, 9], "20 to 24 examples of 9 to 12 documents"),
        ([24, 24], [24, 24], "24 examples"),
        ([1, 1], [0, 0], "1 example"),
        ([2, 2], [1, 1], "2 examples of 1 document"),
    ],
)
def test_captions_count_examples_and_documents(n, clusters, expected):
    frame = pd.DataFrame({"n": n, "clusters": clusters, "family": "f", "order": 1})
    assert effects_presentation(frame, Inference(seed=1)).n == expected


def test_captions_of_runs_without_shared_documents_do_not_speak_of_them(tmp_path):
    run = write_run_of("exp04", tmp_path / "own", [f"d{number}" for number in range(24)])
    for table in tables_of(run)[1].values():
        assert not {DOCUMENTS_RESAMPLED, CAUTIONS[DOCUMENT_MEANS], INDEPENDENT} & set(table.notes)


def test_tables_that_allow_for_nothing_are_marked(tmp_path, monkeypatch):
    """Tables of other distributions: with an interval or a test they are marked unless they say what they do."""
    run = write_run(tmp_path / "run", 12, layers=1, heads=1)
    table = Table(pd.DataFrame({"x": [1]}), "T", "e", "u", "n", "none", "none", 1)
    tested = replace(table, seed=None, correction="Holm")
    counted = replace(table, seed=None)
    every = {
        "own": table,
        # What a note says is for people: it marks nothing.
        "told": replace(table, notes=(DOCUMENTS_RESAMPLED,)),
        "tested": tested,
        "counted": counted,
        "allowing": replace(table, allows_for_documents=True),
    }
    # Cached properties of the run, so that its analysis has these tables and its examples share documents.
    monkeypatch.setitem(vars(run), "analysis", replace(run.analysis, tables=lambda run: every))
    assert {name: tables_of(run)[1][name] for name in every} == every
    monkeypatch.setitem(
        vars(run), "documents", run.trials.groupby("example", observed=True).size().astype(str)
    )
    presented = tables_of(run)[1]
    assert {name for name in every if INDEPENDENT in presented[name].notes} == {"own", "told", "tested"}
    assert "share a document count as independent" in presented["own"].caption


# The explorer


def test_the_explorer_s_strata_resample_documents(tmp_path):
    """Repeating every example within its document leaves the intervals of any stratum as they are."""
    path = write_run_of("exp08", tmp_path / "run", [f"d{number}" for number in range(160)]).path
    once = load_run(path)
    copies = [f"{name}-{copy}" for name in once.nll.index for copy in range(5)]
    owners = pd.Series([name.rpartition("-")[0] for name in copies], index=copies, name="document")

    def repeated_five_times(table):
        return table.loc[owners.to_numpy()].set_axis(pd.Index(copies, name="example"))

    # A Run keeps what it has read: its inference is that of 800 examples of 160 documents.
    run = Run.open(path)
    vars(run)["documents"] = owners
    often = replace(
        once,
        run=run,
        nll=repeated_five_times(once.nll),
        answer_tokens=repeated_five_times(once.answer_tokens),
        counts=repeated_five_times(once.counts),
    )
    state = State(strata="hardness", stratum="2 of 5", tested=once.run.outcome)
    columns = ["mean_difference", "low", "high"]
    expected = explored_effects(once, state)
    found = explored_effects(often, state)
    assert (found["n"] == 5 * expected["n"]).all()
    assert (found["clusters"] == expected["n"]).all()
    assert found[columns].to_numpy() == pytest.approx(expected[columns].to_numpy(), abs=1e-12, nan_ok=True)
    vars(run)["inference"] = replace(run.inference, clusters=None)
    naive = subset_effects(often, mask_of(often, "hardness", "2 of 5"), run.inference, run.outcome)
    widths = [(table["high"] - table["low"]).to_numpy() for table in (naive, expected)]
    assert (widths[0] < 0.7 * widths[1]).all()
