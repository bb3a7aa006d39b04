"""Asks supervisord for the states of all processes; reads /proc if supervisord does not answer.

Law: an answer has the time of its question, so that an event that comes later wins.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from fpm_listener.daemon import supervisor_children
from fpm_listener.daemon.inbox import SupervisorAnswered
from fpm_listener.monitor.messages import ChildrenSeen, ExitsRead, ProcessesSeen
from fpm_listener.supervisor.exit_log import ExitNote, KillNote, LogCursor
from fpm_listener.supervisor.rpc import RpcFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.monitor.messages import ReadExits
    from fpm_listener.supervisor.rpc import SupervisorRpc

log = logging.getLogger(__name__)

#: Bytes of supervisord's log that are read after an exit; a line has some 100.
LOG_TAIL = 32 << 10
#: More bytes for each exit that waits for its line, and the most exits that count.
LOG_PER_EXIT, MOST_EXITS = 512, 2000


class ProcessQuery:
    """Used by one thread."""

    def __init__(self, rpc: SupervisorRpc | None, put: Callable[[object], None]) -> None:
        """`put`: gets the answers."""
        self._rpc = rpc
        self._put = put
        self._cursor = LogCursor()
        self._failure: str | None = None  # what the log has reported

    def ask(self) -> None:
        """Ask, and send the answer."""
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
        """Read the exits that are new in supervisord's log."""
        if self._rpc is None:
            return
        exits = max((request.exits for request in requests), default=0)
        answer = self._rpc.read_log_tail(LOG_TAIL + min(exits, MOST_EXITS) * LOG_PER_EXIT)
        notes = [] if isinstance(answer, RpcFailed) else self._cursor.take(answer)
        if requests or notes:
            asked_at_s = max((request.asked_at_s for request in requests), default=0.0)
            ended = tuple(note for note in notes if isinstance(note, ExitNote))
            kills = tuple(note for note in notes if isinstance(note, KillNote))
            self._put(ExitsRead(ended, asked_at_s, kills))

    def _report(self, why: str | None) -> None:
        if why == self._failure or (why and "SHUTDOWN_STATE" in why):
            return  # it refuses while it shuts down, as it should
        if why is not None:
            log.warning("supervisord XML-RPC is unavailable; exit codes can be unknown why=%r", why)
        elif self._failure is not None:
            log.info("supervisord XML-RPC answers again")
        self._failure = why
