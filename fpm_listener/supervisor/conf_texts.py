"""Reads the texts of supervisord's configuration without supervisor's own parser.

That parser needs a child process and half a second; the guard has less time.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import regular_file
from fpm_listener.supervisor import ini_values

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Files that are read.
_MOST_FILES = 1000


class ConfTexts(NamedTuple):
    """The files of one configuration."""

    files: tuple[tuple[str, str], ...]  #: paths and texts; the main file first
    expansions: Mapping[str, str]  #: values of `%(name)s`

    @property
    def path(self) -> str:
        """Return the path of the main file."""
        return self.files[0][0]


def read(path: str, environment: Mapping[str, str]) -> ConfTexts:
    """Return the texts of a file and of its includes. Raises OSError.

    environment: of the supervisord that uses it.
    """
    directory = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - texts stay texts
    expansions = {
        **{f"ENV_{key}": value for key, value in environment.items()},
        "here": directory,
        "host_node_name": os.uname().nodename,
    }
    files = [(path, regular_file.read_text(path))]
    for pattern in ini_values.included(files[0][1], expansions):
        paths = sorted(glob.glob(os.path.join(directory, pattern)))  # noqa: PTH118, PTH207 - the same
        files += [(one, regular_file.read_text(one)) for one in paths[:_MOST_FILES]]
    return ConfTexts(tuple(files), expansions)
