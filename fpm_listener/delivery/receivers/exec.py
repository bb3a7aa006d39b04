"""A command of the operator's, told of an alert as JSON on its stdin.

Exit status 0 is a yes. 64 to 78, as sysexits.h has them, are a no for ever, but for 69, 71, 74 and
75 (unavailable, system, input/output, try again); everything else may heal.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Delivered, FailureReason, Rejected, RetryLater
from fpm_listener.delivery.receivers.command import Command
from fpm_listener.delivery.receivers.json_http import said
from fpm_listener.delivery.receivers.webhook import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

_FOR_EVER = set(range(64, 79)) - {69, 71, 74, 75}
#: Bytes of what a command wrote that are shown.
_SAID = 4096


def make(settings: ReceiverSettings, external_url: str, trace: Trace | None = None) -> Exec:  # noqa: ARG001 - as every kind
    """Return the receiver."""
    return Exec(settings, trace)


class Exec:
    """One receiver of kind `exec`."""

    def __init__(self, settings: ReceiverSettings, trace: Trace | None) -> None:
        self._settings = settings
        self._trace = trace

    def send(self, alerts: Sequence[Alert]) -> Outcome:
        """Run the command, once."""
        (alert,) = alerts
        body = plain(alert) + b"\n"
        if self._trace is not None:
            self._trace.sent(f"RUN {self._settings.command[0]}", body.decode("ascii"))
        try:
            command = Command(self._settings.command)
            status = command.run(body, self._settings.timeout_s)
        except OSError as error:
            detail = os.strerror(error.errno or 0)
            return RetryLater(reason=FailureReason.COMMAND, detail=f"cannot be run: {detail}")
        text = command.output[:_SAID].decode("utf-8", "replace")
        if status is None:
            return RetryLater(
                reason=FailureReason.TIMEOUT, detail="did not end before the deadline"
            )
        if self._trace is not None:
            self._trace.came_back(f"exit status {status}", text)
        if status == 0:
            return Delivered()
        log.warning(
            "the command of a receiver failed receiver=%s status=%s said=%r",
            self._settings.name,
            status,
            said(text),
        )
        kind = Rejected if status in _FOR_EVER else RetryLater
        what = f"exit status {status}" if status > 0 else f"ended by signal {-status}"
        return kind(reason=FailureReason.COMMAND, detail=what)
