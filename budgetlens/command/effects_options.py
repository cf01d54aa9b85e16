"""Options of `budgetlens effects`: declared here, apart from the statistics, so that help needs no pandas."""

from __future__ import annotations

import argparse
from pathlib import Path

from budgetlens.command.choice_options import smallest
from budgetlens.statistics.correction_names import CORRECTION_NAMES
from budgetlens.tables.formats import FORMATS

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `budgetlens effects`."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help=f"records per example ({', '.join(SUFFIXES)})"
    )
    parser.add_argument("--baseline", required=True, metavar="NAME", help="column (wide) or condition (long)")
    parser.add_argument(
        "--treatment",
        required=True,
        action="append",
        metavar="NAME",
        help="compared with the baseline; repeatable",
    )
    parser.add_argument("--example", metavar="COLUMN", help="names the example (long files need it)")
    parser.add_argument("--condition", metavar="COLUMN", help="long files: names the condition of a row")
    parser.add_argument("--value", metavar="COLUMN", help="long files: holds the value")
    parser.add_argument("--weights", metavar="COLUMN", help="answer tokens, for token-weighted means")
    parser.add_argument("--clusters", metavar="COLUMN", help="examples of one entry are not independent")
    parser.add_argument("--higher-is-better", action="store_true", help="values are scores, not losses")
    parser.add_argument("--unit", default="the unit of the values", help="named in the caption")
    parser.add_argument(
        "--smallest-effect",
        type=smallest,
        default="5%",
        metavar="X",
        help="that matters: an amount in the unit (0.05), a part of the baseline's mean (5%%) or points of a whole (1pp) "
        "(default: 5%%)",
    )
    parser.add_argument("--correction", choices=tuple(CORRECTION_NAMES), default="holm")
    parser.add_argument(
        "--missing",
        choices=("refuse", "drop"),
        default="refuse",
        help="what to do with examples that lack a value",
    )
    parser.add_argument("--seed", type=int, default=42, help="default: 42")
    parser.add_argument("--format", choices=FORMATS, default="terminal", help="default: terminal")
    parser.add_argument("--out", type=Path, metavar="OUT", help="write there instead of printing")
