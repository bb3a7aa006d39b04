"""Reads the scripts of commands from the disk, for `start_script`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fpm_listener import regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.start_script import Reader

#: Characters of one script.
LONGEST = 64 << 10


def reader(environ: Mapping[str, str], directory: str | None = None) -> Reader:
    """Return a function that returns the text of a script; None for other files.

    environ: of the command; a name without a slash is searched in its PATH.
    directory: of relative paths; None = the working directory of this process.
    """

    def read(name: str) -> str | None:
        path: str | None = name
        if "/" not in name:
            import shutil  # noqa: PLC0415 - late, see ADR 044

            path = shutil.which(name, path=environ.get("PATH", os.defpath))
        elif directory is not None and not name.startswith("/"):
            path = f"{directory}/{name}"
        try:
            text = regular_file.read_text(path or "", LONGEST, errors="surrogateescape")
        except OSError:
            return None
        return None if "\0" in text else text

    return read
