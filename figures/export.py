"""Figures as files: an HTML page that opens offline, or a picture where there is a browser."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import os
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from figures import theme
from figures.labels import visible_text
from figures.looks import as_json, content, difference, follows_theme, narrow_look

PICTURE_FORMATS = ("png", "svg", "pdf")
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
)
BROWSER_FOLDERS = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
)
# plotly.js has a button that uploads a chart to a service, on by default; nothing here leaves the machine.
CONFIG = {
    "displaylogo": False,
    "showSendToCloud": False,
    "responsive": True,
    "toImageButtonOptions": {"format": "svg"},
}


class NoBrowser(RuntimeError):
    """A picture was asked for, and no Chrome or Chromium was found."""


def div_id(stored: str) -> str:
    """Identifier of a stored figure in a page: the same figure always gets the same one."""
    return f"figure-{hashlib.sha256(stored.encode()).hexdigest()[:16]}"


def html_fragment(figure: go.Figure, *, with_plotly: bool = False) -> str:
    """A figure as a `<div>` with its script, to be put into a page: light or dark as the reader prefers, narrow on
    a phone, light and wide on paper.

    Args:
        figure: any figure; those drawn by this package have every look (:mod:`figures.looks`).
        with_plotly: whether plotly.js and the script that draws are part of it; a page needs them once, before
            the first figure.
    """
    scripts = f"<script>{get_plotlyjs()}</script>\n{drawing_script()}\n" if with_plotly else ""
    return scripts + _shown(figure)


def _shown(figure: go.Figure) -> str:
    stored = stored_figure(figure)
    identifier = div_id(stored)
    return (
        f'<div id="{identifier}" class="plotly-graph-div" style="height: {figure_height(figure)}px; '
        'width: 100%"></div>\n'
        f'<script type="application/json" id="{identifier}-stored">{stored}</script>\n'
        f'<script>budgetlensFigures.show("{identifier}")</script>'
    )


def stored_figure(figure: go.Figure, *, phone: bool = True) -> str:
    """A figure, what its narrow look changes, and plotly's configuration, as JSON that no markup ends.

    Without ``phone`` it has no narrow look, which is drawn anew, and takes as long as the figure itself did.
    Kept with the figure while that stays as it is: a run's figures are stored as files and in its report.
    """
    shown = content(figure)
    kept = getattr(figure, "_stored", {})
    if (shown, phone) in kept:
        return str(kept[shown, phone])
    wide, narrow = as_json(shown), narrow_look(figure, shown) if phone else None
    stored = {
        "figure": wide,
        "narrow": None if narrow is None else difference(wide, as_json(content(narrow))),
        "themed": follows_theme(figure),
        "config": CONFIG,
    }
    text = json.dumps(stored, separators=(",", ":"))
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    figure._stored = {**kept, (shown, phone): text}
    return text


def packed(text: str) -> str:
    """Text as base64 of gzip, the same bytes each time; a page's script inflates it."""
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 9, mtime=0)).decode("ascii")


def page_script() -> str:
    """The script that draws the figures of a page."""
    script = (files("figures") / "page.js").read_text(encoding="utf-8")
    return script.replace("'the colours'", json.dumps(dict(theme.DARKENED)))


def drawing_script() -> str:
    """The same as an element."""
    return f"<script>{page_script()}</script>"


def figure_height(figure: go.Figure) -> int:
    """Height in pixels: the figure's own, or plotly's default."""
    return int(figure.layout.height or 450)


def figure_width(figure: go.Figure) -> int:
    """Nominal width in pixels: the figure's own, the one it was laid out for, or plotly's default."""
    meta = figure.layout.meta
    nominal = meta.get("width") if isinstance(meta, dict) else None
    return int(figure.layout.width or nominal or 700)


def write_html(figure: go.Figure, path: str | os.PathLike[str]) -> Path:
    """Writes a figure as one page with plotly.js inside: it opens from a file, without a network.

    The same figure gives the same bytes. The page appears whole or not at all: it is written beside its place
    and then moved.

    Args:
        figure: any figure.
        path: the file, ending in .html; folders are made.

    Returns:
        The path written.

    Raises:
        ValueError: another ending.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"write_html writes .html; given: {target.name}; for pictures use write_static")
    return write_whole(target, page_html(figure).encode("utf-8"))


def page_html(figure: go.Figure, *, plotly: str = "") -> str:
    """A figure as one page, as :func:`write_html` writes it.

    ``plotly`` is the file of plotly.js beside the page, which several share; by default it is inside.
    """
    drawn = (
        f'<script src="{html.escape(plotly)}"></script>\n{drawing_script()}\n{_shown(figure)}'
        if plotly
        else html_fragment(figure, with_plotly=True)
    )
    light = figure.layout.paper_bgcolor or figure.layout.template.layout.paper_bgcolor or "#FFFFFF"
    dark = theme.DARK.paper if follows_theme(figure) else light
    title = html.escape(visible_text(figure.layout.title.text or "Figure"))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n"
        f"<style>body {{ margin: 0; background: {html.escape(light)}; }} "
        "@media screen and (prefers-color-scheme: dark) "
        f"{{ body {{ color-scheme: dark; background: {html.escape(dark)}; }} }} "
        f".page {{ max-width: {round(figure_width(figure) * 1.4)}px; margin: 0 auto; overflow-x: auto; }} "
        f".page > div {{ min-width: {min(figure_width(figure), 900)}px; }} "
        ".page > [data-look$=narrow] { min-width: 0; }</style>\n"
        '</head>\n<body>\n<div class="page">\n'
        f"{drawn}\n</div>\n</body>\n</html>\n"
    )


def write_static(figure: go.Figure, path: str | os.PathLike[str], *, scale: float = 2.0) -> Path:
    """Writes a figure as PNG, SVG or PDF, by the ending of the path.

    Args:
        figure: any figure; its nominal width and its height are the size in CSS pixels.
        path: the file; folders are made.
        scale: pixels of a PNG per CSS pixel; 2 gives about 290 dots per inch over a text width of 7 inches.

    Returns:
        The path written.

    Raises:
        ValueError: another ending.
        NoBrowser: kaleido, or a Chrome or Chromium for it to draw with, is missing; the message says what to
            do.
    """
    target = Path(path)
    kind = target.suffix.lower().lstrip(".")
    if kind not in PICTURE_FORMATS:
        known = ", ".join(f".{name}" for name in PICTURE_FORMATS)
        raise ValueError(f"write_static writes {known}; given: {target.name}; for a page use write_html")
    try:
        return write_whole(target, picture(figure, kind, scale=scale))
    except NoBrowser as error:
        raise NoBrowser(f"{target.name} was not written: {error}, or use write_html") from error


def picture(figure: go.Figure, kind: str, *, scale: float = 1.0) -> bytes:
    """A figure as one of :data:`PICTURE_FORMATS`; ``scale`` as :func:`write_static` has it. Raises NoBrowser."""
    browser = find_browser()
    if browser is None:
        raise NoBrowser(
            "a picture needs Chrome or Chromium, and none was found on the PATH. Install one (Debian: apt-get install "
            "chromium), or set BROWSER_PATH to its program"
        )
    try:
        import kaleido
    except ImportError as error:
        raise NoBrowser("a picture needs the package kaleido (pip install kaleido)") from error
    size = {"width": figure_width(figure), "height": figure_height(figure)}
    # SVG and PDF have no pixels: a scale would only make their page larger.
    options = {"format": kind, **size, "scale": scale if kind == "png" else 1}
    drawn = kaleido.calc_fig_sync(figure.to_dict(), opts=options, kopts={"path": browser, "mathjax": False})
    return bytes(drawn)


def find_browser() -> str | None:
    """A Chrome or Chromium: BROWSER_PATH, then the PATH, then the usual folders; None if there is none."""
    given = os.environ.get("BROWSER_PATH")
    if given:
        return given if Path(given).is_file() else None
    for name in BROWSERS:
        found = shutil.which(name)
        if found:
            return found
    return next((folder for folder in BROWSER_FOLDERS if Path(folder).is_file()), None)


def write_whole(target: Path, content: bytes) -> Path:
    """Writes a file so that it is either the old one or the new one, never a part."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
