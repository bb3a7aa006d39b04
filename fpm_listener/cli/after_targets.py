"""Finds the listen addresses that `fpm-listener after` waits for.

Laws:
1. A program of supervisord.conf is found without supervisor's own parser if its section is simple:
   that parser needs a child process and a quarter of a second, and nginx waits for it.
2. An address is used as it is, without any file.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import procfs
from fpm_listener.phpfpm import command_line, config_files, script_files, start_script
from fpm_listener.supervisor import conf_texts, config_path, ini_lines, ini_values
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.supervisor.ini_lines import ConfigSection

_KINDS = ("program", "fcgi-program")
#: Keys with which the name, or the environment, needs supervisor's own parser.
_COMPLEX = ("process_name", "numprocs", "environment")


class Options(NamedTuple):
    """The command line of `fpm-listener after`."""

    program: str  #: or an address
    command: tuple[str, ...]
    timeout_s: float
    config: str | None = None  #: the listener's settings
    supervisord_conf: str | None = None


class Command(NamedTuple):
    """How a program is started."""

    words: str
    directory: str | None
    environment: Mapping[str, str]  #: added by its section


def is_address(text: str) -> bool:
    """Return whether a text is a listen address: a path, a port, or host:port."""
    host, colon, port = text.rpartition(":")
    return text.startswith("/") or (port.isdecimal() and bool(host) == bool(colon))


def find(program: str, conf: str | None) -> tuple[str, ...]:
    """Return the addresses of all pools. Raises FpmListenerError.

    program: a name, `group:name`, or an address; conf: supervisord's configuration, None = find it.
    """
    if is_address(program):
        return (program,)
    path = conf or conf_path()
    command = _simple(path, program) or _exact(path, program)
    environment = {**os.environ, **command.environment}
    invocation = command_line.find(command.words)
    if invocation is None:
        reader = script_files.reader(environment, command.directory or "")
        script = start_script.find(command.words, reader, environment)
        invocation = script.invocation if script is not None else None
    if invocation is None:
        raise FpmListenerError(
            f"after: {path} [program:{program}]: its command is not recognized as php-fpm; name its"
            " address instead, such as: fpm-listener after 127.0.0.1:9000 -- nginx"
        )
    conf_of_fpm = config_files.read(
        invocation, directory=command.directory, environment=environment
    )
    if not conf_of_fpm.addresses:
        why = "; ".join(map(str, conf_of_fpm.problems)) or f"{conf_of_fpm.path} has no pool"
        raise FpmListenerError(
            f"after: the addresses of {program} are unknown: {why}. Name the address instead, such"
            " as: fpm-listener after 127.0.0.1:9000 -- nginx"
        )
    return tuple(dict.fromkeys(conf_of_fpm.addresses))


def conf_path() -> str:
    """Return supervisord's configuration file. Raises FpmListenerError."""
    found = None
    if "SUPERVISOR_PROCESS_NAME" in os.environ:
        found = config_path.find_conf(procfs.supervisor_of(os.getpid()) or os.getppid())
    found = found or config_path.usual_conf()
    if found is None:
        raise FpmListenerError(
            "after: supervisord's configuration was not found; name it with --supervisord-conf"
            " FILE, or name the address of php-fpm, such as 127.0.0.1:9000"
        )
    return found


def _simple(path: str, program: str) -> Command | None:
    """Return the command if the section is simple; None = supervisor's own parser must read it."""
    try:
        texts = conf_texts.read(path, os.environ)
    except OSError:
        return None
    sections = ini_lines.scan(texts.files)
    group, _, name = program.rpartition(":")
    found = [sections[f"{kind}:{name}"] for kind in _KINDS if f"{kind}:{name}" in sections]
    if len(found) != 1 or any(key in found[0].lines for key in _COMPLEX):
        return None
    if group not in {"", name} or any(one.startswith("group:") for one in sections):
        return None
    expansions = {**texts.expansions, "program_name": name, "group_name": name}
    return _command(found[0], expansions)


def _command(section: ConfigSection, expansions: Mapping[str, str]) -> Command | None:
    words = ini_values.get(section, "command", "", expansions)
    directory = ini_values.get(section, "directory", "", expansions)
    return None if not words or directory is None else Command(words, directory or None, {})


def _exact(path: str, program: str) -> Command:
    """Return the command as supervisor's own parser reads it. Raises FpmListenerError."""
    from fpm_listener.supervisor import config  # noqa: PLC0415 - law 1

    programs = config.read_programs(path)
    if isinstance(programs, config.ConfUnreadable):
        raise FpmListenerError(f"after: {programs.why}")
    for one in programs:
        if program in {str(one.name), one.name.shown, one.name.process, one.name.group}:
            return Command(one.command, one.directory, one.environment)
    known = ", ".join(sorted({one.name.shown for one in programs})) or "none"
    raise FpmListenerError(f"after: {path} has no program {program!r}; it has: {known}")
