"""A design on the command line: factors, knockouts or a file, as a mapping."""

from __future__ import annotations

import argparse
import re
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetlens.command.parsing import filled
from budgetlens.design.random_heads import DRAWS, with_random_heads

#: Name of the intervention that ``--knockout`` crosses with the other factors, and its level that cuts nothing.
KNOCKOUT, NOTHING = "knockout", "none"

#: A comma of a level itself is written ``\,``.
_COMMA = re.compile(r"(?<!\\),")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that make a design for the analysis ``custom``."""
    group = parser.add_argument_group("designs of your own, for the analysis 'custom'")
    group.add_argument(
        "--factor",
        action="append",
        type=factor_argument,
        metavar="NAME=LEVEL,LEVEL…",
        help="an intervention with its levels, the baseline first; factors are crossed and applied in the order given; "
        "repeatable. '\\,' is a comma of a level",
    )
    group.add_argument(
        "--knockout",
        action="append",
        metavar="ROWS->KEYS@LAYERS/HEADS",
        help="attention to cut, such as 'predicting->bos@20-33' or, with other heads in other layers, "
        "'predicting->document@2/h1+5@4/h0-3' (quote it: a shell reads '>' as a redirection); repeatable. All of them "
        f"are the levels of a factor {KNOCKOUT!r} whose baseline is {NOTHING!r}, crossed with the other factors, so that "
        f"what each cut does is measured. A cut that names heads is compared with {DRAWS} draws of as many random heads "
        "('…/random:1#1…#50' gives others)",
    )
    group.add_argument(
        "--design",
        type=Path,
        metavar="FILE",
        help="a design from a TOML or YAML file, see `budgetlens design`",
    )


def factor_argument(text: str) -> tuple[str, tuple[str, ...]]:
    """Name and levels from ``NAME=LEVEL,LEVEL…``; for argparse."""
    name, equals, levels = text.partition("=")
    if not equals or not name or not levels:
        raise argparse.ArgumentTypeError(
            f"expected NAME=LEVEL,LEVEL… such as prefix=none,oracle,keywords:10; got {reprlib.repr(text)}"
        )
    return name, tuple(filled(level) for level in split_levels(levels))


def split_levels(text: str) -> tuple[str, ...]:
    """The levels in ``LEVEL,LEVEL…``; ``\\,`` is a comma."""
    return tuple(part.replace("\\,", ",") for part in _COMMA.split(text))


def design_of(
    factors: Sequence[tuple[str, tuple[str, ...]]] | None, knockouts: Sequence[str] | None, file: Path | None
) -> Mapping[str, Any]:
    """The mapping that the options ask for. Raises ValueError for none of them, or for a file beside factors."""
    if file is not None:
        if factors or knockouts:
            raise ValueError(
                f"--design {file} holds the factors; leave --factor and --knockout out, or add them there"
            )
        from budgetlens.design.files import read_design

        return read_design(file)
    levels: dict[str, list[str]] = {}
    for name, own in factors or ():
        if name in levels:
            raise ValueError(
                f"--factor {name} is given twice; join its levels: {name}={','.join([*levels[name], *own])}"
            )
        levels[name] = list(own)
    if knockouts:
        cuts = [cut for text in knockouts for cut in split_levels(text)]
        if KNOCKOUT in levels:
            raise ValueError(f"--knockout and --factor {KNOCKOUT}=… name the same factor; give one of them")
        levels[KNOCKOUT] = list(dict.fromkeys(with_random_heads((NOTHING, *cuts))))
    if not levels:
        raise ValueError(
            "a custom design needs --factor NAME=LEVEL,LEVEL… (for example --factor prefix=none,oracle), --knockout or "
            "--design FILE; `budgetlens list interventions` names what can vary"
        )
    return {"factors": levels}
