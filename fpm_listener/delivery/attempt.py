"""One attempt to tell a receiver of an alert: how it ends, and when the next one comes.

Laws:
1. Only a status of 2xx is a yes.
2. What may be different next time is tried again; what the receiver will never take is not.
3. A redirect is no yes and is never followed: whoever it points to is not whom the operator named.
4. A receiver that says when to come back is not asked before; none is asked by a fleet in step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.incidents.alert import Alert

#: Seconds: the mean of the first delay is half of it; it doubles with each failure.
BASE_S = 1.0

#: Seconds: no delay of our own is longer.
CAP_S = 300.0

#: Seconds: no wish of a receiver to be left alone is heeded for longer.
RETRY_AFTER_CAP_S = 3600.0

#: IMF-fixdate of RFC 9110 §5.6.7. Its two older forms are sent by nobody; they count as no header.
_HTTP_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), "
    r"(\d\d) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) (\d\d):(\d\d):(\d\d) GMT",
    re.ASCII,
)

_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver truly said yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """The receiver may say yes another time."""

    reason: FailureReason
    detail: str = ""  #: for people: status or errno text; never a URL, a host or a secret
    after_s: float | None = None  #: seconds that the receiver asked us to wait; None = it did not


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The receiver will never take this alert."""

    reason: FailureReason
    detail: str = ""  #: as in RetryLater


Outcome = Delivered | RetryLater | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a sender is given: tell this receiver of these alerts, in one message, once."""

    lane: str  #: of the receiver; one that is told at several places has several
    number: int  #: 1, 2, … for the first of the alerts, since the listener started
    rows: tuple[int, ...]  #: which entries of the outbox these are
    alerts: tuple[Alert, ...]  #: one for each row; never none


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """What a sender answers with."""

    attempt: Attempt
    outcome: Outcome


def delay(failures: int, random: float) -> float:
    """Return the seconds to wait after `failures` failures in a row: exponential, with full jitter.

    random: from 0 up to 1. Full jitter (anything from nothing to the whole delay) spreads a fleet
    best; source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    doublings = min(max(failures, 1) - 1, 20)  # far above the cap, far below an overflow
    return random * min(CAP_S, BASE_S * 2.0**doublings)


def retry_after(header: str | None, now_wall_s: float) -> float | None:
    """Return the seconds that a Retry-After header asks for; None where it says nothing we know.

    Source: RFC 9110 §10.2.3. Fractions are not in it, but are seen; a moment that is over means 0.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return min(float(text), RETRY_AFTER_CAP_S)
    found = _HTTP_DATE.fullmatch(text)
    if not found:
        return None
    day, month, year, hour, minute, second = found.groups()
    try:
        moment = datetime(
            int(year),
            _MONTHS.index(month) // 3 + 1,
            int(day),
            int(hour),
            int(minute),
            min(int(second), 59),  # 60 is allowed: a leap second
            tzinfo=timezone.utc,
        )
    except ValueError:
        return None
    return min(max(moment.timestamp() - now_wall_s, 0.0), RETRY_AFTER_CAP_S)


def classify(status: int, retry_after_header: str | None, now_wall_s: float) -> Outcome:
    """Return what an HTTP status means for the alert.

    Source: RFC 9110 §15, RFC 6585 §4 (429), RFC 8470 §5.2 (425).
    """
    detail = f"status {status}"
    if 200 <= status <= 299:
        return Delivered()
    if 300 <= status <= 399:
        return Rejected(reason=FailureReason.REDIRECT, detail=detail)
    again = {408: FailureReason.TIMEOUT, 425: FailureReason.CLIENT_ERROR}
    again[429] = FailureReason.RATE_LIMITED
    if 400 <= status <= 499 and status not in again:
        return Rejected(reason=FailureReason.CLIENT_ERROR, detail=detail)
    otherwise = FailureReason.SERVER_ERROR if 500 <= status <= 599 else FailureReason.OTHER
    return RetryLater(
        reason=again.get(status, otherwise),
        detail=detail,
        after_s=retry_after(retry_after_header, now_wall_s),
    )


class FailureReason(Enum):
    """Why one attempt failed."""

    REFUSED = "refused"  #: nobody listens there
    TIMEOUT = "timeout"  #: no whole answer before the deadline
    TLS = "tls"  #: the certificates, ours or theirs, or the handshake
    DNS = "dns"  #: the name of the host is not known
    CONNECTION = "connection"  #: reset, unreachable, closed without an answer
    CLIENT_ERROR = "client_error"  #: status 4xx
    SERVER_ERROR = "server_error"  #: status 5xx
    RATE_LIMITED = "rate_limited"  #: status 429, or a body that says "too fast"
    ANSWER = "answer"  #: a status of 2xx with a body that says no
    REDIRECT = "redirect"  #: status 3xx; never followed
    COMMAND = "command"  #: of kind exec: not found, or its exit status
    OTHER = "other"  #: an answer that is no HTTP, a file of the settings that cannot be read


class DropReason(Enum):
    """Why an alert was given up."""

    MAX_AGE = "max_age"  #: older than the operator wants to hear of
    MAX_ALERTS = "max_alerts"  #: more of them than the operator wants kept
    REJECTED = "rejected"  #: the receiver said that it will never take it
    NOT_HEARD = "not_heard"  #: a resolution whose firing the receiver did not get
    OPERATOR = "operator"  #: `fpm-listener alerts drop`
    FORGOTTEN = "forgotten"  #: an incident that nobody has spoken of for long
