"""One POST over HTTP to supervisord, and its whole answer.

http.client would load the e-mail parser and OpenSSL: 6 MiB for each idle listener.

Source: RFC 9112; supervisor/http.py (4.2.5 and 4.3.0), which answers HTTP/1.0 without chunks and
closes the connection.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.timed_socket import TimedSocket

#: Bytes of the longest head of an answer.
_LONGEST_HEAD = 1 << 16
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-5][0-9]{2})(?: |\r?\n|$)")
_LENGTH = re.compile(
    rb"^content-length:[ \t]*([0-9]{1,18})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)
_HEAD_END = re.compile(rb"\r?\n\r?\n")


class Answer(NamedTuple):
    """The answer."""

    status: int
    body: bytes  #: one byte more than `longest` = there is more


class ConnectionEndedError(Exception):
    """The server closed the connection before the end of its answer."""


def post(
    connection: TimedSocket, path: str, headers: Mapping[str, str], body: bytes, longest: int
) -> Answer:
    """Send a request and return the answer.

    longest: bytes of the body that are read.
    Raises OSError, ConnectionEndedError, and ValueError if the answer is no HTTP.
    """
    lines = [f"POST {path} HTTP/1.0", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    connection.sendall("\r\n".join((*lines, "", "")).encode("latin-1") + body)
    received = bytearray()
    searched = 0
    while (end := _HEAD_END.search(received, searched)) is None:
        if len(received) > _LONGEST_HEAD or not (piece := connection.recv(_LONGEST_HEAD)):
            break
        searched = max(0, len(received) - 3)  # the end can be in two pieces
        received += piece
    if not received:
        raise ConnectionEndedError
    head = bytes(received[: end.end() if end else 0])
    status, length = _STATUS.match(head), _LENGTH.search(head)
    if status is None:
        raise ValueError("the answer is no HTTP")
    del received[: len(head)]
    wanted = longest + 1 if length is None else min(int(length[1]), longest + 1)
    while len(received) < wanted:
        if not (piece := connection.recv(_LONGEST_HEAD)):
            if length is not None:
                raise ConnectionEndedError
            break
        received += piece
    return Answer(int(status[1]), bytes(received[:wanted]))
