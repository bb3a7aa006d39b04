"""Rules on supervisord itself, its servers and its sections.

Each consequence was measured with supervisor 4.3.0 and 4.2.5.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import folder_of, processes, whole, words_of
from fpm_listener.doctor.rule import KeyRule, key_rules, match, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Section, Supervised
    from fpm_listener.doctor.rule import Match

_FACTORY = "supervisor.rpcinterface_factory"
_INTERFACE = "supervisor.rpcinterface:make_main_rpcinterface"
_PROGRAMS = ("program:", "eventlistener:", "fcgi-program:")
_STREAM_KEYS = (
    *("logfile", "logfile_maxbytes", "logfile_backups", "capture_maxbytes"),
    *("events_enabled", "syslog"),
)
#: The keys that supervisor knows in the section of a program (options.py of 4.2.5 and 4.3.0).
PROGRAM_KEYS = {
    *("command", "process_name", "numprocs", "numprocs_start", "priority", "autostart"),
    *("autorestart", "startsecs", "startretries", "exitcodes", "stopsignal", "stopwaitsecs"),
    *("stopasgroup", "killasgroup", "user", "redirect_stderr", "environment", "directory"),
    *(f"{stream}_{key}" for stream in ("stdout", "stderr") for key in _STREAM_KEYS),
    *("umask", "serverurl", "buffer_size", "events", "result_handler"),
    *("socket", "socket_backlog", "socket_owner", "socket_mode"),
}


def _in_container(config: CheckedConfig) -> list[Section]:
    return [config.section("supervisord")] if config.machine.in_container() else []


def _with_php_fpm(config: CheckedConfig) -> list[Section]:
    return [config.section("supervisord")] if config.fpms else []


TABLE = (
    *key_rules(
        # A configuration that supervisor rejects has no value.
        _in_container,
        KeyRule("FPM103", "nodaemon", lambda is_set: is_set is False, {"nodaemon": "true"}),
    ),
    *key_rules(
        _with_php_fpm,
        KeyRule("FPM120", "logfile", lambda path: (path or "").startswith(("/dev/", "/proc/"))),
    ),
)


@rule("FPM101", whole)
def no_server(config: CheckedConfig) -> Iterator[Match]:
    """The listener reads exit codes through XML-RPC."""
    if not config.supervisord.get("servers") and config.fpms:
        interface = config.section("rpcinterface:supervisor").edits({_FACTORY: _INTERFACE})
        change = {"file": "/run/supervisor.sock", "chmod": "0700"}
        found = match(config.section("unix_http_server"), "file", change)
        yield found._replace(edits=found.edits + interface)


@rule("FPM102", whole)
def inet_server(config: CheckedConfig) -> Iterator[Match]:
    """A client of the server can run commands as supervisord's user."""
    section = config.section("inet_http_server")
    for server in config.supervisord.get("servers") or ():
        host = server.get("host") or "*"
        is_local = host in {"127.0.0.1", "localhost", "::1"}
        if server.get("family") == "inet" and not (is_local and server.get("password")):
            variant = "local" if is_local else ""
            yield match(section, "port", {}, variant, host=host, port=server.get("port"))


@rule("FPM111", whole)
def rejected(config: CheckedConfig) -> Iterator[Match]:
    """The usual reason is a single percent sign."""
    reason = config.supervisord.get("refused")
    if reason:
        percents = list(_percents(config))
        yield from percents or [match(config.section("supervisord"), "", reason=reason)]


def _percents(config: CheckedConfig) -> Iterator[Match]:
    for section in config.all_sections:
        for key, line in section.lines.items():
            is_single = re.search(r"%(?![%(])", line.value.replace("%%", ""))
            if is_single and not section.name.startswith("fpm-listener"):
                yield match(section, key, {}, "percent")


@rule("FPM112", whole)
def unknown_key(config: CheckedConfig) -> Iterator[Match]:
    """supervisord ignores it."""
    for section in config.all_sections:
        if section.name.startswith(_PROGRAMS):
            yield from (match(section, key) for key in section.lines if key not in PROGRAM_KEYS)


@rule("FPM113", whole)
def log_folder(config: CheckedConfig) -> Iterator[Match]:
    """supervisord does not start."""
    for process in config.processes:
        for key in ("stdout_logfile", "stderr_logfile"):
            path = process.settings[key] or ""
            if path.startswith("/") and not config.machine.is_folder(folder_of(path)):
                yield match(process.section, key, folder=folder_of(path))


@rule("FPM114", processes)
def relative_command(process: Supervised) -> Iterator[Match]:
    """supervisord does not search PATH for it."""
    word = next(iter(words_of(process.command)), "")
    if "/" in word and not word.startswith("/"):
        yield match(process.section, "command", path=word)


@rule("FPM118", whole)
def section_twice(config: CheckedConfig) -> Iterator[Match]:
    """supervisor merges the sections in the order of files."""
    for section in config.all_sections:
        if section.place.again and section.name.startswith((*_PROGRAMS, "group:")):
            yield match(section, "", others=", ".join(section.place.again))


RULES = (
    *TABLE,
    *(no_server, inet_server, rejected, unknown_key, log_folder, relative_command, section_twice),
)
