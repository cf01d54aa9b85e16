"""Who may ask the explorer, and in what form: looked at before a request reaches the page's own code.

The explorer shows texts, so that no page of another site may read it. A name of the other site's own that leads to
this machine (DNS rebinding) is refused by the ``Host`` header, a request that another site's page sends by ``Origin``,
``Sec-Fetch-Site`` and ``Referer``. A body that this page's script would not send is refused as well.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

#: Names of this machine that every explorer answers to.
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})

#: Largest body of a request, in bytes: a user's own texts, typed and kept, with room to spare.
LARGEST_BODY = 16 * 2**20

#: Levels of lists and tables in a body.
DEEPEST = 32

_HOST = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(?::([0-9]{0,5}))?", re.ASCII)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", re.ASCII)
#: What a port is taken for that a browser leaves out.
_USUAL_PORTS = ("", "80", "443")

STRANGE_HOST = (
    "The explorer does not answer under this name. Where the name is yours, start it with --allow-host NAME."
)
STRANGE_SITE = "The explorer answers no request that another site's page sends."
MALFORMED = "This is no request of the explorer's page."


def canonical(name: str) -> str | None:
    """A host's name or address in one spelling: lower case, no trailing dot, no brackets; None where it is neither."""
    bare = name.strip().lower()
    if bare.startswith("[") != bare.endswith("]"):
        return None
    plain = bare.removeprefix("[").removesuffix("]").partition("%")[0]
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(plain)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return str(mapped or address)
    bare = bare.removesuffix(".")
    return bare if _NAME.fullmatch(bare) else None


def split_host(header: str) -> tuple[str, str] | None:
    """Canonical name and port (empty where none is given, or a usual one) of a ``Host`` header; None for no such."""
    found = _HOST.fullmatch(header)
    name = None if found is None else canonical(found[1])
    if found is None or name is None or (found[1].startswith("[") != (":" in found[1])):
        return None
    port = (found[2] or "").lstrip("0")
    return name, "" if port in _USUAL_PORTS else port


def is_loopback(host: str) -> bool:
    """Whether a server at ``host`` is reached from this machine alone."""
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    addresses = [ipaddress.ip_address(str(address).partition("%")[0]) for address in found]
    return bool(addresses) and all(address.is_loopback for address in addresses)


def allowed_hosts(host: str, further: Iterable[str] = ()) -> frozenset[str]:
    """The names that an explorer served at ``host`` answers to.

    These are the given host, :data:`LOCAL`, ``further`` ones, and, where it can be reached from outside, the names and
    addresses of this machine. Raises ValueError for a further one that is no host's name.
    """
    own = set() if is_loopback(host) else _own_names()
    names = {canonical(name) for name in (host, *own)}
    for name in further:
        if canonical(name) is None:
            raise ValueError(f"--allow-host {name!r} is no host's name; give one without scheme and port")
        names.add(canonical(name))
    return LOCAL | {name for name in names if name is not None}


def _own_names() -> set[str]:
    """The names and addresses of this machine, as far as it knows them without asking another."""
    name = socket.gethostname()
    found = {name, name.partition(".")[0]}
    with contextlib.suppress(OSError, UnicodeError):
        found |= {str(item[4][0]) for item in socket.getaddrinfo(name, None)}
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # Connecting a datagram socket sends nothing; it chooses the address that would be sent from.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            found.add(str(probe.getsockname()[0]))
    return found


def refusal(headers: Mapping[str, str], method: str, hosts: frozenset[str]) -> str | None:
    """Why a request is not answered, None where it is: its Host, and the site whose page sends it."""
    host = split_host(headers.get("Host", ""))
    if host is None or host[0] not in hosts:
        return STRANGE_HOST
    site = headers.get("Sec-Fetch-Site")
    origin = headers.get("Origin")
    if origin is not None and _site_of(origin) != host and not (origin == "null" and site == "same-origin"):
        return STRANGE_SITE
    reads = method in ("GET", "HEAD")
    # A link on another page may lead here; nothing else of another page may.
    followed = reads and headers.get("Sec-Fetch-Mode") == "navigate"
    if site not in (None, "same-origin", "none") and not followed:
        return STRANGE_SITE
    referer = headers.get("Referer")
    if not reads and origin is None and referer is not None and _site_of(referer) != host:
        return STRANGE_SITE
    return None


def _site_of(address: str) -> tuple[str, str] | None:
    """Canonical name and port of an ``http`` or ``https`` address, None for another."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return split_host(parts.netloc) if parts.scheme in ("http", "https") else None


def is_well_formed(content: bytes, callbacks: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether a body asks for one of the page's callbacks with the inputs, states and outputs that it has.

    ``callbacks`` is Dash's map of them. The values may be anything: the callbacks look at them.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return False
    if not isinstance(body, dict) or not isinstance(body.get("output"), str):
        return False
    callback = callbacks.get(body["output"])
    if callback is None or "callback" not in callback or not _is_shallow(body):
        return False
    inputs, changed = _places(body.get("inputs")) or [], body.get("changedPropIds", [])
    return (
        inputs == _places(callback["inputs"])
        and _places(body.get("state", [])) == _places(callback["state"])
        and _places(body.get("outputs")) == _outputs(body["output"])
        and isinstance(changed, list)
        and all(isinstance(name, str) and tuple(name.rsplit(".", 1)) in inputs for name in changed)
    )


def _is_shallow(content: Any) -> bool:
    """Whether JSON is nested less deeply than what follows could walk through: nothing of the page's is."""
    level = [content]
    for _ in range(DEEPEST):
        level = [
            part
            for item in level
            if isinstance(item, dict | list)
            for part in (item.values() if isinstance(item, dict) else item)
        ]
        if not level:
            return True
    return False


def _places(entries: Any) -> list[tuple[Any, Any]] | None:
    """Component and property of every entry, None where these are no entries."""
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        return None
    return [(entry.get("id"), entry.get("property")) for entry in entries]


def _outputs(name: str) -> list[tuple[str, str]]:
    """Component and property of every output, of which Dash makes a callback's name."""
    parts = name[2:-2].split("...") if name.startswith("..") else [name]
    return [(part.rpartition(".")[0], part.rpartition(".")[2]) for part in parts]
