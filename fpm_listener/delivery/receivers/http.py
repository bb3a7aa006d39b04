"""One POST to a receiver: what is sent, what comes back, and what went wrong between.

Laws:
1. No URL, host, password or token is in a log or in a returned text; an exception's own text, which
   is full of them, is never used.
2. Redirects are not followed, .netrc is not read, nothing is retried here, and the proxies of the
   environment are used only by who asks for them.
3. Certificates are read anew for each attempt, as secrets are.
4. A connection serves one attempt: alerts are rare, and one that idled for hours is often dead.

What the deadline cannot cut short is the resolver, which has limits of its own (resolv.conf).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from fpm_listener import __version__
from fpm_listener.delivery.attempt import Delivered, FailureReason, RetryLater, classify_status
from fpm_listener.delivery.receivers.deadline import Deadline, mount
from fpm_listener.delivery.receivers.secrets import BadFileError, Secrets, probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

#: Bytes of an answer's body that are read; no service says more than this that matters.
BODY_LIMIT = 64 * 1024
#: Characters of the shortest secret that is taken out of a body before it is understood.
_SHORTEST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What is posted."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What came back."""

    status: int
    retry_after: str | None = None  #: the header
    body: bytes = b""  #: its first 64 KiB; less, or nothing, where it broke off


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a kind makes a request of, besides the alerts."""

    settings: ReceiverSettings
    secrets: Secrets
    external_url: str  #: where this listener's own page is, for people; may be empty
    now_s: float  #: wall seconds

    def authorization(self) -> dict[str, str]:
        """Return the header that says who we are, if the operator wants one.

        Raises BadFileError.
        """
        settings, secrets = self.settings, self.secrets
        if settings.token_file is not None:
            token = secrets.one("token_file", settings.token_file)
            return {"Authorization": f"Bearer {token}"}
        if settings.username is None:
            return {}
        password = secrets.one("password_file", settings.password_file)
        return {"Authorization": f"Basic {secrets.remember_pair(settings.username, password)}"}


class Trace(Protocol):
    """Somebody who watches an attempt: `fpm-listener alerts test`. Sees no secret."""

    def sent(self, what: str, body: str) -> None:
        """What is sent: where to, without its secret parts, and what."""

    def came_back(self, what: str, body: str) -> None:
        """What came back."""


class HttpReceiver:
    """A receiver of any kind that is told by a POST."""

    def __init__(
        self,
        settings: ReceiverSettings,
        external_url: str,
        trace: Trace | None,
        compose: Callable[[Sequence[Alert], Site], HttpRequest],
        judge: Callable[[HttpAnswer, float], Outcome] | None = None,
    ) -> None:
        """`compose` and `judge` are the kind's; without `judge`, the status alone decides."""
        self._settings = settings
        self._external_url = external_url
        self._secrets = Secrets(settings)
        self._trace = trace
        self._compose = compose
        self._judge = judge or by_status

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Tell the receiver of `alerts`, in one message, once."""
        site = Site(
            settings=self._settings,
            secrets=self._secrets,
            external_url=self._external_url,
            now_s=time.time(),
        )
        try:
            request = self._compose(alerts, site)
            answer = self._post(request)
        except BadFileError as error:
            return RetryLater(reason=error.reason, detail=str(error))
        if not isinstance(answer, HttpAnswer):
            return answer
        self._show_answer(answer)
        # Before anything is cut out of it: half a secret is found by nobody.
        body = answer.body.decode("utf-8", "replace")
        answer = replace(answer, body=self._secrets.hide(body, least=_SHORTEST).encode())
        outcome = self._judge(answer, time.time())
        if isinstance(outcome, Delivered):
            return outcome
        return replace(outcome, detail=self._secrets.hide(outcome.detail))

    def _post(self, request: HttpRequest) -> HttpAnswer | RetryLater:
        """Return what the receiver answered, or why there is no answer. Raises BadFileError."""
        import requests  # noqa: PLC0415 - 11 MiB that a listener without trouble never needs
        import urllib3  # noqa: PLC0415 - the same

        # Its messages hold URLs, at any level; what matters of them is in what we return.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
        wanted = self._wanted(request)
        self._show_request(request)
        watch = Deadline(self._settings.timeout_s)
        try:
            with watch, requests.Session() as session:
                mount(session, watch)
                response = session.post(
                    data=request.body,
                    allow_redirects=False,
                    stream=True,
                    timeout=self._settings.timeout_s,
                    **wanted,
                )
                if watch.over:  # what looks like an empty line is the end of a cut connection
                    return _TOO_LATE
                answer = HttpAnswer(
                    status=response.status_code,
                    retry_after=response.headers.get("Retry-After"),
                    body=_read(response.raw),
                )
                response.close()
                return answer
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            # requests' own exceptions are OSErrors; a URL that it cannot use is a ValueError.
            if watch.over:
                return _TOO_LATE
            reason, detail = explain(error)
            return RetryLater(reason=reason, detail=detail)

    def _wanted(self, request: HttpRequest) -> dict[str, Any]:
        """Return the arguments for requests. Raises BadFileError."""
        settings = self._settings
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(settings, name)
            if path is not None:
                probe(name, path)
        if settings.key_file is not None:
            self._secrets.warn_of_mode("key_file", settings.key_file)
        given = {"User-Agent": f"fpm-listener/{__version__}"}
        given |= {"Accept-Encoding": "identity", "Connection": "close", **request.headers}
        return {
            "url": request.url,
            # As bytes: a token may be any UTF-8, and requests would take it for Latin-1.
            "headers": {name: value.encode() for name, value in given.items()},
            "verify": str(settings.ca_file) if settings.ca_file else True,
            "cert": (str(settings.cert_file), str(settings.key_file))
            if settings.cert_file
            else None,
            "proxies": _proxies(settings, request.url),
        }

    # -- for who watches ---------------------------------------------------------------------------

    def _show_request(self, request: HttpRequest) -> None:
        if self._trace is not None:
            from urllib.parse import urlsplit  # noqa: PLC0415 - only who watches needs it

            parts = urlsplit(request.url)
            where = f"POST {parts.scheme}://{parts.hostname}/... (the rest is not shown)"
            body = request.body.decode("utf-8", "replace")
            self._trace.sent(where, self._secrets.hide(body))

    def _show_answer(self, answer: HttpAnswer) -> None:
        if self._trace is not None:
            body = answer.body.decode("utf-8", "replace")
            self._trace.came_back(f"status {answer.status}", self._secrets.hide(body))


def by_status(answer: HttpAnswer, now_s: float) -> Outcome:
    """Return what the status alone says; now_s: wall seconds."""
    return classify_status(answer.status, answer.retry_after, now_s)


_LATE = "no whole answer before the deadline"
_TOO_LATE = RetryLater(reason=FailureReason.TIMEOUT, detail=_LATE)


def _proxies(settings: ReceiverSettings, url: str) -> dict[str, str]:
    if settings.proxy:
        return {"http": settings.proxy, "https": settings.proxy}
    if not settings.trust_env:
        return {}
    from requests.utils import get_environ_proxies  # noqa: PLC0415 - see HttpReceiver._post

    return dict(get_environ_proxies(url))


def _read(raw: Any) -> bytes:  # noqa: ANN401 - requests does not say what it is
    """Return the beginning of the body; what breaks off is no failure: the status has come."""
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - see HttpReceiver._post

    with suppress(OSError, HTTPError):
        return bytes(raw.read(BODY_LIMIT, decode_content=False))
    return b""


# -- what went wrong -------------------------------------------------------------------------------


#: Exceptions of urllib3 and http.client that wrap no error of the system, by their names.
_KINDS = {
    "SSLError": (FailureReason.TLS, "the certificate or its key cannot be used"),
    "RemoteDisconnected": (FailureReason.CONNECTION, "closed without an answer"),
    "ProxyError": (FailureReason.CONNECTION, "the proxy gave no connection"),
    "BadStatusLine": (FailureReason.OTHER, "the answer is not HTTP"),
}


def explain(error: BaseException) -> tuple[FailureReason, str]:
    """Return the reason in an exception of requests, and what to tell people of it."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, OSError) and (explained := _of_the_system(cause)):
            return explained
    kinds = {type(cause).__name__ for cause in causes}
    for kind, known in _KINDS.items():
        if kind in kinds:
            return known
    if isinstance(error, ValueError):
        return FailureReason.OTHER, "the URL, or a header made of the settings, cannot be used"
    return FailureReason.OTHER, type(error).__name__


def _of_the_system(error: OSError) -> tuple[FailureReason, str] | None:
    import ssl  # noqa: PLC0415 - 4 MiB and 15 ms; see HttpReceiver._post

    if isinstance(error, ssl.SSLCertVerificationError):
        # The message goes on with the host's name after a comma.
        return FailureReason.TLS, str(error.verify_message).partition(",")[0]
    if isinstance(error, ssl.SSLError):
        return FailureReason.TLS, str(error.reason or "handshake failed")
    if isinstance(error, TimeoutError):
        return FailureReason.TIMEOUT, _LATE
    if not isinstance(error.errno, int):  # requests' own exceptions have none
        return None
    reason = FailureReason.CONNECTION
    if isinstance(error, socket.gaierror):
        return FailureReason.DNS, str(error.strerror)
    if isinstance(error, ConnectionRefusedError):
        reason = FailureReason.REFUSED
    return reason, os.strerror(error.errno)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what it wraps, deepest first: requests and urllib3 wrap several times."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    yield from reversed(seen)
