"""What the child that parses reports of supervisor's objects, as values of JSON.

Source: supervisor/options.py, 4.2.5 and 4.3.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.supervisor.server_login import HASHED

if TYPE_CHECKING:
    from collections.abc import Mapping


def server_of(server: Mapping[str, Any]) -> dict[str, Any]:
    """Return a server of supervisord, without its password."""
    host = server.get("host") or ""
    reached = "127.0.0.1" if host in {"", "*", "0.0.0.0"} else host  # noqa: S104 - compared
    return {
        "url": f"http://{reached}:{server['port']}"
        if "port" in server
        else f"unix://{server['file']}",
        "family": "inet" if "port" in server else "unix",
        "host": host,
        "port": server.get("port"),
        "password": bool(server.get("password")),
        "hashed": str(server.get("password") or "").startswith(HASHED),
        "section": str(server.get("section") or ""),
    }


def process_of(group: Any, process: Any) -> dict[str, Any]:  # noqa: ANN401 - supervisor has no types
    """Return a process of a group, with the types of supervisor's settings."""
    return {
        "group": group.name,
        "name": process.name,
        "kind": _KINDS.get(type(process).__name__, "program"),
        "priority": int(group.priority),
        "buffer_size": getattr(group, "buffer_size", None),
        "events": [_event_name(event) for event in getattr(group, "pool_events", ())],
        "user": process.uid,
        "command": process.command,
        "directory": process.directory,
        "environment": dict(process.environment or {}),
        "startsecs": float(process.startsecs),
        "startretries": int(process.startretries),
        "autostart": bool(process.autostart),
        "autorestart": _RESTARTS.get(getattr(process.autorestart, "__name__", ""), "false"),
        "exitcodes": list(process.exitcodes),
        "stopsignal": int(process.stopsignal),
        "stopwaitsecs": float(process.stopwaitsecs),
        "stopasgroup": bool(process.stopasgroup),
        "killasgroup": bool(process.killasgroup),
        "redirect_stderr": bool(process.redirect_stderr),
        "stdout_events_enabled": bool(process.stdout_events_enabled),
        "stderr_events_enabled": bool(process.stderr_events_enabled),
        "stdout_logfile_maxbytes": int(process.stdout_logfile_maxbytes or 0),
        "stderr_logfile_maxbytes": int(process.stderr_logfile_maxbytes or 0),
        "stdout_logfile": log_of(process.stdout_logfile),
        "stderr_logfile": log_of(process.stderr_logfile),
        "stdout_syslog": process.stdout_logfile is None and bool(process.stdout_syslog),
        "stderr_syslog": process.stderr_logfile is None and bool(process.stderr_syslog),
    }


def uid_of(name: str | None) -> int | None:
    """Return the uid of supervisord; None if it does not change it, or if there is no such user."""
    from supervisor.datatypes import name_to_uid  # noqa: PLC0415 - the child's, see law 1

    try:
        return None if name is None else int(name_to_uid(name))
    except ValueError:
        return None


def _event_name(event: object) -> str:
    from supervisor.events import getEventNameByType  # noqa: PLC0415 - the child's, see law 1

    return str(getEventNameByType(event))


#: Levels whose names a setting can have, and that hide exits (supervisor/loggers.py).
LEVELS = {30: "warn", 40: "error", 50: "critical"}
_KINDS = {"EventListenerConfig": "eventlistener", "FastCGIProcessConfig": "fcgi-program"}
_RESTARTS = {"RestartUnconditionally": "true", "RestartWhenExitUnexpected": "unexpected"}


def log_of(value: object) -> str | None:
    """Return a path, `AUTO` if supervisord chooses the name, or None."""
    return value if value is None or isinstance(value, str) else "AUTO"
