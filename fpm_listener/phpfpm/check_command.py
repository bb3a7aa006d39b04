"""The command that lets php-fpm check its own configuration."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.phpfpm.command_line import FpmInvocation


def check_command(invocation: FpmInvocation, conf_path: str) -> str:
    """Return the command for a shell. It has the options that change what php-fpm reads."""
    words = [invocation.binary, "-t", "-y", conf_path]
    if invocation.prefix is not None:
        words += ["-p", invocation.prefix]
    if invocation.php_ini is not None:
        words += ["-c", invocation.php_ini]
    words += _settings(invocation.arguments)
    return shlex.join(words)


def _settings(arguments: tuple[str, ...]) -> Iterator[str]:
    """Yield the options that set values of php.ini: -n, and each -d with its value."""
    following = iter(arguments)
    for word in following:
        if word in {"-n", "--no-php-ini"}:
            yield "-n"
        elif word in {"-d", "--define"}:
            yield from ("-d", next(following, ""))
        elif word.startswith(("-d", "--define=")):
            yield word
