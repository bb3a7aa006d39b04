"""The listening sockets that are held for php-fpm, and the names of those that are unix sockets.

Laws:
1. A held socket stays blocking and listening, and its name stays in place.
2. A socket that cannot be held is released and logged; php-fpm continues without it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.guard import bind
from fpm_listener.host import procfs, socket_paths
from fpm_listener.host.relinker import Relinker
from fpm_listener.monitor.messages import HoldFailed, SocketsHeld
from fpm_listener.phpfpm import fork_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.guard.handover_messages import Deposit
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: Seconds after which a php-fpm must serve on the sockets that it got.
SERVES_WITHIN_S = 1.0


@dataclass(slots=True, kw_only=True)
class Held:
    """One held socket."""

    key: str
    address: str
    fd: int
    name: socket_paths.HeldPath | None = None  #: of a unix socket

    def close(self, *, alive: bool) -> None:
        """Close our end; a php-fpm that runs keeps its own end, and removes the name itself."""
        os.close(self.fd)
        if self.name is not None:
            self.name.forget(first_too=not alive)


@dataclass(slots=True)
class Site:
    """The sockets of one process, and the master that got them last."""

    held: dict[str, Held] = field(default_factory=dict)  #: by key
    master: tuple[int, int] = (0, 0)  #: its pid and start
    check_at_s: float | None = None  #: monotonic: when that master must serve
    stamp: str = ""
    watched: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return the addresses of the held sockets."""
        return tuple(held.address for held in self.held.values())

    def is_alive(self) -> bool:
        """Return whether the master runs, or may run."""
        pid, started = self.master
        if not pid:
            return True  # in another pid namespace, where nothing is visible
        found = procfs.read_stat(pid)
        return found is not None and found.started == started and not found.has_ended


def find_start(pid: int) -> int:
    """Return the start of a process in ticks since boot; 0 if it is not visible."""
    found = procfs.read_stat(pid)
    return found.started if found is not None else 0


class HeldSockets:
    """The sockets of all processes. Owned by the keeper's thread."""

    def __init__(self, poller: select.poll, put: Callable[[object], None]) -> None:
        """`put`: gets messages for the main thread."""
        self._poller = poller
        self._put = put
        self._sites: dict[ProcessName, Site] = {}
        self._watch: socket_paths.PathWatch | None = None
        self._relinker = Relinker()

    def site(self, process: ProcessName) -> Site:
        """Return the sockets of a process."""
        return self._sites.setdefault(process, Site())

    # -- holding and releasing ---------------------------------------------------------------------

    def deposit(self, process: ProcessName, deposit: Deposit, descriptors: Sequence[int]) -> None:
        """Hold the sockets that a guard has sent, and no others. Raises OSError."""
        site = self.site(process)
        site.stamp, site.watched = deposit.stamp, deposit.watched
        before, site.held = site.held, {}
        for key, address, fd in zip(deposit.keys, deposit.addresses, descriptors, strict=True):
            old = before.pop(key, None)
            if old is not None and os.fstat(old.fd).st_ino == os.fstat(fd).st_ino:
                os.close(fd)
                site.held[key] = old
                continue
            if old is not None:
                old.close(alive=True)
            if why := bind.flaw(fd, key):
                log.warning("socket is not held program=%s address=%s why=%s", process, key, why)
                os.close(fd)
                continue
            self._release_elsewhere(process, os.fstat(fd).st_ino)
            site.held[key] = Held(key=key, address=address, fd=fd)
        for old in before.values():
            old.close(alive=True)
        self._hold_names(process, site)

    def _release_elsewhere(self, process: ProcessName, inode: int) -> None:
        """Hold a socket only for the process that listens on it now."""
        for other, site in self._sites.items():
            for held in list(site.held.values()):
                if other != process and os.fstat(held.fd).st_ino == inode:
                    del site.held[held.key]
                    held.close(alive=True)
                    self._put(SocketsHeld(other, site.addresses))

    def release(self, process: ProcessName, addresses: tuple[str, ...] | None = None) -> None:
        """Release these addresses of a process; None = all."""
        site = self.site(process)
        alive = site.is_alive()
        for key, held in list(site.held.items()):
            if addresses is None or held.address in addresses:
                del site.held[key]
                held.close(alive=alive)

    def close(self) -> None:
        """Release everything."""
        for process in self._sites:
            self.release(process)
        self._relinker.close()

    def _release_with_reason(self, process: ProcessName, held: Held, why: str) -> None:
        log.warning("socket released program=%s address=%s why=%s", process, held.address, why)
        self.release(process, (held.address,))

    # -- does php-fpm serve on them? ---------------------------------------------------------------

    def deadlines(self) -> list[float]:
        """Return the monotonic times of the next checks."""
        return [site.check_at_s for site in self._sites.values() if site.check_at_s is not None]

    def check_starts(self) -> None:
        """Detect a php-fpm that does not serve on the sockets that it got."""
        now_s = time.monotonic()
        for process, site in self._sites.items():
            if site.check_at_s is None or site.check_at_s > now_s:
                continue
            site.check_at_s = None
            if not site.held or not site.is_alive():
                continue
            for held in site.held.values():
                if not os.get_blocking(held.fd):
                    log.warning("made a held socket blocking again program=%s", process)
                    os.set_blocking(held.fd, True)
            if fork_loop.is_looping(site.master[0], next(iter(site.held.values())).fd):
                self._kill(process, site)

    def _kill(self, process: ProcessName, site: Site) -> None:
        log.error(
            "php-fpm workers exit at once on the held sockets; killed the master and disabled"
            " socket holding for this program program=%s pid=%s",
            process,
            site.master[0],
        )
        self._put(HoldFailed(process))
        if site.is_alive():
            # Not TERM, after which it exits with 0: autorestart=unexpected would not restart it.
            with contextlib.suppress(OSError):
                os.kill(site.master[0], signal.SIGKILL)

    # -- names of unix sockets ---------------------------------------------------------------------

    def _hold_names(self, process: ProcessName, site: Site) -> None:
        for held in list(site.held.values()):
            if not held.key.startswith("/") or held.name is not None:
                continue
            try:
                held.name = socket_paths.keep(held.key)
                self._get_watch().add(held.key)
            except OSError as error:
                # Its name would be lost with php-fpm's first clean exit.
                why = f"{error.filename or held.key}: {error.strerror}"
                self._release_with_reason(process, held, why)
        self._relinker.follow(self._names())

    def _get_watch(self) -> socket_paths.PathWatch:
        if self._watch is None:
            self._watch = socket_paths.PathWatch()
            self._poller.register(self._watch.fileno(), select.POLLIN)
        return self._watch

    def is_watch(self, descriptor: int) -> bool:
        """Return whether this descriptor reports changes of names."""
        return self._watch is not None and descriptor == self._watch.fileno()

    def restore_names(self) -> None:
        """Restore the names that php-fpm has removed."""
        if self._watch is not None:
            self._watch.drain()
        for name in self._names():
            if not name.is_there():
                name.put_back()
        self._relinker.follow(self._names())  # the helper may have ended, or a name was released

    def release_nameless(self, process: ProcessName) -> None:
        """Release the sockets of a process whose names cannot be restored."""
        for held in list(self.site(process).held.values()):
            name = held.name
            if name is not None and not name.is_there() and not name.put_back():
                self._release_with_reason(process, held, "its name cannot be restored")

    def _names(self) -> list[socket_paths.HeldPath]:
        return [
            held.name
            for site in self._sites.values()
            for held in site.held.values()
            if held.name is not None
        ]
