"""Tables for people: one source, shown in the terminal or written as CSV, Markdown, LaTeX and HTML.

A table carries what its caption must state (estimand, unit, n, family, correction, seed). CSV keeps every
column and every digit; the other forms show chosen columns with as many digits as the interval supports.
"""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analyses.verdicts import rule

UNDEFINED = "–"

INTERVALS = {
    "mean_difference": ("low", "high"),
    "mean": ("low", "high"),
    "ratio": ("low", "high"),
    "slope": ("low", "high"),
    "measured": ("low", "high"),
    "d_z": ("d_z_low", "d_z_high"),
    "token_weighted_mean": ("token_weighted_low", "token_weighted_high"),
    "share": ("share_low", "share_high"),
    "difference": ("difference_low", "difference_high"),
}
"""Columns that are shown together with their interval, and the columns of its ends."""

BAND = ("band_low", "band_high")

HEADINGS = {
    "n": "n",
    "mean_difference": "mean difference",
    "trimmed_mean": "10 % trimmed mean",
    "win_percent": "win %",
    "tie_percent": "tie %",
    "d_z": "d_z",
    "d_z_hedges": "d_z (Hedges)",
    "p_sign_flip": "p (sign flip)",
    "p_wilcoxon": "p (Wilcoxon)",
    "p_t": "p (t)",
    "p_holm": "p (Holm)",
    "p_bonferroni": "p (Bonferroni)",
    "p_tost": "p (TOST)",
    "p_tost_holm": "p (TOST, Holm)",
    "p_tost_bonferroni": "p (TOST, Bonferroni)",
    "minimum_detectable": "detectable at 80 % power",
    "share_of_largest": "part of the 5 % largest",
    "token_weighted_mean": "token-weighted mean",
    "p_simultaneous": "p (all layers)",
    "epsilon_greenhouse_geisser": "ε (Greenhouse-Geisser)",
    "p_greenhouse_geisser": "p (Greenhouse-Geisser)",
    "epsilon_huynh_feldt": "ε (Huynh-Feldt)",
    "p_huynh_feldt": "p (Huynh-Feldt)",
    "partial_eta_squared": "partial η²",
    "f": "F",
}
"""Headings that are not the column's name with spaces."""

EFFECT_COLUMNS = (
    "contrast",
    "n",
    "mean_difference",
    "median",
    "trimmed_mean",
    "win_percent",
    "d_z",
    "p_holm",
    "p_bonferroni",
    "stars",
    "p_tost_holm",
    "p_tost_bonferroni",
    "minimum_detectable",
    "share_of_largest",
    "verdict",
    "caution",
    "reason",
)
"""Columns of an effects table that are shown by default; those it lacks or leaves empty are skipped."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
    "−": r"$-$",
    "–": "--",
    "ε": r"$\varepsilon$",
    "η": r"$\eta$",
    "²": r"$^2$",
    "≠": r"$\neq$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
}


@dataclass(frozen=True)
class Table:
    """A DataFrame and what a reader must know to read it.

    `columns` are shown, in order, where the frame has them; None shows all. CSV always holds all.
    """

    frame: pd.DataFrame
    title: str
    estimand: str
    unit: str
    n: str
    family: str
    correction: str
    seed: int | None
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None

    @property
    def caption(self) -> str:
        """Title, estimand, unit, n, family, correction, seed and notes in one paragraph."""
        return f"{self.title}. {self.facts}"

    @property
    def facts(self) -> str:
        """The caption without the title."""
        seed = "no random numbers" if self.seed is None else f"seed {self.seed}"
        facts = (
            f"Estimand: {self.estimand}; unit: {self.unit}; n: {self.n}.",
            f"Family: {self.family}; correction: {self.correction}; {seed}.",
            *(f"{note[:1].upper()}{note[1:]}." for note in self.notes),
        )
        return " ".join(facts)

    def shown(self) -> pd.DataFrame:
        """The chosen columns as text with headings, intervals beside estimates, empty columns left out."""
        names = [name for name in self.columns or self.frame.columns if name in self.frame.columns]
        return _as_text(self.frame, names)

    def to_terminal(self, width: int | None = None) -> str:
        """Text for a terminal of `width` columns (default: the terminal's own)."""
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = self.shown()
        rich_table = RichTable(title=Text(self.title), caption=Text(self.facts), caption_justify="left")
        for name in shown.columns:
            numeric = _is_number(self.frame, name)
            rich_table.add_column(
                Text(name), justify="right" if numeric else "left", overflow="fold", no_wrap=False
            )
        for row in shown.itertuples(index=False):
            # Text objects, because a cell name in brackets would be taken for markup.
            rich_table.add_row(*(Text(str(entry)) for entry in row))
        console = Console(file=io.StringIO(), width=width, highlight=False)
        with console.capture() as captured:
            console.print(rich_table)
        return captured.get()

    def to_csv(self, *, with_caption: bool = False) -> str:
        """Every column and digit; `with_caption` puts the caption in front, on lines that start with `#`."""
        text = self.frame.to_csv(index=False, lineterminator="\n")
        return f"# {self.caption}\n{text}" if with_caption else text

    def to_markdown(self) -> str:
        """A pipe table with the caption below."""
        shown = self.shown()
        lines = [
            "| " + " | ".join(_markdown(name) for name in shown.columns) + " |",
            "|"
            + "|".join("---:" if _is_number(self.frame, name) else ":---" for name in shown.columns)
            + "|",
        ]
        lines += ["| " + " | ".join(_markdown(entry) for entry in row) + " |" for row in shown.to_numpy()]
        return "\n".join([*lines, "", _markdown(self.caption), ""])

    def to_latex(self) -> str:
        """A `table` environment with booktabs rules."""
        shown = self.shown()
        alignment = "".join("r" if _is_number(self.frame, name) else "l" for name in shown.columns)
        rows = [" & ".join(_latex(entry) for entry in row) + r" \\" for row in shown.to_numpy()]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{_latex(self.caption)}}}",
                rf"\begin{{tabular}}{{{alignment}}}",
                r"\toprule",
                " & ".join(_latex(name) for name in shown.columns) + r" \\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def to_html(self) -> str:
        """A `table` element with caption and header cells; no scripts, no styles."""
        shown = self.shown()
        classes = ["number" if _is_number(self.frame, name) else "text" for name in shown.columns]
        head = "".join(
            f'<th scope="col" class="{kind}">{html.escape(name)}</th>'
            for name, kind in zip(shown.columns, classes, strict=True)
        )
        rows = [
            "<tr>"
            + "".join(
                f'<td class="{kind}">{html.escape(str(entry))}</td>'
                for entry, kind in zip(row, classes, strict=True)
            )
            + "</tr>"
            for row in shown.to_numpy()
        ]
        return "\n".join(
            [
                '<table class="budgetlens">',
                f"<caption>{html.escape(self.caption)}</caption>",
                f"<thead><tr>{head}</tr></thead>",
                "<tbody>",
                *rows,
                "</tbody>",
                "</table>",
                "",
            ]
        )


FORMATS = ("terminal", "csv", "markdown", "latex", "html")
SUFFIXES = {"csv": ".csv", "markdown": ".md", "latex": ".tex", "html": ".html"}


def render(table: Table, form: str) -> str:
    """The table in one of `FORMATS`."""
    if form == "terminal":
        return table.to_terminal()
    if form == "csv":
        return table.to_csv()
    if form == "markdown":
        return table.to_markdown()
    if form == "latex":
        return table.to_latex()
    if form == "html":
        return table.to_html()
    raise ValueError(f"no table format {form!r}; expected one of {', '.join(FORMATS)}")


def save(table: Table, directory: str | Path, name: str) -> list[Path]:
    """Write NAME.csv, NAME.md, NAME.tex and NAME.html and, as CSV has no place for it, NAME.caption.txt."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}{suffix}": render(table, form) for form, suffix in SUFFIXES.items()}
    texts[f"{name}.caption.txt"] = table.caption + "\n"
    for file, text in texts.items():
        (directory / file).write_text(text, encoding="utf-8")
    return [directory / file for file in texts]


def effects_presentation(
    frame: pd.DataFrame,
    *,
    seed: int,
    smallest_effect: float,
    correction: str = "holm",
    confidence: float = 0.95,
    unit: str = "nats per answer token",
    title: str = "Paired effects",
    columns: Sequence[str] | None = EFFECT_COLUMNS,
) -> Table:
    """The caption that belongs to the rows of `analyses.effects.effects_table`."""
    sizes = frame.groupby("family", sort=False).size()
    family = ", ".join(f"{name or 'unnamed'} ({size})" for name, size in sizes.items())
    source = "sign-flip p" if correction == "holm" else "t-test p"
    notes = [
        f"{100 * confidence:g} % BCa bootstrap intervals over examples",
        f"verdict: {rule(smallest_effect, 1 - confidence)}",
    ]
    if ((frame["clusters"] > 0) & (frame["clusters"] < frame["n"])).any():
        notes.append("examples that share a document are one independent unit")
    if columns is not None and correction == "holm":
        # Stars are the published habit; they are shown with the published correction.
        columns = [name for name in columns if name != "stars"]
    return Table(
        frame=frame,
        title=title,
        estimand="mean over examples of baseline - treatment (positive: the treatment helps)",
        unit=unit,
        n=_n_range(frame["n"]),
        family=family,
        correction=f"{correction.capitalize()} on the {source} within each family",
        seed=seed,
        notes=tuple(notes),
        columns=None if columns is None else tuple(columns),
    )


def _n_range(n: pd.Series) -> str:
    if n.empty:
        return "none"
    return f"{n.min()} examples" if n.min() == n.max() else f"{n.min()} to {n.max()} examples"


def _as_text(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Columns as text; the ends of an interval are shown with its estimate and not again."""
    hidden: set[str] = set()
    texts: dict[str, list[str]] = {}
    for name in names:
        ends = INTERVALS.get(name, ())
        if name == "mean" and BAND[0] in frame.columns:
            ends = BAND
        if ends and set(ends) <= set(frame.columns):
            hidden |= set(ends)
            low, high = (frame[end].tolist() for end in ends)
            entries = [with_interval(*row) for row in zip(frame[name].tolist(), low, high, strict=True)]
            texts[name] = entries
        elif pd.api.types.is_bool_dtype(frame[name]):
            texts[name] = ["yes" if entry else "no" for entry in frame[name]]
        elif pd.api.types.is_integer_dtype(frame[name]):
            texts[name] = [str(entry) for entry in frame[name]]
        elif pd.api.types.is_float_dtype(frame[name]):
            texts[name] = [number(entry, name) for entry in frame[name].tolist()]
        else:
            texts[name] = ["" if pd.isna(entry) else str(entry) for entry in frame[name].tolist()]
    kept = {name: entries for name, entries in texts.items() if name not in hidden and any(entries)}
    kept = kept or {name: entries for name, entries in texts.items() if name not in hidden}
    return pd.DataFrame({heading(name): entries for name, entries in kept.items()})


def heading(name: str) -> str:
    """What a column is called in print."""
    return HEADINGS.get(name, name.replace("_", " "))


def number(value: float, name: str = "") -> str:
    """A number with sensible digits: p to .001, percents to .1, all else to three significant digits."""
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if re.match(r"p(_|$)|q$", name):
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    if name.endswith("percent"):
        return f"{value:.1f}"
    return _plain(value, _decimals(value, 3))


def with_interval(value: float, low: float, high: float) -> str:
    """`0.529 [0.442, 0.616]`: decimals such that half the interval has two significant digits."""
    if math.isnan(value):
        return UNDEFINED
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return number(value)
    decimals = _decimals((high - low) / 2, 2)
    return f"{_plain(value, decimals)} [{_plain(low, decimals)}, {_plain(high, decimals)}]"


def _decimals(size: float, significant: int) -> int:
    """Decimals that show `significant` digits of `size`, from 0 to 6."""
    if size == 0:
        return 0
    return min(6, max(0, significant - 1 - math.floor(math.log10(abs(size)))))


def _plain(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    # A value that rounds to 0 has no sign.
    return text[1:] if re.fullmatch(r"-0\.?0*", text) else text


def _is_number(frame: pd.DataFrame, shown: str) -> bool:
    names = [name for name in frame.columns if heading(name) == shown]
    return bool(names) and pd.api.types.is_numeric_dtype(frame[names[0]])


def _markdown(text: object) -> str:
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", str(text)).replace("\n", " ")


def _latex(text: object) -> str:
    escaped = "".join(_LATEX.get(character, character) for character in str(text))
    # After the \\ of the row before, a bracket would open that command's argument.
    return "{[}" + escaped[1:] if escaped.startswith("[") else escaped
