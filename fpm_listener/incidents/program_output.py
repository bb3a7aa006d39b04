"""Where the output of a program goes, as supervisord's configuration and the machine show it.

Laws:
1. A file is named only if it is a regular file, or can become one. Devices and pipes are not files.
2. What is not known is not claimed: an unknown program has no files and no hidden output.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.supervisor.process import ProcessName

#: What supervisord writes for a log that it does not keep.
NO_LOG = "NONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramOutput:
    """The sources of the last lines of one program."""

    stdout_file: str | None = None  #: the file that supervisord keeps, AUTO names included
    stderr_file: str | None = None  #: the same; None with redirect_stderr
    stdout_target: str = ""  #: a device, `syslog` or `NONE` instead of a file; empty = a file
    stderr_target: str = ""  #: the same; empty with redirect_stderr
    redirect_stderr: bool = False  #: stderr goes where stdout goes
    stdout_events: bool = False  #: the section lets supervisord send PROCESS_LOG_STDOUT
    stderr_events: bool = False  #: the section lets supervisord send PROCESS_LOG_STDERR
    #: the stderr goes to a pipe whose size is limited: supervisord fails (ESPIPE) before it sends
    rotates_pipe: bool = False
    subscribed: bool | None = None  #: the listener gets the events of that stderr; None = unknown
    own_logs: tuple[str, ...] = ()  #: files that the program itself writes: php-fpm's error log
    never_opened: tuple[str, ...] = ()  #: those of own_logs that do not exist
    #: `loglevel=…` or `logfile=…` of [supervisord], with which its own log shows no exits
    exits_hidden_by: str = ""
    known: bool = False  #: supervisord's configuration was read

    @property
    def files(self) -> tuple[str, ...]:
        """Return the files with lines of the program, stderr last: errors are there."""
        found = (*self.own_logs, self.stdout_file, self.stderr_file)
        return tuple(dict.fromkeys(path for path in found if path))

    @property
    def to_read(self) -> tuple[str, ...]:
        """Return the files that a person can read: at most two, and none that does not exist."""
        own = [path for path in self.own_logs if path not in self.never_opened]
        first = own[0] if own else self.stdout_file
        found = (first, self.stderr_file or self.stdout_file)
        return tuple(dict.fromkeys(path for path in found if path))

    @property
    def has_events(self) -> bool:
        """Return whether supervisord sends what the program writes to stderr."""
        return not self.missing_settings and self.subscribed is not False

    @property
    def hidden_target(self) -> str | None:
        """Return where stderr goes if neither a file nor events show it; None = it is shown."""
        path = self.stdout_file if self.redirect_stderr else self.stderr_file
        if not self.known or path or self.has_events:
            return None
        return (self.stdout_target if self.redirect_stderr else self.stderr_target) or NO_LOG

    @property
    def missing_settings(self) -> list[str]:
        """Return the lines for the program's section that let supervisord send its stderr."""
        channel = "stdout" if self.redirect_stderr else "stderr"
        is_enabled = self.stdout_events if self.redirect_stderr else self.stderr_events
        lines = [] if is_enabled else [f"{channel}_events_enabled=true"]
        return [*lines, f"{channel}_logfile_maxbytes=0"] if self.rotates_pipe else lines


UNKNOWN = ProgramOutput()


def section_of(name: ProcessName) -> str:
    """Return the section of a process: `program:queue` for `queue:queue_00` (numprocs).

    In a [group:x] the number can be part of the program's name, as in `x:job_2024`.
    """
    base = re.sub(r"_[0-9]+$", "", name.process)
    return f"program:{base if base == name.group else name.process}"
