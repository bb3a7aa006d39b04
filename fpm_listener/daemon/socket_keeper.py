"""The thread that holds php-fpm's listening sockets between two runs, and talks to guards.

Laws:
1. The main thread decides which sockets are held for which process.
2. A guard that sends nothing, or an invalid message, is disconnected; other guards do not notice.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING

from fpm_listener.daemon.held_sockets import SERVES_WITHIN_S, HeldSockets, find_start
from fpm_listener.daemon.inbox import drain
from fpm_listener.guard import handover_channel, orphans
from fpm_listener.guard.handover_messages import PATIENCE_S, Deposit, Done, Hello, Keep, Offer
from fpm_listener.host.unix_connection import peer_of
from fpm_listener.internal_errors import is_exhausted, log_only, service_thread
from fpm_listener.monitor.messages import GuardAsks, SocketsHeld
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Where
from fpm_listener.web.descriptors import PAUSE_S, AcceptPause, Reserve

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from fpm_listener.daemon.unix_listener import GuardSockets
    from fpm_listener.guard.orphans import Master
    from fpm_listener.internal_errors import Caught

log = logging.getLogger(__name__)

#: Guards that are connected at the same time; supervisord starts programs one after the other.
_MOST_GUARDS = 64


@dataclass(slots=True, kw_only=True)
class _Guard:
    """A connection with one guard."""

    connection: socket.socket
    pid: int
    ends_at_s: float  # monotonic
    has_version: bool  # it used the abstract socket, which older guards do not know
    process: ProcessName | None = None
    ticket: int = 0
    offered: bool = False


class SocketKeeper:
    """The thread; the main thread calls the first five methods, which never wait."""

    def __init__(
        self,
        sockets: GuardSockets,
        put: Callable[[object], None],
        failed: Callable[[BaseException], None],
        caught: Caught = log_only,
    ) -> None:
        """`caught`: called with an unexpected error of one guard."""
        self._sockets = sockets
        self._put = put
        self._caught = caught
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()  # for the thread
        self._masters: dict[ProcessName, tuple[Master, ...]] = {}
        self._rejected: set[int] = set()  # users whose connections were rejected and logged
        self._reserve = Reserve()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._guards: dict[int, _Guard] = {}
        self._tickets = itertools.count(1)
        self._poller = select.poll()
        self._pause = AcceptPause(self._poller)
        self._held = HeldSockets(self._poller, put)
        self._running = True
        self._thread = service_thread("keeper", self._run, failed)

    # -- for the main thread -----------------------------------------------------------------------

    def start(self, masters: Mapping[ProcessName, tuple[Master, ...]]) -> bool:
        """Start the thread; return whether state_dir has our socket.

        masters: former masters, as an earlier listener recorded them.
        """
        self._masters = dict(masters)
        for problem in self._sockets.problems:
            log.warning("guards cannot use one of two ways to this listener why=%r", problem)
        if not self._sockets.sockets:
            log.warning("sockets cannot be held: guards cannot reach this listener")
        self._thread.start()
        return self._sockets.in_state_dir is not None

    def answer(self, ticket: int, refused: str | None) -> None:
        """Send a guard the sockets that are held for it; `refused` = why it gets none."""
        self._call(lambda: self._offer(ticket, refused))

    def release(self, process: ProcessName, addresses: tuple[str, ...]) -> None:
        """Release these addresses."""
        self._call(lambda: self._held.release(process, addresses))

    def check_socket(self) -> None:
        """Create the socket in state_dir again if it is gone."""
        self._call(self._check_socket)

    def stop(self) -> None:
        """Release everything, and wait for that."""
        if self._thread.is_alive():
            self._call(self._end)
            self._thread.join(PATIENCE_S)

    def _call(self, work: Callable[[], None]) -> None:
        self._calls.put(work)
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"\0")

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        self._poller.register(self._wake_read, select.POLLIN)
        for server in self._sockets.sockets:
            self._poller.register(server, select.POLLIN)
        while self._running:
            for descriptor, _ in self._poller.poll(self._timeout_ms()):
                self._survive(self._serve, descriptor)
            self._survive(self._disconnect_late)
            self._survive(self._held.check_starts)
            self._pause.end_if_over(self._sockets.sockets)
        for guard in list(self._guards.values()):
            self._disconnect(guard)
        self._held.close()
        self._sockets.close()
        self._reserve.close()

    def _end(self) -> None:
        self._running = False

    def _survive(self, work: Callable[..., None], *arguments: int) -> None:
        """Do one piece of work; an unexpected error disconnects the guard that caused it."""
        try:
            work(*arguments)
        except Exception as error:  # noqa: BLE001 - one guard must not end the listener
            self._caught(Where.GUARD, error)
            guard = self._guards.get(arguments[0]) if arguments else None
            if guard is not None:
                self._disconnect(guard)
            else:
                time.sleep(PAUSE_S / 10)  # the same work may be due again at once

    def _serve(self, descriptor: int) -> None:
        if descriptor == self._wake_read:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake_read, 4096)
            for call in drain(self._calls):
                self._survive(call)
        elif descriptor in self._guards:
            self._receive(self._guards[descriptor])
        elif self._held.is_watch(descriptor):
            self._held.restore_names()
        else:
            for server in self._sockets.sockets:
                if server.fileno() == descriptor:
                    self._accept(server)

    def _timeout_ms(self) -> int | None:
        moments = [guard.ends_at_s for guard in self._guards.values()]
        moments += [*self._held.deadlines(), *self._pause.ends_at_s]
        if not moments:
            return None
        return max(0, int((min(moments) - time.monotonic()) * 1000) + 1)

    def _check_socket(self) -> None:
        before = self._sockets.in_state_dir
        try:
            self._sockets.listen_again()
        except OSError as error:
            log.debug("the socket in state_dir cannot be created why=%r", str(error))
            return
        if self._sockets.in_state_dir is before:
            return
        log.warning("the socket in state_dir was gone; created it again")
        self._poller.register(self._sockets.sockets[0], select.POLLIN)
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
            return  # otherwise the guard has gone
        pid, uid = peer_of(connection)
        if uid not in {0, os.geteuid()} or len(self._guards) >= _MOST_GUARDS:
            if uid not in self._rejected and len(self._rejected) < _MOST_GUARDS:
                self._rejected.add(uid)  # any user can connect: one line for each is enough
                log.warning("handover connection rejected: wrong user uid=%s pid=%s", uid, pid)
            connection.close()
            self._reserve.refill()
            return
        connection.setblocking(False)
        self._guards[connection.fileno()] = _Guard(
            connection=connection,
            pid=pid,
            ends_at_s=time.monotonic() + PATIENCE_S,
            has_version=server is self._sockets.abstract,
        )
        self._poller.register(connection.fileno(), select.POLLIN)

    def _disconnect(self, guard: _Guard) -> None:
        self._poller.unregister(guard.connection.fileno())
        del self._guards[guard.connection.fileno()]
        guard.connection.close()
        self._reserve.refill()

    def _disconnect_late(self) -> None:
        now_s = time.monotonic()
        for guard in [one for one in self._guards.values() if one.ends_at_s <= now_s]:
            self._disconnect(guard)

    def _receive(self, guard: _Guard) -> None:
        try:
            if guard.process is None:
                hello, _ = handover_channel.receive(guard.connection, Hello)
                self._take_hello(guard, hello)
            elif guard.offered:
                self._finish(guard, guard.process)
            else:
                self._disconnect(guard)
        except (OSError, ValueError):
            self._disconnect(guard)

    def _take_hello(self, guard: _Guard, hello: Hello) -> None:
        process = guard.process = ProcessName(hello.group, hello.process)
        guard.ticket = next(self._tickets)
        started = find_start(guard.pid)
        if started:
            # It becomes php-fpm even if it cannot wait for our answer, and removes its own names.
            self._held.site(process).master = (guard.pid, started)
            own = [orphans.Master(guard.pid, started)]
            self._masters[process] = orphans.add(self._masters.get(process, ()), own)
        self._put(GuardAsks(process, guard.pid, hello.hold, guard.ticket, started))

    def _offer(self, ticket: int, refused: str | None) -> None:
        guard = next((one for one in self._guards.values() if one.ticket == ticket), None)
        if guard is None or guard.process is None:
            return
        if refused is not None:
            self._held.release(guard.process)
        self._held.release_nameless(guard.process)
        site = self._held.site(guard.process)
        masters = self._masters.get(guard.process, ()) if guard.has_version else ()
        offer = Offer(
            refused=refused or "",
            stamp=site.stamp,
            watched=site.watched,
            keys=tuple(site.held),
            masters=orphans.lines(masters),
        )
        try:
            handover_channel.send(guard.connection, offer, [held.fd for held in site.held.values()])
        except OSError:
            self._disconnect(guard)
            return
        guard.offered = refused is None
        # Before its deposit it may have to wait for an address, which takes longer than a message.
        guard.ends_at_s = time.monotonic() + 60 * PATIENCE_S
        if refused is not None:
            self._disconnect(guard)

    def _finish(self, guard: _Guard, process: ProcessName) -> None:
        """Take the guard's answer to the offer. Raises OSError and ValueError."""
        site = self._held.site(process)
        started = find_start(guard.pid)
        site.master = (guard.pid, started) if started else (0, 0)
        site.check_at_s = time.monotonic() + SERVES_WITHIN_S
        message, descriptors = handover_channel.receive_any(guard.connection, (Keep, Deposit))
        if isinstance(message, Deposit):
            self._held.deposit(process, message, descriptors)
            with contextlib.suppress(OSError):
                handover_channel.send(guard.connection, Done())
        self._disconnect(guard)
        self._put(SocketsHeld(process, site.addresses))
