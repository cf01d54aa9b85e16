"""The report in a real Chromium, from a file: quiet, whole at every width, usable by keys, readable, on paper."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import figures
import tests.browser
from budgetlens.report.document import report_page
from tests import figure_tables, report_pages
from tests.browser import (
    DESK,
    PHONE,
    Watched,
    assert_headings_in_order,
    beyond_the_keyboard,
    chromium,
    cut_texts,
    download,
    heading_levels,
    outside_the_viewport,
    scrolled_sideways,
    tab_stops,
    watched_page,
    weak_contrast,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def write_page(folder: Path, marked: str = "") -> Path:
    """A report over seeded tables whose foreign texts all carry `marked`."""
    tables = report_pages.report_tables(marked)
    text = report_page(
        report_pages.manifest(marked),
        tables,
        report_pages.report_figures(marked),
        report_pages.behind(marked, further={"shares": tables["likelihood"].frame.to_csv(index=False)}),
    )
    path = folder / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("hostile"), report_pages.HOSTILE)


def opened(browser: Browser, path: Path, size: tuple[int, int] = DESK, *, dark: bool = False) -> Watched:
    """The page, once every figure is drawn and every fold is open."""
    watched = watched_page(browser, size, dark=dark)
    watched.page.goto(path.as_uri())
    open_everything(watched.page)
    watched.page.wait_for_function(
        "() => document.querySelectorAll('.js-plotly-plot .main-svg').length >= 4 * 3"
    )
    return watched


def open_everything(page: Page) -> None:
    """Every fold opened and every figure drawn, as by a reader who looks at them one by one."""
    page.evaluate("() => document.querySelectorAll('details').forEach(part => part.open = true)")
    page.evaluate(
        "() => Promise.all([...document.querySelectorAll('[data-figure]')].map(p => budgetlensFigures.show(p.id)))"
    )
    page.wait_for_function("() => !document.querySelector('[data-held]')")


@pytest.fixture(scope="module")
def desk(browser: Browser, plain: Path) -> Iterator[Watched]:
    watched = opened(browser, plain)
    yield watched
    watched.page.context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("kind", ["plain", "hostile"])
def test_page_is_quiet_whole_and_readable(
    browser: Browser, request: pytest.FixtureRequest, kind: str, size: tuple[int, int], dark: bool
) -> None:
    watched = opened(browser, request.getfixturevalue(kind), size, dark=dark)
    page = watched.page
    try:
        theme = "dark" if dark else "light"
        # What is folded scrolls sideways on a phone; what stands open has a look for it.
        assert looks_of(page) == ({theme, f"{theme} narrow"} if size == PHONE else {theme})
        assert (page_light(page) < 30) == dark
        assert outside_the_viewport(page) == []
        assert weak_contrast(page, without=".on-band") == []
        assert beyond_the_keyboard(page, "nav, main") == []
        assert_headings_in_order(heading_levels(page))
        assert page.evaluate("window.broken") is None
        watched.assert_quiet()
    finally:
        page.context.close()


def looks_of(page: Page) -> set[str]:
    """The looks in which the page's figures stand."""
    return set(
        page.evaluate(
            "() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => plot.dataset.look)"
        )
    )


def page_light(page: Page) -> float:
    """Mean of the channels of the page's ground, 0 to 255."""
    colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    channels = [float(channel) for channel in re.findall(r"[\d.]+", colour)[:3]]
    return sum(channels) / 3


@pytest.mark.parametrize("scripts", [True, False], ids=["", "no script"])
@pytest.mark.parametrize("size", [DESK, (900, 1000), PHONE], ids=["desk", "half", "phone"])
def test_the_answer_and_its_figure_begin_in_the_first_screen(
    browser: Browser, plain: Path, size: tuple[int, int], scripts: bool
) -> None:
    """One of the two pictures is shown, and neither plotly nor a script is needed for it."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, java_script_enabled=scripts, reduced_motion="reduce"
    )
    page = context.new_page()
    page.goto(plain.as_uri())
    shown = page.locator(".card .drawn:visible")
    assert shown.count() == 1
    assert ("narrow" in str(shown.get_attribute("class"))) == (size == PHONE)
    tops = []
    for place in ("h1", ".answer", ".card .drawn:visible"):
        box = page.locator(place).bounding_box()
        assert box is not None
        tops.append(box["y"])
    assert tops == sorted(tops)
    assert tops[-1] < 0.75 * size[1]
    if scripts:
        assert page.evaluate("() => window.Plotly") is None or size != PHONE
    context.close()


def test_plotly_is_unpacked_for_the_first_figure_in_sight_and_each_is_drawn_once(
    browser: Browser, tmp_path: Path
) -> None:
    figure = report_pages.report_figures()["budgets_decoder"]
    path = tmp_path / "report.html"
    text = report_page(report_pages.manifest(), report_pages.report_tables(), {"budgets": figure})
    path.write_text(text, encoding="utf-8")
    watched = watched_page(browser)
    page = watched.page
    page.goto(path.as_uri())
    assert page.evaluate("() => typeof window.Plotly") == "undefined"
    fold = page.locator("details:has(> summary #figure-budgets)")
    fold.evaluate("part => { part.open = true; part.scrollIntoView(); }")
    page.wait_for_selector(".js-plotly-plot .main-svg")
    page.evaluate("() => { document.querySelector('.js-plotly-plot').dataset.kept = 'yes'; }")
    fold.evaluate("part => { part.open = false; }")
    fold.evaluate("part => { part.open = true; part.scrollIntoView(); }")
    assert page.evaluate("() => document.querySelector('.js-plotly-plot').dataset.kept") == "yes"
    assert page.locator(".js-plotly-plot").count() == 1
    watched.assert_quiet()
    page.context.close()


def test_search_leaves_what_holds_every_word(browser: Browser, plain: Path) -> None:
    watched = watched_page(browser)
    page = watched.page
    page.goto(plain.as_uri())
    every = page.locator(".entry:visible").count()
    page.locator("#search").fill("paired EFFECTS holm")
    page.wait_for_function("() => document.getElementById('found').textContent")
    left = page.locator(".entry:visible")
    assert 0 < left.count() < every
    assert page.locator("#found").text_content() == f"{left.count()} of {every}"
    for entry in left.all():
        assert all(word in str(entry.text_content()).lower() for word in ("paired", "effects", "holm"))
    # Words of a folded table, and none of what lies packed beside it.
    assert page.evaluate("() => document.querySelectorAll('[data-held]').length") == 0
    page.locator("#search").fill("data-packed")
    page.wait_for_function("() => document.getElementById('found').textContent.startsWith('0 ')")
    page.locator("#search").fill("")
    page.wait_for_function("() => !document.getElementById('found').textContent")
    assert page.locator(".entry:visible").count() == every
    page.context.close()


def test_a_link_into_the_appendix_opens_what_it_leads_to(browser: Browser, plain: Path) -> None:
    watched = watched_page(browser)
    page = watched.page
    page.goto(plain.as_uri() + "#table-effects")
    page.wait_for_function("() => document.querySelector('#table-effects').closest('details').open")
    page.locator("figcaption a[href='#table-likelihood']").click()
    page.wait_for_function("() => document.querySelector('#table-likelihood').closest('details').open")
    page.context.close()


def test_the_answer_is_copied_as_picture_drawing_and_latex(browser: Browser, plain: Path) -> None:
    """Where a page may not write to the clipboard, the same is saved; here it may not."""
    watched = watched_page(browser)
    page = watched.page
    page.goto(plain.as_uri())
    page.evaluate("() => { navigator.clipboard.write = () => Promise.reject(new Error('no')); }")
    beginnings = {"picture": b"\x89PNG", "svg": b"<svg", "text": b"\\begin{table}"}
    for what, beginning in beginnings.items():
        button = page.locator(f".card button[data-copy='{what}']")
        name, content = download(page, button.click)
        assert content.startswith(beginning), name
        if what == "svg":
            told = content.decode()
            assert "A prefix helps" in told
            assert "some/model" in told
            assert 'viewBox="-18' in told
    watched.assert_quiet()
    page.context.close()


def test_open_figures_fit_on_a_phone_without_scrolling(browser: Browser, plain: Path) -> None:
    watched = opened(browser, plain, PHONE)
    page = watched.page
    assert scrolled_sideways(page, "[aria-labelledby=evidence] figure .scroll") == []
    assert cut_texts(page, "[aria-labelledby=evidence] .js-plotly-plot") == []
    widths = page.evaluate(
        "() => [...document.querySelectorAll('[aria-labelledby=evidence] .js-plotly-plot')].map(plot => plot.clientWidth)"
    )
    assert len(widths) == 1
    assert all(350 < width <= PHONE[0] for width in widths)
    # No text smaller than on a wide page.
    sizes = page.evaluate(
        "() => [...document.querySelectorAll('.js-plotly-plot .main-svg text')]"
        ".filter(text => text.textContent.trim()).map(text => parseFloat(getComputedStyle(text).fontSize))"
    )
    assert min(sizes) >= 10
    watched.assert_quiet()
    page.context.close()


def test_figures_follow_the_reader_from_look_to_look_with_the_same_numbers(
    browser: Browser, plain: Path
) -> None:
    watched = opened(browser, plain)
    page = watched.page
    numbers = (
        "() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => plot._fullData"
        ".map(trace => [trace.name, Array.from(trace.x), Array.from(trace.y)]).sort())"
    )
    before = page.evaluate(numbers)
    bars = page.locator(".infolayer .colorbar").count()
    for size, dark in ((PHONE, False), (PHONE, True), (DESK, True), (DESK, False)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme="dark" if dark else "light")
        theme = "dark" if dark else "light"
        page.wait_for_function(
            "([folded, open]) => [...document.querySelectorAll('.js-plotly-plot')].every("
            "plot => plot.dataset.look === (plot.closest('details') ? folded : open))",
            arg=[theme, theme + (" narrow" if size == PHONE else "")],
        )
        assert page.evaluate(numbers) == before
        assert page.locator(".infolayer .colorbar").count() == bars
        title = page.evaluate("() => getComputedStyle(document.querySelector('.gtitle')).fill")
        assert title == ("rgb(236, 238, 241)" if dark else "rgb(26, 29, 33)")
    watched.assert_quiet()
    page.context.close()


def test_a_colour_bar_moves_below_its_figure_and_back(browser: Browser, tmp_path: Path) -> None:
    figure = figures.head_map(figure_tables.heads_table(layers=4, heads=3), "bos")
    watched = watched_page(browser, dark=True)
    page = watched.page
    page.goto(figures.write_html(figure, tmp_path / "heads.html").as_uri())
    shape = (
        "() => [...document.querySelectorAll('.infolayer .colorbar .cboutline')]"
        ".map(part => part.getBBox()).map(box => box.width > box.height)"
    )
    ticks = "() => document.querySelectorAll('.infolayer .colorbar .cbaxis text').length"
    assert page_light(page) < 30
    assert page.evaluate(shape) == [False]
    first = page.evaluate(ticks)
    for size, level in ((PHONE, True), (DESK, False)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.wait_for_function(
            "narrow => document.querySelector('.js-plotly-plot').dataset.look.endsWith('narrow') === narrow",
            arg=level,
        )
        assert page.evaluate(shape) == [level]
        assert outside_the_viewport(page) == []
    assert page.evaluate(ticks) == first
    watched.assert_quiet()
    page.context.close()


def test_pictures_saved_from_a_dark_phone_are_those_for_paper(browser: Browser, plain: Path) -> None:
    watched = opened(browser, plain, PHONE, dark=True)
    page = watched.page
    button = page.locator("details:has(> summary #figure-effects) button[data-format='svg']")
    _, content = download(page, button.click)
    picture = content.decode("utf-8")
    assert 'width="1080"' in picture[:400]
    assert "rgb(255, 255, 255)" in picture
    assert "rgb(20, 23, 28)" not in picture
    page.context.close()


def test_hostile_text_is_read_as_it_was_written(browser: Browser, hostile: Path) -> None:
    watched = opened(browser, hostile)
    page = watched.page
    shown = report_pages.HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\u202c", "⟨U+202C⟩")
    for place in (
        ".over",
        "h1",
        ".answer",
        ".measured",
        ".telling dd",
        ".token",
        ".strip .cell",
        ".fed dd",
        "details:has(> summary #manifest) dl",
        "details:has(> summary #table-effects) tbody th",
    ):
        assert shown in page.locator(place).first.text_content().replace("⏎", "\n"), place
    assert page.locator("main img").count() == 0
    page.context.close()


def test_policy_refuses_what_a_script_would_load(browser: Browser, plain: Path) -> None:
    """The page's own policy stops a request before the test's watch does."""
    watched = watched_page(browser)
    watched.page.goto(plain.as_uri())
    refused = watched.page.evaluate(
        "() => fetch('https://example.invalid/').then(() => 'sent', error => error.name)"
    )
    assert refused == "TypeError"
    assert watched.foreign == []
    assert any("Content Security Policy" in message for message in watched.errors)
    watched.page.context.close()


def test_every_table_downloads_as_its_csv(desk: Watched) -> None:
    tables = report_pages.report_tables()
    expected = {f"{name}.csv": table.to_csv() for name, table in tables.items()}
    expected["shares.csv"] = tables["likelihood"].to_csv()
    buttons = desk.page.locator("button[data-csv]")
    found = {}
    for place in range(buttons.count()):
        name, content = download(desk.page, partial(buttons.nth(place).press, "Enter"))
        found[name] = content.decode("utf-8")
    assert found == expected
    desk.assert_quiet()


def test_every_figure_is_saved_as_a_picture(desk: Watched) -> None:
    beginnings = {"svg": b"<svg", "png": b"\x89PNG"}
    buttons = desk.page.locator("button[data-plot]")
    assert buttons.count() == 8
    for place in range(buttons.count()):
        form = str(buttons.nth(place).get_attribute("data-format"))
        name, content = download(desk.page, buttons.nth(place).click)
        assert name.endswith(f".{form}")
        assert content.startswith(beginnings[form])
        assert len(content) > 10_000
    desk.assert_quiet()


def test_anchors_lead_to_their_sections(desk: Watched) -> None:
    page = desk.page
    links = page.locator("nav a, main h2 a.anchor, main h3 a.anchor, figcaption a")
    assert links.count() > 20
    for place in range(links.count()):
        anchor = str(links.nth(place).get_attribute("href"))
        links.nth(place).focus()
        page.keyboard.press("Enter")
        assert page.evaluate("() => decodeURIComponent(location.hash)") == anchor
        box = page.locator(anchor).bounding_box()
        assert box is not None
        # At the top of the view, or as near as the end of the page allows.
        bottom = page.evaluate("() => document.documentElement.scrollHeight - innerHeight - scrollY")
        assert -2 <= box["y"] < 60 or bottom <= 1, anchor


def test_link_of_a_heading_shows_on_hover(desk: Watched) -> None:
    link = desk.page.locator("#evidence .anchor")
    opacity = "element => getComputedStyle(element).opacity"
    desk.page.locator("h1").hover()
    assert link.evaluate(opacity) == "0"
    desk.page.locator("#evidence").hover()
    assert link.evaluate(opacity) == "1"


def test_tab_reaches_every_control_and_shows_where_it_is(desk: Watched) -> None:
    page = desk.page
    stops = tab_stops(page)
    assert stops[0]["href"] == "#answer"
    assert [stop["name"] for stop in stops if not (stop["ring"] and stop["seen"])] == []
    counts = page.evaluate(
        "() => ({links: document.querySelectorAll('a[href]').length, "
        "buttons: document.querySelectorAll('main button').length, "
        "scrollers: document.querySelectorAll('.scroll').length, "
        "folds: document.querySelectorAll('summary').length})"
    )
    tags = [stop["tag"] for stop in stops]
    assert tags.count("button") == counts["buttons"]
    assert tags.count("div") == counts["scrollers"]
    assert tags.count("summary") == counts["folds"]
    assert sum(stop["href"] is not None for stop in stops) == counts["links"]


def test_wide_content_scrolls_by_keys_on_a_phone(browser: Browser, plain: Path) -> None:
    watched = opened(browser, plain, PHONE)
    scroller = watched.page.locator("details:has(> summary #table-effects) .scroll")
    scroller.focus()
    watched.page.keyboard.press("ArrowRight")
    watched.page.wait_for_function("element => element.scrollLeft > 0", arg=scroller.element_handle())
    watched.page.context.close()


def test_figures_hold_the_numbers_of_the_table(desk: Watched) -> None:
    """What plotly draws in the page, against the table: every mean of the interaction plot."""
    drawn = desk.page.evaluate(
        "() => document.querySelector('#figure-interaction-plot .js-plotly-plot')._fullData"
        ".flatMap(trace => Array.from(trace.y))"
    )
    expected = report_pages.report_tables()["likelihood"].frame["mean"]
    assert sorted(drawn) == pytest.approx(sorted(expected), abs=1e-12)


@pytest.mark.parametrize(("size", "dark"), [((718, 1000), False), (PHONE, True)], ids=["sheet", "dark phone"])
def test_page_fits_on_paper(browser: Browser, plain: Path, size: tuple[int, int], dark: bool) -> None:
    watched = opened(browser, plain, size, dark=dark)
    page = watched.page
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})
    page.wait_for_function(
        "() => [...document.querySelectorAll('.js-plotly-plot')].every(plot => plot.dataset.look === 'light')"
    )
    assert page_light(page) == 255
    assert weak_contrast(page, without=".on-band") == []
    assert outside_the_viewport(page) == []
    assert not page.locator("nav").is_visible()
    assert not page.locator("button").first.is_visible()
    widths = page.evaluate(
        "() => [...document.querySelectorAll('.plot')].map(part => part.getBoundingClientRect().width)"
    )
    assert all(300 < width <= 692 for width in widths)
    assert page.pdf(prefer_css_page_size=True, print_background=True).startswith(b"%PDF")
    page.context.close()


def test_folds_open_for_printing_and_close_again(browser: Browser, plain: Path) -> None:
    watched = watched_page(browser)
    page = watched.page
    page.goto(plain.as_uri())
    count = "() => document.querySelectorAll('details.print[open]').length"
    assert page.evaluate(count) == 0
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(count) == 2
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(count) == 0
    page.context.close()


@pytest.mark.parametrize("required", ["BUDGETLENS_REQUIRE_BROWSER", "CI", ""])
def test_absence_of_a_browser_is_a_failure_where_one_is_required(
    monkeypatch: pytest.MonkeyPatch, required: str
) -> None:
    for name in ("BUDGETLENS_REQUIRE_BROWSER", "CI"):
        monkeypatch.delenv(name, raising=False)
    if required:
        monkeypatch.setenv(required, "true")
    monkeypatch.setattr(tests.browser, "find_browser", lambda: None)
    outcome = pytest.fail.Exception if required else pytest.skip.Exception
    with pytest.raises(outcome, match="no Chrome or Chromium was found; `make browser` installs Debian's"):
        tests.browser.program()


def test_checks_of_layout_and_contrast_find_what_is_wrong(browser: Browser) -> None:
    """The helpers that the other tests trust, on a page with known defects."""
    watched = watched_page(browser, PHONE)
    page = watched.page
    page.set_content(
        '<main style="background:#fff"><h1>Title</h1><p id="weak" style="color:#999">weak</p>'
        '<p style="color:#767676">just enough</p><p style="color:#777">just too weak</p>'
        '<p style="font-size:24px;color:#949494">large</p>'
        '<p style="background:#000;color:#fff">white on black</p>'
        '<div id="wide" style="width:500px;height:9px"></div>'
        '<div style="overflow-x:auto"><div style="width:900px">held</div></div>'
        '<button tabindex="-1">beyond</button><a href="#x" style="outline:none">reached</a></main>'
        "<script>console.error('an error'); fetch('http://example.invalid/').catch(() => 0);</script>"
    )
    page.wait_for_function("() => document.readyState === 'complete'")
    weak = weak_contrast(page)
    assert [entry.split()[0] for entry in weak] == ["2.85", "4.48"]
    assert [entry.partition(": ")[2] for entry in weak] == ["weak", "just too weak"]
    outside = outside_the_viewport(page)
    assert outside[0].startswith("page scrolls sideways")
    assert [entry.split()[0] for entry in outside[1:]] == ["DIV.#wide"]
    assert len(beyond_the_keyboard(page)) == 1
    # Chromium lets the Tab key reach what scrolls.
    assert [(stop["name"], stop["ring"]) for stop in tab_stops(page)] == [("held", True), ("reached", False)]
    assert watched.foreign == ["http://example.invalid/"]
    assert any("an error" in message for message in watched.errors)
    page.context.close()


def test_entropies_tell_plotly_nothing_that_it_warns_of(browser: Browser, tmp_path: Path) -> None:
    """Points with numbers for colours gave their entry in the legend the colour 0, which plotly warns of."""
    figure = figures.entropy_against_mass(figure_tables.entropies_table())
    text = report_page(report_pages.manifest(), report_pages.report_tables(), {"entropies": figure})
    path = tmp_path / "report.html"
    path.write_text(text, encoding="utf-8")
    watched = watched_page(browser)
    watched.page.goto(path.as_uri())
    open_everything(watched.page)
    watched.page.wait_for_selector(".js-plotly-plot .main-svg .legend")
    entries = watched.page.locator(".legend .legendpoints path").all()
    parts = set(figure_tables.entropies_table()["part"])
    assert len(entries) == len(parts)
    assert {entry.evaluate("path => getComputedStyle(path).fill") for entry in entries} != {"rgb(0, 0, 0)"}
    watched.assert_quiet()
