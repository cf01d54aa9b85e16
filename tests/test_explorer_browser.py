"""The explorer in a real headless Chromium: clicks, keys, addresses, layouts, contrast, exports, hostile texts."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from budgetlens.explorer import callbacks
from budgetlens.explorer.command import LOCAL
from budgetlens.explorer.data import RunData, load_runs
from budgetlens.explorer.state import VIEWS, State, resolved, to_fragment
from tests import browser as look
from tests.explorer_runs import HOSTILE, hostile_run, synthetic_run

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

#: Milliseconds that a busy machine may take for one answer.
PATIENCE = 60_000
OWN = {"query": "who built <i>it</i>", "document": "The mill was built by Oss & sons.", "answer": "Oss"}
FIGURE = ".slot:not([hidden]) .js-plotly-plot .main-svg"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tiny_directory: Path) -> dict[str, RunData]:
    """A run of a tiny model over hostile texts, and one of numbers alone whose model is nowhere."""
    folder = tmp_path_factory.mktemp("explored")
    numbers = synthetic_run(folder / "numbers", examples=30, layers=3, heads=4)
    return load_runs([hostile_run(folder, tiny_directory), numbers])


@pytest.fixture(scope="module")
def address(runs: dict[str, RunData]) -> Iterator[str]:
    """A served explorer."""
    from werkzeug.serving import make_server

    from budgetlens.explorer.app import make_app

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, make_app(runs, hosts=LOCAL).server, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with look.chromium() as opened:
        yield opened


def fragment(runs: dict[str, RunData], **choices: object) -> str:
    state, notes = resolved(State(**choices), runs)  # type: ignore[arg-type]
    assert notes == []
    return to_fragment(state)


def opened(
    browser: Browser, address: str, where: str = "", size: tuple[int, int] = look.DESK, *, dark: bool = False
) -> look.Watched:
    """A page that shows something, its controls filled."""
    watched = look.watched_page(browser, size, dark=dark)
    watched.page.set_default_timeout(PATIENCE)
    watched.page.goto(address + where)
    settled(watched.page)
    return watched


def settled(page: Page) -> None:
    """Wait until a figure or a message is there and nothing is being fetched."""
    page.wait_for_selector(f"#alert:not([hidden]), {FIGURE}")
    page.wait_for_load_state("networkidle")
    page.wait_for_selector("#run-value:has-text('exp08')")


def heading_is(page: Page, heading: str) -> None:
    page.wait_for_selector(f"#heading:text-is('{heading}')")
    settled(page)


def click_point(page: Page, selector: str) -> None:
    """Click where a mark of a figure stands, as a hand would: plotly listens on a layer above the marks."""
    mark = page.locator(selector).first
    mark.scroll_into_view_if_needed()
    box = mark.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    page.mouse.click(x, y)


def token_text(page: Page) -> str:
    """The tokens drawn in the token view, put together."""
    return str(
        page.evaluate(
            "() => [...document.querySelectorAll('#second .textpoint')].map(e => e.textContent).join('')"
        )
    ).replace("\N{NO-BREAK SPACE}", " ")


def test_a_click_goes_from_an_effect_to_the_token_view(browser: Browser, address: str) -> None:
    watched = opened(browser, address)
    page = watched.page
    heading_is(page, "Effects")
    click_point(page, "#figure .scatterlayer .point")
    heading_is(page, "Examples")
    assert "oracle prefix | prompt=none, BOS visible" in page.inner_text("#lead")
    click_point(page, "#figure .scatterlayer .point")
    heading_is(page, "Tokens")
    assert "view=tokens" in page.url
    assert token_text(page)
    assert page.inner_text("#passages dd >> nth=1")
    page.go_back()
    heading_is(page, "Examples")
    page.go_back()
    heading_is(page, "Effects")
    watched.assert_quiet()


def test_a_click_on_a_head_goes_to_its_tokens(
    browser: Browser, address: str, runs: dict[str, RunData]
) -> None:
    watched = opened(
        browser,
        address,
        fragment(runs, view="attention", map="heads", cells=(next(iter(runs.values())).cells[0],)),
    )
    page = watched.page
    click_point(page, "#figure .heatmaplayer image")
    heading_is(page, "Tokens")
    assert "head=" in page.url
    assert "&layer=" in page.url
    watched.assert_quiet()


def test_another_probe_is_chosen_in_a_control(
    browser: Browser, address: str, runs: dict[str, RunData]
) -> None:
    watched = opened(browser, address, fragment(runs, view="attention"))
    page = watched.page
    assert pick(page, "probe", 1) == "Attention entropy"
    page.wait_for_url("**probe=entropies**")
    page.wait_for_selector("#lead:has-text('Attention entropy: entropy of the answer')")
    settled(page)
    click_point(page, "#figure .heatmaplayer image")
    heading_is(page, "Tokens")
    page.go_back()
    heading_is(page, "Attention")
    page.click("#view label:has-text('Effects')")
    heading_is(page, "Effects")
    assert pick(page, "tested", 2) == "Attention entropy"
    page.wait_for_url("**tested=entropies**")
    page.wait_for_selector("#table:has-text('layers with a difference')")
    watched.assert_quiet()


def test_the_keyboard_alone_goes_from_an_effect_to_the_token_view(browser: Browser, address: str) -> None:
    watched = opened(browser, address)
    page = watched.page
    button = page.locator("#table button.link").first
    button.focus()
    page.keyboard.press("Enter")
    heading_is(page, "Examples")
    sort = page.locator("#table thead button:has-text('baseline')")
    sort.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#table th[aria-sort='descending']:has-text('baseline')")
    page.locator("#table button.link").first.focus()
    page.keyboard.press("Enter")
    heading_is(page, "Tokens")
    page.locator("#layer").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".dash-dropdown-content")
    page.keyboard.press("Escape")
    page.wait_for_selector(".dash-dropdown-content", state="detached")
    watched.assert_quiet()


@pytest.mark.parametrize("view", list(VIEWS))
def test_every_control_is_reached_by_tab_and_shows_it(
    browser: Browser, address: str, runs: dict[str, RunData], view: str
) -> None:
    watched = opened(browser, address, fragment(runs, view=view, **(OWN if view == "own" else {})))
    page = watched.page
    stops = look.tab_stops(page)
    reached = {str(stop["id"]) for stop in stops}
    shown = page.evaluate(
        "() => [...document.querySelectorAll('.dash-dropdown, textarea, .tools button, .buttons button')]"
        ".filter(e => e.getBoundingClientRect().width && !e.disabled && e.id).map(e => e.id)"
    )
    assert len(shown) > 5
    assert set(shown) <= reached
    assert all(stop["ring"] for stop in stops if stop["tag"] != "input"), [s for s in stops if not s["ring"]]
    others = [html for html in look.beyond_the_keyboard(page) if "dash-dropdown" not in html]
    assert others == []
    watched.assert_quiet()


#: One address for every view, every field of the state in at least one.
ADDRESSES = (
    {"view": "effects", "strata": "hardness", "stratum": "2 of 5", "family": "sink", "run": "numbers"},
    {
        "view": "attention",
        "map": "heads",
        "layers": ("0", "2"),
        "heads": ("1", "3"),
        "categories": ("bos",),
        "cells": (0, 2),
    },
    {
        "view": "examples",
        "drawing": "slopes",
        "sort": "query",
        "order": "up",
        "contrast": "position (none→position) | bare",
    },
    {"view": "tokens", "layer": "1", "head": "2", "row": "0", "left": 3, "right": 7},
    {"view": "own", **OWN, "prefix": "the miller", "layer": "3", "head": "1", "row": "0"},
)


@pytest.mark.parametrize("choices", ADDRESSES, ids=[str(choices["view"]) for choices in ADDRESSES])
def test_a_copied_address_restores_the_view(
    browser: Browser, address: str, runs: dict[str, RunData], choices: dict[str, object]
) -> None:
    cells = next(iter(runs.values())).cells
    named = {
        name: cells[value]
        if isinstance(value, int)
        else tuple(cells[i] for i in value)
        if name == "cells"
        else value  # type: ignore[attr-defined]
        for name, value in choices.items()
    }
    first = opened(browser, address, fragment(runs, **named))
    copied = first.page.url
    assert copied.endswith(fragment(runs, **named))
    second = opened(browser, copied)
    assert seen(second.page) == seen(first.page)
    assert second.page.url == copied
    for text in OWN if choices["view"] == "own" else {}:
        assert second.page.input_value(f"#{text}") == OWN[text]
    for watched in (first, second):
        watched.assert_quiet()


def seen(page: Page) -> dict[str, object]:
    """What a reader sees: headings, the controls' values, the figures' titles, the table."""
    return dict(
        page.evaluate(
            """() => ({
              heading: document.querySelector('#heading').textContent,
              lead: document.querySelector('#lead').textContent,
              controls: [...document.querySelectorAll('.control')].filter(e => e.getBoundingClientRect().width)
                .map(e => e.id + ': ' + e.textContent),
              radios: [...document.querySelectorAll('input[type=radio]:checked')].map(e => e.value),
              figures: [...document.querySelectorAll('.slot:not([hidden]) .gtitle')].map(e => e.textContent),
              table: document.querySelector('#table').textContent,
            })"""
        )
    )


def test_an_address_that_means_nothing_is_told(browser: Browser, address: str) -> None:
    watched = opened(browser, address, "#view=nowhere&colour=red&contrast=none")
    notes = watched.page.inner_text("#notes")
    assert "There is no view 'nowhere' here" in notes
    assert "a part 'colour' that means nothing here" in notes
    heading_is(watched.page, "Effects")
    watched.assert_quiet()


def pick(page: Page, control: str, option: int) -> str:
    """Choose an option of a list; its text."""
    page.click(f"#{control}")
    chosen = page.locator(".dash-dropdown-content .dash-dropdown-option").nth(option)
    text = chosen.inner_text()
    chosen.click()
    page.keyboard.press("Escape")
    page.wait_for_selector(".dash-dropdown-content", state="detached")
    return text


#: Controls of every view with the place of the option to choose, and the part of the address that follows.
CONTROLS = {
    "effects": {
        "strata": (3, "strata=hardness"),
        "stratum": (2, "stratum=2+of+5"),
        "family": (2, "family=prompt"),
    },
    "attention": {
        "cells": (1, "cells=prefix"),
        "layers": (1, "layers=1"),
        "heads": (2, "heads=2"),
        "categories": (0, "categories=bos"),
    },
    "examples": {"contrast": (4, "contrast="), "example": (5, "example=e0005")},
    "tokens": {
        "left": (2, "left=prefix"),
        "right": (0, "right=none"),
        "layer": (0, "layer=0"),
        "head": (1, "head=0"),
        "row": (1, "row=0"),
    },
}


@pytest.mark.parametrize("view", list(CONTROLS))
def test_every_list_changes_the_view_and_the_address(
    browser: Browser, address: str, runs: dict[str, RunData], view: str
) -> None:
    watched = opened(browser, address, fragment(runs, view=view, run="numbers"))
    page = watched.page
    for control, (option, part) in CONTROLS[view].items():
        before = page.url
        text = pick(page, control, option)
        page.wait_for_url(lambda url, before=before, part=part: url != before and part in url)
        settled(page)
        assert text.strip() in page.inner_text(f"#{control}")
        if view == "effects":
            assert page.locator("#alert").is_hidden()
    watched.assert_quiet()


def test_radios_sorts_and_pages(browser: Browser, address: str, runs: dict[str, RunData]) -> None:
    watched = opened(browser, address, fragment(runs, view="examples", run="numbers"))
    page = watched.page
    page.click("#drawing label:has-text('lines')")
    page.wait_for_url(lambda url: "drawing=slopes" in url)
    page.click("#table button:has-text('Next')")
    page.wait_for_selector("text=page 2 of 2")
    assert page.locator("#table button:has-text('Next')").is_disabled()
    page.click("#table thead button:has-text('difference')")
    page.wait_for_url(lambda url: "sort=difference" in url)
    page.wait_for_selector("text=page 1 of 2")
    page.click("#view label:has-text('Attention')")
    heading_is(page, "Attention")
    page.click("#map label:has-text('heads, difference')")
    page.wait_for_url(lambda url: "map=contrast" in url)
    pick(page, "run", 0)
    page.wait_for_url(lambda url: "run=hostile" in url)
    settled(page)
    assert page.inner_text("#notes") == ""
    watched.assert_quiet()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [look.PHONE, look.DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("view", list(VIEWS))
def test_the_layout_holds_and_texts_are_read(
    browser: Browser, address: str, runs: dict[str, RunData], view: str, size: tuple[int, int], dark: bool
) -> None:
    data = next(iter(runs.values()))
    longest = next(name for name, example in data.texts.items() if len(example.document) > 10_000)
    where = fragment(runs, view=view, example=longest, **(OWN if view == "own" else {}))
    watched = opened(browser, address, where, size, dark=dark)
    page = watched.page
    assert look.outside_the_viewport(page) == []
    # Text on a shade of the token view is black or white by the shade; its own test holds it to WCAG AA.
    assert look.weak_contrast(page, without="#second") == []
    if size == look.PHONE:
        assert look.scrolled_sideways(page, ".slot .scroll") == []
        assert look.cut_texts(page, ".slot:not([hidden]) .js-plotly-plot") == []
    page.locator("#run").click()
    page.wait_for_selector(".dash-dropdown-content")
    assert look.weak_contrast(page, ".dash-dropdown-content") == []
    page.keyboard.press("Escape")
    levels = look.heading_levels(page)
    look.assert_headings_in_order(levels)
    watched.assert_quiet()


def test_a_turned_phone_draws_again_and_clicks_go_on(
    browser: Browser, address: str, runs: dict[str, RunData]
) -> None:
    watched = opened(browser, address, fragment(runs, view="attention", map="heads"), look.PHONE)
    page = watched.page
    # The bar's outline is level, then upright.
    bar = (
        "() => [...document.querySelectorAll('#figure .infolayer .colorbar .cboutline')]"
        ".map(e => e.getBBox()).map(box => box.width - box.height)"
    )
    (level,) = page.evaluate(bar)
    assert level > 200
    page.set_viewport_size({"width": look.DESK[0], "height": look.DESK[1]})
    page.wait_for_function(
        "() => document.querySelector('#figure .js-plotly-plot').layout.meta.width === 1000"
    )
    settled(page)
    (upright,) = page.evaluate(bar)
    assert upright < -80
    # Nothing of the level bar is left: its ticks stood below the figure, those of an upright one beside it.
    heights = "() => [...document.querySelectorAll('#figure .colorbar text')].map(e => e.getBoundingClientRect().top)"
    lowest = page.evaluate(
        "() => document.querySelector('#figure .cboutline').getBoundingClientRect().bottom"
    )
    assert max(page.evaluate(heights)) < lowest
    click_point(page, "#figure .heatmaplayer image")
    heading_is(page, "Tokens")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('#second .gtitle')).fill === 'rgb(236, 238, 241)'"
    )
    watched.assert_quiet()


def test_texts_of_a_corpus_are_shown_as_text(
    browser: Browser, address: str, runs: dict[str, RunData]
) -> None:
    data = next(iter(runs.values()))
    watched = opened(browser, address, fragment(runs, view="examples"))
    page = watched.page
    for row in HOSTILE:
        name = next(name for name, example in data.texts.items() if example.query == row["query"])
        page.goto(address + fragment(runs, view="tokens", example=name))
        page.wait_for_selector(f"#passages h3:text-is('Example {name}')")
        settled(page)
        shown = page.evaluate("() => [...document.querySelectorAll('#passages dd')].map(e => e.textContent)")
        assert shown[0] == row["query"]
        assert shown[1] == row["answer"]
        assert shown[2].startswith(row["document"][:6_000])
        assert page.locator("#alert").is_hidden()
    page.goto(address + fragment(runs, view="own", **{name: HOSTILE[0][name] for name in OWN}))
    heading_is(page, "Own text")
    assert page.input_value("#query") == HOSTILE[0]["query"]
    assert page.evaluate(
        "() => window.hacked === undefined && !document.querySelector('main img, main script')"
    )
    watched.assert_quiet()


def test_texts_of_ones_own_are_measured(browser: Browser, address: str, runs: dict[str, RunData]) -> None:
    watched = opened(browser, address, fragment(runs, view="own"))
    page = watched.page
    assert "Type a query, a document and an answer, then measure." in page.inner_text("#alert")
    page.click("#take")
    page.wait_for_selector(FIGURE)
    settled(page)
    assert page.input_value("#document")
    for name, text in OWN.items():
        page.fill(f"#{name}", text)
    page.fill("#prefix", "the miller of the river")
    page.click("#measure")
    page.wait_for_selector("#table td:has-text('prefix=own')")
    settled(page)
    assert page.locator("#table tbody tr").count() == 17 + 8
    assert "the miller of the river" in token_text(page)
    assert "prefix=the+miller" in page.url
    watched.assert_quiet()


def saved(page: Page, button: str) -> tuple[str, bytes]:
    return look.download(page, lambda: page.click(f"#{button}"))


def test_every_view_is_saved(
    browser: Browser, address: str, runs: dict[str, RunData], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = opened(browser, address, fragment(runs, view="tokens"))
    page = watched.page
    name, content = saved(page, "export-csv")
    assert name == "budgetlens-hostile-tokens.csv"
    assert {"row", "key_token", "share"} <= set(pd.read_csv(io.BytesIO(content)).columns)
    name, content = saved(page, "export-second-html")
    assert (name, content[:15]) == ("budgetlens-hostile-tokens.html", b"<!DOCTYPE html>")
    assert saved(page, "export-second-png")[1].startswith(b"\x89PNG")
    # Without a browser beside the server, the reader's own draws.
    monkeypatch.setenv("BROWSER_PATH", "/nowhere")
    name, content = saved(page, "export-second-svg")
    assert name == "budgetlens-hostile-tokens.svg"
    assert b"<svg" in content[:200]
    watched.assert_quiet()


def test_errors_are_told_in_the_page(
    browser: Browser, address: str, runs: dict[str, RunData], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = opened(browser, address, fragment(runs, view="tokens", run="numbers"))
    page = watched.page
    page.wait_for_selector("#model-words:has-text('is not at hand')")
    page.wait_for_selector("#alert:has-text('are not stored with the run, and can')")
    assert "is not at hand" in page.inner_text("#alert")

    def broken(*given: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(callbacks, "view_of", broken)
    page.click("#view label:has-text('Effects')")
    page.wait_for_selector("#alert:has-text('Something went wrong in the explorer (KeyError)')")
    assert "Traceback" not in page.inner_text("body")
    assert "secret" not in page.inner_text("body")
    watched.assert_quiet()
