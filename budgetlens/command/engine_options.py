"""Options of `run` that say where parts are computed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from budgetlens.command.parsing import whole

if TYPE_CHECKING:
    from budgetlens.runs.engines.choice import Engine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where parts are computed: this machine, or a Ray cluster (needs budgetlens[ray])",
    )
    parser.add_argument(
        "--workers",
        type=whole,
        metavar="N",
        help="processes that hold the model and compute parts (default: this process; of ray as many as there are GPUs, or "
        "else CPUs)",
    )
    parser.add_argument(
        "--address", metavar="auto|ray://HOST:PORT", help="of the Ray cluster (default: one on this machine)"
    )
    parser.add_argument(
        "--gpus-per-worker",
        type=whole,
        metavar="N",
        help="GPUs of each worker of ray (default: 1 where the cluster has any and --device is not cpu)",
    )


def engine_of(options: argparse.Namespace) -> Engine:
    """The engine that the options describe. Raises ValueError as :class:`budgetlens.runs.engines.choice.Engine` does."""
    from budgetlens.runs.engines.choice import Engine

    return Engine(
        name=options.engine,
        workers=options.workers,
        address=options.address,
        gpus_per_worker=options.gpus_per_worker,
    )
