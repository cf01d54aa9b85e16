"""Figures for a paper: true sizes, type of 7 points or more, no title, and drawings that need no browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import figures
from budgetlens.command.main import main
from budgetlens.command.parsing import FAILED
from budgetlens.report import paper
from budgetlens.runs.run import Run
from figures import export
from figures.looks import paper_look
from figures.paper import WIDTHS, paper_svg, pixels_across, printed, sized
from tests import figure_tables


def points(svg: str, inches: float) -> list[float]:
    """The size of every text of a sized drawing, in points."""
    width = float(re.findall(r'viewBox="0 0 ([\d.]+) ', svg)[0])
    found = re.findall(r'font-size(?:="|: )([\d.]+)', svg)
    assert found
    return [float(size) * inches * 72 / width for size in found]


@pytest.mark.parametrize("width", list(WIDTHS))
def test_a_figure_for_print_has_no_title_and_no_type_below_seven_points(width: str) -> None:
    inches = WIDTHS[width]
    tables = figure_tables.effects_table()
    figure = figures.effects_forest(tables, title="A title")
    drawn = paper_look(figure, pixels_across(inches))
    assert drawn is not None
    assert not drawn.layout.title.text
    assert drawn.layout.meta["width"] == pixels_across(inches)
    sizes = [note.font.size for note in drawn.layout.annotations if note.font.size]
    sizes += [
        axis.tickfont.size or drawn.layout.template.layout.xaxis.tickfont.size
        for axis in drawn.select_xaxes()
    ]
    assert min(sizes) * inches * 72 / pixels_across(inches) >= 7
    # The page's figure is what it was, and room for a title is taken out.
    assert figure.layout.title.text == "<b>A title</b>"
    phone = figures.effects_forest(tables, title="A title", narrow=True)
    assert drawn.layout.margin.t < phone.layout.margin.t


def test_a_figure_of_another_s_has_no_look_for_print() -> None:
    assert paper_look(figures.effects_forest(figure_tables.effects_table(), dark=True), 300) is None
    with pytest.raises(ValueError, match="only figures of this package"):
        paper_svg(figures.effects_forest(figure_tables.effects_table(), dark=True), 3.25)


def test_a_sized_drawing_says_its_inches_and_keeps_its_shape() -> None:
    svg = sized('<svg class="x" width="9" style="a: b" viewBox="0 0 200 50"><rect width="3"/></svg>', 3.25)
    assert svg == '<svg viewBox="0 0 200 50" width="3.25in" height="0.8125in"><rect width="3"/></svg>'


def test_drawings_of_a_run_need_no_browser_and_the_rest_is_named(
    tmp_path: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export, "find_browser", lambda: None)
    capsys.readouterr()
    assert main(["figures", str(tiny_run), "answer", "attention", "effects", "--width", "6.75in"]) == FAILED
    shown = capsys.readouterr()
    written = [Path(line) for line in shown.out.splitlines()]
    assert [path.name for path in written] == ["answer-6.75in.svg", "attention-6.75in.svg"]
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert 'width="6.75in"' in text
        assert min(points(text, 6.75)) >= 7
        # Neither the question above nor the setting below: both are a caption's.
        assert "copied" not in text
    assert shown.err.count("\n") == 1
    assert shown.err.startswith(
        "budgetlens: not written: effects as svg, since a picture needs Chrome or Chromium"
    )
    with pytest.raises(ValueError, match="this run has no figure nothing; it has answer"):
        paper.paper_figures(Run.open(tiny_run), ["nothing"], "3.25in", ("svg",))


@pytest.fixture
def tiny_run(tmp_path: Path, tiny_directory: Path) -> Path:
    from tests.test_visible_names import report_of

    report_of("exp08", tmp_path, tiny_directory)
    return tmp_path / "run"


@pytest.mark.slow
@pytest.mark.skipif(export.find_browser() is None, reason="needs a browser")
def test_pdf_and_png_are_as_large_as_they_say() -> None:
    figure: Any = figures.effects_forest(figure_tables.effects_table())
    svg = paper_svg(figure, 3.25)
    assert min(points(svg, 3.25)) >= 7
    box = re.search(rb"MediaBox *\[0 0 ([\d.]+)", printed(svg, "pdf"))
    assert box is not None
    assert float(box.group(1)) == pytest.approx(3.25 * 72, abs=0.5)
    png = printed(svg, "png")
    assert int.from_bytes(png[16:20], "big") == pytest.approx(3.25 * 300, abs=2)
