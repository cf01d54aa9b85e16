"""Effects of a DataFrame: those of scipy and of the command's file, and a table that shows itself."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import budgetlens as bl
from budgetlens.command.main import main
from budgetlens.statistics.tails import length_factor

N = 24


def wide() -> pd.DataFrame:
    generator = np.random.default_rng(3)
    base = generator.gamma(4, 0.5, N)
    return pd.DataFrame(
        {
            "id": [f"q{number:02d}" for number in range(N)],
            "bare": base,
            "oracle": base - generator.normal(0.3, 0.2, N),
            "random": base + generator.normal(0, 0.3, N),
            "tokens": generator.integers(1, 20, N),
        }
    )


def measured() -> pd.DataFrame:
    """In the form of bl.measure: two cells, two probes, one of them at two layers."""
    data = wide()
    frames = []
    for level, column in (("none", "bare"), ("oracle", "oracle")):
        common = {"example": data["id"], "cell": f"prefix={level}", "prefix": level}
        frames.append(
            pd.DataFrame({**common, "probe": "likelihood", "quantity": "nll", "value": data[column]})
        )
        frames += [
            pd.DataFrame(
                {
                    **common,
                    "probe": "budgets",
                    "layer": layer,
                    "role": "bos",
                    "quantity": "share",
                    "value": data[column] / 10 + layer,
                }
            )
            for layer in (0, 1)
        ]
    return pd.concat(frames, ignore_index=True)


def test_a_wide_frame_has_scipys_statistics() -> None:
    data = wide()
    table = bl.effects(data, baseline="bare", treatment=["oracle", "random"], example="id")
    for row, treatment in zip(table.to_dict("records"), ("oracle", "random"), strict=True):
        difference = data["bare"] - data[treatment]
        assert row["mean_difference"] == pytest.approx(difference.mean(), rel=1e-12)
        test = stats.ttest_rel(data["bare"], data[treatment])
        assert row["p_t"] == pytest.approx(test.pvalue, rel=1e-9)
        assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(difference).pvalue, rel=1e-6)
        asymmetry = stats.skew(difference) / N**0.5
        below, above = (float(length_factor(np.array(sign * asymmetry), N)) for sign in (-1, 1))
        reach = stats.t.ppf(0.975, N - 1) * stats.sem(difference)
        assert row["low"] == pytest.approx(difference.mean() - below * reach)
        assert row["high"] == pytest.approx(difference.mean() + above * reach)
    assert table["p_holm"].iloc[0] == min(1.0, 2 * table["p"].iloc[0])


@pytest.mark.parametrize("form", ["wide", "long"])
def test_a_frame_has_the_commands_statistics(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, named, words = (
        wide(),
        {"weights": "tokens", "example": "id"},
        ["--weights", "tokens", "--example", "id"],
    )
    if form == "long":
        data = data.melt(["id", "tokens"], var_name="prefix", value_name="loss")
        named |= {"condition": "prefix", "value": "loss"}
        words += ["--condition", "prefix", "--value", "loss"]
    data.to_parquet(tmp_path / "mine.parquet")
    given = ["effects", str(tmp_path / "mine.parquet"), "--baseline", "bare", "--treatment", "oracle"]
    options = ["--smallest-effect", "0.2", "--correction", "bonferroni", "--seed", "7", "--format", "csv"]
    assert main([*given, *words, *options]) == 0
    table = bl.effects(
        data.astype({"prefix": "category"}) if form == "long" else data,
        "bare",
        "oracle",
        smallest_difference=0.2,
        correction="bonferroni",
        seed=7,
        **named,
    )
    assert table.presented.to_csv() == capsys.readouterr().out


def test_measured_values_need_no_column_named() -> None:
    frame = measured()
    of = frame[frame["probe"] == "likelihood"]
    table = bl.effects(of, baseline="prefix=none", treatment="prefix=oracle")
    assert table["mean_difference"].iloc[0] == bl.effects(wide(), "bare", "oracle")["mean_difference"].iloc[0]
    assert "nats per answer token" in table.presented.caption
    by_factor = bl.effects(of, baseline="none", treatment="oracle", condition="prefix")
    assert by_factor["low"].iloc[0] == table["low"].iloc[0]
    # A share is no loss: what is declared of it decides words, unit and the smallest difference.
    shares = bl.effects(
        frame[(frame["probe"] == "budgets") & (frame["layer"] == 1)], "prefix=none", "prefix=oracle"
    )
    assert shares["smallest_effect"].iloc[0] == 0.01
    assert table["smallest_effect"].iloc[0] == pytest.approx(0.05 * wide()["bare"].mean())
    by_hand = bl.effects(of, "prefix=none", "prefix=oracle", smallest_difference="2%")
    assert by_hand["smallest_effect"].iloc[0] == pytest.approx(0.02 * wide()["bare"].mean())
    assert shares["verdict"].iloc[0].startswith("falls")


class Texts(HTMLParser):
    """What a browser would show, and the tags that it would obey."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.shown.append(data)


def test_the_table_shows_itself_and_obeys_no_text() -> None:
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    table = bl.effects(wide().rename(columns={"oracle": hostile}), "bare", hostile)
    page = Texts()
    page.feed(table._repr_html_())
    assert {"table", "caption"} <= set(page.tags)
    assert not {"script", "img"} & set(page.tags)
    assert f"bare → {hostile}" in page.shown
    assert "made for long tails" in "".join(page.shown)


def test_what_is_made_of_the_table_is_a_plain_frame() -> None:
    table = bl.effects(wide(), "bare", ["oracle", "random"])
    assert table.presented.correction.startswith("Holm")
    for made in (table.head(1), table[["contrast", "low"]], table.copy()):
        assert type(made) is pd.DataFrame


#: Entries that have no hash.
LISTS = [[1] for _ in range(len(wide()))]


def test_columns_named_by_numbers_are_known_by_their_digits() -> None:
    named = wide().rename(columns={"bare": "0", "oracle": "1"})
    numbered = named.rename(columns={"0": 0, "1": np.int64(1)})
    assert bl.effects(numbered, "0", "1").equals(bl.effects(named, "0", "1"))


def test_a_long_frame_without_a_finite_value_is_refused_or_drops_the_example() -> None:
    long = wide().melt("id", ["bare", "oracle"])
    long.loc[0, "value"] = np.nan
    options = {"example": "id", "condition": "variable", "value": "value"}
    with pytest.raises(
        ValueError, match=r"column 'value' holds no finite value in 1 row, first in row 0 \(nan\)"
    ):
        bl.effects(long, "bare", "oracle", **options)
    assert bl.effects(long, "bare", "oracle", missing="drop", **options)["n"].iloc[0] == len(wide()) - 1
    # What no effect is asked of may be missing.
    more = pd.concat([long[1:], pd.DataFrame({"id": ["q00"], "variable": ["other"], "value": [np.nan]})])
    more = more[more["id"] != long["id"][0]]
    assert bl.effects(more, "bare", "oracle", **options)["n"].iloc[0] == len(wide()) - 1


def test_a_small_smallest_difference_is_read_as_it_is() -> None:
    table = bl.effects(wide(), "bare", "oracle", smallest_difference=1e-5)
    assert table["smallest_effect"].iloc[0] == 1e-5


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (wide(), {}, "the table has no column 'a'; it has ['id', 'bare'"),
        (wide(), {"baseline": "bare", "treatment": []}, "no treatment named"),
        (wide(), {"baseline": "bare", "treatment": "bare"}, "must differ"),
        (
            wide(),
            {"baseline": "bare", "treatment": "id"},
            "column 'id' holds 'q00' in row 0; expected numbers",
        ),
        (
            wide().assign(a=[1.0, np.nan] * (len(wide()) // 2), b=1.0),
            {},
            "column 'a' holds no finite value in",
        ),
        (
            wide().assign(a=1.0, b=np.inf),
            {},
            "first in row 0 (inf); repair it, or leave such examples out with",
        ),
        (
            wide().assign(a=1.0, b=2.0, w=[-1.0] + [1.0] * (len(wide()) - 1)),
            {"weights": "w"},
            "column 'w' holds the weight -1 in row 0; weights, such as answer tokens, are above 0",
        ),
        (wide().assign(a=1.0, b=2.0, w=0), {"weights": "w"}, "column 'w' holds the weight 0 in row 0"),
        (wide().assign(a=1.0, b=2.0), {"seed": -1}, "seed is a whole number of at least 0"),
        (wide().assign(a=1.0, b=2.0), {"smallest_difference": "a"}, "the smallest effect is 'a'; expected"),
        (
            wide(),
            {"baseline": 0},
            "baseline and treatment are texts, and a column or condition that is a number",
        ),
        (wide(), {"treatment": None}, "baseline and treatment are texts"),
        (wide(), {"treatment": ["b", 3]}, "known by its digits ('1'); got 3"),
        (
            wide(),
            {"example": 3},
            "example is the name of a column, a text (a column 1 is known as '1'); got 3",
        ),
        (wide(), {"weights": ["w"]}, "weights is the name of a column, a text"),
        (
            wide().assign(a=1.0, b=2.0, l=LISTS),
            {"example": "l"},
            "column 'l' holds [1] in row 0; expected a text",
        ),
        (
            wide().assign(a=1.0, b=2.0, l=LISTS),
            {"clusters": "l"},
            "column 'l' holds [1] in row 0; expected a text",
        ),
        (wide().assign(a=1.0, b=2.0), {"unit": 5}, "unit is a text"),
        (wide(), {"condition": "id"}, "a long table needs both the condition and the value column"),
        (wide().iloc[:0], {}, "the frame holds no rows"),
        (wide().set_axis(["a"] * 5, axis=1), {}, "two columns 'a'"),
        ([1, 2], {}, "the values are a DataFrame; got list"),
        (measured(), {}, "2 entries of 'probe' (likelihood, budgets), and an effect is of one value"),
        (measured()[lambda frame: frame["probe"] == "budgets"], {}, "choose one, frame[frame['layer'] == 0"),
        (
            measured()[lambda frame: frame["probe"] == "likelihood"],
            {},
            "column 'cell' has no 'a'; it has ['prefix=none'",
        ),
    ],
)
def test_what_has_no_effect_is_told(frame: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        bl.effects(frame, **{"baseline": "a", "treatment": "b", **options})
