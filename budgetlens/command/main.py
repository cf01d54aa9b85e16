"""The command `budgetlens`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from budgetlens.command import choice_options, effects_options, engine_options, figures_options
from budgetlens.command import design_options as custom_options
from budgetlens.command.parsing import FAILED, Parser, any_encoding, chosen_examples, filled, sentence, whole
from budgetlens.command.stopping import Stopped, stoppable, words_of_memory, words_of_stop
from budgetlens.comparison import options as compare_options
from budgetlens.corpora.tasks import TASKS
from budgetlens.design.schema import FORMATS
from budgetlens.explorer import command as explorer_command
from budgetlens.model.roles import READ_ROWS
from budgetlens.registry.folders import require_own_folders
from budgetlens.runs.memory import is_out_of_memory
from budgetlens.tables.terminal_text import guarded_messages, visible

if TYPE_CHECKING:
    from budgetlens.design.analysis import Analysis
    from budgetlens.runs.running import RunOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    with any_encoding(), guarded_messages():
        return _main(arguments)


def _main(arguments: Sequence[str] | None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = ["budgetlens", *given]
    try:
        with stoppable():
            # First of all: with another's package in the place of one of ours, any error may follow.
            require_own_folders()
            options = make_parser().parse_args(given)
            options.command_line = command
            return int(options.function(options) or 0)
    except (KeyboardInterrupt, Stopped) as stop:
        words, status = words_of_stop(stop, command)
        print(f"\nbudgetlens: {words}", file=sys.stderr)
        return status
    except BrokenPipeError:
        # The reader of a pipe went away; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        words = _words_of(error, command)
        if not words or os.environ.get("BUDGETLENS_TRACEBACK"):
            raise
        print(f"budgetlens: {sentence(words)}", file=sys.stderr)
        return FAILED


def _words_of(error: Exception, command: Sequence[str]) -> str:
    """What is told of an error that a user can do something about; empty of any other."""
    if is_out_of_memory(error):
        return words_of_memory(command)
    if isinstance(error, FileNotFoundError) and error.filename:
        # Of what was never there the readers tell in words of their own.
        return f"{error.filename} is not there, or no longer; bring it back and give the same command again"
    return str(error) if isinstance(error, ValueError | OSError | ModuleNotFoundError) else ""


def make_parser() -> argparse.ArgumentParser:
    """The parser of every subcommand."""
    parser = Parser(
        prog="budgetlens",
        description="Who gets a decoder's attention: budgets, interventions and paired effects in "
        "encoder-decoder language models.",
        epilog="An error's traceback is shown where BUDGETLENS_TRACEBACK is set.",
    )
    commands = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    # Everything behind the command passes here first; its own parser judges each value under its option's name.
    commands.type = str

    lister = commands.add_parser(
        "list", help="what there is: analyses, interventions, probes, models, corpora"
    )
    lister.add_argument("kind", nargs="?", choices=KINDS, help="one kind; all without it")
    lister.add_argument(
        "name", nargs="?", help="one of the kind: all that can be written of it, with examples"
    )
    lister.set_defaults(function=list_command)

    shower = commands.add_parser(
        "show", help="what every cell of an analysis feeds the model, coloured by role"
    )
    _analysis_argument(shower)
    shower.add_argument(
        "--example",
        default="0",
        metavar="I|ID",
        help="place of the example in the corpus, from 0, or its identifier",
    )
    shower.add_argument(
        "--cell", action="append", metavar="NAME", help="only this cell (name or alias); repeatable"
    )
    _input_options(shower)
    custom_options.add_arguments(shower)
    shower.set_defaults(function=show_command)

    designer = commands.add_parser(
        "design", help="the design of an analysis as a file, to change and to run with `run custom --design`"
    )
    _analysis_argument(designer)
    _protocol_option(designer)
    designer.add_argument("--format", choices=FORMATS, default=FORMATS[0])
    custom_options.add_arguments(designer)
    designer.set_defaults(function=design_command)

    runner = commands.add_parser("run", help="run an analysis, or continue it, and print its tables")
    _analysis_argument(runner)
    _input_options(runner)
    _run_options(runner)
    engine_options.add_arguments(runner)
    choice_options.add_arguments(runner)
    custom_options.add_arguments(runner)
    runner.set_defaults(function=run_command)

    tabler = commands.add_parser(
        "tables", help="the tables and figures of a run, computed again from its records"
    )
    tabler.add_argument("run", type=Path, metavar="RUN")
    _texts_option(tabler)
    choice_options.add_arguments(tabler)
    tabler.set_defaults(function=tables_command)

    reporter = commands.add_parser("report", help="the report of a run, written again, and nothing else")
    reporter.add_argument("run", type=Path, metavar="RUN")
    _texts_option(reporter)
    reporter.set_defaults(function=report_command)

    drawer = commands.add_parser(
        "figures", help="a run's figures for a paper, at its width and without titles"
    )
    figures_options.add_arguments(drawer)
    drawer.set_defaults(function=figures_options.main)

    explorer = commands.add_parser("explore", help="look at finished runs in the browser, down to the token")
    explorer_command.add_arguments(explorer)
    explorer.set_defaults(function=explorer_command.main)

    comparer = commands.add_parser("compare", help="a run beside published figures, or beside another run")
    effects = commands.add_parser(
        "effects", help="paired statistics of your own per-example CSV, JSON or Parquet"
    )
    compare_options.add_arguments(comparer)
    effects_options.add_arguments(effects)
    comparer.set_defaults(function=compare_command)
    effects.set_defaults(function=effects_command)

    bench = commands.add_parser("bench", help="what capture costs, and how fast a whole job is")
    bench.add_argument(
        "part", nargs="*", help="capture, memory, contributions, job, large-job, answers (default: all)"
    )
    bench.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="paired repetitions of each timing"
    )
    bench.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N")
    bench.add_argument("--examples", type=int, metavar="N", help="examples of a job (default: 40, large: 4)")
    bench.set_defaults(function=bench_command)
    return parser


KINDS = ("analyses", "interventions", "probes", "models", "corpora")


def _analysis_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "analysis",
        help="name of an analysis, such as exp08, or 'custom' with --factor, --knockout or --design",
    )


def _texts_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--corpus",
        metavar="NAME|FILE",
        help="where the run's corpus lies, for the texts in its figures; a file that the run alone names is not opened",
    )


def _protocol_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--protocol", choices=("corrected", "published"), help="default: corrected, where the analysis has it"
    )


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", metavar="RUN", type=Path, help="directory of the run (default: runs/NAME-MODEL-HASH)"
    )
    parser.add_argument(
        "--layers", type=_layers, default=None, metavar="all|0,5,11", help="layers whose attention is read"
    )
    parser.add_argument(
        "--rows",
        choices=READ_ROWS,
        help="rows whose attention is read: they predict the answer, hold it, or predict the answer that the model "
        "generates (default: the protocol's)",
    )
    parser.add_argument(
        "--probes",
        type=_names,
        metavar="NAME,NAME…",
        help="what is measured (default: the analysis's; see `budgetlens list probes`)",
    )
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="RUN",
        help="finished run that a re-analysis (exp06) reads",
    )
    parser.add_argument("--encoder-rows", action="store_true", help="also read the encoder's document rows")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda|cuda:N")
    parser.add_argument("--dtype", default="auto", metavar="auto|float32|bfloat16|float16")
    parser.add_argument(
        "--batch-tokens",
        type=_batch_tokens,
        default=None,
        metavar="auto|N",
        help="padded positions per batch",
    )
    parser.add_argument(
        "--tokens",
        type=chosen_examples,
        default=0,
        metavar="K|ID,ID",
        help="keep the attention of the first K examples token by token, or of those with these identifiers (a comma "
        "behind a single one that is a number), for `explore` without the model",
    )
    parser.add_argument(
        "--full", action="store_true", help="print every table as well, as `budgetlens tables RUN` does"
    )
    parser.add_argument(
        "--no-report", action="store_true", help="tables alone; `budgetlens report RUN` draws the rest"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")


def _input_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME|DIR",
        help="hub name or directory (default: the analysis's, or reference, built in); repeatable: each model's run is "
        "then below --out, beside tables over all of them",
    )
    parser.add_argument("--revision", metavar="REV", help="branch, tag or commit of a hub model")
    parser.add_argument(
        "--corpus", metavar="NAME|FILE", help="corpus name or a JSON, JSONL, CSV or Parquet file"
    )
    parser.add_argument(
        "--task",
        choices=TASKS,
        default=TASKS[0],
        help="what is predicted: the answer, or, to rank a query's passages, the query (default: the answer)",
    )
    parser.add_argument(
        "--n", type=_positive, metavar="N", help="number of examples (default: the analysis's)"
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        help="seed of selection and of every random choice (default: 42, or the design's)",
    )
    _protocol_option(parser)
    parser.add_argument(
        "--max-encoder-tokens",
        type=_positive,
        metavar="N",
        help="cut encoder inputs there (default: the analysis's, or 2048)",
    )


def _positive(text: str) -> int:
    number = whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


def _seed(text: str) -> int:
    number = whole(text)
    # Room above for the published runs, which add the example's index and an offset.
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**31 - 1}, got {text}")
    return number


def _layers(text: str) -> tuple[int, ...] | None:
    if text == "all":
        return None
    try:
        return tuple(sorted({whole(part) for part in filled(text).split(",")}))
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"expected 'all' or numbers joined by commas: {error}") from error


def _names(text: str) -> tuple[str, ...]:
    return tuple(filled(name) for name in custom_options.split_levels(text))


def _batch_tokens(text: str) -> int | None:
    return None if text == "auto" else _positive(text)


def list_command(options: argparse.Namespace) -> None:
    """Print what there is."""
    from budgetlens.command.inventory import inventory, print_inventory, told_in_full

    if options.name:
        print(told_in_full(options.kind, options.name))
    else:
        print_inventory(inventory((options.kind,) if options.kind else KINDS))


def chosen_analysis(options: argparse.Namespace) -> Analysis:
    """The analysis that the options name, or the custom one that they describe.

    Raises ValueError where factors or a file are given beside a registered analysis.
    """
    from budgetlens.design.analysis import CUSTOM
    from budgetlens.design.catalogue import find_analysis

    given = [name for name in ("factor", "knockout", "design") if getattr(options, name)]
    if options.analysis != CUSTOM:
        if given:
            raise ValueError(
                f"--{given[0]} describes a design of your own; {options.analysis} has its own. "
                f"Write {CUSTOM!r} in its place, or start from `budgetlens design {options.analysis}`"
            )
        return find_analysis(options.analysis)
    from budgetlens.design.custom import custom_analysis

    return custom_analysis(custom_options.design_of(options.factor, options.knockout, options.design))


def design_command(options: argparse.Namespace) -> None:
    """Print an analysis's design as a file."""
    from budgetlens.design.custom import design_mapping
    from budgetlens.design.files import write_design

    analysis = chosen_analysis(options)
    mapping = design_mapping(analysis, options.protocol or analysis.protocol)
    print(write_design(mapping, options.format), end="")


def show_command(options: argparse.Namespace) -> None:
    """Print what every cell of an analysis feeds the model."""
    from budgetlens.command.show import print_cells
    from budgetlens.corpora.places import named_place
    from budgetlens.model.loading import load_trial_tokenizer
    from budgetlens.runs.known_models import model_path
    from budgetlens.runs.request import RunRequest

    analysis = chosen_analysis(options)
    request = RunRequest(
        analysis=analysis,
        corpus=options.corpus,
        task=options.task,
        n=options.n,
        encoder_tokens=options.max_encoder_tokens,
        options=_choices(options, analysis),
    )
    # Names and levels first: they need neither corpus nor tokenizer.
    design = analysis.plan(request.options.protocol).design
    _ = design.interventions
    tokenizer = load_trial_tokenizer(
        model_path((options.model or ["reference"])[0]), revision=options.revision, limits=request.limits
    )
    corpus = request.read_corpus()
    print_cells(
        design,
        corpus,
        tokenizer,
        index=named_place(corpus, options.example),
        seed=request.seed,
        only=options.cell,
    )


def run_command(options: argparse.Namespace) -> None:
    """Run an analysis; print what it found, with ``--full`` its tables as well."""
    from functools import partial

    from budgetlens.command.finishing import finish
    from budgetlens.report.saving import save
    from budgetlens.runs.request import RunRequest, execute

    if options.quiet:
        from transformers.utils import logging

        logging.disable_progress_bar()
    analysis = chosen_analysis(options)
    request = RunRequest(
        analysis=analysis,
        models=tuple(options.model or ()),
        revision=options.revision,
        corpus=options.corpus,
        task=options.task,
        n=options.n,
        out=options.out,
        source=options.source,
        device=options.device,
        dtype=options.dtype,
        encoder_tokens=options.max_encoder_tokens,
        options=_choices(options, analysis),
        choices=choice_options.choices_of(options),
        tokens=options.tokens,
        engine=engine_options.engine_of(options),
        quiet=options.quiet,
        command=options.command_line,
    )
    shown = partial(finish, full=options.full, page=not options.no_report)
    if request.is_sweep:
        from budgetlens.runs.model_sweep import sweep

        sweep(request, partial(save, page=not options.no_report), shown)
    else:
        shown(execute(request))


def _choices(options: argparse.Namespace, analysis: Analysis) -> RunOptions:
    """What the options say of a run besides analysis, model and corpus; `show` has fewer of them."""
    from budgetlens.runs.running import RunOptions

    found = {name: getattr(options, name, None) for name in ("layers", "rows", "batch_tokens", "probes")}
    return RunOptions(
        protocol=options.protocol or analysis.protocol,
        seed=analysis.seed if options.seed is None else options.seed,
        encoder_rows=getattr(options, "encoder_rows", False),
        **found,
    )


def tables_command(options: argparse.Namespace) -> None:
    """Compute a run's tables and figures again and print them."""
    from budgetlens.command.finishing import choose, finish, opened

    choose(options.run, choice_options.choices_of(options))
    finish(opened(options.run, options.corpus))


def report_command(options: argparse.Namespace) -> None:
    """Write a run's report again."""
    from budgetlens.command.finishing import opened
    from budgetlens.report.saving import report

    print(f"report:  {visible(str(report(opened(options.run, options.corpus))))}")


def compare_command(options: argparse.Namespace) -> int:
    """Print published figures beside measured ones."""
    from budgetlens.comparison import compare

    return compare.main(options)


def effects_command(options: argparse.Namespace) -> int:
    """Print the statistics of anyone's own per-example values."""
    from budgetlens.command import effects_file

    return effects_file.main(options)


def bench_command(options: argparse.Namespace) -> int:
    """Print what capture costs."""
    from budgetlens.command.bench import run_benchmarks

    return run_benchmarks(
        options.part, repeats=options.repeats, device=options.device, examples=options.examples
    )


if __name__ == "__main__":
    sys.exit(main())
