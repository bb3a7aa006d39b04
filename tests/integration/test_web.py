"""The HTTP server against clients that are well, idle, slow, or not allowed."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trustme

from fpm_listener import web
from fpm_listener.core.snapshot import ProcessView, Snapshot, State
from fpm_listener.core.values import ProcessName
from fpm_listener.metrics import make_registry
from fpm_listener.settings import WebSettings
from fpm_listener.web import WebServer

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

Serve = Callable[..., WebServer]


def wait(probe: Callable[[], object], deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not probe():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server; all are stopped in the end."""
    servers: list[WebServer] = []
    failures: list[BaseException] = []

    def start(snapshot: Snapshot = SNAPSHOT, **settings: object) -> WebServer:
        words = WebSettings(**{"port": 0, **settings})  # type: ignore[arg-type] # the test's own
        registry = make_registry(lambda: snapshot)
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
    wait(lambda: server.port is not None)
    port = server.port or 0
    if trust is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    else:
        connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=trust)
    words = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, headers=words)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
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


def test_the_page_shows_no_markup_of_others(serve: Serve) -> None:
    """Names and log lines are text on the page, and nothing may be loaded or run."""
    _, headers, body = ask(serve(), "/")

    assert HOSTILE not in body
    assert "&lt;script&gt;" in body
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")


def test_openmetrics_is_negotiated(serve: Serve) -> None:
    """A Prometheus that asks for OpenMetrics gets it."""
    accept = "application/openmetrics-text; version=1.0.0"
    _, headers, body = ask(serve(), Accept=accept)

    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


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
        assert threading.active_count() <= web.CONNECTIONS + 20
    finally:
        for client in idle:
            client.close()


def test_a_dripping_client_is_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends a byte now and then has a deadline for all of it."""
    monkeypatch.setattr(web, "DEADLINE_S", 1.0)
    server = serve()
    wait(lambda: server.port is not None)
    with socket.create_connection(("127.0.0.1", server.port or 0)) as client:
        client.settimeout(0.05)
        end = time.monotonic() + 30
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
    wait(lambda: server.port is not None)
    with socket.create_connection(("127.0.0.1", server.port or 0)):
        assert ask(server, trust=trusting(authority))[0] == 200


def test_a_new_certificate_is_taken_up(
    serve: Serve,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    """Changed files are used for the next connection; broken ones leave the old in use."""
    server = serve(**certify(authority, tmp_path))
    assert ask(server, trust=trusting(authority))[0] == 200

    other = trustme.CA()
    files = certify(other, tmp_path)
    assert ask(server, trust=trusting(other))[0] == 200
    files["cert_file"].write_text("broken")
    assert ask(server, trust=trusting(other))[0] == 200


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_password(serve: Serve, tmp_path: Path) -> None:
    """Only who knows name and password may look; health stays open."""
    secret = tmp_path / "password"
    secret.write_text("right\n")
    server = serve(username="prom", password_file=secret)

    assert ask(server, Authorization=basic("prom", "right"))[0] == 200
    assert ask(server, Authorization=basic("prom", "wrong"))[0] == 401
    assert ask(server, Authorization=basic("other", "right"))[0] == 401
    assert "Basic" in ask(server)[1]["WWW-Authenticate"]
    assert ask(server, "/-/healthy")[0] == 200

    secret.write_text("changed")
    assert ask(server, Authorization=basic("prom", "right"))[0] == 401
    assert ask(server, Authorization=basic("prom", "changed"))[0] == 200


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_that_is_not_there_opens_nothing(
    serve: Serve,
    tmp_path: Path,
    content: str | None,
) -> None:
    """A missing or empty token file lets nobody in."""
    secret = tmp_path / "token"
    if content is not None:
        secret.write_text(content)
    server = serve(token_file=secret)

    for word in ("Bearer ", "Bearer", "Bearer x", ""):
        assert ask(server, Authorization=word)[0] == 401
    secret.write_text("x")
    assert ask(server, Authorization="Bearer x")[0] == 200


def test_the_port_can_change(serve: Serve) -> None:
    """`rebind` serves at the new place, and lets the old port go."""
    server = serve()
    assert ask(server)[0] == 200
    old = server.port or 0
    server.rebind(WebSettings(port=0))
    wait(lambda: server.port not in {None, old})

    assert ask(server)[0] == 200
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", old)) != 0


def test_ipv6(serve: Serve) -> None:
    """`[::1]` is served as well."""
    server = serve(host="::1")
    wait(lambda: server.port is not None)
    with socket.create_connection(("::1", server.port or 0)) as client:
        client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.0 200 OK")
