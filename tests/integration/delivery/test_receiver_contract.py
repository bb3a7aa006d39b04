"""The contract of every kind of receiver, against a server with all known responses."""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import trustme

from fpm_listener.delivery.attempt import Delivered, FailureReason, Outcome, Rejected, RetryLater
from fpm_listener.delivery.sender import make_receiver
from tests import receiver_server
from tests.receiver_samples import (
    HTTP_KINDS,
    SAYS_YES,
    SECRETS,
    YES,
    firing_alert,
    hostile_alert,
    resolved_alert,
    settings,
)
from tests.receiver_server import Answer, ReceiverServer, status
from tests.waiting import with_longer_timeouts

if TYPE_CHECKING:
    from pathlib import Path

R = FailureReason
YES_TOO_LONG_S = 15.0


def tell(kind: str, url: str, folder: Path, **others: Any) -> Outcome:  # noqa: ANN401 - its fields
    """Send an alert to a receiver of that kind, once."""
    return make_receiver(settings(kind, url, folder, **others)).send([firing_alert()])


def short(outcome: Outcome) -> tuple[str, str]:
    """Return the kind of outcome and the reason, which is also the label of its metric."""
    return type(outcome).__name__, "" if isinstance(outcome, Delivered) else outcome.reason.value


DELIVERED = ("Delivered", "")


def later(reason: FailureReason) -> tuple[str, str]:
    """It is tried again."""
    return "RetryLater", reason.value


def never(reason: FailureReason) -> tuple[str, str]:
    """It is rejected."""
    return "Rejected", reason.value


#: Answer, and what it means for every kind.
SAME_FOR_ALL = [
    ("302", receiver_server.redirect("http://elsewhere.invalid/"), never(R.REDIRECT)),
    ("400", status(400, body=b"invalid_payload"), never(R.CLIENT_ERROR)),
    ("401", status(401), never(R.CLIENT_ERROR)),
    ("404", status(404), never(R.CLIENT_ERROR)),
    ("408", status(408), later(R.TIMEOUT)),
    ("410", status(410), never(R.CLIENT_ERROR)),
    ("425", status(425), later(R.CLIENT_ERROR)),
    ("429", status(429), later(R.RATE_LIMITED)),
    ("500", status(500), later(R.SERVER_ERROR)),
    ("503", status(503, {"Retry-After": "3"}), later(R.SERVER_ERROR)),
    ("reset", receiver_server.reset, later(R.CONNECTION)),
    ("closed", receiver_server.silent_close, later(R.CONNECTION)),
    ("garbage", receiver_server.garbage, later(R.OTHER)),
]


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    ("answer", "meaning"),
    [pytest.param(answer, meaning, id=name) for name, answer, meaning in SAME_FOR_ALL],
)
def test_the_outcome_of_responses(
    kind: str,
    answer: Answer,
    meaning: tuple[str, str],
    tmp_path: Path,
) -> None:
    """Temporary failures are retried, permanent ones are rejected."""
    with ReceiverServer(answer) as server:
        assert short(tell(kind, server.url, tmp_path)) == meaning


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_the_success_of_each_kind(kind: str, tmp_path: Path) -> None:
    """200 with the body of the service; firing and resolved."""
    with ReceiverServer() as server:
        server.otherwise = status(200, body=YES[kind])
        receiver = make_receiver(settings(kind, server.url, tmp_path))
        assert short(receiver.send([firing_alert()])) == DELIVERED
        assert short(receiver.send([resolved_alert()])) == DELIVERED


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    "answer",
    [status(204), status(200), status(200, body=b"<html>login</html>"), receiver_server.big_body],
)
def test_a_status_is_not_always_a_success(kind: str, answer: Answer, tmp_path: Path) -> None:
    """If the service reports success in the body, the body decides."""
    with ReceiverServer(answer) as server:
        outcome = tell(kind, server.url, tmp_path)

    assert short(outcome) == (later(R.ANSWER) if kind in SAYS_YES else DELIVERED)


NOES: list[tuple[str, bytes, tuple[str, str]]] = [
    ("slack", b"no_service", later(R.ANSWER)),
    ("telegram", b'{"ok":false,"error_code":400,"description":"x"}', never(R.ANSWER)),
    ("teams", b"Webhook message delivery failed with error: HTTP 429", later(R.RATE_LIMITED)),
    ("teams", b"Webhook message delivery failed with error: x", later(R.ANSWER)),
    ("dingtalk", b'{"errcode":310000,"errmsg":"sign not match"}', never(R.ANSWER)),
    ("dingtalk", b'{"errcode":130101,"errmsg":"send too fast"}', later(R.RATE_LIMITED)),
    ("dingtalk", b'{"errcode":-1,"errmsg":"busy"}', later(R.ANSWER)),
    ("dingtalk", b'{"errcode":"0"}', later(R.ANSWER)),
    ("dingtalk", b'{"errcode":false}', later(R.ANSWER)),
    ("wecom", b'{"errcode":93000,"errmsg":"invalid webhook url"}', never(R.ANSWER)),
    ("wecom", b'{"errcode":45009,"errmsg":"api freq out of limit"}', later(R.RATE_LIMITED)),
    ("feishu", b'{"code":19021,"msg":"sign match fail"}', never(R.ANSWER)),
    ("feishu", b'{"code":19024,"msg":"Key Words Not Found"}', never(R.ANSWER)),
    ("feishu", b'{"code":11232,"msg":"frequency limited"}', later(R.RATE_LIMITED)),
    ("feishu", b'{"StatusCode":0,"StatusMessage":"success"}', DELIVERED),
    ("feishu", b'{"StatusCode":1,"StatusMessage":"x"}', later(R.ANSWER)),
    ("feishu", b'{"code":0.0}', later(R.ANSWER)),
]


@pytest.mark.parametrize(("kind", "body", "meaning"), NOES)
def test_200_with_a_body(
    kind: str,
    body: bytes,
    meaning: tuple[str, str],
    tmp_path: Path,
) -> None:
    """The body decides."""
    with ReceiverServer(status(200, body=body)) as server:
        assert short(tell(kind, server.url, tmp_path)) == meaning


@pytest.mark.parametrize(("kind", "body"), [(kind, body) for kind, body, _ in NOES[:1]])
def test_the_message_of_the_service_is_shown(kind: str, body: bytes, tmp_path: Path) -> None:
    """In the log, and for `alerts test`."""
    with ReceiverServer(status(200, body=body)) as server:
        outcome = tell(kind, server.url, tmp_path)

    assert not isinstance(outcome, Delivered)
    assert body.decode() in outcome.detail


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after(kind: str, form: str, tmp_path: Path) -> None:
    """In both forms; there is no attempt before."""
    header = "17" if form == "seconds" else formatdate(time.time() + 17, usegmt=True)
    with ReceiverServer(status(429, {"Retry-After": header})) as server:
        outcome = tell(kind, server.url, tmp_path)

    assert isinstance(outcome, RetryLater)
    assert outcome.after_s is not None
    assert 0 < outcome.after_s <= 18


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("discord", b'{"message":"You are being rate limited.","retry_after":2.5,"global":false}'),
        ("telegram", b'{"ok":false,"error_code":429,"parameters":{"retry_after":3}}'),
    ],
)
def test_retry_after_in_the_body(kind: str, body: bytes, tmp_path: Path) -> None:
    """As Discord and Telegram send it."""
    with ReceiverServer(status(429, body=body)) as server:
        outcome = tell(kind, server.url, tmp_path)

    assert isinstance(outcome, RetryLater)
    assert outcome.after_s in {2.5, 3.0}


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    "answer", [receiver_server.hang, receiver_server.drip_headers, receiver_server.drip_body]
)
def test_the_deadline_holds(kind: str, answer: Answer, tmp_path: Path) -> None:
    """Over the whole attempt; a status of success counts also without the body."""
    expected = later(R.TIMEOUT)
    if answer is receiver_server.drip_body:
        expected = later(R.ANSWER) if kind in SAYS_YES else DELIVERED

    def attempt(timeout_s: float) -> object:
        began_s = time.monotonic()
        outcome = tell(kind, server.url, tmp_path, timeout_s=timeout_s)
        assert time.monotonic() - began_s < timeout_s + YES_TOO_LONG_S
        return short(outcome)

    with ReceiverServer() as server:
        server.otherwise = answer
        assert with_longer_timeouts(attempt, expected) == expected


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_no_server(kind: str, tmp_path: Path) -> None:
    """A port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    refused = tell(kind, f"http://127.0.0.1:{port}/x", tmp_path)

    assert short(refused) == later(R.REFUSED)


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_an_unknown_host(
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error of the resolver."""

    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert short(tell(kind, "https://nobody.invalid/x", tmp_path)) == later(R.DNS)


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_an_untrusted_certificate(kind: str, tmp_path: Path) -> None:
    """No request is sent."""
    import ssl  # noqa: PLC0415 - only here

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with ReceiverServer(tls=context) as server:
        assert short(tell(kind, server.url, tmp_path)) == later(R.TLS)
        assert server.requests == []


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_a_missing_file_is_retried(kind: str, tmp_path: Path) -> None:
    """The operator may fix it; the error names it."""
    made = settings(kind, "http://127.0.0.1:9/x", tmp_path)
    for name in ("token_file", "secret_file", "routing_key_file"):
        path = getattr(made, name)
        if path is not None:
            path.unlink()
            outcome = make_receiver(made).send([firing_alert()])
            assert isinstance(outcome, RetryLater)
            assert outcome.detail == f"{name} {path}: No such file or directory"


@pytest.mark.parametrize("kind", HTTP_KINDS)
@pytest.mark.parametrize(
    "answer",
    [
        "echo",
        status(500, body=b"s3cret"),
        receiver_server.reset,
        receiver_server.hang,
        receiver_server.redirect("http://s3cret/"),
    ],
)
def test_no_secret_is_shown(
    kind: str,
    answer: Answer | str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not in a log at DEBUG, not in an outcome, not in a repr, though the service echoes them."""
    caplog.set_level(logging.DEBUG)
    with ReceiverServer() as server:
        made = settings(kind, server.url, tmp_path)
        known = [server.url, *(SECRETS[name] for name in SECRETS if getattr(made, name))]
        echo = json.dumps({"errcode": 1, "errmsg": " ".join(known), "code": 1, "msg": known[-1]})
        server.otherwise = status(400, body=echo.encode()) if isinstance(answer, str) else answer

        outcomes = []
        for timeout_s in (0.5, 5.0, 50.0):
            receiver = make_receiver(replace(made, timeout_s=timeout_s))
            outcomes.append(receiver.send([firing_alert()]))
            if server.requests:  # else the machine is too slow for this deadline
                break
        sent = server.requests[0]
    shown = f"{caplog.text} {outcomes!r} {made!r}".replace(str(tmp_path), "")

    for secret in (*SECRETS.values(), "s3cret-path", "t0ken", str(server.port)):
        assert secret not in shown
    if kind in {"dingtalk", "feishu"}:
        query = sent.path.partition("sign=")[2] or json.loads(sent.body)["sign"]
        assert query[:20] not in shown


@pytest.mark.parametrize("kind", HTTP_KINDS)
def test_what_is_sent_is_json(kind: str, tmp_path: Path) -> None:
    """With a POST, in UTF-8, for any texts."""
    with ReceiverServer() as server:
        server.otherwise = status(200, body=YES[kind])
        assert (
            short(make_receiver(settings(kind, server.url, tmp_path)).send([hostile_alert()]))
            == DELIVERED
        )
        (request,) = server.requests

    assert request.method == "POST"
    assert "json" in request.headers["content-type"]
    request.body.decode("utf-8")
    assert request.json


@pytest.mark.parametrize("kind", ["discord", "telegram"])
def test_a_huge_delay(kind: str, tmp_path: Path) -> None:
    """A number of four hundred digits becomes an hour."""
    number = "9" * 400
    body = f'{{"retry_after":{number},"parameters":{{"retry_after":{number}}}}}'.encode()
    with ReceiverServer(status(429, body=body)) as server:
        outcome = tell(kind, server.url, tmp_path)

    assert isinstance(outcome, RetryLater)
    assert outcome.after_s == 3600.0


def test_half_a_secret_is_hidden_too(tmp_path: Path) -> None:
    """The response is cut after the secrets were removed, in each of their forms."""
    password = tmp_path / "password"
    password.write_text('s3cret"word')
    password.chmod(0o600)
    pair = base64.b64encode(b'me:s3cret"word').decode()
    for echo in ("x" * 110 + 's3cret"word', pair, quote('s3cret"word'), json.dumps('s3cret"word')):
        with ReceiverServer(status(400, body=echo.encode())) as server:
            made = settings("alertmanager", server.url, tmp_path)
            made = replace(made, username="me", password_file=password)
            outcome = make_receiver(made).send([firing_alert()])
        assert isinstance(outcome, Rejected)
        for part in ("s3cret", pair[:10]):
            assert part not in outcome.detail, echo


def test_a_redirect_is_not_read(tmp_path: Path) -> None:
    """With a body of any length, and any location."""
    with ReceiverServer() as elsewhere:
        for location in (elsewhere.url, "http://["):
            answer = status(302, {"Location": location}, b"x" * (1 << 22))
            with ReceiverServer(answer) as server:
                assert short(tell("webhook", server.url, tmp_path)) == never(R.REDIRECT)
        assert elsewhere.connections == 0


@pytest.mark.parametrize("kind", ["dingtalk", "wecom"])
def test_the_keyword_is_not_changed(kind: str, tmp_path: Path) -> None:
    """A bot that requires `[prod]` gets exactly that."""
    with ReceiverServer(status(200, body=YES[kind])) as server:
        tell(kind, server.url, tmp_path, keyword="[prod]!")
        assert "[prod]!" in str(server.requests[0].json["markdown"])
