"""One POST to a receiver, which ends at its deadline whatever the other side does.

Laws:
1. No URL, host, password or token is in a log or in a returned text; an exception's own text, which
   is full of them, is never used.
2. Redirects are not followed, the environment's proxies and .netrc are not read, nothing is retried
   here.
3. Files that hold URLs, passwords, tokens and certificates are read anew for each attempt, so they
   can be exchanged without a word to the listener.
4. A connection serves one attempt: alerts are rare, and one that idled for hours is often dead.

What the deadline cannot cut short is the resolver, which has limits of its own (resolv.conf).
"""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fpm_listener import __version__
from fpm_listener.core.outcomes import FailureReason
from fpm_listener.core.retry import RetryLater
from fpm_listener.receivers.deadline import Watch, mount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from fpm_listener.settings import ReceiverSettings

log = logging.getLogger(__name__)

#: Bytes of an answer's body that are read; no service says more than this that matters.
BODY_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    retry_after: str | None  #: the header
    body: bytes  #: its first 64 KiB; less, or nothing, where it broke off


_LATE = "no whole answer before the deadline"
_TOO_LATE = RetryLater(reason=FailureReason.TIMEOUT, detail=_LATE)


class Poster:
    """Posts to the URL of one receiver. Used by one thread."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._settings = settings
        self._warned: set[str] = set()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer | RetryLater:
        """Return what the receiver answered, or why there is no answer."""
        import requests  # noqa: PLC0415 - 11 MiB that a listener without trouble never needs
        import urllib3  # noqa: PLC0415 - the same

        # Its messages hold URLs, at any level; what matters of them is in what we return.
        logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)
        try:
            wanted = self._wanted(headers)
        except _BadFileError as error:
            return RetryLater(reason=error.reason, detail=str(error))
        watch = Watch(self._settings.timeout_s)
        try:
            with watch, requests.Session() as session:
                mount(session, watch)
                response = session.post(
                    data=body,
                    allow_redirects=False,
                    stream=True,
                    timeout=self._settings.timeout_s,
                    **wanted,
                )
                if watch.over:  # what looks like an empty line is the end of a cut connection
                    return _TOO_LATE
                answer = Answer(
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

    # -- what the operator said --------------------------------------------------------------------

    def _wanted(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments for requests. Raises _BadFileError."""
        settings = self._settings
        url = settings.url or self._secret("url_file", settings.url_file)
        if not re.fullmatch(r"https?://[^\s/]+\S*", url):
            raise _BadFileError("url_file: no URL that begins with http:// or https://")
        self._warn_of_plain_text(url)
        for name in ("ca_file", "cert_file", "key_file"):
            path = getattr(settings, name)
            if path is not None:
                _probe(name, path)
        if settings.key_file is not None:
            self._warn_of_mode("key_file", settings.key_file)
        auth = None
        given: dict[str, str | bytes] = {"User-Agent": f"fpm-listener/{__version__}"}
        given |= {"Accept-Encoding": "identity", "Connection": "close", **headers}
        if settings.token_file is not None:
            given["Authorization"] = (
                b"Bearer "
                + self._secret(
                    "token_file",
                    settings.token_file,
                ).encode()
            )
        elif settings.username is not None:
            password = self._secret("password_file", settings.password_file)
            auth = (settings.username.encode(), password.encode())
        return {
            "url": url,
            "headers": given,
            "auth": auth,
            "verify": str(settings.ca_file) if settings.ca_file else True,
            "cert": (str(settings.cert_file), str(settings.key_file))
            if settings.cert_file
            else None,
            "proxies": {"http": settings.proxy, "https": settings.proxy} if settings.proxy else {},
        }

    def _secret(self, name: str, path: Path | None) -> str:
        if path is None:
            raise _BadFileError(f"{name}: is not set")
        try:
            text = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise _BadFileError(f"{name}: {os.strerror(error.errno or 0)}") from error
        except UnicodeDecodeError:
            raise _BadFileError(f"{name}: is not UTF-8") from None
        self._warn_of_mode(name, path)
        if not text or not text.isprintable():
            raise _BadFileError(f"{name}: is empty, or more than one line")
        return text

    def _warn_of_mode(self, name: str, path: Path) -> None:
        with suppress(OSError):
            if stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
                self._warn("a file with a secret can be read by everybody on this host", name)

    def _warn_of_plain_text(self, url: str) -> None:
        if url.startswith("http://") and not _is_loopback(url):
            self._warn("a receiver on another host is told without encryption", "url")

    def _warn(self, sentence: str, setting: str) -> None:
        if setting not in self._warned:
            self._warned.add(setting)
            log.warning("%s receiver=%s setting=%s", sentence, self._settings.name, setting)


class _BadFileError(Exception):
    """A file of the settings that cannot be used now; the operator may mend it."""

    def __init__(self, message: str, reason: FailureReason = FailureReason.OTHER) -> None:
        super().__init__(message)
        self.reason = reason


def _probe(name: str, path: Path) -> None:
    """Raise _BadFileError where a certificate cannot be opened."""
    try:
        path.open("rb").close()
    except OSError as error:
        message = f"{name}: {os.strerror(error.errno or 0)}"
        raise _BadFileError(message, FailureReason.TLS) from error


def _is_loopback(url: str) -> bool:
    from urllib.parse import urlsplit  # noqa: PLC0415 - see Poster.post

    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d+){3}", host))


def _read(raw: Any) -> bytes:  # noqa: ANN401 - requests does not say what it is
    """Return the beginning of the body; what breaks off is no failure: the status has come."""
    from urllib3.exceptions import HTTPError  # noqa: PLC0415 - see Poster.post

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
    import ssl  # noqa: PLC0415 - 4 MiB and 15 ms; see Poster.post

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
