"""Fuzz targets: what other processes send over sockets; real sockets, real servers."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon import control_socket
from fpm_listener.daemon.control_socket import ControlSocket
from fpm_listener.guard.handover_channel import receive_any
from fpm_listener.guard.handover_messages import Hello, Offer, encode
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.host.timed_socket import TimedSocket
from fpm_listener.phpfpm import fastcgi
from fpm_listener.status.metrics import make_registry
from fpm_listener.status.terminal import to_table
from fpm_listener.supervisor.rpc import SupervisorRpc
from fpm_listener.web.application import Application
from fpm_listener.web.connections import Server
from tests.fuzz.saved import parse
from tests.fuzz.target import SPLIT, Target, check, parts
from tests.snapshots import NOW_S, TROUBLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.vocabulary import Where

#: Bytes that a socket takes without a reader.
_FITS = 48 << 10
#: Seconds; nothing here waits for anybody but threads of this process.
_PATIENCE_S = 20.0

# -- php-fpm ---------------------------------------------------------------------------------------


def fastcgi_answer(data: bytes) -> None:
    """An answer is one, or a ValueError says why it is none."""
    ours, theirs = socket.socketpair()
    timed = TimedSocket(fileno=ours.detach())
    timed.ends_at_s = time.monotonic() + _PATIENCE_S
    with timed, theirs:
        theirs.sendall(data[:_FITS])
        theirs.shutdown(socket.SHUT_WR)
        with suppress(ValueError):
            answer = fastcgi._response(fastcgi._read(timed, fastcgi.Reader()))
            check(len(answer.body) <= len(data), "more than was sent")


# -- supervisord -----------------------------------------------------------------------------------


class _Answers:
    """Answers each connection with what `answer` holds, and closes it."""

    def __init__(self) -> None:
        self.answer = b""
        self.path = f"{tempfile.mkdtemp(prefix='fuzz-')}/rpc.sock"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection, suppress(OSError):
                connection.recv(1 << 16)
                connection.sendall(self.answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass


@cache
def _answers() -> _Answers:
    return _Answers()


def rpc_answer(data: bytes) -> None:
    """Whatever answers, each question has a value."""
    server = _answers()
    rpc = SupervisorRpc(f"unix://{server.path}", timeout_s=_PATIENCE_S)
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data)
    for server.answer in (whole, data):
        rpc.processes()
        rpc.log_files()
        rpc.programs()
        rpc.read_log_tail(8192)


# -- guards and operators --------------------------------------------------------------------------


def guard_packet(data: bytes) -> None:
    """What is no message of a guard is a ValueError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        theirs.sendmsg([data[:_FITS]])
        theirs.shutdown(socket.SHUT_WR)
        with suppress(ValueError):
            receive_any(ours, (Hello, Offer))


def control_request(data: bytes) -> None:
    """What is no request is hung up on, by one of the errors that the thread expects."""
    served = ControlSocket(StateDirectory("/nonexistent"), _answer_at_once, _fail)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data[:_FITS] + b"\n")
        theirs.shutdown(socket.SHUT_WR)
        with suppress(*control_socket._HANG_UP):
            served._talk(ours)


def _answer_at_once(asked: object) -> None:
    check(isinstance(asked, control_socket.Asked), "another item")
    asked.reply.put([])  # type: ignore[attr-defined] # checked above


def _fail(error: BaseException) -> None:
    raise error


# -- HTTP ------------------------------------------------------------------------------------------

_HEADERS = ("ACCEPT", "ACCEPT_ENCODING", "HOST", "AUTHORIZATION", "X_FORWARDED_FOR", "CONNECTION")


@cache
def _application() -> Application:
    return Application(lambda: TROUBLE, partial(make_registry, lambda: TROUBLE), lambda: NOW_S)


def wsgi_request(data: bytes) -> None:
    """No request raises, and none is answered with 500."""
    # As WSGI decodes what it is sent.
    method, path, query, *headers = (one.decode("latin-1") for one in parts(data, 9))
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method or "GET",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "fpm-listener",
        "SERVER_PORT": "19253",
        "wsgi.url_scheme": "http",
    }
    environ.update({f"HTTP_{name}": one for name, one in zip(_HEADERS, headers, strict=True)})
    started: list[str] = []

    def start(line: str, headers: Iterable[tuple[str, str]], _: object = None) -> None:
        started.append(line)
        check(all("\n" not in f"{name}{value}" for name, value in headers), "a split header")

    body = b"".join(_application()(environ, start))
    check(len(started) == 1, "no answer, or two")
    check(not started[0].startswith("500"), f"{started[0]}: {body[:80]!r}")


@dataclass
class _Served:
    port: int
    thread: threading.Thread


@cache
def _served() -> _Served:
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(listening, None, _application(), _unexpected)

    def serve() -> None:
        while True:
            server.serve_next(0.5)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return _Served(listening.getsockname()[1], thread)


_UNEXPECTED: list[Exception] = []


def _unexpected(_: Where, error: Exception) -> None:
    _UNEXPECTED.append(error)


def http_request(data: bytes) -> None:
    """Any bytes on a connection get an answer or none; the server goes on."""
    served = _served()
    with socket.create_connection(("127.0.0.1", served.port), timeout=_PATIENCE_S) as client:
        answer = b""
        with suppress(OSError):  # the server may have ended the connection already
            client.sendall(data[:_FITS])
            client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(1 << 16):
                answer += chunk
    check(b" 500 " not in answer[:20], f"status 500: {answer[:300]!r}")
    check(served.thread.is_alive(), "the server has ended")
    check(not _UNEXPECTED, f"an unexpected error: {_UNEXPECTED}")


# -- what a listener answers to `fpm-listener status` ----------------------------------------------


def status_document(data: bytes) -> None:
    """A status of any shape is shown without escapes, or is one that lacks a part."""
    document = parse(data)
    if isinstance(document, dict):
        with suppress(KeyError, TypeError, AttributeError, ValueError, IndexError):
            for line in to_table(document, 80).splitlines():
                check("\x1b" not in line, "an escape reaches the terminal")


_RPC = (
    b"<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data><value>"
    b"<struct><member><name>name</name><value><string>a</string></value></member>"
    b"<member><name>group</name><value><string>a</string></value></member>"
    b"<member><name>statename</name><value><string>RUNNING</string></value></member>"
    b"<member><name>pid</name><value><int>42</int></value></member>"
    b"<member><name>start</name><value><int>1</int></value></member>"
    b"<member><name>stop</name><value><double>1e5</double></value></member>"
    b"<member><name>now</name><value><int>2</int></value></member>"
    b"<member><name>exitstatus</name><value><int>0</int></value></member>"
    b"<member><name>stderr_logfile</name><value><string>/x</string></value></member>"
    b"</struct></value></data></array></value></param></params></methodResponse>"
)
_FAULT = (
    b"<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>10</int>"
    b"</value></member><member><name>faultString</name><value><string>BAD_NAME</string></value>"
    b"</member></struct></value></fault></methodResponse>"
)
_CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n0\r\n\r\n"
_BODY = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\npong"
_FASTCGI = fastcgi._record(6, _BODY) + fastcgi._record(6, b"") + fastcgi._record(3, b"\0" * 8)
_OPENMETRICS = b"application/openmetrics-text;version=1"
_GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: %b\r\n\r\n" % _OPENMETRICS

TARGETS = {
    "fastcgi-answer": Target(fastcgi_answer, (_FASTCGI, _FASTCGI.replace(b"200", b"9" * 5000))),
    "rpc-answer": Target(
        rpc_answer, (_RPC, _FAULT, b"HTTP/1.1 500 X\r\n\r\n", _CHUNKED, _RPC[:99])
    ),
    "guard-packet": Target(guard_packet, (encode(Hello("a", "b", True)),)),
    "control-request": Target(
        control_request,
        (b'{"action":"list"}', b'{"action":"drop","receiver":"ops","number":7}', b"[]"),
        stretch=4000,
    ),
    "wsgi-request": Target(
        wsgi_request,
        (
            SPLIT.join([b"GET", b"/metrics", b"name[]=x", _OPENMETRICS]),
            SPLIT.join([b"HEAD", b"/", b"", b"*/*", b"gzip", b"localhost", b"Basic YTpi"]),
            SPLIT.join([b"POST", b"/status.json", b"", b"", b"gzip;q=1.0", b"a", b"Bearer \xff"]),
        ),
        stretch=1 << 14,  # the server takes a head of 16 KiB
    ),
    "http-request": Target(
        http_request,
        (_GET, b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01", b"HEAD /-/ready HTTP/9\r\n\r\n"),
    ),
    "status-document": Target(
        status_document, (b'{"programs":[],"receivers":[]}', b"{}", b"[]", b"null"), stretch=1 << 14
    ),
}
