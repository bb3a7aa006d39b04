"""Rule on keys that supervisor does not know: misspelled, in the wrong section, of another program.

Source: options.py of supervisor 4.2.5 and 4.3.0.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import whole
from fpm_listener.doctor.rule import match, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Section
    from fpm_listener.doctor.rule import Match

PROGRAMS = ("program:", "eventlistener:", "fcgi-program:")
_STREAM_KEYS = (
    *("logfile", "logfile_maxbytes", "logfile_backups", "capture_maxbytes"),
    *("events_enabled", "syslog"),
)
#: The keys that supervisor knows in the section of a program.
PROGRAM_KEYS = {
    *("command", "process_name", "numprocs", "numprocs_start", "priority", "autostart"),
    *("autorestart", "startsecs", "startretries", "exitcodes", "stopsignal", "stopwaitsecs"),
    *("stopasgroup", "killasgroup", "user", "redirect_stderr", "environment", "directory"),
    *(f"{stream}_{key}" for stream in ("stdout", "stderr") for key in _STREAM_KEYS),
    *("umask", "serverurl", "buffer_size", "events", "result_handler"),
    *("socket", "socket_backlog", "socket_owner", "socket_mode"),
}
#: The same for its other sections. [rpcinterface:x] and [ctlplugin:x] have keys of plugins.
SECTION_KEYS = {
    "supervisord": {
        *("logfile", "logfile_maxbytes", "logfile_backups", "loglevel", "pidfile", "umask"),
        *("nodaemon", "silent", "minfds", "minprocs", "nocleanup", "childlogdir", "user"),
        *("directory", "strip_ansi", "environment", "identifier"),
    },
    "unix_http_server": {"file", "chmod", "chown", "username", "password"},
    "inet_http_server": {"port", "username", "password"},
    "supervisorctl": {"serverurl", "username", "password", "prompt", "history_file"},
    "include": {"files"},
    "group": {"programs", "priority"},
}
#: Keys that other programs or other supervisords have, and what supervisor has instead.
_OTHER_NAMES = {
    **dict.fromkeys(("restart", "restartpolicy", "respawn", "auto_restart"), "autorestart"),
    **dict.fromkeys(("execstart", "exec", "cmd", "run", "entrypoint"), "command"),
    **dict.fromkeys(("workingdirectory", "working_dir", "workdir", "cwd", "chdir"), "directory"),
    **dict.fromkeys(("username", "runas", "run_as", "uid"), "user"),
    **dict.fromkeys(("env", "environments", "envs"), "environment"),
    **dict.fromkeys(
        ("log_stdout", "stdout_log", "stdout_file", "logfile", "log_file"), "stdout_logfile"
    ),
    "logfile_maxbytes": "stdout_logfile_maxbytes",
    "logfile_backups": "stdout_logfile_backups",
    **dict.fromkeys(("log_stderr", "stderr_log", "stderr_file", "errlog"), "stderr_logfile"),
    **dict.fromkeys(("restartsec", "restart_delay", "startdelay"), "startsecs"),
    **dict.fromkeys(("timeoutstopsec", "stop_grace_period", "killwaitsecs"), "stopwaitsecs"),
    **dict.fromkeys(("instances", "replicas", "processes"), "numprocs"),
    **dict.fromkeys(("maxretries", "retries", "restart_max_retries"), "startretries"),
    **dict.fromkeys(("killsignal", "stop_signal"), "stopsignal"),
}
#: Supervisor 2 had switches with these names. They are not names of files.
_SWITCHES = {"log_stdout", "log_stderr"}
_SWITCH_VALUES = {"true", "false", "yes", "no", "on", "off", "1", "0"}
#: Keys for a start order.
_ORDER = {"depends_on", "dependson", "depends", "after", "requires", "wants", "before"}
#: Keys with a file of variables.
_ENV_FILES = {"env_file", "environmentfile", "envfile", "envfiles", "environment_file"}
_ALIKE = 0.75


@rule("FPM112", whole)
def unknown_key(config: CheckedConfig) -> Iterator[Match]:
    """supervisord ignores it."""
    for section in config.all_sections:
        known = _known(section.name)
        for key in section.lines if known else ():
            if key not in known:
                yield _suggestion(section, key, known)


def _known(section: str) -> set[str]:
    """Return the keys of a section; none if plugins define them."""
    if section.startswith(PROGRAMS):
        return PROGRAM_KEYS
    return SECTION_KEYS.get(section.partition(":")[0], set())


def _suggestion(section: Section, key: str, known: set[str]) -> Match:
    """Return the match with the most precise text."""
    kind = {"kind": _name_of(section.name)}
    if key in _ORDER:
        return match(section, key, {}, "order", **kind)
    if key in _ENV_FILES:
        return match(section, key, {}, "file", **kind)
    if key == "group":
        return match(section, key, {}, "group", **kind)
    if key in _SWITCHES and section.lines[key].value.lower() in _SWITCH_VALUES:
        return match(section, key, {}, "switch", stream=key[4:], **kind)
    better = _OTHER_NAMES.get(key, "")
    home = "" if better in known else _home(section, key)
    if home:
        return match(section, key, {}, "place", home=home, **kind)
    alike = difflib.get_close_matches(key, sorted(known), 1, _ALIKE)
    better = alike[0] if alike and better not in known else better
    if better in known:
        is_new = better not in section.lines
        change = {key: None, better: section.lines[key].value}
        is_misspelled = bool(alike) and is_new
        edits = section.edits(change) if is_misspelled else ()
        found = match(section, key, {}, "name" if is_new else "twice", better=better, **kind)
        return found._replace(edits=edits)
    return match(section, key, **kind)


def _home(section: Section, key: str) -> str:
    """Return the section that has this key; empty if there is none."""
    if key in PROGRAM_KEYS and not section.name.startswith(PROGRAMS):
        return "program:x"
    return next((name for name, keys in SECTION_KEYS.items() if key in keys), "")


def _name_of(section: str) -> str:
    """Return a section as supervisor's documentation names it."""
    kind, colon, _ = section.partition(":")
    return f"[{kind}{colon and ':x'}]"
