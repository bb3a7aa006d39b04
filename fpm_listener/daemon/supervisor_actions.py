"""Self-healing: asks supervisord to start or stop a program, or to shut down.

Laws:
1. Only supervisord is asked, and only supervisord, our parent, is signalled.
2. Each action is logged, and so is each failure.
3. A shutdown is performed only while its reason lasts: an operator can start the program meanwhile.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener.daemon.shutdown_hints import ShutdownHints
from fpm_listener.host import procfs, run_channel, termination_log
from fpm_listener.monitor.final_end import FinalEnd
from fpm_listener.monitor.messages import SelfHeal, StopFailed
from fpm_listener.monitor.self_healing import Act
from fpm_listener.status import termination_text
from fpm_listener.supervisor.pipe import wake
from fpm_listener.supervisor.rpc import RpcFailed, RpcRefused, SupervisorRpc
from fpm_listener.values import assert_never

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.host.fallback_directory import StateDirectory
    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.settings.settings import Settings
    from fpm_listener.status.snapshot import Snapshot
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: File in state_dir: why we shut supervisord down. A container's entry point reads it.
MARK = "shutdown"
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Seconds to send alerts before supervisord shuts down; undelivered ones stay on disk.
ALERTS_FIRST_S = 10.0
#: What is logged, with the program.
_SHUTDOWNS = {
    FinalEnd.FATAL: "shutting supervisord down: a program is FATAL program=%s",
    FinalEnd.CRASH: "shutting supervisord down: a program crashed, and has autorestart=false"
    " program=%s",
    FinalEnd.EXPECTED_EXIT: "shutting supervisord down: a program of on_fatal_programs exited"
    " program=%s",
}
_NO_RPC = RpcRefused(
    why="XML-RPC is not configured: add [unix_http_server] and [rpcinterface:supervisor]"
)


class SupervisorActions:
    """Used by one thread."""

    def __init__(
        self,
        rpc: SupervisorRpc | None,
        settings: Settings,
        directory: StateDirectory,
        put: Callable[[StopFailed], None],
        snapshot: Callable[[], Snapshot],
    ) -> None:
        self.settings = settings  #: in use
        self._rpc = rpc
        self._directory = directory
        self._put = put
        self._snapshot = snapshot
        self._supervisord = _supervisord()
        self.hints = ShutdownHints(self._supervisord, os.environ)  #: used by the main thread

    def clear_mark(self) -> None:
        """Delete the reason of the last shutdown; if it was a reload, `run` still waits for it."""
        self._tell_run(run_channel.CANCELLED)
        with suppress(OSError):
            os.unlink(f"{self._directory.prepare()}/{MARK}")  # noqa: PTH108 - it stays text

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
        view = self._ended(process)
        deadline_s = time.monotonic() + ALERTS_FIRST_S
        while view is not None and self._alerts_pending() and time.monotonic() < deadline_s:
            time.sleep(0.1)
            view = self._ended(process)
        if view is None or view.final_end is None:
            log.warning(
                "supervisord is not shut down: the program was started, or supervisord ends"
                " program=%s",
                process.shown,
            )
            return
        log.critical(_SHUTDOWNS[view.final_end], process.shown)
        reason = termination_text.lines(view)
        self._write_mark(reason[0] + "\n")
        self._write_termination_log("\n".join(reason) + "\n")
        self._tell_run(run_channel.SHUTDOWN)
        if self._end_supervisord():
            wake(process)  # it reads its signals when its poll ends, after up to a second
        else:
            self._tell_run(run_channel.CANCELLED)

    def _ended(self, process: ProcessName) -> ProcessView | None:
        """Return a process that has ended for good; None = that is over."""
        views = self._snapshot().processes
        return next((one for one in views if one.name == process and one.final_end), None)

    def _alerts_pending(self) -> bool:
        return any(receiver.pending for receiver in self._snapshot().receivers)

    def _end_supervisord(self) -> bool:
        """Shut supervisord down; return False if that is not possible."""
        answer = self._rpc.shutdown() if self._rpc else _NO_RPC
        if not isinstance(answer, RpcFailed) or "SHUTDOWN_STATE" in answer.why:
            return True  # or it ends already, or reloads: a signal would change that
        try:
            if _supervisord() != self._supervisord:
                raise ProcessLookupError(errno.ESRCH, "the parent is not supervisord any more")
            os.kill(self._supervisord, signal.SIGTERM)
        except OSError as error:
            log.error(  # noqa: TRY400 - no traceback at 3 a.m.
                "supervisord cannot be shut down; remove user= from the listener's section, or add"
                " [unix_http_server] and [rpcinterface:supervisor] rpc=%r signal=%r",
                *(answer.why, error.strerror),
            )
            return False
        return True

    def _tell_run(self, message: bytes) -> None:
        """Tell `fpm-listener run`, which exits with 1 after our shutdown."""
        try:
            run_channel.tell(message, os.environ)
        except OSError as error:
            log.warning(
                "fpm-listener run does not answer; the exit status can be wrong why=%r",
                error.strerror or str(error),
            )

    def _write_termination_log(self, text: str) -> None:
        path = str(self.settings.termination_log)
        try:
            termination_log.write(path, text)
        except OSError as error:
            log.warning("termination log not written path=%s why=%r", path, error.strerror)

    def _write_mark(self, text: str) -> None:
        try:
            path = f"{self._directory.prepare()}/{MARK}"
            with suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - it stays text
            with open(os.open(path, _CREATE, 0o644), "w", encoding="utf-8") as file:  # noqa: PTH123 - by its descriptor
                file.write(text)
        except OSError as error:
            folder = self._directory.locate()
            log.error("shutdown reason not written path=%s why=%r", folder, error.strerror)  # noqa: TRY400 - the same


def _supervisord() -> int:
    """Return the pid of supervisord: our parent, or that of the script that has started us."""
    return procfs.supervisor_of(os.getpid()) or os.getppid()
