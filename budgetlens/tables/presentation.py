"""Tables for people: one source, shown in the terminal or written as CSV, Markdown, LaTeX and HTML.

A table carries what its caption must state (estimand, unit, n, family, correction, seed). CSV keeps every
column and every digit; the other forms show chosen columns with as many digits as the interval supports.
"""

from __future__ import annotations

import html
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from budgetlens.runs.files import write_text, writing
from budgetlens.runs.spreadsheets import spreadsheet_csv
from budgetlens.statistics.decisions import codes_of
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.verdicts import ANSWER_NLL, CAUTION_RULE, CAUTIONS, interval_words, rule
from budgetlens.tables.digits import counted, number, with_interval
from budgetlens.tables.escapes import latex, markdown
from budgetlens.tables.formats import FORMATS, SUFFIXES
from budgetlens.tables.stating import correction_words
from budgetlens.tables.terminal_text import visible, visible_lines

NOTED = ("caution", "reason", "withheld", "unlike")
"""Columns of sentences: a letter in the column stands for each, and the sentences follow the table."""

DOCUMENTS_RESAMPLED = (
    "examples that share a document are one independent unit: documents are counted, not examples"
)
"""What a caption says where the statistics of its table allow for shared documents."""

INTERVALS = {
    "median": ("median_low", "median_high"),
    "trimmed_mean": ("trimmed_low", "trimmed_high"),
    "mean_difference": ("low", "high"),
    "mean": ("low", "high"),
    "ratio": ("low", "high"),
    "slope": ("low", "high"),
    "measured": ("low", "high"),
    "d_z": ("d_z_low", "d_z_high"),
    "token_weighted_mean": ("token_weighted_low", "token_weighted_high"),
    "share": ("share_low", "share_high"),
    "difference": ("difference_low", "difference_high"),
    "per_character": ("per_character_low", "per_character_high"),
    "beside_mean": ("beside_low", "beside_high"),
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
    "p_fdr": "q (Benjamini-Hochberg)",
    "p_none": "p (uncorrected)",
    "p_tost": "p (TOST)",
    "p_tost_holm": "p (TOST, Holm)",
    "p_tost_bonferroni": "p (TOST, Bonferroni)",
    "minimum_detectable": "detectable at 80 % power",
    "share_of_largest": "part of the 5 % largest",
    "token_weighted_mean": "token-weighted mean",
    "beside_layer": "layer, beside",
    "beside_mean": "mean, beside",
    "beside_verdict": "verdict, beside",
    "p_simultaneous": "p (all layers)",
    "epsilon_greenhouse_geisser": "ε (Greenhouse-Geisser)",
    "p_greenhouse_geisser": "p (Greenhouse-Geisser)",
    "epsilon_huynh_feldt": "ε (Huynh-Feldt)",
    "p_huynh_feldt": "p (Huynh-Feldt)",
    "partial_eta_squared": "partial η²",
    "f": "F",
    "seed_mean_low": "lowest seed",
    "seed_mean_high": "highest seed",
    "seed_mean_sd": "sd over seeds",
    "seeds_same_sign": "draws of its sign",
    "within_share": "variance between draws",
    "baseline_nll": "baseline NLL",
    "baseline_per_character": "baseline per character",
    "per_character": "per character",
}
"""Headings that are not the column's name with spaces."""

TESTED_COLUMNS = (
    "n",
    "mean_difference",
    "d_z",
    "win_percent",
    "p_holm",
    "p_bonferroni",
    "p_fdr",
    "p_none",
    "verdict",
    "caution",
)
"""Columns of an effects table beside what names its rows, where there is little room."""

EFFECT_COLUMNS = (
    "contrast",
    "n",
    "mean_difference",
    "d_z",
    "win_percent",
    "p_holm",
    "p_bonferroni",
    "p_fdr",
    "p_none",
    "stars",
    "verdict",
    "caution",
    "reason",
    "withheld",
    "median",
    "trimmed_mean",
    "p_tost_holm",
    "p_tost_bonferroni",
    "p_tost_fdr",
    "p_tost_none",
    "smallest_effect",
    "minimum_detectable",
    "share_of_largest",
)
"""Columns of an effects table that are shown by default; those it lacks or leaves empty are skipped."""


@dataclass(frozen=True)
class Table:
    """A DataFrame and what a reader must know to read it.

    Codes in a column of cautions are shown as their words.

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
    rule: str = ""
    """The rule by which its verdicts were made, in words."""
    allows_for_documents: bool = False
    """Whether its intervals and tests count a document that examples share once."""

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
            *(f"{note[:1].upper()}{note[1:]}." for note in (*self._rule, *self.notes)),
        )
        return " ".join(facts)

    @property
    def _rule(self) -> tuple[str, ...]:
        return (f"verdict: {self.rule}",) if self.rule else ()

    def shown(self) -> pd.DataFrame:
        """The chosen columns as text with headings, intervals beside estimates, empty columns left out.

        Cautions and reasons are letters that stand for the sentences of `footnotes`.
        """
        names = [name for name in self.columns or self.frame.columns if name in self.frame.columns]
        letters = {sentence: letter for letter, sentence in self.footnotes.items()}
        return _as_text(self.frame, names, letters)

    @property
    def footnotes(self) -> dict[str, str]:
        """Letter to sentence, in order of appearance; one letter for every different sentence."""
        names = [name for name in self.columns or self.frame.columns if name in NOTED]
        found = [
            sentence for name in names if name in self.frame for sentence in _sentences(self.frame[name])
        ]
        return {_letter(number): sentence for number, sentence in enumerate(dict.fromkeys(found))}

    def to_terminal(self, width: int | None = None) -> str:
        """Text for a terminal of `width` columns (default: the terminal's own).

        Where the columns do not fit beside each other they go below, each block with the first column again.
        """
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        console = Console(file=io.StringIO(), width=width, highlight=False)
        shown = self.shown().map(visible).rename(columns=visible)
        with console.capture() as captured:
            console.print(Text(visible(self.title), style="bold"))
            widths = _widths(shown)
            for block in _blocks(widths, console.width):
                rich_table = RichTable(box=None, pad_edge=False, header_style="bold dim")
                for name in block:
                    # Wrapped here: a long heading would make room for itself by squeezing its neighbours.
                    heading_lines = Text("\n".join(textwrap.wrap(name, widths[name])))
                    if _is_number(self.frame, name):
                        rich_table.add_column(heading_lines, justify="right", overflow="fold")
                    else:
                        rich_table.add_column(heading_lines, overflow="fold")
                for row in shown[block].to_numpy():
                    # Text objects, because a cell name in brackets would be taken for markup.
                    rich_table.add_row(*(Text(str(entry)) for entry in row))
                console.print(rich_table)
                console.print()
            for letter, sentence in self.footnotes.items():
                console.print(Text(visible(f"{letter}: {sentence}")))
            console.print(Text(visible(self.facts)))
        return captured.get()

    def to_csv(self, *, with_caption: bool = False) -> str:
        """Every column and digit, safe for a spreadsheet (`budgetlens.runs.spreadsheets`).

        `with_caption` puts the caption in front, on a line that starts with `#`.
        """
        text = spreadsheet_csv(self.frame)
        return f"# {visible(self.caption)}\n{text}" if with_caption else text

    def to_markdown(self) -> str:
        """A pipe table with the caption below."""
        shown = self.shown()
        lines = [
            "| " + " | ".join(markdown(name) for name in shown.columns) + " |",
            "|"
            + "|".join("---:" if _is_number(self.frame, name) else ":---" for name in shown.columns)
            + "|",
        ]
        lines += ["| " + " | ".join(markdown(entry) for entry in row) + " |" for row in shown.to_numpy()]
        notes = [markdown(f"{letter}: {sentence}") + "  " for letter, sentence in self.footnotes.items()]
        return "\n".join([*lines, "", *notes, markdown(self.caption), ""])

    def to_latex(self) -> str:
        """A `table` environment with booktabs rules."""
        shown = self.shown()
        alignment = "".join("r" if _is_number(self.frame, name) else "l" for name in shown.columns)
        rows = [" & ".join(latex(entry) for entry in row) + r" \\" for row in shown.to_numpy()]
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{latex(self.caption)}}}",
                rf"\begin{{tabular}}{{{alignment}}}",
                r"\toprule",
                " & ".join(latex(name) for name in shown.columns) + r" \\",
                r"\midrule",
                *rows,
                r"\bottomrule",
                r"\end{tabular}",
                *(rf"\par {latex(f'{letter}: {sentence}')}" for letter, sentence in self.footnotes.items()),
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
                *self._html_footnotes(),
                "</table>",
                "",
            ]
        )

    def _html_footnotes(self) -> list[str]:
        if not self.footnotes:
            return []
        notes = "<br>".join(
            html.escape(f"{letter}: {sentence}") for letter, sentence in self.footnotes.items()
        )
        return [f'<tfoot><tr><td colspan="{self.shown().shape[1]}">{notes}</td></tr></tfoot>']


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


def printed(table: Table, form: str) -> str:
    """The table in one of `FORMATS` as it is printed: nothing in it acts on a terminal."""
    return table.to_terminal() if form == "terminal" else visible_lines(render(table, form))


def save(table: Table, directory: str | Path, name: str) -> list[Path]:
    """Write NAME.csv, NAME.md, NAME.tex and NAME.html and, as CSV has no place for it, NAME.caption.txt.

    Each is whole or as it was before. Raises WriteError, which says what to do, where one can't be written.
    """
    directory = Path(directory)
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
    texts = {f"{name}{suffix}": render(table, form) for form, suffix in SUFFIXES.items()}
    texts[f"{name}.caption.txt"] = table.caption + "\n"
    for file, text in texts.items():
        write_text(directory / file, text)
    return [directory / file for file in texts]


def effects_presentation(
    frame: pd.DataFrame,
    inference: Inference,
    *,
    quantity: Quantity = ANSWER_NLL,
    unit: str | None = None,
    title: str = "Paired effects",
    columns: Sequence[str] | None = EFFECT_COLUMNS,
) -> Table:
    """The caption that belongs to the rows of `effects_table`; the unit is the quantity's where none is given."""
    sizes = frame.groupby("family", sort=False).size()
    family = ", ".join(f"{name or 'unnamed'} ({size})" for name, size in sizes.items())
    correction = inference.correction
    notes = [
        f"{100 * inference.confidence:g} % intervals over examples, {interval_words(quantity)}",
        *(() if quantity.bounded else (CAUTION_RULE,)),
    ]
    notes += documents_resampled(shares_documents(frame))
    if columns is not None and correction != "bonferroni":
        # Stars are the published habit; they are shown with the published correction.
        columns = [name for name in columns if name != "stars"]
    return Table(
        frame=frame,
        title=title,
        estimand=f"mean over examples of baseline - treatment (positive: the treatment {_positive(quantity)})",
        unit=quantity.unit if unit is None else unit,
        n=_sample_of(frame),
        family=family,
        correction=correction_words(correction),
        seed=inference.seed,
        notes=tuple(notes),
        columns=None if columns is None else tuple(columns),
        rule=rule(inference.stated, inference.alpha, frame.get("order", (1,)), quantity),
        allows_for_documents=True,
    )


def _positive(quantity: Quantity) -> str:
    """What the treatment does where baseline - treatment is positive."""
    return {"lower": "helps", "higher": "hurts", "": f"lowers the {quantity.label}"}[quantity.better]


def shares_documents(frame: pd.DataFrame) -> bool:
    """Whether a row of statistics counts fewer independent units (`clusters`, 0: none known) than examples."""
    return bool(((frame["clusters"] > 0) & (frame["clusters"] < frame["n"])).any())


def documents_resampled(shared: bool) -> tuple[str, ...]:
    """The note of a table whose statistics resample documents, where examples share any; else no note."""
    return (DOCUMENTS_RESAMPLED,) if shared else ()


def sample(examples: int, documents: pd.Series | None) -> str:
    """How many examples and, where some share one, of how many documents; `documents` as `shared_documents` gives it."""
    of = "" if documents is None else f" of {counted(documents.nunique(), 'document')}"
    return counted(examples, "example") + of


def _sample_of(frame: pd.DataFrame) -> str:
    """The same of rows of statistics, which may rest on different examples."""
    if frame.empty:
        return "none"
    n, units = frame["n"], frame["clusters"]
    most = counted(int(n.max()), "example") if n.min() == n.max() else f"{n.min()} to {n.max()} examples"
    if not shares_documents(frame):
        return most
    least = int(units[units > 0].min())
    spread = "" if least == units.max() else f"{least} to "
    return f"{most} of {spread}{counted(int(units.max()), 'document')}"


def _sentences(column: pd.Series) -> list[str]:
    """The sentences of a column of notes; one entry may hold several, or codes of cautions."""
    return [CAUTIONS.get(note, note) for entry in column for note in codes_of(entry)]


def _letter(number: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("a") + rest) + letters
    return letters


def _widths(shown: pd.DataFrame) -> dict[str, int]:
    """Characters that each column needs: its longest entry, up to 40, or the longest word of its heading."""
    return {
        name: max(
            max(len(word) for word in f"{name} -".split()),
            min(40, max((len(str(entry)) for entry in shown[name]), default=0)),
        )
        for name in shown.columns
    }


def _blocks(widths: Mapping[str, int], width: int) -> list[list[str]]:
    """Columns in blocks that fit a width, each led by the first column."""
    blocks: list[list[str]] = []
    used = 0
    first = next(iter(widths), "")
    for name, own in widths.items():
        if not blocks or (used + own + 2 > width and len(blocks[-1]) > 1):
            blocks.append([] if name == first else [first])
            used = 0 if name == first else widths[first] + 2
        blocks[-1].append(name)
        used += own + 2
    return blocks


def _as_text(frame: pd.DataFrame, names: Sequence[str], letters: Mapping[str, str]) -> pd.DataFrame:
    """Columns as text; the ends of an interval are shown with its estimate and not again."""
    hidden: set[str] = set()
    texts: dict[str, list[str]] = {}
    for name in names:
        if name in NOTED:
            rows = (_sentences(frame[name].iloc[[row]]) for row in range(len(frame)))
            texts[name] = [" ".join(letters[sentence] for sentence in row) for row in rows]
            continue
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


def _is_number(frame: pd.DataFrame, shown: str) -> bool:
    names = [name for name in frame.columns if heading(name) == shown]
    return bool(names) and pd.api.types.is_numeric_dtype(frame[names[0]])
