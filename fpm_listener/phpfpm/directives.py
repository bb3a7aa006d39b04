"""php-fpm's settings: their sections, their types, and why php-fpm rejects a value.

Law: a setting that only some builds of php-fpm know is never rejected.

Source: php-src sapi/fpm/fpm/fpm_conf.c of 7.4 to 8.5; compared with `php-fpm8.2 -t`
(tests/check_parity.py).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from fpm_listener.phpfpm.ini_values import CONSTANT, FALSE, TRUE, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.config_reader import Entry


class Kind(Enum):
    """The type of a value."""

    TEXT = "text"
    WHOLE = "a whole number"
    TIME = "a number, or a number with s, m, h or d after it"
    BOOLEAN = "yes or no"
    LEVEL = "debug, notice, warning, error or alert"
    FACILITY = "a facility of syslog, for example daemon or local0"
    CORE = "a whole number or unlimited"
    MANAGER = "static, dynamic or ondemand"


GLOBAL: Mapping[str, Kind] = {
    "pid": Kind.TEXT,
    "error_log": Kind.TEXT,
    "syslog.ident": Kind.TEXT,
    "syslog.facility": Kind.FACILITY,
    "log_buffering": Kind.BOOLEAN,
    "log_level": Kind.LEVEL,
    "log_limit": Kind.WHOLE,
    "emergency_restart_threshold": Kind.WHOLE,
    "emergency_restart_interval": Kind.TIME,
    "process_control_timeout": Kind.TIME,
    "process.max": Kind.WHOLE,
    "process.priority": Kind.WHOLE,
    "daemonize": Kind.BOOLEAN,
    "rlimit_files": Kind.WHOLE,
    "rlimit_core": Kind.CORE,
    "events.mechanism": Kind.TEXT,
    "systemd_interval": Kind.TIME,
}
POOL: Mapping[str, Kind] = {
    **dict.fromkeys(("prefix", "user", "group", "listen", "chroot", "chdir"), Kind.TEXT),
    **dict.fromkeys(("listen.owner", "listen.group", "listen.mode"), Kind.TEXT),
    **dict.fromkeys(("listen.acl_users", "listen.acl_groups"), Kind.TEXT),
    "listen.allowed_clients": Kind.TEXT,
    "listen.backlog": Kind.WHOLE,
    "process.priority": Kind.WHOLE,
    "process.dumpable": Kind.BOOLEAN,
    "pm": Kind.MANAGER,
    **dict.fromkeys(("pm.max_children", "pm.start_servers", "pm.max_requests"), Kind.WHOLE),
    **dict.fromkeys(("pm.min_spare_servers", "pm.max_spare_servers"), Kind.WHOLE),
    "pm.max_spawn_rate": Kind.WHOLE,
    "pm.process_idle_timeout": Kind.TIME,
    **dict.fromkeys(("pm.status_path", "pm.status_listen", "ping.path"), Kind.TEXT),
    **dict.fromkeys(("ping.response", "access.log", "access.format", "slowlog"), Kind.TEXT),
    **dict.fromkeys(("request_slowlog_timeout", "request_terminate_timeout"), Kind.TIME),
    "request_slowlog_trace_depth": Kind.WHOLE,
    "request_terminate_timeout_track_finished": Kind.BOOLEAN,
    "rlimit_files": Kind.WHOLE,
    "rlimit_core": Kind.CORE,
    **dict.fromkeys(("catch_workers_output", "decorate_workers_output"), Kind.BOOLEAN),
    "clear_env": Kind.BOOLEAN,
    **dict.fromkeys(("security.limit_extensions", "apparmor_hat"), Kind.TEXT),
}
#: Settings with a key in brackets. Their names are compared with regard to case.
_ARRAYS: Mapping[str, Kind] = {
    **dict.fromkeys(("env", "php_value", "php_admin_value", "access.suppress_path"), Kind.TEXT),
    **dict.fromkeys(("php_flag", "php_admin_flag"), Kind.BOOLEAN),
}
_SUPPRESS = "access.suppress_path"

#: The first PHP that knows a setting, if it is later than 7.4.
_SINCE: Mapping[str, tuple[int, int]] = {
    "pm.status_listen": (8, 0),
    "pm.max_spawn_rate": (8, 0),
    _SUPPRESS: (8, 2),
}
#: The newest PHP whose source was read: a later one may know more names.
_NEWEST = (8, 5)

_FACILITIES = {
    *("auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "syslog"),
    *("user", "uucp", *(f"local{number}" for number in range(8))),
}
_LEVELS = {"debug", "notice", "warning", "warn", "error", "alert"}
_WHOLE = re.compile(r"-?[0-9]*")


def rejection(entry: Entry, version: tuple[int, ...]) -> str:
    """Return why php-fpm rejects one line, as a clause; empty if it does not.

    version: of PHP; () = unknown.
    """
    if entry.offset is not None:
        return _array_rejection(entry, version)
    own, other = (GLOBAL, POOL) if entry.is_global else (POOL, GLOBAL)
    key = entry.name.lower()
    kind = own.get(key)
    if kind is not None:
        since = _SINCE.get(key)
        if since and version and version < since:
            return _too_new(since, version)
        return _wrong_value(kind, entry.value)
    if key in other:
        return f"this setting belongs in {'a pool' if entry.is_global else '[global]'}"
    if key in _ARRAYS:
        return f"it needs a name in brackets, for example {key}[NAME] = VALUE"
    if key == "include":
        return "php-fpm knows include in small letters only"
    return "" if version > _NEWEST else "php-fpm does not know this setting"


def _array_rejection(entry: Entry, version: tuple[int, ...]) -> str:
    kind = _ARRAYS.get(entry.name)
    since = _SINCE.get(entry.name)
    if kind is not None and since and version and version < since:
        return _too_new(since, version)
    if entry.is_global:
        return "settings with brackets belong in a pool"
    if entry.name == _SUPPRESS:
        if entry.offset:
            return "the brackets must be empty"
        return "" if entry.value.startswith("/") else "the value must begin with /"
    if not entry.offset:
        return "the brackets need a name"
    if kind is None:
        return "" if version > _NEWEST else "php-fpm does not know this setting"
    if entry.name == "env" and not entry.value:
        return "the value is empty"
    return _wrong_value(kind, entry.value)


def _too_new(since: tuple[int, int], version: tuple[int, ...]) -> str:
    new, old = (".".join(map(str, one)) for one in (since, version))
    return f"PHP {new} and later know this setting, and this is PHP {old}"


def _wrong_value(kind: Kind, value: str) -> str:
    if CONSTANT.fullmatch(value):
        return ""
    small = value.lower()
    if kind is Kind.WHOLE:
        is_right = _WHOLE.fullmatch(value) is not None
    elif kind is Kind.TIME:
        is_right = value[-1:] in set("smhd0123456789")
    elif kind is Kind.BOOLEAN:
        is_right = value in TRUE + FALSE
    elif kind is Kind.LEVEL:
        is_right = small in _LEVELS
    elif kind is Kind.FACILITY:
        is_right = small in _FACILITIES
    elif kind is Kind.CORE:
        is_right = small == "unlimited" or (
            _WHOLE.fullmatch(value) is not None and number(value) >= 0
        )
    elif kind is Kind.MANAGER:
        is_right = small in {"static", "dynamic", "ondemand"}
    else:
        return ""
    return "" if is_right else f"the value must be {kind.value}"


def seconds(text: str) -> int:
    """Return a time as php-fpm reads it."""
    return number(text) * {"m": 60, "h": 3600, "d": 86400}.get(text[-1:], 1)
