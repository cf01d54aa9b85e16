"""Budgets: shares, simultaneous bands and maps of heads, against direct computation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from budgetlens.runs.arrays import read_arrays
from budgetlens.statistics.bands import MAPPED_FROM, head_map, share_differences, share_table
from budgetlens.statistics.budget_arrays import BudgetArray, budget_arrays, empty_budget, fill
from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.decisions import decide_over_layers
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.paired import one_sample_effects
from budgetlens.statistics.permutations import max_statistic
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.tails import factor_of_many, length_factor

SHARE = Quantity(
    "share", "attention share", "fraction of attention", smallest_difference=0.01, part_of_whole=True
)
CELLS, LAYERS, HEADS, ROLES = ("a", "b", "c"), (0, 3, 7, 9, 11), (0, 1), ("bos", "document", "answer")
A_TO_B = comparison("a", "b", "f")


def budget(n: int = 24, seed: int = 1) -> BudgetArray:
    """Shares that sum to 1 over roles, with an effect of cell b on the document in layer 7."""
    generator = np.random.default_rng(seed)
    weights = generator.gamma(2, 1, (len(CELLS), n, len(LAYERS), len(HEADS), len(ROLES)))
    weights[1, :, 2, :, 1] += 6
    values = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
    examples = tuple(f"e{number}" for number in range(n))
    return BudgetArray("decoder", "merged", CELLS, examples, LAYERS, HEADS, ROLES, values)


def tidy(array: BudgetArray) -> pd.DataFrame:
    """The array as records, in random order."""
    axes = (array.cells, array.examples, array.layers, array.heads, array.roles)
    index = pd.MultiIndex.from_product(axes, names=["cell", "example", "layer", "head", "role"])
    records = index.to_frame(index=False).assign(
        stack=array.stack, block=array.block, share=array.values.reshape(-1).astype(np.float64)
    )
    return records.sample(frac=1, random_state=3).reset_index(drop=True)


def test_records_become_arrays_and_back():
    original = budget()
    (found,) = budget_arrays(tidy(original))
    order = np.argsort(np.array(original.examples))
    roles = [original.roles.index(role) for role in found.roles]
    assert found.examples == tuple(sorted(original.examples))
    assert found.layers == LAYERS
    assert (found.values == original.values[:, order][..., roles]).all()


def read_budgets(folder):
    return read_arrays(sorted(folder.glob("*.parquet")), "role", ("share",))["share"]


def test_parts_fill_the_same_array(tmp_path):
    records = tidy(budget())
    records["stack"] = np.where(records["layer"] == 11, "encoder", records["stack"])
    records["block"] = np.where(records["layer"] == 11, "self", records["block"])
    for number, part in enumerate(np.array_split(np.arange(len(records)), 3)):
        chosen = records.iloc[part].copy()
        for name in ("cell", "example", "role", "stack", "block"):
            chosen[name] = chosen[name].astype("category")
        chosen.to_parquet(tmp_path / f"part-{number}.parquet", index=False)
    read, direct = read_budgets(tmp_path), budget_arrays(records)
    assert [(b.stack, b.block, b.layers) for b in read] == [
        ("decoder", "merged", (0, 3, 7, 9)),
        ("encoder", "self", (11,)),
    ]
    for one, other in zip(read, direct, strict=True):
        assert one.examples == other.examples
        assert one.roles == other.roles
        assert (one.values == other.values).all()


def test_parts_of_every_other_layer_and_example_fill_their_own_places(tmp_path):
    original = budget()
    records = tidy(original)
    number = records["example"].str[1:].astype(int)
    # Neither the layers nor the examples of a part adjoin on the axes of the whole.
    first, odd = records["layer"].isin([0, 7]), number % 2 == 1
    parts = (first & odd, first & ~odd, ~first & odd, ~first & ~odd)
    for name, chosen in enumerate(parts):
        part = records[chosen].sort_values(["cell", "example", "layer", "head", "role"])
        part.to_parquet(tmp_path / f"part-{name}.parquet", index=False)
    (found,) = read_budgets(tmp_path)
    roles = [original.roles.index(role) for role in found.roles]
    order = np.argsort(np.array(original.examples))
    assert found.layers == LAYERS
    assert (found.values == original.values[:, order][..., roles]).all()


def test_observations_that_occur_twice_are_refused_within_and_across_parts(tmp_path):
    records = tidy(budget(4))
    pd.concat([records, records.iloc[5:6]]).to_parquet(tmp_path / "part-0.parquet", index=False)
    with pytest.raises(ValueError, match=r"part-0.*occurs twice"):
        read_budgets(tmp_path)
    records.to_parquet(tmp_path / "part-0.parquet", index=False)
    for repeated in (records, records.iloc[5:8]):
        repeated.to_parquet(tmp_path / "part-1.parquet", index=False)
        with pytest.raises(ValueError, match="decoder merged: an observation occurs twice"):
            read_budgets(tmp_path)


def test_wrong_parts_are_refused():
    records = tidy(budget(4))
    array = empty_budget(
        "decoder",
        "merged",
        cells=CELLS,
        examples=("e0", "e1", "e2", "e3"),
        layers=LAYERS,
        heads=HEADS,
        roles=ROLES,
    )
    fill(array, records.iloc[:5])
    with pytest.raises(ValueError, match="occurs twice"):
        fill(array, records.iloc[4:6])
    with pytest.raises(ValueError, match="'z' is not on the budget's cell axis"):
        fill(array, records.iloc[6:7].assign(cell="z"))
    with pytest.raises(ValueError, match=r"\['share'\] are missing"):
        budget_arrays(records.drop(columns="share"))
    with pytest.raises(ValueError, match="have shape"):
        BudgetArray("decoder", "merged", CELLS, ("e0",), LAYERS, HEADS, ROLES, array.values)


def test_shares_are_means_over_heads_then_examples():
    array = budget()
    table = share_table(tidy(array), Inference(seed=2, resamples=199))
    assert len(table) == len(CELLS) * len(LAYERS) * len(ROLES)
    records = tidy(array)
    by_hand = (
        records.groupby(["cell", "layer", "role", "example"])["share"]
        .mean()
        .groupby(["cell", "layer", "role"])
    )
    for row in table.itertuples():
        own = by_hand.get_group((row.cell, row.layer, row.role))
        assert row.mean == pytest.approx(own.mean(), abs=1e-7)
        assert row.n == 24
        assert row.sd == pytest.approx(own.std(), abs=1e-7)
    # Two decoder layers of one cell sum to 1 over the roles of a merged softmax.
    assert table.groupby(["cell", "layer"])["mean"].sum().to_numpy() == pytest.approx(1, abs=1e-6)


def factors(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much longer than Student's the intervals of columns are below and above, by scipy's skewness."""
    asymmetry = stats.skew(values, axis=0) / math.sqrt(len(values))
    return length_factor(-asymmetry, len(values)), length_factor(asymmetry, len(values))


def test_share_interval_is_that_of_the_heads_mean():
    array = budget()
    row = (
        share_table(array, Inference(seed=2)).query("cell == 'a' and layer == 3 and role == 'answer'").iloc[0]
    )
    own = array.values[0, :, 1, :, 2].mean(axis=1).astype(np.float64)
    below, above = factors(own[:, None])
    reach = stats.t.ppf(0.975, 23) * stats.sem(own)
    assert row["low"] == pytest.approx(own.mean() - below[0] * reach)
    assert row["high"] == pytest.approx(own.mean() + above[0] * reach)
    assert row["caution"] == "tails"


def test_bands_and_simultaneous_p_by_full_enumeration():
    array = budget(n=9)
    found = share_differences(array, [A_TO_B], Inference(seed=1, resamples=1000), SHARE).query(
        "role == 'document'"
    )
    values = (array.values[0] - array.values[1]).mean(axis=1 + 1).astype(np.float64)[:, :, 1]
    patterns = np.array(list(itertools.product([1, -1], repeat=9)))

    def t_of(samples: np.ndarray) -> np.ndarray:
        return np.abs(stats.ttest_1samp(samples, 0, axis=-2).statistic)

    below, above = factors(values)
    observed = t_of(values) / np.where(values.mean(axis=0) > 0, below, above)
    flipped = t_of(values * patterns[:, :, None])
    single = (flipped >= observed - 1e-6).mean(axis=0)
    simultaneous = (flipped.max(axis=1)[:, None] >= observed - 1e-6).mean(axis=0)
    assert found["p"].to_numpy() == pytest.approx(single, abs=1e-9)
    assert found["p_simultaneous"].to_numpy() == pytest.approx(simultaneous, abs=1e-9)
    centred = values - values.mean(axis=0)
    maxima = np.sort(t_of(centred * patterns[1:, :, None]).max(axis=1))
    critical = maxima[math.ceil(0.95 * 512) - 1]
    error = values.std(axis=0, ddof=1) / 3
    assert found["band_high"].to_numpy() == pytest.approx(
        values.mean(axis=0) + above * critical * error, rel=1e-5
    )
    assert found["band_low"].to_numpy() == pytest.approx(
        values.mean(axis=0) - below * critical * error, rel=1e-5
    )
    # Over layers and roles the largest is taken of both.
    every = (array.values[0] - array.values[1]).mean(axis=2).astype(np.float64).reshape(9, -1)
    wider = max_statistic(every, np.zeros(every.shape[1], dtype=int), Inference(seed=1, resamples=1000))
    largest = t_of(every * patterns[:, :, None]).max(axis=1)
    student = (largest[:, None] >= t_of(every) - 1e-6).mean(axis=0)
    assert wider["p_student"] == pytest.approx(student, abs=1e-9)
    below, above = factors(every)
    needed = t_of(every) / np.where(every.mean(axis=0) > 0, below, above)
    simultaneous = (largest[:, None] >= needed - 1e-6).mean(axis=0)
    assert wider["p_simultaneous"] == pytest.approx(simultaneous, abs=1e-9)
    assert (simultaneous > wider["p"]).any()


def test_the_planted_effect_is_found_and_wider_families_give_wider_bands():
    array = budget(n=60)
    layers = share_differences(array, [A_TO_B], Inference(seed=1, resamples=999), SHARE)
    values = (
        (array.values[0] - array.values[1]).mean(axis=2, dtype=np.float64).reshape(len(array.examples), -1)
    )
    # Layers and roles as one family instead of the layers of a role.
    everything = max_statistic(values, np.zeros(values.shape[1], dtype=int), Inference(seed=1, resamples=999))
    found = layers[(layers["role"] == "document") & (layers["p_simultaneous"] < 0.05)]
    assert found["layer"].tolist() == [7]
    assert (found["mean"] < 0).all()
    width = layers["band_high"] - layers["band_low"]
    assert (everything["band_high"] - everything["band_low"] >= width - 1e-12).all()
    assert (everything["p_simultaneous"] >= layers["p_simultaneous"]).all()
    assert (layers["p_simultaneous"] >= layers["p"]).all()


def test_equivalence_of_layers_is_that_of_a_single_effect_and_gives_the_verdict():
    array = budget(n=100)
    inference = Inference(seed=1, smallest_difference=0.08)
    found = share_differences(array, [A_TO_B], inference, SHARE).query("role == 'document'")
    own = (array.values[0] - array.values[1]).mean(axis=2).astype(np.float64)[:, :, 1]
    expected = [one.p_tost for one in one_sample_effects(own, inference, sign_flips=False)]
    assert found["p_tost"].tolist() == pytest.approx(expected, rel=1e-4)
    holm = multipletests(expected, method="holm")[1]
    assert found["p_tost_holm"].tolist() == pytest.approx(holm.tolist(), rel=1e-4)
    words = found["verdict"].str.replace(" (n too small for tails like these)", "")
    assert words.tolist() == [
        "rises" if high < 0 and p < 0.05 else "no change within ±8 points" if small < 0.05 else "undecided"
        for high, p, small in zip(found["band_high"], found["p_simultaneous"], holm, strict=True)
    ]
    assert {"rises", "no change within ±8 points"} <= set(words)


def test_a_relative_bound_is_a_part_of_the_share_before():
    array = budget(n=30)
    relative = Inference(seed=1, smallest_difference=0.1, smallest_relative=True, resamples=99)
    found = share_differences(array, [A_TO_B], relative, SHARE).query("role == 'document'")
    before = array.values[0].mean(axis=2).astype(np.float64)[:, :, 1].mean(axis=0)
    assert found["smallest_effect"].to_numpy() == pytest.approx(0.1 * before, rel=1e-5)


def test_shares_at_the_bound_are_seldom_called_unchanged():
    """At a change of exactly the smallest size of interest in one layer, no change is claimed in 5 % at most."""
    generator = np.random.default_rng(8)
    claimed = 0
    for number in range(300):
        shares = generator.normal(0.01 * (np.arange(3) == 1), 0.02, (30, 3))
        values = np.stack([shares, 0 * shares])[..., None, None].astype(np.float32)
        array = BudgetArray("decoder", "self", ("a", "b"), tuple(range(30)), (0, 1, 2), (0,), ("x",), values)
        found = share_differences(
            array, [A_TO_B], Inference(seed=number, smallest_difference=0.01, resamples=99), SHARE
        )
        whole = decide_over_layers(
            *(found[name].to_numpy() for name in ("band_low", "band_high", "p_simultaneous", "p_tost"))
        )
        claimed += whole.small
    assert claimed / 300 <= 0.075


def test_interactions_of_shares_are_per_example_contrasts():
    contrast = Contrast("twice", "f", {"a": 1.0, "b": -2.0, "c": 1.0})
    array = budget()
    row = share_differences(array, [contrast], Inference(seed=1, resamples=99), SHARE).iloc[0]
    own = (array.values[0] - 2 * array.values[1] + array.values[2])[:, 0, :, 0].mean(axis=1)
    assert row["mean"] == pytest.approx(own.mean(), abs=1e-6)
    assert row["standard_error"] == pytest.approx(own.std(ddof=1) / math.sqrt(24), rel=1e-5)


def test_head_map_equals_scipy_and_statsmodels():
    array = budget(n=MAPPED_FROM)
    table = head_map(tidy(array), [A_TO_B])
    assert len(table) == len(LAYERS) * len(HEADS) * len(ROLES)
    for row in table.itertuples():
        layer, head, role = LAYERS.index(row.layer), HEADS.index(row.head), ROLES.index(row.role)
        own = (array.values[0] - array.values[1])[:, layer, head, role].astype(np.float64)
        assert row.mean == pytest.approx(own.mean(), abs=1e-7)
        against = (-1 if own.mean() > 0 else 1) * stats.skew(own) / math.sqrt(len(own))
        factor = factor_of_many(np.array([against]), len(own))[0]
        statistic = abs(stats.ttest_1samp(own, 0).statistic) / factor
        assert row.p == pytest.approx(2 * stats.t.sf(statistic, len(own) - 1), rel=1e-4)
    assert table["q"].to_numpy() == pytest.approx(multipletests(table["p"], method="fdr_bh")[1])
    found = table[table["discovered"]]
    assert {(7, 0, "document"), (7, 1, "document")} <= set(
        found[["layer", "head", "role"]].itertuples(index=False, name=None)
    )
    # With an example less no head is called discovered, whatever its q.
    fewer = head_map(budget(n=MAPPED_FROM - 1), [A_TO_B])
    assert (fewer["q"] <= 0.05).any()
    assert not fewer["discovered"].any()
    assert table["mapped"].all()
    assert not fewer["mapped"].any()


def test_false_discoveries_stay_below_the_rate():
    generator = np.random.default_rng(3)
    n, heads = 40, 60
    rates, powers = [], []
    for _ in range(40):
        effect = np.where(np.arange(heads) < 20, 0.3, 0.0)
        shares = generator.normal(0, 0.4, (1, n, 1, heads, 1)) + effect[:, None]
        values = np.concatenate([shares, np.zeros_like(shares)]).astype(np.float32)
        array = BudgetArray(
            "decoder", "self", ("a", "b"), tuple(range(n)), (0,), tuple(range(heads)), ("x",), values
        )
        found = head_map(array, [A_TO_B])["q"].to_numpy() <= 0.2
        rates.append(found[20:].sum() / max(1, found.sum()))
        powers.append(found[:20].mean())
    # Benjamini and Hochberg: at most rate × (true nulls)/(all) = .2 × 40/60.
    assert np.mean(rates) < 0.2 * 40 / 60 + 0.03
    assert np.mean(powers) > 0.5


def test_shares_nobody_or_not_everybody_has():
    array = budget()
    array.values[0, :, 1, :, 0] = np.nan
    array.values[0, :3, 2, :, 1] = np.nan
    array.values[0, :, 3, :, 2] = 0.25
    table = (
        share_table(array, Inference(seed=1, resamples=99)).query("cell == 'a'").set_index(["layer", "role"])
    )
    absent, some, same = table.loc[(3, "bos")], table.loc[(7, "document")], table.loc[(9, "answer")]
    assert absent["n"] == 0
    assert math.isnan(absent["mean"])
    assert "no example" in absent["reason"]
    assert some["n"] == 21
    assert "3 of 24 examples left out" in some["reason"]
    assert some["low"] < some["mean"]
    assert math.isnan(same["low"])
    assert "same value" in same["reason"]
    assert same["mean"] == 0.25
    differences = share_differences(array, [A_TO_B], Inference(seed=1, resamples=99), SHARE).set_index(
        ["layer", "role"]
    )
    assert math.isnan(differences.loc[(3, "bos"), "p"])
    assert differences.loc[(3, "bos"), "n"] == 0
    # The other layers of that role keep their band.
    assert np.isfinite(differences.loc[(0, "bos"), "band_low"])
    assert differences.loc[(0, "document"), "n"] == 21
    heads = head_map(array, [A_TO_B]).set_index(["layer", "head", "role"])
    assert math.isnan(heads.loc[(3, 0, "bos"), "q"])
    assert not heads.loc[(3, 0, "bos"), "discovered"]
    assert heads.loc[(7, 1, "document"), "n"] == 21
    assert "left out" in heads.loc[(7, 1, "document"), "reason"]
    assert heads.loc[(0, 1, "document"), "reason"] == ""


def test_one_example_and_equal_cells_are_undefined():
    array = budget(n=1)
    table = share_table(array, Inference(seed=1, resamples=99))
    assert table["low"].isna().all()
    assert (table["reason"] == "one example: no interval").all()
    differences = share_differences(array, [A_TO_B], Inference(seed=1, resamples=99), SHARE)
    assert differences["p"].isna().all()
    assert (differences["reason"] != "").all()
    same = Contrast("same", "f", {"a": 1.0, "d": -1.0})
    doubled = budget()
    values = np.concatenate([doubled.values, doubled.values[:1]])
    equal = BudgetArray("decoder", "merged", (*CELLS, "d"), doubled.examples, LAYERS, HEADS, ROLES, values)
    found = share_differences(equal, [same], Inference(seed=1, resamples=99), SHARE)
    assert found["p"].isna().all()
    assert (found["mean"] == 0).all()
    assert (found["reason"] != "").all()
    assert head_map(equal, [same])["p"].isna().all()


def test_unknown_cells_are_refused():
    with pytest.raises(ValueError, match="names cell 'z'"):
        share_differences(budget(), [comparison("a", "z", "f")], Inference(seed=1), SHARE)


def test_what_is_never_there_has_no_row_and_what_is_undefined_stays() -> None:
    """Exactly 0 in both cells: no part; in one cell alone: a part that goes; NaN everywhere: undefined, with a reason."""
    generator = np.random.default_rng(3)
    values = np.zeros((2, 30, 2, 2, 4), dtype=np.float32)
    values[..., 0] = generator.uniform(0.2, 0.4, values.shape[:-1])
    values[0, ..., 2] = generator.uniform(0.1, 0.2, values.shape[1:-1])
    values[..., 3] = np.nan
    axes = (("a", "b"), tuple(range(30)), (0, 1), (0, 1), ("document", "prefix", "bos", "eos"))
    array = BudgetArray("decoder", "merged", *axes, values=values)
    contrast = Contrast("a b", "f", {"a": 1.0, "b": -1.0})
    found = share_differences(array, [contrast], Inference(seed=1, resamples=99), SHARE)
    assert set(found["role"]) == {"document", "bos", "eos"}
    assert found.loc[found["role"] == "eos", "reason"].ne("").all()
    assert set(head_map(array, [contrast])["role"]) == {"document", "bos", "eos"}
