"""Reads and writes the file of a baseline, and applies it.

Law: a broken baseline is an error: it must not hide findings, and not report known ones as new.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import regular_file
from fpm_listener.doctor import baseline
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.doctor.baseline import Entry
    from fpm_listener.doctor.rule import Finding

_LONGEST = 16 << 20


class Compared(NamedTuple):
    """The findings of a run, compared with a baseline."""

    new: list[Finding]
    gone: int  #: entries without a finding, whose file was read or does not exist


def read(path: str) -> frozenset[Entry]:
    """Return the known findings. Raises FpmListenerError."""
    again = f"write a new one: fpm-listener check --write-baseline {path}"
    try:
        text = regular_file.read(path, _LONGEST).decode()
        return baseline.parse(text)
    except OSError as error:
        raise FpmListenerError(
            f"the baseline {path} cannot be read: {error.strerror}; {again}"
        ) from error
    except ValueError as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise FpmListenerError(f"{path} is not a baseline: {why}; {again}") from error


def compare(
    path: str, known: frozenset[Entry], findings: Sequence[Finding], files: Sequence[str]
) -> Compared:
    """Compare findings with the entries of the baseline at `path`; files: all that were read."""
    found = baseline.entries(_relative(path, findings))
    new = [one for one, entry in zip(findings, found, strict=True) if entry not in known]
    read_files = {_relative_file(one, path) for one in files}
    folder = _folder(path)
    gone = [
        one
        for one in known.difference(found)
        if one.file in read_files or not os.path.lexists(os.path.join(folder, one.file))  # noqa: PTH118 - a text
    ]
    return Compared(new, len(gone))


def write(path: str, findings: Sequence[Finding]) -> None:
    """Write all findings as known ones; the file is complete at every moment.

    A link or a device at the path is an error: as root, the new file would replace /dev/null.
    Raises FpmListenerError.
    """
    if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
        raise FpmListenerError(
            f"the baseline {path} cannot be written: it is not a regular file; name another file"
        )
    text = baseline.render(baseline.entries(_relative(path, findings)))
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{Path(path).name}.", dir=_folder(path))
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                os.fchmod(descriptor, 0o644)
            os.rename(name, path)  # noqa: PTH104 - replaces the file at once
        finally:
            with suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108 - a text
    except OSError as error:
        why = f"the baseline {path} cannot be written: {error.strerror}"
        raise FpmListenerError(why) from error


def _relative(path: str, findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings with files relative to the baseline: another checkout is the same."""
    names = {one.file: _relative_file(one.file, path) for one in findings}
    return [one._replace(file=names[one.file]) for one in findings]


def _relative_file(file: str, path: str) -> str:
    """Return the path of a file relative to the baseline; only the file itself can be a link."""
    whole = os.path.join(_folder(file), os.path.basename(file))  # noqa: PTH118, PTH119 - texts
    return os.path.relpath(whole, _folder(path))


def _folder(path: str) -> str:
    return os.path.realpath(os.path.dirname(path) or ".")  # noqa: PTH120 - a text
