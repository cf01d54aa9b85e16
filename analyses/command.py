"""The command `budgetlens`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from probes.tokenization import Limits

#: Exit status after an error that the message explains, and after an interruption.
FAILED, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = make_parser()
    options = parser.parse_args(given)
    options.command_line = ["budgetlens", *given]
    try:
        return int(options.function(options) or 0)
    except KeyboardInterrupt:
        print("\nbudgetlens: interrupted; the same command continues a run where it stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe went away; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("BUDGETLENS_TRACEBACK"):
            raise
        print(f"budgetlens: {error}", file=sys.stderr)
        return FAILED


def make_parser() -> argparse.ArgumentParser:
    """The parser of every subcommand."""
    parser = argparse.ArgumentParser(
        prog="budgetlens",
        description="Who gets a decoder's attention: budgets, interventions and paired effects in "
        "encoder-decoder language models.",
        epilog="An error's traceback is shown where BUDGETLENS_TRACEBACK is set.",
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")

    lister = commands.add_parser(
        "list", help="what there is: analyses, interventions, probes, models, corpora"
    )
    lister.add_argument("kind", nargs="?", choices=KINDS, help="one kind; all without it")
    lister.set_defaults(function=list_command)

    shower = commands.add_parser(
        "show", help="what every cell of an analysis feeds the model, coloured by role"
    )
    shower.add_argument("analysis", help="name of an analysis, such as exp08")
    shower.add_argument(
        "--example", type=int, default=0, metavar="I", help="place of the example in the corpus"
    )
    shower.add_argument(
        "--cell", action="append", metavar="NAME", help="only this cell (name or alias); repeatable"
    )
    _input_options(shower)
    shower.set_defaults(function=show_command)

    runner = commands.add_parser("run", help="run an analysis, or continue it, and print its tables")
    runner.add_argument("analysis", help="name of an analysis, such as exp08")
    _input_options(runner)
    runner.add_argument(
        "--out", metavar="RUN", type=Path, help="directory of the run (default: runs/NAME-MODEL-HASH)"
    )
    runner.add_argument(
        "--layers", type=_layers, default=None, metavar="all|0,5,11", help="layers whose attention is read"
    )
    runner.add_argument(
        "--rows",
        choices=("predicting", "holding"),
        help="rows whose attention is read (default: the protocol's)",
    )
    runner.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="RUN",
        help="finished run that a re-analysis (exp06) reads",
    )
    runner.add_argument("--encoder-rows", action="store_true", help="also read the encoder's document rows")
    runner.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N")
    runner.add_argument("--dtype", default="auto", metavar="auto|float32|bfloat16|float16")
    runner.add_argument(
        "--batch-tokens",
        type=_batch_tokens,
        default=None,
        metavar="auto|N",
        help="padded positions per batch",
    )
    runner.add_argument("--quiet", action="store_true", help="no progress bars")
    runner.set_defaults(function=run_command)

    tabler = commands.add_parser(
        "tables", help="the tables and figures of a run, computed again from its records"
    )
    tabler.add_argument("run", type=Path, metavar="RUN")
    tabler.set_defaults(function=tables_command)

    comparer = commands.add_parser("compare", help="published figures beside measured ones")
    effects = commands.add_parser(
        "effects", help="paired statistics of your own per-example CSV, JSON or Parquet"
    )
    _extern_options(comparer, effects)
    comparer.set_defaults(function=compare_command)
    effects.set_defaults(function=effects_command)

    bench = commands.add_parser("bench", help="what capture costs, and how fast a whole job is")
    bench.add_argument("part", nargs="*", help="capture, memory, job (default: all)")
    bench.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="paired repetitions of each timing"
    )
    bench.set_defaults(function=bench_command)
    return parser


KINDS = ("analyses", "interventions", "probes", "models", "corpora")


def _extern_options(comparer: argparse.ArgumentParser, effects: argparse.ArgumentParser) -> None:
    from analyses import compare, effects_file

    compare.add_arguments(comparer)
    effects_file.add_arguments(effects)


def _input_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME|DIR",
        help="hub name or directory (default: reference, built in); repeatable where an analysis takes several",
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a hub model")
    parser.add_argument(
        "--corpus", metavar="NAME|FILE", help="corpus name or a JSON, JSONL, CSV or Parquet file"
    )
    parser.add_argument(
        "--n", type=_positive, metavar="N", help="number of examples (default: the analysis's)"
    )
    parser.add_argument(
        "--seed", type=_seed, default=42, help="seed of selection and of every random choice (default: 42)"
    )
    parser.add_argument("--protocol", choices=("corrected", "published"), default="corrected")
    parser.add_argument(
        "--max-encoder-tokens", type=_positive, metavar="N", help="cut encoder inputs there (default: 2048)"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


def _seed(text: str) -> int:
    number = int(text)
    # Room above for the published runs, which add the example's index and an offset.
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**31 - 1}, got {text}")
    return number


def _layers(text: str) -> tuple[int, ...] | None:
    if text == "all":
        return None
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected 'all' or numbers joined by commas, got {text!r}"
        ) from error


def _batch_tokens(text: str) -> int | None:
    return None if text == "auto" else _positive(text)


def list_command(options: argparse.Namespace) -> None:
    """Print what there is."""
    from analyses.inventory import inventory, print_inventory

    print_inventory(inventory((options.kind,) if options.kind else KINDS))


def show_command(options: argparse.Namespace) -> None:
    """Print what every cell of an analysis feeds the model."""
    from analyses.analysis import find_analysis
    from analyses.corpus import read_corpus
    from analyses.known_models import model_path
    from analyses.show import print_cells
    from probes.models import load_trial_tokenizer

    analysis = find_analysis(options.analysis)
    tokenizer = load_trial_tokenizer(
        model_path((options.model or ["reference"])[0]), revision=options.revision, limits=_limits(options)
    )
    corpus = read_corpus(options.corpus or analysis.corpus, n=options.n or analysis.n, seed=options.seed)
    print_cells(
        analysis.plan(options.protocol).design,
        corpus,
        tokenizer,
        index=options.example,
        seed=options.seed,
        only=options.cell,
    )


def run_command(options: argparse.Namespace) -> None:
    """Run an analysis and print its tables."""
    from analyses.analysis import find_analysis
    from analyses.finishing import finish
    from analyses.run_request import RunRequest, execute
    from analyses.runs import RunOptions

    if options.quiet:
        from transformers.utils import logging

        logging.disable_progress_bar()
    request = RunRequest(
        analysis=find_analysis(options.analysis),
        models=tuple(options.model or ("reference",)),
        revision=options.revision,
        corpus=options.corpus,
        n=options.n,
        out=options.out,
        source=options.source,
        device=options.device,
        dtype=options.dtype,
        encoder_tokens=options.max_encoder_tokens,
        options=RunOptions(
            protocol=options.protocol,
            seed=options.seed,
            layers=options.layers,
            rows=options.rows,
            batch_tokens=options.batch_tokens,
            encoder_rows=options.encoder_rows,
        ),
        quiet=options.quiet,
        command=options.command_line,
    )
    finish(execute(request))


def tables_command(options: argparse.Namespace) -> None:
    """Compute a run's tables and figures again and print them."""
    from analyses.finishing import finish
    from analyses.run_directory import RunDirectory

    finish(RunDirectory(options.run))


def compare_command(options: argparse.Namespace) -> int:
    """Print published figures beside measured ones."""
    from analyses import compare

    return compare.main(options)


def effects_command(options: argparse.Namespace) -> int:
    """Print the statistics of anyone's own per-example values."""
    from analyses import effects_file

    return effects_file.main(options)


def bench_command(options: argparse.Namespace) -> int:
    """Print what capture costs."""
    from analyses.bench import run_benchmarks

    return run_benchmarks(options.part, repeats=options.repeats)


def _limits(options: argparse.Namespace) -> Limits:
    from probes.tokenization import Limits

    return Limits(encoder=options.max_encoder_tokens) if options.max_encoder_tokens else Limits()


if __name__ == "__main__":
    sys.exit(main())
