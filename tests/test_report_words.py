"""What a reader of a report meets: words, and no name by which only the code calls a thing."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from budgetlens.report.saving import report
from figures.labels import visible_text
from tests.test_shared_documents import write_run_of

VOID = {"meta", "img", "br", "hr", "input", "link", "wbr"}
#: Parts that hold texts of the corpus, or the design as it is written.
LEFT_OUT = {"internal", "texts", "tokens"}
#: An id has one of these; statistics are written with spaces around a sign (n = 24).
INTERNAL = re.compile(r"[_#|]|->|\w=\S|\S=\w|<[a-z_.]+ object|\b[A-Z][a-z]+[A-Z]\w*\(")


class Texts(HTMLParser):
    """The texts of a page outside scripts and outside what is left out, and its figures as they are stored."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.figures: list[str] = []
        self._open: list[tuple[str, bool]] = []
        self._stored = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = set((given.get("class") or "").split())
        outside = tag in ("script", "style", "pre") or bool(classes & LEFT_OUT) or "anchor" in classes
        self._stored = tag == "script" and str(given.get("id")).endswith("-stored")
        if tag not in VOID:
            self._open.append((tag, outside or (bool(self._open) and self._open[-1][1])))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag
        self._stored = False

    def handle_data(self, data: str) -> None:
        if self._stored:
            self.figures.append(gzip.decompress(base64.b64decode(data)).decode())
        elif data.strip() and not self._open[-1][1]:
            self.found.append(data.strip())


def texts_of_figure(stored: str) -> Iterator[str]:
    """What a figure shows: titles, headings, ticks, legends; hover is left out, where ids may stand."""

    def walk(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            for name, part in value.items():
                if name in ("text", "ticktext", "name") and isinstance(part, str):
                    yield visible_text(part)
                elif name == "ticktext":
                    yield from map(visible_text, part)
                elif name not in ("template", "meta", "customdata", "hovertext", "hovertemplate"):
                    yield from walk(part)
        elif isinstance(value, list):
            for part in value:
                yield from walk(part)

    held = json.loads(stored)
    yield from walk(held["figure"])
    yield from walk(held["narrow"])


@pytest.mark.parametrize("name", ["exp08", "exp04"])
def test_no_internal_name_is_in_a_report(name: str, tmp_path: Path) -> None:
    run = write_run_of(name, tmp_path / name, [f"d{i}" for i in range(24)])
    page = Texts(report(run).read_text(encoding="utf-8"))
    assert len(page.found) > 100
    assert len(page.figures) > 3
    shown = [*page.found, *(text for stored in page.figures for text in texts_of_figure(stored))]
    assert [text for text in dict.fromkeys(shown) if INTERNAL.search(text.replace("|t|", "t"))] == []


@pytest.mark.parametrize("text", ["bare_nq", "prompt=none", "a|b", "a -> b", "example #3", "Label('x')"])
def test_what_counts_as_internal(text: str) -> None:
    assert INTERNAL.search(text) or text == "Label('x')"
    assert not INTERNAL.search("n = 24, p < 0.05: the query as prefix · prefix hidden")
