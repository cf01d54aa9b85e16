"""The Dash app and the local server that serves it: nothing comes from, or goes to, another host."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from dash import Dash
from dash.exceptions import DependencyException, InvalidResourceError
from flask import Response, request
from werkzeug.exceptions import HTTPException

from budgetlens.explorer import callbacks, guard, layout
from budgetlens.explorer.callbacks import Explored
from budgetlens.explorer.data import RunData
from budgetlens.explorer.live import LiveModel

logger = logging.getLogger(__name__)

#: What the page may load: itself, and pictures that it draws.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def make_app(
    runs: Mapping[str, RunData],
    *,
    model: str | None = None,
    hosts: frozenset[str] = guard.LOCAL,
    trusted: bool = True,
) -> Dash:
    """The explorer of some runs.

    Args:
        runs: as `budgetlens.explorer.data.load_runs` gives them.
        model: where the model lies, if not where the runs found it.
        hosts: names under which the page may be asked for (:func:`budgetlens.explorer.guard.allowed_hosts`); others
            are refused, so that no page of another site can read it through a name of its own.
        trusted: whether models may be opened at paths that the runs alone name.
    """
    app = Dash(
        "budgetlens",
        title="budgetlens explorer",
        update_title="",
        assets_folder=str(Path(__file__).parent / "assets"),
        serve_locally=True,
        include_pages_meta=False,
        suppress_callback_exceptions=True,
        on_error=callbacks.tell_of,
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.index_string = app.index_string.replace("<html>", '<html lang="en">')
    app.layout = layout.page(runs)
    explored = Explored(runs, {key: LiveModel(data, model, trusted=trusted) for key, data in runs.items()})
    callbacks.register(app, explored)

    app.server.config["MAX_CONTENT_LENGTH"] = guard.LARGEST_BODY
    # Before Dash's own: whom it is not for never learns what there is.
    app.server.before_request_funcs.setdefault(None, []).insert(0, lambda: _refused(app, hosts))
    for kind in (Exception, InvalidResourceError):
        app.server.register_error_handler(kind, _in_words)

    @app.server.after_request
    def add_policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        return response

    return app


def _refused(app: Dash, hosts: frozenset[str]) -> Response | None:
    """The answer to a request that is not for the page's code; None for one that is."""
    words = guard.refusal(dict(request.headers), request.method, hosts)
    if words is not None:
        return _answer(words, 403)
    # Too large a body is refused by Flask while it is read.
    if request.method == "POST" and not guard.is_well_formed(request.get_data(), app.callback_map):
        return _answer(guard.MALFORMED, 400)
    return None


def _in_words(error: Exception) -> Response:
    """What the browser is told of an error: a sentence, never a traceback, which is for the terminal."""
    if isinstance(error, HTTPException):
        return _answer(f"{error.name}.", error.code or 400)
    if isinstance(error, DependencyException | InvalidResourceError):
        return _answer("The explorer has no such file.", 404)
    logger.error("an error in the explorer", exc_info=error)
    return _answer("Something went wrong in the explorer. The terminal tells more; please report it.", 500)


def _answer(words: str, status: int) -> Response:
    return Response(f"{words}\n", status=status, content_type="text/plain; charset=utf-8")


def serve(app: Dash, host: str, port: int) -> None:
    """Serve until interrupted. Raises OSError where the port is taken."""
    from werkzeug.serving import make_server

    # Every request would be a line in the terminal.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server(host, port, app.server, threaded=True)
    try:
        server.serve_forever()
    finally:
        server.server_close()
