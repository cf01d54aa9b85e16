"""The analyses 01 to 05 and 09: their cells against the protocol's lists written out by hand, their tables
against arithmetic, and every one of them end to end on a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy
import pandas as pd
import pytest
from scipy import stats

import analyses.exp02_length_scaling as length_scaling
from analyses.studies.damage_by_length import damage_frames
from analyses.studies.length_tables import effects_by_length, length_trends, mean_lengths, ratios_by_length
from analyses.studies.prefix_plans import ORACLE, RANDOM, PrefixLevel, PrefixStudy
from analyses.studies.prefix_ranking import curve_frame, ranking_frame
from analyses.studies.prefix_ratios import RatioOf, ratio_frame
from analyses.studies.two_by_two import Property, TwoByTwo, effects_of
from budgetlens.command.main import main
from budgetlens.design.catalogue import find_analysis
from budgetlens.design.design import Cell
from budgetlens.design.effects import place
from budgetlens.design.intervention import Context
from budgetlens.design.plan import PROTOCOLS, Plan
from budgetlens.model.tokenization import TrialTokenizer
from budgetlens.model.trials import Example
from budgetlens.runs.run import Run
from budgetlens.statistics.contrasts import Contrast
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.ratios import decompositions
from tests.cautions import tables_without_caution
from tests.reference import tiny_models

FIRST_N, VISIBLE, HIDDEN = "first-n", "prefix+separator", "bos+prefix+separator"
LENGTHS = {"none": "original", "256": "256", "512": "512", "1024": "1024", "2048": "2048", "4096": "4096"}

#: Published short name to (prefix, hidden, prompt): protocol, section 3.
BOTH_PROMPTS = {
    "bare": ("none", FIRST_N, "query"),
    "oracle_trunc": ("oracle", FIRST_N, "query"),
    "bare_nq": ("none", FIRST_N, "none"),
    "oracle_trunc_nq": ("oracle", FIRST_N, "none"),
}
SIX = {
    **BOTH_PROMPTS,
    "surr_doc_trunc": ("keywords:5", FIRST_N, "query"),
    "random_trunc": ("random", FIRST_N, "query"),
}
PUBLISHED: dict[str, dict[str, tuple[str, ...]]] = {
    "exp01": {
        **SIX,
        "surr_template_trunc": ("template", FIRST_N, "query"),
        "oracle_full": ("oracle", "none", "query"),
    },
    "exp02": {
        f"{alias}@{name}": (padding, *levels)
        for padding, name in LENGTHS.items()
        for alias, levels in SIX.items()
    },
    "exp03": SIX,
    "exp04": {
        **BOTH_PROMPTS,
        "random_trunc": ("random", FIRST_N, "query"),
        "surr_kw5": ("keywords:5", FIRST_N, "query"),
        "surr_kw10": ("keywords:10", FIRST_N, "query"),
        "surr_kw20": ("keywords:20", FIRST_N, "query"),
        "surr_first_sent": ("first_sentence", FIRST_N, "query"),
        "surr_random_kw5": ("wrong_keywords@1:5", FIRST_N, "query"),
    },
    "exp05": {
        **BOTH_PROMPTS,
        "surr_kw10": ("keywords:10", FIRST_N, "query"),
        "surr_wrong_kw10": ("wrong_keywords:10", FIRST_N, "query"),
        "surr_shuffled_sent": ("shuffled_sentence", FIRST_N, "query"),
        "surr_generic_sent": ("generic", FIRST_N, "query"),
        "surr_wrong_first_sent": ("wrong_first_sentence", FIRST_N, "query"),
        "surr_first_sent": ("first_sentence", FIRST_N, "query"),
    },
    "exp09": {
        "bare": ("none", FIRST_N, "query"),
        "oracle_trunc": ("oracle", FIRST_N, "query"),
        "random_trunc": ("pool", FIRST_N, "query"),
        "bare_nq": ("none", FIRST_N, "none"),
    },
}
NAMES = sorted(PUBLISHED)
EVERY = [(name, protocol) for name in NAMES for protocol in PROTOCOLS]


def plan_of(name: str, protocol: str) -> Plan:
    return find_analysis(name).plan(protocol)


# Designs.


@pytest.mark.parametrize("name", NAMES)
def test_published_cells_and_their_names(name: str) -> None:
    expected = PUBLISHED[name]
    assert len(expected) == {"exp01": 8, "exp02": 36, "exp03": 6, "exp04": 10, "exp05": 10, "exp09": 4}[name]
    factors = ("padding", "prefix", "hidden", "prompt")[-len(next(iter(expected.values()))) :]
    found = {cell.alias: cell.factors for cell in plan_of(name, "published").design.cells}
    assert found == {alias: dict(zip(factors, levels, strict=True)) for alias, levels in expected.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_published_cell_has_its_corrected_one_with_bos_visible(name: str) -> None:
    corrected = {cell.alias: cell.factors for cell in plan_of(name, "corrected").design.cells}
    for cell in plan_of(name, "published").design.cells:
        hidden = cell.factors["hidden"].replace(FIRST_N, VISIBLE)
        found = dict(corrected[cell.alias])
        assert found.pop("prefix_attention", "none") == "none"
        assert found == {**cell.factors, "hidden": hidden}


@pytest.mark.parametrize("name", NAMES)
def test_controls_of_the_corrected_protocol(name: str) -> None:
    """Bare and oracle with BOS hidden as well, and the shift of positions wherever a prompt is left out."""
    levels = {
        tuple(cell.factors[factor] for factor in ("prefix", "hidden", "prompt")): cell.alias
        for cell in plan_of(name, "corrected").design.cells
    }
    for prefix in ("none", "oracle"):
        assert (prefix, HIDDEN, "query") in levels
    for prefix, hidden, prompt in list(levels):
        if prompt == "none" and hidden == VISIBLE:
            assert (prefix, HIDDEN, "none") in levels
            assert (prefix, VISIBLE, "position") in levels
    assert not any(cell.factors["hidden"] == FIRST_N for cell in plan_of(name, "corrected").design.cells)


@pytest.mark.parametrize(
    ("name", "prefix", "alias", "prompts"),
    [
        ("exp01", "oracle", "oracle_trunc", {"query": "", "none": "_nq"}),
        ("exp05", "first_sentence", "surr_first_sent", {"query": ""}),
    ],
)
def test_the_position_control_of_the_encoder(
    name: str, prefix: str, alias: str, prompts: dict[str, str]
) -> None:
    """Protocol 4f: a prefix that only moves the document, and one that moves nothing, by hand."""
    plan = plan_of(name, "corrected")
    cells = {cell.alias: cell for cell in plan.design.cells}
    apart = [cell.alias for cell in plan.design.cells if cell.factors["prefix_attention"] != "none"]
    assert sorted(apart) == sorted(
        f"{alias}{nq}_{part}" for nq in prompts.values() for part in ("masked", "unshifted")
    )
    by_name = {contrast.name: contrast for contrast in plan.contrasts}
    splits = {split.total.name: split for split in plan.splits}
    for prompt, nq in prompts.items():
        bare, whole = f"bare{nq}", f"{alias}{nq}"
        masked, unshifted = f"{whole}_masked", f"{whole}_unshifted"
        for each in (masked, unshifted):
            expected = {"prefix": prefix, "hidden": VISIBLE, "prompt": prompt}
            assert cells[each].factors == {**expected, "prefix_attention": each.rpartition("_")[2]}
        at = f"| {alias}, prompt={prompt}"
        steps = {
            f"position alone {at}": (bare, masked),
            f"attention after position {at}": (masked, whole),
            f"attention alone {at}": (bare, unshifted),
            f"position after attention {at}": (unshifted, whole),
        }
        for words, (first, second) in steps.items():
            assert by_name[words].weights == {cells[first].name: 1.0, cells[second].name: -1.0}
        corners = {bare: 1.0, masked: -1.0, unshifted: -1.0, whole: 1.0}
        together = by_name[f"position × attention {at}"]
        assert together.weights == {cells[each].name: weight for each, weight in corners.items()}
        assert together.effect_order == 2
        total = f"{prefix} prefix | prompt={prompt}"
        names = list(steps)
        for order, parts in (("position", names[:2]), ("attention", names[2:])):
            split = splits[f"{total}, {order} first"]
            assert split.total.weights == by_name[total].weights
            assert [part.name for part in split.parts] == parts
    if len(prompts) == 2:
        # Without the query less with it, as the interaction that the parts add up to.
        own = by_name[f"position alone × query prompt | {alias}"].weights
        assert own[cells[f"{alias}_nq_masked"].name] == -1.0
        assert own[cells[f"{alias}_masked"].name] == 1.0
        assert own[cells["bare_nq"].name] == 1.0
        assert own[cells["bare"].name] == -1.0


def test_what_comes_of_position_and_of_attention_on_data() -> None:
    """Positions cost 0.5, attention gains 2, and together they cost 0.25 more: each way tells its own parts."""
    plan = plan_of("exp01", "corrected")
    values = {cell.alias: 3.0 for cell in plan.design.cells} | {
        "oracle_trunc_nq_masked": 3.5,
        "oracle_trunc_nq_unshifted": 1.0,
        "oracle_trunc_nq": 1.75,
    }
    noise = numpy.random.default_rng(2).normal(0, 0.01, size=(30, len(values)))
    likelihood = pd.DataFrame(
        [
            {
                "example": f"e{i:02d}",
                "cell": cell.name,
                "nll": values[cell.alias] + noise[i, j],
                "answer_tokens": 2,
            }
            for i in range(30)
            for j, cell in enumerate(plan.design.cells)
        ]
    )
    table = decompositions(
        likelihood, [(split.total, split.parts) for split in plan.splits], Inference(seed=3)
    )
    own = table[table["contrast"].str.startswith("oracle prefix | prompt=none, ")].set_index("part")
    found = own["mean_difference"].groupby([own["contrast"], own.index], sort=False).first()
    for order, expected in (("position", [1.25, -0.5, 1.75]), ("attention", [1.25, 2.0, -0.75])):
        parts = found[f"oracle prefix | prompt=none, {order} first"]
        numpy.testing.assert_allclose(parts.to_numpy(), expected, atol=0.02)


@pytest.mark.parametrize(("name", "protocol"), EVERY)
def test_contrasts_are_over_the_design_s_cells(name: str, protocol: str) -> None:
    plan = plan_of(name, protocol)
    cells = {cell.name for cell in plan.design.cells}
    names = [contrast.name for contrast in plan.contrasts]
    assert len(set(names)) == len(names)
    assert {cell for contrast in plan.contrasts for cell in contrast.weights} == cells
    totals = [split.total.name for split in plan.splits]
    assert len(set(totals)) == len(totals)
    for split in plan.splits:
        summed: dict[str, float] = {}
        for part in split.parts:
            for cell, weight in part.weights.items():
                summed[cell] = summed.get(cell, 0.0) + weight
        for cell in summed.keys() | split.total.weights.keys():
            assert summed.get(cell, 0.0) == pytest.approx(split.total.weights.get(cell, 0.0))
    assert plan.share_contrasts
    assert (plan.rows, plan.correction) == {
        "published": ("holding", "bonferroni"),
        "corrected": ("predicting", "holm"),
    }[protocol]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("exp02", "exp09")])
def test_bonferroni_counts_the_comparisons_with_bare(name: str) -> None:
    """The family of the published prefixes: every cell but the two bare ones against the bare of its prompt."""
    plan = plan_of(name, "published")
    family = [contrast for contrast in plan.contrasts if contrast.family == "prefix"]
    assert len(family) == len(plan.design.cells) - 2
    for contrast in family:
        (baseline,) = (cell for cell, weight in contrast.weights.items() if weight == 1)
        (treatment,) = (cell for cell, weight in contrast.weights.items() if weight == -1)
        assert baseline.startswith("prefix=none|")
        assert baseline.rpartition("|")[2] == treatment.rpartition("|")[2]


def test_defaults_of_the_protocol() -> None:
    assert find_analysis("exp02").encoder_tokens == 4608
    assert find_analysis("exp03").corpus == "reference-long"
    assert {find_analysis(name).n for name in ("exp01", "exp04", "exp05", "exp09")} == {500}


def test_draws_of_random_prefixes_differ() -> None:
    words = [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
    ]
    examples = [
        Example(
            str(i),
            "who built it now",
            " ".join(words[i:] + words[:i]) + " stood there. It fell.",
            "an answer",
        )
        for i in range(8)
    ]
    tokenizer = TrialTokenizer(tiny_models.tokenizer(), 2)
    for name, prefix in (("exp01", "random"), ("exp09", "pool"), ("exp05", "shuffled_sentence")):
        cells = [
            cell
            for cell in plan_of(name, "corrected").design.cells
            if cell.factors["prefix"].startswith(prefix) and cell.factors["prompt"] == "query"
        ]
        assert len(cells) == (2 if name == "exp05" else 3)
        texts = {
            cell.trial(examples[2], Context(2, examples, tokenizer, 199, 42)).encoder[0] for cell in cells
        }
        assert len(texts) == len(cells)


# Tables, against arithmetic.


def records(plan: Plan, examples: int = 40) -> pd.DataFrame:
    """Answer NLL with a mean of its own in every cell."""
    generator = numpy.random.default_rng(11)
    base = generator.gamma(2.0, 1.0, size=examples)
    return pd.DataFrame(
        [
            {"example": f"e{i:03d}", "cell": cell.name, "nll": value, "answer_tokens": 1 + i % 4}
            for number, cell in enumerate(plan.design.cells)
            for i, value in enumerate(base + 0.3 * number + generator.normal(0, 0.2, size=examples))
        ]
    )


def wide(likelihood: pd.DataFrame) -> pd.DataFrame:
    return likelihood.pivot_table(index="example", columns="cell", values="nll")


def by_alias(plan: Plan) -> dict[str, str]:
    return {cell.alias: cell.name for cell in plan.design.cells}


def test_ratios_by_hand() -> None:
    plan = plan_of("exp01", "published")
    values, cell = wide(records(plan)), by_alias(plan)
    table = ratio_frame(
        values,
        plan,
        [
            RatioOf("survives", "oracle prefix | prompt=query", "oracle prefix | prompt=none"),
            RatioOf("structure", "random prefix | prompt=query", "oracle prefix | prompt=query"),
            RatioOf("absent", "nothing", "oracle prefix | prompt=query"),
        ],
        Inference(seed=1),
    ).set_index("quantity")
    assert list(table.index) == ["survives", "structure"]
    query = values[cell["bare"]] - values[cell["oracle_trunc"]]
    alone = values[cell["bare_nq"]] - values[cell["oracle_trunc_nq"]]
    random = values[cell["bare"]] - values[cell["random_trunc"]]
    assert table.loc["survives", "ratio"] == pytest.approx(query.mean() / alone.mean())
    assert table.loc["structure", "ratio"] == pytest.approx(random.mean() / query.mean())
    d = {key: own.mean() / own.std() for key, own in {"q": query, "a": alone, "r": random}.items()}
    assert table.loc["survives", "ratio_of_d"] == pytest.approx(d["q"] / d["a"])
    assert table.loc["structure", "ratio_of_d"] == pytest.approx(d["r"] / d["q"])
    assert table.loc["survives", "low"] < table.loc["survives", "ratio"] < table.loc["survives", "high"]


def test_a_ratio_over_nothing_is_withheld() -> None:
    plan = plan_of("exp01", "published")
    values, cell = wide(records(plan)), by_alias(plan)
    noise = numpy.random.default_rng(3).normal(0, 1, len(values))
    values[cell["oracle_trunc"]] = values[cell["bare"]] - (noise - noise.mean())
    row = ratio_frame(
        values,
        plan,
        [RatioOf("structure", "random prefix | prompt=query", "oracle prefix | prompt=query")],
        Inference(seed=1),
    ).iloc[0]
    assert numpy.isnan(row["ratio"])
    assert "holds 0" in row["reason"]


def test_the_published_ratios_are_ratios_of_published_d() -> None:
    """Published: d .2275 with and .3755 without the query, ratio 60.6 %; random .0803, 35.3 % of oracle."""
    assert pytest.approx(0.605902021203723) == 0.22751727302766783 / 0.37550175616788295
    assert pytest.approx(0.3530601683535284) == 0.0803272867184841 / 0.22751727302766783


def test_the_random_prefix_is_the_mean_of_its_draws() -> None:
    plan = plan_of("exp01", "corrected")
    (contrast,) = (one for one in plan.contrasts if one.name == "random prefix | prompt=query")
    cell = by_alias(plan)
    weights = {cell["bare"]: 1.0} | {
        cell[alias]: -1 / 3 for alias in ("random_trunc", "random_trunc_draw_2", "random_trunc_draw_3")
    }
    assert dict(contrast.weights) == pytest.approx(weights)


def test_ranking_by_hand() -> None:
    plan = plan_of("exp04", "published")
    likelihood, cell = records(plan), by_alias(plan)
    values = wide(likelihood)
    trials = pd.DataFrame(
        [{"cell": name, "prefix_tokens": number} for number, name in enumerate(cell.values())]
    )
    from analyses.exp04_prefix_content import STUDY

    table = ranking_frame(likelihood, trials, plan, STUDY, "published", Inference(seed=1))
    prefixes = [alias for alias in PUBLISHED["exp04"] if alias not in ("bare", "bare_nq", "oracle_trunc_nq")]
    gains = {alias: (values[cell["bare"]] - values[cell[alias]]).mean() for alias in prefixes}
    assert list(table["alias"]) == sorted(gains, key=gains.__getitem__, reverse=True)
    assert list(table["rank"]) == list(range(1, 8))
    found = table.set_index("alias")
    for alias, gain in gains.items():
        assert found.loc[alias, "mean_difference"] == pytest.approx(gain)
        assert found.loc[alias, "share"] == pytest.approx(gain / gains["oracle_trunc"])
        assert found.loc[alias, "mean_prefix_tokens"] == list(cell).index(alias)
    curve = curve_frame(table)
    assert list(curve["keywords"]) == [5, 10, 20]
    assert list(curve["mean"]) == pytest.approx([gains[f"surr_kw{count}"] for count in (5, 10, 20)])


def test_the_split_of_keywords_is_vocabulary_and_semantics() -> None:
    plan = plan_of("exp04", "published")
    cell = by_alias(plan)
    (split,) = (one for one in plan.splits if one.total.name == "keywords:5 over random")
    assert [dict(part.weights) for part in split.parts] == [
        {cell["random_trunc"]: 1.0, cell["surr_random_kw5"]: -1.0},
        {cell["surr_random_kw5"]: 1.0, cell["surr_kw5"]: -1.0},
    ]


#: Published d against bare, and the published 2 × 2 made of them.
PUBLISHED_D = {
    "surr_first_sent": -0.2984367954608514,
    "surr_wrong_first_sent": 0.06296941079593378,
    "surr_shuffled_sent": 0.07828017256363429,
    "surr_wrong_kw10": 0.13070569907213445,
}
PUBLISHED_2X2 = {
    "coherence, 2×2 with keywords": -0.22222662815034316,
    "overlap, 2×2 with keywords": -0.20691586638264267,
    "coherence | this document, 2×2 with keywords": -0.3767169680244857,
    "overlap | sentence, 2×2 with keywords": -0.36140620625678516,
}


def test_the_published_crossing_is_that_of_the_published_d() -> None:
    """The weights of the contrasts, applied to the published d of the cells, give the published effects."""
    plan = plan_of("exp05", "published")
    alias = {cell.name: cell.alias for cell in plan.design.cells}
    contrasts = {contrast.name: contrast for contrast in plan.contrasts}
    for name, published in PUBLISHED_2X2.items():
        found = -sum(weight * PUBLISHED_D[alias[cell]] for cell, weight in contrasts[name].weights.items())
        assert found == pytest.approx(published, abs=1e-9)


def crossing() -> tuple[dict[str, numpy.ndarray], pd.DataFrame, tuple[Contrast, ...]]:
    generator = numpy.random.default_rng(2)
    values = {
        name: generator.normal(place, 1, 30) for place, name in enumerate(("bare", "sa", "so", "ba", "bo"))
    }
    likelihood = pd.DataFrame(
        [
            {"example": f"{i:02d}", "cell": f"prefix={cell}", "nll": value, "answer_tokens": 2}
            for cell, own in values.items()
            for i, value in enumerate(own)
        ]
    )
    effects = TwoByTwo(
        Property("coherence", "bag", "sentence"),
        Property("overlap", "another", "own"),
        {
            ("sentence", "another"): place(prefix="sa"),
            ("sentence", "own"): place(prefix="so"),
            ("bag", "another"): place(prefix="ba"),
            ("bag", "own"): place(prefix="bo"),
        },
    ).effects("x")
    cells = [Cell((("prefix", name),)) for name in values]
    return values, likelihood, tuple(own.contrast(cells) for own in effects)


def test_two_by_two_by_hand() -> None:
    values, likelihood, contrasts = crossing()
    table = effects_of(likelihood, contrasts, "prefix=bare", Inference(seed=1, correction="holm"))
    found = table.set_index("contrast")
    sa, so, ba, bo = (values[name] for name in ("sa", "so", "ba", "bo"))
    expected = {
        "coherence, x": (ba + bo - sa - so) / 2,
        "overlap, x": (sa + ba - so - bo) / 2,
        "coherence × overlap, x": (ba - sa) - (bo - so),
        "coherence | another, x": ba - sa,
        "coherence | own, x": bo - so,
        "overlap | bag, x": ba - bo,
        "overlap | sentence, x": sa - so,
    }
    assert set(found.index) == set(expected)
    for name, own in expected.items():
        assert found.loc[name, "mean_difference"] == pytest.approx(own.mean())
        assert found.loc[name, "p_t"] == pytest.approx(stats.ttest_1samp(own, 0).pvalue)
    d = {
        name: (values["bare"] - own).mean() / (values["bare"] - own).std(ddof=1)
        for name, own in values.items()
        if name != "bare"
    }
    assert found.loc["overlap | sentence, x", "difference_of_d"] == pytest.approx(d["so"] - d["sa"])
    assert found.loc["coherence, x", "difference_of_d"] == pytest.approx(
        (d["sa"] + d["so"] - d["ba"] - d["bo"]) / 2
    )


def test_damage_by_length_against_pandas() -> None:
    generator = numpy.random.default_rng(4)
    lengths = pd.Series(generator.permutation(60), index=[f"{i:02d}" for i in range(60)])
    values = pd.DataFrame({"sentence": -0.1 * lengths + generator.normal(0, 1, 60)}, index=lengths.index)
    strata, trends = damage_frames(values, lengths, Inference(seed=1))
    fifth = lengths // 12
    assert list(strata["length"]) == pytest.approx(lengths.groupby(fifth).mean().tolist())
    assert list(strata["mean_difference"]) == pytest.approx(values["sentence"].groupby(fifth).mean().tolist())
    assert trends.loc[0, "rho"] == pytest.approx(lengths.corr(values["sentence"], method="spearman"))
    assert trends.loc[0, "slope"] == pytest.approx(numpy.polyfit(fifth, values["sentence"], 1)[0])


SHORT = PrefixStudy(
    prefixes=(ORACLE, PrefixLevel("random", "random_trunc")), paddings=("none", "64", "128", "256")
)


def test_effects_trends_and_ratios_by_length_by_hand() -> None:
    plan = SHORT.plan("published")
    likelihood, cell = records(plan), by_alias(plan)
    values = wide(likelihood)
    trials = pd.DataFrame(
        [
            {
                "cell": one.name,
                "document_tokens": 40 if one.factors["padding"] == "none" else int(one.factors["padding"]),
            }
            for one in plan.design.cells
        ]
    )
    lengths = mean_lengths(trials)
    assert lengths.to_dict() == {"none": 40, "64": 64, "128": 128, "256": 256}

    def effect(prefix: str, length: str, end: str = "") -> pd.Series:
        return values[cell[f"bare{end}@{length}"]] - values[cell[f"{prefix}{end}@{length}"]]

    table = effects_by_length(likelihood, plan, SHORT, lengths, Inference(seed=1))
    assert len(table) == 4 * 3
    row = table[
        (table["prefix"] == "oracle") & (table["prompt"] == "none") & (table["padding"] == "128")
    ].iloc[0]
    assert row["mean_difference"] == pytest.approx(effect("oracle_trunc", "128", "_nq").mean())
    assert row["length"] == 128
    ratios = ratios_by_length(values, plan, SHORT, lengths, Inference(seed=1))
    row = ratios[(ratios["quantity"] == "survives the query prompt") & (ratios["padding"] == "none")].iloc[0]
    whole = effect("oracle_trunc", "original", "_nq").mean()
    assert row["numerator_mean"] / row["denominator_mean"] == pytest.approx(
        effect("oracle_trunc", "original").mean() / whole
    )
    (trend,) = (
        one
        for one in length_trends(SHORT, plan.contrasts, "published")
        if one.name.startswith("random prefix | prompt=query")
    )
    slopes = [
        numpy.polyfit(
            [6, 7, 8], [effect("random_trunc", length)[example] for length in ("64", "128", "256")], 1
        )[0]
        for example in values.index
    ]
    own = sum(values[name] * weight for name, weight in trend.weights.items())
    assert own.tolist() == pytest.approx(slopes)


# End to end.


def long_corpus(path: Path, count: int) -> Path:
    """Rows of the plain schema with first sentences of unequal lengths and passages to pad with."""
    rows = []
    for i in range(count):
        extra = " ".join(["stone"] * (i % 3))
        rows.append(
            {
                "query": f"who built the tower number {i}" + (" and when" if i % 2 else ""),
                "document": f"The {extra} tower number {i} was built by Orla Venn. The people ate bread in {1400 + i}.",
                "answer": "Orla Venn" if i % 2 else "Orla Venn built the tower in the old time",
                "passages": [f"The river number {i} runs to the sea. " * 5],
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return long_corpus(tmp_path_factory.mktemp("analyses") / "towers.jsonl", 6)


@pytest.fixture
def run(tmp_path: Path, tiny_directory: Path, corpus: Path) -> Callable[..., Path]:
    def run_analysis(name: str, protocol: str, *more: str) -> Path:
        out = tmp_path / "run"
        given = [
            "run",
            name,
            "--full",
            "--model",
            str(tiny_directory),
            "--corpus",
            str(corpus),
            "--out",
            str(out),
        ]
        assert main([*given, "--protocol", protocol, "--device", "cpu", "--quiet", *more]) == 0
        return out

    return run_analysis


OWN_TABLES = {
    "exp01": {"ratios"},
    "exp02": {"effects_by_length", "length_trends", "ratios_by_length"},
    "exp03": {"ratios"},
    "exp04": {"ranking", "keyword_curve", "ratios"},
    "exp05": {"coherence_by_overlap", "damage_by_length", "damage_trend", "ratios"},
}
OWN_FIGURES = {"exp02": "effects_by_length", "exp04": "keyword_curve", "exp05": "damage_by_length"}


def assert_finished(out: Path, name: str, capsys: pytest.CaptureFixture[str]) -> Mapping[str, pd.DataFrame]:
    printed = capsys.readouterr().out
    tables = {path.stem: pd.read_csv(path) for path in (out / "tables").glob("*.csv")}
    assert {"likelihood", "effects", "decomposition", "shares", "share_effects", "trials"} <= tables.keys()
    assert OWN_TABLES[name] <= tables.keys()
    assert tables_without_caution(out / "tables") == []
    figures = {path.stem for path in (out / "figures").glob("*.html")}
    assert {"effects", "splits", "budgets_decoder"} <= figures
    assert OWN_FIGURES.get(name, "effects") in figures
    assert printed.count("Estimand:") >= 6
    assert "Unit" not in printed or "unit:" in printed
    assert (out / "report.html").is_file()
    return tables


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", ["exp01", "exp03", "exp04", "exp05"])
def test_end_to_end(
    name: str, protocol: str, run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(name, protocol)
    tables = assert_finished(out, name, capsys)
    plan = plan_of(name, protocol)
    assert set(tables["likelihood"]["cell"]) == {cell.name for cell in plan.design.cells}
    means = wide(Run.open(out).outcomes.astype({"cell": str, "example": str})).mean()
    effects = tables["effects"].set_index("contrast")["mean_difference"]
    for contrast in plan.contrasts:
        expected = sum(means[cell] * weight for cell, weight in contrast.weights.items())
        assert effects[contrast.name] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_length_scaling_end_to_end(
    protocol: str,
    run: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At lengths that a tiny model reads in no time."""
    monkeypatch.setattr(length_scaling, "LENGTHS", ("64", "128"))
    study = PrefixStudy(prefixes=(ORACLE, RANDOM), paddings=("none", "64", "128"))
    monkeypatch.setattr(length_scaling, "STUDY", study)
    out = run("exp02", protocol)
    tables = assert_finished(out, "exp02", capsys)
    trials = tables["trials"]
    padded = trials[trials["padding"].astype(str) == "128"]
    assert (padded["mean_document_tokens"].between(110, 128)).all()
    # A document is as long with every prefix.
    assert padded["mean_document_tokens"].nunique() == 1


@pytest.mark.parametrize("name", NAMES)
def test_show_says_what_the_model_sees(
    name: str, tiny_directory: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    aliases = ["bare@original", "oracle_trunc@original"] if name == "exp02" else ["bare", "oracle_trunc"]
    plan = [f"--cell={alias}" for alias in aliases]
    if name == "exp02":
        # Showing makes the chosen cells only: six rows can't be padded to 4,096 tokens.
        plan += ["--max-encoder-tokens", "4608"]
    assert main(["show", name, "--model", str(tiny_directory), "--corpus", str(corpus), *plan]) == 0
    shown = capsys.readouterr().out
    for alias in aliases:
        assert alias in shown
    assert "who built the tower" in shown
