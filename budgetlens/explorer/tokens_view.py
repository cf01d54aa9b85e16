"""The views that go down to the token: an example of the run, and texts of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.explorer.data import RunData
from budgetlens.explorer.examples_view import passages
from budgetlens.explorer.live import LiveModel, OwnTexts
from budgetlens.explorer.state import MEAN, NONE, State, own_cell_names, own_labels
from budgetlens.explorer.views import LIGHT, Listing, NothingToShow, View
from budgetlens.runs.tokens import read_token_attention, stored_examples
from budgetlens.tables.probe_maps import records_map
from figures import TokenMeasure, token_view
from figures.labels import plain_number, signed
from figures.looks import Look
from figures.theme import ROLES
from figures.token_measures import SHARE, whole_means

#: What a positive difference of cells says, by which way is better.
POSITIVE = {"lower": ", positive where this cell helps", "higher": ", positive where this cell hurts", "": ""}


@dataclass(frozen=True)
class Drawn:
    """What a token view draws: of which texts, in which cells, and by which measure."""

    what: str
    cells: tuple[str, ...]
    labels: Mapping[str, str]
    measure: TokenMeasure


def asked(state: State) -> tuple[str, ...]:
    """The probes whose measures are asked for besides attention."""
    return () if state.shading == SHARE.column else (state.shading,)


def tokens_view(data: RunData, state: State, live: LiveModel, look: Look = LIGHT) -> View:
    """Where the answer of one example looks, in one or two cells: stored, or computed then and there.

    Raises NothingToShow where neither records nor model and text are there.
    """
    cells = _sides(state.left, state.right)
    layer = int(state.layer)
    stored = stored_examples(data.run.directory)
    parts, kept = [], []
    for cell in cells:
        part = (
            read_token_attention(stored[state.example], cells=[cell], layer=layer)
            if state.example in stored
            else pd.DataFrame()
        )
        if part.empty or data.measures[state.shading].column not in part:
            part = _measured(data, state, live, cell, stored)
        else:
            kept.append(cell)
        parts.append(part.drop(columns="example", errors="ignore"))
    tokens = pd.concat(parts, ignore_index=True)
    where = "from the run's stored records" if len(kept) == len(cells) else "computed now, by the run's model"
    labels = [data.labels[cell] for cell in cells]
    drawn = Drawn(f"Example {state.example}", tuple(cells), data.labels, data.measures[state.shading])
    figure, notes = _token_figure(tokens, state, drawn, look)
    outcome = data.run.declarations[data.run.outcome]
    unit = data.run.outcome_quantity.unit
    values = " · ".join(
        f"{label}: {plain_number(data.nll.loc[state.example, cell])} {unit}"
        for label, cell in zip(labels, cells, strict=True)
    )
    return View(
        heading="Tokens",
        lead=f"{drawn.measure.label.capitalize()} of each key for the tokens of the answer, {where}. "
        f"{outcome.title}: {values}.",
        second=figure,
        listing=role_listing(tokens, state, drawn),
        frame=tokens,
        passages=passages(data, state.example),
        notes=(*notes, *((data.no_texts,) if data.no_texts else ())),
    )


def _measured(
    data: RunData, state: State, live: LiveModel, cell: str, stored: Mapping[str, Path]
) -> pd.DataFrame:
    try:
        return live.tokens(state.example, cell, int(state.layer), asked(state))
    except NothingToShow as error:
        some = ", ".join(sorted(stored)[:8])
        kept = f" Stored with the run are: {some}." if stored else ""
        raise NothingToShow(
            f"The tokens of example {state.example} in layer {state.layer} of {data.labels[cell]} are not stored with "
            f"the run, and can't be computed now. {error}{kept}"
        ) from error


def own_view(data: RunData, state: State, live: LiveModel, look: Look = LIGHT) -> View:
    """The user's own texts in every cell: NLL, budgets, and the tokens of one or two cells."""
    texts = OwnTexts(state.query, state.document, state.prefix, state.answer)
    texts.require_whole()
    records = live.own_records(texts, state.probe)
    names = own_cell_names(data, state.prefix)
    labels = own_labels(data, state.prefix)
    cells = _sides(state.own_left, state.own_right)
    parts = [live.own_tokens(texts, cell, int(state.layer), asked(state)) for cell in cells]
    tokens = pd.concat(parts, ignore_index=True)
    drawn = Drawn("Your own text", tuple(cells), labels, data.measures[state.shading])
    figure, notes = _token_figure(tokens, state, drawn, look)
    values = records[data.run.outcome].set_index("cell").loc[list(names)].reset_index()
    return View(
        heading="Own text",
        lead="Your texts in every cell of this run's design, measured by its model.",
        figure=_own_attention(data, state, records.get(state.probe), labels, look),
        second=figure,
        listing=_own_listing(data, values, labels),
        frame=values,
        notes=(
            *notes,
            *(
                ()
                if data.corpus is not None
                else (
                    "Prefixes and prompts of other examples are taken from your own text: the corpus is not at hand.",
                )
            ),
        ),
    )


def _own_listing(data: RunData, values: pd.DataFrame, labels: dict[str, str]) -> Listing:
    """The outcome of the user's own text in every cell, and its difference from the design's first cell."""
    quantity = data.run.outcome_quantity
    title = data.run.declarations[data.run.outcome].title
    first = float(values.set_index("cell").loc[data.cells[0], quantity.name])
    further = [column for column in (f"{quantity.name}_sum",) if column in values]
    return Listing(
        caption=f"{title} in every cell; difference = {labels[data.cells[0]]} − this cell"
        f"{POSITIVE[quantity.better]}.",
        columns=(
            "cell",
            "levels",
            f"{title} ({quantity.unit})",
            *("sum over the answer" for _ in further),
            "difference",
        ),
        rows=tuple(
            (
                labels[row["cell"]],
                row["cell"].replace("|", " | "),
                plain_number(row[quantity.name]),
                *(plain_number(row[column]) for column in further),
                signed(first - row[quantity.name]),
            )
            for row in values.to_dict("records")
        ),
        numbers=frozenset(range(2, 4 + len(further))),
    )


def _own_attention(
    data: RunData, state: State, records: pd.DataFrame | None, labels: dict[str, str], look: Look
) -> Figure | None:
    """What the chosen probe saw of the user's own texts, by layer; None where the run has no probe of attention."""
    if records is None:
        return None
    declared = data.probes[state.probe]
    quantity = next(own for own in declared.quantities if own.name == state.quantity)
    title = f"{declared.label.short} of your own text"
    return records_map(records, declared, quantity, labels=labels, title=title, look=look)


def _token_figure(tokens: pd.DataFrame, state: State, drawn: Drawn, look: Look) -> tuple[Figure, list[str]]:
    notes = []

    def choice(name: str, value: str) -> int | None:
        if value == MEAN:
            return None
        known = sorted(set(tokens[name]))
        if int(value) in known:
            return int(value)
        notes.append(f"There is no {name} {value} here ({known[0]} to {known[-1]}); the mean is shown.")
        return None

    layer, head, row = int(state.layer), choice("head", state.head), choice("row", state.row)
    over = "sum" if drawn.measure.adds_heads else "mean"
    heads = f"{over} over {tokens['head'].nunique()} heads" if head is None else f"head {head}"
    shown = one_head(tokens, head, drawn.measure)
    figure = token_view(
        shown.assign(alias=shown["cell"].map(drawn.labels)),
        layer=layer,
        head=None,
        row=row,
        cells=list(drawn.cells),
        measure=drawn.measure,
        title=f"{drawn.what}: {drawn.measure.label}, layer {layer}, {heads}",
        **look,
    )
    return figure, notes


def one_head(tokens: pd.DataFrame, head: int | None, measure: TokenMeasure = SHARE) -> pd.DataFrame:
    """The rows of one head; without one, those of the first head with the mean of the measure over the heads, or its sum."""
    first = tokens[tokens["head"] == (tokens["head"].min() if head is None else head)]
    if head is not None:
        return first
    keys = ["cell", "block", "layer", "row", "key"]
    means = whole_means(tokens.groupby(keys, sort=False)[measure.column])
    over = tokens["head"].nunique() if measure.adds_heads else 1
    return first.assign(
        **{measure.column: over * means.loc[pd.MultiIndex.from_frame(first[keys])].to_numpy()}
    )


def role_listing(tokens: pd.DataFrame, state: State, drawn: Drawn) -> Listing:
    """The measure of the shown head and rows, summed over the tokens of each role."""
    measure, cells = drawn.measure, drawn.cells
    chosen = tokens
    for name in ("head", "row"):
        value = getattr(state, name)
        if value != MEAN and int(value) in set(tokens[name]):
            chosen = chosen[chosen[name] == int(value)]
    sums = chosen.groupby(["cell", "block", "head", "row", "role"], sort=False)[measure.column].sum()
    means = sums.groupby(["cell", "block", "role"], sort=False).mean()
    if measure.adds_heads:
        means = means * chosen["head"].nunique()
    blocks = list(dict.fromkeys(tokens["block"]))
    rows = []
    for block in blocks:
        for role in ROLES:
            values = [means.get((cell, block, role)) for cell in cells]
            if any(value is not None for value in values):
                shown = ("–" if value is None else _told(value, measure) for value in values)
                rows.append((role if len(blocks) == 1 else f"{role} ({block})", *shown))
    return Listing(
        caption=f"By role, what is shown above ({measure.label}): the sums over its tokens.",
        columns=("role", *(drawn.labels[cell] for cell in cells)),
        rows=tuple(rows),
        numbers=frozenset(range(1, len(cells) + 1)),
    )


def _told(value: float, measure: TokenMeasure) -> str:
    return f"{100 * value:.2f} %" if measure.percent else signed(value)


def _sides(left: str, right: str) -> list[str]:
    return [left] if right in (NONE, "", left) else [left, right]
