"""One POST to a real server on loopback, with all kinds of errors."""

import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import requests
import trustme

from fpm_listener import __version__
from fpm_listener.delivery.attempt import Delivered, FailureReason, Outcome, Rejected, RetryLater
from fpm_listener.delivery.receivers.deadline import Deadline, mount
from fpm_listener.delivery.receivers.http import (
    BODY_LIMIT,
    HttpReceiver,
    HttpRequest,
    HttpResponse,
    RequestContext,
    by_status,
)
from fpm_listener.delivery.receivers.webhook import compose, make, payload
from fpm_listener.settings.receivers import ReceiverSettings
from tests import receiver_server
from tests.receiver_server import ReceiverServer, status
from tests.samples import fires
from tests.waiting import wait_until, with_longer_timeouts

DELIVERED = Delivered()
LATE = RetryLater(
    reason=FailureReason.TIMEOUT,
    detail="no complete response before the deadline",
)


def settings_for(url: str | None, **others: object) -> ReceiverSettings:
    """Return a receiver's settings, with a deadline that is far above any normal response."""
    return replace(ReceiverSettings(name="ops", url=url, timeout_s=20.0), **others)  # type: ignore[arg-type]  # the tests name the fields


def tell(url: str, **others: object) -> Outcome:
    """Send an alert to a receiver, once."""
    return make(settings_for(url, **others), "", None).send([fires()])


#: A plain http:// URL is sent by plain_http; with trust_env, requests sends it.
both_ways = pytest.mark.parametrize(
    "way", [pytest.param({}, id="plain"), pytest.param({"trust_env": True}, id="requests")]
)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the tests can have one."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def a_port_without_listener() -> int:
    """Return a port of loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@both_ways
def test_what_arrives(way: dict[str, bool]) -> None:
    """One POST: the body to the letter, with the headers that name it and us."""
    with ReceiverServer() as server:
        webhook = make(settings_for(server.url, **way), "http://web1:19253/", None)
        assert webhook.send([fires()]) == DELIVERED
        (request,) = server.requests

    assert (request.method, request.path) == ("POST", "/hook/s3cret-path?token=t0ken")
    assert request.body == payload(fires(), receiver="ops", external_url="http://web1:19253/")
    headers = {name: value for name, value in request.headers.items() if "webhook-" not in name}
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"fpm-listener/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "connection": "close",
        "content-type": "application/json",
        "content-length": str(len(request.body)),
        "idempotency-key": "www:php-fpm-1",
        "x-fpm-listener-reason": "first",
    }


def raw(*pieces: bytes) -> receiver_server.Answer:
    """Answer with these bytes, and close the connection."""

    def answer(to: receiver_server.Connection) -> None:
        for piece in pieces:
            to.socket.sendall(piece)

    return answer


NOT_HTTP = RetryLater(reason=FailureReason.OTHER, detail="the response is not HTTP")


@both_ways
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (status(204), DELIVERED),
        (raw(b"HTTP/1.0 200"), DELIVERED),
        (raw(b"HTTP/1.1 200 OK\r\nX: cut"), DELIVERED),
        (raw(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"), DELIVERED),
        (raw(b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n"), DELIVERED),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx"), DELIVERED),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), DELIVERED),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: -9\r\n\r\nok"), DELIVERED),
        (raw(b"HTTP/1.1 20"), NOT_HTTP),
        (raw(b"ok"), NOT_HTTP),
        (raw(b"HTTP/1.1 two OK\r\n\r\n"), NOT_HTTP),
        (raw(b"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), NOT_HTTP),
        (status(200, body=b"x" * 1000), DELIVERED),
        (receiver_server.big_body, DELIVERED),
        (receiver_server.bad_headers, DELIVERED),
        (
            status(400, body=b"no"),
            Rejected(reason=FailureReason.CLIENT_ERROR, detail="status 400"),
        ),
        (status(410), Rejected(reason=FailureReason.CLIENT_ERROR, detail="status 410")),
        (
            status(503),
            RetryLater(reason=FailureReason.SERVER_ERROR, detail="status 503"),
        ),
        (
            status(429, {"Retry-After": "17"}),
            RetryLater(reason=FailureReason.RATE_LIMITED, detail="status 429", after_s=17.0),
        ),
        (
            status(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            RetryLater(reason=FailureReason.RATE_LIMITED, detail="status 429", after_s=0.0),
        ),
        (
            receiver_server.reset,
            RetryLater(reason=FailureReason.CONNECTION, detail="Connection reset by peer"),
        ),
        (
            receiver_server.silent_close,
            RetryLater(reason=FailureReason.CONNECTION, detail="closed without a response"),
        ),
        (receiver_server.garbage, NOT_HTTP),
    ],
)
def test_the_outcome_of_a_response(
    answer: receiver_server.Answer, outcome: Outcome, way: dict[str, bool]
) -> None:
    """Each failure has its reason and a text without a URL."""
    with ReceiverServer(answer) as server:
        assert tell(server.url, **way) == outcome


@both_ways
@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X: " + b"x" * (1 << 17), id="long"),
        pytest.param(b"X: x\r\n" * (1 << 15), id="many"),
    ],
)
def test_a_head_without_end(line: bytes, way: dict[str, bool]) -> None:
    """It is a failure before it fills the memory."""
    with ReceiverServer(raw(b"HTTP/1.1 200 OK\r\n", line)) as server:
        outcome = tell(server.url, **way)

    assert isinstance(outcome, RetryLater)
    assert outcome.reason in {FailureReason.OTHER, FailureReason.CONNECTION}


@both_ways
def test_a_response_before_the_whole_request(way: dict[str, bool]) -> None:
    """A server that refuses a long body says why, and reads no more of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")

        server = threading.Thread(target=refuse)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        outcome = HttpReceiver(
            settings_for(url, **way), "", None, compose=_large, classify=by_status
        ).send([fires()])
        server.join()

    # The reset of the connection can remove the response.
    assert isinstance(outcome, Rejected | RetryLater)
    assert outcome.reason in {FailureReason.CLIENT_ERROR, FailureReason.CONNECTION}


def _large(context: RequestContext) -> HttpRequest:
    return HttpRequest(url=context.secrets.url(), body=b"x" * (16 << 20), headers={})


@both_ways
@pytest.mark.parametrize(
    "answer", [receiver_server.hang, receiver_server.drip_status, receiver_server.drip_headers]
)
def test_a_slow_response(answer: receiver_server.Answer, way: dict[str, bool]) -> None:
    """The deadline holds for the whole attempt, though a byte arrives from time to time."""
    with ReceiverServer(answer) as server:
        assert tell(server.url, timeout_s=0.3, **way) == LATE


@both_ways
def test_a_success_with_an_endless_body(way: dict[str, bool]) -> None:
    """The status decides; the body is cut at the deadline."""
    with ReceiverServer() as server:
        server.otherwise = receiver_server.drip_body
        outcome = with_longer_timeouts(
            lambda timeout_s: tell(server.url, timeout_s=timeout_s, **way), DELIVERED
        )

    assert outcome == DELIVERED


@both_ways
def test_only_the_beginning_of_a_body_is_read(way: dict[str, bool]) -> None:
    """64 KiB of the 10 MiB."""
    with ReceiverServer(receiver_server.big_body) as server:
        seen: list[HttpResponse] = []

        def classify(response: HttpResponse, _: float) -> Outcome:
            seen.append(response)
            return DELIVERED

        receiver = HttpReceiver(
            settings_for(server.url, **way), "", None, compose=compose, classify=classify
        )
        receiver.send([fires()])

    assert [answer.body for answer in seen] == [b"x" * BODY_LIMIT]


@both_ways
def test_a_redirect_is_not_followed(way: dict[str, bool]) -> None:
    """The other server gets no request; the POST would arrive there as a GET."""
    with (
        ReceiverServer() as elsewhere,
        ReceiverServer(receiver_server.redirect(elsewhere.url)) as server,
    ):
        outcome = tell(server.url, **way)

    assert outcome == Rejected(reason=FailureReason.REDIRECT, detail="status 302")
    assert elsewhere.connections == 0


@both_ways
def test_a_port_without_listener(way: dict[str, bool]) -> None:
    """It has its own reason."""
    assert tell(f"http://127.0.0.1:{a_port_without_listener()}/", **way) == RetryLater(
        reason=FailureReason.REFUSED,
        detail="Connection refused",
    )


@both_ways
def test_an_unknown_host(way: dict[str, bool]) -> None:
    """The top-level domain .invalid is never resolved (RFC 6761); the name is not shown."""
    outcome = tell("http://s3cret.invalid/", **way)

    assert isinstance(outcome, RetryLater)
    assert outcome.reason is FailureReason.DNS
    assert "s3cret" not in outcome.detail


@both_ways
def test_a_connection_that_is_never_made(way: dict[str, bool]) -> None:
    """A listening queue that is full drops our SYN, as a firewall does: the deadline holds."""
    with socket.socket() as full, socket.socket() as one, socket.socket() as other:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for filler in (one, other):
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())

        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        assert tell(url, timeout_s=0.3, **way) == LATE


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:99999/s3cret", "http://s3cret..b/", f"http://{'s3cret' * 20}.invalid/"],
)
def test_a_url_that_cannot_be_used(url: str) -> None:
    """It is a failure, and is not shown."""
    outcome = tell(url)

    assert isinstance(outcome, RetryLater)
    assert outcome.reason is FailureReason.OTHER
    assert "s3cret" not in repr(outcome)


# -- the environment, and what it must not do ------------------------------------------------------


def test_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proxies, certificates and passwords come from the settings only."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{a_port_without_listener()}")
    with ReceiverServer() as server:
        assert tell(server.url) == DELIVERED
        assert "authorization" not in server.requests[0].headers


def test_a_proxy_of_the_settings() -> None:
    """The proxy gets the whole URL; without the proxy the receiver fails."""
    with ReceiverServer() as proxy:
        assert tell("http://127.0.0.1:1/x", proxy=proxy.url) == DELIVERED
        assert proxy.requests[0].path == "http://127.0.0.1:1/x"
    dead = f"http://127.0.0.1:{a_port_without_listener()}"
    outcome = tell("https://127.0.0.1:1/x", proxy=dead)

    assert outcome == RetryLater(reason=FailureReason.REFUSED, detail="Connection refused")


def test_the_proxy_of_the_environment_with_trust_env(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not if no_proxy names the receiver; a proxy of the settings wins."""
    with ReceiverServer() as proxy, ReceiverServer() as other:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert tell("http://far.invalid:1/x", trust_env=True) == DELIVERED
        assert tell("http://far.invalid:1/x", trust_env=True, proxy=other.url) == DELIVERED
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert tell(other.url, trust_env=True) == DELIVERED

        assert [request.path for request in proxy.requests] == ["http://far.invalid:1/x"]
        assert len(other.requests) == 2


def test_a_proxy_that_refuses() -> None:
    """A refused CONNECT is not a response of the receiver."""
    with ReceiverServer(status(407)) as proxy:
        outcome = tell("https://127.0.0.1:1/x", proxy=proxy.url)

    assert outcome == RetryLater(
        reason=FailureReason.CONNECTION,
        detail="the proxy refused the connection",
    )


# -- secrets ---------------------------------------------------------------------------------------


def test_a_file_with_the_url_is_read_each_time(tmp_path: Path) -> None:
    """The operator can replace it; while it is missing or invalid the alert waits."""
    file = tmp_path / "ops.url"
    with ReceiverServer() as server:
        webhook = make(settings_for(None, url_file=file), "", None)
        missing = webhook.send([fires()])
        file.write_text("ftp://s3cret\n")
        wrong = webhook.send([fires()])
        file.write_text("")
        empty = webhook.send([fires()])
        file.write_text(f"  {server.url}\n\n")
        assert webhook.send([fires()]) == DELIVERED

    details = [one.detail for one in (missing, wrong, empty) if isinstance(one, RetryLater)]
    assert details == [
        f"url_file {file}: No such file or directory",
        f"url_file {file}: the URL must begin with http:// or https://",
        f"url_file {file}: is empty",
    ]


@both_ways
def test_a_bearer_token_from_a_file(tmp_path: Path, way: dict[str, bool]) -> None:
    """It is read each time, without its newline; an invalid value is refused and not shown."""
    file = tmp_path / "token"
    with ReceiverServer() as server:
        webhook = make(settings_for(server.url, token_file=file, **way), "", None)
        for token in ("first\n", "sécond"):
            file.write_text(token, encoding="utf-8")
            assert webhook.send([fires()]) == DELIVERED
        file.write_text("s3cret\nHost: elsewhere")
        outcome = webhook.send([fires()])
        sent = [request.headers["authorization"] for request in server.requests]

    assert sent == ["Bearer first", "Bearer s\u00c3\u00a9cond"]
    assert outcome == RetryLater(
        reason=FailureReason.OTHER,
        detail=f"token_file {file}: must have one line",
    )


def test_a_password_in_the_url() -> None:
    """As requests sends it; a password of the settings is not used then."""
    with ReceiverServer() as server:
        url = server.url.replace("http://", "http://me:p%40ss@")
        assert tell(url) == DELIVERED
        assert server.requests[0].headers["authorization"] == "Basic bWU6cEBzcw=="


def test_a_password_from_a_file(tmp_path: Path) -> None:
    """Basic authentication, in UTF-8."""
    file = tmp_path / "password"
    file.write_text("pässword\n", encoding="utf-8")
    with ReceiverServer() as server:
        assert tell(server.url, username="me", password_file=file) == DELIVERED
        assert server.requests[0].headers["authorization"] == "Basic bWU6cMOkc3N3b3Jk"


def test_a_warning_about_a_readable_secret(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once, with receiver and setting, without the path; a mode of 0640 is fine."""
    file = tmp_path / "token"
    file.write_text("s3cret")
    with ReceiverServer() as server:
        webhook = make(settings_for(server.url, token_file=file), "", None)
        file.chmod(0o640)
        webhook.send([fires()])
        assert caplog.messages == []
        file.chmod(0o644)
        webhook.send([fires()])
        webhook.send([fires()])

    said = "every user of this host can read a file with a secret"
    assert caplog.messages == [f"{said} receiver=ops setting=token_file"]


@pytest.mark.parametrize(
    ("host", "warns"),
    [("127.0.0.1", False), ("127.9.9.9", False), ("localhost", False), ("far.invalid", True)],
)
def test_a_warning_about_plain_http(
    host: str,
    caplog: pytest.LogCaptureFixture,
    *,
    warns: bool,
) -> None:
    """Once: others on the network can read the alert and the URL."""
    proxy = f"http://127.0.0.1:{a_port_without_listener()}"  # so that no name is looked up
    webhook = make(settings_for(f"http://{host}/", proxy=proxy), "", None)
    webhook.send([fires()])
    webhook.send([fires()])

    said = "alerts leave this host without encryption receiver=ops setting=url"
    assert caplog.messages == [said] * warns


FAULTS = [
    *(
        receiver_server.reset,
        receiver_server.garbage,
        receiver_server.silent_close,
        receiver_server.bad_headers,
        receiver_server.hang,
    ),
    *(receiver_server.redirect("http://s3cret.invalid/"), status(500), status(404, body=b"s3cret")),
]


@both_ways
@pytest.mark.parametrize("fault", FAULTS)
def test_no_secret_is_logged_after_any_error(
    fault: receiver_server.Answer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    way: dict[str, bool],
) -> None:
    """Not at DEBUG, where urllib3 logs URLs, not in the outcome, not in a repr."""
    caplog.set_level(logging.DEBUG)
    token = tmp_path / "s3cret-token-file"
    token.write_text("b3arer")
    with ReceiverServer(fault) as server:
        made = settings_for(server.url, token_file=token, timeout_s=0.3, **way)
        webhook = make(made, "", None)
        outcome = webhook.send([fires()])
        shown = f"{caplog.text} {outcome!r} {settings_for(server.url)!r}"

    assert not re.search(
        rf"s3cret|t0ken=|b3arer|{server.port}", shown.replace("token=t0ken", "s3cret")
    )


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a certificate authority."""
    return trustme.CA()


def server_side(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """Return a server's context with a certificate for `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def in_file(folder: Path, authority: trustme.CA) -> Path:
    """Return a file with the authority's certificate."""
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def test_a_certificate_of_our_own_authority(authority: trustme.CA, tmp_path: Path) -> None:
    """`ca_file` names who is trusted, by address and by name."""
    ca_file = in_file(tmp_path, authority)
    tls = server_side(authority, "127.0.0.1", "localhost")
    with ReceiverServer(tls=tls) as server, ReceiverServer(tls=tls, host="localhost") as named:
        assert tell(server.url, ca_file=ca_file) == DELIVERED
        assert tell(named.url, ca_file=ca_file) == DELIVERED


def test_an_untrusted_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    """Neither another authority's nor, without ca_file, an unknown one's is trusted."""
    with ReceiverServer(tls=server_side(trustme.CA(), "127.0.0.1")) as server:
        other = tell(server.url, ca_file=in_file(tmp_path, authority))
        unknown = tell(server.url)
        assert server.requests == []

    for outcome in (other, unknown):
        assert isinstance(outcome, RetryLater)
        assert outcome.reason is FailureReason.TLS
        assert "certificate" in outcome.detail


def test_a_certificate_for_another_name(authority: trustme.CA, tmp_path: Path) -> None:
    """The name in the URL counts, and is not shown."""
    with ReceiverServer(tls=server_side(authority, "elsewhere.example")) as server:
        outcome = tell(server.url, ca_file=in_file(tmp_path, authority))
        assert server.requests == []

    assert isinstance(outcome, RetryLater)
    assert outcome.reason is FailureReason.TLS
    assert not re.search(r"127\.0|elsewhere", outcome.detail)


def test_a_certificate_of_our_own(authority: trustme.CA, tmp_path: Path) -> None:
    """With cert_file and key_file the receiver accepts the client; without them it refuses."""
    ca_file = in_file(tmp_path, authority)
    cert_file, key_file = tmp_path / "cert.pem", tmp_path / "key.pem"
    ours = authority.issue_cert("web1.example")
    ours.cert_chain_pems[0].write_to_path(str(cert_file))
    ours.private_key_pem.write_to_path(str(key_file))
    key_file.chmod(0o600)
    tls = server_side(authority, "127.0.0.1")
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    with ReceiverServer(tls=tls) as server:
        known = tell(server.url, ca_file=ca_file, cert_file=cert_file, key_file=key_file)
        unknown = tell(server.url, ca_file=ca_file)
        assert len(server.requests) == 1

    assert known == DELIVERED
    assert isinstance(unknown, RetryLater)
    # The refusal comes after our handshake is done (TLS 1.3), so it may be seen as a reset only.
    assert unknown.reason in {FailureReason.TLS, FailureReason.CONNECTION}


@pytest.mark.parametrize("setting", ["ca_file", "cert_file", "key_file"])
def test_files_that_cannot_be_used(setting: str, authority: trustme.CA, tmp_path: Path) -> None:
    """Missing or invalid: the failure names the setting, without the path."""
    files = {"ca_file": in_file(tmp_path, authority)}
    files |= {name: tmp_path / name for name in ("cert_file", "key_file")}
    ours = authority.issue_cert("web1.example")
    ours.cert_chain_pems[0].write_to_path(str(files["cert_file"]))
    ours.private_key_pem.write_to_path(str(files["key_file"]))
    files["key_file"].chmod(0o600)
    with ReceiverServer(tls=server_side(authority, "127.0.0.1")) as server:
        files[setting].write_text("nonsense")
        nonsense = tell(server.url, **files)
        files[setting].unlink()
        missing = tell(server.url, **files)

    assert missing == RetryLater(
        reason=FailureReason.TLS,
        detail=f"{setting} {files[setting]}: {os.strerror(2)}",
    )
    assert isinstance(nonsense, RetryLater)
    assert nonsense.reason is FailureReason.TLS
    assert str(tmp_path) not in nonsense.detail


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_an_old_tls_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    """At least 1.2, with any configuration of OpenSSL."""
    tls = server_side(authority, "127.0.0.1")
    tls.set_ciphers("ALL:@SECLEVEL=0")
    tls.minimum_version, tls.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with ReceiverServer(tls=tls) as server:
        outcome = tell(server.url, ca_file=in_file(tmp_path, authority))

    assert isinstance(outcome, RetryLater)
    assert outcome.reason is FailureReason.TLS
    session, watch = requests.Session(), Deadline(1.0)
    mount(session, watch)
    pool = session.get_adapter("https://x").poolmanager.connection_pool_kw  # type: ignore[attr-defined]  # requests' own adapter has it
    assert pool["ssl_context"].minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_handshake_that_never_ends(tmp_path: Path, authority: trustme.CA) -> None:
    """The deadline holds before TLS is established too."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        assert tell(url, ca_file=in_file(tmp_path, authority), timeout_s=0.3) == LATE


@pytest.mark.parametrize("answer", [receiver_server.drip_headers, receiver_server.drip_body])
def test_the_deadline_holds_under_tls(
    answer: receiver_server.Answer,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    """Slow headers are a timeout; a slow body is cut."""
    expected = LATE if answer is receiver_server.drip_headers else DELIVERED
    ca_file = in_file(tmp_path, authority)
    with ReceiverServer(tls=server_side(authority, "127.0.0.1")) as server:
        server.otherwise = answer
        outcome = with_longer_timeouts(
            lambda timeout_s: tell(server.url, ca_file=ca_file, timeout_s=timeout_s), expected
        )

    assert outcome == expected


def test_no_connection_is_kept() -> None:
    """Descriptors are closed after each attempt, also after one that was cut."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path is not needed
    with ReceiverServer(receiver_server.drip_headers, receiver_server.reset) as server:
        for _ in range(20):
            tell(server.url, timeout_s=0.3)
        wait_until(lambda: server.connections == 20, "all connections")
    wait_until(
        lambda: len(os.listdir("/proc/self/fd")) <= before,  # noqa: PTH208 - the same
        "descriptors to be closed",
    )


def test_urllib3_is_loaded_after_http_client() -> None:
    """urllib3 1.26 loads http.client inside its finder, while it holds the lock of all imports.

    A thread that loads http.client at that moment would wait for this lock without end: seen with
    requests 2.28 and urllib3 1.26 (Debian 12), an e-mail receiver and a webhook.
    """
    program = (
        "import sys\n"
        "class Finder:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'urllib3':\n"
        "            print('http.client' in sys.modules)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from fpm_listener.delivery.receivers.webhook import make\n"
        "from fpm_listener.settings.receivers import ReceiverSettings\n"
        "from tests.samples import fires\n"
        "print('http.client' in sys.modules)\n"
        f"url = 'https://127.0.0.1:{a_port_without_listener()}'\n"
        "make(ReceiverSettings(name='ops', url=url), '', None).send([fires()])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["False", "True"]
