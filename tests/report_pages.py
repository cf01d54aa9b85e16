"""Reports made of seeded tables, plain and hostile, for the tests of the report."""

from __future__ import annotations

import base64
import gzip
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

import figures
from budgetlens.registry.labels import Label
from budgetlens.report.document import Behind
from budgetlens.report.evidence import Evidence, Picture
from budgetlens.report.intervals import Row, interval_pictures
from budgetlens.report.mirrored import Side, mirrored_pictures
from budgetlens.report.telling import Telling, Token
from budgetlens.runs.manifest import Manifest
from budgetlens.statistics.findings import findings
from budgetlens.tables.conclusions import Concluded, Told
from budgetlens.tables.presentation import Table
from tests import figure_tables

HOSTILE = (
    '</script><script>window.broken = 1</script><img src="http://example.invalid/x.png" onerror="window.broken=2">'
    "<b>bold</b> &amp; ]]> <!-- \N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} \u202eturned\u202c \U0001f469\u200d\U0001f52c"
)
LONG_WORD = "x" * 10_000
FACTS = {"estimand": "mean", "unit": "nats per answer token", "n": "600 examples", "family": "none"}


def table(frame: pd.DataFrame, title: str, **more: Any) -> Table:
    """A captioned table."""
    facts: dict[str, Any] = {**FACTS, "correction": "Holm", "seed": 42, **more}
    return Table(frame=frame, title=title, **facts)


def effects_frame(marked: str = "") -> pd.DataFrame:
    """Two families and an interaction, with every verdict."""
    frame = figure_tables.effects_table().assign(
        caution="", reason="", smallest_effect=0.05, minimum_detectable=0.2
    )
    frame = frame.assign(order=1, small="no")
    interaction = frame["family"] == "interaction"
    frame.loc[interaction, "kind"] = ["positive", "negative"]
    frame.loc[interaction, "order"] = 2
    frame.loc[interaction, "verdict"] = ["sub-additive", "super-additive"]
    names = zip(frame["contrast"], frame["family"], strict=True)
    frame["contrast"] = [f"{contrast}, {family}{marked}" for contrast, family in names]
    frame["caution"] = np.where(frame.index == 0, f"few examples for these tails{marked}", "")
    return frame


def report_tables(marked: str = "") -> dict[str, Table]:
    """The presented tables of a run; `marked` is added to every text from a corpus or a user."""
    means = figure_tables.cell_means_table()
    means["cell"] = [f"{cell}{marked}" for cell in means["cell"]]
    splits = figure_tables.decomposition_table()
    splits["contrast"] = [f"{name}{marked}" for name in splits["contrast"]]
    trials = pd.DataFrame(
        {"condition": [f"bare{marked}", "oracle"], "n": 600, "documents_changed": [0, 3], "truncated": [2, 0]}
    )
    rule = "helps / hurts: the interval leaves out 0; undecided: everything else"
    return {
        "likelihood": table(means, "Answer NLL by cell", notes=("95 % intervals",)),
        "effects": table(
            effects_frame(marked),
            "Paired effects",
            rule=rule,
            columns=("contrast", "n", "mean_difference", "d_z", "verdict", "caution", "reason"),
        ),
        "decomposition": table(splits, "Splits of effects on the mean"),
        "trials": table(trials, "What each cell fed the model"),
    }


def report_figures(marked: str = "", layers: int = 6) -> dict[str, Figure]:
    """A figure of every shape: rows with text, lines, stacked bars."""
    tables = report_tables(marked)
    shares = figure_tables.shares_table(layers=layers)
    shares["cell"] = [f"{cell}{marked}" for cell in shares["cell"]]
    return {
        "effects": figures.effects_forest(tables["effects"].frame, title=f"Paired effects: run{marked}"),
        "interaction": figures.interaction_plot(tables["likelihood"].frame, title=f"Answer NLL: run{marked}"),
        "splits": figures.split_bars(tables["decomposition"].frame),
        "budgets_decoder": figures.budget_ledger(shares, title="Attention budgets: run"),
    }


def manifest(marked: str = "", **changes: Any) -> Manifest:
    """What a run.json says, of the first format; changes of a table of it are of its entries."""
    cells = [
        {"name": f"{cell}{marked}", "alias": f"cell {i}", "factors": figure_tables.factors(cell)}
        for i, cell in enumerate(figure_tables.CELLS)
    ]
    content = {
        "format": 1,
        "identity": {
            "rows": "predicting",
            "layers": "all",
            "dtype": "float32",
            "device": "cpu",
            "attention": "sdpa",
            "packages": {"torch": "2"},
        },
        "analysis": "exp08",
        "title": f"Decoder length control{marked}",
        "question": f"Is a query worth its content?{marked}",
        "protocol": "corrected",
        "model": {"name": f"some/model{marked}", "parameters": 4_000_000, "family": "t5gemma2", "hash": "ab"},
        "corpus": {"name": f"corpus{marked}", "source": f"file{marked}", "n": 600, "hash": "cd"},
        "seed": 42,
        "cells": cells,
        "command": ["budgetlens", "run", f"exp08{marked}"],
        "environment": {"python": "3.11", "budgetlens": "0.1.0"},
    }
    for key, change in changes.items():
        old = content.get(key)
        both = isinstance(old, Mapping) and isinstance(change, Mapping)
        content[key] = {**old, **change} if both else change
    return Manifest.parse(content)


def examples(marked: str = "", count: int = 2) -> list[dict[str, Any]]:
    """The content of an examples.json: a hidden prefix, a long document, a long word."""
    document = f"The lamp of Orvane is violet.{marked} " * 8
    cells = [
        {
            "cell": f"{cell}{marked}",
            "encoder": [
                ["<bos>", "bos", True],
                [f"What colour?{marked}", "prefix", False],
                ["\n", "separator", False],
                [document, "document", True],
                [LONG_WORD, "document", True],
            ],
            "decoder": [["<start>", "start", True], [f"violet{marked}", "answer", True]],
            "notes": ["2 encoder positions are hidden from the decoder"],
        }
        for cell in figure_tables.CELLS[:3]
    ]
    return [{"example": f"{number}{marked}", "cells": cells} for number in range(count)]


def concluded(marked: str = "") -> list[Concluded]:
    """Three effects that carry an answer, of different kinds."""
    found = findings(effects_frame(marked))
    told = tuple(Told(found[place], Label(f"effect {place}{marked}")) for place in (0, 6, 12))
    return [Concluded(told, f"A prefix helps{marked}", "effects")]


def behind(marked: str = "", **more: Any) -> Behind:
    """What a page shows besides tables and figures: a conclusion, pictures, three telling examples, texts."""
    shares = figure_tables.shares_table(figure_tables.CELLS[:2], layers=3)
    sides = tuple(
        Side(cell, f"cell {i}{marked}", f"NLL: {i}") for i, cell in enumerate(figure_tables.CELLS[:2])
    )
    rows = [Row(told.label.long, told.finding) for told in concluded(marked)[0].told]
    pictures = (
        Picture(
            "effects",
            "Every effect",
            "table-effects",
            interval_pictures(rows, f"Question{marked}", f"model{marked}"),
        ),
        Picture(
            "attention",
            "Attention",
            "tables",
            mirrored_pictures(shares, (sides[0], sides[1]), f"Q{marked}", f"m{marked}"),
        ),
    )
    token = Token(f"lamp{marked}", "document, 3.0 %", 0.5)
    telling = (
        Telling(
            "Largest",
            f"7{marked}",
            "+1 nats",
            ((f"bare{marked}", "2"), ("query", "1")),
            (),
            ((f"bare{marked}", (token,)),),
        ),
        Telling("Median", "8", "+0.5 nats", (), (("query", f"What colour?{marked}"),), ()),
    )
    given: dict[str, Any] = {
        "concluded": concluded(marked),
        "evidence": Evidence(pictures, telling, f"a prefix{marked}", ("interaction",)),
        "examples": examples(marked),
        "drawn": {"interaction": "likelihood", "splits": "decomposition"},
        **more,
    }
    return Behind(**given)


def everything(page: str) -> str:
    """A page with what it holds packed, figures and tables, unpacked behind it."""
    held = re.findall(r'<script type="text/plain" id="(?!plotly")[^"]*" data-packed>([^<]*)</script>', page)
    return "\n".join([page, *(gzip.decompress(base64.b64decode(part)).decode("utf-8") for part in held)])
