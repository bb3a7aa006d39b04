"""Waits until php-fpm can listen on an address, and frees the address where that is allowed.

Laws:
1. Only proven orphans of this program are signalled; other processes are named.
2. The wait, counted from the start of the process, is shorter than startsecs, so that
   supervisord's own BACKOFF and FATAL apply.
3. A refusal is one line with its code: what, which process, how long, and what to type.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.guard import bind, orphans
from fpm_listener.guard.bind import AddressState
from fpm_listener.guard.refusal import (
    EX_CONFIG,
    StartRefused,
    not_free_in_time,
    optional,
    print_line,
    say,
)
from fpm_listener.guard.start_deadline import StartDeadline
from fpm_listener.host import procfs
from fpm_listener.phpfpm.guard_messages import GuardCode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.guard.bind import Availability, Bound
    from fpm_listener.guard.orphan_ender import OrphanEnder
    from fpm_listener.guard.reclaim import Reclaim
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.host.addresses import TcpAddress, UnixAddress
    from fpm_listener.supervisor.process import ProcessName

#: Seconds for the rest, such as orphans, once our listener has released the address. They can last
#: longer than startsecs: php-fpm must start, even if supervisord sees a late failure as RUNNING.
_AFTER_LISTENER_S = 1.5
#: Seconds that our own orphans get at least, for the same reason.
_AFTER_ORPHANS_S = 0.5
#: Seconds between two tries of an address.
_RETRY_S = 0.1


class Start(NamedTuple):
    """The php-fpm that is to be started."""

    binary: str  #: its real path
    conf_path: str
    environment: Mapping[str, str]
    began_at_s: float  #: monotonic; of the process
    name: ProcessName | None  #: as supervisord knows it; None = it has not started this
    answered: bool | None  #: whether the listener has answered; None = it was not asked
    ask: Callable[[], bool]  #: asks it to release its sockets; returns whether it has answered
    may_have_more_rights: bool  #: than we have


class AddressWait:
    """The addresses of one start."""

    def __init__(
        self, start: Start, record: orphans.MasterRecord, ender: OrphanEnder, wait_s: float
    ) -> None:
        """`record`: of former masters; `wait_s`: the longest wait."""
        self._start = start
        self._record = record
        self._ender = ender
        self._deadline = StartDeadline(start.began_at_s)
        self._wait_s = wait_s
        self._reclaim: Reclaim | None = None
        self._report: HolderReport | None = None  # of the address that is waited for

    def wait_for(self, address: TcpAddress | UnixAddress) -> Bound | None:
        """Return when the address is free, or the socket that our own listener holds there.

        Raises StartRefused where it is not free in time.
        """
        self._report = None
        try:
            return self._wait_for(address)
        finally:
            self._deadline.end_wait()

    def _wait_for(self, address: TcpAddress | UnixAddress) -> Bound | None:
        while True:
            found = bind.ask(address)
            if found.answer is AddressState.FREE:
                return None
            if found.answer is AddressState.FORBIDDEN:
                self._refuse_unless_more_rights(address.text, found)
                return None
            self._prepare_refusal(address, found)
            report = None
            if found.answer is AddressState.BUSY:
                find = partial(self._find_holders, address)
                report = optional("the search for the holder", find, None)
            self._report = report
            if report is not None and self._start.name is not None:
                reclaim = self._reclaim = self._reclaim or self._make_reclaim()
                get = partial(reclaim.get, address, report)
                reclaimed = optional("the request for the listener's socket", get, None)
                if reclaimed is not None:
                    return reclaimed
                if reclaim.has_acted:
                    reclaim.has_acted = False
                    self._deadline.extend(time.monotonic() + _AFTER_LISTENER_S)
                    continue
            optional("the end of orphans", partial(self._end_orphans, report), None)
            if not self._deadline.left_s:
                raise self._refuse(address, found)
            self._sleep(report)

    def _refuse_unless_more_rights(self, address: str, found: Availability) -> None:
        why = f"cannot listen on {address}: {found.why}"
        if not self._start.may_have_more_rights:
            code = GuardCode.MISSING_PATH if found.is_missing else GuardCode.PERMISSION
            raise StartRefused(EX_CONFIG, code, why, address=address)
        sentence = f"{why}; php-fpm may have more rights, so it is started"
        say(GuardCode.MORE_RIGHTS, sentence, address=address)

    def _prepare_refusal(self, address: TcpAddress | UnixAddress, found: Availability) -> None:
        """Make sure that supervisord sees a refusal as a failed start, however slow we are."""
        name, environment = self._start.name, self._start.environment
        is_first = not self._deadline.has_begun
        if is_first:
            self._deadline.extend(self._start.began_at_s + self._longest_wait_s())
        if name is None or self._deadline.has_timer:
            return
        is_ours = partial(self._is_our_own, address, found)
        if optional("the search for our own processes", is_ours, True):
            return

        def leave() -> None:
            refused = self._refuse(address, found)
            print_line(str(refused))
            os._exit(refused.status)

        if not self._deadline.left_s:
            raise self._refuse(address, found)
        self._deadline.set_timer(leave)
        if is_first:
            from fpm_listener.guard import startsecs  # noqa: PLC0415 - most starts do not need it

            ask = partial(startsecs.confirmed_wait_s, environment, name, self._deadline.left_s)
            longest_s = optional("the request for startsecs", ask, None)
            if longest_s is not None:
                self._deadline.end_at(self._start.began_at_s + min(self._wait_s, longest_s))
            self._deadline.set_timer(leave)

    def _longest_wait_s(self) -> float:
        """Return the longest wait: that of the option, but less than startsecs."""
        if self._start.name is None:
            return self._wait_s
        from fpm_listener.guard import startsecs  # noqa: PLC0415 - most starts do not need it

        work = partial(
            startsecs.longest_wait_s,
            self._start.environment,
            self._start.name,
            self._deadline.passed_s,
        )
        return min(self._wait_s, optional("the search for startsecs", work, startsecs.UNKNOWN_S))

    def _is_our_own(self, address: TcpAddress | UnixAddress, found: Availability) -> bool:
        """Return whether the holder can be our listener, or orphans that are ended."""
        if found.answer is not AddressState.BUSY:
            return False
        from fpm_listener.guard import reclaim  # noqa: PLC0415 - most starts do not need it

        left = self._ender.find()
        listeners = reclaim.own_listeners(but_supervised=self._start.answered is True)
        if not left and not listeners:
            return False
        from fpm_listener.host import socket_tables  # noqa: PLC0415 - the same

        inodes = socket_tables.find_inodes(address.text)
        return any(procfs.has_socket(pid, inodes) for pid in listeners) or any(
            procfs.has_socket(pid, inodes) is not False for pid in left
        )

    def _sleep(self, report: HolderReport | None) -> None:
        """Wait until a holder ends, or for a moment."""
        import select  # noqa: PLC0415 - most starts do not need it

        poller = select.poll()
        descriptors = []
        for pid in report.pids if report else ():
            try:
                descriptor = procfs.open_pidfd(pid)
            except ProcessLookupError:
                return
            if descriptor is not None:
                descriptors.append(descriptor)
                poller.register(descriptor, select.POLLIN)
        try:
            poller.poll(min(_RETRY_S, self._deadline.left_s) * 1000 + 1)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _find_holders(self, address: TcpAddress | UnixAddress) -> HolderReport:
        # The first one is for a refusal by the timer, which can come in the middle of an import.
        from fpm_listener.host import holder_remedies  # noqa: F401, PLC0415 - most starts do not need it
        from fpm_listener.supervisor.holder_supervisors import find_holders  # noqa: PLC0415 - the same

        former = frozenset(master.pid for master in self._record.read())
        own = procfs.supervisor_of(os.getpid()) if self._start.name is not None else None
        return find_holders(address.text, former_masters=former, supervisord=own)

    def _make_reclaim(self) -> Reclaim:
        from fpm_listener.guard.reclaim import Reclaim  # noqa: PLC0415 - most starts do not need it

        start = self._start
        return Reclaim(start.environment, start.ask, answered=start.answered)

    def _end_orphans(self, report: HolderReport | None) -> None:
        pids = self._ender.in_the_way(report)
        if not pids:
            return
        if not self._ender.has_begun and self._start.name is not None:
            self._deadline.extend(time.monotonic() + _AFTER_ORPHANS_S)
        self._ender.end(pids, self._deadline.left_s)

    def _refuse(self, address: TcpAddress | UnixAddress, found: Availability) -> StartRefused:
        return not_free_in_time(
            found,
            self._report,
            self._deadline.passed_s,
            address=address.text,
            conf_path=self._start.conf_path,
            own_masters=optional("the record of earlier starts", self._own_masters, []),
        )

    def _own_masters(self) -> list[int]:
        return [master.pid for master in self._record.read() if orphans.is_running(master)]
