"""Keeps php-fpm's listening sockets while it is away, and hands them to the next guard.

Laws:
1. The owner decides what is held and for whom; this thread has the sockets and talks to guards.
2. A guard that says nothing, or nonsense, is hung up on, and costs nobody else anything.
3. A held socket stays blocking and listening, and its name stays where it is.
4. What cannot be kept is let go, and said; php-fpm goes on all the same.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import signal
import threading
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import binding, forkstorm, names, procfs, rendezvous
from fpm_listener.core.effects import GuardAsks, HoldFailed, SocketsHeld
from fpm_listener.core.handover import PATIENCE_S, Deposit, Done, Hello, Keep, Offer
from fpm_listener.core.values import ProcessName
from fpm_listener.door import caller

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

log = logging.getLogger(__name__)

#: Seconds after which a php-fpm must serve on what it was given.
SERVES_WITHIN_S = 1.0
#: Guards that are talked to at once; supervisord starts programs one after the other.
_MOST_GUARDS = 64


class _Answer(NamedTuple):
    """The owner's answer to a guard."""

    ticket: int
    refused: str | None


class _Release(NamedTuple):
    """The owner's order to let go."""

    process: ProcessName
    addresses: tuple[str, ...]


class _Stop(NamedTuple):
    pass


@dataclass(slots=True, kw_only=True)
class _Held:
    key: str
    address: str
    fd: int
    name: names.Name | None = None  # of a unix socket


@dataclass(slots=True, kw_only=True)
class _Guard:
    """A conversation with one guard."""

    connection: socket.socket
    pid: int
    ends_at_s: float
    process: ProcessName | None = None
    ticket: int = 0
    offered: bool = False


@dataclass(slots=True)
class _Site:
    """What is held for one process."""

    held: dict[str, _Held] = field(default_factory=dict)  # by key
    master: tuple[int, int] = (0, 0)  # pid and start of who was given them last
    check_at_s: float | None = None  # monotonic; when that master must serve
    stamp: str = ""
    watched: tuple[str, ...] = ()


class Keeper:
    """A thread of its own; the owner calls `answer`, `release` and `stop`, which never wait."""

    def __init__(
        self,
        door: socket.socket | OSError,
        put: Callable[[object], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._door = door
        self._put = put
        self._failed = failed
        self._orders: SimpleQueue[_Answer | _Release | _Stop] = SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._sites: dict[ProcessName, _Site] = {}
        self._guards: dict[int, _Guard] = {}
        self._tickets = itertools.count(1)
        self._poller = select.poll()
        self._watch: names.Watch | None = None
        self._running = True
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    # -- the owner's side --------------------------------------------------------------------------

    def start(self) -> bool:
        """Begin to talk to guards; return whether there is a door that they come to."""
        if isinstance(self._door, OSError):
            log.warning("sockets cannot be held why=%r", str(self._door))
            return False
        self._thread.start()
        return True

    def answer(self, ticket: int, refused: str | None) -> None:
        """Let a guard have what is held for it; `refused` = why it may not."""
        self._order(_Answer(ticket, refused))

    def release(self, process: ProcessName, addresses: tuple[str, ...]) -> None:
        """Let go of these addresses."""
        self._order(_Release(process, addresses))

    def stop(self) -> None:
        """Let go of everything, and wait for that."""
        if self._thread.is_alive():
            self._order(_Stop())
            self._thread.join(PATIENCE_S)

    def _order(self, order: _Answer | _Release | _Stop) -> None:
        self._orders.put(order)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for waited_for in (self._door, self._wake_read):
                self._poller.register(waited_for, select.POLLIN)  # type: ignore[arg-type]
            while self._running:
                for descriptor, _ in self._poller.poll(self._patience_ms()):
                    self._serve(descriptor)
                self._hang_up_on_the_silent()
                self._check_starts()
            self._close()
        except BaseException as error:  # noqa: BLE001 - half-dead is worse than dead
            self._failed(error)

    def _serve(self, descriptor: int) -> None:
        if descriptor == self._wake_read:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
            self._take_orders()
        elif descriptor in self._guards:
            self._listen_to(self._guards[descriptor])
        elif self._watch is not None and descriptor == self._watch.fileno():
            self._watch.drain()
            self._put_names_back()
        elif not isinstance(self._door, OSError):
            self._accept(self._door)

    def _patience_ms(self) -> int | None:
        moments = [guard.ends_at_s for guard in self._guards.values()]
        moments += [s.check_at_s for s in self._sites.values() if s.check_at_s is not None]
        if not moments:
            return None
        return max(0, int((min(moments) - time.monotonic()) * 1000) + 1)

    def _take_orders(self) -> None:
        while True:
            try:
                order = self._orders.get_nowait()
            except Empty:
                return
            if isinstance(order, _Answer):
                self._offer(order)
            elif isinstance(order, _Release):
                self._let_go(order.process, order.addresses)
            else:
                self._running = False

    def _close(self) -> None:
        for guard in list(self._guards.values()):
            self._hang_up(guard)
        for process, site in self._sites.items():
            self._let_go(process, tuple(held.address for held in site.held.values()))
        if not isinstance(self._door, OSError):
            self._door.close()

    # -- guards ------------------------------------------------------------------------------------

    def _accept(self, server: socket.socket) -> None:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # it has gone again, or no descriptor is left
        pid, uid = caller(connection)
        if uid not in {0, os.geteuid()} or len(self._guards) >= _MOST_GUARDS:
            log.warning("a stranger came for sockets and was sent away uid=%s pid=%s", uid, pid)
            connection.close()
            return
        connection.setblocking(False)
        guard = _Guard(
            connection=connection,
            pid=pid,
            ends_at_s=time.monotonic() + PATIENCE_S,
        )
        self._guards[connection.fileno()] = guard
        self._poller.register(connection.fileno(), select.POLLIN)

    def _hang_up(self, guard: _Guard) -> None:
        self._poller.unregister(guard.connection.fileno())
        del self._guards[guard.connection.fileno()]
        guard.connection.close()

    def _hang_up_on_the_silent(self) -> None:
        now_s = time.monotonic()
        for guard in [one for one in self._guards.values() if one.ends_at_s <= now_s]:
            self._hang_up(guard)

    def _listen_to(self, guard: _Guard) -> None:
        try:
            if guard.process is None:
                hello, _ = rendezvous.receive(guard.connection, Hello)
                guard.process = ProcessName(hello.group, hello.process)
                guard.ticket = next(self._tickets)
                self._put(GuardAsks(guard.process, guard.pid, hello.hold, guard.ticket))
            elif guard.offered:
                self._settle(guard, guard.process)
            else:
                self._hang_up(guard)
        except (OSError, ValueError):
            self._hang_up(guard)

    def _offer(self, answer: _Answer) -> None:
        guard = next((one for one in self._guards.values() if one.ticket == answer.ticket), None)
        if guard is None or guard.process is None:
            return
        site = self._sites.setdefault(guard.process, _Site())
        if answer.refused is not None:
            self._let_go(guard.process, tuple(held.address for held in site.held.values()))
        for held in list(site.held.values()):
            if held.name is not None and not held.name.is_there() and not held.name.put_back():
                self._drop(guard.process, held, "its name cannot be put back")
        offer = Offer(
            refused=answer.refused or "",
            stamp=site.stamp,
            watched=site.watched,
            keys=tuple(site.held),
        )
        try:
            rendezvous.send(guard.connection, offer, [held.fd for held in site.held.values()])
        except OSError:
            self._hang_up(guard)
            return
        guard.offered = answer.refused is None
        # Until its deposit it may have to wait for an address: longer than for a word.
        guard.ends_at_s = time.monotonic() + 60 * PATIENCE_S
        if answer.refused is not None:
            self._hang_up(guard)

    def _settle(self, guard: _Guard, process: ProcessName) -> None:
        """Take in what the guard makes of the offer. Raises OSError and ValueError."""
        site = self._sites.setdefault(process, _Site())
        found = procfs.read_stat(guard.pid)
        site.master = (guard.pid, found.started) if found else (0, 0)
        site.check_at_s = time.monotonic() + SERVES_WITHIN_S
        message, descriptors = rendezvous.receive_any(guard.connection, (Keep, Deposit))
        if isinstance(message, Deposit):
            self._take_in(process, site, message, descriptors)
            with contextlib.suppress(OSError):
                rendezvous.send(guard.connection, Done())
        self._hang_up(guard)
        self._put(SocketsHeld(process, tuple(held.address for held in site.held.values())))

    def _take_in(
        self, process: ProcessName, site: _Site, deposit: Deposit, descriptors: list[int]
    ) -> None:
        """Hold what the guard has brought, and nothing else."""
        site.stamp, site.watched = deposit.stamp, deposit.watched
        before, site.held = site.held, {}
        for key, address, fd in zip(deposit.keys, deposit.addresses, descriptors, strict=True):
            old = before.pop(key, None)
            if old is not None and os.fstat(old.fd).st_ino == os.fstat(fd).st_ino:
                os.close(fd)
                site.held[key] = old
                continue
            if old is not None:
                self._forget(old, alive=True)
            if why := binding.flaw(fd, key):
                log.warning("a socket is not held program=%s address=%s why=%s", process, key, why)
                os.close(fd)
                continue
            site.held[key] = _Held(key=key, address=address, fd=fd)
        for old in before.values():
            self._forget(old, alive=True)
        self._keep_names(process, site)

    def _check_starts(self) -> None:
        """Notice a php-fpm that does not serve on what it was given."""
        now_s = time.monotonic()
        for process, site in self._sites.items():
            if site.check_at_s is None or site.check_at_s > now_s:
                continue
            site.check_at_s = None
            if not site.held or not self._is_alive(site):
                continue
            for held in site.held.values():
                if not os.get_blocking(held.fd):
                    log.warning("a held socket did not block program=%s", process)
                    os.set_blocking(held.fd, True)
            if forkstorm.rages(site.master[0], next(iter(site.held.values())).fd):
                self._end(process, site)

    def _end(self, process: ProcessName, site: _Site) -> None:
        log.error(
            "php-fpm forks in vain on held sockets; it is ended, and does without them from now on "
            "program=%s pid=%s",
            process,
            site.master[0],
        )
        self._put(HoldFailed(process))
        if self._is_alive(site):
            # Not TERM, after which it exits with 0: autorestart=unexpected would leave it down.
            with contextlib.suppress(OSError):
                os.kill(site.master[0], signal.SIGKILL)

    # -- what is held ------------------------------------------------------------------------------

    def _let_go(self, process: ProcessName, addresses: tuple[str, ...]) -> None:
        site = self._sites.get(process)
        if site is None:
            return
        alive = self._is_alive(site)
        for key, held in list(site.held.items()):
            if held.address in addresses:
                del site.held[key]
                self._forget(held, alive=alive)

    def _drop(self, process: ProcessName, held: _Held, why: str) -> None:
        log.warning("a socket is let go program=%s address=%s why=%s", process, held.address, why)
        self._let_go(process, (held.address,))

    @staticmethod
    def _is_alive(site: _Site) -> bool:
        pid, started = site.master
        if not pid:
            return True  # in another pid namespace: who knows; its name is its own to remove
        found = procfs.read_stat(pid)
        return found is not None and found.started == started and not found.has_ended

    @staticmethod
    def _forget(held: _Held, *, alive: bool) -> None:
        """Close our end; a php-fpm that lives goes on with its own, and removes its name itself."""
        os.close(held.fd)
        if held.name is not None:
            held.name.forget(first_too=not alive)

    # -- names of unix sockets ---------------------------------------------------------------------

    def _keep_names(self, process: ProcessName, site: _Site) -> None:
        for held in list(site.held.values()):
            if not held.key.startswith("/") or held.name is not None:
                continue
            try:
                held.name = names.keep(held.key)
                self._watch_names().add(held.key)
            except OSError as error:
                # Its name would be lost with php-fpm's first clean exit.
                self._drop(process, held, f"{error.filename or held.key}: {error.strerror}")

    def _watch_names(self) -> names.Watch:
        if self._watch is None:
            self._watch = names.Watch()
            self._poller.register(self._watch.fileno(), select.POLLIN)
        return self._watch

    def _put_names_back(self) -> None:
        for site in self._sites.values():
            for held in site.held.values():
                if held.name is not None and not held.name.is_there():
                    held.name.put_back()
