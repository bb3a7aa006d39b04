"""Self-healing: asks supervisord to start or stop a program, or to shut down.

Laws:
1. Only supervisord is asked, and only supervisord, our parent, is signalled.
2. Each action is logged, and so is each failure.
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

#: File in state_dir: why we shut supervisord down. A container's entry point reads it.
MARK = "shutdown"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Seconds to send alerts before supervisord shuts down; undelivered ones stay on disk.
ALERTS_FIRST_S = 10.0
_NO_RPC = RpcRefused(
    why="XML-RPC is not configured: add [unix_http_server] and [rpcinterface:supervisor]"
)


class SupervisorActions:
    """Used by one thread."""

    def __init__(
        self,
        rpc: SupervisorRpc | None,
        state_dir: Path,
        put: Callable[[StopFailed], None],
        alerts_pending: Callable[[], bool],
    ) -> None:
        self._rpc = rpc
        self._state_dir = str(state_dir)
        self._put = put
        self._alerts_pending = alerts_pending
        self._supervisord = os.getppid()

    def clear_mark(self) -> None:
        """Delete the reason of the last shutdown."""
        with suppress(OSError):
            os.unlink(f"{state_directory.prepare(self._state_dir)}/{MARK}")  # noqa: PTH108 - it stays text

    def heal(self, order: SelfHeal) -> None:
        """Perform one action."""
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
        if not isinstance(answer, RpcFailed):
            log.warning("program started by self-healing program=%s", process.shown)
        elif "SHUTDOWN_STATE" in answer.why:
            log.info("supervisord shuts down; program is not started program=%s", process.shown)
        else:
            log.error("program cannot be started program=%s why=%r", process.shown, answer.why)

    def _halt(self, process: ProcessName) -> None:
        answer = self._rpc.stop(process) if self._rpc else _NO_RPC
        if not isinstance(answer, RpcFailed):
            log.warning("program stopped for a while: restart loop program=%s", process.shown)
            return
        log.error("program cannot be stopped program=%s why=%r", process.shown, answer.why)
        if isinstance(answer, RpcRefused):  # otherwise it may have been done
            self._put(StopFailed(process))

    def _shut_down(self, process: ProcessName) -> None:
        log.critical("shutting supervisord down: a program is FATAL program=%s", process.shown)
        deadline_s = time.monotonic() + ALERTS_FIRST_S
        while self._alerts_pending() and time.monotonic() < deadline_s:
            time.sleep(0.1)
        self._write_mark(f"supervisord gave up on {process}\n")
        answer = self._rpc.shutdown() if self._rpc else _NO_RPC
        if not isinstance(answer, RpcFailed):
            return
        try:
            os.kill(self._supervisord, signal.SIGTERM)
        except OSError as error:
            log.error(  # noqa: TRY400 - no traceback at 3 a.m.
                "supervisord cannot be shut down rpc=%r signal=%r", answer.why, error.strerror
            )

    def _write_mark(self, text: str) -> None:
        try:
            path = f"{state_directory.prepare(self._state_dir)}/{MARK}"
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - it stays text
            with open(os.open(path, _CREATE, 0o644), "w", encoding="utf-8") as file:  # noqa: PTH123 - by its descriptor
                file.write(text)
        except OSError as error:
            log.error("shutdown reason not written path=%s why=%r", self._state_dir, error.strerror)  # noqa: TRY400 - the same
