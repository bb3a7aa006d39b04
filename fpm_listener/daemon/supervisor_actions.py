"""Has supervisord start, stop or end, where the operator wants healing.

Laws:
1. Nobody but supervisord is asked, and no process but it is signalled, which is our parent.
2. Everything that is done is logged, and so is what could not be done.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener.host import state_directory
from fpm_listener.monitor.messages import SelfHeal, StopFailed
from fpm_listener.monitor.self_healing import Act
from fpm_listener.supervisor.rpc import RpcFailed, RpcRefused, SupervisorRpc
from fpm_listener.values import assert_never

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: In state_dir: why we have ended supervisord. An entry point makes an exit status of it.
MARK = "shutdown"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Seconds for which alerts may be sent before supervisord ends; they outlive it on disk anyway.
ALERTS_FIRST_S = 10.0
_NO_RPC = RpcRefused(
    why="there is no XML-RPC: add [unix_http_server] and [rpcinterface:supervisor]"
)


class SupervisorActions:
    """Used by one thread."""

    def __init__(
        self,
        rpc: SupervisorRpc | None,
        state_dir: Path,
        put: Callable[[StopFailed], None],
        are_alerts_owed: Callable[[], bool],
    ) -> None:
        self._rpc = rpc
        self._state_dir = str(state_dir)
        self._put = put
        self._are_alerts_owed = are_alerts_owed
        self._supervisord = os.getppid()

    def begin(self) -> None:
        """Forget why supervisord was ended last time."""
        with suppress(OSError):
            os.unlink(f"{state_directory.prepare(self._state_dir)}/{MARK}")  # noqa: PTH108 - it stays text

    def heal(self, order: SelfHeal) -> None:
        """Do it."""
        match order.act:
            case Act.START:
                self._start(order.process)
            case Act.HALT:
                self._halt(order.process)
            case Act.SHUT_DOWN:
                self._shut_down(order.process)
            case _:
                assert_never(order.act)

    def _start(self, process: ProcessName) -> None:
        answer = self._rpc.start(process) if self._rpc else _NO_RPC
        if isinstance(answer, RpcFailed) and "SHUTDOWN_STATE" in answer.why:
            log.info("a program is left to the next supervisord program=%s", process.shown)
        elif isinstance(answer, RpcFailed):
            log.error("a program is not started again program=%s why=%r", process.shown, answer.why)
        else:
            log.warning("a program is started again program=%s", process.shown)

    def _halt(self, process: ProcessName) -> None:
        answer = self._rpc.stop(process) if self._rpc else _NO_RPC
        if isinstance(answer, RpcFailed):
            log.error(
                "a program that loops is not stopped program=%s why=%r", process.shown, answer.why
            )
            if isinstance(answer, RpcRefused):  # else it may have been done all the same
                self._put(StopFailed(process))
        else:
            log.warning("a program that loops is stopped for a while program=%s", process.shown)

    def _shut_down(self, process: ProcessName) -> None:
        log.critical(
            "supervisord is ended, since it gave up on a program program=%s", process.shown
        )
        deadline_s = time.monotonic() + ALERTS_FIRST_S
        while self._are_alerts_owed() and time.monotonic() < deadline_s:
            time.sleep(0.1)
        self._write_mark(f"supervisord gave up on {process}\n")
        answer = self._rpc.shutdown() if self._rpc else _NO_RPC
        if not isinstance(answer, RpcFailed):
            return
        try:
            os.kill(self._supervisord, signal.SIGTERM)
        except OSError as error:
            log.error("supervisord is not ended rpc=%r signal=%r", answer.why, error.strerror)  # noqa: TRY400 - as above

    def _write_mark(self, text: str) -> None:
        try:
            path = f"{state_directory.prepare(self._state_dir)}/{MARK}"
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - it stays text
            with open(os.open(path, _CREATE, 0o644), "w", encoding="utf-8") as file:  # noqa: PTH123 - by its descriptor
                file.write(text)
        except OSError as error:
            log.error("the reason is not written path=%s why=%r", self._state_dir, error.strerror)  # noqa: TRY400 - no traceback at 3 a.m.
