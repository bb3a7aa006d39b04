"""Mail, to a real SMTP server on loopback."""

from __future__ import annotations

import contextlib
import email
import socket
import ssl
import threading
import time
from dataclasses import replace
from email.policy import default
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope

from fpm_listener.delivery.attempt import Delivered, FailureReason, Outcome, Rejected, RetryLater
from fpm_listener.delivery.sender import make_receiver
from fpm_listener.settings.receivers import ReceiverSettings
from tests import receiver_server
from tests.ports import free_port
from tests.receiver_samples import firing_alert, hostile_alert, many_alerts, resolved_alert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fpm_listener.incidents.alert import Alert

    Serve = Callable[..., tuple[str, int]]

DELIVERED = Delivered()


class Box:
    """Accepts mails, and replies as the test says."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answer = "250 OK"
        self.recipient = "250 OK"
        self.answers: dict[str, list[str]] = {}  #: for recipients, one after the other

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self,
        _server: object,
        _session: object,
        envelope: Envelope,
        address: str,
        _options: object,
    ) -> str:
        """Take a recipient or not."""
        if self.answers.get(address):
            return self.answers[address].pop(0)
        if self.recipient.startswith("2"):
            envelope.rcpt_tos.append(address)
        return self.recipient

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802 - as above
        """Take a mail or not."""
        if self.answer.startswith("2"):
            self.mails.append(envelope)
        return self.answer

    def read(self, index: int = -1) -> Any:  # noqa: ANN401 - email.message
        """Return a mail, parsed."""
        return email.message_from_bytes(self.mails[index].content, policy=default)


@pytest.fixture
def box() -> Box:
    """Return a box for mails."""
    return Box()


@pytest.fixture
def serve(box: Box) -> Iterator[Callable[..., tuple[str, int]]]:
    """Return a function that starts a server for the box and returns its address."""
    started: list[Controller] = []

    def starter(**others: Any) -> tuple[str, int]:  # noqa: ANN401 - aiosmtpd's
        words = {"ready_timeout": receiver_server.PATIENCE_S, **others}
        controller = Controller(box, hostname="127.0.0.1", port=0, **words)
        controller.port = free_port()
        controller.start()
        started.append(controller)
        return "127.0.0.1", controller.port

    yield starter
    for controller in started:
        controller.stop()


def settings(at: tuple[str, int], **others: Any) -> ReceiverSettings:  # noqa: ANN401 - its fields
    """Return settings of a receiver there."""
    made = ReceiverSettings(
        name="mail",
        kind="email",
        smarthost=at,
        sender="fpm@web1.example",
        to=("ops@example.com", "night@example.com"),
        tls="none",
        timeout_s=20.0,
    )
    return replace(made, **others)


def send(
    at: tuple[str, int],
    alerts: Sequence[Alert] = (),
    **others: Any,  # noqa: ANN401 - its fields
) -> Outcome:
    """Send a mail, once."""
    return make_receiver(settings(at, **others)).send(alerts or [firing_alert()])


def test_what_arrives(box: Box, serve: Serve) -> None:
    """Subject, recipients, and the whole text, in plain text."""
    assert send(serve()) == DELIVERED
    mail = box.read()

    assert box.mails[0].rcpt_tos == ["ops@example.com", "night@example.com"]
    assert mail["From"] == "fpm@web1.example"
    assert mail["Subject"].startswith(
        "\N{LARGE RED CIRCLE} Firing, critical: www:php-fpm: 127.0.0.1"
    )
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Fpm-Listener-Alert"] == firing_alert().alert_id
    text = mail.get_content()
    for part in ("kill -QUIT 812 813", "FPM initialization failed", "Host: web1", "bind_conflict"):
        assert part in text


def test_line_breaks_in_names(box: Box, serve: Serve) -> None:
    """A line break in a name does not end a header."""
    alert = hostile_alert()
    evil = {"summary": "x\r\nBcc: evil@example.com\r\n\r\nbody"}
    assert send(serve(), [replace(alert, annotations={**alert.annotations, **evil})]) == DELIVERED
    mail = box.read()

    assert mail["Bcc"] is None
    assert "\n" not in mail["Subject"]


def test_several_in_one_mail(box: Box, serve: Serve) -> None:
    """All are named; in Chinese too."""
    assert send(serve(), [*many_alerts(200), resolved_alert()], language="zh") == DELIVERED
    text = box.read().get_content()

    assert all(f"pool:php-fpm-{index}:" in text for index in range(200))


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (
            "451 try again",
            RetryLater(reason=FailureReason.SERVER_ERROR, detail="SMTP 451: try again"),
        ),
        ("554 spam", Rejected(reason=FailureReason.CLIENT_ERROR, detail="SMTP 554: spam")),
    ],
)
def test_a_server_that_refuses(box: Box, serve: Serve, answer: str, outcome: Outcome) -> None:
    """4yz is temporary, 5yz is permanent, for the mail or its recipients."""
    box.answer = answer
    assert send(serve()) == outcome
    box.answer, box.recipient = "250 OK", answer
    refused = send(serve())

    assert type(refused) is type(outcome)
    assert "2 recipients" in getattr(refused, "detail", "")


def test_a_retry_has_the_same_message_id(box: Box, serve: Serve) -> None:
    """The Message-ID depends on the alerts only."""
    at = serve()
    for alert in (firing_alert(), firing_alert(), resolved_alert()):
        send(at, [alert])
    first, again, other = (box.read(index)["Message-ID"] for index in range(3))

    assert first == again != other


def test_one_thread_for_one_incident(box: Box, serve: Serve) -> None:
    """Later mails refer to the first alert's; a mail about several incidents refers to each."""
    at = serve()
    other = "job:job-1795000000.000"
    for alerts in (
        [firing_alert()],
        [firing_alert(2)],
        [resolved_alert(3)],
        [firing_alert(1, other), resolved_alert(4)],
    ):
        send(at, alerts)
    first, update, resolved, several = (box.read(index) for index in range(4))

    assert first["In-Reply-To"] is first["References"] is None
    for mail in (update, resolved):
        assert mail["In-Reply-To"] == mail["References"] == first["Message-ID"]
        assert mail["Message-ID"] != first["Message-ID"]
    assert several["In-Reply-To"] is None
    assert str(several["References"]).split()[1] == first["Message-ID"]


def test_only_temporary_refusals_are_retried(box: Box, serve: Serve) -> None:
    """One recipient is refused, one is retried, one accepts: no mail is lost or sent twice."""
    box.answers = {
        "dead@example.com": ["550 no such user"],
        "grey@example.com": ["450 later"],
    }
    to = ("dead@example.com", "grey@example.com", "fine@example.com")
    receiver = make_receiver(settings(serve(), to=to))
    first, second = receiver.send([firing_alert()]), receiver.send([firing_alert()])

    assert isinstance(first, RetryLater)
    assert second == DELIVERED
    assert [mail.rcpt_tos for mail in box.mails] == [["fine@example.com"], ["grey@example.com"]]


def test_an_error_after_the_mail(box: Box, serve: Serve) -> None:
    """The mail is delivered."""

    async def quit_badly(*_: object) -> str:
        return "421 go away"

    box.handle_QUIT = quit_badly  # type: ignore[attr-defined]  # aiosmtpd looks for it by its name
    assert send(serve()) == DELIVERED
    assert len(box.mails) == 1


def certified(*names: str) -> tuple[ssl.SSLContext, trustme.CA]:
    """Return a server's context, and who vouches for it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context, authority


@pytest.mark.parametrize("tls", ["starttls", "tls"])
def test_encrypted(box: Box, serve: Serve, tls: str, tmp_path: Path) -> None:
    """Only with a certificate for the server's name."""
    context, authority = certified("127.0.0.1")
    other, _ = certified("127.0.0.1")
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    key = "ssl_context" if tls == "tls" else "tls_context"

    assert send(serve(**{key: context}), tls=tls, ca_file=ca_file) == DELIVERED
    outcome = send(serve(**{key: other}), tls=tls, ca_file=ca_file)
    assert isinstance(outcome, RetryLater)
    assert outcome.reason is FailureReason.TLS
    assert len(box.mails) == 1


def test_a_server_without_starttls(box: Box, serve: Serve) -> None:
    """Nothing is sent in plain text instead."""
    outcome = send(serve(), tls="starttls")

    assert isinstance(outcome, Rejected)
    assert "STARTTLS" in outcome.detail
    assert box.mails == []


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_password(
    box: Box, serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From a file, which is read again each time; the error does not show it."""
    password = tmp_path / "password"
    password.write_text("s3cretword\n")
    password.chmod(0o600)

    def check(*parts: Any) -> AuthResult:  # noqa: ANN401 - aiosmtpd's
        data = parts[-1]
        good = (data.login, data.password) == (b"fpm", b"s3cretword")
        return AuthResult(success=good, handled=False)

    at = serve(authenticator=check, auth_require_tls=False, auth_required=True)
    assert send(at, username="fpm", password_file=password) == DELIVERED
    password.write_text("wr0ngword")
    outcome = send(at, username="fpm", password_file=password)
    password.unlink()
    missing = send(at, username="fpm", password_file=password)

    assert isinstance(outcome, Rejected)
    assert "535" in outcome.detail
    assert missing == RetryLater(
        reason=FailureReason.OTHER,
        detail=f"password_file {password}: No such file or directory",
    )
    for secret in ("s3cretword", "wr0ngword"):
        assert secret not in f"{caplog.text}{outcome!r}"
    assert len(box.mails) == 1


@pytest.fixture
def slow() -> Iterator[int]:
    """Return the port of a server whose greeting comes byte by byte and never ends."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while not closing.wait(0.02):
                    connection.sendall(b"2")

        thread = threading.Thread(target=greet)
        thread.start()
        yield server.getsockname()[1]
        closing.set()
        thread.join(receiver_server.PATIENCE_S)


def test_a_server_that_drips(slow: int) -> None:
    """The deadline holds, though a byte arrives from time to time."""
    began = time.monotonic()
    outcome = send(("127.0.0.1", slow), timeout_s=0.3)

    assert isinstance(outcome, RetryLater)
    assert outcome.reason is FailureReason.TIMEOUT
    assert time.monotonic() - began < receiver_server.PATIENCE_S


def test_a_server_that_hangs() -> None:
    """It accepts the connection and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        outcome = send(server.getsockname(), timeout_s=0.3)

    assert isinstance(outcome, RetryLater)
    assert outcome.reason is FailureReason.TIMEOUT


def test_no_server() -> None:
    """A port without a server."""
    outcome = send(("127.0.0.1", free_port()))

    assert outcome == RetryLater(reason=FailureReason.REFUSED, detail="Connection refused")
