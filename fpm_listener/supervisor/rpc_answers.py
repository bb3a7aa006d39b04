"""Converts the answers of supervisord's XML-RPC to our values.

Law: an answer of another form raises LookupError, ValueError or TypeError; the client catches them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.supervisor.process import Logs, ProcessName, ProcessSeen, Program
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


#: The largest number: supervisord sends 32 bits, and each library can print this time.
_LARGEST = 1 << 37
#: The largest pid of Linux.
_LARGEST_PID = 1 << 22


def name_of(info: Mapping[str, Any]) -> ProcessName:
    """Return the name of a process."""
    return ProcessName(str(info["group"]), str(info["name"]))


def process_seen(info: Mapping[str, Any]) -> ProcessSeen:
    """Return one process of getAllProcessInfo."""
    return ProcessSeen(
        name=name_of(info),
        state=State.__members__.get(str(info["statename"]), State.UNKNOWN),
        pid=_pid(info["pid"]),
        started_at_s=_number(info["start"]) or None,
    )


def configs(answer: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return getAllConfigInfo as it is; each element has a name."""
    for info in answer:
        name_of(info)
    return tuple(answer)


def processes(answer: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """Return getAllProcessInfo as it is; each element is a process."""
    for info in answer:
        process_seen(info)
    return tuple(answer)


def programs(answer: Sequence[Mapping[str, Any]]) -> tuple[Program, ...] | None:
    """Return the programs of getAllConfigInfo; None if this supervisord returns no commands."""
    if not all("command" in info for info in answer):
        return None
    return tuple(
        Program(
            name=name_of(info),
            command=str(info["command"]),
            directory=None if info["directory"] == "none" else str(info["directory"]),
            startsecs=_number(info["startsecs"]),
            logs=_logs(info),
            uid=info["uid"] if isinstance(info.get("uid"), int) else None,
            stopwaitsecs=_number(info["stopwaitsecs"]),
        )
        for info in answer
    )


def _logs(info: Mapping[str, Any]) -> Logs:
    """Return the log settings; absent keys have supervisor's defaults."""
    stdout, stderr = (
        "syslog" if info.get(f"{channel}_syslog") is True else _log(info, f"{channel}_logfile")
        for channel in ("stdout", "stderr")
    )
    return Logs(
        stdout=stdout,
        stderr=stderr,
        redirect_stderr=info.get("redirect_stderr") is True,
        stdout_events=info.get("stdout_events_enabled") is True,
        stderr_events=info.get("stderr_events_enabled") is True,
        stdout_maxbytes=int(_number(info.get("stdout_logfile_maxbytes") or 0)),
        stderr_maxbytes=int(_number(info.get("stderr_logfile_maxbytes") or 0)),
    )


def _log(info: Mapping[str, Any], key: str) -> str | None:
    word = str(info.get(key, "auto"))
    return {"auto": "AUTO", "none": None}.get(word, word)


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError("no number")
    return float(value)


def _pid(value: object) -> int | None:
    """Return a pid; None = the process does not run."""
    if not isinstance(value, int) or not 0 <= value <= _LARGEST_PID:
        raise ValueError("no pid")
    return value or None
