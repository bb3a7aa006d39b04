"""What a program needs for its start, from its section and from php-fpm's configuration."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.supervisor import listen_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf, Pool
    from fpm_listener.supervisor.process import Logs, Program

#: supervisord and php-fpm open them as descriptors that exist.
_DEVICES = ("/dev/", "/proc/")


def of_program(program: Program) -> Needs:
    """Return what any program needs."""
    directory = program.directory
    command = _first_word(program.command)
    return Needs(
        program=command if command and command.startswith("/") else None,
        command=command,
        directory=directory if directory and directory.startswith("/") else None,
        logs=_logs(program.logs),
        uid=program.uid,
        command_address=listen_options.guess(program.command, program.environment),
        search_path=program.environment.get("PATH"),
    )


def of_php_fpm(program: Program, invocation: FpmInvocation, conf: FpmConf) -> Needs:
    """Return what a php-fpm needs too: its files, users and addresses."""
    sockets = (address for address in conf.addresses if address.startswith("/"))
    logs = (path for pool in conf.pools for path in _pool_logs(pool))
    files = (*sockets, conf.pid_file, conf.error_log, *logs)
    relative = "/" in invocation.binary and not invocation.binary.startswith("/")
    binary = f"{program.directory or ''}/{invocation.binary}" if relative else invocation.binary
    return of_program(program)._replace(
        program=binary,
        files=_paths(files),
        pid_file=conf.pid_file,
        users=_names(pool.user for pool in conf.pools),
        groups=_names(pool.group for pool in conf.pools),
        addresses=conf.addresses,
        command_address=None,
        config=conf.path if invocation.config and conf.path.startswith("/") else None,
        worker_folders=_paths(path for pool in conf.pools for path in _worker_folders(pool)),
    )


def _pool_logs(pool: Pool) -> tuple[str | None, ...]:
    """Return the logs that php-fpm opens for a pool at its start."""
    is_slow = pool.options.get("request_slowlog_timeout", "0").strip("0smhd")
    return pool.options.get("access.log"), pool.options.get("slowlog") if is_slow else None


def _worker_folders(pool: Pool) -> tuple[str, ...]:
    """Return the directories that each worker of a pool enters at its start."""
    root, folder = pool.options.get("chroot", ""), pool.options.get("chdir", "")
    found = (root, f"{root.rstrip('/')}{folder}" if folder.startswith("/") else "")
    return tuple(path for path in found if path.startswith("/"))


def _paths(words: Iterable[str | None]) -> tuple[str, ...]:
    """Return each absolute path once, without devices, descriptors and paths with `$pool`."""
    return tuple(
        dict.fromkeys(
            word
            for word in words
            if word and word.startswith("/") and not word.startswith(_DEVICES) and "$" not in word
        )
    )


def _logs(logs: Logs | None) -> tuple[str, ...]:
    """Return the files that supervisord opens; for a name that it has chosen, their folder."""
    if logs is None:
        return ()
    folder = f"{logs.auto.rpartition('/')[0]}/" if logs.auto.startswith("/") else None
    words = (logs.stdout, None if logs.redirect_stderr else logs.stderr)
    return _paths(folder if word == "AUTO" else word for word in words)


def _names(words: Iterable[str | None]) -> tuple[str, ...]:
    """Return the names that must exist: not numbers, and none if we are not root."""
    if os.geteuid() != 0:
        return ()
    return tuple(dict.fromkeys(word for word in words if word and not word.isdecimal()))


def _first_word(command: str) -> str | None:
    """Return the program that supervisord runs; None if it cannot be found here.

    supervisord looks for a relative path in its own directory, and its child in `directory=`.
    """
    try:
        word = next(iter(shlex.split(command)), "")
    except ValueError:
        return None
    return word if word.startswith("/") or (word and "/" not in word) else None
