"""Asks how all processes are: supervisord, or /proc where supervisord does not answer.

Law: an answer carries the moment of the question, so that an event that is received later wins.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from fpm_listener.daemon import supervisor_children
from fpm_listener.daemon.inbox import SupervisorAnswered
from fpm_listener.monitor.messages import ChildrenSeen, ExitsRead, ProcessesSeen
from fpm_listener.supervisor.exit_log import LogCursor
from fpm_listener.supervisor.rpc import RpcFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.monitor.messages import ReadExits
    from fpm_listener.supervisor.rpc import SupervisorRpc

log = logging.getLogger(__name__)

#: Bytes of supervisord's log that are read after a death; a line has some 100.
LOG_TAIL = 32 << 10
#: Bytes more for each death that waits, and for how many of them.
LOG_PER_DEATH, MOST_DEATHS = 512, 2000


class ProcessQuery:
    """Used by one thread."""

    def __init__(self, rpc: SupervisorRpc | None, put: Callable[[object], None]) -> None:
        """`put`: takes the answers."""
        self._rpc = rpc
        self._put = put
        self._cursor = LogCursor()
        self._failure: str | None = None  # what the log has reported

    def ask(self) -> None:
        """Ask, and hand over the answer."""
        if self._rpc is not None:
            asked_at_s = time.monotonic()
            answer = self._rpc.processes()
            if isinstance(answer, tuple):
                self._report(None)
                self._put(SupervisorAnswered(up=True))
                self._put(ProcessesSeen(answer, asked_at_s))
                return
            self._report(answer.why)
            self._put(SupervisorAnswered(up=False))
        asked_at_s = time.monotonic()
        self._put(ChildrenSeen(supervisor_children.look(), asked_at_s))

    def read_exits(self, requests: Sequence[ReadExits]) -> None:
        """Read the deaths that supervisord's log has and that were not read before."""
        if self._rpc is None:
            return
        deaths = max((request.deaths for request in requests), default=0)
        answer = self._rpc.read_log_tail(LOG_TAIL + min(deaths, MOST_DEATHS) * LOG_PER_DEATH)
        notes = () if isinstance(answer, RpcFailed) else tuple(self._cursor.take(answer))
        if requests or notes:
            asked_at_s = max((request.asked_at_s for request in requests), default=0.0)
            self._put(ExitsRead(notes, asked_at_s))

    def _report(self, why: str | None) -> None:
        if why == self._failure or (why and "SHUTDOWN_STATE" in why):
            return  # that it refuses while it shuts down is as it should be
        if why is not None:
            log.warning("supervisord XML-RPC is unavailable; exit codes are unknown why=%r", why)
        elif self._failure is not None:
            log.info("supervisord XML-RPC answers again")
        self._failure = why
