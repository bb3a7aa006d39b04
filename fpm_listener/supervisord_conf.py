"""supervisord's configuration, read by supervisor's own parser in a child that lives a moment.

Laws:
1. The well-kept library reads it, so that includes, expansions and `numprocs` are exact; but in a
   child process, so that the listener does not carry the library in its memory.
2. The child changes nothing: it parses, prints JSON and ends.
3. What supervisor says of a file that it refuses is not passed on: its messages print whole values,
   passwords among them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.core.values import ProcessName, Program

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Where supervisord looks when it is started without -c (supervisor/options.py, `searchpaths`).
_SEARCHED = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfUnreadable:
    """The configuration could not be read."""

    why: str


def find_conf(supervisord_pid: int, proc: str = "/proc") -> str | None:
    """Return the file that a running supervisord was started with; None where it cannot be told."""
    try:
        command = (
            Path(proc, str(supervisord_pid), "cmdline").read_bytes().decode("utf-8", "replace")
        )
        folder = os.readlink(f"{proc}/{supervisord_pid}/cwd")  # noqa: PTH115 - a text is needed
    except OSError:
        return None
    words = command.split("\0")
    named = _named(words)
    if named:
        return os.path.join(folder, named)  # noqa: PTH118 - an absolute path wins, as it should
    program = next((word for word in words if word.endswith("supervisord")), "")
    root = os.path.dirname(os.path.dirname(os.path.join(folder, program)))  # noqa: PTH118, PTH120
    searched = (
        *(f"{root}/etc/supervisord.conf", f"{root}/supervisord.conf"),
        *(f"{folder}/supervisord.conf", f"{folder}/etc/supervisord.conf"),
        *_SEARCHED,
    )
    return next((path for path in searched if Path(path).is_file()), None)


def _named(words: Sequence[str]) -> str | None:
    for at, word in enumerate(words):
        if word.startswith("--configuration="):
            return word.partition("=")[2]
        short = word.startswith("-") and not word.startswith("--")
        if word == "--configuration" or (short and word.endswith("c")):
            return words[at + 1] if at + 1 < len(words) else None
        if short and "c" in word and set(word[1 : word.index("c")]) <= set("nskt"):
            return word[word.index("c") + 1 :]
    return None


def read_programs(path: str) -> tuple[Program, ...] | ConfUnreadable:
    """Return the processes that the configuration at `path` has."""
    command = [sys.executable, "-m", __name__, path]
    folders = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        return ConfUnreadable(why=f"{path}: reading it took longer than {_TIMEOUT_S:.0f} s")
    except OSError as error:
        return ConfUnreadable(why=f"{path}: no child could be started: {error.strerror}")
    if done.returncode:
        return ConfUnreadable(why=f"{path}: supervisor refuses it; supervisorctl reread says why")
    return tuple(
        Program(
            name=ProcessName(found["group"], found["name"]),
            command=found["command"],
            directory=found["directory"],
            environment=found["environment"],
            startsecs=found["startsecs"],
            stderr_log=found["stdout_logfile" if found["redirect_stderr"] else "stderr_logfile"],
        )
        for found in json.loads(done.stdout)["processes"]
    )


# -- the child -------------------------------------------------------------------------------------


def _describe(path: str) -> dict[str, Any]:
    """Return what supervisor's own parser makes of the file."""
    from supervisor.options import ServerOptions  # noqa: PLC0415 - the child's, not the listener's

    options = ServerOptions()
    options.configfile = path
    # What `realize` does before it reads the file, without its checks of the running process.
    options.here = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - as supervisor
    options.read_config(path)
    section = options.configroot.supervisord
    return {
        "identifier": section.identifier,
        "processes": [
            _process(group, process)
            for group in section.process_group_configs
            for process in group.process_configs
        ],
    }


def _process(group: Any, process: Any) -> dict[str, Any]:  # noqa: ANN401 - supervisor has no types
    signal = process.stopsignal
    return {
        "group": group.name,
        "name": process.name,
        "kind": type(group).__name__,
        "command": process.command,
        "directory": process.directory,
        "environment": dict(process.environment or {}),
        "startsecs": float(process.startsecs),
        "startretries": int(process.startretries),
        "autorestart": getattr(process.autorestart, "__name__", str(process.autorestart)),
        "exitcodes": list(process.exitcodes),
        "stopsignal": int(signal),
        "stopwaitsecs": float(process.stopwaitsecs),
        "stopasgroup": bool(process.stopasgroup),
        "killasgroup": bool(process.killasgroup),
        "redirect_stderr": bool(process.redirect_stderr),
        "stderr_events_enabled": bool(process.stderr_events_enabled),
        "stdout_logfile": _text(process.stdout_logfile),
        "stderr_logfile": _text(process.stderr_logfile),
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def main() -> int:
    """Print what the file named on the command line says."""
    protocol = os.dup(1)
    os.dup2(2, 1)  # supervisor may warn on stdout; the JSON must stay clean
    with os.fdopen(protocol, "w", encoding="utf-8") as out:
        json.dump(_describe(sys.argv[1]), out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
