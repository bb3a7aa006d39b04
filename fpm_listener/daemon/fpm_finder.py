"""Finds which programs are php-fpm: also those that start it behind a script.

Laws:
1. The command decides. Then come the running process, the script that the command runs, what was
   found earlier, and the setting `php_fpm`.
2. A running process counts if its executable is php-fpm, and its title names the configuration. A
   title alone counts only if the executable is not readable: each process can write any title.
3. The messages of a failed run are whole lines with php-fpm's time. A program can show the lines
   of another. So a pid in them must be that of a php-fpm of the program, and lines without a pid
   count only if the command runs a script. They name no configuration.
4. A script that can also become another program needs one of the other proofs.
5. A program that was found once stays php-fpm as long as its command is the same. One that only
   messages showed stops to be php-fpm when its process is neither php-fpm nor a shell.
"""

from __future__ import annotations

import os
import re
import time
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import fpm_titles, procfs
from fpm_listener.phpfpm import command_line, script_files, start_script
from fpm_listener.phpfpm.command_line import FpmInvocation
from fpm_listener.supervisor.process import ProcessName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.supervisor.process import Program

#: php-fpm's own words about its start. Source: sapi/fpm/fpm/fpm.c, fpm_main.c.
_MESSAGE = re.compile(
    r"\[\d\d-\w{3}-\d{4} [\d:.]+\] "
    r"(?:ERROR: FPM initialization failed|NOTICE: fpm is running, pid (\d{1,9}))",
    re.ASCII,
)
#: Programs that show the lines of other programs.
_LOG_READER = re.compile(
    r"(?:^|[\s;&|'\"(/])(?:tail|multitail|cat|less|journalctl|logger|filebeat|rsyslogd?|syslog-ng"
    r"|fluent-?bit|fluentd|td-agent|vector|promtail|logstash|inotifywait|socat|nc)(?![\w./-])"
)
#: Seconds between two looks: a program in a restart loop has a new pid all the time.
_LOOK_EVERY_S = 10.0
#: Seconds after which a process is what its command becomes.
_SETTLED_S = 5.0
#: Processes between supervisord's child and php-fpm: a script, `sudo`, `tini`.
_DEEPEST = 4
#: Children of one process that are examined.
_MOST_CHILDREN = 50
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "mksh"})


class Found(NamedTuple):
    """A php-fpm that a program has started."""

    command: str  #: of the program
    binary: str
    config: str  #: empty = unknown: only its messages were seen


class FpmFinder:
    """Any thread can call it: each change is one assignment."""

    def __init__(self, remembered: object = None, named: Sequence[str] = ()) -> None:
        """`remembered`: what `memory` returned in an earlier listener."""
        self.named = named  #: globs of the setting php_fpm
        self._pids: Mapping[ProcessName, int] = {}  # of the processes to look at
        self._looked_at_s = float("-inf")  # monotonic
        self._looks_left = 0
        self._found = _restore(remembered)

    def has_new(self, pids: Mapping[ProcessName, int], now_s: float) -> bool:
        """Take the pids of all programs; return whether to look at them now.

        Each process gets two looks: a script can take a while before it starts php-fpm.
        """
        if pids != self._pids:
            self._looks_left = 2
        if not self._looks_left or now_s - self._looked_at_s < _LOOK_EVERY_S:
            return False
        self._pids, self._looked_at_s = pids, now_s
        self._looks_left -= 1
        return True

    def take_messages(self, program: Program | None, lines: Sequence[str]) -> bool:
        """Take the lines of a failed run; return whether they show a php-fpm that was unknown."""
        if program is None or self.is_named(program) or self.find(program) is not None:
            return False
        found = [one for line in lines if (one := _MESSAGE.fullmatch(line.strip()))]
        pids = [int(one[1]) for one in found if one[1]]
        is_fpm = any(self._is_own(program, pid) for pid in pids)
        if found and not pids:
            is_fpm = _runs_script(program)
        if is_fpm:
            self._found[program.name] = Found(program.command, "", "")
        return is_fpm

    def memory(self) -> dict[str, list[str]]:
        """Return what must be remembered, as JSON."""
        return {str(name): list(one) for name, one in dict(self._found).items()}

    def find(self, program: Program) -> FpmInvocation | None:
        """Return the php-fpm of a program; None for another program, or an unknown php-fpm."""
        found = command_line.find(program.command)
        if found is not None:
            return None if found.test_only else found
        self._look(program)
        script = start_script.find(program.command, _reader(program), _environment(program))
        if script is not None and script.ambiguous and not self.is_named(program):
            return None
        known, running = script and script.invocation, self._found.get(program.name)
        if running is None or running.command != program.command or not running.config:
            return known
        if known is not None and known.config in {None, running.config}:
            return known._replace(config=running.config)
        return FpmInvocation(running.binary, config=running.config, foreground=True)

    def is_named(self, program: Program) -> bool:
        """Return whether the settings or its messages say that a program is php-fpm."""
        found, names = self._found.get(program.name), (str(program.name), program.name.shown)
        if found is not None and found.command == program.command:
            return True
        return any(fnmatchcase(name, glob) for name in names for glob in self.named)

    def _is_own(self, program: Program, pid: int) -> bool:
        """Return whether a pid is that of a php-fpm that the program has started."""
        own = self._pids.get(program.name)
        if own is None or not _is_fpm(pid):
            return False
        for _ in range(_DEEPEST):
            stat = procfs.read_stat(pid)
            if pid == own or stat is None:
                break
            pid = stat.ppid
        return pid == own

    def _look(self, program: Program) -> None:
        """Look for a php-fpm among the processes of a program."""
        pid = self._pids.get(program.name)
        pids = [] if pid is None else [pid]
        is_other = bool(pids) and _age_s(pids[0]) >= _SETTLED_S
        for _ in range(_DEEPEST):
            for pid in pids:
                found = _master(pid)
                if found is not None:
                    self._found[program.name] = Found(program.command, *found)
                    return
                is_other = is_other and _is_other(pid)
            pids = [child for pid in pids for child in _children(pid)]
        known = self._found.get(program.name)
        if is_other and known is not None and not known.config:
            self._found.pop(program.name, None)


def _restore(saved: object) -> dict[ProcessName, Found]:
    """Return what `FpmFinder.memory` returned; what is damaged is left out."""
    found = {}
    for key, value in saved.items() if isinstance(saved, dict) else ():
        group, colon, process = str(key).partition(":")
        is_whole = isinstance(value, list) and len(value) == len(Found._fields)
        if colon and is_whole and all(isinstance(one, str) for one in value):
            found[ProcessName(group, process)] = Found(*value)
    return found


def _master(pid: int) -> tuple[str, str] | None:
    """Return the executable and the configuration of a php-fpm's master process."""
    config = fpm_titles.config_of(procfs.title(pid))
    if config is None or not config.startswith("/"):
        return None
    binary = procfs.executable(pid)
    if binary is not None and command_line.find_in([binary]) is None:
        return None
    return binary or "php-fpm", config


def _is_fpm(pid: int) -> bool:
    """Return whether a process is php-fpm."""
    binary = procfs.executable(pid)
    return _master(pid) is not None if binary is None else bool(command_line.find_in([binary]))


def _is_other(pid: int) -> bool:
    """Return whether a process is certainly neither php-fpm nor a shell that may start it."""
    binary = procfs.executable(pid)
    if binary is None or os.path.basename(binary) in _SHELLS:  # noqa: PTH119 - a text
        return False
    return not _is_fpm(pid)


def _age_s(pid: int) -> float:
    """Return the seconds since the start of a process; 0 = unknown."""
    stat = procfs.read_stat(pid)
    if stat is None:
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - stat.started / os.sysconf("SC_CLK_TCK")


def _runs_script(program: Program) -> bool:
    """Return whether a command runs a script, and no program that shows lines of others."""
    texts, read_text = [program.command], _reader(program)

    def read(name: str) -> str | None:
        text = read_text(name)
        if text is not None:
            texts.append(text)
        return text

    script = start_script.find(program.command, read, _environment(program))
    return script is not None and not any(map(_LOG_READER.search, texts))


def _children(pid: int) -> list[int]:
    try:
        return procfs.children(pid)[:_MOST_CHILDREN]
    except OSError:
        return []


def _environment(program: Program) -> dict[str, str]:
    return {**os.environ, **program.environment}


def _reader(program: Program) -> start_script.Reader:
    return script_files.reader(_environment(program), program.directory or "")
