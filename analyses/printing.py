"""The tables of a run in the terminal: readable, with what each number is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from rich.console import Console
from rich.table import Table

from analyses.run_directory import RunDirectory
from probes.roles import DECODER_ROLES, ENCODER_ROLES

#: Places in the depth of the decoder that the printed share table shows; the CSV has all.
DEPTHS = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)


def print_tables(directory: RunDirectory, tables: Mapping[str, pd.DataFrame], console: Console | None = None) -> None:
    """Print a run's main tables; the CSV files hold every column and digit."""
    console = console or Console(width=None if Console().is_terminal else 160)
    manifest = directory.manifest()
    console.print(
        f"[bold]{manifest['analysis']}: {manifest['title']}[/bold] ({manifest['protocol']})  "
        f"model {manifest['model']['name']}, corpus {manifest['corpus']['name']}, n {manifest['corpus']['n']}, "
        f"seed {manifest['seed']}",
        highlight=False,
    )
    labels = {cell["name"]: cell["alias"] or cell["name"] for cell in manifest["cells"]}
    console.print(_likelihood(tables["likelihood"], labels))
    console.print(_effects(tables["effects"]))
    if "decomposition" in tables:
        console.print(_decomposition(tables["decomposition"]))
    if "shares" in tables:
        for block in _decoder_blocks(tables["shares"]):
            console.print(_shares(tables["shares"], block, labels))
    changed = int(tables["trials"]["documents_changed"].sum())
    if changed:
        console.print(f"[bold red]{changed} trials have a document with other token ids than without its prefix[/bold red]")


def _likelihood(table: pd.DataFrame, labels: Mapping[str, str]) -> Table:
    rows = (
        (labels[row.cell], str(row.n), f"{row.mean:.3f}", _interval(row.low, row.high), f"{row.median:.3f}", f"{row.token_weighted_mean:.3f}")
        for row in table.itertuples()
    )
    return _table(
        "Answer NLL by cell, nats per answer token (mean over examples, 95 % BCa interval)",
        ("cell", "n", "mean", "interval", "median", "token-weighted"),
        rows,
    )


def _effects(table: pd.DataFrame) -> Table:
    corrected = next(column for column in ("p_holm", "p_bonferroni") if column in table.columns)
    rows = (
        (
            row["contrast"],
            str(row["n"]),
            f"{row['mean_difference']:+.3f}",
            _interval(row["low"], row["high"]),
            f"{row['d_z']:+.2f}",
            f"{row['win_percent']:.0f}",
            _p(row[corrected]),
            row["verdict"],
        )
        for _, row in table.iterrows()
    )
    return _table(
        "Paired effects on the NLL, nats (positive: the treatment helps)",
        ("contrast", "n", "mean", "95 % interval", "d_z", "win %", corrected.replace("_", " "), "verdict"),
        rows,
    )


def _decomposition(table: pd.DataFrame) -> Table:
    rows = (
        (
            row.contrast if row.part == "total" else "",
            row.part,
            f"{row.mean_difference:+.3f}",
            _interval(row.low, row.high),
            "100 %" if row.part == "total" else (f"{100 * row.share:.0f} %" if pd.notna(row.share) else "–"),
            _interval(100 * row.share_low, 100 * row.share_high, digits=0) if pd.notna(row.share_low) else ("" if row.part == "total" else "withheld: the total's interval holds 0"),
        )
        for row in table.itertuples()
    )
    return _table(
        "Splits of mean effects, nats", ("effect", "part", "mean", "95 % interval", "share", "interval of the share"), rows
    )


def _decoder_blocks(shares: pd.DataFrame) -> list[str]:
    return sorted(shares.loc[shares["stack"] == "decoder", "block"].unique())


def _shares(shares: pd.DataFrame, block: str, labels: Mapping[str, str]) -> Table:
    own = shares[(shares["stack"] == "decoder") & (shares["block"] == block)]
    layers = sorted(own["layer"].unique())
    shown = sorted({layers[round(depth * (len(layers) - 1))] for depth in DEPTHS})
    present = set(own["role"])
    roles = [role for role in (*ENCODER_ROLES, *DECODER_ROLES) if role in present]
    wide = own[own["layer"].isin(shown)].pivot_table(index=["cell", "layer"], columns="role", values="mean", sort=False, observed=True)
    rows = []
    for (cell, layer), values in wide.iterrows():
        rows.append((labels[cell] if layer == shown[0] else "", str(layer), *(f"{100 * values[role]:.1f}" for role in roles)))
    return _table(
        f"Attention shares of the answer's rows, decoder {block} block, percent (heads and examples averaged)",
        ("cell", "layer", *roles),
        rows,
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="bold dim", padding=(0, 1))
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 or column in ("verdict", "part") else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _interval(low: float, high: float, digits: int = 3) -> str:
    return f"{low:.{digits}f} … {high:.{digits}f}"


def _p(value: float) -> str:
    if pd.isna(value):
        return "–"
    return "< .0001" if value < 1e-4 else f"{value:.4f}".removeprefix("0")
