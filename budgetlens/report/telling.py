"""Three examples that tell most of an effect: the largest, the median, and the one that says the contrary."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from budgetlens.model.roles import ROLE_LABELS
from budgetlens.report.cells import shortened
from budgetlens.runs.run import Run
from budgetlens.runs.tokens import read_token_attention, stored_examples
from budgetlens.statistics.contrasts import Contrast
from figures.token_layout import shown_token

#: Characters of a text that is shown whole: an example tells nothing whose evidence is cut out of it.
LONGEST_TOLD = 3000


@dataclass(frozen=True)
class Token:
    """A token of the input: its text, the part of the answer's attention on it, its shade from 0 to 1."""

    text: str
    told: str
    shade: float


@dataclass(frozen=True)
class Telling:
    """One example: what it tells, its difference, its value on both sides, its texts, and where the answer looked."""

    kind: str
    example: str
    difference: str
    values: tuple[tuple[str, str], ...]
    texts: tuple[tuple[str, str], ...]
    tokens: tuple[tuple[str, tuple[Token, ...]], ...]


def telling_examples(run: Run, contrast: Contrast, labels: Mapping[str, str]) -> tuple[Telling, ...]:
    """Three examples of a contrast on the run's outcome, or fewer where there are fewer, and none says the contrary.

    Texts of hub corpora are not copied into a page that may be passed on, but for those that every report shows.
    """
    quantity = run.outcome_quantity
    records = run.outcomes[["example", "cell", quantity.name]].astype({"example": str, "cell": str})
    values = records.pivot_table(index="example", columns="cell", values=quantity.name)
    if not set(contrast.weights) <= set(values):
        return ()
    weights = pd.Series(contrast.weights)
    differences = (values[list(weights.index)] * weights).sum(axis=1, skipna=False).dropna()
    chosen = chosen_examples(differences)
    sides = sorted(contrast.weights, key=lambda cell: -contrast.weights[cell])
    pair = sides if sorted(contrast.weights.values()) == [-1.0, 1.0] else []
    texts = _texts(run)
    stored = stored_examples(run.directory) if pair else {}
    scale, unit = (100.0, "points") if quantity.part_of_whole else (1.0, quantity.short_unit)
    return tuple(
        Telling(
            kind=kind,
            example=example,
            difference=f"{amount(scale * differences[example], '+')} {unit}",
            values=tuple(
                (labels.get(cell, cell), amount(scale * values.loc[example, cell])) for cell in pair
            ),
            texts=texts.get(example, ()),
            tokens=_tokens(stored[example], pair, labels) if example in stored else (),
        )
        for kind, example in chosen.items()
    )


def amount(value: float, sign: str = "") -> str:
    """Three significant digits, and of what is nearly nothing four decimals; ``sign`` is *+* where a fall has one."""
    return f"{value:{sign}{'.3g' if abs(value) >= 0.01 else '.4f'}}".replace("-", "−")


def chosen_examples(differences: pd.Series) -> dict[str, str]:
    """By what they tell: the largest difference on the mean's side, the one nearest the median, the largest against it."""
    if differences.empty:
        return {}
    signed = differences * math.copysign(1.0, differences.mean())
    largest = str(signed.idxmax())
    found = {"Largest": largest}
    others = signed.drop(largest)
    if len(others):
        found["Median"] = str((others - signed.median()).abs().idxmin())
        contrary = str(others.idxmin())
        if others[contrary] < 0 and contrary != found["Median"]:
            found["Contrary"] = contrary
    return found


def _texts(run: Run) -> dict[str, tuple[tuple[str, str], ...]]:
    """Query, document and answer by example, where they are at hand."""
    corpus, _ = run.texts(hub=False)
    if corpus is not None:
        return {
            example.identifier: (
                ("query", example.query),
                ("document", shortened(example.document, LONGEST_TOLD)),
                ("answer", example.answer),
            )
            for example in corpus.examples
        }
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for example in run.shown_examples():
        roles: dict[str, str] = {}
        for cell in example.get("cells", []):
            own: dict[str, str] = {}
            for text, role, _ in [*cell.get("encoder", []), *cell.get("decoder", [])]:
                own[role] = own.get(role, "") + text
            roles |= {role: text for role, text in own.items() if role not in roles}
        told = tuple(
            (role, shortened(roles[role], LONGEST_TOLD)) for role in ("document", "answer") if role in roles
        )
        found[str(example.get("example", ""))] = told
    return found


def _tokens(
    path: Path, cells: list[str], labels: Mapping[str, str]
) -> tuple[tuple[str, tuple[Token, ...]], ...]:
    """Where the answer's rows look, the mean over rows, heads and layers, in both cells on one scale."""
    records = read_token_attention(path, cells=cells)
    shares = (
        records.groupby(["cell", "block", "key"], observed=True, sort=False)
        .agg(share=("share", "mean"), token=("key_token", "first"), role=("role", "first"))
        .reset_index()
    )
    top = float(shares["share"].max()) if len(shares) else 0.0
    return tuple(
        (
            labels.get(cell, cell),
            tuple(
                Token(
                    shown_token(row.token),
                    f"{ROLE_LABELS[row.role].short}, {100 * row.share:.1f} %",
                    round(math.sqrt(max(row.share, 0.0) / top), 3) if top > 0 else 0.0,
                )
                for row in shares[shares["cell"] == cell].itertuples()
            ),
        )
        for cell in cells
    )
