"""Figures as files: pages without a network, pictures where there is a browser, nothing half written."""

from __future__ import annotations

import builtins
import os
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import plotly.graph_objects as go
import pytest

import figures
from figures import export
from tests.browser import program
from tests.figure_tables import CELLS, shares_table


class Links(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.titles: list[str] = []
        self.in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.in_title = tag == "title"
        self.found += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.titles.append(data.strip())
            self.in_title = False


@pytest.fixture(scope="module")
def figure() -> go.Figure:
    return figures.budget_ledger(shares_table(CELLS[:2], 3), title="Who </title><script>reads</script>?")


def test_page_holds_plotly_and_loads_nothing(figure: go.Figure, tmp_path: Path) -> None:
    path = figures.write_html(figure, tmp_path / "deep" / "ledger.html")
    text = path.read_text(encoding="utf-8")
    page = Links()
    page.feed(text)
    assert page.found == []
    assert page.titles == ["Who </title><script>reads</script>?"]
    assert text.count("<script>reads") == 0
    assert len(text) > 2_000_000
    assert re.search(r'id="figure-[0-9a-f]{16}"', text)
    assert 'name="viewport"' in text


def test_page_offers_no_upload(figure: go.Figure) -> None:
    assert '"showSendToCloud":false' in figures.html_fragment(figure)


def test_same_figure_same_bytes_and_another_figure_another_id(figure: go.Figure, tmp_path: Path) -> None:
    again = figures.budget_ledger(shares_table(CELLS[:2], 3), title="Who </title><script>reads</script>?")
    first = figures.write_html(figure, tmp_path / "a.html").read_bytes()
    assert first == figures.write_html(again, tmp_path / "b.html").read_bytes()
    other = figures.budget_ledger(shares_table(CELLS[:2], 4))
    assert export.div_id(export.stored_figure(other)) != export.div_id(export.stored_figure(figure))


def test_fragment_leaves_plotly_out_unless_asked(figure: go.Figure) -> None:
    assert len(figures.html_fragment(figure)) < 100_000
    assert len(figures.html_fragment(figure, with_plotly=True)) > 2_000_000


def test_a_failed_write_leaves_the_old_file_and_no_part(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.html"
    target.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        figures.write_html(figure, target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    assert target.read_text() == "old"


def test_endings_are_checked(figure: go.Figure, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"writes \.html; given: a\.png; for pictures use write_static"):
        figures.write_html(figure, tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"writes \.png, \.svg, \.pdf; given: a\.gif; for a page use write_html"
    ):
        figures.write_static(figure, tmp_path / "a.gif")


def test_without_a_browser_the_message_says_what_to_do(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(export, "BROWSER_FOLDERS", ())
    with pytest.raises(figures.NoBrowser, match=r"apt-get install chromium.*BROWSER_PATH.*write_html"):
        figures.write_static(figure, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_a_browser_is_found_by_name_or_by_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert export.find_browser() == str(program)
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "missing"))
    assert export.find_browser() is None


def test_without_kaleido_the_message_says_what_to_do(
    figure: go.Figure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def importing(name: str, *rest):  # type: ignore[no-untyped-def]
        if name == "kaleido":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(export, "find_browser", lambda: "browser")
    monkeypatch.setattr(builtins, "__import__", importing)
    with pytest.raises(figures.NoBrowser, match="pip install kaleido"):
        figures.write_static(figure, tmp_path / "a.svg")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_a_real_browser_draws_the_picture(figure: go.Figure, tmp_path: Path, kind: str) -> None:
    program()
    path = figures.write_static(figure, tmp_path / "deep" / f"ledger.{kind}", scale=2)
    content = path.read_bytes()
    width, height = figure.layout.meta["width"], figure.layout.height
    if kind == "png":
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        # The header chunk of a PNG holds width and height.
        assert struct.unpack(">II", content[16:24]) == (2 * width, 2 * height)
    elif kind == "svg":
        root = ElementTree.fromstring(content)
        assert (root.get("width"), root.get("height")) == (str(width), str(height))
        shown = "".join(root.itertext())
        assert "Who </title><script>reads</script>?" in shown
        assert "share of attention (%)" in shown
        assert not [element for element in root.iter() if element.tag.endswith("script")]
    else:
        assert content.startswith(b"%PDF")
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
