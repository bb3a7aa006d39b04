"""Explains why an attempt got no response.

Law: no URL, host, password or token is in a returned text. The text of an exception is full of
them, so it is never used.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import FailureReason, RetryLater

if TYPE_CHECKING:
    from collections.abc import Iterator

_LATE = "no complete response before the deadline"
TOO_LATE = RetryLater(reason=FailureReason.TIMEOUT, detail=_LATE)

#: Exceptions of urllib3, http.client and http_exchange that wrap no error of the system, by name.
_ERRORS = {
    "SSLError": (FailureReason.TLS, "the certificate or its key cannot be used"),
    "RemoteDisconnected": (FailureReason.CONNECTION, "closed without a response"),
    "ProxyError": (FailureReason.CONNECTION, "the proxy refused the connection"),
    "BadStatusLine": (FailureReason.OTHER, "the response is not HTTP"),
    "ConnectionEndedError": (FailureReason.CONNECTION, "closed without a response"),
    "NotHttpError": (FailureReason.OTHER, "the response is not HTTP"),
}


def classify_error(error: BaseException) -> RetryLater:
    """Return the outcome for an exception of requests, urllib3 or the system."""
    causes = list(_causes(error))
    names = {type(cause).__name__ for cause in causes}
    system = (_of_the_system(cause) for cause in causes if isinstance(cause, OSError))
    known = (explained for name, explained in _ERRORS.items() if name in names)
    otherwise = type(error).__name__
    if isinstance(error, ValueError):
        otherwise = "the URL, or a header from the settings, is not valid"
    reason, detail = next(
        (one for one in (*system, *known) if one), (FailureReason.OTHER, otherwise)
    )
    return RetryLater(reason=reason, detail=detail)


def _of_the_system(error: OSError) -> tuple[FailureReason, str] | None:
    # By name: there is such an error only if something has loaded ssl, which needs 4 MiB.
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
    if "ssl.SSLCertVerificationError" in kinds:
        # After a comma, the message contains the host name.
        return FailureReason.TLS, str(getattr(error, "verify_message", "")).partition(",")[0]
    if "ssl.SSLError" in kinds:
        return FailureReason.TLS, str(getattr(error, "reason", "") or "handshake failed")
    if isinstance(error, TimeoutError):
        return FailureReason.TIMEOUT, _LATE
    if not isinstance(error.errno, int):  # the exceptions of requests have none
        return None
    if isinstance(error, socket.gaierror):
        return FailureReason.DNS, str(error.strerror)
    refused = isinstance(error, ConnectionRefusedError)
    reason = FailureReason.REFUSED if refused else FailureReason.CONNECTION
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
