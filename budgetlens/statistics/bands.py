"""Statistics of attention budgets: shares per layer and role, simultaneous bands, maps of heads.

The unit is an example: a share is averaged over heads first where heads are not the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from budgetlens.statistics.adjustment import adjusted_p, false_discovery_q
from budgetlens.statistics.budget_arrays import BudgetArray, budget_arrays
from budgetlens.statistics.contrasts import Contrast, reference_weights
from budgetlens.statistics.decisions import coverage_cautions, decide, joined
from budgetlens.statistics.inference import Inference
from budgetlens.statistics.permutations import max_statistic
from budgetlens.statistics.quantities import Quantity
from budgetlens.statistics.tails import TailedMeans, tailed, tailed_means
from budgetlens.statistics.verdicts import verdict

Budgets: TypeAlias = pd.DataFrame | BudgetArray | Sequence[BudgetArray]

#: Most sign patterns of these many columns: more take minutes and move no band that is read.
SIGN_FLIPS = 4_999
#: Rate under which a head of a map is discovered.
FALSE_DISCOVERIES = 0.05
#: Examples from which on a map of heads without any effect has a discovery in 6 % of samples at most
#: (``python -m tests.simulation``): the smallest p of many heads lie far out in the tails.
MAPPED_FROM = 200
#: Columns that are computed together; bounds the memory.
CHUNK = 4_096
NAN = float("nan")
ABSENT = "no example has this observation"
#: Differences this small, beside what was subtracted, are rounding of the model's float32.
ROUNDING = 1e-6
CONSTANT = (
    "all examples have the same value, but for rounding: nothing to estimate an interval or a test from"
)


def as_arrays(budgets: Budgets) -> list[BudgetArray]:
    """Budgets in any accepted form as a list of arrays, one per stack and block."""
    if isinstance(budgets, pd.DataFrame):
        return budget_arrays(budgets)
    return [budgets] if isinstance(budgets, BudgetArray) else list(budgets)


def share_table(budgets: Budgets, inference: Inference) -> pd.DataFrame:
    """Mean share of each role in each layer and cell, averaged over heads, with an interval over examples.

    Args:
        budgets: `budgets` records (columns example, cell, stack, block, layer, head, role, share) or arrays
            of them; averaged by document before where examples share one (`by_document`).
        inference: its confidence is that of each interval by itself.

    Returns:
        Columns cell, stack, block, layer, role, n, mean, sd (over examples), low, high, caution, reason.
    """
    frames = []
    for budget in as_arrays(budgets):
        for cell, name in enumerate(budget.cells):
            shares = _head_means(budget, cell).reshape(len(budget.examples), -1)
            frames.append(_labelled(budget, _described_columns(shares, inference), cell=name))
    return pd.concat(frames, ignore_index=True)


def share_differences(
    budgets: Budgets,
    contrasts: Sequence[Contrast],
    inference: Inference,
    quantity: Quantity,
) -> pd.DataFrame:
    """Contrasts of shares per layer and role, with bands that hold over all layers at once.

    A role that is exactly 0 in every cell of a contrast has no row of it.
    The statistic of a layer is |t|, that of the band its maximum over the layers of one role. Its null distribution
    comes from flipping the signs of whole examples, all layers together, which keeps the dependence between layers
    (Westfall and Young 1993, section 2.5; Nichols and Holmes 2002). The p flips the differences themselves; the band
    flips their deviations from the mean. Sign flips know no skewed tails: band and p are made longer and larger by the
    factor that Student's t needs for the same examples (:mod:`budgetlens.statistics.tails`).

    Args:
        budgets: as in `share_table`.
        contrasts: weightings of cells, as for NLL; a difference is baseline - treatment, in share (0 to 1).
        inference: its confidence is the probability that the band holds every layer of one contrast and role, its
            smallest difference the smallest change of interest; no more than
            `SIGN_FLIPS` sign patterns are drawn. The equivalence tests are corrected by Holm.
        quantity: what the arrays hold; which way is better gives the verdict its words.

    Returns:
        Columns contrast, family, order, stack, block, layer, role, n, mean, standard_error, band_low, band_high,
        p (of the layer alone), p_simultaneous, smallest_effect, p_tost (equivalence, of the layer alone),
        p_tost_holm (over the layers of the contrast and role), kind, because and verdict (of the layer), caution (as that
        of a paired effect), reason. An example counts where it has every layer of the role.
    """
    few = inference.at_most(SIGN_FLIPS)
    frames = []
    for budget in as_arrays(budgets):
        extents = _extents(budget)
        for contrast in contrasts:
            values = _contrast_shares(budget, contrast)
            scale = _extent(budget, extents, contrast).max(axis=1)
            tested = _banded(values, scale, few)
            table = _labelled(
                budget,
                tested,
                contrast=contrast.name,
                family=contrast.family,
                order=contrast.effect_order,
            )
            bounds = few.bounds(_reference_shares(budget, contrast), len(table))
            there = table["role"].isin(_roles_there(budget, extents, contrast)).to_numpy()
            frames.append(_with_verdicts(table.assign(smallest_effect=bounds)[there], quantity, few))
    return pd.concat(frames, ignore_index=True)


def _with_verdicts(table: pd.DataFrame, quantity: Quantity, inference: Inference) -> pd.DataFrame:
    """The rows of one contrast with equivalence tests (Schuirmann 1987) and a verdict of every layer."""
    mean, error, asymmetry = (
        table[name].to_numpy(dtype=np.float64) for name in ("mean", "standard_error", "asymmetry")
    )
    means = TailedMeans(mean, error, asymmetry, table["n"].to_numpy())
    student = table["p_student"]
    table = table.drop(columns=["asymmetry", "p_student"]).assign(
        p_tost=means.p_equivalence(table["smallest_effect"].to_numpy()), smallest_share=inference.stated.share
    )
    table["p_tost_holm"] = table.groupby("role", sort=False)["p_tost"].transform(
        lambda p: adjusted_p(p.to_numpy())
    )
    columns = ("band_low", "band_high", "p_simultaneous", "p_tost_holm")
    decisions = [
        decide(low, high, p, p_equivalence, inference.alpha, p_student=p_student)
        for low, high, p, p_equivalence, p_student in zip(
            *(table[name] for name in columns), student, strict=True
        )
    ]
    table["kind"] = [decision.kind for decision in decisions]
    table["because"] = [decision.because for decision in decisions]
    table["verdict"] = [
        verdict(decision, inference.bound(size), order, quantity)
        for decision, size, order in zip(decisions, table["smallest_effect"], table["order"], strict=True)
    ]
    return _notes_last(table)


def _notes_last(table: pd.DataFrame) -> pd.DataFrame:
    notes = ["caution", "reason"]
    return table[[name for name in table.columns if name not in notes] + notes]


def head_map(budgets: Budgets, contrasts: Sequence[Contrast]) -> pd.DataFrame:
    """Contrasts of shares for every layer and head, with the false discovery rate controlled.

    A role that is exactly 0 in every cell of a contrast has no row of it.
    p is of the mean over examples, made for long tails as far out as the smallest of many p lie: with thousands of heads,
    a permutation p cannot get small enough for the correction. q is Benjamini and Hochberg's (1995), over all layers, heads
    and roles of a contrast. Under `MAPPED_FROM` examples no head is discovered, whatever its q.

    Args:
        budgets: as in `share_table`.
        contrasts: weightings of cells; a difference is baseline - treatment, in share (0 to 1).

    Returns:
        Columns contrast, family, stack, block, layer, head, role, n, mean, standard_error, p, q,
        mapped (enough examples for discoveries), discovered (q of at most `FALSE_DISCOVERIES`, and mapped), caution (as
        that of a paired effect), reason.
    """
    frames = []
    for budget in as_arrays(budgets):
        extents = _extents(budget)
        for contrast in contrasts:
            values = _weighted_cells(budget, contrast)
            found = _tested(
                values.reshape(len(budget.examples), -1), _extent(budget, extents, contrast).reshape(-1)
            )
            table = _labelled(budget, found, heads=True, contrast=contrast.name, family=contrast.family)
            table = table[table["role"].isin(_roles_there(budget, extents, contrast))]
            table["q"] = false_discovery_q(table["p"].to_numpy())
            table["mapped"] = table["n"] >= MAPPED_FROM
            table["discovered"] = (table["q"] <= FALSE_DISCOVERIES) & table["mapped"]
            frames.append(table)
    return _notes_last(pd.concat(frames, ignore_index=True))


def _head_means(budget: BudgetArray, cell: int) -> NDArray[np.float64]:
    """One cell over heads, shape [example, layer, role]; NaN where a head is missing."""
    return budget.over_heads(budget.values[cell], axis=2)


def _weighted_cells(budget: BudgetArray, contrast: Contrast) -> NDArray[np.float32]:
    """Contrast of the cells, shape [example, layer, head, role]."""
    total: NDArray[np.float32] | None = None
    for cell, weight in contrast.weights.items():
        if cell not in budget.cells:
            raise ValueError(
                f"contrast {contrast.name!r} names cell {cell!r}; "
                f"the {budget.stack} {budget.block} budgets hold {list(budget.cells)}"
            )
        if weight:
            part = budget.values[budget.cells.index(cell)] * np.float32(weight)
            total = part if total is None else total + part
    assert total is not None  # a Contrast has a weight that is not 0
    return total


def _contrast_shares(budget: BudgetArray, contrast: Contrast) -> NDArray[np.float64]:
    """Contrast of shares over heads, shape [example, layer, role]."""
    return budget.over_heads(_weighted_cells(budget, contrast), axis=2)


def _reference_shares(budget: BudgetArray, contrast: Contrast) -> NDArray[np.float64]:
    """Mean share in what a contrast starts from, by layer and role, flat as the rows of its table."""
    weights = reference_weights(contrast)
    total = sum(weight * _head_means(budget, budget.cells.index(cell)) for cell, weight in weights.items())
    seen = np.isfinite(total)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (np.where(seen, total, 0.0).sum(axis=0) / seen.sum(axis=0)).reshape(-1)


def _described_columns(values: NDArray[np.float64], inference: Inference) -> dict[str, NDArray]:
    """n, mean, sd and interval of every column over its own finite examples."""
    columns = values.shape[1]
    found = _blank(columns, "mean", "sd", "low", "high")
    for rows, chosen in _groups(np.isfinite(values)):
        n = int(rows.sum())
        found["n"][chosen] = n
        if n == 0:
            found["reason"][chosen] = ABSENT
            continue
        part = values[np.ix_(rows, chosen)]
        found["mean"][chosen] = part.mean(axis=0)
        found["reason"][chosen] = _partly(n, values.shape[0])
        if n == 1:
            found["reason"][chosen] = "one example: no interval"
            continue
        found["sd"][chosen] = part.std(axis=0, ddof=1)
        varies = _varies(part)
        found["reason"][chosen[~varies]] = CONSTANT
        low, high = tailed_means(part[:, varies], None, n).interval(inference.confidence)
        found["low"][chosen[varies]], found["high"][chosen[varies]] = low, high
        found["caution"][chosen[varies]] = joined(*coverage_cautions(n))
    return found


def _banded(
    values: NDArray[np.float64], scale: NDArray[np.float32], inference: Inference
) -> dict[str, NDArray]:
    """Band and p of every layer and role of one contrast.

    `values` has shape [example, layer, role]; `scale`, [layer, role], is the size of what was subtracted.
    """
    examples, layers, roles = values.shape
    names = (
        "mean",
        "standard_error",
        "asymmetry",
        "band_low",
        "band_high",
        "p",
        "p_simultaneous",
        "p_student",
    )
    found = _blank(layers * roles, *names)
    cube = {name: column.reshape(layers, roles) for name, column in found.items()}
    # A layer that nobody observed must not empty the role; one that some lack leaves those examples out.
    observed = np.asarray(np.isfinite(values).any(axis=0))
    complete = np.asarray((np.isfinite(values) | ~observed).all(axis=1) & observed.any(axis=0))
    for rows, chosen in _groups(complete):
        n = int(rows.sum())
        cube["n"][:, chosen] = n
        seen = observed[:, chosen]
        if n < 2:
            cube["reason"][:, chosen] = ABSENT if n == 0 else "one example: no interval, no test"
            continue
        part = values[rows][:, :, chosen]
        cube["mean"][:, chosen] = part.mean(axis=0)
        flat = part.reshape(n, -1)
        usable = seen.reshape(-1) & _varies(flat, scale[:, chosen].reshape(-1))
        reasons = np.where(seen, np.where(usable.reshape(seen.shape), _partly(n, examples), CONSTANT), ABSENT)
        cube["reason"][:, chosen] = reasons
        cube["n"][:, chosen] = np.where(seen, n, 0)
        if not usable.any():
            continue
        role_of = np.tile(np.arange(chosen.size), layers)[usable]
        tested = max_statistic(flat[:, usable], role_of, inference)
        cautions = np.full(usable.size, "", dtype=object)
        # As of what is longest: a band of layers that move together covers more than its nominal part.
        cautions[usable] = joined(*coverage_cautions(n, between=True))
        cube["caution"][:, chosen] = cautions.reshape(layers, chosen.size)
        for name, column in tested.items():
            block = np.full(usable.size, NAN)
            block[usable] = column
            cube[name][:, chosen] = block.reshape(layers, chosen.size)
    return found


def _tested(values: NDArray[np.float32], scale: NDArray[np.float32]) -> dict[str, NDArray]:
    """n, mean, standard error and two-sided p of every column over its finite examples.

    `scale` is the size of what was subtracted for each column.
    """
    examples, columns = values.shape
    found = _blank(columns, "mean", "standard_error", "p")
    for start in range(0, columns, CHUNK):
        own = np.arange(start, min(start + CHUNK, columns))
        part = values[:, own].astype(np.float64)
        for rows, places in _groups(np.isfinite(part)):
            chosen, n = own[places], int(rows.sum())
            found["n"][chosen] = n
            if n < 2:
                found["mean"][chosen] = part[np.ix_(rows, places)].mean(axis=0) if n else NAN
                found["reason"][chosen] = "one example: no test" if n else ABSENT
                continue
            seen = part[np.ix_(rows, places)]
            means = tailed(seen.mean(axis=0), seen)
            varies = _varies(seen, scale[chosen])
            found["mean"][chosen] = means.estimate
            found["standard_error"][chosen] = np.where(varies, means.error, NAN)
            found["p"][chosen] = np.where(varies, means.p_of_many, NAN)
            found["caution"][chosen] = np.where(varies, joined(*coverage_cautions(n)), "")
            found["reason"][chosen] = np.where(varies, _partly(n, examples), CONSTANT)
    return found


def _varies(values: NDArray[np.float64], scale: NDArray | float = 0.0) -> NDArray[np.bool_]:
    """Columns that differ by more than the rounding of float32, of themselves or of numbers of size `scale`."""
    rounding = np.maximum(1e-7 * np.abs(values).max(axis=0), ROUNDING * np.asarray(scale))
    return np.ptp(values, axis=0) > np.maximum(rounding, 1e-37)


def _extents(budget: BudgetArray) -> NDArray[np.float32]:
    """Largest |value| of every cell, shape [cell, layer, head, role]; NaN where nothing was observed."""
    ends = [np.maximum(np.fmax.reduce(own, axis=0), -np.fmin.reduce(own, axis=0)) for own in budget.values]
    return np.stack(ends)


def _roles_there(budget: BudgetArray, extents: NDArray[np.float32], contrast: Contrast) -> list[str]:
    """The roles that a contrast can be of: without those that are exactly 0 in all of its cells, layers and heads.

    Such a part is none: a role that no input of these cells has or that they hide, a bias of a model that has none. One that
    is undefined everywhere stays, with its reason.
    """
    used = [budget.cells.index(cell) for cell, weight in contrast.weights.items() if weight]
    largest = np.fmax.reduce(extents[used], axis=(0, 1, 2))
    return [role for role, size in zip(budget.roles, largest, strict=True) if size != 0]


def _extent(budget: BudgetArray, extents: NDArray[np.float32], contrast: Contrast) -> NDArray[np.float32]:
    """Largest |value| in the cells of a contrast, shape [layer, head, role].

    A layer that a treatment cannot reach differs by rounding alone, which is small beside what was subtracted.
    """
    used = [budget.cells.index(cell) for cell, weight in contrast.weights.items() if weight]
    return np.nan_to_num(np.fmax.reduce(extents[used], axis=0))


def _groups(present: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int64]]]:
    """Columns that share the same examples: (examples, columns) for each pattern of presence."""
    patterns: dict[bytes, list[int]] = {}
    for column, packed in enumerate(np.packbits(present, axis=0).T):
        patterns.setdefault(packed.tobytes(), []).append(column)
    for columns in patterns.values():
        yield present[:, columns[0]], np.array(columns)


def _partly(n: int, examples: int) -> str:
    return "" if n == examples else f"{examples - n} of {examples} examples left out: not observed"


def _blank(columns: int, *names: str) -> dict[str, NDArray]:
    found: dict[str, NDArray] = {"n": np.zeros(columns, dtype=np.int64)}
    found |= {name: np.full(columns, NAN) for name in names}
    found |= {name: np.full(columns, "", dtype=object) for name in ("caution", "reason")}
    return found


def _labelled(
    budget: BudgetArray, found: dict[str, NDArray], *, heads: bool = False, **labels: str | int
) -> pd.DataFrame:
    """Columns of statistics in the order [layer, (head,) role] with their labels in front."""
    axes: list[tuple[str, Sequence[object]]] = [("layer", budget.layers), ("role", budget.roles)]
    if heads:
        axes.insert(1, ("head", budget.heads))
    index = pd.MultiIndex.from_product([axis for _, axis in axes], names=[name for name, _ in axes])
    front = index.to_frame(index=False)
    for position, (name, label) in enumerate(
        {**labels, "stack": budget.stack, "block": budget.block}.items()
    ):
        front.insert(position, name, label)
    return pd.concat([front, pd.DataFrame(found)], axis=1)
