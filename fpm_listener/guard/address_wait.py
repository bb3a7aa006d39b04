"""What is in php-fpm's way: waited for, ended where it is proven our own, named where it is not.

Laws:
1. Only proven orphans of this very program are signalled: QUIT, then TERM, then KILL.
2. The wait, counted from the start of the process, is shorter than startsecs, so that
   supervisord's own BACKOFF and FATAL apply.
3. A refusal is one line that says what, who, how long, and what to type;
   phpfpm/log_parser.py reads it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fpm_listener import durations
from fpm_listener.guard import bind, orphans
from fpm_listener.guard.bind import AddressState
from fpm_listener.guard.start_deadline import StartDeadline
from fpm_listener.host import procfs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fpm_listener.guard.bind import Availability, Bound
    from fpm_listener.guard.reclaim import Reclaim
    from fpm_listener.host.address_holders import Holder, HolderReport
    from fpm_listener.host.addresses import TcpAddress, UnixAddress
    from fpm_listener.supervisor.process import ProcessName

Value = TypeVar("Value")

EX_TEMPFAIL, EX_CONFIG = 75, 78  # sysexits.h; 78 is php-fpm's own for what waiting cannot cure
#: Seconds for the rest, such as orphans, once our listener has released the address. They can last
#: longer than startsecs: php-fpm must start, even if supervisord sees a late failure as RUNNING.
_AFTER_LISTENER_S = 1.5
#: Seconds that orphans of our own get at least, for the same reason.
_AFTER_ORPHANS_S = 0.5
#: Seconds between two looks at an address while nothing tells that it is free.
_LOOK_EVERY_S = 0.1
#: Unexpected errors that were printed, by step.
_reported: set[tuple[str, str]] = set()
#: Parts of the wait after which orphans that do not finish are told more strongly.
_STRONGER = ((0.0, signal.SIGQUIT), (0.6, signal.SIGTERM), (0.85, signal.SIGKILL))


class Start(NamedTuple):
    """What is known of the php-fpm that is to be started.

    answered: whether the listener has, None = it was not asked; ask: ask it to release what it
    holds, and return whether it has answered.
    """

    binary: str  #: its real path
    conf_path: str
    environment: Mapping[str, str]
    began_at_s: float  #: monotonic; of the process
    name: ProcessName | None  #: as supervisord knows it; None = it has not started this
    answered: bool | None
    ask: Callable[[], bool]
    may_have_more_rights: bool  #: than we have


class StartRefused(Exception):  # noqa: N818 - it is no error of ours
    """php-fpm must not start."""

    def __init__(self, status: int, why: str, remedy: str = "") -> None:
        """`why`: a clause that phpfpm/log_parser.py knows; `remedy`: without its full stop."""
        self.status = status
        end = f". {remedy}" if remedy else ""
        super().__init__(f"{why}; not starting php-fpm (exit {status}){end}")


def say(what: str) -> None:
    """Tell people one line."""
    if sys.stderr is None:
        return  # it was closed when we were started
    try:
        sys.stderr.write(f"fpm-listener guard: {what}\n")
        sys.stderr.flush()
    except OSError:
        return  # nobody reads our stderr: that is no reason to keep php-fpm down


def optional(step: str, work: Callable[[], Value], otherwise: Value) -> Value:
    """Return what a step of the guard returns; after an unexpected error print one line instead.

    php-fpm starts all the same. The error's own text is left out: it can quote a configuration.
    """
    try:
        return work()
    except StartRefused:
        raise
    except Exception as error:  # noqa: BLE001 - no error of ours keeps php-fpm down
        why = f"{type(error).__name__}{_place(error)}"
        if (step, why) not in _reported:
            _reported.add((step, why))
            say(f"unexpected error in {step}: {why}; php-fpm is started all the same")
        return otherwise


def _place(error: Exception) -> str:
    """Return where an error was raised, such as ` at guard.py:12`."""
    found = error.__traceback__
    while found is not None and found.tb_next is not None:
        found = found.tb_next
    if found is None:
        return ""
    return f" at {found.tb_frame.f_code.co_filename.rpartition('/')[2]}:{found.tb_lineno}"


class AddressWait:
    """What is in the way of one start."""

    def __init__(
        self, start: Start, record: orphans.MasterRecord, *, wait_s: float, end_orphans: bool
    ) -> None:
        """`record`: of former masters; `wait_s`: the longest wait; `end_orphans`: or name them."""
        self._start = start
        self._record = record
        self._deadline = StartDeadline(start.began_at_s)
        self._wait_s = wait_s
        self._end = end_orphans
        self._orphans_since_s: float | None = None  # when they were told to end
        self._told: dict[int, int] = {}  # orphans, and how strongly each was told to end
        self._reclaim: Reclaim | None = None
        self._report: HolderReport | None = None  # of the address that is waited for

    def wait_for(self, address: TcpAddress | UnixAddress) -> Bound | None:
        """Return when the address is free, or the socket that our own listener holds there.

        Raises Refused where it is not free in time.
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
                why = f"cannot listen on {address.text}: {found.why}"
                if self._start.may_have_more_rights:
                    say(f"{why}; php-fpm may have more rights, so it is started")
                    return None
                raise StartRefused(EX_CONFIG, why)
            self._prepare_refusal(address, found)
            report = None
            if found.answer is AddressState.BUSY:
                report = optional(
                    "the search for the holder", partial(self._holders, address), None
                )
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
                raise self._refuse(address, found, report)
            self._sleep(report)

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
            refused = self._refuse(address, found, self._report)
            say(str(refused))
            os._exit(refused.status)

        if not self._deadline.left_s:
            raise self._refuse(address, found, self._report)
        self._deadline.set_timer(leave)
        if is_first:
            from fpm_listener.guard import startsecs  # noqa: PLC0415 - most starts need it not

            ask = partial(startsecs.confirmed_wait_s, environment, name, self._deadline.left_s)
            longest_s = optional("the request for startsecs", ask, None)
            if longest_s is not None:
                self._deadline.end_at(self._start.began_at_s + min(self._wait_s, longest_s))
            self._deadline.set_timer(leave)

    def _longest_wait_s(self) -> float:
        """Return how long to wait at most: what the option says, but less than startsecs."""
        if self._start.name is None:
            return self._wait_s
        from fpm_listener.guard import startsecs  # noqa: PLC0415 - most starts need it not

        work = partial(
            startsecs.longest_wait_s,
            self._start.environment,
            self._start.name,
            self._deadline.passed_s,
        )
        return min(self._wait_s, optional("the search for startsecs", work, startsecs.UNKNOWN_S))

    def _is_our_own(self, address: TcpAddress | UnixAddress, found: Availability) -> bool:
        """Return whether our listener, or orphans that are ended, can be what has the address."""
        if found.answer is not AddressState.BUSY:
            return False
        from fpm_listener.guard import reclaim  # noqa: PLC0415 - most starts need it not

        left = orphans.orphans(self._record.read(), self._start.binary) if self._end else ()
        listeners = reclaim.own_listeners(but_supervised=self._start.answered is True)
        if not left and not listeners:
            return False
        from fpm_listener.host import holder_search  # noqa: PLC0415 - the same

        inodes = holder_search.find_inodes(address.text)
        return any(procfs.has_socket(pid, inodes) for pid in listeners) or any(
            procfs.has_socket(pid, inodes) is not False for pid in left
        )

    def _sleep(self, report: HolderReport | None) -> None:
        """Wait until a holder ends, or for a moment."""
        poller = select.poll()
        descriptors = []
        for pid in _pids(report):
            try:
                descriptor = procfs.open_pidfd(pid)
            except ProcessLookupError:
                return
            if descriptor is not None:
                descriptors.append(descriptor)
                poller.register(descriptor, select.POLLIN)
        try:
            poller.poll(min(_LOOK_EVERY_S, self._deadline.left_s) * 1000 + 1)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    # -- who is in the way -------------------------------------------------------------------------

    def _holders(self, address: TcpAddress | UnixAddress) -> HolderReport:
        # The first one is for a refusal by the timer, which can come in the middle of an import.
        from fpm_listener.host import holder_remedies  # noqa: F401, PLC0415 - most starts need it not
        from fpm_listener.host.holder_search import find_holders  # noqa: PLC0415 - most starts need it not

        former = frozenset(master.pid for master in self._record.read())
        return find_holders(address.text, former_masters=former)

    def _make_reclaim(self) -> Reclaim:
        from fpm_listener.guard.reclaim import Ask, Reclaim  # noqa: PLC0415 - most starts need it not

        return Reclaim(self._start.environment, Ask(self._start.answered, self._start.ask), say)

    def _end_orphans(self, report: HolderReport | None) -> None:
        """Tell proven orphans to finish, and more strongly as time goes by."""
        if not self._end or report is None:
            return
        known = self._record.read()
        pids = {pid for holder in report.holders if holder.ours for pid in _all(holder)}
        if not report.holders:  # we may not look at who has it; whose orphans there are, we know
            left = orphans.orphans(known, self._start.binary)
            pids = {pid for pid in left if procfs.has_socket(pid, ()) is None}
        if pids:
            self._end_pids(pids, known)

    def _end_pids(self, pids: set[int], known: Sequence[orphans.Master]) -> None:
        now_s = time.monotonic()
        if self._orphans_since_s is None:
            self._orphans_since_s = now_s
            if self._start.name is not None:
                self._deadline.extend(now_s + _AFTER_ORPHANS_S)
        whole_s = now_s + self._deadline.left_s - self._orphans_since_s
        for step, (part, number) in enumerate(_STRONGER, 1):
            if part and not whole_s:
                continue
            due_s = self._orphans_since_s + part * whole_s
            for pid in sorted(pids):
                if due_s <= now_s and self._told.get(pid, 0) < step:
                    self._told[pid] = step
                    if orphans.tell(pid, number, known, self._start.binary):
                        say(f"telling pid {pid}, an orphan of our own, to end: {number.name}")

    def _refuse(
        self,
        address: TcpAddress | UnixAddress,
        found: Availability,
        report: HolderReport | None,
    ) -> StartRefused:
        waited = f"waited {durations.show(round(self._deadline.passed_s, 1))}"
        if found.answer is not AddressState.BUSY:
            return StartRefused(
                EX_TEMPFAIL, f"{address.text} is not to be had: {found.why}; {waited}"
            )
        if report is None:
            unseen = "by whom is not known: the search for the holder did not finish"
            return StartRefused(EX_TEMPFAIL, f"{address.text} is taken; {unseen}; {waited}")
        from fpm_listener.host import holder_remedies  # noqa: PLC0415 - _holders has imported it

        if not report.holders:
            unseen = report.blind or "nobody is seen to have it"
            why = f"{address.text} is taken; by whom is not known: {unseen}; {waited}"
            return StartRefused(
                EX_TEMPFAIL, why, f"Find who has it: {holder_remedies.look(address.text)}"
            )
        first = report.holders[0]
        why = f"{address.text} is held by {report}; {waited}"
        former = any(first.pid == one.pid and orphans.alive(one) for one in self._record.read())
        if former:
            why += "; it is this program's own, left behind by an earlier supervisord"
            return StartRefused(
                EX_TEMPFAIL, why, f"End it, then all is well: kill -QUIT {first.pid}"
            )
        if first.command == f"php-fpm: master process ({self._start.conf_path})" and not first.unit:
            why += "; it runs this very configuration: started by hand, or daemonized"
            why += " (daemonize = yes, and no -F in its command)"
        return StartRefused(
            EX_TEMPFAIL, why, holder_remedies.free(report.holders, self._start.conf_path)
        )

    def part_from_orphans(self, descriptors: Sequence[int]) -> None:
        """Tell proven orphans on held sockets to finish what they have, and take no more."""
        known = self._record.read()
        left = orphans.orphans(known, self._start.binary)
        inodes = {os.fstat(descriptor).st_ino for descriptor in descriptors} if left else set()
        for pid in left:
            if procfs.has_socket(pid, inodes) is False:
                continue
            if not self._end:
                say(f"pid {pid}, an orphan of our own, takes requests still: kill -QUIT {pid}")
            elif orphans.tell(pid, signal.SIGQUIT, known, self._start.binary):
                say(f"telling pid {pid}, an orphan of our own, to end: SIGQUIT")


def _all(holder: Holder) -> tuple[int, ...]:
    return (holder.pid, *holder.others)


def _pids(report: HolderReport | None) -> list[int]:
    return [pid for holder in report.holders for pid in _all(holder)] if report else []
