"""One GET over FastCGI, with a hard deadline.

The clients on PyPI are unmaintained, or have no deadline against a slow server. The necessary part
of the protocol is small.

Source: the FastCGI specification, version 1.0 (archived 1996): records, BEGIN_REQUEST, PARAMS.
"""

from __future__ import annotations

import os
import re
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fpm_listener.host import timed_socket
from fpm_listener.internal_errors import is_exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.host.timed_socket import TimedSocket

_T = TypeVar("_T")
_ID = 1  # of our request; a connection has only one
_STATUS = re.compile(rb"(?:^|\r\n)status:[ \t]*([0-9]{3})\b", re.IGNORECASE)
_BEGIN, _END, _PARAMS, _STDIN, _STDOUT = 1, 3, 4, 5, 6
_HEADER = struct.Struct("!BBHHBB")
#: Longest answer in bytes: a status page of a thousand workers has about 300 KiB.
LONGEST_ANSWER = 1 << 21
#: Bytes of its header that are read.
_LONGEST_HEAD = 1 << 14


class Response(NamedTuple):
    """The answer."""

    status: int  #: of HTTP; 200 without a header
    body: str


class NoAnswer(NamedTuple):
    """The reason why there is no answer."""

    why: str
    silent: bool  #: a connection was accepted or queued, and no answer came in time
    absent: bool = False  #: nothing listens there


def get(
    address: tuple[str, int] | str,
    path: str,
    query: str,
    deadline_s: float,
    more: Mapping[str, str] | None = None,
) -> Response | NoAnswer:
    """Return the answer of php-fpm.

    address: host and port, or the path of a unix socket; deadline_s: monotonic; more: parameters.
    Raises OSError if this process has no descriptor or memory left, because that says nothing
    about php-fpm.
    """
    connection = start(address, path, query, deadline_s, more)
    if isinstance(connection, NoAnswer):
        return connection
    with connection:
        return finish(connection, deadline_s)


def start(
    address: tuple[str, int] | str,
    path: str,
    query: str,
    deadline_s: float,
    more: Mapping[str, str] | None = None,
) -> TimedSocket | NoAnswer:
    """Send a GET; return the connection, for `finish`. Raises as `get`."""

    def send() -> TimedSocket:
        connection = timed_socket.connect(address, deadline_s)
        try:
            connection.sendall(request(path, query, more))
        except BaseException:
            connection.close()
            raise
        return connection

    return _or_why(send)


def finish(
    connection: TimedSocket, deadline_s: float, reader: Reader | None = None
) -> Response | NoAnswer:
    """Return the answer. The connection stays open. Raises as `get`.

    reader: what was received so far; None = nothing.
    """
    connection.ends_at_s = deadline_s
    return _or_why(lambda: _response(_read(connection, reader or Reader())))


def _or_why(act: Callable[[], _T]) -> _T | NoAnswer:
    """Return the result; if there is none, why. Raises as `get`."""
    try:
        return act()
    except (TimeoutError, BlockingIOError):  # EAGAIN: the queue of a unix socket is full
        return NoAnswer("it accepts connections and does not answer", silent=True)
    except PermissionError:
        why = f"uid {os.geteuid()} may not connect: see listen.owner, .group and .mode"
        return NoAnswer(why, silent=False)
    except OSError as error:
        if is_exhausted(error):
            raise
        absent = isinstance(error, ConnectionRefusedError | FileNotFoundError)
        why = f"no connection: {error.strerror or error}"
        return NoAnswer(why, silent=False, absent=absent)
    except ValueError as error:
        return NoAnswer(str(error), silent=False)


def _record(kind: int, content: bytes) -> bytes:
    return _HEADER.pack(1, kind, _ID, len(content), 0, 0) + content


def request(path: str, query: str, more: Mapping[str, str] | None = None) -> bytes:
    """Return the records of a GET."""
    return _request(path, query, tuple((more or {}).items()))


@lru_cache(maxsize=64)  # each pool gets the same one every few seconds
def _request(path: str, query: str, more: tuple[tuple[str, str], ...]) -> bytes:
    words = {
        "SCRIPT_NAME": path,
        "SCRIPT_FILENAME": path,
        "REQUEST_URI": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": "GET",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        **dict(more),
    }
    pairs = [(name.encode(), value.encode()) for name, value in words.items()]
    params = b"".join(_length(name) + _length(value) + name + value for name, value in pairs)
    begin = _record(_BEGIN, struct.pack("!HB5x", 1, 0))  # a responder; the connection is closed
    return begin + _record(_PARAMS, params) + _record(_PARAMS, b"") + _record(_STDIN, b"")


def _length(text: bytes) -> bytes:
    size = len(text)
    return struct.pack("!I", size | 1 << 31) if size > 127 else bytes([size])


class Reader:
    """Reads the records of one answer, also in pieces at different times."""

    def __init__(self) -> None:
        self.out = bytearray()  #: the data for stdout so far
        self._raw = bytearray()  # the beginning of a record
        self._received = 0

    def feed(self, chunk: bytes) -> bool:
        """Take bytes; return whether the answer is complete. Raises ValueError."""
        if not chunk:
            raise ValueError("the connection was closed before the end of the answer")
        raw, at = self._raw, 0  # cut once for each chunk: a chunk can hold thousands of records
        raw += chunk
        self._received += len(chunk)
        while len(raw) - at >= _HEADER.size:
            version, kind, request_id, size, padding, _ = _HEADER.unpack_from(raw, at)
            if version != 1:
                raise ValueError("the server is not php-fpm")
            end = at + _HEADER.size + size
            if len(raw) < end + padding:
                break
            is_ours = request_id == _ID
            if kind == _STDOUT and is_ours:
                self.out += raw[at + _HEADER.size : end]
            at = end + padding
            if kind == _END and is_ours:
                return True
        del raw[:at]
        too_long = len(self.out) + len(raw) > LONGEST_ANSWER
        if too_long or self._received > 2 * LONGEST_ANSWER:
            raise ValueError(f"the answer is longer than {LONGEST_ANSWER} bytes")
        return False


def _read(connection: TimedSocket, reader: Reader) -> bytes:
    """Return the data for stdout. Raises ValueError if it is not FastCGI."""
    while not reader.feed(connection.recv(1 << 16)):
        pass
    return bytes(reader.out)


def _response(text: bytes) -> Response:
    head, _, body = text.partition(b"\r\n\r\n")
    found = _STATUS.findall(head[:_LONGEST_HEAD])  # the last one counts
    return Response(int(found[-1]) if found else 200, body.decode("utf-8", "replace"))
