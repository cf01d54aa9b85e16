"""`budgetlens explore RUN [RUN…]`."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from budgetlens.explorer.guard import LOCAL, allowed_hosts, canonical, is_loopback
from budgetlens.tables.terminal_text import visible

if TYPE_CHECKING:
    from budgetlens.explorer.named import Named

__all__ = ["LOCAL", "add_arguments", "free_port", "main"]

PORTS = range(8050, 8070)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `explore`; nothing heavy is imported."""
    parser.add_argument(
        "run", nargs="+", type=Path, metavar="RUN", help="directory of a finished run, or of a sweep"
    )
    parser.add_argument(
        "--host",
        type=_host,
        default="127.0.0.1",
        help="address to serve at (default: this machine only); whoever reaches another one sees the texts",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name that the page may be asked for under, such as a proxy's; repeatable",
    )
    parser.add_argument(
        "--port", type=_port, metavar="N", help=f"port (default: the first free one from {PORTS.start})"
    )
    parser.add_argument(
        "--model", metavar="NAME|DIR", help="where the run's model lies now, if not where the run found it"
    )
    parser.add_argument("--corpus", metavar="NAME|FILE", help="where the run's corpus lies now, likewise")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="open without asking the model, the corpus and the files that the runs name",
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def main(options: argparse.Namespace) -> int:
    """Serve the explorer until interrupted.

    Raises ModuleNotFoundError that says what to install where Dash is missing, RunError for a directory that is
    no finished run, OSError where the port is taken.
    """
    try:
        import dash  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the explorer needs {error.name}; install it with: pip install 'budgetlens[explore]'"
        ) from error
    # Looking at a run downloads nothing, unless asked.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from budgetlens.explorer.app import make_app, serve
    from budgetlens.explorer.data import load_runs
    from budgetlens.runs.swept import places_of_runs

    # Of a sweep over models, each model's run.
    options.run = [place for path in options.run for place in places_of_runs(path)]
    host = options.host
    hosts = allowed_hosts(host, options.allow_host)
    port = free_port(host, options.port)
    named = () if options.trust else _named(options)
    trusted = options.trust or (bool(named) and _is_confirmed(named))
    runs = load_runs(options.run, corpus=options.corpus, trusted=trusted)
    app = make_app(runs, model=options.model, hosts=hosts, trusted=trusted)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    for data in runs.values():
        print(visible(data.title), file=sys.stderr)
        if data.no_texts and (trusted or not named):
            print(visible(data.no_texts), file=sys.stderr)
    if not is_loopback(host):
        print(
            f"warning: the explorer is served to others than this machine: whoever reaches {visible(address)} sees the "
            "runs and the texts of their corpora, and can have the model read texts; it asks for no password",
            file=sys.stderr,
        )
    print(f"explorer: {visible(address)} (stop it with Ctrl-C)", flush=True)
    if not options.no_browser:
        import webbrowser

        threading.Timer(0.5, webbrowser.open, [address]).start()
    serve(app, host, port)
    return 0


def _host(text: str) -> str:
    """A host without the brackets of an address. An empty one, such as an unset variable's, would mean every address."""
    if canonical(text) is None:
        raise argparse.ArgumentTypeError(f"expected a name or an address of this machine, got {text!r}")
    return text.strip().removeprefix("[").removesuffix("]")


def _port(text: str) -> int:
    number = int(text) if text.strip().isdecimal() else -1
    if not 0 <= number < 2**16:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0 to {2**16 - 1}, got {text!r}")
    return number


def _named(options: argparse.Namespace) -> tuple[Named, ...]:
    """The paths that the runs name and no option gives."""
    from budgetlens.explorer.named import named_paths
    from budgetlens.runs.storage import RunDirectory

    given = {name for name in ("--model", "--corpus") if getattr(options, name.strip("-")) is not None}
    found = (item for path in options.run for item in named_paths(RunDirectory(path).manifest()))
    return tuple(dict.fromkeys(item for item in found if item.option not in given))


def _is_confirmed(named: Sequence[Named]) -> bool:
    """Whether the reader lets these paths be opened: asked on a terminal, told elsewhere."""
    from budgetlens.explorer.named import not_opened

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        print(visible(not_opened(named)), file=sys.stderr)
        return False
    listed = ", ".join(map(str, named))
    print(f"The run names {visible(listed)}. Open it? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def free_port(host: str, asked: int | None) -> int:
    """``asked`` where it is free, else the first free one of :data:`PORTS`. Raises OSError where none is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in PORTS if asked is None else (asked,):
        with socket.socket(family, socket.SOCK_STREAM) as candidate:
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((host, port))
            except OSError as error:
                reason = error
                continue
            return int(candidate.getsockname()[1])
    words = (
        f"port {asked} of {host}"
        if asked is not None
        else f"none of the ports {PORTS.start} to {PORTS[-1]} of {host}"
    )
    raise OSError(f"{words} can be used ({reason.strerror}); give another --port or --host")
