"""php-fpm.conf and its pools, read the way php-fpm reads them.

Laws:
1. Nothing raises: a broken configuration becomes `problems`, and what could be read is returned.
   The listener must make the most of a php-fpm that does not start.
2. A problem names file and line, and no value that can be a secret.
3. Files are reached through `Files` only.
4. Unknown words are kept, not judged: each version of php-fpm knows others. PHP's constants, its
   arithmetic (`E_ALL & ~E_NOTICE`) and php.ini's words in `${…}` are not looked up.

Source: php-src sapi/fpm/fpm/fpm_conf.c and Zend/zend_ini_scanner.l; compared with `php-fpm8.2 -tt`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from fpm_listener.host import addresses as host_addresses
from fpm_listener.phpfpm.command_line import (
    FpmInvocation,
)
from fpm_listener.phpfpm.ini_values import FALSE, LONGEST, TRUE, Scanner

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.host.addresses import Address
    from fpm_listener.phpfpm.command_line import FpmInvocation

    T = TypeVar("T")


class Layout(NamedTuple):
    """Where a build of php-fpm has its files."""

    config: str
    prefix: str  #: what relative paths are below
    localstatedir: str  #: what a relative error_log or pid is below


_DEEPEST = 5  # files within files, the first one counted (fpm_conf.c, ini_recursion)

#: Limits that no real configuration reaches; php-fpm has none. Files that are read, the characters
#: of all of them, and problems that are kept.
_MOST_FILES, _MOST_CHARACTERS, _MOST_PROBLEMS = 2000, 16 << 20, 100

STDERR = {"/proc/self/fd/2", "/dev/stderr", "/dev/fd/2"}

_LEVELS = ("debug", "notice", "warning", "error", "alert")

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Files(Protocol):
    """What reads files for us."""

    def read(self, path: str) -> str:
        """Return a file's text. Raises OSError."""

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match, sorted."""


class LogKind(Enum):
    """Where php-fpm's error log goes."""

    FILE = "file"
    STDERR = "stderr"
    SYSLOG = "syslog"
    DEVICE = "device"  #: below /dev or /proc: a stream that nobody can follow


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
    #: Every key, small letters, as php-fpm's scanner yields it: `yes` is "1", `no` is "".
    options: Mapping[str, str] = {}


class FpmConf(NamedTuple):
    """What php-fpm would make of its files."""

    path: str
    log: ErrorLog
    pid_file: str | None = None
    daemonize: bool = True
    log_level: str = "notice"
    process_control_timeout_s: float = 0.0
    emergency_restart_threshold: int = 0  #: crashed workers; 0 = never
    emergency_restart_interval_s: float = 0.0
    options: Mapping[str, str] = {}  #: [global], as Pool.options
    pools: tuple[Pool, ...] = ()
    files: tuple[str, ...] = ()  #: what was read, in order
    includes: tuple[str, ...] = ()  #: the patterns that were looked for
    problems: tuple[str, ...] = ()  #: what could not be read or understood, a sentence each

    @property
    def log_kind(self) -> LogKind:
        """Return where the error log goes."""
        return self.log.kind

    @property
    def error_log(self) -> str | None:
        """Return the error log's path where it is a file."""
        return self.log.path if self.log.kind is LogKind.FILE else None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return every address that it wants, each once."""
        wanted = (a for pool in self.pools for a in (pool.listen, pool.status_listen))
        return tuple(dict.fromkeys(address.text for address in wanted if address))


def load(
    path: str,
    files: Files,
    *,
    layout: Layout,
    invocation: FpmInvocation | None = None,
    environment: Mapping[str, str] | None = None,
) -> FpmConf:
    """Return the configuration of the file at `path` and of all that it includes.

    invocation: its -p, -g, -F, -D and -O are applied; its version tells whether `${A:-b}` is known.
    """
    given = invocation.prefix if invocation else None
    prefix, state = (layout.prefix, layout.localstatedir) if given is None else (given, given)
    version = invocation.version if invocation else ()
    scanner = Scanner(environment=environment or {}, fallbacks=not version or version >= (8, 3))
    reader = _Reader(files, prefix, scanner)
    reader.read(path, "", 1)
    main, *sections = reader.sections.values()
    if not sections:
        reader.problem(f"{path}: no pool is defined")
    pid = main.values.get("pid", invocation.pid_file if invocation else None)
    conf = FpmConf(
        path=path,
        log=_error_log(main.values.get("error_log"), state),
        pid_file=None if pid is None else _below(state, pid),
        daemonize=reader.take(main, "daemonize", _boolean, True),
        log_level=reader.take(main, "log_level", _level, "notice"),
        process_control_timeout_s=reader.take(main, "process_control_timeout", _seconds, 0.0),
        emergency_restart_threshold=reader.take(main, "emergency_restart_threshold", _whole, 0),
        emergency_restart_interval_s=reader.take(main, "emergency_restart_interval", _seconds, 0.0),
        options=main.values,
        pools=tuple(_pool(section, prefix) for section in sections),
        files=tuple(reader.files),
        includes=tuple(reader.patterns),
        problems=tuple(reader.problems),
    )
    if invocation is None:
        return conf
    if invocation.foreground is not None:
        conf = conf._replace(daemonize=not invocation.foreground)
    return conf._replace(log=effective_error_log(conf, invocation))


def effective_error_log(conf: FpmConf, invocation: FpmInvocation) -> ErrorLog:
    """Return where the log goes under this command line: -O counts in the foreground only."""
    daemonize = conf.daemonize if invocation.foreground is None else not invocation.foreground
    if invocation.force_stderr and not daemonize:
        return ErrorLog(kind=LogKind.STDERR)
    return conf.log


_SECTION = re.compile(
    r"""\[((?:'[^']*'|"(?:[^"\\]|\\.)*"|\$\{[^{}]*\}|[^]"';$]|\$(?!\{))*)][ \t]*""",
)

_ENTRY = re.compile(r"""([^]=\[;&|^$~(){}!"]+)(?:\[([^]]*)][ \t]*)?=[ \t]*(.*)""", re.DOTALL)


class _Section:
    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, str] = {}
        self.places: dict[str, str] = {}  # "file:line" of each key's last value


class _Reader:
    def __init__(self, files: Files, prefix: str, scanner: Scanner) -> None:
        self._files = files
        self._prefix = prefix
        self._scanner = scanner
        self._includes: list[str] = []
        # Outlives a file: php-fpm goes on with it, in and out of includes.
        self._current = self._main = _Section(name="global")
        self.sections = {"global": self._main}  # names are compared without regard to case
        self.files: list[str] = []
        self.patterns: list[str] = []
        self.problems: list[str] = []
        self._read: set[str] = set()
        self._left = _MOST_CHARACTERS
        self._too_deep = False  # php-fpm stops there; each file is read only once from then on

    def read(self, path: str, place: str, depth: int) -> None:
        """Take in a file, and what it includes, line by line; `place` includes it."""
        try:
            text = self._files.read(path)
        except OSError as error:
            if not (place and isinstance(error, IsADirectoryError)):  # php-fpm passes folders over
                what = f"{place}: the included {path}" if place else f"{path}:"
                self.problem(f"{what} cannot be read: {error.strerror or error}")
            return
        self.files.append(path)
        self._read.add(path)
        self._left -= len(text)
        if self._left < 0:
            self.problem(f"{path}: the files have more than {_MOST_CHARACTERS} characters")
            return
        for number, line in enumerate(text.split("\n"), 1):
            here = f"{path}:{number}"
            for statement in line.removeprefix("\ufeff").split("\r"):
                self._take_in(statement, here)
            includes, self._includes = self._includes, []
            for pattern in includes:
                self._include(_below(self._prefix, pattern), here, depth)

    def _include(self, pattern: str, place: str, depth: int) -> None:
        if len(self.patterns) >= _MOST_FILES:
            self.problem(f"{place}: more than {_MOST_FILES} includes")
            return
        self.patterns.append(pattern)
        found = self._files.glob(pattern)
        if not found:
            self.problem(f"{place}: nothing matches the include {pattern!r}")
        elif depth >= _DEEPEST:
            self.problem(f"{place}: includes are nested deeper than {_DEEPEST} files")
            self._too_deep = True
        else:
            for path in found:
                if len(self.files) >= _MOST_FILES:
                    self.problem(f"{place}: more than {_MOST_FILES} files are included")
                    break
                if not (self._too_deep and path in self._read):
                    self.read(path, place, depth + 1)

    def problem(self, sentence: str) -> None:
        """Keep a problem; after the first hundred there is nothing new to learn."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(sentence)

    def _take_in(self, text: str, place: str) -> None:
        if len(text) > LONGEST:
            self.problem(f"{place}: the line is longer than {LONGEST} characters")
            return
        if head := _SECTION.match(text.lstrip(" \t")):
            if text[0] != "[":
                self.problem(f"{place}: blanks before a section's [ stop php-fpm")
            self._begin(re.sub("""['"]""", "", head[1]), place)
            text = text.lstrip(" \t")[head.end() :]
        text = text.strip(" \t")
        if not text or text.startswith(";"):
            return
        entry = _ENTRY.fullmatch(text)
        if not entry:
            why = "this line is neither [section] nor key = value (a comment begins with ;)"
            self.problem(f"{place}: {why}")
            return
        name, offset = entry[1].strip(), entry[2]
        key = name.lower() if offset is None else f"{name}[{offset.strip()}]"
        value, complaint = self._scanner.value(entry[3], arithmetic=name.startswith("php_"))
        if "$pool" in value and self._current is self._main:
            complaint = "$pool means nothing outside a pool"
        if complaint:
            self.problem(f"{place}: {key}: {complaint}")
        if key == "include":
            self._includes.append(value)
        else:
            self._set(key, value, place)

    def _begin(self, text: str, place: str) -> None:
        name = self._scanner.expand(text)
        if len(name) > LONGEST:
            self.problem(f"{place}: the name is longer than {LONGEST} characters")
            name = name[:LONGEST]
        self._current = self.sections.setdefault(name.lower(), _Section(name=name))

    def _set(self, key: str, value: str, place: str) -> None:
        section = self._current
        if len(value) + value.count("$pool") * len(section.name) > LONGEST:
            self.problem(f"{place}: {key}: the value is longer than {LONGEST} characters")
            value = value[:LONGEST]
        else:
            value = value.replace("$pool", section.name)
        section.values[key] = value
        section.places[key] = place

    def take(self, section: _Section, key: str, read: Callable[[str], T | None], default: T) -> T:
        """Return what `read` makes of the value; what it refuses is a problem."""
        text = section.values.get(key)
        if text is None:
            return default
        value = read(text)
        if value is None:
            self.problem(f"{section.places[key]}: php-fpm refuses {key} = {text!r}")
            return default
        return value


def _below(root: str, path: str) -> str:
    return path if path.startswith("/") else f"{root}/{path}"


def _error_log(value: str | None, root: str) -> ErrorLog:
    if value in STDERR:
        return ErrorLog(kind=LogKind.STDERR)
    if value is not None and value.lower() == "syslog":
        return ErrorLog(kind=LogKind.SYSLOG)
    path = _below(root, "log/php-fpm.log" if value is None else value)
    device = path.startswith(("/dev/", "/proc/"))
    return ErrorLog(kind=LogKind.DEVICE if device else LogKind.FILE, path=path)


def _pool(section: _Section, prefix: str) -> Pool:
    words = section.values
    own = words.get("prefix")
    root = prefix if own is None else own and _below(prefix, own)
    return Pool(
        name=section.name,
        listen=_address(words.get("listen"), root, prefix),
        # php-fpm puts this one below its own prefix, never below the pool's.
        status_listen=_address(words.get("pm.status_listen"), prefix, prefix),
        user=words.get("user"),
        group=words.get("group"),
        options=words,
    )


def _address(text: str | None, root: str, prefix: str) -> Address | None:
    if text is None:
        return None
    if host_addresses.is_path(text):
        # What is still relative, since -p is, comes below the prefix once more.
        text = _below(prefix, _below(root, text))
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
