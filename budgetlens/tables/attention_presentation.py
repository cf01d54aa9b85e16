"""Tables of attention as people read them: chosen layers, and what was found over layers and heads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import pandas as pd

from budgetlens.model.roles import ROLES
from budgetlens.statistics.verdicts import (
    CAUTION_RULE,
    UNDECIDED,
    Quantity,
    layers_rule,
    verdict_over_layers,
)
from budgetlens.tables.captions import Captions
from budgetlens.tables.digits import counted, with_interval
from budgetlens.tables.presentation import Table

#: Places in the depth of a stack that the tables show (protocol: 0, L/6, L/3, L/2, 2L/3, L-1).
DEPTHS = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)

#: What the captions of attention say about examples that share a document.
UNIT_OF_SHARES = "the unit is the example, or the document where examples share one"
COUNTS_UNITS = "n in the CSV file counts units"


def shown_layers(layers: Iterable[int]) -> list[int]:
    """The layers at `DEPTHS` of those that were read."""
    known = sorted(set(layers))
    return sorted({known[round(depth * (len(known) - 1))] for depth in DEPTHS})


def share_tables(captions: Captions, shares: pd.DataFrame, rows: str) -> dict[str, Table]:
    """One table per stack and block: cells and chosen layers down, roles across."""
    return {
        f"shares_{stack}_{block}": _share_table(captions, own, str(stack), str(block), rows)
        for (stack, block), own in shares.groupby(["stack", "block"], sort=False)
    }


def _share_table(captions: Captions, own: pd.DataFrame, stack: str, block: str, rows: str) -> Table:
    present = set(own["role"])
    wide = (
        captions.conditions(own[own["layer"].isin(shown_layers(own["layer"]))])
        .assign(percent=lambda frame: 100 * frame["mean"])
        .pivot_table(
            index=["condition", "layer"], columns="role", values="percent", sort=False, observed=True
        )
    )
    # Text, because significant digits would show a share of 0.7 % as 0.700.
    frame = wide[[role for role in ROLES if role in present]].map("{:.1f}".format).reset_index()
    frame.columns.name = None
    whose = f"the answer's {rows} rows" if stack == "decoder" else "the document's rows"
    return captions.describing(
        frame,
        random=False,
        title=f"Attention shares by role, {stack}, {block} block",
        estimand=f"mean over examples and heads of the share that {whose} give to each role",
        unit="percent",
        notes=("chosen layers; shares.csv has every layer, with intervals", UNIT_OF_SHARES, COUNTS_UNITS),
    )


def entropy_tables(captions: Captions, kind: str, entropies: pd.DataFrame) -> dict[str, Table]:
    """One table per stack and block: cells and chosen layers down, the entropy of each part across."""
    published = kind.startswith("published")
    presented = {}
    for (stack, block), own in entropies.groupby(["stack", "block"], sort=False):
        chosen = captions.conditions(own[own["layer"].isin(shown_layers(own["layer"]))])
        rows = []
        for (condition, layer), part in chosen.groupby(["condition", "layer"], sort=False):
            cells = {
                f"{row.part.removeprefix('published_')} entropy": with_interval(
                    row.entropy, row.entropy_low, row.entropy_high
                )
                for row in part.itertuples()
            }
            masses = {
                f"{row.part.removeprefix('published_')} mass": with_interval(
                    row.mass, row.mass_low, row.mass_high
                )
                for row in part.itertuples()
                if row.part != "all"
            }
            notes = dict.fromkeys(note for column in ("caution", "reason") for note in part[column] if note)
            rows.append(
                {"condition": condition, "layer": layer, **cells, **masses, "caution": "; ".join(notes)}
            )
        definition = (
            "entropy of the head-averaged attention, not normalised within the part, as published"
            if published
            else "mean over heads of the entropy of a head's attention, normalised within the part"
        )
        presented[f"{kind}_{stack}_{block}"] = captions.describing(
            pd.DataFrame(rows),
            title=f"{'Published' if published else 'Attention'} entropy by part, {stack}, {block} block",
            estimand=f"mean over examples: {definition}; mass = share of attention on the part",
            unit="nats (entropy), fraction (mass)",
            notes=(
                f"95 % BCa bootstrap intervals over examples; chosen layers, {kind}.csv has every one",
                UNIT_OF_SHARES,
                COUNTS_UNITS,
                CAUTION_RULE,
            ),
        )
    return presented


def band_table(captions: Captions, effects: pd.DataFrame, axis: str) -> Table:
    """Per contrast and role (or part): the layers whose simultaneous band leaves out 0, the largest, a verdict."""
    quantity: Quantity = "share" if axis == "role" else "entropy"
    rows = []
    groups = effects.groupby(["contrast", "stack", "block", axis], sort=False)
    for (contrast, _, block, name), own in groups:
        tested = own[own["band_low"].notna()]
        found = tested[(tested["band_low"] > 0) | (tested["band_high"] < 0)]
        row: dict[str, object] = {
            "contrast": contrast,
            axis: str(name),
            "block": block,
            "layers tested": len(tested),
        }
        row |= {
            "positive in layers": runs(found.loc[found["mean"] > 0, "layer"]),
            "negative in layers": runs(found.loc[found["mean"] < 0, "layer"]),
        }
        if len(tested):
            surest = tested.loc[(tested["mean"] / tested["standard_error"]).abs().idxmax()]
            row |= {
                "surest at layer": str(int(surest["layer"])),
                "mean": surest["mean"],
                "band_low": surest["band_low"],
                "band_high": surest["band_high"],
                "p_simultaneous": surest["p_simultaneous"],
                "verdict": verdict_over_layers(
                    tested["band_low"].to_numpy(),
                    tested["band_high"].to_numpy(),
                    tested["p_simultaneous"].to_numpy(),
                    tested["p_tost"].to_numpy(),
                    float(surest["smallest_effect"]),
                    order=int(surest["order"]),
                    quantity=quantity,
                ),
            }
        elif (own["mean"] == 0).all():
            # Both sides are 0 in every layer: nothing to say about this role.
            continue
        else:
            row |= {
                "verdict": UNDECIDED,
                "reason": next((reason for reason in own["reason"] if reason), ""),
            }
        rows.append(row)
    frame = pd.DataFrame(rows)
    if "block" in frame and frame["block"].nunique() == 1:
        frame = frame.drop(columns="block")
    what = "attention share" if axis == "role" else "entropy"
    smallest = float(effects["smallest_effect"].iloc[0])
    return Table(
        frame=frame,
        title=f"Differences in {what} over layers",
        estimand=f"mean over examples of baseline - treatment in {what}, heads averaged",
        unit="fraction of attention" if axis == "role" else "nats",
        n=captions.n,
        family="the layers of one contrast and " + axis,
        correction="band and p hold for all layers at once (maximal |t| over sign flips)",
        seed=captions.seed,
        notes=(
            "layers whose 95 % simultaneous band leaves out 0; it is shown at the layer with the largest |t|",
            UNIT_OF_SHARES,
            COUNTS_UNITS,
            f"positive: the treatment lowers the {what}",
            f"verdict, over the layers: {layers_rule(smallest, quantity, orders=effects['order'])}",
        ),
    )


def head_table(captions: Captions, heads: pd.DataFrame) -> Table:
    """Per contrast and role: how many heads were discovered, and the strongest of either sign."""
    rows, silent = [], 0
    for (contrast, block, role), own in heads.groupby(["contrast", "block", "role"], sort=False):
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
                "block": block,
                "role": str(role),
                "heads tested": len(tested),
                "discovered": len(found),
                "treatment lowers": int((found["mean"] > 0).sum()),
                "treatment raises": int((found["mean"] < 0).sum()),
                "most lowered": _head(found, found["mean"].to_numpy()),
                "most raised": _head(found, -found["mean"].to_numpy()),
            }
        )
    columns = ["contrast", "role", "heads tested", "discovered"]
    frame = pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    if "block" in frame and frame["block"].nunique() == 1:
        frame = frame.drop(columns="block")
    return Table(
        frame=frame,
        title="Heads whose attention differs",
        estimand="mean over examples of baseline - treatment in one head's attention share",
        unit="fraction of attention; L2H5 is head 5 of layer 2",
        n=captions.n,
        family="every layer, head and role of one contrast",
        correction="Benjamini-Hochberg, false discovery rate 0.05, on the t-test p",
        seed=None,
        notes=(
            f"not shown: {counted(silent, 'pair')} of contrast and role without a discovery; "
            "heads.csv has every head",
            UNIT_OF_SHARES,
            COUNTS_UNITS,
        ),
    )


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
