"""Puts the guard in front of the php-fpm of a command, as supervisord's file has it.

Laws:
1. The other words keep their text, their quotes and their variables.
2. If the result is not the same php-fpm with the same arguments, the command does not change.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from fpm_listener.phpfpm import command_line
from fpm_listener.phpfpm.guard_command import PROGRAM
from fpm_listener.phpfpm.shell_commands import SHELL

if TYPE_CHECKING:
    from collections.abc import Callable

#: Our guard, in a command or in a script.
GUARD = re.compile(rf"{PROGRAM.pattern}['\"]?\s+guard\b", re.ASCII)
#: The beginning of each word, also after the quote of a shell's text or after its operator.
_BEGINS = re.compile(r"(?:^|(?<=[\s\"'&;|]))(?=[^\s\"'&;|])")
#: What ends the last command of a shell's text.
_LAST = re.compile(r"(?:[^;&|()]|(?<=[<>])&|&(?=>))*")
#: Programs whose php-fpm has other files or another tree of processes than the guard would see.
_APART = re.compile(r"(?:^|[\s/'\"])(?:chroot|unshare|nsenter|su)\s")


def with_guard(command: str, guard: str, expand: Callable[[str], str]) -> str | None:
    """Return the command with the guard; None if there is no safe place for it.

    command: as in the file. guard: the words before php-fpm. expand: replaces `%(name)s`.
    """
    wanted = command_line.find(expand(command))
    if wanted is None or GUARD.search(command) or _APART.search(command):
        return None
    for place in _BEGINS.finditer(command):
        before, after = command[: place.start()], command[place.start() :]
        if SHELL.match(command):
            if not _LAST.fullmatch(after):
                continue
            is_exec = re.search(r"\bexec\s+$", before)
            new = f"{before}{'' if is_exec else 'exec '}{guard} {after}"
        else:
            new = f"{before}{guard} {after}"
        first = re.match(r"[^\s\"']+", after)
        is_binary = first is not None and expand(first[0]) == wanted.binary
        if is_binary and command_line.find(expand(new)) == wanted:
            return new
    return None


def without_shell(command: str, guard: str) -> str | None:
    """Return the command without the shell that only waits for php-fpm, with the guard."""
    call = command_line.find_behind_sleep(command)
    return f"{guard} {shlex.join([call.binary, *call.arguments])}" if call else None
