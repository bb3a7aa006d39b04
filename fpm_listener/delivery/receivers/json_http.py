"""Answers whose body says what the status does not, and bodies that are JSON."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from fpm_listener.delivery.attempt import Delivered, FailureReason, Rejected, RetryLater
from fpm_listener.delivery.receivers.http import HttpRequest, by_status
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import HttpAnswer

#: Characters of what a service says that are passed on to people.
_SAID = 120


def as_json(url: str, document: Any, headers: Mapping[str, str] | None = None) -> HttpRequest:  # noqa: ANN401 - JSON
    """Return a request that posts `document`."""
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    return HttpRequest(
        url=url, body=body, headers={"Content-Type": "application/json", **(headers or {})}
    )


def parse(answer: HttpAnswer) -> dict[str, Any] | None:
    """Return the JSON object in the body; None where there is none."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def by_code(
    answer: HttpAnswer,
    now_s: float,
    *,
    names: tuple[tuple[str, str], ...],
    too_fast: Collection[int],
    never: Collection[int],
    wait_s: float | None = None,
) -> Outcome:
    """Return what a body with a code says: 0 is a yes, and nothing else is.

    names: the keys of code and message, by preference. too_fast, never: codes that mean so; any
    other may heal. wait_s: for how long the service is left alone when it was asked too often.
    """
    outcome = by_status(answer, now_s)
    document = parse(answer)
    if not isinstance(outcome, Delivered) and (document is None or answer.status == 429):
        return outcome
    if document is None:
        return not_understood()
    found = next((pair for pair in names if pair[0] in document), None)
    if found is None:
        return not_understood() if isinstance(outcome, Delivered) else outcome
    code, message = document[found[0]], document.get(found[1], "")
    if type(code) is not int:  # true and false are numbers to Python
        code = None
    if code == 0:
        return outcome
    detail = f"{found[0]} {code}: {said(message)}"
    if code in too_fast:
        return RetryLater(reason=FailureReason.RATE_LIMITED, detail=detail, after_s=wait_s)
    if code in never:
        return Rejected(reason=FailureReason.ANSWER, detail=detail)
    if isinstance(outcome, Delivered):
        return RetryLater(reason=FailureReason.ANSWER, detail=detail)
    return outcome


def not_understood() -> RetryLater:
    """Return the outcome of an answer that is neither a yes nor a no."""
    return RetryLater(
        reason=FailureReason.ANSWER,
        detail="the answer is not what this service says; is it the right URL?",
    )


def said(message: object) -> str:
    """Return what a service said, short and in one line."""
    return " ".join(clean(str(message)).split())[:_SAID]


def rfc3339(wall_s: float | None) -> str:
    """Return RFC 3339, in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(wall_s or 0.0, tz=timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
