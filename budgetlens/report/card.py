"""The answer card: question, answer, verdict and the few effects that carry it, as words, pictures and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from budgetlens.report.conclusion import NOTHING, clause, in_answers, numbers
from budgetlens.report.findings import colour, short_verdict, size
from budgetlens.report.intervals import Row, interval_pictures
from budgetlens.runs.manifest import Manifest
from budgetlens.statistics.verdicts import CAUTIONS
from budgetlens.tables.conclusions import Concluded

#: Effects of one run that the card has room for, and models of a sweep.
MOST_EFFECTS, MOST_MODELS = 5, 8
#: Characters that LaTeX reads as something else.
LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "−": "$-$",
        "→": r"$\to$",
        "×": r"$\times$",
        "±": r"$\pm$",
        "·": r"$\cdot$",
    }
)


@dataclass(frozen=True)
class Said:
    """One answer: which models say it, its clause, its numbers, its verdict with the class that colours it."""

    models: str
    clause: str
    numbers: str
    verdict: str
    colour: str


@dataclass(frozen=True)
class Card:
    """What the first screen shows."""

    question: str
    said: tuple[Said, ...]
    facts: tuple[tuple[str, str], ...]
    care: tuple[str, ...]
    pictures: tuple[Markup, ...]
    latex: str


def answer_card(manifest: Manifest, concluded: Sequence[Concluded]) -> Card:
    """The card of a run; of a sweep over models each answer with the models that give it."""
    rows = card_rows(concluded)
    said = _said(concluded)
    codes = dict.fromkeys(code for row in rows for code in row.finding.cautions)
    foot = foot_of(manifest)
    heading = " ".join(own.clause for own in said)
    return Card(
        manifest.question,
        said,
        facts_of(manifest),
        tuple(CAUTIONS.get(code, code) for code in codes),
        interval_pictures(rows, heading, foot) if rows else (),
        latex(rows, heading, foot),
    )


def card_rows(concluded: Sequence[Concluded]) -> list[Row]:
    """The effects that carry the answer, the deciding one first; of a sweep the deciding one of each model."""
    if any(own.model for own in concluded):
        return [Row(own.model, own.told[0].finding) for own in concluded if own.told][:MOST_MODELS]
    return [Row(told.label.short, told.finding) for own in concluded for told in own.told][:MOST_EFFECTS]


def _said(concluded: Sequence[Concluded]) -> tuple[Said, ...]:
    found: dict[str, list[Concluded]] = {}
    for own in concluded:
        found.setdefault(clause(own), []).append(own)
    told = []
    for words, of in found.items():
        models = ", ".join(own.model for own in of if own.model)
        if not of[0].told:
            told.append(Said(models, NOTHING, "", "", "undecided"))
            continue
        finding = of[0].told[0].finding
        # A count stays together: n = 24.
        told_numbers = numbers(of[0].told[0]).replace(" = ", "\u00a0=\u00a0") if len(of) == 1 else ""
        told_numbers = told_numbers[:1].upper() + told_numbers[1:]
        answers = in_answers(of[0]) if len(of) == 1 else ""
        said = words.rstrip(".") + "."
        told.append(
            Said(
                models,
                said,
                " ".join(filter(None, (told_numbers, answers))),
                short_verdict(finding),
                colour(finding),
            )
        )
    return tuple(told) or (Said("", "Nothing was compared.", "", "", "undecided"),)


def facts_of(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """What was measured: examples, model, corpus, protocol and seed."""
    model, corpus = manifest.model, manifest.corpus
    size_words = f" ({_count(model.parameters)} parameters)" if model.parameters is not None else ""
    models = ("models", model.name) if manifest.is_sweep else ("model", f"{model.name}{size_words}")
    return (
        ("n", f"{manifest.examples}"),
        models,
        ("corpus", corpus.name),
        ("protocol", manifest.protocol),
        ("seed", str(manifest.seed)),
    )


def foot_of(manifest: Manifest) -> str:
    """The same in one line, below a picture."""
    return " · ".join(f"{name}{' =' if name == 'n' else ''} {value}" for name, value in facts_of(manifest))


def _count(number: int) -> str:
    """A number of parameters as people say it."""
    for size_of, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size_of:
            return f"{number / size_of:.3g} {letter}"
    return str(number)


def latex(rows: Sequence[Row], heading: str, foot: str) -> str:
    """The rows as a table for a paper, with the booktabs package; empty without rows."""
    if not rows:
        return ""
    told = [
        f"{row.words.translate(LATEX)} & {amount.translate(LATEX)} {unit.translate(LATEX)} & "
        f"{short_verdict(row.finding).translate(LATEX)} \\\\"
        for row in rows
        for amount, unit in [size(row.finding)]
    ]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{heading.translate(LATEX)} {foot.translate(LATEX)}.}}",
            r"\begin{tabular}{lrl}",
            r"\toprule",
            r"Effect & baseline $-$ treatment [interval] & verdict \\",
            r"\midrule",
            *told,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )
