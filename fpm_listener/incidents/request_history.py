"""What the workers were doing before an incident, for its alerts (`fpm_status = full`).

Laws:
1. It is in memory only: no saved state, view or metric has it. An alert has its lines.
2. Each line states how old it is. An answer that is not surely older than the incident is not used.
3. It is bounded: a few answers of each pool, with a few requests each.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fpm_listener.durations import age, short
from fpm_listener.host.output_lines import readable
from fpm_listener.phpfpm.worker_requests import MOST
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.phpfpm.worker_requests import PoolRequests, WorkerRequest

#: Answers that are kept of each pool, and pools. While something is wrong, pools are asked often.
_ANSWERS, _POOLS = 8, 1000
#: Seconds by which the listener can hear late of an exit: supervisord looks once a second.
_HEARD_LATE_S = 2.0
#: Older answers explain nothing.
_OLDEST_S = 3600.0
_MIB = 1 << 20

#: By cause: the event that the age of an answer refers to.
_EVENTS = {
    "crash_signal": "the crash",
    "out_of_memory": "the kernel killed it",
    "not_answering": "the first status request without an answer",
    "saturated": "this alert",
}
#: Causes whose alerts show requests.
WITH_REQUESTS = frozenset(cause for cause in Cause if cause.value in _EVENTS)


class RequestHistory:
    """The last answers of one php-fpm's pools. All moments are monotonic seconds."""

    def __init__(self) -> None:
        self._answers: dict[str, deque[PoolRequests]] = {}

    def take(self, answers: Iterable[PoolRequests]) -> None:
        """Take new answers."""
        for answer in answers:
            if answer.pool in self._answers or len(self._answers) < _POOLS:
                self._answers.setdefault(answer.pool, deque(maxlen=_ANSWERS)).append(answer)

    def clear(self) -> None:
        """Forget everything: the operator has switched it off."""
        self._answers.clear()

    def lines(self, cause: Cause, at_s: float) -> tuple[str, ...]:
        """Return a line for each of the longest requests before the incident; empty = unknown.

        at_s: of the crash, or of the first request without an answer, or now.
        """
        if cause not in WITH_REQUESTS:
            return ()
        event = _EVENTS[cause.value]
        late_s = _HEARD_LATE_S if cause.value in {"crash_signal", "out_of_memory"} else 0.0
        found = [
            (request, answer)
            for answers in self._answers.values()
            if (answer := _last_before(answers, at_s - late_s, at_s - _OLDEST_S)) is not None
            for request in answer.requests
        ]
        found.sort(key=lambda one: -one[0].duration_s)
        return tuple(
            readable(
                f"seen: {age(at_s - answer.at_s)} before {event}: {_text(request, answer.pool)}"
                for request, answer in found[:MOST]
            )
        )


def _last_before(
    answers: Iterable[PoolRequests], until_s: float, since_s: float
) -> PoolRequests | None:
    fitting = [one for one in answers if since_s <= one.at_s <= until_s]
    return fitting[-1] if fitting else None


def _text(request: WorkerRequest, pool: str) -> str:
    memory = request.memory_bytes
    used = "" if memory is None else f", {memory / _MIB:.0f} MiB"
    what = f"{request.method} {request.script}"
    return f"pool {pool}: {what}, running for {short(request.duration_s)}{used}"
