"""The tables of probes as people read them: chosen layers, and what was found over layers and heads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from budgetlens.model.declaration import Declaration
from budgetlens.statistics.bands import MAPPED_FROM
from budgetlens.statistics.decisions import decide_over_layers, joined, surest_layer
from budgetlens.statistics.quantities import Bound, Quantity
from budgetlens.statistics.verdicts import CAUTION_RULE, UNDECIDED, layers_rule, verdict
from budgetlens.tables.captions import Captions
from budgetlens.tables.digits import counted, with_interval
from budgetlens.tables.presentation import Table
from budgetlens.tables.stating import stated

#: Places in the depth of a stack that the tables show (protocol: 0, L/6, L/3, L/2, 2L/3, L-1).
DEPTHS = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)

#: What the captions of attention say about examples that share a document.
UNIT_OF_SHARES = "the unit is the example, or the document where examples share one"
COUNTS_UNITS = "n in the CSV file counts units"


def shown_layers(layers: Iterable[int]) -> list[int]:
    """The layers at `DEPTHS` of those that were read."""
    known = sorted(set(layers))
    return sorted({known[round(depth * (len(known) - 1))] for depth in DEPTHS})


def presented_probe(
    captions: Captions, name: str, declared: Declaration, tables: Mapping[str, pd.DataFrame], rows: str
) -> dict[str, Table]:
    """The tables of one probe that a reader wants first, by name; those that a run lacks are left out."""
    cells, effects, heads = (declared.table(name, kind) for kind in ("cells", "effects", "heads"))
    presented: dict[str, Table] = {}
    if cells in tables:
        presented |= cell_tables(captions, cells, declared, tables[cells], rows)
    if effects in tables:
        presented[effects] = band_table(captions, declared, tables[effects])
    if heads in tables:
        presented[heads] = head_table(captions, heads, declared, tables[heads])
    return presented


def cell_tables(
    captions: Captions, name: str, declared: Declaration, table: pd.DataFrame, rows: str
) -> dict[str, Table]:
    """One table per stack and block: cells and chosen layers down, categories across.

    Parts of one whole are shown in percent, other quantities with their intervals.
    """
    presented = {}
    for (stack, block), own in table.groupby(["stack", "block"], sort=False):
        chosen = captions.conditions(own[own["layer"].isin(shown_layers(own["layer"]))])
        whose = f"the answer's {rows} rows" if stack == "decoder" else "the document's rows"
        facts: dict[str, Any] = {
            "title": f"{declared.label.long} by {declared.axis}, {stack}, {block} block",
            "estimand": declared.estimand.format(rows=whose),
        }
        if len(declared.quantities) == 1 and declared.quantities[0].part_of_whole:
            note = f"chosen layers; {name}.csv has every layer, with intervals"
            presented[f"{name}_{stack}_{block}"] = captions.describing(
                _percents(chosen, declared),
                random=False,
                unit="percent",
                notes=(note, UNIT_OF_SHARES, COUNTS_UNITS),
                **facts,
            )
            continue
        units = [f"{quantity.unit} ({quantity.label})" for quantity in _tested_first(declared)]
        presented[f"{name}_{stack}_{block}"] = captions.describing(
            _intervals(chosen, declared),
            unit=", ".join(units),
            notes=(
                f"95 % intervals over examples, made for long tails; chosen layers, {name}.csv has every one",
                UNIT_OF_SHARES,
                COUNTS_UNITS,
                CAUTION_RULE,
            ),
            **facts,
        )
    return presented


def _percents(chosen: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    wide = chosen.assign(percent=lambda frame: 100 * frame["mean"]).pivot_table(
        index=["condition", "layer"], columns=declared.axis, values="percent", sort=False, observed=True
    )
    # Text, because significant digits would show a share of 0.7 % as 0.700.
    shown = wide[declared.ordered(set(map(str, wide.columns)))].map("{:.1f}".format)
    frame = shown.rename(columns=declared.labels).reset_index()
    frame.columns.name = None
    return frame


def _intervals(chosen: pd.DataFrame, declared: Declaration) -> pd.DataFrame:
    """A column per quantity and category, the tested quantity first; what is the whole has no part of it."""
    alone = len(declared.quantities) == 1
    rows = []
    for (condition, layer), part in chosen.groupby(["condition", "layer"], sort=False):
        cells: dict[str, str] = {}
        for quantity in _tested_first(declared):
            for record in part.to_dict("records"):
                category = str(record[declared.axis])
                if quantity.part_of_whole and category in declared.wholes:
                    continue
                middle, low, high = (
                    ("mean", "low", "high")
                    if alone
                    else (quantity.name, f"{quantity.name}_low", f"{quantity.name}_high")
                )
                heading = " ".join(filter(None, (declared.labels.get(category, category), quantity.label)))
                cells[heading] = with_interval(record[middle], record[low], record[high])
        notes = dict.fromkeys(note for column in ("caution", "reason") for note in part[column] if note)
        rows.append({"condition": condition, "layer": layer, **cells, "caution": "; ".join(notes)})
    return pd.DataFrame(rows)


def _tested_first(declared: Declaration) -> list[Quantity]:
    tested = declared.tested
    first = [] if tested is None else [tested]
    return first + [quantity for quantity in declared.quantities if quantity is not tested]


def band_table(captions: Captions, declared: Declaration, effects: pd.DataFrame) -> Table:
    """Per contrast, stack and category: the layers whose simultaneous band leaves out 0, the surest, a verdict.

    Raises ValueError for a probe whose differences are not tested.
    """
    axis, quantity = declared.axis, declared.tested
    if quantity is None:
        raise ValueError(f"{declared.label.long} declares no smallest difference, so that nothing was tested")
    rows = []
    groups = effects.groupby(["contrast", "stack", "block", axis], sort=False)
    for (contrast, stack, block, name), own in groups:
        tested = own[own["band_low"].notna()]
        found = tested[(tested["band_low"] > 0) | (tested["band_high"] < 0)]
        row: dict[str, object] = {
            "contrast": contrast,
            axis: declared.labels.get(str(name), str(name)),
            "stack": stack,
            "block": block,
            "layers tested": len(tested),
        }
        row |= {
            "positive in layers": runs(found.loc[found["mean"] > 0, "layer"]),
            "negative in layers": runs(found.loc[found["mean"] < 0, "layer"]),
        }
        cautions = joined(*tested["caution"])
        if len(tested):
            surest = surest_layer(tested)
            row |= {
                "surest at layer": str(int(surest["layer"])),
                "mean": surest["mean"],
                "band_low": surest["band_low"],
                "band_high": surest["band_high"],
                "p_simultaneous": surest["p_simultaneous"],
                "verdict": verdict(
                    decide_over_layers(
                        *(
                            tested[name].to_numpy()
                            for name in ("band_low", "band_high", "p_simultaneous", "p_tost")
                        ),
                        because=list(tested["because"]),
                    ),
                    Bound(float(surest["smallest_effect"]), float(surest["smallest_share"])),
                    int(surest["order"]),
                    quantity,
                ),
                "caution": cautions,
            }
        elif (own["mean"] == 0).all():
            # Both sides are 0 in every layer: nothing to say about this role.
            continue
        else:
            row |= {
                "verdict": UNDECIDED,
                "caution": cautions,
                "reason": next((reason for reason in own["reason"] if reason), ""),
            }
        rows.append(row)
    frame = _without_constants(pd.DataFrame(rows))
    what = quantity.label
    smallest = stated(effects)
    return Table(
        frame=frame,
        title=f"Differences in {what} over layers",
        estimand=f"mean over examples of baseline - treatment in {what}, heads averaged",
        unit=quantity.unit,
        n=captions.n,
        family="the layers of one contrast and " + axis,
        correction="band and p hold for all layers at once (maximal |t| over sign flips)",
        seed=captions.seed,
        notes=(
            "layers whose 95 % simultaneous band leaves out 0; it is shown at the layer with the largest |t|",
            UNIT_OF_SHARES,
            COUNTS_UNITS,
            f"positive: the treatment lowers the {what}",
            f"a caution stands for any layer of its row; {CAUTION_RULE}",
        ),
        rule=f"over the layers: {layers_rule(smallest, quantity, orders=effects['order'])}",
        allows_for_documents=True,
    )


def head_table(captions: Captions, name: str, declared: Declaration, heads: pd.DataFrame) -> Table:
    """Per contrast, stack and category: how many heads were discovered, and the strongest of either sign."""
    axis = declared.axis
    what = "value" if declared.tested is None else declared.tested.label
    rows, silent = [], 0
    groups = heads.groupby(["contrast", "stack", "block", axis], sort=False)
    for (contrast, stack, block, category), own in groups:
        tested = own[own["p"].notna()]
        if tested.empty:
            continue
        found = tested[tested["discovered"]]
        if found.empty:
            silent += 1
            continue
        rows.append(
            {
                "contrast": contrast,
                "stack": stack,
                "block": block,
                axis: declared.labels.get(str(category), str(category)),
                "heads tested": len(tested),
                "discovered": len(found),
                "treatment lowers": int((found["mean"] > 0).sum()),
                "treatment raises": int((found["mean"] < 0).sum()),
                "most lowered": _head(found, found["mean"].to_numpy()),
                "most raised": _head(found, -found["mean"].to_numpy()),
                "caution": joined(*found["caution"]),
            }
        )
    columns = ["contrast", axis, "heads tested", "discovered"]
    frame = _without_constants(pd.DataFrame(rows)) if rows else pd.DataFrame(columns=columns)
    return Table(
        frame=frame,
        title=f"Heads whose {what} differs",
        estimand=f"mean over examples of baseline - treatment in one head's {what}",
        unit=f"{declared.tested.unit if declared.tested else 'none'}; L2H5 is head 5 of layer 2",
        n=captions.n,
        family=f"every layer, head and {axis} of one contrast",
        correction=f"Benjamini-Hochberg, false discovery rate 0.05, on the p of the mean; "
        f"no head is discovered of fewer than {MAPPED_FROM} independent examples",
        seed=None,
        notes=(
            f"not shown: {counted(silent, 'pair')} of contrast and {axis} without a discovery; "
            f"{name}.csv has every head",
            UNIT_OF_SHARES,
            COUNTS_UNITS,
            f"a caution stands for any head that its row counts as discovered; {CAUTION_RULE}",
        ),
    )


def _without_constants(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that name stack and block where there is only one of them."""
    alike = [name for name in ("stack", "block") if name in frame and frame[name].nunique() == 1]
    return frame.drop(columns=alike)


def _head(found: pd.DataFrame, strength: np.ndarray) -> str:
    best = int(np.argmax(strength))
    if strength[best] <= 0:
        return ""
    row = found.iloc[best]
    return f"L{int(row['layer'])}H{int(row['head'])} {row['mean']:+.3f}"


def runs(layers: Iterable[int]) -> str:
    """Layers in words: `0-3, 7`."""
    known = sorted(int(layer) for layer in layers)
    if not known:
        return ""
    breaks = [index for index, (one, other) in enumerate(pairwise(known), start=1) if other != one + 1]
    spans = [known[first:last] for first, last in pairwise([0, *breaks, len(known)])]
    return ", ".join(str(span[0]) if len(span) == 1 else f"{span[0]}-{span[-1]}" for span in spans)
