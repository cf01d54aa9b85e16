"""The Dash app and the local server that serves it: nothing comes from, or goes to, another host."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from dash import Dash
from flask import Response, abort, request

from budgetlens.explorer import callbacks, layout
from budgetlens.explorer.callbacks import Explored
from budgetlens.explorer.data import RunData
from budgetlens.explorer.live import LiveModel

#: What the page may load: itself, and pictures that it draws.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def make_app(
    runs: Mapping[str, RunData], *, model: str | None = None, hosts: frozenset[str] | None = None
) -> Dash:
    """The explorer of some runs.

    Args:
        runs: as `budgetlens.explorer.data.load_runs` gives them.
        model: where the model lies, if not where the runs found it.
        hosts: names under which the page may be asked for; others are refused, so that no page of another site
            can read it through a name of its own. None allows all.
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
    explored = Explored(runs, {key: LiveModel(data, model) for key, data in runs.items()})
    callbacks.register(app, explored)

    @app.server.before_request
    def refuse_strangers() -> None:
        if hosts is not None and request.host.rpartition(":")[0].strip("[]") not in hosts:
            abort(403)

    @app.server.after_request
    def add_policy(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return app


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
