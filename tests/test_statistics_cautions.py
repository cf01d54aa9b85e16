"""What tables must say of weak numbers: cautions of ratios, rounding that is no effect, words of trends, whole families."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

from analyses.studies.damage_by_length import damage_frames
from budgetlens.command.effects_file import read_table
from budgetlens.statistics.bands import head_map, share_differences
from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.decisions import TAILS
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.ratios import ratio_of_means
from budgetlens.statistics.strata import trend_test
from budgetlens.tables.digits import number, with_interval
from budgetlens.tables.own_values import Columns, effects_of
from budgetlens.tables.run_statistics import seeds_table, with_trend_verdicts
from tests.test_effects_bands import SHARE


def test_a_ratio_that_every_example_has_has_no_interval():
    itself = np.random.default_rng(2).normal(2, 0.2, 300)
    found = ratio_of_means(3 * itself, itself, Inference(seed=3))
    assert found.ratio == pytest.approx(3)
    assert np.isnan(found.low)
    assert found.caution == ""
    assert "the same in every example" in found.reason


def test_a_trend_of_few_examples_warns_nobody():
    values, strata = pd.Series([0.1, 0.7, 0.2, 0.3]), pd.Series([0, 0, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trend = trend_test(values, strata, Inference(seed=1, resamples=99))
    assert trend.slope == pytest.approx(0.3 - 1 / 3)
    assert np.isnan(trend.low)
    assert "single example" in trend.reason


def budgets(difference: float, noise: float) -> pd.DataFrame:
    """Shares of one head near 0.8, which the treatment changes by `difference` and rounding by `noise`."""
    generator = np.random.default_rng(4)
    bare = generator.uniform(0.75, 0.85, 30)
    treated = bare - difference + noise * generator.choice([0.0, 1.0], 30, p=[0.2, 0.8])
    return pd.DataFrame(
        {
            "example": np.tile(np.arange(30), 2),
            "cell": np.repeat(["bare", "treated"], 30),
            "stack": "decoder",
            "block": "merged",
            "layer": 0,
            "head": 0,
            "role": "document",
            "share": np.concatenate([bare, treated]).astype(np.float32),
        }
    )


@pytest.mark.parametrize("found", [share_differences, head_map])
def test_rounding_of_what_was_subtracted_is_no_effect(found):
    contrasts = [comparison("bare", "treated", "prefix")]
    options = [Inference(seed=1, smallest_difference=0.01), SHARE] if found is share_differences else []
    rounding = found(budgets(0, 1.2e-7), contrasts, *options).iloc[0]
    assert np.isnan(rounding["p"])
    assert "rounding" in rounding["reason"]
    effect = found(budgets(0.01, 1e-3), contrasts, *options).iloc[0]
    assert effect["p"] < 0.001
    assert effect["reason"] == ""


def test_trends_are_corrected_together_and_worded_by_rule():
    trends = pd.DataFrame(
        {
            "low": [0.1, -0.4, 0.1, np.nan],
            "high": [0.3, -0.1, 0.2, np.nan],
            "p": [0.001, 0.004, 0.03, np.nan],
        }
    )
    found = with_trend_verdicts(trends, Inference(seed=1))
    # An undefined p is a member of its family all the same.
    expected = multipletests([0.001, 0.004, 0.03, 1.0], method="holm")[1]
    assert found["p_holm"].tolist()[:3] == pytest.approx(expected[:3])
    assert found["kind"].tolist() == ["positive", "negative", "undecided", "undecided"]
    assert found["verdict"].tolist() == ["grows", "shrinks", "undecided", "undecided"]


def test_trends_over_a_length_are_one_family():
    generator = np.random.default_rng(5)
    lengths = pd.Series(np.arange(60), name="length")
    values = pd.DataFrame(
        {"grows": lengths / 30 + generator.normal(0, 0.3, 60), "noise": generator.normal(0, 1, 60)}
    )
    strata, trends = damage_frames(values, lengths, Inference(seed=1))
    assert trends["p_holm"].tolist() == pytest.approx(multipletests(trends["p"], method="holm")[1])
    assert trends["verdict"].tolist() == ["grows", "undecided"]
    # Twelve examples a fifth cannot bear any tails.
    assert (strata["caution"] == TAILS).all()


def test_seeds_are_corrected_in_their_whole_family():
    generator = np.random.default_rng(6)
    bare = generator.gamma(2, 1, 40)
    cells = {
        "p=none": bare,
        "p=random": bare - 0.1 + generator.normal(0, 0.3, 40),
        "p=random#1": bare - 0.1 + generator.normal(0, 0.3, 40),
        "p=oracle": bare - 0.15 + generator.normal(0, 0.4, 40),
        "p=template": bare + generator.normal(0, 0.4, 40),
    }
    records = pd.concat(
        pd.DataFrame({"example": range(40), "cell": name, "nll": values, "answer_tokens": 3})
        for name, values in cells.items()
    )
    factors = {name: dict([name.split("=")]) for name in cells}
    pooled = Contrast("noise", "prefix", {"p=none": 1.0, "p=random": -0.5, "p=random#1": -0.5})
    contrasts = [
        pooled,
        comparison("p=none", "p=oracle", "prefix"),
        comparison("p=none", "p=template", "prefix"),
    ]
    effects = effects_table(records, contrasts, Inference(seed=1))
    alone = seeds_table(records, factors, contrasts, Inference(seed=1))
    whole = seeds_table(records, factors, contrasts, Inference(seed=1), effects=effects)
    assert len(alone) == len(whole) == 1
    assert whole["p_sign_flip"].iloc[0] == effects["p_sign_flip"].iloc[0] > 0
    expected = multipletests(effects["p"], method="holm")[1][0]
    assert whole["p_holm"].iloc[0] == pytest.approx(expected)
    assert alone["p_holm"].iloc[0] < whole["p_holm"].iloc[0]
    pd.testing.assert_frame_equal(whole[list(alone)].iloc[:, :10], alone.iloc[:, :10])


def test_small_numbers_keep_their_digits():
    assert number(5.1468e-7) == "5.1e-07"
    assert number(-1e-12) == "-1.0e-12"
    assert with_interval(1.2e-8, -3.3e-8, 6.7e-8) == "1.2e-08 [-3.3e-08, 6.7e-08]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,a,a,b\n1,1,2,3\n2,1,2,4\n", r"the header names \['a'\] more than once"),
        ("id,a,b\n1,1,2\n,1,2\n", "column 'id' names no example in 1 rows, first 1"),
    ],
)
def test_columns_and_examples_need_names_of_their_own(tmp_path, text, message):
    file = tmp_path / "values.csv"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        effects_of(read_table(file), "a", ["b"], Columns(example="id"), Inference(seed=42))


def test_numbers_beyond_any_float_are_undefined_and_warn_nobody(tmp_path):
    file = tmp_path / "values.csv"
    file.write_text("a,b\n1e308,-1e308\n1,2\n3,1\n", encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = effects_of(read_table(file), "a", ["b"], Columns(), Inference(seed=42))
    assert np.isnan(table.frame["mean_difference"].iloc[0])
    assert "infinite" in table.frame["reason"].iloc[0]
