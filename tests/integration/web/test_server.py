"""The HTTP server against clients that are well, idle, slow, or not allowed."""

from __future__ import annotations

import base64
import dataclasses
import errno
import gzip
import http.client
import json
import logging
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from fpm_listener.incidents.incident import IncidentView
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.internal_errors import InternalErrors
from fpm_listener.monitor.process_view import ProcessView
from fpm_listener.settings.settings import WebSettings
from fpm_listener.status.metrics import make_registry
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause, State, Where
from fpm_listener.web import connections
from fpm_listener.web.application import Application
from fpm_listener.web.request_head import HEAD_BYTES
from fpm_listener.web.server import WebServer
from tests import snapshots
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOSTILE = "<script>alert(1)</script>"
SNAPSHOT = Snapshot(
    ready=True,
    processes=(
        ProcessView(name=ProcessName("web", HOSTILE), is_fpm=True, state=State.RUNNING, pid=7),
    ),
)

#: A page of it is larger than what the kernel takes for a client that does not read.
LARGE = Snapshot(
    ready=True,
    processes=(
        ProcessView(
            name=ProcessName("web", "php-fpm"),
            is_fpm=True,
            state=State.BACKOFF,
            incident=IncidentView(
                incident_id="i",
                severity="warning",
                started_at_s=1.0,
                facts=IncidentFacts(
                    name=ProcessName("web", "php-fpm"),
                    cause=Cause.RESTART_LOOP,
                    evidence=("x" * 8_000_000, "not UTF-8: \udcff"),
                ),
            ),
        ),
    ),
)

Serve = Callable[..., WebServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server; all are stopped in the end."""
    servers: list[WebServer] = []
    failures: list[BaseException] = []

    def start(snapshot: Snapshot = SNAPSHOT, **settings: object) -> WebServer:
        words = WebSettings(**{"port": 0, **settings})  # type: ignore[arg-type] # the test's own
        registry = partial(make_registry, lambda: snapshot)
        server = WebServer(words, lambda: snapshot, registry, failures.append)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()
    assert failures == []


def ask(
    server: WebServer,
    path: str = "/metrics",
    method: str = "GET",
    trust: ssl.SSLContext | None = None,
    **headers: str,
) -> tuple[int, dict[str, str], str]:
    wait_until(lambda: server.port is not None)
    port = server.port or 0
    if trust is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=200)
    else:
        connection = http.client.HTTPSConnection("localhost", port, timeout=200, context=trust)
    words = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, headers=words)
        answer = connection.getresponse()
        body = answer.read()
        if answer.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        return answer.status, dict(answer.getheaders()), body.decode()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/metrics", "GET", 200),
        ("/metrics", "HEAD", 200),
        ("/", "GET", 200),
        ("/", "HEAD", 200),
        ("/status.json", "GET", 200),
        ("/-/healthy", "GET", 200),
        ("/-/ready", "GET", 200),
        ("/nowhere", "GET", 404),
        ("/metrics", "POST", 405),
        ("/metrics", "DELETE", 405),
    ],
)
def test_what_is_served(serve: Serve, path: str, method: str, status: int) -> None:
    """Each path has its answer; HEAD is the answer without a body."""
    answered, headers, body = ask(serve(), path, method)

    assert answered == status
    assert (body == "") is (method == "HEAD")
    if status == 405:
        assert headers["Allow"] == "GET, HEAD"


def test_not_ready_yet(serve: Serve) -> None:
    """Until the programs are known the listener lives, but is not ready."""
    server = serve(Snapshot())

    assert ask(server, "/-/ready")[0] == 503
    assert ask(server, "/-/healthy")[0] == 200


@pytest.mark.parametrize("is_tls", [False, True])
def test_an_upgrade_has_replaced_the_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_tls: bool
) -> None:
    """Each client is told what to do; over TLS, the connection is closed."""
    caught: list[Where] = []
    files = certify(trustme.CA(), tmp_path) if is_tls else {}
    settings = WebSettings(port=0, **files)  # type: ignore[arg-type] # paths
    errors = InternalErrors(caught.append).caught
    server = WebServer(settings, Snapshot, partial(make_registry, Snapshot), print, errors)
    monkeypatch.setitem(sys.modules, "fpm_listener.web.application", None)
    server.start()
    try:
        wait_until(lambda: server.port is not None, "the port")
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", server.port or 0), 200) as client:
                client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                answer = client.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.0 503 ") is not is_tls
            assert (b"supervisorctl restart fpm-listener" in answer) is not is_tls
        monkeypatch.undo()
        if not is_tls:
            assert ask(server, "/-/healthy")[0] == 200
    finally:
        server.stop()
    assert caught == [Where.WEB, Where.WEB]


def test_the_page_shows_no_markup_of_others(serve: Serve) -> None:
    """Names and log lines are text on the page, and nothing may be loaded or run."""
    _, headers, body = ask(serve(), "/")

    assert HOSTILE not in body
    assert "&lt;script&gt;" in body
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy


def test_fifty_pages_left_open(serve: Serve) -> None:
    """Tabs that ask every second neither fail nor keep a scrape from its answer."""
    server = serve(snapshots.MANY)
    answers: list[int] = []

    def tab() -> None:
        for _ in range(3):
            answers.append(ask(server, "/")[0])  # noqa: PERF401 - one after the other

    assert ask(server)[0] == 200
    tabs = [threading.Thread(target=tab) for _ in range(50)]
    for thread in tabs:
        thread.start()
        assert ask(server)[0] == 200
    for thread in tabs:
        thread.join()
    assert answers == [200] * 150


def test_a_page_is_made_once_for_many() -> None:
    """However many look at it within a second; what is news is seen at once."""
    asked: list[float] = []
    seen = [snapshots.WELL]

    def clock() -> float:
        asked.append(1000.25 + len(asked) / 10)
        return asked[-1]

    application = Application(lambda: seen[0], partial(make_registry, Snapshot), clock)

    def look() -> bytes:
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
        return b"".join(application(environ, lambda *_: None))

    first = look()
    assert look() == first
    seen[0] = dataclasses.replace(snapshots.WELL, events_missed=1)
    assert b"1 missed" in look()
    before = look()
    while asked[-1] < 1001:
        look()
    assert look() != before


def test_openmetrics_is_negotiated(serve: Serve) -> None:
    """A Prometheus that asks for OpenMetrics gets it."""
    accept = "application/openmetrics-text; version=1.0.0"
    _, headers, body = ask(serve(), Accept=accept)

    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("path", "words"),
    [("/metrics", "fpm_listener_build_info"), ("/", "</html>"), ("/status.json", '"programs"')],
)
def test_compression_is_negotiated(serve: Serve, path: str, words: str) -> None:
    """A client that takes gzip gets it, and the same text; another one does not."""
    server = serve(snapshots.MANY)
    _, headers, body = ask(server, path, Accept_Encoding="gzip, deflate, br")

    assert headers["Content-Encoding"] == "gzip"
    assert words in body
    assert int(headers["Content-Length"]) < len(body) / 4
    for nothing in ("", "identity"):
        _, headers, body = ask(server, path, Accept_Encoding=nothing)
        assert "Content-Encoding" not in headers
        assert words in body


@pytest.mark.parametrize("path", ["/", "/metrics?name[]=fpm_listener_build_info", "/-/healthy"])
def test_head_tells_the_length(serve: Serve, path: str) -> None:
    """HEAD has the headers of GET: a length of 0 would be a lie."""
    server = serve()
    got, told = ask(server, path)[1], ask(server, path, "HEAD")[1]

    assert int(told["Content-Length"]) > 0
    assert {**told, "Date": ""} == {**got, "Date": ""}


def test_bytes_that_are_not_utf_8(serve: Serve) -> None:
    """A log line in another encoding breaks neither the page nor the JSON."""
    server = serve(LARGE)

    assert ask(server, "/")[0] == 200
    status, _, body = ask(server, "/status.json")
    assert status == 200
    assert json.loads(body)["programs"][0]["incident"]["evidence"][1] == "not UTF-8: ?"


def test_a_mistake_of_ours_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It is a 500 for the client; we count each, and log one traceback for all of them."""
    caught: list[Where] = []

    def broken() -> Snapshot:
        raise RuntimeError("no snapshot")

    settings = WebSettings(port=0)
    errors = InternalErrors(caught.append)
    server = WebServer(settings, broken, partial(make_registry, Snapshot), print, errors.caught)
    server.start()
    try:
        for _ in range(5):
            assert ask(server, "/status.json")[0] == 500
        assert ask(server, "/metrics")[0] == 200
    finally:
        server.stop()
    (message,) = caplog.messages
    assert message.startswith("unexpected error, continuing where=web thread=")
    assert "text='no snapshot'" in message
    assert 'raise RuntimeError("no snapshot")' in message
    assert caught == [Where.WEB] * 5


def test_a_port_in_use(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """A port that another has is asked for again until it is free; each is said once."""
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = serve(port=port)
        wait_until(lambda: "Address already in use" in caplog.text)
        assert server.port is None
    assert ask(server)[0] == 200
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert f"127.0.0.1:{port}" in caplog.messages[0]


def test_stop_while_the_port_is_in_use(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Waiting for a port does not keep the listener from ending."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        server = serve(port=other.getsockname()[1])
        wait_until(lambda: "Address already in use" in caplog.text)
        server.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]


def test_idle_clients_make_room(serve: Serve) -> None:
    """Two hundred clients that say nothing neither block a scrape nor pile up threads."""
    server = serve()
    assert ask(server)[0] == 200
    idle = []
    try:
        for _ in range(200):
            idle.append(socket.create_connection(("127.0.0.1", server.port or 0)))  # noqa: PERF401 - closed below
        for _ in range(5):
            assert ask(server)[0] == 200
        assert threading.active_count() <= connections.CONNECTIONS + 20
    finally:
        for client in idle:
            client.close()


def test_a_dripping_client_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then has a deadline for all of it."""
    monkeypatch.setattr(connections, "HEAD_DEADLINE_S", 1.0)
    server = serve()
    wait_until(lambda: server.port is not None)
    with socket.create_connection(("127.0.0.1", server.port or 0)) as client:
        client.settimeout(0.05)
        end = time.monotonic() + DEADLINE_S
        cut = False
        while not cut:
            assert time.monotonic() < end, "never cut off"
            try:
                client.sendall(b"G")
                cut = client.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                cut = True


@pytest.mark.parametrize(
    "head",
    [b"X: " + b"a" * HEAD_BYTES, b"".join(b"X-%d: a\r\n" % n for n in range(150))],
)
def test_a_request_has_a_size(serve: Serve, head: bytes) -> None:
    """Headers without end are refused, before they fill the memory."""
    server = serve()
    wait_until(lambda: server.port is not None)
    with socket.create_connection(("127.0.0.1", server.port or 0), timeout=200) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + head[:HEAD_BYTES])
        assert client.recv(100).startswith(b"HTTP/1.0 431 ")
    assert ask(server)[0] == 200


def test_a_first_line_has_a_size(serve: Serve) -> None:
    """It is the client's mistake, answered as one, and no internal error."""
    server = serve()
    wait_until(lambda: server.port is not None)
    with socket.create_connection(("127.0.0.1", server.port or 0), timeout=200) as client:
        client.sendall(b"GET /" + b"a" * HEAD_BYTES)
        assert client.recv(100).startswith(b"HTTP/1.0 414 ")
    assert ask(server)[0] == 200


def do_not_read(server: WebServer, trust: ssl.SSLContext | None = None) -> socket.socket:
    """Return a client that has asked for a large page, and leaves it where it is."""
    wait_until(lambda: server.port is not None)
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(DEADLINE_S)
    client.connect(("127.0.0.1", server.port or 0))
    if trust is not None:
        client = trust.wrap_socket(client, server_hostname="localhost")
    client.sendall(b"GET /status.json HTTP/1.0\r\n\r\n")
    return client


def answers(server: WebServer) -> bool:
    """Return whether the server answers, rather than closing the connection."""
    try:
        return ask(server, "/-/healthy")[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_slow_readers_make_room(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that ask and do not read are cut, oldest first, when their places are needed."""
    monkeypatch.setattr(connections, "CONNECTIONS", 4)
    monkeypatch.setattr(connections, "DEADLINE_S", 1000.0)
    server = serve(LARGE)
    slow = [do_not_read(server) for _ in range(4)]
    try:
        wait_until(lambda: answers(server))
    finally:
        for client in slow:
            client.close()


@pytest.fixture
def authority() -> trustme.CA:
    """Return a certificate authority for this test."""
    return trustme.CA()


def certify(authority: trustme.CA, folder: Path, name: str = "localhost") -> dict[str, Path]:
    certificate = authority.issue_cert(name)
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(key_file))
    return {"cert_file": cert_file, "key_file": key_file}


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_tls_with_an_idle_client(serve: Serve, authority: trustme.CA, tmp_path: Path) -> None:
    """A client that never begins its handshake blocks no other."""
    server = serve(**certify(authority, tmp_path))
    wait_until(lambda: server.port is not None)
    with socket.create_connection(("127.0.0.1", server.port or 0)):
        assert ask(server, trust=trusting(authority))[0] == 200


def test_a_slow_reader_is_cut_off_in_silence(
    serve: Serve,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The deadline ends answers too, TLS or not, and writes no traceback to our log."""
    monkeypatch.setattr(connections, "DEADLINE_S", 1.0)
    plain, tls = serve(LARGE), serve(LARGE, **certify(authority, tmp_path))
    before = threading.active_count()
    with do_not_read(plain) as first, do_not_read(tls, trusting(authority)) as second:
        for client in (first, second):
            assert client.recv(1) == b"H"  # the answer has begun
        wait_until(lambda: threading.active_count() <= before)
    assert capfd.readouterr().err == ""


def test_a_new_certificate_is_taken_up(
    serve: Serve,
    authority: trustme.CA,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Changed files are used for the next connection; broken ones leave the old in use."""
    server = serve(**certify(authority, tmp_path))
    assert ask(server, trust=trusting(authority))[0] == 200

    other = trustme.CA()
    files = certify(other, tmp_path)
    assert ask(server, trust=trusting(other))[0] == 200
    files["cert_file"].write_text("broken")
    for _ in range(3):
        assert ask(server, trust=trusting(other))[0] == 200
    (said,) = caplog.messages
    assert said.startswith("loading the new certificate failed, keeping the old one")
    assert str(files["cert_file"]) in said


def test_a_key_with_a_passphrase(
    serve: Serve,
    authority: trustme.CA,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody is asked for a passphrase: on fd 0 there are events; it is said what to do."""
    files = certify(authority, tmp_path)
    key = serialization.load_pem_private_key(files["key_file"].read_bytes(), None)
    files["key_file"].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ),
    )
    server = serve(**files)
    wait_until(lambda: caplog.messages)

    assert "the key has a passphrase; use a key without a passphrase" in caplog.text
    assert server.port is None


def test_a_certificate_that_is_not_there(
    serve: Serve,
    authority: trustme.CA,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log names the files; nothing is served without them, and https once they are there."""
    server = serve(cert_file=tmp_path / "cert.pem", key_file=tmp_path / "key.pem")
    wait_until(lambda: caplog.messages)
    assert server.port is None
    certify(authority, tmp_path)
    assert ask(server, trust=trusting(authority))[0] == 200

    assert "No such file or directory" in caplog.messages[0]
    assert str(tmp_path / "cert.pem") in caplog.messages[0]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_password(serve: Serve, tmp_path: Path) -> None:
    """Only who knows name and password may look; health stays open."""
    secret = tmp_path / "password"
    secret.write_text("right\n")
    server = serve(username="prom", password_file=secret)

    assert ask(server, Authorization=basic("prom", "right"))[0] == 200
    assert ask(server, Authorization=basic("prom", "right").replace("Basic", "basic"))[0] == 200
    assert ask(server, Authorization=basic("prom", "wrong"))[0] == 401
    assert ask(server, Authorization="Bearer right")[0] == 401
    for path in ("/", "/status.json", "/-/ready", "/nowhere"):
        assert ask(server, path)[0] == 401
    assert ask(server, Authorization=basic("other", "right"))[0] == 401
    assert "Basic" in ask(server)[1]["WWW-Authenticate"]
    assert ask(server, "/-/healthy")[0] == 200

    secret.write_text("changed")
    assert ask(server, Authorization=basic("prom", "right"))[0] == 401
    assert ask(server, Authorization=basic("prom", "changed"))[0] == 200


def test_a_token_that_is_not_ascii(serve: Serve, tmp_path: Path) -> None:
    """A token is UTF-8 in its file and in the header."""
    (tmp_path / "token").write_text("gr\u00fcn-\u79d8\u5bc6", encoding="utf-8")
    server = serve(token_file=tmp_path / "token")
    sent = "gr\u00fcn-\u79d8\u5bc6".encode().decode("latin-1")

    assert ask(server, Authorization=f"Bearer {sent}")[0] == 200
    for wrong in ("gr\u00fcn", "gr?n-??", sent[:-1], sent + "x", ""):
        assert ask(server, Authorization=f"Bearer {wrong}")[0] == 401


HOSTS = frozenset({"localhost", "web1", "fpm.example.com"})


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("10.1.2.3:19253", 200),
        ("[::1]:19253", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("web1", 200),
        ("fpm.example.com.:80", 200),
        ("evil.example", 403),
        ("evil.example:19253", 403),
        ("127.0.0.1.evil.example", 403),
        ("web1.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("[::1].evil.example", 200),  # no name can begin with a bracket
        ("[evil.example]", 403),
        (":80", 403),
        ("0x7f.1", 403),
        ("\xe9vil", 403),
    ],
)
def test_a_name_that_was_rebound(serve: Serve, host: str, status: int) -> None:
    """Without a password the page has names; metrics and health are served under all."""
    server = serve(allowed_hosts=HOSTS)

    for path in ("/", "/status.json"):
        answered, _, body = ask(server, path, Host=host)
        assert answered == status
        assert ("allowed_hosts or external_url in [fpm-listener]" in body) is (status == 403)
    for path in ("/metrics", "/-/healthy", "/-/ready"):
        assert ask(server, path, Host=host)[0] == 200


def test_a_password_is_enough(serve: Serve, tmp_path: Path) -> None:
    """Who knows it may come under every name; a rebound page cannot know it."""
    (tmp_path / "token").write_text("t0ken")
    server = serve(token_file=tmp_path / "token")

    assert ask(server, "/", Host="evil.example", Authorization="Bearer t0ken")[0] == 200
    assert ask(server, "/", Host="evil.example")[0] == 401


MALFORMED = (
    b"",
    b"\r\n",
    b"\0" * 100,
    b"GET\r\n\r\n",
    b"GET / HTTP/" + b"9" * 5000 + b"\r\n\r\n",
    b"GET / HTTP/1.1.1\r\n\r\n",
    b"GET / HTTP/\xb2.0\r\n\r\n",
    b"GET /" + b"%" * 3000 + b" HTTP/1.0\r\n\r\n",
    b"GET /%ff%00%c3 HTTP/1.0\r\nHost: \xff\0\r\n\r\n",
    b"GET //evil/../ HTTP/1.0\r\nHost: a,b\r\nHost: c\r\n\r\n",
    b"GET http://evil/ HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET / HTTP/1.0\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    b"GET / HTTP/1.0\r\n: \r\n\r\n",
    b"GET / HTTP/1.0\r\nContent-Length: -1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /metrics?name[]=%ff&name[]=x&x HTTP/1.0\r\nAccept: \xff;version=\xb2,;q=x\r\n\r\n",
    b"GET / HTTP/1.0\r\nAuthorization: Basic \xff\xfe\r\nAccept-Encoding: \xff\r\n\r\n",
    b"GET / HTTP/1.0\r\nAuthorization: Bearer\r\n\r\n",
    b"OPTIONS * HTTP/1.0\r\n\r\n",
    b"CONNECT evil:80 HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
)


@pytest.mark.parametrize("locked", [False, True])
def test_malformed_requests(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, locked: bool
) -> None:
    """None is an unexpected error, and none is logged; a client that goes at once is no error."""
    caught: list[Where] = []
    failures: list[BaseException] = []
    (tmp_path / "token").write_text("t0ken")
    settings = WebSettings(port=0, token_file=tmp_path / "token" if locked else None)
    errors = InternalErrors(caught.append)
    registry = partial(make_registry, lambda: SNAPSHOT)
    server = WebServer(settings, lambda: SNAPSHOT, registry, failures.append, errors.caught)
    server.start()
    try:
        wait_until(lambda: server.port is not None)
        for request in MALFORMED:
            with socket.create_connection(("127.0.0.1", server.port or 0), DEADLINE_S) as client:
                client.sendall(request)
                client.shutdown(socket.SHUT_WR)
                answer = client.recv(1 << 16)
                assert not answer.startswith((b"HTTP/1.0 5", b"HTTP/1.1 5")) or b" 501 " in answer
            with socket.create_connection(("127.0.0.1", server.port or 0), DEADLINE_S) as client:
                client.sendall(request)  # and goes without a look at the answer
        assert ask(server, "/-/healthy")[0] == 200
    finally:
        server.stop()
    assert (caught, failures, caplog.messages) == ([], [], [])


class Shortage:
    """Lets the import of one module fail."""

    def __init__(self, module: str, error: Exception) -> None:
        self._module, self._error = module, error

    def find_spec(self, name: str, *_: object) -> None:
        """Raise the error for the module."""
        if name == self._module:
            raise self._error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EMFILE, "Too many open files"),
        ImportError("_x.so: cannot open shared object file", name="_x", path="/lib/_x.so"),
    ],
)
def test_a_library_that_cannot_be_loaded_now_is_loaded_later(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """For example, no descriptor is left: the client waits, and the listener runs on."""
    caught: list[Where] = []
    failures: list[BaseException] = []
    errors = InternalErrors(caught.append)
    registry = partial(make_registry, lambda: SNAPSHOT)
    server = WebServer(
        WebSettings(port=0), lambda: SNAPSHOT, registry, failures.append, errors.caught
    )
    server.start()
    try:
        wait_until(lambda: server.port is not None)
        with monkeypatch.context() as patch:
            module = "fpm_listener.web.connections"
            patch.delitem(sys.modules, module)
            patch.setattr(sys, "meta_path", [Shortage(module, error), *sys.meta_path])
            with socket.create_connection(("127.0.0.1", server.port or 0), DEADLINE_S) as client:
                client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
                wait_until(lambda: bool(caught))
                patch.undo()
                assert client.recv(1 << 16).startswith(b"HTTP/1.0 200")
    finally:
        server.stop()
    assert (set(caught), failures) == ({Where.WEB}, [])


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        "application/openmetrics-text;version=",
        "text/plain;version=1.x",
        "text/plain; version=1..0",
        "application/openmetrics-text; version=\xb2",
        "application/openmetrics-text; version=" + "9" * 5000,
        "application/openmetrics-text; version=1.0.0; escaping=\xe9, text/plain; version=?",
        ";;;,,,version",
    ],
)
def test_an_odd_version_is_no_error(
    serve: Serve, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a client accepts can be anything; it gets a format that it has not ruled out."""
    status, headers, body = ask(serve(), Accept=accept)

    assert (status, caplog.messages) == (200, [])
    assert headers["Content-Type"].startswith(("text/plain", "application/openmetrics-text"))
    assert "fpm_listener_build_info" in body


def test_a_token_for_a_browser(serve: Serve, tmp_path: Path) -> None:
    """A browser asks for a password, never for a token: the token may be given as one."""
    secret = tmp_path / "token"
    secret.write_text("t0ken\n")
    server = serve(token_file=secret)

    assert ask(server, "/", Authorization="Bearer t0ken")[0] == 200
    assert ask(server, "/", Authorization=basic("", "t0ken"))[0] == 200
    assert ask(server, "/", Authorization=basic("whoever", "t0ken"))[0] == 200
    for wrong in (basic("t0ken", ""), basic("", "other"), "Basic t0ken", "Basic", "Basic \xff"):
        assert ask(server, "/", Authorization=wrong)[0] == 401
    assert "Basic" in ask(server)[1]["WWW-Authenticate"]


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_that_is_not_there_opens_nothing(
    serve: Serve,
    tmp_path: Path,
    content: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A missing or empty token file lets nobody in, and is said once."""
    secret = tmp_path / "token"
    if content is not None:
        secret.write_text(content)
    server = serve(token_file=secret)

    for word in ("Bearer ", "Bearer", "Bearer x", ""):
        assert ask(server, Authorization=word)[0] == 401
    (said,) = caplog.messages
    assert str(secret) in said
    secret.write_text("x")
    assert ask(server, Authorization="Bearer x")[0] == 200


def test_the_port_can_change(serve: Serve) -> None:
    """`rebind` serves at the new place, and lets the old port go."""
    server = serve()
    assert ask(server)[0] == 200
    old = server.port or 0
    server.rebind(WebSettings(port=0))
    wait_until(lambda: server.port not in {None, old})

    assert ask(server)[0] == 200

    def is_closed() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", old)) != 0

    wait_until(is_closed, "the old port to be closed")


def test_ipv6(serve: Serve) -> None:
    """`[::1]` is served as well."""
    server = serve(host="::1")
    wait_until(lambda: server.port is not None)
    with socket.create_connection(("::1", server.port or 0)) as client:
        client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200 OK")
