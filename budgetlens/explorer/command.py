"""`budgetlens explore RUN [RUN…]`."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from pathlib import Path

#: Names of this machine; a page asked for under another name is refused while it is served to this machine only.
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
PORTS = range(8050, 8070)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `explore`; nothing heavy is imported."""
    parser.add_argument("run", nargs="+", type=Path, metavar="RUN", help="directory of a finished run")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to serve at (default: this machine only)"
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help=f"port (default: the first free one from {PORTS.start})"
    )
    parser.add_argument(
        "--model", metavar="NAME|DIR", help="where the run's model lies now, if not where the run found it"
    )
    parser.add_argument("--corpus", metavar="NAME|FILE", help="where the run's corpus lies now, likewise")
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

    host = options.host
    port = free_port(host, options.port)
    runs = load_runs(options.run, corpus=options.corpus)
    app = make_app(runs, model=options.model, hosts=LOCAL if host in LOCAL else None)
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
    for data in runs.values():
        print(data.title, file=sys.stderr)
        if data.no_texts:
            print(data.no_texts, file=sys.stderr)
    print(f"explorer: {address} (stop it with Ctrl-C)", flush=True)
    if not options.no_browser:
        import webbrowser

        threading.Timer(0.5, webbrowser.open, [address]).start()
    serve(app, host, port)
    return 0


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
