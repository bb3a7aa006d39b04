"""Finds the php-fpm of each program: in its command, or in the script that the command runs."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor.checked_config import Unknown, words_of
from fpm_listener.phpfpm import command_line, script_files, start_script
from fpm_listener.phpfpm.guard_command import PROGRAM
from fpm_listener.phpfpm.shell_commands import SHELL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.doctor.checked_config import Supervised
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.start_script import Reader, StartScript

#: Names of programs that are php-fpm: php-fpm, php8.2-fpm, php-fpm83, phpfpm, fpm.
_NAME = re.compile(r"(?:php[\d.]*[-_.]?)?fpm[-_]?[\d.]*", re.IGNORECASE | re.ASCII)
_BINARY = re.compile(r"(?:\S*/)?(?:php-fpm[\d.]*|php[\d.]+-fpm)", re.ASCII)
#: The name of a php-fpm for which another program waits: `fpm-listener after php-fpm -- nginx`.
_AWAITED = re.compile(rf"\b{PROGRAM.pattern}['\"]?\s+after\s.*?\s--\s", re.ASCII)


class Invocation(NamedTuple):
    """A php-fpm, and the script that starts it."""

    php_fpm: FpmInvocation
    script: StartScript | None = None


def find(
    process: Supervised, scripts: Callable[[Mapping[str, str]], Reader] = script_files.reader
) -> Invocation | Unknown | None:
    """Return the php-fpm of a program; None for another program.

    scripts: as script_files.reader.
    """
    if start_script.INIT.search(process.command):
        return None  # FPM004
    environ = process.settings["inherited"]
    found = command_line.find(process.command)
    if found is not None:
        known = found
        if SHELL.match(process.command):
            answer = start_script.expanded(found, environ)
            if isinstance(answer, str):
                return Unknown(process, f"the value of {answer} is not known")
            known = answer
        return None if found.test_only else Invocation(_without_refused(known))
    if process.kind == "eventlistener":
        return None
    script = start_script.find(process.command, scripts(environ), environ)
    if script is not None and script.invocation is not None:
        if script.ambiguous and not _seems_php_fpm(process):
            return None
        return Invocation(_without_refused(script.invocation), script)
    is_known = script is not None and script.is_fpm and not script.ambiguous
    if not is_known and not _seems_php_fpm(process):
        return None
    if script is not None:
        return Unknown(process, f"{script.path}: {script.fault}")
    why = "no word of it is a php-fpm or a script that can be read"
    return Unknown(process, why, is_nothing_read=True)


def _without_refused(found: FpmInvocation) -> FpmInvocation:
    """Return the invocation with the options after a word that php-fpm refuses."""
    first, again = found.refused, found
    for _ in range(10):
        if again.refused not in again.arguments:
            break
        words = list(again.arguments)
        words.remove(again.refused)
        again = command_line.find_in([again.binary, *words]) or again
    return again._replace(refused=first, arguments=found.arguments)


def _seems_php_fpm(process: Supervised) -> bool:
    if _NAME.fullmatch(process.section.name.partition(":")[2]):
        return True
    words = words_of(_AWAITED.sub(" ", process.command))
    return any(_BINARY.fullmatch(one) and after.startswith("-") for one, after in pairwise(words))
