"""Mail, by SMTP, as superlance's users have it today.

Success: the server took the message for all recipients. Source: RFC 5321 §4.2.1: 4yz may heal, 5yz
does not; RFC 3207 (STARTTLS); RFC 8314 (TLS from the start).
"""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Any

from fpm_listener.core.outcomes import FailureReason
from fpm_listener.core.retry import Delivered, Rejected, RetryLater
from fpm_listener.receivers.body import said
from fpm_listener.receivers.deadline import Watch
from fpm_listener.receivers.http import explain
from fpm_listener.receivers.secrets import BadFileError, Secrets, is_loopback, probe
from fpm_listener.receivers.text import Style, stories, title, write

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from fpm_listener.core.alerts import Alert
    from fpm_listener.core.retry import Outcome
    from fpm_listener.receiver_settings import ReceiverSettings
    from fpm_listener.receivers.http import Trace

_STYLE = Style(limit=100_000)
_LONGEST_SUBJECT = 200


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> Email:
    """Return the receiver."""
    return Email(settings, external_url, trace)


class Email:
    """One receiver of kind `email`."""

    def __init__(self, settings: ReceiverSettings, external_url: str, trace: Trace | None) -> None:
        self._settings = settings
        self._external_url = external_url
        self._trace = trace
        self._secrets = Secrets(settings)

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Send one mail, once."""
        settings = self._settings
        message = compose(alerts, settings, self._external_url)
        if self._trace is not None:
            host, port = settings.smarthost
            self._trace.sent(f"MAIL by {host}:{port} to {', '.join(settings.to)}", str(message))
        watch = Watch(settings.timeout_s)
        try:
            with watch:
                self._hand_over(message, watch)
        except BadFileError as error:
            return RetryLater(reason=error.reason, detail=str(error))
        except smtplib.SMTPException as error:
            return _late() if watch.over else _refused(error)
        except (OSError, ValueError) as error:
            if watch.over:
                return _late()
            reason, detail = explain(error)
            return RetryLater(reason=reason, detail=detail)
        if self._trace is not None:
            self._trace.came_back("250", "the server took it")
        return Delivered()

    def _hand_over(self, message: EmailMessage, watch: Watch) -> None:
        settings = self._settings
        host, port = settings.smarthost
        if settings.ca_file is not None:
            probe("ca_file", settings.ca_file)
        if settings.tls == "none" and not is_loopback(f"smtp://{host}"):
            self._secrets.warn("a receiver on another host is told without encryption", "tls")
        context = ssl.create_default_context(
            cafile=str(settings.ca_file) if settings.ca_file else None,
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with _Connection(watch, host, context if settings.tls == "tls" else None) as server:
            server.connect(host, port)
            if settings.tls == "starttls":
                server.starttls(context=context)
            if settings.username is not None:
                password = self._secrets.one("password_file", settings.password_file)
                server.login(settings.username, password)
            refused = server.send_message(message, settings.sender, settings.to)
            if refused:
                raise smtplib.SMTPRecipientsRefused(refused)


class _Connection(smtplib.SMTP):
    """SMTP whose every byte comes before the deadline of `watch`."""

    def __init__(self, watch: Watch, host: str, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._watch = watch
        self._host = host  # as smtplib itself calls it: the name that a certificate must have
        self._tls = context

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:  # noqa: ANN401, ARG002 - smtplib's own
        connection = self._watch.connect(host, port)
        if self._tls is None:
            return connection
        return self._tls.wrap_socket(connection, server_hostname=host)


def _late() -> RetryLater:
    return RetryLater(
        reason=FailureReason.TIMEOUT,
        detail="no whole answer before the deadline",
    )


def _refused(error: smtplib.SMTPException) -> Outcome:
    """Return what the server's no means."""
    text: str | bytes
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answers = list(error.recipients.values())
        code, text = max(answers, key=lambda answer: answer[0])
        if len(answers) > 1:
            text = f"{len(answers)} recipients, {_words(text)}"
    elif isinstance(error, smtplib.SMTPResponseException):
        code, text = error.smtp_code, error.smtp_error
    elif isinstance(error, smtplib.SMTPNotSupportedError):
        why = "the server has no STARTTLS, or cannot do what is asked; see the setting tls"
        return Rejected(reason=FailureReason.CLIENT_ERROR, detail=why)
    elif isinstance(error.__context__, OSError):  # smtplib hides it behind a text of its own
        reason, detail = explain(error.__context__)
        return RetryLater(reason=reason, detail=detail)
    else:
        return RetryLater(reason=FailureReason.CONNECTION, detail="closed without an answer")
    detail = f"SMTP {code}: {said(_words(text))}"
    if 500 <= code <= 599:
        return Rejected(reason=FailureReason.CLIENT_ERROR, detail=detail)
    return RetryLater(reason=FailureReason.SERVER_ERROR, detail=detail)


def _words(text: str | bytes) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def compose(alerts: Sequence[Alert], settings: ReceiverSettings, external_url: str) -> EmailMessage:
    """Return the mail, in plain text."""
    told = stories(alerts, settings.language)
    message = EmailMessage()
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Subject"] = title(told, settings.language)[:_LONGEST_SUBJECT]
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice is wanted
    message["X-Fpm-Listener-Alert"] = " ".join(alert.alert_id for alert in alerts[:20])
    text = write(told, _STYLE, settings.language)
    message.set_content(f"{text}\n\n-- \n{external_url}\n" if external_url else f"{text}\n")
    return message
