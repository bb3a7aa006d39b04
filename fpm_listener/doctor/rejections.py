"""Why supervisor rejects a configuration: the line, and what is wrong with it.

supervisor's own message is not used, because it contains whole values. A reason is returned only if
it is certain.
Source: supervisor/options.py and datatypes.py, 4.2.5 and 4.3.0.
"""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from fpm_listener.doctor import environment_values
from fpm_listener.doctor.rule import match
from fpm_listener.doctor.unknown_keys import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Section
    from fpm_listener.doctor.rule import Match

_TRUE = {"true", "yes", "on", "1"}
_BOOLEANS = {*_TRUE, "false", "no", "off", "0"}
_RESTARTS = {*_BOOLEANS, "unexpected"}
_BOOLEAN_KEYS = (
    *("autostart", "stopasgroup", "killasgroup", "redirect_stderr", "stdout_events_enabled"),
    *("stderr_events_enabled", "stdout_syslog", "stderr_syslog", "nodaemon", "silent"),
    *("nocleanup", "strip_ansi"),
)
_NUMBER_KEYS = (
    *("startsecs", "startretries", "stopwaitsecs", "numprocs", "numprocs_start", "priority"),
    *("stdout_logfile_backups", "stderr_logfile_backups", "minfds", "minprocs", "logfile_backups"),
    "buffer_size",
)
_SIZE_KEYS = (
    *("logfile_maxbytes", "stdout_logfile_maxbytes", "stderr_logfile_maxbytes"),
    *("stdout_capture_maxbytes", "stderr_capture_maxbytes"),
)
_LEVELS = {"critical", "error", "warn", "info", "debug", "trace", "blather"}

#: Keys that supervisor reads in [supervisord] only.
_SUPERVISORD = {
    *("nodaemon", "silent", "nocleanup", "strip_ansi", "minfds", "minprocs", "logfile_backups"),
    *("logfile_maxbytes", "loglevel"),
}


def find(config: CheckedConfig) -> Iterator[Match]:
    """Return each certain reason."""
    names = {section.name for section in config.all_sections}
    for section in config.all_sections:
        values = {key: line.value for key, line in section.lines.items()}
        if section.name.startswith(PROGRAMS) or section.name == "supervisord":
            yield from _values(section, values)
        if section.name.startswith(PROGRAMS):
            yield from _program(section, values)
        if section.name.startswith("group:"):
            yield from _group(section, values, names)


def _values(section: Section, values: Mapping[str, str]) -> Iterator[Match]:
    """Return the keys whose value has the wrong form."""
    forms = (
        (_BOOLEAN_KEYS, _is_in(_BOOLEANS), "true or false"),
        (("autorestart",), _is_in(_RESTARTS), "true, false or unexpected"),
        (("loglevel",), _is_in(_LEVELS), "a level such as info"),
        (_NUMBER_KEYS, re.compile(r"[+-]?[\d_]+").fullmatch, "a whole number"),
        (_SIZE_KEYS, re.compile(r"(?i)[+-]?[\d_]+(?: *[KMG]B)?").fullmatch, "a size such as 10MB"),
        (("exitcodes",), re.compile(r"\d+(?:\s*,\s*\d+)*").fullmatch, "numbers with commas"),
        (("stopsignal",), _is_signal, "a signal such as TERM"),
    )
    is_main = section.name == "supervisord"
    for keys, is_right, form in forms:
        for key in keys:
            value = values.get(key)
            is_read = value is not None and is_main == (key in _SUPERVISORD)
            if is_read and value is not None and "%" not in value and not is_right(value.strip()):
                yield match(section, key, {}, "form", form=form)
    environment = values.get("environment", "")
    if "%" not in environment and environment_values.parse(environment) is None:
        yield match(section, "environment", {}, "environment")


def _program(section: Section, values: Mapping[str, str]) -> Iterator[Match]:
    """Return the keys that are missing or exclude each other."""
    if "command" not in values:
        yield match(section, "", {}, "missing", key="command")
    is_listener = section.name.startswith("eventlistener:")
    if is_listener and not values.get("events"):
        yield match(section, "", {}, "missing", key="events")
    if is_listener and values.get("redirect_stderr", "").lower() in _TRUE:
        yield match(section, "redirect_stderr", {"redirect_stderr": None}, "redirect")
    if section.name.startswith("fcgi-program:") and not values.get("socket"):
        yield match(section, "", {}, "missing", key="socket")
    count, name = values.get("numprocs", "1"), values.get("process_name", "")
    if re.fullmatch(r"[2-9]|\d\d+", count) and "%(process_num)" not in name:
        yield match(section, "numprocs", {}, "numprocs", value=count)
    both = [values.get(key, "").lower() for key in ("stopasgroup", "killasgroup")]
    if both[0] in _TRUE and both[1] and both[1] in _BOOLEANS - _TRUE:
        yield match(section, "killasgroup", {}, "groups")


def _group(section: Section, values: Mapping[str, str], names: set[str]) -> Iterator[Match]:
    """Return the programs of a group that do not exist."""
    if "programs" not in values:
        yield match(section, "", {}, "missing", key="programs")
    for name in values.get("programs", "").split(","):
        program = name.strip()
        is_known = {f"program:{program}", f"fcgi-program:{program}"} & names
        if program and "%" not in program and not is_known:
            yield match(section, "programs", {}, "group", name=program)


def _is_in(known: set[str]) -> Callable[[str], bool]:
    return lambda value: value.lower() in known


def _is_signal(value: str) -> bool:
    """Return whether supervisor knows a signal, as a number or a name."""
    if value.isdecimal():
        return 0 < int(value) < signal.NSIG
    return hasattr(signal, f"SIG{value.upper().removeprefix('SIG')}")
