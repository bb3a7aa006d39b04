"""Rules on shells that stay between supervisord and a program: stop signals do not reach it.

Measured with supervisor 4.3.0, dash 0.5.12, bash 5.2, busybox 1.35, npm 11.19, and Apache 2.4 and
MariaDB 10.11 of Debian 12.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.neighbours import neighbours
from fpm_listener.doctor.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.neighbours import Neighbour
    from fpm_listener.doctor.rule import Match

_GROUP: dict[str, str | None] = {"stopasgroup": "true", "killasgroup": "true"}
#: A text with which each shell stays, and one with which bash 5.2 stays. dash always stays; busybox
#: (ash) becomes the last command even with a redirection.
_PIPE = re.compile(r"(?<!\|)\|(?!\|)")
_REDIRECTION = re.compile(r"[<>]")
_NODE = {"npm": {"start", "run", "run-script"}, "yarn": {"start", "run"}, "pnpm": {"start", "run"}}
#: Scripts that stay, and the words with which they run a program in the foreground.
_SCRIPTS = {
    "apache2ctl": ("apache", re.compile(r"-D ?(?:FOREGROUND|NO_DETACH)\b")),
    "mysqld_safe": ("mysqld_safe", re.compile("")),
    "mariadbd-safe": ("mysqld_safe", re.compile("")),
}
#: Commands that do not run on, and commands of the shell.
_SHORT = {
    *("sleep", "echo", "true", "false", "exit", "test", "[", "wait", "cd", "export", "source"),
    *("chown", "chmod", "mkdir", "cp", "mv", "rm", "ln", "touch", "sed", "printf", "kill", "date"),
    *(".", ":", "set", "trap", "done", "fi", "}"),
}


def _is_lost(program: Neighbour) -> bool:
    """Return whether stop signals reach the first process only."""
    return not program.settings["stopasgroup"] and program.settings["autorestart"] != "false"


@rule("FPM146", neighbours)
def loop(program: Neighbour) -> Iterator[Match]:
    """The shell ends, and the command that the loop runs then continues."""
    started = program.started
    if started.ends_with_loop and _is_lost(program) and not re.search(r"\btrap\s", started.text):
        yield program.match("stopasgroup", _GROUP, shell=started.shell)


@rule("FPM147", neighbours)
def shell_stays(program: Neighbour) -> Iterator[Match]:
    """Without exec the program is a child of the shell."""
    started = program.started
    if not _is_lost(program) or started.ends_with_loop:
        return
    variant, pattern = _SCRIPTS.get(program.name, ("", None))
    if pattern and pattern.search(" ".join(program.words)):
        yield program.match("stopasgroup", _GROUP, variant)
        return
    if program.words[1:] and program.words[1] in _NODE.get(program.name, ()):
        yield program.match("stopasgroup", _GROUP, "node", manager=program.name)
        return
    is_known = started.shell and not started.execs and program.name not in _SHORT
    is_alone = re.search(r"&\s*\Z|\btrap\s", started.text)
    if not is_known or not program.words or is_alone:
        return
    shell = program.sh if started.shell == "sh" else started.shell
    if (
        shell == "dash"
        or _PIPE.search(started.text)
        or (shell == "bash" and _REDIRECTION.search(started.text))
    ):
        yield program.match("command", _GROUP, shell=started.shell)
    elif not shell:
        yield program.match("command", _GROUP, "unknown", shell=started.shell)


RULES = (loop, shell_stays)
