"""Requests that no page of the explorer sends: each must be answered in a short text with 2xx or 4xx, never a traceback.

`bad_requests` makes them for an app, `fault_of` says what is wrong with an answer. `RAW` are bytes for a socket, which
no client would send.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dash import Dash
    from werkzeug.test import TestResponse

CALLBACK = "/_dash-update-component"

#: Longest answer to a request that is refused, in characters.
SHORT = 400

#: JSON that a control, a store or an address may be claimed to hold.
STRANGE_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "²",
    "null",
    "-1",
    "9" * 5000,
    "\ud800",
    "\x00\x1b[31m\u202e",
    "=1+1",
    [],
    [None],
    ["²", 5, None, {}],
    {},
    {"page": None},
    {"page": "²", "layer": "²", "head": "١", "row": "1e3"},
    {"run": None, "view": [], "cells": {"a": 1}, "layers": "12", "strata": {"x": []}},
    {"run": "nowhere", "view": "tokens", "layer": "999999", "head": "77", "row": "55"},
    {"what": "contrast", "place": 10**9},
    {"what": "example", "place": -1},
    {"what": "sort", "place": 99},
    {"what": "page", "place": 0.5},
    {"what": [], "place": "0"},
    {"points": None},
    {"points": [None]},
    {"points": [{}]},
    {"points": [{"x": "a", "y": None, "customdata": {"0": 1}}]},
    {"points": [{"x": 1e300, "y": float("nan"), "customdata": [[], {}]}]},
    [[[[[[[[[[]]]]]]]]]],
    "#" + "&".join(f"cells=x{number}" for number in range(3000)),
    "#layer=²&page=²&page=0&row=%FF%FE&%00=1&cells&=&&&view=%E2%80%AE",
)

#: Bytes that are no HTTP request, or one that a proxy might take for another.
RAW: tuple[bytes, ...] = (
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET //evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /\x00\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST " + CALLBACK.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}",
    b"POST " + CALLBACK.encode() + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: abc\r\n\r\n{}",
    b"POST "
    + CALLBACK.encode()
    + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST "
    + CALLBACK.encode()
    + b" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{}",
)


@dataclass(frozen=True)
class BadRequest:
    """A request, and in a word what is bad about it."""

    what: str
    path: str = "/"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=lambda: {"Host": "localhost:8050"})
    body: bytes = b""


def bad_requests(app: Dash) -> list[BadRequest]:
    """Some hundreds of requests for an explorer's app, always the same ones."""
    return [*_paths_and_methods(), *_headers(), *_bodies(app), *_values(app)]


def drawn_requests(app: Dash, draw: random.Random, count: int) -> list[BadRequest]:
    """``count`` bad requests: half of them those of :func:`bad_requests`, half with several things wrong at random."""
    known = bad_requests(app)
    chosen = draw.sample(known, min(count // 2, len(known)))
    while len(chosen) < count:
        output = draw.choice(called(app))
        body = body_of(app, output, draw.choice(STRANGE_VALUES))
        parts = [*body["inputs"], *body["state"], body]
        for _ in range(draw.choice((1, 2, 3))):
            part = draw.choice(parts)
            part[draw.choice([*part, "id", "property", "value"])] = draw.choice(STRANGE_VALUES)
        headers = {"Host": "localhost:8050", "Content-Type": "application/json"}
        chosen.append(
            BadRequest("a body with other parts", CALLBACK, "POST", headers, json.dumps(body).encode())
        )
    return chosen


def answer_of(app: Dash, request: BadRequest) -> TestResponse:
    """What the app's server answers, without a socket."""
    return app.server.test_client().open(
        request.path, method=request.method, headers=request.headers, data=request.body
    )


def fault_of(request: BadRequest, answer: TestResponse) -> str | None:
    """What is wrong with the answer to a bad request, None where nothing is."""
    text = answer.get_data(as_text=True)
    answer.close()
    where = f"{request.what} ({request.method} {request.path[:60]})"
    if not (200 <= answer.status_code < 300 or 400 <= answer.status_code < 500):
        return f"{where}: status {answer.status_code}"
    if "Traceback (most recent call last)" in text or "Something went wrong in the explorer" in text:
        return f"{where}: tells of an exception"
    if answer.status_code >= 400 and not 0 < len(text) <= SHORT and request.method != "HEAD":
        return f"{where}: answered with {len(text)} characters"
    return None


def body_of(app: Dash, output: str, value: Any = None) -> dict[str, Any]:
    """The body with which a page calls the callback of an output, every input and state with one value."""
    callback = app.callback_map[output]
    inputs, states = ([{**place, "value": value} for place in callback[kind]] for kind in ("inputs", "state"))
    # A picture would be drawn by a browser of the server's own, which takes seconds.
    changed = [f"{place['id']}.{place['property']}" for place in callback["inputs"]]
    names = output[2:-2].split("...") if output.startswith("..") else [output]
    outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True)) for name in names]
    return {
        "output": output,
        "outputs": outputs if output.startswith("..") else outputs[0],
        "inputs": inputs,
        "state": states,
        "changedPropIds": [name for name in changed if name == "export-csv.n_clicks"] or changed,
    }


def called(app: Dash) -> list[str]:
    """The outputs of the callbacks that the server answers, those of the browser's own left out."""
    return [output for output, callback in app.callback_map.items() if "callback" in callback]


def _paths_and_methods() -> Iterator[BadRequest]:
    paths = (
        "/nowhere",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../app.py",
        "/assets/%2e%2e%2fapp.py",
        "/assets/nothing.css",
        "/_dash-component-suites/",
        "/_dash-component-suites/os/path.py",
        "/_dash-component-suites/dash/../../../etc/passwd",
        "/_dash-component-suites/dash/%2e%2e/version.py",
        "/_dash-component-suites/dash/deps/nothing.js",
        "/_dash-component-suites/%00/%FF",
        "/_dash-layout?x=%FF",
        "/_dash-dependencies/",
        "/_reload-hash",
        "/_mcp",
        "/console",
        "/?__debugger__=yes&cmd=resource&f=debugger.js",
        "/%00",
        "/%FF%FE",
        "/%E2%80%AE",
        "/" + "a/" * 2000,
        "/?" + "q=1&" * 2000,
    )
    yield from (BadRequest("a path", path) for path in paths)
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "PROPFIND", "BREW"):
        for path in ("/", CALLBACK, "/_dash-layout", "/assets/explorer.js"):
            yield BadRequest("a method", path, method)
    yield BadRequest("a read of what is sent", CALLBACK)
    yield BadRequest("a post of what is read", "/_dash-layout", "POST", body=b"{}")


def _headers() -> Iterator[BadRequest]:
    hosts = (
        "",
        ":",
        "localhost:",
        "localhost:x",
        "localhost:99999999",
        "[::1",
        "::1",
        "[localhost]",
        "[]",
        "localhost:8050@evil.example",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost evil.example",
        "localhost,evil.example",
        "l\xf6calhost",
        "\u202e".encode().decode("latin-1"),
        "a" * 5000,
        "0x7f.1",
        "2130706433",
        "[::ffff:127.0.0.1]",
        "[fe80::1%25eth0]",
    )
    yield from (BadRequest("a host", headers={"Host": host}) for host in hosts)
    own = {"Host": "localhost:8050"}
    further = (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "localhost:8050"},
        {"Origin": "http://localhost:1"},
        {"Origin": "http://[::1"},
        {"Origin": ""},
        {"Origin": "javascript://localhost:8050"},
        {"Referer": "http://evil.example/"},
        {"Referer": "\xff"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "everywhere"},
        {"X-Forwarded-Host": "evil.example"},
        {"Cookie": "a=b; " * 500},
        {"If-None-Match": '"' * 99},
        {"If-Modified-Since": "yesterday"},
        {"Range": "bytes=9-1"},
        {"Accept-Encoding": "\xff"},
        {"Content-Type": "application/json; charset=utf-7"},
        {"X-HTTP-Method-Override": "DELETE"},
    )
    for more in further:
        yield BadRequest(f"a header {next(iter(more))}", headers={**own, **more})
        yield BadRequest(f"a header {next(iter(more))}", CALLBACK, "POST", {**own, **more}, b"{}")


def _bodies(app: Dash) -> Iterator[BadRequest]:
    def sent(what: str, content: Any, kind: str = "application/json") -> BadRequest:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return BadRequest(what, CALLBACK, "POST", {"Host": "localhost:8050", "Content-Type": kind}, body)

    yield from (
        sent("a body", body)
        for body in (
            b"",
            b"{",
            b"\xff\xfe\x00",
            b"null",
            b"[]",
            b"5",
            b'"x"',
            b"{}",
            b"NaN",
            b"[" * 100_000,
            b'{"output": ' + b"[" * 50_000,
        )
    )
    for output in called(app):
        whole = body_of(app, output)
        for key in whole:
            yield sent(f"a body without {key}", {name: part for name, part in whole.items() if name != key})
            for value in (None, 5, "x", {}, [], [None], [[]], [{}], {"id": {"index": 1}, "property": []}):
                yield sent(f"a body with another {key}", {**whole, key: value})
        yield sent("a body with a foreign change", {**whole, "changedPropIds": ["nothing.value", "", "."]})
        yield sent("a body with unhashable ids", {**whole, "inputs": [{"id": {}, "property": []}]})
        yield sent("a body with too many inputs", {**whole, "inputs": [*whole["inputs"], *whole["inputs"]]})
        yield sent("a deep body", json.dumps(whole).encode().replace(b"null", b"[" * 300 + b"]" * 300))
        yield sent("a body of another kind", whole, kind="text/plain")
        yield replace(sent("a body of another host", whole), headers={"Host": "evil.example"})
        yield replace(
            sent("a body from another site", whole),
            headers={
                "Host": "localhost:8050",
                "Origin": "http://evil.example",
                "Content-Type": "application/json",
            },
        )
    yield sent("a body for a callback of the browser", {"output": "look.data", "inputs": [], "outputs": []})
    yield sent("a body that is too large", b'"' + b"x" * (17 * 2**20) + b'"')


def _values(app: Dash) -> Iterator[BadRequest]:
    """Bodies of the right form whose values are none that a control, a store or an address has."""
    for output in called(app):
        for value in STRANGE_VALUES:
            body = body_of(app, output, value)
            yield BadRequest(
                f"the value {value!r:.40}",
                CALLBACK,
                "POST",
                {"Host": "localhost:8050", "Content-Type": "application/json"},
                json.dumps(body).encode(),
            )
