"""Options of what a reader chooses of the statistics: the smallest effect that matters, and the correction."""

from __future__ import annotations

import argparse

from budgetlens.command.parsing import filled
from budgetlens.statistics.choices import Choices, Smallest
from budgetlens.statistics.correction_names import CORRECTION_NAMES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--smallest-effect`` and ``--correction`` of `run` and `tables`."""
    parser.add_argument(
        "--smallest-effect",
        action="append",
        type=smallest_of_probe,
        metavar="[PROBE=]X",
        help="smallest effect that matters, of a probe or of the outcome: an amount in its unit (0.05), a part of the "
        "baseline's mean (5%%) or points of a whole (1pp); repeatable (default: as each probe declares it)",
    )
    parser.add_argument(
        "--correction",
        choices=tuple(CORRECTION_NAMES),
        help="of the p of one family (default: the analysis's, mostly holm)",
    )


def choices_of(options: argparse.Namespace) -> Choices:
    """What the options choose. Raises ValueError where one probe is given twice."""
    given = options.smallest_effect or []
    names = [name for name, _ in given]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        of = f"of {doubled}" if doubled else "of the outcome"
        raise ValueError(f"--smallest-effect {of} was given twice; give it once")
    return Choices(dict(given), options.correction)


def smallest_of_probe(text: str) -> tuple[str, Smallest]:
    """``PROBE=X`` or ``X`` as the probe's name, which may be empty, and the difference. ArgumentTypeError otherwise."""
    name, equals, value = filled(text).rpartition("=")
    if equals and not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} names no probe before '='; write PROBE=X or X alone")
    return name.strip(), smallest(value)


def smallest(text: str) -> Smallest:
    """The difference alone. ArgumentTypeError where it is none."""
    try:
        return Smallest(filled(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
