"""One attempt to deliver alerts to a receiver: its result, and the delay before the next attempt.

Laws:
1. Only a status of 2xx is a success.
2. A failure that may be different next time is retried; an alert that was rejected is not.
3. A redirect is a failure and is not followed: the operator did not name its destination.
4. A receiver that requests a delay is not contacted before; the delays of a fleet are random.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.incidents.alert import Alert

#: Seconds: the mean of the first delay is half of it; it doubles with each failure.
FIRST_DELAY_S = 1.0

#: Seconds: the longest delay that the listener chooses.
LONGEST_DELAY_S = 300.0

#: Seconds: the longest delay that a receiver can request.
LONGEST_RETRY_AFTER_S = 3600.0


class FailureReason(Enum):
    """Why one attempt failed."""

    REFUSED = "refused"  #: no process listens there
    TIMEOUT = "timeout"  #: no complete response before the deadline
    TLS = "tls"  #: the certificates, ours or theirs, or the handshake
    DNS = "dns"  #: the host name is unknown
    CONNECTION = "connection"  #: reset, unreachable, closed without a response
    CLIENT_ERROR = "client_error"  #: status 4xx
    SERVER_ERROR = "server_error"  #: status 5xx
    RATE_LIMITED = "rate_limited"  #: status 429, or a body that says "too fast"
    ANSWER = "answer"  #: a status of 2xx with a body that reports an error
    REDIRECT = "redirect"  #: status 3xx; never followed
    COMMAND = "command"  #: of kind exec: not found, or its exit status
    OTHER = "other"  #: a response that is not HTTP, a file of the settings that cannot be read


class DropReason(Enum):
    """Why an alert was dropped."""

    MAX_AGE = "max_age"  #: older than the operator wants
    MAX_ALERTS = "max_alerts"  #: more alerts than the operator wants to keep
    REJECTED = "rejected"  #: the receiver will never accept it
    NOT_NOTIFIED = "not_notified"  #: a resolved alert whose firing one the receiver did not get
    OPERATOR = "operator"  #: `fpm-listener alerts drop`
    STALE = "stale"  #: a firing incident without a new alert for a long time


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver accepted the alerts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLater:
    """The receiver may accept the alerts another time."""

    reason: FailureReason
    detail: str = ""  #: for people: status or errno text; never a URL, a host or a secret
    after_s: float | None = None  #: seconds that the receiver requests; None = it does not


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The receiver will never accept the alerts."""

    reason: FailureReason
    detail: str = ""  #: as in RetryLater


Outcome = Delivered | RetryLater | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Order for a sender: send these alerts in one message, once."""

    queue: str  #: its name; a receiver with several URLs has several queues
    number: int  #: 1, 2, … for the first of the alerts, since the listener started
    alert_numbers: tuple[int, ...]  #: of the entries in the outbox
    alerts: tuple[Alert, ...]  #: one for each number; at least one


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """How an attempt ended, from its sender."""

    attempt: Attempt
    outcome: Outcome


def delay_s(failures: int, random: float) -> float:
    """Return the seconds to wait after `failures` failures in a row: exponential, with full jitter.

    random: from 0 up to 1. Full jitter (any part of the delay) spreads a fleet best; source:
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    doublings = min(max(failures, 1) - 1, 20)  # far above the limit, far below an overflow
    return random * min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0**doublings)


def retry_after(header: str | None, now_wall_s: float) -> float | None:
    """Return the seconds that a Retry-After header requests; None if it is missing or unknown.

    Source: RFC 9110 §10.2.3. Fractions are not in it, but exist; a moment in the past means 0.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text):
        return min(float(text), LONGEST_RETRY_AFTER_S)
    # IMF-fixdate of RFC 9110 §5.6.7, in which a leap second is allowed. The two older forms are no
    # longer sent; they count as no header.
    text = text.replace(":60 GMT", ":59 GMT")
    try:
        moment = datetime.strptime(f"{text}+0000", "%a, %d %b %Y %H:%M:%S GMT%z")
    except ValueError:
        return None
    return min(max(moment.timestamp() - now_wall_s, 0.0), LONGEST_RETRY_AFTER_S)


def classify_status(status: int, retry_after_header: str | None, now_wall_s: float) -> Outcome:
    """Return what an HTTP status means for the alert.

    Source: RFC 9110 §15, RFC 6585 §4 (429), RFC 8470 §5.2 (425).
    """
    detail = f"status {status}"
    if 200 <= status <= 299:
        return Delivered()
    if 300 <= status <= 399:
        return Rejected(reason=FailureReason.REDIRECT, detail=detail)
    temporary = {
        408: FailureReason.TIMEOUT,
        425: FailureReason.CLIENT_ERROR,
        429: FailureReason.RATE_LIMITED,
    }
    if 400 <= status <= 499 and status not in temporary:
        return Rejected(reason=FailureReason.CLIENT_ERROR, detail=detail)
    otherwise = FailureReason.SERVER_ERROR if 500 <= status <= 599 else FailureReason.OTHER
    return RetryLater(
        reason=temporary.get(status, otherwise),
        detail=detail,
        after_s=retry_after(retry_after_header, now_wall_s),
    )
