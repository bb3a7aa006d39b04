"""Rules on supervisord itself, its servers and its sections.

Each consequence was measured with supervisor 4.3.0 and 4.2.5.
"""

from __future__ import annotations

import difflib
import re
import shlex
from typing import TYPE_CHECKING

from fpm_listener.doctor import rejections
from fpm_listener.doctor.checked_config import folder_of, our_listeners, processes, whole, words_of
from fpm_listener.doctor.rule import KeyRule, Match, key_rules, match, rule
from fpm_listener.doctor.rules_execution import user_missing
from fpm_listener.doctor.rules_servers import FACTORY, INTERFACE
from fpm_listener.doctor.unknown_keys import PROGRAMS, SECTION_KEYS
from fpm_listener.supervisor.exit_log import QUIET_LEVELS
from fpm_listener.supervisor.ini_lines import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Section, Supervised

_SERVERS = ("inet_http_server:", "unix_http_server:")
_KINDS = (*PROGRAMS, *_SERVERS, "group:", "rpcinterface:", "ctlplugin:")
_SECTIONS = [name for name in SECTION_KEYS if name != "group"]
#: Files without a position, which supervisord's log rotation needs.
_DEVICE = re.compile(r"/dev/(?:std(?:out|err)|fd/\d+|tty\S*|console|pts/\d+)|/proc/\w+/fd/\d+")
#: Closing so many descriptors takes at least 0.05 s (see FPM172).
_MANY_DESCRIPTORS = 16384
#: A variable with a default value, as in a shell.
_DEFAULT = re.compile(r"%\(ENV_(\w+):?[-=?+]", re.ASCII)
#: Paths whose directory must exist when supervisord starts.
_PATHS = ("logfile", "pidfile", "stdout_logfile", "stderr_logfile", "file")


def _in_container(config: CheckedConfig) -> list[Section]:
    is_new = config.machine.in_container() and config.running is None
    return [config.section("supervisord")] if is_new else []


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
    """The listener reads some exit codes through XML-RPC."""
    if config.supervisord.get("servers") or not config.fpms:
        return
    section = config.section("unix_http_server")
    uid = config.supervisord.get("uid") or (config.running.uid if config.running else None)
    alone = "" if our_listeners(config) else "alone"
    if uid:
        # /run belongs to root. supervisord does not start if it cannot create its socket.
        user = config.machine.named_user(uid)
        yield match(section, "file", {}, f"{alone}-user".strip("-"), user=user)
    else:
        interface = config.section("rpcinterface:supervisor").edits({FACTORY: INTERFACE})
        change = {"file": "/run/supervisor.sock", "chmod": "0700"}
        found = match(section, "file", change, alone)
        yield found._replace(edits=found.edits + interface)


@rule("FPM102", whole)
def inet_server(config: CheckedConfig) -> Iterator[Match]:
    """A client of the server can run commands as supervisord's user."""
    section = config.section("inet_http_server")
    for server in config.supervisord.get("servers") or ():
        host = server.get("host") or "*"
        is_local = host in {"127.0.0.1", "localhost", "::1"}
        if server.get("family") == "inet" and not (is_local and server.get("password")):
            variant = "local" if is_local else "password" if server.get("password") else ""
            yield match(section, "port", {}, variant, host=host, port=server.get("port"))


@rule("FPM111", whole)
def rejected(config: CheckedConfig) -> Iterator[Match]:
    """The usual reason is a single percent sign."""
    if damaged := config.supervisord.get("damaged"):
        place = Place(*damaged)
        yield Match(place, {"line": place.line, "file": shlex.quote(place.file)}, variant="text")
        return
    reason = config.supervisord.get("refused")
    unset = config.supervisord.get("unset") or ()
    for name in unset:
        yield _unset(config, name)
    is_missing = bool(config.supervisord.get("missing")) and any(log_folder.check(config))
    is_known = is_missing or any(user_missing.check(config))
    if reason and not unset and not is_known:
        reasons = list(_percents(config)) or list(rejections.find(config))
        section = config.section("supervisord")
        marked = config.supervisord.get("marked")
        names = {"reason": reason, "file": shlex.quote(marked or section.place.file)}
        variant = "mark" if marked else ""
        yield from reasons or [match(section, "", {}, variant, **names)]


def _unset(config: CheckedConfig, name: str) -> Match:
    """Match a variable that is not set in this shell, where it is used."""
    wanted = f"%(ENV_{name})"
    places = (
        (section, key)
        for section in config.all_sections
        for key, line in section.lines.items()
        if wanted in line.value
    )
    section, key = next(places, (config.section("supervisord"), ""))
    return match(section, key, {}, "unset", variable=f"%(ENV_{name})s", name=name)


def _percents(config: CheckedConfig) -> Iterator[Match]:
    for section in config.all_sections:
        for key, line in section.lines.items():
            if named := _DEFAULT.search(line.value):
                yield match(section, key, {}, "default", name=named[1])
                continue
            is_single = re.search(r"%(?![%(])", line.value.replace("%%", ""))
            if is_single and not section.name.startswith("fpm-listener"):
                yield match(section, key, {}, "percent")


@rule("FPM122", whole)
def hidden_exits(config: CheckedConfig) -> Iterator[Match]:
    """supervisord logs unexpected exits at WARN, and other exits at INFO."""
    given = config.running.loglevel if config.running else None
    level = given or config.supervisord.get("loglevel")
    if level in QUIET_LEVELS and config.fpms:
        yield match(config.section("supervisord"), "loglevel", {"loglevel": "info"}, value=level)


@rule("FPM172", whole)
def many_descriptors(config: CheckedConfig) -> Iterator[Match]:
    """supervisord closes them one by one, whatever limit the container has."""
    count = int(config.supervisord.get("minfds") or 0)
    if count > _MANY_DESCRIPTORS:
        yield match(config.section("supervisord"), "minfds", count=count)


@rule("FPM123", whole)
def unknown_section(config: CheckedConfig) -> Iterator[Match]:
    """supervisord ignores it, with all programs and settings in it."""
    for section in config.all_sections:
        name = section.name
        kind = name.partition(":")[0] + ":" if ":" in name else name
        known = _KINDS if ":" in name else _SECTIONS
        if kind in known or name.startswith("fpm-listener"):
            continue
        if ":" not in name and "command" in section.lines:
            yield match(section, "", better=f"program:{name}")
            continue
        alike = difflib.get_close_matches(kind.lower(), [*_KINDS, *_SECTIONS], 1, 0.8)
        if alike:
            better = alike[0] + (name.partition(":")[2] or "NAME" if alike[0][-1] == ":" else "")
            yield match(section, "", better=better)


@rule("FPM113", whole)
def log_folder(config: CheckedConfig) -> Iterator[Match]:
    """supervisord does not start."""
    for section in config.all_sections:
        if section.name.startswith((*PROGRAMS, "supervisord", "unix_http_server")):
            for key in _PATHS:
                line = section.lines.get(key)
                yield from _missing(config, section, key, line.value if line else "")
            line = section.lines.get("childlogdir")
            yield from _missing(config, section, "childlogdir", f"{line.value}/" if line else "")
    for process in config.processes:
        for key in ("stdout_logfile", "stderr_logfile"):
            yield from _missing(config, process.section, key, process.settings[key] or "")


def _missing(config: CheckedConfig, section: Section, key: str, path: str) -> Iterator[Match]:
    here = folder_of(section.place.file)
    path = path.replace("%(here)s", here)
    is_whole = path.startswith("/") and "%(" not in path
    if is_whole and not config.machine.is_folder(folder_of(path)):
        yield match(section, key, folder=folder_of(path))


@rule("FPM032", whole)
def log_without_position(config: CheckedConfig) -> Iterator[Match]:
    """supervisord asks for the position in the log before it rotates it; a pipe has none."""
    known = config.supervisord
    if _DEVICE.fullmatch(known.get("logfile") or "") and known.get("logfile_maxbytes"):
        change = {"logfile_maxbytes": "0"}
        section = config.section("supervisord")
        yield match(section, "logfile", change, "supervisord", path=known["logfile"])
    for process in config.processes:
        settings = process.settings
        streams = ("stdout",) if settings["redirect_stderr"] else ("stdout", "stderr")
        for key in (f"{stream}_logfile" for stream in streams):
            if _DEVICE.fullmatch(settings[key] or "") and settings.get(f"{key}_maxbytes"):
                change = {f"{key}_maxbytes": "0"}
                stream = key.partition("_")[0]
                variant = "events" if settings[f"{stream}_events_enabled"] else ""
                yield match(process.section, key, change, variant, path=settings[key])


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
        if section.place.again and section.name.startswith((*PROGRAMS, "group:")):
            yield match(section, "", others=", ".join(section.place.again))


RULES = (
    *TABLE,
    *(no_server, inet_server, rejected, log_folder, relative_command, section_twice),
    *(unknown_section, log_without_position, hidden_exits, many_descriptors),
)
