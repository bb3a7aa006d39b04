"""php-fpm's configuration, read from disk as the php-fpm of a command would.

Law: nothing raises; what cannot be read stands in the configuration's `problems`.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.core import fpmcommand, fpmconf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.fpmcommand import FpmInvocation, Layout
    from fpm_listener.core.fpmconf import FpmConf

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
    return fpmconf.load(
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
    real = fpmcommand.FpmInvocation(binary=real_binary(invocation))
    return invocation.version or real.version


def _layout(invocation: FpmInvocation) -> Layout:
    """Return where this php-fpm has its files."""
    real = fpmcommand.FpmInvocation(binary=real_binary(invocation), prefix=invocation.prefix)
    layouts = (*fpmcommand.layouts(real), *fpmcommand.layouts(invocation))
    return next((one for one in layouts if os.path.isfile(one.config)), layouts[0])  # noqa: PTH113 - a text
