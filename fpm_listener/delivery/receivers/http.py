"""Sends one POST to a receiver, and returns the response or the error.

Laws:
1. No URL, host, password or token is in a log or in a returned text. The text of an exception is
   full of them, so it is never used.
2. Redirects are not followed, .netrc is not read, and nothing is retried here. The proxies of the
   environment are used only if the settings say so.
3. Certificates and secrets are read again for each attempt.
4. A connection serves one attempt: alerts are rare, and an idle connection is often dead.
5. A plain http:// URL is sent by plain_http, everything else by requests. Both have the same
   outcomes.

The deadline does not limit the resolver, which has its own limits (resolv.conf).
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from fpm_listener import __version__
from fpm_listener.delivery.attempt import Delivered, classify_status
from fpm_listener.delivery.receivers import plain_http
from fpm_listener.delivery.receivers.deadline import Deadline, mount
from fpm_listener.delivery.receivers.http_errors import TOO_LATE, classify_error
from fpm_listener.delivery.receivers.secrets import BadFileError, Secrets, check_certificate
from fpm_listener.host import spare_descriptors
from fpm_listener.host.http_exchange import ConnectionEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fpm_listener.delivery.attempt import Outcome, RetryLater
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

#: Bytes of a response body that are read; the services say all that matters in less.
BODY_LIMIT = 64 * 1024
#: Characters of the shortest secret that is removed from a body before the body is parsed.
_SHORTEST_SECRET = 6
_CERTIFICATES = ("ca_file", "cert_file", "key_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """What is posted."""

    url: str = field(repr=False)
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """The response of the receiver."""

    status: int
    retry_after: str | None = None  #: the header
    body: bytes = b""  #: its first 64 KiB; less if the connection broke

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """What a request is made from."""

    alerts: Sequence[Alert]
    settings: ReceiverSettings
    secrets: Secrets
    external_url: str  #: of this listener's page, for people; may be empty
    now_s: float  #: wall seconds

    def authorization(self) -> dict[str, str]:
        """Return the header with the credentials of the settings, if there are any.

        Raises BadFileError.
        """
        settings, secrets = self.settings, self.secrets
        if settings.token_file is not None:
            token = secrets.read_line("token_file", settings.token_file)
            return {"Authorization": f"Bearer {token}"}
        if settings.username is None:
            return {}
        password = secrets.read_line("password_file", settings.password_file)
        return {"Authorization": f"Basic {secrets.remember_pair(settings.username, password)}"}


class Trace(Protocol):
    """Follows an attempt, for `fpm-listener alerts test`. Gets no secret."""

    def sent(self, what: str, body: str) -> None:
        """What is sent, and where to, without the secret parts of the URL."""

    def received(self, what: str, body: str) -> None:
        """What the receiver answered."""


def by_status(response: HttpResponse, now_s: float) -> Outcome:
    """Return the outcome for a receiver whose status decides; now_s: wall seconds."""
    return classify_status(response.status, response.retry_after, now_s)


def http_receiver(
    compose: Callable[[RequestContext], HttpRequest],
    classify: Callable[[HttpResponse, float], Outcome] = by_status,
) -> Callable[[ReceiverSettings, str, Trace | None], HttpReceiver]:
    """Return the function that makes a receiver of one kind."""
    return partial(HttpReceiver, compose=compose, classify=classify)


class HttpReceiver:
    """A receiver that gets a POST."""

    def __init__(
        self,
        settings: ReceiverSettings,
        external_url: str,
        trace: Trace | None,
        *,
        compose: Callable[[RequestContext], HttpRequest],
        classify: Callable[[HttpResponse, float], Outcome],
    ) -> None:
        """`compose` and `classify` belong to the kind."""
        self._settings = settings
        self._external_url = external_url
        self._secrets = Secrets(settings)
        self._trace = trace
        self._compose = compose
        self._classify = classify

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Send `alerts` in one message, once."""
        context = RequestContext(
            alerts=alerts,
            settings=self._settings,
            secrets=self._secrets,
            external_url=self._external_url,
            now_s=time.time(),
        )
        try:
            response = self._post(self._compose(context))
        except BadFileError as error:
            return error.outcome
        if not isinstance(response, HttpResponse):
            return response
        if self._trace is not None:
            text = self._secrets.hide(response.text)
            self._trace.received(f"status {response.status}", text)
        # Before the text is cut, because half a secret is not found.
        body = self._secrets.hide(response.text, shortest=_SHORTEST_SECRET).encode()
        outcome = self._classify(replace(response, body=body), time.time())
        if isinstance(outcome, Delivered):
            return outcome
        return replace(outcome, detail=self._secrets.hide(outcome.detail))

    def _post(self, request: HttpRequest) -> HttpResponse | RetryLater:
        """Return the response, or why there is none. Raises BadFileError."""
        settings = self._settings
        for name in _CERTIFICATES:
            path = getattr(settings, name)
            if path is not None:
                check_certificate(name, path)
        if settings.key_file is not None:
            self._secrets.warn_if_readable("key_file", settings.key_file)
        self._trace_request(request)
        headers = {"User-Agent": f"fpm-listener/{__version__}", "Accept": "*/*"}
        headers |= {"Accept-Encoding": "identity", "Connection": "close", **request.headers}
        target = plain_http.target_of(request.url)
        if target is None or settings.proxy or settings.trust_env:
            return self._post_with_requests(request, headers)
        timeout_s = settings.timeout_s
        try:
            answer = plain_http.send(target, headers, request.body, timeout_s, BODY_LIMIT)
        except (OSError, ValueError, ConnectionEndedError) as error:
            return classify_error(error)
        return HttpResponse(status=answer[0], retry_after=answer[1], body=answer[2])

    def _trace_request(self, request: HttpRequest) -> None:
        if self._trace is not None:
            from urllib.parse import urlsplit  # noqa: PLC0415 - only senders need it

            parts = urlsplit(request.url)
            where = f"POST {parts.scheme}://{parts.hostname}/... (the rest is not shown)"
            body = request.body.decode("utf-8", "replace")
            self._trace.sent(where, self._secrets.hide(body))

    def _post_with_requests(
        self, request: HttpRequest, headers: Mapping[str, str]
    ) -> HttpResponse | RetryLater:
        """Return the response, or why there is none."""
        with spare_descriptors.for_modules():
            # First: urllib3 1.26 loads it inside a finder, while it holds the lock of all imports.
            # A thread that loads it at that moment waits for this lock: both wait without end.
            import http.client  # noqa: F401, PLC0415

            import requests  # noqa: PLC0415 - 12 MiB that a listener without https does not need
            import urllib3  # noqa: PLC0415 - the same

        # Its messages contain URLs, at any level; the outcome contains what matters.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
        deadline = Deadline(self._settings.timeout_s)
        try:
            with deadline, requests.Session() as session:
                mount(session, deadline)
                response = session.post(
                    # As bytes: a token may be any UTF-8, and requests encodes text as Latin-1.
                    headers={name: value.encode() for name, value in headers.items()},
                    data=request.body,
                    allow_redirects=False,
                    stream=True,
                    timeout=self._settings.timeout_s,
                    **_arguments(self._settings, request.url),
                )
                if deadline.over:  # then an empty line is the end of a connection that was cut
                    return TOO_LATE
                received = HttpResponse(
                    status=response.status_code,
                    retry_after=response.headers.get("Retry-After"),
                    body=_read(response.raw),
                )
                response.close()
                return received
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            # The exceptions of requests are OSErrors; an invalid URL is a ValueError.
            return TOO_LATE if deadline.over else classify_error(error)


def _arguments(settings: ReceiverSettings, url: str) -> dict[str, Any]:
    """Return the arguments for requests that come from the settings."""
    return {
        "url": url,
        "verify": str(settings.ca_file) if settings.ca_file else True,
        "cert": (str(settings.cert_file), str(settings.key_file)) if settings.cert_file else None,
        "proxies": _proxies(settings, url),
    }


def _proxies(settings: ReceiverSettings, url: str) -> dict[str, str]:
    if settings.proxy:
        return {"http": settings.proxy, "https": settings.proxy}
    if not settings.trust_env:
        return {}
    from requests.utils import get_environ_proxies  # noqa: PLC0415 - see _post_with_requests

    return dict(get_environ_proxies(url))


def _read(raw: Any) -> bytes:  # noqa: ANN401 - requests does not declare its type
    """Return the beginning of the body; an error is no failure, because the status is known."""
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - see _post_with_requests

    with suppress(OSError, HTTPError):
        return bytes(raw.read(BODY_LIMIT, decode_content=False))
    return b""
