"""Finds the files that contain the output of programs.

Laws:
1. A device, a pipe and a socket are not files: nothing here opens them.
2. A file whose name supervisord has chosen (AUTO) counts only if supervisord's user owns it and
   there is one. Another user can create files with such names in /tmp.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.incidents.program_output import NO_LOG, ProgramOutput
from fpm_listener.supervisor import config_path
from fpm_listener.supervisor.exit_log import QUIET_LEVELS
from fpm_listener.supervisor.rpc import RpcFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.supervisor.process import Logs, ProcessName, Program
    from fpm_listener.supervisor.rpc import LogFiles, SupervisorRpc

#: Places without regular files.
_NO_FILES = ("/dev/", "/proc/")
#: A descriptor of the process that opens the path.
_OWN_DESCRIPTOR = re.compile(r"/dev/(?:(?P<name>stdout|stderr)|fd/(\d+))|/proc/self/fd/(\d+)")
_NUMBERS = {"stdout": "1", "stderr": "2"}


class Target(NamedTuple):
    """Where a log setting leads: to a file, or to something else."""

    file: str | None
    other: str = ""  #: a device, `syslog` or `NONE`


class OutputFinder:
    """Used by one thread."""

    def __init__(self, rpc: SupervisorRpc | None, supervisord_pid: int) -> None:
        self._rpc = rpc
        self._pid = supervisord_pid
        self._auto: Mapping[ProcessName, LogFiles] = {}
        self._events: frozenset[str] = frozenset()  # that this listener gets; empty = unknown
        options = config_path.options_of(config_path.command_of(supervisord_pid))
        # They replace the settings.
        self._level = options.get("-e") or options.get("--loglevel")
        self._log = options.get("-l") or options.get("--logfile")

    def ask(self) -> None:
        """Ask supervisord for the names that it has chosen (AUTO)."""
        answer = self._rpc.log_files() if self._rpc is not None else {}
        if not isinstance(answer, RpcFailed):
            self._auto = answer

    def know(self, programs: Iterable[Program], own_name: ProcessName) -> None:
        """Learn which events the listener gets; `own_name`: its name in supervisord."""
        own = next((one for one in programs if one.name == own_name), None)
        self._events = frozenset(own.events if own else ())

    def find(self, program: Program, own_logs: tuple[str, ...] = ()) -> ProgramOutput:
        """Return where the output of a program goes; `own_logs`: files that it writes itself."""
        logs = program.logs
        if logs is None:
            return ProgramOutput(own_logs=own_logs)
        auto = self._auto.get(program.name)
        stdout = self._target(logs.stdout, auto.stdout if auto else None, logs, "stdout")
        stderr = Target(None)
        if not logs.redirect_stderr:
            stderr = self._target(logs.stderr, auto.stderr if auto else None, logs, "stderr")
        read, maxbytes = stderr, logs.stderr_maxbytes
        if logs.redirect_stderr:
            read, maxbytes = stdout, logs.stdout_maxbytes
        return ProgramOutput(
            stdout_file=stdout.file,
            stderr_file=stderr.file,
            stdout_target=stdout.other,
            stderr_target=stderr.other,
            redirect_stderr=logs.redirect_stderr,
            stdout_events=logs.stdout_events,
            stderr_events=logs.stderr_events,
            rotates_pipe=bool(maxbytes) and self._is_pipe(read.other),
            subscribed=self._is_subscribed("STDOUT" if logs.redirect_stderr else "STDERR"),
            own_logs=own_logs,
            never_opened=tuple(path for path in own_logs if not os.path.exists(path)),  # noqa: PTH110 - a text stays a text
            exits_hidden_by=self._hides_exits(logs),
            known=True,
        )

    def stderr_file(self, program: Program) -> str | None:
        """Return the file with the stderr of a program."""
        output = self.find(program)
        return output.stdout_file if output.redirect_stderr else output.stderr_file

    def _target(self, log: str | None, chosen: str | None, logs: Logs, channel: str) -> Target:
        if log in {None, os.devnull}:
            return Target(None, NO_LOG)
        if log == "AUTO":
            return Target(chosen or self._newest(logs.auto.format(channel=channel)))
        if log == "syslog":
            return Target(None, log)
        path = log if log.startswith("/") else f"{self._working_directory()}/{log}"
        return Target(path) if _can_be_file(path) else Target(None, path)

    def _hides_exits(self, logs: Logs) -> str:
        """Return the setting with which supervisord's own log cannot be read, or has no exits."""
        level, log = self._level or logs.level, self._log or logs.main
        if log.startswith(_NO_FILES) and not log.startswith("/dev/shm/"):  # noqa: S108 - compared
            return f"logfile={log}"
        return f"loglevel={level}" if level in QUIET_LEVELS else ""

    def _is_subscribed(self, channel: str) -> bool | None:
        names = {"EVENT", "PROCESS_LOG", f"PROCESS_LOG_{channel}"}
        return bool(self._events & names) if self._events else None

    def _is_pipe(self, path: str) -> bool:
        """Return whether a target has no position: a pipe, a socket or a terminal.

        A target that may not be examined is one: in a container it is.
        """
        if path in {"", NO_LOG, "syslog"}:
            return False
        if found := _OWN_DESCRIPTOR.fullmatch(path):
            number = _NUMBERS[found["name"]] if found["name"] else found[2] or found[3]
            path = f"/proc/{self._pid}/fd/{number}"
        try:
            seen = os.stat(path)  # noqa: PTH116 - a text stays a text
        except OSError:
            return True
        return not (stat.S_ISREG(seen.st_mode) or seen.st_rdev == os.stat(os.devnull).st_rdev)  # noqa: PTH116 - the same

    def _working_directory(self) -> str:
        try:
            return os.readlink(f"/proc/{self._pid}/cwd")  # noqa: PTH115 - a text stays a text
        except OSError:
            return os.getcwd()  # noqa: PTH109 - the same; supervisord's children inherit it

    def _newest(self, prefix: str) -> str | None:
        """Return the AUTO file of a supervisord without XML-RPC; None = not found for certain."""
        if not prefix:
            return None
        try:
            owner = os.stat(f"/proc/{self._pid}").st_uid  # noqa: PTH116 - the same
        except OSError:
            return None
        found = []
        for path in glob.glob(f"{glob.escape(prefix)}????????.log"):  # noqa: PTH207 - the same
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode) and status.st_uid == owner:
                found.append(path)
        return found[0] if len(found) == 1 else None


def _can_be_file(path: str) -> bool:
    """Return whether the path is a regular file, or supervisord can create one there."""
    if path.startswith(_NO_FILES) and not path.startswith("/dev/shm/"):  # noqa: S108 - compared
        return False  # /dev/stderr of supervisord is not ours
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 - a text stays a text
    except OSError:
        return True
