"""Options of `budgetlens compare`: declared here, apart from the statistics, so that help needs no pandas."""

from __future__ import annotations

import argparse
from pathlib import Path

from budgetlens.tables.formats import FORMATS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `budgetlens compare`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a run")
    parser.add_argument(
        "other",
        type=Path,
        nargs="?",
        metavar="OTHER",
        help="another run of the same corpus, instead of the published figures: every probe that both recorded",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="compare unlike things (model, corpus, protocol); every row says so",
    )
    parser.add_argument("--published-model", metavar="NAME", help="published model to compare with")
    parser.add_argument("--format", choices=FORMATS, default="terminal", help="default: terminal")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing")
