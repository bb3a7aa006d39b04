"""Mail, by SMTP, as users of superlance have it today.

Success: the server accepted the message for all recipients. Source: RFC 5321 §4.2.1: 4yz is
temporary, 5yz is permanent; RFC 3207 (STARTTLS); RFC 8314 (TLS from the start).
"""

from __future__ import annotations

import hashlib
import logging
import smtplib
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.attempt import Delivered, FailureReason, Rejected, RetryLater
from fpm_listener.delivery.receivers.deadline import Deadline
from fpm_listener.delivery.receivers.http_errors import TOO_LATE, classify_error
from fpm_listener.delivery.receivers.json_http import one_line
from fpm_listener.delivery.receivers.message_text import Message, Style
from fpm_listener.delivery.receivers.secrets import (
    BadFileError,
    Secrets,
    check_certificate,
    is_loopback,
)
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

_Reply = tuple[int, bytes]  #: code and text
_MOST_REMEMBERED = 100
_STYLE = Style(limit=100_000)
_LONGEST_SUBJECT = 200
_MOST_REFERENCES = 20


class Email:
    """One receiver of kind `email`."""

    def __init__(self, settings: ReceiverSettings, external_url: str, trace: Trace | None) -> None:
        self._settings = settings
        self._external_url = external_url
        self._trace = trace
        self._secrets = Secrets(settings)
        self._accepted: dict[str, list[str]] = {}  # by mail: its recipients, if others are retried

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Send one mail, once, to the recipients that have not got it yet."""
        settings = self._settings
        message = compose(alerts, settings, self._external_url)
        key = str(message["Message-ID"])
        left = [one for one in settings.to if one not in self._accepted.get(key, ())]
        if self._trace is not None:
            host, port = settings.smarthost
            self._trace.sent(f"MAIL by {host}:{port} to {', '.join(left)}", str(message))
        deadline = Deadline(settings.timeout_s)
        try:
            with deadline:
                refused = self._transmit(message, left, deadline)
        except BadFileError as error:
            return error.outcome
        except (smtplib.SMTPException, OSError, ValueError) as error:
            if deadline.over:
                return TOO_LATE
            if isinstance(error, smtplib.SMTPException):
                return self._classify_error(error)
            return classify_error(error)
        return self._classify(key, left, refused)

    def _classify(self, key: str, left: Sequence[str], refused: Mapping[str, _Reply]) -> Outcome:
        """Return the outcome if some recipients were refused; the others got the mail."""
        temporary = {one: reply for one, reply in refused.items() if reply[0] < 500}
        if temporary:
            self._accepted[key] = [one for one in self._settings.to if one not in temporary]
            while len(self._accepted) > _MOST_REMEMBERED:
                del self._accepted[next(iter(self._accepted))]
            return self._failure(*next(iter(temporary.values())), len(temporary))
        self._accepted.pop(key, None)
        if len(refused) == len(left) == len(self._settings.to):
            return self._failure(*next(iter(refused.values())), len(refused))
        if refused:
            log.warning(
                "the mail server refused some recipients receiver=%s count=%s",
                self._settings.name,
                len(refused),
            )
        if self._trace is not None:
            self._trace.received("250", "the server accepted the mail")
        return Delivered()

    def _transmit(
        self, message: EmailMessage, recipients: Sequence[str], deadline: Deadline
    ) -> Mapping[str, _Reply]:
        """Return the recipients that were refused, with the reply of the server."""
        settings = self._settings
        host, port = settings.smarthost
        if settings.ca_file is not None:
            check_certificate("ca_file", settings.ca_file)
        if settings.tls == "none" and not is_loopback(f"smtp://{host}"):
            self._secrets.warn("alerts leave this host without encryption", "tls")
        context = ssl.create_default_context(
            cafile=str(settings.ca_file) if settings.ca_file else None
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        server = _Connection(deadline, host, context if settings.tls == "tls" else None)
        try:
            server.connect(host, port)
            if settings.tls == "starttls":
                server.starttls(context=context)
            if settings.username is not None:
                password = self._secrets.read_line("password_file", settings.password_file)
                self._secrets.remember_pair(settings.username, password)
                server.login(settings.username, password)
            refused: Mapping[str, _Reply]
            try:
                refused = server.send_message(message, settings.sender, list(recipients))
            except smtplib.SMTPRecipientsRefused as error:
                refused = error.recipients
            with suppress(smtplib.SMTPException, OSError):  # it has accepted the mail already
                server.quit()
        finally:
            server.close()
        return refused

    def _classify_error(self, error: smtplib.SMTPException) -> Outcome:
        if isinstance(error, smtplib.SMTPResponseException):
            return self._failure(error.smtp_code, error.smtp_error)
        if isinstance(error, smtplib.SMTPNotSupportedError):
            detail = "the server does not support STARTTLS or the login; see the setting tls"
            return Rejected(reason=FailureReason.CLIENT_ERROR, detail=detail)
        if isinstance(error.__context__, OSError):  # smtplib replaces its text
            return classify_error(error.__context__)
        return RetryLater(reason=FailureReason.CONNECTION, detail="closed without a response")

    def _failure(self, code: int, text: str | bytes, recipients: int = 1) -> Outcome:
        reply = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        several = f"{recipients} recipients, " if recipients > 1 else ""
        detail = f"SMTP {code}: {several}{one_line(self._secrets.hide(reply))}"
        if 500 <= code <= 599:
            return Rejected(reason=FailureReason.CLIENT_ERROR, detail=detail)
        return RetryLater(reason=FailureReason.SERVER_ERROR, detail=detail)


make = Email


class _Connection(smtplib.SMTP):
    """SMTP with a deadline for the whole exchange."""

    def __init__(self, deadline: Deadline, host: str, context: ssl.SSLContext | None) -> None:
        super().__init__()
        self._deadline = deadline
        self._host = host  # the name in smtplib: the certificate must have it
        self._tls = context

    def _get_socket(self, host: str, port: int, timeout: Any) -> socket.socket:  # noqa: ANN401, ARG002 - smtplib's own
        connection = self._deadline.connect(host, port)
        if self._tls is None:
            return connection
        return self._tls.wrap_socket(connection, server_hostname=host)


def compose(alerts: Sequence[Alert], settings: ReceiverSettings, external_url: str) -> EmailMessage:
    """Return the mail, in plain text."""
    text = Message(alerts, settings.language)
    message = EmailMessage()
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Subject"] = text.title()[:_LONGEST_SUBJECT]
    message["Date"] = formatdate(localtime=False)
    # The same over retries, so that mail servers recognise a mail that they get twice.
    roots = [_id(incident, settings) for incident in dict.fromkeys(a.incident_id for a in alerts)]
    if len(alerts) == 1 and alerts[0].sequence == 1:
        message["Message-ID"] = roots[0]
    else:
        message["Message-ID"] = _id(" ".join(alert.alert_id for alert in alerts), settings)
        # RFC 5322 section 3.6.4: later mails refer to the mail of the first alert.
        if len(roots) == 1:
            message["In-Reply-To"] = roots[0]
        message["References"] = " ".join(roots[:_MOST_REFERENCES])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents holiday notices
    shown = " ".join(alert.alert_id for alert in alerts[:20])
    message["X-Fpm-Listener-Alert"] = clean(shown).replace("\n", " ")
    footer = f"\n-- \n{clean(external_url)}\n" if external_url else ""
    message.set_content(f"{text.write(_STYLE)}\n{footer}")
    return message


def _id(text: str, settings: ReceiverSettings) -> str:
    """Return a Message-ID that is always the same for this text."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
    return f"<{digest}.{settings.name}@{settings.sender.rpartition('@')[2]}>"
