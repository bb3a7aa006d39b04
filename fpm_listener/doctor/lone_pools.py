"""A file of php-fpm that no known program reads: checked without a program."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Section, Supervised
from fpm_listener.doctor.gathering import texts_of
from fpm_listener.phpfpm.command_line import FpmInvocation
from fpm_listener.supervisor import ini_lines
from fpm_listener.supervisor.ini_lines import ConfigSection

if TYPE_CHECKING:
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.sources import Sources

#: A program that no rule finds fault with; its place is in no file.
_PROGRAM: dict[str, Any] = {
    "command": "php-fpm -F",
    "user": None,
    "supervisord_uid": None,
    "directory": None,
    "path": None,
    "environment": {},
    "inherited": {},
    "numprocs": 1,
    "priority": 999,
    "buffer_size": None,
    "events": [],
    "startsecs": 3.0,
    "startretries": 10,
    "autostart": True,
    "autorestart": "true",
    "exitcodes": [0],
    "stopsignal": int(signal.SIGKILL),  # no rule on stops has an opinion on it
    "stopwaitsecs": 1e9,
    "stopasgroup": False,
    "killasgroup": True,
    "redirect_stderr": False,
    "stdout_events_enabled": False,
    "stderr_events_enabled": True,
    "stdout_logfile": "AUTO",
    "stderr_logfile": "AUTO",
    "stdout_logfile_maxbytes": 0,
    "stderr_logfile_maxbytes": 0,
    "stdout_syslog": False,
    "stderr_syslog": False,
}


def lone_pools(path: str, machine: Machine, sources: Sources) -> CheckedConfig:
    """Return the configuration of a php-fpm that reads this file."""
    invocation = FpmInvocation(
        binary="php-fpm", arguments=("-F",), config=path, foreground=True, allow_root=True
    )
    # A user types paths that are relative to the working directory; an image has no such paths.
    is_image = sources.tree is not None and sources.tree.is_image
    conf = sources.fpm_conf(invocation, None if is_image else os.getcwd(), {})  # noqa: PTH109 - a text
    conf = conf._replace(problems=sources.known_problems(conf))
    sections = ini_lines.scan(texts_of(conf.files, sources), php=True)
    place = ConfigSection("program:php-fpm", "", 0, {})
    process = Supervised("program", "php-fpm", "php-fpm", Section(place, _PROGRAM, editable=False))
    fpm = Fpm(process, invocation, conf, sections, machine)
    return CheckedConfig({}, {}, (), (fpm,), machine)
