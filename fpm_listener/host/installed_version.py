"""Notices that another version of this package was installed while this process runs.

Python loads some modules late. After an upgrade these are modules of the new version, and need not
fit the old ones in memory.
"""

from __future__ import annotations

import os
import re

import fpm_listener
from fpm_listener import regular_file

_VERSION = re.compile(rb"^__version__ = \"([0-9A-Za-z.+-]{1,40})\"$", re.MULTILINE)
#: Bytes of the file that contains the version.
_LONGEST = 64 << 10
_MEMBER = "fpm_listener/__init__.py"


class InstalledVersion:
    """The version in the files of this package. One thread uses it."""

    def __init__(self, path: str = fpm_listener.__file__) -> None:
        """`path`: of the file with the version, which can be in a zip file."""
        root = path.removesuffix(f"/{_MEMBER}")
        self._is_zip = root != path and os.path.isfile(root)  # noqa: PTH113 - plain
        self._path = root if self._is_zip else path
        self._stamp = _stamp(self._path)
        self.other = ""  #: the version of the files; empty = that of this process, or unknown

    def look(self) -> bool:
        """Look at the files, and return whether another version is there since this look."""
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return False
        before, self._stamp = self.other, stamp
        try:
            text = _read_zip(self._path) if self._is_zip else regular_file.read(self._path)
        except (OSError, ValueError):
            text = b""
        found = _VERSION.search(text)
        version = found[1].decode() if found else ""
        self.other = "" if version == fpm_listener.__version__ else version
        return self.other not in {"", before}


def _stamp(path: str) -> tuple[int, ...]:
    try:
        seen = os.stat(path)  # noqa: PTH116 - plain
    except OSError:
        return ()
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns


def _read_zip(path: str) -> bytes:
    """Return the beginning of the file in a zip file. Raises OSError or ValueError."""
    import zipfile  # noqa: PLC0415 - only after an upgrade
    import zlib  # noqa: PLC0415 - the same

    try:
        with zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as file:
            return file.read(_LONGEST)
    except (KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(path) from error
