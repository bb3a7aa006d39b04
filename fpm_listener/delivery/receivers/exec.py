"""A command of the operator, which gets an alert as JSON on its stdin.

Exit status 0 is a success. 64 to 78 of sysexits.h are permanent failures, except 69, 71, 74 and 75
(unavailable, system, input/output, try again). All others are retried.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from fpm_listener.delivery.attempt import Delivered, FailureReason, Rejected, RetryLater
from fpm_listener.delivery.receivers.command import Command
from fpm_listener.delivery.receivers.json_http import one_line
from fpm_listener.delivery.receivers.webhook import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.delivery.attempt import Outcome
    from fpm_listener.delivery.receivers.http import Trace
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

_PERMANENT = set(range(64, 79)) - {69, 71, 74, 75}
#: Bytes of the output that are shown.
_SHOWN = 4096


class Exec:
    """One receiver of kind `exec`."""

    def __init__(self, settings: ReceiverSettings, _external_url: str, trace: Trace | None) -> None:
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
            detail = f"cannot run the command: {os.strerror(error.errno or 0)}"
            return RetryLater(reason=FailureReason.COMMAND, detail=detail)
        if status is None:
            detail = "the command did not exit before the deadline"
            return RetryLater(reason=FailureReason.TIMEOUT, detail=detail)
        output = command.output[:_SHOWN].decode("utf-8", "replace")
        if self._trace is not None:
            self._trace.received(f"exit status {status}", output)
        if status == 0:
            return Delivered()
        log.warning(
            "the command of a receiver failed receiver=%s status=%s output=%r",
            self._settings.name,
            status,
            one_line(output),
        )
        outcome = Rejected if status in _PERMANENT else RetryLater
        detail = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
        return outcome(reason=FailureReason.COMMAND, detail=detail)


make = Exec
