"""No internal name in what readers see: every text of the reports of all analyses and of their figures is walked."""

from __future__ import annotations

import base64
import gzip
import html
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analyses import exp02_length_scaling as length_scaling
from analyses.studies.prefix_plans import ORACLE, RANDOM, PrefixStudy
from budgetlens.command.main import main
from tests.test_analyses import long_corpus

#: What ids have and words have not; classes and what Python shows of values.
INTERNAL = (
    r"\w_\w",
    r"\w#\d",
    r"->|<-",
    r"\w=\w",
    r"\w\|\w",
    r"\w\(\w+=",
    r"\bobject at 0x",
    r"\b(?!LaTeX|MathJax|McNemar)[A-Z][a-z]+[A-Z][a-z]\w*\(?",
)
FOUND = re.compile("|".join(INTERNAL))
#: Names of files are what they are.
FILES = re.compile(r"[\w/]+\.(csv|json|html|svg|png)\b")
#: Parts of a page that show a corpus' texts, tokens and ids, or the design as it is written.
NOT_WORDS = {"texts", "tokens", "internal", "run"}
#: Elements of the corpus within telling examples, and what is not shown.
UNSEEN = {"script", "style", "code", "pre"}
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr", "circle", "rect", "path"}


class Visible(HTMLParser):
    """The texts and told attributes of a page, without what a corpus wrote and the folded design."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._hidden: list[str] = []
        self._block: list[str] = []
        self.feed(page)
        self.close()
        self._end()

    def _end(self) -> None:
        self.texts.append("".join(self._block))
        self._block = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        classes = set(given.get("class", "").split())
        if tag in VOID:
            return
        if self._hidden or classes & NOT_WORDS or tag in UNSEEN or (tag == "dd" and "corpus" in classes):
            self._hidden.append(tag)
            return
        if tag not in ("bdi", "b", "span", "small", "a"):
            self._end()
        self.texts += [given[name] for name in ("title", "aria-label", "alt", "placeholder") if name in given]

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            assert self._hidden.pop() == tag
        elif tag not in ("bdi", "b", "span", "small", "a"):
            self._end()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._block.append(data)


def unpacked(page: str, identifier: str) -> str:
    packed = re.search(rf'<script type="text/plain" id="{re.escape(identifier)}" data-packed>([^<]*)<', page)
    assert packed is not None
    return gzip.decompress(base64.b64decode(packed.group(1))).decode("utf-8")


def figure_texts(value: Any, name: str = "") -> Iterator[str]:
    """Every text that plotly shows of a figure: labels, titles, legends, hovers and the values in them."""
    if isinstance(value, dict):
        for key, part in value.items():
            # Ids for scripts, and for what is drawn where.
            if key not in (
                "meta",
                "legendgroup",
                "type",
                "template",
                "config",
                "color",
                "colorscale",
                "bdata",
            ):
                yield from figure_texts(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from figure_texts(part, name)
    elif isinstance(value, str) and name in (
        *(
            "text",
            "name",
            "hovertemplate",
            "hovertext",
            "ticktext",
            "customdata",
            "x",
            "y",
            "label",
            "tickvals",
        ),
    ):
        yield html.unescape(re.sub(r"<[^>]*>|%\{[^}]*\}", " ", value))


def internal_names(page: str) -> list[str]:
    """Every text of a report that shows an internal name, in its own place and in its figures."""
    figures = re.findall(r'id="(figure-[0-9a-f]+)-stored"', page)
    for name in re.findall(r'data-held="([^"]+)"', page):
        page = page.replace(f'<div data-held="{name}"></div>', f"<div>{unpacked(page, name)}</div>")
    texts = Visible(page).texts
    for identifier in figures:
        stored = json.loads(unpacked(page, f"{identifier}-stored"))["figure"]
        # Its points carry the texts of examples.
        if "Every example" in str(stored["layout"]["title"]["text"]):
            for trace in stored["data"]:
                trace.pop("customdata", None)
        texts += figure_texts(stored)
    return [text for text in dict.fromkeys(texts) if FOUND.search(FILES.sub("", text))]


def report_of(name: str, folder: Path, model: Path, *more: str) -> str:
    corpus = long_corpus(folder / "towers.jsonl", 6)
    given = ["run", name, "--model", str(model), "--corpus", str(corpus), "--out", str(folder / "run")]
    assert main([*given, "--device", "cpu", "--quiet", *more]) == 0
    return (folder / "run" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["exp08", "exp12"])
def test_no_internal_name_is_seen(name: str, tmp_path: Path, tiny_directory: Path) -> None:
    assert internal_names(report_of(name, tmp_path, tiny_directory)) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["exp01", "exp03", "exp04", "exp05", "exp06", "exp07", "exp09", "exp10", "exp11", "exp13", "exp14"],
)
def test_no_internal_name_is_seen_of_the_others(name: str, tmp_path: Path, tiny_directory: Path) -> None:
    assert internal_names(report_of(name, tmp_path, tiny_directory)) == []


@pytest.mark.slow
def test_no_internal_name_is_seen_of_lengths(
    tmp_path: Path, tiny_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At lengths that a tiny model reads in no time."""
    monkeypatch.setattr(length_scaling, "LENGTHS", ("64", "128"))
    study = PrefixStudy(prefixes=(ORACLE, RANDOM), paddings=("none", "64", "128"))
    monkeypatch.setattr(length_scaling, "STUDY", study)
    assert internal_names(report_of("exp02", tmp_path, tiny_directory)) == []


def test_the_walk_finds_names_in_texts_tips_and_figures_and_leaves_the_corpus_alone() -> None:
    figure = {
        "data": [{"name": "bare_q", "hovertemplate": "<b>a|b</b> %{x_y}"}],
        "layout": {"title": {"text": "t"}},
    }
    stored = base64.b64encode(gzip.compress(json.dumps({"figure": figure}).encode())).decode()
    page = (
        '<p title="prefix=oracle">two words</p><p>hid<bdi>den_bos</bdi></p><p class="tokens">a_b</p>'
        '<details class="internal"><p>c_d</p></details><a aria-label="Download x_y.csv">CSV</a>'
        f'<script type="text/plain" id="figure-0a-stored" data-packed>{stored}</script>'
    )
    assert internal_names(page) == ["prefix=oracle", "hidden_bos", "bare_q", " a|b   "]
