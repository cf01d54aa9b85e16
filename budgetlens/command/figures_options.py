"""`budgetlens figures RUN`: a run's figures for a paper."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from budgetlens.command.parsing import FAILED, filled
from budgetlens.tables.terminal_text import visible

#: The widths and formats that are written, without loading what draws them.
WIDTHS, FORMATS = ("3.25in", "6.75in"), ("svg", "pdf", "png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `budgetlens figures`."""
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which figures (default: all)")
    parser.add_argument(
        "--width", choices=WIDTHS, default=WIDTHS[0], help="of a column or of a page (default: 3.25in)"
    )
    parser.add_argument(
        "--format",
        type=formats,
        default=("svg",),
        metavar="F[,F]",
        help="of svg, pdf and png, the last with 300 dots an inch (default: svg)",
    )


def formats(text: str) -> tuple[str, ...]:
    """Formats out of a list with commas, each once. Raises ArgumentTypeError for another one."""
    found = tuple(dict.fromkeys(filled(part).strip().lower() for part in text.split(",")))
    unknown = [name for name in found if name not in FORMATS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(FORMATS)}")
    return found


def main(options: argparse.Namespace) -> int:
    """Write the figures and print their paths; a failure where something could not be written."""
    from budgetlens.report.paper import paper_figures
    from budgetlens.runs.run import Run

    done = paper_figures(Run.open(options.run), options.names, options.width, options.format)
    for path in done.written:
        print(visible(str(path)))
    for sentence in done.missing:
        print(f"budgetlens: {sentence}", file=sys.stderr)
    return FAILED if done.missing else 0
