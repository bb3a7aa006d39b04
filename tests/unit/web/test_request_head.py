"""The head of an HTTP request is an environ of WSGI, or it is refused with a status."""

from __future__ import annotations

import pytest

from fpm_listener.web.request_head import HEAD_BYTES, LINES, RefusedError, read


def received(*pieces: bytes) -> dict[str, str] | None:
    """Return what the pieces are, if each is received at once."""
    waiting = list(pieces)

    def receive(size: int) -> bytes:
        if not waiting:
            return b""
        piece, rest = waiting[0][:size], waiting[0][size:]
        waiting[:1] = [rest] if rest else []
        return piece

    return read(receive)


@pytest.mark.parametrize(
    ("head", "path", "query"),
    [
        (b"GET / HTTP/1.0", "/", ""),
        (b"GET /metrics?name[]=a&name[]=%62 HTTP/1.1", "/metrics", "name[]=a&name[]=%62"),
        (b"GET //metrics HTTP/1.1", "/metrics", ""),
        (b"GET /a//b?//c HTTP/1.1", "/a//b", "//c"),
        (b"GET /%2f%c3%bc?x=%2f HTTP/1.1", "//\xc3\xbc", "x=%2f"),
        (b"GET /\xc3\xbc HTTP/1.1", "/\xc3\xbc", ""),
        (b"GET http://evil/ HTTP/1.1", "http://evil/", ""),
        (b"GET * HTTP/1.9", "*", ""),
    ],
)
def test_the_first_line(head: bytes, path: str, query: str) -> None:
    """A target is a path and a query; a character of the path is a byte."""
    assert received(head + b"\r\n\r\n") == {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
    }


def test_the_headers() -> None:
    """Spaces around a value are dropped, and equal names are joined."""
    lines = (
        *(b"OPTIONS / HTTP/1.1", b"Host: [::1]:80", b"host:\t c \t", b"Accept-Encoding:gzip, br"),
        *(b"X:", b"Authorization: Bearer \xc3\xbc:\xff"),
    )
    expected = {
        "REQUEST_METHOD": "OPTIONS",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "HTTP_HOST": "[::1]:80,c",
        "HTTP_ACCEPT_ENCODING": "gzip, br",
        "HTTP_X": "",
        "HTTP_AUTHORIZATION": "Bearer \xc3\xbc:\xff",
    }

    for newline in (b"\r\n", b"\n"):
        head = b"\r\n" + newline.join((*lines, b"", b"a body"))
        assert received(head) == expected
        assert received(*(head[at : at + 1] for at in range(len(head)))) == expected


@pytest.mark.parametrize(
    "head",
    [
        *(
            b"GET",
            b"GET /",
            b"GET / HTTP/2.0",
            b"GET / HTTP/1",
            b"GET / HTTP/1.10",
            b"GET / http/1.1",
        ),
        *(b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET /a b HTTP/1.1"),
        *(b"G(T / HTTP/1.1", b"GET /\x7f HTTP/1.1", b"GET /\0 HTTP/1.1", b"GET /\r HTTP/1.1"),
        *(b"\0" * 100, b"\x16\x03\x01\x02\0", b"PRI * HTTP/2.0", b"GET / HTTP/\xb2.0"),
        *(b"GET / HTTP/1.1\r\n: x", b"GET / HTTP/1.1\r\nA : x", b"GET / HTTP/1.1\r\nA"),
        *(b"GET / HTTP/1.1\r\nA: b\r\n c", b"GET / HTTP/1.1\r\n A: b", b"GET / HTTP/1.1\r\nA: \0"),
        *(b"GET / HTTP/1.1\r\nA: b\rc", b"GET / HTTP/1.1\r\nA: b\r\r"),
    ],
)
def test_malformed(head: bytes) -> None:
    """What is no HTTP/1 is refused; nothing of it is guessed."""
    with pytest.raises(RefusedError) as refused:
        received(head + b"\r\n\r\n")

    assert refused.value.args == (400,)


@pytest.mark.parametrize("head", [b"", b"\r\n", b"\n\n\r\n"])
def test_nothing(head: bytes) -> None:
    """A client that sends nothing gets no answer."""
    assert received(head) is None


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n", 400),  # its end was not received
        (b"GET / HTTP/1.1", 400),
        (b"GET /" + b"a" * HEAD_BYTES, 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * (LINES + 1), 431),
        (b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * (LINES + 1) + b"\r\n", 431),
        (b"\r\n" * HEAD_BYTES, 414),
    ],
)
def test_incomplete_or_too_long(head: bytes, status: int) -> None:
    """A head has a limit, whatever the size of the pieces."""
    for pieces in ([head], [head[at : at + 7] for at in range(0, len(head), 7)]):
        with pytest.raises(RefusedError) as refused:
            received(*pieces)
        assert refused.value.args == (status,)


def test_the_longest() -> None:
    """A head within its limits is read, in one piece or in many."""
    lines = b"A: a\r\n" * (LINES - 1)
    padding = HEAD_BYTES - len(lines) - len(b"GET / HTTP/1.1\r\nB: \r\n\r\n")
    head = b"GET / HTTP/1.1\r\n" + lines + b"B: " + b"b" * padding + b"\r\n\r\n"
    environ = received(head)

    assert len(head) == HEAD_BYTES
    assert environ == received(*(head[at : at + 100] for at in range(0, len(head), 100)))
    assert environ is not None
    assert environ["HTTP_B"] == "b" * padding
