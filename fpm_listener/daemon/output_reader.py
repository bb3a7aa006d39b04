"""Reads what one run of a program has written to its files.

Laws:
1. A run's lines are those between the end of the run before it and its own end. The event of a
   start is not a boundary: supervisord sends it after it has written the first output of the run.
2. At most TAIL bytes of a file are read, and only for an alert. A mark costs one system call.
3. Only a regular file is opened, never a device or a pipe, and no link of an ordinary user.
4. Of a run that has ended before the files were known, only the newest line counts, and only if
   it is new: nothing shows where the run begins.
5. A file that was rotated or truncated since the mark is read from its beginning, and the renamed
   file from the mark on.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.output_lines import readable
from fpm_listener.incidents.effects import OutputRead

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.effects import MarkOutput, ReadOutput
    from fpm_listener.incidents.program_output import ProgramOutput
    from fpm_listener.supervisor.process import ProcessName

#: Bytes of a file that are read for an alert, and lines of them that are used.
TAIL, MOST_LINES = 16 << 10, 200
#: Seconds for which a line is new, if the run that has written it is not known.
NEW_S = 60.0
#: Links on the way to a file, as the kernel allows.
_MOST_LINKS = 40
_PLACE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class KnowOutputs(NamedTuple):
    """Request: the files of all programs."""

    outputs: Mapping[ProcessName, ProgramOutput]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file. A file that does not exist has inode 0."""

    device: int = 0
    inode: int = 0
    offset: int = 0

    def is_of(self, other: Mark) -> bool:
        """Return whether both are places in one file."""
        return (self.device, self.inode) == (other.device, other.inode)


class Run(NamedTuple):
    """The lines of one run in one file."""

    path: str
    begin: Mark | None  #: None = unknown
    end: Mark


class OutputReader:
    """Used by one thread."""

    def __init__(self) -> None:
        self._marks: dict[ProcessName, dict[str, Mark]] = {}  # where the present run begins
        self._first: dict[ProcessName, dict[str, Mark]] = {}  # those of runs that went on already
        self._ended: dict[ProcessName, tuple[float, list[Run]]] = {}  # the last run that has ended

    def know(self, outputs: Mapping[ProcessName, ProgramOutput]) -> None:
        """Mark the ends of files that are new; forget programs that do not exist any more."""
        for name in [name for name in self._marks if name not in outputs]:
            del self._marks[name]
            self._first.pop(name, None)
            self._ended.pop(name, None)
        for name, output in outputs.items():
            marks = self._marks.get(name, {})
            fresh = {path: _mark(path) for path in output.files if path not in marks}
            self._first.setdefault(name, {}).update(fresh)
            kept = {path: mark for path, mark in marks.items() if path in output.files}
            self._marks[name] = {**kept, **fresh}

    def end_run(self, request: MarkOutput) -> None:
        """Mark the end of a run: the next run begins there."""
        marks = self._marks.setdefault(request.process, {})
        first = self._first.pop(request.process, {})
        runs = []
        for path in request.output.files:
            begin, end = marks.get(path), _mark(path)
            is_seen = begin is not None and (path not in first or begin != end)
            runs.append(Run(path, begin if is_seen else None, end))
            marks[path] = end
        self._ended[request.process] = request.exited_at_s, runs

    def read(self, request: ReadOutput) -> OutputRead:
        """Return what the run has written."""
        exited_at_s, runs = self._ended.get(request.process, (None, []))
        marks = self._marks.get(request.process, {})
        if request.exited_at_s is None:  # the present run
            runs = [Run(path, mark, _mark(path)) for path, mark in marks.items()]
        elif exited_at_s is None:
            runs = [Run(path, None, mark) for path, mark in marks.items()]
        elif exited_at_s != request.exited_at_s:
            return OutputRead(request.process, None, request.exited_at_s)
        lines = [line for run in runs for line in read_run(run)]
        return OutputRead(request.process, tuple(readable(lines)), request.exited_at_s)


def read_run(run: Run) -> list[str]:
    """Return the last lines that one run has written to a file, oldest first."""
    if not run.end.inode:
        return []
    if run.begin is None:
        lines = [*_read(f"{run.path}.1", 0, None), *_read(run.path, 0, run.end)]
        return [line for line in lines if line.strip()][-1:] if _is_new(run.path) else []
    begin, parts = run.begin, []
    if begin.inode and not begin.is_of(run.end):  # rotated
        parts.append(_read(_renamed(run.path, begin), begin.offset, None))
        begin = Mark(run.end.device, run.end.inode, 0)
    elif begin.offset > run.end.offset or not begin.inode:  # truncated, or new
        begin = Mark(run.end.device, run.end.inode, 0)
    parts.append(_read(run.path, begin.offset, run.end))
    return [line for part in parts for line in part][-MOST_LINES:]


def _read(path: str | None, begin: int, end: Mark | None) -> list[str]:
    """Return the last lines from `begin` on; `end`: None = the end of the file."""
    descriptor = None if path is None else _open(path)
    if descriptor is None:
        return []
    try:
        found = os.fstat(descriptor)
        if end is not None and (found.st_dev, found.st_ino) != (end.device, end.inode):
            return []  # it was rotated a moment ago
        last = found.st_size if end is None else min(end.offset, found.st_size)
        first = max(begin, last - TAIL)
        content = os.pread(descriptor, max(0, last - first), first)
    except OSError:
        return []
    finally:
        os.close(descriptor)
    lines = content.decode("utf-8", "replace").split("\n")
    if first > begin:
        del lines[0]  # it begins before the tail
    return [line.strip("\0") for line in lines]


def _mark(path: str) -> Mark:
    """Return the end of a file, or of no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a text stays a text
    except (OSError, ValueError):
        return Mark()
    return Mark(found.st_dev, found.st_ino, found.st_size) if _is_file(found) else Mark()


def _is_new(path: str) -> bool:
    """Return whether a file was written to a moment ago."""
    try:
        return time.time() - os.stat(path).st_mtime < NEW_S  # noqa: PTH116 - a text stays a text
    except OSError:
        return False


def _renamed(path: str, mark: Mark) -> str | None:
    """Return the path of the rotated file, as supervisord and logrotate name it."""
    for name in (f"{path}.1", f"{path}.0"):
        if mark.is_of(_mark(name)):
            return name
    return None


def _open(path: str) -> int | None:
    """Return a descriptor of a regular file; None = it cannot or must not be read."""
    try:
        place = _walk(path)
    except (OSError, ValueError):
        return None
    try:
        if not _is_file(os.fstat(place)):
            return None  # it is not opened to read: a FIFO's writer would notice a reader
        return os.open(f"/proc/self/fd/{place}", _FLAGS)
    except OSError:
        return None
    finally:
        os.close(place)


def _is_file(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode)


def _walk(path: str) -> int:
    """Return a descriptor of the place of a file. Raises OSError also for a link of another user.

    Each step begins at the folder that is open: a folder that is replaced meanwhile has no effect.
    """
    names, links = path.split("/")[::-1], 0
    place = os.open("/" if path.startswith("/") else ".", _PLACE)
    try:
        while names:
            found = os.open(names.pop() or ".", _PLACE, dir_fd=place)
            step = os.fstat(found)
            if not stat.S_ISLNK(step.st_mode):
                place = _replace(place, found)
                continue
            try:
                target = os.readlink("", dir_fd=found)
            finally:
                os.close(found)
            links += 1
            if not _is_trusted(step) or links > _MOST_LINKS:
                raise PermissionError(path)  # noqa: TRY301 - `place` is closed below
            names += target.split("/")[::-1]
            if target.startswith("/"):
                place = _replace(place, os.open("/", _PLACE))
    except BaseException:
        os.close(place)
        raise
    return place


def _replace(old: int, new: int) -> int:
    os.close(old)
    return new


def _is_trusted(link: os.stat_result) -> bool:
    """Return whether root or our own user has made a link.

    Another user could let us read a file that only root may read, and show it in an alert.
    """
    return link.st_uid in {0, os.geteuid()}
