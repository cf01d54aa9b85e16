"""Text in figures: everything from a table is shown as text, never read as markup."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

import numpy as np
import pandas as pd

# Control characters, and those that turn the direction of the text after them.
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

#: What could be the name of a cell within a text, and a level with its factor.
IDS = re.compile(r"[\w-]+=[^\s,;()]+")
PAIRS = re.compile(r"[\w-]+=[^\s,;()|]+")
HOVER_WIDTH = 80
HOVER_CHARACTERS = 600


#: What readers see of ids, while figures are drawn for them.
_words: ContextVar[Mapping[str, str]] = ContextVar("words", default=MappingProxyType({}))


@contextmanager
def reading(words: Mapping[str, str]) -> Iterator[None]:
    """Within it, figures show these words in place of the ids that tables hold, also when they are drawn again."""
    token = _words.set(words)
    try:
        yield
    finally:
        _words.reset(token)


def readable(text: str) -> str:
    """The words for an id, for one behind the name of what it is of (`contrast: …`), and for ids of cells and levels within
    a text, as either side of an interaction has them; any other text as it is.
    """
    words = _words.get()
    kind, colon, rest = text.partition(": ")
    told = words.get(text) or (f"{kind}: {words[rest]}" if colon and rest in words else "")
    if told or not words or not IDS.search(text):
        return told or text
    # Made of ids, as either side of a difference of several cells is.
    found = IDS.sub(lambda own: words.get(own.group(), own.group()), text)
    found = PAIRS.sub(lambda own: words.get(own.group(), own.group()), found)
    return re.sub(r"(?<=\w)\|(?=\w)| \| ", " · ", re.sub(r"\b(0\.\d\d)\d+ ×", r"\1 ×", found))


def level_words(factor: str, level: str) -> str:
    """The words of a factor's level, or the level."""
    return _words.get().get(f"{factor}={level}", level)


def escaped(text: object) -> str:
    """Text that plotly shows as it is: no tags, no entities, no `%{...}` placeholders, no line breaks.

    Plotly reads a little HTML in labels and fills `%{...}` in templates; both are undone here.
    """
    return unmarked(visible(text))


def unmarked(text: str) -> str:
    """Text with everything that plotly would read as markup or as a placeholder written as entities."""
    return html.escape(text, quote=False).replace("%{", "%&#123;").replace("$", "&#36;")


def visible(text: object) -> str:
    """Text on one line, with control and direction characters written out so that they cannot act."""
    return written_out(" ".join(readable(str(text)).split()))


def written_out(text: str) -> str:
    """Text with control and direction characters written as ⟨U+202E⟩, so that they cannot act."""
    return UNSEEN.sub(lambda found: f"⟨U+{ord(found.group()):04X}⟩", text)


def wrapped(text: object, width: int = HOVER_WIDTH, characters: int = HOVER_CHARACTERS) -> str:
    """Escaped text in lines of at most `width` characters, at most `characters` in all; a cut says how much
    is left.

    Words longer than a line are broken, so that no text can stretch a hover label over the page.
    """
    plain = visible(text)
    rest = len(plain) - characters
    shown = plain[:characters] if rest > 0 else plain
    lines = textwrap.wrap(shown, width, break_long_words=True) or [""]
    ending = f" … ({rest:,} more characters)" if rest > 0 else ""
    return "<br>".join(escaped(line) for line in lines) + ending


def factor_levels(cell: str) -> dict[str, str] | None:
    """Factor levels of a cell named like `prefix=oracle|prompt=query`; None for any other name."""
    parts = [part.partition("=") for part in cell.split("|")]
    if not all(name and equals for name, equals, _ in parts):
        return None
    return {name: level for name, _, level in parts}


def cell_labels(table: pd.DataFrame, column: str = "cell") -> dict[str, str]:
    """A short label for every cell of a table, unique, in order of appearance.

    The `alias` column gives it where there is one; else, where all cells are named by the same factors, the
    levels alone, joined by " · "; else the name itself. Labels are not yet escaped.
    """
    cells = list(dict.fromkeys(table[column].astype(str)))
    levels = [factor_levels(cell) for cell in cells]
    first = levels[0]
    same = (
        first is not None
        and len(cells) > 1
        and all(lv is not None and list(lv) == list(first) for lv in levels)
    )
    short = {
        cell: " · ".join((lv or {}).values()) if same else cell
        for cell, lv in zip(cells, levels, strict=True)
    }
    if "alias" in table.columns:
        pairs = table[[column, "alias"]].dropna().astype(str).drop_duplicates(column)
        for cell, alias in zip(pairs[column], pairs["alias"], strict=True):
            if alias.strip():
                short[cell] = alias
    counts = pd.Series(list(short.values())).value_counts()
    return {cell: label if counts[label] == 1 else cell for cell, label in short.items()}


def contrast_label(contrast: str, baseline: str, treatment: str) -> str:
    """A contrast's name; one that only repeats its two cells is shortened to what differs between them.

    `prefix=none|prompt=query → prefix=oracle|prompt=query` becomes `prefix: none → oracle (prompt=query)`; of two
    cells on either side, which make an interaction, `prefix: none → oracle × prompt: none → query`.
    """
    if contrast != f"{baseline} → {treatment}":
        return contrast
    if " + " in baseline:
        return _interaction_label(baseline.split(" + "), treatment.split(" + ")) or contrast
    before, after = factor_levels(baseline), factor_levels(treatment)
    if not before or not after or list(before) != list(after):
        return contrast
    changed = ", ".join(
        f"{name}: {before[name]} → {after[name]}" for name in before if before[name] != after[name]
    )
    same = ", ".join(f"{name}={before[name]}" for name in before if before[name] == after[name])
    return f"{changed} ({same})" if changed and same else changed or contrast


def _interaction_label(baselines: list[str], treatments: list[str]) -> str:
    """The two factors that four cells cross, from the first baseline cell; "" where they cross none."""
    cells = [factor_levels(cell) for cell in (*baselines, *treatments)]
    if len(baselines) != 2 or len(treatments) != 2 or not all(cells):
        return ""
    found = [cell for cell in cells if cell]
    names = list(found[0])
    if any(list(cell) != names for cell in found):
        return ""
    first, second = found[0], found[1]
    changed = [name for name in names if first[name] != second[name]]
    if len(changed) != 2:
        return ""
    halves = [first | {name: second[name]} for name in changed]
    if any(cell not in halves for cell in found[2:]) or found[2] == found[3]:
        return ""
    effects = " × ".join(f"{name}: {first[name]} → {second[name]}" for name in changed)
    same = ", ".join(f"{name}={first[name]}" for name in names if name not in changed)
    return f"{effects} ({same})" if same else effects


def factors_note(labels: dict[str, str]) -> str:
    """Names of the factors behind labels made of levels, e.g. "prefix · hidden · prompt"; else ""."""
    for cell, label in labels.items():
        levels = factor_levels(cell)
        if levels and label == " · ".join(levels.values()) and len(levels) > 1:
            return " · ".join(levels)
    return ""


def panel_title(label: str, characters: int, lines: int = 2) -> str:
    """A label for a panel, escaped: at most `lines` lines of `characters`, then an ellipsis.

    Lines are made about equally long, so that no single word is left on the last one.
    """
    plain, width = visible(label), max(characters, 4)
    rows = lines_of(plain, width)
    if len(rows) > lines:
        rows = rows[:lines]
        rows[-1] = rows[-1][: width - 1] + "…"
    elif len(rows) > 1:
        widest_word = min(width, max(map(len, glued(plain).split(" "))))
        trials = (lines_of(plain, narrow) for narrow in range(widest_word, width + 1))
        rows = next(trial for trial in trials if len(trial) == len(rows))
    return "<br>".join(escaped(row) for row in rows)


def lines_of(plain: str, width: int) -> list[str]:
    """Text in lines of at most `width`, broken between words; a longer word after underscores and bars."""
    words = []
    for word in plain.split():
        piece = ""
        for part in re.findall(r"[^_|]*[_|]+|[^_|]+", word) if len(word) > width else [word]:
            if piece and len(piece) + len(part) > width:
                words.append(piece)
                piece = ""
            piece += part
        words.append(piece)
    lines = textwrap.wrap(glued(" ".join(words)), width, break_on_hyphens=False) or [""]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def glued(text: str) -> str:
    """Text whose dots between levels stay with the level before them, so that no line begins with one."""
    return text.replace(" · ", "\N{NO-BREAK SPACE}· ")


def count_label(counts: Iterable[float], unit: str = "examples") -> str:
    """n of a figure: "n = 500 examples", or its range where it differs; or "n not stated"."""
    values = np.asarray(list(counts), dtype=float)
    values = values[~np.isnan(values)]
    if not len(values):
        return "n not stated"
    low, high = int(values.min()), int(values.max())
    if low == high == 1:
        return f"n = 1 {unit.removesuffix('s')}"
    return f"n = {low:,} {unit}" if low == high else f"n = {low:,}–{high:,} {unit}"


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign and a true minus, 0 itself without one; an en dash for NaN.

    The sign stays on what is rounded to 0: it tells on which side of it an end of an interval lies.
    """
    if np.isnan(value):
        return "–"
    return f"{value:+.{digits}f}".replace("-", "−") if value else f"{0:.{digits}f}"


def bracketed(low: float, high: float) -> str:
    """An interval in brackets, or that there is none."""
    return "(no interval)" if np.isnan(low) or np.isnan(high) else f"[{signed(low)}, {signed(high)}]"


def plain_number(value: float, digits: int = 3) -> str:
    """A number with a true minus; an en dash for NaN."""
    return "–" if np.isnan(value) else f"{value:.{digits}f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value to two significant digits, "< 0.001" below that; an en dash for NaN."""
    if np.isnan(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.2g}"


def visible_text(label: str) -> str:
    """The text that a label shows: tags removed, entities read."""
    return html.unescape(re.sub(r"<[^>]*>", " ", label)).strip()
