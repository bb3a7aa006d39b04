"""Finds the configuration file of a running supervisord. The guard uses it: it imports little."""

from __future__ import annotations

import getopt
import os

TYPE_CHECKING = False  # `typing` costs the guard milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence

#: supervisord's options (supervisor/options.py, `Options` and `ServerOptions`; 4.2.5 and 4.3.0).
_SHORT = "h?c:vnu:m:d:l:y:z:e:j:i:q:a:kts"
_LONG = (
    *("help", "configuration=", "version", "nodaemon", "user=", "umask=", "directory=", "logfile="),
    *("logfile_maxbytes=", "logfile_backups=", "loglevel=", "pidfile=", "identifier="),
    *("childlogdir=", "minfds=", "minprocs=", "nocleanup", "strip_ansi", "profile_options="),
    "silent",
)
#: Where supervisord searches if it is started without -c (supervisor/options.py, `searchpaths`).
_SEARCHED = (
    *("supervisord.conf", "etc/supervisord.conf"),
    *("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"),
)


def script_at(words: Sequence[str]) -> int | None:
    """Return which word of a command line is supervisord; None = it runs another program."""
    # `python /usr/bin/supervisord …`, `python -m supervisor.supervisord …`
    is_script = (at for at, word in enumerate(words) if "supervisord" in word.rpartition("/")[2])
    return next(is_script, None)


def find_conf(supervisord_pid: int, proc: str = "/proc") -> str | None:
    """Return the configuration file of a running supervisord; None if it is unknown."""
    words = command_of(supervisord_pid, proc)
    options = options_of(words)
    named = options.get("-c") or options.get("--configuration")
    if named and os.path.isabs(named):  # noqa: PTH117 - the working directory is unreadable for other users
        return named
    try:
        folder = os.readlink(f"{proc}/{supervisord_pid}/cwd")  # noqa: PTH115 - a text is needed
    except OSError:
        return None
    if not words:
        return None
    at = script_at(words) or 0
    if named:
        return os.path.join(folder, named)  # noqa: PTH118 - an absolute path wins, as it should
    beside = os.path.dirname(os.path.dirname(words[at])) or "."  # noqa: PTH120 - the same
    searched = (f"{beside}/etc/supervisord.conf", f"{beside}/supervisord.conf", *_SEARCHED)
    found = (os.path.join(folder, path) for path in searched)  # noqa: PTH118 - the same
    return next((os.path.normpath(path) for path in found if os.path.isfile(path)), None)  # noqa: PTH113 - the same


def usual_conf() -> str | None:
    """Return the file of a supervisord that is started without -c; None = there is none."""
    return next((path for path in _SEARCHED if path[0] == "/" and os.path.isfile(path)), None)  # noqa: PTH113 - texts


def command_of(pid: int, proc: str = "/proc") -> list[str]:
    """Return the words of the command line of a process; none if it is gone."""
    try:
        with open(f"{proc}/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - pathlib costs milliseconds
            command = file.read()
    except OSError:
        return []
    return os.fsdecode(command.removesuffix(b"\0")).split("\0")


def options_of(words: list[str]) -> dict[str, str]:
    """Return the options of supervisord's command line; none if supervisord refuses them."""
    try:
        return dict(getopt.getopt(words[(script_at(words) or 0) + 1 :], _SHORT, _LONG)[0])
    except getopt.GetoptError:
        return {}
