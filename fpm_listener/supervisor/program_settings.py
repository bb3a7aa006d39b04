"""Converts one process of supervisord's configuration, as the child describes it, to our values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.supervisor.process import Logs, ProcessName, Program

if TYPE_CHECKING:
    from collections.abc import Mapping


def program(found: Mapping[str, Any], auto: str, level: str, log: str) -> Program:
    """Return one process.

    auto: how the names of logs begin that supervisord chooses; level, log: of its own log.
    """
    own = found["stdout_logfile" if found["redirect_stderr"] else "stderr_logfile"]
    return Program(
        name=ProcessName(found["group"], found["name"]),
        command=found["command"],
        directory=found["directory"],
        environment=found["environment"],
        startsecs=found["startsecs"],
        autostart=found["autostart"],
        autorestart=found["autorestart"],
        stopwaitsecs=found["stopwaitsecs"],
        stderr_log=None if own == "AUTO" else own,
        logs=Logs(
            stdout="syslog" if found["stdout_syslog"] else found["stdout_logfile"],
            stderr="syslog" if found["stderr_syslog"] else found["stderr_logfile"],
            redirect_stderr=found["redirect_stderr"],
            stdout_events=found["stdout_events_enabled"],
            stderr_events=found["stderr_events_enabled"],
            stdout_maxbytes=found["stdout_logfile_maxbytes"],
            stderr_maxbytes=found["stderr_logfile_maxbytes"],
            auto=auto.replace("{name}", found["name"]),
            level=level,
            main=log,
        ),
        uid=found["user"],
        events=tuple(found["events"]),
    )
