"""Reads php-fpm's configuration from disk, as the php-fpm of a command does.

Law: nothing raises; unreadable files are in `problems` of the configuration.
"""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.phpfpm import command_line, config
from fpm_listener.phpfpm.command_line import (
    FpmInvocation,
    _number,
)
from fpm_listener.phpfpm.config import Layout, LogKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import ErrorLog, FpmConf

_SYSTEM = {"", "/bin", "/sbin", "/usr/bin", "/usr/sbin"}


def layouts(invocation: FpmInvocation) -> tuple[Layout, ...]:
    """Return the possible places of this binary's files, the most likely one first.

    Debian, Alpine, Remi, then builds from source such as the official Docker image, then Red Hat.
    With -p there is only one place. `fpm.config` in php.ini is not read.
    """
    if invocation.prefix is not None:
        root = invocation.prefix
        return (Layout(config=f"{root}/etc/php-fpm.conf", prefix=root, localstatedir=root),)
    folder, _, name = invocation.binary.rpartition("/")
    number = _number(name)
    found: list[Layout] = []
    if remi := re.match(r"/opt/remi/(php\d+)/", invocation.binary):
        root, state = f"/opt/remi/{remi[1]}/root/usr", f"/var/opt/remi/{remi[1]}"
        path = f"/etc/opt/remi/{remi[1]}/php-fpm.conf"
        found.append(Layout(config=path, prefix=root, localstatedir=state))
    elif "." in number:
        found.append(_packaged(f"/etc/php/{number}/fpm"))  # Debian
    elif number:
        # Old Debian's php5-fpm, and Alpine's php-fpm83.
        found.append(_packaged(f"/etc/php{number}" + ("/fpm" if name.endswith("-fpm") else "")))
    root = "/usr/local" if folder in _SYSTEM else folder.rpartition("/")[0]
    built = Layout(config=f"{root}/etc/php-fpm.conf", prefix=root, localstatedir=f"{root}/var")
    red_hat = _packaged("/etc")
    # PATH has /usr/local/sbin before /usr/sbin.
    return (*found, *((red_hat, built) if folder in _SYSTEM - {""} else (built, red_hat)))


def _packaged(folder: str) -> Layout:
    return Layout(config=f"{folder}/php-fpm.conf", prefix="/usr", localstatedir="/var")


def config_candidates(invocation: FpmInvocation) -> tuple[str, ...]:
    """Return the possible main files, the most likely one first; with -y only that one."""
    if invocation.config is not None:
        return (invocation.config,)
    return tuple(layout.config for layout in layouts(invocation))


#: Links from a log to a device.
_MOST_LINKS = 8

#: Bytes of one file.
_LARGEST = 4 << 20


class DiskFiles:
    """Files on disk; relative paths are below `directory`."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory or "/"

    def read(self, path: str) -> str:
        """Return a file's text. Raises OSError.

        Regular files only: a pipe would block, and php-fpm would not get the data that we read.
        """
        whole = os.path.join(self._directory, path)  # noqa: PTH118 - pathlib costs milliseconds
        # Paths are bytes.
        return regular_file.read_text(whole, _LARGEST, errors="surrogateescape")

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match, sorted."""
        if "\0" in pattern:
            return []
        return sorted(glob.glob(os.path.join(self._directory, pattern)))  # noqa: PTH118, PTH207 - Path.glob takes no absolute pattern

    def exists(self, path: str) -> bool:
        """Return whether a file or directory exists."""
        whole = os.path.join(self._directory, path)  # noqa: PTH118 - as above
        return "\0" not in path and os.path.exists(whole)  # noqa: PTH110 - as above


def read(
    invocation: FpmInvocation,
    *,
    directory: str | None,
    environment: Mapping[str, str],
) -> FpmConf:
    """Return the configuration that this php-fpm would read.

    directory: its working directory, None = /; environment: its own.
    """
    layout = _layout(invocation)
    conf = config.load(
        invocation.config or layout.config,
        DiskFiles(directory),
        layout=layout,
        invocation=invocation,
        environment=environment,
    )
    configured = conf.configured_log and _followed(conf.configured_log)
    return conf._replace(log=_followed(conf.log), configured_log=configured)


def _followed(log: ErrorLog) -> ErrorLog:
    """Return the error log behind links: images link /docker.stderr to /dev/stderr."""
    path = log.path or ""
    for _ in range(_MOST_LINKS if log.kind is LogKind.FILE and path.startswith("/") else 0):
        try:
            target = os.readlink(path)  # noqa: PTH115 - a text stays a text
        except (OSError, ValueError):
            break
        path = os.path.join(os.path.dirname(path), target)  # noqa: PTH118, PTH120 - the same
        found = config.error_log(path)
        if found.kind is not LogKind.FILE:
            return found
    return log


def real_binary(invocation: FpmInvocation) -> str:
    """Return the real path of the binary; `php-fpm` is often a link to a version."""
    if "/" in invocation.binary:
        return os.path.realpath(invocation.binary)
    import shutil  # noqa: PLC0415 - late, see ADR 044

    found = shutil.which(invocation.binary)
    return os.path.realpath(found) if found else invocation.binary


def version(invocation: FpmInvocation) -> tuple[int, ...]:
    """Return PHP's version from the name of the binary or of its link's target."""
    real = command_line.FpmInvocation(binary=real_binary(invocation))
    return invocation.version or real.version


def _layout(invocation: FpmInvocation) -> Layout:
    """Return the paths of this php-fpm."""
    real = command_line.FpmInvocation(binary=real_binary(invocation), prefix=invocation.prefix)
    found = (*layouts(real), *layouts(invocation))
    return next((one for one in found if os.path.isfile(one.config)), found[0])  # noqa: PTH113 - a text
