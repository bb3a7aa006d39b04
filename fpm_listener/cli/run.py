"""`fpm-listener run -- supervisord -n …`: PID 1 of a container, with supervisord as its child.

supervisord exits with 0 even when the listener has shut it down (`on_fatal`); this exits with 1.

Laws:
1. Every signal reaches supervisord, and once: the terminal sends its signals to both of us itself.
2. Every adopted process is reaped. The exit status is that of supervisord, or 128 + the number of
   the signal that killed it.
3. It sleeps until a signal comes, and imports little: it lives as long as the container.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from fpm_listener.host import exec as host_exec
from fpm_listener.host import procfs
from fpm_listener.host.run_channel import CANCELLED, SHUTDOWN, VARIABLE, RunChannel
from fpm_listener.values import FpmListenerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = "usage: fpm-listener run -- supervisord -n -c FILE"
#: Exit status after our own shutdown.
_SHUT_DOWN = 1
#: Signals that stay as they are: of our own faults, and of job control in a shell.
_NOT_FORWARDED = {
    *(signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL),
    *(signal.SIGTRAP, signal.SIGABRT, signal.SIGSYS, signal.SIGPIPE, signal.SIGXFSZ),
    *(signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGCONT),
}
#: si_code of a signal from a terminal (include/uapi/asm-generic/siginfo.h).
_FROM_KERNEL = 0x80
#: linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36


def run(words: Sequence[str]) -> int:
    """Run a command until it ends; return its exit status. Raises FpmListenerError."""
    command = words[1:] if words[:1] == ["--"] else words
    if not command or command[0].startswith("-"):
        raise FpmListenerError(f"run: the command is missing; {USAGE}")
    return _Run().serve(command)


class _Run:
    def __init__(self) -> None:
        self._waited = signal.valid_signals() - _NOT_FORWARDED
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # our parent may have ignored it
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self._waited)
        self._is_shut_down = False
        self._child = 0
        self._channel = _open_channel()
        if os.getpid() != 1:
            _adopt_orphans()

    def serve(self, command: Sequence[str]) -> int:
        """Start the command, and return its exit status."""
        environment = host_exec.original_environment()
        if self._channel is not None:
            environment[VARIABLE.encode()] = self._channel.name.encode()
        try:
            self._child = os.posix_spawnp(
                command[0],
                list(command),
                environment,
                setsigmask=self._mask,
                setsigdef=host_exec.IGNORED_BY_PYTHON,
            )
        except OSError as error:
            failed = host_exec.failed_status(error)
            _say(f"cannot execute {command[0]}: {error.strerror} (exit {failed})")
            return failed
        while True:
            found = signal.sigwaitinfo(self._waited)
            if found.si_signo == signal.SIGCHLD:
                status = self._reap()
                if status is not None:
                    return self._exit_status(status)
            elif found.si_signo == signal.SIGIO:
                self._read_messages()
            elif found.si_code != _FROM_KERNEL:
                os.kill(self._child, found.si_signo)  # it is not reaped, so it is our child

    def _reap(self) -> int | None:
        """Reap all that has ended; return the wait status of the command if it is among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == self._child:
                return status
            if not pid:
                return None

    def _read_messages(self) -> None:
        for message, pid, uid in self._channel.read() if self._channel else ():
            if message in {SHUTDOWN, CANCELLED} and self._is_trusted(pid, uid):
                self._is_shut_down = message == SHUTDOWN

    def _is_trusted(self, pid: int, uid: int) -> bool:
        """Return whether a process can be the listener; an application must not decide."""
        if uid in {0, os.geteuid()}:
            return True
        stat = procfs.read_stat(pid)
        return stat is not None and self._child in {stat.ppid, procfs.supervisor_of(stat.ppid)}

    def _exit_status(self, wait_status: int) -> int:
        self._read_messages()
        code = os.waitstatus_to_exitcode(wait_status)
        if code < 0:
            return 128 - code
        if self._is_shut_down and code == 0:
            _say(f"fpm-listener has shut supervisord down (on_fatal): exit {_SHUT_DOWN}")
            return _SHUT_DOWN
        if code == 0 and _is_in_background():
            _say("supervisord went to the background and ends now; start it with -n")
        return code


def _is_in_background() -> bool:
    """Return whether a supervisord is among the processes that we have adopted."""
    try:
        adopted = procfs.children(os.getpid())
    except OSError:
        return False
    return any("supervisord" in procfs.title(pid) for pid in adopted)


def _open_channel() -> RunChannel | None:
    """Return the socket for messages of the listener; supervisord starts even without it."""
    try:
        return RunChannel()
    except OSError as error:
        _say(f"no socket for the listener: {error.strerror}; on_fatal ends with exit 0")
        return None


def _adopt_orphans() -> None:
    """Let the kernel give us the orphans of supervisord, as PID 1 gets them."""
    import ctypes  # noqa: PLC0415 - PID 1 does not need it

    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        _say("orphans are not adopted: prctl failed")


def _say(sentence: str) -> None:
    with suppress(OSError):  # a closed stderr must not end the container
        os.write(2, f"fpm-listener run: {sentence}\n".encode("utf-8", "replace"))
