"""`budgetlens effects FILE`: every file form gives the statistics of the arrays in it."""

from __future__ import annotations

import argparse
import csv
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from budgetlens.command.effects_file import add_arguments, main, read_table
from budgetlens.statistics.effects import paired_effect
from budgetlens.statistics.inference import Inference
from budgetlens.tables.own_values import Columns, _numbers, effects_of

N = 30


def wide() -> pd.DataFrame:
    generator = np.random.default_rng(1)
    base = generator.gamma(2, 1, N)
    return pd.DataFrame(
        {
            "id": [f"q{number:02d}" for number in range(N)],
            "bare": base,
            "oracle": base - generator.gamma(1, 0.4, N),
            "random": base + generator.normal(0, 0.3, N),
            "tokens": generator.integers(1, 20, N),
            "document": np.arange(N) // 2,
        }
    )


def long() -> pd.DataFrame:
    melted = wide().melt(["id", "tokens", "document"], var_name="prefix", value_name="loss")
    return melted.sample(frac=1, random_state=2)


def write(data: pd.DataFrame, path) -> None:
    ending = path.suffix
    if ending == ".parquet":
        data.to_parquet(path, index=False)
    elif ending == ".json":
        data.to_json(path, orient="records", double_precision=15)
    elif ending == ".jsonl":
        data.to_json(path, orient="records", lines=True, double_precision=15)
    else:
        data.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")


def effects_of_file(path, baseline, treatments, inference, **options):
    """What the command computes of a file; options that name columns go into the one object."""
    names = {name: options.pop(name) for name in list(options) if name in Columns.__dataclass_fields__}
    return effects_of(read_table(path), baseline, treatments, Columns(**names), inference, **options)


FEW = Inference(seed=4, resamples=499)
LONG = {"example": "id", "condition": "prefix", "value": "loss"}


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("form", ["wide", "long"])
def test_every_form_gives_the_statistics_of_the_arrays(tmp_path, ending, form):
    path = tmp_path / f"mine{ending}"
    write(wide() if form == "wide" else long(), path)
    options = {"example": "id"} if form == "wide" else LONG
    table = effects_of_file(path, "bare", ["oracle", "random"], FEW, weights="tokens", **options)
    data = wide()
    for row, treatment in zip(table.frame.to_dict("records"), ("oracle", "random"), strict=True):
        effect = paired_effect(data["bare"], data[treatment], FEW, weights=data["tokens"]).as_row()
        for name, value in effect.items():
            if isinstance(value, float):
                assert row[name] == pytest.approx(value, rel=1e-6, nan_ok=True)
        assert (row["baseline"], row["treatment"]) == ("bare", treatment)
    assert table.frame["p_holm"].iloc[0] == pytest.approx(2 * table.frame["p"].iloc[0])


def test_documents_that_examples_share(tmp_path):
    write(wide(), tmp_path / "mine.csv")
    table = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle"], FEW, clusters="document")
    assert table.frame["clusters"].tolist() == [N // 2]
    assert "share a document" in table.caption
    write(long(), tmp_path / "long.csv")
    again = effects_of_file(
        tmp_path / "long.csv",
        "bare",
        ["oracle"],
        FEW,
        clusters="document",
        **LONG,
    )
    assert again.frame["p_t"].iloc[0] == pytest.approx(table.frame["p_t"].iloc[0])
    # Every example a document of its own: nothing is shared, and nothing says so.
    own = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle"], FEW, clusters="id")
    assert own.frame["clusters"].tolist() == [N]
    assert "share a document" not in own.caption


def test_scores_turn_the_sign(tmp_path):
    write(wide(), tmp_path / "mine.csv")
    loss = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle"], FEW).frame.iloc[0]
    score = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle"], FEW, higher_is_better=True)
    assert score.frame.iloc[0]["mean_difference"] == pytest.approx(-loss["mean_difference"])
    assert (loss["verdict"], score.frame.iloc[0]["verdict"]) == ("helps", "hurts")
    assert "higher is better" in score.caption


def test_no_weights_need_no_reason(tmp_path):
    write(wide(), tmp_path / "mine.csv")
    frame = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle"], FEW).frame
    assert math.isnan(frame["token_weighted_mean"].iloc[0])
    assert frame["reason"].iloc[0] == ""


def test_missing_values(tmp_path):
    data = wide()
    data.loc[3, "oracle"] = np.nan
    write(data, tmp_path / "mine.csv")
    refused = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle", "random"], FEW).frame
    assert math.isnan(refused["mean_difference"][0])
    assert "1 of 30 examples" in refused["reason"][0]
    assert np.isfinite(refused["mean_difference"][1])
    dropped = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle"], FEW, missing="drop").frame
    assert dropped["n"][0] == N - 1
    assert "1 of 30 examples left out" in dropped["reason"][0]
    rows = long()
    write(rows.drop(rows[(rows["id"] == "q07") & (rows["prefix"] == "oracle")].index), tmp_path / "long.csv")
    with pytest.raises(ValueError, match="unpaired, first 'q07' without cell 'oracle'"):
        effects_of_file(tmp_path / "long.csv", "bare", ["oracle"], FEW, **LONG)


def test_infinite_values_are_not_numbers_to_average(tmp_path):
    data = wide()
    data.loc[0, "bare"] = np.inf
    write(data, tmp_path / "mine.csv")
    frame = effects_of_file(tmp_path / "mine.csv", "bare", ["oracle"], FEW).frame
    assert math.isnan(frame["mean_difference"][0])
    assert "infinite" in frame["reason"][0]


@pytest.mark.parametrize(
    ("form", "baseline", "treatments", "options", "message"),
    [
        ("wide", "bare", [], {}, "no treatment"),
        ("wide", "bare", ["bare"], {}, "must differ"),
        ("wide", "bare", ["oracl"], {}, "no column 'oracl'; it has"),
        ("wide", "bare", ["id"], {}, "'q00' in row 0; expected numbers"),
        ("wide", "bare", ["oracle"], {"example": "document"}, "more than once"),
        ("wide", "bare", ["oracle"], {"condition": "prefix"}, "both the condition and the value"),
        ("long", "bare", ["oracle"], {"condition": "prefix", "value": "loss"}, "names the example"),
        ("long", "bare", ["nothing"], LONG, "has no 'nothing'"),
        ("long", "bare", ["oracle"], {**LONG, "value": "nll"}, "no column 'nll'"),
        ("long", "bare", ["oracle"], {**LONG, "example": "document"}, "repeat an example and cell"),
    ],
)
def test_mistakes_are_named(tmp_path, form, baseline, treatments, options, message):
    path = tmp_path / "mine.csv"
    write(wide() if form == "wide" else long(), path)
    with pytest.raises(ValueError, match=message):
        effects_of_file(path, baseline, treatments, FEW, **options)


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        ("a,b\n10,1,2\n20,2,3\n30,3,5\n", 2, "3 fields, and the header names 2"),
        ("a,b\n10,1,\n20,2,\n30,3,\n", 2, "3 fields, and the header names 2"),
        ("a,b\n10,1\n20,2,\n30,3\n", 3, "3 fields"),
        ("a,b\n10,1\n20\n30,3\n", 3, "1 fields"),
        ('a,b\n"1\n2",1\n20\n', 4, "1 fields"),
        ("a,b\r\n10,1\r\n\r\n20,2,3\r\n", 4, "3 fields"),
        ("a,b\n10,1\n20,\0\n", 3, "holds a NUL character"),
        ('a,b\n10,1\n"20,2\n30,3\n', 3, "(CSV|TSV)"),
        ('a,b\n10,1\n"20"x,2\n', 3, "(CSV|TSV)"),
        ("a,b\n10,1\n20,caf\xe9\n", 3, "not UTF-8"),
    ],
)
def test_a_file_of_broken_form_is_refused_with_its_line(tmp_path, ending, content, line, told):
    path = tmp_path / f"mine{ending}"
    path.write_bytes(content.replace(",", "\t" if ending == ".tsv" else ",").encode("latin-1"))
    with pytest.raises(ValueError, match=rf"mine{ending}, line {line}: .*{told}"):
        read_table(path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_stays_text(tmp_path, mark):
    path = tmp_path / "mine.csv"
    long = "x" * 150_000
    path.write_bytes(mark + f"id,condition,value\n01,NA,1\n1,None,2.5\nnull,,\n 1,nan,{long}\n".encode())
    assert read_table(path).to_numpy().tolist() == [
        ["01", "NA", "1"],
        ["1", "None", "2.5"],
        ["null", None, None],
        [" 1", "nan", long],
    ]
    # The module's limit is the process's, and as it was.
    assert csv.field_size_limit() == 131_072


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
@pytest.mark.parametrize("names", [("None", "NA"), ("null", "nan"), ("01", "1"), ("1.0", "1")])
def test_conditions_and_examples_may_be_called_anything(tmp_path, ending, names):
    base, other = names
    data = wide()
    # Two examples each that only text tells apart.
    identifiers = [f"{number // 2}" if number % 2 else f"0{number // 2}" for number in range(N)]
    rows = pd.DataFrame(
        {
            "id": identifiers * 2,
            "prefix": [base] * N + [other] * N,
            "loss": [*data["bare"], *data["oracle"]],
        }
    )
    path = tmp_path / f"mine{ending}"
    write(rows, path)
    frame = effects_of_file(path, base, [other], FEW, **LONG).frame
    assert frame["n"].tolist() == [N]
    assert frame["mean_difference"][0] == pytest.approx((data["bare"] - data["oracle"]).mean())


def test_numbers_are_read_exactly_and_missing_ones_are_missing(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("a,b\n0.1,1e3\n-.5,NA\n 7 ,\n+2.,n/a\n3.3000000000000003,-inf\n", encoding="utf-8")
    data = read_table(path)
    assert _numbers(data["a"], "a").tolist() == [0.1, -0.5, 7.0, 2.0, 3.3000000000000003]
    assert _numbers(data["b"], "b").isna().tolist() == [False, True, True, True, False]
    for wrong in ("1_000", "1,5", "0x10", "١", "True", "1e", "12 %", "1" + "\u202e"):
        path.write_text(f'a,b\n1,"{wrong}"\n', encoding="utf-8")
        with pytest.raises(ValueError, match=r"column 'b' holds .* in row 0; expected numbers"):
            _numbers(read_table(path)["b"], "b")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", '[{"a": 1, "b": 2}, {"a": 1, "a": 2}]', "line 1: the key 'a' is there twice"),
        ("a.jsonl", '{"a": 1}\n{"a": [1]}', "row 2: 'a' holds a list"),
        ("a.jsonl", '{"a": 1}\n5', "row 2: no object with named values"),
        ("a.ndjson", '{"a": 1}\n{"a": ' + "9" * 5_000 + "}", "line 2: a number of 5000 digits"),
        ("a.json", "[" * 100_000, "line 1: nested too deeply"),
    ],
)
def test_json_that_can_t_be_meant_is_refused(tmp_path, name, content, told):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=told):
        read_table(tmp_path / name)


def test_examples_named_by_text_and_by_numbers_are_not_told_apart(tmp_path):
    rows = [{"id": name, "a": 1.5, "b": 2} for name in (1, "1", 2)]
    (tmp_path / "mine.json").write_text(json.dumps(rows))
    with pytest.raises(
        ValueError, match="names some examples by numbers and some by text; write all as text"
    ):
        effects_of_file(tmp_path / "mine.json", "a", ["b"], FEW, example="id")


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(tmp_path / "absent.csv")
    for name, text in (
        ("a.xlsx", "x"),
        ("b.json", "{"),
        ("c.csv", ""),
        ("d.csv", "a,b\n"),
        ("e.parquet", "no"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=r"expected one of|not a table|no rows"):
            read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("written", "settings", "option"),
    [
        ([], {}, {}),
        (["--seed", "7"], {"seed": 7}, {}),
        (["--missing", "drop"], {}, {"missing": "drop"}),
        (["--higher-is-better"], {}, {"higher_is_better": True}),
        (["--weights", "tokens"], {}, {"weights": "tokens"}),
        (["--clusters", "document"], {}, {"clusters": "document"}),
        (["--smallest-effect", "0.4"], {"smallest_difference": 0.4, "smallest_relative": False}, {}),
        (["--smallest-effect", "40%"], {"smallest_difference": 0.4}, {}),
        (["--correction", "none"], {"correction": "none"}, {}),
        (["--correction", "fdr"], {"correction": "fdr"}, {}),
        (["--correction", "bonferroni"], {"correction": "bonferroni"}, {}),
    ],
    ids=str,
)
def test_every_option_of_the_command_reaches_the_statistics(tmp_path, capsys, written, settings, option):
    data = wide()
    if "missing" in option:
        data.loc[3, "oracle"] = np.nan
    path = tmp_path / "mine.csv"
    write(data, path)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    both = ["--baseline", "bare", "--treatment", "oracle", "--treatment", "random", "--example", "id"]
    assert main(parser.parse_args([str(path), *both, "--format", "csv", *written])) == 0
    printed = capsys.readouterr().out
    treatments = ["oracle", "random"]
    default = Inference(seed=42, smallest_difference=0.05, smallest_relative=True)
    asked = replace(default, **settings)
    assert printed == effects_of_file(path, "bare", treatments, asked, example="id", **option).to_csv()
    if written:
        assert printed != effects_of_file(path, "bare", treatments, default, example="id").to_csv()


def test_correction_and_smallest_effect_are_those_asked_for(tmp_path):
    write(wide(), tmp_path / "mine.csv")
    frame = effects_of_file(
        tmp_path / "mine.csv",
        "bare",
        ["oracle", "random"],
        replace(FEW, correction="bonferroni", smallest_difference=0.3),
    ).frame
    data = wide()
    p = [stats.ttest_rel(data["bare"], data[name]).pvalue for name in ("oracle", "random")]
    assert frame["p_bonferroni"].tolist() == pytest.approx([min(1, 2 * own) for own in p])
    within = frame["low"].gt(-0.3) & frame["high"].lt(0.3)
    assert frame["p_tost"].lt(0.05).tolist() == within.tolist()
    assert frame["smallest_effect"].tolist() == [0.3, 0.3]


def test_the_command(tmp_path, capsys):
    write(wide(), tmp_path / "mine.csv")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    command = [
        str(tmp_path / "mine.csv"),
        "--baseline",
        "bare",
        "--treatment",
        "oracle",
        "--treatment",
        "random",
    ]
    assert main(parser.parse_args([*command, "--format", "markdown", "--unit", "nats"])) == 0
    printed = capsys.readouterr().out
    assert "bare → oracle" in printed
    assert "unit: nats" in printed
    assert "2 comparisons with bare (2)" in printed
    out = tmp_path / "table.tex"
    assert (
        main(
            parser.parse_args(
                [*command, "--format", "latex", "--out", str(out), "--correction", "bonferroni"]
            )
        )
        == 0
    )
    assert r"\begin{table}" in out.read_text(encoding="utf-8")


def test_documents_without_a_difference_between_them_give_no_test(tmp_path):
    """Examples differ within each document, and all documents have the same mean: no standard error."""
    rows = pd.DataFrame({"d": ["x", "x", "y", "y"], "a": [1.0, 3.0, 3.0, 1.0], "b": [0.0] * 4})
    write(rows, tmp_path / "mine.csv")
    frame = effects_of_file(tmp_path / "mine.csv", "a", ["b"], FEW, clusters="d").frame
    assert frame["mean_difference"].tolist() == [2.0]
    assert math.isnan(frame["p_t"][0])
    assert "all documents have equal differences" in frame["reason"][0]
