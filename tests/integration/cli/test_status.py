"""`fpm-listener status` against listeners with a password, a token, a certificate."""

from __future__ import annotations

import io
import json
import ssl
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
import trustme

from fpm_listener.cli import endpoint, status
from fpm_listener.daemon.control_socket import Asked, ControlSocket
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.settings.settings import WebSettings, load
from fpm_listener.status.metrics import make_registry
from fpm_listener.values import FpmListenerError
from fpm_listener.web.server import WebServer
from tests.ports import free_port
from tests.snapshots import WELL
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[..., Path]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that serves under settings, and returns their file."""
    servers: list[WebServer] = []

    def start(**keys: object) -> Path:
        lines = [f"listen = {keys.pop('listen', '127.0.0.1')}:{free_port()}"]
        lines.append(f"state_dir = {tmp_path}/none")
        lines += [f"{name} = {value}" for name, value in keys.items()]
        path = tmp_path / "fpm_listener.conf"
        path.write_text("\n".join(["[fpm-listener]", *lines]))
        server = WebServer(
            load(str(path)).web, lambda: WELL, partial(make_registry, lambda: WELL), print
        )
        servers.append(server)
        server.start()
        wait_until(lambda: server.port, "the server's port")
        return path

    yield start
    for server in servers:
        server.stop()


def shown(
    config: Path | None = None,
    url: str | None = None,
    *,
    as_json: bool = False,
    insecure: bool = False,
) -> str:
    out = io.StringIO()
    path = str(config) if config else None
    status.run(url, path, out, as_json=as_json, insecure=insecure)
    return out.getvalue()


def secret(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text + "\n")
    return path


def test_where_its_settings_say(serve: Serve) -> None:
    """Nothing but the settings is needed; a wildcard address is asked on this host."""
    config = serve(listen="0.0.0.0")

    assert shown(config).startswith("supervisor on web-7: All 3 programs are running")
    assert "\x1b" not in shown(config)
    assert json.loads(shown(config, as_json=True))["instance"] == "web-7"


def test_with_a_password(serve: Serve, tmp_path: Path) -> None:
    """Name and password come from the settings, and are not only ASCII."""
    password = secret(tmp_path, "password", "gr\u00fcn:rot")
    config = serve(web_username="ops", web_password_file=password)

    assert "All 3 programs are running" in shown(config, insecure=True)


def test_with_a_token(serve: Serve, tmp_path: Path) -> None:
    """A token likewise."""
    config = serve(web_token_file=secret(tmp_path, "token", "gr\u00fcn-\u79d8"))

    assert "All 3 programs are running" in shown(config, insecure=True)


def test_from_the_environment(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are no settings to read, variables say the same; the error says which."""
    token = secret(tmp_path, "token", "t0ken")
    config = serve(web_token_file=token)
    url = status.url_of(load(str(config)).web)
    with pytest.raises(
        FpmListenerError, match=r"requires a password or token.*WEB_TOKEN_FILE"
    ) as e:
        shown(url=url)
    assert "t0ken" not in str(e.value)

    monkeypatch.setenv("FPM_LISTENER_WEB_TOKEN_FILE", str(token))
    assert "All 3 programs are running" in shown(url=url, insecure=True)
    monkeypatch.setenv("FPM_LISTENER_WEB_TOKEN_FILE", str(secret(tmp_path, "old", "wrong")))
    with pytest.raises(FpmListenerError, match="requires another password or token"):
        shown(url=url, insecure=True)


def test_a_secret_that_cannot_be_read(serve: Serve, tmp_path: Path) -> None:
    """The file is named, and what to do."""
    config = serve(web_token_file=tmp_path / "none")

    with pytest.raises(FpmListenerError, match=r"/none: .* cannot be read .*such as root"):
        shown(config, insecure=True)


def test_with_a_certificate(serve: Serve, tmp_path: Path) -> None:
    """The certificate of the settings is trusted whatever name it has, and no other one."""
    authority = trustme.CA()
    one = authority.issue_cert("web-7.example")
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    one.cert_chain_pems[0].write_to_path(str(cert_file))
    one.private_key_pem.write_to_path(str(key_file))
    config = serve(web_cert_file=cert_file, web_key_file=key_file)

    assert "All 3 programs are running" in shown(config)
    web = load(str(config)).web
    other = authority.issue_cert("web-7.example").cert_chain_pems[0]
    other.write_to_path(str(tmp_path / "other.pem"))
    with pytest.raises(FpmListenerError, match="CERTIFICATE_VERIFY_FAILED"):
        status.fetch(status.url_of(web), WebSettings(cert_file=tmp_path / "other.pem"))
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(FpmListenerError, match=r"bad\.pem: cannot be read as a certificate"):
        status.fetch("https://127.0.0.1:1", WebSettings(cert_file=tmp_path / "bad.pem"))


class Owner:
    """A listener's owner: answers what comes through the control socket."""

    def __init__(self, state_dir: Path) -> None:
        self.asked: list[str] = []
        self.control = ControlSocket(StateDirectory(state_dir), self.put, print)
        self.control.start()

    def put(self, item: object) -> None:
        """As the inbox."""
        assert isinstance(item, Asked)
        self.asked.append(item.request.action)
        item.reply.put(WELL)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """Return an owner with its socket in `tmp_path`/state."""
    made = Owner(tmp_path / "state")
    yield made
    made.control.stop()


@pytest.fixture
def thief() -> Iterator[tuple[int, list[bytes]]]:
    """Return the port of somebody who is no listener, and what was sent there."""
    taken: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            taken.append(self.path.encode() + bytes(self.headers))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_port, taken
    server.shutdown()
    server.server_close()


def settings(tmp_path: Path, port: int, *lines: str) -> Path:
    path = tmp_path / "fpm_listener.conf"
    words = (f"listen = 127.0.0.1:{port}", "state_dir = state", "web_token_file = token", *lines)
    path.write_text("\n".join(["[fpm-listener]", *words]))
    secret(tmp_path, "token", "t0ken")
    return path


def test_through_the_control_socket(
    owner: Owner, thief: tuple[int, list[bytes]], tmp_path: Path
) -> None:
    """Locally no password is needed, and nobody who listens on the port is asked."""
    port, taken = thief
    config = settings(tmp_path, port)

    assert shown(config).startswith("supervisor on web-7: All 3 programs are running")
    assert json.loads(shown(config, as_json=True))["instance"] == "web-7"
    assert (owner.asked, taken) == (["status"] * 2, [])


def test_the_port_belongs_to_somebody_else(
    thief: tuple[int, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the listener is down, nobody gets its token; the message has the ways out."""
    port, taken = thief
    config = settings(tmp_path, port)
    with pytest.raises(FpmListenerError) as error:
        shown(config)
    for word in ("not sent in clear text", "--insecure", "https", "web_cert_file", "/state:"):
        assert word in str(error.value)
    monkeypatch.setenv("FPM_LISTENER_WEB_TOKEN_FILE", str(tmp_path / "token"))
    for url in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        with pytest.raises(FpmListenerError, match=r"clear text.*--insecure"):
            shown(url=url)

    assert taken == []
    status.ask_listener(
        f"http://127.0.0.1:{port}", endpoint.usual(None, str(config), {}), insecure=True
    )
    assert b"Bearer t0ken" in taken[0]


@pytest.mark.parametrize(
    "mistake",
    [
        "looop = 3 in 60s",
        "loop = never",
        "programs\n   indented",
        "log_level = loud  ; state_dir = /nowhere",
        "web_username = only a name",
    ],
)
def test_settings_with_a_mistake(
    owner: Owner, tmp_path: Path, mistake: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The listener that runs has its old settings; the mistake is shown beside what it says."""
    config = settings(tmp_path, 1, mistake)

    assert "All 3 programs are running" in shown(config)
    assert owner.asked == ["status"]
    assert "the settings have a mistake" in capsys.readouterr().err


def test_a_mistake_without_a_socket(serve: Serve, tmp_path: Path) -> None:
    """Where it serves is read all the same; a file that cannot be read is an error."""
    config = serve()
    config.write_text(config.read_text() + "\nstable_for = ever\n")

    assert "All 3 programs are running" in shown(config)
    with pytest.raises(FpmListenerError, match="cannot be read"):
        shown(tmp_path / "missing.conf")


def test_a_redirect_of_the_page(tmp_path: Path) -> None:
    """A redirection is an error: what would be sent there is a secret."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", "/there")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        web = WebSettings(token_file=secret(tmp_path, "token", "t0ken"))
        with pytest.raises(FpmListenerError, match="the answer is 302"):
            status.fetch(f"http://127.0.0.1:{server.server_port}", web)
    finally:
        server.shutdown()
        server.server_close()
    assert asked == ["/status.json"]


def test_which_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual file is used, but not for a URL: its password is for its own listener."""
    usual = tmp_path / "usual.conf"
    usual.write_text("[fpm-listener]\nlisten = 127.0.0.1:4\nweb_token_file = token\n")
    monkeypatch.setattr(endpoint, "USUAL_FILES", ("/nowhere/x.conf", str(usual)))

    assert endpoint.usual(None, None, {}).web.port == 4
    assert not endpoint.usual("http://other", None, {}).web.needs_secret
    environ = {"FPM_LISTENER_LISTEN": "[::]:5"}
    assert endpoint.usual(None, None, environ).web.port == 5
    assert status.url_of(WebSettings(host="::", port=5)) == "http://[::1]:5"
    assert status.url_of(WebSettings(host="10.0.0.1", port=5)) == "http://10.0.0.1:5"


def test_a_url_that_is_none() -> None:
    """What is asked for is not opened as a file."""
    with pytest.raises(FpmListenerError, match="is not a URL"):
        shown(url="file:///etc/passwd")


def test_on_a_terminal(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours are for terminals alone, and NO_COLOR is heeded; there it fits 80 columns."""
    config = serve()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def seen() -> str:
        out = Terminal()
        status.run(None, str(config), out, as_json=False)
        return out.getvalue()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mRUNNING" in seen()
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        assert "\x1b" not in seen()
        assert max(len(line) for line in seen().splitlines()) <= 80
        monkeypatch.delenv(name)


def test_the_trust_of_others_is_as_usual() -> None:
    """Without a certificate in the settings, names are checked."""
    assert status.trust(WebSettings()).check_hostname
    assert status.trust(WebSettings()).verify_mode is ssl.CERT_REQUIRED
