"""Gives all files of an sdist one time and one owner, so that the same commit gives the same bytes.

    python -m release.sdist SECONDS dist/fpm_listener-0.1.0.tar.gz

SECONDS: the time, as in SOURCE_DATE_EPOCH. setuptools uses it for wheels only.
"""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from pathlib import Path


def normalise(path: Path, time_s: int) -> None:
    """Write the archive again."""
    content = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=content, mode="w") as new:
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            member.mtime, member.pax_headers = time_s, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(member, old.extractfile(member) if member.isfile() else None)
    path.write_bytes(gzip.compress(content.getvalue(), mtime=time_s))


if __name__ == "__main__":
    normalise(Path(sys.argv[2]), int(sys.argv[1]))
