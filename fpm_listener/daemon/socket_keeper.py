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
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fpm_listener.daemon.held_sockets import (
    Answer,
    Guard,
    Held,
    LookAtDoors,
    Order,
    Release,
    Site,
    Stop,
    close,
    is_alive,
)
from fpm_listener.daemon.unix_listener import caller
from fpm_listener.guard import bind, handover_channel, orphans
from fpm_listener.guard.handover_messages import PATIENCE_S, Deposit, Done, Hello, Keep, Offer
from fpm_listener.host import procfs, socket_paths
from fpm_listener.host.relinker import Relinker
from fpm_listener.internal_errors import is_exhausted, log_only
from fpm_listener.monitor.messages import GuardAsks, HoldFailed, SocketsHeld
from fpm_listener.phpfpm import fork_loop
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Where
from fpm_listener.web.descriptors import PAUSE_S, AcceptPause, Reserve

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from fpm_listener.daemon.unix_listener import Doors
    from fpm_listener.guard.orphans import Master
    from fpm_listener.internal_errors import Caught

log = logging.getLogger(__name__)

#: Seconds after which a php-fpm must serve on what it was given.
SERVES_WITHIN_S = 1.0
#: Guards that are talked to at once; supervisord starts programs one after the other.
_MOST_GUARDS = 64


class SocketKeeper:
    """A thread of its own; the owner calls `answer`, `release` and `stop`, which never wait."""

    def __init__(
        self,
        doors: Doors,
        put: Callable[[object], None],
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
    ) -> None:
        """`caught`: told of an unexpected error of one guard."""
        self._doors = doors
        self._put = put
        self._failed = failed
        self._orders: SimpleQueue[Order] = SimpleQueue()
        self._masters: dict[ProcessName, tuple[Master, ...]] = {}
        self._strangers: set[int] = set()  # users who were rejected, and logged
        self._caught = caught
        self._reserve = Reserve()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._sites: dict[ProcessName, Site] = {}
        self._guards: dict[int, Guard] = {}
        self._tickets = itertools.count(1)
        self._poller = select.poll()
        self._pause = AcceptPause(self._poller)
        self._watch: socket_paths.PathWatch | None = None
        self._relinker = Relinker()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    # -- the owner's side --------------------------------------------------------------------------

    def start(self, masters: Mapping[ProcessName, tuple[Master, ...]]) -> bool:
        """Begin to talk to guards; return whether state_dir has our socket.

        masters: former masters, as an earlier listener has recorded them.
        """
        self._masters = dict(masters)
        for problem in self._doors.problems:
            log.warning("guards cannot use one of two ways to this listener why=%r", problem)
        if not self._doors.sockets:
            log.warning("sockets cannot be held: guards cannot reach this listener")
        self._thread.start()
        return self._doors.in_state_dir is not None

    def answer(self, ticket: int, refused: str | None) -> None:
        """Let a guard have what is held for it; `refused` = why it may not."""
        self._order(Answer(ticket, refused))

    def release(self, process: ProcessName, addresses: tuple[str, ...]) -> None:
        """Let go of these addresses."""
        self._order(Release(process, addresses))

    def look_at_doors(self) -> None:
        """Make the socket in state_dir again where it is gone."""
        self._order(LookAtDoors())

    def stop(self) -> None:
        """Let go of everything, and wait for that."""
        if self._thread.is_alive():
            self._order(Stop())
            self._thread.join(PATIENCE_S)

    def _order(self, order: Order) -> None:
        self._orders.put(order)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._poller.register(self._wake_read, select.POLLIN)
            for door in self._doors.sockets:
                self._poller.register(door, select.POLLIN)
            while self._running:
                for descriptor, _ in self._poller.poll(self._patience_ms()):
                    self._survive(self._serve, descriptor)
                self._survive(self._hang_up_on_the_silent)
                self._survive(self._check_starts)
                self._pause.end_if_over(self._doors.sockets)
            self._close()
        except BaseException as error:  # noqa: BLE001 - half-dead is worse than dead
            self._failed(error)

    def _survive(self, work: Callable[..., None], *arguments: int) -> None:
        """Do one piece of work; an unexpected error ends the conversation that it came from."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - one guard must not end the listener
            self._caught(Where.GUARD, error)
            guard = self._guards.get(arguments[0]) if arguments else None
            if guard is not None:
                self._hang_up(guard)
            else:
                time.sleep(PAUSE_S / 10)  # what raised may be due again at once

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
        else:
            for door in self._doors.sockets:
                if door.fileno() == descriptor:
                    self._accept(door)

    def _patience_ms(self) -> int | None:
        moments = [guard.ends_at_s for guard in self._guards.values()]
        moments += [s.check_at_s for s in self._sites.values() if s.check_at_s is not None]
        moments += self._pause.ends_at_s
        if not moments:
            return None
        return max(0, int((min(moments) - time.monotonic()) * 1000) + 1)

    def _take_orders(self) -> None:
        while True:
            try:
                order = self._orders.get_nowait()
            except Empty:
                return
            if isinstance(order, Answer):
                self._offer(order)
            elif isinstance(order, Release):
                self._let_go(order.process, order.addresses)
            elif isinstance(order, LookAtDoors):
                self._renew_door()
            else:
                self._running = False

    def _close(self) -> None:
        for guard in list(self._guards.values()):
            self._hang_up(guard)
        for process, site in self._sites.items():
            self._let_go(process, tuple(held.address for held in site.held.values()))
        self._relinker.close()
        self._doors.close()
        self._reserve.close()

    def _renew_door(self) -> None:
        before = self._doors.in_state_dir
        try:
            self._doors.renew()
        except OSError as error:
            log.debug("the socket in state_dir cannot be made why=%r", str(error))
            return
        if self._doors.in_state_dir is before:
            return
        log.warning("the socket in state_dir was gone; made it again")
        self._poller.register(self._doors.sockets[0], select.POLLIN)
        if before is not None:
            with contextlib.suppress(KeyError):  # during a pause
                self._poller.unregister(before)
            before.close()

    # -- guards ------------------------------------------------------------------------------------

    def _accept(self, server: socket.socket) -> None:
        try:
            connection = self._reserve.accept(server)
        except OSError as error:
            if is_exhausted(error):
                self._caught(Where.GUARD, error)
                self._pause.begin(server)
            return  # else it has gone again
        pid, uid = caller(connection)
        if uid not in {0, os.geteuid()} or len(self._guards) >= _MOST_GUARDS:
            if uid not in self._strangers and len(self._strangers) < _MOST_GUARDS:
                self._strangers.add(uid)  # any user can connect: one line for each is enough
                log.warning("handover connection rejected: wrong user uid=%s pid=%s", uid, pid)
            connection.close()
            self._reserve.refill()
            return
        connection.setblocking(False)
        guard = Guard(
            connection=connection,
            pid=pid,
            ends_at_s=time.monotonic() + PATIENCE_S,
            has_version=server is self._doors.abstract,
        )
        self._guards[connection.fileno()] = guard
        self._poller.register(connection.fileno(), select.POLLIN)

    def _hang_up(self, guard: Guard) -> None:
        self._poller.unregister(guard.connection.fileno())
        del self._guards[guard.connection.fileno()]
        guard.connection.close()
        self._reserve.refill()

    def _hang_up_on_the_silent(self) -> None:
        now_s = time.monotonic()
        for guard in [one for one in self._guards.values() if one.ends_at_s <= now_s]:
            self._hang_up(guard)

    def _listen_to(self, guard: Guard) -> None:
        try:
            if guard.process is None:
                hello, _ = handover_channel.receive(guard.connection, Hello)
                self._take_hello(guard, hello)
            elif guard.offered:
                self._settle(guard, guard.process)
            else:
                self._hang_up(guard)
        except (OSError, ValueError):
            self._hang_up(guard)

    def _take_hello(self, guard: Guard, hello: Hello) -> None:
        process = guard.process = ProcessName(hello.group, hello.process)
        guard.ticket = next(self._tickets)
        found = procfs.read_stat(guard.pid)
        started = found.started if found is not None else 0
        if found is not None:
            # It becomes php-fpm, also where it cannot wait for our answer: from now on its sockets'
            # names are its own to remove.
            self._sites.setdefault(process, Site()).master = (guard.pid, started)
            own = [orphans.Master(guard.pid, started)]
            self._masters[process] = orphans.add(self._masters.get(process, ()), own)
        self._put(GuardAsks(process, guard.pid, hello.hold, guard.ticket, started))

    def _offer(self, answer: Answer) -> None:
        guard = next((one for one in self._guards.values() if one.ticket == answer.ticket), None)
        if guard is None or guard.process is None:
            return
        site = self._sites.setdefault(guard.process, Site())
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
            masters=orphans.lines(self._masters.get(guard.process, ()))
            if guard.has_version
            else (),
        )
        try:
            handover_channel.send(guard.connection, offer, [held.fd for held in site.held.values()])
        except OSError:
            self._hang_up(guard)
            return
        guard.offered = answer.refused is None
        # Until its deposit it may have to wait for an address: longer than for a word.
        guard.ends_at_s = time.monotonic() + 60 * PATIENCE_S
        if answer.refused is not None:
            self._hang_up(guard)

    def _settle(self, guard: Guard, process: ProcessName) -> None:
        """Take in what the guard makes of the offer. Raises OSError and ValueError."""
        site = self._sites.setdefault(process, Site())
        found = procfs.read_stat(guard.pid)
        site.master = (guard.pid, found.started) if found else (0, 0)
        site.check_at_s = time.monotonic() + SERVES_WITHIN_S
        message, descriptors = handover_channel.receive_any(guard.connection, (Keep, Deposit))
        if isinstance(message, Deposit):
            self._take_in(process, site, message, descriptors)
            with contextlib.suppress(OSError):
                handover_channel.send(guard.connection, Done())
        self._hang_up(guard)
        self._put(SocketsHeld(process, tuple(held.address for held in site.held.values())))

    def _take_in(
        self, process: ProcessName, site: Site, deposit: Deposit, descriptors: list[int]
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
                close(old, alive=True)
            if why := bind.flaw(fd, key):
                log.warning("a socket is not held program=%s address=%s why=%s", process, key, why)
                os.close(fd)
                continue
            self._take_from_others(process, os.fstat(fd).st_ino)
            site.held[key] = Held(key=key, address=address, fd=fd)
        for old in before.values():
            close(old, alive=True)
        self._keep_names(process, site)

    def _take_from_others(self, process: ProcessName, inode: int) -> None:
        """Hold a socket for one process only: the one that listens on it now."""
        for other, site in self._sites.items():
            for held in list(site.held.values()):
                if other != process and os.fstat(held.fd).st_ino == inode:
                    del site.held[held.key]
                    close(held, alive=True)
                    left = tuple(one.address for one in site.held.values())
                    self._put(SocketsHeld(other, left))

    def _check_starts(self) -> None:
        """Notice a php-fpm that does not serve on what it was given."""
        now_s = time.monotonic()
        for process, site in self._sites.items():
            if site.check_at_s is None or site.check_at_s > now_s:
                continue
            site.check_at_s = None
            if not site.held or not is_alive(site):
                continue
            for held in site.held.values():
                if not os.get_blocking(held.fd):
                    log.warning("a held socket did not block program=%s", process)
                    os.set_blocking(held.fd, True)
            if fork_loop.rages(site.master[0], next(iter(site.held.values())).fd):
                self._end(process, site)

    def _end(self, process: ProcessName, site: Site) -> None:
        log.error(
            "php-fpm forks in vain on held sockets; it is ended, and does without them from now on "
            "program=%s pid=%s",
            process,
            site.master[0],
        )
        self._put(HoldFailed(process))
        if is_alive(site):
            # Not TERM, after which it exits with 0: autorestart=unexpected would leave it down.
            with contextlib.suppress(OSError):
                os.kill(site.master[0], signal.SIGKILL)

    # -- what is held ------------------------------------------------------------------------------

    def _let_go(self, process: ProcessName, addresses: tuple[str, ...]) -> None:
        site = self._sites.get(process)
        if site is None:
            return
        alive = is_alive(site)
        for key, held in list(site.held.items()):
            if held.address in addresses:
                del site.held[key]
                close(held, alive=alive)

    def _drop(self, process: ProcessName, held: Held, why: str) -> None:
        log.warning("a socket is let go program=%s address=%s why=%s", process, held.address, why)
        self._let_go(process, (held.address,))

    # -- names of unix sockets ---------------------------------------------------------------------

    def _keep_names(self, process: ProcessName, site: Site) -> None:
        for held in list(site.held.values()):
            if not held.key.startswith("/") or held.name is not None:
                continue
            try:
                held.name = socket_paths.keep(held.key)
                self._watch_names().add(held.key)
            except OSError as error:
                # Its name would be lost with php-fpm's first clean exit.
                self._drop(process, held, f"{error.filename or held.key}: {error.strerror}")
        self._relinker.follow(self._names())

    def _watch_names(self) -> socket_paths.PathWatch:
        if self._watch is None:
            self._watch = socket_paths.PathWatch()
            self._poller.register(self._watch.fileno(), select.POLLIN)
        return self._watch

    def _put_names_back(self) -> None:
        for name in self._names():
            if not name.is_there():
                name.put_back()
        self._relinker.follow(self._names())  # it may have ended, or a name was let go

    def _names(self) -> list[socket_paths.HeldPath]:
        return [
            held.name
            for site in self._sites.values()
            for held in site.held.values()
            if held.name is not None
        ]
