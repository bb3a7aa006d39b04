"""One POST over HTTP on a connection of its own, and its response.

http.client would load the e-mail parser and OpenSSL: 6 MiB for each idle listener.

Laws:
1. Any bytes are a response or a NotHttpError. Time and memory are proportional to their length, and
   the deadline of the connection limits the whole exchange.
2. The caller closes the connection. Redirects are responses.

Source: RFC 9112; supervisor/http.py (4.2.5 and 4.3.0), which answers HTTP/1.0 without chunks and
closes the connection.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.timed_socket import TimedSocket

#: Bytes of the longest head of a response; interim responses before it.
_LONGEST_HEAD, _MOST_INTERIM = 1 << 16, 10
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: |\r?\n|$)")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(r"[0-9]{1,18}")
#: The line before a chunk, and its longest.
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?\r?\n")
_LONGEST_LINE = 4096
#: A name and a value of a header, as requests accepts them.
_HEADER = re.compile(rb"[^:\s][^:\r\n]*: (?:\S[^\r\n]*)?")
_NO_CONTENT, _NOT_MODIFIED, _SWITCHING = 204, 304, 101


class ConnectionEndedError(Exception):
    """The server closed the connection before the end of its response."""


class NotHttpError(ValueError):
    """The response is not HTTP."""


class Response:
    """The response; its body is read from the connection."""

    def __init__(self, connection: TimedSocket) -> None:
        """Read the head. Raises OSError, ConnectionEndedError and NotHttpError."""
        self._connection = connection
        self._received = bytearray()
        for _ in range(_MOST_INTERIM):
            head = self._read_head()
            status = _STATUS.match(head)
            if status is None:
                break
            self.status = int(status[1])
            if self.status >= 200 or self.status == _SWITCHING:
                self.headers = _headers(head)  #: names in lower case
                return
        raise NotHttpError

    def read(self, longest: int) -> bytes:
        """Return the body, at most `longest` bytes of it.

        Raises OSError, ConnectionEndedError if it is not complete, and NotHttpError.
        """
        if self.status in {_NO_CONTENT, _NOT_MODIFIED}:
            return b""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            return self._read_chunks(longest)
        length = self.headers.get("content-length", "")
        if _LENGTH.fullmatch(length):
            return self._read_exactly(min(int(length), longest))
        return self._read(longest)

    def _receive(self) -> bool:
        """Receive more bytes; return whether there were any."""
        piece = self._connection.recv(_LONGEST_HEAD)
        self._received += piece
        return bool(piece)

    def _take(self, count: int) -> bytes:
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken

    def _read_head(self) -> bytes:
        searched = 0
        while (end := _HEAD_END.search(self._received, searched)) is None:
            if len(self._received) > _LONGEST_HEAD:
                raise NotHttpError
            searched = max(0, len(self._received) - 3)  # the end can be in two pieces
            if not self._receive():
                break
        if not self._received:
            raise ConnectionEndedError
        return self._take(end.end() if end else len(self._received))

    def _read(self, count: int) -> bytes:
        """Return so many bytes, or fewer if there are no more."""
        while len(self._received) < count and self._receive():
            pass
        return self._take(count)

    def _read_exactly(self, count: int) -> bytes:
        body = self._read(count)
        if len(body) < count:
            raise ConnectionEndedError
        return body

    def _read_line(self) -> bytes:
        while (end := self._received.find(b"\n")) < 0 and len(self._received) < _LONGEST_LINE:
            if not self._receive():
                raise ConnectionEndedError
        return self._take(end + 1)

    def _read_chunks(self, longest: int) -> bytes:
        body = bytearray()
        while len(body) < longest:
            line = _CHUNK.fullmatch(self._read_line())
            if line is None:
                raise NotHttpError
            size = int(line[1], 16)
            if not size:  # the last one
                break
            body += self._read_exactly(min(size, longest - len(body)))
            if len(body) < longest:
                self._read_line()
        return bytes(body)


def post(
    connection: TimedSocket, target: str, headers: Mapping[str, str], body: bytes, version: str
) -> Response:
    """Send a request in this version of HTTP, and return the response.

    target: path and query, in ASCII. headers: any UTF-8.
    Raises OSError, ConnectionEndedError, NotHttpError, and ValueError for a header with a newline.
    """
    head = [f"POST {target} HTTP/{version}".encode(), b"Content-Length: %d" % len(body)]
    for name, value in headers.items():
        line = f"{name}: {value}".encode()
        if not _HEADER.fullmatch(line):
            raise ValueError("a header is not valid")
        head.append(line)
    # A server can respond and close before it has read everything.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"\r\n".join((*head, b"", body)))
    return Response(connection)


def _headers(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.decode("latin-1").split("\n")[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip().lower(), value.strip())
    return found
