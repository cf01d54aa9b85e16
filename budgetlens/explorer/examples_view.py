"""The view of examples: what every example adds to the contrast that is followed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from budgetlens.explorer.data import RunData
from budgetlens.explorer.effects_view import stratum_words
from budgetlens.explorer.state import PAGE, State
from budgetlens.explorer.strata import mask_of
from budgetlens.explorer.views import LIGHT, Link, Listing, NothingToShow, Passage, View
from budgetlens.model.declaration import Declaration
from budgetlens.statistics.contrasts import Contrast
from figures import example_scatter, example_slopes
from figures.labels import plain_number, signed
from figures.looks import Look

#: Longest text of a table's entry and of a passage, in characters; the hover and the CSV hold more.
ENTRY, PASSAGE = 90, 6_000


def examples_view(data: RunData, state: State, look: Look = LIGHT) -> View:
    """The examples of the chosen contrast and stratum: a drawing, a table that sorts, and one example's text.

    Raises NothingToShow where the run has no contrast, or no example is in the stratum.
    """
    if state.contrast not in data.contrasts:
        raise NothingToShow(
            "This run compares no cells, so that there is no contrast whose examples could be shown."
        )
    contrast = data.contrasts[state.contrast]
    measure = shown_measure(data, state)
    declared = data.tested[measure]
    table = example_table(data, contrast, measure)[mask_of(data, state.strata, state.stratum)]
    if table.empty:
        raise NothingToShow("No example is in this stratum. Choose another one.")
    title = f"{state.contrast}: {data.title}{stratum_words(state)}"
    return View(
        heading="Examples",
        lead=(
            f"{state.contrast}: {declared.label.sentence} of every example on both sides. "
            "Choose an example to see its tokens."
        ),
        figure=_figure(data, state, contrast, table, title, look),
        listing=_listing(state, table, declared),
        frame=table.drop(columns="size"),
        passages=passages(data, state.example),
        notes=(data.no_texts,) if data.no_texts else (),
    )


def shown_measure(data: RunData, state: State) -> str:
    """The probe whose values examples have: the chosen one where it is of answers, else the outcome."""
    return data.run.outcome if data.tested[state.tested].axis else state.tested


def example_table(data: RunData, contrast: Contrast, measure: str) -> pd.DataFrame:
    """A row per example: its texts, its value on both sides of a contrast, and their difference.

    Columns example, query, answer, baseline, treatment, difference (baseline - treatment, in the unit of what is
    measured; an interaction's sides are sums of cells), size (its absolute value), and the value in every cell of the
    contrast.
    """
    weights = pd.Series({cell: contrast.weights.get(cell, 0.0) for cell in data.cells})
    nll = data.wide(measure)[list(data.cells)]
    used = [cell for cell in data.cells if weights[cell]]
    before, after = weights.clip(lower=0)[used], -weights.clip(upper=0)[used]
    names = pd.Series(data.examples)
    table = pd.DataFrame(
        {
            "example": names.to_numpy(),
            "query": [data.texts[name].query if name in data.texts else "" for name in names],
            "answer": [data.texts[name].answer if name in data.texts else "" for name in names],
            "baseline": _side(nll[used], before),
            "treatment": _side(nll[used], after),
        },
        index=pd.RangeIndex(len(names)),
    )
    table["difference"] = table["baseline"] - table["treatment"]
    table["size"] = table["difference"].abs()
    return pd.concat([table, nll[used].reset_index(drop=True)], axis=1)


def _side(nll: pd.DataFrame, weights: pd.Series) -> np.ndarray:
    chosen = [cell for cell in nll.columns if weights[cell]]
    return nll[chosen].to_numpy() @ weights[chosen].to_numpy()


def passages(data: RunData, example: str) -> tuple[Passage, ...]:
    """The texts of one example; empty where they are not at hand."""
    found = data.texts.get(example)
    if found is None:
        return ()
    texts = (("query", found.query), ("answer", found.answer), ("document", found.document))
    return tuple(Passage(name, _cut(text, PASSAGE)) for name, text in texts)


def _figure(
    data: RunData, state: State, contrast: Contrast, table: pd.DataFrame, title: str, look: Look
) -> Figure:
    declared = data.tested[shown_measure(data, state)]
    (quantity,) = [own for own in declared.quantities if own == declared.tested]
    words = {"quantity": declared.label.sentence, "unit": quantity.unit, "value": quantity.name}
    text = ("query", "answer") if data.texts else ()
    chosen = (state.example,) if state.example in set(table["example"]) else ()
    cells = [cell for cell in data.cells if contrast.weights.get(cell)]
    if state.drawing == "slopes":
        ordered = sorted(cells, key=lambda cell: -contrast.weights[cell])
        long = table.melt(["example", *text], ordered, var_name="cell", value_name=quantity.name)
        long["alias"] = long["cell"].map(data.labels)
        return example_slopes(long, ordered, text=text, highlight=chosen, title=title, **words, **look)
    sides = {"baseline": contrast.baseline, "treatment": contrast.treatment}
    long = table.melt(["example", *text], list(sides), var_name="side", value_name=quantity.name)
    long["cell"] = long["side"].map(sides)
    long["alias"] = long["cell"].map(lambda cell: data.labels.get(cell, ""))
    if len(cells) > 2:
        long["alias"] = long["side"].map({"baseline": "baseline side", "treatment": "treatment side"})
    sides_drawn = (contrast.baseline, contrast.treatment)
    return example_scatter(long, *sides_drawn, text=text, highlight=chosen, title=title, **words, **look)


def _listing(state: State, table: pd.DataFrame, declared: Declaration) -> Listing:
    unit = declared.tested.unit if declared.tested else ""
    ordered = table.sort_values(
        state.sort, ascending=state.order == "up", kind="stable", na_position="last", key=_sortable
    )
    pages = max(1, -(-len(ordered) // PAGE))
    page = min(int(state.page), pages)
    shown = ordered.iloc[(page - 1) * PAGE : page * PAGE]
    rows = tuple(
        (
            Link("example", row["example"], _cut(row["example"], 40)),
            _cut(row["query"], ENTRY),
            _cut(row["answer"], ENTRY),
            plain_number(row["baseline"]),
            plain_number(row["treatment"]),
            signed(row["difference"]),
        )
        for row in shown.to_dict("records")
    )
    return Listing(
        caption=f"{len(ordered):,} examples, {declared.label.sentence} in {unit}; difference = baseline − treatment.",
        columns=("example", "query", "answer", "baseline", "treatment", "difference"),
        rows=rows,
        numbers=frozenset({3, 4, 5}),
        sorts=(
            "example",
            "query",
            "answer",
            "baseline",
            "treatment",
            "size" if state.sort == "size" else "difference",
        ),
        sort=state.sort,
        order=state.order,
        page=page,
        pages=pages,
    )


def _sortable(column: pd.Series) -> pd.Series:
    """Numbers by size; texts without regard to case, numbers in names by size."""
    if column.name == "example" and column.str.fullmatch(r"\d{1,15}").all():
        return column.astype("int64")
    return column.str.casefold() if pd.api.types.is_string_dtype(column) else column


def _cut(text: object, most: int) -> str:
    whole = str(text)
    if len(whole) <= most:
        return whole
    return (
        f"{whole[:most]}… ({len(whole) - most:,} more characters)"
        if most > ENTRY
        else f"{whole[: most - 1]}…"
    )
