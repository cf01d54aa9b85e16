"""A real headless Chromium for tests of pages: where it is found, what a page did, and what a reader sees.

Tests that need it call `chromium()`. Where there is no Chromium they are skipped with a message; where
BUDGETLENS_REQUIRE_BROWSER or CI is set, its absence is a failure, so that a green run always has these tests.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from figures.export import find_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

PHONE, DESK = (390, 844), (1440, 900)
"""Viewports in CSS pixels, width and height."""

#: Without these a Chromium of its own accord asks for hosts outside, or can't start for root.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PAUSE_BETWEEN_DOWNLOADS = 150
"""Milliseconds: ten of them are longer than the second in which Chromium counts a frame's downloads."""

LOCAL_SCHEMES = ("file", "data", "blob", "about")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


def program() -> str:
    """Path of the browser. Skips the test where there is none, fails it where one is required."""
    found = find_browser()
    if found is None:
        message = "no Chrome or Chromium was found; `make browser` installs Debian's"
        if os.environ.get("BUDGETLENS_REQUIRE_BROWSER") or os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser, closed afterwards. One at a time: its driver has an event loop of its own."""
    path = program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, headless=True, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page and what it did: errors on its console or uncaught, and requests beyond this machine."""

    page: Page
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def assert_quiet(self) -> None:
        """No error and no request to any other host."""
        assert self.errors == []
        assert self.foreign == []


def watched_page(browser: Browser, size: tuple[int, int] = DESK, *, dark: bool = False) -> Watched:
    """A new page, nothing of which reaches another host: such requests are noted and refused.

    ``dark`` is what the reader's system prefers.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        accept_downloads=True,
        reduced_motion="reduce",
        color_scheme="dark" if dark else "light",
    )
    watched = Watched(context.new_page())

    def note_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in LOCAL_SCHEMES and parts.hostname not in LOCAL_HOSTS:
            watched.foreign.append(request.url)

    def note_message(message: object) -> None:
        # plotly tells what it was given wrong as a trace.
        if getattr(message, "type", "") in ("error", "warning", "trace"):
            watched.errors.append(str(getattr(message, "text", message)))

    watched.page.on("request", note_request)
    watched.page.on("console", note_message)
    watched.page.on("pageerror", lambda error: watched.errors.append(str(error)))
    context.route(
        lambda url: urlsplit(url).scheme not in LOCAL_SCHEMES and urlsplit(url).hostname not in LOCAL_HOSTS,
        lambda route: route.abort(),
    )
    return watched


def download(page: Page, act: Callable[[], object]) -> tuple[str, bytes]:
    """Name and content of the file that `act` lets the page save.

    Chromium silently drops what a frame saves beyond ten files within a second, which no person reaches and a test on
    a quiet machine does; hence the pause.
    """
    page.wait_for_timeout(PAUSE_BETWEEN_DOWNLOADS)
    with page.expect_download() as waiting:
        act()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


OUTSIDE = """() => {
  // Elements that reach beyond the viewport and stand in nothing that scrolls or cuts.
  const width = document.documentElement.clientWidth, found = [];
  const held = element => {
    for (let up = element.parentElement; up && up !== document.body; up = up.parentElement) {
      const style = getComputedStyle(up);
      if (['auto', 'scroll', 'hidden', 'clip'].includes(style.overflowX)) return true;
      if (style.position === 'fixed') return false;
    }
    return false;
  };
  for (const element of document.body.querySelectorAll('*')) {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    if (!box.width || !box.height || style.visibility === 'hidden' || style.position === 'fixed') continue;
    if (style.clipPath !== 'none' || element.closest('.visually-hidden')) continue;
    if ((box.right > width + 1 || (box.left < -1 && box.right > 0)) && !held(element))
      found.push(`${element.tagName}.${element.getAttribute('class') || ''}#${element.id} ` +
                 `${Math.round(box.left)}..${Math.round(box.right)}`);
  }
  if (document.documentElement.scrollWidth > width + 1)
    found.unshift(`page scrolls sideways: ${document.documentElement.scrollWidth} > ${width}`);
  return found;
}"""


def outside_the_viewport(page: Page) -> list[str]:
    """What reaches beyond the viewport without standing in a scroll container; empty where the layout holds."""
    return list(page.evaluate(OUTSIDE))


SCROLLED = """([within]) => [...document.querySelectorAll(within)]
  .filter(element => element.getBoundingClientRect().width && element.scrollWidth > element.clientWidth + 1)
  .map(element => `${element.getAttribute('aria-label')}: ${element.scrollWidth} > ${element.clientWidth}`)"""


def scrolled_sideways(page: Page, within: str) -> list[str]:
    """Elements that are shown and hold more than their width; empty where everything in them is in sight."""
    return list(page.evaluate(SCROLLED, [within]))


CUT = """([within]) => [...document.querySelectorAll(within)].flatMap(plot => {
  const held = plot.getBoundingClientRect();
  return [...plot.querySelectorAll('.main-svg text')].filter(text => text.textContent.trim()).map(text => {
    const box = text.getBoundingClientRect();
    return box.width && (box.left < held.left - 1 || box.right > held.right + 1 || box.bottom > held.bottom + 1)
      ? `${text.textContent.slice(0, 60)}: ${Math.round(box.left)}..${Math.round(box.right)}` : null;
  }).filter(Boolean);
})"""


def cut_texts(page: Page, within: str = ".js-plotly-plot") -> list[str]:
    """Texts of figures that reach beyond their figure."""
    return list(page.evaluate(CUT, [within]))


WEAK = """([within, without]) => {
  // WCAG 2.2, 1.4.3: text 4.5 : 1, large text (24 px, or 18.66 px bold) 3 : 1, against what is behind it.
  const channels = colour => {
    const found = colour.match(/[\\d.]+/g).map(Number);
    return found.length < 4 ? [...found.slice(0, 3), 1] : found;
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const linear = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = c => 0.2126 * linear(c[0]) + 0.7152 * linear(c[1]) + 0.0722 * linear(c[2]);
  const behind = element => {
    const layers = [];
    for (let up = element; up; up = up.parentElement) {
      const colour = channels(getComputedStyle(up).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const found = [];
  for (const root of document.querySelectorAll(within)) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const element = node.parentElement;
      if (!node.data.trim() || ['SCRIPT', 'STYLE', 'TITLE', 'OPTION'].includes(element.tagName)) continue;
      if (without && element.closest(without)) continue;
      const style = getComputedStyle(element), box = element.getBoundingClientRect();
      if (style.visibility === 'hidden' || style.display === 'none' || !box.width) continue;
      if (element.closest('[disabled]')) continue;
      const paint = element instanceof SVGElement ? style.fill : style.color;
      if (!paint.startsWith('rgb')) continue;
      const ground = behind(element), ink = channels(paint);
      ink[3] *= Number(style.opacity);
      const pair = [light(over(ink, ground)), light(ground)].sort((a, b) => b - a);
      const ratio = (pair[0] + 0.05) / (pair[1] + 0.05), size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      if (ratio < (large ? 3 : 4.5))
        found.push(`${ratio.toFixed(2)} ${element.tagName}.${element.getAttribute('class') || ''} ` +
                   `${paint} on rgb(${ground.map(Math.round)}): ${node.data.trim().slice(0, 40)}`);
    }
  }
  return [...new Set(found)];
}"""


def weak_contrast(page: Page, within: str = "body", without: str = "") -> list[str]:
    """Texts whose contrast is below WCAG AA, with their colours; `without` is a selector of what is left out."""
    return list(page.evaluate(WEAK, [within, without]))


FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element), box = element.getBoundingClientRect();
  const ring = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0)
    || style.boxShadow !== 'none';
  return {tag: element.tagName.toLowerCase(), id: element.id, href: element.getAttribute('href'),
          name: (element.getAttribute('aria-label') || element.textContent || '').trim().slice(0, 80),
          ring, seen: box.width > 0 && box.height > 0};
}"""


def tab_stops(page: Page, most: int = 400) -> list[dict[str, object]]:
    """What the Tab key reaches from the top of the page, in order, until it comes round or leaves."""
    # A visited anchor would be where the keys start from; the body's own focus starts at the top.
    page.evaluate(
        "() => { const body = document.body; body.tabIndex = -1; body.focus(); "
        "body.removeAttribute('tabindex'); window.scrollTo(0, 0); }"
    )
    stops: list[dict[str, object]] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None or (stops and stop == stops[0]):
            break
        stops.append(stop)
    return stops


UNREACHABLE = """([within]) => [...document.querySelectorAll(within)]
  .flatMap(root => [...root.querySelectorAll('a[href], button, input, select, textarea, summary')])
  .filter(element => element.getBoundingClientRect().width && (element.tabIndex < 0))
  .map(element => element.outerHTML.slice(0, 120))"""


def beyond_the_keyboard(page: Page, within: str = "body") -> list[str]:
    """Controls that are shown and that no key reaches."""
    return list(page.evaluate(UNREACHABLE, [within]))


HEADINGS = """() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]
  .filter(element => element.getBoundingClientRect().width)
  .map(element => Number(element.tagName[1]))"""


def heading_levels(page: Page) -> list[int]:
    """Levels of the headings in reading order."""
    return list(page.evaluate(HEADINGS))


def assert_headings_in_order(levels: Sequence[int]) -> None:
    """One h1, first, and no level skipped on the way down."""
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
