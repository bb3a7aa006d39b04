"""Gets an address back from our own listener that holds it and does not release it.

The listener can hang, have another version, or be unreachable. A held socket must never keep
php-fpm from starting (docs/adr/016).

Laws:
1. Only a listener of our own supervisord, or of one that is gone, is touched. The proof uses the
   pidfd that is signalled.
2. Three ways, until one succeeds: ask it, copy its socket (pidfd_getfd), kill it.
3. A listener that answers is killed only if its supervisord is gone.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stubs; `signal` costs a millisecond
import errno
import os
import re
import select
from typing import TYPE_CHECKING

from fpm_listener.guard import bind
from fpm_listener.guard.bind import Bound
from fpm_listener.guard.refusal import say
from fpm_listener.host import procfs
from fpm_listener.host.address_holders import HolderKind
from fpm_listener.phpfpm.guard_messages import GuardCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.host.addresses import TcpAddress, UnixAddress

_LISTENER = re.compile(r"fpm[-_]listener(?:\.pyz)? listen\b")
#: pidfd_getfd(2) has the same number on all architectures that Debian, Alpine and Fedora support.
_PIDFD_GETFD = 438
#: Seconds that a killed listener may take to exit.
_END_S = 1.0


class Reclaim:
    """The fallbacks of one start."""

    def __init__(
        self,
        environment: Mapping[str, str],
        ask: Callable[[], bool],
        *,
        answered: bool | None,
    ) -> None:
        """`ask`: returns whether the listener answers; `answered`: None = it was not asked."""
        self._environment = environment
        self._answered = answered
        self._ask = ask
        self._killed: set[int] = set()
        self.has_acted = False  #: the listener releases the address, or was killed

    def get(self, address: TcpAddress | UnixAddress, report: HolderReport) -> Bound | None:
        """Return the socket that our listener holds there, or None: then try the address again.

        Does nothing if a running php-fpm has the socket, too. Orphans and their children can have
        it: php-fpm can share it with them.
        """
        listeners = [pid for pid in report.pids if pid != os.getpid() and _is_own_listener(pid)]
        runs = any(holder.kind is HolderKind.MASTER for holder in report.holders)
        if not listeners or runs:
            return None
        if self._answered is None:
            self._answered = self._ask()
            if self._answered:
                self.has_acted = True
                return None  # it releases the address now
        for pid in listeners:
            copied = _copy(pid, address)
            if copied is not None:
                self._report_copy(address.text, pid, report)
                if procfs.supervisor_of(pid) != procfs.supervisor_of(os.getpid()):
                    self._kill(pid)  # its supervisord is gone
                return copied
        if not self._answered:
            for pid in listeners:
                self._kill(pid)
        return None

    def _report_copy(self, address: str, pid: int, report: HolderReport) -> None:
        sentence = f"copied the socket of {address} from the listener, pid {pid}"
        if not self._answered:
            holder = next((holder for holder in report.holders if pid in holder.pids), None)
            from fpm_listener.host import holder_remedies  # noqa: PLC0415 - most starts do not need it

            restart = holder_remedies.restart_listener(holder) if holder else None
            sentence += f", which does not answer. Restart it{f': {restart}' if restart else ''}"
        say(GuardCode.SOCKET_COPIED, sentence, address=address, pid=pid)

    def _kill(self, pid: int) -> None:
        """Kill a listener that does not answer; supervisord starts it again."""
        if pid in self._killed:
            return
        self._killed.add(pid)
        try:
            descriptor = procfs.open_pidfd(pid)
        except ProcessLookupError:
            return
        try:
            if not _is_own_listener(pid):
                return
            self.has_acted = True
            sentence = f"killing the listener, pid {pid}: it holds the address and does not answer"
            say(GuardCode.LISTENER_KILLED, sentence, pid=pid)
            try:
                if descriptor is None:
                    os.kill(pid, _signal.SIGKILL)
                else:
                    _signal.pidfd_send_signal(descriptor, _signal.SIGKILL)
            except PermissionError:
                self._kill_through_supervisord(pid)
            if descriptor is not None:
                poller = select.poll()
                poller.register(descriptor, select.POLLIN)
                poller.poll(_END_S * 1000)
        except OSError as error:
            sentence = f"cannot kill the listener, pid {pid}: {error.strerror}"
            say(GuardCode.LISTENER_NOT_KILLED, sentence, pid=pid)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _kill_through_supervisord(self, pid: int) -> None:
        from fpm_listener.supervisor import server_login  # noqa: PLC0415 - rarely needed
        from fpm_listener.supervisor.rpc import RpcFailed, SupervisorRpc  # noqa: PLC0415 - the same

        login = server_login.of_running(procfs.supervisor_of(os.getpid()), self._environment)
        rpc = SupervisorRpc.from_environment(self._environment, _END_S, login)
        infos = rpc.processes() if rpc is not None else ()
        failure = infos.why if isinstance(infos, RpcFailed) else "not permitted"
        if rpc is not None and not isinstance(infos, RpcFailed):
            for info in infos:
                if info.pid == pid:
                    sent = rpc.signal(info.name, "KILL")
                    if not isinstance(sent, RpcFailed):
                        return
                    failure = sent.why
        raise OSError(errno.EPERM, failure)


def own_listeners(*, but_supervised: bool) -> list[int]:
    """Return the listeners of our supervisord, and of those that are gone.

    but_supervised: without those of our supervisord.
    """
    found = [pid for pid in procfs.pids() if _is_own_listener(pid)]
    if not but_supervised:
        return found
    own = procfs.supervisor_of(os.getpid())
    return [pid for pid in found if procfs.supervisor_of(pid) != own]


def _is_own_listener(pid: int) -> bool:
    """Return whether a process is a listener of our supervisord, or of one that is gone."""
    if _LISTENER.search(procfs.title(pid)) is None:
        return False
    supervisor = procfs.supervisor_of(pid)
    if supervisor is None:
        return False
    if supervisor == procfs.supervisor_of(os.getpid()):
        return True
    return "supervisord" not in procfs.title(supervisor) and _input_is_closed(pid)


def _input_is_closed(pid: int) -> bool:
    """Return whether no process has the other end of the pipe that brings its events."""
    try:
        pipe = os.readlink(f"/proc/{pid}/fd/0")  # noqa: PTH115 - a text
    except OSError:
        return False
    others = (one for one in procfs.pids() if one != pid)
    return pipe.startswith("pipe:") and not any(pipe in _links(one).values() for one in others)


def _links(pid: int) -> dict[int, str]:
    """Return the targets of a process's descriptors; empty where that is forbidden."""
    found = {}
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names only
            try:
                found[int(name)] = os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115 - a text
            except FileNotFoundError:
                continue  # closed meanwhile
    except OSError:
        return {}
    return found


def _copy(pid: int, address: TcpAddress | UnixAddress) -> Bound | None:
    """Return a copy of the process's socket for the address; None if the kernel forbids it."""
    keys = bind.keys(address)
    try:
        process = os.pidfd_open(pid)
    except (OSError, AttributeError):
        return None
    try:
        for number, link in _links(pid).items():
            fd = _get_descriptor(process, number) if link.startswith("socket:") else None
            if fd is None:
                continue
            for key in keys:
                if bind.flaw(fd, key) is None:
                    return Bound(key=key, fd=fd)
            os.close(fd)
    finally:
        os.close(process)
    return None


def _get_descriptor(process: int, number: int) -> int | None:
    import ctypes  # noqa: PLC0415 - needed only here

    libc = ctypes.CDLL(None, use_errno=True)
    fd: int = libc.syscall(_PIDFD_GETFD, process, number, 0)
    return fd if fd >= 0 else None
