"""Finds the logs of this machine, for `explain --logs` without a file.

supervisord's configuration names them: its own log, the files with the output of its programs, and
the configurations of php-fpm, which name the error logs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fpm_listener.daemon.discovery import Discovery
from fpm_listener.doctor.running import is_supervisord
from fpm_listener.host import procfs
from fpm_listener.replay.log_lines import LogFile, Source
from fpm_listener.supervisor import config, config_path
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.monitor.known_programs import ProgramsKnown


def find(conf: str | None = None) -> tuple[list[LogFile], ProgramsKnown]:
    """Return the files that exist, and the programs. Raises FpmListenerError.

    conf: configuration of supervisord; None = find it.
    """
    path = conf or _conf()
    programs = config.read_programs(path)
    if isinstance(programs, ConfUnreadable):
        raise FpmListenerError(f"explain: {programs.why}")
    known = Discovery(None, 0, programs=programs).read(all_configs=False)
    wanted = dict.fromkeys(_wanted(known))
    files = {file.path: file for file in wanted if os.path.isfile(file.path)}  # noqa: PTH113 - texts
    if not files:
        tried = ", ".join(sorted({file.path for file in wanted})) or "none"
        raise FpmListenerError(
            f"explain: {path} names no log that exists ({tried}). In a container the logs are in"
            " `docker logs`: docker logs NAME 2>&1 | fpm-listener explain --logs -"
        )
    return list(files.values()), known


def _conf() -> str:
    """Return the configuration of the supervisord that runs, or the usual one."""
    pids = [pid for pid in sorted(procfs.pids()) if is_supervisord(config_path.command_of(pid))]
    running = (config_path.find_conf(pid) for pid in pids)
    path = next((one for one in running if one), None) or config_path.usual_conf()
    if path is None:
        raise FpmListenerError(
            "explain: the configuration of supervisord was not found; name the logs, for example:"
            " fpm-listener explain --logs --supervisord-log FILE --fpm-log FILE"
        )
    return path


def _wanted(known: ProgramsKnown) -> Iterator[LogFile]:
    for program in known.programs:
        name, output, site = (
            program.name,
            known.outputs[program.name],
            known.sites.get(program.name),
        )
        if program.logs is not None and program.logs.main:
            yield LogFile(program.logs.main, Source.SUPERVISORD)
        for path in site.error_logs if site is not None else ():
            yield LogFile(path, Source.FPM, str(name))
        for log in (output.stdout_file, output.stderr_file):
            if log and (site is None or log not in site.error_logs):
                yield LogFile(log, Source.OUTPUT, str(name))
