"""What stands before php-fpm in `command=`: waits exactly as long as needed, and becomes php-fpm.

Laws:
1. A working site is never made worse: what the guard does not understand, it says, and becomes
   php-fpm all the same.
2. It adds no wait where the address is free, and never waits as long as startsecs, so that
   supervisord's own BACKOFF and FATAL apply. Both count from the start of the process.
3. It becomes php-fpm: same pid, environment, umask, limits; no child, no further descriptor but the
   sockets that php-fpm is given.
4. Only proven orphans of this very program are signalled; everybody else is named.
5. It starts before every php-fpm, so it imports little: nothing heavy before it has to wait.
6. The listener can hang, be absent or have another version: php-fpm starts all the same.
"""

from __future__ import annotations

import getopt
import os
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import durations
from fpm_listener.guard import bind, fast_start, handover_client, orphans
from fpm_listener.guard.address_wait import AddressWait, Start, StartRefused, optional, say
from fpm_listener.guard.bind import Bound
from fpm_listener.guard.fast_start import original_environment
from fpm_listener.host import procfs
from fpm_listener.host.addresses import TcpAddress
from fpm_listener.host.exec import become
from fpm_listener.phpfpm import command_line, config_files, listen_sockets
from fpm_listener.phpfpm.inherited_sockets import environment as inheritance
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf
    from fpm_listener.phpfpm.listen_sockets import ListenSocketSpec

USAGE = (
    "fpm-listener guard [--wait 2s] [--orphans quit|report] [--hold] [--config FILE] "
    "-- php-fpm ARGUMENTS"
)
_CANNOT_RUN, _NOT_FOUND = 126, 127  # as a shell says it


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


def run(words: Sequence[str], *, listener_is_silent: bool = False) -> int:
    """Become php-fpm; or return the exit status where that must not be.

    listener_is_silent: it was asked already, and did not answer.
    Raises FpmListenerError where the command line is wrong.
    """
    options = parse(words)
    environment = original_environment()
    find = partial(command_line.find_in, list(options.command))
    invocation = optional("the look at the command", find, None)
    if invocation is None:
        say(f"{options.command[0]!r} is no php-fpm; it is started as it stands")
    elif not invocation.test_only:
        try:
            optional(
                "the guard",
                lambda: _Guard(options, invocation, environment, listener_is_silent).prepare(),
                None,
            )
        except StartRefused as refused:
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


class _Guard:
    """One start of php-fpm."""

    def __init__(
        self,
        options: Options,
        invocation: FpmInvocation,
        environment: dict[bytes, bytes],
        listener_is_silent: bool,  # noqa: FBT001 - of one caller
    ) -> None:
        self._options = options
        self._invocation = invocation
        self._environment = environment
        self._answered = False if listener_is_silent else None
        self._text = {os.fsdecode(k): os.fsdecode(v) for k, v in environment.items()}
        group = self._text.get("SUPERVISOR_GROUP_NAME")
        process = self._text.get("SUPERVISOR_PROCESS_NAME")
        self._name = ProcessName(group, process) if group and process else None
        self._began_at_s = time.monotonic()

    def prepare(self) -> None:
        """Return when php-fpm can start. Raises Refused where it must not.

        An unexpected error in one step does not stop the next steps.
        """
        read = partial(config_files.real_binary, self._invocation)
        self._binary = optional("the search for php-fpm", read, self._invocation.binary)
        conf = optional("the reading of php-fpm's configuration", self._read_conf, None)
        locate = partial(fast_start.glance_at_state_dir, None)
        self._state_dir = optional("the listener's settings", self._find_state_dir, "") or optional(
            "the search for state_dir", locate, fast_start.DEFAULT_STATE_DIR
        )
        name = str(self._name or f"by hand:{conf.path if conf else ''}")
        self._record = orphans.MasterRecord(self._state_dir, name)
        if conf is None:
            # Which addresses php-fpm needs is unknown. What the listener holds is in its way.
            optional("the request to the listener", self._ask_to_release, False)
        else:
            self._get_addresses(conf)
        optional("the record of this start", self._record_start, None)

    def _read_conf(self) -> FpmConf | None:
        conf = config_files.read(
            self._invocation,
            directory=fast_start.working_directory(),
            environment=self._text,
        )
        for problem in conf.problems:
            say(f"php-fpm's configuration is not wholly understood: {problem}")
        return conf

    def _get_addresses(self, conf: FpmConf) -> None:
        """Return when php-fpm can have all its addresses. Raises Refused where it cannot."""
        wishes: Sequence[ListenSocketSpec] = optional(
            "the search for addresses",
            lambda: listen_sockets.specs(conf, config_files.version(self._invocation)),
            (),
        )
        begin = partial(self._begin_handover, conf, wishes)
        handover = optional("the handover", begin, None)
        start = Start(
            binary=self._binary,
            conf_path=conf.path,
            environment=self._text,
            began_at_s=procfs.program_began_at_s() if self._name else self._began_at_s,
            name=self._name,
            answered=self._answered,
            ask=partial(optional, "the request to the listener", self._ask_to_release, False),
            may_have_more_rights=self._may_have_more_rights(),
        )
        self._way = AddressWait(
            start,
            self._record,
            wait_s=self._options.wait_s,
            end_orphans=self._options.end_orphans,
        )
        if handover is not None and self._has_taken_over(handover, wishes, conf):
            return
        self._use(self._get_all(wishes))

    def _has_taken_over(
        self, handover: handover_client.Handover, wishes: Sequence[ListenSocketSpec], conf: FpmConf
    ) -> bool:
        """Return whether the handover had no unexpected error; after one, nothing is held."""
        sockets: dict[str, tuple[ListenSocketSpec, Bound]] = {}

        def take_over() -> bool:
            self._take_over(handover, wishes, conf, sockets)
            return True

        if optional("the handover", take_over, False):
            return True
        for _, bound in sockets.values():
            os.close(bound.fd)
        handover.close()
        optional("the request to the listener", self._ask_to_release, False)
        return False

    def _record_start(self) -> None:
        try:
            self._record.add_self()
        except OSError as error:
            if self._record.is_shared:
                return  # the listener has recorded it
            say(
                "this start cannot be recorded, so its workers will be named, not ended, if they "
                f"outlive it: {self._path_of(error)}: {error.strerror}",
            )

    def _find_state_dir(self) -> str:
        """Return it; empty where the settings cannot be read."""
        try:
            return fast_start.glance_at_state_dir(self._options.config)
        except OSError as error:
            say(f"the listener's settings are not used: {error.filename}: {error.strerror}")
            return ""

    def _path_of(self, error: OSError) -> str:
        # Names in the directory are relative to it; an absolute one wins.
        return os.path.join(self._state_dir, error.filename or "")  # noqa: PTH118 - pathlib costs milliseconds

    def _may_have_more_rights(self) -> bool:
        """Return whether php-fpm will be allowed what we are not: by a wrapper, or by its file."""
        if self._options.command[0] != self._invocation.binary:
            return True
        try:
            os.getxattr(self._binary, "security.capability")
        except OSError:
            return False
        return True

    # -- held sockets ------------------------------------------------------------------------------

    def _begin_handover(
        self, conf: FpmConf, wishes: Sequence[ListenSocketSpec]
    ) -> handover_client.Handover | None:
        """Return the conversation with the listener; None where nothing is held this time."""
        why_not = None
        if conf.problems:
            why_not = "php-fpm's configuration is not wholly understood"
        elif conf.daemonize:
            why_not = "php-fpm daemonizes itself (daemonize = yes, and no -F in its command)"
        elif self._name is None:
            why_not = "supervisord has not started this (no SUPERVISOR_PROCESS_NAME)"
        hold = self._options.hold and why_not is None
        begun: handover_client.Handover | handover_client.HandoverRefused | None
        if self._name is None or not (self._options.hold or self._options.config):
            begun = None
        elif self._answered is False:
            begun = handover_client.HandoverRefused("the listener does not answer: timed out")
        else:
            # Without --hold as well: what is still held from before stands in our way.
            begun = handover_client.begin(self._state_dir, self._name, hold=hold, most=len(wishes))
        if isinstance(begun, handover_client.Handover):
            self._answered = True
            self._record.learn(begun.masters)
            return begun
        if begun is not None:
            self._answered = begun.answered
        if self._options.hold:
            say(f"listening sockets are not held: {why_not or (begun.why if begun else '')}")
        return None

    def _ask_to_release(self) -> bool:
        """Ask the listener to release what it holds; return whether it has answered."""
        if self._name is None:
            return False
        begun = handover_client.begin(self._state_dir, self._name, hold=False, most=0)
        return not isinstance(begun, handover_client.HandoverRefused) or begun.answered

    def _get_all(
        self, wishes: Sequence[ListenSocketSpec]
    ) -> dict[str, tuple[ListenSocketSpec, Bound]]:
        """Wait for all addresses; return the sockets that only our listener had."""
        sockets: dict[str, tuple[ListenSocketSpec, Bound]] = {}
        for wish in wishes:
            if any(key in sockets for key in bind.keys(wish.address)):
                continue
            wait = partial(self._way.wait_for, wish.address)
            bound = optional(f"the wait for {wish.address.text}", wait, None)
            if bound is not None:
                sockets[bound.key] = (wish, bound)
        return sockets

    def _take_over(
        self,
        handover: handover_client.Handover,
        wishes: Sequence[ListenSocketSpec],
        conf: FpmConf,
        sockets: dict[str, tuple[ListenSocketSpec, Bound]],
    ) -> None:
        """Have php-fpm given every socket that can be, and the listener hold them.

        sockets: gets them, by key.
        """
        for wish in wishes:
            if not wish.beyond_us and (bound := handover.take(wish)) is not None:
                sockets[bound.key] = (wish, bound)
        # No wish is for the rest, but it can be in the way: 0.0.0.0:9000 of 127.0.0.1:9000.
        more = handover.has_more
        again = self._release_the_rest(handover, sockets) if more else handover
        for wish in wishes:
            if wish.beyond_us:
                say(f"{wish.address.text} is left to php-fpm, not held: {wish.beyond_us}")
                bound = self._way.wait_for(wish.address)
            else:
                bound = self._bind(wish, sockets)
            if bound is not None:
                sockets[bound.key] = (wish, bound)
        if again is not None:
            leave = partial(self._leave, again, sockets, wishes, conf)
            optional("the handover to the listener", leave, None)
        part = partial(self._way.part_from_orphans, [bound.fd for _, bound in sockets.values()])
        optional("the end of orphans", part, None)
        self._use(sockets)

    def _release_the_rest(
        self,
        handover: handover_client.Handover,
        sockets: Mapping[str, tuple[ListenSocketSpec, Bound]],
    ) -> handover_client.Handover | None:
        """Let the listener hold only these sockets; return another conversation with it."""
        if self._name is None or handover.leave(list(sockets.values()), "", ()):
            return None
        begun = handover_client.begin(self._state_dir, self._name, hold=True, most=len(sockets))
        if isinstance(begun, handover_client.HandoverRefused):
            return None
        begun.close_held()
        return begun

    def _leave(
        self,
        handover: handover_client.Handover,
        sockets: Mapping[str, tuple[ListenSocketSpec, Bound]],
        wishes: Sequence[ListenSocketSpec],
        conf: FpmConf,
    ) -> None:
        watched = self._watched(wishes, conf) if len(sockets) == len(wishes) else ()
        stamp = fast_start.stamp(self._options.words, watched) if watched else ""
        if why := handover.leave(list(sockets.values()), stamp, watched):
            say(f"listening sockets are not held: {why}")

    def _use(self, sockets: Mapping[str, tuple[ListenSocketSpec, Bound]]) -> None:
        """Have php-fpm given these sockets."""
        for _, bound in sockets.values():
            os.set_inheritable(bound.fd, True)
        given = inheritance([(key, bound.fd) for key, (_, bound) in sockets.items()])
        self._environment |= {os.fsencode(k): os.fsencode(v) for k, v in given.items()}

    def _watched(self, wishes: Sequence[ListenSocketSpec], conf: FpmConf) -> tuple[str, ...]:
        """Return what must be unchanged for the next start to be as this one; () = who knows."""
        folders = [pattern.rpartition("/")[0] for pattern in conf.includes]
        named = any(
            isinstance(wish.address, TcpAddress) and not wish.address.is_numeric for wish in wishes
        )
        paths = (
            *((self._options.config,) if self._options.config else ()),
            *(conf.path, *conf.files, *folders, self._binary),
            *("/etc/passwd", "/etc/group"),  # owners of unix sockets
        )
        unsure = named or any(set(folder) & set("*?[") for folder in folders)
        if unsure or not all(path.startswith("/") for path in paths):
            return ()
        return tuple(dict.fromkeys(paths))

    def _bind(self, wish: ListenSocketSpec, sockets: Mapping[str, object]) -> Bound | None:
        """Return a socket of our own; None where php-fpm has to make it, or has it already."""
        if any(key in sockets for key in bind.keys(wish.address)):
            return None  # another pool's: php-fpm lets both have the same socket
        while True:
            reclaimed = self._way.wait_for(wish.address)
            if reclaimed is not None:
                return reclaimed
            bound = bind.bind(wish.address, backlog=wish.backlog, rights=wish.rights)
            if isinstance(bound, Bound):
                return bound
            if isinstance(bound, bind.NotOurs):
                say(f"{wish.address.text} is left to php-fpm, not held: {bound.why}")
                return None
            # Somebody was faster: wait for it again.
