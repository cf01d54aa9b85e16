"""The report as text: complete, safe, linked, and its words true to the tables."""

from __future__ import annotations

import base64
import gzip
import html
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

import figures
from budgetlens.model.edits import HideKeys
from budgetlens.model.roles import ROLE_LABELS
from budgetlens.model.states import CycleStates
from budgetlens.model.tokenization import Limits, TrialTokenizer
from budgetlens.model.trials import Example, Segment, Trial
from budgetlens.report.card import latex
from budgetlens.report.caveats import caveats
from budgetlens.report.cells import cells_html, strips
from budgetlens.report.document import Behind, report_page, write_report
from budgetlens.report.figures import table_anchor
from budgetlens.report.findings import colour, sentence, short_verdict, size, split_sentences
from budgetlens.report.intervals import Row, interval_pictures
from budgetlens.report.mirrored import Side, ink_on, mirrored_pictures
from budgetlens.report.page import slug
from budgetlens.report.readable import in_words
from budgetlens.report.telling import chosen_examples
from budgetlens.runs.examples_shown import cut, examples_text, notes_on, notes_on_input, shown_examples
from budgetlens.runs.manifest import RunError
from budgetlens.runs.manifest_files import write_manifest
from budgetlens.runs.records import Fed
from budgetlens.runs.run import Run
from budgetlens.runs.running import Unit
from budgetlens.runs.storage import RunDirectory
from budgetlens.statistics.contrasts import Contrast, comparison
from budgetlens.statistics.decisions import Kind, codes_of
from budgetlens.statistics.effects import effects_table
from budgetlens.statistics.findings import Finding, findings
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL
from figures.looks import as_json, content
from figures.theme import ROLE_COLOURS
from tests import figure_tables, report_pages
from tests.reference import tiny_models
from tests.report_pages import HOSTILE, LONG_WORD

VOID = {"meta", "img", "br", "hr", "input", "link", "wbr"}


class Outline(HTMLParser):
    """What a page is made of: anchors, links, loads, texts, and whether its tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.headings: list[int] = []
        self.cells: list[list[str]] = []
        self.scopes: list[tuple[str, str]] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))
        self.loads += [str(given[name]) for name in ("src", "srcset", "data", "poster") if given.get(name)]
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in ("th", "td"):
            self._words = []
            self.scopes.append((tag, str(given.get("scope"))))
        if tag == "tr":
            self.cells.append([])
        if tag not in VOID:
            self._open.append(tag)

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag in ("th", "td"):
            self.cells[-1].append("".join(self._words))


def unfolded(page: str) -> str:
    """A page whose folds were opened: what lies in it packed stands in its place."""
    # Markup would escape what is put into it.
    page = str(page)
    for name in re.findall(r'data-held="([^"]+)"', page):
        page = page.replace(f'<div data-held="{name}"></div>', f"<div>{unpacked(page, name)}</div>")
    return page


def unpacked(page: str, identifier: str) -> str:
    """What a page holds packed."""
    packed = re.search(rf'<script type="text/plain" id="{identifier}" data-packed>([^<]*)</script>', page)
    assert packed is not None
    return gzip.decompress(base64.b64decode(packed.group(1))).decode("utf-8")


def csvs(page: str) -> dict[str, str]:
    """Every CSV in a page, by the name under which it is saved."""
    found = re.findall(r'data-csv="([^"]+)" data-name="([^"]+)"', page)
    return {name: unpacked(page, anchor) for anchor, name in found}


def whole_page(marked: str = "", **changes: Any) -> str:
    """As a reader sees it who opened every fold."""
    return unfolded(
        report_page(
            report_pages.manifest(marked, **changes),
            report_pages.report_tables(marked),
            report_pages.report_figures(marked),
            report_pages.behind(marked),
        )
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As it is written for a run, with two tables beside the records: one is presented, one is not."""
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    write_manifest(directory.path, report_pages.manifest().content)
    directory.plan_parts(1, json.dumps(report_pages.examples()))
    tables = report_pages.report_tables()
    shares = pd.DataFrame({"cell": ["a", "b\nc"], "mean": [0.5, 0.25]})
    directory.write_tables({"effects": tables["effects"].frame, "shares": shares})
    run = Run(directory, report_pages.manifest())
    return write_report(run, tables, report_pages.report_figures()).read_text(encoding="utf-8")


def without_scripts(page: str) -> str:
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


# --- the whole page


def test_page_is_balanced_loads_nothing_and_holds_plotly_once(page: str) -> None:
    outline = Outline(unfolded(page))
    assert outline.loads == []
    assert page.count("plotly.js v") == 0
    assert unpacked(page, "plotly") == get_plotlyjs()
    assert "default-src 'none'" in page.replace("&#x27;", "'")
    assert outline.tags.count("main") == outline.tags.count("header") == outline.tags.count("nav") == 1
    assert len(page) < 3_000_000


def test_a_figure_is_stored_once_and_in_no_look_but_the_light_one(page: str) -> None:
    for name, figure in report_pages.report_figures().items():
        (anchor,) = re.findall(
            rf'id="figure-{slug("", name)[1:]}-plot"[^>]*><div id="(figure-[0-9a-f]+)"', page
        )
        assert page.count(f'id="{anchor}-stored"') == 1
        assert json.loads(unpacked(page, f"{anchor}-stored"))["figure"] == as_json(content(figure))


def test_every_link_leads_to_an_anchor_and_anchors_are_unique(page: str) -> None:
    outline = Outline(unfolded(page))
    assert len(set(outline.ids)) == len(outline.ids)
    inside = [link for link in outline.links if link.startswith("#")]
    assert inside == outline.links
    assert {link[1:] for link in inside} <= set(outline.ids)
    for name in ("answer", "evidence", "cautions", "appendix", "design", "fed", "tables", "manifest"):
        assert f"#{name}" in inside or name == "answer"
    assert "#table-effects" in inside
    assert "#figure-budgets-decoder" in inside


def test_headings_are_in_order(page: str) -> None:
    levels = Outline(without_scripts(unfolded(page))).headings
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_comes_as_csv_with_every_digit(page: str) -> None:
    found = csvs(page)
    tables = report_pages.report_tables()
    assert set(found) == {*(f"{name}.csv" for name in tables), "shares.csv"}
    for name, table in tables.items():
        assert found[f"{name}.csv"] == table.frame.to_csv(index=False, lineterminator="\n")
    assert found["shares.csv"] == 'cell,mean\na,0.5\n"b\nc",0.25\n'
    assert 'aria-label="Download shares.csv">Download CSV (2 rows)' in page
    assert 'aria-label="Download likelihood.csv">Download CSV (12 rows)' in page


def test_same_tables_same_bytes() -> None:
    assert whole_page() == whole_page()


def test_figures_stand_beside_their_tables_and_are_told_in_words() -> None:
    page = whole_page()
    for anchor, table in (
        ("figure-effects", "table-effects"),
        ("figure-interaction", "table-likelihood"),
        ("figure-splits", "table-decomposition"),
    ):
        figure = page[page.index(f' id="{anchor}"') :]
        assert f'href="#{table}"' in figure[: figure.index("</figcaption>")]
    text = without_scripts(page)
    assert "13 panels. Across: decoder layer; up: share (%). Series: bos, prefix, separator" in text
    assert "n = 600 examples" in text


# --- hostile text


def test_hostile_text_is_shown_as_text() -> None:
    page = whole_page(HOSTILE)
    outline = Outline(unfolded(page))
    plain = Outline(whole_page())
    assert sorted(set(outline.tags)) == sorted(set(plain.tags))
    assert outline.tags.count("script") == plain.tags.count("script")
    assert "img" not in outline.tags
    assert outline.loads == []
    assert "\u202e" not in page
    assert "⟨U+202E⟩turned" in page
    assert "<script>window.broken" not in page
    assert "\U0001f469\u200d\U0001f52c" in page


def test_long_words_are_cut_and_say_so() -> None:
    text = unfolded(cells_html(report_pages.examples(), {}, False))
    assert "x" * 401 not in text
    assert text.count("[9,400 characters left out]") == 2
    assert text.count("[as above]") >= 2
    assert cut(LONG_WORD) == "x" * 1200 + " … [8,400 characters left out] … " + "x" * 400
    assert cut("x" * 2000) == "x" * 2000


# --- what each cell saw


def test_hidden_text_is_struck_through_and_roles_are_told(page: str) -> None:
    text = unfolded(cells_html(report_pages.examples(count=1), {}, False))
    struck = re.findall(r'class="run role-(\w+)" title="([^"]*)">.*?</span>(<s|<bdi)', text)
    assert ("prefix", "prefix, hidden from the decoder", "<s") in struck
    assert ("bos", "bos", "<bdi") in struck
    assert {role for role, _, kind in struck if kind == "<s"} == {"prefix", "separator"}


def test_report_without_texts_says_where_they_are() -> None:
    assert "budgetlens show" in cells_html([], {}, False)
    assert "own run shows the texts" in cells_html([], {}, True)


def test_a_cell_is_told_as_its_difference_from_the_first() -> None:
    """Every state that a role can have, of cells written by hand."""

    def cell(name: str, *encoder: tuple[str, str, bool], prompt: str = "") -> dict[str, Any]:
        decoder = [
            ["<s>", "start", True],
            *([[prompt, "prompt", True]] if prompt else []),
            ["v", "answer", True],
        ]
        return {"cell": name, "encoder": [list(run) for run in encoder], "decoder": decoder, "notes": []}

    bos, document = ("<b>", "bos", True), ("The lamp.", "document", True)
    base = cell("base", bos, document, prompt="what")
    told = strips(
        [
            base,
            cell("prefix", bos, ("q", "prefix", False), document, prompt="else"),
            cell("sink", ("<b>", "bos", False), document),
        ],
        {"sink": "BOS hidden"},
    )
    states = [{chip.role: chip.state for chip in (*one.encoder, *one.decoder)} for one in told]
    assert set(states[0].values()) == {""}
    assert states[1] == {
        "bos": "same",
        "prefix": "new",
        "document": "same",
        "start": "same",
        "prompt": "other text",
        "answer": "same",
    }
    assert states[2] | {"start": "", "answer": "", "document": ""} == {
        "bos": "hidden",
        "prefix": "",
        "document": "",
        "start": "",
        "prompt": "left out",
        "answer": "",
    }
    assert [one.words for one in told] == ["base", "prefix", "BOS hidden"]
    (prefix,) = [chip for chip in told[1].encoder if chip.role == "prefix"]
    assert prefix.hidden


@pytest.fixture(scope="module")
def units() -> tuple[list[Unit], TrialTokenizer]:
    tokenizer = TrialTokenizer(tiny_models.tokenizer(), 2, Limits())
    units = []
    for number in range(4):
        example = Example(
            f"example {number}", "who built the bridge", "The bridge was built by Tamm.", "Tamm"
        )
        bare = Trial.bare(example)
        prefixed = bare.with_prefix(
            [Segment("prefix", text=example.query), Segment("separator", text="\n")]
        ).hiding({"prefix"})
        asked = prefixed.with_prompt([Segment("prompt", text=example.query)])
        trials = {"bare": bare, "hidden": prefixed, "asked": asked}
        units.append(Unit(tuple(Fed(name, tokenizer(trial)) for name, trial in trials.items())))
    return units, tokenizer


def test_examples_hold_the_texts_that_went_in(units: tuple[list[Unit], TrialTokenizer]) -> None:
    shown = shown_examples(*units, count=3)
    assert [entry["example"] for entry in shown] == ["example 0", "example 1", "example 2"]
    bare, hidden, asked = shown[0]["cells"]
    roles = {cell["cell"]: [run[1] for run in cell["encoder"]] for cell in (bare, hidden, asked)}
    assert [role for role in roles["bare"] if role not in ("bos", "eos")] == ["document"]
    assert [role for role in roles["asked"] if role not in ("bos", "eos")] == [
        "prefix",
        "separator",
        "document",
    ]
    text = {run[1]: run[0].strip() for run in asked["encoder"] + asked["decoder"]}
    assert text["prefix"] == text["prompt"] == "who built the bridge"
    assert text["document"] == "The bridge was built by Tamm."
    assert "Tamm" in text["answer"]
    assert {run[1] for run in hidden["encoder"] if not run[2]} == {"prefix"}
    assert all(run[2] for run in hidden["decoder"])
    words = len(units[1].tokenizer("who built the bridge", add_special_tokens=False)["input_ids"])
    assert f"{words} encoder positions are hidden from the decoder" in hidden["notes"]
    assert bare["notes"] == []


def test_notes_say_what_the_text_does_not_show() -> None:
    """Of the input in the words of `budgetlens show`, then what is edited while the model runs."""
    example = Example("1", "who built the bridge", "The bridge was built by Tamm.", "Tamm the engineer")
    prefixed = Trial.bare(example).with_prefix(
        [Segment("prefix", text=example.query), Segment("separator", text="\n")]
    )
    asked = prefixed.with_prompt([Segment("prompt", text=example.query * 9)]).hiding({"separator"})
    edited = replace(
        asked,
        prefix_positions="before",
        edits=(HideKeys(frozenset({"bos"})),),
        states=(CycleStates(frozenset({"document"}), "encoder", 0, (Trial.bare(example),)),),
    )
    fed = TrialTokenizer(tiny_models.tokenizer(), 2, Limits(encoder=60, prompt=5, answer=2))(edited)
    on_input = notes_on_input(fed)
    assert on_input == [
        "1 encoder position is hidden from the decoder",
        "the positions of the prefix are before those of the document",
        f"{fed.prompt_cut} prompt tokens are cut at the limit",
        f"{fed.answer_cut} answer tokens are cut at the limit",
    ]
    assert fed.prompt_cut > 0 < fed.answer_cut
    attention, states = notes_on(fed)[len(on_input) :]
    assert attention == "attention is edited while the model runs (hide keys: keys bos; stack decoder)"
    assert states.startswith("states are edited while the model runs (cycle states: ")


def test_examples_are_kept_with_the_run(units: tuple[list[Unit], TrialTokenizer], tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    write_manifest(directory.path, report_pages.manifest().content)
    run = Run(directory, report_pages.manifest())
    assert run.shown_examples() == []
    directory.plan_parts(1, examples_text(*units, count=1))
    assert run.shown_examples() == json.loads(json.dumps(shown_examples(*units, count=1)))
    (tmp_path / "examples.json").write_text('[{"exam', encoding="utf-8")
    with pytest.raises(RunError, match=r"examples\.json is not as it was written"):
        run.shown_examples()
    # Runs of an earlier version have no hash of it.
    (tmp_path / "parts" / "plan.json").write_text('{"parts": 1}', encoding="utf-8")
    assert run.shown_examples() == []
    with pytest.raises(ValueError, match="count = 0 examples were asked for; give at least 1"):
        shown_examples(*units, count=0)


# --- conclusions


def finding(kind: Kind, mean: float = 0.5, half: float = 0.1, order: int = 1, **more: Any) -> Finding:
    facts: dict[str, Any] = {"quantity": ANSWER_NLL, "small": False, "detectable": math.nan, **more}
    return Finding(
        effect="c",
        family="f",
        order=order,
        estimate=mean,
        low=mean - half,
        high=mean + half,
        p=0.01,
        p_equivalence=0.01,
        n=40,
        units=40,
        kind=kind,
        smallest_difference=0.05,
        **facts,
    )


SHARE = Quantity("share", "share", "fraction of attention", smallest_difference=0.01, part_of_whole=True)
SCORE = Quantity("score", "exact match", "fraction right", better="higher", smallest_difference=0.01)


@pytest.mark.parametrize(
    ("given", "verdict", "own", "words"),
    [
        (finding("positive"), "helps", "helps", "the answer's NLL falls by 0.50 [0.40, 0.60] nats (n = 40)."),
        (
            finding("negative", -0.5),
            "hurts",
            "hurts",
            "the answer's NLL rises by 0.50 [0.40, 0.60] nats (n = 40).",
        ),
        (
            finding("none", -0.01, 0.02, small=True),
            "no effect within ±0.05",
            "none",
            "the difference is −0.010 [−0.030, 0.010] nats and lies within ±0.05 (n = 40).",
        ),
        (
            finding("undecided", 0.1, 0.2, detectable=0.31),
            "undecided",
            "undecided",
            "the data do not decide: 0.10 [−0.10, 0.30] nats (n = 40; 0.31 nats would be found with 80 % power by one "
            "test alone).",
        ),
        (
            finding("positive", order=2),
            "sub-additive",
            "apart",
            "together the two help less, or hurt more, than the sum of each alone: 0.50 [0.40, 0.60] nats (n = 40).",
        ),
        (
            finding("negative", -0.5, order=2),
            "super-additive",
            "apart",
            "together the two help more, or hurt less, than the sum of each alone: −0.50 [−0.60, −0.40] nats (n = 40).",
        ),
        (
            finding("positive", order=2, quantity=SCORE),
            "super-additive",
            "apart",
            "together the two help more, or hurt less, than the sum of each alone: 0.50 [0.40, 0.60] fraction right "
            "(n = 40).",
        ),
        (
            finding("negative", -0.02, 0.01, small=True),
            "hurts, small (below 0.05)",
            "hurts",
            "the answer's NLL rises by 0.020 [0.010, 0.030] nats, which is small: within ±0.05 (n = 40).",
        ),
        (
            finding("positive", 0.02, 0.01, order=2, small=True),
            "sub-additive, small (below 0.05)",
            "apart",
            "together the two help less, or hurt more, than the sum of each alone: 0.020 [0.010, 0.030] nats, which is "
            "small: within ±0.05 (n = 40).",
        ),
        (
            finding("negative", -0.5, quantity=SCORE),
            "helps",
            "helps",
            "the exact match rises by 0.50 [0.40, 0.60] fraction right (n = 40).",
        ),
        (
            finding("negative", -0.5, quantity=SHARE),
            "rises",
            "apart",
            "the share rises by 50 [40, 60] points (n = 40).",
        ),
        (
            finding("undecided", math.nan, reason="fewer than 2 pairs"),
            "undecided",
            "undecided",
            "undefined (fewer than 2 pairs).",
        ),
    ],
)
def test_verdict_colour_and_sentence_of_a_finding(given: Finding, verdict: str, own: str, words: str) -> None:
    assert (given.verdict, colour(given), sentence(given)) == (verdict, own, words)


def test_two_that_hurt_more_together_are_not_said_to_do_less() -> None:
    """Two treatments that cost a nat each and three together."""
    generator = np.random.default_rng(0)
    costs = {"a=0|b=0": 0.0, "a=1|b=0": 1.0, "a=0|b=1": 1.0, "a=1|b=1": 3.0}
    records = pd.DataFrame(
        {"example": f"e{number}", "cell": cell, "nll": 4 + cost + generator.normal(0, 0.1)}
        for number in range(40)
        for cell, cost in costs.items()
    )
    weights = {"a=0|b=0": 1.0, "a=1|b=0": -1.0, "a=0|b=1": -1.0, "a=1|b=1": 1.0}
    table = effects_table(records, [Contrast("a and b", "interaction", weights)], Inference(seed=1))
    (own,) = findings(table)
    assert own.estimate == pytest.approx(3 - 1 - 1, abs=0.1)
    told = sentence(own)
    assert own.verdict == "super-additive"
    assert "together they hurt more than the sum of each alone" in told
    assert told.startswith("a=1 alone +1.")
    assert "do less" not in told


def test_findings_are_the_rows_of_a_table_of_effects() -> None:
    """Every field stands in the table, and a table that lacks one is refused by name."""
    generator = np.random.default_rng(4)
    records = pd.DataFrame(
        {"example": number, "cell": cell, "nll": generator.exponential(1 + (cell == "a"))}
        for number in range(40)
        for cell in "ab"
    )
    documents = pd.Series(np.arange(40) // 2, index=range(40))
    table = effects_table(records, [comparison("a", "b", "f")], Inference(seed=1, clusters=documents))
    (own,), row = findings(table), table.iloc[0]
    assert (own.effect, own.family, own.n, own.units, own.order) == ("a → b", "f", 40, 20, 1)
    assert (own.estimate, own.low, own.high) == tuple(row[["mean_difference", "low", "high"]])
    assert (own.p, own.p_equivalence, own.kind) == tuple(row[["p_holm", "p_tost_holm", "kind"]])
    assert own.verdict == row["verdict"]
    assert own.cautions == codes_of(row["caution"]) == ("tails",)
    with pytest.raises(ValueError, match=r"needs the columns contrast, .*; this one lacks kind"):
        findings(table.drop(columns="kind"))


def test_the_card_says_question_answer_verdict_and_what_was_measured() -> None:
    """In this order, before everything else, and with the numbers of the table."""
    page = whole_page()
    card = page[page.index('id="answer"') : page.index('id="evidence"')]
    frame = report_pages.effects_frame()
    places = [
        card.index(words)
        for words in ("Is a query worth its content?", "A prefix helps", "600", "some/model")
    ]
    assert places == sorted(places)
    assert sentence(findings(frame)[0])[1:] in html.unescape(card).replace("\u00a0", " ")
    for place in (0, 6, 12):
        row = findings(frame)[place]
        assert f">{size(row)[0]}<" in card
        assert f">{short_verdict(row)}<" in card
    assert "<script" not in card
    # A picture for a desk, for half of one and for a phone, and nothing hidden in them but what a copy has besides.
    assert card.count("<svg") == 3
    assert "\\toprule" in card


def test_a_page_without_a_conclusion_says_so() -> None:
    page = report_page(report_pages.manifest(), report_pages.report_tables(), {})
    assert "Nothing was compared." in page
    Outline(unfolded(page))


def test_marks_and_bands_of_a_drawn_interval_stand_at_their_numbers() -> None:
    """Pixels turned back into numbers by the ticks, which carry theirs as text."""
    given = [finding("positive"), finding("undecided", -0.1, 0.3), finding("none", 0.01, 0.02, small=True)]
    for picture in interval_pictures([Row(f"row {own.kind}", own) for own in given], "h", "f"):
        ticks = re.findall(r'x="([\d.]+)"[^>]*text-anchor="middle"[^>]*>(−?[\d.]+)<', picture)
        (x0, first), *_, (x1, last) = [(float(x), float(text.replace("−", "-"))) for x, text in ticks]
        marks = [float(x) for x in re.findall(r'<circle class="[^"]*" cx="([\d.]+)"', picture)]
        lines = re.findall(r'<path class="mark-\w+" d="M([\d.]+) [\d.]+H([\d.]+)"', picture)
        bands = re.findall(r'<rect class="band" x="([\d.]+)" y="[-\d.]+" width="([\d.]+)"', picture)[
            : len(given)
        ]

        def number(
            x: float, x0: float = x0, x1: float = x1, first: float = first, last: float = last
        ) -> float:
            return first + (x - x0) / (x1 - x0) * (last - first)

        for own, mark, (low, high), (left, width) in zip(given, marks, lines, bands, strict=True):
            found = [number(mark), number(float(low)), number(float(high))]
            assert found == pytest.approx([own.estimate, own.low, own.high], abs=0.006)
            edges = [number(float(left)), number(float(left) + float(width))]
            assert edges == pytest.approx([-own.smallest_difference, own.smallest_difference], abs=0.006)
        assert picture.count('class="open mark-undecided"') == 1
        assert picture.count('class="full mark-helps"') == 1


def test_mirrored_bands_have_the_widths_of_their_shares_and_changes_in_points() -> None:
    shares = figure_tables.shares_table(figure_tables.CELLS[:2], layers=3)
    first, second = figure_tables.CELLS[:2]
    for picture in mirrored_pictures(shares, (Side(first, "a", ""), Side(second, "b", "")), "", ""):
        bands = re.findall(
            r'width="([\d.]+)" height="\d+" fill="(#\w+)"><title>([\w ]+) ([\d.]+) %<', picture
        )
        by_role = {(words, colour) for _, colour, words, _ in bands}
        assert by_role <= {(ROLE_LABELS[role].short, colour) for role, colour in ROLE_COLOURS.items()}
        widths = np.array([float(width) for width, *_ in bands])
        percent = np.array([float(share) for *_, share in bands])
        scale = (widths / percent)[percent > 5]
        np.testing.assert_allclose(scale, scale[0], rtol=0.02)
        expected = 100 * shares[shares["cell"].isin([first, second])]["mean"]
        np.testing.assert_allclose(np.sort(percent), np.sort(expected[expected > 0]), atol=0.051)
        wide = shares.pivot_table(index=["layer", "role"], columns="cell", values="mean").fillna(0.0)
        change = 100 * (wide[second] - wide[first])
        most = [own.loc[own.abs().idxmax()] for _, own in change.groupby(level="layer")]
        told = re.findall(r'font-weight="600"[^>]*>([+−][\d.]+)<', picture)
        assert [float(text.replace("−", "-")) for text in told] == pytest.approx(most, abs=0.051)


def test_numbers_on_bands_are_read_on_every_role() -> None:
    """WCAG's 4.5 : 1, worked out from its formula."""
    for colour_of_role in ROLE_COLOURS.values():
        lights = []
        for hexadecimal in (colour_of_role, ink_on(colour_of_role)):
            channels = [int(hexadecimal[place : place + 2], 16) / 255 for place in (1, 3, 5)]
            linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
            lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
        assert (max(lights) + 0.05) / (min(lights) + 0.05) >= 4.5


def test_telling_examples_are_the_largest_the_median_and_the_contrary() -> None:
    differences = pd.Series({"a": 5.0, "b": 1.0, "c": 0.9, "d": -2.0, "e": 0.2})
    assert chosen_examples(differences) == {"Largest": "a", "Median": "c", "Contrary": "d"}
    # Of an effect below 0 the largest is the lowest.
    assert chosen_examples(-differences) == {"Largest": "a", "Median": "c", "Contrary": "d"}
    assert chosen_examples(differences.drop("d")) == {"Largest": "a", "Median": "c"}
    assert chosen_examples(differences[["a"]]) == {"Largest": "a"}
    assert chosen_examples(differences[:0]) == {}


def test_latex_of_the_card_reads_no_character_as_a_command() -> None:
    told = latex([Row("50 % of a_b & c#", finding("positive"))], "It helps ~ {much}.", "n = 40")
    assert r"50 \% of a\_b \& c\# & 0.50 [0.40, 0.60] nats & helps \\" in told
    assert r"\caption{It helps \textasciitilde{} \{much\}. n = 40.}" in told
    assert latex([], "", "") == ""


def test_ids_are_told_in_words_and_words_are_left_alone() -> None:
    told = in_words({"bare_q": "no prefix", "a=1|b=2": "both", "query": "the query", "p=none": "no prompt"})
    assert told("bare_q") == "no prefix"
    assert told("query") == "the query"
    assert told("a query of bare_q at p=none") == "a query of no prefix at no prompt"
    assert told("a=1|b=2 × bare_query") == "both × bare_query"
    assert in_words({})("x_y") == "x_y"


def test_splits_are_told_where_their_shares_are_not_withheld() -> None:
    ((_, text),) = split_sentences(report_pages.report_tables()["decomposition"].frame)
    assert "length 113 % [103, 125], semantic −13 % [−23, −1]" in text


def test_run_without_effects_is_reported_all_the_same() -> None:
    manifest = report_pages.manifest(analysis="sweep", title="t", question="q", seed=1, cells=[])
    text = report_page(manifest, {"models": report_pages.table(pd.DataFrame({"model": ["a"]}), "Models")}, {})
    assert "What was found stands in the tables of the appendix." in text
    assert "This run has no cells of its own." in text
    Outline(text)


# --- caveats


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"name": "reference"}}, "The built-in model demonstrates the tool"),
        ({"model": {"name": "reference"}}, "that it copes with them is true by training"),
        ({"protocol": "published"}, "hides the encoder's BOS"),
        ({"identity": {"rows": "holding"}}, "rows that hold the answer's tokens"),
        ({"identity": {"dtype": "bfloat16"}}, "ran in bfloat16"),
        ({"identity": {"layers": [0, 3]}}, "in some layers only"),
        ({"corpus": {"n": 20}}, "n = 20 examples is small"),
        (
            {
                "model": {"family": "t5"},
                "cells": [{"name": "prompt=position", "factors": {"prompt": "position"}}],
            },
            "position control shows an effect of 0",
        ),
    ],
)
def test_caveats_come_where_they_apply_and_only_there(changes: dict[str, Any], words: str) -> None:
    assert any(words in caveat for caveat in caveats(report_pages.manifest(**changes), {}))
    assert not any(words in caveat for caveat in caveats(report_pages.manifest(), {}))


def test_caveats_of_the_tables() -> None:
    tables = report_pages.report_tables()
    found = " ".join(caveats(report_pages.manifest(), tables))
    assert "in 3 of 1,200 trials the document has other token ids" in found
    assert "In 2 of 1,200 trials the encoder's input was cut" in found
    assert "1 of 13 contrasts rest on fewer than 500 independent examples" in found
    assert "The p of each of 3 families are corrected by themselves" in found
    assert "show one in 14 % of runs if the families were independent, and in 15 % at most" in found
    assert "Undecided is not the same as no effect" in found
    clean = tables["trials"].frame.assign(documents_changed=0, truncated=0)
    decided = tables["effects"].frame.assign(kind="positive", caution="")
    decided["family"] = "one"
    assert not caveats(
        report_pages.manifest(),
        {"trials": report_pages.table(clean, "t"), "effects": report_pages.table(decided, "e")},
    )
    blocks = {f"shares_decoder_{block}": tables["trials"] for block in ("self", "cross")}
    assert "separate softmaxes" in " ".join(caveats(report_pages.manifest(), blocks))


# --- tables


def test_tables_have_scopes_and_the_text_of_their_columns() -> None:
    table = report_pages.report_tables()["effects"]
    page = report_page(report_pages.manifest(cells=[]), {"effects": table}, {})
    outline = Outline(unfolded(page))
    shown = table.shown()
    heads = [str(name).replace("_", "") for name in shown.columns]
    minus = [
        [re.sub(r"(?<![\w.)])-(?=\d)", "−", cell) for cell in row] for row in shown.astype(str).to_numpy()
    ]
    assert any("−" in cell for row in minus for cell in row)
    assert outline.cells == [heads, *minus]
    found = [scope for tag, scope in outline.scopes if tag == "th"]
    assert found == ["col"] * len(shown.columns) + ["row"] * len(shown)


def test_ids_in_tables_are_words_and_in_their_csv_ids() -> None:
    table = report_pages.report_tables()["effects"]
    name = str(table.frame["contrast"].iloc[0])
    page = report_page(
        report_pages.manifest(), {"effects": table}, {}, Behind(words={name: "the query as prefix"})
    )
    assert "the query as prefix" in unfolded(page)
    # Numbers and words once, and packed: a folded table of a page costs a tenth of its markup.
    assert "the query as prefix" not in page
    assert csvs(page)["effects.csv"] == table.frame.to_csv(index=False, lineterminator="\n")


def test_a_run_without_further_tables_names_none() -> None:
    assert "Further tables" not in report_page(report_pages.manifest(), report_pages.report_tables(), {})


def test_page_of_a_large_model_stays_under_ten_megabytes() -> None:
    """34 layers, 13 cells, 33 contrasts of shares: as many numbers as the largest published model gives."""
    contrasts = tuple(f"contrast {number}" for number in range(33))
    differences = figure_tables.differences_table(34, contrasts)
    shares = figure_tables.shares_table()
    further = {"share_effects": differences.to_csv(index=False), "shares": shares.to_csv(index=False)}
    drawn = report_pages.report_figures(layers=34)
    drawn["differences"] = figures.budget_differences(differences, contrasts=contrasts[:6])
    drawn["entropies"] = figures.entropy_against_mass(figure_tables.entropies_table())
    drawn["heads"] = figures.head_map(figure_tables.heads_table(), "bos")
    drawn["slopes"] = figures.example_slopes(figure_tables.examples_table(500), figure_tables.CELLS[:3])
    text = report_page(
        report_pages.manifest(),
        report_pages.report_tables(),
        drawn,
        Behind(examples=report_pages.examples(count=3), further=further),
    )
    assert len(text.encode("utf-8")) < 10_000_000
    found = csvs(text)
    assert found["share_effects.csv"] == further["share_effects"]


def test_numbered_figures_lead_to_the_table_of_the_first() -> None:
    tables = report_pages.report_tables()
    tables["shares_decoder_merged"] = tables["decomposition"]
    drawn = {"splits": "decomposition", "budgets": "shares", "budgets_more": "effects"}
    assert table_anchor("effects_3", tables, drawn) == "table-effects"
    assert table_anchor("splits", tables, drawn) == "table-decomposition"
    assert table_anchor("budgets_decoder", tables, drawn) == "table-shares-decoder-merged"
    assert table_anchor("budgets_more_1", tables, drawn) == "table-effects"
    assert table_anchor("unknown_2", tables, drawn) == "tables"


def test_a_download_is_the_runs_own_table(tmp_path: Path) -> None:
    """A presented table may have columns of its own (a cell's short name); the file of its name has none of them."""
    frame = pd.DataFrame({"cell": ["a", "b"], "mean": [0.1, -2.25]})
    shown = report_pages.table(frame.assign(condition=["A", "B"]), "Answer NLL by cell")
    large = pd.DataFrame({"x": range(20_001)})
    text = report_page(
        report_pages.manifest(),
        {"likelihood": shown, "large": report_pages.table(large.head(3), "Large")},
        {},
        Behind(frames={"likelihood": frame, "large": large}),
    )
    assert csvs(text) == {"likelihood.csv": frame.to_csv(index=False)}
    assert "tables/large.csv, beside this page, has all 20,001 rows" in text
