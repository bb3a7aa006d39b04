"""A POST over HTTP and its response, on a pair of sockets."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host.http_exchange import ConnectionEndedError, NotHttpError, Response, post
from fpm_listener.host.timed_socket import TimedSocket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: Chunked\r\n\r\n"


class Pieces(TimedSocket):
    """A connection that receives these pieces and then its end."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        super().__init__(socket.AF_UNIX)
        self._pieces = list(pieces)

    def recv(self, *_: int) -> bytes:
        """Return the next piece."""
        return self._pieces.pop(0) if self._pieces else b""


@pytest.mark.parametrize(
    ("received", "status", "body"),
    [
        (OK + b"\r\n", 200, b""),
        (OK + b"\r\nno length", 200, b"no length"),
        (OK + b"Content-Length: 2\r\n\r\nok and more", 200, b"ok"),
        (b"HTTP/1.0 200 OK\ncontent-length:2\n\nok", 200, b"ok"),
        (OK + b"Content-Length: x\r\n\r\nok", 200, b"ok"),
        (OK + b"Content-Length: 5000000\r\n\r\n" + b"x" * 200, 200, b"x" * 100),
        (b"HTTP/1.1 204 No\r\n\r\nok", 204, b""),
        (b"HTTP/1.1 503\r\n\r\n", 503, b""),
        (
            b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 H\r\nA: b\r\n\r\n" + OK + b"\r\n",
            200,
            b"",
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", 101, b""),
        (CHUNKED + b"2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (CHUNKED + b"1;a=b\r\no\r\n01 \r\nk\r\n0\r\nTrailer: x\r\n\r\n", 200, b"ok"),
        (CHUNKED + b"c8\r\n" + b"x" * 200, 200, b"x" * 100),
        (OK, 200, b""),  # its end is missing; the status is known
        (b"HTTP/1.1 200", 200, b""),
    ],
)
def test_a_response(received: bytes, status: int, body: bytes) -> None:
    """Each has its status and the first 100 bytes of its body, in one piece or byte by byte."""
    for pieces in ([received], [received[at : at + 1] for at in range(len(received))]):
        with Pieces(pieces) as connection:
            response = Response(connection)
            assert (response.status, response.read(100)) == (status, body)


@pytest.mark.parametrize(
    ("received", "error"),
    [
        (b"", ConnectionEndedError),
        (OK + b"Content-Length: 3\r\n\r\nok", ConnectionEndedError),
        (CHUNKED + b"3\r\nok", ConnectionEndedError),
        (CHUNKED + b"2\r\nok", ConnectionEndedError),
        (CHUNKED + b"2\r\nok\r\n", ConnectionEndedError),
        (CHUNKED + b"-1\r\nok\r\n", NotHttpError),
        (CHUNKED + b"1" * 17 + b"\r\nok\r\n", NotHttpError),
        pytest.param(CHUNKED + b"x" * 10_000, NotHttpError, id="long line"),
        (b"HTTP/2 200 OK\r\n\r\n", NotHttpError),
        (b"HTTP/1.1 20 OK\r\n\r\n", NotHttpError),
        (b"ok", NotHttpError),
        (b"\r\n\r\n" + OK, NotHttpError),
        pytest.param(b"HTTP/1.1 100 C\r\n\r\n" * 11, NotHttpError, id="interim"),
        pytest.param(OK + b"X: x\r\n" * (1 << 15), NotHttpError, id="long head"),
    ],
)
def test_no_response(received: bytes, error: type[Exception]) -> None:
    """Nothing else is raised."""
    for pieces in ([received], [received[at : at + 7] for at in range(0, len(received), 7)]):
        with Pieces(pieces) as connection, pytest.raises(error):
            Response(connection).read(100)


@pytest.fixture
def pair() -> Iterator[tuple[TimedSocket, socket.socket]]:
    """Return a connection, and its other end."""
    ours, theirs = socket.socketpair()
    timed = TimedSocket(fileno=ours.detach())
    timed.ends_at_s = time.monotonic() + 60
    with timed, theirs:
        yield timed, theirs


def test_a_request(pair: tuple[TimedSocket, socket.socket]) -> None:
    """A header is UTF-8; the names of the response's headers are in lower case."""
    ours, theirs = pair
    theirs.sendall(OK + b"Retry-After:  7 \r\nretry-after: 8\r\nno header\r\n\r\n")

    response = post(ours, "/a?b", {"Host": "c", "Token": "gr\u00fcn", "E": ""}, b"body", "1.1")

    assert theirs.recv(1000) == (
        b"POST /a?b HTTP/1.1\r\nContent-Length: 4\r\n"
        b"Host: c\r\nToken: gr\xc3\xbcn\r\nE: \r\n\r\nbody"
    )
    assert response.headers == {"retry-after": "7"}


@pytest.mark.parametrize(
    ("name", "value"), [("A", "b\r\nC: d"), ("A", "b\n"), ("A", " b"), ("A b\n", ""), ("", "b")]
)
def test_a_header_that_is_two(
    pair: tuple[TimedSocket, socket.socket], name: str, value: str
) -> None:
    """Nothing is sent then."""
    ours, theirs = pair
    with pytest.raises(ValueError, match="a header is not valid"):
        post(ours, "/", {name: value}, b"", "1.1")

    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_a_server_that_closes_first(pair: tuple[TimedSocket, socket.socket]) -> None:
    """Its response is read, though the request cannot be sent."""
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 413 Too Large\r\n\r\n")
    theirs.close()

    assert post(ours, "/", {}, b"x" * (1 << 20), "1.1").status == 413
