"""Posts to an http:// URL without requests: no TLS and no proxy needs it.

requests loads 12 MiB, most of it OpenSSL and the detection of character sets. An Alertmanager in
the same cluster, and a webhook in the same container, are reached with http://.

Law: only plain URLs come here. A URL with a password, with a host that is not ASCII, or with
anything else that requests would change, is left to requests.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import timed_socket
from fpm_listener.host.http_exchange import ConnectionEndedError, post

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Characters of a path and of a query that need no change (RFC 3986).
_CHARACTER = r"[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2}"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_URL = re.compile(
    rf"http://(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
    rf"(?P<path>/(?:{_CHARACTER})*)?(?P<query>\?(?:{_CHARACTER}|\?)*)?"
)
_LAST_PORT = 65535


class Target(NamedTuple):
    """Where a POST goes."""

    host: str
    port: int
    authority: str  #: the value of the Host header
    path: str  #: with the query


def target_of(url: str) -> Target | None:
    """Return the target of a plain URL; None = requests has to send it."""
    found = _URL.fullmatch(url)
    if found is None:
        return None
    port, path = int(found["port"] or 80), found["path"] or "/"
    if port > _LAST_PORT or "/." in path:  # requests resolves dots
        return None
    host = found["host"].lower()
    authority = host if port == 80 else f"{host}:{port}"
    return Target(host.strip("[]"), port, authority, path + (found["query"] or ""))


def send(
    target: Target, headers: Mapping[str, str], body: bytes, timeout_s: float, longest: int
) -> tuple[int, str | None, bytes]:
    """Return status, Retry-After and body, of which at most `longest` bytes are read.

    An error in the body is no failure, because the status is known.
    Raises OSError, ConnectionEndedError and ValueError.
    """
    given = {"Host": target.authority, **headers}
    ends_at_s = time.monotonic() + timeout_s
    with timed_socket.connect((target.host, target.port), ends_at_s) as connection:
        response = post(connection, target.path, given, body, "1.1")
        content = b""
        with suppress(OSError, ConnectionEndedError, ValueError):
            content = response.read(longest)
    return response.status, response.headers.get("retry-after"), content
