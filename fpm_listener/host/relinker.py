"""Runs the helper process that restores the names of held unix sockets without delay.

Laws:
1. The helper is an addition: the listener's own thread restores the names if the helper is slow,
   hangs or exits.
2. It runs only while a unix socket is held, and exits with the listener in all cases.
3. Nothing here waits for the helper, except `close`, for at most a second.

Why a process: measured by `make bench-gap`, docs/adr/017-names-of-unix-sockets.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import relink_helper, socket_paths

if TYPE_CHECKING:
    from collections.abc import Sequence

log = logging.getLogger(__name__)

#: Seconds that the helper has to exit.
_ENDS_WITHIN_S = 1.0
#: The helper, from the directory or zip file that has our package.
_CHILD = (
    "import sys; sys.path.append(sys.argv[1]); "
    "from fpm_listener.host.relink_helper import main; main()"
)
_ROOT = str(Path(__file__).absolute().parents[2])
#: The only variables that Python itself may need to start.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH")


class _Helper(NamedTuple):
    """A running helper."""

    pid: int
    control: socket.socket
    watch: socket_paths.PathWatch  # the helper reads it

    def has_ended(self) -> bool:
        """Return whether it has exited; this also removes the zombie."""
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def send(self, held: Sequence[socket_paths.HeldPath]) -> None:
        """Send all names that it must restore. Raises OSError."""
        parts = []
        for name in held:
            number = self.watch.add_socket(name.second)
            parts += [str(number).encode(), os.fsencode(name.second), os.fsencode(name.path)]
        self.control.send(b"\0".join(parts))

    def close(self) -> None:
        """Close our ends, so that the helper exits."""
        self.control.close()
        self.watch.close()


class Relinker:
    """The helper with its names. Owned by one thread."""

    def __init__(self) -> None:
        self._helper: _Helper | None = None
        self._followed: tuple[socket_paths.HeldPath, ...] = ()
        self._warned = False

    @property
    def pid(self) -> int | None:
        """Return the helper's pid; None = it does not run."""
        return self._helper.pid if self._helper else None

    def follow(self, held: Sequence[socket_paths.HeldPath]) -> None:
        """Let the helper restore exactly these names from now on."""
        if self._helper is not None and self._helper.has_ended():
            log.warning("the helper for unix socket names has ended pid=%s", self._helper.pid)
            self._drop()
        if tuple(held) == self._followed:
            return
        if not held:
            self.close()
            return
        try:
            if self._helper is None:
                self._helper = _start()
            self._helper.send(held)
            self._followed = tuple(held)
        except (OSError, ValueError) as error:
            self._followed = ()
            if not self._warned:
                self._warned = True
                log.warning("names of unix sockets are restored without a helper error=%s", error)

    def close(self) -> None:
        """Stop the helper, and wait until it has exited."""
        if self._helper is None:
            return
        control = self._helper.control
        with contextlib.suppress(OSError):
            control.settimeout(_ENDS_WITHIN_S)
            control.shutdown(socket.SHUT_WR)
            control.recv(1)  # it returns when the helper has closed its end
            os.waitpid(self._helper.pid, 0)
        self._drop()

    def _drop(self) -> None:
        if self._helper is not None:
            self._helper.close()
        self._helper, self._followed = None, ()


def _start() -> _Helper:
    """Start a helper. Raises OSError and ValueError."""
    watch = socket_paths.PathWatch()
    control, helpers_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    control.setblocking(False)
    try:
        with helpers_end:
            pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-ISBc", _CHILD, _ROOT],
                {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, helpers_end.fileno(), relink_helper.CONTROL),
                    # Standard output belongs to the protocol with supervisord.
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, watch.fileno(), relink_helper.EVENTS),
                ],
                setsigmask=(),
            )
    except BaseException:
        control.close()
        watch.close()
        raise
    return _Helper(pid, control, watch)
