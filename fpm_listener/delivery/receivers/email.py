"""Mail, by SMTP, as superlance's users have it today.

Success: the server took the message for all recipients. Source: RFC 5321 §4.2.1: 4yz may heal, 5yz
does not; RFC 3207 (STARTTLS); RFC 8314 (TLS from the start).
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
from fpm_listener.delivery.receivers.http import explain
from fpm_listener.delivery.receivers.json_http import said
from fpm_listener.delivery.receivers.message_text import Style, stories, title, write
from fpm_listener.delivery.receivers.secrets import BadFileError, Secrets, is_loopback, probe
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

_Said = tuple[int, bytes]
_MOST_REACHED = 100
_STYLE = Style(limit=100_000)
_LONGEST_SUBJECT = 200
_MOST_REFERENCES = 20


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
        self._reached: dict[str, list[str]] = {}  # by mail: who has taken it, where others have not

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Send one mail, once, to those who have not taken it yet."""
        settings = self._settings
        message = compose(alerts, settings, self._external_url)
        key = str(message["Message-ID"])
        left = [one for one in settings.to if one not in self._reached.get(key, ())]
        if self._trace is not None:
            host, port = settings.smarthost
            self._trace.sent(f"MAIL by {host}:{port} to {', '.join(left)}", str(message))
        watch = Deadline(settings.timeout_s)
        try:
            with watch:
                refused = self._hand_over(message, left, watch)
        except BadFileError as error:
            return RetryLater(reason=error.reason, detail=str(error))
        except smtplib.SMTPException as error:
            return _late() if watch.over else self._refused(error)
        except (OSError, ValueError) as error:
            if watch.over:
                return _late()
            reason, detail = explain(error)
            return RetryLater(reason=reason, detail=detail)
        return self._some(key, left, refused)

    def _some(self, key: str, left: Sequence[str], refused: Mapping[str, _Said]) -> Outcome:
        """Return what it means that these were refused; the others have taken it."""
        later = {one: said for one, said in refused.items() if said[0] < 500}
        if later:
            self._reached[key] = [one for one in self._settings.to if one not in later]
            while len(self._reached) > _MOST_REACHED:
                del self._reached[next(iter(self._reached))]
            return self._no(*next(iter(later.values())), len(later))
        self._reached.pop(key, None)
        if len(refused) == len(left) == len(self._settings.to):
            return self._no(*next(iter(refused.values())), len(refused))
        if refused:
            log.warning(
                "a mail was refused for some of its recipients receiver=%s count=%s",
                self._settings.name,
                len(refused),
            )
        if self._trace is not None:
            self._trace.came_back("250", "the server took it")
        return Delivered()

    def _hand_over(
        self, message: EmailMessage, recipients: Sequence[str], watch: Deadline
    ) -> Mapping[str, _Said]:
        """Return who was refused, and with which words."""
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
        server = _Connection(watch, host, context if settings.tls == "tls" else None)
        try:
            server.connect(host, port)
            if settings.tls == "starttls":
                server.starttls(context=context)
            if settings.username is not None:
                password = self._secrets.one("password_file", settings.password_file)
                self._secrets.remember_pair(settings.username, password)
                server.login(settings.username, password)
            try:
                refused: Mapping[str, _Said] = server.send_message(
                    message,
                    settings.sender,
                    list(recipients),
                )
            except smtplib.SMTPRecipientsRefused as error:
                refused = error.recipients
            with suppress(smtplib.SMTPException, OSError):  # it has taken the mail already
                server.quit()
        finally:
            server.close()
        return refused

    def _refused(self, error: smtplib.SMTPException) -> Outcome:
        """Return what the server's no means."""
        if isinstance(error, smtplib.SMTPResponseException):
            return self._no(error.smtp_code, error.smtp_error)
        if isinstance(error, smtplib.SMTPNotSupportedError):
            why = "the server has no STARTTLS, or cannot do what is asked; see the setting tls"
            return Rejected(reason=FailureReason.CLIENT_ERROR, detail=why)
        if isinstance(error.__context__, OSError):  # smtplib hides it behind a text of its own
            reason, detail = explain(error.__context__)
            return RetryLater(reason=reason, detail=detail)
        return RetryLater(reason=FailureReason.CONNECTION, detail="closed without an answer")

    def _no(self, code: int, text: str | bytes, recipients: int = 1) -> Outcome:
        words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        several = f"{recipients} recipients, " if recipients > 1 else ""
        detail = f"SMTP {code}: {several}{said(self._secrets.hide(words))}"
        if 500 <= code <= 599:
            return Rejected(reason=FailureReason.CLIENT_ERROR, detail=detail)
        return RetryLater(reason=FailureReason.SERVER_ERROR, detail=detail)


class _Connection(smtplib.SMTP):
    """SMTP whose every byte comes before the deadline of `watch`."""

    def __init__(self, watch: Deadline, host: str, context: ssl.SSLContext | None) -> None:
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


def compose(alerts: Sequence[Alert], settings: ReceiverSettings, external_url: str) -> EmailMessage:
    """Return the mail, in plain text."""
    told = stories(alerts, settings.language)
    message = EmailMessage()
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Subject"] = title(told, settings.language)[:_LONGEST_SUBJECT]
    message["Date"] = formatdate(localtime=False)
    # The same over retries, so that mail servers know a mail that comes twice.
    roots = [_id(incident, settings) for incident in dict.fromkeys(a.incident_id for a in alerts)]
    if len(alerts) == 1 and alerts[0].sequence == 1:
        message["Message-ID"] = roots[0]
    else:
        message["Message-ID"] = _id(" ".join(alert.alert_id for alert in alerts), settings)
        # RFC 5322 section 3.6.4: what follows belongs to the mail of the first alert.
        if len(roots) == 1:
            message["In-Reply-To"] = roots[0]
        message["References"] = " ".join(roots[:_MOST_REFERENCES])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice is wanted
    shown = " ".join(alert.alert_id for alert in alerts[:20])
    message["X-Fpm-Listener-Alert"] = clean(shown).replace("\n", " ")
    text = write(told, _STYLE, settings.language)
    footer = f"\n-- \n{clean(external_url)}\n" if external_url else ""
    message.set_content(f"{text}\n{footer}")
    return message


def _id(text: str, settings: ReceiverSettings) -> str:
    """Return a Message-ID that this text always has."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
    return f"<{digest}.{settings.name}@{settings.sender.rpartition('@')[2]}>"
