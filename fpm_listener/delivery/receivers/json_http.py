"""Requests and responses in JSON, and responses whose body decides, not their status."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from fpm_listener.delivery.attempt import (
    LONGEST_RETRY_AFTER_S,
    Delivered,
    FailureReason,
    Rejected,
    RetryLater,
)
from fpm_listener.delivery.receivers.http import HttpRequest, by_status
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpResponse

#: Characters of a service's message that people see.
_LONGEST_MESSAGE = 120

NOT_UNDERSTOOD = RetryLater(
    reason=FailureReason.ANSWER, detail="the response is not one of this service; check the URL"
)


def as_json(url: str, document: Any, headers: Mapping[str, str] | None = None) -> HttpRequest:  # noqa: ANN401 - JSON
    """Return a request that posts `document`."""
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    return HttpRequest(
        url=url, body=body, headers={"Content-Type": "application/json", **(headers or {})}
    )


def with_query(url: str, **values: object) -> str:
    """Return a URL with more values in its query."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(values)}"


def parse(response: HttpResponse) -> dict[str, Any] | None:
    """Return the JSON object in the body; None if there is none."""
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeInBody:
    """How a service reports the result with a code in the body; only 0 is a success."""

    keys: tuple[tuple[str, str], ...]  #: of code and message; the first pair that exists counts
    too_fast: Collection[int]  #: codes of a rate limit
    rejected: Collection[int]  #: codes of errors that stay; all others are retried
    pause_s: float | None = None  #: delay after a rate limit

    def classify(self, response: HttpResponse, now_s: float) -> Outcome:
        """Return the outcome; now_s: wall seconds."""
        outcome = by_status(response, now_s)
        delivered = isinstance(outcome, Delivered)
        document = parse(response)
        if not delivered and (document is None or response.status == 429):
            return outcome
        keys = next((pair for pair in self.keys if document and pair[0] in document), None)
        if document is None or keys is None:
            return NOT_UNDERSTOOD if delivered else outcome
        code = document[keys[0]]
        if type(code) is not int:  # true and false are numbers in Python
            code = None
        if code == 0:
            return outcome
        detail = f"{keys[0]} {code}: {one_line(document.get(keys[1], ''))}"
        if code in self.too_fast:
            reason = FailureReason.RATE_LIMITED
            return RetryLater(reason=reason, detail=detail, after_s=self.pause_s)
        if code in self.rejected:
            return Rejected(reason=FailureReason.ANSWER, detail=detail)
        return RetryLater(reason=FailureReason.ANSWER, detail=detail) if delivered else outcome


def with_delay(outcome: Outcome, delay_s: object) -> Outcome:
    """Return the outcome with a delay that the body requests, if it is a number."""
    if isinstance(outcome, RetryLater) and isinstance(delay_s, int | float) and delay_s >= 0:
        return replace(outcome, after_s=float(min(delay_s, LONGEST_RETRY_AFTER_S)))
    return outcome


def with_message(outcome: Outcome, message: object) -> Outcome:
    """Return a failure with the message of the service."""
    if isinstance(outcome, Delivered):
        return outcome
    return replace(outcome, detail=f"{outcome.detail}: {one_line(message)}")


def one_line(message: object) -> str:
    """Return the message of a service, cut and in one line."""
    return " ".join(clean(str(message)).split())[:_LONGEST_MESSAGE]


def rfc3339(wall_s: float | None) -> str:
    """Return RFC 3339, in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(wall_s or 0.0, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
