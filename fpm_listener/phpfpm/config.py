"""The configuration of php-fpm: php-fpm.conf and its pools, as php-fpm reads them.

Laws:
1. Nothing raises: a broken configuration gives `problems` and all parts that could be read, because
   the listener needs them when php-fpm does not start.
2. Unknown keys are kept: each version of php-fpm has others. PHP's constants, its arithmetic
   (`E_ALL & ~E_NOTICE`) and php.ini's words in `${…}` are not evaluated.

Source: php-src sapi/fpm/fpm/fpm_conf.c and Zend/zend_ini_scanner.l; compared with `php-fpm8.2 -tt`.
"""

from __future__ import annotations

import re
from enum import Enum
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import addresses as host_addresses
from fpm_listener.phpfpm.config_reader import Reader, Section, below
from fpm_listener.phpfpm.ini_values import FALSE, TRUE, Scanner

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.addresses import Address
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config_reader import Entry, Files
    from fpm_listener.phpfpm.pool_probe import ProbeTarget
    from fpm_listener.phpfpm.status_page import PoolTarget


class Layout(NamedTuple):
    """The paths of a build of php-fpm."""

    config: str
    prefix: str  #: what relative paths are below
    localstatedir: str  #: what a relative error_log or pid is below


STDERR = {"/proc/self/fd/2", "/dev/stderr", "/dev/fd/2"}

_LEVELS = ("debug", "notice", "warning", "error", "alert")

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class LogKind(Enum):
    """Where php-fpm's error log goes."""

    FILE = "file"
    STDERR = "stderr"
    SYSLOG = "syslog"
    DEVICE = "device"  #: below /dev or /proc: no process can follow it


class ErrorLog(NamedTuple):
    """Where php-fpm's error log goes."""

    kind: LogKind
    path: str | None = None  #: FILE, DEVICE; absolute, unless -p is a relative path


class Pool(NamedTuple):
    """One FPM pool."""

    name: str
    listen: Address | None = None  #: a relative path made absolute; None = not configured
    status_listen: Address | None = None  #: likewise
    user: str | None = None
    group: str | None = None
    listen_place: str | None = None  #: FILE:LINE of `listen`
    #: All keys in small letters, values as php-fpm's scanner returns them: `yes` is "1", `no` "".
    options: Mapping[str, str] = {}
    #: file:line of each option's last line, and under "" of the section's first header.
    places: Mapping[str, str] = {}
    root: str = ""  #: what its relative paths are below


class FpmConf(NamedTuple):
    """The configuration that php-fpm would use."""

    path: str
    log: ErrorLog
    pid_file: str | None = None
    daemonize: bool = True
    log_level: str = "notice"
    process_control_timeout_s: float = 0.0
    emergency_restart_threshold: int = 0  #: crashed workers; 0 = never
    emergency_restart_interval_s: float = 0.0
    options: Mapping[str, str] = {}  #: [global], as Pool.options
    places: Mapping[str, str] = {}  #: [global], as Pool.places
    pools: tuple[Pool, ...] = ()
    files: tuple[str, ...] = ()  #: all files that were read, in order
    includes: tuple[str, ...] = ()  #: patterns of include =
    problems: tuple[str, ...] = ()  #: sentences
    configured_log: ErrorLog | None = None  #: before -O; None = as `log`
    entries: tuple[Entry, ...] = ()  #: all lines with a value, in order, also those without effect

    @property
    def log_kind(self) -> LogKind:
        """Return the kind of the error log."""
        return self.log.kind

    @property
    def opened_log(self) -> ErrorLog:
        """Return the error log that php-fpm opens at its start: even with -O."""
        return self.configured_log or self.log

    @property
    def opened_file(self) -> str | None:
        """Return the path of the log that php-fpm opens if it is a file."""
        return self.opened_log.path if self.opened_log.kind is LogKind.FILE else None

    @property
    def error_log(self) -> str | None:
        """Return the path of the error log if it is a file."""
        return self.log.path if self.log.kind is LogKind.FILE else None

    @property
    def rivals(self) -> tuple[tuple[str, str, str], ...]:
        """Return the address of a pool that another pool keeps from it, and both names.

        Equal addresses are not among them: pools share a socket, or php-fpm reports the mistake.
        """
        found = []
        for other, pool in combinations((one for one in self.pools if one.listen), 2):
            if pool.listen and other.listen and pool.listen.text != other.listen.text:
                clash = host_addresses.clash(pool.listen, other.listen)
                if clash and not host_addresses.same(pool.listen, other.listen):
                    found.append((pool.listen.text, other.name, pool.name))
        return tuple(found)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return all listen addresses, each once."""
        wanted = (a for pool in self.pools for a in (pool.listen, pool.status_listen))
        return tuple(dict.fromkeys(address.text for address in wanted if address))


class FpmSite(NamedTuple):
    """The parts of a configuration that incidents need."""

    addresses: tuple[str, ...] = ()  #: listen addresses as configured
    pools: tuple[str, ...] = ()
    error_logs: tuple[str, ...] = ()  #: files; empty if it logs to stderr or syslog
    user: str | None = None  #: of the first pool's workers
    config: str = ""  #: path of the main file
    targets: tuple[PoolTarget, ...] = ()  #: status pages of its pools
    probes: tuple[ProbeTarget, ...] = ()  #: where to ask each pool whether it is alive
    check_command: str = "php-fpm -t"  #: checks the configuration
    rivals: tuple[tuple[str, str, str], ...] = ()  #: see FpmConf
    listen_places: tuple[tuple[str, str], ...] = ()  #: pool, and FILE:LINE of its `listen`
    php_ini: str | None = None  #: that PHP reads, if the command names it
    refused: str | None = None  #: the word of the command that php-fpm refuses


def load(
    path: str,
    files: Files,
    *,
    layout: Layout,
    invocation: FpmInvocation | None = None,
    environment: Mapping[str, str] | None = None,
) -> FpmConf:
    """Return the configuration of the file at `path` and of its includes.

    invocation: its -p, -g, -F, -D and -O apply; its version decides about `${A:-b}`.
    """
    given = invocation.prefix if invocation else None
    prefix, state = (layout.prefix, layout.localstatedir) if given is None else (given, given)
    version = invocation.version if invocation else ()
    scanner = Scanner(environment=environment or {}, fallbacks=not version or version >= (8, 3))
    reader = Reader(files, prefix, scanner)
    reader.read(path, "", 1)
    main, *sections = reader.sections.values()
    if not sections:
        reader.problem(f"{path}: no pool is defined")
    pid = main.values.get("pid", invocation.pid_file if invocation else None)
    conf = FpmConf(
        path=path,
        log=error_log(main.values.get("error_log"), state),
        pid_file=None if pid is None else below(state, pid),
        daemonize=reader.take(main, "daemonize", _boolean, True),
        log_level=reader.take(main, "log_level", _level, "notice"),
        process_control_timeout_s=reader.take(main, "process_control_timeout", _seconds, 0.0),
        emergency_restart_threshold=reader.take(main, "emergency_restart_threshold", _whole, 0),
        emergency_restart_interval_s=reader.take(main, "emergency_restart_interval", _seconds, 0.0),
        options=main.values,
        places=main.places,
        pools=tuple(_pool(section, prefix) for section in sections),
        files=tuple(reader.files),
        includes=tuple(reader.patterns),
        problems=tuple(reader.problems),
        entries=tuple(reader.entries),
    )
    if invocation is None:
        return conf
    if invocation.foreground is not None:
        conf = conf._replace(daemonize=not invocation.foreground)
    return conf._replace(log=effective_error_log(conf, invocation), configured_log=conf.log)


def effective_error_log(conf: FpmConf, invocation: FpmInvocation) -> ErrorLog:
    """Return the error log with this command line: -O counts in the foreground only."""
    daemonize = conf.daemonize if invocation.foreground is None else not invocation.foreground
    if invocation.force_stderr and not daemonize:
        return ErrorLog(kind=LogKind.STDERR)
    return conf.log


def error_log(value: str | None, root: str = "/") -> ErrorLog:
    """Return where a value of `error_log` goes; root: what relative paths are below."""
    if value in STDERR:
        return ErrorLog(kind=LogKind.STDERR)
    if value is not None and value.lower() == "syslog":
        return ErrorLog(kind=LogKind.SYSLOG)
    path = below(root, "log/php-fpm.log" if value is None else value)
    device = path.startswith(("/dev/", "/proc/"))
    return ErrorLog(kind=LogKind.DEVICE if device else LogKind.FILE, path=path)


def _pool(section: Section, prefix: str) -> Pool:
    words = section.values
    own = words.get("prefix")
    root = prefix if own is None else own and below(prefix, own)
    return Pool(
        name=section.name,
        listen=_address(words.get("listen"), root, prefix),
        # php-fpm puts this one below its own prefix, not below the pool's.
        status_listen=_address(words.get("pm.status_listen"), prefix, prefix),
        user=words.get("user"),
        group=words.get("group"),
        listen_place=section.places.get("listen"),
        options=words,
        places=section.places,
        root=root,
    )


def _address(text: str | None, root: str, prefix: str) -> Address | None:
    if text is None:
        return None
    if host_addresses.is_path(text):
        # Still relative because -p is relative: below the prefix again.
        text = below(prefix, below(root, text))
    return host_addresses.parse(text)


def _boolean(text: str) -> bool | None:
    return text in TRUE if text in TRUE + FALSE else None


def _level(text: str) -> str | None:
    name = "warning" if text.lower() == "warn" else text.lower()
    return name if name in _LEVELS else None


def _whole(text: str) -> int | None:
    return int(text or 0) if re.fullmatch(r"-?[0-9]{1,10}|", text) else None


def _seconds(text: str) -> float | None:
    unit = text[-1:]
    if not unit or unit not in "smhd0123456789":
        return None
    number = re.match(r"[ \t]*[+-]?[0-9]{1,10}", text)  # php-fpm uses atoi(3)
    return float(number[0]) * _UNITS_S.get(unit, 1) if number else 0.0
