"""Finds which commands of remedies work on this host.

Law: the operator is root, but in a container root does not have every capability.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.host import procfs
from fpm_listener.host.operator_commands import CAPABILITIES, TOOLS, OperatorCommands
from fpm_listener.supervisor import conf_texts, config_path, ini_lines, supervisorctl
from fpm_listener.untrusted_text import quoted

if TYPE_CHECKING:
    from fpm_listener.supervisor.conf_texts import ConfTexts
    from fpm_listener.supervisor.ini_lines import ConfigSection

#: Tools of which the variant in BusyBox does not have the options that we use.
_OF_BUSYBOX = frozenset({"ps"})
#: Where root's commands are, besides our own PATH.
_USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BOUNDING = re.compile(r"^CapBnd:\s*([0-9a-f]{1,16})$", re.MULTILINE)
#: Where supervisorctl searches without -c, besides the directory above its own.
_DEFAULTS = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")


def find(supervisord: int) -> OperatorCommands:
    """Return the commands of an operator of this supervisord."""
    return OperatorCommands(
        supervisorctl=find_supervisorctl(supervisord),
        supervisord=supervisord,
        tools=find_tools(),
        capabilities=_capabilities(),
    )


def find_tools() -> frozenset[str]:
    """Return the tools of remedies that exist. BusyBox's `ps` lacks the options that we use."""
    found = {name: path for name in TOOLS if (path := _which(name))}
    return frozenset(
        name
        for name, path in found.items()
        if name not in _OF_BUSYBOX or "busybox" not in os.path.realpath(path)
    )


def find_supervisorctl(supervisord: int) -> str | None:
    """Return the command that reaches a supervisord; None if there is none.

    If its configuration is unknown, that is the command without options.
    """
    conf = read_conf(supervisord)
    if conf is None:
        return "supervisorctl"
    program = _program(supervisord)
    sections = sections_of(conf)
    default = _default_file(program, conf)
    return supervisorctl.command(conf.files[0], sections, conf.expansions, default, program)


def read_conf(supervisord: int) -> ConfTexts | None:
    """Return the configuration of a running supervisord; None if it is unknown or unreadable."""
    path = config_path.find_conf(supervisord)
    if path is None:
        return None
    pairs = (word.partition(b"=") for word in procfs.environment(supervisord).split(b"\0"))
    environment = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if name}
    try:
        return conf_texts.read(path, environment)
    except OSError:
        return None


def sections_of(conf: ConfTexts) -> dict[str, ConfigSection]:
    """Return the sections of all its files."""
    return ini_lines.scan(conf.files)


def _program(supervisord: int) -> str:
    """Return how to call supervisorctl: its path if it is beside supervisord or its Python only."""
    if not _which("supervisorctl"):
        for word in procfs.command_line(supervisord).split("\0"):
            path = f"{os.path.dirname(word)}/supervisorctl"  # noqa: PTH120 - a text
            if word.startswith("/") and os.access(path, os.X_OK):
                return quoted(path)
    return "supervisorctl"


def _default_file(program: str, conf: ConfTexts) -> tuple[str, str] | None:
    """Return path and text of the file that supervisorctl reads without -c."""
    found = _which("supervisorctl") or program
    above = os.path.dirname(os.path.dirname(found))  # noqa: PTH120 - a text
    paths = (f"{above}/etc/supervisord.conf", f"{above}/supervisord.conf", *_DEFAULTS)
    path = next((path for path in paths if os.path.exists(path)), None)  # noqa: PTH110 - the same
    if path is None:
        return None
    try:
        if os.path.samefile(path, conf.path):  # noqa: PTH121 - the same
            return conf.files[0]
        return path, regular_file.read_text(path)
    except OSError:
        return path, ""


def path_of(name: str) -> str:
    """Return how to call a tool: by its path if it is only where s6-overlay has its tools."""
    path = f"/command/{name}"
    return path if not _which(name) and os.access(path, os.X_OK) else name


def _which(name: str) -> str | None:
    folders = f"{os.environ.get('PATH', '')}:{_USUAL}".split(":")
    paths = (f"{folder}/{name}" for folder in folders if folder.startswith("/"))
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def _capabilities() -> frozenset[str]:
    """Return those that a process of root can have here; all of them if that is unknown."""
    try:
        with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib costs the guard milliseconds
            found = _BOUNDING.search(file.read())
    except OSError:
        found = None
    if found is None:
        return frozenset(CAPABILITIES)
    bits = int(found[1], 16)
    return frozenset(name for name, number in CAPABILITIES.items() if bits >> number & 1)
