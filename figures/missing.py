"""Rows without a value: shown as gaps, and named under the figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from figures.labels import escaped


def missing_rows(
    table: pd.DataFrame, value: str, names: Sequence[str], along: str | None = None
) -> list[dict[str, Any]]:
    """What has no value in a table.

    Args:
        table: the rows drawn.
        value: the column that is drawn.
        names: columns that name a row.
        along: the column of the x axis, if any: rows that differ in it only are named together.

    Returns:
        One dictionary per group in order of appearance: the names, `rows` without a value, `of` how many, the
        values of `along` they have (as a list under its name), and `reason` where the table has that column.
    """
    absent = table[table[value].isna()]
    if absent.empty:
        return []
    sizes = {key: len(group) for key, group in table.groupby(list(names), sort=False, dropna=False)}
    found = []
    for key, group in absent.groupby(list(names), sort=False, dropna=False):
        entry: dict[str, Any] = {name: str(part) for name, part in zip(names, key, strict=True)}
        entry |= {"rows": len(group), "of": sizes[key]}
        if along is not None:
            entry[along] = [
                float(v) if isinstance(v, int | float | np.number) else str(v) for v in group[along]
            ]
        if "reason" in group.columns:
            reasons = [reason for reason in dict.fromkeys(group["reason"].dropna().astype(str)) if reason]
            if reasons:
                entry["reason"] = "; ".join(reasons)
        found.append(entry)
    return found


def missing_note(
    missing: Sequence[dict[str, Any]],
    names: Sequence[str],
    along: str | None = None,
    labels: dict[str, str] | None = None,
    shown: int = 4,
) -> str:
    """One escaped sentence that names what has no value; empty if everything has one.

    Entries that differ in the first name only (the same role in several cells) are told together.
    """
    together: dict[tuple[str, str], list[str]] = {}
    for entry in missing:
        rest = escaped(" / ".join(entry[name] for name in names[1:]))
        first = escaped((labels or {}).get(entry[names[0]], entry[names[0]]))
        together.setdefault((rest + where(entry, along), reason(entry)), []).append(first)
    words = []
    for (rest, why), firsts in list(together.items())[:shown]:
        those = " and ".join(firsts) if len(firsts) < 3 else f"{firsts[0]} and {len(firsts) - 1} others"
        rest = rest.strip(" ,")
        words.append((f"{rest} ({those})" if rest else those) + why)
    if not words:
        return ""
    more = f"; and {len(together) - shown} more" if len(together) > shown else ""
    return "No value, shown as a gap: " + "; ".join(words) + more + "."


def where(entry: dict[str, Any], along: str | None) -> str:
    """Which values of the x axis an entry lacks: nothing if it lacks all of them."""
    if along is None or entry["rows"] == entry["of"]:
        return ""
    values = [f"{v:g}" if isinstance(v, float) else escaped(v) for v in entry[along]]
    listed = ", ".join(values[:6]) + (", …" if len(values) > 6 else "")
    return f", {escaped(along)} {listed}"


def reason(entry: dict[str, Any]) -> str:
    """Why an entry has no value, in brackets, where it is known."""
    return f" [{escaped(entry['reason'])}]" if entry.get("reason") else ""
