"""php-fpm's configuration, read from disk as the php-fpm of a command would.

Law: nothing raises; what cannot be read stands in the configuration's `problems`.
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
from fpm_listener.phpfpm.config import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf

_SYSTEM = {"", "/bin", "/sbin", "/usr/bin", "/usr/sbin"}


def layouts(invocation: FpmInvocation) -> tuple[Layout, ...]:
    """Return where this binary's files can be, the most likely place first.

    Debian, Alpine, Remi, then what was built from source as the official Docker image is, then Red
    Hat. With -p there is one place only. php.ini's `fpm.config` is not looked at.
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
        # Debian's php5-fpm of old, and Alpine's php-fpm83.
        found.append(_packaged(f"/etc/php{number}" + ("/fpm" if name.endswith("-fpm") else "")))
    root = "/usr/local" if folder in _SYSTEM else folder.rpartition("/")[0]
    built = Layout(config=f"{root}/etc/php-fpm.conf", prefix=root, localstatedir=f"{root}/var")
    red_hat = _packaged("/etc")
    # PATH has /usr/local/sbin before /usr/sbin.
    return (*found, *((red_hat, built) if folder in _SYSTEM - {""} else (built, red_hat)))


def _packaged(folder: str) -> Layout:
    return Layout(config=f"{folder}/php-fpm.conf", prefix="/usr", localstatedir="/var")


def config_candidates(invocation: FpmInvocation) -> tuple[str, ...]:
    """Return the files that this php-fpm may read, the most likely first; with -y that one only."""
    if invocation.config is not None:
        return (invocation.config,)
    return tuple(layout.config for layout in layouts(invocation))


#: Bytes of one file; a configuration of this size is a mistake.
_LARGEST = 4 << 20


class DiskFiles:
    """Files as they are on disk; relative paths are below `directory`."""

    def __init__(self, directory: str | None) -> None:
        self._directory = directory or "/"

    def read(self, path: str) -> str:
        """Return a file's text. Raises OSError.

        Regular files only: a pipe would block us, and what we read of it php-fpm would not get.
        """
        whole = os.path.join(self._directory, path)  # noqa: PTH118 - pathlib costs milliseconds
        # A path has bytes, not letters.
        return regular_file.read_text(whole, _LARGEST, errors="surrogateescape")

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match, sorted."""
        # A relative prefix of the command line makes a relative pattern.
        if "\0" in pattern:
            return []
        return sorted(glob.glob(os.path.join(self._directory, pattern)))  # noqa: PTH118, PTH207 - Path.glob takes no absolute pattern


def read(
    invocation: FpmInvocation,
    *,
    directory: str | None,
    environment: Mapping[str, str],
) -> FpmConf:
    """Return the configuration that this php-fpm would read.

    directory: where it is started, None = /; environment: what it is started with.
    """
    layout = _layout(invocation)
    return config.load(
        invocation.config or layout.config,
        DiskFiles(directory),
        layout=layout,
        invocation=invocation,
        environment=environment,
    )


def real_binary(invocation: FpmInvocation) -> str:
    """Return the path of what is run; `php-fpm` alone is often a link to a version."""
    if "/" in invocation.binary:
        return os.path.realpath(invocation.binary)
    import shutil  # noqa: PLC0415 - zip and its like come along: milliseconds of each start

    return os.path.realpath(shutil.which(invocation.binary) or invocation.binary)


def version(invocation: FpmInvocation) -> tuple[int, ...]:
    """Return PHP's version as far as the binary's name, or its link's target, tells it."""
    real = command_line.FpmInvocation(binary=real_binary(invocation))
    return invocation.version or real.version


def _layout(invocation: FpmInvocation) -> Layout:
    """Return where this php-fpm has its files."""
    real = command_line.FpmInvocation(binary=real_binary(invocation), prefix=invocation.prefix)
    found = (*layouts(real), *layouts(invocation))
    return next((one for one in found if os.path.isfile(one.config)), found[0])  # noqa: PTH113 - a text
