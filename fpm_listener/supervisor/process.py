"""The processes of supervisord: their names, configuration and state.

Named tuples, because the guard imports this: dataclasses cost it ten milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.untrusted_text import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.vocabulary import State


class ProcessName(NamedTuple):
    """A supervised process as supervisor names it: `group:process`."""

    group: str
    process: str

    def __str__(self) -> str:
        return f"{self.group}:{self.process}"

    @property
    def shown(self) -> str:
        """Return `php-fpm` for `php-fpm:php-fpm`: supervisorctl accepts both."""
        return short_name(str(self))


class Logs(NamedTuple):
    """Where supervisord writes the output of a process: settings of its section.

    A log is a path, `AUTO` (supervisord chooses the name), `syslog`, or None = no log.
    """

    stdout: str | None = "AUTO"
    stderr: str | None = "AUTO"
    redirect_stderr: bool = False
    stdout_events: bool = False
    stderr_events: bool = False
    stdout_maxbytes: int = 50 << 20  #: bytes after which supervisord rotates the log; 0 = never
    stderr_maxbytes: int = 50 << 20
    auto: str = ""  #: how the names that supervisord chooses begin, with `{channel}`
    level: str = "info"  #: of supervisord's own log: `info` or lower, `warn`, `error`, `critical`
    main: str = ""  #: the path of supervisord's own log; empty = unknown


class Program(NamedTuple):
    """One process of supervisord's configuration, as far as we use it."""

    name: ProcessName
    command: str = ""  #: with expansions done
    directory: str | None = None  #: where it is started; None = supervisord's own
    environment: Mapping[str, str] = {}  #: added by its section
    startsecs: float = 1.0  #: seconds; supervisor's default
    autostart: bool = True  #: supervisord starts it at its own start
    autorestart: str | None = None  #: `true`, `unexpected` or `false`; None = unknown
    stopwaitsecs: float | None = None  #: seconds; None = unknown
    stderr_log: str | None = None  #: the file of its stderr; None = unknown
    logs: Logs | None = None  #: None = unknown
    uid: int | None = None  #: to which supervisord changes before it starts it; None = no change
    events: tuple[str, ...] = ()  #: that an event listener gets


class Loaded(NamedTuple):
    """The configuration and the processes of a running supervisord."""

    configs: tuple[Mapping[str, Any], ...]  #: getAllConfigInfo
    processes: tuple[Mapping[str, Any], ...]  #: getAllProcessInfo


class ProcessSeen(NamedTuple):
    """Input: the state of a process from an answer of supervisord, not from an event."""

    name: ProcessName
    state: State
    pid: int | None
    started_at_s: float | None  #: wall seconds


class Child(NamedTuple):
    """One child of supervisord, as /proc shows it."""

    pid: int
    name: ProcessName | None  #: from its environment; None = blank or unreadable
    title: str  #: its command line
    started_at_s: float | None  #: wall seconds
