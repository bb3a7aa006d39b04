"""What stands before php-fpm in `command=`: waits exactly as long as needed, and becomes php-fpm.

Laws:
1. A working site is never made worse: what the guard does not understand, it says, and becomes
   php-fpm all the same.
2. It adds no wait where the address is free, and never waits as long as startsecs, so that
   supervisord's own BACKOFF and FATAL apply.
3. It becomes php-fpm: same pid, environment, umask, limits; no child, no further descriptor but the
   sockets that php-fpm is given.
4. Only proven orphans of this very program are signalled; everybody else is named.
5. It starts before every php-fpm, so it imports little: nothing heavy before it has to wait.
"""

from __future__ import annotations

import getopt
import os
import select
import signal
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import binding, deposit, fpmfiles, masters, procfs, quickstart
from fpm_listener.becoming import become, original_environment
from fpm_listener.binding import Answer, Bound
from fpm_listener.core import durations, fpmcommand, fpmsockets
from fpm_listener.core.addresses import TcpAddress
from fpm_listener.core.inheritance import environment as inheritance
from fpm_listener.core.values import FpmListenerError, ProcessName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.binding import Availability
    from fpm_listener.core.addresses import UnixAddress
    from fpm_listener.core.fpmcommand import FpmInvocation
    from fpm_listener.core.fpmconf import FpmConf
    from fpm_listener.core.fpmsockets import Wish
    from fpm_listener.core.holders import Holder, HolderReport

USAGE = (
    "fpm-listener guard [--wait 2s] [--orphans quit|report] [--hold] [--config FILE] "
    "-- php-fpm ARGUMENTS"
)
EX_TEMPFAIL, EX_CONFIG = 75, 78  # sysexits.h; 78 is php-fpm's own for what waiting cannot cure
_CANNOT_RUN, _NOT_FOUND = 126, 127  # as a shell says it
#: supervisord looks at its children once a second: who is to be seen dying before startsecs are
#: over must be dead that much earlier. The rest is for the end itself.
_SUPERVISORD_LOOKS_S = 1.2
#: Seconds between two looks at an address while nothing tells that it is free.
_LOOK_EVERY_S = 0.1
#: Parts of the wait after which orphans that do not finish are told more strongly.
_STRONGER = ((0.0, signal.SIGQUIT), (0.6, signal.SIGTERM), (0.85, signal.SIGKILL))


class Options(NamedTuple):
    """What the command line says."""

    command: tuple[str, ...]
    words: tuple[str, ...] = ()  #: all of it, as it was given
    wait_s: float = 2.0
    end_orphans: bool = True  #: --orphans quit; False: report
    hold: bool = False
    config: str | None = None  #: the listener's settings


def parse(words: Sequence[str]) -> Options:
    """Return the options. Raises FpmListenerError where they are not understood."""
    try:
        pairs, command = getopt.getopt(list(words), "", ["wait=", "orphans=", "hold", "config="])
    except getopt.GetoptError as error:
        raise FpmListenerError(f"guard: {error}; usage: {USAGE}") from None
    given = dict(pairs)
    if not command:
        raise FpmListenerError(f"guard: php-fpm's own command is missing; usage: {USAGE}")
    if given.get("--orphans", "quit") not in {"quit", "report"}:
        raise FpmListenerError(f"guard: --orphans {given['--orphans']!r}: allowed: quit, report")
    return Options(
        command=tuple(command),
        words=tuple(words),
        wait_s=_seconds(given["--wait"]) if "--wait" in given else Options(command=()).wait_s,
        end_orphans=given.get("--orphans") != "report",
        hold="--hold" in given,
        config=given.get("--config"),
    )


def _seconds(text: str) -> float:
    try:
        return float(text) if text.isdecimal() else durations.parse(text)
    except ValueError as error:
        raise FpmListenerError(f"guard: --wait {text!r}: allowed: {error}") from None


class _Refused(Exception):  # noqa: N818 - not an error of ours: php-fpm must not start
    def __init__(self, status: int, why: str, remedy: str = "") -> None:
        """`why`: a clause that core/fpmlog.py knows; `remedy`: a sentence without its full stop."""
        self.status = status
        end = f". {remedy}" if remedy else ""
        super().__init__(f"{why}; not starting php-fpm (exit {status}){end}")


def run(words: Sequence[str]) -> int:
    """Become php-fpm; or return the exit status where that must not be.

    Raises FpmListenerError where the command line is wrong.
    """
    started_at_s = time.monotonic()
    options = parse(words)
    environment = original_environment()
    invocation = fpmcommand.find_in(list(options.command))
    if invocation is None:
        say(f"{options.command[0]!r} is no php-fpm; it is started as it stands")
    elif not invocation.test_only:
        try:
            _Guard(options, invocation, environment, started_at_s).prepare()
        except _Refused as refused:
            say(str(refused))
            return refused.status
    try:
        become(options.command, environment)
    except FileNotFoundError:
        say(f"{options.command[0]}: not found (exit {_NOT_FOUND})")
        return _NOT_FOUND
    except OSError as error:
        say(f"{options.command[0]}: {error.strerror} (exit {_CANNOT_RUN})")
        return _CANNOT_RUN


def say(what: str) -> None:
    """Tell people one line."""
    try:
        sys.stderr.write(f"fpm-listener guard: {what}\n")
        sys.stderr.flush()
    except OSError:
        return  # nobody reads our stderr: that is no reason to keep php-fpm down


class _Guard:
    """One start of php-fpm."""

    def __init__(
        self,
        options: Options,
        invocation: FpmInvocation,
        environment: dict[bytes, bytes],
        started_at_s: float,
    ) -> None:
        self._options = options
        self._invocation = invocation
        self._environment = environment
        self._started_at_s = started_at_s
        self._text = {os.fsdecode(k): os.fsdecode(v) for k, v in environment.items()}
        self._binary = fpmfiles.real_binary(invocation)
        self._ends_at_s: float | None = None  # of the wait; None = there was none so far
        self._told: dict[int, int] = {}  # orphans, and how strongly each was told to end

    def prepare(self) -> None:
        """Return when php-fpm can start. Raises _Refused where it must not."""
        conf = fpmfiles.read(
            self._invocation,
            directory=os.getcwd(),  # noqa: PTH109 - a text
            environment=self._text,
        )
        for problem in conf.problems:
            say(f"php-fpm's configuration is not wholly understood: {problem}")
        self._record = self._open_record(conf)
        self._conf_path = conf.path
        wishes = fpmsockets.wishes(conf, fpmfiles.version(self._invocation))
        handover = self._begin_handover(conf, wishes)
        if handover is None:
            for wish in wishes:
                self._wait_for(wish.address)
        else:
            self._take_over(handover, wishes, conf)
        try:
            self._record.add_self()
        except OSError as error:
            say(
                "this start cannot be recorded, so its workers will be named, not ended, if they "
                f"outlive it: {error.filename or self._state_dir}: {error.strerror}",
            )

    def _open_record(self, conf: FpmConf) -> masters.Record:
        group = self._text.get("SUPERVISOR_GROUP_NAME")
        process = self._text.get("SUPERVISOR_PROCESS_NAME")
        try:
            self._state_dir = quickstart.glance_at_state_dir(self._options.config)
        except OSError as error:
            self._state_dir = quickstart.DEFAULT_STATE_DIR
            say(f"the listener's settings are not used: {error.filename}: {error.strerror}")
        self._name = ProcessName(group, process) if group and process else None
        return masters.Record(self._state_dir, str(self._name or f"by hand:{conf.path}"))

    # -- held sockets ------------------------------------------------------------------------------

    def _begin_handover(self, conf: FpmConf, wishes: Sequence[Wish]) -> deposit.Handover | None:
        """Return the conversation with the listener; None where nothing is held this time."""
        why_not = None
        if conf.problems:
            why_not = "php-fpm's configuration is not wholly understood"
        elif conf.daemonize:
            why_not = "php-fpm daemonizes itself (daemonize = yes, and no -F in its command)"
        elif self._name is None:
            why_not = "supervisord has not started this (no SUPERVISOR_PROCESS_NAME)"
        hold = self._options.hold and why_not is None
        if self._name is None or not (self._options.hold or self._options.config):
            begun = None
        else:
            # Without --hold as well: what is still held from before stands in our way.
            begun = deposit.begin(self._state_dir, self._name, hold=hold, most=len(wishes))
        if isinstance(begun, deposit.Handover):
            return begun
        if self._options.hold:
            say(f"listening sockets are not held: {why_not or (begun.why if begun else '')}")
        return None

    def _take_over(self, handover: deposit.Handover, wishes: Sequence[Wish], conf: FpmConf) -> None:
        """Have php-fpm given every socket that can be, and the listener hold them."""
        sockets: dict[str, tuple[Wish, Bound]] = {}
        for wish in wishes:
            bound = None if wish.beyond_us else handover.take(wish) or self._bind(wish, sockets)
            if wish.beyond_us:
                say(f"{wish.address.text} is left to php-fpm, not held: {wish.beyond_us}")
                self._wait_for(wish.address)
            elif bound is not None:
                sockets[bound.key] = (wish, bound)
        watched = self._watched(wishes, conf) if len(sockets) == len(wishes) else ()
        stamp = quickstart.stamp(self._options.words, watched) if watched else ""
        if why := handover.leave(list(sockets.values()), stamp, watched):
            say(f"listening sockets are not held: {why}")
        self._part_from_orphans([bound.fd for _, bound in sockets.values()])
        for _, bound in sockets.values():
            os.set_inheritable(bound.fd, True)
        given = inheritance([(key, bound.fd) for key, (_, bound) in sockets.items()])
        self._environment |= {os.fsencode(k): os.fsencode(v) for k, v in given.items()}

    def _watched(self, wishes: Sequence[Wish], conf: FpmConf) -> tuple[str, ...]:
        """Return what must be unchanged for the next start to be as this one; () = who knows."""
        folders = [pattern.rpartition("/")[0] for pattern in conf.includes]
        named = any(
            isinstance(wish.address, TcpAddress) and not wish.address.is_numeric for wish in wishes
        )
        paths = (
            *(self._options.config or "", conf.path, *conf.files, *folders, self._binary),
            *("/etc/passwd", "/etc/group"),  # owners of unix sockets
        )
        unsure = named or any(set(folder) & set("*?[") for folder in folders)
        if unsure or not all(path.startswith("/") for path in paths):
            return ()
        return tuple(dict.fromkeys(paths))

    def _bind(self, wish: Wish, sockets: Mapping[str, object]) -> Bound | None:
        """Return a socket of our own; None where php-fpm has to make it, or has it already."""
        if any(key in sockets for key in binding.keys(wish.address)):
            return None  # another pool's: php-fpm lets both have the same socket
        while True:
            self._wait_for(wish.address)
            bound = binding.bind(wish.address, backlog=wish.backlog, rights=wish.rights)
            if isinstance(bound, Bound):
                return bound
            if isinstance(bound, binding.NotOurs):
                say(f"{wish.address.text} is left to php-fpm, not held: {bound.why}")
                return None
            # Somebody was faster: wait for it again.

    def _part_from_orphans(self, descriptors: Sequence[int]) -> None:
        """Tell proven orphans on held sockets to finish what they have, and take no more."""
        known = self._record.read()
        left = masters.orphans(known, self._binary)
        inodes = {os.fstat(descriptor).st_ino for descriptor in descriptors} if left else set()
        for pid in left:
            if not procfs.has_socket(pid, inodes):
                continue
            if not self._options.end_orphans:
                say(f"pid {pid}, an orphan of our own, takes requests still: kill -QUIT {pid}")
            elif masters.tell(pid, signal.SIGQUIT, known, self._binary):
                say(f"telling pid {pid}, an orphan of our own, to end: SIGQUIT")

    # -- waiting -----------------------------------------------------------------------------------

    def _wait_for(self, address: TcpAddress | UnixAddress) -> None:
        """Return when the address is free. Raises _Refused where it is not to be had in time."""
        while True:
            found = binding.ask(address)
            if found.answer is Answer.FREE:
                return
            if found.answer is Answer.FORBIDDEN:
                raise _Refused(EX_CONFIG, f"cannot listen on {address.text}: {found.why}")
            report = self._holders(address) if found.answer is Answer.BUSY else None
            self._end_orphans(report)
            if self._is_over():
                raise self._refuse(address, found, report)
            self._sleep(report)

    def _is_over(self) -> bool:
        """Return whether the wait is over; the first call begins it."""
        if self._ends_at_s is None:
            self._ends_at_s = self._started_at_s + self._longest_wait_s()
            _end_at_once_when_told()
        return time.monotonic() >= self._ends_at_s

    def _longest_wait_s(self) -> float:
        """Return how long to wait at most: what the option says, but less than startsecs."""
        wait_s = self._options.wait_s
        startsecs = _startsecs(self._text)
        if startsecs is None:
            return wait_s
        return min(wait_s, max(startsecs / 2, startsecs - _SUPERVISORD_LOOKS_S))

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
        left_s = max(0.0, (self._ends_at_s or 0.0) - time.monotonic())
        try:
            poller.poll(min(_LOOK_EVERY_S, left_s) * 1000 + 1)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    # -- who is in the way -------------------------------------------------------------------------

    def _holders(self, address: TcpAddress | UnixAddress) -> HolderReport:
        from fpm_listener.sockets import find_holders  # noqa: PLC0415 - law 5

        former = frozenset(master.pid for master in self._record.read())
        return find_holders(address.text, former_masters=former)

    def _end_orphans(self, report: HolderReport | None) -> None:
        """Tell proven orphans to finish, and more strongly as time goes by."""
        if not self._options.end_orphans or report is None:
            return
        pids = {pid for holder in report.holders if holder.ours for pid in _all(holder)}
        if not pids:
            return
        known = self._record.read()
        now_s = time.monotonic()
        for step, (part, number) in enumerate(_STRONGER, 1):
            due_s = now_s
            if part and self._ends_at_s is not None:
                due_s = self._started_at_s + part * (self._ends_at_s - self._started_at_s)
            elif part:
                continue
            for pid in sorted(pids):
                if due_s <= now_s and self._told.get(pid, 0) < step:
                    self._told[pid] = step
                    if masters.tell(pid, number, known, self._binary):
                        say(f"telling pid {pid}, an orphan of our own, to end: {number.name}")

    def _refuse(
        self,
        address: TcpAddress | UnixAddress,
        found: Availability,
        report: HolderReport | None,
    ) -> _Refused:
        from fpm_listener.core import wording  # noqa: PLC0415 - law 5

        waited = f"waited {durations.show(round(time.monotonic() - self._started_at_s, 1))}"
        if report is None:
            why = f"{address.text} is not to be had: {found.why}; {waited}"
            return _Refused(EX_TEMPFAIL, why)
        if not report.holders:
            unseen = report.blind or "nobody is seen to have it"
            why = f"{address.text} is taken; by whom is not known: {unseen}; {waited}"
            return _Refused(EX_TEMPFAIL, why, f"Find who has it: {wording.look(address.text)}")
        first = report.holders[0]
        why = f"{address.text} is held by {report}; {waited}"
        former = any(first.pid == one.pid and masters.alive(one) for one in self._record.read())
        if former:
            why += "; it is this program's own, left behind by an earlier supervisord"
            return _Refused(EX_TEMPFAIL, why, f"End it, then all is well: kill -QUIT {first.pid}")
        if first.command == f"php-fpm: master process ({self._conf_path})" and not first.unit:
            why += "; it runs this very configuration: started by hand, or daemonized"
            why += " (daemonize = yes, and no -F in its command)"
        return _Refused(EX_TEMPFAIL, why, wording.end(first))


def _all(holder: Holder) -> tuple[int, ...]:
    return (holder.pid, *holder.others)


def _pids(report: HolderReport | None) -> list[int]:
    return [pid for holder in report.holders for pid in _all(holder)] if report else []


def _startsecs(environment: Mapping[str, str]) -> float | None:
    """Return this program's startsecs; None where supervisord does not tell."""
    from fpm_listener.supervisor_rpc import RpcFailed, SupervisorRpc  # noqa: PLC0415 - law 5

    rpc = SupervisorRpc.from_environment(environment, timeout_s=0.5)
    answer = rpc.programs() if rpc is not None else ()
    if isinstance(answer, RpcFailed):
        return None
    own = ProcessName(
        environment.get("SUPERVISOR_GROUP_NAME", ""),
        environment.get("SUPERVISOR_PROCESS_NAME", ""),
    )
    return next((program.startsecs for program in answer if program.name == own), None)


def _end_at_once_when_told() -> None:
    """Let supervisord's stop end the wait: SIGQUIT alone would leave a core dump."""
    for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
