"""Reads the head of an HTTP request, and makes the environ of WSGI from it.

Laws:
1. Any bytes are a request or a RefusedError. Time and memory are proportional to their length.
2. Only a complete head is a request. It has at most HEAD_BYTES bytes and LINES lines.

http.server and wsgiref would load the e-mail parser and OpenSSL: 7 MiB for each scraped listener.
The environ has only what this application reads. A body is never read.

Source: RFC 9112; PEP 3333.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

#: Limits of a head; browsers send a tenth of them.
HEAD_BYTES, LINES = 16 << 10, 100

_END = re.compile(rb"\r?\n\r?\n")
_NEWLINE = re.compile(r"\r?\n")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIRST_LINE = re.compile(rf"({_TOKEN.pattern}) ([!-~\x80-\xff]+) HTTP/1\.[0-9]")


class RefusedError(Exception):
    """The head is not accepted; its argument is the status of the answer."""


def read(receive: Callable[[int], bytes]) -> dict[str, Any] | None:
    """Return the environ; None = the client has sent nothing. Raises RefusedError.

    receive: returns at most so many of the next bytes; nothing at their end.
    """
    received, total, searched = b"", 0, 0
    while (end := _END.search(received, searched)) is None:
        if total > HEAD_BYTES or received.count(b"\n") > LINES:
            raise RefusedError(431 if b"\n" in received else 414)
        piece = receive(HEAD_BYTES + 1 - total)
        if not piece and not received:
            return None
        if not piece:
            raise RefusedError(400)
        total += len(piece)
        searched = max(0, len(received) - 3)
        received = (received + piece).lstrip(b"\r\n")  # empty lines may stand before a request
    first, *lines = _NEWLINE.split(received[: end.start()].decode("latin-1"))
    if len(lines) > LINES:
        raise RefusedError(431)
    return {**_target(first), **_headers(lines)}


def _target(line: str) -> dict[str, str]:
    found = _FIRST_LINE.fullmatch(line)
    if found is None:
        raise RefusedError(400)
    method, target = found.groups()
    path, _, query = target.partition("?")
    if path.startswith("//"):  # a proxy has joined two slashes
        path = f"/{path.lstrip('/')}"
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": unquote(path, "latin-1"),  # as WSGI has it: each character is a byte
        "QUERY_STRING": query,
    }


def _headers(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        # A continuation of the line before, too, is refused (RFC 9112, 5.2).
        if not colon or not _TOKEN.fullmatch(name) or "\0" in value or "\r" in value:
            raise RefusedError(400)
        key = f"HTTP_{name.upper().replace('-', '_')}"
        value = value.strip(" \t")
        found[key] = f"{found[key]},{value}" if key in found else value
    return found
