"""Another user of this machine, who can write where the listener writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The user "nobody".
OTHER_UID = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@contextmanager
def open_folder(mode: int = 0o755, owner: int | None = None) -> Iterator[Path]:
    """Yield a folder that all users can reach, unlike pytest's folders."""
    folder = Path(tempfile.mkdtemp(prefix="fpl-"))
    try:
        if owner is not None:
            os.chown(folder, owner, owner)
        folder.chmod(mode)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_other_user(program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python program as another user; yield it after its first line of output."""
    # The user changes after the start: the interpreter may lie where only root can read it.
    become = f"import os; os.setgroups([]); os.setgid({OTHER_UID}); os.setuid({OTHER_UID})\n"
    command = [sys.executable, "-ISc", become + program, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()
