"""Tables of attention as people read them, against hand arithmetic."""

from __future__ import annotations

import itertools

import pandas as pd

from budgetlens.statistics.verdicts import CAUTIONS
from budgetlens.tables.captions import Captions
from budgetlens.tables.probe_presentation import (
    band_table,
    cell_tables,
    head_table,
    runs,
    shown_layers,
)
from probes.budgets import Budgets
from probes.entropies import Entropies

SHARES, ENTROPIES = Budgets.declares, Entropies.declares
CAPTIONS = Captions(7, "30 examples", "holm", {"a": "first", "b": "second"})


def test_shares_are_percent_of_chosen_layers_by_short_name():
    assert shown_layers(range(13)) == [0, 2, 4, 6, 8, 12]
    assert shown_layers([9, 3]) == [3, 9]
    frame = pd.DataFrame(
        [
            {"cell": cell, "stack": "decoder", "block": "merged", "layer": layer, "role": role, "mean": mean}
            for cell, layer in itertools.product("ab", range(13))
            for role, mean in (("bos", 0.25 + layer / 100), ("answer", 0.75 - layer / 100))
        ]
    )
    table = cell_tables(CAPTIONS, "shares", SHARES, frame, "predicting")["shares_decoder_merged"]
    assert table.frame["condition"].tolist() == ["first"] * 6 + ["second"] * 6
    assert table.frame["layer"].tolist() == [0, 2, 4, 6, 8, 12] * 2
    assert table.frame["bos"].tolist()[:3] == ["25.0", "27.0", "29.0"]
    assert table.frame["answer"].tolist()[:3] == ["75.0", "73.0", "71.0"]
    assert "percent" in table.caption
    assert "no random numbers" in table.caption
    assert "predicting rows" in table.caption


def test_entropies_and_masses_stand_beside_each_other():
    numbers = {"entropy": 2.5, "entropy_low": 2.4, "entropy_high": 2.6}
    masses = {"mass": 0.7, "mass_low": 0.6, "mass_high": 0.8}
    site = {"cell": "b", "stack": "decoder", "block": "merged", "layer": 0, **numbers, **masses}
    frame = pd.DataFrame(
        [
            {**site, "part": part, "caution": note, "reason": ""}
            for part, note in (("self", "thin"), ("all", ""))
        ]
    )
    table = cell_tables(CAPTIONS, "entropies", ENTROPIES, frame, "predicting")["entropies_decoder_merged"]
    assert table.frame.to_dict("records") == [
        {
            "condition": "second",
            "layer": 0,
            "self entropy": "2.50 [2.40, 2.60]",
            "all entropy": "2.50 [2.40, 2.60]",
            "self mass": "0.70 [0.60, 0.80]",
            "caution": "thin",
        }
    ]
    assert "seed 7" in table.caption


def test_bands_name_the_layers_that_leave_out_0_and_the_surest():
    nan = float("nan")
    mean = [0.2, 0.3, 0.01, -0.2, 0.4, nan]
    error = [0.02, 0.05, 0.05, 0.01, 0.5, nan]
    own = pd.DataFrame({"layer": range(6), "mean": mean, "standard_error": error})
    own["band_low"], own["band_high"] = (
        own["mean"] - 3 * own["standard_error"],
        own["mean"] + 3 * own["standard_error"],
    )
    own["p_simultaneous"], own["reason"] = [0.01, 0.02, 0.9, 0.001, 0.8, nan], ""
    own["p_tost"], own["smallest_effect"], own["order"] = 0.9, 0.01, 1
    own["smallest_share"], own["because"] = nan, ""
    own["caution"] = ["", "tails", "tails; skew", "", "", ""]
    empty = own.assign(mean=0.0, band_low=nan, band_high=nan, caution="", reason="equal")
    absent = own.assign(mean=nan, band_low=nan, band_high=nan, caution="", reason="nobody observed it")
    sites = {"contrast": "c", "stack": "decoder", "block": "merged"}
    frame = pd.concat(
        part.assign(role=role, **sites) for role, part in (("bos", own), ("eos", empty), ("answer", absent))
    )
    table = band_table(CAPTIONS, SHARES, frame)
    shown = table.frame.set_index("role")
    assert list(shown.index) == ["bos", "answer"]
    row = shown.loc["bos"]
    assert row["layers tested"] == 5
    assert row["positive in layers"] == "0-1"
    assert row["negative in layers"] == "3"
    assert row["surest at layer"] == "3"
    assert (row["mean"], row["p_simultaneous"]) == (-0.2, 0.001)
    assert shown.loc["answer", "reason"] == "nobody observed it"
    assert shown["verdict"].tolist() == ["rises and falls", "undecided"]
    # Those of any layer, each once, and told below the table.
    assert shown["caution"].tolist() == ["tails; skew", ""]
    assert f"a: {CAUTIONS['tails']}" in table.to_terminal(200)
    assert "A caution stands for any layer of its row" in table.caption


def test_bands_have_a_verdict_and_its_rule():
    layers = {
        "layer": range(2),
        "standard_error": 0.001,
        "p_simultaneous": [0.001, 0.8],
        "caution": "",
        "reason": "",
    }
    site = {"contrast": "c", "stack": "decoder", "block": "merged", "smallest_effect": 0.01, "order": 1}
    site |= {"smallest_share": float("nan"), "because": ""}
    bands = {
        "bos": ([0.002, 0.0], [0.001, 0.001]),
        "document": ([0.2, 0.0], [0.9, 0.001]),
        "prompt": ([0.0, 0.0], [0.001, 0.06]),
    }
    frames = []
    for role, (mean, equivalence) in bands.items():
        own = pd.DataFrame({**layers, **site, "role": role, "mean": mean, "p_tost": equivalence})
        own["band_low"], own["band_high"] = own["mean"] - 0.001, own["mean"] + 0.001
        frames.append(own)
    table = band_table(CAPTIONS, SHARES, pd.concat(frames))
    assert table.frame.set_index("role")["verdict"].to_dict() == {
        "bos": "falls, small (below 1 point)",
        "document": "falls",
        # One layer without an equivalence keeps the whole undecided, however large its p against 0.
        "prompt": "undecided",
    }
    assert (
        "no change within ±1 point: in no layer, and in every layer tested the equivalence test"
        in table.caption
    )
    assert "falls less" not in table.caption
    tails = pd.concat(frames).assign(because=["tails", "", "", "", "", "tails"])
    words = band_table(CAPTIONS, SHARES, tails).frame.set_index("role")["verdict"]
    # What was found or shown stays so; of the rest the tails of a layer are told.
    assert words["bos"] == "falls, small (below 1 point)"
    assert words["prompt"] == "undecided (n too small for tails like these)"
    entropy = pd.concat(frames).rename(columns={"role": "part"}).assign(order=2, smallest_effect=0.1)
    caption = band_table(CAPTIONS, ENTROPIES, entropy).caption
    assert (
        "falls less / falls more (a difference of differences: with the second treatment the first one"
        in caption
    )
    assert "changes alike within ±0.1 nats" in caption


def test_heads_are_counted_by_sign_and_the_strongest_named():
    site = {"contrast": "c", "stack": "decoder", "block": "merged"}
    found = [(0, 0, 0.02, True), (0, 1, 0.05, True), (3, 2, -0.04, True), (3, 3, -0.9, False)]
    frame = pd.DataFrame(
        [
            {
                **site,
                "layer": layer,
                "head": head,
                "role": role,
                "mean": mean,
                "p": 0.01,
                "discovered": own,
                "caution": f"of {head}",
            }
            for role, silent in (("bos", False), ("eos", True))
            for layer, head, mean, own in [(*one[:3], one[3] and not silent) for one in found]
        ]
    )
    table = head_table(CAPTIONS, "heads", SHARES, frame)
    (row,) = table.frame.to_dict("records")
    assert row == {
        "contrast": "c",
        "role": "bos",
        "heads tested": 4,
        "discovered": 3,
        "treatment lowers": 2,
        "treatment raises": 1,
        "most lowered": "L0H1 +0.050",
        "most raised": "L3H2 -0.040",
        "caution": "of 0; of 1; of 2",
    }
    assert "ot shown: 1 pair of contrast and role without a discovery" in table.caption


def test_runs_of_layers_in_words():
    assert runs([]) == ""
    assert runs([3]) == "3"
    assert runs([9, 0, 1, 2, 7]) == "0-2, 7, 9"
