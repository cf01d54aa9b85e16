"""Tables for people: digits, captions, and the same content in every form."""

from __future__ import annotations

import errno
import html.parser
import io
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from budgetlens.runs.files import WriteError
from budgetlens.statistics.contrasts import comparison
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.inference import Inference
from budgetlens.tables.digits import counted, number, with_interval
from budgetlens.tables.presentation import FORMATS, Table, effects_presentation, render, save


def table(**changes: object) -> Table:
    frame = pd.DataFrame(
        {
            "contrast": ["prefix=none|prompt=none → <b>", "[red]50 % & more_or_less[/red]"],
            "n": [500, 499],
            "mean_difference": [0.52934, np.nan],
            "low": [0.44211, np.nan],
            "high": [0.61633, np.nan],
            "p_holm": [0.00004, 0.0512],
            "win_percent": [67.84, 50.0],
            "reason": ["", "withheld: the interval holds 0"],
            "caution": ["", ""],
            "verdict": ["helps", "undecided"],
        }
    )
    facts: dict[str, object] = {
        "frame": frame,
        "title": "Effects",
        "estimand": "mean of baseline - treatment",
        "unit": "nats",
        "n": "499 to 500 examples",
        "family": "prefixes (2)",
        "correction": "Holm",
        "seed": 42,
        "notes": ("verdict: by rule",),
    }
    return Table(**(facts | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (0.123456, "", "0.123"),
        (1234.56, "", "1235"),
        (-0.00012349, "", "-0.000123"),
        (0.0, "", "0"),
        (-0.0000000001, "", "-1.0e-10"),
        (0.00000051468, "", "5.1e-07"),
        (0.0000123, "", "0.000012"),
        (0.00004, "p_holm", "< 0.001"),
        (0.0049, "p_holm", "0.005"),
        (0.0496, "p", "0.050"),
        (0.0496, "q", "0.050"),
        (67.84, "win_percent", "67.8"),
        (float("nan"), "p_holm", "–"),
        (float("inf"), "", "∞"),
        (0.5, "parts", "0.500"),
    ],
)
def test_digits(value, name, expected):
    assert number(value, name) == expected


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.52934, 0.44211, 0.61633, "0.529 [0.442, 0.616]"),
        (12.3456, 2.1, 25.2, "12 [2, 25]"),
        (1.13, -1.2, 3.9, "1.1 [-1.2, 3.9]"),
        (0.00034, 0.00031, 0.00037, "0.000340 [0.000310, 0.000370]"),
        # An interval that leaves out 0 shows it; one that holds 0 needs no further digit.
        (0.3, 0.004, 0.9, "0.300 [0.004, 0.900]"),
        (-0.3, -0.9, -0.004, "-0.300 [-0.900, -0.004]"),
        (0.3, -0.004, 0.9, "0.30 [0.00, 0.90]"),
        (0.4, math.nan, math.nan, "0.400"),
        (math.nan, 0.1, 0.2, "–"),
    ],
)
def test_an_interval_sets_the_digits(value, low, high, expected):
    assert with_interval(value, low, high) == expected


def test_counts_have_their_plural():
    assert [counted(count, "example") for count in (0, 1, 2)] == ["0 examples", "1 example", "2 examples"]


def test_the_caption_states_everything():
    caption = table().caption
    for fact in (
        "Effects",
        "mean of baseline - treatment",
        "nats",
        "499 to 500",
        "prefixes (2)",
        "Holm",
        "seed 42",
    ):
        assert fact in caption
    assert "Verdict: by rule." in caption
    assert "no random numbers" in table(seed=None).caption


def test_csv_keeps_every_digit_and_column():
    written = pd.read_csv(io.StringIO(table().to_csv()), keep_default_na=False, na_values=[""])
    original = table(columns=("contrast",)).frame
    assert list(written.columns) == list(original.columns)
    assert written["low"].tolist()[0] == 0.44211
    assert written["p_holm"].tolist() == [0.00004, 0.0512]
    assert table().to_csv(with_caption=True).startswith("# Effects.")


class Cells(html.parser.HTMLParser):
    """Collects header cells, body cells and the caption of an HTML table."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {"th": [], "td": [], "caption": []}
        self.tags: list[str] = []
        self.where = ""

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.where = tag
        self.tags.append(tag)
        if tag in self.found:
            self.found[tag].append("")

    def handle_data(self, data: str) -> None:
        if self.where in self.found:
            self.found[self.where][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.where = ""


def unescaped_latex(text: str) -> str:
    for command, character in (
        (r"\textbar{}", "|"),
        (r"$\rightarrow$", "→"),
        (r"\textless{}", "<"),
        (r"\textgreater{}", ">"),
        ("{[}", "["),
        ("--", "–"),
    ):
        text = text.replace(command, character)
    return re.sub(r"\\([&%$#_{}])", r"\1", text)


def test_every_form_holds_the_same_cells():
    source = table()
    shown = source.shown()
    expected = [str(entry) for row in shown.to_numpy() for entry in row]
    assert expected[2] == "0.529 [0.442, 0.616]"
    cells = Cells()
    cells.feed(source.to_html())
    footnotes = ["a: withheld: the interval holds 0"]
    assert cells.found["td"] == expected + footnotes
    assert cells.found["th"] == list(shown.columns)
    assert cells.found["caption"] == [source.caption]
    assert "b" not in cells.tags
    lines = source.to_markdown().splitlines()
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in (lines[0], *lines[2:4])]
    plain = [re.sub(r"\\(.)", r"\1", entry.strip()) for row in rows for entry in row]
    assert plain == [*shown.columns, *expected]
    body = re.search(r"\\midrule\n(.*)\n\\bottomrule", source.to_latex(), re.DOTALL)
    assert body is not None
    latex = [
        unescaped_latex(entry.strip())
        for row in body[1].split("\\\\")
        for entry in re.split(r"(?<!\\)&", row)
    ]
    assert [entry for entry in latex if entry] == [entry for entry in expected if entry]
    terminal = source.to_terminal(width=400)
    assert all(entry in terminal for entry in expected)
    assert "Estimand: mean of baseline - treatment" in terminal


def test_latex_has_no_bare_special_characters_and_no_row_that_opens_an_argument():
    latex = table().to_latex()
    assert not re.search(r"(?<!\\)[%#_]", latex)
    assert "\\\\\n[" not in latex
    assert "{[}red]" in latex
    assert latex.count("{") == latex.count("}")


def test_empty_columns_are_left_out_and_reasons_are_shown():
    columns = list(table().shown().columns)
    assert "caution" not in columns
    assert "reason" in columns
    assert "low" not in columns
    assert "high" not in columns


def test_notes_are_letters_explained_below_in_every_form():
    frame = pd.DataFrame(
        {"contrast": list("xyz"), "reason": ["few; odd", "odd", ""], "caution": ["", "thin", ""]}
    )
    source = table(frame=frame)
    assert source.footnotes == {"a": "few", "b": "odd", "c": "thin"}
    assert source.shown()["reason"].tolist() == ["a b", "b", ""]
    assert source.shown()["caution"].tolist() == ["", "c", ""]
    for form in ("terminal", "markdown", "latex", "html"):
        assert all(note in render(source, form) for note in ("a: few", "b: odd", "c: thin"))
    assert "few; odd" in source.to_csv()


def test_thirty_notes_have_thirty_letters():
    frame = pd.DataFrame({"reason": [f"reason {number}" for number in range(30)]})
    assert list(table(frame=frame).footnotes)[24:29] == ["y", "z", "aa", "ab", "ac"]


def test_columns_that_do_not_fit_go_below_with_the_first_again():
    frame = pd.DataFrame({"contrast": ["first", "second"], "alpha": ["x" * 20] * 2, "beta": ["y" * 20] * 2})
    narrow = table(frame=frame).to_terminal(width=40).splitlines()
    assert sum(line.startswith("contrast") for line in narrow) == 2
    assert not any("x" * 20 in line and "y" * 20 in line for line in narrow)
    wide = table(frame=frame).to_terminal(width=80).splitlines()
    assert any("x" * 20 in line and "y" * 20 in line for line in wide)


def test_a_narrow_terminal_loses_nothing():
    narrow = table().to_terminal(width=60)
    assert max(len(line) for line in narrow.splitlines()) <= 60
    assert "…" not in narrow


def test_yes_and_no_and_bands_in_words():
    frame = pd.DataFrame(
        {
            "discovered": [True, False],
            "mean": [0.5, -0.25],
            "band_low": [0.4, -0.35],
            "band_high": [0.6, -0.15],
        }
    )
    shown = table(frame=frame).shown()
    assert list(shown.columns) == ["discovered", "mean"]
    assert shown["discovered"].tolist() == ["yes", "no"]
    assert shown["mean"].tolist() == ["0.50 [0.40, 0.60]", "-0.25 [-0.35, -0.15]"]


def test_chosen_columns_in_their_order():
    chosen = table(columns=("verdict", "n", "absent")).shown()
    assert list(chosen.columns) == ["verdict", "n"]


def test_an_empty_frame_is_a_table_too():
    empty = table(frame=pd.DataFrame({"contrast": [], "n": []}))
    assert all(render(empty, form) for form in FORMATS)


def test_files_are_written(tmp_path):
    written = save(table(), tmp_path / "tables", "effects")
    assert {path.name for path in written} == {
        "effects.csv",
        "effects.md",
        "effects.tex",
        "effects.html",
        "effects.caption.txt",
    }
    assert (tmp_path / "tables" / "effects.md").read_text(encoding="utf-8") == table().to_markdown()


def test_a_file_that_can_not_be_written_stays_as_it_was(tmp_path, monkeypatch):
    save(table(), tmp_path, "effects")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(path, text, **options):
        path.write_bytes(text[: len(text) // 2].encode())
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(
        WriteError, match=r"effects\.csv can't be written, since no space is left on its disk; free"
    ):
        save(table(title="another one"), tmp_path, "effects")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_unknown_formats_are_refused():
    with pytest.raises(ValueError, match="terminal, csv, markdown, latex, html"):
        render(table(), "word")


def test_the_caption_of_effects_names_families_rule_and_n():
    generator = np.random.default_rng(1)
    records = pd.concat(
        pd.DataFrame({"example": range(15), "cell": cell, "nll": generator.normal(0, 1, 15)})
        for cell in "abc"
    )
    contrasts = [comparison("a", "b", "prefixes"), comparison("a", "c", "prefixes")]
    frame = effects_table(records, contrasts, Inference(seed=9, smallest_difference=0.2, resamples=99))
    caption = effects_presentation(frame, Inference(seed=9, smallest_difference=0.2)).caption
    for fact in (
        "baseline - treatment",
        "nats per answer token",
        "15 examples",
        "prefixes (2)",
        "Holm",
        "seed 9",
    ):
        assert fact in caption
    assert "no effect within ±0.2" in caption
    assert "undecided" in caption
    shown = effects_presentation(frame, Inference(seed=9, smallest_difference=0.2)).shown()
    assert "verdict" in shown.columns
    assert "stars" not in shown.columns
    published = effects_table(records, contrasts, Inference(seed=9, correction="bonferroni", resamples=99))
    shown = effects_presentation(published, Inference(seed=9, correction="bonferroni")).shown()
    assert "stars" in shown.columns
    assert "p (Bonferroni)" in shown.columns


def test_the_caption_of_effects_follows_correction_confidence_and_n():
    generator = np.random.default_rng(2)
    records = pd.concat(
        pd.DataFrame({"example": range(15), "cell": cell, "nll": generator.normal(0, 1, 15)})
        for cell in "abc"
    )
    records.loc[(records["example"] == 3) & (records["cell"] == "c"), "nll"] = np.nan
    contrasts = [comparison("a", "b", "prefixes"), comparison("a", "c", "prompts")]
    holm = pd.concat(
        effects_table(records, [one], Inference(seed=9, resamples=99), missing="drop") for one in contrasts
    )
    caption = effects_presentation(holm, Inference(seed=9)).caption
    assert "Holm on the p of the mean within each family" in caption
    assert "14 to 15 examples" in caption
    assert "95 % intervals over examples, made for long tails" in caption
    assert "the corrected p is below 0.05" in caption
    assert "aution tails: fewer than 500 independent examples" in caption
    assert "prefixes (1), prompts (1)" in caption
    published = effects_presentation(holm, Inference(seed=9, confidence=0.9, correction="bonferroni")).caption
    assert (
        "Bonferroni on the t-test p, as published; verdicts: on the p of the mean within each family"
        in published
    )
    assert "90 % intervals" in published
    assert "the corrected p is below 0.1;" in published
