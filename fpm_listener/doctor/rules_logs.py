"""Rules on the logs that supervisord writes: its own, and those of every program.

Each consequence was measured with supervisor 4.3.0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import processes, whole
from fpm_listener.doctor.rule import match, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Section, Supervised
    from fpm_listener.doctor.rule import Match

#: The output of supervisord itself: of a container, or of a terminal.
_OUTPUT = re.compile(r"/dev/(?:std(?:out|err)|fd/[12]|tty|console)|/proc/(?:self|1)/fd/[12]")
_TRUE = {"true", "1", "on", "yes"}
_VERBOSE = {"debug", "blather", "trace"}
#: Logs that are not files.
_NO_FILE = ("/dev/", "/proc/")


@rule("FPM160", whole)
def shared_log(config: CheckedConfig) -> Iterator[Match]:
    """Each stream of a process rotates the file on its own, while the others keep the old file."""
    fpms = {fpm.program.name for fpm in config.fpms}
    first: dict[str, tuple[Supervised, str]] = {}
    for process in config.processes:
        for stream in _own_streams(process):
            key = f"{stream}_logfile"
            path = process.settings[key] or ""
            if "/" not in path or path.startswith(_NO_FILE):
                continue
            other, other_key = first.setdefault(path, (process, key))
            rotates = process.settings[f"{key}_maxbytes"] or other.settings[f"{other_key}_maxbytes"]
            if not rotates or (other, other_key) == (process, key):
                continue
            section, values = process.section, {"path": path, "other": other.section.name}
            if other == process:
                is_fpm = section.name in fpms
                change = {"redirect_stderr": "true", **_without(section, "stderr")}
                variant = "php_fpm" if is_fpm else "streams"
                yield match(section, key, {} if is_fpm else change, variant, **values)
            elif other.section.place != section.place:
                yield match(section, key, **values)


def _own_streams(process: Supervised) -> tuple[str, ...]:
    """Return the streams of a process that have their own log."""
    return ("stdout",) if process.settings["redirect_stderr"] else ("stdout", "stderr")


def _without(section: Section, stream: str) -> dict[str, str | None]:
    """Return the change that removes the keys of a stream's log."""
    keys = (f"{stream}_logfile{end}" for end in ("", "_maxbytes", "_backups"))
    return {key: None for key in keys if key in section.lines}


@rule("FPM161", processes)
def ignored_log(process: Supervised) -> Iterator[Match]:
    """supervisord writes both streams into the log of stdout."""
    section = process.section
    line = section.lines.get("stderr_logfile")
    is_named = line is not None and line.value.lower() not in {"none", "off", "auto", ""}
    if process.settings["redirect_stderr"] and is_named:
        yield match(section, "stderr_logfile", _without(section, "stderr"))


@rule("FPM165", whole)
def protocol_in_log(config: CheckedConfig) -> Iterator[Match]:
    """The stdout of a listener is its connection to supervisord."""
    for process in config.processes:
        path = process.settings["stdout_logfile"] or ""
        if process.kind == "eventlistener" and _OUTPUT.fullmatch(path):
            change = {**_without(process.section, "stdout"), "stdout_logfile": "NONE"}
            yield match(process.section, "stdout_logfile", change, path=path)


@rule("FPM170", whole)
def lines_twice(config: CheckedConfig) -> Iterator[Match]:
    """In the foreground, supervisord prints its log, unless `silent` is set."""
    known, section = config.supervisord, config.section("supervisord")
    silent = section.lines.get("silent")
    is_silent = silent is not None and silent.value.lower() in _TRUE
    path = known.get("logfile") or ""
    if known.get("nodaemon") and not is_silent and _OUTPUT.fullmatch(path):
        change = {"logfile": "/dev/null", "logfile_maxbytes": "0"}
        yield match(section, "logfile", change, path=path)


@rule("FPM171", whole)
def verbose_log(config: CheckedConfig) -> Iterator[Match]:
    """At these levels supervisord logs the output of all programs, too."""
    line = config.section("supervisord").lines.get("loglevel")
    if line is not None and line.value.lower() in _VERBOSE:
        section = config.section("supervisord")
        yield match(section, "loglevel", {"loglevel": "info"}, value=line.value.lower())


RULES = (shared_log, ignored_log, protocol_in_log, lines_twice, verbose_log)
