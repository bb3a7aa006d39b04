"""php-fpm.conf and its pools, read the way php-fpm reads them.

Laws:
1. Nothing raises: a broken configuration becomes `problems`, and what could be read is returned.
   The listener must make the most of a php-fpm that does not start.
2. Files are reached through `Files` only.

Source: php-src sapi/fpm/fpm/fpm_conf.c, Zend's INI scanner, and `php-fpm8.2 -tt`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.fpmcommand import FpmInvocation, Layout

#: Includes within includes (fpm_conf.c).
_DEEPEST = 5
_SECTION = re.compile(r"\[([^\]]*)\]")
_VARIABLE = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")
_TIMES = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_STDERR = {"/proc/self/fd/2", "/dev/stderr", "/dev/fd/2"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One FPM pool."""

    name: str
    listen: str = ""  #: as written, expansions done, a relative path made absolute
    status_listen: str = ""  #: likewise
    options: Mapping[str, str] = field(default_factory=dict)  #: every key, as written


@dataclass(frozen=True, slots=True, kw_only=True)
class FpmConf:
    """What php-fpm would make of its files."""

    path: str
    log_kind: LogKind = LogKind.FILE
    error_log: str | None = None  #: absolute path, where it is a file
    daemonize: bool = True
    process_control_timeout_s: float = 0.0
    options: Mapping[str, str] = field(default_factory=dict)  #: [global], every key as written
    pools: tuple[Pool, ...] = ()
    files: tuple[str, ...] = ()  #: what was read, in order
    problems: tuple[str, ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Return every address that it wants, each once."""
        wanted = (a for pool in self.pools for a in (pool.listen, pool.status_listen))
        return tuple(dict.fromkeys(address for address in wanted if address))


def load(
    path: str,
    files: Files,
    *,
    layout: Layout,
    invocation: FpmInvocation | None = None,
    environment: Mapping[str, str] | None = None,
) -> FpmConf:
    """Return the configuration of the file at `path` and of all that it includes."""
    prefix = (invocation.prefix if invocation else None) or layout.prefix
    reader = _Reader(files, prefix, environment or {})
    reader.read(path, 0)
    glob = reader.sections.pop("global", {})
    daemonize = _boolean(glob.get("daemonize", "yes"))
    if invocation and invocation.foreground is not None:
        daemonize = not invocation.foreground
    own_stderr = invocation is not None and invocation.force_stderr and not daemonize
    root = invocation.prefix if invocation and invocation.prefix else layout.localstatedir
    kind, error_log = _error_log(glob.get("error_log", ""), root, own_stderr=own_stderr)
    pools = tuple(_pool(reader.names[key], words, prefix) for key, words in reader.sections.items())
    if not pools:
        reader.problems.append(f"{path}: no pool is defined")
    return FpmConf(
        path=path,
        log_kind=kind,
        error_log=error_log,
        daemonize=daemonize,
        process_control_timeout_s=_seconds(glob.get("process_control_timeout", "0")),
        options=glob,
        pools=pools,
        files=tuple(reader.files),
        problems=tuple(reader.problems),
    )


class _Reader:
    def __init__(self, files: Files, prefix: str, environment: Mapping[str, str]) -> None:
        self._files = files
        self._prefix = prefix
        self._environment = environment
        self.sections: dict[str, dict[str, str]] = {"global": {}}
        self.names: dict[str, str] = {}  # php-fpm compares names without regard to case
        self.files: list[str] = []
        self.problems: list[str] = []
        self._section = "global"  # outlives a file: php-fpm goes on with it, in and out of includes

    def read(self, path: str, depth: int) -> None:
        """Take in a file, and what it includes, in the order of the lines."""
        try:
            text = self._files.read(path)
        except OSError as error:
            self.problems.append(f"{path}: cannot be read: {error.strerror}")
            return
        self.files.append(path)
        for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
            line = raw.strip()
            if not line or line.startswith(";"):
                continue
            if named := _SECTION.match(line):
                self._section = named[1].strip().lower()
                self.names.setdefault(self._section, named[1].strip())
                self.sections.setdefault(self._section, {})
                continue
            key, equals, value = line.partition("=")
            if not equals:
                self.problems.append(f"{path}:{number}: {line!r} is no key = value (comment: ;)")
                continue
            self._set(key.strip().lower(), self._value(value), path, depth)

    def _set(self, key: str, value: str, path: str, depth: int) -> None:
        if key != "include":
            self.sections[self._section][key] = value
            return
        if depth >= _DEEPEST:
            self.problems.append(f"{path}: includes are nested deeper than {_DEEPEST}")
            return
        pattern = value if value.startswith("/") else f"{self._prefix}/{value}"
        found = self._files.glob(pattern)
        if not found:
            self.problems.append(f"{path}: nothing matches the include {pattern!r}")
        for included in found:
            self.read(included, depth + 1)

    def _value(self, text: str) -> str:
        text = text.strip()
        if text[:1] in {'"', "'"} and (end := text.find(text[0], 1)) > 0:
            quote, text = text[0], text[1:end]
            if quote == "'":
                return text
        else:
            text = text.partition(";")[0].rstrip()
        return _VARIABLE.sub(self._variable, text)

    def _variable(self, found: re.Match[str]) -> str:
        return self._environment.get(found[1]) or found[2] or ""


def _error_log(value: str, root: str, *, own_stderr: bool) -> tuple[LogKind, str | None]:
    """Return where the log goes; `root` is what a relative path is below."""
    if own_stderr or value in _STDERR:
        return LogKind.STDERR, None
    if value.lower() == "syslog":
        return LogKind.SYSLOG, None
    value = value or "log/php-fpm.log"
    return LogKind.FILE, value if value.startswith("/") else f"{root}/{value}"


def _pool(name: str, words: Mapping[str, str], prefix: str) -> Pool:
    words = {key: value.replace("$pool", name) for key, value in words.items()}
    root = words.get("prefix") or prefix
    if not root.startswith("/"):
        root = f"{prefix}/{root}"
    return Pool(
        name=name,
        listen=_listen(words.get("listen", ""), root),
        # php-fpm 8.2 puts this one below its own prefix, never below the pool's.
        status_listen=_listen(words.get("pm.status_listen", ""), prefix),
        options=words,
    )


def _listen(value: str, root: str) -> str:
    """Return the address; what has no colon and is no number is a path."""
    if not value or ":" in value or value.isdigit() or value.startswith("/"):
        return value
    return f"{root}/{value}"


def _boolean(text: str) -> bool:
    return text.lower() in {"1", "on", "yes", "true"}


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    return int(found[1]) * _TIMES[found[2]] if found else 0.0
