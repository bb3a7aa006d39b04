"""Runs before php-fpm in `command=`: waits until its addresses are free, then becomes php-fpm.

Laws:
1. A working site is never made worse: the guard reports what it does not understand, and becomes
   php-fpm anyway.
2. It adds no wait if the address is free, and never waits as long as startsecs, so that
   supervisord's own BACKOFF and FATAL apply. Both count from the start of the process.
   An exception: in the first seconds of supervisord it waits for the listener, a second or longer,
   with --hold or where only the listener can record this start (docs/adr/028).
3. It becomes php-fpm: same pid, environment, umask, limits; no child, no further descriptor but the
   sockets that php-fpm gets.
4. Only proven orphans of this program are signalled; other processes are named.
5. It runs before every start, so it imports little, and nothing heavy before it has to wait.
6. The listener can hang, be absent or have another version: php-fpm starts anyway.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from fpm_listener import DEFAULT_STATE_DIR
from fpm_listener.guard import fast_start, handover_client, orphans
from fpm_listener.guard import options as guard_options
from fpm_listener.guard.address_wait import AddressWait, Start
from fpm_listener.guard.held_start import HeldStart, SocketSet, watched_paths
from fpm_listener.guard.orphan_ender import OrphanEnder
from fpm_listener.guard.refusal import StartRefused, optional, print_line, say
from fpm_listener.host import procfs
from fpm_listener.host.exec import become, failed_status
from fpm_listener.phpfpm import command_line, config_files, listen_sockets
from fpm_listener.phpfpm.guard_messages import GuardCode
from fpm_listener.phpfpm.inherited_sockets import environment as inheritance
from fpm_listener.supervisor.process import ProcessName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.guard.options import Options
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf
    from fpm_listener.phpfpm.listen_sockets import ListenSocketSpec


def run(words: Sequence[str], *, listener_is_silent: bool = False) -> int:
    """Become php-fpm; or return the exit status where that must not be.

    listener_is_silent: it was asked already, and did not answer.
    Raises FpmListenerError where the command line is wrong.
    """
    options = guard_options.parse(words)
    environment = fast_start.original_environment()
    find = partial(command_line.find_in, list(options.command))
    invocation = optional("the reading of the command", find, None)
    program = options.command[0]
    if invocation is None:
        sentence = f"{program!r} is not php-fpm; it is started without a check"
        say(GuardCode.NOT_PHP_FPM, sentence, program=program)
    elif not invocation.test_only:
        try:
            optional(
                "the guard",
                lambda: _Guard(options, invocation, environment, listener_is_silent).prepare(),
                None,
            )
        except StartRefused as refused:
            print_line(str(refused))
            return refused.status
    try:
        become(options.command, environment)
    except OSError as error:
        is_missing, status = isinstance(error, FileNotFoundError), failed_status(error)
        code = GuardCode.MISSING_PATH if is_missing else GuardCode.CANNOT_EXECUTE
        if isinstance(error, PermissionError):
            code = GuardCode.PERMISSION
        say(code, f"cannot execute {program}: {error.strerror} (exit {status})", program=program)
        return status


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
        """Return when php-fpm can start. Raises StartRefused where it must not.

        An unexpected error in one step does not stop the next steps.
        """
        read = partial(config_files.real_binary, self._invocation)
        self._binary = optional("the search for php-fpm", read, self._invocation.binary)
        conf = optional("the reading of php-fpm's configuration", self._read_conf, None)
        locate = partial(fast_start.glance_at_state_dir, None)
        self._state_dir = optional("the listener's settings", self._find_state_dir, "") or optional(
            "the search for state_dir", locate, DEFAULT_STATE_DIR
        )
        name = str(self._name or f"by hand:{conf.path if conf else ''}")
        self._record = orphans.MasterRecord(self._state_dir, name)
        if conf is None:
            # The addresses are unknown. A socket that the listener holds can be one of them.
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
            sentence = f"cannot read all of php-fpm's configuration: {problem}"
            say(GuardCode.CONFIG_PROBLEM, sentence)
        return conf

    def _get_addresses(self, conf: FpmConf) -> None:
        """Return when php-fpm can have all its addresses. Raises StartRefused where it cannot."""
        specs: Sequence[ListenSocketSpec] = optional(
            "the search for addresses",
            lambda: listen_sockets.specs(conf, config_files.version(self._invocation)),
            (),
        )
        begin = partial(self._begin_handover, conf, len(specs))
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
        is_allowed = self._options.end_orphans
        ender = OrphanEnder(self._record, self._binary, is_allowed=is_allowed)
        wait = AddressWait(start, self._record, ender, self._options.wait_s)
        if handover is not None and self._name is not None:
            held = HeldStart(self._options, self._state_dir, self._name, wait, ender)
            watch = partial(watched_paths, self._options, conf, specs, self._binary)
            if self._has_taken_over(held, partial(held.take_over, handover, specs, watch)):
                return
            handover.close()
            optional("the request to the listener", self._ask_to_release, False)
        self._inherit(_wait_for_all(wait, specs))

    def _has_taken_over(self, held: HeldStart, take_over: partial[None]) -> bool:
        """Return whether php-fpm inherits all; after an unexpected error, nothing is held."""

        def work() -> bool:
            take_over()
            self._inherit(held.sockets)
            return True

        if optional("the handover", work, False):
            return True
        held.sockets.close()
        return False

    def _inherit(self, sockets: SocketSet) -> None:
        """Let php-fpm inherit these sockets."""
        for descriptor in sockets.descriptors:
            os.set_inheritable(descriptor, True)
        given = inheritance([(bound.key, bound.fd) for _, bound in sockets.pairs])
        self._environment |= {os.fsencode(k): os.fsencode(v) for k, v in given.items()}

    def _record_start(self) -> None:
        try:
            self._record.add_self()
        except OSError as error:
            if self._record.is_shared:
                return  # the listener has recorded it
            # Names in the directory are relative to it; an absolute one wins.
            path = os.path.join(self._state_dir, error.filename or "")  # noqa: PTH118 - pathlib costs milliseconds
            sentence = (
                f"cannot record this start: {path}: {error.strerror}. "
                "Later guards will report its orphans and not end them"
            )
            say(GuardCode.START_NOT_RECORDED, sentence, file=path)

    def _find_state_dir(self) -> str:
        """Return it; empty where the settings cannot be read."""
        try:
            return fast_start.glance_at_state_dir(self._options.config)
        except OSError as error:
            sentence = f"the listener's settings are not used: {error.filename}: {error.strerror}"
            say(GuardCode.SETTINGS_UNREADABLE, sentence, file=error.filename)
            return ""

    def _may_have_more_rights(self) -> bool:
        """Return whether php-fpm can get rights that we lack: from a wrapper, or from its file."""
        if self._options.command[0] != self._invocation.binary:
            return True
        try:
            os.getxattr(self._binary, "security.capability")
        except OSError:
            return False
        return True

    # -- the listener ------------------------------------------------------------------------------

    def _begin_handover(self, conf: FpmConf, most: int) -> handover_client.Handover | None:
        """Return the conversation with the listener; None where nothing is held this time."""
        why_not = None
        if conf.problems:
            why_not = "php-fpm's configuration is not understood"
        elif conf.daemonize:
            why_not = "php-fpm daemonizes itself (daemonize = yes, and no -F in its command)"
        elif self._name is None:
            why_not = "supervisord has not started this (no SUPERVISOR_PROCESS_NAME)"
        hold = self._options.hold and why_not is None
        begun: handover_client.Handover | handover_client.HandoverRefused | None
        # Otherwise only the listener can record this start.
        can_record = self._record.can_be_written()
        asks = self._options.hold or self._options.config or not can_record
        if self._name is None or not asks:
            begun = None
        elif self._answered is False:
            begun = handover_client.HandoverRefused("the listener does not answer: timed out")
        else:
            # Without --hold, too: sockets from an earlier start can be in the way.
            wait = not can_record and handover_client.listener_runs()
            begun = handover_client.begin(
                self._state_dir, self._name, hold=hold, most=most, wait=wait
            )
        if begun is not None:
            self._record.set_from_listener(begun.masters)
        if isinstance(begun, handover_client.Handover):
            self._answered = True
            return begun
        if begun is not None:
            self._answered = begun.answered
        if self._options.hold:
            why = why_not or (begun.why if begun else "")
            say(GuardCode.NOT_HELD, f"listening sockets are not held: {why}")
        return None

    def _ask_to_release(self) -> bool:
        """Ask the listener to release its sockets; return whether it has answered."""
        if self._name is None:
            return False
        begun = handover_client.begin(self._state_dir, self._name, hold=False, most=0)
        return not isinstance(begun, handover_client.HandoverRefused) or begun.answered


def _wait_for_all(wait: AddressWait, specs: Sequence[ListenSocketSpec]) -> SocketSet:
    """Wait for all addresses; return the sockets that only our listener had."""
    sockets = SocketSet()
    for spec in specs:
        if not sockets.has(spec):
            step = partial(wait.wait_for, spec.address)
            sockets.add(spec, optional(f"the wait for {spec.address.text}", step, None))
    return sockets
